import type { Clock, Timer } from '../../clock/clock.ts'
import type {
  KubeObject,
  PersistentVolumeClaimObject,
  PersistentVolumeObject,
  PodObject,
} from '../../cluster/objects.ts'
import { readPersistentVolume, readPersistentVolumeClaim, readStorageClass } from '../../cluster/read-volumes.ts'
import {
  BIND_COMPLETED,
  BOUND_BY_CONTROLLER,
  type PersistentVolume,
  type PersistentVolumeClaim,
} from '../../cluster/volumes.ts'
import { messageOf } from '../../errors/catalogue.ts'
import type { ObjectAccess } from '../apiserver/access.ts'

/** Classes with this provisioner get disks out of nothing, which every node reaches. */
export const SIMULATED_DISKS = 'simulated-disks.stowage.dev'

export interface VolumeControllerOptions {
  readonly objects: ObjectAccess
  readonly clock: Clock
  readonly log: (message: string) => void
}

const VOLUMES = 'persistentvolumes'
const CLAIMS = 'persistentvolumeclaims'
const CLASSES = 'storageclasses.storage.k8s.io'
const PODS = 'pods'

/**
 * What a controller manager and a provisioner do about volumes, for the embedded API server: claims and volumes that suit each
 * other are bound, ephemeral claims are made for their pods, and classes of `SIMULATED_DISKS` are provisioned. No more of it than
 * pods need in order to be placed.
 * @returns how to stop it
 */
export const startVolumeController = ({ objects, clock, log }: VolumeControllerOptions): (() => void) => {
  let timer: Timer | undefined
  let stopped = false
  // Writes answer events, but not from within the write that caused them.
  const soon = (): void => {
    timer ??= clock.after(0, () => {
      timer = undefined
      if (stopped) return
      try {
        new Round(objects).run()
      } catch (error) {
        log(`volumes could not be looked after: ${messageOf(error)}`)
      }
    })
  }
  const unsubscribe = [
    objects.subscribe(VOLUMES, soon),
    objects.subscribe(CLAIMS, soon),
    objects.subscribe(CLASSES, soon),
    objects.subscribe(PODS, ({ type, object }) => {
      const { spec } = object as PodObject
      if (type !== 'MODIFIED' && (spec?.volumes ?? []).some(({ ephemeral }) => ephemeral)) soon()
    }),
  ]
  soon()
  return () => {
    stopped = true
    timer?.cancel()
    for (const stop of unsubscribe) stop()
  }
}

const isFor = ({ claimRef }: PersistentVolume, { namespace, name, uid }: PersistentVolumeClaim): boolean =>
  claimRef?.namespace === namespace && claimRef.name === name && (claimRef.uid === '' || claimRef.uid === uid)

/** What of a list can be read; nobody waits for the rest. */
const readable = <T>(list: readonly KubeObject[], read: (object: KubeObject) => T): T[] =>
  list.flatMap((object) => {
    try {
      return [read(object)]
    } catch {
      return []
    }
  })

/** One look at everything there is. */
class Round {
  readonly #objects: ObjectAccess
  readonly #volumes: PersistentVolume[]

  constructor(objects: ObjectAccess) {
    this.#objects = objects
    this.#volumes = readable(objects.list(VOLUMES), readPersistentVolume)
  }

  run(): void {
    this.#ephemeralClaims()
    for (const claim of readable(this.#objects.list(CLAIMS), readPersistentVolumeClaim))
      if (!claim.bound && !claim.deleting) this.#serve(claim)
    for (const volume of this.#volumes) this.#settle(volume)
  }

  /** Claims that pods bring along are made for them, and go with them. */
  #ephemeralClaims(): void {
    const pods = new Set<string>()
    for (const { metadata = {}, spec } of this.#objects.list(PODS) as readonly PodObject[]) {
      pods.add(metadata.uid ?? '')
      for (const { name = '', ephemeral } of spec?.volumes ?? []) {
        const claimName = `${metadata.name}-${name}`
        if (!ephemeral || this.#objects.get(CLAIMS, metadata.namespace ?? '', claimName) !== undefined) continue
        const { volumeClaimTemplate = {} } = ephemeral as { volumeClaimTemplate?: KubeObject }
        this.#objects.create(CLAIMS, {
          ...volumeClaimTemplate,
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: {
            ...volumeClaimTemplate.metadata,
            name: claimName,
            namespace: metadata.namespace ?? '',
            ownerReferences: [
              { apiVersion: 'v1', kind: 'Pod', name: metadata.name ?? '', uid: metadata.uid ?? '', controller: true },
            ],
          },
        })
      }
    }
    for (const { metadata = {} } of this.#objects.list(CLAIMS)) {
      const owner = metadata.ownerReferences?.find(({ controller, kind }) => controller && kind === 'Pod')
      if (owner !== undefined && !pods.has(owner.uid ?? ''))
        this.#objects.remove(CLAIMS, metadata.namespace ?? '', metadata.name ?? '')
    }
  }

  #serve(claim: PersistentVolumeClaim): void {
    const chosen =
      this.#volumes.find((volume) => isFor(volume, claim)) ??
      this.#volumes.find(({ name, claimRef }) => name === claim.volumeName && claimRef === undefined)
    if (chosen !== undefined) {
      if (claim.volumeName === '' || claim.volumeName === chosen.name) this.#bind(claim, chosen)
      return
    }
    if (claim.volumeName !== '') return
    const object = this.#objects.get(CLASSES, '', claim.className)
    const [storageClass] = readable(object === undefined ? [] : [object], readStorageClass)
    // The scheduler has the first word about claims that wait for their consumer.
    if (storageClass?.waitsForConsumer && claim.selectedNode === '') return
    const smallest = storageClass?.waitsForConsumer ? undefined : this.#smallest(claim)
    if (smallest !== undefined) this.#bind(claim, smallest)
    else if (storageClass?.provisioner === SIMULATED_DISKS) this.#provision(claim)
  }

