import type { Clock } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import { DisruptionBudgets } from '../cluster/disruption-budgets.ts'
import type { ClusterEvent } from '../cluster/events.ts'
import type { ObjectFeed } from '../cluster/feed.ts'
import type { GangSource, PodGroupObject } from '../cluster/gangs.ts'
import type { KubeObject, NodeObject, PodDisruptionBudgetObject, PodObject } from '../cluster/objects.ts'
import { isFinished, type Pod, podKey, type PodShape } from '../cluster/pod.ts'
import { noResources, type ResourceNames } from '../cluster/resources.ts'
import type { ClusterState } from '../cluster/state.ts'
import { PodClaims } from '../cluster/volume-plan.ts'
import { NO_VOLUMES, type VolumePlan } from '../cluster/volumes.ts'
import type { Constraint } from '../constraints/constraint.ts'
import type { DecisionRecord, DecisionSink, Outcome } from '../decisions/record.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import { Ledger, type Place } from './conservation.ts'
import { Cycle, type Decision, type DecisionFacts } from './cycle.ts'
import { findRoomForGang, type GangPreemption, type GangPreemptionFinding, type GangVictim } from './gang-preemption.ts'
import { type GangCandidate, type GangStep, placeGang } from './gang-step.ts'
import { type Gang, Gangs } from './gangs.ts'
import {
  type AttemptResult,
  type Binder,
  BindFailure,
  type ClaimBinder,
  type Conservation,
  type Evictor,
  type GangReport,
  type Preemptor,
  type QueueName,
  type Reporter,
  type SchedulingObserver,
} from './ports.ts'
import type { Profile } from './profile.ts'
import { PodQueue, type QueuedPod } from './queue.ts'
import { STORAGE_FEEDS, type StorageFeeds, storageFeeds } from './storage-feeds.ts'
import { namespaceFeed, SELECTOR_FEEDS, type SelectorFeeds, selectorFeeds } from './topology-feeds.ts'

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
  readonly claimBinder: ClaimBinder
  readonly evictor: Evictor
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
  startMs: number
  /** calls off the wait for the pod's claims; undefined: that is over, or there was none */
  preparing: AbortController | undefined
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

interface GangMember extends GangCandidate {
  readonly tracked: Tracked
}

/** Stands for the shape of a pod that could not be read. Such a pod is never tried. */
const unreadableShape: PodShape = {
  id: -1,
  request: noResources,
  gpu: undefined,
  scoringCpuMilli: 0,
  scoringMemoryBytes: 0,
  nodeSelector: {},
  requiredTerms: undefined,
  preferredTerms: [],
  podAffinity: [],
  podAntiAffinity: [],
  preferredPodTerms: [],
  spread: [],
  tolerations: [],
  hostPorts: [],
  images: [],
  schedulingGates: [],
  requiredFeatures: [],
  unsupported: [],
}

/**
 * The scheduler: takes what is seen of a cluster, decides for the pods of its profiles one after another, and has them
 * bound, many at a time. All of its state can be had again from the API server.
 */
export class Scheduler {
  readonly pods: ObjectFeed<PodObject>
  readonly nodes: ObjectFeed<NodeObject>
  readonly namespaces: ObjectFeed<KubeObject>
  /** undefined: no profile's policy looks at what Services and controllers select */
  readonly selectors: SelectorFeeds | undefined
  readonly storage: StorageFeeds
  /** what preemption must know before anything is decided */
  readonly disruptionBudgets: ObjectFeed<PodDisruptionBudgetObject>
  /** objects that say how many pods are placed together; where there are none of an API, pods that ask for them wait */
  readonly podGroups: Readonly<Record<Exclude<GangSource, 'stowage.dev'>, ObjectFeed<PodGroupObject>>>

  readonly #options: SchedulerOptions
  readonly #cluster: ClusterState
  readonly #queue: PodQueue
  readonly #cycle: Cycle
  readonly #gangs: Gangs
  readonly #budgets = new DisruptionBudgets()
  /** by a victim's uid, who waits for it to begin to leave */
  readonly #awaited = new Map<string, Set<QueuedPod>>()
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
  #topologySynced = 0
  #storageSynced = 0
  #budgetsSynced = false
  #sliceAhead = false
  #bindsInFlight = 0
  /** of these, pods whose claims are not bound yet: that may take minutes, so they hold up nobody */
  #preparing = 0
  #evictionsInFlight = 0
  #rankingsInFlight = 0
  #fallbacks = 0
  #unreadable = 0
  #stateVersion = 0
  #onRequestsDone: (() => void) | undefined

