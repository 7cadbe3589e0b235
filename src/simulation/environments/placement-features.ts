import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod } from '../../cluster/pod.ts'
import { amountOf, CPU, MEMORY } from '../../cluster/resources.ts'
import type { ClusterView } from '../../cluster/view.ts'

/** What is observed of each node, each about 0 to 1. Shares are of the node's own capacity, sizes of the largest node's. */
export const NODE_FEATURES = [
  'cpuFree',
  'memoryFree',
  'gpuFree',
  'podsFree',
  /** absolute difference of the free shares of cpu and memory */
  'imbalance',
  /** share of its GPUs that are wholly free, free by more than half, free by less, and wholly taken: a histogram of remainders */
  'gpusIdle',
  'gpusMostlyFree',
  'gpusMostlyTaken',
  'gpusTaken',
  'largestGpuFree',
  'cpuSize',
  'memorySize',
  'gpuSize',
  /** the first four zones; all 0 in others */
  'zone0',
  'zone1',
  'zone2',
  'zone3',
  /** `karpenter.sh/capacity-type` is `spot` */
  'spot',
  /** `stowage.dev/price-per-hour` over the dearest node's */
  'price',
  /** at the beginning of the episode, of thirty days */
  'age',
  /** what would be free once the pod is there: the afterstate */
  'cpuAfter',
  'memoryAfter',
  'gpuAfter',
] as const

/** What is observed of the pod that is to be placed. */
export const POD_FEATURES = [
  'cpu',
  'memory',
  'gpu',
  /** of one GPU, where it asks for a part */
  'gpuShare',
  'wantsGpu',
  'wantsSeveralGpus',
  /** logistic, 1/2 at priority 0 */
  'priority',
  /** it stays under a minute, under an hour, longer, for good */
  'short',
  'medium',
  'long',
  'endless',
] as const

const NODE_WIDTH = NODE_FEATURES.length
const POD_WIDTH = POD_FEATURES.length
const ZONE_LABEL = 'topology.kubernetes.io/zone'
const CAPACITY_TYPE_LABEL = 'karpenter.sh/capacity-type'
export const PRICE_LABEL = 'stowage.dev/price-per-hour'
const ZONES = 4
const [CPU_FREE, MEMORY_FREE, GPU_FREE, PODS_FREE, IMBALANCE, IDLE, MOSTLY_FREE, MOSTLY_TAKEN, TAKEN, LARGEST] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
] as const
const CPU_SIZE = 10
const FIRST_ZONE = 13
const SPOT = 17
const PRICE = 18
const AGE = 19
const AFTER = 20
const PRIORITY_SCALE = 1000
const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000

const freeShare = (requested: number, allocatable: number): number =>
  allocatable > 0 ? (allocatable - requested) / allocatable : 0

/**
 * Writes what is seen of a cluster and a pod: the pod's features, then each node's in the order of `nodes`. A node's own are
 * written when it has changed; the afterstates for every pod.
 */
export class PlacementFeatures {
  readonly size: number
  readonly #cluster: ClusterView
  readonly #nodes: Int32Array
  readonly #out: Float32Array
  readonly #largestCpu: number
  readonly #largestMemory: number
  readonly #mostGpuMilli: number
  /** by slot: free shares of cpu, memory and GPUs, and the share that one unit of each is */
  readonly #free: readonly [Float64Array, Float64Array, Float64Array]
  readonly #unit: readonly [Float64Array, Float64Array, Float64Array]

