import type { Random } from '../clock/random.ts'
import type { Pod } from '../cluster/pod.ts'
import type { ClusterView, UsageSource } from '../cluster/view.ts'

/** The nodes that every constraint has allowed: `nodes[0] ... nodes[count - 1]`. The array is reused after the decision. */
export interface Candidates {
  readonly nodes: Int32Array
  readonly count: number
}

/** Where a ranking comes from. */
export type RankingSource = 'model' | 'cache' | 'heuristic' | 'fallback'

/** One addend of the scores, for the explanation: scores[i] = sum over terms of weight * valueAt(i). */
export interface ScoreTerm {
  readonly name: string
  readonly weight: number
  /** What it says of `candidates.nodes[candidate]`; asked for the best few, before the next `rank`. */
  valueAt(candidate: number): number
}

export interface Ranking {
  /** scores[i] belongs to candidates.nodes[i], higher is better; finite. May be a buffer that the policy reuses at its next `rank`. */
  readonly scores: Float64Array
  readonly terms?: readonly ScoreTerm[]
  /** the GPUs to take on `candidates.nodes[candidate]`, which have room; asked for the chosen one before the next `rank`. Without it: the tightest */
  readonly devicesOf?: (candidate: number) => readonly number[]
  readonly source: RankingSource
  /** where the load of nodes was read, if the policy looks at it */
  readonly usage?: UsageSource
  /** probability with which the first was chosen, for off-policy estimates */
  readonly propensity?: number
  /** 0..1, what a model says of its own choice */
  readonly confidence?: number
  readonly reason?: string
}

export interface RankContext {
  readonly cluster: ClusterView
  readonly random: Random
  /** fires at the decision's deadline and at shutdown; only policies that wait need it */
  readonly signal: AbortSignal
}

/** Ranks nodes that every constraint has allowed. Never sees another node. */
export interface Policy {
  readonly name: string
  readonly version: string
  /**
   * Whether it looks at what Services and controllers select, which then must be known before anything is ranked.
   * @default false
   */
  readonly readsSelectors?: boolean
  /**
   * Whether it says which GPUs to take: then it is asked about a pod with GPUs even where one node is left.
   * @default false
   */
  readonly choosesDevices?: boolean
  /** May throw or reject: then the profile's fallback places the pod. */
  rank(pod: Pod, candidates: Candidates, context: RankContext): Ranking | Promise<Ranking>
}
