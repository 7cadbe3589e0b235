import type { Pod } from '../../cluster/pod.ts'
import type { ClusterView } from '../../cluster/view.ts'

/** Kinds of pods that are remembered for a cluster; 12 bytes a node each. */
const KINDS_AT_MOST = 64
const NEVER = -1

interface Counted {
  /** of the node when its pods were counted */
  generation: Float64Array
  counts: Int32Array
}

/** Most recently used last. */
const remembered = new WeakMap<ClusterView, Map<string, Counted>>()

/**
 * How many pods of a kind are on each node, by its index. Between two pods of a template hardly any node changes, so only those
 * that have are counted again.
 * @param kind says which pods `isOne` is true of: the same name, the same pods
 */
export const podCounts = (kind: string, isOne: (pod: Pod) => boolean, cluster: ClusterView): Int32Array => {
  let kinds = remembered.get(cluster)
  if (kinds === undefined) {
    kinds = new Map()
    remembered.set(cluster, kinds)
  }
  const { generation, nodeCapacity, nodeCount, order } = cluster
  let counted = kinds.get(kind)
  if (counted === undefined || counted.generation.length < nodeCapacity)
    counted = { generation: new Float64Array(nodeCapacity).fill(NEVER), counts: new Int32Array(nodeCapacity) }
  kinds.delete(kind)
  kinds.set(kind, counted)
  for (const oldest of kinds.keys()) {
    if (kinds.size <= KINDS_AT_MOST) break
    kinds.delete(oldest)
  }
  for (let at = 0; at < nodeCount; at++) {
    // at < nodeCount <= length; nodes in use lie within each column
    const node = order[at]!
    if (counted.generation[node] === generation[node]) continue
    counted.generation[node] = generation[node]!
    let count = 0
    for (const pod of cluster.podsOn(node)) if (isOne(pod)) count++
    counted.counts[node] = count
  }
  return counted.counts
}
