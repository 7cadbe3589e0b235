import { messageOf, StowageError } from '../errors/catalogue.ts'
import type {
  CSIDriverObject,
  CSINodeObject,
  CSIStorageCapacityObject,
  KubeObject,
  LabelSelector,
  PersistentVolumeClaimObject,
  PersistentVolumeObject,
  PodSpec,
  StorageClassObject,
  VolumeAttachmentObject,
} from './objects.ts'
import { quantityUnits } from './quantity.ts'
import {
  BIND_COMPLETED,
  BOUND_BY_CONTROLLER,
  CLASS_ANNOTATION,
  type CsiDriver,
  type CsiNode,
  type DiskKind,
  type InlineDisk,
  MIGRATED_KINDS,
  MIGRATED_PLUGINS,
  NO_VOLUMES,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type PodClaim,
  type PodVolumes,
  SELECTED_NODE,
  type StorageCapacity,
  type StorageClass,
  type VolumeAttachment,
} from './volumes.ts'
import { objectsIn, requirementsIn, termIn, textOf, textsIn } from './wire.ts'

const own = (record: Readonly<Record<string, string>> | undefined, key: string): string =>
  record !== undefined && record !== null && Object.hasOwn(record, key) ? textOf(record[key]) : ''
const bytes = (quantity: unknown): number | undefined =>
  quantity === undefined || quantity === null ? undefined : quantityUnits(quantity)

const selectorOf = (selector: LabelSelector | undefined | null, what: string): LabelSelector | undefined => {
  if (selector === undefined || selector === null) return undefined
  if (typeof selector !== 'object') throw new TypeError(`${what} is no selector`)
  return {
    matchLabels: { ...selector.matchLabels },
    matchExpressions: requirementsIn(selector.matchExpressions, what),
  }
}

const diskOf = (kind: DiskKind, source: object): InlineDisk => {
  const of = source as Readonly<Record<string, unknown>>
  const ids: Readonly<Record<DiskKind, () => string>> = {
    gcePersistentDisk: () => textOf(of['pdName']),
    awsElasticBlockStore: () => textOf(of['volumeID']),
    iscsi: () => textOf(of['iqn']),
    rbd: () => JSON.stringify([textOf(of['pool']) || 'rbd', textOf(of['image'])]),
    azureDisk: () => textOf(of['diskURI']),
    cinder: () => textOf(of['volumeID']),
    portworxVolume: () => textOf(of['volumeID']),
  }
  return { kind, id: ids[kind](), readOnly: of['readOnly'] === true, monitors: textsIn(of['monitors']) }
}

const DISK_KINDS: readonly DiskKind[] = [
  'gcePersistentDisk',
  'awsElasticBlockStore',
  'iscsi',
  'rbd',
  'azureDisk',
  'cinder',
  'portworxVolume',
]

/** The volumes of a pod of that name. @throws TypeError */
export const podVolumesOf = (podName: string, spec: PodSpec): PodVolumes => {
  const claims: PodClaim[] = []
  const disks: InlineDisk[] = []
  const csiDrivers: string[] = []
  for (const volume of objectsIn(spec.volumes, 'spec.volumes')) {
    if (volume.persistentVolumeClaim)
      claims.push({ name: textOf(volume.persistentVolumeClaim.claimName), ephemeral: false })
    else if (volume.ephemeral) claims.push({ name: `${podName}-${textOf(volume.name)}`, ephemeral: true })
    else if (volume.csi) csiDrivers.push(textOf(volume.csi.driver))
    else
      for (const kind of DISK_KINDS) {
        const source: unknown = volume[kind as keyof typeof volume]
        if (typeof source === 'object' && source !== null) disks.push(diskOf(kind, source))
      }
  }
  return claims.length + disks.length + csiDrivers.length === 0 ? NO_VOLUMES : { claims, disks, csiDrivers }
}

/** @throws StowageError VOLUME_MALFORMED naming the object and what is wrong with it */
const reading = <T extends KubeObject, R>(kind: string, object: T, read: (name: string) => R): R => {
  const { namespace, name } = object.metadata ?? {}
  try {
    if (textOf(name) === '') throw new TypeError('metadata.name is missing')
    return read(textOf(name))
  } catch (cause) {
    const what = [textOf(namespace), textOf(name)].filter((part) => part !== '').join('/')
    throw new StowageError(
      'VOLUME_MALFORMED',
      { found: `${kind} ${what}: ${messageOf(cause)}`, todo: 'correct it; it is left out until it changes' },
      { cause },
    )
  }
}

