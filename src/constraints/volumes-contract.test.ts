import type {
  CSINodeObject,
  KubeObject,
  NodeObject,
  PersistentVolumeClaimObject,
  PersistentVolumeObject,
  PodObject,
  VolumeAttachmentObject,
} from '../cluster/objects.ts'
import type { Refusal } from './constraint.ts'
import { constraintContract } from './contract.ts'
import type { Situation } from './generated.fixture.ts'
import { NodeVolumeLimits, nodeVolumeLimits, REASON_TOO_MANY_VOLUMES } from './node-volume-limits.ts'
import {
  REASON_NO_VOLUME,
  REASON_LOST_VOLUME,
  REASON_VOLUME_AFFINITY,
  VolumeBinding,
  volumeBinding,
} from './volume-binding.ts'
import { REASON_DISK, REASON_ONCE_POD, VolumeRestrictions, volumeRestrictions } from './volume-restrictions.ts'
import { REASON_ZONE, VolumeZone, volumeZone } from './volume-zone.ts'
import { aboutVolumes } from './volumes.fixture.ts'

// Each rule once more, as Kubernetes' documentation has it, on the objects from the wire.

const forGood = (...reasons: string[]): Refusal => ({ reasons, preemptionCouldHelp: false })
const forNow = (reason: string): Refusal => ({ reasons: [reason], preemptionCouldHelp: true })

const named = <T extends KubeObject>({ storage = [] }: Situation, kind: string, name: string): T | undefined =>
  storage.find((object) => object.kind === kind && object.metadata?.name === name) as T | undefined
const claimNamed = (given: Situation, name: string) =>
  named<PersistentVolumeClaimObject>(given, 'PersistentVolumeClaim', name)
const volumeNamed = (given: Situation, name: string | undefined) =>
  named<PersistentVolumeObject>(given, 'PersistentVolume', name ?? '')

const claimsOf = ({ spec }: PodObject): string[] =>
  (spec?.volumes ?? []).flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? [])
const disksOf = ({ spec }: PodObject) =>
  (spec?.volumes ?? []).flatMap(({ gcePersistentDisk }) => gcePersistentDisk ?? [])

const missing = (given: Situation): Refusal | undefined => {
  const lost = claimsOf(given.pod).find((name) => claimNamed(given, name) === undefined)
  return lost === undefined ? undefined : forGood(`persistentvolumeclaim "${lost}" not found. not found`)
}

const gigabytes = (quantity: string | number | undefined): number => Number(String(quantity).replace('Gi', ''))
const reached = (volume: PersistentVolumeObject, { metadata }: NodeObject): boolean => {
  const terms = volume.spec?.nodeAffinity?.required?.nodeSelectorTerms
  return terms === undefined || terms[0]?.matchExpressions?.[0]?.values?.includes(metadata?.name ?? '') === true
}

/** What a driver attaches for claims: the volume's name, or the claim's where there is none; of `waits` nobody makes any. */
const attachedFor = (given: Situation, pod: PodObject): string[] =>
  claimsOf(pod).flatMap((name) => volumeNamed(given, claimNamed(given, name)?.spec?.volumeName)?.metadata?.name ?? [])

constraintContract({
  title: 'VolumeRestrictions',
  name: VolumeRestrictions,
  create: () => volumeRestrictions,
  situations: aboutVolumes,
  isReason: (reason) => reason === REASON_DISK || reason === REASON_ONCE_POD || reason.endsWith('not found. not found'),
  literally: (pod, _node, here, given) => {
    const clash = disksOf(pod).some((mine) =>
      here.flatMap(disksOf).some((theirs) => mine.pdName === theirs.pdName && !(mine.readOnly && theirs.readOnly)),
    )
    const exclusive = claimsOf(pod).filter((name) =>
      claimNamed(given, name)?.spec?.accessModes?.includes('ReadWriteOncePod'),
    )
    const inUse = given.placed.flatMap(claimsOf).some((name) => exclusive.includes(name))
    return missing(given) ?? (clash ? forNow(REASON_DISK) : inUse ? forNow(REASON_ONCE_POD) : undefined)
  },
})

