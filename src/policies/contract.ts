import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../../test/builders.ts'
import { type Random, seededRandom } from '../clock/random.ts'
import type { NodeIndex } from '../cluster/node.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import type { Pod } from '../cluster/pod.ts'
import { ClusterState } from '../cluster/state.ts'
import type { ClusterView, UsageSource } from '../cluster/view.ts'
import type { Candidates, Policy, RankContext, Ranking } from './policy.ts'

export const clusterWith = (nodes: readonly NodeObject[], placed: readonly PodObject[] = []): ClusterState => {
  const cluster = new ClusterState()
  for (const one of nodes) cluster.applyNode(cluster.readNode(one))
  for (const one of placed) cluster.applyPod(cluster.readPod(one))
  return cluster
}

export const everyNode = (cluster: ClusterView): Candidates => ({
  nodes: cluster.order.slice(0, cluster.nodeCount),
  count: cluster.nodeCount,
})

export const contextOf = (cluster: ClusterView, random: Random = seededRandom(1)): RankContext => ({
  cluster,
  random,
  signal: new AbortController().signal,
})

/** A ranking, kept: policies write over their own. */
export interface Kept {
  readonly scores: readonly number[]
  readonly terms: readonly { readonly name: string; readonly weight: number; readonly values: readonly number[] }[]
  readonly source: string
  readonly usage: UsageSource | undefined
}

export const rank = async (policy: Policy, pod: Pod, candidates: Candidates, context: RankContext): Promise<Kept> => {
  const { scores, terms = [], source, usage }: Ranking = await policy.rank(pod, candidates, context)
  return {
    scores: [...scores],
    terms: terms.map((term) => ({
      name: term.name,
      weight: term.weight,
      values: Array.from(scores, (_, candidate) => term.valueAt(candidate)),
    })),
    source,
    usage,
  }
}

/** The name of the node that the scheduler would take: the first best. */
export const choiceOf = async (policy: Policy, object: PodObject, cluster: ClusterState): Promise<string> => {
  const candidates = everyNode(cluster)
  const { scores } = await rank(policy, cluster.readPod(object), candidates, contextOf(cluster))
  return cluster.node(candidates.nodes[scores.indexOf(Math.max(...scores))] ?? -1).name
}

// Clusters of all sorts, also of sorts that no constraint would leave as candidates.

const someNode = fc
  .record({
    cpu: fc.constantFrom('0', '1', '7500m', '64'),
    memory: fc.constantFrom('0', '1', '4Gi', '1Ti'),
    pods: fc.constantFrom(0, 1, 110),
    zone: fc.constantFrom('a', 'b'),
    soft: fc.nat(2),
    images: fc.subarray(['web:1', 'db:2', 'side:latest']),
    gpus: fc.constantFrom(0, 0, 1, 2, 9),
    model: fc.constantFrom('T4', 'A100'),
  })
  .map((parts) => (name: string): NodeObject => {
    const built = node(name).cpu(parts.cpu).memory(parts.memory).pods(parts.pods).zone(parts.zone)
    if (parts.gpus > 0)
      built.allocatable('stowage.dev/gpu-milli', String(parts.gpus * 1000)).label('nvidia.com/gpu.product', parts.model)
    for (let i = 0; i < parts.soft; i++) built.taint(`soft${i}`, 'PreferNoSchedule')
    for (const image of parts.images) built.image(700_000_000, image)
    return built.object()
  })

