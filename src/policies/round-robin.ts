import type { Pod } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'
import type { Candidates, Policy, RankContext, Ranking } from './policy.ts'
import { ReusedRanking, ReusedTerm } from './reused.ts'

/** The node that had the last turn. */
interface Turn {
  readonly cluster: ClusterView
  readonly node: string
  /** of the node before it had its turn: another one means that the turn was taken */
  readonly generation: number
  /** in the order of nodes */
  readonly position: number
  /** where the search for it began */
  readonly start: number
}

/**
 * Nodes in turn, in their order of arrival: the next candidate after the one that was chosen last. A turn counts as taken once
 * something has changed on its node; a ranking that came to nothing is repeated. Looks at nothing else.
 */
export class RoundRobin implements Policy {
  readonly name = 'round_robin'
  readonly version = '1'
  readonly #term = new ReusedTerm('turn', 1)
  readonly #reused = new ReusedRanking([this.#term])
  #positions = new Int32Array(0)
  #last: Turn | undefined

  rank(_pod: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const { order, nodeCount, nodeCapacity, generation } = cluster
    if (this.#positions.length < nodeCapacity) this.#positions = new Int32Array(nodeCapacity)
    const positions = this.#positions
    // i < nodeCount <= order.length; candidates are in use, so each has a position
    for (let i = 0; i < nodeCount; i++) positions[order[i]!] = i
    const start = this.#start(cluster)
    const values = this.#term.room(count)
    const scores = this.#reused.room(count)
    let first = 0
    for (let i = 0; i < count; i++) {
      const ahead = positions[nodes[i]!]! - start
      const turn = nodeCount - (ahead < 0 ? ahead + nodeCount : ahead)
      values[i] = turn
      scores[i] = turn
      if (turn > scores[first]!) first = i
    }
    const chosen = nodes[first]
    if (count > 0 && chosen !== undefined)
      this.#last = {
        cluster,
        node: cluster.node(chosen).name,
        generation: generation[chosen] ?? 0,
        position: positions[chosen] ?? 0,
        start,
      }
    return this.#reused.ranking
  }

  /** The position whose turn it is. */
  #start(cluster: ClusterView): number {
    const last = this.#last
    if (last?.cluster !== cluster || cluster.nodeCount === 0) return 0
    const index = cluster.indexOf(last.node)
    // The node is gone, and the next one has moved up to its place.
    if (index < 0) return last.position % cluster.nodeCount
    const taken = cluster.generation[index] !== last.generation
    return (taken ? (this.#positions[index] ?? 0) + 1 : last.start) % cluster.nodeCount
  }
}

export const createRoundRobin = (): Policy => new RoundRobin()
