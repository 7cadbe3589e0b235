import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { label, node, pod, term } from '../../test/builders.ts'
import { GPU_DEVICES_ANNOTATION, GPU_MILLI_RESOURCE, GPU_MODEL_LABEL } from './gpu-request.ts'
import type { NodeObject, PodObject } from './objects.ts'
import { ClusterState } from './state.ts'

const gpuNode = (name: string, gpus: number, model = ''): NodeObject => {
  const built = node(name)
    .cpu(64)
    .memory('256Gi')
    .allocatable(GPU_MILLI_RESOURCE, 1000 * gpus)
  return (model === '' ? built : built.label(GPU_MODEL_LABEL, model)).object()
}
const share = (name: string, milli: number, devices?: string) => {
  const built = pod(name).request(GPU_MILLI_RESOURCE, milli)
  return devices === undefined ? built : built.annotation(GPU_DEVICES_ANNOTATION, devices)
}

const stateWith = (...nodes: readonly NodeObject[]): ClusterState => {
  const state = new ClusterState()
  for (const object of nodes) state.applyNode(state.readNode(object))
  return state
}
const see = (state: ClusterState, object: PodObject) => state.applyPod(state.readPod(object))
const freeOn = (state: ClusterState, name: string): number[] => {
  const { count, freeMilli, stride } = state.gpus
  const index = state.indexOf(name)
  return [...freeMilli.subarray(index * stride, index * stride + (count[index] ?? 0))]
}
const sound = (state: ClusterState): void =>
  assert.deepEqual(state.discrepancies(), { miscounted: [], overcommitted: [] })

