import type { Node } from '../../cluster/node.ts'
import type { ClusterView } from '../../cluster/view.ts'

/** Milliseconds from the users to the node, one way; on nodes, where policies may look at it. */
export const NETWORK_LATENCY_ANNOTATION = 'stowage.dev/network-latency-ms'

/** What a node's annotation says; undefined where it says nothing, or no number. */
export const networkLatencyMs = ({ annotations }: Pick<Node, 'annotations'>): number | undefined => {
  const text = annotations[NETWORK_LATENCY_ANNOTATION]
  const value = text !== undefined && /^\d{1,7}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
  return Number.isNaN(value) ? undefined : value
}

/** Mean over all placed pods of the latency to their nodes; 0 where no pod is on a node that says. */
export const meanPodLatencyMs = (cluster: ClusterView): number => {
  let sum = 0
  let pods = 0
  for (const index of cluster.order.subarray(0, cluster.nodeCount)) {
    const latencyMs = networkLatencyMs(cluster.node(index))
    if (latencyMs === undefined) continue
    // an index in use
    sum += latencyMs * cluster.podCount[index]!
    pods += cluster.podCount[index]!
  }
  return pods === 0 ? 0 : sum / pods
}
