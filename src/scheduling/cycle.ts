import type { Clock } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import type { DisruptionBudgets } from '../cluster/disruption-budgets.ts'
import type { Node, NodeIndex } from '../cluster/node.ts'
import { type Pod, podKey, type PodShape } from '../cluster/pod.ts'
import { CPU, MEMORY } from '../cluster/resources.ts'
import type { ClusterState, Imagined } from '../cluster/state.ts'
import type { ClusterView } from '../cluster/view.ts'
import {
  ALLOWED,
  type Check,
  type Constraint,
  isPodRefusal,
  type PodRefusal,
  type Refusal,
  type Tally,
} from '../constraints/constraint.ts'
import {
  type CandidateRecord,
  type CandidateRoom,
  type DecisionRecord,
  type NearestMiss,
  type RefusalCount,
  TOP_CANDIDATES,
} from '../decisions/record.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policies/policy.ts'
import {
  foundRoom,
  NEVER_PREEMPTS,
  type Preemption,
  REASON_NO_VICTIMS,
  REASON_NOT_HELPFUL,
  type Together,
  VICTIMS_TERMINATING,
  VictimSearch,
} from './preemption.ts'
import type { Profile } from './profile.ts'

/** kube-scheduler's words where the cluster has no node at all. */
export const NO_NODES = 'no nodes available to schedule pods'

/** The part of a decision record that the cycle knows. */
export type DecisionFacts = Pick<
  DecisionRecord,
  | 'policy'
  | 'policyVersion'
  | 'source'
  | 'usage'
  | 'confidence'
  | 'reason'
  | 'nodes'
  | 'feasible'
  | 'refused'
  | 'candidates'
  | 'nearestMiss'
  | 'wakesOn'
  | 'message'
  | 'preemption'
  | 'devices'
>

/** What a pod that fits nowhere may do about it. */
export interface PreemptionFinding {
  /** kube-scheduler's text, which follows the reasons */
  readonly text: string
  /** the pods that are to leave, and where; `none`: nothing helps, and a nomination ends; `ineligible`: not to be asked now */
  readonly found: Preemption | 'none' | 'ineligible'
}

/** What came of one attempt to place a pod, true of the cluster at this moment. */
export interface Decision {
  /** the chosen node, -1: none */
  readonly node: NodeIndex
  readonly nodeName: string
  /** which of its GPUs, where they are given out one by one */
  readonly devices: readonly number[] | undefined
  /** a bit for each constraint that refused the pod on any node; 0 where there were no nodes at all */
  readonly rejectedBy: number
  readonly facts: DecisionFacts
  /** what was found where pods of lower priority were looked for that could make room */
  readonly preemption: PreemptionFinding | undefined
  /** why the profile's own policy did not decide, undefined if it did or was not needed */
  readonly fellBack: string | undefined
}

export interface CycleOptions {
  readonly clock: Clock
  readonly random: Random
  readonly cluster: ClusterState
  readonly budgets: DisruptionBudgets
  /** in the order in which they are asked; at most 31 */
  readonly constraints: readonly Constraint[]
  /** pods that are evicted together or not at all; undefined at the moment: each is alone @default each is alone */
  readonly together?: () => Together | undefined
  /** another number whenever anything in the cluster has changed */
  readonly stateVersion: () => number
  /** one part of a cycle took so long */
  readonly onPhase: (schedulerName: string, phase: string, durationMs: number) => void
}

const ONE_FEASIBLE = 'no other node passes every rule'
/** How many refused nodes are looked at for the nearest miss. */
const MISSES_AT_MOST = 1000
/** Words of a policy or of its failure that go into the record. */
const REASON_LENGTH = 500

/** The signal is made only for policies that look at it: most answer at once. */
class Context implements RankContext {
  readonly cluster: ClusterView
  readonly random: Random
  #controller: AbortController | undefined
  #reason: Error | undefined

