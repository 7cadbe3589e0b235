import type { Pod } from '../cluster/pod.ts'
import { CPU, MEMORY } from '../cluster/resources.ts'
import type { Candidates, Policy, RankContext, Ranking } from './policy.ts'
import { ReusedRanking, ReusedTerm } from './reused.ts'

export interface FreeShareWeights {
  readonly cpuFree: number
  readonly memoryFree: number
  readonly podSlotsFree: number
}

const noColumn = new Float64Array(0)

/** What is left of a capacity, 0 to 100. A node without any has nothing free; load beyond the capacity leaves 0. */
const percentFree = (used: number, capacity: number): number =>
  capacity > 0 ? 100 * Math.max(0, 1 - used / capacity) : 0

/**
 * Prefers the node of which the largest share is free, in per cent and weighted. Looks at load: measured where there is a
 * measurement, else requests, and says which. The first candidate wins among equals.
 */
export class FreeShare implements Policy {
  readonly name: string
  readonly version = '1'
  readonly #weights: FreeShareWeights
  readonly #cpu: ReusedTerm
  readonly #memory: ReusedTerm
  readonly #slots: ReusedTerm
  readonly #reused: ReusedRanking

  constructor(name: string, weights: FreeShareWeights) {
    this.name = name
    this.#weights = weights
    this.#cpu = new ReusedTerm('cpuFree', weights.cpuFree)
    this.#memory = new ReusedTerm('memoryFree', weights.memoryFree)
    this.#slots = new ReusedTerm('podSlotsFree', weights.podSlotsFree)
    this.#reused = new ReusedRanking([this.#cpu, this.#memory, this.#slots])
  }

  rank(_pod: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const { cpuFree, memoryFree, podSlotsFree } = this.#weights
    const cpuCapacity = cluster.allocatable[CPU] ?? noColumn
    const memoryCapacity = cluster.allocatable[MEMORY] ?? noColumn
    const { podCount, maxPods } = cluster
    const cpuValues = this.#cpu.room(count)
    const memoryValues = this.#memory.room(count)
    const slotValues = this.#slots.room(count)
    const scores = this.#reused.room(count)
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length
      const node = nodes[i]!
      const cpu = percentFree(cluster.usedCpuMilli(node), cpuCapacity[node] ?? 0)
      const memory = percentFree(cluster.usedMemoryBytes(node), memoryCapacity[node] ?? 0)
      const slots = percentFree(podCount[node] ?? 0, maxPods[node] ?? 0)
      cpuValues[i] = cpu
      memoryValues[i] = memory
      slotValues[i] = slots
      scores[i] = cpuFree * cpu + memoryFree * memory + podSlotsFree * slots
    }
    this.#reused.ranking.usage = cluster.usageSource
    return this.#reused.ranking
  }
}
