import { labelOf } from '../cluster/labels.ts'
import type { Labels } from '../cluster/pod.ts'
import type { PersistentVolume } from '../cluster/volumes.ts'
import { ALLOWED, checkBy, type Constraint, type Refusal, refusedAtOnce } from './constraint.ts'

export const VolumeZone = 'VolumeZone'
export const REASON_ZONE = 'node(s) had no available volume zone'

/** Labels that bind a volume to a place, with those that nodes may have in their stead. */
const PLACE_LABELS: readonly (readonly [label: string, current: string])[] = [
  ['failure-domain.beta.kubernetes.io/zone', 'topology.kubernetes.io/zone'],
  ['failure-domain.beta.kubernetes.io/region', 'topology.kubernetes.io/region'],
  ['topology.kubernetes.io/zone', 'topology.kubernetes.io/zone'],
  ['topology.kubernetes.io/region', 'topology.kubernetes.io/region'],
]
/** Between the zones of a volume that is in several. */
const ZONES_DELIMITER = '__'

interface Place {
  readonly label: string
  readonly current: string
  readonly values: readonly string[]
}

const placesOf = ({ labels }: PersistentVolume): Place[] =>
  PLACE_LABELS.flatMap(([label, current]) => {
    const value = labelOf(labels, label)
    if (value === undefined) return []
    const values = value.split(ZONES_DELIMITER).map((part) => part.trim())
    // kube-scheduler takes no notice of a label that it cannot read.
    return values.includes('') ? [] : [{ label, current, values }]
  })

const isPlaced = (labels: Labels): boolean => PLACE_LABELS.some(([label]) => labelOf(labels, label) !== undefined)

const REFUSALS: readonly Refusal[] = [{ reasons: [REASON_ZONE], preemptionCouldHelp: false }]

/** Bound volumes with labels for zone or region can be used there only; a node without such labels takes any. */
export const volumeZone: Constraint = {
  name: VolumeZone,
  prepare: (pod, cluster) => {
    const { volumes } = cluster
    const places: Place[] = []
    for (const { name, ephemeral } of pod.volumes.claims) {
      const claim = ephemeral ? undefined : volumes.claim(pod.namespace, name)
      if (claim === undefined || claim.volumeName === '') continue
      const volume = volumes.volume(claim.volumeName)
      if (volume === undefined)
        return { constraint: VolumeZone, message: refusedAtOnce(`persistentvolume "${claim.volumeName}" not found`) }
      places.push(...placesOf(volume))
    }
    if (places.length === 0) return undefined
    return checkBy(VolumeZone, REFUSALS, (node) => {
      const { labels } = cluster.node(node)
      if (!isPlaced(labels)) return ALLOWED
      const inPlace = places.every(({ label, current, values }) => {
        const value = labelOf(labels, label) ?? labelOf(labels, current)
        return value !== undefined && values.includes(value)
      })
      return inPlace ? ALLOWED : 1
    })
  },
  wakesOn: ['StorageClassAdd', 'NodeAdd', 'NodeLabel', 'ClaimAdd', 'ClaimUpdate', 'VolumeAdd', 'VolumeUpdate'],
  wakesEachPod: true,
  couldHelp: (pod, event) => {
    switch (event.kind) {
      case 'NodeAdd':
      case 'NodeLabel':
      case 'VolumeAdd':
        return true
      case 'StorageClassAdd':
        return event.storageClass.waitsForConsumer
      case 'ClaimAdd':
      case 'ClaimUpdate':
        return (
          event.claim.namespace === pod.namespace &&
          pod.volumes.claims.some(({ name, ephemeral }) => !ephemeral && name === event.claim.name)
        )
      case 'VolumeUpdate':
        return JSON.stringify(placesOf(event.before)) !== JSON.stringify(placesOf(event.volume))
      default:
        return false
    }
  },
}
