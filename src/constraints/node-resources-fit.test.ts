import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type NodeBuilder, node, type PodBuilder, pod } from '../../test/builders.ts'
import { isPodRefusal } from './constraint.ts'
import { clusterOf, refusalOn } from './contract.ts'
import { createNodeResourcesFit } from './node-resources-fit.ts'

describe('room on a node', () => {
  const two = node('n').cpu('2').memory('4Gi').pods(3)
  const full = pod('q').cpu('2').memory('4Gi')
  const table: readonly [
    title: string,
    wants: PodBuilder,
    on: NodeBuilder,
    has: readonly PodBuilder[],
    reasons: readonly string[],
    preemptionCouldHelp?: boolean,
  ][] = [
    ['a pod that takes exactly what is left fits', pod('p').cpu('500m'), two, [pod('q').cpu('1500m')], []],
    [
      'a pod that takes a thousandth more does not',
      pod('p').cpu('501m'),
      two,
      [pod('q').cpu('1500m')],
      ['Insufficient cpu'],
    ],
    [
      'one byte of memory too much is too much',
      pod('p').memory(4 * 1024 ** 3 + 1),
      two,
      [],
      ['Insufficient memory'],
      false,
    ],
    [
      'every reason is kept',
      pod('p').cpu('1').memory('1Gi'),
      two,
      [full, pod('r'), pod('s')],
      ['Too many pods', 'Insufficient cpu', 'Insufficient memory'],
    ],
    ['a full node takes a pod that asks for nothing', pod('p'), two, [full], []],
    ['an overcommitted node takes a pod that asks for nothing', pod('p').cpu('0'), two, [full, full], []],
    ['the number of pods is limited', pod('p'), two, [pod('q'), pod('r'), pod('s')], ['Too many pods']],
    ['a node that allows no pods takes none', pod('p'), node('n').pods(0), [], ['Too many pods']],
    [
      'what is more than the node could ever give cannot be helped by eviction',
      pod('p').cpu('3').memory('1Gi'),
      two,
      [full],
      ['Insufficient cpu', 'Insufficient memory'],
      false,
    ],
    [
      'a resource that no node has is missing',
      pod('p').request('example.com/gpu', 1),
      two,
      [],
      ['Insufficient example.com/gpu'],
      false,
    ],
    [
      'devices are counted',
      pod('p').request('example.com/gpu', 2),
      node('n').allocatable('example.com/gpu', 4),
      [pod('q').request('example.com/gpu', 3)],
      ['Insufficient example.com/gpu'],
    ],
    ['none of a resource is not asked for', pod('p').request('example.com/gpu', 0), two, [], []],
    [
      'the largest init container counts where it is more than the containers together',
      pod('p')
        .cpu('1')
        .initContainer({ name: 'i', resources: { requests: { cpu: '3' } } }),
      two,
      [],
      ['Insufficient cpu'],
      false,
    ],
    ['overhead counts', pod('p').cpu('2').overhead({ cpu: '1m' }), two, [], ['Insufficient cpu'], false],
    [
      'requests of the pod as a whole replace those of its containers',
      pod('p').cpu('3').podLevelRequests({ cpu: '2' }),
      two,
      [],
      [],
    ],
  ]
  for (const [title, wants, on, has, reasons, preemptionCouldHelp = true] of table)
    test(title, () => {
      const placed = has.map((builder, i) => builder.uid(`placed-${i}`).on('n').object())
      assert.deepEqual(
        refusalOn(createNodeResourcesFit(), wants.object(), on.object(), placed),
        reasons.length === 0 ? undefined : { reasons, preemptionCouldHelp },
      )
    })

  test('a pod that asks for dozens of resources which nobody has is refused with each of them', () => {
    const greedy = pod('p')
    const names = Array.from({ length: 60 }, (_, i) => `example.com/r${String(i).padStart(2, '0')}`)
    for (const name of names) greedy.request(name, 1)
    assert.deepEqual(
      refusalOn(createNodeResourcesFit(), greedy.object(), two.object())?.reasons,
      names.map((name) => `Insufficient ${name}`),
    )
  })

  test('only combinations of reasons that occur take room', () => {
    const cluster = clusterOf({ nodes: [two.object(), node('m').cpu('1').object()], placed: [] })
    const constraint = createNodeResourcesFit()
    for (let i = 0; i < 100; i++) {
      const check = constraint.prepare(cluster.readPod(pod('p').cpu('3').object()), cluster)
      assert.ok(check !== undefined && !isPodRefusal(check))
      check.sift(Int32Array.of(0, 1), 2, { counts: new Int32Array(1) })
      assert.ok(check.refusals.length <= 2)
    }
  })
})