describe('GPUs in the cluster state', () => {
  test('a request is a share of one GPU, or whole ones, by whatever name they go', () => {
    const state = new ClusterState()
    const asked = (object: PodObject) => state.readPod(object).shape.gpu
    assert.deepEqual(asked(share('a', 460).object()), { count: 1, milli: 460, models: [] })
    assert.deepEqual(asked(share('b', 3000).object()), { count: 3, milli: 1000, models: [] })
    assert.deepEqual(asked(pod('c').request('nvidia.com/gpu', 2).object()), { count: 2, milli: 1000, models: [] })
    assert.equal(asked(pod('d').cpu(1).object()), undefined)
  })

  test('a share of several GPUs is refused with what to ask for instead', () => {
    const { shape } = new ClusterState().readPod(share('a', 1500).object())
    assert.match(shape.unsupported.join(), /multiple of 1000/)
  })

  test('models are those that the node selector or every required term names', () => {
    const state = new ClusterState()
    const models = (object: PodObject) => state.readPod(object).shape.gpu?.models
    const either = share('a', 1000).requiresNode(
      term(label(GPU_MODEL_LABEL).in('V100M32', 'T4')),
      term(label(GPU_MODEL_LABEL).in('P100')),
    )
    assert.deepEqual(models(either.object()), ['P100', 'T4', 'V100M32'])
    const any = share('b', 1000).requiresNode(term(label(GPU_MODEL_LABEL).in('T4')), term(label('zone').in('a')))
    assert.deepEqual(models(any.object()), [])
  })

  test('a pod has the GPUs that its annotation names, and the tightest where nobody has said', () => {
    const state = stateWith(gpuNode('n', 3, 'T4'))
    see(state, share('a', 300, '2').on('n').object())
    see(state, share('b', 600).on('n').object())
    assert.deepEqual(freeOn(state, 'n'), [1000, 1000, 100])
    see(state, share('c', 2000).on('n').object())
    assert.deepEqual(freeOn(state, 'n'), [0, 0, 100])
    assert.equal(state.gpus.models[state.gpus.modelOf[state.indexOf('n')] ?? 0], 'T4')
    sound(state)
  })

  test('an annotation that cannot be is no annotation', () => {
    for (const text of ['', 'x', '0,0', '0,1', '-1', '999', '1e3', '0 ', '٣']) {
      const state = stateWith(gpuNode('n', 2))
      see(state, share('a', 500, text).on('n').object())
      assert.deepEqual(freeOn(state, 'n'), [500, 1000], JSON.stringify(text))
      sound(state)
    }
  })

  test('an annotation cannot hide what a pod uses behind GPUs that the node does not have', () => {
    const state = stateWith(gpuNode('n', 2))
    see(state, share('a', 700, '200').on('n').object())
    assert.deepEqual(freeOn(state, 'n'), [300, 1000])
    see(state, share('b', 800, '1').on('n').object())
    see(state, share('b', 800, '7').on('n').object())
    assert.deepEqual(freeOn(state, 'n'), [300, 200])
    sound(state)
  })

  test('a pod keeps its GPUs while its node is away, and while it is imagined away', () => {
    const state = stateWith(gpuNode('n', 2))
    see(state, share('a', 500, '1').on('n').object())
    see(state, share('b', 800).on('n').object())
    const b = state.readPod(share('b', 800).on('n').object())
    assert.deepEqual(freeOn(state, 'n'), [200, 500])
    state.imagine(state.indexOf('n'), (imagined) => {
      imagined.remove(b)
      imagined.add(state.readPod(share('c', 1000).object()))
      assert.deepEqual(freeOn(state, 'n'), [0, 500])
    })
    assert.deepEqual(freeOn(state, 'n'), [200, 500])
    state.removeNode('n')
    state.applyNode(state.readNode(gpuNode('n', 2)))
    assert.deepEqual(freeOn(state, 'n'), [200, 500])
    state.removePod('uid-a')
    assert.deepEqual(freeOn(state, 'n'), [200, 1000])
    sound(state)
  })

  test('an assumed pod has the GPUs that were chosen for it, and still has them when it is seen bound', () => {
    const state = stateWith(gpuNode('n', 4))
    state.assume({ ...state.readPod(share('a', 700).object()), gpuDevices: [2] }, state.indexOf('n'))
    assert.deepEqual(freeOn(state, 'n'), [1000, 1000, 300, 1000])
    see(state, share('a', 700).on('n').object())
    assert.deepEqual(freeOn(state, 'n'), [1000, 1000, 300, 1000])
    see(state, share('a', 700, '3').on('n').object())
    assert.deepEqual(freeOn(state, 'n'), [1000, 1000, 1000, 300])
    state.removePod('uid-a')
    assert.deepEqual(freeOn(state, 'n'), [1000, 1000, 1000, 1000])
  })

  test('a GPU on which others have put too much is told of, and given back whole', () => {
    const state = stateWith(gpuNode('n', 1))
    see(state, share('a', 700, '0').on('n').object())
    see(state, share('b', 700).on('n').object())
    assert.deepEqual(freeOn(state, 'n'), [-400])
    assert.ok(state.discrepancies().overcommitted.includes('n: GPU 0 by 400 thousandths'))
    state.removePod('uid-a')
    assert.deepEqual(freeOn(state, 'n'), [300])
  })

  test('a node that says it has a million GPUs costs no memory to speak of', () => {
    const state = stateWith(gpuNode('n', 1_000_000), gpuNode('m', 8))
    assert.equal(state.gpus.count[state.indexOf('n')], 256)
    assert.deepEqual(
      freeOn(state, 'm'),
      Array.from({ length: 8 }, () => 1000),
    )
  })

  test('whatever comes and goes, what is free is what a recount of the pods says', () => {
    const names = ['n0', 'n1', 'n2']
    const step = fc.oneof(
      fc.record({
        do: fc.constant('pod' as const),
        name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
        node: fc.constantFrom(...names),
        milli: fc.constantFrom(100, 500, 700, 1000, 2000),
        devices: fc.constantFrom(undefined, '0', '1', '0,1', '7'),
      }),
      fc.record({ do: fc.constant('gone' as const), name: fc.constantFrom('a', 'b', 'c', 'd', 'e') }),
      fc.record({
        do: fc.constant('node' as const),
        node: fc.constantFrom(...names),
        gpus: fc.constantFrom(0, 1, 2, 4, 9),
      }),
      fc.record({ do: fc.constant('noNode' as const), node: fc.constantFrom(...names) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const state = stateWith()
        for (const one of steps) {
          if (one.do === 'pod') see(state, share(one.name, one.milli, one.devices).on(one.node).object())
          else if (one.do === 'gone') state.removePod(`uid-${one.name}`)
          else if (one.do === 'node') state.applyNode(state.readNode(gpuNode(one.node, one.gpus)))
          else state.removeNode(one.node)
          assert.deepEqual(state.discrepancies().miscounted, [])
        }
      }),
      { numRuns: 300, seed: 20261123 },
    )
  })
})
