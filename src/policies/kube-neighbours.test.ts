import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../../test/builders.ts'
import type {
  NodeObject,
  PodAffinityTermObject,
  PodObject,
  TopologySpreadConstraintObject,
} from '../cluster/objects.ts'
import type { ClusterState } from '../cluster/state.ts'
import { clusterWith, contextOf, rank } from './contract.ts'
import { createPolicy } from './registry.ts'

const HOSTNAME = 'kubernetes.io/hostname'
const ZONE = 'topology.kubernetes.io/zone'

/** Values of one term by candidate; undefined where the policy leaves it out. */
const termOf = async (
  name: string,
  object: PodObject,
  cluster: ClusterState,
  candidates: readonly string[],
): Promise<readonly number[] | undefined> => {
  const nodes = Int32Array.from(candidates, (one) => cluster.indexOf(one))
  const { terms } = await rank(
    createPolicy('kube-default'),
    cluster.readPod(object),
    { nodes, count: nodes.length },
    contextOf(cluster),
  )
  return terms.find((one) => one.name === name)?.values
}

const web = { matchLabels: { app: 'web' } }
const webPods = (on: string, count: number): PodObject[] =>
  Array.from({ length: count }, (_, i) => pod(`${on}-web${i}`).label('app', 'web').on(on).object())
const anyway = (further: TopologySpreadConstraintObject = {}) => ({
  topologySpreadConstraints: [
    { maxSkew: 1, topologyKey: ZONE, whenUnsatisfiable: 'ScheduleAnyway', labelSelector: web, ...further },
  ],
})
const zoned = (name: string, zone: string) => node(name).label(ZONE, zone)

describe('PodTopologySpread scores', () => {
  const nodes = [zoned('a1', 'a'), zoned('a2', 'a'), zoned('b1', 'b'), node('bare')].map((one) => one.object())
  const names = ['a1', 'a2', 'b1', 'bare']
  const placed = [...webPods('a1', 3), ...webPods('b1', 1)]
  const waiting = (built = pod('p').label('app', 'web')) => built

  test('zones with fewer of the pod count more, by kube-scheduler’s weights; nodes without a zone count nothing', async () => {
    // Two zones: weight ln(4) = 1.386. a: 3 * 1.386 = 4.16 -> 4; b: 1.386 -> 1. 100 * (4 + 1 - 4) / 4 = 25; 100 * 4 / 4 = 100.
    const cluster = clusterWith(nodes, placed)
    assert.deepEqual(
      await termOf('PodTopologySpread', waiting().spec(anyway()).object(), cluster, names),
      [25, 25, 100, 0],
    )
  })

  test('a larger skew makes the difference smaller', async () => {
    // 4.16 + 4 -> 8; 1.386 + 4 -> 5. 100 * (13 - 8) / 8 = 62; 100.
    const cluster = clusterWith(nodes, placed)
    assert.deepEqual(
      await termOf(
        'PodTopologySpread',
        waiting()
          .spec(anyway({ maxSkew: 5 }))
          .object(),
        cluster,
        names,
      ),
      [62, 62, 100, 0],
    )
  })

  test('only zones with a candidate weigh, and each node counts for itself by hostname', async () => {
    const cluster = clusterWith(nodes, placed)
    // One zone among the candidates: both the same.
    assert.deepEqual(
      await termOf('PodTopologySpread', waiting().spec(anyway()).object(), cluster, ['a1', 'a2']),
      [100, 100],
    )
    // Four nodes: weight ln(6) = 1.79. 3 * 1.79 -> 5; 0; 1.79 -> 2; 0. 100 * (5 - raw) / 5.
    assert.deepEqual(
      await termOf(
        'PodTopologySpread',
        waiting()
          .spec(anyway({ topologyKey: HOSTNAME }))
          .object(),
        cluster,
        names,
      ),
      [0, 100, 60, 100],
    )
  })

  test('where nobody is yet, all are as good as each other', async () => {
    const cluster = clusterWith(nodes)
    assert.deepEqual(
      await termOf('PodTopologySpread', waiting().spec(anyway()).object(), cluster, names),
      [100, 100, 100, 0],
    )
  })

  test('a pod without constraints is spread with the others of its Service, else it is not scored', async () => {
    const cluster = clusterWith(nodes, placed)
    assert.equal(await termOf('PodTopologySpread', waiting().object(), cluster, names), undefined)
    cluster.defaultSelectors.apply('Service', {
      metadata: { namespace: 'default', name: 'web' },
      spec: { selector: { app: 'web' } },
    })
    // By hostname, skew 3, ln(6): 3 * 1.79 + 2, 2, 1.79 + 2, 2. By zone, skew 5: three domains ('a', 'b' and none), ln(5) = 1.61:
    // 3 * 1.61 + 4 in a, 1.61 + 4 in b, nothing without. Sums 16.2, 10.83, 9.4, 2 -> 16, 11, 9, 2; 100 * (18 - raw) / 16.
    assert.deepEqual(await termOf('PodTopologySpread', waiting().object(), cluster, names), [12, 43, 56, 100])
    cluster.defaultSelectors.remove('Service', 'default', 'web')
    assert.equal(await termOf('PodTopologySpread', waiting().object(), cluster, names), undefined)
  })

  test('... or of its ReplicaSet, StatefulSet or ReplicationController, but of no other controller', async () => {
    const owned = (kind: string, apiVersion: string) => {
      const object = waiting().object()
      if (object.metadata !== undefined)
        object.metadata.ownerReferences = [{ apiVersion, kind, name: 'web', uid: 'u', controller: true }]
      return object
    }
    const cluster = clusterWith(nodes, placed)
    const metadata = { namespace: 'default', name: 'web' }
    cluster.defaultSelectors.apply('ReplicaSet', { metadata, spec: { selector: web } })
    cluster.defaultSelectors.apply('StatefulSet', { metadata, spec: { selector: web } })
    cluster.defaultSelectors.apply('ReplicationController', { metadata, spec: { selector: { app: 'web' } } })
    for (const [kind, apiVersion] of [
      ['ReplicaSet', 'apps/v1'],
      ['StatefulSet', 'apps/v1'],
      ['ReplicationController', 'v1'],
    ] as const)
      assert.deepEqual(
        await termOf('PodTopologySpread', owned(kind, apiVersion), cluster, names),
        [12, 43, 56, 100],
        kind,
      )
    assert.equal(await termOf('PodTopologySpread', owned('Job', 'batch/v1'), cluster, names), undefined)
    assert.equal(await termOf('PodTopologySpread', owned('ReplicaSet', 'example.com/v1'), cluster, names), undefined)
  })

  test('where a ReplicationController and a Service name other values of a label, that of the controller counts', async () => {
    const cluster = clusterWith(nodes, [...placed, pod('other').label('app', 'other').on('a1').object()])
    const metadata = { namespace: 'default', name: 'web' }
    const owned = waiting().object()
    if (owned.metadata !== undefined)
      owned.metadata.ownerReferences = [
        { apiVersion: 'v1', kind: 'ReplicationController', name: 'web', uid: 'u', controller: true },
      ]
    cluster.defaultSelectors.apply('ReplicationController', { metadata, spec: { selector: { app: 'other' } } })
    const alone = await termOf('PodTopologySpread', owned, cluster, names)
    cluster.defaultSelectors.apply('Service', { metadata, spec: { selector: { app: 'web' } } })
    assert.deepEqual(await termOf('PodTopologySpread', owned, cluster, names), alone)
    assert.ok((alone?.[0] ?? 0) < (alone?.[2] ?? 0), 'the pod on a1 is counted')
  })
})

