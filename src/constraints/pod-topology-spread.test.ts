import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import type { NodeObject, PodObject, Taint, TopologySpreadConstraintObject } from '../cluster/objects.ts'
import type { Refusal } from './constraint.ts'
import { answerOf, clusterOf, constraintContract } from './contract.ts'
import type { Situation } from './generated.fixture.ts'
import { meets, neighbours, nodeUnder, valueOn } from './neighbours.fixture.ts'
import { PodTopologySpread, podTopologySpread, REASON_MISSING_LABEL, REASON_SPREAD } from './pod-topology-spread.ts'

/** The rule as the documentation reads, counting pods anew for every node. */
const literally = (
  waiting: PodObject,
  candidate: NodeObject,
  _placed: readonly PodObject[],
  { nodes, placed }: Situation,
): Refusal | undefined => {
  const constraints = (waiting.spec?.topologySpreadConstraints ?? []).filter(
    ({ whenUnsatisfiable }) => whenUnsatisfiable === 'DoNotSchedule',
  )
  const labels = waiting.metadata?.labels ?? {}
  const tolerated = ({ key, effect }: Taint): boolean =>
    effect === 'PreferNoSchedule' || (waiting.spec?.tolerations ?? []).some((toleration) => toleration.key === key)
  for (const constraint of constraints) {
    const { labelSelector, maxSkew = 0, topologyKey } = constraint
    const taken = (constraint.matchLabelKeys ?? []).filter((key) => labels[key] !== undefined)
    const matches = (other: Record<string, string> = {}): boolean =>
      meets(labelSelector, other) && taken.every((key) => other[key] === labels[key])
    const isEmpty = Object.keys(labelSelector ?? {}).length + taken.length === 0
    const counts = new Map<string, number>()
    for (const one of nodes) {
      if (constraints.some((other) => valueOn(one, other.topologyKey) === undefined)) continue
      const selected = Object.entries(waiting.spec?.nodeSelector ?? {}).every(
        ([key, value]) => valueOn(one, key) === value,
      )
      if (constraint.nodeAffinityPolicy !== 'Ignore' && !selected) continue
      if (constraint.nodeTaintsPolicy === 'Honor' && !(one.spec?.taints ?? []).every(tolerated)) continue
      const value = valueOn(one, topologyKey) ?? ''
      const there = placed.filter(
        (other) =>
          nodeUnder(other, nodes) === one &&
          other.metadata?.namespace === waiting.metadata?.namespace &&
          other.metadata?.deletionTimestamp === undefined &&
          !isEmpty &&
          matches(other.metadata?.labels),
      )
      counts.set(value, (counts.get(value) ?? 0) + there.length)
    }
    const value = valueOn(candidate, topologyKey)
    if (value === undefined) return { reasons: [REASON_MISSING_LABEL], preemptionCouldHelp: false }
    const least = counts.size < (constraint.minDomains ?? 1) ? 0 : Math.min(...counts.values())
    const skew = (counts.get(value) ?? 0) + (matches(labels) ? 1 : 0) - least
    if (skew > maxSkew) return { reasons: [REASON_SPREAD], preemptionCouldHelp: true }
  }
  return undefined
}

constraintContract({
  title: PodTopologySpread,
  name: PodTopologySpread,
  create: () => podTopologySpread,
  isReason: (reason) => reason === REASON_SPREAD || reason === REASON_MISSING_LABEL,
  literally,
  situations: neighbours,
})

