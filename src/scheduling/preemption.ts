import type { Random } from '../clock/random.ts'
import type { DisruptionBudgets } from '../cluster/disruption-budgets.ts'
import type { NodeIndex } from '../cluster/node.ts'
import type { Pod, PodShape } from '../cluster/pod.ts'
import type { ClusterState, Imagined } from '../cluster/state.ts'

export const REASON_NO_VICTIMS = 'No preemption victims found for incoming pod'
export const REASON_NOT_HELPFUL = 'Preemption is not helpful for scheduling'
export const NEVER_PREEMPTS = 'preemption: not eligible due to preemptionPolicy=Never.'
export const VICTIMS_TERMINATING = 'preemption: not eligible due to a terminating pod on the nominated node.'

/** kube-scheduler's text after a success; it has no full stop. */
export const foundRoom = (nodeName: string, victims: number): string =>
  `preemption: found a potential placement for pod on node ${nodeName}, preempting ${victims} victims`

/** So many nodes with victims are enough to choose from: this share of those that could help, but not fewer than the number. */
const CANDIDATES = { share: 0.1, atLeast: 100 }
/** kube-scheduler's shift that keeps the sum of priorities from favouring many pods of negative priority. */
const PRIORITY_SHIFT = 2 ** 31

const SAFE_TO_EVICT = 'cluster-autoscaler.kubernetes.io/safe-to-evict'
const DO_NOT_DISRUPT = 'karpenter.sh/do-not-disrupt'

/** Its owner has asked the autoscalers not to evict it. */
export const asksToStay = ({ annotations }: Pod): boolean =>
  annotations[SAFE_TO_EVICT] === 'false' || annotations[DO_NOT_DISRUPT] === 'true'

/** Which pods of one node have to go so that another fits there. */
export interface Preemption {
  readonly node: NodeIndex
  readonly nodeName: string
  /** most important first, at least one */
  readonly victims: readonly Pod[]
  /** victims that a PodDisruptionBudget or an annotation would rather keep */
  readonly violations: number
}

export interface PreemptionQuestion {
  /** the pod that fits nowhere */
  readonly pod: Pod
  readonly cluster: ClusterState
  readonly budgets: DisruptionBudgets
  /** nodes that refused it for reasons which evictions could help */
  readonly nodes: readonly NodeIndex[]
  readonly random: Random
  /** Why the node refuses the pod in what is imagined; undefined: it does not. */
  refusal(node: NodeIndex, imagined: Imagined): readonly string[] | undefined
  /** pods nominated to the node that keep their room from the pod */
  keeping(node: NodeIndex): readonly Pod[]
  /** What a node says depends on nothing but the pod's shape, the node, and the pods that are or will be there. */
  readonly local: boolean
  /** undefined: every pod is alone */
  readonly together: Together | undefined
  /** It is one of many that ask at once: the least number of nodes to choose from is enough. */
  readonly oneOfMany: boolean
}

/** Pods that leave together or not at all, most of them alone. */
export interface VictimUnit<V> {
  readonly pods: readonly V[]
  readonly priority: number
  readonly startedAtMs: number
}

/** As pods compare by importance; of equal priority, groups matter more than pods, and larger ones more than smaller. */
export const byImportanceOfUnits = (a: VictimUnit<unknown>, b: VictimUnit<unknown>): number => {
  if (a.priority !== b.priority) return b.priority - a.priority
  if (a.pods.length !== b.pods.length) return b.pods.length - a.pods.length
  return a.startedAtMs === b.startedAtMs ? 0 : a.startedAtMs - b.startedAtMs
}

/** Puts together what leaves together. */
export const unitsOf = (pods: readonly Pod[], together: Together | undefined): VictimUnit<Pod>[] => {
  const units: VictimUnit<Pod>[] = []
  const seen = new Set<string>()
  for (const pod of pods) {
    if (seen.has(pod.uid)) continue
    const all = together?.(pod.uid) ?? [pod]
    for (const { uid } of all) seen.add(uid)
    units.push({
      pods: all,
      priority: all.reduce((highest, { priority }) => Math.max(highest, priority), Number.NEGATIVE_INFINITY),
      startedAtMs: all.reduce((first, { startedAtMs }) => Math.min(first, startedAtMs), Number.POSITIVE_INFINITY),
    })
  }
  return units
}

/** The pods on nodes with which one leaves or stays; undefined: it is alone. */
export type Together = (uid: string) => readonly Pod[] | undefined

/** What was found out about one node, and all that it depends on. */
interface Remembered {
  readonly generation: number
  readonly budgetsVersion: number
  readonly lower: readonly Pod[]
  readonly keeping: readonly Pod[]
  readonly answer: Preemption | readonly string[]
}

export interface PreemptionAnswer {
  /** undefined: evictions help nowhere */
  readonly preemption: Preemption | undefined
  /** of nodes that refuse the pod even without their victims: reason -> nodes */
  readonly reasons: ReadonlyMap<string, number>
}

/** Higher priority, then the earlier start; a pod that has not started counts as starting now. */
export const byImportance = (a: Pod, b: Pod): number => {
  if (a.priority !== b.priority) return b.priority - a.priority
  return a.startedAtMs === b.startedAtMs ? 0 : a.startedAtMs - b.startedAtMs
}

