import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../../test/builders.ts'
import type { PodAffinityTermObject, PodObject, TopologySpreadConstraintObject } from './objects.ts'
import { defaultSpreadOf } from './pod-rules.ts'
import type { Pod } from './pod.ts'
import { ClusterState } from './state.ts'

const ZONE = 'topology.kubernetes.io/zone'

const term = fc
  .record({
    topologyKey: fc.constantFrom(ZONE, 'kubernetes.io/hostname', 'rack'),
    labelSelector: fc.constantFrom(
      undefined,
      {},
      { matchLabels: { app: 'web' } },
      { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] },
    ),
    namespaces: fc.constantFrom(undefined, ['default'], ['other', 'third']),
    namespaceSelector: fc.constantFrom(
      undefined,
      {},
      { matchLabels: { team: 'a' } },
      { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] },
    ),
    matchLabelKeys: fc.constantFrom(undefined, ['hash']),
  })
  .map((parts) => structuredClone(parts) as unknown as PodAffinityTermObject)

const spread = fc
  .record({
    topologyKey: fc.constantFrom(ZONE, 'kubernetes.io/hostname', 'rack'),
    maxSkew: fc.constant(1),
    whenUnsatisfiable: fc.constantFrom('DoNotSchedule', 'ScheduleAnyway'),
    labelSelector: fc.constantFrom(undefined, {}, { matchLabels: { app: 'web' } }),
    nodeAffinityPolicy: fc.constantFrom(undefined, 'Ignore'),
    nodeTaintsPolicy: fc.constantFrom(undefined, 'Honor'),
    matchLabelKeys: fc.constantFrom(undefined, ['hash']),
  })
  .map((parts) => structuredClone(parts) as unknown as TopologySpreadConstraintObject)

const podParts = fc.record({
  name: fc.nat(5).map((i) => `p${i}`),
  namespace: fc.constantFrom('default', 'other', 'third'),
  app: fc.constantFrom(undefined, 'web', 'db'),
  hash: fc.constantFrom(undefined, '1', '2'),
  near: fc.array(term, { maxLength: 2 }),
  away: fc.array(term, { maxLength: 2 }),
  rather: fc.array(term, { maxLength: 1 }),
  spread: fc.array(spread, { maxLength: 2 }),
  selector: fc.constantFrom(undefined, undefined, 'r0'),
  tolerant: fc.boolean(),
  deleting: fc.boolean(),
})

const object = (parts: typeof podParts extends fc.Arbitrary<infer T> ? T : never, on?: string): PodObject => {
  const built = pod(parts.name).namespace(parts.namespace)
  if (parts.app !== undefined) built.label('app', parts.app)
  if (parts.hash !== undefined) built.label('hash', parts.hash)
  if (parts.selector !== undefined) built.nodeSelector('rack', parts.selector)
  if (parts.tolerant) built.tolerates('full')
  built.spec({
    affinity: {
      podAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: parts.near,
        preferredDuringSchedulingIgnoredDuringExecution: parts.rather.map((podAffinityTerm) => ({
          weight: 3,
          podAffinityTerm,
        })),
      },
      podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: parts.away },
    },
    topologySpreadConstraints: parts.spread,
  })
  if (on !== undefined) built.on(on)
  const made = built.object()
  if (parts.deleting && on !== undefined && made.metadata !== undefined)
    made.metadata.deletionTimestamp = '2026-01-01T00:00:00Z'
  return made
}

const nodeNames = fc.constantFrom('n0', 'n1', 'n2')

const event = fc.oneof(
  fc.record({
    do: fc.constant('node' as const),
    name: nodeNames,
    zone: fc.constantFrom(undefined, 'a', 'b'),
    rack: fc.constantFrom(undefined, 'r0', 'r1', 'r2'),
    full: fc.boolean(),
  }),
  fc.record({ do: fc.constant('removeNode' as const), name: nodeNames }),
  fc.record({ do: fc.constant('bound' as const), on: nodeNames, pod: podParts }),
  fc.record({ do: fc.constant('bound' as const), on: nodeNames, pod: podParts }),
  fc.record({ do: fc.constant('gone' as const), pod: fc.nat(5) }),
  fc.record({ do: fc.constant('asked' as const), pod: podParts }),
  fc.record({
    do: fc.constant('namespace' as const),
    name: fc.constantFrom('default', 'other'),
    team: fc.constantFrom(undefined, 'a', 'b'),
    gone: fc.boolean(),
  }),
)