  /** @param out `sizeFor(nodes.length)` long */
  constructor(cluster: ClusterView, nodes: Int32Array, out: Float32Array) {
    this.#cluster = cluster
    this.#nodes = nodes
    this.#out = out
    this.size = PlacementFeatures.sizeFor(nodes.length)
    const most = (of: (node: NodeIndex) => number): number =>
      nodes.reduce((largest, node) => Math.max(largest, of(node)), Number.MIN_VALUE)
    this.#largestCpu = most((node) => cluster.allocatable[CPU]?.[node] ?? 0)
    this.#largestMemory = most((node) => cluster.allocatable[MEMORY]?.[node] ?? 0)
    const gpuMilliOf = (node: NodeIndex): number => (cluster.gpus.count[node] ?? 0) * WHOLE_GPU_MILLI
    this.#mostGpuMilli = most(gpuMilliOf)
    const column = (): Float64Array => new Float64Array(nodes.length)
    const units = (of: (node: NodeIndex) => number): Float64Array =>
      Float64Array.from(nodes, (node) => (of(node) > 0 ? 1 / of(node) : 0))
    this.#free = [column(), column(), column()]
    this.#unit = [
      units((node) => cluster.allocatable[CPU]?.[node] ?? 0),
      units((node) => cluster.allocatable[MEMORY]?.[node] ?? 0),
      units(gpuMilliOf),
    ]
  }

  static sizeFor(nodes: number): number {
    return POD_WIDTH + nodes * NODE_WIDTH
  }

  /** What does not change in an episode. @param ages of the nodes, 0 to 1 */
  writeFixed(ages: Float32Array): void {
    const { allocatable, gpus } = this.#cluster
    const zones: string[] = []
    const prices = Float64Array.from(this.#nodes, (node) =>
      Math.max(0, Number(this.#cluster.node(node).labels[PRICE_LABEL] ?? 0) || 0),
    )
    const dearest = prices.reduce((most, price) => Math.max(most, price), Number.MIN_VALUE)
    for (const [slot, node] of this.#nodes.entries()) {
      const { labels } = this.#cluster.node(node)
      const first = POD_WIDTH + slot * NODE_WIDTH
      const zone = labels[ZONE_LABEL]
      if (zone !== undefined && !zones.includes(zone)) zones.push(zone)
      const zoneNumber = zone === undefined ? -1 : zones.indexOf(zone)
      // within `out`
      this.#out[first + CPU_SIZE] = (allocatable[CPU]?.[node] ?? 0) / this.#largestCpu
      this.#out[first + CPU_SIZE + 1] = (allocatable[MEMORY]?.[node] ?? 0) / this.#largestMemory
      this.#out[first + CPU_SIZE + 2] = ((gpus.count[node] ?? 0) * WHOLE_GPU_MILLI) / this.#mostGpuMilli
      for (let at = 0; at < ZONES; at++) this.#out[first + FIRST_ZONE + at] = at === zoneNumber ? 1 : 0
      this.#out[first + SPOT] = labels[CAPACITY_TYPE_LABEL] === 'spot' ? 1 : 0
      this.#out[first + PRICE] = prices[slot]! / dearest
      this.#out[first + AGE] = ages[slot] ?? 0
    }
  }

  /** A node has changed. */
  writeNode(slot: number): void {
    const out = this.#out
    const { allocatable, gpus, maxPods, podCount, requested } = this.#cluster
    // within all columns
    const node = this.#nodes[slot]!
    const first = POD_WIDTH + slot * NODE_WIDTH
    const cpuFree = freeShare(requested[CPU]?.[node] ?? 0, allocatable[CPU]?.[node] ?? 0)
    const memoryFree = freeShare(requested[MEMORY]?.[node] ?? 0, allocatable[MEMORY]?.[node] ?? 0)
    const [cpu, memory, gpu] = this.#free
    cpu[slot] = cpuFree
    memory[slot] = memoryFree
    out[first + CPU_FREE] = cpuFree
    out[first + MEMORY_FREE] = memoryFree
    out[first + PODS_FREE] = freeShare(podCount[node]!, maxPods[node]!)
    out[first + IMBALANCE] = Math.abs(cpuFree - memoryFree)
    const count = gpus.count[node]!
    if (count === 0) return
    let idle = 0
    let mostlyFree = 0
    let taken = 0
    let largest = 0
    for (let gpu = node * gpus.stride, end = gpu + count; gpu < end; gpu++) {
      const free = gpus.freeMilli[gpu]!
      if (free >= WHOLE_GPU_MILLI) idle++
      else if (free <= 0) taken++
      else if (2 * free > WHOLE_GPU_MILLI) mostlyFree++
      if (free > largest) largest = free
    }
    gpu[slot] = gpus.freeSum[node]! / (count * WHOLE_GPU_MILLI)
    out[first + GPU_FREE] = gpu[slot]
    out[first + IDLE] = idle / count
    out[first + MOSTLY_FREE] = mostlyFree / count
    out[first + MOSTLY_TAKEN] = (count - idle - mostlyFree - taken) / count
    out[first + TAKEN] = taken / count
    out[first + LARGEST] = largest / WHOLE_GPU_MILLI
  }

  /** The pod that is to be placed, and what it would leave of each node; below 0 (where it does not fit) is 0. */
  writePod({ priority, shape }: Pod, durationMs: number): void {
    const out = this.#out
    const cpuMilli = amountOf(shape.request, CPU)
    const memoryBytes = amountOf(shape.request, MEMORY)
    const { gpu } = shape
    const gpuMilli = gpu === undefined ? 0 : gpu.count * gpu.milli
    out[0] = Math.min(1, cpuMilli / this.#largestCpu)
    out[1] = Math.min(1, memoryBytes / this.#largestMemory)
    out[2] = Math.min(1, gpuMilli / this.#mostGpuMilli)
    out[3] = gpu?.count === 1 && gpu.milli < WHOLE_GPU_MILLI ? gpu.milli / WHOLE_GPU_MILLI : 0
    out[4] = gpu === undefined ? 0 : 1
    out[5] = gpu !== undefined && gpu.count > 1 ? 1 : 0
    out[6] = 1 / (1 + Math.exp(-priority / PRIORITY_SCALE))
    out[7] = durationMs < MINUTE_MS ? 1 : 0
    out[8] = durationMs >= MINUTE_MS && durationMs < HOUR_MS ? 1 : 0
    out[9] = durationMs >= HOUR_MS && durationMs < Number.POSITIVE_INFINITY ? 1 : 0
    out[10] = durationMs === Number.POSITIVE_INFINITY ? 1 : 0
    const [cpuFree, memoryFree, gpuFree] = this.#free
    const [cpuUnit, memoryUnit, gpuUnit] = this.#unit
    for (let slot = 0, at = POD_WIDTH + AFTER; slot < cpuFree.length; slot++, at += NODE_WIDTH) {
      // slot < length of all
      const cpuAfter = cpuFree[slot]! - cpuMilli * cpuUnit[slot]!
      const memoryAfter = memoryFree[slot]! - memoryBytes * memoryUnit[slot]!
      const gpuAfter = gpuFree[slot]! - gpuMilli * gpuUnit[slot]!
      out[at] = cpuAfter > 0 ? cpuAfter : 0
      out[at + 1] = memoryAfter > 0 ? memoryAfter : 0
      out[at + 2] = gpuAfter > 0 ? gpuAfter : 0
    }
  }
}
