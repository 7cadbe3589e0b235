import type { NodeIndex } from '../cluster/node.ts'
import type { Pod } from '../cluster/pod.ts'
import { CPU, MEMORY } from '../cluster/resources.ts'
import type { ClusterView } from '../cluster/view.ts'
import type { Candidates, Policy, RankContext, Ranking } from './policy.ts'
import { ReusedRanking, ReusedTerm } from './reused.ts'

export interface FreeShareWeights {
  readonly cpuFree: number
  readonly memoryFree: number
  readonly podSlotsFree: number
}

/** No generation of a node. */
const NEVER = -1

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
  // Kept for each node until it changes, which between two pods hardly any does.
  #cluster: ClusterView | undefined
  /** the generation for which a node was worked out */
  #known = new Float64Array(0)
  #cpuFree = new Float64Array(0)
  #memoryFree = new Float64Array(0)
  #slotsFree = new Float64Array(0)
  #score = new Float64Array(0)

  constructor(name: string, weights: FreeShareWeights) {
    this.name = name
    this.#weights = weights
    this.#cpu = new ReusedTerm('cpuFree', weights.cpuFree)
    this.#memory = new ReusedTerm('memoryFree', weights.memoryFree)
    this.#slots = new ReusedTerm('podSlotsFree', weights.podSlotsFree)
    this.#reused = new ReusedRanking([this.#cpu, this.#memory, this.#slots])
  }

  rank(_pod: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const { generation } = cluster
    if (this.#cluster !== cluster || this.#known.length < cluster.nodeCapacity) this.#forget(cluster)
    const known = this.#known
    const cpuFree = this.#cpuFree
    const memoryFree = this.#memoryFree
    const slotsFree = this.#slotsFree
    const score = this.#score
    const cpuValues = this.#cpu.room(count)
    const memoryValues = this.#memory.room(count)
    const slotValues = this.#slots.room(count)
    const scores = this.#reused.room(count)
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length; nodes in use lie within each column
      const node = nodes[i]!
      if (known[node] !== generation[node]) this.#workOut(node, cluster)
      cpuValues[i] = cpuFree[node]!
      memoryValues[i] = memoryFree[node]!
      slotValues[i] = slotsFree[node]!
      scores[i] = score[node]!
    }
    this.#reused.ranking.usage = cluster.usageSource
    return this.#reused.ranking
  }

  #forget(cluster: ClusterView): void {
    const nodes = cluster.nodeCapacity
    this.#cluster = cluster
    this.#known = new Float64Array(nodes).fill(NEVER)
    this.#cpuFree = new Float64Array(nodes)
    this.#memoryFree = new Float64Array(nodes)
    this.#slotsFree = new Float64Array(nodes)
    this.#score = new Float64Array(nodes)
  }

  #workOut(node: NodeIndex, cluster: ClusterView): void {
    const cpu = percentFree(cluster.usedCpuMilli(node), cluster.allocatable[CPU]?.[node] ?? 0)
    const memory = percentFree(cluster.usedMemoryBytes(node), cluster.allocatable[MEMORY]?.[node] ?? 0)
    const slots = percentFree(cluster.podCount[node] ?? 0, cluster.maxPods[node] ?? 0)
    const { cpuFree, memoryFree, podSlotsFree } = this.#weights
    this.#cpuFree[node] = cpu
    this.#memoryFree[node] = memory
    this.#slotsFree[node] = slots
    this.#score[node] = cpuFree * cpu + memoryFree * memory + podSlotsFree * slots
    this.#known[node] = cluster.generation[node] ?? 0
  }
}
