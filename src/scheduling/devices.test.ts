import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { GPU_MILLI_RESOURCE } from '../cluster/gpu-request.ts'
import type { NodeObject } from '../cluster/objects.ts'
import { createConstraints } from '../constraints/registry.ts'
import type { Policy } from '../policies/policy.ts'
import { World } from './world.fixture.ts'

const gpuNode = (name: string, gpus: number): NodeObject =>
  node(name)
    .cpu(64)
    .allocatable(GPU_MILLI_RESOURCE, 1000 * gpus)
    .object()
const share = (name: string, milli: number) => pod(name).cpu(1).request(GPU_MILLI_RESOURCE, milli)

/** Ranks the nodes in their order, and takes the GPUs that `choose` says. */
const choosing = (choose: (candidate: number) => readonly number[]): Policy => ({
  name: 'choosing',
  version: '1',
  choosesDevices: true,
  rank: (_pod, { count }) => ({
    scores: Float64Array.from({ length: count }, (_, at) => -at),
    devicesOf: choose,
    source: 'heuristic',
  }),
})

const world = async (policy: Policy, ...nodes: readonly NodeObject[]): Promise<World> =>
  new World({ policy }, { constraints: createConstraints() }).begin(nodes)
const devicesOf = ({ cluster, decisions }: World, name: string): readonly (readonly number[] | undefined)[] => [
  decisions.of(name).devices,
  cluster.gpus.devicesOf(`uid-${name}`),
]

describe('which GPUs a pod gets', () => {
  test('are those that the policy names, also where there is only one node left', async () => {
    const one = await world(
      choosing(() => [3]),
      gpuNode('n', 4),
    )
    await one.see(share('a', 500).object())
    assert.deepEqual(devicesOf(one, 'a'), [[3], [3]])
    const two = await world(
      choosing(() => [1, 2]),
      gpuNode('n', 4),
      gpuNode('m', 4),
    )
    await two.see(share('a', 2000).object())
    assert.deepEqual(devicesOf(two, 'a'), [
      [1, 2],
      [1, 2],
    ])
  })

  test('are the tightest where the policy does not care', async () => {
    const { choosesDevices: _, ...indifferent } = choosing(() => [])
    const small = await world(
      { ...indifferent, rank: () => ({ scores: new Float64Array(1), source: 'heuristic' }) },
      gpuNode('n', 2),
    )
    for (const [name, milli] of [
      ['a', 300],
      ['b', 600],
      ['c', 300],
      ['d', 500],
    ] as const)
      await small.see(share(name, milli).object())
    assert.deepEqual(
      ['a', 'b', 'c', 'd'].map((name) => devicesOf(small, name)[0]),
      [[0], [0], [1], [1]],
    )
    assert.deepEqual(small.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
  })

  for (const [what, wrong] of [
    ['has no room', () => [0]],
    ['does not exist', () => [7]],
    ['is named twice', () => [1, 1]],
    ['is no number', () => [Number.NaN]],
    ['cannot be named', () => assert.fail('lost count')],
  ] as const satisfies readonly (readonly [string, () => readonly number[]])[])
    test(`are the fallback's where the one that the policy names ${what}, and the record says so`, async () => {
      const next = new World({ policy: choosing(wrong) }, { constraints: createConstraints() })
      await next.begin([gpuNode('n', 2)])
      await next.see(share('first', 800).annotation('stowage.dev/gpu-devices', '0').on('n').object())
      await next.see(share('a', 500).object())
      const record = next.decisions.of('a')
      assert.equal(record.source, 'fallback')
      assert.match(record.reason ?? '', /GPUs/)
      assert.deepEqual(devicesOf(next, 'a'), [[1], [1]])
    })

  test('are not ours to say where a node gives out whole ones only', async () => {
    const plain = node('n').cpu(8).allocatable('nvidia.com/gpu', 2).object()
    const whole = await world(
      choosing(() => [1]),
      plain,
    )
    await whole.see(pod('a').request('nvidia.com/gpu', 1).object())
    assert.equal(whole.decisions.of('a').devices, undefined)
    assert.equal(whole.binder.bound.length, 1)
  })
})
