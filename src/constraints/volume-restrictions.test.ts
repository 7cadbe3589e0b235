import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import type { PodVolumeSource } from '../cluster/objects.ts'
import { claim, using } from '../cluster/storage.fixture.ts'
import { REASON_DISK, REASON_ONCE_POD, volumeRestrictions } from './volume-restrictions.ts'
import { clusterWith, isWoken, said, wakes } from './volumes.fixture.ts'

const disk = (volume: PodVolumeSource) => ({ volumes: [volume] })
const gce = (pdName: string, readOnly = false) => disk({ gcePersistentDisk: { pdName, readOnly } })
const iscsi = (iqn: string, readOnly = false) => disk({ iscsi: { iqn, readOnly } })
const rbd = (monitors: string[], image: string, readOnly = false) => disk({ rbd: { monitors, image, readOnly } })
const nodes = [node('a').object(), node('b').object()]

describe('disks that pods name themselves', () => {
  const table: readonly [title: string, wants: object, has: object, free: boolean][] = [
    ['a GCE disk cannot be used by two pods', gce('d'), gce('d'), false],
    ['unless both only read it', gce('d', true), gce('d', true), true],
    ['not if only one of them does', gce('d', true), gce('d'), false],
    ['another disk is free', gce('d'), gce('e'), true],
    [
      'an EBS volume cannot even be read by two',
      disk({ awsElasticBlockStore: { volumeID: 'v' } }),
      disk({ awsElasticBlockStore: { volumeID: 'v' } }),
      false,
    ],
    ['an iSCSI target cannot be written by two', iscsi('t'), iscsi('t', true), false],
    ['an iSCSI target may be read by two', iscsi('t', true), iscsi('t', true), true],
    ['an RBD image of a shared monitor cannot be written by two', rbd(['m1', 'm2'], 'i'), rbd(['m2'], 'i'), false],
    ['an RBD image of the same name elsewhere is another', rbd(['m1'], 'i'), rbd(['m2'], 'i'), true],
  ]
  for (const [title, wants, has, free] of table)
    test(title, () => {
      const cluster = clusterWith({ nodes, placed: [pod('q').spec(has).on('a').object()] })
      const waiting = pod('p').spec(wants).object()
      assert.equal(said(volumeRestrictions, waiting, cluster), `a: ${free ? 'yes' : REASON_DISK}; b: yes`)
      assert.equal(isWoken(volumeRestrictions, waiting, cluster, cluster.removePod('uid-q')), !free)
    })
})

describe('claims for one pod alone', () => {
  const storage = [claim('mine', { modes: ['ReadWriteOncePod'] }), claim('ours')]

  test('a claim in use anywhere keeps a second pod off every node', () => {
    const cluster = clusterWith({ nodes, storage, placed: [pod('q').spec(using('mine')).on('a').object()] })
    const waiting = pod('p').spec(using('mine')).object()
    assert.equal(said(volumeRestrictions, waiting, cluster), `a: ${REASON_ONCE_POD}; b: ${REASON_ONCE_POD}`)
    assert.equal(isWoken(volumeRestrictions, waiting, cluster, cluster.removePod('uid-q')), true)
    assert.equal(said(volumeRestrictions, waiting, cluster), 'no concern of it')
  })

  test('other claims may be shared', () => {
    const cluster = clusterWith({ nodes, storage, placed: [pod('q').spec(using('ours')).on('a').object()] })
    assert.equal(said(volumeRestrictions, pod('p').spec(using('ours')).object(), cluster), 'no concern of it')
  })

  test('the claim of that name in another namespace is another', () => {
    const placed = [pod('q').namespace('other').spec(using('mine')).on('a').object()]
    const cluster = clusterWith({ nodes, storage, placed })
    assert.equal(said(volumeRestrictions, pod('p').spec(using('mine')).object(), cluster), 'no concern of it')
  })

  test('a claim that does not exist is told in words that end like those of kube-scheduler, and its coming wakes', () => {
    const cluster = clusterWith({ nodes })
    const waiting = pod('p').spec(using('mine')).object()
    assert.equal(said(volumeRestrictions, waiting, cluster), 'persistentvolumeclaim "mine" not found. not found')
    assert.equal(wakes(volumeRestrictions, waiting, cluster, claim('ours')), false)
    assert.equal(wakes(volumeRestrictions, waiting, cluster, claim('mine')), true)
  })
})
