import type { Clock, Timer } from '../clock/clock.ts'
import type { ClusterEvent, ClusterEventKind } from '../cluster/events.ts'
import type { Pod, PodShape } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'
import type { Constraint } from '../constraints/constraint.ts'
import { gatesOf, waitingForGates } from '../constraints/scheduling-gates.ts'
import { Heap, type HeapItem } from './heap.ts'
import type { QueueName } from './ports.ts'

/** The first back-off of a pod; it doubles with each rejection (kube-scheduler's podInitialBackoffSeconds). */
export const INITIAL_BACKOFF_MS = 1000
/** The longest back-off (kube-scheduler's podMaxBackoffSeconds). */
export const MAX_BACKOFF_MS = 10_000
/** Pods that wait longer than this are tried again even if no event spoke for them. */
export const MAX_IN_UNSCHEDULABLE_MS = 5 * 60_000
/** How often those are looked for. */
export const FLUSH_UNSCHEDULABLE_MS = 30_000
/** Back-off ends on whole multiples of this. */
const BACKOFF_WINDOW_MS = 1000

const NOBODY: ReadonlySet<string> = new Set()

/** Where a pod known to the queue is. `inFlight`: popped, and neither given back nor removed yet. */
export type QueuePlace = QueueName | 'inFlight' | 'none'

/** A pod that has no node yet, and all that the queue remembers of it. Only the queue writes it. */
export class QueuedPod implements HeapItem {
  pod: Pod
  /** wall-clock time at which it was first seen without a node */
  readonly seenAtMs: number
  /** wall-clock time since which nothing but us holds it up: when it was first seen, or lost its last scheduling gate */
  openSinceMs: number
  /** times it was popped */
  attempts = 0
  /** attempts that ended because no node was allowed */
  rejections = 0
  /** attempts that ended in an error, since the last that did not */
  consecutiveErrors = 0
  place: QueuePlace = 'none'
  /** queue time of the last queueing after an attempt; its rank among pods of equal priority is `turn` */
  queuedAtMs = 0
  turn = 0
  /** queue time at which the back-off ends */
  readyAtMs = 0
  /** why it waits, in kube-scheduler's words; '' before the first attempt has failed */
  reason = ''
  /** what refused it at the last attempt, one bit for each constraint */
  rejectedBy = 0
  /** why it cannot be read; such a pod is not tried before it changes */
  fault = ''
  /** uids of the pods that are to make room for it and have not begun to leave: it is not tried before they have */
  awaits: Set<string> | undefined
  /** what would have woken it meanwhile */
  missed: ClusterEventKind | undefined
  heapIndex = -1
  group: WaitingGroup | undefined
  /** number of the first event that it has not been held against while in flight */
  eventsFrom = 0

  constructor(pod: Pod, seenAtMs: number) {
    this.pod = pod
    this.seenAtMs = seenAtMs
    this.openSinceMs = seenAtMs
  }
}

/** Pods in the unschedulable pool that are alike to every rule that is asked about their shape only. */
interface WaitingGroup {
  readonly shape: PodShape
  readonly rejectedBy: number
  readonly pods: Set<QueuedPod>
}

/** Back-off and active pods of one scheduler name: a profile whose policy is busy must not hold up the others. */
interface Lane {
  readonly schedulerName: string
  readonly active: Heap<QueuedPod>
  /** after rejections */
  readonly backoff: Heap<QueuedPod>
  /** after errors: never popped early */
  readonly errorBackoff: Heap<QueuedPod>
}

const beforeInActive = (a: QueuedPod, b: QueuedPod): boolean =>
  a.pod.priority === b.pod.priority ? a.turn < b.turn : a.pod.priority > b.pod.priority

const beforeInBackoff = (a: QueuedPod, b: QueuedPod): boolean =>
  a.readyAtMs === b.readyAtMs ? beforeInActive(a, b) : a.readyAtMs < b.readyAtMs

/** Whether two pods of one shape are alike to every rule that is asked about events. */
const lookAlike = (a: Pod, b: Pod): boolean =>
  a.labels === b.labels && a.namespace === b.namespace && a.priority === b.priority && a.volumes === b.volumes