/** @throws StowageError VOLUME_MALFORMED */
export const readPersistentVolume = (object: PersistentVolumeObject): PersistentVolume =>
  reading('PersistentVolume', object, (name) => {
    const { metadata = {}, spec = {}, status = {} } = object
    const { claimRef, csi, nodeAffinity } = spec
    const required = nodeAffinity?.required
    let driver = textOf(csi?.driver)
    let handle = textOf(csi?.volumeHandle)
    let inTree = false
    if (!csi)
      for (const kind of DISK_KINDS) {
        const source: unknown = (spec as Readonly<Record<string, unknown>>)[kind]
        const migrated = MIGRATED_KINDS[kind]
        if (migrated === undefined || typeof source !== 'object' || source === null) continue
        driver = migrated
        handle = diskOf(kind, source).id
        inTree = true
      }
    return {
      name,
      resourceVersion: textOf(metadata.resourceVersion),
      labels: Object.assign(Object.create(null) as Record<string, string>, metadata.labels),
      className: own(metadata.annotations, CLASS_ANNOTATION) || textOf(spec.storageClassName),
      capacityBytes: bytes(spec.capacity?.['storage']) ?? 0,
      accessModes: textsIn(spec.accessModes),
      volumeMode: textOf(spec.volumeMode) || 'Filesystem',
      attributesClass: textOf(spec.volumeAttributesClassName),
      phase: textOf(status.phase),
      deleting: metadata.deletionTimestamp !== undefined,
      claimRef: claimRef
        ? { namespace: textOf(claimRef.namespace), name: textOf(claimRef.name), uid: textOf(claimRef.uid) }
        : undefined,
      boundByController: own(metadata.annotations, BOUND_BY_CONTROLLER) !== '',
      nodeTerms: required
        ? objectsIn(required.nodeSelectorTerms, 'node affinity').map((term) => termIn(term, 'node affinity'))
        : undefined,
      driver,
      handle,
      inTree,
    }
  })

/** @throws StowageError VOLUME_MALFORMED */
export const readPersistentVolumeClaim = (object: PersistentVolumeClaimObject): PersistentVolumeClaim =>
  reading('PersistentVolumeClaim', object, (name) => {
    const { metadata = {}, spec = {}, status = {} } = object
    const volumeName = textOf(spec.volumeName)
    return {
      namespace: textOf(metadata.namespace),
      name,
      uid: textOf(metadata.uid),
      resourceVersion: textOf(metadata.resourceVersion),
      ownerUid: textOf(
        objectsIn(metadata.ownerReferences, 'metadata.ownerReferences').find(({ controller }) => controller)?.uid,
      ),
      className: own(metadata.annotations, CLASS_ANNOTATION) || textOf(spec.storageClassName),
      requestBytes: bytes(spec.resources?.requests?.['storage']),
      accessModes: textsIn(spec.accessModes),
      selector: selectorOf(spec.selector, 'spec.selector'),
      volumeMode: textOf(spec.volumeMode) || 'Filesystem',
      attributesClass: textOf(spec.volumeAttributesClassName),
      volumeName,
      bound: volumeName !== '' && Object.hasOwn(metadata.annotations ?? {}, BIND_COMPLETED),
      lost: status.phase === 'Lost',
      deleting: metadata.deletionTimestamp !== undefined,
      selectedNode: own(metadata.annotations, SELECTED_NODE),
    }
  })

/** @throws StowageError VOLUME_MALFORMED */
export const readStorageClass = (object: StorageClassObject): StorageClass =>
  reading('StorageClass', object, (name) => ({
    name,
    provisioner: textOf(object.provisioner),
    waitsForConsumer: object.volumeBindingMode === 'WaitForFirstConsumer',
    allowedTopologies: objectsIn(object.allowedTopologies, 'allowedTopologies').map(({ matchLabelExpressions }) =>
      objectsIn(matchLabelExpressions, 'matchLabelExpressions').map(({ key, values }) => ({
        key: textOf(key),
        values: textsIn(values),
      })),
    ),
  }))

/** @throws StowageError VOLUME_MALFORMED */
export const readCsiNode = (object: CSINodeObject): CsiNode =>
  reading('CSINode', object, (name) => ({
    name,
    limits: new Map(
      objectsIn(object.spec?.drivers, 'spec.drivers').map((driver) => {
        const limit: unknown = driver.allocatable?.count
        return [textOf(driver.name), typeof limit === 'number' ? limit : undefined]
      }),
    ),
    migratedPlugins: own(object.metadata?.annotations, MIGRATED_PLUGINS),
  }))

/** @throws StowageError VOLUME_MALFORMED */
export const readCsiDriver = (object: CSIDriverObject): CsiDriver =>
  reading('CSIDriver', object, (name) => ({
    name,
    storageCapacity: object.spec?.storageCapacity === true,
    required: object.spec?.preventPodSchedulingIfMissing === true,
  }))

/** @throws StowageError VOLUME_MALFORMED */
export const readVolumeAttachment = (object: VolumeAttachmentObject): VolumeAttachment =>
  reading('VolumeAttachment', object, (name) => ({
    name,
    attacher: textOf(object.spec?.attacher),
    nodeName: textOf(object.spec?.nodeName),
    volumeName: textOf(object.spec?.source?.persistentVolumeName),
  }))

/** @throws StowageError VOLUME_MALFORMED */
export const readStorageCapacity = (object: CSIStorageCapacityObject): StorageCapacity =>
  reading('CSIStorageCapacity', object, (name) => {
    const capacityBytes = bytes(object.capacity)
    return {
      namespace: textOf(object.metadata?.namespace),
      name,
      className: textOf(object.storageClassName),
      nodeTopology: selectorOf(object.nodeTopology, 'nodeTopology'),
      capacityBytes: capacityBytes ?? 0,
      limitBytes: bytes(object.maximumVolumeSize) ?? capacityBytes,
    }
  })
