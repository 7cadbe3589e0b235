import { createHash } from 'node:crypto'
import { type Timer, VirtualClock } from '../../clock/clock.ts'
import { type Random, seededRandom } from '../../clock/random.ts'
import type { NodeObject, ObjectMeta, PodObject, PodSpec, Toleration } from '../../cluster/objects.ts'
import { type Pod, podKey } from '../../cluster/pod.ts'
import { createConstraints } from '../../constraints/registry.ts'
import type { DecisionRecord, DecisionSink } from '../../decisions/record.ts'
import { StowageError } from '../../errors/catalogue.ts'
import type { Policy, Ranking } from '../../policies/policy.ts'
import {
  type Binder,
  BindFailure,
  type Evictor,
  type Reporter,
  type SchedulingObserver,
} from '../../scheduling/ports.ts'
import { Scheduler } from '../../scheduling/scheduler.ts'
import type { NodeShape } from '../workload/node-shapes.ts'
import { DURATION_ANNOTATION, parseDurationMs } from '../virtual/pod-stages.ts'
import { evictionDelayMs, noExecuteTaints } from '../virtual/taint-eviction.ts'
import { withoutUnreachableTaints, withUnreachableTaints } from '../virtual/virtual-node-object.ts'
import { WORKLOAD_GATE } from '../workload/workload.ts'
import { Autoscaler, IDLE_MS } from './autoscaler.ts'
import type { Disruption, SimulationEvent, SimulationStep } from './events.ts'
import { Measures, spreadOf } from './measures.ts'
import type { SimulatedCluster, SimulationOptions, SimulationProgress } from './options.ts'
import { PodRecords, SimulatedState } from './pod-records.ts'
import { simulatedNode } from './simulated-node.ts'
import { ClusterObjects } from './cluster-objects.ts'
import type { Shares, SimulationResult } from './result.ts'

/** spec.schedulerName that all pods of a simulation have for its scheduler. */
const SCHEDULER_NAME = 'stowage'
/** A gated pod of a synthetic workload loses its gate after this time, as in `stowage up`. */
const GATE_OPENS_MS = 3000
/** Virtual containers stop within this time when told to (pod-stages.ts). */
const STOP_WITHIN_MS = 1000
/** kube-controller-manager's node-monitor-grace-period (v1.32 and later). */
const NODE_SILENT_MS = 50_000
/** What admission gives each pod that says nothing about nodes that are lost (DefaultTolerationSeconds). */
const LOST_NODE_TOLERATIONS: readonly Toleration[] = ['not-ready', 'unreachable'].map((condition) => ({
  key: `node.kubernetes.io/${condition}`,
  operator: 'Exists',
  effect: 'NoExecute',
  tolerationSeconds: 300,
}))
/** Once nothing more will happen from outside, pods that back off are waited for this long: the longest back-off, and some. */
const LAST_BACKOFFS_MS = 12_000
const SPOT_NOTICE_MS = 120_000
const HOUR_MS = 3_600_000
const SAMPLES = 200
const REASONS_AT_MOST = 10
const DIGEST_LINES = 512
/** Nothing that happens at one moment takes the scheduler so long. */
const TURNS_AT_MOST = 10_000_000
/** Events between two words about how far the run is. */
const STEPS_UNTOLD = 500

type Why = 'completed' | 'dropped' | 'gone' | Disruption

/** A pod of the simulation, from its coming to its end. */
interface Life {
  readonly object: PodObject
  /** without a node */
  pod: Pod
  /** how long it runs once it is on a node, simulated; undefined: until somebody ends it */
  readonly durationMs: number | undefined
  nodeName: string
  /** what is left of its duration; it runs while its node does */
  leftMs: number | undefined
  runsSinceMs: number
  end: Timer | undefined
  /** until its toleration of a lost node ends */
  eviction: Timer | undefined
  /** it was told to leave, and why */
  leaving: Why | undefined
}

/** A node of the simulation. */
interface SimulatedNode {
  readonly shape: NodeShape
  object: NodeObject
  /** it is not heard of: its pods stand still */
  silent: boolean
  /** and that has been noticed */
  missed: boolean
  /** its end is known */
  leaving: boolean
  /** when nothing was on it any more; for nodes of the autoscaler */
  idle: Timer | undefined
  readonly fromAutoscaler: boolean
}

const isPending = (answer: Ranking | Promise<Ranking>): answer is Promise<Ranking> =>
  typeof (answer as { then?: unknown } | undefined)?.then === 'function'

const nothing = (): void => undefined
const DONE = Promise.resolve()
const YES = Promise.resolve(true)
const NO = Promise.resolve(false)

