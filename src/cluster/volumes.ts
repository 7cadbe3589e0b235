import type { LabelSelector, NodeSelectorTerm } from './objects.ts'

// Records of everything that decides where a pod with volumes may run. Slim and immutable, as pods and nodes are.

/** A claim that a pod uses. */
export interface PodClaim {
  readonly name: string
  /** made for this pod alone, out of its spec (`spec.volumes[].ephemeral`) */
  readonly ephemeral: boolean
}

export type DiskKind =
  | 'gcePersistentDisk'
  | 'awsElasticBlockStore'
  | 'iscsi'
  | 'rbd'
  | 'azureDisk'
  | 'cinder'
  | 'portworxVolume'

/** A disk that a pod names itself, without a claim. */
export interface InlineDisk {
  readonly kind: DiskKind
  /** what tells it from others of its kind */
  readonly id: string
  readonly readOnly: boolean
  /** of rbd: disks are the same only if they share one */
  readonly monitors: readonly string[]
}

/** What rules look at among a pod's volumes, in the order of its spec. */
export interface PodVolumes {
  readonly claims: readonly PodClaim[]
  readonly disks: readonly InlineDisk[]
  /** drivers of volumes that a CSI driver makes inline */
  readonly csiDrivers: readonly string[]
}

export const NO_VOLUMES: PodVolumes = Object.freeze({ claims: [], disks: [], csiDrivers: [] })

export interface PersistentVolume {
  readonly name: string
  readonly resourceVersion: string
  readonly labels: Readonly<Record<string, string>>
  readonly className: string
  readonly capacityBytes: number
  readonly accessModes: readonly string[]
  readonly volumeMode: string
  readonly attributesClass: string
  readonly phase: string
  readonly deleting: boolean
  /** uid is '' where a person has reserved the volume for a claim to come */
  readonly claimRef: { readonly namespace: string; readonly name: string; readonly uid: string } | undefined
  readonly boundByController: boolean
  /** ORed; undefined: every node reaches it */
  readonly nodeTerms: readonly NodeSelectorTerm[] | undefined
  /** the driver that attaches it, '' if none does */
  readonly driver: string
  /** unique within the driver */
  readonly handle: string
  /** of a kind that was built into Kubernetes once: its driver counts it only where the node has a CSINode */
  readonly inTree: boolean
}

export interface PersistentVolumeClaim {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly ownerUid: string
  readonly className: string
  /** undefined: it asks for no amount */
  readonly requestBytes: number | undefined
  readonly accessModes: readonly string[]
  readonly selector: LabelSelector | undefined
  readonly volumeMode: string
  readonly attributesClass: string
  /** '' while none is chosen */
  readonly volumeName: string
  /** claim and volume both say so, and the controller is done */
  readonly bound: boolean
  /** the volume is gone */
  readonly lost: boolean
  readonly deleting: boolean
  /** the node for which a volume is being provisioned, '' if none is */
  readonly selectedNode: string
}

export interface StorageClass {
  readonly name: string
  readonly provisioner: string
  /** claims are bound when a pod that uses them is placed */
  readonly waitsForConsumer: boolean
  /** ORed; empty: everywhere */
  readonly allowedTopologies: readonly (readonly { readonly key: string; readonly values: readonly string[] }[])[]
}

/** What the CSI drivers of a node say; of the name of the node. */
export interface CsiNode {
  readonly name: string
  /** driver -> how many of its volumes the node takes, undefined: any number */
  readonly limits: ReadonlyMap<string, number | undefined>
  /** built-in kinds that drivers have taken over there */
  readonly migratedPlugins: string
}

export interface CsiDriver {
  readonly name: string
  /** publishes how much room there is, so that room must be looked for */
  readonly storageCapacity: boolean
  /** no pod with its volumes may go where it is not installed */
  readonly required: boolean
}

export interface VolumeAttachment {
  readonly name: string
  readonly attacher: string
  readonly nodeName: string
  /** '' for a volume that a pod names itself */
  readonly volumeName: string
}

export interface StorageCapacity {
  readonly namespace: string
  readonly name: string
  readonly className: string
  readonly nodeTopology: LabelSelector | undefined
  readonly capacityBytes: number
  /** the largest volume that can be had, undefined: unknown, so none */
  readonly limitBytes: number | undefined
}

/** How the claims of a pod that are not bound yet are going to be, on one node. */
export interface VolumePlan {
  /** claims for which there is a volume */
  readonly bindings: readonly { readonly claim: PersistentVolumeClaim; readonly volume: PersistentVolume }[]
  /** claims whose volumes are still to be made */
  readonly provisions: readonly {
    readonly claim: PersistentVolumeClaim
    /** where the room for it was found; undefined: its driver does not say how much there is */
    readonly capacity: StorageCapacity | undefined
  }[]
}

/** Annotations that scheduler, volume controller and provisioners tell each other by. */
export const SELECTED_NODE = 'volume.kubernetes.io/selected-node'
export const BOUND_BY_CONTROLLER = 'pv.kubernetes.io/bound-by-controller'
export const BIND_COMPLETED = 'pv.kubernetes.io/bind-completed'
export const CLASS_ANNOTATION = 'volume.beta.kubernetes.io/storage-class'
export const MIGRATED_PLUGINS = 'storage.alpha.kubernetes.io/migrated-plugins'
/** A class with this provisioner makes no volumes; people do. */
export const NO_PROVISIONER = 'kubernetes.io/no-provisioner'
export const READ_WRITE_ONCE_POD = 'ReadWriteOncePod'

/** CSI drivers that have taken over kinds of volume built into Kubernetes (KEP-625), by kind and by provisioner. */
export const MIGRATED_KINDS: Readonly<Partial<Record<DiskKind, string>>> = {
  gcePersistentDisk: 'pd.csi.storage.gke.io',
  awsElasticBlockStore: 'ebs.csi.aws.com',
  azureDisk: 'disk.csi.azure.com',
  cinder: 'cinder.csi.openstack.org',
  portworxVolume: 'pxd.portworx.com',
}
const MIGRATED_PROVISIONERS: ReadonlyMap<string, string> = new Map([
  ['kubernetes.io/gce-pd', 'pd.csi.storage.gke.io'],
  ['kubernetes.io/aws-ebs', 'ebs.csi.aws.com'],
  ['kubernetes.io/azure-disk', 'disk.csi.azure.com'],
  ['kubernetes.io/cinder', 'cinder.csi.openstack.org'],
  ['kubernetes.io/portworx-volume', 'pxd.portworx.com'],
])

/** The driver behind a provisioner, and whether it has taken over from a built-in one. */
export const driverOf = (provisioner: string): { readonly driver: string; readonly inTree: boolean } => {
  const migrated = MIGRATED_PROVISIONERS.get(provisioner)
  return migrated === undefined ? { driver: provisioner, inTree: false } : { driver: migrated, inTree: true }
}

/** Whether two disks named by pods are the same and may not be used by both, as VolumeRestrictions has it. */
export const disksConflict = (a: InlineDisk, b: InlineDisk): boolean => {
  if (a.kind !== b.kind || a.id !== b.id) return false
  switch (a.kind) {
    case 'awsElasticBlockStore':
      return true
    case 'gcePersistentDisk':
    case 'iscsi':
      return !(a.readOnly && b.readOnly)
    case 'rbd':
      return !(a.readOnly && b.readOnly) && a.monitors.some((monitor) => b.monitors.includes(monitor))
    default:
      return false
  }
}