export interface PodQueueOptions {
  readonly clock: Clock
  readonly cluster: ClusterView
  /** at most 31 */
  readonly constraints: readonly Constraint[]
  /** told whenever a pod can be popped that could not be before */
  readonly onReady: () => void
  /** why a pod is not to be tried before something else is there, undefined if nothing holds it back */
  readonly holdsBack?: (pod: Pod) => string | undefined
  readonly onQueued: (queue: QueueName, event: string) => void
}

/**
 * The pods that have no node: active, backing off, unschedulable, or gated. Order, back-off and wake-up are kube-scheduler's
 * (facts of v1.37): priority, then the time of the last queueing after an attempt; back-off min(1 s * 2^(n-1), 10 s), ending on
 * the next whole second; a rejected pod rests until an event that one of its rejecting rules takes for helpful.
 */
export class PodQueue {
  readonly #options: PodQueueOptions
  readonly #lanes = new Map<string, Lane>()
  readonly #pool = new Map<PodShape, Map<number, WaitingGroup>>()
  /** groups that a kind of event may wake */
  readonly #listeners = new Map<ClusterEventKind, Set<WaitingGroup>>()
  /** the constraints, as bits, that listen to a kind of event */
  readonly #listening = new Map<ClusterEventKind, number>()
  readonly #unschedulable = new Set<QueuedPod>()
  readonly #gated = new Set<QueuedPod>()
  /** in the order of their popping, hence of `eventsFrom` */
  readonly #inFlight = new Set<QueuedPod>()
  /** events since the oldest pod in flight was popped; the first has the number `#firstEvent` */
  #events: ClusterEvent[] = []
  #firstEvent = 0
  #turns = 0
  #backoffTimer: Timer | undefined
  #flushTimer: Timer | undefined
  #stopped = false
  /** added to the monotonic clock so that whole seconds are those of the wall clock, which may jump */
  readonly #offsetMs: number
  readonly #startMs: number

  constructor(options: PodQueueOptions) {
    if (options.constraints.length > 31) throw new RangeError('a queue keeps at most 31 constraints apart')
    this.#options = options
    for (const [at, { wakesOn }] of options.constraints.entries())
      for (const kind of wakesOn) this.#listening.set(kind, (this.#listening.get(kind) ?? 0) | (1 << at))
    this.#offsetMs = options.clock.nowMs() - options.clock.monotonicMs()
    this.#startMs = this.#nowMs()
  }

  // What is there

