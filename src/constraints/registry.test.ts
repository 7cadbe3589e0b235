import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { label, node, nodeName, pod, term } from '../../test/builders.ts'
import type { ClusterEvent } from '../cluster/events.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import { ClusterState } from '../cluster/state.ts'
import type { Constraint } from './constraint.ts'
import { answerOf, clusterOf } from './contract.ts'
import { development } from './generated.fixture.ts'
import { createConstraints } from './registry.ts'
import { gatesOf, waitingForGates } from './scheduling-gates.ts'

/** The rules that refuse a pod, one a node: the first. undefined: some node takes it. */
const refusing = (cluster: ClusterState, object: PodObject): ReadonlySet<Constraint> | undefined => {
  const waiting = cluster.readPod(object)
  const prepared = createConstraints().map((constraint) => ({ constraint, said: constraint.prepare(waiting, cluster) }))
  const rules = new Set<Constraint>()
  for (const index of cluster.order.subarray(0, cluster.nodeCount)) {
    const first = prepared.find(({ said }) => answerOf(said, index) !== undefined)
    if (first === undefined) return undefined
    rules.add(first.constraint)
  }
  return rules
}

const wakes = (
  cluster: ClusterState,
  object: PodObject,
  rules: Iterable<Constraint>,
  events: readonly ClusterEvent[],
): boolean =>
  [...rules].some((rule) =>
    events.some(
      (event) => rule.wakesOn.includes(event.kind) && rule.couldHelp(cluster.readPod(object), event, cluster),
    ),
  )

describe('all constraints together', () => {
  test('nodes are asked in the order of kube-scheduler, so that its counts by reason are ours', () => {
    assert.deepEqual(
      createConstraints().map(({ name }) => name),
      [
        'SchedulingGates',
        'Unsupported',
        'NodeAffinity',
        'NodeName',
        'NodeUnschedulable',
        'TaintToleration',
        'NodeAffinity',
        'NodePorts',
        'NodeResourcesFit',
        // ours, asked after kube-scheduler's rule about the sum
        'GpuDevices',
        'VolumeRestrictions',
        'NodeVolumeLimits',
        'VolumeBinding',
        'VolumeZone',
        'PodTopologySpread',
        'InterPodAffinity',
        'NodeDeclaredFeatures',
      ],
    )
  })

  test('a pod that asks for nothing special is asked only for room', () => {
    const cluster = clusterOf({ nodes: [node('n').taint('soft', 'PreferNoSchedule').object()], placed: [] })
    const plain = cluster.readPod(pod('p').cpu('1').object())
    assert.deepEqual(
      createConstraints().flatMap((constraint) => constraint.prepare(plain, cluster)?.constraint ?? []),
      ['NodeResourcesFit'],
    )
  })

  test('whatever change of a node lets a pod in wakes it', () => {
    let letIn = 0
    fc.assert(
      fc.property(development, ({ given, later }) => {
        const cluster = clusterOf(given)
        const rules = refusing(cluster, given.pod)
        if (rules === undefined) return
        const events = cluster.applyNode(cluster.readNode(later))
        if (refusing(cluster, given.pod) !== undefined) return
        letIn++
        assert.ok(wakes(cluster, given.pod, rules, events), [...rules].map(({ name }) => name).join())
      }),
      { numRuns: 2000, seed: 20260101 },
    )
    assert.ok(letIn > 50, `only ${letIn} of the changes let a pod in`)
  })

  test('whatever departure of pods lets another in wakes it', () => {
    let letIn = 0
    fc.assert(
      fc.property(development, ({ given }) => {
        const cluster = clusterOf(given)
        const rules = refusing(cluster, given.pod)
        if (rules === undefined) return
        const events = given.placed.flatMap(({ metadata }) => cluster.removePod(metadata?.uid ?? ''))
        if (refusing(cluster, given.pod) !== undefined) return
        letIn++
        assert.ok(wakes(cluster, given.pod, rules, events), [...rules].map(({ name }) => name).join())
      }),
      { numRuns: 2000, seed: 20260101 },
    )
    assert.ok(letIn > 50, `only ${letIn} of the departures let a pod in`)
  })
})

