import type { Explanation } from '../decisions/explanation.ts'
import type { DecisionRecord } from '../decisions/record.ts'
import type { DecisionFilter, DecisionPage, PodReference } from '../decisions/store.ts'

/** Pods waiting, by queue. */
export interface QueueCounts {
  readonly active: number
  readonly backoff: number
  readonly unschedulable: number
  readonly gated: number
}

/** Where the pods of our profiles are; `seen` is the sum of the others. */
export interface PodCounts {
  readonly seen: number
  readonly bound: number
  readonly waiting: number
  readonly gated: number
  readonly deleted: number
  readonly inFlight: number
}

/** What the process does now and has done since its start. */
export interface SystemStatus {
  /** `standby`: another replica holds the lease */
  readonly phase: 'starting' | 'standby' | 'running' | 'draining' | 'stopped'
  readonly version: string
  readonly uptimeMs: number
  readonly profiles: readonly {
    readonly schedulerName: string
    readonly policy: string
    /** undefined: nobody steps in */
    readonly fallback: string | undefined
  }[]
  readonly queue: QueueCounts
  readonly pods: PodCounts
  /** attempts to place a pod, with whatever end */
  readonly attempts: number
  /** binds that the API server took */
  readonly scheduled: number
  /** attempts that ended without a node, or in an error */
  readonly failed: number
  /** pods that the fallback placed */
  readonly fallbackDecisions: number
  readonly failedBindings: number
  /** over the last seconds */
  readonly decisionsPerSecond: number
}

/** A node as the scheduler sees it. CPU in millicores, memory in bytes. */
export interface NodeView {
  readonly name: string
  readonly ready: boolean
  readonly unschedulable: boolean
  readonly pods: number
  readonly maxPods: number
  readonly allocatableCpuMilli: number
  readonly requestedCpuMilli: number
  readonly usedCpuMilli: number
  readonly allocatableMemoryBytes: number
  readonly requestedMemoryBytes: number
  readonly usedMemoryBytes: number
}

/** One node with all that is known of it. */
export interface NodeDetail extends NodeView {
  readonly labels: ReadonlyMap<string, string> | Readonly<Record<string, string>>
  readonly taints: readonly { readonly key: string; readonly value?: string; readonly effect: string }[]
  /** every resource but cpu and memory, in its own unit */
  readonly resources: readonly { readonly name: string; readonly allocatable: number; readonly requested: number }[]
  /** `namespace/name` of the pods placed or assumed there */
  readonly podNames: readonly string[]
}

/** The cluster as a whole; sums over its nodes. */
export interface ClusterSummary {
  readonly nodes: number
  readonly readyNodes: number
  readonly pods: number
  readonly allocatableCpuMilli: number
  readonly requestedCpuMilli: number
  readonly usedCpuMilli: number
  readonly allocatableMemoryBytes: number
  readonly requestedMemoryBytes: number
  readonly usedMemoryBytes: number
  /** where the load was read */
  readonly usageSource: 'metrics.k8s.io' | 'requests'
}

/** A pod that waits, and why. */
export interface WaitingPod {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly schedulerName: string
  readonly queue: 'active' | 'backoff' | 'unschedulable' | 'gated'
  readonly priority: number
  readonly attempts: number
  readonly waitedMs: number
  /** in kube-scheduler's words; '' before the first attempt */
  readonly reason: string
}

/** The kept decisions. */
export interface DecisionsView {
  /** @throws StowageError BAD_REQUEST for a cursor that is none, STORE_UNUSABLE */
  list(filter: DecisionFilter): DecisionPage
  /** newest first */
  history(pod: PodReference, limit: number): readonly DecisionRecord[]
  /** undefined: no decision about that pod is kept and it does not wait either */
  explain(namespace: string, name: string): Explanation | undefined
}

/** What the servers ask of a running system. Every answer is made at once from memory or from the decision store. */
export interface SystemView {
  /** false: the process cannot mend itself and should be restarted */
  healthy(): boolean
  /** ready when it schedules or stands by; else why not */
  readiness(): { readonly ready: boolean; readonly reasons: readonly string[] }
  status(): SystemStatus
  /** YAML key -> value and where it came from, secrets masked */
  configuration(): ReadonlyMap<string, { readonly value: unknown; readonly source: string }>
  clusterSummary(): ClusterSummary
  nodes(): readonly NodeView[]
  node(name: string): NodeDetail | undefined
  /** at most `limit` pods, those that waited longest first */
  waitingPods(limit: number): readonly WaitingPod[]
  readonly decisions: DecisionsView
}