describe('InterPodAffinity scores', () => {
  const nodes = [zoned('a1', 'a'), zoned('a2', 'a'), zoned('b1', 'b'), node('bare')].map((one) => one.object())
  const names = ['a1', 'a2', 'b1', 'bare']
  const preferring = (
    of: 'podAffinity' | 'podAntiAffinity',
    weight: number,
    podAffinityTerm: PodAffinityTermObject,
  ) => ({
    affinity: { [of]: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight, podAffinityTerm }] } },
  })
  const byZone = { topologyKey: ZONE, labelSelector: web }

  test('each pod that is preferred counts by the weight, in its zone; the best is 100, the worst 0', async () => {
    // a: 2 * 10, b: 10, bare: 0
    const cluster = clusterWith(nodes, [...webPods('a1', 2), ...webPods('b1', 1)])
    const near = pod('p')
      .spec(preferring('podAffinity', 10, byZone))
      .object()
    assert.deepEqual(await termOf('InterPodAffinity', near, cluster, names), [100, 100, 50, 0])
    const away = pod('p')
      .spec(preferring('podAntiAffinity', 10, byZone))
      .object()
    assert.deepEqual(await termOf('InterPodAffinity', away, cluster, names), [0, 0, 50, 100])
  })

  test('what placed pods would rather have counts as well, and what they require counts 1', async () => {
    const cluster = clusterWith(nodes, [
      pod('q')
        .spec(preferring('podAffinity', 3, byZone))
        .on('a1')
        .object(),
      pod('r')
        .spec({ affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [byZone] } } })
        .on('b1')
        .object(),
    ])
    // a: 3, b: 1, bare: 0
    const one = pod('p').label('app', 'web').object()
    assert.deepEqual(await termOf('InterPodAffinity', one, cluster, names), [100, 100, 33, 0])
    assert.equal(await termOf('InterPodAffinity', pod('p').object(), cluster, names), undefined, 'nobody minds it')
  })
})