  #smallest(claim: PersistentVolumeClaim): PersistentVolume | undefined {
    return this.#volumes
      .filter(
        (volume) =>
          volume.claimRef === undefined &&
          volume.className === claim.className &&
          volume.volumeMode === claim.volumeMode &&
          volume.capacityBytes >= (claim.requestBytes ?? 0) &&
          claim.accessModes.every((mode) => volume.accessModes.includes(mode)),
      )
      .sort((a, b) => a.capacityBytes - b.capacityBytes)[0]
  }

  #provision(claim: PersistentVolumeClaim): void {
    const { namespace, name, uid, className, accessModes, requestBytes = 0 } = claim
    const volume: PersistentVolumeObject = {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: `pvc-${uid}` },
      spec: {
        capacity: { storage: String(requestBytes) },
        accessModes: [...accessModes],
        storageClassName: className,
        csi: { driver: SIMULATED_DISKS, volumeHandle: uid },
        claimRef: { namespace, name, uid },
      },
    }
    const made = readPersistentVolume(
      this.#objects.create(VOLUMES, { ...volume, spec: { ...volume.spec, ...RECLAIMED } } as KubeObject),
    )
    this.#volumes.push(made)
    this.#bind(claim, made)
  }

  /** Each names the other, and says so. */
  #bind(claim: PersistentVolumeClaim, volume: PersistentVolume): void {
    const { namespace, name, uid } = claim
    const at = this.#volumes.indexOf(volume)
    const claimRef = { namespace, name, uid }
    if (volume.claimRef?.uid !== uid) {
      const object = this.#objects.get(VOLUMES, '', volume.name) as PersistentVolumeObject
      const annotations = { ...object.metadata?.annotations, [BOUND_BY_CONTROLLER]: 'yes' }
      this.#objects.update(VOLUMES, {
        ...object,
        metadata: { ...object.metadata, annotations },
        spec: { ...object.spec, claimRef },
      } as KubeObject)
    }
    this.#volumes[at] = { ...volume, claimRef }
    const stored = this.#objects.get(CLAIMS, namespace, name) as PersistentVolumeClaimObject
    const bound = this.#objects.update(CLAIMS, {
      ...stored,
      metadata: { ...stored.metadata, annotations: { ...stored.metadata?.annotations, [BIND_COMPLETED]: 'yes' } },
      spec: { ...stored.spec, volumeName: volume.name },
    } as KubeObject)
    const status = {
      phase: 'Bound',
      accessModes: [...volume.accessModes],
      capacity: { storage: String(volume.capacityBytes) },
    }
    this.#objects.update(CLAIMS, { ...bound, status } as KubeObject, 'status')
  }

  /** A volume's phase follows from its claim; what was made for a claim goes with it. */
  #settle({ name, claimRef, phase }: PersistentVolume): void {
    const claim = claimRef && this.#objects.get(CLAIMS, claimRef.namespace, claimRef.name)
    const isThere = claim !== undefined && (claimRef?.uid === '' || claim.metadata?.uid === claimRef?.uid)
    const object = this.#objects.get(VOLUMES, '', name) as PersistentVolumeObject & {
      spec?: { persistentVolumeReclaimPolicy?: string }
    }
    const orphaned = claimRef !== undefined && claimRef.uid !== '' && !isThere
    if (orphaned && object.spec?.persistentVolumeReclaimPolicy === 'Delete') {
      this.#objects.remove(VOLUMES, '', name)
      return
    }
    const next = orphaned ? 'Released' : isThere && claimRef?.uid !== '' ? 'Bound' : 'Available'
    if (phase !== next) this.#objects.update(VOLUMES, { ...object, status: { phase: next } } as KubeObject, 'status')
  }
}

const RECLAIMED = { persistentVolumeReclaimPolicy: 'Delete' }
