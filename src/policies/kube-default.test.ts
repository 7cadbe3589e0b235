import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { label, node, pod, term } from '../../test/builders.ts'
import type { PodObject } from '../cluster/objects.ts'
import type { ClusterState } from '../cluster/state.ts'
import { choiceOf, clusterWith, contextOf, everyNode, rank } from './contract.ts'
import { createPolicy } from './registry.ts'

const MIB = 1024 * 1024

/** Values of one term by node; undefined where the policy leaves it out. */
const termOf = async (
  name: string,
  object: PodObject,
  cluster: ClusterState,
): Promise<readonly number[] | undefined> => {
  const { terms } = await rank(
    createPolicy('kube-default'),
    cluster.readPod(object),
    everyNode(cluster),
    contextOf(cluster),
  )
  return terms.find((one) => one.name === name)?.values
}

describe('kube-default scores as kube-scheduler does', () => {
  const three = clusterWith(
    [
      node('a').cpu('4').memory('16Gi').object(),
      node('b').cpu('8').memory('16Gi').object(),
      node('c').cpu('4').memory('16Gi').object(),
    ],
    [pod('q').cpu('2').memory('8Gi').on('c').object()],
  )

  test('the terms are its plugins, with its weights', async () => {
    const waiting = pod('p')
      .cpu('1')
      .memory('4Gi')
      .image('web')
      .prefersNode(1, term(label('x').exists()))
      .object()
    const { scores, terms, usage } = await rank(
      createPolicy('kube-default'),
      three.readPod(waiting),
      everyNode(three),
      contextOf(three),
    )
    assert.deepEqual(
      terms.map(({ name, weight }) => [name, weight]),
      [
        ['TaintToleration', 3],
        ['NodeAffinity', 2],
        ['NodeResourcesFit', 1],
        ['NodeResourcesBalancedAllocation', 1],
        ['ImageLocality', 1],
      ],
    )
    // a: free 75 % and 75 %, balance kept; b: 87 % and 75 %, tipped by 0.125 / 2; c: 25 % and 25 %, kept
    assert.deepEqual(terms[2]?.values, [75, 81, 25])
    assert.deepEqual(terms[3]?.values, [75, 71, 75])
    assert.deepEqual(scores, [300 + 150, 300 + 152, 300 + 100])
    assert.equal(usage, undefined, 'it looks at requests, not at load')
  })

  test('a pod without requests counts as 100 millicores and 200 MiB, and its balance is left out', async () => {
    assert.deepEqual(await termOf('NodeResourcesFit', pod('p').object(), three), [97, 98, 47])
    assert.equal(await termOf('NodeResourcesBalancedAllocation', pod('p').object(), three), undefined)
  })

  test('an explicit 0 stays 0', async () => {
    assert.deepEqual(await termOf('NodeResourcesFit', pod('p').cpu('0').memory('0').object(), three), [100, 100, 50])
  })

  test('soft taints cost in proportion to the node that has most of them', async () => {
    const cluster = clusterWith([
      node('none').object(),
      node('one').taint('a', 'PreferNoSchedule').object(),
      node('three')
        .taint('a', 'PreferNoSchedule')
        .taint('b', 'PreferNoSchedule')
        .taint('c', 'PreferNoSchedule')
        .object(),
      node('hard').taint('d', 'NoSchedule').object(),
    ])
    assert.deepEqual(await termOf('TaintToleration', pod('p').object(), cluster), [100, 67, 0, 100])
    assert.deepEqual(await termOf('TaintToleration', pod('p').tolerates('a').object(), cluster), [100, 100, 0, 100])
    assert.deepEqual(
      await termOf('TaintToleration', pod('p').toleration({ operator: 'Exists' }).object(), cluster),
      [100, 100, 100, 100],
    )
  })

  test('preferred terms count by their weights, the best node 100; without any the plugin is left out', async () => {
    const cluster = clusterWith([
      node('a').label('disk', 'ssd').object(),
      node('b').label('disk', 'ssd').label('fast', 'yes').object(),
      node('c').object(),
    ])
    const waiting = pod('p')
      .prefersNode(1, term(label('disk').in('ssd')))
      .prefersNode(2, term(label('fast').exists()))
      .prefersNode(50, term())
    assert.deepEqual(await termOf('NodeAffinity', waiting.object(), cluster), [33, 100, 0])
    assert.equal(await termOf('NodeAffinity', pod('p').object(), cluster), undefined)
    assert.deepEqual(
      await termOf(
        'NodeAffinity',
        pod('p')
          .prefersNode(5, term(label('kubernetes.io/hostname').in('c')))
          .object(),
        cluster,
      ),
      [0, 0, 100],
    )
  })

  test('images that a node has count by size and by the share of nodes that have them', async () => {
    const cluster = clusterWith([
      node('a')
        .image(500 * MIB, 'web:latest', 'registry.example/web:1')
        .object(),
      node('b')
        .image(500 * MIB, 'web:latest')
        .image(100 * MIB, 'side:2')
        .object(),
      node('c').object(),
    ])
    // web: 500 * 2/3 = 333.3 MiB: 100 * (333.3 - 23) / 977 = 31.7
    assert.deepEqual(await termOf('ImageLocality', pod('p').image('web').object(), cluster), [31, 31, 0])
    // two images: 100 * (333.3 - 23) / 1977 = 15.7; with side 33.3 more: 17.3
    const both = pod('p').image('web').container({ name: 's', image: 'side:2' }).object()
    assert.deepEqual(await termOf('ImageLocality', both, cluster), [15, 17, 0])
    assert.deepEqual(await termOf('ImageLocality', pod('p').image('other').object(), cluster), [0, 0, 0])
  })

  test('a pod with more images than fit into a machine word is scored all the same', async () => {
    const many = pod('p')
    const built = node('a')
    for (let i = 0; i < 40; i++) {
      many.container({ name: `c${i}`, image: `i${i}:1` })
      built.image(1000 * MIB, `i${i}:1`)
    }
    const cluster = clusterWith([
      built.object(),
      node('b')
        .image(1000 * MIB, 'i39:1')
        .object(),
    ])
    const values = await termOf('ImageLocality', many.object(), cluster)
    assert.ok(values !== undefined && (values[0] ?? 0) > (values[1] ?? 0))
  })

  test('scores follow the cluster: a node that filled up meanwhile is scored as it is now', async () => {
    const cluster = clusterWith([node('a').cpu('4').object(), node('b').cpu('4').object()])
    const policy = createPolicy('kube-default')
    const waiting = cluster.readPod(pod('p').cpu('1').memory('1Gi').object())
    const [a = 0, b = 0] = (await rank(policy, waiting, everyNode(cluster), contextOf(cluster))).scores
    assert.equal(a, b)
    cluster.assume(cluster.readPod(pod('q').cpu('1').memory('4Gi').object()), cluster.indexOf('a'))
    const after = (await rank(policy, waiting, everyNode(cluster), contextOf(cluster))).scores
    assert.deepEqual(
      after,
      (await rank(createPolicy('kube-default'), waiting, everyNode(cluster), contextOf(cluster))).scores,
    )
    assert.ok((after[0] ?? 0) < (after[1] ?? 0))
    cluster.forget('uid-q')
    assert.deepEqual((await rank(policy, waiting, everyNode(cluster), contextOf(cluster))).scores, [a, b])
  })

  test('templates beyond number are scored right, though not all are remembered', async () => {
    const cluster = clusterWith([node('a').cpu('4').object(), node('b').cpu('64').object()])
    const policy = createPolicy('kube-default')
    for (let round = 0; round < 2; round++)
      for (let i = 1; i <= 100; i++) {
        const waiting = cluster.readPod(
          pod('p')
            .cpu(`${i * 10}m`)
            .memory('1Gi')
            .object(),
        )
        const { scores } = await rank(policy, waiting, everyNode(cluster), contextOf(cluster))
        const fresh = await rank(createPolicy('kube-default'), waiting, everyNode(cluster), contextOf(cluster))
        assert.deepEqual(scores, fresh.scores)
      }
  })
})

test('most_allocated fills nodes that kube-default would spare', async () => {
  const cluster = clusterWith(
    [node('empty').object(), node('half').object()],
    [pod('q').cpu('2').memory('8Gi').on('half').object()],
  )
  const waiting = pod('p').cpu('1').memory('4Gi').object()
  assert.equal(await choiceOf(createPolicy('kube-default'), waiting, cluster), 'empty')
  assert.equal(await choiceOf(createPolicy('most_allocated'), waiting, cluster), 'half')
})