  constructor(cluster: ClusterView, random: Random) {
    this.cluster = cluster
    this.random = random
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  abort(reason: Error): void {
    this.#reason = reason
    this.#controller?.abort(reason)
  }
}

/** A pod that was refused, with all that rules may look at, and the answer. */
interface Refused {
  readonly pod: Pod
  readonly decision: Decision
}

/** Whether every rule must give the same answer for both: all they look at is equal (equal labels are one object). */
const areAlike = (a: Pod, b: Pod, cluster: ClusterState): boolean =>
  a.shape === b.shape &&
  a.labels === b.labels &&
  a.volumes === b.volumes &&
  a.namespace === b.namespace &&
  a.priority === b.priority &&
  a.preemptionPolicy === b.preemptionPolicy &&
  cluster.nominationOf(a.uid) === cluster.nominationOf(b.uid) &&
  a.schedulerName === b.schedulerName

/** Why one node refuses the pod, and the place of the rule among the constraints. */
interface FirstRefusal {
  readonly at: number
  readonly refusal: Refusal
}

/** A check of this cycle with its constraint's bit. */
interface Asked {
  readonly check: Check
  readonly bit: number
  readonly tally: Tally
  refusedNodes: number
}

const NOBODY: readonly Pod[] = []

const isPending = (answer: Ranking | Promise<Ranking>): answer is Promise<Ranking> =>
  typeof (answer as { then?: unknown } | undefined)?.then === 'function'

/** Why a ranking cannot be used; undefined: it can. */
const faultOf = (ranking: Ranking, count: number): string | undefined => {
  const scores = (ranking as Ranking | undefined)?.scores
  if (!(scores instanceof Float64Array)) return 'it gave no scores'
  // More are no fault: policies lend the same buffer again and again.
  if (scores.length < count) return `it gave ${scores.length} scores for ${count} nodes`
  for (let i = 0; i < count; i++) {
    // i < count <= length; only finite numbers differ from themselves by 0
    const score = scores[i]!
    if (score - score !== 0) return `it gave the score ${score}`
  }
  return undefined
}

/**
 * Decides for one pod at a time: constraints in their order leave the feasible nodes, the policy ranks them, the best is
 * taken. Every node is considered. Buffers are used again from cycle to cycle; nothing is allocated per node.
 */
export class Cycle {
  readonly #options: CycleOptions
  readonly #tallies: readonly Tally[]
  #nodes = new Int32Array(0)
  /** the nodes as they were before the last check sifted them */
  #reached = new Int32Array(0)
  #reachedCount = 0
  #count = 0
  #asked: Asked[] = []
  /** The last refusal of each shape in the state of that version: an event often wakes thousands of pods of one template. */
  readonly #refused = new Map<PodShape, Refused>()
  #refusedVersion = -1
  readonly #victims = new VictimSearch()
  /** a bit for each constraint that looks at nothing but a pod's shape and one node with its pods */
  readonly #localBits: number
  /** nodes that have no place for the pod because of pods nominated there */
  readonly #held = new Map<NodeIndex, FirstRefusal>()
  /** policies that were seen not to answer at once */
  readonly #answersLater = new WeakSet<Policy>()
  /** whether pods of lower priority may be asked to make room */
  #makesRoom = true
  /** whether the pod is decided with others of its gang */
  #inGang = false
  readonly #top = new Int32Array(TOP_CANDIDATES)
  readonly #topScores = new Float64Array(TOP_CANDIDATES)
  #topSize = 0

  constructor(options: CycleOptions) {
    this.#options = options
    this.#localBits = options.constraints.reduce((bits, { isLocal }, at) => (isLocal ? bits | (1 << at) : bits), 0)
    this.#tallies = options.constraints.map(() => ({ counts: new Int32Array(16) }))
  }

