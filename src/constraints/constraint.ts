import type { ClusterEvent, ClusterEventKind } from '../cluster/events.ts'
import type { NodeIndex } from '../cluster/node.ts'
import type { Pod } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'

/** Why a node refuses a pod. */
export interface Refusal {
  /** the exact words of kube-scheduler; several where the rule keeps all of them (NodeResourcesFit) */
  readonly reasons: readonly string[]
  /** false: no eviction on that node could make the pod fit (kube-scheduler's UnschedulableAndUnresolvable) */
  readonly preemptionCouldHelp: boolean
}

/** 0: the node may take the pod. v > 0: it may not, for `check.refusals[v - 1]`. A number, so that asking allocates nothing. */
export type Verdict = number
export const ALLOWED: Verdict = 0

/** How many nodes a check refused, per refusal: `counts[v]` belongs to verdict v. Grown by the check as it finds new refusals. */
export interface Tally {
  counts: Int32Array
}

/** A rule, prepared for one pod in one cycle; it reads the cluster as it is when asked. */
export interface Check {
  /** the constraint's name */
  readonly constraint: string
  /** grows while nodes are asked, where a rule has many combinations of reasons */
  readonly refusals: readonly Refusal[]
  verdict(node: NodeIndex): Verdict
  /**
   * Asks `nodes[0] ... nodes[count - 1]`, moves the allowed ones to the front in the same order, counts the others into
   * `tally` by verdict, and returns how many are allowed. Exactly what `verdict` says of each, in one loop.
   */
  sift(nodes: Int32Array, count: number, tally: Tally): number
}

/** A rule that refuses the pod before any node is asked (kube-scheduler's PreFilter). */
export interface PodRefusal {
  readonly constraint: string
  /** the whole text after `0/N nodes are available: ` */
  readonly message: string
}

export const isPodRefusal = (prepared: Check | PodRefusal): prepared is PodRefusal => 'message' in prepared

/**
 * Whether a pod may run on a node. Named as kube-scheduler's plugin. Stateless but for what it remembers per shape; one
 * object serves all cycles, so a Check is valid only until the next `prepare` of the same constraint.
 */
export interface Constraint {
  readonly name: string
  /** Once per pod and cycle. undefined: the rule does not concern this pod on any node of this cluster. */
  prepare(pod: Pod, cluster: ClusterView): Check | PodRefusal | undefined
  /**
   * Whether its verdict on a node depends on nothing but the pod's shape, the node, and the pods on that node.
   * @default false
   */
  readonly isLocal?: boolean
  /** Which kinds of event could turn a refusal round. */
  readonly wakesOn: readonly ClusterEventKind[]
  /**
   * Whether `couldHelp` looks at more of the pod than its shape (labels, namespace, priority, volumes): then each waiting
   * pod is asked about, else one for all of a shape.
   * @default false
   */
  readonly wakesEachPod?: boolean
  /** Whether this very event could let this pod in, as far as this rule goes. Asked only for kinds in `wakesOn`. */
  couldHelp(pod: Pod, event: ClusterEvent, cluster: ClusterView): boolean
}

/** Counts nodes into a tally, which grows where it has no room for `verdict` yet. */
export const count = (tally: Tally, verdict: Verdict, nodes = 1): void => {
  if (verdict >= tally.counts.length) {
    const grown = new Int32Array(Math.max(verdict + 1, tally.counts.length * 2))
    grown.set(tally.counts)
    tally.counts = grown
  }
  tally.counts[verdict] = (tally.counts[verdict] ?? 0) + nodes
}

/** `sift` for checks that need no loop of their own. */
export const siftByVerdict = (check: Check, nodes: Int32Array, nodeCount: number, tally: Tally): number => {
  let kept = 0
  for (let i = 0; i < nodeCount; i++) {
    // i < nodeCount <= nodes.length
    const node = nodes[i]!
    const verdict = check.verdict(node)
    if (verdict === ALLOWED) nodes[kept++] = node
    else count(tally, verdict)
  }
  return kept
}

/** A check out of its verdict alone, for rules that concern few pods. */
export const checkBy = (
  constraint: string,
  refusals: readonly Refusal[],
  verdict: (node: NodeIndex) => Verdict,
): Check => {
  const check: Check = {
    constraint,
    refusals,
    verdict,
    sift: (nodes, nodeCount, tally) => siftByVerdict(check, nodes, nodeCount, tally),
  }
  return check
}

/**
 * The message of a pod that is refused before any node is asked. kube-scheduler looks for its last reason in a list that is
 * empty then, and says so (PreFilter without DynamicResources, v1.37).
 */
export const refusedAtOnce = (why: string): string => `${why}. not found`
