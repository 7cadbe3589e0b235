import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod } from '../../cluster/pod.ts'
import { CPU, MEMORY } from '../../cluster/resources.ts'
import type { ClusterView } from '../../cluster/view.ts'

/** Nodes up to which pods of one owner are counted by zone: beyond, the count would cost more than it tells. */
const NODES_COUNTED = 500
const ROOM_AT_MOST = 99
const ZONE = 'topology.kubernetes.io/zone'
/** Labels by which clouds and autoscalers mark nodes that may be taken back. */
const SPOT: readonly (readonly [string, string])[] = [
  ['karpenter.sh/capacity-type', 'spot'],
  ['eks.amazonaws.com/capacityType', 'SPOT'],
  ['cloud.google.com/gke-spot', 'true'],
  ['kubernetes.azure.com/scalesetpriority', 'spot'],
]

/** What a node was when it was offered to the model, by which it is known again. */
export interface OfferedNode {
  /** what the model knows it by */
  readonly id: string
  readonly name: string
  readonly uid: string
  readonly pods: number
  readonly cpuMilli: number
  readonly memoryBytes: number
  readonly facts: CandidateFacts
}

/** What the model is told of a candidate: numbers that are worked out, nothing that anybody wrote. */
export interface CandidateFacts {
  readonly cpu_percent_after: number
  readonly memory_percent_after: number
  readonly pod_slots_percent_after: number
  readonly room_for: number
  readonly peers_on_node: number
  readonly peers_in_zone?: number
  readonly zone?: string
  readonly spot?: true
  readonly gpus_free_after?: number
  /** how well the node fits what the pod's owner wishes, 0 to 1 */
  readonly wish?: number
}

const percent = (part: number, whole: number): number => (whole > 0 ? Math.round((100 * part) / whole) : 100)

/** Pods that one controller made, for spreading: with the pod's own, if it has one. */
const isPeer = (pod: Pod, other: Pod): boolean =>
  pod.ownerUid !== ''
    ? other.ownerUid === pod.ownerUid
    : other.namespace === pod.namespace && other.labels === pod.labels && other.shape === pod.shape

/** @returns whether the node may be taken back at short notice, by its labels */
export const isSpot = (cluster: ClusterView, node: NodeIndex): boolean => {
  const { labels } = cluster.node(node)
  return SPOT.some(([key, value]) => labels[key] === value)
}

/** The zone of a node, '' without one. */
export const zoneOf = (cluster: ClusterView, node: NodeIndex): string => cluster.node(node).labels[ZONE] ?? ''

const roomFor = (pod: Pod, node: NodeIndex, cluster: ClusterView): number => {
  let room = (cluster.maxPods[node] ?? 0) - (cluster.podCount[node] ?? 0)
  const { indexes, amounts } = pod.shape.request
  for (const [at, resource] of indexes.entries()) {
    const amount = amounts[at] ?? 0
    if (amount <= 0) continue
    const free = (cluster.allocatable[resource]?.[node] ?? 0) - (cluster.requested[resource]?.[node] ?? 0)
    room = Math.min(room, Math.floor(free / amount))
  }
  return Math.max(0, Math.min(room, ROOM_AT_MOST))
}

/**
 * What the model is told of the nodes that it may choose from, under ids that tell it nothing: c1 is the first of `order`.
 * @param order places in `nodes`, shuffled by the caller
 * @param candidates every node that the pod could go to, for what zones hold
 * @param wishOf how well a node fits what the pod's owner wishes; undefined: nothing is wished
 */
export const offer = (
  pod: Pod,
  order: readonly NodeIndex[],
  candidates: Int32Array,
  cluster: ClusterView,
  wishOf: ((node: NodeIndex) => number) | undefined,
): OfferedNode[] => {
  const zones = new Map<string, { readonly id: string; peers: number }>()
  for (const node of order) {
    const zone = zoneOf(cluster, node)
    if (zone !== '' && !zones.has(zone)) zones.set(zone, { id: `z${zones.size + 1}`, peers: 0 })
  }
  const countsZones = zones.size > 1 && candidates.length <= NODES_COUNTED
  if (countsZones)
    for (const node of candidates) {
      const zone = zones.get(zoneOf(cluster, node))
      if (zone === undefined) continue
      for (const other of cluster.podsOn(node)) if (isPeer(pod, other)) zone.peers++
    }
  const cpuAsked = pod.shape.scoringCpuMilli
  const memoryAsked = pod.shape.scoringMemoryBytes
  return order.map((node, at) => {
    const { name, uid } = cluster.node(node)
    const pods = cluster.podCount[node] ?? 0
    const zone = zones.get(zoneOf(cluster, node))
    let peers = 0
    for (const other of cluster.podsOn(node)) if (isPeer(pod, other)) peers++
    const wish = wishOf?.(node)
    const gpus = cluster.gpus.count[node] ?? 0
    const asked = pod.shape.gpu === undefined ? 0 : pod.shape.gpu.count * pod.shape.gpu.milli
    return {
      id: `c${at + 1}`,
      name,
      uid,
      pods,
      cpuMilli: cluster.requested[CPU]?.[node] ?? 0,
      memoryBytes: cluster.requested[MEMORY]?.[node] ?? 0,
      facts: {
        cpu_percent_after: percent(cluster.usedCpuMilli(node) + cpuAsked, cluster.allocatable[CPU]?.[node] ?? 0),
        memory_percent_after: percent(
          cluster.usedMemoryBytes(node) + memoryAsked,
          cluster.allocatable[MEMORY]?.[node] ?? 0,
        ),
        pod_slots_percent_after: percent(pods + 1, cluster.maxPods[node] ?? 0),
        room_for: roomFor(pod, node, cluster),
        peers_on_node: peers,
        ...(zone === undefined ? {} : { zone: zone.id, ...(countsZones ? { peers_in_zone: zone.peers } : {}) }),
        ...(isSpot(cluster, node) ? { spot: true as const } : {}),
        ...(gpus === 0 ? {} : { gpus_free_after: Math.max(0, (cluster.gpus.freeSum[node] ?? 0) - asked) / 1000 }),
        ...(wish === undefined ? {} : { wish: Math.round(wish * 100) / 100 }),
      },
    }
  })
}

/**
 * Whether a node is as it was when it was offered, but for the pods that the plan itself has put there.
 * @param placed how many these are
 */
export const isAsOffered = (offered: OfferedNode, placed: number, pod: Pod, cluster: ClusterView): boolean => {
  const node = cluster.indexOf(offered.name)
  if (node < 0 || cluster.node(node).uid !== offered.uid) return false
  const { indexes, amounts } = pod.shape.request
  const amountOf = (resource: number): number => amounts[indexes.indexOf(resource)] ?? 0
  return (
    cluster.podCount[node] === offered.pods + placed &&
    (cluster.requested[CPU]?.[node] ?? 0) === offered.cpuMilli + placed * amountOf(CPU) &&
    (cluster.requested[MEMORY]?.[node] ?? 0) === offered.memoryBytes + placed * amountOf(MEMORY)
  )
}
