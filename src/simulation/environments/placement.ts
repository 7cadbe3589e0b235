import { type Random, seededRandom } from '../../clock/random.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod } from '../../cluster/pod.ts'
import { CPU, MEMORY } from '../../cluster/resources.ts'
import { ClusterState } from '../../cluster/state.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import { type Constraint, isPodRefusal, type Tally } from '../../constraints/constraint.ts'
import { createConstraints } from '../../constraints/registry.ts'
import { StowageError } from '../../errors/catalogue.ts'
import { demandOf, workloadOfPods } from '../../policies/gpu/workload.ts'
import { fragmentationFor } from '../engine/gpu-demand.ts'
import { simulatedNode } from '../engine/simulated-node.ts'
import type { NodeShape } from '../workload/node-shapes.ts'
import type { Environment, Observation, ObservationBuffers, Step } from './environment.ts'
import { PlacementFeatures } from './placement-features.ts'
import type { ComingPod, PodSource } from './pod-source.ts'

/** The terms of the potential, in the order of `Step.terms`. Each is 0 at best or 1 at best, and changes by what a step does. */
export const PLACEMENT_TERMS = [
  /** share of the nodes that are empty */
  'emptyNodes',
  /** minus the standard deviation of the nodes' requested shares, mean of cpu and memory */
  'balance',
  /** minus the mean difference between the requested shares of cpu and memory on a node: what is left there can be had by nobody */
  'stranding',
  /** minus FGD's fragmentation for these pods, of all GPUs */
  'fragmentation',
  /** minus the share of an episode's pods that found no node */
  'refusals',
] as const
export type PlacementTerm = (typeof PLACEMENT_TERMS)[number]

/** Weights of the terms where none are given: spread evenly, strand nothing, and above all refuse nobody. */
export const PLACEMENT_WEIGHTS: Readonly<Record<PlacementTerm, number>> = {
  emptyNodes: 0,
  balance: 1,
  stranding: 1,
  fragmentation: 1,
  refusals: 10,
}

export interface PlacementOptions {
  readonly nodes: readonly NodeShape[]
  /** used by this environment alone */
  readonly source: PodSource
  /** decisions after which an episode is cut off; undefined: never */
  readonly stepsAtMost?: number
  /** @default PLACEMENT_WEIGHTS */
  readonly weights?: Partial<Readonly<Record<PlacementTerm, number>>>
  /** where to write what is observed @default arrays of its own */
  readonly buffers?: ObservationBuffers
}

const EMPTY_NODES = 0
const BALANCE = 1
const STRANDING = 2
const FRAGMENTATION = 3
const REFUSALS = 4

/** Pods that will leave, by when: a binary heap over arrays that are used again and again. */
class Departures {
  #times = new Float64Array(1024)
  #seats = new Int32Array(1024)
  #size = 0

  clear(): void {
    this.#size = 0
  }

  get nextMs(): number {
    // the size is at most the length
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#times[0]!
  }

