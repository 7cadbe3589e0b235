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
  /** what a node says of the pod depends on nothing but the pods there */
  readonly isLocal: (pod: Pod) => boolean
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
  const possible = options.placed + mostThatFit(candidates, priority, cluster)
  // kube-scheduler tries them and stops as soon as too few are left.
  const left = options.minCount - possible - 1
  if (left >= 0) return { text: PREFIX + tooFew(options.minCount, possible, left), found: 'none' }
  const answer = imagineRoom(candidates, priority, options)
  if (typeof answer === 'string') return { text: PREFIX + answer, found: 'none' }
  const text = `${PREFIX}found a placement for podgroup, preempting ${answer.victims.length} victims`
  return { text, found: answer }
}

const tooFew = (minCount: number, scheduled: number, remaining: number): string =>
  `minCount (${minCount}) cannot be satisfied: ${scheduled} scheduled, ${remaining} remaining`

/**
 * No more than so many of the gang can be placed, whoever leaves: as many of each shape as the nodes have room for by
 * resources if nobody of a lower priority were there. What is hopeless by this need not be tried node by node.
 */
const mostThatFit = (candidates: readonly GangCandidate[], priority: number, cluster: ClusterState): number => {
  const nodes = cluster.order.subarray(0, cluster.nodeCount)
  const lower = cluster.requested.map(() => new Float64Array(cluster.nodeCapacity))
  const lowerPods = new Int32Array(cluster.nodeCapacity)
  for (const node of nodes)
    for (const { placedRequest, priority: its } of cluster.podsOn(node)) {
      if (its >= priority) continue
      lowerPods[node] = (lowerPods[node] ?? 0) + 1
      for (const [at, resource] of placedRequest.indexes.entries()) {
        const column = lower[resource]
        if (column !== undefined) column[node] = (column[node] ?? 0) + (placedRequest.amounts[at] ?? 0)
      }
    }
  let most = 0
  for (const [{ request }, alike] of Map.groupBy(candidates, ({ pod }) => pod.shape)) {
    let room = 0
    for (const node of nodes) {
      let fitting = (cluster.maxPods[node] ?? 0) - (cluster.podCount[node] ?? 0) + (lowerPods[node] ?? 0)
      for (const [at, resource] of request.indexes.entries()) {
        const amount = request.amounts[at] ?? 0
        if (amount <= 0) continue
        const held = (cluster.requested[resource]?.[node] ?? 0) - (lower[resource]?.[node] ?? 0)
        fitting = Math.min(fitting, Math.floor(((cluster.allocatable[resource]?.[node] ?? 0) - held) / amount))
      }
      room += Math.max(0, fitting)
      if (room >= alike.length) break
    }
    most += Math.min(room, alike.length)
  }
  return most
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
          return tooFew(minCount, scheduled, remaining)
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
  options: GangPreemptionOptions,
): { readonly pod: Pod; readonly node: NodeIndex }[] => {
  const { budgets, together } = options
  /** one of each kind of member */
  const kinds: Pod[] = []
  for (const { placed } of imaginations) if (!kinds.some((kind) => isAlike(kind, placed))) kinds.push(placed)
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
      const there = new Set(placed.map(({ node }) => node))
      const nearby = imaginations.filter(({ node }) => there.has(node))
      const isLocal = kinds.every((pod) => options.isLocal(pod))
      const fitting =
        stillFit(isLocal ? nearby : imaginations, there, on, options) &&
        (isLocal || stillFit(imaginations, undefined, on, options))
      if (fitting) for (const { uid } of pods) spared.add(uid)
      else for (const { node, pod } of placed) on(node).remove(pod)
    }
  return victims.filter(({ pod }) => !spared.has(pod.uid)).toSorted((a, b) => byImportance(a.pod, b.pod))
}

/** Whether rules look at the same things of both (equal labels are one object). */
const isAlike = (a: Pod, b: Pod): boolean =>
  a.shape === b.shape && a.labels === b.labels && a.namespace === b.namespace && a.volumes === b.volumes

/**
 * Whether the members still fit where they are, one after the other: rules need not hold for those before the last.
 * @param only nodes whose members are asked; undefined: all
 */
const stillFit = <C>(
  imaginations: readonly Imagination<C>[],
  only: ReadonlySet<NodeIndex> | undefined,
  on: (node: NodeIndex) => Imagined,
  { fits }: GangPreemptionOptions,
): boolean => {
  for (const { node, placed } of imaginations) on(node).remove(placed)
  let fitting = true
  for (const { node, placed } of imaginations) {
    if (fitting && only?.has(node) !== false) fitting = fits({ ...placed, nodeName: '' }, node, on(node))
    on(node).add(placed)
  }
  return fitting
}