  /** Pods in each queue. */
  get sizes(): Readonly<Record<QueueName, number>> {
    let active = 0
    let backoff = 0
    for (const lane of this.#lanes.values()) {
      active += lane.active.size
      backoff += lane.backoff.size + lane.errorBackoff.size
    }
    return { active, backoff, unschedulable: this.#unschedulable.size, gated: this.#gated.size }
  }

  /** Pods popped and not yet given back, removed or on their way to a node. */
  get inFlight(): number {
    return this.#inFlight.size
  }

  /** Every pod in the four queues. */
  *waiting(): Generator<QueuedPod> {
    for (const lane of this.#lanes.values()) {
      yield* lane.active
      yield* lane.backoff
      yield* lane.errorBackoff
    }
    yield* this.#unschedulable
    yield* this.#gated
  }

  /** The constraints behind `rejectedBy`. */
  rejecting(entry: QueuedPod): Constraint[] {
    return this.#options.constraints.filter((_, bit) => (entry.rejectedBy & (1 << bit)) !== 0)
  }

  /** How long a pod has been in the queue since its last attempt, or since it came. */
  waitedMs(entry: QueuedPod): number {
    return this.#nowMs() - entry.queuedAtMs
  }

  // Coming, changing, going

  /** A pod that was not known before. */
  add(pod: Pod): QueuedPod {
    const entry = new QueuedPod(pod, this.#options.clock.nowMs())
    this.#takeTurn(entry)
    this.#admit(entry, 'PodAdd')
    return entry
  }

  /** A pod that was not known before and that cannot be read: it waits in the pool until it changes. */
  addUnreadable(pod: Pod, fault: string): QueuedPod {
    const entry = new QueuedPod(pod, this.#options.clock.nowMs())
    this.#takeTurn(entry)
    entry.fault = fault
    entry.reason = fault
    this.#rest(entry, 'PodAdd')
    return entry
  }

  /**
   * A waiting pod has changed. It moves if the change itself could let it in; a pod in flight keeps the change until its
   * attempt has ended.
   */
  update(entry: QueuedPod, pod: Pod): void {
    const before = entry.pod
    if (entry.place === 'inFlight' || entry.place === 'none') {
      entry.pod = pod
      if (entry.place === 'inFlight') this.#events.push(...selfEvents(before, pod))
      return
    }
    if (entry.fault !== '') {
      this.#leave(entry)
      entry.pod = pod
      entry.fault = ''
      entry.reason = ''
      this.#admit(entry, 'PodUpdate')
      return
    }
    if (entry.place === 'unschedulable') {
      const events = selfEvents(before, pod)
      const waker = events.find((event) => this.#couldHelp(entry.rejectedBy, pod, event))
      this.#leave(entry)
      entry.pod = pod
      if (entry.awaits !== undefined) entry.missed ??= waker?.kind
      if (waker === undefined || entry.awaits !== undefined) this.#rest(entry, undefined)
      else this.#ready(entry, waker.kind)
      return
    }
    if (entry.place === 'gated') {
      this.#leave(entry)
      entry.pod = pod
      entry.reason = ''
      this.#admit(entry, 'SelfGates')
      return
    }
    // Its priority may have moved it within its heap.
    this.#leave(entry)
    entry.pod = pod
    const lane = this.#laneOf(pod.schedulerName)
    if (entry.place === 'active') lane.active.push(entry)
    else this.#backoffHeap(lane, entry).push(entry)
  }

  /** The pod is no business of the queue any more, wherever it is. */
  remove(entry: QueuedPod): void {
    if (entry.place === 'inFlight') this.done(entry)
    else {
      this.#leave(entry)
      entry.place = 'none'
    }
  }

  // Attempts

  /**
   * The pod whose turn it is, of a scheduler name that `isOpen`; it is in flight from now on. If no active pod is left, the
   * first that backs off after a rejection goes early.
   */
  pop(isOpen: (schedulerName: string) => boolean): QueuedPod | undefined {
    let best: QueuedPod | undefined
    for (const lane of this.#lanes.values()) {
      const { head } = lane.active
      if (head !== undefined && (best === undefined || beforeInActive(head, best)) && isOpen(lane.schedulerName))
        best = head
    }
    if (best === undefined) {
      for (const lane of this.#lanes.values()) {
        const { head } = lane.backoff
        if (head !== undefined && (best === undefined || beforeInBackoff(head, best)) && isOpen(lane.schedulerName))
          best = head
      }
    }
    if (best !== undefined) this.#fly(best)
    return best
  }

  /** Pops a pod out of its turn, whatever it waits for. @returns false if it cannot be tried now */
  take(entry: QueuedPod): boolean {
    const { awaits, fault, place } = entry
    if (place === 'inFlight' || place === 'none' || place === 'gated' || fault !== '' || awaits !== undefined)
      return false
    this.#fly(entry)
    return true
  }

  /** Puts a waiting pod before all others of its priority, until it has been tried. */
  advance(entry: QueuedPod): void {
    if (entry.turn < 0) return
    const lane = this.#laneOf(entry.pod.schedulerName)
    const heap =
      entry.place === 'active' ? lane.active : entry.place === 'backoff' ? this.#backoffHeap(lane, entry) : undefined
    heap?.remove(entry)
    entry.turn -= Number.MAX_SAFE_INTEGER
    heap?.push(entry)
  }

  /** What holds the pod back may be another, or over. */
  review(entry: QueuedPod): void {
    if (entry.place === 'gated') {
      if (this.#heldBack(entry)) return
      this.#leave(entry)
      entry.reason = ''
      this.#activate(entry, 'GangComplete')
    } else if (entry.place === 'unschedulable' && entry.fault === '' && entry.awaits === undefined)
      this.#wakeUp(entry, 'GangComplete')
  }

  #fly(entry: QueuedPod): void {
    this.#leave(entry)
    entry.place = 'inFlight'
    entry.attempts++
    entry.eventsFrom = this.#firstEvent + this.#events.length
    this.#inFlight.add(entry)
  }

  /** The bind begins: events need not be kept for the pod any longer. */
  done(entry: QueuedPod): void {
    this.#inFlight.delete(entry)
    entry.place = 'none'
    const [oldest] = this.#inFlight
    if (oldest === undefined) {
      this.#firstEvent += this.#events.length
      if (this.#events.length > 0) this.#events = []
    } else if (oldest.eventsFrom - this.#firstEvent > this.#events.length / 2) {
      this.#events = this.#events.slice(oldest.eventsFrom - this.#firstEvent)
      this.#firstEvent = oldest.eventsFrom
    }
  }

  /**
   * No node may take the pod; `rejectedBy` has a bit for each constraint that refused it on any node.
   * @param awaits uids of the pods that are being evicted for it
   */
  refused(entry: QueuedPod, rejectedBy: number, reason: string, awaits: ReadonlySet<string> = NOBODY): void {
    entry.rejections++
    entry.consecutiveErrors = 0
    entry.rejectedBy = rejectedBy
    entry.reason = reason
    this.#takeTurn(entry)
    const waker = this.#keptEvent(entry)
    this.done(entry)
    if (awaits.size > 0) {
      entry.awaits = new Set(awaits)
      entry.missed = waker
      this.#rest(entry, 'ScheduleAttemptFailure')
    } else if (waker === undefined) this.#rest(entry, 'ScheduleAttemptFailure')
    else this.#ready(entry, waker)
  }

  /** As `refused` for pods that are placed together or not at all: they back off for equally long. */
  refusedTogether(
    entries: readonly QueuedPod[],
    rejectedBy: number,
    reason: string,
    awaits: ReadonlySet<string> = NOBODY,
  ): void {
    const rejections = entries.reduce((most, entry) => Math.max(most, entry.rejections), 0)
    for (const entry of entries) {
      entry.rejections = rejections
      this.refused(entry, rejectedBy, reason, awaits)
    }
  }

  /** A pod has begun to leave, or is gone, that was to make room for this one. */
  departs(entry: QueuedPod, uid: string): void {
    if (entry.awaits?.delete(uid) === true && entry.awaits.size === 0) this.#release(entry)
  }

  /** The room that was being made for the pod is now for one that matters more: it must look for another. */
  lostNomination(entry: QueuedPod): void {
    if (entry.awaits !== undefined) entry.missed ??= 'PodDelete'
    else if (entry.place === 'unschedulable') this.#wakeUp(entry, 'NominationLost')
  }

  /** Some of the pods that were to make room for this one will not leave: it is tried again after its back-off. */
  evictionFailed(entry: QueuedPod): void {
    if (entry.awaits === undefined) return
    // An error's back-off, which nothing cuts short: an API server that refuses must not be asked without end.
    entry.consecutiveErrors++
    this.#takeTurn(entry)
    entry.missed ??= 'PodDelete'
    this.#release(entry)
  }

  #release(entry: QueuedPod): void {
    const { missed } = entry
    entry.awaits = undefined
    entry.missed = undefined
    if (missed !== undefined && entry.place === 'unschedulable') this.#wakeUp(entry, missed)
  }

  /** The attempt or the bind ended in an error, or there was no node at all. */
  failed(entry: QueuedPod, reason: string): void {
    entry.consecutiveErrors++
    entry.rejectedBy = 0
    entry.reason = reason
    this.#takeTurn(entry)
    if (entry.place === 'inFlight') this.done(entry)
    this.#ready(entry, 'ScheduleAttemptFailure')
  }

  /** The attempt was called off before it came to anything: the pod is where it was. */
  giveBack(entry: QueuedPod): void {
    entry.attempts--
    this.done(entry)
    this.#admit(entry, 'AttemptCalledOff')
  }

  /** Something happened in the cluster that may let waiting pods in. */
  notify(event: ClusterEvent): void {
    if (this.#inFlight.size > 0) this.#events.push(event)
    const groups = this.#listeners.get(event.kind)
    if (groups === undefined) return
    for (const group of groups) this.#wake(group, event)
  }

  /** No timer runs any more. */
  stop(): void {
    this.#stopped = true
    this.#backoffTimer?.cancel()
    this.#flushTimer?.cancel()
  }

  // Within

  #nowMs(): number {
    return this.#offsetMs + this.#options.clock.monotonicMs()
  }

  #takeTurn(entry: QueuedPod): void {
    entry.queuedAtMs = this.#nowMs()
    entry.turn = this.#turns++
  }

  #laneOf(schedulerName: string): Lane {
    let lane = this.#lanes.get(schedulerName)
    if (lane === undefined) {
      lane = {
        schedulerName,
        active: new Heap(beforeInActive),
        backoff: new Heap(beforeInBackoff),
        errorBackoff: new Heap(beforeInBackoff),
      }
      this.#lanes.set(schedulerName, lane)
    }
    return lane
  }

  #backoffHeap(lane: Lane, entry: QueuedPod): Heap<QueuedPod> {
    return entry.consecutiveErrors > 0 ? lane.errorBackoff : lane.backoff
  }

  /** Takes the pod out of the container it lies in. */
  #leave(entry: QueuedPod): void {
    const lane = this.#laneOf(entry.pod.schedulerName)
    if (entry.place === 'active') lane.active.remove(entry)
    else if (entry.place === 'backoff') this.#backoffHeap(lane, entry).remove(entry)
    else if (entry.place === 'gated') this.#gated.delete(entry)
    else if (entry.place === 'unschedulable') {
      this.#unschedulable.delete(entry)
      this.#ungroup(entry)
    }
  }

