import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../clock/random.ts'
import { createFgd } from './fgd.ts'
import { chosen, choice, gpuNode, gpuPod, packed, place } from './placing.fixture.ts'
import type { GpuWorkload } from './workload.ts'

const half = { cpuMilli: 1000, gpuMilli: 500, gpuCount: 1, models: [] }
const whole = { cpuMilli: 1000, gpuMilli: 1000, gpuCount: 1, models: [] }
const halvesAndWholes: GpuWorkload = {
  classes: [
    { ...half, weight: 0.5 },
    { ...whole, weight: 0.5 },
  ],
}

describe('fgd', () => {
  test('its score is floor(100 sigmoid(F before - F after))', () => {
    const cluster = packed(
      [gpuNode('empty', 1), gpuNode('begun', 1), gpuNode('full', 1)],
      [
        { on: 'begun', pod: gpuPod('q', 300) },
        { on: 'full', pod: gpuPod('r', 400) },
      ],
    )
    const waiting = cluster.readPod(gpuPod('p', 300))
    const { ranking } = chosen(createFgd(halvesAndWholes), waiting, cluster)
    // empty: F = 0 before; after, .7 is of no use to wholes: .35. begun: .7 / 2 before, .4 of no use to anyone after.
    // full: .6 / 2 before, .3 after.
    const expected = [-0.35, 0.35 - 0.4, 0.3 - 0.3].map((gain) => Math.floor(100 / (1 + Math.exp(-gain))))
    assert.deepEqual([...ranking.scores], expected)
  })

  test('a share takes the GPU that leaves most to others, the lowest number among equals', () => {
    const pods = [
      { on: 'n', devices: [1], pod: gpuPod('q', 300) },
      { on: 'n', devices: [2], pod: gpuPod('r', 500) },
      { on: 'n', devices: [3], pod: gpuPod('s', 500) },
    ]
    const cluster = packed([gpuNode('n', 4)], pods)
    assert.deepEqual(choice(createFgd(halvesAndWholes), gpuPod('p', 500), cluster), ['n', [2]])
    // The tightest would be GPU 2; on 1 it leaves a half that halves can use.
    assert.deepEqual(choice(createFgd(halvesAndWholes), gpuPod('p', 200), cluster), ['n', [1]])
  })

  test('whole GPUs are the first idle ones', () => {
    const cluster = packed([gpuNode('n', 4)], [{ on: 'n', devices: [1], pod: gpuPod('q', 100) }])
    assert.deepEqual(choice(createFgd(halvesAndWholes), gpuPod('p', 2000), cluster), ['n', [0, 2]])
    assert.deepEqual(choice(createFgd(halvesAndWholes), gpuPod('p', 1000), cluster), ['n', [0]])
  })

  test('cpu that GPUs need is not taken by pods that need none', () => {
    const cluster = packed([gpuNode('gpu', 8, { cpu: '8' }), gpuNode('plain', 0, { cpu: '8' })])
    assert.deepEqual(choice(createFgd(halvesAndWholes), gpuPod('p', 0, { cpu: '7500m' }), cluster), [
      'plain',
      undefined,
    ])
  })

  test('GPUs of a model that hardly anybody may have are taken before others', () => {
    const cluster = packed([gpuNode('common', 1, { model: 'T4' }), gpuNode('odd', 1, { model: 'P4' })])
    const workload = { classes: [{ ...whole, models: ['T4'], weight: 1 }] }
    assert.deepEqual(choice(createFgd(workload), gpuPod('p', 500), cluster), ['odd', [0]])
  })

  test('without a workload it packs for the pods it sees', () => {
    const cluster = packed([gpuNode('a', 2), gpuNode('b', 2)], [{ on: 'b', devices: [0], pod: gpuPod('q', 600) }])
    const policy = createFgd()
    // Nothing but .4: the rest of GPU 0 is what it fits into.
    for (let i = 0; i < 5; i++) assert.deepEqual(choice(policy, gpuPod(`p${i}`, 400), cluster), ['b', [0]])
  })

  test('what it remembers of nodes never differs from what it would work out anew, whatever comes and goes', () => {
    const sizes = [100, 300, 500, 810, 1000, 2000, 0]
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = seededRandom(seed)
        const cluster = packed([gpuNode('a', 2), gpuNode('b', 8), gpuNode('c', 0), gpuNode('d', 4)])
        const policy = createFgd(halvesAndWholes)
        const placed: string[] = []
        for (let i = 0; i < 40; i++) {
          const size = sizes[random.below(sizes.length)] ?? 0
          const waiting = cluster.readPod(gpuPod(`p${i}`, size, { cpu: `${1 + random.below(6)}` }))
          const { at, devices, ranking } = chosen(policy, waiting, cluster)
          if (at < 0) continue
          const scores = [...ranking.scores]
          const fresh = chosen(createFgd(halvesAndWholes), waiting, cluster)
          assert.deepEqual([scores, at, devices], [[...fresh.ranking.scores], fresh.at, fresh.devices])
          place(cluster, waiting, at, devices)
          placed.push(waiting.uid)
          if (random.below(3) === 0) cluster.removePod(placed.splice(random.below(placed.length), 1)[0] ?? '')
          if (random.below(20) === 0) cluster.applyNode(cluster.readNode(gpuNode(`n${i}`, 1 + random.below(12))))
        }
      }),
      { numRuns: 40, seed: 20260101 },
    )
  })
})
