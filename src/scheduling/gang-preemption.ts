import type { DisruptionBudgets } from '../cluster/disruption-budgets.ts'
import type { NodeIndex } from '../cluster/node.ts'
import type { Pod } from '../cluster/pod.ts'
import type { ClusterState, Imagined } from '../cluster/state.ts'
import type { VolumePlan } from '../cluster/volumes.ts'
import type { Decision } from './cycle.ts'
import { type GangCandidate, LiftedNominations } from './gang-step.ts'
import { asksToStay, byImportance, byImportanceOfUnits, type Together, unitsOf } from './preemption.ts'
import type { Profile } from './profile.ts'

const PREFIX = 'pod group preemption: '

/** A pod that leaves its node so that a gang can be placed. */
export interface GangVictim {
  readonly pod: Pod
  readonly nodeName: string
}

/** Which pods have to go so that a gang can be placed as a whole, and where its members go then. */
export interface GangPreemption<C> {
  /** the nodes of as many members as are needed */
  readonly nominations: ReadonlyMap<C, string>
  /** most important first, at least one */
  readonly victims: readonly GangVictim[]
}

/** What a gang that cannot be placed may do about it. */
export interface GangPreemptionFinding<C> {
  /** kube-scheduler's text, which follows the reasons */
  readonly text: string
  /** `none`: nothing helps, and nominations end; `ineligible`: not to be asked now */
  readonly found: GangPreemption<C> | 'none' | 'ineligible'
}

export interface GangPreemptionOptions {
  readonly cluster: ClusterState
  readonly budgets: DisruptionBudgets
  readonly minCount: number
  /** members that count on a node already */
  readonly placed: number
  /** pods that may not be evicted for the gang: its own */
  readonly isMember: (uid: string) => boolean
  /** undefined: every pod is alone */
  readonly together: Together | undefined
  /** looks for pods that could make room where there is none */
  readonly decide: (pod: Pod, profile: Profile) => Decision
  readonly plan: (pod: Pod, node: NodeIndex) => VolumePlan | undefined
  readonly fits: (pod: Pod, node: NodeIndex, imagined: Imagined) => boolean
  /** the cluster state has changed */
  readonly changed: () => void
}

/** A member that has its place in what is imagined. */
interface Imagination<C> {
  readonly candidate: C
  readonly placed: Pod
  readonly node: NodeIndex
}

/**
 * Whether a gang that cannot be placed could be if pods of a lower priority left, and which. Its members are placed one after
 * the other as `placeGang` does; one that fits nowhere takes the node where, by kube-scheduler's order of choice, the
 * evictions cost the least. Then every victim that nobody needs to leave any more is spared, the most important first. No
 * more members than are needed have anybody evicted. All of it is imagined: the cluster is as it was when this returns.
 * @throws what `decide`, `plan` and `fits` throw; the cluster is as it was then
 */
export const findRoomForGang = <C extends GangCandidate>(
  candidates: readonly C[],
  options: GangPreemptionOptions,
): GangPreemptionFinding<C> => {
  const { cluster } = options
  if (candidates.some(({ pod }) => pod.preemptionPolicy === 'Never'))
    return { text: `${PREFIX}not eligible due to preemptionPolicy=Never.`, found: 'ineligible' }
  // The gang counts as much as the least of its members, so that none of them is ever a victim of another.
  const priority = candidates.reduce((lowest, { pod }) => Math.min(lowest, pod.priority), Number.POSITIVE_INFINITY)
  if (candidates.some((candidate) => waitsForVictims(candidate, priority, cluster)))
    return { text: `${PREFIX}ongoing preemption on nominated nodes`, found: 'ineligible' }
  if (cluster.lowestPriority >= priority)
    return { text: `${PREFIX}No preemption victims found for incoming preemptor`, found: 'none' }
  const answer = imagineRoom(candidates, priority, options)
  if (typeof answer === 'string') return { text: PREFIX + answer, found: 'none' }
  const text = `${PREFIX}found a placement for podgroup, preempting ${answer.victims.length} victims`
  return { text, found: answer }
}

/** Pods that were evicted for the gang are on their way out of a node that is kept for it. */
const waitsForVictims = ({ pod }: GangCandidate, priority: number, cluster: ClusterState): boolean => {
  const node = cluster.indexOf(cluster.nominationOf(pod.uid))
  if (node < 0) return false
  for (const other of cluster.podsOn(node))
    if (other.priority < priority && other.deleting && other.preempted) return true
  return false
}

