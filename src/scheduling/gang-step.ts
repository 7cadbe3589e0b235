import type { ClusterEvent } from '../cluster/events.ts'
import { type Pod, podKey } from '../cluster/pod.ts'
import type { ClusterState } from '../cluster/state.ts'
import type { VolumePlan } from '../cluster/volumes.ts'
import type { Decision } from './cycle.ts'
import type { Profile } from './profile.ts'

/** A member that is to be placed. */
export interface GangCandidate {
  readonly pod: Pod
  readonly profile: Profile
}

/** A member that counts on its node from now on. */
export interface PlacedMember<C> {
  readonly candidate: C
  readonly decision: Decision
  readonly plan: VolumePlan | undefined
}

/** What came of the attempt to place a gang. */
export type GangStep<C> =
  | {
      readonly whole: true
      readonly placed: readonly PlacedMember<C>[]
      /** members beyond those that are needed, for which there was no room */
      readonly refused: ReadonlyMap<C, Decision>
      /** what it means for others, who have not been told yet */
      readonly events: readonly ClusterEvent[]
    }
  | {
      readonly whole: false
      /** kube-scheduler's words */
      readonly counts: string
      /** these, and the first member's that could not be placed */
      readonly message: string
      /** a bit for each constraint that refused any member on any node */
      readonly rejectedBy: number
      readonly wakesOn: readonly string[]
      readonly refused: ReadonlyMap<C, Decision>
    }

/** The nominations of a gang's members while these are decided one after the other: none keeps room from another. */
export class LiftedNominations {
  readonly #cluster: ClusterState
  readonly #lifted: readonly { readonly pod: Pod; readonly nodeName: string }[]

  /** Lifts them all. */
  constructor(candidates: readonly GangCandidate[], cluster: ClusterState) {
    this.#cluster = cluster
    this.#lifted = candidates.flatMap(({ pod }) => {
      const nodeName = cluster.nominationOf(pod.uid)
      return nodeName === '' ? [] : [{ pod, nodeName }]
    })
    for (const { pod } of this.#lifted) cluster.nominate(pod, '')
  }

  /** Runs what concerns one of them, which has its own nomination meanwhile. */
  during<T>({ uid }: Pod, run: () => T): T {
    const own = this.#lifted.find(({ pod }) => pod.uid === uid)
    if (own === undefined) return run()
    this.#cluster.nominate(own.pod, own.nodeName)
    try {
      return run()
    } finally {
      if (this.#cluster.placeOf(uid) === '') this.#cluster.nominate(own.pod, '')
    }
  }

  /** As they were, of all that have no place. */
  restore(): void {
    for (const { pod, nodeName } of this.#lifted)
      if (this.#cluster.placeOf(pod.uid) === '') this.#cluster.nominate(pod, nodeName)
  }
}

export interface GangStepOptions {
  readonly cluster: ClusterState
  readonly minCount: number
  /** members that count on a node already */
  readonly placed: number
  readonly decide: (pod: Pod, profile: Profile) => Decision
  readonly plan: (pod: Pod, node: number) => VolumePlan | undefined
  /** the cluster state has changed */
  readonly changed: () => void
}

/**
 * Places as many of the candidates as fit, one after the other, if that makes at least `minCount`; else leaves the cluster as
 * it was. Nothing else happens meanwhile, so no gang ever holds room while it waits for more.
 * @throws what `decide` and `plan` throw; the cluster is as it was then
 */
export const placeGang = <C extends GangCandidate>(candidates: readonly C[], options: GangStepOptions): GangStep<C> => {
  const { changed, cluster, decide, minCount, plan } = options
  const placed: PlacedMember<C>[] = []
  const refused = new Map<C, Decision>()
  const events: ClusterEvent[] = []
  const undo = (): void => {
    for (const { candidate } of placed.toReversed()) {
      const { pod } = candidate
      cluster.volumes.release(pod.uid)
      cluster.forget(pod.uid)
    }
    nominations.restore()
    changed()
  }
  const nominations = new LiftedNominations(candidates, cluster)
  // What was answered to a pod alone is no answer for a gang.
  changed()
  try {
    const attempt = (candidate: C): Decision => {
      const { pod, profile } = candidate
      const decision = decide(pod, profile)
      if (decision.node < 0) return decision
      const volumes = plan(pod, decision.node)
      const its = { ...pod, nodeName: decision.nodeName, gpuDevices: decision.devices }
      events.push(...cluster.assume(its, decision.node))
      placed.push({ candidate, decision, plan: volumes })
      if (volumes !== undefined) cluster.volumes.assume(pod, decision.nodeName, volumes)
      changed()
      return decision
    }
    for (const [at, candidate] of candidates.entries()) {
      const decision = nominations.during(candidate.pod, () => attempt(candidate))
      if (decision.node >= 0) continue
      refused.set(candidate, decision)
      const remaining = candidates.length - at - 1
      if (options.placed + placed.length + remaining < minCount) break
    }
  } catch (thrown) {
    undo()
    throw thrown
  }
  const scheduled = options.placed + placed.length
  if (scheduled >= minCount) {
    nominations.restore()
    changed()
    return { whole: true, placed, refused, events }
  }
  undo()
  let rejectedBy = 0
  const wakesOn = new Set<string>()
  for (const decision of refused.values()) {
    rejectedBy |= decision.rejectedBy
    for (const kind of decision.facts.wakesOn) wakesOn.add(kind)
  }
  const [first] = refused
  const remaining = candidates.length - placed.length - refused.size
  const counts = `minCount (${minCount}) cannot be satisfied: ${scheduled} scheduled, ${remaining} remaining`
  const message = first === undefined ? counts : `${counts}. ${podKey(first[0].pod)}: ${first[1].facts.message}`
  return { whole: false, counts, message, rejectedBy, wakesOn: [...wakesOn], refused }
}