  /**
   * Places a pod or says why not. `conclude` is called exactly once with what is true of the cluster at that very moment:
   * at once if the policy answers at once, else when it has answered, failed, or run out of time.
   * @returns undefined if concluded already, else a function that calls the attempt off (`conclude` is not called then)
   * @throws what a constraint throws; StowageError POLICY_FAILED if the policy fails and the profile has no fallback
   */
  decide(
    pod: Pod,
    profile: Profile,
    conclude: (decision: Decision) => void,
    failed: (thrown: unknown) => void,
  ): (() => void) | undefined {
    const settled = this.#refusedBefore(pod) ?? this.#filter(pod, profile)
    if (settled !== undefined) {
      if (settled.node < 0) this.#refused.set(pod.shape, { pod, decision: settled })
      conclude(settled)
      return undefined
    }
    const { clock, cluster, random, onPhase } = this.#options
    const candidates: Candidates = { nodes: this.#nodes, count: this.#count }
    const context = new Context(cluster, random)
    const startMs = clock.monotonicMs()
    let answer: Ranking | Promise<Ranking>
    try {
      answer = profile.policy.rank(pod, candidates, context)
    } catch (thrown) {
      conclude(this.#fallBack(pod, profile, messageOf(thrown)))
      return undefined
    }
    if (!isPending(answer)) {
      const decision = this.#take(pod, answer, profile) ?? this.#fallBack(pod, profile, this.#fault)
      onPhase(profile.schedulerName, 'Score', clock.monotonicMs() - startMs)
      conclude(decision)
      return undefined
    }
    // The policy may read its candidates until it answers: these buffers are its own from now on.
    this.#nodes = new Int32Array(0)
    const names = Array.from(candidates.nodes.subarray(0, candidates.count), (node) => cluster.node(node))
    let over = false
    const end = (decide: () => Decision): void => {
      if (over) return
      over = true
      timer.cancel()
      onPhase(profile.schedulerName, 'Score', clock.monotonicMs() - startMs)
      let decision: Decision
      try {
        decision = decide()
      } catch (thrown) {
        failed(thrown)
        return
      }
      conclude(decision)
    }
    const timer = clock.after(profile.deadlineMs, () => {
      const why = `it did not answer within ${profile.deadlineMs} ms`
      context.abort(new Error(why))
      end(() => this.#fallBack(pod, profile, why))
    })
    answer.then(
      (ranking) => end(() => this.#takeLater(pod, profile, candidates, names, ranking)),
      (thrown: unknown) => end(() => this.#fallBack(pod, profile, messageOf(thrown))),
    )
    return () => {
      if (over) return
      over = true
      timer.cancel()
      context.abort(new Error('the attempt was called off'))
    }
  }

  /**
   * As `decide`, at once: a policy that does not answer at once is passed over for the fallback, from then on without being
   * asked.
   * @param makesRoom whether to look for pods that could make room where there is none
   * @throws as `decide`
   */
  decideAtOnce(pod: Pod, profile: Profile, makesRoom: boolean): Decision {
    const { policy } = profile
    let decision: Decision | undefined
    this.#makesRoom = makesRoom
    this.#inGang = true
    try {
      if (!this.#answersLater.has(policy)) {
        const conclude = (made: Decision): void => {
          decision = made
        }
        // Nobody waits for the answer, nor for its failure.
        const callOff = this.decide(pod, profile, conclude, () => undefined)
        if (callOff !== undefined) this.#answersLater.add(policy)
        callOff?.()
      }
      return decision ?? this.#fallBack(pod, profile, 'it does not answer at once, as a gang needs it')
    } finally {
      this.#makesRoom = true
      this.#inGang = false
    }
  }

  /** Whether every rule allows the pod on the node as the cluster is now, which may be imagined. */
  fits(pod: Pod, node: NodeIndex, imagined: Imagined): boolean {
    return this.#refusalWithNominated(pod, node, imagined) === undefined
  }

  /** Whether what a node says of the pod depends on nothing but the pods there, as the cluster is now. */
  isLocal(pod: Pod): boolean {
    const { cluster, constraints } = this.#options
    return constraints.every((constraint) => constraint.isLocal || constraint.prepare(pod, cluster) === undefined)
  }

  // Filtering

  /** What a pod like this one was told in the very same state. */
  #refusedBefore(pod: Pod): Decision | undefined {
    const version = this.#options.stateVersion()
    if (version !== this.#refusedVersion) {
      this.#refused.clear()
      this.#refusedVersion = version
      return undefined
    }
    const before = this.#refused.get(pod.shape)
    return before !== undefined && areAlike(before.pod, pod, this.#options.cluster) ? before.decision : undefined
  }

  /** Leaves the feasible nodes in `#nodes`; a decision if none has to be ranked. */
  #filter(pod: Pod, profile: Profile): Decision | undefined {
    const { clock, cluster, onPhase } = this.#options
    const nodeCount = cluster.nodeCount
    if (nodeCount === 0) return this.#refuse(profile, 0, [], NO_NODES, ['NodeAdd'], undefined)
    const startMs = clock.monotonicMs()
    const refused = this.#prepare(pod)
    if (refused !== undefined) return this.#refuseWhole(profile, refused)
    this.#askNominated(pod)
    const preparedMs = clock.monotonicMs()
    onPhase(profile.schedulerName, 'PreFilter', preparedMs - startMs)
    const nominatedTo = cluster.nominationOf(pod.uid)
    const nominated = nominatedTo === '' ? -1 : cluster.indexOf(nominatedTo)
    if (nominated >= 0 && !this.#held.has(nominated) && this.#allows(nominated))
      return this.#placeUnscored(pod, profile.policy, nominated, 1, 'the nominated node passes every rule')
    if (this.#nodes.length < nodeCount) this.#nodes = new Int32Array(cluster.nodeCapacity)
    if (this.#reached.length < nodeCount) this.#reached = new Int32Array(cluster.nodeCapacity)
    let count = this.#free(nodeCount)
    this.#reachedCount = 0
    for (const asked of this.#asked) {
      if (count === 0) break
      this.#reached.set(count === this.#nodes.length ? this.#nodes : this.#nodes.subarray(0, count))
      this.#reachedCount = count
      const kept = asked.check.sift(this.#nodes, count, asked.tally)
      asked.refusedNodes = count - kept
      count = kept
    }
    this.#count = count
    onPhase(profile.schedulerName, 'Filter', clock.monotonicMs() - preparedMs)
    if (count === 0) return this.#refuseEverywhere(pod, profile)
    const hasChoice = count > 1 || (profile.policy.choosesDevices === true && pod.shape.gpu !== undefined)
    // count > 0
    if (!hasChoice) return this.#placeUnscored(pod, profile.policy, this.#nodes[0]!, 1, ONE_FEASIBLE)
    return undefined
  }

  /** Has every rule made ready for the pod; a rule that refuses it as a whole, with its place among the constraints. */
  #prepare(pod: Pod): { readonly at: number; readonly refusal: PodRefusal } | undefined {
    const { cluster, constraints } = this.#options
    this.#asked.length = 0
    for (let at = 0; at < constraints.length; at++) {
      // at < length
      const prepared = constraints[at]!.prepare(pod, cluster)
      if (prepared === undefined) continue
      if (isPodRefusal(prepared)) return { at, refusal: prepared }
      // as many tallies as constraints
      const tally = this.#tallies[at]!
      tally.counts.fill(0)
      this.#asked.push({ check: prepared, bit: 1 << at, tally, refusedNodes: 0 })
    }
    return undefined
  }

  /**
   * Finds the nodes that have no place for the pod while those keep theirs that are nominated there and matter at least as
   * much. The others are asked without them, like every node: pods may also be wanted near.
   */
  #askNominated(pod: Pod): void {
    const { cluster } = this.#options
    this.#held.clear()
    if (cluster.nominated.size === 0) return
    let imaginedAny = false
    for (const [name, nominated] of cluster.nominated) {
      const node = cluster.indexOf(name)
      const keeping = node < 0 ? [] : keepingRoom(nominated, pod)
      if (keeping.length === 0) continue
      imaginedAny = true
      const refused = cluster.imagine(node, (imagined) => {
        for (const other of keeping) imagined.add(other)
        return this.#firstRefusal(pod, node)
      })
      if (refused !== undefined) this.#held.set(node, refused)
    }
    // What the rules worked out was about what was imagined.
    if (imaginedAny) this.#prepare(pod)
  }

  /** Why the node refuses the pod as the cluster is now, which may be imagined. */
  #firstRefusal(pod: Pod, node: NodeIndex): FirstRefusal | undefined {
    const { cluster, constraints } = this.#options
    for (let at = 0; at < constraints.length; at++) {
      // at < length
      const prepared = constraints[at]!.prepare(pod, cluster)
      if (prepared === undefined) continue
      if (isPodRefusal(prepared)) return { at, refusal: { reasons: [prepared.message], preemptionCouldHelp: false } }
      const verdict = prepared.verdict(node)
      // a verdict that refuses is a place among the refusals, counted from 1
      if (verdict !== ALLOWED) return { at, refusal: prepared.refusals[verdict - 1]! }
    }
    return undefined
  }

  /** Every node that is not held for others into `#nodes`; returns how many. */
  #free(nodeCount: number): number {
    const order = this.#options.cluster.order.subarray(0, nodeCount)
    if (this.#held.size === 0) {
      this.#nodes.set(order)
      return nodeCount
    }
    let count = 0
    for (const node of order) if (!this.#held.has(node)) this.#nodes[count++] = node
    return count
  }

  #allows(node: NodeIndex): boolean {
    for (const { check } of this.#asked) if (check.verdict(node) !== ALLOWED) return false
    return true
  }

  // Choosing

  /** Why the last ranking could not be taken. */
  #fault = ''

  /** Takes the best of a ranking of `#nodes`; undefined and `#fault` if it is unusable. */
  #take(pod: Pod, ranking: Ranking, profile: Profile): Decision | undefined {
    const fault = faultOf(ranking, this.#count)
    if (fault !== undefined) {
      this.#fault = fault
      return undefined
    }
    return this.#takeBest(pod, ranking, profile.policy, ranking.source, undefined, undefined)
  }

  /** As `#take` for a ranking of nodes that were candidates some time ago: only those that still are count. */
  #takeLater(pod: Pod, profile: Profile, candidates: Candidates, names: readonly Node[], ranking: Ranking): Decision {
    const fault = faultOf(ranking, candidates.count)
    if (fault !== undefined) return this.#fallBack(pod, profile, fault)
    const settled = this.#filter(pod, profile)
    if (settled !== undefined) return settled
    const { cluster } = this.#options
    const positions = new Int32Array(cluster.nodeCapacity).fill(-1)
    for (const [position, { name, uid }] of names.entries()) {
      const node = cluster.indexOf(name)
      if (node >= 0 && cluster.node(node).uid === uid) positions[node] = position
    }
    return (
      this.#takeBest(pod, ranking, profile.policy, ranking.source, undefined, positions) ??
      this.#fallBack(pod, profile, 'none of the nodes it ranked is feasible any more')
    )
  }

  /** The pod is placed all the same, by the profile's fallback, else on the first feasible node. */
  #fallBack(pod: Pod, profile: Profile, fault: string): Decision {
    const why = `${profile.policy.name} gave no usable ranking: ${fault}`.slice(0, REASON_LENGTH)
    const settled = this.#filter(pod, profile)
    if (settled !== undefined)
      return settled.node < 0 ? settled : { ...settled, fellBack: why, facts: { ...settled.facts, reason: why } }
    const { cluster, random } = this.#options
    const { fallback } = profile
    if (fallback === undefined)
      throw new StowageError('POLICY_FAILED', {
        found: why,
        todo: 'enable the fallback if pods should not wait for it',
      })
    let second: string
    try {
      const ranking = fallback.rank(pod, { nodes: this.#nodes, count: this.#count }, new Context(cluster, random))
      if (isPending(ranking)) {
        ranking.catch(() => undefined)
        second = 'it did not answer at once'
      } else {
        const unusable = faultOf(ranking, this.#count)
        const decision = unusable === undefined && this.#takeBest(pod, ranking, fallback, 'fallback', why, undefined)
        if (decision) return decision
        second = unusable ?? this.#fault
      }
    } catch (thrown) {
      second = messageOf(thrown)
    }
    const reason = `${why}; the fallback ${fallback.name} neither: ${second}`.slice(0, REASON_LENGTH)
    const again = this.#filter(pod, profile)
    if (again !== undefined) return again
    // #filter leaves at least one node where it settles nothing
    const first = this.#nodes[0]!
    return { ...this.#placeUnscored(pod, fallback, first, this.#count, reason, 'fallback'), fellBack: reason }
  }

  /**
   * Takes the first best. `positions[node]` is where a node's score lies, -1 if nowhere; undefined: in the order of `#nodes`.
   * Undefined if nothing was scored, or if what the policy was lent no longer holds only allowed nodes (`#fault`).
   */
  #takeBest(
    pod: Pod,
    ranking: Ranking,
    policy: Policy,
    source: Ranking['source'],
    fellBack: string | undefined,
    positions: Int32Array | undefined,
  ): Decision | undefined {
    const size = this.#selectTop(ranking.scores, positions)
    if (size === 0) return undefined
    const { cluster } = this.#options
    // size > 0 and the top holds indexes below #count
    const node = this.#nodes[this.#top[0]!]!
    if (!this.#allows(node)) {
      this.#fault = 'it changed the list of nodes'
      return undefined
    }
    const position = positions === undefined ? this.#top[0]! : positions[node]!
    let devices = this.#tightestOn(node, pod)
    if (devices !== undefined && pod.shape.gpu !== undefined && ranking.devicesOf !== undefined) {
      try {
        devices = [...ranking.devicesOf(position)]
      } catch (thrown) {
        this.#fault = `it could not say which GPUs: ${messageOf(thrown)}`
        return undefined
      }
      if (!cluster.gpus.allows(node, pod.shape.gpu, devices)) {
        this.#fault = `it chose GPUs ${devices.join()} of node ${cluster.node(node).name}, which have no room`
        return undefined
      }
    }
    const candidates: CandidateRecord[] = []
    for (let rank = 0; rank < size; rank++) {
      // rank < size <= length of both
      const candidate = this.#nodes[this.#top[rank]!]!
      const position = positions === undefined ? this.#top[rank]! : positions[candidate]!
      const terms: Record<string, number> = {}
      for (const term of ranking.terms ?? []) terms[term.name] = term.weight * term.valueAt(position)
      candidates.push({
        node: cluster.node(candidate).name,
        score: this.#topScores[rank]!,
        terms,
        room: roomOf(cluster, candidate),
      })
    }
    const reason = fellBack ?? ranking.reason?.slice(0, REASON_LENGTH)
    return {
      node,
      nodeName: cluster.node(node).name,
      devices,
      rejectedBy: 0,
      preemption: undefined,
      fellBack,
      facts: {
        policy: policy.name,
        policyVersion: policy.version,
        source,
        usage: ranking.usage ?? '',
        ...(devices === undefined ? {} : { devices }),
        ...(ranking.confidence === undefined ? {} : { confidence: ranking.confidence }),
        ...(reason === undefined ? {} : { reason }),
        nodes: cluster.nodeCount,
        feasible: this.#count,
        refused: this.#refusals(),
        candidates,
        wakesOn: [],
        message: '',
      },
    }
  }

  /** The GPUs that the pod gets there if nobody minds; undefined: none, or its device plugin picks them. */
  #tightestOn(node: NodeIndex, { shape }: Pod): readonly number[] | undefined {
    const { cluster } = this.#options
    if (shape.gpu === undefined || !cluster.node(node).gpus.shareable) return undefined
    return cluster.gpus.choose(node, shape.gpu)
  }

  /** The best candidates into `#top` and `#topScores`, best first, equals in the order of `#nodes`; returns how many. */
  #selectTop(scores: Float64Array, positions: Int32Array | undefined): number {
    const nodes = this.#nodes
    const count = this.#count
    this.#topSize = 0
    let worst = Number.NEGATIVE_INFINITY
    // i < count <= length of nodes and, without positions, of scores; positions covers every index of the cluster
    if (positions === undefined) {
      for (let i = 0; i < count; i++) if (scores[i]! > worst) worst = this.#enter(i, scores[i]!)
    } else {
      for (let i = 0; i < count; i++) {
        const position = positions[nodes[i]!]!
        if (position >= 0 && scores[position]! > worst) worst = this.#enter(i, scores[position]!)
      }
    }
    return this.#topSize
  }

  /** One more into the top; returns the score that the next must beat. */
  #enter(index: number, score: number): number {
    const top = this.#top
    const topScores = this.#topScores
    let at = this.#topSize < TOP_CANDIDATES ? this.#topSize++ : TOP_CANDIDATES - 1
    // 0 < at < length of both
    for (; at > 0 && topScores[at - 1]! < score; at--) {
      topScores[at] = topScores[at - 1]!
      top[at] = top[at - 1]!
    }
    topScores[at] = score
    top[at] = index
    return this.#topSize < TOP_CANDIDATES ? Number.NEGATIVE_INFINITY : topScores[TOP_CANDIDATES - 1]!
  }

  #placeUnscored(
    pod: Pod,
    policy: Policy,
    node: NodeIndex,
    feasible: number,
    reason: string,
    source: 'none' | 'fallback' = 'none',
  ): Decision {
    const { cluster } = this.#options
    const nodeName = cluster.node(node).name
    const devices = this.#tightestOn(node, pod)
    return {
      node,
      nodeName,
      devices,
      rejectedBy: 0,
      preemption: undefined,
      fellBack: undefined,
      facts: {
        policy: policy.name,
        policyVersion: policy.version,
        source,
        usage: '',
        ...(devices === undefined ? {} : { devices }),
        reason,
        nodes: cluster.nodeCount,
        feasible,
        refused: this.#refusals(),
        candidates: [{ node: nodeName, score: 0, terms: {}, room: roomOf(cluster, node) }],
        wakesOn: [],
        message: '',
      },
    }
  }

  // Refusing

  #refuse(
    profile: Profile,
    rejectedBy: number,
    refused: readonly RefusalCount[],
    message: string,
    wakesOn: readonly string[],
    nearestMiss: NearestMiss | undefined,
    preemption?: PreemptionFinding,
  ): Decision {
    const found = preemption?.found
    return {
      node: -1,
      nodeName: '',
      devices: undefined,
      rejectedBy,
      preemption,
      fellBack: undefined,
      facts: {
        policy: profile.policy.name,
        policyVersion: profile.policy.version,
        source: 'none',
        usage: '',
        nodes: this.#options.cluster.nodeCount,
        feasible: 0,
        refused,
        candidates: [],
        ...(nearestMiss === undefined ? {} : { nearestMiss }),
        wakesOn,
        message,
        ...(typeof found === 'object'
          ? { preemption: { node: found.nodeName, victims: found.victims.map(podKey) } }
          : {}),
      },
    }
  }

  /** A rule refused the pod before any node was asked. */
  #refuseWhole(profile: Profile, { at, refusal }: { readonly at: number; readonly refusal: PodRefusal }): Decision {
    const nodes = this.#options.cluster.nodeCount
    // the constraint at this place
    const constraint = this.#options.constraints[at]!
    const refused = [{ constraint: refusal.constraint, reason: refusal.message, nodes, preemptionCouldHelp: false }]
    const message = `0/${nodes} nodes are available: ${refusal.message}`
    return this.#refuse(profile, 1 << at, refused, message, constraint.wakesOn, undefined)
  }