  constructor(options: SchedulerOptions) {
    const { clock, cluster, constraints, observer, random } = options
    this.#options = options
    this.#cluster = cluster
    this.#maxBindsInFlight = options.maxBindsInFlight ?? MAX_BINDS_IN_FLIGHT
    this.#nextDecisionId = options.firstDecisionId ?? 1
    this.#yieldToEvents = options.yieldToEvents ?? setImmediate
    for (const profile of options.profiles) this.#profiles.set(profile.schedulerName, { profile, rankings: 0 })
    this.#gangs = new Gangs({
      clock,
      isOurs: (schedulerName) => this.#profiles.has(schedulerName),
      isPlaced: (uid) => cluster.placeOf(uid) !== '',
      onFreed: (gang) => this.#freeGang(gang),
      onHeld: (gang) => this.#tellGang(gang),
      onObject: (gang) => this.#reportWhole(gang),
      unreadable: (object, thrown) => this.#cannotRead('PodGroup', nameOf(object), thrown),
    })
    this.podGroups = {
      'scheduling.k8s.io': this.#gangs.feed('scheduling.k8s.io'),
      'scheduling.x-k8s.io': this.#gangs.feed('scheduling.x-k8s.io'),
      'scheduling.volcano.sh': this.#gangs.feed('scheduling.volcano.sh'),
    }
    this.#queue = new PodQueue({
      clock,
      cluster,
      constraints,
      holdsBack: (pod) => this.#gangs.holdsBack(pod),
      onReady: () => this.#wake(),
      onQueued: (queue, event) => observer.queued(queue, event),
    })
    this.#cycle = new Cycle({
      clock,
      random,
      cluster,
      budgets: this.#budgets,
      constraints,
      together: () => this.#gangs.disruptedTogether,
      stateVersion: () => this.#stateVersion,
      onPhase: (schedulerName, phase, durationMs) => observer.phase(schedulerName, phase, durationMs),
    })
    this.pods = {
      seen: (object) => this.#podSeen(object),
      gone: (_namespace, _name, uid) => this.#podGone(uid),
      synced: () => {
        this.#podsSynced = true
        for (const gang of this.#gangs.begun()) this.#completeFirst(gang)
        for (const gang of this.#gangs.withObjects()) this.#reportWhole(gang)
        this.#wake()
      },
    }
    this.storage = storageFeeds(this.#cluster.volumes, {
      changed: (events) => this.#changed(events),
      unreadable: (kind, object, thrown) => this.#cannotRead(kind, nameOf(object), thrown),
      synced: () => {
        this.#storageSynced++
        this.#wake()
      },
    })
    const topology = {
      changed: () => {
        this.#stateVersion++
      },
      unreadable: (kind: string, object: KubeObject, thrown: unknown) => this.#cannotRead(kind, nameOf(object), thrown),
      synced: () => {
        this.#topologySynced++
        this.#wake()
      },
    }
    this.namespaces = namespaceFeed(cluster, topology)
    const policies = options.profiles.flatMap(({ fallback, policy }) => [policy, ...(fallback ? [fallback] : [])])
    if (policies.some(({ readsSelectors }) => readsSelectors)) this.selectors = selectorFeeds(cluster, topology)
    this.nodes = {
      seen: (object) => this.#nodeSeen(object),
      gone: (_namespace, name) => this.#changed(this.#cluster.removeNode(name)),
      synced: () => {
        this.#nodesSynced = true
        this.#wake()
      },
    }
    this.disruptionBudgets = {
      seen: (object) => this.#budgetSeen(object),
      gone: (namespace, name) => {
        this.#budgets.gone(namespace, name)
        this.#stateVersion++
      },
      synced: () => {
        this.#budgetsSynced = true
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
    this.#gangs.tellAgain()
    for (const gang of this.#gangs.withObjects()) this.#reportWhole(gang)
    this.#wake()
  }

  /** Begins no more attempts until `start`; binds on their way go on. */
  pause(): void {
    this.#running = false
    this.#stopPreparing()
  }

  /** Whoever decides next goes on with the claims: what is done about them the API server knows. */
  #stopPreparing(): void {
    for (const { bind } of this.#tracked.values())
      bind?.preparing?.abort(new Error('this scheduler may not decide any more'))
  }

  /** Whether everything that exists has been seen once. */
  get synced(): boolean {
    const topologyFeeds = 1 + (this.selectors === undefined ? 0 : SELECTOR_FEEDS)
    return (
      this.#storageSynced === STORAGE_FEEDS &&
      this.#podsSynced &&
      this.#nodesSynced &&
      this.#budgetsSynced &&
      this.#topologySynced === topologyFeeds
    )
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
    this.#gangs.stop()
    this.#stopPreparing()
    for (const tracked of this.#tracked.values()) {
      if (tracked.callOff === undefined) continue
      this.#endRanking(tracked)
      this.#giveBack(tracked)
    }
    if (this.#requestsInFlight > 0) {
      const abort = (): void => this.#stopBinds.abort(signal.reason)
      signal.addEventListener('abort', abort, { once: true })
      if (signal.aborted) abort()
      await new Promise<void>((resolve) => {
        this.#onRequestsDone = resolve
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
        wakesOn:
          entry.place === 'gated' ? [ungatedBy(entry.pod)] : [...new Set(rejecting.flatMap(({ wakesOn }) => wakesOn))],
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

  #budgetSeen(object: PodDisruptionBudgetObject): void {
    try {
      this.#budgets.seen(object)
    } catch (thrown) {
      this.#cannotRead('PodDisruptionBudget', nameOf(object), thrown)
    }
    this.#stateVersion++
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
    this.#gangs.seen(pod)
    if (pod.nodeName !== '') this.#podSeenOnNode(pod)
    else if (isFinished(pod.phase)) this.#podGone(pod.uid)
    else {
      // Nominated pods of every scheduler keep their room; others change nothing while they have no node. What is placed
      // stays so: that was an older view.
      const events = this.#cluster.placeOf(pod.uid) === '' ? this.#cluster.applyPod(pod) : []
      if (events.length > 0 || pod.nominatedNodeName !== '') this.#changed(events)
      if (this.#profiles.has(pod.schedulerName)) this.#podSeenWithoutNode(pod)
    }
  }

  #podSeenOnNode(pod: Pod): void {
    if (pod.deleting) this.#departs(pod.uid)
    this.#changed(this.#cluster.applyPod(pod))
    const tracked = this.#tracked.get(pod.uid)
    if (tracked === undefined) return
    if (tracked.bind !== undefined) {
      // The API server has shown the bind before it answered.
      tracked.bind.seenOn = pod.nodeName
      tracked.bind.preparing?.abort(new Error('somebody else bound the pod'))
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
    if (gated) this.#keep(tracked, pod, 'gated', factsOf(entry.reason, [ungatedBy(pod)]), -1, 0)
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
      controller: '',
      gang: undefined,
      nodeName: '',
      nominatedNodeName: '',
      phase: 'Pending',
      deleting: object.metadata?.deletionTimestamp !== undefined,
      createdAtMs: this.#options.clock.nowMs(),
      startedAtMs: Number.POSITIVE_INFINITY,
      preempted: false,
      shape: unreadableShape,
      gpuDevices: undefined,
      volumes: NO_VOLUMES,
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
    this.#departs(uid)
    this.#gangs.gone(uid)
    this.#changed(this.#cluster.removePod(uid))
    const tracked = this.#tracked.get(uid)
    if (tracked === undefined) return
    if (tracked.bind !== undefined) {
      tracked.bind.gone = true
      tracked.bind.preparing?.abort(new Error('the pod is gone'))
      return
    }
    this.#tracked.delete(uid)
    if (tracked.place === 'bound' || tracked.place === 'deleted') return
    this.#drop(tracked)
  }

  /** A pod leaves: those for whom it was evicted may be tried again once it is gone. */
  #departs(uid: string): void {
    const waiting = this.#awaited.get(uid)
    if (waiting === undefined) return
    this.#awaited.delete(uid)
    for (const entry of waiting) this.#queue.departs(entry, uid)
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
    while (this.#running && this.#bindsInFlight - this.#preparing < this.#maxBindsInFlight) {
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
    const gang = this.#gangs.of(pod.uid)
    if (gang !== undefined && this.#gangs.isShort(gang)) {
      this.#attemptGang(gang, tracked)
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
    const gang = this.#gangs.of(pod.uid)
    if (changed || !this.#running || (gang !== undefined && this.#gangs.isShort(gang))) {
      // While the policy thought, it has become another pod than the one ranked, others of its gang have gone, or we may
      // decide no longer.
      this.#giveBack(tracked)
      return
    }
    this.#noteFallback(profile, decision)
    const cycleMs = clock.monotonicMs() - startMs
    const { facts, nodeName } = decision
    if (decision.node >= 0) {
      let plan: VolumePlan | undefined
      try {
        plan = this.#planVolumes(pod, decision.node)
      } catch (thrown) {
        this.#broke(tracked, thrown, cycleMs)
        return
      }
      const events = this.#cluster.assume({ ...pod, nodeName, gpuDevices: decision.devices }, decision.node)
      if (plan !== undefined) this.#cluster.volumes.assume(pod, nodeName, plan)
      this.#reserved(tracked, pod, decision, cycleMs)
      this.#changed(events)
      this.#bind(tracked, withDevices(entry.pod, decision), nodeName, cycleMs, plan)
      return
    }
    this.#keep(tracked, pod, 'waiting', facts, cycleMs, this.#queue.waitedMs(entry))
    const found = decision.preemption?.found
    const preemption = typeof found === 'object' ? found : undefined
    if (found !== undefined && found !== 'ineligible')
      observer.preempted(profile.schedulerName, preemption?.victims.length ?? 0)
    if (decision.rejectedBy === 0) this.#queue.failed(entry, facts.message)
    else this.#queue.refused(entry, decision.rejectedBy, facts.message, preemption && stillThere(preemption.victims))
    this.#move(tracked, 'waiting')
    this.#attempted(profile.schedulerName, 'unschedulable', cycleMs)
    // The pod keeps its nomination while it waits for those it has evicted already.
    const nomination = preemption?.nodeName ?? (found === 'none' ? '' : undefined)
    reporter.failed(entry.pod, 'Unschedulable', facts.message, nomination)
    if (nomination !== undefined) this.#nominate(entry.pod, nomination)
    if (preemption === undefined) return
    const victims = preemption.victims.map((victim) => ({ pod: victim, nodeName: preemption.nodeName }))
    this.#evict([entry], entry.pod, victims)
  }

  #noteFallback({ policy, schedulerName }: Profile, { fellBack }: Decision): void {
    if (fellBack === undefined) return
    this.#fallbacks++
    this.#options.observer.fellBack(schedulerName, policy.name, fellBack)
  }

  /** The pod counts on its node, and is the queue's no more. */
  #reserved(tracked: Tracked, pod: Pod, { facts, nodeName }: Decision, cycleMs: number): void {
    const { entry } = tracked
    this.#keep(tracked, pod, 'reserved', facts, cycleMs, this.#queue.waitedMs(entry), nodeName)
    this.#queue.done(entry)
    this.#gangs.releaseRoom(pod.uid)
  }

  /** The attempt came to nothing that anybody should be told of. */
  #giveBack(tracked: Tracked): void {
    this.#queue.giveBack(tracked.entry)
    this.#inQueue(tracked)
  }

  #inQueue(tracked: Tracked): void {
    this.#move(tracked, tracked.entry.place === 'gated' ? 'gated' : 'waiting')
  }

  // Gangs

  /** Places all of a gang that wait, or as many as there is room for, if enough of them are placed then; else none. */
  #attemptGang(gang: Gang, first: Tracked): void {
    const { clock } = this.#options
    if (this.#gangs.holdsBack(first.entry.pod) !== undefined) {
      this.#giveBack(first)
      return
    }
    const members = this.#gather(gang, first)
    const startMs = clock.monotonicMs()
    let step: GangStep<GangMember>
    let room: GangPreemptionFinding<GangMember> | undefined
    try {
      step = placeGang(members, {
        cluster: this.#cluster,
        minCount: gang.minCount ?? 0,
        placed: this.#gangs.placed(gang),
        decide: (pod, profile) => this.#cycle.decideAtOnce(pod, profile, false),
        plan: (pod, node) => this.#planVolumes(pod, node),
        changed: () => {
          this.#stateVersion++
        },
      })
      if (!step.whole) room = this.#findRoom(gang, members)
    } catch (thrown) {
      for (const { tracked } of members) this.#broke(tracked, thrown, clock.monotonicMs() - startMs)
      this.#report(gang, 'SchedulerError', messageOf(thrown))
      return
    }
    const cycleMs = clock.monotonicMs() - startMs
    if (!step.whole) {
      this.#refusedTogether(gang, members, step, room, cycleMs)
      return
    }
    for (const { candidate, decision } of step.placed) {
      this.#noteFallback(candidate.profile, decision)
      this.#reserved(candidate.tracked, candidate.pod, decision, cycleMs)
    }
    const placed = new Set(step.placed.map(({ candidate }) => candidate))
    for (const member of members) {
      const decision = step.refused.get(member)
      if (placed.has(member) || decision === undefined) continue
      const { tracked, pod } = member
      const { facts, rejectedBy } = decision
      this.#keep(tracked, pod, 'waiting', facts, cycleMs, this.#queue.waitedMs(tracked.entry))
      if (rejectedBy === 0) this.#queue.failed(tracked.entry, facts.message)
      else this.#queue.refused(tracked.entry, rejectedBy, facts.message)
      this.#toldUnschedulable(tracked, facts.message, cycleMs)
    }
    this.#report(gang, 'Scheduled', '')
    this.#changed(step.events)
    for (const { candidate, decision, plan } of step.placed)
      this.#bind(candidate.tracked, withDevices(candidate.pod, decision), decision.nodeName, cycleMs, plan)
  }

  /**
   * The popped pod and the others of its gang that wait, out of the queue, in the order of their turns; of equal priority,
   * those for whom room is kept come first.
   */
  #gather(gang: Gang, first: Tracked): GangMember[] {
    const members: GangMember[] = []
    for (const uid of gang.members.keys()) {
      const tracked = this.#tracked.get(uid)
      if (tracked === undefined || (tracked !== first && !this.#queue.take(tracked.entry))) continue
      const { pod } = tracked.entry
      const active = this.#profiles.get(pod.schedulerName)
      if (active === undefined) continue
      this.#move(tracked, 'inFlight')
      members.push({ tracked, pod, profile: active.profile })
    }
    const seeks = ({ pod }: GangMember): number => (this.#cluster.nominationOf(pod.uid) === '' ? 1 : 0)
    return members.sort(
      (a, b) => b.pod.priority - a.pod.priority || seeks(a) - seeks(b) || a.tracked.entry.turn - b.tracked.entry.turn,
    )
  }

  /** Whether pods of a lower priority could make room for a gang; undefined: it is short of members that can be tried. */
  #findRoom(gang: Gang, members: readonly GangMember[]): GangPreemptionFinding<GangMember> | undefined {
    const minCount = gang.minCount ?? 0
    const placed = this.#gangs.placed(gang)
    if (placed + members.length < minCount) return undefined
    const { clock, observer } = this.#options
    const startMs = clock.monotonicMs()
    const finding = findRoomForGang(members, {
      cluster: this.#cluster,
      budgets: this.#budgets,
      minCount,
      placed,
      isMember: (uid) => gang.members.has(uid),
      together: this.#gangs.disruptedTogether,
      decide: (pod, profile) => this.#cycle.decideAtOnce(pod, profile, true),
      plan: (pod, node) => this.#planVolumes(pod, node),
      fits: (pod, node, imagined) => this.#cycle.fits(pod, node, imagined),
      isLocal: (pod) => this.#cycle.isLocal(pod),
      changed: () => {
        this.#stateVersion++
      },
    })
    const { found } = finding
    const schedulerName = members[0]?.pod.schedulerName ?? ''
    observer.phase(schedulerName, 'PostFilter', clock.monotonicMs() - startMs)
    if (found === 'none') observer.preempted(schedulerName, 0)
    else if (found !== 'ineligible') observer.preempted(schedulerName, toEvict(found).length)
    return finding
  }

  #refusedTogether(
    gang: Gang,
    members: readonly GangMember[],
    step: GangStep<GangMember> & { readonly whole: false },
    room: GangPreemptionFinding<GangMember> | undefined,
    cycleMs: number,
  ): void {
    const { refused, rejectedBy, wakesOn } = step
    const message = room === undefined ? step.message : `${step.message} ${room.text}`
    const preemption = typeof room?.found === 'object' ? room.found : undefined
    for (const member of members) {
      const { pod, tracked } = member
      const decision = refused.get(member)
      const facts = decision === undefined ? factsOf(message, wakesOn) : { ...decision.facts, message }
      const told = { ...facts, ...preemptionFor(member, preemption) }
      this.#keep(tracked, pod, 'waiting', told, cycleMs, this.#queue.waitedMs(tracked.entry))
    }
    const entries = members.map(({ tracked }) => tracked.entry)
    const awaits = preemption && stillThere(preemption.victims.map(({ pod }) => pod))
    if (rejectedBy === 0) for (const entry of entries) this.#queue.failed(entry, message)
    else this.#queue.refusedTogether(entries, rejectedBy, message, awaits)
    for (const member of members) {
      const { pod, tracked } = member
      // A place that is kept for a member whose bind failed stays so until its time is over.
      const keepsRoom = room?.found === 'ineligible' || this.#gangs.keepsRoom(pod.uid)
      const nomination = preemption?.nominations.get(member) ?? (keepsRoom || room === undefined ? undefined : '')
      this.#toldUnschedulable(tracked, message, cycleMs, nomination)
      if (nomination !== undefined) this.#nominate(tracked.entry.pod, nomination)
    }
    const [first] = members
    if (preemption !== undefined && first !== undefined)
      this.#evict(entries, preemptorOf(gang, first.pod.schedulerName), toEvict(preemption))
    this.#report(gang, 'Unschedulable', room === undefined ? step.counts : `${step.counts}, ${room.text}`)
    if (this.#gangs.placed(gang) > 0) this.#completeFirst(gang)
  }

  /** Says in the gang's object, if it has one, what came of the last attempt. */
  #report(gang: Gang, outcome: GangReport['outcome'], message: string): void {
    const { object } = gang
    if (object === undefined || !this.#gangs.isNews(gang, outcome, message)) return
    this.#options.reporter.gang({ group: object, outcome, message, atMs: this.#options.clock.nowMs() })
  }

  /** A gang that was placed before this scheduler could say so, or before its object was seen. */
  #reportWhole(gang: Gang): void {
    if (!this.#running || !this.#podsSynced || this.#gangs.isShort(gang) || this.#gangs.placed(gang) === 0) return
    const isOurs = gang.members.values().some(({ schedulerName }) => this.#profiles.has(schedulerName))
    if (isOurs) this.#report(gang, 'Scheduled', '')
  }

  #toldUnschedulable(tracked: Tracked, message: string, cycleMs: number, nomination?: string): void {
    const { pod } = tracked.entry
    this.#move(tracked, 'waiting')
    this.#attempted(pod.schedulerName, 'unschedulable', cycleMs)
    this.#options.reporter.failed(pod, 'Unschedulable', message, nomination)
  }

  /** Some of its members have a node already: the others go before all that matter no more than they. */
  #completeFirst(gang: Gang): void {
    for (const uid of gang.members.keys()) {
      const tracked = this.#tracked.get(uid)
      if (tracked?.place === 'waiting') this.#queue.advance(tracked.entry)
    }
  }

  #freeGang(gang: Gang): void {
    for (const uid of gang.members.keys()) {
      const tracked = this.#tracked.get(uid)
      if (tracked?.place !== 'gated' && tracked?.place !== 'waiting') continue
      this.#queue.review(tracked.entry)
      this.#inQueue(tracked)
    }
  }

  /** Members know how many of them are there. */
  #tellGang(gang: Gang): void {
    if (!this.#running) return
    for (const uid of gang.members.keys()) {
      const tracked = this.#tracked.get(uid)
      if (tracked?.place !== 'gated') continue
      const { entry } = tracked
      this.#queue.review(entry)
      this.#inQueue(tracked)
      const { pod, reason } = entry
      if (entry.place !== 'gated' || ungatedBy(pod) !== GANG_COMPLETE) continue
      this.#keep(tracked, pod, 'gated', factsOf(reason, [GANG_COMPLETE]), -1, 0)
      this.#options.reporter.failed(pod, 'SchedulingGated', reason)
    }
  }

  /** A member that could not be bound gets its place back, unless that takes too long: the others have theirs for good. */
  #keepRoom(entry: QueuedPod, nodeName: string): void {
    const { pod } = entry
    if (this.#gangs.of(pod.uid) === undefined) return
    this.#queue.advance(entry)
    this.#changed(this.#cluster.nominate(pod, nodeName))
    this.#gangs.keepRoom(pod.uid, () => {
      if (this.#cluster.nominationOf(pod.uid) === nodeName) this.#changed(this.#cluster.nominate(pod, ''))
    })
  }

  // Preemption

  /** Room is kept for the pod from now on; pods that matter less lose theirs there. */
  #nominate(pod: Pod, nodeName: string): void {
    const changes = this.#cluster.nominationOf(pod.uid) !== nodeName
    const events = changes ? this.#cluster.nominate(pod, nodeName) : []
    for (const other of this.#cluster.nominated.get(nodeName)?.values() ?? []) {
      // Nominations of other schedulers are theirs to take back.
      if (other.priority >= pod.priority || !this.#profiles.has(other.schedulerName)) continue
      events.push(...this.#cluster.nominate(other, ''))
      this.#options.reporter.denominated(other)
      const tracked = this.#tracked.get(other.uid)
      if (tracked !== undefined) this.#queue.lostNomination(tracked.entry)
    }
    if (changes || events.length > 0) this.#changed(events)
  }

  /**
   * Has the victims evicted, the last one when all others have been: those for whom they go are not tried before that one
   * leaves.
   */
  #evict(entries: readonly QueuedPod[], preemptor: Preemptor, victims: readonly GangVictim[]): void {
    const { evictor, reporter, log } = this.#options
    for (const entry of entries)
      for (const uid of entry.awaits ?? []) {
        const waiting = this.#awaited.get(uid)
        if (waiting === undefined) this.#awaited.set(uid, new Set([entry]))
        else waiting.add(entry)
      }
    const evict = async ({ nodeName, pod }: GangVictim): Promise<void> => {
      if (await evictor.evict(pod, preemptor, this.#stopBinds.signal)) reporter.preempted(pod, preemptor, nodeName)
    }
    const evictAll = async (): Promise<void> => {
      await Promise.all(victims.slice(0, -1).map(evict))
      await Promise.all(victims.slice(-1).map(evict))
    }
    const told = { for: podKey(preemptor), victims: victims.map(({ pod }) => podKey(pod)) }
    log.debug('pods are evicted for others', told)
    this.#evictionsInFlight++
    evictAll()
      .catch((thrown: unknown) => {
        log.warn('pods could not be evicted for others', { ...told, error: thrown })
        for (const entry of entries) {
          for (const { pod } of victims) this.#awaited.get(pod.uid)?.delete(entry)
          this.#queue.evictionFailed(entry)
        }
      })
      .finally(() => {
        this.#evictionsInFlight--
        this.#requestDone()
      })
  }

  /** Binds and evictions that the API server has not answered. */
  get #requestsInFlight(): number {
    return this.#bindsInFlight + this.#evictionsInFlight
  }

  #requestDone(): void {
    if (this.#requestsInFlight === 0) this.#onRequestsDone?.()
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

  /** What has to be done about the claims of a pod before it is bound; undefined: nothing. */
  #planVolumes(pod: Pod, node: number): VolumePlan | undefined {
    const claims = PodClaims.of(pod, this.#cluster.volumes)
    if (claims === undefined || (typeof claims === 'object' && claims.allBound)) return undefined
    const plan = typeof claims === 'object' ? claims.plan(this.#cluster.node(node)) : undefined
    if (plan === undefined)
      throw new StowageError('INTERNAL', { found: `${podKey(pod)} was allowed on a node that cannot have its volumes` })
    return plan
  }

  #bind(tracked: Tracked, pod: Pod, nodeName: string, cycleMs: number, plan: VolumePlan | undefined): void {
    const startMs = this.#options.clock.monotonicMs()
    const { decisionId } = tracked
    const preparing = plan === undefined ? undefined : new AbortController()
    const bind: Bind = { nodeName, decisionId, cycleMs, startMs, preparing, seenOn: '', gone: false }
    tracked.bind = bind
    this.#bindsInFlight++
    this.#ask(pod, bind, plan)
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
        this.#requestDone()
      })
  }

  /** A binder that throws has rejected. */
  async #ask(pod: Pod, bind: Bind, plan: VolumePlan | undefined): Promise<void> {
    const { binder, claimBinder, clock, observer } = this.#options
    if (plan !== undefined && bind.preparing !== undefined) {
      this.#preparing++
      try {
        const signal = AbortSignal.any([this.#stopBinds.signal, bind.preparing.signal])
        await claimBinder.bindClaims(pod, bind.nodeName, plan, signal)
        bind.preparing = undefined
        // That may have taken minutes, and who else has come to the node meanwhile is known.
        if (isOvercommitted(this.#cluster, bind.nodeName, pod))
          throw new BindFailure('conflict', `others have taken the room on node ${bind.nodeName} meanwhile`)
      } finally {
        this.#preparing--
        const startMs = clock.monotonicMs()
        observer.phase(pod.schedulerName, 'PreBind', startMs - bind.startMs)
        bind.startMs = startMs
      }
    }
    await binder.bind(pod, bind.nodeName, this.#stopBinds.signal)
  }

  #bound(tracked: Tracked, bind: Bind): void {
    const { clock, observer, reporter } = this.#options
    const { entry } = tracked
    const { pod } = entry
    const bindMs = clock.monotonicMs() - bind.startMs
    tracked.bind = undefined
    this.#cluster.volumes.release(pod.uid)
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
    const plugin = bind.preparing === undefined ? 'Bind plugin "DefaultBinder"' : 'PreBind plugin "VolumeBinding"'
    const message = `running ${plugin}: ${messageOf(thrown)}`
    const calledOff = this.#stopBinds.signal.aborted || bind.preparing?.signal.aborted === true
    tracked.bind = undefined
    this.#cluster.volumes.release(pod.uid)
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
    if (gone || calledOff) return
    this.#keepRoom(entry, bind.nodeName)
    // The autoscalers were told where it would go.
    if (bind.preparing === undefined) reporter.failed(pod, 'SchedulerError', message)
    else reporter.failed(pod, 'SchedulerError', message, '')
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

/** Whether a node holds more than it has of anything that the pod, which counts there already, asks for. */
const isOvercommitted = (cluster: ClusterState, nodeName: string, { shape }: Pod): boolean => {
  const node = cluster.indexOf(nodeName)
  if (node < 0) return false
  const { podCount, maxPods, requested, allocatable } = cluster
  if ((podCount[node] ?? 0) > (maxPods[node] ?? 0)) return true
  return shape.request.indexes.some(
    (resource) => (requested[resource]?.[node] ?? 0) > (allocatable[resource]?.[node] ?? 0),
  )
}

/** Those of the victims that have not begun to leave. */
const stillThere = (victims: readonly Pod[]): ReadonlySet<string> =>
  new Set(victims.filter(({ deleting }) => !deleting).map(({ uid }) => uid))

/** Who leaves the node for the gang where a member would go; nothing if nobody has to. */
const preemptionFor = (
  member: GangMember,
  preemption: GangPreemption<GangMember> | undefined,
): Pick<DecisionFacts, 'preemption'> => {
  const node = preemption?.nominations.get(member)
  if (preemption === undefined || node === undefined) return {}
  const there = preemption.victims.filter(({ nodeName }) => nodeName === node)
  if (there.length === 0) return {}
  return { preemption: { node, victims: there.map(({ pod }) => podKey(pod)) } }
}

/** Those of the victims that nobody has told to leave yet. */
const toEvict = ({ victims }: GangPreemption<GangMember>): GangVictim[] => victims.filter(({ pod }) => !pod.deleting)

const preemptorOf = ({ namespace, name, object }: Gang, schedulerName: string): Preemptor => ({
  kind: 'podgroup',
  namespace,
  name,
  // Only a group with an object has one.
  uid: object?.uid ?? `${namespace}/${name}`,
  schedulerName,
})

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

/** What lets members of a gang in that is short of them. */
const GANG_COMPLETE = 'GangComplete'

/** What ends that a pod is held back. */
const ungatedBy = ({ shape }: Pod): string => (shape.schedulingGates.length > 0 ? 'SelfGates' : GANG_COMPLETE)

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

const nameOf = (object: KubeObject): string => {
  const { namespace, name } = object.metadata ?? {}
  return [namespace, name].filter((part) => typeof part === 'string').join('/')
}

/** With the GPUs that it was given, for the binder to say. */
const withDevices = (pod: Pod, { devices }: Decision): Pod =>
  devices === undefined ? pod : { ...pod, gpuDevices: devices }
