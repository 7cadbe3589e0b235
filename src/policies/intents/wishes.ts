import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod } from '../../cluster/pod.ts'
import { CPU, MEMORY } from '../../cluster/resources.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { isSpot, zoneOf } from '../llm/offer.ts'
import type { Intent } from './intent.ts'

const APP_LABELS = ['app.kubernetes.io/name', 'app', 'app.kubernetes.io/component', 'k8s-app']
/** Being in the zone of what one wants to be near, against being on its node. */
const SAME_ZONE = 0.5

/** One thing that is wished for: how well each node has it, 0 to 1. */
export interface Wish {
  readonly name: string
  /** above 0 */
  readonly weight: number
  readonly valueOf: (node: NodeIndex) => number
}

/** Where pods of the named apps are, in the pod's namespace. */
const whereabouts = (names: readonly string[], pod: Pod, cluster: ClusterView) => {
  const nodes = new Set<NodeIndex>()
  const zones = new Set<string>()
  for (const node of cluster.order.subarray(0, cluster.nodeCount))
    for (const other of cluster.podsOn(node)) {
      if (other.namespace !== pod.namespace) continue
      if (!APP_LABELS.some((label) => names.includes(other.labels[label]?.toLowerCase() ?? ''))) continue
      nodes.add(node)
      zones.add(zoneOf(cluster, node))
      break
    }
  return (node: NodeIndex): number => {
    if (nodes.has(node)) return 1
    const zone = zoneOf(cluster, node)
    return zone !== '' && zones.has(zone) ? SAME_ZONE : 0
  }
}

const load = (node: NodeIndex, cluster: ClusterView): number => {
  const share = (used: number, of: number): number => (of > 0 ? Math.min(1, used / of) : 1)
  return Math.max(
    share(cluster.usedCpuMilli(node), cluster.allocatable[CPU]?.[node] ?? 0),
    share(cluster.usedMemoryBytes(node), cluster.allocatable[MEMORY]?.[node] ?? 0),
  )
}

const peersOn = (node: NodeIndex, pod: Pod, cluster: ClusterView): number => {
  let peers = 0
  for (const other of cluster.podsOn(node))
    if (
      pod.ownerUid === ''
        ? other.labels === pod.labels && other.namespace === pod.namespace
        : other.ownerUid === pod.ownerUid
    )
      peers++
  return peers
}

/** What an intent means on this cluster, at this moment. */
export const wishesOf = (intent: Intent, pod: Pod, cluster: ClusterView): Wish[] => {
  const { spread, spot, idle, near, away, zones } = intent
  const wishes: Wish[] = []
  const wish = (name: string, weight: number, valueOf: (node: NodeIndex) => number): void => {
    if (weight === 0) return
    const signed = weight > 0 ? valueOf : (node: NodeIndex) => 1 - valueOf(node)
    wishes.push({ name, weight: Math.abs(weight), valueOf: signed })
  }
  wish('intent.spread', spread, (node) => 1 / (1 + peersOn(node, pod, cluster)))
  wish('intent.spot', spot, (node) => (isSpot(cluster, node) ? 1 : 0))
  wish('intent.idle', idle, (node) => 1 - load(node, cluster))
  if (near.length > 0) wish('intent.near', 1, whereabouts(near, pod, cluster))
  if (away.length > 0) wish('intent.away', -1, whereabouts(away, pod, cluster))
  if (zones.length > 0) wish('intent.zones', 1, (node) => (zones.includes(zoneOf(cluster, node).toLowerCase()) ? 1 : 0))
  return wishes
}

/** How well a node fits all wishes together, 0 to 1. */
export const fitOf = (wishes: readonly Wish[], node: NodeIndex): number => {
  let sum = 0
  let weights = 0
  for (const { weight, valueOf } of wishes) {
    sum += weight * valueOf(node)
    weights += weight
  }
  return weights > 0 ? sum / weights : 0
}
