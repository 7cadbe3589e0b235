import type { Clock } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import type { ClusterEvent } from '../cluster/events.ts'
import type { ObjectFeed } from '../cluster/feed.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import { isFinished, type Pod, podKey, type PodShape } from '../cluster/pod.ts'
import { noResources, type ResourceNames } from '../cluster/resources.ts'
import type { ClusterState } from '../cluster/state.ts'
import type { Constraint } from '../constraints/constraint.ts'
import type { DecisionRecord, DecisionSink, Outcome } from '../decisions/record.ts'
import { messageOf } from '../errors/catalogue.ts'
import { Ledger, type Place } from './conservation.ts'
import { Cycle, type Decision, type DecisionFacts } from './cycle.ts'
import {
  type AttemptResult,
  type Binder,
  BindFailure,
  type Conservation,
  type QueueName,
  type Reporter,
  type SchedulingObserver,
} from './ports.ts'
import type { Profile } from './profile.ts'
import { PodQueue, type QueuedPod } from './queue.ts'

/** Where the scheduler tells what happens inside it. */
export interface SchedulingLog {
  debug(message: string, fields: Readonly<Record<string, unknown>>): void
  info(message: string, fields: Readonly<Record<string, unknown>>): void
  warn(message: string, fields: Readonly<Record<string, unknown>>): void
  error(message: string, fields: Readonly<Record<string, unknown>>): void
}

export interface SchedulerOptions {
  readonly clock: Clock
  readonly random: Random
  /** one for each scheduler name */
  readonly profiles: readonly Profile[]
  /** in the order in which they are asked */
  readonly constraints: readonly Constraint[]
  /** written by nobody but this scheduler */
  readonly cluster: ClusterState
  readonly binder: Binder
  readonly reporter: Reporter
  readonly decisions: DecisionSink
  readonly observer: SchedulingObserver
  readonly log: SchedulingLog
  /** Binds that wait for the API server at the same time. @default 64 */
  readonly maxBindsInFlight?: number
  /** The first decision's id; the next number after the last in the store. @default 1 */
  readonly firstDecisionId?: number
  /** Runs something once events that have arrived have been read. @default setImmediate */
  readonly yieldToEvents?: (run: () => void) => void
}

/** A pod that waits, for those who ask why. */
export interface WaitingPod {
  readonly pod: Pod
  readonly queue: QueueName
  readonly attempts: number
  /** wall-clock time at which it was first seen */
  readonly sinceMs: number
  /** '' before the first attempt */
  readonly reason: string
  /** names of the constraints that refused it */
  readonly rejectedBy: readonly string[]
  /** kinds of events that may let it in */
  readonly wakesOn: readonly string[]
}

export interface SchedulerStats {
  readonly queues: Readonly<Record<QueueName, number>>
  /** attempts that have ended, by their result; a placed pod counts once the API server has answered */
  readonly attempts: Readonly<Record<AttemptResult, number>>
  readonly bindsInFlight: number
  /** policies that have not answered yet */
  readonly rankingsInFlight: number
  readonly fallbacks: number
  /** objects from outside that could not be read */
  readonly unreadable: number
}

/** How long cycles may run before events that have arrived are read. */
const SLICE_MS = 5
const MAX_BINDS_IN_FLIGHT = 64
/** Pods of one profile whose policy has not answered yet; the profile's others wait in the queue meanwhile. */
const MAX_RANKINGS_IN_FLIGHT = 16

/** A pod that left the queue for a node. */
interface Bind {
  readonly nodeName: string
  readonly decisionId: number
  readonly cycleMs: number
  readonly startMs: number
  /** the node on which the API server has shown it, '' while it has not */
  seenOn: string
  /** it was deleted before the API server answered */
  gone: boolean
}

/** A pod of ours from its first sight without a node until it is seen bound, or gone. */
interface Tracked {
  readonly entry: QueuedPod
  place: Place
  /** id of its last decision, 0 without one, and the node that it chose, '' for none */
  decisionId: number
  decidedNode: string
  /** nodes to which a bind was sent whose end is not known: the API server may have taken it */
  readonly unanswered: Set<string>
  callOff: (() => void) | undefined
  bind: Bind | undefined
}

interface ActiveProfile {
  readonly profile: Profile
  rankings: number
}