  /** Every node was refused by some rule. */
  #refuseEverywhere(pod: Pod, profile: Profile): Decision {
    const { cluster, constraints } = this.#options
    let rejectedBy = 0
    for (const { bit, refusedNodes } of this.#asked) if (refusedNodes > 0) rejectedBy |= bit
    for (const { at } of this.#held.values()) rejectedBy |= 1 << at
    const wakesOn = new Set<string>()
    for (const [at, constraint] of constraints.entries())
      if ((rejectedBy & (1 << at)) !== 0) for (const kind of constraint.wakesOn) wakesOn.add(kind)
    const reasons = `0/${cluster.nodeCount} nodes are available: ${this.#reasons().join(', ')}.`
    const refused = this.#refusals()
    const nearestMiss = this.#nearestMiss(pod)
    // Last, because it asks the rules about what is not.
    const preemption = this.#makesRoom ? this.#lookForVictims(pod, profile) : undefined
    if (preemption === undefined) return this.#refuse(profile, rejectedBy, refused, reasons, [...wakesOn], nearestMiss)
    const message = `${reasons} ${preemption.text}`
    return this.#refuse(profile, rejectedBy, refused, message, [...wakesOn], nearestMiss, preemption)
  }

  /** kube-scheduler's PostFilter: whether pods of a lower priority could make room. */
  #lookForVictims(pod: Pod, profile: Profile): PreemptionFinding {
    const { clock, cluster, budgets, random, onPhase } = this.#options
    if (pod.preemptionPolicy === 'Never') return { text: NEVER_PREEMPTS, found: 'ineligible' }
    if (this.#waitsForVictims(pod)) return { text: VICTIMS_TERMINATING, found: 'ineligible' }
    const startMs = clock.monotonicMs()
    const helpful = this.#helpfulNodes(pod)
    const local = this.#asked.every(({ bit }) => (this.#localBits & bit) !== 0)
    const { preemption, reasons } = this.#victims.find({
      pod,
      cluster,
      budgets,
      random,
      nodes: helpful.nodes,
      refusal: (node, imagined) => this.#refusalWithNominated(pod, node, imagined)?.refusal.reasons,
      keeping: (node) => this.#keepingOn(node, pod),
      local,
      together: this.#options.together?.(),
      oneOfMany: this.#inGang,
    })
    onPhase(profile.schedulerName, 'PostFilter', clock.monotonicMs() - startMs)
    if (preemption !== undefined)
      return { text: foundRoom(preemption.nodeName, preemption.victims.length), found: preemption }
    const counts = new Map(reasons)
    if (helpful.withoutVictims > 0)
      counts.set(REASON_NO_VICTIMS, (counts.get(REASON_NO_VICTIMS) ?? 0) + helpful.withoutVictims)
    const others = cluster.nodeCount - helpful.nodes.length - helpful.withoutVictims
    if (others > 0) counts.set(REASON_NOT_HELPFUL, (counts.get(REASON_NOT_HELPFUL) ?? 0) + others)
    return {
      text: `preemption: 0/${cluster.nodeCount} nodes are available: ${histogram(counts).join(', ')}.`,
      found: 'none',
    }
  }

