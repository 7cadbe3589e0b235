import type { NodeIndex } from '../cluster/node.ts'
import type { SpreadRule } from '../cluster/pod-rules.ts'
import type { Labels, Pod } from '../cluster/pod.ts'
import { podSelectorMatches } from '../cluster/pod-selector.ts'
import type { DomainCounts, Topology } from '../cluster/topology.ts'
import type { ClusterView } from '../cluster/view.ts'
import { ALLOWED, type Check, type Constraint, count, type Refusal, type Tally, type Verdict } from './constraint.ts'

export const PodTopologySpread = 'PodTopologySpread'
export const REASON_SPREAD = "node(s) didn't match pod topology spread constraints"
/** Said of nodes that lack the label of a constraint. */
export const REASON_MISSING_LABEL = `${REASON_SPREAD} (missing required label)`

const SKEWED: Verdict = 1
const MISSING: Verdict = 2

/** One constraint, as the cluster is. */
interface Prepared {
  readonly counts: DomainCounts
  /** most pods that a domain may have before this one comes */
  most: number
  readonly rule: SpreadRule
}

class PodTopologySpreadCheck implements Check {
  readonly constraint = PodTopologySpread
  readonly refusals: readonly Refusal[] = [
    { reasons: [REASON_SPREAD], preemptionCouldHelp: true },
    { reasons: [REASON_MISSING_LABEL], preemptionCouldHelp: false },
  ]
  readonly #topology: Topology
  readonly #prepared: readonly Prepared[]
  #asOf = -1

  constructor(rules: readonly SpreadRule[], topology: Topology) {
    this.#topology = topology
    this.#prepared = rules.map((rule) => ({ rule, counts: topology.counts(rule.counted, rule.division), most: 0 }))
  }

  /** The least counted is looked for again only after something has changed. */
  #look(): void {
    if (this.#asOf === this.#topology.version) return
    this.#asOf = this.#topology.version
    for (const prepared of this.#prepared) {
      const { maxSkew, minDomains, self } = prepared.rule
      prepared.most = maxSkew - self + prepared.counts.reach().least(minDomains)
    }
  }

  verdict(node: NodeIndex): Verdict {
    this.#look()
    for (const { counts, most } of this.#prepared) {
      const domain = counts.column.valueOf[node] ?? -1
      if (domain < 0) return MISSING
      if ((counts.counts[domain] ?? 0) > most) return SKEWED
    }
    return ALLOWED
  }

  sift(nodes: Int32Array, nodeCount: number, tally: Tally): number {
    this.#look()
    let left = nodeCount
    for (const { counts: of, most } of this.#prepared) {
      const { valueOf } = of.column
      const { counts } = of
      let kept = 0
      let missing = 0
      for (let i = 0; i < left; i++) {
        // i < left <= nodes.length; nodes in use lie within the column, and `look` has made room for every value
        const node = nodes[i]!
        const domain = valueOf[node]!
        if (domain < 0) missing++
        else if (counts[domain]! <= most) nodes[kept++] = node
      }
      if (missing > 0) count(tally, MISSING, missing)
      if (left > kept + missing) count(tally, SKEWED, left - kept - missing)
      left = kept
    }
    return left
  }
}

const hasAllKeys = (rules: readonly SpreadRule[], labels: Labels): boolean =>
  rules.every(({ topologyKey }) => Object.hasOwn(labels, topologyKey))

const couldHelp: Constraint['couldHelp'] = (pod, event, { topology }) => {
  const { spread } = topology.rulesOf(pod)
  const selects = ({ selector }: SpreadRule, other: Pod): boolean =>
    other.namespace === pod.namespace && podSelectorMatches(selector, other.labels)
  const flips =
    (before: Pod, after: Pod) =>
    (rule: SpreadRule): boolean =>
      selects(rule, before) !== selects(rule, after)
  switch (event.kind) {
    case 'PodAdd':
    case 'PodDelete':
      return spread.some((rule) => selects(rule, event.pod))
    case 'PodLabel':
      return spread.some(flips(event.before, event.pod))
    case 'SelfLabel':
      // The labels may be part of the selectors.
      return [...spread, ...topology.rulesOf(event.before).spread].some(flips(event.before, event.pod))
    case 'SelfToleration':
      return spread.some(({ honorsTaints }) => honorsTaints)
    case 'NodeAdd':
    case 'NodeDelete':
      return hasAllKeys(spread, event.node.labels)
    case 'NodeLabel':
    case 'NodeTaint': {
      const { before, node } = event
      const matches = hasAllKeys(spread, node.labels)
      if (matches !== hasAllKeys(spread, before.labels)) return true
      return (
        matches &&
        (spread.some(({ topologyKey }) => before.labels[topologyKey] !== node.labels[topologyKey]) ||
          JSON.stringify(before.taints) !== JSON.stringify(node.taints))
      )
    }
    default:
      return false
  }
}

/** No domain may have more of the pod's own than another by more than maxSkew. */
export const podTopologySpread: Constraint = {
  name: PodTopologySpread,
  prepare: (pod: Pod, { topology }: ClusterView) => {
    if (pod.shape.spread.length === 0) return undefined
    const { spread } = topology.rulesOf(pod)
    return spread.length === 0 ? undefined : new PodTopologySpreadCheck(spread, topology)
  },
  wakesOn: [
    'PodAdd',
    'PodDelete',
    'PodLabel',
    'SelfLabel',
    'SelfToleration',
    'NodeAdd',
    'NodeDelete',
    'NodeLabel',
    'NodeTaint',
  ],
  wakesEachPod: true,
  couldHelp,
}
