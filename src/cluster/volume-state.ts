import type { ClusterEvent } from './events.ts'
import { type Pod } from './pod.ts'
import {
  type CsiDriver,
  type CsiNode,
  disksConflict,
  driverOf,
  type InlineDisk,
  MIGRATED_KINDS,
  NO_VOLUMES,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type StorageCapacity,
  type StorageClass,
  type VolumeAttachment,
  type VolumePlan,
} from './volumes.ts'

/** Volumes that CSI drivers attach to a node. */
export interface AttachedVolumes {
  /** of the node's pods: a name that is unique in the cluster -> its driver */
  readonly ofPods: ReadonlyMap<string, string>
  /** by driver, with those that are still attached although no pod accounts for them */
  readonly counts: ReadonlyMap<string, number>
}

/** Volumes and claims as constraints and scores read them; what is decided already counts as done. */
export interface VolumeView {
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined
  volume(name: string): PersistentVolume | undefined
  volumesOfClass(className: string): Iterable<PersistentVolume>
  storageClass(name: string): StorageClass | undefined
  csiNode(nodeName: string): CsiNode | undefined
  csiDriver(name: string): CsiDriver | undefined
  capacities(): Iterable<StorageCapacity>
  /** whether a placed pod uses the claim by its name */
  isClaimUsed(namespace: string, name: string): boolean
  /** whether a pod on the node has a disk that this one cannot be used beside */
  conflictsOn(nodeName: string, disk: InlineDisk): boolean
  attachedOn(nodeName: string): AttachedVolumes
  /** What a pod has attached by CSI drivers where it runs, into `into`: unique name -> driver. */
  attachments(pod: Pod, nodeName: string, into: Map<string, string>): void
}

const keyOf = (namespace: string, name: string): string => `${namespace}/${name}`
const NOTHING_ATTACHED: AttachedVolumes = { ofPods: new Map(), counts: new Map() }

/** A pod with volumes that has its place. */
interface Placed {
  readonly pod: Pod
  readonly nodeName: string
}

/**
 * Everything about volumes, part of the cluster state: changed by each event, never recounted but for the attached volumes of
 * nodes that an event concerns. What is assumed for pods on their way counts at once, so that no two of them take one volume.
 */
export class VolumeState implements VolumeView {
  readonly #claims = new Map<string, PersistentVolumeClaim>()
  readonly #volumes = new Map<string, PersistentVolume>()
  /** by class, as assumed */
  readonly #byClass = new Map<string, Map<string, PersistentVolume>>()
  readonly #classes = new Map<string, StorageClass>()
  readonly #csiNodes = new Map<string, CsiNode>()
  readonly #csiDrivers = new Map<string, CsiDriver>()
  readonly #capacities = new Map<string, StorageCapacity>()
  readonly #attachments = new Map<string, VolumeAttachment>()
  readonly #attachmentsOn = new Map<string, Map<string, VolumeAttachment>>()
  /** nodes to which a volume is attached, by the volume */
  readonly #attachedTo = new Map<string, Map<string, string>>()
  /** pods with volumes, by node and uid */
  readonly #placedOn = new Map<string, Map<string, Placed>>()
  /** placed pods by the claims they use; ephemeral ones, too */
  readonly #users = new Map<string, Map<string, Placed>>()
  readonly #attached = new Map<string, AttachedVolumes>()
  readonly #assumedVolumes = new Map<string, PersistentVolumeClaim>()
  readonly #assumedNodes = new Map<string, string>()
  readonly #plans = new Map<string, VolumePlan>()
  readonly #listeners = new Set<() => void>()

  // Reading

  claim(namespace: string, name: string): PersistentVolumeClaim | undefined {
    const key = keyOf(namespace, name)
    const claim = this.#claims.get(key)
    const selectedNode = claim?.bound ? undefined : this.#assumedNodes.get(key)
    return claim === undefined || selectedNode === undefined ? claim : { ...claim, selectedNode }
  }

  /** As the API server has it, whatever is assumed. */
  claimAsStored(namespace: string, name: string): PersistentVolumeClaim | undefined {
    return this.#claims.get(keyOf(namespace, name))
  }

