import type { PodGroup } from '../cluster/gangs.ts'
import type { Pod } from '../cluster/pod.ts'
import type { VolumePlan } from '../cluster/volumes.ts'

/** How a bind can fail. `gone`: pod or node no longer exist or the pod is deleting; `conflict`: it is bound already or changed; `error`: anything that may pass. */
export type BindFailureKind = 'gone' | 'conflict' | 'error'

/** What `Binder.bind` rejects with. */
export class BindFailure extends Error {
  override readonly name = 'BindFailure'
  readonly kind: BindFailureKind

  constructor(kind: BindFailureKind, message: string, options?: ErrorOptions) {
    super(message, options)
    this.kind = kind
  }
}

/** Tells the API server that a pod goes to a node. Retries what may pass (429, 500, 503, connection lost) by itself. */
export interface Binder {
  /** Says with the bind which GPUs it was given (`pod.gpuDevices`). Resolves once the API server has accepted. @throws BindFailure */
  bind(pod: Pod, nodeName: string, signal: AbortSignal): Promise<void>
}

/** Has the claims of a pod bound that is going to a node. Asked only where there are claims that are not bound. */
export interface ClaimBinder {
  /** Resolves once all are bound, which may take minutes. @throws BindFailure in kube-scheduler's words */
  bindClaims(pod: Pod, nodeName: string, plan: VolumePlan, signal: AbortSignal): Promise<void>
}

/** For whom pods are evicted: a pod, or as many pods as are placed together. */
export interface Preemptor {
  /** @default a pod */
  readonly kind?: 'podgroup'
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly schedulerName: string
}

/** Makes pods leave. */
export interface Evictor {
  /**
   * Marks a pod as disrupted by preemption and deletes it, with its grace period. Retries what may pass by itself.
   * @returns false if it was gone already
   * @throws Error if the API server does not take it
   */
  evict(victim: Pod, preemptor: Preemptor, signal: AbortSignal): Promise<boolean>
}

/** Of the condition PodScheduled=False. */
export type FailureReason = 'Unschedulable' | 'SchedulerError' | 'SchedulingGated'

/** What came of the last attempt to place a gang that has an object. */
export interface GangReport {
  /** as it was seen last */
  readonly group: PodGroup
  readonly outcome: 'Scheduled' | 'Unschedulable' | 'SchedulerError'
  /** '' where it is scheduled */
  readonly message: string
  /** wall-clock time */
  readonly atMs: number
}

/**
 * Tells people: events and conditions, in kube-scheduler's words. Calls return at once; the work is queued behind binds,
 * folded where kube-scheduler folds it, and `drain` sends what is left. Never throws.
 */
export interface Reporter {
  /** Normal Scheduled: `Successfully assigned ns/name to node` */
  scheduled(pod: Pod, nodeName: string): void
  /**
   * Warning FailedScheduling with `message`, and the condition PodScheduled=False with `reason` and `message` if it changed.
   * @param reason `SchedulingGated`: others of its gang are missing, which no room would help
   * @param nominatedNodeName written along with the condition; '' clears it; undefined leaves it alone
   */
  failed(pod: Pod, reason: FailureReason, message: string, nominatedNodeName?: string): void
  /** The pod has lost its nomination to one that matters more. */
  denominated(pod: Pod): void
  /** Normal Preempted on the victim: `Preempted by pod <uid> on node <name>` */
  preempted(victim: Pod, preemptor: Preemptor, nodeName: string): void
  /** The status of its PodGroup, as far as that API leaves it to the scheduler. */
  gang(report: GangReport): void
  /** Resolves when everything reported so far has been sent or given up with the reason counted. */
  drain(signal: AbortSignal): Promise<void>
}

/** Where every pod of our profiles is. `seen` is the sum of the others, always (invariant 3). */
export interface Conservation {
  /** pods of our profiles ever seen without a node, by uid */
  readonly seen: number
  /** bound by us or by anyone, also if finished or deleted since */
  readonly bound: number
  /** in the active, back-off or unschedulable queue */
  readonly waiting: number
  readonly gated: number
  /** gone before they were bound */
  readonly deleted: number
  /** in a cycle, reserved, or being bound */
  readonly inFlight: number
}

export type QueueName = 'active' | 'backoff' | 'unschedulable' | 'gated'
export type AttemptResult = 'scheduled' | 'unschedulable' | 'error'

/** Told of what the scheduler does, for metrics and live views. Called in hot paths: must be quick and must not throw. */
export interface SchedulingObserver {
  attempted(schedulerName: string, result: AttemptResult, durationMs: number): void
  /** one rule or ranking in a cycle took so long: `PreFilter`, `Filter`, `Score`, `PreBind`, `Bind` */
  phase(schedulerName: string, phase: string, durationMs: number): void
  /** `sinceOpenMs`: since it was first seen, or lost its last scheduling gate */
  bound(schedulerName: string, attempts: number, sinceOpenMs: number): void
  /** pods of lower priority were looked for that could make room; 0 victims: in vain */
  preempted(schedulerName: string, victims: number): void
  /** a pod entered a queue, because of an event (`PodAdd`, `NodeAdd`, `ScheduleAttemptFailure`, `BackoffComplete`, ...) */
  queued(queue: QueueName, event: string): void
  /** the profile's own policy gave nothing usable and the fallback placed the pod */
  fellBack(schedulerName: string, policy: string, why: string): void
  /** an object from outside could not be read */
  unreadable(kind: string, name: string, why: string): void
}
