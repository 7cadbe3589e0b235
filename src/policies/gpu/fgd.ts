import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { ClusterView } from '../../cluster/view.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policy.ts'
import { ReusedRanking, ReusedTerm } from '../reused.ts'
import { DemandMemos, NEVER, type NodeMemo } from './demand-memos.ts'
import { Fragmentation } from './fragmentation.ts'
import { freeCpuMilliOf, NodeAfter, seenBefore } from './node-after.ts'
import { demandOf, type GpuDemand, type GpuWorkload, isShared, typicalPart } from './workload.ts'
import { expectedWorkload } from './workload-estimate.ts'

/** The GPUs that each node gives are the node's own choice. */
const NO_DEVICE = -1
const NO_DEVICES: readonly number[] = []

interface Memo extends NodeMemo {
  readonly score: Float64Array
  /** the GPU that a share takes */
  readonly device: Int16Array
}

/** The paper's score: its floor makes ties of what is nearly equal, and ties go to the first node, which consolidates. */
const scoreOf = (gain: number): number => Math.floor(100 / (1 + Math.exp(-gain)))

/**
 * Fragmentation gradient descent (Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation
 * Gradient Descent", USENIX ATC 2023): takes the node, and for a share the GPU, on which the pods to be expected lose least
 * by it: floor(100 sigmoid(F_n(M) - F_{n minus pod}(M))), with F in GPUs.
 */
export class Fgd implements Policy {
  readonly name = 'fgd'
  readonly version = '1'
  readonly choosesDevices = true
  readonly #expected: (pod: Pod, cluster: ClusterView) => GpuWorkload
  #workload: GpuWorkload | undefined
  #fragmentation = new Fragmentation({ classes: [] })
  #models: readonly string[] | undefined
  readonly #memos = new DemandMemos<Memo>((nodes) => ({
    generation: new Float64Array(nodes).fill(NEVER),
    score: new Float64Array(nodes),
    device: new Int16Array(nodes),
  }))
  readonly #after = new NodeAfter()
  readonly #term = new ReusedTerm('fragmentationGradient', 1)
  readonly #reused = new ReusedRanking([this.#term])

  constructor(workload?: GpuWorkload) {
    this.#expected = expectedWorkload(workload)
  }

  rank(pod: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const { gpus, generation } = cluster
    const workload = this.#expected(pod, cluster)
    if (workload !== this.#workload || this.#models !== gpus.models) {
      this.#workload = workload
      this.#models = gpus.models
      this.#fragmentation = new Fragmentation(typicalPart(workload))
      this.#memos.clear()
    }
    const demand = demandOf(pod.shape)
    const memo = this.#memos.for(pod.shape, cluster)
    const { generation: known, score, device } = memo
    const values = this.#term.room(count)
    const scores = this.#reused.room(count)
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length; nodes in use lie within each column
      const node = nodes[i]!
      if (known[node] !== generation[node]) this.#workOut(memo, demand, cluster, node)
      values[i] = score[node]!
      scores[i] = score[node]!
    }
    const request = pod.shape.gpu
    if (request === undefined) delete this.#reused.ranking.devicesOf
    else
      this.#reused.ranking.devicesOf = (candidate) => {
        const node = nodes[candidate]
        if (node === undefined) return NO_DEVICES
        const chosen = device[node]
        if (chosen === undefined) return NO_DEVICES
        return chosen === NO_DEVICE ? (gpus.choose(node, request) ?? NO_DEVICES) : [chosen]
      }
    return this.#reused.ranking
  }

  #workOut(memo: Memo, demand: GpuDemand, cluster: ClusterView, node: NodeIndex): void {
    const { gpus } = cluster
    const { models } = gpus
    const after = this.#after
    // a node in use
    const model = gpus.modelOf[node]!
    const freeCpuMilli = freeCpuMilliOf(cluster, node)
    const first = node * gpus.stride
    after.take(gpus, node)
    const { free, count } = after
    const fragmentation = this.#fragmentation
    const before = fragmentation.of(freeCpuMilli, model, models, free, 0, count)
    const leftCpuMilli = freeCpuMilli - demand.cpuMilli
    let best = 0
    let device = NO_DEVICE
    if (isShared(demand)) {
      for (let gpu = 0; gpu < count; gpu++) {
        // gpu < count <= length
        const left = gpus.freeMilli[first + gpu]!
        if (left < demand.gpuMilli || seenBefore(gpus.freeMilli, first, gpu, left)) continue
        free[gpu] = left - demand.gpuMilli
        const score = scoreOf(before - fragmentation.of(leftCpuMilli, model, models, free, 0, count))
        free[gpu] = left
        if (device === NO_DEVICE || score > best) {
          best = score
          device = gpu
        }
      }
    } else if (after.takeWhole(demand.gpuCount))
      best = scoreOf(before - fragmentation.of(leftCpuMilli, model, models, free, 0, count))
    memo.score[node] = best
    memo.device[node] = device
    // a node in use
    memo.generation[node] = cluster.generation[node]!
  }
}

export const createFgd = (workload?: GpuWorkload): Policy => new Fgd(workload)
