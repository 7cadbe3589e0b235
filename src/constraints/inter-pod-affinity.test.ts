import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import type { NodeObject, PodAffinityTermObject, PodObject } from '../cluster/objects.ts'
import type { Refusal } from './constraint.ts'
import { answerOf, clusterOf, constraintContract } from './contract.ts'
import type { Situation } from './generated.fixture.ts'
import {
  InterPodAffinity,
  interPodAffinity,
  REASON_EXISTING_ANTI_AFFINITY,
  REASON_POD_AFFINITY,
  REASON_POD_ANTI_AFFINITY,
} from './inter-pod-affinity.ts'
import { neighbours, nodeUnder, speaksOf, valueOn } from './neighbours.fixture.ts'

const termsOf = (object: PodObject, of: 'podAffinity' | 'podAntiAffinity'): readonly PodAffinityTermObject[] =>
  object.spec?.affinity?.[of]?.requiredDuringSchedulingIgnoredDuringExecution ?? []

/** The rule as the documentation reads, for every pair of pods and every node. */
const literally = (
  waiting: PodObject,
  candidate: NodeObject,
  _placed: readonly PodObject[],
  { namespaces = [], nodes, placed }: Situation,
): Refusal | undefined => {
  const together = (other: PodObject, key = ''): boolean => {
    const value = valueOn(nodeUnder(other, nodes), key)
    return value !== undefined && value === valueOn(candidate, key)
  }
  const near = termsOf(waiting, 'podAffinity')
  const wanted = placed.filter((other) => near.every((term) => speaksOf(term, waiting, other, namespaces)))
  const first =
    wanted.every((other) =>
      near.every(({ topologyKey }) => valueOn(nodeUnder(other, nodes), topologyKey) === undefined),
    ) && near.every((term) => speaksOf(term, waiting, waiting, namespaces))
  const isNear = near.every(
    ({ topologyKey }) =>
      valueOn(candidate, topologyKey) !== undefined && (first || wanted.some((other) => together(other, topologyKey))),
  )
  if (!isNear) return { reasons: [REASON_POD_AFFINITY], preemptionCouldHelp: false }
  const tooNear = termsOf(waiting, 'podAntiAffinity').some((term) =>
    placed.some((other) => speaksOf(term, waiting, other, namespaces) && together(other, term.topologyKey)),
  )
  if (tooNear) return { reasons: [REASON_POD_ANTI_AFFINITY], preemptionCouldHelp: true }
  const unwanted = placed.some((other) =>
    termsOf(other, 'podAntiAffinity').some(
      (term) => speaksOf(term, other, waiting, namespaces) && together(other, term.topologyKey),
    ),
  )
  return unwanted ? { reasons: [REASON_EXISTING_ANTI_AFFINITY], preemptionCouldHelp: true } : undefined
}

constraintContract({
  title: InterPodAffinity,
  name: InterPodAffinity,
  create: () => interPodAffinity,
  isReason: (reason) => [REASON_POD_AFFINITY, REASON_POD_ANTI_AFFINITY, REASON_EXISTING_ANTI_AFFINITY].includes(reason),
  literally,
  situations: neighbours,
})

const web = { matchLabels: { app: 'web' } }
const near = (...terms: PodAffinityTermObject[]) => ({
  affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } },
})
const away = (...terms: PodAffinityTermObject[]) => ({
  affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } },
})
const inZones = (...zones: string[]) => zones.map((zone, i) => node(`n${i}`).label('zone', zone).object())

const refusals = (waiting: PodObject, nodes: readonly NodeObject[], ...placed: PodObject[]): (string | undefined)[] => {
  const cluster = clusterOf({
    namespaces: [
      { metadata: { name: 'default', labels: { team: 'a' } } },
      { metadata: { name: 'other', labels: { team: 'b' } } },
    ],
    nodes,
    placed,
  })
  const prepared = interPodAffinity.prepare(cluster.readPod(waiting), cluster)
  return nodes.map(({ metadata }) => answerOf(prepared, cluster.indexOf(metadata?.name ?? ''))?.reasons[0])
}

