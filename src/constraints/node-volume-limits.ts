import type { CsiNode, PodVolumes } from '../cluster/volumes.ts'
import { MIGRATED_KINDS } from '../cluster/volumes.ts'
import { ALLOWED, checkBy, type Constraint, type Refusal, type Verdict } from './constraint.ts'

export const NodeVolumeLimits = 'NodeVolumeLimits'
export const REASON_TOO_MANY_VOLUMES = 'node(s) exceed max volume count'
export const notInstalled = (driver: string): string => `${driver} CSI driver is not installed on the node`

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
    let withCsiNode: ReadonlyMap<string, string> | undefined
    let without: ReadonlyMap<string, string> | undefined
    const wanted = (nodeName: string): ReadonlyMap<string, string> => {
      const found = new Map<string, string>()
      volumes.attachments(pod, nodeName, found)
      return found
    }
    return checkBy(NodeVolumeLimits, refusals, (node) => {
      const { name } = cluster.node(node)
      const csiNode = volumes.csiNode(name)
      const news = csiNode === undefined ? (without ??= wanted(name)) : (withCsiNode ??= wanted(name))
      if (news.size === 0) return ALLOWED
      for (const driver of news.values())
        if (volumes.csiDriver(driver)?.required && csiNode?.limits.has(driver) !== true) return lacks(driver)
      if (csiNode === undefined || !csiNode.limits.values().some((limit) => limit !== undefined)) return ALLOWED
      const { ofPods, counts } = volumes.attachedOn(name)
      const added = new Map<string, number>()
      for (const [unique, driver] of news) if (!ofPods.has(unique)) added.set(driver, (added.get(driver) ?? 0) + 1)
      for (const [driver, count] of added) {
        const limit = csiNode.limits.get(driver)
        if (limit !== undefined && (counts.get(driver) ?? 0) + count > limit) return 1
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