  /** Pods that it has evicted are on their way out, so it has nothing to do but wait. */
  #waitsForVictims(pod: Pod): boolean {
    const { cluster } = this.#options
    const node = cluster.indexOf(cluster.nominationOf(pod.uid))
    if (node < 0 || this.#refusalNow(node)?.preemptionCouldHelp !== true) return false
    for (const other of cluster.podsOn(node))
      if (other.priority < pod.priority && other.deleting && other.preempted) return true
    return false
  }

  /** Nodes whose refusal evictions could turn; where no pod matters less than this one, only how many. */
  #helpfulNodes(pod: Pod): { readonly nodes: NodeIndex[]; readonly withoutVictims: number } {
    const { cluster } = this.#options
    const nodes: NodeIndex[] = []
    if (cluster.lowestPriority >= pod.priority) {
      let withoutVictims = 0
      for (const { preemptionCouldHelp, nodes: refused } of this.#refusals())
        if (preemptionCouldHelp) withoutVictims += refused
      return { nodes, withoutVictims }
    }
    for (const node of cluster.order.subarray(0, cluster.nodeCount))
      if (this.#refusalNow(node)?.preemptionCouldHelp === true) nodes.push(node)
    return { nodes, withoutVictims: 0 }
  }

  /** Why a node refused the pod in this cycle. */
  #refusalNow(node: NodeIndex): Refusal | undefined {
    const held = this.#held.get(node)
    if (held !== undefined) return held.refusal
    for (const { check } of this.#asked) {
      const verdict = check.verdict(node)
      if (verdict !== ALLOWED) return check.refusals[verdict - 1]
    }
    return undefined
  }