  push(atMs: number, seat: number): void {
    if (this.#size === this.#times.length) this.#grow()
    const times = this.#times
    const seats = this.#seats
    let at = this.#size++
    while (at > 0) {
      const above = (at - 1) >> 1
      // above < at < length
      if (times[above]! <= atMs) break
      times[at] = times[above]!
      seats[at] = seats[above]!
      at = above
    }
    times[at] = atMs
    seats[at] = seat
  }

  /** The seat of the next to leave. */
  pop(): number {
    const times = this.#times
    const seats = this.#seats
    const first = seats[0]!
    const size = --this.#size
    // size < length
    const lastMs = times[size]!
    const last = seats[size]!
    let at = 0
    for (let below = 1; below < size; below = 2 * at + 1) {
      if (below + 1 < size && times[below + 1]! < times[below]!) below++
      if (times[below]! >= lastMs) break
      times[at] = times[below]!
      seats[at] = seats[below]!
      at = below
    }
    times[at] = lastMs
    seats[at] = last
    return first
  }

  #grow(): void {
    const times = new Float64Array(this.#times.length * 2)
    const seats = new Int32Array(this.#times.length * 2)
    times.set(this.#times)
    seats.set(this.#seats)
    this.#times = times
    this.#seats = seats
  }
}

/** A pod of a template; records do not change elsewhere, but nobody holds one that has left. */
interface Seat {
  readonly pod: { -readonly [Key in keyof Pod]: Pod[Key] }
  readonly template: number
  slot: number
}

/**
 * One pod at a time is to be placed on one of the nodes; the mask is what the real constraints allow on the real cluster state,
 * and the action changes that state. Pods that no node may take are refused, as in the experiments on fragmentation, and never asked about. Pods
 * leave when their time is over, as time goes on to the next arrival.
 *
 * The reward of a step is the change of a potential, a weighted sum of `PLACEMENT_TERMS`: over an episode it adds up to what the
 * episode has made of the cluster. An episode ends (`terminated`) when no more pods come; `stepsAtMost` cuts it off (`truncated`).
 */
export class PlacementEnvironment implements Environment {
  readonly observationSize: number
  readonly actionSizes: readonly number[]
  readonly rewardTerms: readonly string[] = PLACEMENT_TERMS
  readonly #state = new ClusterState()
  readonly #constraints: readonly Constraint[] = createConstraints()
  readonly #tally: Tally = { counts: new Int32Array(16) }
  readonly #source: PodSource
  readonly #templates: readonly Pod[]
  readonly #names: readonly string[]
  /** the node of each choice, and the choice of each node */
  readonly #nodes: Int32Array
  readonly #slots: Int32Array
  readonly #stepsAtMost: number
  readonly #weights: Float64Array
  readonly #features: PlacementFeatures
  readonly #fragmentation: ((cluster: ClusterView, node: NodeIndex) => number) | undefined
  readonly #gpuMilli: number

  readonly #coming: ComingPod = { template: 0, gapMs: 0, durationMs: 0 }
  readonly #departures = new Departures()
  /** Pods are used again when they have left, by others of their template: a seat is a pod, with the slot of its node or -1. */
  readonly #seats: Seat[] = []
  readonly #freeSeats: readonly number[][]
  readonly #allowed: Int32Array
  #nowMs = 0
  #steps = 0
  #refused = 0
  #isOpen = false

  // What the potential is made of: each node's part, and the sums.
  readonly #cpuShare: Float64Array
  readonly #memoryShare: Float64Array
  readonly #fragmented: Float64Array
  readonly #wasEmpty: Uint8Array
  #empty = 0
  #cpuSum = 0
  #cpuSquares = 0
  #memorySum = 0
  #memorySquares = 0
  #stranded = 0
  #fragmentedSum = 0
  readonly #before = new Float64Array(PLACEMENT_TERMS.length)
  readonly #now = new Float64Array(PLACEMENT_TERMS.length)

  readonly #step: {
    -readonly [Key in keyof Step]-?: Exclude<Step[Key], undefined>
  }

  /** @throws StowageError POD_MALFORMED, NODE_MALFORMED; BAD_REQUEST for buffers of another size */
  constructor({ buffers, nodes, source, stepsAtMost, weights }: PlacementOptions) {
    for (const [number, shape] of nodes.entries())
      this.#state.applyNode(this.#state.readNode(simulatedNode(shape, `node-${number}`)))
    this.#nodes = Int32Array.from(this.#state.order.subarray(0, this.#state.nodeCount))
    this.#slots = new Int32Array(this.#state.nodeCapacity).fill(-1)
    for (const [slot, node] of this.#nodes.entries()) this.#slots[node] = slot
    this.#names = Array.from(this.#nodes, (node) => this.#state.node(node).name)
    this.#allowed = new Int32Array(this.#state.nodeCapacity)
    this.#source = source
    this.#templates = source.templates.map((template, number) => {
      const metadata = { ...template.metadata, name: `template-${number}`, uid: `template-${number}` }
      return this.#state.readPod({ ...template, metadata })
    })
    this.#freeSeats = this.#templates.map(() => [])
    this.#stepsAtMost = stepsAtMost ?? Number.POSITIVE_INFINITY
    const count = this.#nodes.length
    this.observationSize = PlacementFeatures.sizeFor(count)
    this.actionSizes = [count]
    const { features, mask } = buffers ?? {
      features: new Float32Array(this.observationSize),
      mask: new Uint8Array(count),
    }
    if (features.length !== this.observationSize || mask.length !== count)
      throw new StowageError('BAD_REQUEST', {
        found: `buffers of ${features.length} and ${mask.length}`,
        expected: `${this.observationSize} features and ${count} choices`,
      })
    this.#features = new PlacementFeatures(this.#state, this.#nodes, features)
    this.#weights = Float64Array.from(PLACEMENT_TERMS, (term) => weights?.[term] ?? PLACEMENT_WEIGHTS[term])
    this.#gpuMilli = this.#nodes.reduce((sum, node) => sum + (this.#state.gpus.count[node] ?? 0) * WHOLE_GPU_MILLI, 0)
    this.#fragmentation =
      this.#gpuMilli === 0
        ? undefined
        : fragmentationFor(workloadOfPods(this.#templates.map(({ shape }) => demandOf(shape))))
    this.#cpuShare = new Float64Array(count)
    this.#memoryShare = new Float64Array(count)
    this.#fragmented = new Float64Array(count)
    this.#wasEmpty = new Uint8Array(count)
    const terms = new Float64Array(PLACEMENT_TERMS.length)
    this.#step = { features, mask, reward: 0, terminated: false, truncated: false, terms }
  }

  /** The cluster as it is, to be read only. */
  get cluster(): ClusterView {
    return this.#state
  }

  /** The pod that is to be placed. */
  get pod(): Pod {
    // one of the templates
    return this.#templates[this.#coming.template]!
  }

  get potential(): number {
    this.#measure()
    return this.#weighted(this.#now)
  }

  /** As `ClusterState.discrepancies`. */
  discrepancies(): ReturnType<ClusterState['discrepancies']> {
    return this.#state.discrepancies()
  }

  /** Pods of this episode that no node could take. */
  get refused(): number {
    return this.#refused
  }

  reset(seed: number): Observation {
    const random = seededRandom(seed)
    for (const free of this.#freeSeats) free.length = 0
    for (let number = this.#seats.length - 1; number >= 0; number--) {
      // number < length, and a seat's template is one of the templates
      const seat = this.#seats[number]!
      if (seat.slot >= 0) this.#state.removePod(seat.pod.uid)
      seat.slot = -1
      this.#freeSeats[seat.template]!.push(number)
    }
    this.#departures.clear()
    this.#nowMs = 0
    this.#steps = 0
    this.#refused = 0
    this.#features.writeFixed(this.#ages(random.fork()))
    this.#recount()
    this.#source.begin(random.fork())
    this.#isOpen = this.#expect()
    // Pods that nobody could ever take are no part of the first step's reward.
    this.#measure()
    this.#before.set(this.#now)
    return this.#step
  }

  step(action: ArrayLike<number>): Step {
    const step = this.#step
    const slot = action[0]
    if (!this.#isOpen)
      throw new StowageError('BAD_REQUEST', { found: 'a step after the end of an episode, or before a reset' })
    if (slot === undefined || step.mask[slot] !== 1)
      throw new StowageError('BAD_REQUEST', { found: `the choice ${slot}`, expected: 'one that the mask allows' })
    this.#place(slot)
    this.#steps++
    const goesOn = this.#expect()
    step.terminated = !goesOn
    step.truncated = goesOn && this.#steps >= this.#stepsAtMost
    this.#isOpen = goesOn && !step.truncated
    this.#measure()
    const { terms } = step
    let reward = 0
    for (let at = 0; at < terms.length; at++) {
      // at < length of all
      terms[at] = this.#now[at]! - this.#before[at]!
      reward += this.#weights[at]! * terms[at]!
      this.#before[at] = this.#now[at]!
    }
    step.reward = reward
    return step
  }

  // The course of an episode

  #ages(random: Random): Float32Array {
    return Float32Array.from(this.#nodes, () => random.next())
  }

  #place(slot: number): void {
    const { template } = this.#coming
    // a template, and a choice
    const number = this.#freeSeats[template]!.pop() ?? this.#newSeat(template)
    const seat = this.#seats[number]!
    seat.slot = slot
    seat.pod.nodeName = this.#names[slot]!
    this.#state.applyPod(seat.pod)
    if (this.#coming.durationMs < Number.POSITIVE_INFINITY)
      this.#departures.push(this.#nowMs + this.#coming.durationMs, number)
    this.#changed(slot)
  }

  #newSeat(template: number): number {
    const uid = `seat-${this.#seats.length}`
    const pod = { ...this.pod, uid, name: uid }
    return this.#seats.push({ pod, template, slot: -1 }) - 1
  }

  /** Time goes on to the next pod that some node may take. @returns false: no more come */
  #expect(): boolean {
    while (this.#source.next(this.#coming)) {
      this.#nowMs += this.#coming.gapMs
      while (this.#departures.nextMs <= this.#nowMs) this.#leave(this.#departures.pop())
      if (this.#findAllowed() > 0) {
        this.#features.writePod(this.pod, this.#coming.durationMs)
        return true
      }
      this.#refused++
    }
    this.#step.mask.fill(0)
    return false
  }

  #leave(number: number): void {
    // a seat that is taken, of a template
    const seat = this.#seats[number]!
    const { slot } = seat
    this.#state.removePod(seat.pod.uid)
    seat.slot = -1
    this.#freeSeats[seat.template]!.push(number)
    this.#changed(slot)
  }

  /** Asks the constraints; the mask says what they allow. @returns how many nodes */
  #findAllowed(): number {
    const { mask } = this.#step
    const { pod } = this
    const state = this.#state
    const allowed = this.#allowed
    const tally = this.#tally
    allowed.set(this.#nodes)
    let count = this.#nodes.length
    mask.fill(0)
    const constraints = this.#constraints
    for (let at = 0; at < constraints.length; at++) {
      // at < length
      const check = constraints[at]!.prepare(pod, state)
      if (check === undefined) continue
      if (isPodRefusal(check)) return 0
      count = check.sift(allowed, count, tally)
      if (count === 0) return 0
    }
    // at < count <= length; nodes in use have a slot
    for (let at = 0; at < count; at++) mask[this.#slots[allowed[at]!]!] = 1
    return count
  }

  // The potential

  /** What is on a node is another. */
  #changed(slot: number): void {
    this.#features.writeNode(slot)
    const { allocatable, podCount, requested } = this.#state
    // a node in use, within all columns
    const node = this.#nodes[slot]!
    const cpu = shareOf(requested[CPU]?.[node] ?? 0, allocatable[CPU]?.[node] ?? 0)
    const memory = shareOf(requested[MEMORY]?.[node] ?? 0, allocatable[MEMORY]?.[node] ?? 0)
    const cpuBefore = this.#cpuShare[slot]!
    const memoryBefore = this.#memoryShare[slot]!
    const wasEmpty = this.#wasEmpty[slot]!
    const isEmpty = podCount[node] === 0 ? 1 : 0
    this.#empty += isEmpty - wasEmpty
    this.#wasEmpty[slot] = isEmpty
    this.#cpuSum += cpu - cpuBefore
    this.#cpuSquares += cpu * cpu - cpuBefore * cpuBefore
    this.#memorySum += memory - memoryBefore
    this.#memorySquares += memory * memory - memoryBefore * memoryBefore
    this.#stranded += Math.abs(cpu - memory) - Math.abs(cpuBefore - memoryBefore)
    this.#cpuShare[slot] = cpu
    this.#memoryShare[slot] = memory
    if (this.#fragmentation === undefined) return
    const fragmented = this.#fragmentation(this.#state, node)
    this.#fragmentedSum += fragmented - this.#fragmented[slot]!
    this.#fragmented[slot] = fragmented
  }

  #recount(): void {
    this.#empty = 0
    this.#cpuSum = 0
    this.#cpuSquares = 0
    this.#memorySum = 0
    this.#memorySquares = 0
    this.#stranded = 0
    this.#fragmentedSum = 0
    for (const column of [this.#cpuShare, this.#memoryShare, this.#fragmented, this.#wasEmpty]) column.fill(0)
    for (let slot = 0; slot < this.#nodes.length; slot++) this.#changed(slot)
  }

  /** The terms at this moment into `#now`. */
  #measure(): void {
    const now = this.#now
    const count = this.#nodes.length
    now[EMPTY_NODES] = this.#empty / count
    now[BALANCE] =
      -(deviation(this.#cpuSum, this.#cpuSquares, count) + deviation(this.#memorySum, this.#memorySquares, count)) / 2
    now[STRANDING] = -this.#stranded / count
    now[FRAGMENTATION] = this.#gpuMilli === 0 ? 0 : -this.#fragmentedSum / this.#gpuMilli
    now[REFUSALS] = -this.#refused / this.#source.pods
  }

  #weighted(terms: Float64Array): number {
    let sum = 0
    // as many weights as terms
    for (let at = 0; at < terms.length; at++) sum += this.#weights[at]! * terms[at]!
    return sum
  }
}

const shareOf = (part: number, whole: number): number => (whole > 0 ? part / whole : 0)

const deviation = (sum: number, squares: number, count: number): number =>
  Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2))
