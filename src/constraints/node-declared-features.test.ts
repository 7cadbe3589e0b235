import assert from 'node:assert/strict'
import { test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { nodeDeclaredFeatures, REASON_FEATURES } from './node-declared-features.ts'
import { clusterWith, isWoken, said } from './volumes.fixture.ts'

const inUserNamespace = pod('p').spec({ hostNetwork: true, hostUsers: false }).object()
const declaring = (name: string, ...declaredFeatures: string[]) => {
  const object = node(name).object()
  return { ...object, status: { ...object.status, declaredFeatures } }
}

test('a pod goes only where the node declares what it makes use of', () => {
  const nodes = [declaring('a'), declaring('b', 'Another', 'UserNamespacesHostNetworkSupport')]
  const cluster = clusterWith({ nodes })
  assert.equal(said(nodeDeclaredFeatures, inUserNamespace, cluster), `a: ${REASON_FEATURES}; b: yes`)
  assert.equal(said(nodeDeclaredFeatures, pod('p').object(), cluster), 'no concern of it')
  assert.equal(REASON_FEATURES, "node(s) didn't match Pod's required features")
})

test('a node that begins to declare something wakes it', () => {
  const cluster = clusterWith({ nodes: [declaring('a')] })
  const events = cluster.applyNode(cluster.readNode(declaring('a', 'UserNamespacesHostNetworkSupport')))
  assert.equal(isWoken(nodeDeclaredFeatures, inUserNamespace, cluster, events), true)
})
