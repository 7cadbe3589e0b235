import type { Pod } from '../cluster/pod.ts'
import { amountOf, CPU, MEMORY } from '../cluster/resources.ts'
import type { Candidates, Policy, RankContext, Ranking } from './policy.ts'
import { ReusedRanking, ReusedTerm } from './reused.ts'

const noColumn = new Float64Array(0)

/**
 * The formula that Google's Borg places pods by, found by AlphaEvolve (Novikov et al., 2025): with cr and mr the shares of
 * a node's free cpu and memory that the pod would take, the score is -(cr + mr + mr/cr + cr/mr). Looks at requests, with
 * kube-scheduler's stand-ins where a container has none; the stand-ins of placed pods count as taken too.
 *
 * Where the formula would divide by zero: free room counts as at least one unit (millicore, byte), and a pod that asks for
 * none of cpu or of memory has no ratio between them to keep, so those two addends are left out.
 */
export class Borg implements Policy {
  readonly name = 'borg'
  readonly version = '1'
  readonly #cpu = new ReusedTerm('cpuShare', -1)
  readonly #memory = new ReusedTerm('memoryShare', -1)
  readonly #memoryPerCpu = new ReusedTerm('memoryPerCpu', -1)
  readonly #cpuPerMemory = new ReusedTerm('cpuPerMemory', -1)
  readonly #reused = new ReusedRanking([this.#cpu, this.#memory, this.#memoryPerCpu, this.#cpuPerMemory])

  rank({ shape }: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    // Requests of the pod as a whole are no part of what scores count.
    const cpuMilli = Math.max(shape.scoringCpuMilli, amountOf(shape.request, CPU))
    const memoryBytes = Math.max(shape.scoringMemoryBytes, amountOf(shape.request, MEMORY))
    const hasRatio = cpuMilli > 0 && memoryBytes > 0
    const cpuCapacity = cluster.allocatable[CPU] ?? noColumn
    const memoryCapacity = cluster.allocatable[MEMORY] ?? noColumn
    const { scoringCpuMilli, scoringMemoryBytes } = cluster
    const cpuValues = this.#cpu.room(count)
    const memoryValues = this.#memory.room(count)
    const memoryPerCpuValues = this.#memoryPerCpu.room(count)
    const cpuPerMemoryValues = this.#cpuPerMemory.room(count)
    const scores = this.#reused.room(count)
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length
      const node = nodes[i]!
      const cpu = cpuMilli / Math.max(1, (cpuCapacity[node] ?? 0) - (scoringCpuMilli[node] ?? 0))
      const memory = memoryBytes / Math.max(1, (memoryCapacity[node] ?? 0) - (scoringMemoryBytes[node] ?? 0))
      const memoryPerCpu = hasRatio ? memory / cpu : 0
      const cpuPerMemory = hasRatio ? cpu / memory : 0
      cpuValues[i] = cpu
      memoryValues[i] = memory
      memoryPerCpuValues[i] = memoryPerCpu
      cpuPerMemoryValues[i] = cpuPerMemory
      scores[i] = -cpu - memory - memoryPerCpu - cpuPerMemory
    }
    return this.#reused.ranking
  }
}

export const createBorg = (): Policy => new Borg()