  /** To the active queue, or to the gated pods. */
  #admit(entry: QueuedPod, event: string): void {
    if (!this.#heldBack(entry)) {
      this.#activate(entry, event)
      return
    }
    entry.place = 'gated'
    this.#gated.add(entry)
    this.#options.onQueued('gated', event)
  }

  /** Whether the pod must not be tried yet; `reason` says why. */
  #heldBack(entry: QueuedPod): boolean {
    const gates = gatesOf(entry.pod)
    const reason = gates.length > 0 ? waitingForGates(gates) : this.#options.holdsBack?.(entry.pod)
    if (reason === undefined) return false
    entry.reason = reason
    return true
  }

  #activate(entry: QueuedPod, event: string): void {
    // Time behind gates is nobody's latency; a pod that has been tried goes on counting.
    if (entry.place === 'gated' && entry.attempts === 0) entry.openSinceMs = this.#options.clock.nowMs()
    entry.place = 'active'
    this.#laneOf(entry.pod.schedulerName).active.push(entry)
    this.#options.onQueued('active', event)
    this.#options.onReady()
  }

  /** To the active queue, or to back-off while that lasts. */
  #ready(entry: QueuedPod, event: string): void {
    entry.readyAtMs = backoffEndMs(entry)
    if (entry.readyAtMs <= this.#nowMs()) {
      this.#activate(entry, event)
      return
    }
    entry.place = 'backoff'
    this.#backoffHeap(this.#laneOf(entry.pod.schedulerName), entry).push(entry)
    this.#options.onQueued('backoff', event)
    this.#armBackoff()
    // It may go early if nothing else is active.
    if (entry.consecutiveErrors === 0) this.#options.onReady()
  }

  /** To the unschedulable pool; `event` undefined: it was there before. */
  #rest(entry: QueuedPod, event: string | undefined): void {
    entry.place = 'unschedulable'
    this.#unschedulable.add(entry)
    this.#group(entry)
    if (event !== undefined) this.#options.onQueued('unschedulable', event)
    this.#armFlush()
  }

  #group(entry: QueuedPod): void {
    const { shape } = entry.pod
    let ofShape = this.#pool.get(shape)
    if (ofShape === undefined) this.#pool.set(shape, (ofShape = new Map<number, WaitingGroup>()))
    let group = ofShape.get(entry.rejectedBy)
    if (group === undefined) {
      group = { shape, rejectedBy: entry.rejectedBy, pods: new Set() }
      ofShape.set(entry.rejectedBy, group)
      for (const constraint of this.rejecting(entry)) {
        for (const kind of constraint.wakesOn) {
          let groups = this.#listeners.get(kind)
          if (groups === undefined) this.#listeners.set(kind, (groups = new Set()))
          groups.add(group)
        }
      }
    }
    group.pods.add(entry)
    entry.group = group
  }

  #ungroup(entry: QueuedPod): void {
    const { group } = entry
    entry.group = undefined
    if (group === undefined) return
    group.pods.delete(entry)
    if (group.pods.size > 0) return
    const ofShape = this.#pool.get(group.shape)
    ofShape?.delete(group.rejectedBy)
    if (ofShape?.size === 0) this.#pool.delete(group.shape)
    for (const groups of this.#listeners.values()) groups.delete(group)
  }

  /** Wakes the pods of a group that the event could help; one question for all where rules look at nothing but the shape. */
  #wake(group: WaitingGroup, event: ClusterEvent): void {
    if (event.kind === 'PodDelete' && event.keptFromPriority !== undefined) {
      for (const entry of group.pods)
        if (this.#couldHelp(group.rejectedBy, entry.pod, event)) this.#wakeUpBy(entry, event)
      return
    }
    let apart = 0
    for (let bits = this.#asking(group.rejectedBy, event); bits !== 0; bits &= bits - 1) {
      const constraint = this.#ofLowest(bits)
      if (constraint.wakesEachPod === true) apart |= bits & -bits
      else {
        const [first] = group.pods
        if (first !== undefined && this.#asks(constraint, first.pod, event)) {
          for (const entry of group.pods) this.#wakeUpBy(entry, event)
          return
        }
      }
    }
    if (apart === 0) return
    // Most are of one template, one after another: what helps one helps the next.
    let before: Pod | undefined
    let helps = false
    for (const entry of group.pods) {
      const { pod } = entry
      if (before === undefined || !lookAlike(before, pod)) helps = this.#anyHelps(apart, pod, event)
      before = pod
      if (helps) this.#wakeUpBy(entry, event)
    }
  }

  /** A pod for which others are being evicted is not tried before they leave; that one of them is gone is no news. */
  #wakeUpBy(entry: QueuedPod, event: ClusterEvent): void {
    if (entry.awaits === undefined) this.#wakeUp(entry, event.kind)
    else if (event.kind !== 'PodDelete') entry.missed ??= event.kind
  }

  #wakeUp(entry: QueuedPod, event: string): void {
    this.#leave(entry)
    this.#ready(entry, event)
  }

  #couldHelp(rejectedBy: number, pod: Pod, event: ClusterEvent): boolean {
    if (event.kind === 'PodDelete' && event.keptFromPriority !== undefined)
      if (pod.priority > event.keptFromPriority || pod.uid === event.pod.uid)
        // Its room was kept from these only, and never from itself.
        return false
    return this.#anyHelps(this.#asking(rejectedBy, event), pod, event)
  }

  #anyHelps(constraintBits: number, pod: Pod, event: ClusterEvent): boolean {
    for (let bits = constraintBits; bits !== 0; bits &= bits - 1)
      if (this.#asks(this.#ofLowest(bits), pod, event)) return true
    return false
  }

  /** Those of the constraints that listen to such events. */
  #asking(constraintBits: number, event: ClusterEvent): number {
    return constraintBits & (this.#listening.get(event.kind) ?? 0)
  }

  /** The constraint of the lowest bit that is set. */
  #ofLowest(bits: number): Constraint {
    // only bits of constraints are ever set
    return this.#options.constraints[31 - Math.clz32(bits & -bits)]!
  }

  /** A rule that fails to answer must not lose a pod: it is tried once too often instead. */
  #asks(constraint: Constraint, pod: Pod, event: ClusterEvent): boolean {
    try {
      return constraint.couldHelp(pod, event, this.#options.cluster)
    } catch {
      return true
    }
  }

  /** The kind of an event since the pod was popped that could help it. */
  #keptEvent(entry: QueuedPod): ClusterEventKind | undefined {
    for (let at = entry.eventsFrom - this.#firstEvent; at < this.#events.length; at++) {
      // at < length
      const event = this.#events[at]!
      const ofAnother = event.kind.startsWith('Self') && 'pod' in event && event.pod.uid !== entry.pod.uid
      if (!ofAnother && this.#couldHelp(entry.rejectedBy, entry.pod, event)) return event.kind
    }
    return undefined
  }

  #armBackoff(): void {
    if (this.#backoffTimer !== undefined || this.#stopped) return
    const delayMs = BACKOFF_WINDOW_MS - (this.#nowMs() % BACKOFF_WINDOW_MS)
    this.#backoffTimer = this.#options.clock.after(delayMs, () => {
      this.#backoffTimer = undefined
      this.#flushBackoff()
    })
  }

  #flushBackoff(): void {
    const nowMs = this.#nowMs()
    let left = 0
    for (const lane of this.#lanes.values()) {
      for (const heap of [lane.backoff, lane.errorBackoff]) {
        for (let { head } = heap; head !== undefined && head.readyAtMs <= nowMs; { head } = heap) {
          heap.remove(head)
          this.#activate(head, 'BackoffComplete')
        }
        left += heap.size
      }
    }
    if (left > 0) this.#armBackoff()
  }

  #armFlush(): void {
    if (this.#flushTimer !== undefined || this.#stopped) return
    const delayMs = FLUSH_UNSCHEDULABLE_MS - ((this.#nowMs() - this.#startMs) % FLUSH_UNSCHEDULABLE_MS)
    this.#flushTimer = this.#options.clock.after(delayMs, () => {
      this.#flushTimer = undefined
      this.#flushUnschedulable()
    })
  }

  #flushUnschedulable(): void {
    const nowMs = this.#nowMs()
    for (const entry of this.#unschedulable)
      if (entry.fault === '' && entry.awaits === undefined && nowMs - entry.queuedAtMs > MAX_IN_UNSCHEDULABLE_MS)
        this.#wakeUp(entry, 'UnschedulableTimeout')
    if (this.#unschedulable.size > 0) this.#armFlush()
  }
}

