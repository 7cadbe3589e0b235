import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../clock/random.ts'
import { node } from '../../../test/builders.ts'
import { contextOf, everyNode, rank } from '../contract.ts'
import type { Ranking } from '../policy.ts'
import { createDualPrice } from './dual-price.ts'
import { normalLoss } from './normal.ts'
import { chosen, choice, gpuNode, gpuPod, packed, place } from './placing.fixture.ts'
import type { GpuWorkload } from './workload.ts'

const ofShare = (gpuMilli: number, weight: number, cpuMilli = 1000, models: readonly string[] = []) => ({
  cpuMilli,
  gpuMilli,
  gpuCount: 1,
  models,
  weight,
})
const ofWhole = (gpuCount: number, weight: number, cpuMilli = 1000) => ({
  cpuMilli,
  gpuMilli: 1000,
  gpuCount,
  models: [],
  weight,
})
/** .6 fills a GPU for itself, .4 goes beside it. */
const sixesAndFours: GpuWorkload = { classes: [ofShare(600, 0.6), ofShare(400, 0.3), ofWhole(1, 0.1)] }

const termsOf = (name: string, { scores, terms = [] }: Pick<Ranking, 'scores' | 'terms'>): number[] => {
  const found = terms.find((term) => term.name === name)
  return found === undefined ? [] : Array.from(scores, (_, candidate) => found.weight * found.valueAt(candidate))
}

