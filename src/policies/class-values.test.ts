import assert from 'node:assert/strict'
import { test } from 'node:test'
import { label, node, pod, term } from '../../test/builders.ts'
import { choiceOf, clusterWith } from './contract.ts'
import { createPolicy } from './registry.ts'

test('labels that change for ever are scored as they are, though the numbers of node classes are used again', async () => {
  const cluster = clusterWith([node('still').zone('b').object(), node('n').zone('a').object()])
  const policy = createPolicy('kube-default')
  const likesA = pod('p')
    .prefersNode(1, term(label('topology.kubernetes.io/zone').in('a')))
    .object()
  const epoch = cluster.classEpoch
  for (let i = 0; i < 2500; i++) {
    const built = node('n').label('build', String(i))
    if (i % 3 === 0) built.zone('a')
    else built.zone('b').taint('soft', 'PreferNoSchedule')
    cluster.applyNode(cluster.readNode(built.object()))
    assert.equal(await choiceOf(policy, likesA, cluster), i % 3 === 0 ? 'n' : 'still')
  }
  assert.notEqual(cluster.classEpoch, epoch, 'the numbers were given out anew meanwhile')
})
