import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policy.ts'
import { ReusedRanking, ReusedTerm } from '../reused.ts'
import { freeCpuMilliOf, LARGEST_CPU_MILLI, LARGEST_GPUS } from './node-after.ts'
import { demandOf, gpusOf } from './workload.ts'

/**
 * Best fit in cpu and GPUs, as fragmentation gradient descent was compared with (Weng et al., USENIX ATC 2023): prefers the
 * node with the least left over, floor(100 (1 - (cpu left / 128 cores + GPUs left / 8) / 2)), on its tightest GPU.
 */
export class BestFit implements Policy {
  readonly name = 'bestfit'
  readonly version = '1'
  readonly #full = new ReusedTerm('nothingLeft', 100)
  readonly #cpu = new ReusedTerm('cpuLeft', -50)
  readonly #gpu = new ReusedTerm('gpuLeft', -50)
  readonly #rounding = new ReusedTerm('roundedDown', 1)
  readonly #reused = new ReusedRanking([this.#full, this.#cpu, this.#gpu, this.#rounding])

  rank({ shape }: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const demand = demandOf(shape)
    const gpusAsked = gpusOf(demand)
    const { freeSum } = cluster.gpus
    const full = this.#full.room(count).fill(1)
    const cpuValues = this.#cpu.room(count)
    const gpuValues = this.#gpu.room(count)
    const rounding = this.#rounding.room(count)
    const scores = this.#reused.room(count)
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length; nodes in use lie within each column
      const node = nodes[i]!
      const cpu = (freeCpuMilliOf(cluster, node) - demand.cpuMilli) / LARGEST_CPU_MILLI
      const gpu = (freeSum[node]! / WHOLE_GPU_MILLI - gpusAsked) / LARGEST_GPUS
      const exact = 100 * full[i]! - 50 * cpu - 50 * gpu
      const score = Math.floor(exact)
      cpuValues[i] = cpu
      gpuValues[i] = gpu
      rounding[i] = score - exact
      scores[i] = score
    }
    return this.#reused.ranking
  }
}

export const createBestFit = (): Policy => new BestFit()
