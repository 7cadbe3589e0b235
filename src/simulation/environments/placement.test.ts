import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { seededRandom } from '../../clock/random.ts'
import type { PodObject } from '../../cluster/objects.ts'
import { ALLOWED, isPodRefusal } from '../../constraints/constraint.ts'
import { createConstraints } from '../../constraints/registry.ts'
import { pod, label, term } from '../../../test/builders.ts'
import { nodeShapes } from '../workload/node-shapes.ts'
import { syntheticWorkload } from '../workload/workload.ts'
import { environmentContract } from './contract.ts'
import { PLACEMENT_TERMS, PlacementEnvironment, type PlacementOptions } from './placement.ts'
import { NODE_FEATURES, POD_FEATURES } from './placement-features.ts'
import { DrawnPods, RecordedPods } from './pod-source.ts'
import { VectorEnvironment } from './vector.ts'

const GPU = 'stowage.dev/gpu-milli'
/** Everything that a mask may depend on: room, GPUs, labels, taints, spread, distance. */
const templates: readonly PodObject[] = [
  pod('plain').cpu(2).memory('4Gi').object(),
  pod('large').cpu(6).memory('2Gi').annotation('stowage.dev/duration', '2m').object(),
  pod('shared').cpu(1).memory('1Gi').request(GPU, 400).object(),
  pod('whole').cpu(2).memory('8Gi').request(GPU, 2000).priority(100).object(),
  pod('picky')
    .cpu(1)
    .memory('1Gi')
    .requiresNode(term(label('topology.kubernetes.io/zone').in('zone-a')))
    .object(),
  pod('apart')
    .cpu(1)
    .memory('1Gi')
    .label('app', 'apart')
    .spec({
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'apart' } } },
          ],
        },
      },
    })
    .object(),
]
const nodes = [
  ...nodeShapes(['cpu=16,memory=64Gi,pods=9'], 6),
  ...nodeShapes([`cpu=16,memory=32Gi,${GPU}=4000`], 3).map((shape) => ({ ...shape, name: `gpu-${shape.name}` })),
]
const environment = (options: Partial<PlacementOptions> = {}): PlacementEnvironment =>
  new PlacementEnvironment({
    nodes,
    source: new DrawnPods({ templates, meanGapMs: 5000, meanDurationMs: 240_000, pods: 200 }),
    ...options,
  })

environmentContract({
  name: 'placement',
  create: () => environment(),
  expectedMask: (it) => {
    // rules of their own, asked node by node
    const checks = createConstraints().map((constraint) => constraint.prepare(it.pod, it.cluster))
    return Array.from(it.cluster.order.subarray(0, it.cluster.nodeCount), (node) =>
      checks.every((check) => check === undefined || (!isPodRefusal(check) && check.verdict(node) === ALLOWED)) ? 1 : 0,
    )
  },
})

environmentContract({
  name: 'placement of recorded pods, cut off after 40 steps',
  create: () => {
    const arrivals = syntheticWorkload({
      pods: 300,
      spanMs: 600_000,
      random: seededRandom(2),
      nodes,
      schedulerName: 'any',
    })
    return environment({ source: new RecordedPods(arrivals, 120), stepsAtMost: 40, weights: { emptyNodes: 1 } })
  },
})

/** The features of a node by their names. */
const featuresOf = (features: Float32Array, slot: number): Record<string, number> =>
  Object.fromEntries(
    NODE_FEATURES.map((name, at) => [
      name,
      features[POD_FEATURES.length + slot * NODE_FEATURES.length + at] ?? Number.NaN,
    ]),
  )