  #keepingOn(node: NodeIndex, pod: Pod): readonly Pod[] {
    const { cluster } = this.#options
    const nominated = cluster.nominated.size === 0 ? undefined : cluster.nominated.get(cluster.node(node).name)
    return nominated === undefined ? NOBODY : keepingRoom(nominated, pod)
  }

  /** As `#firstRefusal`, with the pods there that keep room from this one, and if they do not mind, also without. */
  #refusalWithNominated(pod: Pod, node: NodeIndex, imagined: Imagined): FirstRefusal | undefined {
    const keeping = this.#keepingOn(node, pod)
    if (keeping.length > 0) {
      for (const other of keeping) imagined.add(other)
      const refused = this.#firstRefusal(pod, node)
      for (const other of keeping) imagined.remove(other)
      if (refused !== undefined) return refused
    }
    return this.#firstRefusal(pod, node)
  }

  /** `2 Insufficient cpu`, as kube-scheduler counts and sorts them: a node with several reasons counts for each. */
  #reasons(): string[] {
    const nodesBy = new Map<string, number>()
    for (const { check, tally, refusedNodes } of this.#asked) {
      if (refusedNodes === 0) continue
      for (const [at, refusal] of check.refusals.entries()) {
        const nodes = tally.counts[at + 1] ?? 0
        if (nodes === 0) continue
        for (const reason of refusal.reasons) nodesBy.set(reason, (nodesBy.get(reason) ?? 0) + nodes)
      }
    }
    for (const { refusal } of this.#held.values())
      for (const reason of refusal.reasons) nodesBy.set(reason, (nodesBy.get(reason) ?? 0) + 1)
    return histogram(nodesBy)
  }

  #refusals(): RefusalCount[] {
    const refused: RefusalCount[] = []
    for (const { check, tally, refusedNodes } of this.#asked) {
      if (refusedNodes === 0) continue
      const { constraint, refusals } = check
      for (let at = 0; at < refusals.length; at++) {
        const nodes = tally.counts[at + 1] ?? 0
        if (nodes === 0) continue
        // at < length
        const { reasons, preemptionCouldHelp } = refusals[at]!
        refused.push({ constraint, reason: reasons.join(', '), nodes, preemptionCouldHelp })
      }
    }
    return this.#held.size === 0 ? refused : this.#withHeld(refused)
  }

  /** With the nodes that pods nominated there hold. */
  #withHeld(refused: readonly RefusalCount[]): RefusalCount[] {
    const counts = new Map<string, RefusalCount>()
    const add = (count: RefusalCount): void => {
      const key = `${count.constraint} ${count.reason} ${count.preemptionCouldHelp}`
      counts.set(key, { ...count, nodes: count.nodes + (counts.get(key)?.nodes ?? 0) })
    }
    for (const count of refused) add(count)
    for (const { at, refusal } of this.#held.values())
      add({
        // the constraint that refused
        constraint: this.#options.constraints[at]!.name,
        reason: refusal.reasons.join(', '),
        nodes: 1,
        preemptionCouldHelp: refusal.preemptionCouldHelp,
      })
    return [...counts.values()]
  }

  /** Of the nodes that came furthest through the rules, the one whose lack of room is smallest against what the pod asks for. */
  #nearestMiss(pod: Pod): NearestMiss | undefined {
    const { cluster } = this.#options
    const { indexes, amounts } = pod.shape.request
    const stride = Math.ceil(this.#reachedCount / MISSES_AT_MOST)
    let nearest = -1
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < this.#reachedCount && least > 0; i += stride) {
      // i < #reachedCount <= length
      const node = this.#reached[i]!
      let lack = cluster.podCount[node]! >= cluster.maxPods[node]! ? 1 : 0
      for (let r = 0; r < indexes.length; r++) {
        // r < length of both
        const missing = missingOf(cluster, node, indexes[r]!, amounts[r]!)
        if (missing > 0) lack += missing / amounts[r]!
      }
      if (lack < least) {
        least = lack
        nearest = node
      }
    }
    if (nearest < 0) return undefined
    const lacks: Record<string, number> = {}
    for (const [r, resource] of indexes.entries()) {
      const missing = missingOf(cluster, nearest, resource, amounts[r] ?? 0)
      if (missing > 0) lacks[cluster.resources.name(resource)] = missing
    }
    if ((cluster.podCount[nearest] ?? 0) >= (cluster.maxPods[nearest] ?? 0)) lacks['pods'] = 1
    const reasons = this.#asked.flatMap(({ check }) => {
      const verdict = check.verdict(nearest)
      return verdict === ALLOWED ? [] : (check.refusals[verdict - 1]?.reasons ?? [])
    })
    return { node: cluster.node(nearest).name, lacks, reasons }
  }
}