/** Has everything counted that the pod's rules look at, as constraints and scores do. */
const ask = (state: ClusterState, asked: PodObject): void => {
  const { topology } = state
  const read = state.readPod(asked)
  const { affineTo, affinity, antiAffinity, preferred, softSpread, spread: hard } = topology.rulesOf(read)
  for (const { division } of affinity) if (affineTo !== undefined) topology.counts(affineTo, division)
  const defaults = defaultSpreadOf(read, [{ key: 'app', operator: 'Exists', values: [] }])
  for (const { counted, division } of [
    ...antiAffinity,
    ...preferred,
    ...hard,
    ...(softSpread?.rules ?? []),
    ...defaults.rules,
  ])
    topology.counts(counted, division)
}

/** The pod's labels and namespace against every term of every placed pod. */
const termsOfPlacedAgainst = (state: ClusterState, pod: Pod): number => {
  const { nodeCount, order, topology } = state
  let terms = 0
  for (const index of order.subarray(0, nodeCount))
    for (const other of state.podsOn(index))
      for (const term of topology.rulesOf(other).antiAffinity)
        if (topology.selects(term, pod) && Object.hasOwn(state.node(index).labels, term.topologyKey)) terms++
  return terms
}

describe('counts by topology', () => {
  it('equal a recount after any sequence of events, whenever they were first asked for', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40, size: 'max' }), (events) => {
        const state = new ClusterState()
        for (const one of events) {
          if (one.do === 'node') {
            const built = node(one.name)
            if (one.zone !== undefined) built.label(ZONE, one.zone)
            if (one.rack !== undefined) built.label('rack', one.rack)
            if (one.full) built.taint('full', 'NoSchedule')
            state.applyNode(state.readNode(built.object()))
          } else if (one.do === 'removeNode') state.removeNode(one.name)
          else if (one.do === 'bound') state.applyPod(state.readPod(object(one.pod, one.on)))
          else if (one.do === 'gone') state.removePod(`uid-p${one.pod}`)
          else if (one.do === 'asked') ask(state, object(one.pod))
          else if (one.gone) state.removeNamespace(one.name)
          else
            state.applyNamespace({
              metadata: { name: one.name, ...(one.team === undefined ? {} : { labels: { team: one.team } }) },
            })
          assert.deepEqual(state.discrepancies().miscounted, [])
          for (const app of ['web', 'db'])
            for (const namespace of ['default', 'other']) {
              const waiting = state.readPod(pod('waiting').namespace(namespace).label('app', app).object())
              const owners = state.topology
                .termsAgainst(waiting)
                .flatMap((term) => [...term.owners.values()])
                .reduce((sum, pods) => sum + pods, 0)
              assert.equal(owners, termsOfPlacedAgainst(state, waiting))
            }
        }
      }),
      { seed: 11, numRuns: 150 },
    )
  })

  it('are what they were when something was only imagined', () => {
    const state = new ClusterState()
    state.applyNode(state.readNode(node('n').zone('a').object()))
    const web = (name: string) =>
      pod(name)
        .label('app', 'web')
        .spec({
          affinity: {
            podAntiAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: [
                { topologyKey: ZONE, labelSelector: { matchLabels: { app: 'web' } } },
              ],
            },
          },
        })
    const placed = state.readPod(web('a').on('n').object())
    state.applyPod(placed)
    ask(state, web('b').object())
    const waiting = state.readPod(web('b').object())
    const [rule] = state.topology.rulesOf(waiting).antiAffinity
    assert.ok(rule !== undefined)
    const there = () => state.topology.counts(rule.counted, rule.division).total
    state.imagine(state.indexOf('n'), (imagined) => {
      imagined.remove(placed)
      assert.equal(there(), 0)
      assert.deepEqual(
        state.topology.termsAgainst(waiting).filter(({ owners }) => owners.size > 0),
        [],
      )
    })
    assert.equal(there(), 1)
    assert.deepEqual(state.discrepancies().miscounted, [])
  })

  it('do not grow with the number of selectors that were ever asked for', () => {
    const state = new ClusterState()
    state.applyNode(state.readNode(node('n').zone('a').object()))
    const rules = (i: number) => {
      const [rule] = state.topology.rulesOf(
        state.readPod(
          pod(`p${i}`)
            .spec({
              topologySpreadConstraints: [
                {
                  maxSkew: 1,
                  topologyKey: `key${i}`,
                  whenUnsatisfiable: 'DoNotSchedule',
                  labelSelector: { matchLabels: { app: `a${i}` } },
                },
              ],
            })
            .object(),
        ),
      ).spread
      assert.ok(rule !== undefined)
      return rule
    }
    const first = rules(0)
    const counted = state.topology.counts(first.counted, first.division)
    for (let i = 1; i < 4000; i++) {
      const { counted: pods, division } = rules(i)
      state.topology.counts(pods, division)
    }
    assert.notEqual(state.topology.counts(first.counted, first.division), counted, 'it was dropped and counted anew')
    assert.deepEqual(state.discrepancies().miscounted, [])
  })
})