// Both once more, as documented, counting every pod anew.

const termParts = fc.record({
  key: fc.constantFrom(ZONE, HOSTNAME, 'rack'),
  app: fc.constantFrom('web', 'db'),
  namespaces: fc.constantFrom<(string[] | undefined)[]>(undefined, ['default', 'other']),
})
type TermParts = typeof termParts extends fc.Arbitrary<infer T> ? T : never
const podParts = fc.record({
  namespace: fc.constantFrom('default', 'default', 'other'),
  app: fc.constantFrom(undefined, 'web', 'web', 'db'),
  near: fc.array(fc.tuple(fc.constantFrom(1, 30, 100), termParts), { maxLength: 2 }),
  away: fc.array(fc.tuple(fc.constantFrom(1, 30, 100), termParts), { maxLength: 2 }),
  must: fc.array(termParts, { maxLength: 1 }),
  spread: fc.uniqueArray(
    fc.record({
      key: fc.constantFrom(ZONE, HOSTNAME, 'rack'),
      app: fc.constantFrom('web', 'db'),
      maxSkew: fc.constantFrom(1, 2, 5),
      taints: fc.boolean(),
    }),
    { maxLength: 2, selector: ({ key }) => key },
  ),
  deleting: fc.boolean(),
})
type PodParts = typeof podParts extends fc.Arbitrary<infer T> ? T : never

const term = ({ app, key, namespaces }: TermParts): PodAffinityTermObject => ({
  topologyKey: key,
  labelSelector: { matchLabels: { app } },
  ...(namespaces === undefined ? {} : { namespaces }),
})

const objectOf = (name: string, parts: PodParts, on?: string): PodObject => {
  const weighted = (terms: PodParts['near']) => terms.map(([weight, one]) => ({ weight, podAffinityTerm: term(one) }))
  const built = pod(name)
    .namespace(parts.namespace)
    .spec({
      affinity: {
        podAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: on === undefined ? [] : parts.must.map(term),
          preferredDuringSchedulingIgnoredDuringExecution: weighted(parts.near),
        },
        podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: weighted(parts.away) },
      },
      topologySpreadConstraints: parts.spread.map(({ app, key, maxSkew, taints }) => ({
        topologyKey: key,
        maxSkew,
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: { matchLabels: { app } },
        nodeTaintsPolicy: taints ? 'Honor' : 'Ignore',
      })),
    })
  if (parts.app !== undefined) built.label('app', parts.app)
  if (on !== undefined) built.on(on)
  const object = built.object()
  if (parts.deleting && on !== undefined && object.metadata !== undefined)
    object.metadata.deletionTimestamp = '2026-01-01T00:00:00Z'
  return object
}

const worlds = fc.record({
  nodes: fc.array(
    fc.record({
      zone: fc.constantFrom(undefined, 'a', 'b', 'c'),
      rack: fc.constantFrom(undefined, 'r', 's'),
      tainted: fc.boolean(),
    }),
    { minLength: 1, maxLength: 6, size: 'max' },
  ),
  placed: fc.array(fc.tuple(fc.nat(5), podParts), { maxLength: 14, size: 'max' }),
  waiting: podParts,
  selected: fc.boolean(),
  candidates: fc.subarray([0, 1, 2, 3, 4, 5], { minLength: 1 }),
})

const valueOn = (one: NodeObject, key: string): string | undefined => one.metadata?.labels?.[key]

interface World {
  readonly nodes: readonly NodeObject[]
  readonly candidates: readonly NodeObject[]
  readonly placed: readonly { readonly parts: PodParts; readonly on: NodeObject }[]
  readonly waiting: PodParts
  /** a Service selects the pods with `app: web` of the default namespace */
  readonly selected: boolean
}

const spreadScores = ({ candidates, nodes, placed, selected, waiting }: World): number[] | undefined => {
  const byService = waiting.spread.length === 0
  if (byService && !(selected && waiting.app === 'web' && waiting.namespace === 'default')) return undefined
  const constraints = byService
    ? [
        { key: HOSTNAME, app: 'web', maxSkew: 3, taints: false },
        { key: ZONE, app: 'web', maxSkew: 5, taints: false },
      ]
    : waiting.spread
  const complete = (one: NodeObject) => byService || constraints.every(({ key }) => valueOn(one, key) !== undefined)
  const scored = candidates.filter(complete)
  const raws = candidates.map((candidate) => {
    if (!complete(candidate)) return undefined
    let sum = 0
    for (const { app, key, maxSkew, taints } of constraints) {
      const value = valueOn(candidate, key)
      if (value === undefined) continue
      const domains = key === HOSTNAME ? scored.length : new Set(scored.map((one) => valueOn(one, key))).size
      const there = (one: NodeObject): boolean =>
        key === HOSTNAME
          ? one === candidate
          : valueOn(one, key) === value && complete(one) && !(taints && one.spec?.taints !== undefined)
      const matching = nodes
        .filter(there)
        .flatMap((one) => placed.filter(({ on }) => on === one))
        .filter(({ parts }) => parts.app === app && parts.namespace === waiting.namespace && !parts.deleting)
      sum += matching.length * Math.log(domains + 2) + (maxSkew - 1)
    }
    return BigInt(Math.floor(sum + 0.5))
  })
  const known = raws.filter((raw) => raw !== undefined)
  const max = known.reduce((a, b) => (a > b ? a : b), 0n)
  const min = known.reduce((a, b) => (a < b ? a : b), max)
  return raws.map((raw) => (raw === undefined ? 0 : max === 0n ? 100 : Number((100n * (max + min - raw)) / max)))
}

