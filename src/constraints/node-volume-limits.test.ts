import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { attachment, claim, csiDriver, csiNode, storageClass, using, volume } from '../cluster/storage.fixture.ts'
import { nodeVolumeLimits, notInstalled, REASON_TOO_MANY_VOLUMES as FULL } from './node-volume-limits.ts'
import { clusterWith, isWoken, said, wakes } from './volumes.fixture.ts'

const bound = (...names: string[]) =>
  names.flatMap((name) => [
    claim(name, { volumeName: `v-${name}` }),
    volume(`v-${name}`, { driver: 'disks', claimRef: { namespace: 'default', name } }),
  ])
const nodes = [node('a').object(), node('b').object()]
const limits = [csiNode('a', { disks: 2 }), csiNode('b', { disks: undefined })]
const on = (name: string, ...claims: string[]) =>
  pod(name)
    .spec(using(...claims))
    .on('a')
    .object()

describe('how many volumes a node takes', () => {
  const storage = [...limits, ...bound('x', 'y', 'z'), storageClass('waits', { provisioner: 'disks' }), claim('new')]

  test('two of two leave room for none, where there is a limit', () => {
    const cluster = clusterWith({ nodes, storage, placed: [on('q', 'x'), on('r', 'y')] })
    assert.equal(said(nodeVolumeLimits, pod('p').spec(using('z')).object(), cluster), `a: ${FULL}; b: yes`)
  })

  test('a volume that is there already counts once', () => {
    const cluster = clusterWith({ nodes, storage, placed: [on('q', 'x'), on('r', 'y'), on('s', 'y')] })
    assert.equal(said(nodeVolumeLimits, pod('p').spec(using('x')).object(), cluster), 'a: yes; b: yes')
  })

  test('a volume to be made counts, too', () => {
    const cluster = clusterWith({ nodes, storage, placed: [on('q', 'x'), on('r', 'y')] })
    assert.equal(said(nodeVolumeLimits, pod('p').spec(using('new')).object(), cluster), `a: ${FULL}; b: yes`)
  })

  test('the volumes of one pod count together', () => {
    const cluster = clusterWith({ nodes, storage })
    assert.equal(
      said(
        nodeVolumeLimits,
        pod('p')
          .spec(using('x', 'y', 'z'))
          .object(),
        cluster,
      ),
      `a: ${FULL}; b: yes`,
    )
  })

  test('a volume that is still attached counts although its pod is gone, and its end wakes', () => {
    const cluster = clusterWith({
      nodes,
      storage: [...storage, attachment('1', 'a', 'disks', 'v-y'), attachment('2', 'a', 'disks', 'v-x')],
      placed: [on('q', 'x')],
    })
    const waiting = pod('p').spec(using('z')).object()
    assert.equal(said(nodeVolumeLimits, waiting, cluster), `a: ${FULL}; b: yes`)
    assert.equal(isWoken(nodeVolumeLimits, waiting, cluster, cluster.volumes.removeAttachment('1')), true)
    assert.equal(said(nodeVolumeLimits, waiting, cluster), 'a: yes; b: yes')
  })

  test('a pod that goes makes room and wakes; one without volumes does not', () => {
    const cluster = clusterWith({ nodes, storage, placed: [on('q', 'x'), on('r', 'y'), pod('s').on('a').object()] })
    const waiting = pod('p').spec(using('z')).object()
    assert.equal(isWoken(nodeVolumeLimits, waiting, cluster, cluster.removePod('uid-s')), false)
    assert.equal(isWoken(nodeVolumeLimits, waiting, cluster, cluster.removePod('uid-q')), true)
    assert.equal(said(nodeVolumeLimits, waiting, cluster), 'a: yes; b: yes')
  })

  test('a higher limit wakes, a lower one does not', () => {
    const cluster = clusterWith({ nodes, storage })
    const waiting = pod('p').spec(using('z')).object()
    assert.equal(wakes(nodeVolumeLimits, waiting, cluster, csiNode('a', { disks: 1 })), false)
    assert.equal(wakes(nodeVolumeLimits, waiting, cluster, csiNode('a', { disks: 3 })), true)
  })

  test('a claim that is bound while its pod runs is counted as the volume it got', () => {
    const cluster = clusterWith({ nodes, storage, placed: [on('q', 'new'), on('r', 'y')] })
    const waiting = pod('p').spec(using('z')).object()
    assert.equal(said(nodeVolumeLimits, waiting, cluster), `a: ${FULL}; b: yes`)
    wakes(nodeVolumeLimits, waiting, cluster, claim('new', { volumeName: 'v-z', resourceVersion: '2' }))
    assert.equal(said(nodeVolumeLimits, waiting, cluster), 'a: yes; b: yes')
  })

  test('what was built into Kubernetes counts with the driver that took over', () => {
    const ebs = (volumeID: string) => ({ volumes: [{ awsElasticBlockStore: { volumeID } }] })
    const cluster = clusterWith({
      nodes,
      storage: [csiNode('a', { 'ebs.csi.aws.com': 1 })],
      placed: [pod('q').spec(ebs('1')).on('a').object()],
    })
    assert.equal(said(nodeVolumeLimits, pod('p').spec(ebs('2')).object(), cluster), `a: ${FULL}; b: yes`)
  })

  test('a driver that pods must not do without is asked for by name', () => {
    const cluster = clusterWith({
      nodes,
      storage: [...storage, csiDriver('disks', { preventPodSchedulingIfMissing: true }), csiNode('b', {})],
    })
    const waiting = pod('p').spec(using('x')).object()
    assert.equal(said(nodeVolumeLimits, waiting, cluster), `a: yes; b: ${notInstalled('disks')}`)
    assert.equal(notInstalled('disks'), 'disks CSI driver is not installed on the node')
  })
})
