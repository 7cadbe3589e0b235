import type { ClusterView } from './view.ts'

/**
 * Which nodes have changed since something was worked out for them. Between two pods of a template hardly any node does, and
 * the cluster names those few: so 5,000 nodes need not be compared one by one.
 */
export class StaleNodes {
  /** by node: 1 if it has changed since, or nothing was ever worked out for it */
  readonly flags: Uint8Array
  /** how many are stale */
  count: number
  /** the cluster's `changes` up to which it is known what is stale */
  #changes = 0

  /** @param nodes how many there may be: the cluster's `nodeCapacity` */
  constructor(nodes: number) {
    this.flags = new Uint8Array(nodes)
    this.count = 0
    this.markAll()
  }

  markAll(): void {
    this.flags.fill(1)
    this.count = this.flags.length
  }

  /** Marks what has changed since the last time. */
  catchUp({ changedNodes, changes }: ClusterView): void {
    if (changes - this.#changes > changedNodes.length) this.markAll()
    else
      for (let change = this.#changes; change < changes; change++) {
        // the remainder is below the length; there is a flag for every node
        const node = changedNodes[change % changedNodes.length]!
        if (this.flags[node] !== 0) continue
        this.flags[node] = 1
        this.count++
      }
    this.#changes = changes
  }

  /** It has been worked out for the node as it is now. */
  done(node: number): void {
    if (this.flags[node] === 0) return
    this.flags[node] = 0
    this.count--
  }
}
