import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { seededRandom } from '../clock/random.ts'
import type { PodObject } from '../cluster/objects.ts'
import type { ClusterState } from '../cluster/state.ts'
import { StowageError } from '../errors/catalogue.ts'
import { choiceOf, clusterWith, contextOf, everyNode, rank } from './contract.ts'
import type { Policy } from './policy.ts'
import { createPolicy, policyNames } from './registry.ts'

describe('policies by name', () => {
  test('every name makes the policy of that name', () => {
    assert.deepEqual(
      policyNames.map((name) => createPolicy(name).name),
      policyNames,
    )
  })

  test('hyphens and underscores are the same', () => {
    assert.equal(createPolicy('kube_default').name, 'kube-default')
    assert.equal(createPolicy('round-robin').name, 'round_robin')
  })

  test('a name that does not exist is an error that says what exists', () => {
    assert.throws(
      () => createPolicy('best'),
      (thrown) =>
        thrown instanceof StowageError &&
        thrown.code === 'POLICY_UNKNOWN' &&
        /"best".*kube-default, resource_balanced/.test(thrown.message),
    )
  })
})

/** Places pods one after the other as the scheduler does: each counts on its node at once. */
const placeAll = async (policy: Policy, pods: readonly PodObject[], cluster: ClusterState): Promise<string[]> => {
  const placed: string[] = []
  for (const object of pods) {
    const name = await choiceOf(policy, object, cluster)
    cluster.assume(cluster.readPod(object), cluster.indexOf(name))
    placed.push(name)
  }
  return placed
}

const pods = (count: number): PodObject[] => Array.from({ length: count }, (_, i) => pod(`p${i}`).object())

describe('round_robin', () => {
  test('nodes take turns, in the order in which they arrived', async () => {
    const cluster = clusterWith(['a', 'b', 'c'].map((name) => node(name).object()))
    assert.deepEqual(await placeAll(createPolicy('round_robin'), pods(7), cluster), ['a', 'b', 'c', 'a', 'b', 'c', 'a'])
  })

  test('the fullest node is not preferred: the original chose it every time', async () => {
    const cluster = clusterWith(
      ['a', 'b'].map((name) => node(name).object()),
      [0, 1, 2].map((i) => pod(`q${i}`).cpu('1').on('b').object()),
    )
    assert.deepEqual(await placeAll(createPolicy('round_robin'), pods(4), cluster), ['a', 'b', 'a', 'b'])
  })

  test('a node that is no candidate is passed over, and the next one has its turn', async () => {
    const cluster = clusterWith(['a', 'b', 'c'].map((name) => node(name).object()))
    const policy = createPolicy('round_robin')
    assert.deepEqual(await placeAll(policy, pods(1), cluster), ['a'])
    const waiting = cluster.readPod(pod('x').object())
    const candidates = { nodes: Int32Array.of(cluster.indexOf('c'), cluster.indexOf('a')), count: 2 }
    const { scores } = await rank(policy, waiting, candidates, contextOf(cluster))
    assert.ok((scores[0] ?? 0) > (scores[1] ?? 0), 'c comes before a')
    cluster.assume(waiting, cluster.indexOf('c'))
    assert.equal(await choiceOf(policy, pod('y').object(), cluster), 'a')
  })

  test('a ranking that came to nothing costs nobody a turn', async () => {
    const cluster = clusterWith(['a', 'b', 'c'].map((name) => node(name).object()))
    const policy = createPolicy('round_robin')
    for (let i = 0; i < 5; i++) assert.equal(await choiceOf(policy, pod('p').object(), cluster), 'a')
  })

  test('it goes on behind a node that has gone', async () => {
    const cluster = clusterWith(['a', 'b', 'c', 'd'].map((name) => node(name).object()))
    const policy = createPolicy('round_robin')
    assert.deepEqual(await placeAll(policy, pods(2), cluster), ['a', 'b'])
    cluster.removeNode('b')
    assert.equal(await choiceOf(policy, pod('x').object(), cluster), 'c')
  })
})