const somePod = fc
  .record({
    cpu: fc.constantFrom(undefined, '0', '1m', '500m', '48'),
    memory: fc.constantFrom(undefined, '0', '1', '3Gi'),
    image: fc.constantFrom(undefined, 'web:1', 'side', 'unknown:9'),
    zone: fc.constantFrom(undefined, 'a'),
    host: fc.constantFrom(undefined, 'n1'),
    tolerant: fc.boolean(),
    gpuMilli: fc.constantFrom(undefined, 1, 230, 500, 1000, 2000, 8000),
    model: fc.constantFrom(undefined, 'A100'),
  })
  .map((parts) => (name: string): PodObject => {
    const built = pod(name)
    if (parts.cpu !== undefined) built.cpu(parts.cpu)
    if (parts.memory !== undefined) built.memory(parts.memory)
    if (parts.image !== undefined) built.image(parts.image)
    if (parts.zone !== undefined)
      built.prefersNode(7, {
        matchExpressions: [{ key: 'topology.kubernetes.io/zone', operator: 'In', values: [parts.zone] }],
      })
    if (parts.host !== undefined)
      built.prefersNode(5, { matchFields: [{ key: 'metadata.name', operator: 'In', values: [parts.host] }] })
    if (parts.tolerant) built.tolerates('soft0')
    if (parts.gpuMilli !== undefined) built.request('stowage.dev/gpu-milli', String(parts.gpuMilli))
    if (parts.model !== undefined) built.nodeSelector('nvidia.com/gpu.product', parts.model)
    return built.object()
  })

const scene = fc
  .record({
    nodes: fc.array(someNode, { minLength: 1, maxLength: 6 }),
    placed: fc.array(fc.tuple(fc.nat(5), somePod), { maxLength: 6 }),
    waiting: somePod,
    measured: fc.array(fc.tuple(fc.nat(5), fc.double({ min: 0, max: 1e6, noNaN: true })), { maxLength: 3 }),
    candidates: fc.subarray([0, 1, 2, 3, 4, 5], { minLength: 1 }),
  })
  .map(({ nodes, placed, waiting, measured, candidates }) => {
    const cluster = clusterWith(
      nodes.map((make, i) => make(`n${i}`)),
      placed.map(([at, make], i) => {
        const object = make(`placed${i}`)
        return { ...object, spec: { ...object.spec, nodeName: `n${at}` } }
      }),
    )
    for (const [at, used] of measured) cluster.applyUsage(`n${at}`, used, used * 1000)
    const kept = candidates.filter((at) => at < nodes.length)
    const chosen = kept.length > 0 ? kept : [0]
    return {
      cluster,
      pod: cluster.readPod(waiting('waiting')),
      candidates: { nodes: Int32Array.from([...chosen, -1]), count: chosen.length },
    }
  })

/** Throws when a node is asked for by itself that is no candidate. */
const guarded = (cluster: ClusterState, { nodes, count }: Candidates, readsPlacedPods: boolean): ClusterView => {
  const allowed = new Set(nodes.subarray(0, count))
  const guard = (index: NodeIndex): NodeIndex => {
    assert.ok(allowed.has(index), `node ${index} is no candidate`)
    return index
  }
  return new Proxy(cluster, {
    get: (target, key) => {
      switch (key) {
        case 'node':
          return (index: NodeIndex) => target.node(guard(index))
        case 'podsOn':
          return (index: NodeIndex) => target.podsOn(readsPlacedPods ? index : guard(index))
        case 'portsOn':
          return (index: NodeIndex) => target.portsOn(guard(index))
        case 'usedCpuMilli':
          return (index: NodeIndex) => target.usedCpuMilli(guard(index))
        case 'usedMemoryBytes':
          return (index: NodeIndex) => target.usedMemoryBytes(guard(index))
        default: {
          const value: unknown = Reflect.get(target, key, target)
          return typeof value === 'function' ? (value as () => unknown).bind(target) : value
        }
      }
    },
  })
}

const runs = { numRuns: 150, seed: 20260101 }

/**
 * What the scheduler, the records and everybody who compares policies rely on.
 * @param create gives a policy that remembers nothing
 * @param drawsLots the scores are random numbers, drawn in the order of the candidates
 * @param readsPlacedPods what is to come is estimated from all pods that are there, on whatever node
 */
