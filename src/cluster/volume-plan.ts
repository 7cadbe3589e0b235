import { labelOf, labelSelectorMatches, nodeTermMatches } from './labels.ts'
import { HOSTNAME_LABEL, type Node } from './node.ts'
import { type Labels, type Pod } from './pod.ts'
import type { VolumeView } from './volume-state.ts'
import {
  NO_PROVISIONER,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type StorageCapacity,
  type StorageClass,
  type VolumePlan,
} from './volumes.ts'

/** Why a node cannot have a pod's volumes: bits, in the order in which kube-scheduler tells them. */
export const VolumeFault = { nodeAffinity: 1, noMatch: 2, noRoom: 4, noSuchVolume: 8 } as const

/** The node reaches the volume. */
const reaches = ({ nodeTerms }: PersistentVolume, labels: Labels): boolean =>
  nodeTerms === undefined || nodeTerms.some((term) => nodeTermMatches(term, labels, ''))

const allowsTopology = ({ allowedTopologies }: StorageClass, labels: Labels): boolean =>
  allowedTopologies.length === 0 ||
  allowedTopologies.some(
    (term) => term.length > 0 && term.every(({ key, values }) => values.includes(labelOf(labels, key) ?? '\0')),
  )

/** The hostnames outside of which a volume cannot be reached, as those of local disks; undefined: not known to be few. */
const hostnamesOf = ({ nodeTerms }: PersistentVolume): readonly string[] | undefined => {
  if (nodeTerms === undefined) return undefined
  const names: string[] = []
  for (const { matchExpressions = [] } of nodeTerms) {
    const pin = matchExpressions.find(({ key, operator }) => key === HOSTNAME_LABEL && operator === 'In')
    if (pin === undefined) return undefined
    names.push(...(pin.values ?? []))
  }
  return names
}

const isFor = ({ claimRef }: PersistentVolume, { namespace, name, uid }: PersistentVolumeClaim): boolean =>
  claimRef !== undefined &&
  claimRef.namespace === namespace &&
  claimRef.name === name &&
  (claimRef.uid === '' || claimRef.uid === uid)

/** A claim that waits for its first consumer, with the volumes that it could have somewhere. */
class UnboundClaim {
  readonly claim: PersistentVolumeClaim
  readonly storageClass: StorageClass
  /** reserved for this claim: it gets this or none */
  readonly #reserved: PersistentVolume | undefined
  /** free ones, smallest first */
  readonly #free: PersistentVolume[] = []
  /** ranks in `#free`, ascending: of volumes of that hostname, and of those that are not pinned to one */
  readonly #ofHost = new Map<string, number[]>()
  readonly #anywhere: number[] = []

  constructor(claim: PersistentVolumeClaim, storageClass: StorageClass, volumes: VolumeView) {
    this.claim = claim
    this.storageClass = storageClass
    for (const volume of volumes.volumesOfClass(claim.className)) {
      if (volume.claimRef !== undefined && !isFor(volume, claim)) continue
      if (
        volume.capacityBytes < (claim.requestBytes ?? 0) ||
        volume.volumeMode !== claim.volumeMode ||
        volume.attributesClass !== claim.attributesClass ||
        volume.deleting
      )
        continue
      if (volume.claimRef !== undefined) {
        this.#reserved ??= volume
        continue
      }
      if (
        volume.phase === 'Available' &&
        (claim.selector === undefined || labelSelectorMatches(claim.selector, volume.labels)) &&
        claim.accessModes.every((mode) => volume.accessModes.includes(mode))
      )
        this.#free.push(volume)
    }
    this.#free.sort((a, b) => a.capacityBytes - b.capacityBytes)
    for (const [rank, volume] of this.#free.entries()) {
      const hostnames = hostnamesOf(volume)
      if (hostnames === undefined) this.#anywhere.push(rank)
      else
        for (const hostname of new Set(hostnames)) {
          const ranks = this.#ofHost.get(hostname)
          if (ranks === undefined) this.#ofHost.set(hostname, [rank])
          else ranks.push(rank)
        }
    }
  }

