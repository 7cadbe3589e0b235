import type { KubeObject } from './objects.ts'
import {
  readCsiDriver,
  readCsiNode,
  readPersistentVolume,
  readPersistentVolumeClaim,
  readStorageCapacity,
  readStorageClass,
  readVolumeAttachment,
} from './read-volumes.ts'
import type { ClusterEvent } from './events.ts'
import type { VolumeState } from './volume-state.ts'

/** Shows the state an object about volumes, by its kind. */
export const seeStorage = (volumes: VolumeState, object: KubeObject): ClusterEvent[] => {
  switch (object.kind) {
    case 'PersistentVolume':
      return volumes.applyVolume(readPersistentVolume(object))
    case 'PersistentVolumeClaim':
      return volumes.applyClaim(readPersistentVolumeClaim(object))
    case 'StorageClass':
      return volumes.applyStorageClass(readStorageClass(object))
    case 'CSINode':
      return volumes.applyCsiNode(readCsiNode(object))
    case 'CSIDriver':
      return volumes.applyCsiDriver(readCsiDriver(object))
    case 'CSIStorageCapacity':
      return volumes.applyCapacity(readStorageCapacity(object))
    case 'VolumeAttachment':
      return volumes.applyAttachment(readVolumeAttachment(object))
    default:
      throw new RangeError(`${object.kind} says nothing about volumes`)
  }
}

interface ClaimOptions {
  readonly className?: string
  readonly request?: string
  readonly modes?: string[]
  /** bound to that volume */
  readonly volumeName?: string
  readonly selectedNode?: string
  readonly phase?: string
  readonly owner?: string
  readonly resourceVersion?: string
  readonly deleting?: boolean
}

/** A claim of namespace `default`; with a volume's name it is bound. */
export const claim = (name: string, options: ClaimOptions = {}) => {
  const { className = 'waits', request = '1Gi', modes = ['ReadWriteOnce'], volumeName, selectedNode } = options
  return {
    kind: 'PersistentVolumeClaim',
    metadata: {
      name,
      namespace: 'default',
      uid: `uid-${name}`,
      resourceVersion: options.resourceVersion ?? '1',
      ...(options.deleting ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
      ...(options.owner === undefined ? {} : { ownerReferences: [{ controller: true, uid: options.owner }] }),
      annotations: {
        ...(volumeName === undefined ? {} : { 'pv.kubernetes.io/bind-completed': 'yes' }),
        ...(selectedNode === undefined ? {} : { 'volume.kubernetes.io/selected-node': selectedNode }),
      },
    },
    spec: {
      storageClassName: className,
      accessModes: modes,
      resources: { requests: { storage: request } },
      ...(volumeName === undefined ? {} : { volumeName }),
    },
    status: { phase: options.phase ?? (volumeName === undefined ? 'Pending' : 'Bound') },
  }
}

interface VolumeOptions {
  readonly className?: string
  readonly capacity?: string
  readonly modes?: string[]
  /** reached from these hostnames only */
  readonly on?: string[]
  readonly labels?: Record<string, string>
  readonly driver?: string
  readonly claimRef?: { namespace: string; name: string; uid?: string }
  readonly phase?: string
  readonly resourceVersion?: string
}

export const volume = (name: string, options: VolumeOptions = {}) => {
  const { className = 'waits', capacity = '1Gi', modes = ['ReadWriteOnce'], on, driver, claimRef } = options
  return {
    kind: 'PersistentVolume',
    metadata: { name, resourceVersion: options.resourceVersion ?? '1', labels: options.labels ?? {} },
    spec: {
      storageClassName: className,
      capacity: { storage: capacity },
      accessModes: modes,
      ...(claimRef === undefined ? {} : { claimRef }),
      ...(driver === undefined ? {} : { csi: { driver, volumeHandle: name } }),
      ...(on === undefined
        ? {}
        : {
            nodeAffinity: {
              required: {
                nodeSelectorTerms: [
                  { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: on }] },
                ],
              },
            },
          }),
    },
    status: { phase: options.phase ?? (claimRef === undefined ? 'Available' : 'Bound') },
  }
}

/** A class whose claims wait for their first consumer; without a provisioner people make its volumes. */
export const storageClass = (
  name: string,
  options: { provisioner?: string; mode?: string; zones?: string[] } = {},
) => ({
  kind: 'StorageClass',
  metadata: { name },
  provisioner: options.provisioner ?? 'kubernetes.io/no-provisioner',
  volumeBindingMode: options.mode ?? 'WaitForFirstConsumer',
  ...(options.zones === undefined
    ? {}
    : { allowedTopologies: [{ matchLabelExpressions: [{ key: 'zone', values: options.zones }] }] }),
})

/** `limits`: driver -> how many volumes, undefined for any number */
export const csiNode = (name: string, limits: Record<string, number | undefined>) => ({
  kind: 'CSINode',
  metadata: { name },
  spec: {
    drivers: Object.entries(limits).map(([driver, count]) => ({
      name: driver,
      ...(count === undefined ? {} : { allocatable: { count } }),
    })),
  },
})

export const csiDriver = (
  name: string,
  spec: { storageCapacity?: boolean; preventPodSchedulingIfMissing?: boolean },
) => ({
  kind: 'CSIDriver',
  metadata: { name },
  spec,
})

export const attachment = (name: string, nodeName: string, attacher: string, volumeName: string) => ({
  kind: 'VolumeAttachment',
  metadata: { name },
  spec: { attacher, nodeName, source: { persistentVolumeName: volumeName } },
})

/** Room for claims of class `waits` in one zone. */
export const room = (zone: string, capacity: string, maximumVolumeSize?: string) => ({
  kind: 'CSIStorageCapacity',
  metadata: { name: zone, namespace: 'default' },
  storageClassName: 'waits',
  nodeTopology: { matchLabels: { zone } },
  capacity,
  ...(maximumVolumeSize === undefined ? {} : { maximumVolumeSize }),
})

/** `spec.volumes` with these claims. */
export const using = (...claimNames: string[]) => ({
  volumes: claimNames.map((claimName, number) => ({ name: `v${number}`, persistentVolumeClaim: { claimName } })),
})