const affinityScores = ({ candidates, placed, waiting }: World): number[] | undefined => {
  const matches = ({ app, namespaces }: TermParts, owner: PodParts, other: PodParts): boolean =>
    other.app === app && (namespaces ?? [owner.namespace]).includes(other.namespace)
  /** what each pair of label and value is worth */
  const worth = new Map<string, bigint>()
  const add = (on: NodeObject, { key }: TermParts, weight: number): void => {
    const value = valueOn(on, key)
    if (value !== undefined) worth.set(`${key}=${value}`, (worth.get(`${key}=${value}`) ?? 0n) + BigInt(weight))
  }
  for (const { on, parts } of placed) {
    for (const [weight, one] of waiting.near) if (matches(one, waiting, parts)) add(on, one, weight)
    for (const [weight, one] of waiting.away) if (matches(one, waiting, parts)) add(on, one, -weight)
    for (const one of parts.must) if (matches(one, parts, waiting)) add(on, one, 1)
    for (const [weight, one] of parts.near) if (matches(one, parts, waiting)) add(on, one, weight)
    for (const [weight, one] of parts.away) if (matches(one, parts, waiting)) add(on, one, -weight)
  }
  if (worth.size === 0) return undefined
  const sums = candidates.map(({ metadata }) =>
    Object.entries(metadata?.labels ?? {}).reduce(
      (sum, [key, value]) => sum + (worth.get(`${key}=${value}`) ?? 0n),
      0n,
    ),
  )
  const max = sums.reduce((a, b) => (a > b ? a : b))
  const min = sums.reduce((a, b) => (a < b ? a : b))
  return sums.map((sum) => (max > min ? Math.trunc(100 * (Number(sum - min) / Number(max - min))) : 0))
}

test('both scores equal a count of every pod anew, also after pods went and came back', async () => {
  let [spread, minded] = [0, 0]
  await fc.assert(
    fc.asyncProperty(worlds, async (drawn) => {
      const nodes = drawn.nodes.map(({ rack, tainted, zone }, i) => {
        const built = node(`n${i}`)
        if (zone !== undefined) built.label(ZONE, zone)
        if (rack !== undefined) built.label('rack', rack)
        if (tainted) built.taint('full', 'NoSchedule')
        return built.object()
      })
      const nodeAt = (at: number): NodeObject => nodes[at % nodes.length]!
      const placed = drawn.placed.map(([at, parts]) => ({ parts, on: nodeAt(at) }))
      const candidates = drawn.candidates.filter((at) => at < nodes.length).map(nodeAt)
      if (candidates.length === 0) candidates.push(nodeAt(0))
      const { selected, waiting } = drawn
      const world: World = { nodes, placed, candidates, waiting, selected }
      const cluster = clusterWith(
        nodes,
        placed.map(({ on, parts }, i) => objectOf(`placed${i}`, parts, on.metadata?.name)),
      )
      if (selected)
        cluster.defaultSelectors.apply('Service', {
          metadata: { namespace: 'default', name: 'web' },
          spec: { selector: { app: 'web' } },
        })
      const names = candidates.map(({ metadata }) => metadata?.name ?? '')
      const object = objectOf('waiting', waiting)
      for (let round = 0; round < 2; round++) {
        const expected = { spread: spreadScores(world), affinity: affinityScores(world) }
        assert.deepEqual(await termOf('PodTopologySpread', object, cluster, names), expected.spread)
        assert.deepEqual(await termOf('InterPodAffinity', object, cluster, names), expected.affinity)
        if (expected.spread !== undefined) spread++
        if (expected.affinity !== undefined) minded++
        const extra = cluster.readPod(objectOf('extra', { ...waiting, app: 'web' }, names[0]))
        cluster.applyPod(extra)
        await termOf('InterPodAffinity', object, cluster, names)
        cluster.removePod(extra.uid)
      }
    }),
    { numRuns: 300, seed: 20260101 },
  )
  assert.ok(spread > 200 && minded > 200, `${spread} and ${minded} worlds had something to score`)
})
