import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { systemClock } from '../../src/clock/clock.ts'
import type { KubeObject, PersistentVolumeClaimObject } from '../../src/cluster/objects.ts'
import {
  createObject,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  STORAGE_CLASSES,
} from '../../src/kubernetes/objects.ts'
import { SIMULATED_DISKS, startVolumeController } from '../../src/simulation/virtual/volume-controller.ts'
import { node, pod } from '../builders.ts'
import { Cluster, startEmbedded } from './cluster.ts'
import { type RunningScheduler, startScheduler, unaccounted } from './scheduler.ts'

const className = 'waits'
const claim = (name: string, storage = '1Gi'): KubeObject =>
  ({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, namespace: 'default' },
    spec: { storageClassName: className, accessModes: ['ReadWriteOnce'], resources: { requests: { storage } } },
  }) as KubeObject
const volume = (name: string, storage: string, hostname: string): KubeObject =>
  ({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name },
    spec: {
      storageClassName: className,
      accessModes: ['ReadWriteOnce'],
      capacity: { storage },
      local: { path: '/disk' },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [hostname] }] },
          ],
        },
      },
    },
  }) as KubeObject

describe('pods with claims in the embedded cluster', { timeout: 60_000 }, () => {
  let server: Awaited<ReturnType<typeof startEmbedded>>
  let cluster: Cluster
  let scheduler: RunningScheduler
  let stopVolumes: () => void
  const faults: string[] = []

  before(async () => {
    server = await startEmbedded()
    stopVolumes = startVolumeController({
      objects: server.server.objects,
      clock: systemClock,
      log: (message) => faults.push(message),
    })
  })
  after(async () => {
    stopVolumes()
    await server.stop()
    assert.deepEqual(faults, [])
  })
  beforeEach(async () => {
    cluster = new Cluster(server.kubeconfigPath)
    scheduler = await startScheduler(server.kubeconfigPath)
    await cluster.create(node('a'), node('b'))
  })
  afterEach(async () => {
    assert.equal(unaccounted(scheduler.system), 0)
    await scheduler.stop()
    await cluster.empty()
    for (const resource of ['persistentvolumeclaims', 'persistentvolumes', 'storageclasses.storage.k8s.io'])
      for (const { metadata = {} } of server.server.objects.list(resource))
        server.server.objects.remove(resource, metadata.namespace ?? '', metadata.name ?? '')
    await cluster.close()
  })

  const storageClass = (provisioner: string): Promise<KubeObject> =>
    createObject(cluster.connection, STORAGE_CLASSES, {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: className },
      provisioner,
      volumeBindingMode: 'WaitForFirstConsumer',
    } as KubeObject)
  const using = (name: string, claimName: string) =>
    pod(name)
      .scheduler('stowage')
      .spec({ volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }] })
  const boundTo = (name: string): string | undefined => {
    const stored: PersistentVolumeClaimObject | undefined = server.server.objects.get(
      'persistentvolumeclaims',
      'default',
      name,
    )
    return stored?.spec?.volumeName
  }

  test('a pod goes where its volume is, and its claim is bound before it', async () => {
    await storageClass('kubernetes.io/no-provisioner')
    await createObject(cluster.connection, PERSISTENT_VOLUMES, volume('on-b', '2Gi', 'b'))
    await createObject(cluster.connection, PERSISTENT_VOLUME_CLAIMS, claim('data'))
    await cluster.create(using('p', 'data'))
    assert.equal(await cluster.bound('p'), 'b')
    assert.equal(boundTo('data'), 'on-b')
  })

  test('many pods in flight at once share no volume, and the last waits until there is one more', async () => {
    await storageClass('kubernetes.io/no-provisioner')
    const numbers = Array.from({ length: 8 }, (_, number) => number)
    for (const number of numbers.slice(1))
      await createObject(cluster.connection, PERSISTENT_VOLUMES, volume(`v${number}`, '2Gi', number % 2 ? 'a' : 'b'))
    for (const number of numbers) await createObject(cluster.connection, PERSISTENT_VOLUME_CLAIMS, claim(`c${number}`))
    await cluster.create(...numbers.map((number) => using(`p${number}`, `c${number}`)))
    await cluster.pods.until(
      'seven are bound',
      (pods) => [...pods.values()].filter((one) => one.spec?.nodeName).length === 7,
    )
    const taken = numbers.map((number) => boundTo(`c${number}`)).filter((name) => name !== undefined)
    assert.equal(new Set(taken).size, 7)
    await createObject(cluster.connection, PERSISTENT_VOLUMES, volume('one-more', '2Gi', 'a'))
    await cluster.pods.until('all are bound', (pods) => [...pods.values()].every((one) => one.spec?.nodeName))
  })

  test('what is not there is provisioned; an ephemeral claim goes with its pod, and its volume with the claim', async () => {
    await storageClass(SIMULATED_DISKS)
    const { spec = {} } = claim('template') as PersistentVolumeClaimObject
    const scratch = { name: 'scratch', ephemeral: { volumeClaimTemplate: { spec } } }
    await cluster.create(
      pod('p')
        .scheduler('stowage')
        .spec({ volumes: [scratch] }),
    )
    await cluster.bound('p')
    assert.match(boundTo('p-scratch') ?? '', /^pvc-/)
    const gone = new Promise<void>((resolve) => {
      const stop = server.server.objects.subscribe('persistentvolumes', ({ type }) => {
        if (type !== 'DELETED') return
        stop()
        resolve()
      })
    })
    await cluster.deletePod('p')
    await gone
    assert.equal(boundTo('p-scratch'), undefined)
  })
})
