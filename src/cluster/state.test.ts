import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../../test/builders.ts'
import type { ClusterEvent } from './events.ts'
import { CPU } from './resources.ts'
import { ClusterState } from './state.ts'

const kinds = (events: readonly ClusterEvent[]): string[] => events.map(({ kind }) => kind)

const withNode = (): ClusterState => {
  const state = new ClusterState()
  state.applyNode(state.readNode(node('n').cpu('4').memory('8Gi').pods(10).object()))
  return state
}
const requestedCpu = (state: ClusterState, name = 'n'): number => state.requested[CPU]?.[state.indexOf(name)] ?? 0

describe('the cluster state', () => {
  it('counts an assumed pod at once, and not again when it is seen bound', () => {
    const state = withNode()
    state.assume(state.readPod(pod('a').cpu('1').object()), state.indexOf('n'))
    assert.equal(requestedCpu(state), 1000)
    assert.deepEqual(kinds(state.applyPod(state.readPod(pod('a').cpu('1').on('n').object()))), [])
    assert.equal(requestedCpu(state), 1000)
    assert.equal(state.isAssumed('uid-a'), false)
  })

  it('gives everything back when an assumed pod is forgotten', () => {
    const state = withNode()
    const a = state.readPod(pod('a').cpu('1').hostPort(80).object())
    state.assume(a, state.indexOf('n'))
    assert.deepEqual(kinds(state.forget(a.uid)), ['PodDelete'])
    assert.equal(requestedCpu(state), 0)
    assert.deepEqual(state.portsOn(state.indexOf('n')), [])
    assert.equal(state.podCount[state.indexOf('n')], 0)
  })

  it('does not forget a pod that has been seen bound meanwhile', () => {
    const state = withNode()
    state.assume(state.readPod(pod('a').cpu('1').object()), state.indexOf('n'))
    state.applyPod(state.readPod(pod('a').cpu('1').on('n').object()))
    assert.deepEqual(state.forget('uid-a'), [])
    assert.equal(requestedCpu(state), 1000)
  })

  it('refuses to assume a pod twice', () => {
    const state = withNode()
    const a = state.readPod(pod('a').object())
    state.assume(a, state.indexOf('n'))
    assert.throws(() => state.assume(a, state.indexOf('n')), { code: 'INTERNAL' })
  })

  it('counts a pod whose node comes later, or comes back', () => {
    const state = new ClusterState()
    const bound = () => state.readPod(pod('a').cpu('1').on('n').object())
    const n = () => state.readNode(node('n').cpu('4').object())
    state.applyPod(bound())
    state.applyNode(n())
    assert.equal(requestedCpu(state), 1000)
    state.removeNode('n')
    assert.equal(state.nodeCount, 0)
    state.applyNode(n())
    assert.equal(requestedCpu(state), 1000)
    assert.deepEqual(state.discrepancies(), { miscounted: [], overcommitted: [] })
  })

  it('counts a finished pod no more', () => {
    const state = withNode()
    state.applyPod(state.readPod(pod('a').cpu('1').on('n').object()))
    assert.deepEqual(kinds(state.applyPod(state.readPod(pod('a').cpu('1').on('n').phase('Succeeded').object()))), [
      'PodDelete',
    ])
    assert.equal(requestedCpu(state), 0)
  })

  it('says what changed on a node, split as waiting pods care for it', () => {
    const state = withNode()
    const change = (object: ReturnType<typeof node>) =>
      kinds(state.applyNode(state.readNode(object.cpu('4').memory('8Gi').pods(10).object())))
    assert.deepEqual(change(node('n')), [])
    assert.deepEqual(change(node('n').label('disk', 'ssd')), ['NodeLabel'])
    assert.deepEqual(change(node('n').label('disk', 'ssd').taint('gpu', 'NoSchedule')), ['NodeTaint'])
    assert.deepEqual(change(node('n').label('disk', 'ssd').cordoned()), ['NodeTaint'])
    assert.deepEqual(change(node('n').label('disk', 'ssd').cordoned().allocatable('nvidia.com/gpu', 2)), [
      'NodeAllocatable',
    ])
  })

  it('puts nodes that differ only in their hostname into one class', () => {
    const state = new ClusterState()
    for (const name of ['a', 'b'])
      state.applyNode(state.readNode(node(name).label('kubernetes.io/hostname', name).label('zone', 'z').object()))
    state.applyNode(state.readNode(node('c').label('zone', 'y').object()))
    const classOf = (name: string) => state.classOf[state.indexOf(name)]
    assert.equal(classOf('a'), classOf('b'))
    assert.notEqual(classOf('a'), classOf('c'))
  })

  it('does not remember the classes of labels that change for ever', () => {
    const state = withNode()
    for (let i = 0; i < 5000; i++) state.applyNode(state.readNode(node('n').label('seen', String(i)).object()))
    assert.ok(state.classes.length < 2000, `${state.classes.length} classes`)
    assert.equal(state.classes[state.classOf[state.indexOf('n')] ?? -1]?.labels['seen'], '4999')
  })

  it('adds the pods placed since a measurement to it, so that a burst is not invisible', () => {
    const state = withNode()
    const n = state.indexOf('n')
    state.assume(state.readPod(pod('a').cpu('1').object()), n)
    assert.deepEqual([state.usageSource, state.usedCpuMilli(n)], ['requests', 1000])
    state.applyUsage('n', 300, 1e9)
    assert.deepEqual([state.usageSource, state.usedCpuMilli(n)], ['metrics.k8s.io', 300])
    state.assume(state.readPod(pod('b').cpu('2').object()), n)
    assert.equal(state.usedCpuMilli(n), 2300)
    state.clearUsage('n')
    assert.deepEqual([state.usageSource, state.usedCpuMilli(n)], ['requests', 3000])
  })

  it('keeps the order in which nodes came', () => {
    const state = new ClusterState()
    for (const name of ['a', 'b', 'c']) state.applyNode(state.readNode(node(name).object()))
    state.removeNode('b')
    state.applyNode(state.readNode(node('d').object()))
    assert.deepEqual(
      [...state.order.subarray(0, state.nodeCount)].map((index) => state.node(index).name),
      ['a', 'c', 'd'],
    )
  })

  it('equals a recount of its pods after any sequence of events', () => {
    const names = fc.constantFrom('n0', 'n1', 'n2')
    const pods = fc.integer({ min: 0, max: 5 }).map((i) => `p${i}`)
    const event = fc.oneof(
      fc.record({
        do: fc.constant('node' as const),
        name: names,
        cpu: fc.integer({ min: 1, max: 9 }),
        label: fc.integer({ min: 0, max: 2 }),
      }),
      fc.record({ do: fc.constant('removeNode' as const), name: names }),
      fc.record({
        do: fc.constant('bound' as const),
        pod: pods,
        name: names,
        cpu: fc.integer({ min: 0, max: 3 }),
        done: fc.boolean(),
      }),
      fc.record({ do: fc.constant('assume' as const), pod: pods, name: names, cpu: fc.integer({ min: 0, max: 3 }) }),
      fc.record({ do: fc.constant('forget' as const), pod: pods }),
      fc.record({ do: fc.constant('gone' as const), pod: pods }),
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const state = new ClusterState()
        const where = new Map<string, { node: string; cpu: number; assumed: boolean }>()
        for (const e of events)
          if (e.do === 'node')
            state.applyNode(state.readNode(node(e.name).cpu(e.cpu).label('l', String(e.label)).object()))
          else if (e.do === 'removeNode') state.removeNode(e.name)
          else if (e.do === 'bound') {
            const object = pod(e.pod)
              .cpu(e.cpu)
              .hostPort(8000)
              .on(e.name)
              .phase(e.done ? 'Succeeded' : 'Running')
              .object()
            state.applyPod(state.readPod(object))
            if (e.done) where.delete(e.pod)
            else where.set(e.pod, { node: e.name, cpu: e.cpu, assumed: false })
          } else if (e.do === 'assume') {
            if (!where.has(e.pod) && state.indexOf(e.name) >= 0) {
              state.assume(state.readPod(pod(e.pod).cpu(e.cpu).hostPort(8000).object()), state.indexOf(e.name))
              where.set(e.pod, { node: e.name, cpu: e.cpu, assumed: true })
            }
          } else if (e.do === 'forget') {
            state.forget(`uid-${e.pod}`)
            if (where.get(e.pod)?.assumed) where.delete(e.pod)
          } else {
            state.removePod(`uid-${e.pod}`)
            where.delete(e.pod)
          }
        assert.deepEqual(state.discrepancies().miscounted, [])
        for (const index of state.order.subarray(0, state.nodeCount)) {
          const { name } = state.node(index)
          const there = [...where.values()].filter((placement) => placement.node === name)
          assert.equal(
            requestedCpu(state, name),
            there.reduce((sum, { cpu }) => sum + cpu * 1000, 0),
          )
          assert.equal(state.podCount[index], there.length)
          assert.equal(state.portsOn(index).length, there.length)
        }
        assert.equal(state.placedPods, where.size)
        assert.equal(state.assumedPods, [...where.values()].filter(({ assumed }) => assumed).length)
      }),
      { seed: 4, numRuns: 300 },
    )
  })
})
