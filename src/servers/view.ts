import type { Explanation } from '../decisions/explanation.ts'
import type { DecisionRecord } from '../decisions/record.ts'
import type { DecisionFilter, DecisionPage, PodReference } from '../decisions/store.ts'
import type { Conservation, QueueName } from '../scheduling/ports.ts'
import type { ModelStatus, NodeFigures } from '../system/scheduling-system.ts'

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
  readonly queue: Readonly<Record<QueueName, number>>
  readonly pods: Conservation
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
  /** how the language model does; undefined: there is none */
  readonly model: ModelStatus | undefined
}

/** One node with all that is known of it. */
export interface NodeDetail extends NodeFigures {
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
  readonly queue: QueueName
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
  nodes(): readonly NodeFigures[]
  node(name: string): NodeDetail | undefined
  /** at most `limit` pods, those that waited longest first */
  waitingPods(limit: number): readonly WaitingPod[]
  readonly decisions: DecisionsView
}
