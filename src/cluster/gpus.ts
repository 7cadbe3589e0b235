import { type GpuRequest, GPUS_PER_NODE_AT_MOST, type NodeGpus, WHOLE_GPU_MILLI } from './gpu-request.ts'
import type { Node, NodeIndex } from './node.ts'
import type { Pod } from './pod.ts'

/** The GPUs of the cluster, one by one, as constraints and policies read them. Columns are replaced when they grow. */
export interface GpuView {
  /** length of a node's part of `freeMilli` */
  readonly stride: number
  /** freeMilli[node * stride + gpu], thousandths, for gpu < count[node]; below 0 where somebody else overcommitted it */
  readonly freeMilli: Int32Array
  /** GPUs by node */
  readonly count: Int32Array
  /** sum of freeMilli by node */
  readonly freeSum: Int32Array
  /** index into `models` by node */
  readonly modelOf: Int32Array
  /** `models[0]` is '': unknown */
  readonly models: readonly string[]
  /** whether the request fits on single GPUs of the node */
  fits(node: NodeIndex, request: GpuRequest): boolean
  /** The tightest GPUs that fit, the lowest numbers among equals; undefined: it does not fit. */
  choose(node: NodeIndex, request: GpuRequest): readonly number[] | undefined
  /** whether exactly these GPUs of the node have room for the request */
  allows(node: NodeIndex, request: GpuRequest, devices: readonly number[]): boolean
  /** which GPUs a placed pod has; empty: none are known */
  devicesOf(uid: string): readonly number[]
}

const NONE: readonly number[] = []
const FIRST_STRIDE = 8
/** One list for each single GPU: most pods have just one. */
const SINGLE: readonly (readonly number[])[] = Array.from({ length: GPUS_PER_NODE_AT_MOST }, (_, gpu) => [gpu])

/** Which GPU of which node is taken, and by how much. Written by the cluster state only. */
export class GpuState implements GpuView {
  stride = FIRST_STRIDE
  freeMilli = new Int32Array(0)
  count = new Int32Array(0)
  freeSum = new Int32Array(0)
  modelOf = new Int32Array(0)
  readonly models: string[] = ['']
  readonly #modelNumbers = new Map<string, number>([['', 0]])
  /** by pod, kept while it is placed: who bound it may not have said which it has */
  readonly #devices = new Map<string, readonly number[]>()
  #capacity = 0

  // Reading

  fits(node: NodeIndex, { count, milli }: GpuRequest): boolean {
    const { freeMilli } = this
    const first = node * this.stride
    const end = first + this.count[node]!
    let left = count
    for (let at = first; at < end; at++) if (freeMilli[at]! >= milli && --left === 0) return true
    return false
  }

  choose(node: NodeIndex, { count, milli }: GpuRequest): readonly number[] | undefined {
    const { freeMilli } = this
    const first = node * this.stride
    const gpus = this.count[node]!
    if (count === 1) {
      let best = -1
      let least = Number.POSITIVE_INFINITY
      for (let gpu = 0; gpu < gpus; gpu++) {
        // gpu < count[node] <= stride
        const free = freeMilli[first + gpu]!
        if (free >= milli && free < least) {
          least = free
          best = gpu
        }
      }
      return SINGLE[best]
    }
    const chosen: number[] = []
    for (let gpu = 0; gpu < gpus && chosen.length < count; gpu++) if (freeMilli[first + gpu]! >= milli) chosen.push(gpu)
    return chosen.length === count ? chosen : undefined
  }

  allows(node: NodeIndex, { count, milli }: GpuRequest, devices: readonly number[]): boolean {
    const gpus = this.count[node] ?? 0
    return (
      devices.length === count &&
      (count === 1 || new Set(devices).size === count) &&
      devices.every(
        (gpu) =>
          Number.isInteger(gpu) && gpu >= 0 && gpu < gpus && (this.freeMilli[node * this.stride + gpu] ?? 0) >= milli,
      )
    )
  }

  devicesOf(uid: string): readonly number[] {
    return this.#devices.get(uid) ?? NONE
  }

  // Writing

