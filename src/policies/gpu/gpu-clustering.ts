import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod, PodShape } from '../../cluster/pod.ts'
import type { ClusterView } from '../../cluster/view.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policy.ts'
import { ReusedRanking, ReusedTerm } from '../reused.ts'
import { NEVER } from './demand-memos.ts'
import { LARGEST_GPUS } from './node-after.ts'
import { demandOf, isShared } from './workload.ts'

/** What the pods on a node are to the one that comes, best first; within each, up to 25 for GPUs in use. */
const ONLY_ITS_LIKE = 75
const ITS_LIKE_AMONG_OTHERS = 50
const NOBODY = 25
const ONLY_OTHERS = 0
const RANGE = 25
/** Requests for more GPUs share a kind. */
const KINDS = 31

/** A bit for each number of GPUs that pods ask for; the lowest is for shares of one. 0: none. */
const kindOf = (shape: PodShape): number => {
  const demand = demandOf(shape)
  if (demand.gpuCount === 0) return 0
  return isShared(demand) ? 1 : 1 << Math.min(demand.gpuCount, KINDS - 1)
}

/**
 * GPU clustering as fragmentation gradient descent was compared with (Weng et al., USENIX ATC 2023, after Gandiva, OSDI 2018):
 * pods that ask for as many GPUs come together (those that share one are a kind too). 75 on a node with none but their like,
 * 50 where others are too, 25 on a node without such pods, 0 among others only; and floor(25 (8 - GPUs free) / 8). Pods without
 * GPUs score 0 everywhere. The pod takes the tightest GPUs.
 */
export class GpuClustering implements Policy {
  readonly name = 'gpu_clustering'
  readonly version = '1'
  readonly #company = new ReusedTerm('company', 1)
  readonly #used = new ReusedTerm('gpusInUse', 1)
  readonly #reused = new ReusedRanking([this.#company, this.#used])
  #cluster: ClusterView | undefined
  #known = new Float64Array(0)
  /** the kinds of the pods on each node */
  #kinds = new Int32Array(0)

  rank({ shape }: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const { generation, gpus } = cluster
    if (this.#cluster !== cluster || this.#known.length < cluster.nodeCapacity) {
      this.#cluster = cluster
      this.#known = new Float64Array(cluster.nodeCapacity).fill(NEVER)
      this.#kinds = new Int32Array(cluster.nodeCapacity)
    }
    const kind = kindOf(shape)
    const company = this.#company.room(count)
    const used = this.#used.room(count)
    const scores = this.#reused.room(count)
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length; nodes in use lie within each column
      const node = nodes[i]!
      if (kind === 0) {
        company[i] = 0
        used[i] = 0
      } else {
        if (this.#known[node] !== generation[node]) this.#lookAt(node, cluster)
        const kinds = this.#kinds[node]!
        company[i] =
          kinds === kind
            ? ONLY_ITS_LIKE
            : (kinds & kind) !== 0
              ? ITS_LIKE_AMONG_OTHERS
              : kinds === 0
                ? NOBODY
                : ONLY_OTHERS
        used[i] = Math.trunc(
          (RANGE * (LARGEST_GPUS * WHOLE_GPU_MILLI - gpus.freeSum[node]!)) / (LARGEST_GPUS * WHOLE_GPU_MILLI),
        )
      }
      scores[i] = company[i]! + used[i]!
    }
    return this.#reused.ranking
  }

  #lookAt(node: NodeIndex, cluster: ClusterView): void {
    let kinds = 0
    for (const { shape } of cluster.podsOn(node)) kinds |= kindOf(shape)
    this.#kinds[node] = kinds
    // a node in use
    this.#known[node] = cluster.generation[node]!
  }
}

export const createGpuClustering = (): Policy => new GpuClustering()
