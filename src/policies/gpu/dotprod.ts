import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policy.ts'
import { ReusedRanking, ReusedTerm } from '../reused.ts'
import { freeCpuMilliOf, LARGEST_CPU_MILLI, LARGEST_GPUS } from './node-after.ts'
import { demandOf, gpusOf } from './workload.ts'

/**
 * The dot product of what is free and what is asked for, as fragmentation gradient descent was compared with (Weng et al., USENIX
 * ATC 2023, after Tetris, SIGCOMM 2014, which prefers the largest): prefers the smallest, floor(100 (1 - (cpu free / 128 cores * cpu asked /
 * 128 cores + GPUs free / 8 * GPUs asked / 8) / 2)), on its tightest GPU.
 */
export class DotProduct implements Policy {
  readonly name = 'dotprod'
  readonly version = '1'
  readonly #none = new ReusedTerm('nothingFree', 100)
  readonly #cpu = new ReusedTerm('cpuProduct', -50)
  readonly #gpu = new ReusedTerm('gpuProduct', -50)
  readonly #rounding = new ReusedTerm('roundedDown', 1)
  readonly #reused = new ReusedRanking([this.#none, this.#cpu, this.#gpu, this.#rounding])

  rank({ shape }: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const demand = demandOf(shape)
    const cpuAsked = demand.cpuMilli / LARGEST_CPU_MILLI
    const gpusAsked = gpusOf(demand) / LARGEST_GPUS
    const { freeSum } = cluster.gpus
    const none = this.#none.room(count).fill(1)
    const cpuValues = this.#cpu.room(count)
    const gpuValues = this.#gpu.room(count)
    const rounding = this.#rounding.room(count)
    const scores = this.#reused.room(count)
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length; nodes in use lie within each column
      const node = nodes[i]!
      const cpu = (freeCpuMilliOf(cluster, node) / LARGEST_CPU_MILLI) * cpuAsked
      const gpu = (freeSum[node]! / WHOLE_GPU_MILLI / LARGEST_GPUS) * gpusAsked
      const exact = 100 * none[i]! - 50 * cpu - 50 * gpu
      const score = Math.floor(exact)
      cpuValues[i] = cpu
      gpuValues[i] = gpu
      rounding[i] = score - exact
      scores[i] = score
    }
    return this.#reused.ranking
  }
}

export const createDotProduct = (): Policy => new DotProduct()
