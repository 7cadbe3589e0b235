import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod } from '../../cluster/pod.ts'
import { CPU, MEMORY } from '../../cluster/resources.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { isSpot, zoneOf } from '../llm/offer.ts'
import type { Intent } from './intent.ts'
import { podCounts } from './pod-counts.ts'

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
const whereabouts = (names: readonly string[], { namespace }: Pod, cluster: ClusterView) => {
  const isNamed = (other: Pod): boolean =>
    other.namespace === namespace &&
    APP_LABELS.some((label) => {
      const app = other.labels[label]
      return app !== undefined && names.includes(app.toLowerCase())
    })
  const counts = podCounts(JSON.stringify(['apps', namespace, ...names]), isNamed, cluster)
  const zones = new Set<string>()
  for (const node of cluster.order.subarray(0, cluster.nodeCount))
    if ((counts[node] ?? 0) > 0) zones.add(zoneOf(cluster, node))
  return (node: NodeIndex): number => {
    if ((counts[node] ?? 0) > 0) return 1
    if (zones.size === 0) return 0
    const zone = zoneOf(cluster, node)
    return zone !== '' && zones.has(zone) ? SAME_ZONE : 0
  }
}

/** How many pods of the same controller are on each node; of a pod without one, pods with the same labels. */
const peers = ({ labels, namespace, ownerUid }: Pod, cluster: ClusterView): Int32Array =>
  ownerUid === ''
    ? podCounts(
        JSON.stringify(['labels', namespace, labels]),
        (other) => other.labels === labels && other.namespace === namespace,
        cluster,
      )
    : podCounts(JSON.stringify(['owner', ownerUid]), (other) => other.ownerUid === ownerUid, cluster)

const load = (node: NodeIndex, cluster: ClusterView): number => {
  const share = (used: number, of: number): number => (of > 0 ? Math.min(1, used / of) : 1)
  return Math.max(
    share(cluster.usedCpuMilli(node), cluster.allocatable[CPU]?.[node] ?? 0),
    share(cluster.usedMemoryBytes(node), cluster.allocatable[MEMORY]?.[node] ?? 0),
  )
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
  if (spread !== 0) {
    const counts = peers(pod, cluster)
    wish('intent.spread', spread, (node) => 1 / (1 + (counts[node] ?? 0)))
  }
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
