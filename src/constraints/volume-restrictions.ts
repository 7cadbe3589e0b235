import { CLAIM_NOT_FOUND } from '../cluster/volume-plan.ts'
import { disksConflict, READ_WRITE_ONCE_POD } from '../cluster/volumes.ts'
import { ALLOWED, checkBy, type Constraint, type Refusal, refusedAtOnce } from './constraint.ts'

export const VolumeRestrictions = 'VolumeRestrictions'
export const REASON_DISK = 'node(s) had no available disk'
export const REASON_ONCE_POD =
  'node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod'

const REFUSALS: readonly Refusal[] = [
  { reasons: [REASON_DISK], preemptionCouldHelp: true },
  { reasons: [REASON_ONCE_POD], preemptionCouldHelp: true },
]

/**
 * A disk that a pod names itself must not be in use beside it, and a claim for one pod alone must not be in use anywhere in
 * the cluster.
 */
export const volumeRestrictions: Constraint = {
  name: VolumeRestrictions,
  prepare: (pod, cluster) => {
    const { claims, disks } = pod.volumes
    const { volumes } = cluster
    const exclusive: string[] = []
    for (const { name, ephemeral } of claims) {
      if (ephemeral) continue
      const claim = volumes.claim(pod.namespace, name)
      if (claim === undefined) return { constraint: VolumeRestrictions, message: refusedAtOnce(CLAIM_NOT_FOUND(name)) }
      if (claim.accessModes.includes(READ_WRITE_ONCE_POD)) exclusive.push(name)
    }
    const inUse = (): boolean => exclusive.some((name) => volumes.isClaimUsed(pod.namespace, name))
    if (disks.length === 0 && !inUse()) return undefined
    return checkBy(VolumeRestrictions, REFUSALS, (node) => {
      const { name } = cluster.node(node)
      if (disks.some((disk) => volumes.conflictsOn(name, disk))) return 1
      return inUse() ? 2 : ALLOWED
    })
  },
  wakesOn: ['PodDelete', 'NodeAdd', 'ClaimAdd'],
  wakesEachPod: true,
  couldHelp: (pod, event) => {
    const uses = (name: string): boolean => pod.volumes.claims.some((claim) => !claim.ephemeral && claim.name === name)
    switch (event.kind) {
      case 'NodeAdd':
        return true
      case 'ClaimAdd':
        return event.claim.namespace === pod.namespace && uses(event.claim.name)
      case 'PodDelete': {
        const { claims, disks } = event.pod.volumes
        return (
          event.pod.namespace === pod.namespace &&
          (claims.some(({ name, ephemeral }) => !ephemeral && uses(name)) ||
            disks.some((theirs) => pod.volumes.disks.some((disk) => disksConflict(disk, theirs))))
        )
      }
      default:
        return false
    }
  },
}
