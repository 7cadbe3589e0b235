import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { ClusterView } from '../../cluster/view.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policy.ts'
import { ReusedRanking, ReusedTerm } from '../reused.ts'
import { DemandMemos, NEVER, type NodeMemo } from './demand-memos.ts'
import { Fragmentation } from './fragmentation.ts'
import { freeCpuMilliOf, NodeAfter, seenBefore } from './node-after.ts'
import { normalLoss } from './normal.ts'
import { type CpuPerWorth, cpuPerWorth, idleGpus, Outlook, SCARCE_CPU_EMPHASIS } from './outlook.ts'
import { priceHoles } from './prices.ts'
import { demandOf, type GpuDemand, gpusOf, type GpuWorkload, isShared, typicalPart } from './workload.ts'
import { expectedWorkload } from './workload-estimate.ts'

/** Share of the mean cpu for a GPU that free GPUs are held to need, where cpu is not scarce. */
const CPU_NEED = 0.7
/** Weights of the addends in GPUs, found by search on openb's default list (docs/simulator/packing.md). */
const PREMIUM_WEIGHT = 0.2
const HOLE_WEIGHT = 0.05
/** for each core left on the node: 0.003 for 128 */
const CORE_WEIGHT = 0.003 / 128
/** Pods after which the whole cluster is looked at again. */
const PODS_BETWEEN_LOOKS = 64
const NO_DEVICE = -1
const NO_DEVICES: readonly number[] = []

/** One way to take GPUs of a node, for each node. */
interface Way {
  /** the score without what depends on other nodes; -Infinity: there is no such way */
  readonly sum: Float64Array
  /** what FGD's fragmentation falls by, in GPUs; 0 where cpu is not scarce */
  readonly gradient: Float64Array
  /** what is left of the GPU that is shared, in GPUs */
  readonly hole: Float64Array
  /** the GPU that a share takes */
  readonly device: Int16Array
  /** a bit for each large class that the node no longer hosts */
  readonly lost: Int32Array
}

interface Memo extends NodeMemo {
  /** on a GPU in use, or without GPUs */
  readonly onUsed: Way
  /** on idle GPUs */
  readonly onIdle: Way
  readonly coresLeft: Float64Array
}

const wayFor = (nodes: number): Way => ({
  sum: new Float64Array(nodes),
  gradient: new Float64Array(nodes),
  hole: new Float64Array(nodes),
  device: new Int16Array(nodes),
  lost: new Int32Array(nodes),
})

/** What free GPUs are worth under one workload, in one regime. */
class Valuation {
  readonly #byMilli: Float64Array
  readonly #cpu: CpuPerWorth
  readonly #coresPerGpu: number

  constructor(byMilli: Float64Array, cpu: CpuPerWorth, cpuScarce: boolean) {
    this.#byMilli = byMilli
    this.#cpu = cpu
    this.#coresPerGpu = (cpuScarce ? 1 : CPU_NEED) * cpu.coresPerGpu
  }

  /** What `hole` thousandths of a GPU are worth. */
  ofHole(hole: number): number {
    return hole <= 0 ? 0 : this.#byMilli[Math.min(hole, WHOLE_GPU_MILLI)]!
  }

  /** Phi: what `holes`, the worth of a node's free GPUs, comes to with that many cores beside it. */
  ofNode(holes: number, cores: number): number {
    if (holes <= 0) return 0
    const rho = this.#coresPerGpu
    if (rho === 0) return holes
    const deviation = this.#cpu.spread * Math.sqrt(holes)
    const short = rho * holes - cores
    const missing = deviation > 0 ? deviation * normalLoss(-short / deviation) : Math.max(0, short)
    return holes - Math.min(holes, missing / rho)
  }
}

/**
 * Packs GPUs by what free parts of them are worth to the pods to be expected: this project's own policy, described with its
 * sources in docs/simulator/packing.md. A hole is worth what the best shares for it are worth at the dual prices of a linear
 * program over the workload; a node is worth its holes, less what will probably stay unused for want of cpu; places for pods with
 * several GPUs are kept as they become few. Takes the node and the GPU where least worth is lost.
 */
