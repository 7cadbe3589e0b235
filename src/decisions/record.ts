/** How a decision ended, as far as is known: `reserved` until the API server has answered the bind. */
export type Outcome = 'reserved' | 'bound' | 'waiting' | 'gated' | 'deleted' | 'failed'

/** Nodes that were refused for one reason, counted. One rule a node: the first that refused it. */
export interface RefusalCount {
  readonly constraint: string
  /** kube-scheduler's words */
  readonly reason: string
  readonly nodes: number
  readonly preemptionCouldHelp: boolean
}

/** What was taken and what there was of a node's room when it was ranked. */
export interface CandidateRoom {
  readonly allocatableCpuMilli: number
  readonly requestedCpuMilli: number
  readonly allocatableMemoryBytes: number
  readonly requestedMemoryBytes: number
  readonly usedCpuMilli: number
  readonly usedMemoryBytes: number
  readonly maxPods: number
  readonly pods: number
}

export interface CandidateRecord {
  readonly node: string
  readonly score: number
  /** name -> weighted addend of the score */
  readonly terms: Readonly<Record<string, number>>
  readonly room: CandidateRoom
}

/** A refused node that lacks the least: what a person would look at first. */
export interface NearestMiss {
  readonly node: string
  /** what it lacks, resource name -> amount in the resource's unit (millicores, bytes, count); empty if room is not the reason */
  readonly lacks: Readonly<Record<string, number>>
  readonly reasons: readonly string[]
}

/** Why a pod is where it is, or why it waits. One per attempt; written once, its outcome updated. */
export interface DecisionRecord {
  /** ascending in time, unique in one store */
  readonly id: number
  readonly atMs: number
  readonly namespace: string
  readonly pod: string
  readonly uid: string
  readonly schedulerName: string
  readonly attempt: number
  readonly priority: number
  /** resource name -> amount in its unit */
  readonly request: Readonly<Record<string, number>>
  /** as the scores count them (see PodShape) */
  readonly scoringCpuMilli: number
  readonly scoringMemoryBytes: number
  readonly outcome: Outcome
  /** '' unless reserved, bound or failed at binding */
  readonly node: string
  /** which GPUs of it, where they were given out one by one */
  readonly devices?: readonly number[]
  readonly policy: string
  readonly policyVersion: string
  readonly source: 'model' | 'cache' | 'heuristic' | 'fallback' | 'none'
  /** '' where the policy does not look at load */
  readonly usage: 'metrics.k8s.io' | 'requests' | ''
  readonly confidence?: number
  /** the policy's own words, or why the fallback had to step in */
  readonly reason?: string
  readonly nodes: number
  readonly feasible: number
  readonly refused: readonly RefusalCount[]
  /** best first, at most TOP_CANDIDATES */
  readonly candidates: readonly CandidateRecord[]
  readonly nearestMiss?: NearestMiss
  /** the pods (`namespace/name`) that have to leave a node before this one can go there */
  readonly preemption?: { readonly node: string; readonly victims: readonly string[] }
  /** cluster event kinds that could let the pod in; empty once bound */
  readonly wakesOn: readonly string[]
  /** the message of the PodScheduled condition or of the event, '' if none */
  readonly message: string
  /** time in the queue before this attempt, in the cycle, and for the bind (-1: not bound) */
  readonly queueMs: number
  readonly cycleMs: number
  readonly bindMs: number
}

export const TOP_CANDIDATES = 5

/** Takes decisions as they are made. Never throws, never waits: what it cannot keep it counts. */
export interface DecisionSink {
  keep(record: DecisionRecord): void
  /** The bind's end: the record of that id gets its outcome, message and bind latency. */
  settle(id: number, outcome: Outcome, message: string, bindMs: number): void
}