describe('dual_price', () => {
  test('a share goes where its hole is worth least: into one that nothing better fits', () => {
    const pods = [
      { on: 'n', devices: [0], pod: gpuPod('q', 600) },
      { on: 'n', devices: [1], pod: gpuPod('r', 300) },
    ]
    const cluster = packed([gpuNode('n', 3)], pods)
    // .4 is worth nothing here, .7 is worth a .6, an idle GPU a .6 too.
    assert.deepEqual(choice(createDualPrice(sixesAndFours), gpuPod('p', 400), cluster), ['n', [0]])
    assert.deepEqual(choice(createDualPrice(sixesAndFours), gpuPod('p', 600), cluster), ['n', [1]])
  })

  test('the worth of a node is that of its holes, less what stays unused for want of cpu', () => {
    // One class: 4 cores and a whole GPU each, on average; 2 or 6 in fact.
    const workload = { classes: [ofWhole(1, 0.5, 2000), ofWhole(1, 0.5, 6000)] }
    const cluster = packed([gpuNode('n', 2, { cpu: '7' }), gpuNode('rich', 8, { cpu: '640' })])
    const { ranking } = chosen(createDualPrice(workload), cluster.readPod(gpuPod('p', 0, { cpu: '3' })), cluster)
    const [rho, sigma] = [0.7 * 4, 2]
    const worth = (gpus: number, cores: number): number => {
      const deviation = sigma * Math.sqrt(gpus)
      return gpus - Math.min(gpus, (deviation / rho) * normalLoss((cores - rho * gpus) / deviation))
    }
    const [scarce, plenty] = termsOf('worthOfNode', ranking)
    assert.ok(Math.abs((scarce ?? 0) - (worth(2, 4) - worth(2, 7))) < 1e-9)
    assert.ok((scarce ?? 0) < -0.5 && Math.abs(plenty ?? 1) < 1e-9)
  })

  test('the last places for pods with several GPUs are kept for them, as long as they are likely to come', () => {
    const pods = [{ on: 'begun', devices: [0], pod: gpuPod('q', 1000) }]
    const cluster = packed([gpuNode('whole', 8), gpuNode('begun', 8)], pods)
    const coming: GpuWorkload = { classes: [ofWhole(1, 0.8), ofWhole(8, 0.2)] }
    const never: GpuWorkload = { classes: [ofWhole(1, 1)] }
    const reserved = (workload: GpuWorkload) =>
      termsOf(
        'placesForLargePods',
        chosen(createDualPrice(workload), cluster.readPod(gpuPod('p', 1000)), cluster).ranking,
      )
    const [whole, begun] = reserved(coming)
    // Of the (.96 * 16 - 1) / 2.4 pods to come a fifth is large; one place is left. P(Poisson(1.197) >= 1) of 8 GPUs.
    const likely = 8 * (1 - Math.exp((-0.2 * (0.96 * 16 - 1)) / 2.4))
    assert.ok(Math.abs((whole ?? 0) + likely) < 1e-9, `${whole} is not -${likely}`)
    assert.equal(Math.abs(begun ?? 1), 0)
    assert.deepEqual(reserved(never).map(Math.abs), [0, 0])
    assert.deepEqual(choice(createDualPrice(coming), gpuPod('p', 1000), cluster)[0], 'begun')
  })

  test('GPUs of a model that is wanted are left to those who may have no other', () => {
    const cluster = packed([gpuNode('wanted', 2, { model: 'A100' }), gpuNode('other', 2, { model: 'T4' })])
    const workload = { classes: [ofShare(500, 0.5, 1000, ['A100']), ofShare(500, 0.5)] }
    const waiting = cluster.readPod(gpuPod('p', 500))
    const { ranking } = chosen(createDualPrice(workload), waiting, cluster)
    // Of 4 GPUs' worth of pods, 8, half want 2 GPUs of that model: all of them.
    assert.deepEqual(
      termsOf('modelWanted', ranking).map((value) => Math.abs(value)),
      [0.2 * 0.5, 0],
    )
    assert.equal(choice(createDualPrice(workload), gpuPod('p', 500), cluster)[0], 'other')
  })

  test('where cpu is scarcer than GPUs it counts what fgd counts too, and else not', () => {
    const workload = { classes: [ofShare(500, 1, 8000)] }
    const gradient = (cpu: string) => {
      const nodes = [gpuNode('a', 1, { cpu }), gpuNode('b', 1, { cpu })]
      const cluster = packed(nodes, [{ on: 'a', devices: [0], pod: gpuPod('q', 300) }])
      const { ranking } = chosen(createDualPrice(workload), cluster.readPod(gpuPod('p', 500)), cluster)
      return termsOf('fragmentationGradient', ranking).map((value) => Math.round(value * 1000) / 1000)
    }
    assert.deepEqual(gradient('64'), [0, 0])
    // 4 pods of 8 cores for 2 GPUs, on 30 cores. On a, .2 would be left, which nobody can use.
    assert.deepEqual(gradient('15'), [-100 * 0.2, 0])
  })

  test('a node that is cordoned is no part of what the cluster has', () => {
    const cordoned = node('away').cpu('640').allocatable('stowage.dev/gpu-milli', '8000').cordoned().object()
    const workload = { classes: [ofWhole(1, 0.8), ofWhole(8, 0.2)] }
    const reserved = (nodes: Parameters<typeof packed>[0]): number => {
      const cluster = packed(nodes)
      const { ranking } = chosen(createDualPrice(workload), cluster.readPod(gpuPod('p', 1000)), cluster)
      return termsOf('placesForLargePods', ranking)[0] ?? Number.NaN
    }
    assert.equal(reserved([gpuNode('n', 8), cordoned]), reserved([gpuNode('n', 8), gpuNode('plain', 0)]))
    assert.notEqual(reserved([gpuNode('n', 8), cordoned]), reserved([gpuNode('n', 8), gpuNode('more', 8)]))
  })

  test('a node on which no single GPUs are known to fit comes after every other', async () => {
    for (const cpu of ['64', '2']) {
      const cluster = packed(
        [gpuNode('taken', 1, { cpu }), gpuNode('free', 8, { cpu })],
        [{ on: 'taken', pod: gpuPod('q', 900) }],
      )
      const waiting = cluster.readPod(gpuPod('p', 1000))
      const policy = createDualPrice({ classes: [ofWhole(1, 0.5), ofWhole(8, 0.5)] })
      const { scores } = await rank(policy, waiting, everyNode(cluster), contextOf(cluster))
      assert.ok((scores[0] ?? 0) < (scores[1] ?? 0), scores.join())
    }
  })

  test('without a workload it packs for the pods it sees, and without GPUs anywhere it fills nodes', () => {
    const cluster = packed([gpuNode('a', 2), gpuNode('b', 2)], [{ on: 'b', devices: [0], pod: gpuPod('q', 600) }])
    const policy = createDualPrice()
    for (let i = 0; i < 5; i++) assert.deepEqual(choice(policy, gpuPod(`p${i}`, 400), cluster), ['b', [0]])
    const plain = packed([gpuNode('large', 0), gpuNode('small', 0, { cpu: '8' })])
    assert.deepEqual(choice(createDualPrice(), gpuPod('p', 0), plain), ['small', undefined])
  })

  test('what it remembers of nodes never differs from what it would work out anew, whatever comes and goes', () => {
    // Without pods of several GPUs nothing is kept for them, which is looked at once in a while only.
    const sizes = [100, 400, 600, 1000, 0]
    for (const workload of [sixesAndFours, { classes: [ofShare(500, 0.5, 30_000), ofWhole(1, 0.5, 60_000)] }])
      fc.assert(
        fc.property(fc.integer(), (seed) => {
          const random = seededRandom(seed)
          const cluster = packed([gpuNode('a', 2), gpuNode('b', 8), gpuNode('c', 0), gpuNode('d', 4)])
          const policy = createDualPrice(workload)
          const placed: string[] = []
          for (let i = 0; i < 40; i++) {
            const size = sizes[random.below(sizes.length)] ?? 0
            const waiting = cluster.readPod(gpuPod(`p${i}`, size, { cpu: `${1 + random.below(6)}` }))
            const { at, devices, ranking } = chosen(policy, waiting, cluster)
            if (at < 0) continue
            const scores = [...ranking.scores]
            const fresh = chosen(createDualPrice(workload), waiting, cluster)
            assert.deepEqual([scores, at, devices], [[...fresh.ranking.scores], fresh.at, fresh.devices])
            place(cluster, waiting, at, devices)
            placed.push(waiting.uid)
            if (random.below(3) === 0) cluster.removePod(placed.splice(random.below(placed.length), 1)[0] ?? '')
            if (random.below(20) === 0) cluster.applyNode(cluster.readNode(gpuNode(`n${i}`, 1 + random.below(12))))
          }
        }),
        { numRuns: 30, seed: 20260101 },
      )
  })
})
