import fc from 'fast-check'
import { node, pod } from '../../test/builders.ts'
import type { ClusterEvent } from '../cluster/events.ts'
import type { KubeObject, NodeObject, PodObject } from '../cluster/objects.ts'
import { ClusterState } from '../cluster/state.ts'
import { attachment, claim, csiNode, seeStorage, storageClass, using, volume } from '../cluster/storage.fixture.ts'
import { ALLOWED, type Constraint, isPodRefusal } from './constraint.ts'
import type { Situation } from './generated.fixture.ts'

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

// Small clusters in which volumes matter, out of few values.

const sizes = fc.constantFrom('1Gi', '2Gi', '3Gi')
const numbers = [0, 1, 2]
const hostnames = ['n0', 'n1', 'n2']
const oneOf = fc.constantFrom

const disks = fc.option(fc.record({ pdName: oneOf('d0', 'd1'), readOnly: fc.boolean() }), { nil: undefined, freq: 1 })
const spec = fc
  .record({ claims: fc.uniqueArray(oneOf(...numbers), { maxLength: 2 }), disk: disks })
  .map(({ claims, disk }) => ({
    volumes: [
      ...using(...claims.map((number) => `c${number}`)).volumes,
      ...(disk === undefined ? [] : [{ name: 'disk', gcePersistentDisk: disk }]),
    ],
  }))

const claims: fc.Arbitrary<KubeObject[]> = fc
  .tuple(
    ...numbers.map((number) =>
      fc
        .record({
          there: oneOf(true, true, true, true, false),
          // Bound claims have the volume of their number.
          bound: fc.boolean(),
          request: sizes,
          mode: oneOf('ReadWriteOnce', 'ReadWriteOnce', 'ReadWriteOncePod'),
          deleting: oneOf(false, false, false, false, true),
        })
        .map(({ there, bound, request, mode, deleting }) =>
          there
            ? [
                claim(`c${number}`, {
                  request,
                  deleting,
                  modes: [mode],
                  ...(bound ? { volumeName: `v${number}` } : {}),
                }),
              ]
            : [],
        ),
    ),
  )
  .map((all) => all.flat())

const persistentVolumes: fc.Arbitrary<KubeObject[]> = fc
  .tuple(
    ...[...numbers, 3, 4].map((number) =>
      fc
        .record({
          there: oneOf(true, true, true, false),
          capacity: sizes,
          on: fc.option(fc.subarray(hostnames, { minLength: 1 }), { nil: undefined }),
          zone: oneOf(undefined, undefined, 'a', 'b', 'a__b'),
        })
        .map(({ there, capacity, on, zone }) =>
          there
            ? [
                volume(`v${number}`, {
                  capacity,
                  driver: 'disks',
                  modes: ['ReadWriteOnce', 'ReadWriteOncePod'],
                  labels: zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone },
                  ...(on === undefined ? {} : { on }),
                  // Those of the first numbers belong to claims, whether these say so or not.
                  ...(number < numbers.length
                    ? { claimRef: { namespace: 'default', name: `c${number}`, uid: 'x' } }
                    : {}),
                }),
              ]
            : [],
        ),
    ),
  )
  .map((all) => all.flat())

const nodesWithZones: fc.Arbitrary<NodeObject[]> = fc.tuple(
  ...hostnames.map((name) =>
    oneOf(undefined, 'a', 'b').map((zone) => (zone === undefined ? node(name) : node(name).zone(zone)).object()),
  ),
)

const limits: fc.Arbitrary<KubeObject[]> = fc
  .tuple(
    ...hostnames.map((name) =>
      oneOf<(number | undefined)[]>(-1, undefined, 1, 2).map((limit) =>
        limit === -1 ? [] : [csiNode(name, { disks: limit })],
      ),
    ),
  )
  .map((all) => all.flat())

const waitingPod: fc.Arbitrary<PodObject> = spec.map((part) => pod('waiting').spec(part).object())

const situation: fc.Arbitrary<Situation> = fc
  .record({
    nodes: nodesWithZones,
    claims,
    persistentVolumes,
    limits,
    attached: fc.array(fc.tuple(oneOf(...hostnames), oneOf('v0', 'v1', 'v3')), { maxLength: 2 }),
    placed: fc.array(fc.tuple(oneOf(...hostnames), spec), { maxLength: 3 }),
    pod: waitingPod,
  })
  .map((parts) => ({
    nodes: parts.nodes,
    storage: [
      storageClass('waits'),
      ...parts.claims,
      ...parts.persistentVolumes,
      ...parts.limits,
      ...parts.attached.map(([on, name], at) => attachment(String(at), on, 'disks', name)),
    ],
    placed: parts.placed.map(([on, part], at) => pod(`placed${at}`).spec(part).on(on).phase('Running').object()),
    pod: parts.pod,
  }))

/** For the contract of rules about volumes. */
export const aboutVolumes = { situation, waitingPod }