describe('pod affinity', () => {
  const zonal = near({ topologyKey: 'zone', labelSelector: web })

  test('a pod goes into the zones where the pods that it wants are', () => {
    const there = pod('q').label('app', 'web').on('n0').object()
    assert.deepEqual(refusals(pod('p').spec(zonal).object(), inZones('a', 'a', 'b'), there), [
      undefined,
      undefined,
      REASON_POD_AFFINITY,
    ])
  })

  test('the first of its kind may go anywhere that has the label', () => {
    const nodes = [...inZones('a', 'b'), node('bare').object()]
    assert.deepEqual(refusals(pod('p').label('app', 'web').spec(zonal).object(), nodes), [
      undefined,
      undefined,
      REASON_POD_AFFINITY,
    ])
    assert.deepEqual(refusals(pod('p').spec(zonal).object(), nodes), Array(3).fill(REASON_POD_AFFINITY))
  })

  test('a pod that matches one term and another that matches the other do not do', () => {
    const both = near(
      { topologyKey: 'zone', labelSelector: web },
      { topologyKey: 'zone', labelSelector: { matchLabels: { tier: 'front' } } },
    )
    const placed = [pod('q').label('app', 'web').on('n0').object(), pod('r').label('tier', 'front').on('n0').object()]
    assert.deepEqual(refusals(pod('p').spec(both).object(), inZones('a'), ...placed), [REASON_POD_AFFINITY])
  })

  test('pods of other namespaces count where the term names them or selects them by their labels', () => {
    const there = pod('q').namespace('other').label('app', 'web').on('n0').object()
    const asks = (further: object) =>
      refusals(
        pod('p')
          .spec(near({ topologyKey: 'zone', labelSelector: web, ...further }))
          .object(),
        inZones('a'),
        there,
      )[0]
    assert.equal(asks({}), REASON_POD_AFFINITY)
    assert.equal(asks({ namespaces: ['other'] }), undefined)
    assert.equal(asks({ namespaceSelector: { matchLabels: { team: 'b' } } }), undefined)
    assert.equal(asks({ namespaceSelector: { matchLabels: { team: 'a' } } }), REASON_POD_AFFINITY)
    assert.equal(asks({ namespaceSelector: {} }), undefined)
  })

  test('pods that are being deleted still count', () => {
    const there = pod('q').label('app', 'web').on('n0').object()
    if (there.metadata !== undefined) there.metadata.deletionTimestamp = '2026-01-01T00:00:00Z'
    assert.deepEqual(refusals(pod('p').spec(zonal).object(), inZones('a'), there), [undefined])
  })
})

describe('pod anti-affinity', () => {
  test('a pod stays away from the pods that it does not want, and from those that do not want it', () => {
    const one = pod('q')
      .label('app', 'web')
      .spec(away({ topologyKey: 'zone', labelSelector: { matchLabels: { app: 'db' } } }))
      .on('n0')
    const nodes = [...inZones('a', 'a', 'b'), node('bare').object()]
    assert.deepEqual(refusals(pod('p').label('app', 'db').object(), nodes, one.object()), [
      REASON_EXISTING_ANTI_AFFINITY,
      REASON_EXISTING_ANTI_AFFINITY,
      undefined,
      undefined,
    ])
    const mutual = pod('p')
      .label('app', 'db')
      .spec(away({ topologyKey: 'kubernetes.io/hostname', labelSelector: web }))
    assert.deepEqual(refusals(mutual.object(), nodes, one.object()), [
      REASON_POD_ANTI_AFFINITY,
      REASON_EXISTING_ANTI_AFFINITY,
      undefined,
      undefined,
    ])
  })

  test('labels taken over from the pod set revisions of a template apart', () => {
    const ofRevision = (name: string, revision: string) =>
      pod(name)
        .label('app', 'web')
        .label('revision', revision)
        .spec(away({ topologyKey: 'zone', labelSelector: web, matchLabelKeys: ['revision'] }))
    const placed = ofRevision('q', '1').on('n0').object()
    assert.deepEqual(refusals(ofRevision('p', '1').object(), inZones('a'), placed), [REASON_POD_ANTI_AFFINITY])
    assert.deepEqual(refusals(ofRevision('p', '2').object(), inZones('a'), placed), [undefined])
    const othersOnly = pod('p')
      .label('revision', '1')
      .spec(away({ topologyKey: 'zone', labelSelector: web, mismatchLabelKeys: ['revision'] }))
    assert.deepEqual(
      refusals(othersOnly.object(), inZones('a'), ofRevision('q', '1').spec({ affinity: {} }).on('n0').object()),
      [undefined],
    )
    assert.deepEqual(
      refusals(othersOnly.object(), inZones('a'), ofRevision('q', '2').spec({ affinity: {} }).on('n0').object()),
      [REASON_POD_ANTI_AFFINITY],
    )
  })
})