/**
 * One run of the real scheduler - its queue, cycle, constraints, preemption and gangs over the real cluster state - in
 * simulated time. What an API server, kubelets and controllers would do around it is done here, at once and without a wire:
 * binds are accepted, pods end after their duration, disrupted ones are made again by their controllers.
 *
 * Each event has all its effects before the next: pods that come at one time are decided one after another, in order.
 * @example
 * const simulation = new Simulation({ nodes: nodeShapes([], 10), policy: createPolicy('borg'), seed: 1, arrivals })
 * simulation.at(60_000, { kind: 'node-fail', node: 'node-0003' })
 * const { utilisation, pendingMs, digest } = await simulation.run()
 */
export class Simulation implements SimulatedCluster {
  readonly cluster = new SimulatedState()
  readonly #options: SimulationOptions
  readonly #clock = new VirtualClock()
  readonly #scheduler: Scheduler
  readonly #measures: Measures
  readonly #records: PodRecords
  readonly #objects: ClusterObjects
  readonly #faults: Random
  readonly #autoscaler: Autoscaler | undefined
  readonly #lives = new Map<string, Life>()
  readonly #byName = new Map<string, Life>()
  readonly #nodes = new Map<string, SimulatedNode>()
  readonly #podsOn = new Map<string, Set<Life>>()
  readonly #knownNodes = new Set<string>()
  readonly #resolvedSpecs = new WeakMap<PodSpec, PodSpec>()

  // What the scheduler asked for, done when its own step is over.
  readonly #slices: (() => void)[] = []
  readonly #accepted: { readonly life: Life; readonly pod: Pod; readonly nodeName: string }[] = []
  readonly #evicted: Life[] = []
  readonly #refused: string[] = []
  /** victims whose evictor has not been asked yet, or not answered */
  #evictionsDue = 0
  /** policies that have not answered; answers are given out in the order of the questions */
  readonly #answers = new Set<Promise<unknown>>()
  #lastAnswer: Promise<unknown> = DONE

  /** calls that are due and keep the run going */
  #foreground = 0
  #lastForegroundMs = 0
  #nextArrival = 0
  #step: SimulationStep = 'timer'
  #uids = 0
  #replacements = 0
  #version = 0
  #started = false

