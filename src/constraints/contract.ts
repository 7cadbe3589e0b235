import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { ClusterEvent } from '../cluster/events.ts'
import type { NodeIndex } from '../cluster/node.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import type { Pod } from '../cluster/pod.ts'
import { ClusterState } from '../cluster/state.ts'
import {
  attachment,
  claim,
  csiDriver,
  csiNode,
  room,
  seeStorage,
  storageClass,
  volume,
} from '../cluster/storage.fixture.ts'
import { ALLOWED, type Check, type Constraint, isPodRefusal, type PodRefusal, type Refusal } from './constraint.ts'
import {
  situation as anySituation,
  waitingPod as anyWaitingPod,
  nodeNamed,
  type Situation,
} from './generated.fixture.ts'

export const clusterOf = ({
  namespaces = [],
  storage = [],
  nodes,
  placed,
}: Pick<Situation, 'namespaces' | 'nodes' | 'placed' | 'storage'>): ClusterState => {
  const cluster = new ClusterState()
  for (const namespace of namespaces) cluster.applyNamespace(namespace)
  for (const object of storage) seeStorage(cluster.volumes, object)
  for (const node of nodes) cluster.applyNode(cluster.readNode(node))
  for (const pod of placed) cluster.applyPod(cluster.readPod(pod))
  return cluster
}

/** What a prepared rule says of a node: a refusal, or undefined where the node is allowed. */
export const answerOf = (prepared: Check | PodRefusal | undefined, node: NodeIndex): Refusal | undefined => {
  if (prepared === undefined) return undefined
  if (isPodRefusal(prepared)) return { reasons: [prepared.message], preemptionCouldHelp: false }
  const verdict = prepared.verdict(node)
  return verdict === ALLOWED ? undefined : prepared.refusals[verdict - 1]
}

const nodesOf = (cluster: ClusterState): number[] => [...cluster.order.subarray(0, cluster.nodeCount)]

/** Each object about volumes comes, changes and goes. */
const storageEvents = (): ClusterEvent[] => {
  const { volumes } = new ClusterState()
  const objects = [
    [claim('c0'), claim('c0', { volumeName: 'v0' })],
    [volume('v0'), volume('v0', { labels: { 'topology.kubernetes.io/zone': 'a' } })],
    [storageClass('waits'), storageClass('waits', { zones: ['a'] })],
    [csiNode('n0', {}), csiNode('n0', { disks: 2 })],
    [csiDriver('disks', { storageCapacity: true }), csiDriver('disks', {})],
    [room('a', '1Gi'), room('a', '2Gi')],
    [attachment('1', 'n0', 'disks', 'v0')],
  ]
  return [...objects.flat().flatMap((object) => seeStorage(volumes, object)), ...volumes.removeAttachment('1')]
}

/** Every event there is, about a pod and a node as they were before and are after. */
const allEvents = (cluster: ClusterState, podBefore: Pod, pod: Pod, nodes: readonly NodeObject[]): ClusterEvent[] => {
  const [before, node] = nodes.map((object) => cluster.readNode(object))
  assert.ok(before !== undefined && node !== undefined)
  const changes = ['NodeAllocatable', 'NodeLabel', 'NodeTaint', 'NodeDeclaredFeature'] as const
  const podChanges = [
    'PodLabel',
    'PodScaleDown',
    'SelfGates',
    'SelfLabel',
    'SelfToleration',
    'SelfScaleDown',
    'SelfFeatures',
  ] as const
  return [
    { kind: 'NodeAdd', node, index: 0 },
    { kind: 'NodeDelete', node },
    ...changes.map((kind): ClusterEvent => ({ kind, before, node, index: 0 })),
    { kind: 'PodAdd', pod },
    { kind: 'PodDelete', pod },
    ...podChanges.map((kind): ClusterEvent => ({ kind, before: podBefore, pod })),
    ...storageEvents(),
  ]
}

export interface ConstraintCase {
  readonly title: string
  /** the exported Name */
  readonly name: string
  readonly create: () => Constraint
  /** whether a reason is one of those exported beside the rule */
  readonly isReason: (reason: string) => boolean
  /** The rule as its documentation reads, slow and plain, on the objects from the wire. undefined: allowed. */
  readonly literally: (
    pod: PodObject,
    node: NodeObject,
    placed: readonly PodObject[],
    given: Situation,
  ) => Refusal | undefined
  /** in which the rule has something to say. @default situations in which those rules have that look at one node */
  readonly situations?: { readonly situation: fc.Arbitrary<Situation>; readonly waitingPod: fc.Arbitrary<PodObject> }
  /** why no event can help; absent for every rule but those */
  readonly wakesOnNothingBecause?: string
}

const runs = { numRuns: 300, seed: 20260101 }