  /** The smallest volume that the node reaches and that no other claim of the pod has. */
  match({ labels }: Node, taken: ReadonlySet<string>): PersistentVolume | undefined {
    if (this.#reserved !== undefined && !taken.has(this.#reserved.name))
      return reaches(this.#reserved, labels) ? this.#reserved : undefined
    const own = this.#ofHost.get(labelOf(labels, HOSTNAME_LABEL) ?? '') ?? []
    const fits = (rank: number): boolean => {
      const volume = this.#free[rank]
      return volume !== undefined && !taken.has(volume.name) && reaches(volume, labels)
    }
    const ranks = [own.find(fits), this.#anywhere.find(fits)].filter((rank) => rank !== undefined)
    return ranks.length === 0 ? undefined : this.#free[Math.min(...ranks)]
  }
}

/** Texts with which a pod is refused on every node because of its claims, kube-scheduler's. */
export const CLAIM_NOT_FOUND = (name: string): string => `persistentvolumeclaim "${name}" not found`
export const UNBOUND_IMMEDIATE = 'pod has unbound immediate PersistentVolumeClaims'

/**
 * The claims of a pod, looked up once, and how they can be had on each node. As kube-scheduler's volume binder works
 * (v1.37): bound claims must be reachable; claims that wait for their first consumer get the smallest volume that fits, smallest
 * claim first; what is left is to be provisioned, if the class can do so there and there is room.
 */
export class PodClaims {
  readonly #bound: (PersistentVolume | undefined)[] = []
  /** provisioning has been asked for already */
  readonly #provisioning: UnboundClaim[] = []
  readonly #toMatch: UnboundClaim[] = []
  readonly #volumes: VolumeView

  private constructor(volumes: VolumeView) {
    this.#volumes = volumes
  }

  /** @returns why no node can have the pod, if so; undefined for a pod without claims */
  static of(pod: Pod, volumes: VolumeView): PodClaims | string | undefined {
    const { claims } = pod.volumes
    if (claims.length === 0) return undefined
    const found: PersistentVolumeClaim[] = []
    for (const { name, ephemeral } of claims) {
      const claim = volumes.claim(pod.namespace, name)
      if (claim === undefined)
        return ephemeral
          ? `waiting for ephemeral volume controller to create the persistentvolumeclaim "${name}"`
          : CLAIM_NOT_FOUND(name)
      if (claim.lost)
        return `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.volumeName}"`
      if (claim.deleting) return `persistentvolumeclaim "${name}" is being deleted`
      if (ephemeral && claim.ownerUid !== pod.uid)
        return `PVC ${claim.namespace}/${name} was not created for pod ${pod.namespace}/${pod.name} (pod is not owner)`
      found.push(claim)
    }
    const prepared = new PodClaims(volumes)
    for (const claim of found) {
      if (claim.bound) {
        prepared.#bound.push(volumes.volume(claim.volumeName))
        continue
      }
      const storageClass = volumes.storageClass(claim.className)
      if (storageClass === undefined || !storageClass.waitsForConsumer || claim.volumeName !== '')
        return UNBOUND_IMMEDIATE
      const unbound = new UnboundClaim(claim, storageClass, volumes)
      if (claim.selectedNode === '') prepared.#toMatch.push(unbound)
      else prepared.#provisioning.push(unbound)
    }
    prepared.#toMatch.sort((a, b) => (a.claim.requestBytes ?? 0) - (b.claim.requestBytes ?? 0))
    return prepared
  }

  /** Every claim has its volume. */
  get allBound(): boolean {
    return this.#toMatch.length + this.#provisioning.length === 0
  }

  /** Why the node cannot have the volumes, as bits of VolumeFault; 0 if it can. */
  faults(node: Node): number {
    const bound = this.#boundFault(node)
    const unbound = this.#planUnbound(node)
    return typeof unbound === 'number' ? bound | unbound : bound
  }

  /** What is to be done about claims that are not bound; undefined if the node cannot have the volumes. */
  plan(node: Node): VolumePlan | undefined {
    const unbound = this.#planUnbound(node)
    return typeof unbound === 'number' || this.#boundFault(node) !== 0 ? undefined : unbound
  }

  #boundFault({ labels }: Node): number {
    for (const volume of this.#bound) {
      if (volume === undefined) return VolumeFault.noSuchVolume
      if (!reaches(volume, labels)) return VolumeFault.nodeAffinity
    }
    return 0
  }

  #planUnbound(node: Node): VolumePlan | number {
    if (this.#provisioning.some(({ claim }) => claim.selectedNode !== node.name)) return VolumeFault.noMatch
    const bindings: { claim: PersistentVolumeClaim; volume: PersistentVolume }[] = []
    const toProvision = [...this.#provisioning]
    const taken = new Set<string>()
    for (const unbound of this.#toMatch) {
      const volume = unbound.match(node, taken)
      if (volume === undefined) toProvision.push(unbound)
      else {
        taken.add(volume.name)
        bindings.push({ claim: unbound.claim, volume })
      }
    }
    const provisions: { claim: PersistentVolumeClaim; capacity: StorageCapacity | undefined }[] = []
    for (const { claim, storageClass } of toProvision) {
      const { provisioner } = storageClass
      if (provisioner === '' || provisioner === NO_PROVISIONER || !allowsTopology(storageClass, node.labels))
        return VolumeFault.noMatch
      const { requestBytes } = claim
      if (requestBytes === undefined || this.#volumes.csiDriver(provisioner)?.storageCapacity !== true) {
        provisions.push({ claim, capacity: undefined })
        continue
      }
      const capacity = this.#roomFor(requestBytes, storageClass.name, node)
      if (capacity === undefined) return VolumeFault.noRoom
      provisions.push({ claim, capacity })
    }
    return { bindings, provisions }
  }

  #roomFor(requestBytes: number, className: string, { labels }: Node): StorageCapacity | undefined {
    for (const capacity of this.#volumes.capacities())
      if (
        capacity.className === className &&
        capacity.limitBytes !== undefined &&
        capacity.limitBytes >= requestBytes &&
        labelSelectorMatches(capacity.nodeTopology, labels)
      )
        return capacity
    return undefined
  }
}
