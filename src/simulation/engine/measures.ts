import type { NodeIndex } from '../../cluster/node.ts'
import { CPU, MEMORY } from '../../cluster/resources.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { Sample, Shares, Spread } from './result.ts'

/** What is summed over nodes, by its place in a row of numbers. */
const PRESENT = 0
const CPU_REQUESTED = 1
const CPU_ALLOCATABLE = 2
const MEMORY_REQUESTED = 3
const MEMORY_ALLOCATABLE = 4
const GPU_TAKEN = 5
const GPU_ALLOCATABLE = 6
const HAS_GPU = 7
/** of the node's own shares, and of their squares */
const CPU_SHARE = 8
const CPU_SQUARE = 9
const MEMORY_SHARE = 10
const MEMORY_SQUARE = 11
const GPU_SHARE = 12
const GPU_SQUARE = 13
const FRAGMENTED = 14
const WIDTH = 15

/** What is averaged over time. */
const KINDS = [
  'cpu',
  'memory',
  'gpu',
  'cpuSpread',
  'memorySpread',
  'gpuSpread',
  'fragmentation',
  'pending',
  'nodes',
] as const
type Kind = (typeof KINDS)[number]

const FIRST_SAMPLE_EVERY_MS = 1000

const shareOf = (part: number, whole: number): number => (whole > 0 ? part / whole : 0)

/** Population standard deviation out of sums; rounding may take what is no variance below zero. */
const deviation = (sum: number, squares: number, count: number): number =>
  count > 0 ? Math.sqrt(Math.max(0, squares / count - (sum / count) ** 2)) : 0

/** Nearest-rank percentiles, mean and maximum. */
export const spreadOf = (values: readonly number[]): Spread => {
  const sorted = Float64Array.from(values).sort()
  const count = sorted.length
  const at = (percent: number): number => sorted[Math.max(0, Math.ceil((percent / 100) * count) - 1)] ?? 0
  const sum = sorted.reduce((total, value) => total + value, 0)
  return {
    count,
    mean: count === 0 ? 0 : sum / count,
    p50: at(50),
    p95: at(95),
    p99: at(99),
    max: sorted[count - 1] ?? 0,
  }
}

/**
 * Sums over nodes and their averages over time. A change of one node costs the same whatever the size of the cluster: its
 * part is taken out of the sums and added anew. Values hold until the next change.
 */
export class Measures {
  readonly #cluster: ClusterView
  readonly #fragmentation: ((cluster: ClusterView, node: NodeIndex) => number) | undefined
  readonly #sums = new Float64Array(WIDTH)
  readonly #row = new Float64Array(WIDTH)
  #rows = new Float64Array(0)
  readonly #integrals: Record<Kind, number> = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>
  #lastMs = 0
  #pending = 0
  #running = 0
  #values = this.#now()
  #stale = false
  readonly #peak = { cpu: 0, memory: 0, gpu: 0 }
  #mostPending = 0
  #mostNodes = 0
  readonly #samplesAtMost: number
  #samples: Sample[] = []
  #sampleEveryMs = FIRST_SAMPLE_EVERY_MS
  #nextSampleMs = 0

  constructor(
    cluster: ClusterView,
    fragmentation: ((cluster: ClusterView, node: NodeIndex) => number) | undefined,
    samplesAtMost: number,
  ) {
    this.#cluster = cluster
    this.#fragmentation = fragmentation
    this.#samplesAtMost = Math.max(2, samplesAtMost)
  }