/** What everybody who asks constraints relies on. */
export const constraintContract = (rule: ConstraintCase): void => {
  const { situation, waitingPod } = rule.situations ?? { situation: anySituation, waitingPod: anyWaitingPod }
  describe(`the contract of constraints: ${rule.title}`, () => {
    test('it has the name that is exported', () => {
      assert.equal(rule.create().name, rule.name)
    })

    test('it says of each node what the rule says, in the words that are exported', () => {
      const constraint = rule.create()
      fc.assert(
        fc.property(situation, (given) => {
          const cluster = clusterOf(given)
          const prepared = constraint.prepare(cluster.readPod(given.pod), cluster)
          if (prepared !== undefined) assert.equal(prepared.constraint, rule.name)
          for (const node of given.nodes) {
            const name = node.metadata?.name ?? ''
            const placed = given.placed.filter((pod) => pod.spec?.nodeName === name)
            const answer = answerOf(prepared, cluster.indexOf(name))
            assert.deepEqual(answer, rule.literally(given.pod, node, placed, given), name)
            for (const reason of answer?.reasons ?? []) assert.ok(rule.isReason(reason), reason)
          }
        }),
        runs,
      )
    })

    test('sifting keeps the allowed nodes in their order and counts the others by verdict', () => {
      const constraint = rule.create()
      fc.assert(
        fc.property(situation, (given) => {
          const cluster = clusterOf(given)
          const prepared = constraint.prepare(cluster.readPod(given.pod), cluster)
          if (prepared === undefined || isPodRefusal(prepared)) return
          const asked = nodesOf(cluster).reverse()
          const verdicts = asked.map((node) => prepared.verdict(node))
          const nodes = Int32Array.from([...asked, 77])
          const tally = { counts: new Int32Array(1) }
          const kept = prepared.sift(nodes, asked.length, tally)
          assert.deepEqual(
            [...nodes.subarray(0, kept)],
            asked.filter((_, i) => verdicts[i] === ALLOWED),
          )
          assert.equal(nodes[asked.length], 77, 'what lies behind the nodes asked is untouched')
          const counted = [...tally.counts.entries()].filter(([, nodesRefused]) => nodesRefused > 0)
          const expected = new Map<number, number>()
          for (const verdict of verdicts.filter((one) => one !== ALLOWED))
            expected.set(verdict, (expected.get(verdict) ?? 0) + 1)
          assert.deepEqual(new Map(counted), expected)
        }),
        runs,
      )
    })

    test('it answers alike whatever it was asked before, also about other pods and other clusters', () => {
      const asked = rule.create()
      fc.assert(
        fc.property(situation, waitingPod, (given, other) => {
          const cluster = clusterOf(given)
          const pod = cluster.readPod(given.pod)
          const answers = (constraint: Constraint): (Refusal | undefined)[] => {
            const prepared = constraint.prepare(pod, cluster)
            return nodesOf(cluster).map((node) => answerOf(prepared, node))
          }
          const first = answers(asked)
          asked.prepare(cluster.readPod(other), cluster)
          assert.deepEqual(answers(asked), first)
          assert.deepEqual(answers(rule.create()), first)
        }),
        runs,
      )
    })

    test('it follows the cluster: a node that changes, comes or goes is judged as it is now', () => {
      const constraint = rule.create()
      fc.assert(
        fc.property(situation, nodeNamed('n0'), nodeNamed('n9'), (given, changed, added) => {
          const cluster = clusterOf(given)
          const pod = cluster.readPod(given.pod)
          constraint.prepare(pod, cluster)
          cluster.applyNode(cluster.readNode(changed))
          cluster.applyNode(cluster.readNode(added))
          cluster.removeNode('n1')
          const later = constraint.prepare(pod, cluster)
          const fresh = rule.create().prepare(pod, cluster)
          for (const node of nodesOf(cluster)) assert.deepEqual(answerOf(later, node), answerOf(fresh, node))
        }),
        runs,
      )
    })

    if (rule.wakesOnNothingBecause === undefined)
      test('it names at least one kind of event that can turn a refusal round', () => {
        assert.ok(rule.create().wakesOn.length > 0)
      })
    else
      test(`it is woken by nothing, because ${rule.wakesOnNothingBecause}`, () => {
        assert.deepEqual(rule.create().wakesOn, [])
      })

    test('it can be asked about every event', () => {
      const constraint = rule.create()
      fc.assert(
        fc.property(situation, waitingPod, fc.tuple(nodeNamed('n0'), nodeNamed('n0')), (given, podBefore, nodes) => {
          const cluster = clusterOf(given)
          const pod = cluster.readPod(given.pod)
          for (const event of allEvents(cluster, cluster.readPod(podBefore), pod, nodes)) {
            const helps = constraint.couldHelp(pod, event, cluster)
            assert.equal(typeof helps, 'boolean')
            if (!constraint.wakesOn.includes(event.kind)) assert.equal(helps, false, event.kind)
          }
        }),
        runs,
      )
    })
  })
}

/** What a rule says of a pod on one node that holds other pods: for tables. */
export const refusalOn = (
  constraint: Constraint,
  pod: PodObject,
  node: NodeObject,
  placed: readonly PodObject[] = [],
): Refusal | undefined => {
  const cluster = clusterOf({ nodes: [node], placed })
  return answerOf(constraint.prepare(cluster.readPod(pod), cluster), cluster.indexOf(node.metadata?.name ?? ''))
}
