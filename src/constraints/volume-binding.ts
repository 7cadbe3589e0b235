import { PodClaims, VolumeFault } from '../cluster/volume-plan.ts'
import { checkBy, type Constraint, type Refusal, refusedAtOnce } from './constraint.ts'

export const VolumeBinding = 'VolumeBinding'
export const REASON_VOLUME_AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
export const REASON_NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
export const REASON_NO_ROOM = 'node(s) did not have enough free storage'
export const REASON_LOST_VOLUME = 'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)'

const WORDS: readonly (readonly [fault: number, reason: string])[] = [
  [VolumeFault.nodeAffinity, REASON_VOLUME_AFFINITY],
  [VolumeFault.noMatch, REASON_NO_VOLUME],
  [VolumeFault.noRoom, REASON_NO_ROOM],
  [VolumeFault.noSuchVolume, REASON_LOST_VOLUME],
]

/** One for each combination of faults, which is the verdict. */
const REFUSALS: readonly Refusal[] = Array.from({ length: 15 }, (_, at) => ({
  reasons: WORDS.filter(([fault]) => ((at + 1) & fault) !== 0).map(([, reason]) => reason),
  preemptionCouldHelp: false,
}))

/** The node must reach the volumes of bound claims, and there must be volumes, or room for them, for the others. */
export const volumeBinding: Constraint = {
  name: VolumeBinding,
  prepare: (pod, cluster) => {
    const claims = PodClaims.of(pod, cluster.volumes)
    if (claims === undefined) return undefined
    if (typeof claims === 'string') return { constraint: VolumeBinding, message: refusedAtOnce(claims) }
    return checkBy(VolumeBinding, REFUSALS, (node) => claims.faults(cluster.node(node)))
  },
  wakesOn: [
    'StorageClassAdd',
    'StorageClassUpdate',
    'ClaimAdd',
    'ClaimUpdate',
    'VolumeAdd',
    'VolumeUpdate',
    'NodeAdd',
    'NodeLabel',
    'CsiNodeAdd',
    'CsiNodeUpdate',
    'CsiDriverUpdate',
    'CapacityAdd',
    'CapacityUpdate',
  ],
  wakesEachPod: true,
  couldHelp: (pod, event) => {
    switch (event.kind) {
      case 'StorageClassAdd':
      case 'VolumeAdd':
      case 'VolumeUpdate':
      case 'NodeAdd':
      case 'NodeLabel':
      case 'CsiNodeAdd':
      case 'CapacityAdd':
        return true
      case 'StorageClassUpdate':
        return JSON.stringify(event.before.allowedTopologies) !== JSON.stringify(event.storageClass.allowedTopologies)
      case 'ClaimAdd':
      case 'ClaimUpdate':
        return (
          event.claim.namespace === pod.namespace && pod.volumes.claims.some(({ name }) => name === event.claim.name)
        )
      case 'CsiNodeUpdate':
        return event.before.migratedPlugins !== event.csiNode.migratedPlugins
      case 'CsiDriverUpdate':
        return (
          event.before.storageCapacity &&
          !event.driver.storageCapacity &&
          pod.volumes.csiDrivers.includes(event.driver.name)
        )
      case 'CapacityUpdate': {
        const { limitBytes } = event.capacity
        return limitBytes !== undefined && limitBytes > (event.before.limitBytes ?? Number.NEGATIVE_INFINITY)
      }
      default:
        return false
    }
  },
}