  readonly #digest = createHash('sha256')
  #digestLines: string[] = []
  #decisions = 0
  readonly #pendingMs: number[] = []
  readonly #pods = { arrived: 0, remade: 0, placed: 0, completed: 0, dropped: 0, gone: 0, lost: 0 }
  #running = 0
  readonly #nodeCounts = { atStart: 0, addedByAutoscaler: 0, removedByAutoscaler: 0, failed: 0, spotReclaimed: 0 }
  readonly #disruptions: Record<Disruption, number> = {
    preempted: 0,
    evicted: 0,
    'node-failed': 0,
    'node-removed': 0,
    'spot-reclaimed': 0,
  }

  constructor(options: SimulationOptions) {
    this.#options = options
    const random = seededRandom(options.seed)
    const ofScheduler = random.fork()
    this.#faults = random.fork()
    this.#records = new PodRecords(this.cluster)
    this.#measures = new Measures(this.cluster, options.fragmentation, options.samples ?? SAMPLES)
    this.#objects = new ClusterObjects(this.#clock, options.objects ?? [])
    this.#scheduler = new Scheduler({
      clock: this.#clock,
      random: ofScheduler,
      profiles: [
        {
          schedulerName: SCHEDULER_NAME,
          policy: this.#inOrder(options.policy),
          fallback: options.fallback,
          // Simulated time stands still while a policy thinks.
          deadlineMs: Number.MAX_SAFE_INTEGER,
        },
      ],
      constraints: createConstraints(),
      cluster: this.cluster,
      binder: this.#binder(),
      claimBinder: this.#objects.claimBinder,
      evictor: this.#evictor(),
      reporter: this.#reporter(),
      decisions: this.#sink(),
      observer: this.#observer(),
      log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
      yieldToEvents: (run) => this.#slices.push(run),
    })
    if (options.autoscaler !== undefined)
      this.#autoscaler = new Autoscaler(options.autoscaler, {
        nowMs: () => this.#clock.nowMs(),
        waiting: () => this.#unschedulable(),
        after: (delayMs, run) => this.#after(delayMs, 'timer', run),
        add: (shape) => this.#addNode(shape, true),
      })
  }

  get nowMs(): number {
    return this.#clock.monotonicMs()
  }

  at(atMs: number, event: SimulationEvent): void {
    if (atMs < this.nowMs) throw new RangeError(`it is ${this.nowMs} ms already, too late for an event at ${atMs} ms`)
    this.#after(atMs - this.nowMs, event.kind, () => this.#happen(event))
  }

  /**
   * To the end; once.
   * @throws StowageError POD_MALFORMED, WORKLOAD_MALFORMED for pods and events that make no sense; the reason of
   * `signal`
   */
  async run(): Promise<SimulationResult> {
    if (this.#started) throw new RangeError('a simulation runs once')
    this.#started = true
    const { observer, progress, signal, untilMs = Number.POSITIVE_INFINITY } = this.#options
    let steps = 0
    this.#begin()
    for (;;) {
      if (this.#isBusy) await this.#settle()
      const { inFlight, waiting } = this.#scheduler.conservation()
      this.#measures.pods(waiting + inFlight, this.#running)
      this.#measures.settle()
      observer?.after?.(this.#step, this.cluster, this.nowMs)
      if (progress !== undefined && ++steps % STEPS_UNTOLD === 0) await progress(this.#progress())
      signal?.throwIfAborted()
      if (this.#isOver()) break
      this.#step = 'timer'
      if (!this.#clock.step(untilMs)) break
    }
    const endMs = Number.isFinite(untilMs) ? untilMs : this.nowMs
    this.#measures.moveTo(endMs)
    const result = this.#result(endMs)
    await this.#scheduler.drain(AbortSignal.abort())
    return result
  }

  #progress(): SimulationProgress {
    return { atMs: this.nowMs, arrived: this.#nextArrival, arrivals: this.#options.arrivals?.length ?? 0 }
  }

  // The course of events

  #begin(): void {
    this.#objects.connect(this.#scheduler)
    for (const shape of this.#options.nodes) this.#addNode(shape, false)
    this.#nodeCounts.atStart = this.#nodes.size
    const { disruptionBudgets, namespaces, nodes, pods, selectors, storage } = this.#scheduler
    const feeds = [
      nodes,
      namespaces,
      ...Object.values(selectors ?? {}),
      ...Object.values(storage),
      disruptionBudgets,
      pods,
    ]
    for (const feed of feeds) feed.synced()
    this.#scheduler.start()
    this.#expectArrival()
  }

  /** Calls `run` after a time of the clock. The run does not end before that. */
  #after(delayMs: number, step: SimulationStep, run: () => void): Timer {
    let open = true
    const close = (): void => {
      if (open) this.#foreground--
      open = false
    }
    this.#foreground++
    const timer = this.#clock.after(delayMs, () => {
      close()
      this.#lastForegroundMs = this.nowMs
      this.#step = step
      run()
    })
    return {
      cancel: () => {
        close()
        timer.cancel()
      },
    }
  }

  /** As `#after`, for what goes on for ever: the run may end before. */
  #sometime(delayMs: number, run: () => void): void {
    this.#clock.after(delayMs, () => {
      this.#lastForegroundMs = this.nowMs
      run()
    })
  }

  /** An exponential time of that mean. */
  #drawnMs(meanMs: number, random: Random): number {
    return -meanMs * Math.log(1 - random.next())
  }

  #expectArrival(): void {
    const next = this.#options.arrivals?.[this.#nextArrival]
    if (next === undefined) return
    this.#nextArrival++
    this.#after(Math.max(0, next.atMs - this.nowMs), 'pod', () => {
      this.#expectArrival()
      this.#arrives(next.pod)
    })
  }

  /** Nothing can happen any more that would change anything. */
  #isOver(): boolean {
    if (this.#foreground > 0) return false
    const { failures, spot, untilMs } = this.#options
    if (untilMs !== undefined && (failures !== undefined || spot !== undefined)) return false
    const { active, backoff } = this.#scheduler.stats().queues
    return active + backoff === 0 || this.nowMs - this.#lastForegroundMs > LAST_BACKOFFS_MS
  }

  get #isBusy(): boolean {
    return (
      this.#slices.length > 0 ||
      this.#accepted.length > 0 ||
      this.#evicted.length > 0 ||
      this.#refused.length > 0 ||
      this.#evictionsDue > 0 ||
      (this.#answers.size > 0 && this.#scheduler.stats().rankingsInFlight > 0)
    )
  }

  /** Until nobody has anything left to do at this moment. */
  async #settle(): Promise<void> {
    for (let turns = 0; this.#isBusy; turns++) {
      if (turns > TURNS_AT_MOST)
        throw new StowageError('INTERNAL', { found: `the scheduler does not come to rest at ${this.nowMs} ms` })
      for (let run = this.#slices.shift(); run !== undefined; run = this.#slices.shift()) run()
      const { bindsInFlight, rankingsInFlight } = this.#scheduler.stats()
      if (bindsInFlight > 0 || this.#evictionsDue > 0) await DONE
      else if (rankingsInFlight > 0) await (this.#answers.size > 0 ? Promise.race(this.#answers) : DONE)
      else {
        for (const { life, nodeName, pod } of this.#accepted.splice(0)) this.#placed(life, pod, nodeName)
        for (const life of this.#evicted.splice(0)) this.#tellToLeave(life, 'preempted')
        for (const uid of this.#refused.splice(0)) this.#drop(uid)
      }
    }
  }

  #happen(event: SimulationEvent): void {
    switch (event.kind) {
      case 'pod':
        this.#arrives(event.pod)
        break
      case 'pod-gone':
        this.#end(this.#lifeOf(event.namespace, event.name), 'gone')
        break
      case 'evict':
        this.#tellToLeave(this.#lifeOf(event.namespace, event.name), 'evicted')
        break
      case 'node-add':
        this.#addNode(event.node, false)
        break
      case 'node-change':
        this.#changeNode(this.#nodeOf(event.node.name), event.node)
        break
      case 'node-remove':
        this.#removeNode(this.#nodeOf(event.node), 'node-removed')
        break
      case 'node-drain':
        this.#drain(this.#nodeOf(event.node), event.noticeMs, 'evicted')
        break
      case 'node-fail':
        this.#fail(this.#nodeOf(event.node))
        break
      case 'node-recover':
        this.#recover(this.#nodeOf(event.node))
        break
    }
  }

  /** undefined: it is gone already. @throws StowageError WORKLOAD_MALFORMED if there never was one */
  #nodeOf(name: string): SimulatedNode | undefined {
    if (!this.#knownNodes.has(name))
      throw new StowageError('WORKLOAD_MALFORMED', {
        found: `an event for node ${JSON.stringify(name)}, which was never there`,
      })
    return this.#nodes.get(name)
  }

  #lifeOf(namespace: string, name: string): Life | undefined {
    return this.#byName.get(`${namespace}/${name}`)
  }

  // Pods

  #arrives(pod: PodObject): void {
    this.#pods.arrived++
    this.#comes(pod)
  }

  /** A pod is created, as the API server would: with an identity and its priority, and on its node if it has one. */
  #comes(given: PodObject): void {
    const { metadata = {}, spec = {} } = given
    const { name = '', namespace = 'default' } = metadata
    const key = `${namespace}/${name}`
    if (this.#byName.has(key))
      throw new StowageError('WORKLOAD_MALFORMED', {
        found: `pod ${key} comes at ${this.nowMs} ms and is there already`,
        expected: 'another name for each pod that is there at one time',
      })
    const uid = `uid-${++this.#uids}`
    const object: PodObject = { ...given, metadata: { ...metadata, name, namespace, uid }, spec: this.#resolved(spec) }
    this.#objects.podComes(object)
    const createdAtMs = this.#clock.nowMs()
    const read = this.#records.read(object)
    const resourceVersion = this.#nextVersion()
    const pod: Pod = { ...read, resourceVersion, schedulerName: SCHEDULER_NAME, createdAtMs, nodeName: '' }
    const { departures = true, speed = 1 } = this.#options
    const durationText = departures ? metadata.annotations?.[DURATION_ANNOTATION] : undefined
    const durationMs = durationText === undefined ? undefined : parseDurationMs(durationText) / speed
    const life: Life = {
      object,
      pod,
      durationMs,
      nodeName: '',
      leftMs: durationMs,
      runsSinceMs: 0,
      end: undefined,
      eviction: undefined,
      leaving: undefined,
    }
    this.#lives.set(uid, life)
    this.#byName.set(key, life)
    const { nodeName = '' } = spec
    if (nodeName !== '') {
      this.#placed(life, read, nodeName)
      return
    }
    this.#show(pod)
    const gates = spec.schedulingGates ?? []
    if (gates.some(({ name: gate }) => gate === WORKLOAD_GATE))
      this.#after(GATE_OPENS_MS, 'timer', () => this.#open(life))
  }

  /** With the priority of its class. */
  #resolved(spec: PodSpec): PodSpec {
    if (spec.priority !== undefined) return spec
    let resolved = this.#resolvedSpecs.get(spec)
    if (resolved === undefined) {
      const priority = this.#objects.priorityOf(spec.priorityClassName)
      resolved = priority === 0 ? spec : { ...spec, priority }
      this.#resolvedSpecs.set(spec, resolved)
    }
    return resolved
  }

  /** What held the pod back lets it go. */
  #open(life: Life): void {
    if (!this.#lives.has(life.pod.uid)) return
    const { object, pod } = life
    const schedulingGates = (object.spec?.schedulingGates ?? []).filter(({ name }) => name !== WORKLOAD_GATE)
    const { createdAtMs } = pod
    const opened = this.cluster.readPod({ ...object, spec: { ...object.spec, schedulingGates } })
    life.pod = { ...opened, resourceVersion: this.#nextVersion(), schedulerName: SCHEDULER_NAME, createdAtMs }
    this.#show(life.pod)
  }

  /** The scheduler sees the pod so, which has a version of its own. */
  #show(pod: Pod): void {
    const { resourceVersion, uid } = pod
    this.cluster.willRead(pod)
    this.#scheduler.pods.seen({ metadata: { uid, resourceVersion } })
  }

  #nextVersion(): string {
    return String(++this.#version)
  }

  /** A bind was accepted, or the pod came with its node. */
  #placed(life: Life, pod: Pod, nodeName: string): void {
    this.#moveTo()
    const startedAtMs = Math.floor(this.#clock.nowMs() / 1000) * 1000
    life.nodeName = nodeName
    const resourceVersion = this.#nextVersion()
    life.pod = { ...pod, resourceVersion, nodeName, controller: '', phase: 'Running', startedAtMs }
    this.#show(life.pod)
    const devices = this.cluster.gpus.devicesOf(pod.uid)
    this.#pods.placed++
    this.#running++
    const there = this.#podsOn.get(nodeName)
    if (there === undefined) this.#podsOn.set(nodeName, new Set([life]))
    else there.add(life)
    const node = this.#nodes.get(nodeName)
    node?.idle?.cancel()
    if (node !== undefined && !node.silent) this.#go(life)
    this.#touch(nodeName)
    this.#options.observer?.placed?.(life.pod, nodeName, devices, this.nowMs)
  }

  /** The pod runs until its duration is over. */
  #go(life: Life): void {
    if (life.leftMs === undefined) return
    life.runsSinceMs = this.nowMs
    life.end = this.#after(life.leftMs, 'pod-completed', () => {
      this.#pods.completed++
      this.#end(life, 'completed')
    })
  }

  /** The pod is deleted, with its grace period. Pods without a node are gone at once. */
  #tellToLeave(life: Life | undefined, why: Why): void {
    if (life === undefined || life.leaving !== undefined) return
    life.leaving = why
    life.end?.cancel()
    life.eviction?.cancel()
    if (life.nodeName === '') {
      this.#end(life, why)
      return
    }
    const resourceVersion = this.#nextVersion()
    this.#show({ ...life.pod, resourceVersion, deleting: true, preempted: why === 'preempted' })
    const graceMs = (life.object.spec?.terminationGracePeriodSeconds ?? 30) * 1000
    this.#after(Math.min(STOP_WITHIN_MS, graceMs), 'pod-left', () => this.#end(life, why))
  }

  /** The pod is no more; nothing if it was gone before. */
  #end(life: Life | undefined, why: Why): void {
    if (life === undefined || !this.#lives.delete(life.pod.uid)) return
    this.#moveTo()
    const { nodeName, object, pod } = life
    const { name, namespace, uid } = pod
    life.end?.cancel()
    life.eviction?.cancel()
    this.#byName.delete(podKey(pod))
    this.#objects.podGoes(object)
    this.#scheduler.pods.gone(namespace, name, uid)
    if (nodeName !== '') {
      this.#running--
      const there = this.#podsOn.get(nodeName)
      there?.delete(life)
      if (there?.size === 0) this.#podsOn.delete(nodeName)
      this.#touch(nodeName)
      const node = this.#nodes.get(nodeName)
      if (node !== undefined) this.#mayIdle(node)
    }
    if (why === 'dropped' || why === 'gone') this.#pods[why]++
    else if (why !== 'completed') this.#disrupted(life, why)
    this.#options.observer?.left?.(pod, nodeName, why, this.nowMs)
  }

  /** A controller makes another pod in place of the one it has lost, under a name of its own, except a StatefulSet. */
  #disrupted({ object }: Life, why: Disruption): void {
    this.#disruptions[why]++
    const { metadata = {}, spec = {} } = object
    const owner = (metadata.ownerReferences ?? []).find(({ controller }) => controller)
    if (owner === undefined || this.#options.remake === false) {
      this.#pods.lost++
      return
    }
    const number = ++this.#replacements
    const keepsName = owner.kind === 'StatefulSet'
    const name = keepsName ? metadata.name : `${metadata.name?.replace(/-again-\d+$/, '')}-again-${number}`
    const { nodeName: _, ...anywhere } = spec
    const pod: PodObject = { ...object, metadata: { ...metadata, name } as ObjectMeta, spec: anywhere }
    this.#after(0, 'pod', () => {
      this.#pods.remade++
      this.#comes(pod)
    })
  }

  /** A pod that was refused is given up, unless room is being made for it. */
  #drop(uid: string): void {
    const life = this.#lives.get(uid)
    if (life !== undefined && life.nodeName === '' && this.cluster.nominationOf(uid) === '') this.#end(life, 'dropped')
  }

  *#unschedulable(): Generator<{ readonly pod: PodObject; readonly sinceMs: number }> {
    for (const { pod, queue, reason, sinceMs } of this.#scheduler.waiting()) {
      const life = this.#lives.get(pod.uid)
      if (life !== undefined && queue !== 'gated' && reason !== '') yield { pod: life.object, sinceMs }
    }
  }

  // Nodes

  #addNode(shape: NodeShape, fromAutoscaler: boolean): void {
    if (this.#nodes.has(shape.name))
      throw new StowageError('WORKLOAD_MALFORMED', {
        found: `node ${shape.name} joins at ${this.nowMs} ms and is there already`,
        expected: 'another name for each node',
      })
    this.#moveTo()
    this.#knownNodes.add(shape.name)
    const object = simulatedNode(shape, `uid-${++this.#uids}`)
    const node: SimulatedNode = {
      shape,
      object,
      silent: false,
      missed: false,
      leaving: false,
      idle: undefined,
      fromAutoscaler,
    }
    this.#nodes.set(shape.name, node)
    this.#showNode(node)
    for (const life of this.#podsOn.get(shape.name) ?? []) this.#go(life)
    this.#mayIdle(node)
    this.#expectFaults(node)
    if (fromAutoscaler) this.#nodeCounts.addedByAutoscaler++
  }

  #changeNode(node: SimulatedNode | undefined, shape: NodeShape): void {
    if (node === undefined) return
    this.#moveTo()
    const { metadata, spec, status } = simulatedNode(shape, '')
    const { metadata: before, spec: specBefore } = node.object
    const taints = spec?.taints ?? []
    node.object = {
      ...node.object,
      metadata: { ...before, labels: metadata?.labels ?? {} },
      spec: { ...specBefore, taints: node.missed ? withUnreachableTaints(taints, this.#clock.nowMs()) : taints },
      status: { ...node.object.status, ...status },
    }
    this.#showNode(node)
  }

  #showNode({ object, shape }: SimulatedNode): void {
    this.#scheduler.nodes.seen(object)
    this.#touch(shape.name)
  }

  /** The node is gone, and what is on it with it. */
  #removeNode(node: SimulatedNode | undefined, why: Disruption): void {
    if (node === undefined || this.#nodes.get(node.shape.name) !== node) return
    this.#moveTo()
    const { name } = node.shape
    node.leaving = true
    node.idle?.cancel()
    const index = this.cluster.indexOf(name)
    for (const life of this.#podsOn.get(name) ?? []) this.#end(life, life.leaving ?? why)
    this.#nodes.delete(name)
    this.#scheduler.nodes.gone('', name, node.object.metadata?.uid ?? '')
    this.#measures.touch(index, false)
    if (node.fromAutoscaler) this.#autoscaler?.removed()
  }

  #drain(node: SimulatedNode | undefined, noticeMs: number, why: 'evicted' | 'spot-reclaimed'): void {
    if (node === undefined || node.leaving) return
    this.#moveTo()
    node.leaving = true
    node.object = { ...node.object, spec: { ...node.object.spec, unschedulable: true } }
    this.#showNode(node)
    for (const life of this.#podsOn.get(node.shape.name) ?? []) this.#tellToLeave(life, why)
    this.#after(noticeMs, 'node-remove', () => this.#removeNode(node, why === 'evicted' ? 'node-removed' : why))
  }

  #fail(node: SimulatedNode | undefined): void {
    if (node === undefined || node.silent) return
    node.silent = true
    this.#nodeCounts.failed++
    for (const life of this.#podsOn.get(node.shape.name) ?? []) {
      if (life.end === undefined) continue
      life.end.cancel()
      life.end = undefined
      life.leftMs = Math.max(0, (life.leftMs ?? 0) - (this.nowMs - life.runsSinceMs))
    }
    this.#after(NODE_SILENT_MS, 'timer', () => this.#missed(node))
  }

  /** The node controller has not heard of the node for too long. */
  #missed(node: SimulatedNode): void {
    if (!node.silent || this.#nodes.get(node.shape.name) !== node) return
    this.#moveTo()
    node.missed = true
    const taints = withUnreachableTaints(node.object.spec?.taints ?? [], this.#clock.nowMs())
    node.object = { ...node.object, spec: { ...node.object.spec, taints } }
    this.#showNode(node)
    for (const life of this.#podsOn.get(node.shape.name) ?? []) {
      const tolerations = [...(life.object.spec?.tolerations ?? []), ...LOST_NODE_TOLERATIONS]
      const delayMs = evictionDelayMs(noExecuteTaints(taints), tolerations)
      if (delayMs === undefined || life.leaving !== undefined) continue
      life.eviction = this.#after(delayMs, 'evict', () => this.#tellToLeave(life, 'node-failed'))
    }
  }

  #recover(node: SimulatedNode | undefined): void {
    if (node === undefined || !node.silent) return
    this.#moveTo()
    node.silent = false
    node.missed = false
    const taints = withoutUnreachableTaints(node.object.spec?.taints ?? [])
    node.object = { ...node.object, spec: { ...node.object.spec, taints } }
    this.#showNode(node)
    for (const life of this.#podsOn.get(node.shape.name) ?? []) {
      life.eviction?.cancel()
      if (life.leaving === undefined) this.#go(life)
    }
  }

  /** What becomes of the node by chance: each node has its own stream, so that others do not change its fate. */
  #expectFaults(node: SimulatedNode): void {
    const { failures, spot } = this.#options
    if (failures !== undefined) {
      const random = this.#faults.fork()
      const next = (): void =>
        this.#sometime(this.#drawnMs(failures.meanTimeToFailureMs, random), () => {
          if (this.#nodes.get(node.shape.name) !== node) return
          this.#step = 'node-fail'
          this.#fail(node)
          this.#after(this.#drawnMs(failures.meanTimeToRecoveryMs, random), 'node-recover', () => {
            this.#recover(node)
            next()
          })
        })
      next()
    }
    if (spot === undefined || !spot.isSpot(node.shape) || spot.reclaimsPerHour <= 0) return
    const { noticeMs = SPOT_NOTICE_MS, returnsAfterMs } = spot
    this.#sometime(this.#drawnMs(HOUR_MS / spot.reclaimsPerHour, this.#faults.fork()), () => {
      if (this.#nodes.get(node.shape.name) !== node || node.leaving) return
      this.#step = 'node-drain'
      this.#nodeCounts.spotReclaimed++
      this.#drain(node, noticeMs, 'spot-reclaimed')
      if (returnsAfterMs !== undefined)
        this.#after(noticeMs + returnsAfterMs, 'node-add', () => this.#addNode(node.shape, false))
    })
  }

  /** A node of the autoscaler that nobody uses goes after a while. */
  #mayIdle(node: SimulatedNode): void {
    const { autoscaler } = this.#options
    if (!node.fromAutoscaler || autoscaler === undefined || node.leaving || this.#podsOn.has(node.shape.name)) return
    node.idle?.cancel()
    node.idle = this.#after(autoscaler.idleMs ?? IDLE_MS, 'node-remove', () => {
      this.#nodeCounts.removedByAutoscaler++
      this.#removeNode(node, 'node-removed')
    })
  }

  // Measures

  #moveTo(): void {
    this.#measures.moveTo(this.nowMs)
  }

  #touch(nodeName: string): void {
    const index = this.cluster.indexOf(nodeName)
    if (index >= 0) this.#measures.touch(index, true)
  }

  #result(durationMs: number): SimulationResult {
    const { policy, seed, fragmentation } = this.#options
    const conservation = this.#scheduler.conservation()
    const averages = this.#measures.averages()
    const { now } = this.#measures
    const nowMs = this.#clock.nowMs()
    const reasons = new Map<string, number>()
    const stillPendingMs: number[] = []
    for (const { queue, reason, sinceMs } of this.#scheduler.waiting()) {
      if (queue === 'gated') continue
      stillPendingMs.push(nowMs - sinceMs)
      const why = withoutCounts(reason)
      reasons.set(why, (reasons.get(why) ?? 0) + 1)
    }
    let mostPods = 0
    let emptyNodes = 0
    let pods = 0
    for (const name of this.#nodes.keys()) {
      const there = this.#podsOn.get(name)?.size ?? 0
      pods += there
      mostPods = Math.max(mostPods, there)
      if (there === 0) emptyNodes++
    }
    this.#digest.update(this.#digestLines.splice(0).join(''))
    return {
      policy: policy.name,
      seed,
      digest: this.#digest.digest('hex'),
      durationMs,
      decisions: this.#decisions,
      pods: {
        ...this.#pods,
        running: this.#running,
        pending: conservation.waiting + conservation.inFlight,
        gated: conservation.gated,
      },
      nodes: {
        ...this.#nodeCounts,
        atEnd: this.#nodes.size,
        most: this.#measures.mostNodes,
        mean: averages.nodes,
      },
      disruptions: { ...this.#disruptions },
      pendingMs: spreadOf(this.#pendingMs),
      stillPendingMs: spreadOf(stillPendingMs),
      utilisation: sharesOf(averages),
      peakUtilisation: this.#measures.peak,
      finalUtilisation: sharesOf(now),
      imbalance: { cpu: averages.cpuSpread, memory: averages.memorySpread, gpu: averages.gpuSpread },
      fragmentation: fragmentation === undefined ? undefined : averages.fragmentation,
      finalFragmentation: fragmentation === undefined ? undefined : now.fragmentation,
      pendingPods: { mean: averages.pending, most: this.#measures.mostPending },
      podsPerNode: { mean: this.#nodes.size === 0 ? 0 : pods / this.#nodes.size, most: mostPods, emptyNodes },
      waitingBecause: [...reasons]
        .sort(([, a], [, b]) => b - a)
        .slice(0, REASONS_AT_MOST)
        .map(([reason, count]) => ({ reason, pods: count })),
      series: this.#measures.series(),
      conservation,
      discrepancies: this.cluster.discrepancies(),
    }
  }

  // What the scheduler talks to

  /** A policy that answers later is given its turn: answers come in the order of the questions, whichever is ready first. */
  #inOrder(policy: Policy): Policy {
    const { choosesDevices, name, readsSelectors, version } = policy
    return {
      name,
      version,
      ...(readsSelectors === undefined ? {} : { readsSelectors }),
      ...(choosesDevices === undefined ? {} : { choosesDevices }),
      rank: (pod, candidates, context) => {
        const answer = policy.rank(pod, candidates, context)
        if (!isPending(answer)) return answer
        const before = this.#lastAnswer
        const inTurn = Promise.allSettled([answer, before]).then(() => answer)
        const over: Promise<unknown> = inTurn.then(nothing, nothing).then(() => this.#answers.delete(over))
        this.#lastAnswer = over
        this.#answers.add(over)
        return inTurn
      },
    }
  }

  #binder(): Binder {
    return {
      bind: (pod, nodeName) => {
        const life = this.#lives.get(pod.uid)
        if (life === undefined)
          return Promise.reject(new BindFailure('gone', `pod ${podKey(pod)} is not there any more`))
        this.#accepted.push({ life, pod, nodeName })
        return DONE
      },
    }
  }

  #evictor(): Evictor {
    return {
      evict: (victim) => {
        const life = this.#lives.get(victim.uid)
        if (life === undefined) {
          this.#evictionsDue--
          return NO
        }
        this.#evicted.push(life)
        return YES
      },
    }
  }

  #reporter(): Reporter {
    return {
      scheduled: nothing,
      failed: (pod, reason) => {
        if (reason !== 'Unschedulable') return
        if (this.#options.unschedulable === 'drop') this.#refused.push(pod.uid)
        this.#autoscaler?.refused()
      },
      denominated: nothing,
      gang: nothing,
      preempted: () => {
        this.#evictionsDue--
      },
      drain: () => DONE,
    }
  }

  #sink(): DecisionSink {
    return {
      keep: (record) => {
        this.#decisions++
        this.#digestion(record)
        this.#options.observer?.decided?.(record)
      },
      settle: nothing,
    }
  }

  #digestion({ atMs, attempt, devices, namespace, node, outcome, pod }: DecisionRecord): void {
    this.#digestLines.push(`${atMs} ${namespace}/${pod} ${attempt} ${outcome} ${node} ${devices?.join() ?? ''}\n`)
    if (this.#digestLines.length >= DIGEST_LINES) this.#digest.update(this.#digestLines.splice(0).join(''))
  }

  #observer(): SchedulingObserver {
    return {
      attempted: nothing,
      phase: nothing,
      bound: (_schedulerName, _attempts, sinceOpenMs) => this.#pendingMs.push(sinceOpenMs),
      preempted: (_schedulerName, victims) => {
        this.#evictionsDue += victims
      },
      queued: nothing,
      fellBack: nothing,
      unreadable: nothing,
    }
  }
}

const sharesOf = ({ cpu, gpu, memory }: Shares): Shares => ({ cpu, memory, gpu })

/** `0/5 nodes are available: 2 Insufficient cpu, 3 node(s) were unschedulable.` without what differs from pod to pod. */
export const withoutCounts = (message: string): string =>
  message
    .replace(/ preemption: .*$/, '')
    .replace(/^0\/\d+ nodes are available: /, '')
    .replace(/\.$/, '')
    .split(', ')
    .map((part) => part.replace(/^\d+ /, ''))
    .sort()
    .join(', ')