/** Which pods of a lower priority would have to leave the node, or why that would not help. */
const victimsOn = (
  node: NodeIndex,
  there: readonly Pod[],
  question: PreemptionQuestion,
): Preemption | readonly string[] => {
  const { cluster, budgets } = question
  const lower = [...there]
  return cluster.imagine(node, (imagined) => {
    for (const candidate of lower) imagined.remove(candidate)
    const refused = question.refusal(node, imagined)
    if (refused !== undefined) return refused
    const units = unitsOf(lower, question.together).sort(byImportanceOfUnits)
    const leaving = units.flatMap(({ pods }) => pods)
    const violating = budgets.violatedBy(leaving)
    for (const candidate of leaving) if (asksToStay(candidate)) violating.add(candidate)
    const here = new Set(lower)
    const victims: Pod[] = []
    let violations = 0
    const isDear = ({ pods }: VictimUnit<Pod>): boolean => pods.some((candidate) => violating.has(candidate))
    for (const unit of [...units.filter(isDear), ...units.filter((other) => !isDear(other))]) {
      const back = unit.pods.filter((candidate) => here.has(candidate))
      for (const candidate of back) imagined.add(candidate)
      if (question.refusal(node, imagined) === undefined) continue
      for (const candidate of back) imagined.remove(candidate)
      victims.push(...unit.pods)
      for (const candidate of unit.pods) if (violating.has(candidate)) violations++
    }
    // A rule that refused the pod although it does not mind any of these: nothing would be won.
    if (victims.length === 0) return [REASON_NO_VICTIMS]
    victims.sort(byImportance)
    return { node, nodeName: cluster.node(node).name, victims, violations }
  })
}

/** Of the victims with the highest priority, the start of the one that began first. */
const earliestStartMs = ({ victims }: Preemption): number => {
  const highest = victims[0]?.priority
  return victims.reduce(
    (earliest, { priority, startedAtMs }) => (priority === highest ? Math.min(earliest, startedAtMs) : earliest),
    Number.POSITIVE_INFINITY,
  )
}

/** kube-scheduler's order of choice: each is asked only where all before it are equal, and less is better. */
const COSTS: readonly ((candidate: Preemption) => number)[] = [
  ({ violations }) => violations,
  ({ victims }) => victims[0]?.priority ?? 0,
  ({ victims }) => victims.reduce((sum, { priority }) => sum + priority + PRIORITY_SHIFT, 0),
  ({ victims }) => victims.length,
  (candidate) => -earliestStartMs(candidate),
]

const cheaper = (a: Preemption, b: Preemption): boolean => {
  for (const cost of COSTS) {
    const ofA = cost(a)
    const ofB = cost(b)
    if (ofA !== ofB) return ofA < ofB
  }
  return false
}

/** Those who may be evicted for the pod: what leaves with them matters less, too. */
const lowerOn = (node: NodeIndex, { pod, cluster, together }: PreemptionQuestion): Pod[] => {
  const lower: Pod[] = []
  for (const other of cluster.podsOn(node)) {
    if (other.priority >= pod.priority) continue
    const all = together?.(other.uid)
    if (all === undefined || all.every(({ priority }) => priority < pod.priority)) lower.push(other)
  }
  return lower
}

const sameList = (a: readonly Pod[], b: readonly Pod[]): boolean =>
  a.length === b.length && a.every((pod, i) => pod === b[i])

/**
 * Looks for victims. What was found on each node is remembered for the pods of one template, which mostly come together:
 * the next asks about the same nodes, of which few have changed.
 */
export class VictimSearch {
  readonly #remembered = new Map<NodeIndex, Remembered>()
  #shape: PodShape | undefined
  #priority = 0

  /**
   * Where a pod that fits nowhere would fit if pods of lower priority left, at the least cost (kube-scheduler's
   * DefaultPreemption, v1.37). Changes nothing.
   */
  find(question: PreemptionQuestion): PreemptionAnswer {
    const { nodes, pod, random } = question
    if (this.#shape !== pod.shape || this.#priority !== pod.priority) this.#remembered.clear()
    this.#shape = pod.shape
    this.#priority = pod.priority
    const reasons = new Map<string, number>()
    const share = question.oneOfMany ? 0 : Math.floor(nodes.length * CANDIDATES.share)
    const enough = Math.min(nodes.length, Math.max(CANDIDATES.atLeast, share))
    const offset = nodes.length === 0 ? 0 : random.below(nodes.length)
    let best: Preemption | undefined
    let found = 0
    let anyHarmless = false
    for (let i = 0; i < nodes.length && !(anyHarmless && found >= enough); i++) {
      // the remainder is below length
      const answer = this.#victimsOn(nodes[(offset + i) % nodes.length]!, question)
      if (!('victims' in answer)) {
        for (const reason of answer) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
        continue
      }
      found++
      if (answer.violations === 0) anyHarmless = true
      if (best === undefined || cheaper(answer, best)) best = answer
    }
    return { preemption: best, reasons }
  }

  #victimsOn(node: NodeIndex, question: PreemptionQuestion): Preemption | readonly string[] {
    const { cluster, budgets, local } = question
    const lower = lowerOn(node, question)
    if (lower.length === 0) return [REASON_NO_VICTIMS]
    // What leaves with a pod may be anywhere.
    if (!local || lower.some(({ uid }) => question.together?.(uid) !== undefined))
      return victimsOn(node, lower, question)
    // an index in use
    const generation = cluster.generation[node]!
    const keeping = question.keeping(node)
    const known = this.#remembered.get(node)
    if (
      known?.generation === generation &&
      known.budgetsVersion === budgets.version &&
      sameList(known.lower, lower) &&
      sameList(known.keeping, keeping)
    )
      return known.answer
    const answer = victimsOn(node, lower, question)
    this.#remembered.set(node, { generation, budgetsVersion: budgets.version, lower, keeping, answer })
    return answer
  }
}