const web = { matchLabels: { app: 'web' } }
const spread = (further: TopologySpreadConstraintObject = {}) => ({
  topologySpreadConstraints: [
    { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', labelSelector: web, ...further },
  ],
})
const webPod = (name: string) => pod(name).label('app', 'web')
const abc = [
  node('a').label('zone', 'a').object(),
  node('b').label('zone', 'b').object(),
  node('c').label('zone', 'c').taint('gpu', 'NoSchedule').object(),
]
const placed = [webPod('q').on('a').object(), webPod('r').on('b').object()]

const refusals = (
  waiting: PodObject,
  nodes: readonly NodeObject[] = abc,
  there: readonly PodObject[] = placed,
): (string | undefined)[] => {
  const cluster = clusterOf({ nodes, placed: there })
  const prepared = podTopologySpread.prepare(cluster.readPod(waiting), cluster)
  return nodes.map(({ metadata }) => answerOf(prepared, cluster.indexOf(metadata?.name ?? ''))?.reasons[0])
}

describe('topology spread', () => {
  test('a pod goes where fewest of its own are, as far as the skew asks for it', () => {
    assert.deepEqual(refusals(webPod('p').spec(spread()).object()), [REASON_SPREAD, REASON_SPREAD, undefined])
    assert.deepEqual(
      refusals(
        webPod('p')
          .spec(spread({ maxSkew: 2 }))
          .object(),
      ),
      [undefined, undefined, undefined],
    )
  })

  test('a pod that is not one of those counted adds nothing', () => {
    assert.deepEqual(refusals(pod('p').spec(spread()).object()), [undefined, undefined, undefined])
  })

  test('a node without the label is no place for it, and no eviction helps there', () => {
    assert.deepEqual(
      refusals(webPod('p').spec(spread()).object(), [...abc, node('bare').object()])[3],
      REASON_MISSING_LABEL,
    )
  })

  test('zones in which no node would take the pod do not count, where the constraint says so', () => {
    assert.deepEqual(
      refusals(
        webPod('p')
          .spec(spread({ nodeTaintsPolicy: 'Honor' }))
          .object(),
      ),
      [undefined, undefined, undefined],
    )
    const narrowed = (nodeAffinityPolicy: string) =>
      refusals(
        webPod('p')
          .spec(spread({ nodeAffinityPolicy }))
          .requiresNode({ matchExpressions: [{ key: 'zone', operator: 'In', values: ['a', 'b'] }] })
          .object(),
      )
    assert.deepEqual(narrowed('Honor'), [undefined, undefined, undefined])
    assert.deepEqual(narrowed('Ignore'), [REASON_SPREAD, REASON_SPREAD, undefined])
  })

  test('nodes that lack the label of any of its constraints do not count, nor do their pods', () => {
    const racked = [node('a').label('zone', 'a').label('rack', 'r').object(), node('b').label('zone', 'a').object()]
    const both = {
      topologySpreadConstraints: [
        ...spread().topologySpreadConstraints,
        { maxSkew: 5, topologyKey: 'rack', whenUnsatisfiable: 'DoNotSchedule', labelSelector: web },
      ],
    }
    const there = [webPod('q').on('b').object(), webPod('r').on('b').object()]
    const needingTwoZones = { ...spread({ minDomains: 2 }) }
    assert.deepEqual(refusals(webPod('p').spec(needingTwoZones).object(), racked, there), [
      REASON_SPREAD,
      REASON_SPREAD,
    ])
    assert.deepEqual(refusals(webPod('p').spec(both).object(), racked, there), [undefined, REASON_MISSING_LABEL])
    both.topologySpreadConstraints = both.topologySpreadConstraints.map((one) => ({ ...one, minDomains: 2 }))
    assert.deepEqual(refusals(webPod('p').spec(both).object(), racked, there), [undefined, REASON_MISSING_LABEL])
  })

  test('with fewer zones than asked for, the least is none', () => {
    const everywhere = [...placed, webPod('s').on('c').object()]
    assert.deepEqual(
      refusals(
        webPod('p')
          .spec(spread({ minDomains: 3 }))
          .object(),
        abc,
        everywhere,
      ),
      [undefined, undefined, undefined],
    )
    assert.deepEqual(
      refusals(
        webPod('p')
          .spec(spread({ minDomains: 4 }))
          .object(),
        abc,
        everywhere,
      ),
      Array(3).fill(REASON_SPREAD),
    )
  })

  test('pods that are being deleted and pods of other namespaces do not count', () => {
    const going = webPod('q').on('a').object()
    if (going.metadata !== undefined) going.metadata.deletionTimestamp = '2026-01-01T00:00:00Z'
    const elsewhere = webPod('r').namespace('other').on('b').object()
    assert.deepEqual(refusals(webPod('p').spec(spread()).object(), abc, [going, elsewhere]), [
      undefined,
      undefined,
      undefined,
    ])
  })

  test('an empty selector counts nobody', () => {
    assert.deepEqual(
      refusals(
        webPod('p')
          .spec(spread({ labelSelector: {} }))
          .object(),
      ),
      [undefined, undefined, undefined],
    )
  })

  test('labels taken over from the pod set revisions of a template apart', () => {
    const ofRevision = (revision: string) =>
      webPod('p')
        .label('revision', revision)
        .spec(spread({ matchLabelKeys: ['revision', 'absent'] }))
        .object()
    const there = [webPod('q').label('revision', '1').on('a').object()]
    assert.deepEqual(refusals(ofRevision('1'), abc, there), [REASON_SPREAD, undefined, undefined])
    assert.deepEqual(refusals(ofRevision('2'), abc, there), [undefined, undefined, undefined])
  })
})

describe('what wakes a pod that PodTopologySpread refused', () => {
  const cluster = clusterOf({ nodes: abc, placed: [] })
  const read = (built: ReturnType<typeof pod>) => cluster.readPod(built.object())
  const waiting = read(webPod('p').spec(spread()))
  const careful = read(webPod('p').spec(spread({ nodeTaintsPolicy: 'Honor' })))
  const own = read(webPod('q').on('a'))
  const other = read(pod('q').label('app', 'db').on('a'))
  const foreign = read(webPod('q').namespace('other').on('a'))
  const [a, b, c] = abc.map((object) => cluster.readNode(object))
  const bare = cluster.readNode(node('a').object())
  const tainted = cluster.readNode(node('a').label('zone', 'a').taint('gpu', 'NoSchedule').object())
  assert.ok(a !== undefined && b !== undefined && c !== undefined)
  for (const [sentence, one, event, wakes] of [
    ['one of its own that comes', waiting, { kind: 'PodAdd', pod: own }, true],
    ['one of its own that goes', waiting, { kind: 'PodDelete', pod: own }, true],
    ['not another pod', waiting, { kind: 'PodDelete', pod: other }, false],
    ['not the like in another namespace', waiting, { kind: 'PodDelete', pod: foreign }, false],
    ['a pod that becomes one of its own', waiting, { kind: 'PodLabel', before: other, pod: own }, true],
    ['not other labels', waiting, { kind: 'PodLabel', before: own, pod: own }, false],
    ['its own labels, if it is counted no more', waiting, { kind: 'SelfLabel', before: own, pod: other }, true],
    ['its own tolerations, if taints matter', careful, { kind: 'SelfToleration', before: own, pod: own }, true],
    ['not its tolerations, if they do not', waiting, { kind: 'SelfToleration', before: own, pod: own }, false],
    ['a node with the label', waiting, { kind: 'NodeAdd', node: a, index: 0 }, true],
    ['not a node without', waiting, { kind: 'NodeAdd', node: bare, index: 0 }, false],
    ['a node with the label that goes', waiting, { kind: 'NodeDelete', node: a }, true],
    ['a node that loses the label', waiting, { kind: 'NodeLabel', before: a, node: bare, index: 0 }, true],
    ['a node that moves to another zone', waiting, { kind: 'NodeLabel', before: a, node: b, index: 0 }, true],
    ['a node whose taints change', waiting, { kind: 'NodeTaint', before: a, node: tainted, index: 0 }, true],
    [
      'not the taints of a node without the label',
      waiting,
      { kind: 'NodeTaint', before: bare, node: bare, index: 0 },
      false,
    ],
  ] as const)
    test(sentence, () => {
      assert.equal(podTopologySpread.couldHelp(one, event, cluster), wakes)
    })
})
