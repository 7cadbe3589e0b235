import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { claim, storageClass, using, volume } from '../cluster/storage.fixture.ts'
import { REASON_ZONE, volumeZone } from './volume-zone.ts'
import { clusterWith, said, wakes } from './volumes.fixture.ts'

const ZONE = 'topology.kubernetes.io/zone'
const BETA = 'failure-domain.beta.kubernetes.io/zone'
const nodes = [node('a').zone('z1').object(), node('b').zone('z2').object(), node('c').object()]

describe('volumes with a zone', () => {
  const table: readonly [title: string, labels: Record<string, string>, answer: string][] = [
    ['are used in their zone, and on nodes that have none', { [ZONE]: 'z1' }, `a: yes; b: ${REASON_ZONE}; c: yes`],
    ['may be in several', { [ZONE]: 'z1__z2' }, 'a: yes; b: yes; c: yes'],
    ['may have the older label', { [BETA]: 'z2' }, `a: ${REASON_ZONE}; b: yes; c: yes`],
    [
      'must be in both where zone and region are named',
      { [ZONE]: 'z1', 'topology.kubernetes.io/region': 'there' },
      `a: ${REASON_ZONE}; b: ${REASON_ZONE}; c: yes`,
    ],
    ['with a label that cannot be read are anywhere', { [ZONE]: 'z1____z2' }, 'no concern of it'],
  ]
  for (const [title, labels, answer] of table)
    test(title, () => {
      const storage = [claim('c', { volumeName: 'v' }), volume('v', { labels })]
      assert.equal(said(volumeZone, pod('p').spec(using('c')).object(), clusterWith({ nodes, storage })), answer)
    })

  test('a claim whose volume is not there is told in the words of kube-scheduler', () => {
    const cluster = clusterWith({ nodes, storage: [claim('c', { volumeName: 'v' })] })
    const waiting = pod('p').spec(using('c')).object()
    assert.equal(said(volumeZone, waiting, cluster), 'persistentvolume "v" not found. not found')
    assert.equal(wakes(volumeZone, waiting, cluster, volume('other')), true)
  })

  test('a volume that moves wakes, one that changes otherwise does not', () => {
    const storage = [claim('c', { volumeName: 'v' }), volume('v', { labels: { [ZONE]: 'z9' } })]
    const cluster = clusterWith({ nodes, storage })
    const waiting = pod('p').spec(using('c')).object()
    assert.equal(wakes(volumeZone, waiting, cluster, volume('v', { labels: { [ZONE]: 'z9' }, phase: 'Bound' })), false)
    assert.equal(wakes(volumeZone, waiting, cluster, volume('v', { labels: { [ZONE]: 'z1' } })), true)
    assert.equal(wakes(volumeZone, waiting, cluster, claim('d')), false)
    assert.equal(wakes(volumeZone, waiting, cluster, claim('c', { volumeName: 'v', resourceVersion: '2' })), true)
    assert.equal(wakes(volumeZone, waiting, cluster, storageClass('late')), true)
    assert.equal(wakes(volumeZone, waiting, cluster, storageClass('now', { mode: 'Immediate' })), false)
  })
})