  /** What has been true until now counts for the time since the last change. */
  moveTo(nowMs: number): void {
    if (nowMs <= this.#lastMs) return
    const values = this.#current()
    const forMs = nowMs - this.#lastMs
    for (const kind of KINDS) this.#integrals[kind] += forMs * values[kind]
    this.#lastMs = nowMs
    while (this.#nextSampleMs < nowMs) {
      this.#samples.push(this.#sampleAt(this.#nextSampleMs))
      this.#nextSampleMs += this.#sampleEveryMs
      if (this.#samples.length < 2 * this.#samplesAtMost) continue
      this.#samples = this.#samples.filter((_, at) => at % 2 === 0)
      this.#sampleEveryMs *= 2
      this.#nextSampleMs = (this.#samples.at(-1)?.atMs ?? 0) + this.#sampleEveryMs
    }
  }

  /** A node, or what is on it, is another; `isThere` false: the node is gone, and its index may become another's. */
  touch(node: NodeIndex, isThere: boolean): void {
    const first = node * WIDTH
    if (this.#rows.length < first + WIDTH) {
      const grown = new Float64Array(Math.max(first + WIDTH, this.#rows.length * 2))
      grown.set(this.#rows)
      this.#rows = grown
    }
    const row = this.#row.fill(0)
    if (isThere) this.#measure(node, row)
    for (let at = 0; at < WIDTH; at++) {
      // within all three
      this.#sums[at] = this.#sums[at]! + row[at]! - this.#rows[first + at]!
      this.#rows[first + at] = row[at]!
    }
    this.#stale = true
    this.#mostNodes = Math.max(this.#mostNodes, this.#sums[PRESENT]!)
  }

  /** How many pods wait for a node, and how many are on one. */
  pods(pending: number, running: number): void {
    if (pending === this.#pending && running === this.#running) return
    this.#pending = pending
    this.#running = running
    this.#mostPending = Math.max(this.#mostPending, pending)
    this.#stale = true
  }

  /** The largest shares are seen where events have had all their effects. */
  settle(): void {
    if (!this.#stale) return
    const { cpu, memory, gpu } = this.#current()
    this.#peak.cpu = Math.max(this.#peak.cpu, cpu)
    this.#peak.memory = Math.max(this.#peak.memory, memory)
    this.#peak.gpu = Math.max(this.#peak.gpu, gpu)
  }

  get mostNodes(): number {
    return this.#mostNodes
  }

  get mostPending(): number {
    return this.#mostPending
  }

  get peak(): Shares {
    return { ...this.#peak }
  }

  /** At this moment. */
  get now(): Readonly<Record<Kind, number>> {
    return this.#current()
  }

  /** Averages over all of the time so far; the last values where no time has passed. */
  averages(): Readonly<Record<Kind, number>> {
    const values = this.#current()
    return Object.fromEntries(
      KINDS.map((kind) => [kind, this.#lastMs > 0 ? this.#integrals[kind] / this.#lastMs : values[kind]]),
    ) as Record<Kind, number>
  }

  /** The time series up to now, its last entry included. */
  series(): Sample[] {
    let samples = this.#samples
    while (samples.length >= this.#samplesAtMost) samples = samples.filter((_, at) => at % 2 === 0)
    return [...samples, this.#sampleAt(this.#lastMs)]
  }

  #current(): Record<Kind, number> {
    if (this.#stale) {
      this.#values = this.#now()
      this.#stale = false
    }
    return this.#values
  }

  #now(): Record<Kind, number> {
    const sums = this.#sums
    // every place is below WIDTH
    const nodes = sums[PRESENT]!
    const withGpus = sums[HAS_GPU]!
    return {
      cpu: shareOf(sums[CPU_REQUESTED]!, sums[CPU_ALLOCATABLE]!),
      memory: shareOf(sums[MEMORY_REQUESTED]!, sums[MEMORY_ALLOCATABLE]!),
      gpu: shareOf(sums[GPU_TAKEN]!, sums[GPU_ALLOCATABLE]!),
      cpuSpread: deviation(sums[CPU_SHARE]!, sums[CPU_SQUARE]!, nodes),
      memorySpread: deviation(sums[MEMORY_SHARE]!, sums[MEMORY_SQUARE]!, nodes),
      gpuSpread: deviation(sums[GPU_SHARE]!, sums[GPU_SQUARE]!, withGpus),
      fragmentation: shareOf(sums[FRAGMENTED]!, sums[GPU_ALLOCATABLE]!),
      pending: this.#pending,
      nodes,
    }
  }

  #measure(node: NodeIndex, row: Float64Array): void {
    const { allocatable, requested, gpus } = this.#cluster
    const cpuMilli = allocatable[CPU]?.[node] ?? 0
    const memoryBytes = allocatable[MEMORY]?.[node] ?? 0
    const gpuMilli = (gpus.count[node] ?? 0) * WHOLE_GPU_MILLI
    row[PRESENT] = 1
    row[CPU_REQUESTED] = requested[CPU]?.[node] ?? 0
    row[CPU_ALLOCATABLE] = cpuMilli
    row[MEMORY_REQUESTED] = requested[MEMORY]?.[node] ?? 0
    row[MEMORY_ALLOCATABLE] = memoryBytes
    const cpuShare = shareOf(row[CPU_REQUESTED], cpuMilli)
    const memoryShare = shareOf(row[MEMORY_REQUESTED], memoryBytes)
    row[CPU_SHARE] = cpuShare
    row[CPU_SQUARE] = cpuShare * cpuShare
    row[MEMORY_SHARE] = memoryShare
    row[MEMORY_SQUARE] = memoryShare * memoryShare
    if (gpuMilli === 0) return
    row[GPU_TAKEN] = gpuMilli - (gpus.freeSum[node] ?? 0)
    row[GPU_ALLOCATABLE] = gpuMilli
    row[HAS_GPU] = 1
    const gpuShare = row[GPU_TAKEN] / gpuMilli
    row[GPU_SHARE] = gpuShare
    row[GPU_SQUARE] = gpuShare * gpuShare
    if (this.#fragmentation !== undefined) row[FRAGMENTED] = this.#fragmentation(this.#cluster, node)
  }

  #sampleAt(atMs: number): Sample {
    const { cpu, memory, gpu, nodes } = this.#current()
    return {
      atMs,
      cpu,
      memory,
      gpu,
      nodes,
      pending: this.#pending,
      running: this.#running,
      // within the sums
      ...(this.#fragmentation === undefined ? {} : { fragmentedGpuMilli: this.#sums[FRAGMENTED]! }),
    }
  }
}