/** Stands for the shape of a pod that could not be read. Such a pod is never tried. */
const unreadableShape: PodShape = {
  id: -1,
  request: noResources,
  scoringCpuMilli: 0,
  scoringMemoryBytes: 0,
  nodeSelector: {},
  requiredTerms: undefined,
  preferredTerms: [],
  tolerations: [],
  hostPorts: [],
  images: [],
  schedulingGates: [],
  unsupported: [],
}

/**
 * The scheduler: takes what is seen of a cluster, decides for the pods of its profiles one after another, and has them
 * bound, many at a time. All of its state can be had again from the API server.
 */
export class Scheduler {
  readonly pods: ObjectFeed<PodObject>
  readonly nodes: ObjectFeed<NodeObject>

  readonly #options: SchedulerOptions
  readonly #cluster: ClusterState
  readonly #queue: PodQueue
  readonly #cycle: Cycle
  readonly #ledger = new Ledger()
  readonly #profiles = new Map<string, ActiveProfile>()
  readonly #tracked = new Map<string, Tracked>()
  readonly #requests = new WeakMap<PodShape, Readonly<Record<string, number>>>()
  readonly #attempts: Record<AttemptResult, number> = { scheduled: 0, unschedulable: 0, error: 0 }
  readonly #maxBindsInFlight: number
  readonly #yieldToEvents: (run: () => void) => void
  readonly #stopBinds = new AbortController()
  #nextDecisionId: number
  #running = false
  #drained = false
  #podsSynced = false
  #nodesSynced = false
  #sliceAhead = false
  #bindsInFlight = 0
  #rankingsInFlight = 0
  #fallbacks = 0
  #unreadable = 0
  #stateVersion = 0
  #onBindsDone: (() => void) | undefined

