import type { ClusterEvent } from '../cluster/events.ts'
import type { KubeObject, NodeObject, PodObject } from '../cluster/objects.ts'
import { ClusterState } from '../cluster/state.ts'
import { seeStorage } from '../cluster/storage.fixture.ts'
import { ALLOWED, type Constraint, isPodRefusal } from './constraint.ts'

/** A cluster with volumes, before a pod. */
export interface Scene {
  readonly nodes: readonly NodeObject[]
  readonly storage?: readonly KubeObject[]
  readonly placed?: readonly PodObject[]
}

export const clusterWith = ({ nodes, storage = [], placed = [] }: Scene): ClusterState => {
  const cluster = new ClusterState()
  for (const object of storage) seeStorage(cluster.volumes, object)
  for (const node of nodes) cluster.applyNode(cluster.readNode(node))
  for (const pod of placed) cluster.applyPod(cluster.readPod(pod))
  return cluster
}

/** What a rule says of each node, in one line: `a: reason, reason; b: yes`; or the text that refuses the pod as a whole. */
export const said = (constraint: Constraint, pod: PodObject, cluster: ClusterState): string => {
  const prepared = constraint.prepare(cluster.readPod(pod), cluster)
  if (prepared === undefined) return 'no concern of it'
  if (isPodRefusal(prepared)) return prepared.message
  return Array.from(cluster.order.subarray(0, cluster.nodeCount), (node) => {
    const verdict = prepared.verdict(node)
    const words = verdict === ALLOWED ? 'yes' : prepared.refusals[verdict - 1]?.reasons.join(', ')
    return `${cluster.node(node).name}: ${words}`
  }).join('; ')
}

/** Whether one of the events that follow from a new object wakes a pod that the rule refused. */
export const wakes = (constraint: Constraint, pod: PodObject, cluster: ClusterState, object: KubeObject): boolean =>
  isWoken(constraint, pod, cluster, seeStorage(cluster.volumes, object))

export const isWoken = (
  constraint: Constraint,
  pod: PodObject,
  cluster: ClusterState,
  events: readonly ClusterEvent[],
): boolean =>
  events.some(
    (event) => constraint.wakesOn.includes(event.kind) && constraint.couldHelp(cluster.readPod(pod), event, cluster),
  )
