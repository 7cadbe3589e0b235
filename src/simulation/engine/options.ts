import type { NodeIndex } from '../../cluster/node.ts'
import type { KubeObject } from '../../cluster/objects.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { ClusterState } from '../../cluster/state.ts'
import type { ClusterView } from '../../cluster/view.ts'
import type { DecisionRecord } from '../../decisions/record.ts'
import type { Policy } from '../../policies/policy.ts'
import type { Arrival } from '../workload/arrivals.ts'
import type { NodeShape } from '../workload/node-shapes.ts'
import type { Disruption, SimulationEvent, SimulationStep } from './events.ts'

/** Adds nodes for pods that find none, and removes nodes that nobody uses, as Cluster Autoscaler and Karpenter do. */
export interface AutoscalerOptions {
  /** what may be added: the first of these is taken that the pod fits on empty; names are made from its name and a number */
  readonly shapes: readonly NodeShape[]
  /** nodes that it may have added at one time @default 100 */
  readonly mostAdded?: number
  /** how long a pod must have been unschedulable @default 10_000 */
  readonly reactMs?: number
  /** from the decision to a node that takes pods @default 60_000 */
  readonly startMs?: number
  /** an added node without a pod is removed after @default 600_000 */
  readonly idleMs?: number
}

/** Nodes that their owner takes back. */
export interface SpotOptions {
  /** which nodes, by shape */
  readonly isSpot: (node: NodeShape) => boolean
  /** reclaims per hour and node: times are exponential, drawn from the seed */
  readonly reclaimsPerHour: number
  /** between the notice, at which pods are evicted, and the end @default 120_000 */
  readonly noticeMs?: number
  /** when a node of that shape comes again; undefined: never */
  readonly returnsAfterMs?: number
}

/** Nodes that fail at random. */
export interface FailureOptions {
  /** mean time between failures of one node: times are exponential, drawn from the seed */
  readonly meanTimeToFailureMs: number
  /** how long a failed node is away, exponential with this mean */
  readonly meanTimeToRecoveryMs: number
}

/** Told of a run as it goes. What it is given is the simulation's own and may only be read. */
export interface SimulationObserver {
  /** after each event, when the scheduler has nothing left to do at that moment */
  after?(step: SimulationStep, cluster: ClusterView, atMs: number): void
  /** a pod counts on its node; `devices` are its GPUs */
  placed?(pod: Pod, nodeName: string, devices: readonly number[], atMs: number): void
  /** a pod is off its node, or will never have one: `completed`, `dropped`, `gone`, or why it was disrupted */
  left?(pod: Pod, nodeName: string, why: 'completed' | 'dropped' | 'gone' | Disruption, atMs: number): void
  /** each decision as it is made, with its time on the simulated clock */
  decided?(record: DecisionRecord): void
}

/** How far a run is. */
export interface SimulationProgress {
  /** simulated */
  readonly atMs: number
  /** of `SimulationOptions.arrivals` */
  readonly arrived: number
  readonly arrivals: number
}

export interface SimulationOptions {
  /** in the order in which the cluster knows them: equal scores go to the first */
  readonly nodes: readonly NodeShape[]
  /** ranks for every pod, whatever `schedulerName` it names; made for this run alone */
  readonly policy: Policy
  /** places where the policy gives nothing usable; undefined: such pods wait with the error */
  readonly fallback?: Policy
  /** decides everything that is drawn: ties of policies that draw, spot reclaims, failures */
  readonly seed: number
  /** ascending by time; more can be added with `at` */
  readonly arrivals?: readonly Arrival[]
  /** PriorityClasses, Namespaces, PodGroups, PodDisruptionBudgets, claims, volumes and their classes, there from the start */
  readonly objects?: readonly KubeObject[]
  /** pods end when the duration in their annotation has passed since they were placed @default true */
  readonly departures?: boolean
  /** whether controllers make another pod in place of a disrupted one; false: what they made is among the arrivals @default true */
  readonly remake?: boolean
  /** divides the durations of pods: arrivals compressed by a trace reader come with its speed @default 1 */
  readonly speed?: number
  /** what becomes of a pod that fits nowhere: it waits as in a cluster, or it is given up at once @default 'wait' */
  readonly unschedulable?: 'wait' | 'drop'
  readonly autoscaler?: AutoscalerOptions
  readonly spot?: SpotOptions
  readonly failures?: FailureOptions
  /** thousandths of GPUs of a node that are free and of no use to some workload; asked again when the node has changed */
  readonly fragmentation?: (cluster: ClusterView, node: NodeIndex) => number
  /** the run ends at this time at the latest; undefined: when nothing can happen any more */
  readonly untilMs?: number
  /** entries of the time series at most @default 200 */
  readonly samples?: number
  readonly observer?: SimulationObserver
  /** Told now and then how far the run is. A promise is waited for: who wants the event loop to have its turn can give it one. */
  readonly progress?: (progress: SimulationProgress) => Promise<void> | undefined
  /** ends the run early, with its reason */
  readonly signal?: AbortSignal
}

/** A cluster in simulated time with the scheduler that serves it. */
export interface SimulatedCluster {
  readonly cluster: ClusterState
  /** simulated milliseconds since the start */
  readonly nowMs: number
  /** Has something happen at a time that is not over yet; events of one time happen in the order of these calls. */
  at(atMs: number, event: SimulationEvent): void
}