constraintContract({
  title: 'NodeVolumeLimits',
  name: NodeVolumeLimits,
  create: () => nodeVolumeLimits,
  situations: aboutVolumes,
  isReason: (reason) => reason === REASON_TOO_MANY_VOLUMES,
  literally: (pod, node, here, given) => {
    const name = node.metadata?.name ?? ''
    const limit = named<CSINodeObject>(given, 'CSINode', name)?.spec?.drivers?.[0]?.allocatable?.count
    const ofPods = new Set(here.flatMap((other) => attachedFor(given, other)))
    const leftOver = (given.storage ?? [])
      .filter((object): object is VolumeAttachmentObject => object.kind === 'VolumeAttachment')
      .filter(({ spec }) => spec?.nodeName === name)
      .flatMap(({ spec }) => volumeNamed(given, spec?.source?.persistentVolumeName)?.metadata?.name ?? [])
      .filter((volume) => !ofPods.has(volume))
    const added = attachedFor(given, pod).filter((volume) => !ofPods.has(volume))
    const total = ofPods.size + new Set(leftOver).size + new Set(added).size
    return limit !== undefined && added.length > 0 && total > limit ? forNow(REASON_TOO_MANY_VOLUMES) : undefined
  },
})

constraintContract({
  title: 'VolumeBinding',
  name: VolumeBinding,
  create: () => volumeBinding,
  situations: aboutVolumes,
  isReason: (reason) =>
    [REASON_VOLUME_AFFINITY, REASON_NO_VOLUME, REASON_LOST_VOLUME].includes(reason) || reason.endsWith('. not found'),
  literally: (pod, node, _here, given) => {
    for (const name of claimsOf(pod)) {
      const claim = claimNamed(given, name)
      if (claim === undefined) return forGood(`persistentvolumeclaim "${name}" not found. not found`)
      if (claim.metadata?.deletionTimestamp)
        return forGood(`persistentvolumeclaim "${name}" is being deleted. not found`)
    }
    const claims = claimsOf(pod).flatMap((name) => claimNamed(given, name) ?? [])
    const reasons: string[] = []
    const bound = claims.flatMap(({ spec }) => (spec?.volumeName === undefined ? [] : [spec.volumeName]))
    const first = bound
      .map((name) => volumeNamed(given, name))
      .find((volume) => volume === undefined || !reached(volume, node))
    const allThere = bound.every(
      (name) => volumeNamed(given, name) !== undefined && reached(volumeNamed(given, name) ?? {}, node),
    )
    if (!allThere && first !== undefined) reasons.push(REASON_VOLUME_AFFINITY)
    const free = (given.storage ?? [])
      .filter((object): object is PersistentVolumeObject => object.kind === 'PersistentVolume')
      .filter((volume) => volume.spec?.claimRef === undefined && reached(volume, node))
      .map(({ spec }) => gigabytes(spec?.capacity?.['storage']))
      .sort((a, b) => a - b)
    const requests = claims
      .filter(({ spec }) => spec?.volumeName === undefined)
      .map(({ spec }) => gigabytes(spec?.resources?.requests?.['storage']))
      .sort((a, b) => a - b)
    for (const request of requests) {
      const at = free.findIndex((capacity) => capacity >= request)
      if (at < 0) {
        reasons.push(REASON_NO_VOLUME)
        break
      }
      free.splice(at, 1)
    }
    if (!allThere && first === undefined) reasons.push(REASON_LOST_VOLUME)
    return reasons.length === 0 ? undefined : forGood(...reasons)
  },
})

constraintContract({
  title: 'VolumeZone',
  name: VolumeZone,
  create: () => volumeZone,
  situations: aboutVolumes,
  isReason: (reason) => reason === REASON_ZONE || reason.endsWith('" not found. not found'),
  literally: (pod, node, _here, given) => {
    const bound = claimsOf(pod).flatMap((name) => claimNamed(given, name)?.spec?.volumeName ?? [])
    const lost = bound.find((name) => volumeNamed(given, name) === undefined)
    if (lost !== undefined) return forGood(`persistentvolume "${lost}" not found. not found`)
    const zone = node.metadata?.labels?.['topology.kubernetes.io/zone']
    const inZone = bound.every((name) => {
      const zones = volumeNamed(given, name)?.metadata?.labels?.['topology.kubernetes.io/zone']
      return zone === undefined || zones === undefined || zones.split('__').includes(zone)
    })
    return inZone ? undefined : forGood(REASON_ZONE)
  },
})