  volume(name: string): PersistentVolume | undefined {
    const volume = this.#volumes.get(name)
    return volume === undefined ? undefined : this.#asAssumed(volume)
  }

  /** As the API server has it, whatever is assumed. */
  volumeAsStored(name: string): PersistentVolume | undefined {
    return this.#volumes.get(name)
  }

  volumesOfClass(className: string): Iterable<PersistentVolume> {
    return this.#byClass.get(className)?.values() ?? []
  }

  storageClass(name: string): StorageClass | undefined {
    return this.#classes.get(name)
  }

  csiNode(nodeName: string): CsiNode | undefined {
    return this.#csiNodes.get(nodeName)
  }

  csiDriver(name: string): CsiDriver | undefined {
    return this.#csiDrivers.get(name)
  }

  capacities(): Iterable<StorageCapacity> {
    return this.#capacities.values()
  }

  isClaimUsed(namespace: string, name: string): boolean {
    for (const { pod } of this.#users.get(keyOf(namespace, name))?.values() ?? [])
      if (pod.volumes.claims.some((claim) => claim.name === name && !claim.ephemeral)) return true
    return false
  }

  conflictsOn(nodeName: string, disk: InlineDisk): boolean {
    for (const { pod } of this.#placedOn.get(nodeName)?.values() ?? [])
      if (pod.volumes.disks.some((other) => disksConflict(disk, other))) return true
    return false
  }

  attachedOn(nodeName: string): AttachedVolumes {
    let attached = this.#attached.get(nodeName)
    if (attached === undefined) this.#attached.set(nodeName, (attached = this.#collectAttached(nodeName)))
    return attached
  }

  attachments({ namespace, volumes }: Pod, nodeName: string, into: Map<string, string>): void {
    // Drivers have taken over built-in kinds wherever there is a CSINode.
    const migrated = this.#csiNodes.has(nodeName)
    for (const { name } of volumes.claims) {
      const claim = this.#claims.get(keyOf(namespace, name))
      if (claim === undefined) continue
      const source = this.#sourceOf(claim)
      if (source === undefined || source.driver === '' || source.handle === '' || (source.inTree && !migrated)) continue
      into.set(`${source.driver}/${source.handle}`, source.driver)
    }
    if (!migrated) return
    for (const { kind, id } of volumes.disks) {
      const driver = MIGRATED_KINDS[kind]
      if (driver !== undefined) into.set(`${driver}/${id}`, driver)
    }
  }

  /** Told after each change. @returns how to stop that */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  // Pods, told by the cluster state

  place(pod: Pod, nodeName: string): void {
    if (pod.volumes === NO_VOLUMES) return
    const placed = { pod, nodeName }
    entry(this.#placedOn, nodeName).set(pod.uid, placed)
    for (const { name } of pod.volumes.claims) entry(this.#users, keyOf(pod.namespace, name)).set(pod.uid, placed)
    this.#attached.delete(nodeName)
  }

  unplace(pod: Pod, nodeName: string): void {
    if (pod.volumes === NO_VOLUMES) return
    drop(this.#placedOn, nodeName, pod.uid)
    for (const { name } of pod.volumes.claims) drop(this.#users, keyOf(pod.namespace, name), pod.uid)
    this.#attached.delete(nodeName)
  }

  // Assuming

  /** What is planned for a pod's claims counts from now on, until `release`. */
  assume(pod: Pod, nodeName: string, plan: VolumePlan): void {
    this.#plans.set(pod.uid, plan)
    for (const { volume, claim } of plan.bindings) {
      this.#assumedVolumes.set(volume.name, claim)
      this.#classify(volume.name)
    }
    for (const { claim } of plan.provisions) this.#assumedNodes.set(keyOf(claim.namespace, claim.name), nodeName)
  }

  /** Nothing is assumed for the pod any more: it is bound, and everything is as it was planned, or it failed. */
  release(uid: string): void {
    const plan = this.#plans.get(uid)
    if (plan === undefined) return
    this.#plans.delete(uid)
    for (const { volume } of plan.bindings) {
      this.#assumedVolumes.delete(volume.name)
      this.#classify(volume.name)
    }
    for (const { claim } of plan.provisions) this.#assumedNodes.delete(keyOf(claim.namespace, claim.name))
  }

  // Events

  applyClaim(claim: PersistentVolumeClaim): ClusterEvent[] {
    const key = keyOf(claim.namespace, claim.name)
    const before = this.#claims.get(key)
    this.#claims.set(key, claim)
    this.#forgetAttached(key)
    return this.#changed(before === undefined ? { kind: 'ClaimAdd', claim } : { kind: 'ClaimUpdate', before, claim })
  }

  removeClaim(namespace: string, name: string): ClusterEvent[] {
    const key = keyOf(namespace, name)
    this.#claims.delete(key)
    this.#forgetAttached(key)
    return this.#changed()
  }

  applyVolume(volume: PersistentVolume): ClusterEvent[] {
    const before = this.#volumes.get(volume.name)
    this.#volumes.set(volume.name, volume)
    if (before !== undefined && before.className !== volume.className)
      drop(this.#byClass, before.className, volume.name)
    this.#classify(volume.name)
    if (before === undefined) this.#forgetAttachedOf(volume)
    return this.#changed(
      before === undefined ? { kind: 'VolumeAdd', volume } : { kind: 'VolumeUpdate', before, volume },
    )
  }

  removeVolume(name: string): ClusterEvent[] {
    const before = this.#volumes.get(name)
    if (before === undefined) return []
    this.#volumes.delete(name)
    drop(this.#byClass, before.className, name)
    this.#forgetAttachedOf(before)
    return this.#changed()
  }

  applyStorageClass(storageClass: StorageClass): ClusterEvent[] {
    const before = this.#classes.get(storageClass.name)
    this.#classes.set(storageClass.name, storageClass)
    this.#attached.clear()
    return this.#changed(
      before === undefined
        ? { kind: 'StorageClassAdd', storageClass }
        : { kind: 'StorageClassUpdate', before, storageClass },
    )
  }

  removeStorageClass(name: string): ClusterEvent[] {
    this.#classes.delete(name)
    this.#attached.clear()
    return this.#changed()
  }

  applyCsiNode(csiNode: CsiNode): ClusterEvent[] {
    const before = this.#csiNodes.get(csiNode.name)
    this.#csiNodes.set(csiNode.name, csiNode)
    this.#attached.delete(csiNode.name)
    return this.#changed(
      before === undefined ? { kind: 'CsiNodeAdd', csiNode } : { kind: 'CsiNodeUpdate', before, csiNode },
    )
  }

  removeCsiNode(name: string): ClusterEvent[] {
    this.#csiNodes.delete(name)
    this.#attached.delete(name)
    return this.#changed()
  }

  applyCsiDriver(driver: CsiDriver): ClusterEvent[] {
    const before = this.#csiDrivers.get(driver.name)
    this.#csiDrivers.set(driver.name, driver)
    return before === undefined ? this.#changed() : this.#changed({ kind: 'CsiDriverUpdate', before, driver })
  }

  removeCsiDriver(name: string): ClusterEvent[] {
    this.#csiDrivers.delete(name)
    return this.#changed()
  }

  applyCapacity(capacity: StorageCapacity): ClusterEvent[] {
    const key = keyOf(capacity.namespace, capacity.name)
    const before = this.#capacities.get(key)
    this.#capacities.set(key, capacity)
    return this.#changed(
      before === undefined ? { kind: 'CapacityAdd', capacity } : { kind: 'CapacityUpdate', before, capacity },
    )
  }

  removeCapacity(namespace: string, name: string): ClusterEvent[] {
    this.#capacities.delete(keyOf(namespace, name))
    return this.#changed()
  }

  applyAttachment(attachment: VolumeAttachment): ClusterEvent[] {
    const { name, nodeName, volumeName } = attachment
    this.#dropAttachment(name)
    this.#attachments.set(name, attachment)
    entry(this.#attachmentsOn, nodeName).set(name, attachment)
    entry(this.#attachedTo, volumeName).set(name, nodeName)
    this.#attached.delete(nodeName)
    return this.#changed()
  }

  removeAttachment(name: string): ClusterEvent[] {
    const attachment = this.#dropAttachment(name)
    return attachment === undefined ? [] : this.#changed({ kind: 'AttachmentDelete', attachment })
  }

  // Within

  #changed(...events: ClusterEvent[]): ClusterEvent[] {
    for (const listener of this.#listeners) listener()
    return events
  }

  #asAssumed(volume: PersistentVolume): PersistentVolume {
    const claim = this.#assumedVolumes.get(volume.name)
    if (claim === undefined) return volume
    const { namespace, name, uid } = claim
    return { ...volume, claimRef: { namespace, name, uid } }
  }

  /** Lists a volume under its class, as it is assumed to be. */
  #classify(name: string): void {
    const volume = this.#volumes.get(name)
    if (volume !== undefined) entry(this.#byClass, volume.className).set(name, this.#asAssumed(volume))
  }

  #dropAttachment(name: string): VolumeAttachment | undefined {
    const attachment = this.#attachments.get(name)
    if (attachment === undefined) return undefined
    this.#attachments.delete(name)
    drop(this.#attachmentsOn, attachment.nodeName, name)
    drop(this.#attachedTo, attachment.volumeName, name)
    this.#attached.delete(attachment.nodeName)
    return attachment
  }

  #forgetAttached(claimKey: string): void {
    for (const { nodeName } of this.#users.get(claimKey)?.values() ?? []) this.#attached.delete(nodeName)
  }

  #forgetAttachedOf({ name, claimRef }: PersistentVolume): void {
    for (const nodeName of this.#attachedTo.get(name)?.values() ?? []) this.#attached.delete(nodeName)
    // A claim may name a volume that does not name it.
    if (claimRef === undefined) this.#attached.clear()
    else this.#forgetAttached(keyOf(claimRef.namespace, claimRef.name))
  }

  /** What a driver would attach for a claim: its volume, or the one to come. */
  #sourceOf(claim: PersistentVolumeClaim): { driver: string; handle: string; inTree: boolean } | undefined {
    const volume = this.#volumes.get(claim.volumeName)
    if (volume !== undefined) return volume
    const storageClass = this.#classes.get(claim.className)
    if (storageClass === undefined) return undefined
    // No handle can begin so.
    return { ...driverOf(storageClass.provisioner), handle: `\0${keyOf(claim.namespace, claim.name)}` }
  }

  #collectAttached(nodeName: string): AttachedVolumes {
    const pods = this.#placedOn.get(nodeName)
    const attachments = this.#attachmentsOn.get(nodeName)
    if (pods === undefined && attachments === undefined) return NOTHING_ATTACHED
    const ofPods = new Map<string, string>()
    for (const { pod } of pods?.values() ?? []) this.attachments(pod, nodeName, ofPods)
    const counts = new Map<string, number>()
    const count = (driver: string): void => void counts.set(driver, (counts.get(driver) ?? 0) + 1)
    for (const driver of ofPods.values()) count(driver)
    const counted = new Set<string>()
    for (const { attacher, volumeName } of attachments?.values() ?? []) {
      const volume = this.#volumes.get(volumeName)
      if (attacher === '' || volume === undefined || volume.inTree || volume.driver === '') continue
      const unique = `${attacher}/${volume.handle}`
      if (ofPods.has(unique) || counted.has(unique)) continue
      counted.add(unique)
      count(attacher)
    }
    return { ofPods, counts }
  }
}

const entry = <T>(maps: Map<string, Map<string, T>>, key: string): Map<string, T> => {
  let map = maps.get(key)
  if (map === undefined) maps.set(key, (map = new Map<string, T>()))
  return map
}

const drop = <T>(maps: Map<string, Map<string, T>>, key: string, name: string): void => {
  const map = maps.get(key)
  map?.delete(name)
  if (map?.size === 0) maps.delete(key)
}