export class DualPrice implements Policy {
  readonly name = 'dual_price'
  readonly version = '1'
  readonly choosesDevices = true
  readonly #expected: (pod: Pod, cluster: ClusterView) => GpuWorkload
  #cluster: ClusterView | undefined
  #workload: GpuWorkload | undefined
  #models: readonly string[] = []
  #modelCount = 0
  #nodeCount = 0
  #unlooked = 0
  #outlook = new Outlook({ classes: [] })
  #valuation = new Valuation(new Float64Array(WHOLE_GPU_MILLI + 1), { coresPerGpu: 0, spread: 0 }, false)
  #fragmentation: Fragmentation | undefined
  readonly #memos = new DemandMemos<Memo>((nodes) => ({
    generation: new Float64Array(nodes).fill(NEVER),
    onUsed: wayFor(nodes),
    onIdle: wayFor(nodes),
    coresLeft: new Float64Array(nodes),
  }))
  readonly #after = new NodeAfter()
  readonly #worth = new ReusedTerm('worthOfNode', 1)
  readonly #reserved = new ReusedTerm('placesForLargePods', -1)
  readonly #premium = new ReusedTerm('modelWanted', -PREMIUM_WEIGHT)
  readonly #hole = new ReusedTerm('holeLeft', -HOLE_WEIGHT)
  readonly #coresLeft = new ReusedTerm('coresLeft', -CORE_WEIGHT)
  readonly #gradient = new ReusedTerm('fragmentationGradient', SCARCE_CPU_EMPHASIS)
  readonly #reused = new ReusedRanking([
    this.#worth,
    this.#reserved,
    this.#premium,
    this.#hole,
    this.#coresLeft,
    this.#gradient,
  ])

  constructor(workload?: GpuWorkload) {
    this.#expected = expectedWorkload(workload)
  }

  rank(pod: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const { gpus, generation } = cluster
    this.#look(this.#expected(pod, cluster), cluster)
    const { reservations, premiums } = this.#outlook
    const demand = demandOf(pod.shape)
    const memo = this.#memos.for(pod.shape, cluster)
    const { generation: known, coresLeft: coresOf } = memo
    const { sum: sumOnUsed, lost: lostOnUsed, hole: holeOnUsed, gradient: gradientOnUsed } = memo.onUsed
    const { sum: sumOnIdle, lost: lostOnIdle, hole: holeOnIdle, gradient: gradientOnIdle } = memo.onIdle
    const { modelOf } = gpus
    const size = gpusOf(demand)
    const worth = this.#worth.room(count)
    const reserved = this.#reserved.room(count)
    const premium = this.#premium.room(count)
    const hole = this.#hole.room(count)
    const coresLeft = this.#coresLeft.room(count)
    const gradient = this.#gradient.room(count).fill(0)
    const scores = this.#reused.room(count)
    const { cpuScarce } = this.#outlook
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length; nodes in use lie within each column
      const node = nodes[i]!
      if (known[node] !== generation[node]) this.#workOut(memo, demand, cluster, node)
      const keptOnUsed = lostOnUsed[node] === 0 ? 0 : keptBy(lostOnUsed[node]!, reservations)
      const keptOnIdle = lostOnIdle[node] === 0 ? 0 : keptBy(lostOnIdle[node]!, reservations)
      const isUsed = sumOnUsed[node]! - keptOnUsed >= sumOnIdle[node]! - keptOnIdle
      const kept = isUsed ? keptOnUsed : keptOnIdle
      const wanted = premiums[modelOf[node]!]! * size
      const sum = isUsed ? sumOnUsed[node]! : sumOnIdle[node]!
      const left = isUsed ? holeOnUsed[node]! : holeOnIdle[node]!
      const cores = coresOf[node]!
      let worthAlone = sum + HOLE_WEIGHT * left + CORE_WEIGHT * cores
      if (cpuScarce) {
        const fall = isUsed ? gradientOnUsed[node]! : gradientOnIdle[node]!
        worthAlone -= SCARCE_CPU_EMPHASIS * fall
        gradient[i] = fall
      }
      worth[i] = worthAlone
      reserved[i] = kept
      premium[i] = wanted
      hole[i] = left
      coresLeft[i] = cores
      scores[i] = sum - kept - PREMIUM_WEIGHT * wanted
    }
    const request = pod.shape.gpu
    if (request === undefined) delete this.#reused.ranking.devicesOf
    else
      this.#reused.ranking.devicesOf = (candidate) => {
        const node = nodes[candidate]
        if (node === undefined) return NO_DEVICES
        const device = this.#wayOn(memo, node).device[node]!
        return device === NO_DEVICE ? (gpus.choose(node, request) ?? NO_DEVICES) : [device]
      }
    return this.#reused.ranking
  }

  /** Solves anew for another workload, and looks at the cluster again after a while. */
  #look(workload: GpuWorkload, cluster: ClusterView): void {
    const { models } = cluster.gpus
    const isNew = workload !== this.#workload || cluster !== this.#cluster || models !== this.#models
    this.#unlooked++
    if (
      !isNew &&
      this.#unlooked < PODS_BETWEEN_LOOKS &&
      this.#nodeCount === cluster.nodeCount &&
      this.#modelCount === models.length
    )
      return
    this.#unlooked = 0
    this.#nodeCount = cluster.nodeCount
    this.#modelCount = models.length
    const wasScarce = this.#outlook.cpuScarce
    if (workload !== this.#workload) this.#outlook = new Outlook(workload)
    this.#outlook.refresh(cluster)
    const { cpuScarce } = this.#outlook
    if (!isNew && cpuScarce === wasScarce) return
    this.#workload = workload
    this.#cluster = cluster
    this.#models = models
    const { byMilli } = priceHoles(workload)
    this.#valuation = new Valuation(byMilli, cpuPerWorth(workload, byMilli), cpuScarce)
    this.#fragmentation = cpuScarce ? new Fragmentation(typicalPart(workload)) : undefined
    this.#memos.clear()
  }

  /** The better of the two ways on a node, with what other nodes can host now. */
  #wayOn({ onUsed, onIdle }: Memo, node: NodeIndex): Way {
    const { reservations } = this.#outlook
    // a node in use
    const used = onUsed.sum[node]! - keptBy(onUsed.lost[node]!, reservations)
    return used >= onIdle.sum[node]! - keptBy(onIdle.lost[node]!, reservations) ? onUsed : onIdle
  }

  #workOut(memo: Memo, demand: GpuDemand, cluster: ClusterView, node: NodeIndex): void {
    const { gpus } = cluster
    const valuation = this.#valuation
    const after = this.#after
    const freeCpuMilli = freeCpuMilliOf(cluster, node)
    const leftCpuMilli = freeCpuMilli - demand.cpuMilli
    after.take(gpus, node)
    const { free, count } = after
    // a node in use
    const model = gpus.modelOf[node]!
    const coresLeft = leftCpuMilli / 1000
    memo.coresLeft[node] = coresLeft
    memo.generation[node] = cluster.generation[node]!
    let holes = 0
    for (let gpu = 0; gpu < count; gpu++) holes += valuation.ofHole(free[gpu]!)
    const worthBefore = valuation.ofNode(holes, freeCpuMilli / 1000)
    const fragmentBefore = this.#fragmentation?.of(freeCpuMilli, model, gpus.models, free, 0, count) ?? 0
    const idle = idleGpus(free, 0, count)
    const consider = (way: Way, holesLeft: number, hole: number, device: number): void => {
      const worth = valuation.ofNode(holesLeft, coresLeft) - worthBefore
      const fragment = this.#fragmentation?.of(leftCpuMilli, model, gpus.models, free, 0, count) ?? 0
      const gradient = fragmentBefore - fragment
      const sum = worth - HOLE_WEIGHT * hole - CORE_WEIGHT * coresLeft + SCARCE_CPU_EMPHASIS * gradient
      if (sum <= way.sum[node]!) return
      way.sum[node] = sum
      way.gradient[node] = gradient
      way.hole[node] = hole
      way.device[node] = device
    }
    const { onUsed, onIdle } = memo
    onUsed.sum[node] = Number.NEGATIVE_INFINITY
    onIdle.sum[node] = Number.NEGATIVE_INFINITY
    let idleLeft = idle
    if (isShared(demand)) {
      for (let gpu = 0; gpu < count; gpu++) {
        // gpu < count <= length
        const left = free[gpu]!
        if (left < demand.gpuMilli || seenBefore(gpus.freeMilli, node * gpus.stride, gpu, left)) continue
        const hole = left - demand.gpuMilli
        free[gpu] = hole
        consider(
          left >= WHOLE_GPU_MILLI ? onIdle : onUsed,
          holes - valuation.ofHole(left) + valuation.ofHole(hole),
          hole / WHOLE_GPU_MILLI,
          gpu,
        )
        free[gpu] = left
      }
      idleLeft--
    } else if (demand.gpuCount === 0) consider(onUsed, holes, 0, NO_DEVICE)
    else if (after.takeWhole(demand.gpuCount)) {
      consider(onIdle, holes - demand.gpuCount, 0, NO_DEVICE)
      idleLeft -= demand.gpuCount
    }
    // A device plugin that picks GPUs by itself may still find some: it comes last.
    if (onUsed.sum[node] === Number.NEGATIVE_INFINITY && onIdle.sum[node] === Number.NEGATIVE_INFINITY)
      rankLast(memo, node)
    const name = gpus.models[model] ?? ''
    onUsed.lost[node] = this.#lost(freeCpuMilli, leftCpuMilli, idle, idle, name)
    onIdle.lost[node] = this.#lost(freeCpuMilli, leftCpuMilli, idle, idleLeft, name)
  }

  /** A bit for each large class that is hosted with that much free, and not any more with what is left. */
  #lost(freeCpuMilli: number, leftCpuMilli: number, idle: number, idleLeft: number, model: string): number {
    if (idle < 2) return 0
    const outlook = this.#outlook
    let lost = 0
    for (let at = 0; at < outlook.large.length; at++)
      if (outlook.hosts(at, freeCpuMilli, idle, model) && !outlook.hosts(at, leftCpuMilli, idleLeft, model))
        lost |= 1 << at
    return lost
  }
}

/** Below every score: no node has as many GPUs to lose. */
const LAST = -1e6

const rankLast = ({ onUsed, coresLeft }: Memo, node: NodeIndex): void => {
  onUsed.sum[node] = LAST
  onUsed.gradient[node] = 0
  onUsed.hole[node] = 0
  onUsed.device[node] = NO_DEVICE
  coresLeft[node] = 0
}

/** What is kept for the classes of these bits. */
const keptBy = (lost: number, reservations: Float64Array): number => {
  let sum = 0
  for (let bits = lost; bits !== 0; bits &= bits - 1) sum += reservations[31 - Math.clz32(bits & -bits)]!
  return sum
}

export const createDualPrice = (workload?: GpuWorkload): Policy => new DualPrice(workload)