describe('what wakes a waiting pod', () => {
  const cluster = new ClusterState()
  const read = {
    node: (object: NodeObject) => cluster.readNode(object),
    pod: (object: PodObject) => cluster.readPod(object),
  }
  const added = (built: NodeObject): ClusterEvent => ({ kind: 'NodeAdd', node: read.node(built), index: 0 })
  const changed = (
    kind: 'NodeAllocatable' | 'NodeLabel' | 'NodeTaint',
    before: NodeObject,
    after: NodeObject,
  ): ClusterEvent => ({ kind, before: read.node(before), node: read.node(after), index: 0 })
  const gone = (built: PodObject): ClusterEvent => ({ kind: 'PodDelete', pod: read.pod(built) })
  const shrunk = (before: PodObject, after: PodObject): ClusterEvent => ({
    kind: 'PodScaleDown',
    before: read.pod(before),
    pod: read.pod(after),
  })
  const self = (
    kind: 'SelfGates' | 'SelfToleration' | 'SelfScaleDown',
    before: PodObject,
    after: PodObject,
  ): ClusterEvent => ({
    kind,
    before: read.pod(before),
    pod: read.pod(after),
  })

  const plain = pod('p').object()
  const small = node('n').cpu('1')
  const inZone = pod('p')
    .requiresNode(term(label('zone').in('a')))
    .object()
  const onGpu = pod('p').tolerates('gpu').object()
  const port = pod('p').hostPort(80).object()
  const big = pod('p').cpu('2').object()

  const table: readonly [rule: string, title: string, waiting: PodObject, event: ClusterEvent, woken: boolean][] = [
    [
      'SchedulingGates',
      'the last gate goes',
      pod('p').gatedBy('a').object(),
      self('SelfGates', pod('p').gatedBy('a').object(), plain),
      true,
    ],
    [
      'SchedulingGates',
      'one of two gates goes',
      pod('p').gatedBy('a', 'b').object(),
      self('SelfGates', pod('p').gatedBy('a', 'b').object(), pod('p').gatedBy('b').object()),
      false,
    ],
    ['NodeName', 'a node comes', pod('p').on('x').object(), added(small.object()), true],
    ['NodeUnschedulable', 'a node comes that is cordoned', plain, added(node('n').cordoned().object()), false],
    ['NodeUnschedulable', 'a node comes', plain, added(node('n').object()), true],
    [
      'NodeUnschedulable',
      'a node is uncordoned',
      plain,
      changed('NodeTaint', node('n').cordoned().object(), node('n').object()),
      true,
    ],
    [
      'NodeUnschedulable',
      'the pod now tolerates cordons',
      plain,
      self('SelfToleration', plain, pod('p').tolerates('node.kubernetes.io/unschedulable').object()),
      true,
    ],
    ['NodeUnschedulable', 'the pod tolerates something else', plain, self('SelfToleration', plain, onGpu), false],
    [
      'TaintToleration',
      'a node comes that it tolerates',
      onGpu,
      added(node('n').taint('gpu', 'NoSchedule').object()),
      true,
    ],
    [
      'TaintToleration',
      'a node comes that it does not',
      plain,
      added(node('n').taint('gpu', 'NoSchedule').object()),
      false,
    ],
    [
      'TaintToleration',
      'the taint goes',
      plain,
      changed('NodeTaint', node('n').taint('gpu', 'NoSchedule').object(), node('n').object()),
      true,
    ],
    [
      'TaintToleration',
      'a taint goes that it tolerated',
      onGpu,
      changed('NodeTaint', node('n').taint('gpu', 'NoSchedule').object(), node('n').object()),
      false,
    ],
    ['TaintToleration', 'its tolerations change', plain, self('SelfToleration', plain, onGpu), true],
    ['NodeAffinity', 'a node comes that matches', inZone, added(node('n').label('zone', 'a').object()), true],
    ['NodeAffinity', 'a node comes that does not', inZone, added(node('n').object()), false],
    [
      'NodeAffinity',
      'a node gets the label',
      inZone,
      changed('NodeLabel', node('n').object(), node('n').label('zone', 'a').object()),
      true,
    ],
    [
      'NodeAffinity',
      'a node that matched gets another label',
      inZone,
      changed(
        'NodeLabel',
        node('n').label('zone', 'a').object(),
        node('n').label('zone', 'a').label('x', 'y').object(),
      ),
      false,
    ],
    [
      'NodeAffinity',
      'the node it is pinned to comes',
      pod('p')
        .requiresNode(term(nodeName().in('n')))
        .object(),
      added(node('n').object()),
      true,
    ],
    ['NodePorts', 'a pod goes that had the port', port, gone(pod('q').hostPort(80).object()), true],
    ['NodePorts', 'a pod goes that had another', port, gone(pod('q').hostPort(81).object()), false],
    ['NodePorts', 'a node comes', port, added(small.object()), true],
    ['NodeResourcesFit', 'any placed pod goes', big, gone(plain), true],
    ['NodeResourcesFit', 'a node comes that is too small', big, added(small.object()), false],
    ['NodeResourcesFit', 'a node comes that is large enough', big, added(node('n').cpu('2').object()), true],
    ['NodeResourcesFit', 'a node comes that allows no pods', big, added(node('n').cpu('2').pods(0).object()), false],
    [
      'NodeResourcesFit',
      'a node grows, but not enough',
      big,
      changed('NodeAllocatable', small.object(), node('n').cpu('1500m').object()),
      false,
    ],
    [
      'NodeResourcesFit',
      'a node grows enough',
      big,
      changed('NodeAllocatable', small.object(), node('n').cpu('3').object()),
      true,
    ],
    [
      'NodeResourcesFit',
      'a node grows in what it does not ask for',
      big,
      changed('NodeAllocatable', node('n').cpu('3').object(), node('n').cpu('3').memory('99Gi').object()),
      false,
    ],
    [
      'NodeResourcesFit',
      'a node allows more pods',
      big,
      changed('NodeAllocatable', node('n').cpu('3').pods(1).object(), node('n').cpu('3').pods(2).object()),
      true,
    ],
    [
      'NodeResourcesFit',
      'a pod shrinks in what it asks for',
      big,
      shrunk(pod('q').cpu('2').object(), pod('q').cpu('1').object()),
      true,
    ],
    [
      'NodeResourcesFit',
      'a pod shrinks in what it does not ask for',
      big,
      shrunk(pod('q').memory('2Gi').object(), pod('q').memory('1Gi').object()),
      false,
    ],
    ['NodeResourcesFit', 'it asks for less itself', big, self('SelfScaleDown', big, plain), true],
  ]
  for (const [rule, title, waiting, event, woken] of table)
    test(`a pod refused by ${rule} is ${woken ? 'woken' : 'left asleep'} when ${title}`, () => {
      const rules = createConstraints().filter(({ name }) => name === rule)
      assert.equal(wakes(cluster, waiting, rules, [event]), woken)
    })
})

describe('pods that are not tried at all', () => {
  const cluster = clusterOf({ nodes: [node('n').object()], placed: [] })

  test('the queue learns the gates of a pod and the words of kube-scheduler', () => {
    const gated = cluster.readPod(pod('p').gatedBy('quota', 'review').object())
    assert.equal(waitingForGates(gatesOf(gated)), 'waiting for scheduling gates: [quota review]')
    assert.deepEqual(gatesOf(cluster.readPod(pod('p').object())), [])
  })

  test('a pod that needs a rule we do not have yet waits, and is told which', () => {
    const claims = pod('p')
      .spec({ resourceClaims: [{ name: 'gpu' }] })
      .object()
    const [refusal] = createConstraints().flatMap(
      (constraint) => constraint.prepare(cluster.readPod(claims), cluster) ?? [],
    )
    assert.ok(refusal !== undefined && 'message' in refusal)
    assert.match(refusal.message, /does not know the rules for resource claims \(DRA\) yet/)
  })
})