/** kube-scheduler's way to count reasons: sorted as text. */
const histogram = (nodesByReason: ReadonlyMap<string, number>): string[] =>
  Array.from(nodesByReason, ([reason, nodes]) => `${nodes} ${reason}`).sort()

/** Those of the pods nominated to a node whose room another pod may not take. */
const keepingRoom = (nominated: ReadonlyMap<string, Pod>, pod: Pod): Pod[] => {
  const keeping: Pod[] = []
  for (const other of nominated.values())
    if (other.priority >= pod.priority && other.uid !== pod.uid) keeping.push(other)
  return keeping
}

const missingOf = (cluster: ClusterView, node: NodeIndex, resource: number, amount: number): number =>
  (cluster.requested[resource]?.[node] ?? 0) + amount - (cluster.allocatable[resource]?.[node] ?? 0)

const roomOf = (cluster: ClusterView, node: NodeIndex): CandidateRoom => ({
  allocatableCpuMilli: cluster.allocatable[CPU]?.[node] ?? 0,
  requestedCpuMilli: cluster.requested[CPU]?.[node] ?? 0,
  allocatableMemoryBytes: cluster.allocatable[MEMORY]?.[node] ?? 0,
  requestedMemoryBytes: cluster.requested[MEMORY]?.[node] ?? 0,
  usedCpuMilli: cluster.usedCpuMilli(node),
  usedMemoryBytes: cluster.usedMemoryBytes(node),
  maxPods: cluster.maxPods[node] ?? 0,
  pods: cluster.podCount[node] ?? 0,
})
