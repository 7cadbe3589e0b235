import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createPolicy } from '../registry.ts'
import { choice, chosen, gpuNode, gpuPod, packed } from './placing.fixture.ts'

/** Scores of the nodes of a small cluster, in order. */
const scores = (name: string, gpuMilli: number, cpu = '1'): number[] => {
  const cluster = packed(
    [gpuNode('idle', 2), gpuNode('shared', 2), gpuNode('mixed', 8, { cpu: '96' }), gpuNode('plain', 0, { cpu: '32' })],
    [
      { on: 'shared', devices: [0], pod: gpuPod('q', 460, { cpu: '4' }) },
      { on: 'mixed', devices: [0], pod: gpuPod('r', 300, { cpu: '16' }) },
      { on: 'mixed', devices: [1, 2], pod: gpuPod('s', 2000, { cpu: '16' }) },
    ],
  )
  return [...chosen(createPolicy(name), cluster.readPod(gpuPod('p', gpuMilli, { cpu })), cluster).ranking.scores]
}

describe('the policies that fgd was compared with', () => {
  test('bestfit: floor(100 (1 - (cores left / 128 + GPUs left / 8) / 2))', () => {
    const left = (cores: number, gpus: number): number => Math.floor(100 * (1 - (cores / 128 + gpus / 8) / 2))
    assert.deepEqual(scores('bestfit', 500), [left(63, 1.5), left(59, 1.04), left(63, 5.2)])
    assert.deepEqual(scores('bestfit', 0, '2'), [left(62, 2), left(58, 1.54), left(62, 5.7), left(30, 0)])
  })

  test('dotprod: floor(100 (1 - (cores free * asked / 128^2 + GPUs free * asked / 8^2) / 2))', () => {
    const product = (cores: number, gpus: number, asked: number, gpusAsked: number): number =>
      Math.floor(100 * (1 - ((cores * asked) / 128 ** 2 + (gpus * gpusAsked) / 64) / 2))
    assert.deepEqual(scores('dotprod', 2000, '32'), [product(64, 2, 32, 2), product(64, 5.7, 32, 2)])
  })

  test('gpu_packing: GPUs in use before idle ones of a node in use, and those before an idle node', () => {
    // On shared .54 is left of its GPU: 54 per cent, of which a tenth is 5.
    assert.deepEqual(scores('gpu_packing', 500), [33 - 2, 100 - 5, 100 - 7])
    assert.deepEqual(scores('gpu_packing', 600), [33 - 2, 50 - 1, 100 - 7])
    assert.deepEqual(scores('gpu_packing', 1000), [33 - 2, 50 - 1, 50 - 1])
    assert.deepEqual(scores('gpu_packing', 4000), [50 - 4])
    assert.deepEqual(scores('gpu_packing', 0), [0, 0, 0, 0])
  })

  test('gpu_clustering: its like, its like among others, nobody, only others; then GPUs in use', () => {
    const inUse = (free: number): number => Math.floor((25 * (8 - free)) / 8)
    assert.deepEqual(scores('gpu_clustering', 500), [25 + inUse(2), 75 + inUse(1.54), 50 + inUse(5.7)])
    assert.deepEqual(scores('gpu_clustering', 1000), [25 + inUse(2), inUse(1.54), inUse(5.7)])
    assert.deepEqual(scores('gpu_clustering', 2000), [25 + inUse(2), 50 + inUse(5.7)])
    assert.deepEqual(scores('gpu_clustering', 0), [0, 0, 0, 0])
  })

  test('each of them takes the tightest GPU, the lowest number among equals', () => {
    for (const name of ['bestfit', 'dotprod', 'gpu_packing', 'gpu_clustering']) {
      const cluster = packed(
        [gpuNode('n', 4)],
        [
          { on: 'n', devices: [1], pod: gpuPod('q', 300) },
          { on: 'n', devices: [2], pod: gpuPod('r', 500) },
          { on: 'n', devices: [3], pod: gpuPod('s', 500) },
        ],
      )
      assert.deepEqual(choice(createPolicy(name), gpuPod('p', 400), cluster), ['n', [2]], name)
    }
  })
})
