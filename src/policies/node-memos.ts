import type { PodShape } from '../cluster/pod.ts'
import { StaleNodes } from '../cluster/stale-nodes.ts'
import type { ClusterView } from '../cluster/view.ts'

/** Shapes remembered at once: pods of a template arrive in bursts, so a few are enough. 8 bytes a node each. */
const SHAPES = 64

/** What was worked out for pods of one shape on each node that is not stale. */
export interface NodeMemo {
  stale: StaleNodes
  /** NodeResourcesFit's score */
  fit: Uint8Array
  /** NodeResourcesBalancedAllocation's score */
  balance: Uint8Array
  /** what these two add to the sum, weighted */
  room: Uint8Array
  /** bit i: the node has the shape's image number i */
  images: Uint32Array
}

/** Scores that depend on one node and the pod's shape alone, kept until the node changes. */
export class NodeMemos {
  readonly #memos = new Map<PodShape, NodeMemo>()
  #cluster: ClusterView | undefined
  #lastShape: PodShape | undefined
  #last: NodeMemo | undefined

  /** The memo of a shape, with what has changed since marked stale. */
  for(shape: PodShape, cluster: ClusterView): NodeMemo {
    if (this.#cluster !== cluster) {
      this.#memos.clear()
      this.#last = undefined
      this.#cluster = cluster
    }
    let memo = this.#last
    if (memo === undefined || this.#lastShape !== shape) {
      memo = this.#take(shape)
      this.#memos.set(shape, memo)
      this.#lastShape = shape
      this.#last = memo
    }
    if (memo.fit.length < cluster.nodeCapacity) Object.assign(memo, emptyMemo(cluster.nodeCapacity))
    memo.stale.catchUp(cluster)
    return memo
  }

  /** The memo of a shape, taken out of the order of use; else the longest unused one, cleared, once there are enough. */
  #take(shape: PodShape): NodeMemo {
    const known = this.#memos.get(shape)
    if (known !== undefined) {
      this.#memos.delete(shape)
      return known
    }
    if (this.#memos.size < SHAPES) return emptyMemo(0)
    for (const [oldest, memo] of this.#memos) {
      this.#memos.delete(oldest)
      memo.stale.markAll()
      return memo
    }
    return emptyMemo(0)
  }
}

const emptyMemo = (nodes: number): NodeMemo => ({
  stale: new StaleNodes(nodes),
  fit: new Uint8Array(nodes),
  balance: new Uint8Array(nodes),
  room: new Uint8Array(nodes),
  images: new Uint32Array(nodes),
})
