import type { PodShape } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'

/** Shapes remembered at once: pods of a template arrive in bursts, so a few are enough. About 14 bytes a node each. */
const SHAPES = 64

/** What was worked out for pods of one shape on each node. Valid for a node while `generation` is the cluster's. */
export interface NodeMemo {
  /** -1: never worked out */
  generation: Float64Array
  /** NodeResourcesFit's score */
  fit: Uint8Array
  /** NodeResourcesBalancedAllocation's score */
  balance: Uint8Array
  /** bit i: the node has the shape's image number i */
  images: Uint32Array
}

/**
 * Scores that depend on one node and the pod's shape alone, kept until the node changes. Between two pods of a template
 * hardly any node does, so that ranking 5,000 nodes is a comparison for each instead of six divisions.
 */
export class NodeMemos {
  readonly #memos = new Map<PodShape, NodeMemo>()
  #cluster: ClusterView | undefined
  #lastShape: PodShape | undefined
  #last: NodeMemo | undefined

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
    if (memo.generation.length < cluster.nodeCapacity) Object.assign(memo, emptyMemo(cluster.nodeCapacity))
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
      memo.generation.fill(NEVER)
      return memo
    }
    return emptyMemo(0)
  }
}

const NEVER = -1

const emptyMemo = (nodes: number): NodeMemo => ({
  generation: new Float64Array(nodes).fill(NEVER),
  fit: new Uint8Array(nodes),
  balance: new Uint8Array(nodes),
  images: new Uint32Array(nodes),
})