/** Queue time at which a pod may be tried again: the next whole second after its back-off. */
const backoffEndMs = (entry: QueuedPod): number => {
  const count = entry.consecutiveErrors > 0 ? entry.consecutiveErrors : entry.rejections
  if (count === 0) return 0
  const backoffMs = Math.min(INITIAL_BACKOFF_MS * 2 ** (count - 1), MAX_BACKOFF_MS)
  return (Math.floor((entry.queuedAtMs + backoffMs) / BACKOFF_WINDOW_MS) + 1) * BACKOFF_WINDOW_MS
}

/** What a change of a waiting pod means for itself. */
const selfEvents = (before: Pod, pod: Pod): ClusterEvent[] => {
  const events: ClusterEvent[] = []
  const { shape } = pod
  if (before.shape !== shape) {
    if (before.shape.schedulingGates.length > 0 && shape.schedulingGates.length === 0)
      events.push({ kind: 'SelfGates', before, pod })
    if (JSON.stringify(before.shape.tolerations) !== JSON.stringify(shape.tolerations))
      events.push({ kind: 'SelfToleration', before, pod })
    if (asksLess(before.shape, shape)) events.push({ kind: 'SelfScaleDown', before, pod })
    if (before.shape.requiredFeatures.join() !== shape.requiredFeatures.join())
      events.push({ kind: 'SelfFeatures', before, pod })
  }
  if (before.labels !== pod.labels && JSON.stringify(before.labels) !== JSON.stringify(pod.labels))
    events.push({ kind: 'SelfLabel', before, pod })
  return events
}

const asksLess = (before: PodShape, after: PodShape): boolean =>
  before.request.indexes.some((resource, i) => {
    const at = after.request.indexes.indexOf(resource)
    return (at < 0 ? 0 : (after.request.amounts[at] ?? 0)) < (before.request.amounts[i] ?? 0)
  })
