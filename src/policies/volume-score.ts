import type { Pod } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'
import { PodClaims } from '../cluster/volume-plan.ts'
import type { VolumePlan } from '../cluster/volumes.ts'
import { MAX_NODE_SCORE } from './kube-scores.ts'

interface Share {
  requestedBytes: number
  capacityBytes: number
}

/** Bytes wanted and there by storage class: of the volumes that would be bound, else of those to be made. */
const sharesOf = ({ bindings, provisions }: VolumePlan): Map<string, Share> => {
  const shares = new Map<string, Share>()
  const shareOf = (className: string): Share => {
    let share = shares.get(className)
    if (share === undefined) shares.set(className, (share = { requestedBytes: 0, capacityBytes: 0 }))
    return share
  }
  for (const { claim, volume } of bindings) {
    const share = shareOf(volume.className)
    share.requestedBytes += claim.requestBytes ?? 0
    share.capacityBytes += volume.capacityBytes
  }
  if (bindings.length > 0) return shares
  for (const { claim, capacity } of provisions) {
    if (capacity === undefined) continue
    const share = shareOf(claim.className)
    share.requestedBytes += claim.requestBytes ?? 0
    // Not a sum: all volumes of the class would come out of the same room.
    share.capacityBytes = capacity.capacityBytes
  }
  return shares
}

/** kube-scheduler's VolumeBinding score of one plan (v1.37): the less of the room is used, the better; the mean of all classes. */
export const volumeScore = (plan: VolumePlan): number => {
  const shares = sharesOf(plan)
  if (shares.size === 0) return 0
  let sum = 0
  for (const { requestedBytes, capacityBytes } of shares.values())
    if (capacityBytes > 0 && requestedBytes <= capacityBytes)
      sum += MAX_NODE_SCORE - Math.floor((requestedBytes * MAX_NODE_SCORE) / capacityBytes)
  return Math.round(sum / shares.size)
}

/** Writes a value for each node; false: the pod has no claims that are still to be bound. */
export const scoreVolumes = (
  pod: Pod,
  nodes: Int32Array,
  count: number,
  cluster: ClusterView,
  values: Float64Array,
): boolean => {
  const claims = PodClaims.of(pod, cluster.volumes)
  if (typeof claims !== 'object' || claims.allBound) return false
  for (let i = 0; i < count; i++) {
    // i < count <= length of both
    const plan = claims.plan(cluster.node(nodes[i]!))
    values[i] = plan === undefined ? 0 : volumeScore(plan)
  }
  return true
}