describe('the placement environment', () => {
  const one = (options: Partial<PlacementOptions> = {}): PlacementEnvironment =>
    new PlacementEnvironment({
      nodes: nodeShapes([`cpu=8,memory=16Gi,pods=10,${GPU}=2000`, 'cpu=4,memory=16Gi'], 2),
      source: new DrawnPods({
        templates: [pod('a').cpu(2).memory('4Gi').request(GPU, 500).object()],
        meanGapMs: 1000,
        pods: 6,
      }),
      ...options,
    })

  it('shows what is free on each node, what would be once the pod is there, and what the pod asks for', () => {
    const it = one()
    const { features, mask } = it.reset(1)
    assert.deepEqual([...mask], [1, 0])
    const before = featuresOf(features, 0)
    assert.deepEqual(
      [before['cpuFree'], before['memoryFree'], before['gpuFree'], before['podsFree'], before['gpusIdle']],
      [1, 1, 1, 1, 1],
    )
    assert.deepEqual([before['cpuAfter'], before['memoryAfter'], before['gpuAfter']], [0.75, 0.75, 0.75])
    assert.equal(featuresOf(features, 1)['cpuSize'], 0.5)
    assert.equal(featuresOf(features, 1)['gpuSize'], 0)
    const podFeatures = Object.fromEntries(POD_FEATURES.map((name, at) => [name, features[at]]))
    assert.deepEqual(
      [podFeatures['cpu'], podFeatures['memory'], podFeatures['gpu'], podFeatures['gpuShare'], podFeatures['endless']],
      [0.25, 0.25, 0.25, 0.5, 1],
    )
    it.step([0])
    const after = featuresOf(features, 0)
    assert.deepEqual([after['cpuFree'], after['gpuFree'], after['gpusIdle']], [0.75, 0.75, 0.5])
    assert.deepEqual([after['gpusMostlyTaken'], after['largestGpuFree']], [0.5, 1])
    assert.ok(Math.abs((after['podsFree'] ?? 0) - 0.9) < 1e-6)
  })

  it('refuses what no node may take, counts it, and ends when no more pods come', () => {
    const it = one()
    it.reset(1)
    const steps: boolean[] = []
    for (;;) {
      const { terminated, truncated } = it.step([0])
      steps.push(terminated)
      assert.equal(truncated, false)
      if (terminated) break
    }
    // four shares of a half fill two GPUs
    assert.deepEqual(steps, [false, false, false, true])
    assert.equal(it.refused, 2)
  })

  it('tells a time limit from an end', () => {
    const it = one({ stepsAtMost: 2 })
    it.reset(1)
    assert.equal(it.step([0]).truncated, false)
    const { terminated, truncated } = it.step([0])
    assert.deepEqual([terminated, truncated], [false, true])
  })

  it('lets pods leave as time goes on, and keeps the real state without a fault through many episodes', () => {
    const it = environment()
    const random = seededRandom(4)
    let most = 0
    for (let episode = 0; episode < 5; episode++) {
      let seen = it.reset(episode)
      for (;;) {
        const allowed = [...seen.mask.keys()].filter((choice) => seen.mask[choice] === 1)
        const step = it.step([allowed[random.below(allowed.length)] ?? -1])
        const there = it.cluster.podCount.reduce((sum, count) => sum + count, 0)
        most = Math.max(most, there)
        if (step.terminated) break
        seen = step
      }
      assert.deepEqual(it.discrepancies(), { miscounted: [], overcommitted: [] })
    }
    assert.ok(most > 10 && most < 150, `${most} pods at one time`)
  })

  it('keeps features and potential that are worked out step by step equal to those worked out anew', () => {
    const it = environment({ weights: Object.fromEntries(PLACEMENT_TERMS.map((name, at) => [name, at + 1])) })
    const random = seededRandom(6)
    let seen = it.reset(6)
    for (let at = 0; at < 150; at++) {
      const allowed = [...seen.mask.keys()].filter((choice) => seen.mask[choice] === 1)
      const step = it.step([allowed[random.below(allowed.length)] ?? -1])
      if (step.terminated) break
      seen = step
      const [cpuShares, memoryShares] = [0, 1].map((resource) =>
        Array.from(it.cluster.order.subarray(0, nodes.length), (node) => {
          const allocatable = it.cluster.allocatable[resource]?.[node] ?? 0
          return (it.cluster.requested[resource]?.[node] ?? 0) / allocatable
        }),
      )
      assert.ok(cpuShares !== undefined && memoryShares !== undefined)
      const deviation = (shares: readonly number[]): number => {
        const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length
        return Math.sqrt(shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / shares.length)
      }
      const empty = it.cluster.podCount.subarray(0, nodes.length).filter((count) => count === 0).length
      const expected =
        empty / nodes.length +
        2 * -((deviation(cpuShares) + deviation(memoryShares)) / 2) +
        3 *
          -(
            cpuShares.reduce((sum, share, slot) => sum + Math.abs(share - (memoryShares[slot] ?? 0)), 0) / nodes.length
          ) +
        5 * -(it.refused / 200)
      const fragmentation = (expected - it.potential) / 4
      assert.ok(fragmentation > -1e-9 && fragmentation < 1, `${fragmentation}`)
      for (let slot = 0; slot < nodes.length; slot++)
        assert.ok(Math.abs((featuresOf(seen.features, slot)['cpuFree'] ?? 0) - (1 - (cpuShares[slot] ?? 0))) < 1e-6)
    }
  })
})

describe('environments that are stepped together', () => {
  it('do what each would do alone, write into common arrays, and begin anew when they end', () => {
    const create = (buffers?: PlacementOptions['buffers']): PlacementEnvironment =>
      environment({
        source: new DrawnPods({ templates, meanGapMs: 5000, meanDurationMs: 240_000, pods: 30 }),
        ...(buffers === undefined ? {} : { buffers }),
      })
    const vector = new VectorEnvironment(3, create)
    const alone = [0, 1, 2].map(() => create())
    vector.reset(100)
    const episodes = [0, 0, 0]
    const size = vector.observationSize
    const seen = alone.map((it, at) => it.reset(100 + at))
    const random = seededRandom(1)
    let ended = 0
    for (let step = 0; step < 120; step++) {
      const actions = seen.map(({ mask }) => {
        const allowed = [...mask.keys()].filter((choice) => mask[choice] === 1)
        return allowed[random.below(allowed.length)] ?? -1
      })
      vector.step(actions)
      for (const [at, it] of alone.entries()) {
        const own = it.step([actions[at] ?? -1])
        assert.equal(vector.rewards[at], Math.fround(own.reward))
        assert.deepEqual(vector.terms.slice(at * 5, at * 5 + 5), own.terms)
        assert.equal(vector.terminated[at], own.terminated ? 1 : 0)
        if (own.terminated) {
          ended++
          assert.deepEqual(vector.finalFeatures.slice(at * size, (at + 1) * size), own.features)
          it.reset(100 + at + 3 * ++episodes[at]!)
        }
        assert.deepEqual(vector.features.slice(at * size, (at + 1) * size), own.features)
        assert.deepEqual(vector.masks.slice(at * nodes.length, (at + 1) * nodes.length), own.mask)
      }
    }
    assert.ok(ended >= 6)
  })

  it('may have arrays of their own, and must be of one size', () => {
    const vector = new VectorEnvironment(2, () => environment())
    vector.reset(5)
    const own = environment()
    own.reset(6)
    const second = vector.features.slice(vector.observationSize)
    assert.deepEqual(second, environment().reset(6).features)
    assert.throws(
      () => new VectorEnvironment(2, (_, at) => environment(at === 1 ? { nodes: nodes.slice(1) } : {})),
      /BAD_REQUEST/,
    )
  })
})
