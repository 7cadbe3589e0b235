import assert from 'node:assert/strict'
import { test } from 'node:test'
import { label, node, pod, term } from '../../test/builders.ts'
import { answerOf, clusterOf } from './contract.ts'
import { createNodeAffinity, REASON_AFFINITY } from './node-affinity.ts'

test('labels that change for ever are judged as they are, though the numbers of node classes are used again', () => {
  const cluster = clusterOf({ nodes: [node('still').zone('a').object(), node('n').zone('a').object()], placed: [] })
  const constraint = createNodeAffinity()
  const inA = cluster.readPod(
    pod('p')
      .requiresNode(term(label('topology.kubernetes.io/zone').in('a')))
      .object(),
  )
  const epoch = cluster.classEpoch
  for (let i = 0; i < 2500; i++) {
    const zone = i % 3 === 0 ? 'a' : 'b'
    cluster.applyNode(cluster.readNode(node('n').zone(zone).label('build', String(i)).object()))
    const check = constraint.prepare(inA, cluster)
    assert.equal(answerOf(check, cluster.indexOf('still')), undefined)
    assert.deepEqual(answerOf(check, cluster.indexOf('n'))?.reasons, zone === 'a' ? undefined : [REASON_AFFINITY])
  }
  assert.notEqual(cluster.classEpoch, epoch, 'the numbers were given out anew meanwhile')
})