describe('what wakes a pod that InterPodAffinity refused', () => {
  const cluster = clusterOf({ nodes: inZones('a'), placed: [] })
  const read = (built: ReturnType<typeof pod>) => cluster.readPod(built.object())
  const wants = read(pod('p').spec(near({ topologyKey: 'zone', labelSelector: web })))
  const avoids = read(pod('p').spec(away({ topologyKey: 'zone', labelSelector: web })))
  const keptOut = read(pod('p').label('app', 'db'))
  const webPod = read(pod('q').label('app', 'web').on('n0'))
  const dbPod = read(pod('q').label('app', 'db').on('n0'))
  const hater = read(
    pod('q')
      .spec(away({ topologyKey: 'zone', labelSelector: { matchLabels: { app: 'db' } } }))
      .on('n0'),
  )
  const added = (object: NodeObject) => ({ kind: 'NodeAdd' as const, node: cluster.readNode(object), index: 0 })
  const relabelled = (before: NodeObject, after: NodeObject) => ({
    kind: 'NodeLabel' as const,
    before: cluster.readNode(before),
    node: cluster.readNode(after),
    index: 0,
  })
  const [a, b] = inZones('a', 'b')
  const bare = node('n').object()
  assert.ok(a !== undefined && b !== undefined)
  for (const [sentence, waiting, event, wakes] of [
    ['a pod that it wants', wants, { kind: 'PodAdd', pod: webPod }, true],
    ['not another pod', wants, { kind: 'PodAdd', pod: dbPod }, false],
    ['the departure of a pod that it does not want', avoids, { kind: 'PodDelete', pod: webPod }, true],
    ['not the departure of another', avoids, { kind: 'PodDelete', pod: dbPod }, false],
    ['the departure of a pod that did not want it', keptOut, { kind: 'PodDelete', pod: hater }, true],
    ['a pod that becomes one that it wants', wants, { kind: 'PodLabel', before: dbPod, pod: webPod }, true],
    ['not a pod that ceases to be one', wants, { kind: 'PodLabel', before: webPod, pod: dbPod }, false],
    ['a pod that ceases to be one that it avoids', avoids, { kind: 'PodLabel', before: webPod, pod: dbPod }, true],
    ['its own labels', wants, { kind: 'SelfLabel', before: wants, pod: wants }, true],
    ['a node with the label of its affinity', wants, added(a), true],
    ['not a node without', wants, added(bare), false],
    ['any new node, if it avoids others', avoids, added(bare), true],
    ['no new node, if only others avoid it', keptOut, added(a), false],
    ['a node that gains the label of its affinity', wants, relabelled(bare, a), true],
    ['not a node that loses it', wants, relabelled(a, bare), false],
    ['a node that loses the label of its anti-affinity', avoids, relabelled(a, bare), true],
    ['a node that moves to another zone', avoids, relabelled(a, b), true],
  ] as const)
    test(sentence, () => {
      assert.equal(interPodAffinity.couldHelp(waiting, event, cluster), wakes)
    })
})