export const policyContract = (
  name: string,
  create: () => Policy,
  { drawsLots = false, readsPlacedPods = false } = {},
): void => {
  describe(`the contract of policies: ${name}`, () => {
    test('it says its name and a version', () => {
      assert.equal(create().name, name)
      assert.notEqual(create().version, '')
    })

    test('it gives each candidate one finite score, on nodes of any size, down to none at all', async () => {
      const policy = create()
      await fc.assert(
        fc.asyncProperty(scene, async ({ cluster, pod: waiting, candidates }) => {
          const { scores } = await rank(policy, waiting, candidates, contextOf(cluster))
          assert.equal(scores.length, candidates.count)
          assert.ok(scores.every(Number.isFinite), scores.join())
        }),
        runs,
      )
    })

    test('its terms add up to its scores', async () => {
      const policy = create()
      await fc.assert(
        fc.asyncProperty(scene, async ({ cluster, pod: waiting, candidates }) => {
          const { scores, terms } = await rank(policy, waiting, candidates, contextOf(cluster))
          assert.equal(new Set(terms.map((term) => term.name)).size, terms.length, 'each term has a name of its own')
          for (const [i, score] of scores.entries()) {
            const sum = terms.reduce((total, { weight, values }) => total + weight * (values[i] ?? Number.NaN), 0)
            assert.ok(Math.abs(sum - score) <= 1e-9 * Math.max(1, Math.abs(score)), `${sum} is not ${score}`)
          }
        }),
        runs,
      )
    })

    test('the same situation gets the same scores, whatever was ranked before', async () => {
      const seasoned = create()
      await fc.assert(
        fc.asyncProperty(scene, scene, async (before, now) => {
          await rank(seasoned, before.pod, before.candidates, contextOf(before.cluster))
          const first = await rank(seasoned, now.pod, now.candidates, contextOf(now.cluster))
          assert.deepEqual(await rank(seasoned, now.pod, now.candidates, contextOf(now.cluster)), first)
          assert.deepEqual(await rank(create(), now.pod, now.candidates, contextOf(now.cluster)), first)
        }),
        runs,
      )
    })

    test('it never looks at a node that is no candidate, and leaves the candidates as they are', async () => {
      const policy = create()
      await fc.assert(
        fc.asyncProperty(scene, async ({ cluster, pod: waiting, candidates }) => {
          const before = [...candidates.nodes]
          await policy.rank(waiting, candidates, contextOf(guarded(cluster, candidates, readsPlacedPods)))
          assert.deepEqual([...candidates.nodes], before)
        }),
        runs,
      )
    })

    test('it never names a GPU that has no room, nor more or fewer than the pod asks for', async () => {
      const policy = create()
      await fc.assert(
        fc.asyncProperty(scene, async ({ cluster, pod: waiting, candidates }) => {
          const { devicesOf } = await policy.rank(waiting, candidates, contextOf(cluster))
          const { gpu } = waiting.shape
          if (devicesOf === undefined || gpu === undefined) return
          for (const [i, at] of candidates.nodes.subarray(0, candidates.count).entries())
            if (cluster.gpus.fits(at, gpu))
              assert.ok(cluster.gpus.allows(at, gpu, devicesOf(i)), `GPUs ${devicesOf(i).join()} of node ${at}`)
        }),
        runs,
      )
    })

    if (!drawsLots)
      test('the order of the candidates changes the order of the scores and nothing else', async () => {
        await fc.assert(
          fc.asyncProperty(scene, async ({ cluster, pod: waiting, candidates: { nodes, count } }) => {
            const { scores } = await rank(create(), waiting, { nodes, count }, contextOf(cluster))
            const reversed = nodes.slice(0, count).reverse()
            const backwards = await rank(create(), waiting, { nodes: reversed, count }, contextOf(cluster))
            assert.deepEqual([...backwards.scores].reverse(), scores)
          }),
          runs,
        )
      })

    test('what it keeps does not grow with the number of rankings', async () => {
      const policy = create()
      const cluster = clusterWith(['a', 'b', 'c'].map((one) => node(one).object()))
      const waiting = cluster.readPod(pod('p').cpu('1').object())
      const buffers = new Set<ArrayBufferLike>()
      for (let i = 0; i < 50; i++) {
        const candidates = { nodes: cluster.order.slice(0, 3), count: 3 - (i % 3) }
        const { scores } = await policy.rank(waiting, candidates, contextOf(cluster))
        buffers.add(scores.buffer)
      }
      assert.ok(buffers.size <= 3, `${buffers.size} buffers for 50 rankings`)
    })
  })
}
