import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod, type PodBuilder } from '../builders.ts'
import { type Props, Stage, type WireObject } from './stage.ts'

const ZONE = 'topology.kubernetes.io/zone'
const DRIVER = 'disks.example.com'

const using = (name: string, ...claims: string[]): PodBuilder =>
  pod(name).spec({
    volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })),
  })

const storageClass = (name: string, rest: object = {}): WireObject => ({
  metadata: { name },
  provisioner: DRIVER,
  volumeBindingMode: 'WaitForFirstConsumer',
  ...rest,
})
/** A claim; bound to `volumeName` if that is given. */
const claim = (name: string, spec: object, volumeName?: string): WireObject => ({
  metadata: {
    name,
    namespace: 'default',
    uid: `uid-${name}`,
    ...(volumeName === undefined ? {} : { annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } }),
  },
  spec: {
    accessModes: ['ReadWriteOnce'],
    resources: { requests: { storage: '5Gi' } },
    ...spec,
    ...(volumeName === undefined ? {} : { volumeName }),
  },
  status: { phase: volumeName === undefined ? 'Pending' : 'Bound' },
})
const volume = (name: string, spec: object, labels: Record<string, string> = {}): WireObject => ({
  metadata: { name, labels },
  spec: {
    capacity: { storage: '5Gi' },
    accessModes: ['ReadWriteOnce'],
    csi: { driver: DRIVER, volumeHandle: name },
    ...spec,
  },
  status: { phase: 'Available' },
})
const inZone = (zone: string): object => ({
  nodeAffinity: {
    required: { nodeSelectorTerms: [{ matchExpressions: [{ key: ZONE, operator: 'In', values: [zone] }] }] },
  },
})

describe('claims and volumes', () => {
  const twoZones = () => [node('a').zone('a'), node('b').zone('b')]

  test('a pod whose claim does not exist waits with its name', async () => {
    const stage = await Stage.of(twoZones())
    assert.match(
      await stage.told(using('p', 'data')),
      /^0\/2 nodes are available: persistentvolumeclaim "data" not found\./,
    )
  })
  test('a bound volume takes the pod to where the volume is', async () => {
    const props: Props = {
      classes: [storageClass('later')],
      volumes: [volume('v', { storageClassName: 'later', ...inZone('b') })],
      claims: [claim('data', { storageClassName: 'later' }, 'v')],
    }
    const stage = await Stage.of(twoZones(), [], props)
    assert.equal(await stage.where(using('p', 'data')), 'b')
    const elsewhere = await Stage.of([node('a').zone('a')], [], props)
    assert.equal(await elsewhere.where(using('p', 'data')), "1 node(s) didn't match PersistentVolume's node affinity.")
  })
  test('the zone label of a volume counts as well', async () => {
    const props: Props = {
      classes: [storageClass('later')],
      volumes: [volume('v', { storageClassName: 'later' }, { [ZONE]: 'b' })],
      claims: [claim('data', { storageClassName: 'later' }, 'v')],
    }
    const stage = await Stage.of([node('a').zone('a')], [], props)
    assert.equal(await stage.where(using('p', 'data')), '1 node(s) had no available volume zone.')
    const bare = await Stage.of([node('bare')], [], props)
    assert.equal(await bare.where(using('p', 'data')), 'bare')
  })
  test('a claim of an immediate class must be bound before its pod is tried', async () => {
    const stage = await Stage.of(twoZones(), [], {
      classes: [storageClass('immediate', { volumeBindingMode: 'Immediate' })],
      claims: [claim('data', { storageClassName: 'immediate' })],
    })
    assert.match(await stage.told(using('p', 'data')), /: pod has unbound immediate PersistentVolumeClaims\./)
  })
  test('a volume is made where the pod goes, within the topologies of its class', async () => {
    const allowedTopologies = [{ matchLabelExpressions: [{ key: ZONE, values: ['b'] }] }]
    const stage = await Stage.of(twoZones(), [], {
      classes: [storageClass('later', { allowedTopologies })],
      claims: [claim('data', { storageClassName: 'later' })],
    })
    assert.equal(await stage.where(using('p', 'data')), 'b')
  })
  test('without a provisioner there must be a free volume that is large enough', async () => {
    const classes = [storageClass('static', { provisioner: 'kubernetes.io/no-provisioner' })]
    const claims = [claim('data', { storageClassName: 'static' })]
    const none = await Stage.of([node('a').zone('a')], [], { classes, claims })
    assert.equal(await none.where(using('p', 'data')), "1 node(s) didn't find available persistent volumes to bind.")
    const volumes = [
      volume('small', { storageClassName: 'static', capacity: { storage: '1Gi' } }),
      volume('there', { storageClassName: 'static', ...inZone('b') }),
    ]
    const some = await Stage.of(twoZones(), [], { classes, claims, volumes })
    assert.equal(await some.where(using('p', 'data')), 'b')
  })
  test('a driver that reports capacity is believed', async () => {
    const stage = await Stage.of(twoZones(), [], {
      classes: [storageClass('later')],
      claims: [claim('data', { storageClassName: 'later' })],
      csiDrivers: [{ metadata: { name: DRIVER }, spec: { storageCapacity: true } }],
      capacities: ['a 1Gi', 'b 10Gi'].map((text) => {
        const [zone = '', capacity = ''] = text.split(' ')
        return {
          metadata: { name: zone, namespace: 'default' },
          storageClassName: 'later',
          nodeTopology: { matchLabels: { [ZONE]: zone } },
          capacity,
        }
      }),
    })
    assert.equal(await stage.where(using('p', 'data')), 'b')
  })
  test('a claim that only one pod may use keeps the second one waiting', async () => {
    const stage = await Stage.of([node('a')], [using('first', 'data').on('a')], {
      classes: [storageClass('later')],
      volumes: [volume('v', { storageClassName: 'later', accessModes: ['ReadWriteOncePod'] })],
      claims: [claim('data', { storageClassName: 'later', accessModes: ['ReadWriteOncePod'] }, 'v')],
    })
    assert.equal(
      await stage.where(using('second', 'data')),
      '1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod.',
    )
  })
  test('a node takes as many volumes of a driver as that says, a volume shared by two pods once', async () => {
    const props: Props = {
      classes: [storageClass('later')],
      volumes: ['v1', 'v2'].map((name) => volume(name, { storageClassName: 'later' })),
      claims: ['v1', 'v2'].map((name) => claim(`data-${name}`, { storageClassName: 'later' }, name)),
      csiNodes: [
        {
          metadata: { name: 'a' },
          spec: { drivers: [{ name: DRIVER, nodeID: 'a', allocatable: { count: 1 } }] },
        },
      ],
    }
    const stage = await Stage.of([node('a')], [using('first', 'data-v1').on('a')], props)
    assert.equal(await stage.where(using('same', 'data-v1')), 'a')
    assert.equal(await stage.where(using('other', 'data-v2')), '1 node(s) exceed max volume count.')
  })
  test('a disk that is written to is on one node at a time', async () => {
    const disk = (name: string, readOnly: boolean): PodBuilder =>
      pod(name).spec({ volumes: [{ name: 'd', gcePersistentDisk: { pdName: 'disk', readOnly } }] })
    const stage = await Stage.of([node('a')], [disk('first', true).on('a')])
    assert.equal(await stage.where(disk('writer', false)), '1 node(s) had no available disk.')
    assert.equal(await stage.where(disk('reader', true)), 'a')
  })
})