  constructor(options: SchedulerOptions) {
    const { clock, cluster, constraints, observer, random } = options
    this.#options = options
    this.#cluster = cluster
    this.#maxBindsInFlight = options.maxBindsInFlight ?? MAX_BINDS_IN_FLIGHT
    this.#nextDecisionId = options.firstDecisionId ?? 1
    this.#yieldToEvents = options.yieldToEvents ?? setImmediate
    for (const profile of options.profiles) this.#profiles.set(profile.schedulerName, { profile, rankings: 0 })
    this.#queue = new PodQueue({
      clock,
      cluster,
      constraints,
      onReady: () => this.#wake(),
      onQueued: (queue, event) => observer.queued(queue, event),
    })
    this.#cycle = new Cycle({
      clock,
      random,
      cluster,
      constraints,
      stateVersion: () => this.#stateVersion,
      onPhase: (schedulerName, phase, durationMs) => observer.phase(schedulerName, phase, durationMs),
    })
    this.pods = {
      seen: (object) => this.#podSeen(object),
      gone: (_namespace, _name, uid) => this.#podGone(uid),
      synced: () => {
        this.#podsSynced = true
        this.#wake()
      },
    }
    this.nodes = {
      seen: (object) => this.#nodeSeen(object),
      gone: (_namespace, name) => this.#changed(this.#cluster.removeNode(name)),
      synced: () => {
        this.#nodesSynced = true
        this.#wake()
      },
    }
  }

  // For whoever runs it

  /** May decide from now on: this replica leads. Nothing is decided before both feeds have synced. */
  start(): void {
    if (this.#drained || this.#running) return
    this.#running = true
    for (const { fault, pod } of this.#queue.waiting())
      if (fault !== '') this.#options.reporter.failed(pod, 'SchedulerError', fault)
    this.#wake()
  }

  /** Begins no more attempts until `start`; binds on their way go on. */
  pause(): void {
    this.#running = false
  }

  /** Whether everything that exists has been seen once. */
  get synced(): boolean {
    return this.#podsSynced && this.#nodesSynced
  }

  /** What metrics.k8s.io measured on a node. */
  usage(nodeName: string, cpuMilli: number, memoryBytes: number): void {
    this.#cluster.applyUsage(nodeName, cpuMilli, memoryBytes)
    this.#stateVersion++
  }

  /** The measurement of a node is too old or gone. */
  noUsage(nodeName: string): void {
    this.#cluster.clearUsage(nodeName)
    this.#stateVersion++
  }

  /**
   * Ends for good: begins nothing more, calls off policies that have not answered, waits for binds on their way, then for
   * what is left to report. When the signal is aborted, binds are aborted too.
   */
  async drain(signal: AbortSignal): Promise<void> {
    this.#running = false
    this.#drained = true
    this.#queue.stop()
    for (const tracked of this.#tracked.values()) {
      if (tracked.callOff === undefined) continue
      this.#endRanking(tracked)
      this.#queue.giveBack(tracked.entry)
      this.#move(tracked, 'waiting')
    }
    if (this.#bindsInFlight > 0) {
      const abort = (): void => this.#stopBinds.abort(signal.reason)
      signal.addEventListener('abort', abort, { once: true })
      if (signal.aborted) abort()
      await new Promise<void>((resolve) => {
        this.#onBindsDone = resolve
      })
      signal.removeEventListener('abort', abort)
    }
    await this.#options.reporter.drain(signal)
  }

  /** Where the pods are, by the moves they made. */
  conservation(): Conservation {
    return this.#ledger.sum
  }

  /** Where the pods are that are still to be bound, by looking into every container: tests hold `conservation` against it. */
  recount(): Omit<Conservation, 'seen' | 'bound' | 'deleted'> {
    const { active, backoff, unschedulable, gated } = this.#queue.sizes
    return {
      waiting: active + backoff + unschedulable,
      gated,
      inFlight: this.#tracked.values().reduce((sum, { place }) => sum + (place === 'inFlight' ? 1 : 0), 0),
    }
  }

  /** Every pod of ours that waits, and why. */
  *waiting(): Generator<WaitingPod> {
    for (const entry of this.#queue.waiting()) {
      const rejecting = this.#queue.rejecting(entry)
      yield {
        pod: entry.pod,
        // what the queue yields is in one of its four parts
        queue: entry.place as QueueName,
        attempts: entry.attempts,
        sinceMs: entry.seenAtMs,
        reason: entry.reason,
        rejectedBy: [...new Set(rejecting.map(({ name }) => name))],
        wakesOn: entry.place === 'gated' ? ['SelfGates'] : [...new Set(rejecting.flatMap(({ wakesOn }) => wakesOn))],
      }
    }
  }

  stats(): SchedulerStats {
    return {
      queues: this.#queue.sizes,
      attempts: { ...this.#attempts },
      bindsInFlight: this.#bindsInFlight,
      rankingsInFlight: this.#rankingsInFlight,
      fallbacks: this.#fallbacks,
      unreadable: this.#unreadable,
    }
  }

  // What is seen of the cluster

  #nodeSeen(object: NodeObject): void {
    let events: ClusterEvent[]
    try {
      events = this.#cluster.applyNode(this.#cluster.readNode(object))
    } catch (thrown) {
      this.#cannotRead('Node', nameOf(object), thrown)
      return
    }
    // Most updates are heartbeats: what changes without an event concerns no rule.
    if (events.length > 0) this.#changed(events)
  }

  #podSeen(object: PodObject): void {
    let pod: Pod
    try {
      const { uid = '', resourceVersion } = object.metadata ?? {}
      const known = this.#tracked.get(uid)?.entry
      if (known !== undefined && known.pod.resourceVersion === resourceVersion && resourceVersion !== '') return
      pod = this.#cluster.readPod(object)
    } catch (thrown) {
      this.#podUnreadable(object, thrown)
      return
    }
    if (pod.nodeName !== '') this.#podSeenOnNode(pod)
    else if (isFinished(pod.phase)) this.#podGone(pod.uid)
    else if (this.#profiles.has(pod.schedulerName)) this.#podSeenWithoutNode(pod)
  }

  #podSeenOnNode(pod: Pod): void {
    this.#changed(this.#cluster.applyPod(pod))
    const tracked = this.#tracked.get(pod.uid)
    if (tracked === undefined) return
    if (tracked.bind !== undefined) {
      // The API server has shown the bind before it answered.
      tracked.bind.seenOn = pod.nodeName
      if (tracked.place === 'inFlight') this.#move(tracked, 'bound')
      return
    }
    this.#tracked.delete(pod.uid)
    if (tracked.place === 'bound' || tracked.place === 'deleted') return
    this.#endRanking(tracked)
    this.#queue.remove(tracked.entry)
    this.#move(tracked, 'bound')
    this.#boundUnawares(tracked, pod)
  }

  /** A pod that we took for unbound has a node. */
  #boundUnawares(tracked: Tracked, pod: Pod): void {
    const { nodeName } = pod
    const ours = tracked.unanswered.has(nodeName)
    if (ours) this.#options.reporter.scheduled(pod, nodeName)
    if (ours && tracked.decidedNode === nodeName) {
      this.#settle(tracked, 'bound', '')
      return
    }
    const message = ours
      ? `an earlier bind to ${nodeName} went through although its answer was lost`
      : `somebody else bound it to ${nodeName}`
    // A decision for a node that came to nothing stays as it is: this one did not place the pod.
    if (tracked.decidedNode === '') this.#settle(tracked, 'bound', message)
    else this.#keep(tracked, pod, 'bound', factsOf(message, []), -1, 0)
  }

  #podSeenWithoutNode(pod: Pod): void {
    const tracked = this.#tracked.get(pod.uid) ?? this.#trackNew(pod)
    if (tracked === undefined || tracked.place === 'bound' || tracked.place === 'deleted') return
    const { entry } = tracked
    if (entry.pod !== pod) this.#queue.update(entry, pod)
    if (tracked.place === 'inFlight') return
    this.#move(tracked, entry.place === 'gated' ? 'gated' : 'waiting')
    if (pod.deleting) this.#skip(tracked)
  }

  #trackNew(pod: Pod): Tracked | undefined {
    // An older view of a pod that has its node by now.
    if (this.#cluster.placeOf(pod.uid) !== '') return undefined
    const entry = this.#queue.add(pod)
    const gated = entry.place === 'gated'
    const tracked = this.#track(entry, gated ? 'gated' : 'waiting')
    if (gated) this.#keep(tracked, pod, 'gated', factsOf(entry.reason, ['SelfGates']), -1, 0)
    return tracked
  }

  #podUnreadable(object: PodObject, thrown: unknown): void {
    const name = nameOf(object)
    this.#cannotRead('Pod', name, thrown)
    const uid: unknown = object.metadata?.uid
    const schedulerName: unknown = object.spec?.schedulerName
    if (typeof uid !== 'string' || uid === '' || this.#tracked.has(uid) || this.#cluster.placeOf(uid) !== '') return
    if (typeof schedulerName !== 'string' || !this.#profiles.has(schedulerName) || object.spec?.nodeName) return
    const pod: Pod = {
      uid,
      namespace: textOf(object.metadata?.namespace),
      name: textOf(object.metadata?.name),
      resourceVersion: textOf(object.metadata?.resourceVersion),
      generation: 0,
      schedulerName,
      priority: 0,
      preemptionPolicy: 'Never',
      labels: {},
      annotations: {},
      ownerUid: '',
      nodeName: '',
      nominatedNodeName: '',
      phase: 'Pending',
      deleting: object.metadata?.deletionTimestamp !== undefined,
      createdAtMs: this.#options.clock.nowMs(),
      shape: unreadableShape,
      placedRequest: noResources,
      placedScoringCpuMilli: 0,
      placedScoringMemoryBytes: 0,
      scheduledCondition: undefined,
    }
    const message = messageOf(thrown)
    const tracked = this.#track(this.#queue.addUnreadable(pod, message), 'waiting')
    this.#keep(tracked, pod, 'waiting', factsOf(message, []), -1, 0)
    if (this.#running) this.#options.reporter.failed(pod, 'SchedulerError', message)
  }

  #podGone(uid: string): void {
    this.#changed(this.#cluster.removePod(uid))
    const tracked = this.#tracked.get(uid)
    if (tracked === undefined) return
    if (tracked.bind !== undefined) {
      tracked.bind.gone = true
      return
    }
    this.#tracked.delete(uid)
    if (tracked.place === 'bound' || tracked.place === 'deleted') return
    this.#drop(tracked)
  }

  #cannotRead(kind: string, name: string, thrown: unknown): void {
    const why = messageOf(thrown)
    this.#unreadable++
    this.#options.observer.unreadable(kind, name, why)
    this.#options.log.warn('cannot read an object', { kind, name, why })
  }

  /** After every change of the cluster state, with what it means for waiting pods. */
  #changed(events: readonly ClusterEvent[]): void {
    this.#stateVersion++
    for (const event of events) this.#queue.notify(event)
  }

  // Attempts

  #wake(): void {
    if (this.#sliceAhead || !this.#running || !this.synced) return
    this.#sliceAhead = true
    this.#yieldToEvents(() => {
      this.#sliceAhead = false
      this.#slice()
    })
  }

  /** Attempts until nothing is left to do, too many binds are on their way, or events should be read. */
  #slice(): void {
    const { clock } = this.#options
    const untilMs = clock.monotonicMs() + SLICE_MS
    while (this.#running && this.#bindsInFlight < this.#maxBindsInFlight) {
      const entry = this.#queue.pop(this.#isOpen)
      if (entry === undefined) return
      this.#attempt(entry)
      if (clock.monotonicMs() >= untilMs) {
        this.#wake()
        return
      }
    }
  }

  readonly #isOpen = (schedulerName: string): boolean =>
    (this.#profiles.get(schedulerName)?.rankings ?? MAX_RANKINGS_IN_FLIGHT) < MAX_RANKINGS_IN_FLIGHT

  #attempt(entry: QueuedPod): void {
    const { clock } = this.#options
    const { pod } = entry
    const tracked = this.#tracked.get(pod.uid)
    const active = this.#profiles.get(pod.schedulerName)
    if (tracked === undefined || active === undefined) {
      // Cannot be: the queue holds tracked pods of our profiles only.
      this.#queue.remove(entry)
      this.#options.log.error('a pod in the queue is not known', { pod: podKey(pod) })
      return
    }
    if (pod.deleting) {
      this.#skip(tracked)
      return
    }
    this.#move(tracked, 'inFlight')
    const startMs = clock.monotonicMs()
    const broken = (thrown: unknown): void => {
      this.#endRanking(tracked)
      this.#broke(tracked, thrown, clock.monotonicMs() - startMs)
    }
    const conclude = (decision: Decision): void => {
      this.#endRanking(tracked)
      this.#conclude(tracked, pod, active.profile, decision, startMs)
    }
    try {
      const callOff = this.#cycle.decide(pod, active.profile, conclude, broken)
      if (callOff === undefined) return
      tracked.callOff = callOff
      active.rankings++
      this.#rankingsInFlight++
    } catch (thrown) {
      broken(thrown)
    }
  }

  /** The policy has answered, or it does not matter any more. */
  #endRanking(tracked: Tracked): void {
    if (tracked.callOff === undefined) return
    tracked.callOff()
    tracked.callOff = undefined
    this.#rankingsInFlight--
    const active = this.#profiles.get(tracked.entry.pod.schedulerName)
    if (active !== undefined) active.rankings--
    this.#wake()
  }

  #conclude(tracked: Tracked, pod: Pod, profile: Profile, decision: Decision, startMs: number): void {
    const { clock, observer, reporter } = this.#options
    const { entry } = tracked
    const changed = entry.pod.deleting || entry.pod.shape !== pod.shape || entry.pod.labels !== pod.labels
    if (changed || !this.#running) {
      // While the policy thought, it has become another pod than the one ranked, or we may decide no longer.
      this.#queue.giveBack(entry)
      this.#move(tracked, 'waiting')
      return
    }
    if (decision.fellBack !== undefined) {
      this.#fallbacks++
      observer.fellBack(profile.schedulerName, profile.policy.name, decision.fellBack)
    }
    const cycleMs = clock.monotonicMs() - startMs
    const { facts, nodeName } = decision
    if (decision.node >= 0) {
      const events = this.#cluster.assume({ ...pod, nodeName }, decision.node)
      this.#keep(tracked, pod, 'reserved', facts, cycleMs, this.#queue.waitedMs(entry), nodeName)
      this.#queue.done(entry)
      this.#changed(events)
      this.#bind(tracked, entry.pod, nodeName, cycleMs)
      return
    }
    this.#keep(tracked, pod, 'waiting', facts, cycleMs, this.#queue.waitedMs(entry))
    if (decision.rejectedBy === 0) this.#queue.failed(entry, facts.message)
    else this.#queue.refused(entry, decision.rejectedBy, facts.message)
    this.#move(tracked, 'waiting')
    this.#attempted(profile.schedulerName, 'unschedulable', cycleMs)
    reporter.failed(entry.pod, 'Unschedulable', facts.message)
  }

  /** A rule or we ourselves have a bug: the pod waits, and is tried again. */
  #broke(tracked: Tracked, thrown: unknown, cycleMs: number): void {
    const { entry } = tracked
    const { pod } = entry
    const message = messageOf(thrown)
    this.#options.log.error('an attempt broke', { pod: podKey(pod), error: thrown })
    this.#keep(tracked, pod, 'waiting', factsOf(message, []), cycleMs, this.#queue.waitedMs(entry))
    this.#queue.failed(entry, message)
    this.#move(tracked, 'waiting')
    this.#attempted(pod.schedulerName, 'error', cycleMs)
    this.#options.reporter.failed(pod, 'SchedulerError', message)
  }

  // Binding

  #bind(tracked: Tracked, pod: Pod, nodeName: string, cycleMs: number): void {
    const startMs = this.#options.clock.monotonicMs()
    const { decisionId } = tracked
    const bind: Bind = { nodeName, decisionId, cycleMs, startMs, seenOn: '', gone: false }
    tracked.bind = bind
    this.#bindsInFlight++
    this.#ask(pod, nodeName)
      .then(
        () => this.#bound(tracked, bind),
        (thrown: unknown) => this.#bindFailed(tracked, bind, thrown),
      )
      .catch((thrown: unknown) => {
        this.#options.log.error('the end of a bind broke', { pod: podKey(pod), error: thrown })
      })
      .finally(() => {
        this.#bindsInFlight--
        this.#wake()
        if (this.#bindsInFlight === 0) this.#onBindsDone?.()
      })
  }

  /** A binder that throws has rejected. */
  async #ask(pod: Pod, nodeName: string): Promise<void> {
    await this.#options.binder.bind(pod, nodeName, this.#stopBinds.signal)
  }

  #bound(tracked: Tracked, bind: Bind): void {
    const { clock, observer, reporter } = this.#options
    const { entry } = tracked
    const { pod } = entry
    const bindMs = clock.monotonicMs() - bind.startMs
    tracked.bind = undefined
    if (tracked.place === 'inFlight') this.#move(tracked, 'bound')
    // Else it is remembered until it is seen bound: older views of it may still be on their way.
    if (bind.seenOn !== '' || bind.gone) this.#tracked.delete(pod.uid)
    this.#settle(tracked, 'bound', '', bindMs)
    reporter.scheduled(pod, bind.nodeName)
    observer.phase(pod.schedulerName, 'Bind', bindMs)
    this.#attempted(pod.schedulerName, 'scheduled', bind.cycleMs + bindMs)
    observer.bound(pod.schedulerName, entry.attempts, clock.nowMs() - entry.openSinceMs)
  }

  #bindFailed(tracked: Tracked, bind: Bind, thrown: unknown): void {
    if (bind.seenOn === bind.nodeName) {
      // The answer was lost, the bind was not.
      this.#bound(tracked, bind)
      return
    }
    const { clock, log, observer, reporter } = this.#options
    const { entry } = tracked
    const { pod } = entry
    const bindMs = clock.monotonicMs() - bind.startMs
    const message = `running Bind plugin "DefaultBinder": ${messageOf(thrown)}`
    tracked.bind = undefined
    observer.phase(pod.schedulerName, 'Bind', bindMs)
    this.#attempted(pod.schedulerName, 'error', bind.cycleMs + bindMs)
    log.debug('a bind failed', { pod: podKey(pod), node: bind.nodeName, error: thrown })
    if (bind.seenOn !== '') {
      this.#tracked.delete(pod.uid)
      this.#settle(tracked, 'failed', message, bindMs)
      this.#boundUnawares(tracked, { ...pod, nodeName: bind.seenOn })
      return
    }
    this.#changed(this.#cluster.forget(pod.uid))
    if (bind.gone) {
      this.#tracked.delete(pod.uid)
      this.#move(tracked, 'deleted')
      this.#settle(tracked, 'deleted', 'it was deleted before it was bound', bindMs)
      return
    }
    if (!(thrown instanceof BindFailure) || thrown.kind === 'error') tracked.unanswered.add(bind.nodeName)
    this.#settle(tracked, 'failed', message, bindMs)
    this.#queue.failed(entry, message)
    this.#move(tracked, 'waiting')
    if (pod.deleting) {
      this.#skip(tracked)
      return
    }
    // What is gone will be seen to be gone; what we called off ourselves is nobody's failure.
    const gone = thrown instanceof BindFailure && thrown.kind === 'gone'
    if (!gone && !this.#stopBinds.signal.aborted) reporter.failed(pod, 'SchedulerError', message)
  }

  // Bookkeeping

  #track(entry: QueuedPod, place: Place): Tracked {
    const tracked: Tracked = {
      entry,
      place,
      decisionId: 0,
      decidedNode: '',
      unanswered: new Set(),
      callOff: undefined,
      bind: undefined,
    }
    this.#tracked.set(entry.pod.uid, tracked)
    this.#ledger.enter(place)
    return tracked
  }

  #move(tracked: Tracked, place: Place): void {
    this.#ledger.move(tracked.place, place)
    tracked.place = place
  }

  /** A pod without a node is being deleted. It is remembered until it is gone, so that it does not count as a new one. */
  #skip(tracked: Tracked): void {
    const { pod } = tracked.entry
    this.#drop(tracked)
    if (this.#running)
      this.#options.reporter.failed(pod, 'SchedulerError', `skip schedule deleting pod: ${podKey(pod)}`)
  }

  /** A pod that has no node will never get one. */
  #drop(tracked: Tracked): void {
    this.#endRanking(tracked)
    this.#queue.remove(tracked.entry)
    this.#move(tracked, 'deleted')
    this.#settle(tracked, 'deleted', 'it was deleted before it was bound')
  }

  #attempted(schedulerName: string, result: AttemptResult, durationMs: number): void {
    this.#attempts[result]++
    this.#options.observer.attempted(schedulerName, result, durationMs)
  }

  #settle(tracked: Tracked, outcome: Outcome, message: string, bindMs = -1): void {
    if (tracked.decisionId !== 0) this.#options.decisions.settle(tracked.decisionId, outcome, message, bindMs)
  }

  #keep(
    tracked: Tracked,
    pod: Pod,
    outcome: Outcome,
    facts: DecisionFacts,
    cycleMs: number,
    queueMs: number,
    node = '',
  ): void {
    const id = this.#nextDecisionId++
    tracked.decisionId = id
    tracked.decidedNode = node
    const record: DecisionRecord = {
      id,
      atMs: this.#options.clock.nowMs(),
      namespace: pod.namespace,
      pod: pod.name,
      uid: pod.uid,
      schedulerName: pod.schedulerName,
      attempt: tracked.entry.attempts,
      priority: pod.priority,
      request: this.#requestOf(pod.shape),
      scoringCpuMilli: pod.shape.scoringCpuMilli,
      scoringMemoryBytes: pod.shape.scoringMemoryBytes,
      outcome,
      node,
      ...facts,
      queueMs,
      cycleMs,
      bindMs: -1,
    }
    this.#options.decisions.keep(record)
  }

  #requestOf(shape: PodShape): Readonly<Record<string, number>> {
    let request = this.#requests.get(shape)
    if (request === undefined) {
      request = requestOf(shape, this.#cluster.resources)
      this.#requests.set(shape, request)
    }
    return request
  }
}

/** Resource names come from outside: an object without a prototype takes any. */
const requestOf = ({ request }: PodShape, names: ResourceNames): Readonly<Record<string, number>> => {
  const named = Object.create(null) as Record<string, number>
  for (const [at, resource] of request.indexes.entries()) named[names.name(resource)] = request.amounts[at] ?? 0
  return named
}

/** Facts of a decision that no cycle made. */
const factsOf = (message: string, wakesOn: readonly string[]): DecisionFacts => ({
  policy: '',
  policyVersion: '',
  source: 'none',
  usage: '',
  nodes: 0,
  feasible: 0,
  refused: [],
  candidates: [],
  wakesOn,
  message,
})

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

const nameOf = (object: PodObject | NodeObject): string => {
  const { namespace, name } = object.metadata ?? {}
  return [namespace, name].filter((part) => typeof part === 'string').join('/')
}
