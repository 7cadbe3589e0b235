import type { ClusterEvent } from '../cluster/events.ts'
import type { ObjectFeed } from '../cluster/feed.ts'
import type {
  CSIDriverObject,
  CSINodeObject,
  CSIStorageCapacityObject,
  KubeObject,
  PersistentVolumeClaimObject,
  PersistentVolumeObject,
  StorageClassObject,
  VolumeAttachmentObject,
} from '../cluster/objects.ts'
import {
  readCsiDriver,
  readCsiNode,
  readPersistentVolume,
  readPersistentVolumeClaim,
  readStorageCapacity,
  readStorageClass,
  readVolumeAttachment,
} from '../cluster/read-volumes.ts'
import type { VolumeState } from '../cluster/volume-state.ts'

/** Everything about volumes that a scheduler must be told of. */
export interface StorageFeeds {
  readonly claims: ObjectFeed<PersistentVolumeClaimObject>
  readonly volumes: ObjectFeed<PersistentVolumeObject>
  readonly classes: ObjectFeed<StorageClassObject>
  readonly csiNodes: ObjectFeed<CSINodeObject>
  readonly csiDrivers: ObjectFeed<CSIDriverObject>
  readonly attachments: ObjectFeed<VolumeAttachmentObject>
  readonly capacities: ObjectFeed<CSIStorageCapacityObject>
}

export interface StorageListener {
  changed(events: readonly ClusterEvent[]): void
  unreadable(kind: string, object: KubeObject, thrown: unknown): void
  /** one of the feeds has synced for the first time */
  synced(): void
}

/** How many feeds there are, each of which syncs. */
export const STORAGE_FEEDS = 7

/** Feeds that write everything about volumes into the state. */
export const storageFeeds = (state: VolumeState, listener: StorageListener): StorageFeeds => {
  const feed = <T extends KubeObject, R>(
    kind: string,
    read: (object: T) => R,
    apply: (record: R) => ClusterEvent[],
    remove: (namespace: string, name: string) => ClusterEvent[],
  ): ObjectFeed<T> => {
    let synced = false
    return {
      seen: (object) => {
        let record: R
        try {
          record = read(object)
        } catch (thrown) {
          // What it was before it broke is true no more.
          const { namespace = '', name = '' } = object.metadata ?? {}
          listener.changed(remove(namespace, name))
          listener.unreadable(kind, object, thrown)
          return
        }
        listener.changed(apply(record))
      },
      gone: (namespace, name) => listener.changed(remove(namespace, name)),
      synced: () => {
        if (synced) return
        synced = true
        listener.synced()
      },
    }
  }
  return {
    claims: feed(
      'PersistentVolumeClaim',
      readPersistentVolumeClaim,
      (claim) => state.applyClaim(claim),
      (namespace, name) => state.removeClaim(namespace, name),
    ),
    volumes: feed(
      'PersistentVolume',
      readPersistentVolume,
      (volume) => state.applyVolume(volume),
      (_, name) => state.removeVolume(name),
    ),
    classes: feed(
      'StorageClass',
      readStorageClass,
      (storageClass) => state.applyStorageClass(storageClass),
      (_, name) => state.removeStorageClass(name),
    ),
    csiNodes: feed(
      'CSINode',
      readCsiNode,
      (csiNode) => state.applyCsiNode(csiNode),
      (_, name) => state.removeCsiNode(name),
    ),
    csiDrivers: feed(
      'CSIDriver',
      readCsiDriver,
      (driver) => state.applyCsiDriver(driver),
      (_, name) => state.removeCsiDriver(name),
    ),
    attachments: feed(
      'VolumeAttachment',
      readVolumeAttachment,
      (attachment) => state.applyAttachment(attachment),
      (_, name) => state.removeAttachment(name),
    ),
    capacities: feed(
      'CSIStorageCapacity',
      readStorageCapacity,
      (capacity) => state.applyCapacity(capacity),
      (namespace, name) => state.removeCapacity(namespace, name),
    ),
  }
}
