import type { CsiNode, PodVolumes } from '../cluster/volumes.ts'
import { MIGRATED_KINDS } from '../cluster/volumes.ts'
import { ALLOWED, checkBy, type Constraint, type Refusal, type Verdict } from './constraint.ts'

export const NodeVolumeLimits = 'NodeVolumeLimits'
export const REASON_TOO_MANY_VOLUMES = 'node(s) exceed max volume count'
export const notInstalled = (driver: string): string => `${driver} CSI driver is not installed on the node`

/** By driver: the unique names of the volumes that it would attach for the pod. */
type Wanted = ReadonlyMap<string, readonly string[]>

/** Volumes that a driver may attach. */
const attachable = ({ claims, disks }: PodVolumes): boolean =>
  claims.length > 0 || disks.some(({ kind }) => MIGRATED_KINDS[kind] !== undefined)

const raised = (before: CsiNode, after: CsiNode): boolean => {
  for (const [driver, limit = 0] of after.limits) if (limit > (before.limits.get(driver) ?? 0)) return true
  return false
}

/** A node takes as many volumes of each CSI driver as its CSINode says, and none of a driver that it needs and lacks. */
export const nodeVolumeLimits: Constraint = {
  name: NodeVolumeLimits,
  prepare: (pod, cluster) => {
    if (!attachable(pod.volumes)) return undefined
    const { volumes } = cluster
    const refusals: Refusal[] = [{ reasons: [REASON_TOO_MANY_VOLUMES], preemptionCouldHelp: true }]
    const missing = new Map<string, Verdict>()
    const lacks = (driver: string): Verdict => {
      let verdict = missing.get(driver)
      if (verdict === undefined) {
        verdict = refusals.push({ reasons: [notInstalled(driver)], preemptionCouldHelp: true })
        missing.set(driver, verdict)
      }
      return verdict
    }
    // What drivers attach is the same on all nodes that have a CSINode, and on all that have none.
    let withCsiNode: Wanted | undefined
    let without: Wanted | undefined
    const wanted = (nodeName: string): Wanted => {
      const found = new Map<string, string>()
      volumes.attachments(pod, nodeName, found)
      return Map.groupBy(found.keys(), (unique) => found.get(unique) ?? '')
    }
    return checkBy(NodeVolumeLimits, refusals, (node) => {
      const { name } = cluster.node(node)
      const csiNode = volumes.csiNode(name)
      const byDriver = csiNode === undefined ? (without ??= wanted(name)) : (withCsiNode ??= wanted(name))
      for (const driver of byDriver.keys())
        if (volumes.csiDriver(driver)?.required && csiNode?.limits.has(driver) !== true) return lacks(driver)
      for (const [driver, uniques] of byDriver) {
        const limit = csiNode?.limits.get(driver)
        if (limit === undefined) continue
        const { ofPods, counts } = volumes.attachedOn(name)
        let added = 0
        for (const unique of uniques) if (!ofPods.has(unique)) added++
        if (added > 0 && (counts.get(driver) ?? 0) + added > limit) return 1
      }
      return ALLOWED
    })
  },
  wakesOn: ['CsiNodeAdd', 'CsiNodeUpdate', 'PodDelete', 'ClaimAdd', 'AttachmentDelete'],
  wakesEachPod: true,
  couldHelp: (pod, event) => {
    const { claims, disks } = pod.volumes
    switch (event.kind) {
      case 'CsiNodeAdd':
        return true
      case 'CsiNodeUpdate':
        return raised(event.before, event.csiNode)
      case 'PodDelete':
        return attachable(event.pod.volumes)
      case 'ClaimAdd':
        return event.claim.namespace === pod.namespace && claims.some(({ name }) => name === event.claim.name)
      case 'AttachmentDelete':
        return (
          claims.some(({ ephemeral }) => !ephemeral) ||
          disks.some(({ kind }) => MIGRATED_KINDS[kind] === event.attachment.attacher)
        )
      default:
        return false
    }
  },
}