/** @returns why it is no use, in kube-scheduler's words */
const imagineRoom = <C extends GangCandidate>(
  candidates: readonly C[],
  priority: number,
  options: GangPreemptionOptions,
): GangPreemption<C> | string => {
  const { changed, cluster, minCount } = options
  const needed = minCount - options.placed
  const imaginations: Imagination<C>[] = []
  const victims: { readonly pod: Pod; readonly node: NodeIndex }[] = []
  const nominations = new LiftedNominations(candidates, cluster)
  changed()
  try {
    return cluster.imagineMany((on) => {
      for (const [at, candidate] of candidates.entries()) {
        if (imaginations.length === needed) break
        const pod = { ...candidate.pod, priority }
        const decide = (): Decision => nominations.during(pod, () => options.decide(pod, candidate.profile))
        let decision = decide()
        const found = decision.preemption?.found
        if (decision.node < 0 && typeof found === 'object' && !found.victims.some(({ uid }) => options.isMember(uid))) {
          for (const victim of found.victims) {
            const there = cluster.indexOf(cluster.placeOf(victim.uid))
            // Of what leaves together, some may be on a node that is not known.
            if (there < 0) continue
            on(there).remove(victim)
            victims.push({ pod: victim, node: there })
          }
          changed()
          decision = decide()
        }
        const { node, nodeName, devices } = decision
        if (node < 0) {
          const remaining = candidates.length - at - 1
          const scheduled = options.placed + imaginations.length
          if (scheduled + remaining >= minCount) continue
          return `minCount (${minCount}) cannot be satisfied: ${scheduled} scheduled, ${remaining} remaining`
        }
        const plan = options.plan(pod, node)
        const placed = { ...pod, nodeName, gpuDevices: devices }
        on(node).add(placed)
        imaginations.push({ candidate, placed, node })
        if (plan !== undefined) cluster.volumes.assume(pod, nodeName, plan)
        changed()
      }
      const leaving = spare(victims, imaginations, on, options)
      if (imaginations.length < needed || leaving.length === 0)
        return 'No preemption victims found for incoming preemptor'
      return {
        nominations: new Map(imaginations.map(({ candidate, placed }) => [candidate, placed.nodeName])),
        victims: leaving.map(({ pod, node }) => ({ pod, nodeName: cluster.node(node).name })),
      }
    })
  } finally {
    for (const { placed } of imaginations) cluster.volumes.release(placed.uid)
    nominations.restore()
    changed()
  }
}

/** Has every victim stay that the members can do without; those that are asked to stay first, then by importance. */
const spare = <C>(
  victims: readonly { readonly pod: Pod; readonly node: NodeIndex }[],
  imaginations: readonly Imagination<C>[],
  on: (node: NodeIndex) => Imagined,
  { budgets, fits, together }: GangPreemptionOptions,
): { readonly pod: Pod; readonly node: NodeIndex }[] => {
  const nodes = new Map(victims.map(({ node, pod }) => [pod.uid, node]))
  const units = unitsOf(
    victims.map(({ pod }) => pod),
    together,
  ).sort(byImportanceOfUnits)
  const violating = budgets.violatedBy(units.flatMap(({ pods }) => pods))
  for (const { pod } of victims) if (asksToStay(pod)) violating.add(pod)
  const spared = new Set<string>()
  for (const dear of [true, false])
    for (const { pods } of units) {
      if (pods.some((pod) => violating.has(pod)) !== dear) continue
      const placed = pods.flatMap((pod) => {
        const node = nodes.get(pod.uid)
        return node === undefined ? [] : [{ node, pod }]
      })
      for (const { node, pod } of placed) on(node).add(pod)
      if (stillFit(imaginations, on, fits)) for (const { uid } of pods) spared.add(uid)
      else for (const { node, pod } of placed) on(node).remove(pod)
    }
  return victims.filter(({ pod }) => !spared.has(pod.uid)).toSorted((a, b) => byImportance(a.pod, b.pod))
}

/** Whether the members still fit where they are, one after the other: rules need not hold for those before the last. */
const stillFit = <C>(
  imaginations: readonly Imagination<C>[],
  on: (node: NodeIndex) => Imagined,
  fits: GangPreemptionOptions['fits'],
): boolean => {
  for (const { node, placed } of imaginations) on(node).remove(placed)
  let fitting = true
  for (const { node, placed } of imaginations) {
    fitting &&= fits({ ...placed, nodeName: '' }, node, on(node))
    on(node).add(placed)
  }
  return fitting
}