  /** Room for that many nodes. */
  grow(nodeCapacity: number): void {
    this.#capacity = nodeCapacity
    const grown = (column: Int32Array): Int32Array<ArrayBuffer> => {
      const longer = new Int32Array(nodeCapacity)
      longer.set(column)
      return longer
    }
    this.count = grown(this.count)
    this.freeSum = grown(this.freeSum)
    this.modelOf = grown(this.modelOf)
    const freeMilli = new Int32Array(nodeCapacity * this.stride)
    freeMilli.set(this.freeMilli)
    this.freeMilli = freeMilli
  }

  /** The node has these GPUs, all of them free. */
  enter(index: NodeIndex, { count, model }: NodeGpus): void {
    if (count > this.stride) this.#widen(count)
    let number = this.#modelNumbers.get(model)
    if (number === undefined) {
      number = this.models.length
      this.models.push(model)
      this.#modelNumbers.set(model, number)
    }
    this.modelOf[index] = number
    this.count[index] = count
    this.freeSum[index] = count * WHOLE_GPU_MILLI
    const first = index * this.stride
    this.freeMilli.fill(0, first, first + this.stride)
    this.freeMilli.fill(WHOLE_GPU_MILLI, first, first + count)
  }

  /** The pod takes its GPUs: those it says, those it had, or the tightest. */
  place(index: NodeIndex, pod: Pod, request: GpuRequest): void {
    // Whoever owns the pod can write there: GPUs that the node does not have would leave those it uses free.
    const said = pod.gpuDevices?.every((gpu) => gpu < this.count[index]!) ? pod.gpuDevices : undefined
    let devices = said ?? this.#devices.get(pod.uid)
    if (devices === undefined) devices = this.choose(index, request) ?? this.#freest(index, request.count)
    this.#devices.set(pod.uid, devices)
    this.#take(index, devices, request.milli)
  }

  /** It gives them back; which they were stays known until `forget`. */
  unplace(index: NodeIndex, pod: Pod, request: GpuRequest): void {
    this.#take(index, this.devicesOf(pod.uid), -request.milli)
  }

  /** The pod is placed nowhere any more. */
  forget(uid: string): void {
    this.#devices.delete(uid)
  }

  /** Every GPU of the node that differs from a recount of the pods there. */
  *discrepancies({ name, gpus }: Node, index: NodeIndex, pods: Iterable<Pod>): Generator<string> {
    const free = new Int32Array(gpus.count).fill(WHOLE_GPU_MILLI)
    for (const { shape, uid } of pods)
      for (const gpu of this.devicesOf(uid)) if (gpu < free.length) free[gpu] = free[gpu]! - (shape.gpu?.milli ?? 0)
    let sum = 0
    for (const [gpu, milli] of free.entries()) {
      sum += milli
      const counted = this.freeMilli[index * this.stride + gpu]
      if (counted !== milli) yield `${name}: GPU ${gpu} has ${counted} thousandths counted free, ${milli} there`
    }
    if (this.freeSum[index] !== sum)
      yield `${name}: ${this.freeSum[index]} thousandths of GPUs counted free, ${sum} there`
  }

  /** GPUs that the node does not have (any more) take nothing. */
  #take(index: NodeIndex, devices: readonly number[], milli: number): void {
    const gpus = this.count[index]!
    const first = index * this.stride
    for (const gpu of devices) {
      if (gpu >= gpus) continue
      // gpu < count[index] <= stride
      this.freeMilli[first + gpu] = this.freeMilli[first + gpu]! - milli
      this.freeSum[index] = this.freeSum[index]! - milli
    }
  }

  /** For a pod that somebody else put where it does not fit: the GPUs with the most left. */
  #freest(index: NodeIndex, count: number): readonly number[] {
    const first = index * this.stride
    const gpus = this.freeMilli.subarray(first, first + this.count[index]!)
    return Array.from(gpus.keys())
      .sort((a, b) => gpus[b]! - gpus[a]! || a - b)
      .slice(0, count)
  }

  #widen(atLeast: number): void {
    const stride = 2 ** Math.ceil(Math.log2(atLeast))
    const freeMilli = new Int32Array(this.#capacity * stride)
    for (let node = 0; node < this.#capacity; node++)
      freeMilli.set(this.freeMilli.subarray(node * this.stride, (node + 1) * this.stride), node * stride)
    this.stride = stride
    this.freeMilli = freeMilli
  }
}
