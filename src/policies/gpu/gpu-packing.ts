import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { ClusterView } from '../../cluster/view.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policy.ts'
import { ReusedRanking, ReusedTerm } from '../reused.ts'
import { demandOf, type GpuDemand } from './workload.ts'

/** What a placement starts from, best first; each is taken down a little within its range. */
const ON_SHARED_GPUS = 100
const ON_IDLE_GPUS = 50
const ON_IDLE_NODE = 33

/**
 * GPU packing as fragmentation gradient descent was compared with (Weng et al., USENIX ATC 2023; the idea is MLaaS's, NSDI 2022): rather
 * GPUs that are in use than idle ones, rather idle GPUs of a node in use than an idle node.
 * - every GPU taken is in use: 100, less a tenth of the per cent free on them, at least 50
 * - some are idle: 50 less their number, at least 33
 * - the whole node is idle: 33 less its number of GPUs
 * Pods without GPUs score 0 everywhere. The pod takes the tightest GPUs.
 */
export class GpuPacking implements Policy {
  readonly name = 'gpu_packing'
  readonly version = '1'
  readonly #place = new ReusedTerm('placeOfGpus', 1)
  readonly #free = new ReusedTerm('tenthOfPercentFree', -1)
  readonly #idle = new ReusedTerm('idleGpus', -1)
  readonly #reused = new ReusedRanking([this.#place, this.#free, this.#idle])

  rank({ shape }: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const demand = demandOf(shape)
    const place = this.#place.room(count)
    const free = this.#free.room(count)
    const idle = this.#idle.room(count)
    const scores = this.#reused.room(count)
    for (let i = 0; i < count; i++) {
      place[i] = 0
      free[i] = 0
      idle[i] = 0
      // i < count <= nodes.length
      if (demand.gpuCount > 0) this.#score(i, demand, cluster, nodes[i]!, place, free, idle)
      scores[i] = place[i]! - free[i]! - idle[i]!
    }
    return this.#reused.ranking
  }

  #score(
    i: number,
    { gpuMilli, gpuCount }: GpuDemand,
    { gpus }: ClusterView,
    node: NodeIndex,
    place: Float64Array,
    free: Float64Array,
    idle: Float64Array,
  ): void {
    const { freeMilli, stride, count } = gpus
    const first = node * stride
    // a node in use
    const end = first + count[node]!
    let idleOfNode = 0
    for (let at = first; at < end; at++) if (freeMilli[at] === WHOLE_GPU_MILLI) idleOfNode++
    if (idleOfNode === count[node]) {
      place[i] = ON_IDLE_NODE
      idle[i] = Math.min(idleOfNode, ON_IDLE_NODE)
      return
    }
    if (gpuMilli === WHOLE_GPU_MILLI) {
      place[i] = ON_IDLE_GPUS
      idle[i] = Math.min(gpuCount, ON_IDLE_GPUS - ON_IDLE_NODE)
      return
    }
    let tightest = WHOLE_GPU_MILLI
    for (let at = first; at < end; at++) {
      // at < end
      const left = freeMilli[at]!
      if (left >= gpuMilli && left < tightest) tightest = left
    }
    if (tightest === WHOLE_GPU_MILLI) {
      place[i] = ON_IDLE_GPUS
      idle[i] = 1
    } else {
      place[i] = ON_SHARED_GPUS
      free[i] = Math.floor(Math.floor(tightest / 10) / 10)
    }
  }
}

export const createGpuPacking = (): Policy => new GpuPacking()
