import type { Node, NodeIndex } from './node.ts'
import type { Pod } from './pod.ts'
import type {
  CsiDriver,
  CsiNode,
  PersistentVolume,
  PersistentVolumeClaim,
  StorageCapacity,
  StorageClass,
  VolumeAttachment,
} from './volumes.ts'

/**
 * What can happen to a cluster that may let a waiting pod in. Names and splits follow kube-scheduler's queueing events:
 * `Pod...` concerns pods that have a node (assumed ones count), `Self...` the waiting pod itself.
 */
export type ClusterEventKind =
  | 'NodeAdd'
  | 'NodeDelete'
  | 'NodeAllocatable'
  | 'NodeLabel'
  | 'NodeTaint'
  | 'NodeDeclaredFeature'
  | 'PodAdd'
  | 'PodDelete'
  | 'PodLabel'
  | 'PodScaleDown'
  | 'SelfGates'
  | 'SelfLabel'
  | 'SelfToleration'
  | 'SelfScaleDown'
  | 'SelfFeatures'
  | 'ClaimAdd'
  | 'ClaimUpdate'
  | 'VolumeAdd'
  | 'VolumeUpdate'
  | 'StorageClassAdd'
  | 'StorageClassUpdate'
  | 'CsiNodeAdd'
  | 'CsiNodeUpdate'
  | 'CsiDriverUpdate'
  | 'CapacityAdd'
  | 'CapacityUpdate'
  | 'AttachmentDelete'

export type ClusterEvent =
  | { readonly kind: 'NodeAdd'; readonly node: Node; readonly index: NodeIndex }
  | { readonly kind: 'NodeDelete'; readonly node: Node }
  | {
      readonly kind: 'NodeAllocatable' | 'NodeLabel' | 'NodeTaint' | 'NodeDeclaredFeature'
      readonly before: Node
      readonly node: Node
      readonly index: NodeIndex
    }
  | { readonly kind: 'PodAdd'; readonly pod: Pod }
  | {
      readonly kind: 'PodDelete'
      readonly pod: Pod
      /**
       * The pod was only nominated to a node, and gives up the room that was kept for it: it was kept from pods of at most
       * this priority
       */
      readonly keptFromPriority?: number
    }
  | { readonly kind: 'PodLabel' | 'PodScaleDown'; readonly before: Pod; readonly pod: Pod }
  | {
      readonly kind: 'SelfGates' | 'SelfLabel' | 'SelfToleration' | 'SelfScaleDown' | 'SelfFeatures'
      readonly before: Pod
      readonly pod: Pod
    }
  | { readonly kind: 'ClaimAdd'; readonly claim: PersistentVolumeClaim }
  | { readonly kind: 'ClaimUpdate'; readonly before: PersistentVolumeClaim; readonly claim: PersistentVolumeClaim }
  | { readonly kind: 'VolumeAdd'; readonly volume: PersistentVolume }
  | { readonly kind: 'VolumeUpdate'; readonly before: PersistentVolume; readonly volume: PersistentVolume }
  | { readonly kind: 'StorageClassAdd'; readonly storageClass: StorageClass }
  | { readonly kind: 'StorageClassUpdate'; readonly before: StorageClass; readonly storageClass: StorageClass }
  | { readonly kind: 'CsiNodeAdd'; readonly csiNode: CsiNode }
  | { readonly kind: 'CsiNodeUpdate'; readonly before: CsiNode; readonly csiNode: CsiNode }
  | { readonly kind: 'CsiDriverUpdate'; readonly before: CsiDriver; readonly driver: CsiDriver }
  | { readonly kind: 'CapacityAdd'; readonly capacity: StorageCapacity }
  | { readonly kind: 'CapacityUpdate'; readonly before: StorageCapacity; readonly capacity: StorageCapacity }
  | { readonly kind: 'AttachmentDelete'; readonly attachment: VolumeAttachment }