describe('policies that look at load', () => {
  for (const name of ['least_loaded', 'resource_balanced']) {
    test(`${name} goes by what was measured, and says so`, async () => {
      const cluster = clusterWith(
        ['busy', 'idle'].map((one) => node(one).object()),
        [pod('q').cpu('3').memory('1Gi').on('idle').object()],
      )
      const waiting = pod('p').object()
      const before = await rank(createPolicy(name), cluster.readPod(waiting), everyNode(cluster), contextOf(cluster))
      assert.equal(before.usage, 'requests')
      assert.equal(await choiceOf(createPolicy(name), waiting, cluster), 'busy')
      cluster.applyUsage('busy', 3900, 15 * 1024 ** 3)
      cluster.applyUsage('idle', 50, 1024 ** 3)
      const after = await rank(createPolicy(name), cluster.readPod(waiting), everyNode(cluster), contextOf(cluster))
      assert.equal(after.usage, 'metrics.k8s.io')
      assert.equal(await choiceOf(createPolicy(name), waiting, cluster), 'idle')
    })

    test(`${name} spreads pods that ask for nothing`, async () => {
      const cluster = clusterWith(['a', 'b', 'c'].map((one) => node(one).object()))
      assert.deepEqual((await placeAll(createPolicy(name), pods(6), cluster)).sort(), ['a', 'a', 'b', 'b', 'c', 'c'])
    })
  }

  test('a burst is not stacked on the node that was least loaded when it was measured', async () => {
    const cluster = clusterWith(['a', 'b'].map((one) => node(one).object()))
    cluster.applyUsage('a', 100, 1024 ** 3)
    cluster.applyUsage('b', 600, 1024 ** 3)
    const burst = Array.from({ length: 4 }, (_, i) => pod(`p${i}`).cpu('1').object())
    assert.deepEqual(await placeAll(createPolicy('least_loaded'), burst, cluster), ['a', 'b', 'a', 'b'])
  })

  test('resource_balanced counts 35 % cpu, 35 % memory and 30 % pod slots', async () => {
    const cluster = clusterWith(
      [node('n').cpu('4').memory('16Gi').pods(10).object()],
      [pod('q').cpu('1').memory('8Gi').on('n').object()],
    )
    const { scores } = await rank(
      createPolicy('resource_balanced'),
      cluster.readPod(pod('p').object()),
      everyNode(cluster),
      contextOf(cluster),
    )
    assert.ok(Math.abs((scores[0] ?? 0) - (0.35 * 75 + 0.35 * 50 + 0.3 * 90)) < 1e-9)
  })
})

describe('borg', () => {
  test('its score is -(cr + mr + mr/cr + cr/mr)', async () => {
    const cluster = clusterWith(
      [node('n').cpu('4').memory('16Gi').object()],
      [pod('q').cpu('2').memory('8Gi').on('n').object()],
    )
    const waiting = cluster.readPod(pod('p').cpu('1').memory('2Gi').object())
    const { scores } = await rank(createPolicy('borg'), waiting, everyNode(cluster), contextOf(cluster))
    // cr = 1 / 2, mr = 2 / 8
    assert.ok(Math.abs((scores[0] ?? 0) + (0.5 + 0.25 + 0.5 + 2)) < 1e-9)
  })

  test('it prefers the node whose free room has the shape of the pod', async () => {
    const cluster = clusterWith([
      node('cpu').cpu('16').memory('16Gi').object(),
      node('memory').cpu('4').memory('64Gi').object(),
    ])
    assert.equal(await choiceOf(createPolicy('borg'), pod('p').cpu('1').memory('16Gi').object(), cluster), 'memory')
    assert.equal(await choiceOf(createPolicy('borg'), pod('p').cpu('4').memory('4Gi').object(), cluster), 'cpu')
  })

  test('a pod that asks for no memory goes where most cpu is free', async () => {
    const cluster = clusterWith([node('small').cpu('2').object(), node('large').cpu('8').object()])
    assert.equal(await choiceOf(createPolicy('borg'), pod('p').cpu('1').memory('0').object(), cluster), 'large')
  })
})

describe('random', () => {
  test('the seed decides', async () => {
    const cluster = clusterWith(['a', 'b', 'c'].map((one) => node(one).object()))
    const draw = (seed: number) =>
      rank(
        createPolicy('random'),
        cluster.readPod(pod('p').object()),
        everyNode(cluster),
        contextOf(cluster, seededRandom(seed)),
      )
    assert.deepEqual(await draw(7), await draw(7))
    assert.notDeepEqual((await draw(7)).scores, (await draw(8)).scores)
  })

  test('every GPU with room is chosen about as often, and none without', async () => {
    const cluster = clusterWith(
      [node('n').allocatable('stowage.dev/gpu-milli', '4000').object()],
      [pod('q').request('stowage.dev/gpu-milli', '600').on('n').object()],
    )
    const waiting = cluster.readPod(pod('p').request('stowage.dev/gpu-milli', '500').object())
    const context = contextOf(cluster, seededRandom(3))
    const policy = createPolicy('random')
    const chosen = new Int32Array(4)
    for (let i = 0; i < 3000; i++) {
      const { devicesOf } = await policy.rank(waiting, everyNode(cluster), context)
      for (const gpu of devicesOf?.(0) ?? []) chosen[gpu] = (chosen[gpu] ?? 0) + 1
    }
    assert.equal(chosen[0], 0)
    for (const times of chosen.subarray(1)) assert.ok(times > 900 && times < 1100, chosen.join())
  })

  test('every node is chosen about as often', async () => {
    const cluster = clusterWith(['a', 'b', 'c', 'd'].map((one) => node(one).object()))
    const context = contextOf(cluster, seededRandom(3))
    const policy = createPolicy('random')
    const chosen = new Int32Array(4)
    for (let i = 0; i < 2000; i++) {
      const { scores } = await rank(policy, cluster.readPod(pod('p').object()), everyNode(cluster), context)
      const best = scores.indexOf(Math.max(...scores))
      chosen[best] = (chosen[best] ?? 0) + 1
    }
    for (const times of chosen) assert.ok(times > 430 && times < 570, chosen.join())
  })
})
