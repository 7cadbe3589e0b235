import { labelOf } from '../cluster/labels.ts'
import type { NodeIndex } from '../cluster/node.ts'
import type { PodRules, PodTerm } from '../cluster/pod-rules.ts'
import type { Pod } from '../cluster/pod.ts'
import type { DomainCounts, OwnedTerm, Topology, TopologyColumn } from '../cluster/topology.ts'
import type { ClusterView } from '../cluster/view.ts'
import { ALLOWED, type Check, type Constraint, count, type Refusal, type Tally, type Verdict } from './constraint.ts'

export const InterPodAffinity = 'InterPodAffinity'
export const REASON_POD_AFFINITY = "node(s) didn't match pod affinity rules"
export const REASON_POD_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
/** Said where pods that are there want the pod away. */
export const REASON_EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"

const NOT_NEAR: Verdict = 1
const TOO_NEAR: Verdict = 2
const UNWANTED: Verdict = 3

/** By value of a column: whether a pod there wants this one away. */
interface Repelled {
  readonly column: TopologyColumn
  values: Uint8Array
}

class InterPodAffinityCheck implements Check {
  readonly constraint = InterPodAffinity
  readonly refusals: readonly Refusal[] = [
    { reasons: [REASON_POD_AFFINITY], preemptionCouldHelp: false },
    { reasons: [REASON_POD_ANTI_AFFINITY], preemptionCouldHelp: true },
    { reasons: [REASON_EXISTING_ANTI_AFFINITY], preemptionCouldHelp: true },
  ]
  readonly #topology: Topology
  readonly #pod: Pod
  readonly #near: readonly DomainCounts[]
  readonly #away: readonly DomainCounts[]
  /** the pod matches its own affinity terms: it may come first */
  readonly #matchesItself: boolean
  /** nobody is there yet that it would have to be near to */
  #isFirst = false
  #repelled: Repelled[] = []
  #asOf = -1

  constructor(pod: Pod, { affinity, affineTo, antiAffinity }: PodRules, topology: Topology) {
    this.#pod = pod
    this.#topology = topology
    // where there are terms, there is what all of them select
    this.#near = affinity.map(({ division }) => topology.counts(affineTo!, division))
    this.#away = antiAffinity.map(({ counted, division }) => topology.counts(counted, division))
    this.#matchesItself = affinity.every((term) => topology.selects(term, pod))
  }

  /** What does not depend on the node, anew after each change. */
  #look(): void {
    if (this.#asOf === this.#topology.version) return
    this.#asOf = this.#topology.version
    for (const counts of this.#near) counts.reach()
    for (const counts of this.#away) counts.reach()
    this.#isFirst = this.#matchesItself && this.#near.every(({ total }) => total === 0)
    this.#repelled = repelledBy(this.#topology.termsAgainst(this.#pod))
  }

  verdict(node: NodeIndex): Verdict {
    this.#look()
    for (const { column, counts } of this.#near) {
      const domain = column.valueOf[node] ?? -1
      if (domain < 0 || (!this.#isFirst && (counts[domain] ?? 0) <= 0)) return NOT_NEAR
    }
    for (const { column, counts } of this.#away) {
      const domain = column.valueOf[node] ?? -1
      if (domain >= 0 && (counts[domain] ?? 0) > 0) return TOO_NEAR
    }
    for (const { column, values } of this.#repelled) {
      const domain = column.valueOf[node] ?? -1
      if (domain >= 0 && (values[domain] ?? 0) > 0) return UNWANTED
    }
    return ALLOWED
  }

  sift(nodes: Int32Array, nodeCount: number, tally: Tally): number {
    this.#look()
    let left = nodeCount
    for (const { column, counts } of this.#near) {
      const enough = this.#isFirst ? 0 : 1
      const { valueOf } = column
      let kept = 0
      for (let i = 0; i < left; i++) {
        // i < left <= nodes.length; nodes in use lie within the column, and `look` has made room for every value
        const node = nodes[i]!
        const domain = valueOf[node]!
        if (domain >= 0 && counts[domain]! >= enough) nodes[kept++] = node
      }
      if (kept < left) count(tally, NOT_NEAR, left - kept)
      left = kept
    }
    for (const { column, counts } of this.#away) left = siftEmpty(column, counts, nodes, left, tally, TOO_NEAR)
    for (const { column, values } of this.#repelled) left = siftEmpty(column, values, nodes, left, tally, UNWANTED)
    return left
  }
}

/** Keeps the nodes in whose domain there is nobody, and those that are in none. */
const siftEmpty = (
  { valueOf }: TopologyColumn,
  counts: Int32Array | Uint8Array,
  nodes: Int32Array,
  nodeCount: number,
  tally: Tally,
  verdict: Verdict,
): number => {
  let kept = 0
  for (let i = 0; i < nodeCount; i++) {
    // as in `sift`
    const node = nodes[i]!
    const domain = valueOf[node]!
    if (domain < 0 || counts[domain]! <= 0) nodes[kept++] = node
  }
  if (kept < nodeCount) count(tally, verdict, nodeCount - kept)
  return kept
}

const repelledBy = (terms: readonly OwnedTerm[]): Repelled[] => {
  const repelled: Repelled[] = []
  for (const { column, owners } of terms) {
    if (owners.size === 0) continue
    let one = repelled.find((known) => known.column === column)
    if (one === undefined) repelled.push((one = { column, values: new Uint8Array(column.size) }))
    for (const value of owners.keys()) one.values[value] = 1
  }
  return repelled
}

const couldHelp: Constraint['couldHelp'] = (pod, event, { topology }) => {
  const { affinity, antiAffinity } = topology.rulesOf(pod)
  const isNear = (other: Pod): boolean => affinity.length > 0 && affinity.every((term) => topology.selects(term, other))
  const isAvoided = (other: Pod): boolean => antiAffinity.some((term) => topology.selects(term, other))
  switch (event.kind) {
    case 'PodAdd':
      return isNear(event.pod)
    case 'PodDelete':
      return (
        isAvoided(event.pod) || topology.rulesOf(event.pod).antiAffinity.some((term) => topology.selects(term, pod))
      )
    case 'PodLabel':
      return (
        (isNear(event.pod) && !isNear(event.before)) ||
        antiAffinity.some((term) => topology.selects(term, event.before) && !topology.selects(term, event.pod))
      )
    case 'SelfLabel':
      return true
    case 'NodeAdd':
      return (
        antiAffinity.length > 0 ||
        affinity.some(({ topologyKey }) => labelOf(event.node.labels, topologyKey) !== undefined)
      )
    case 'NodeLabel': {
      const { before, node } = event
      const values = ({ topologyKey }: PodTerm) =>
        [labelOf(before.labels, topologyKey), labelOf(node.labels, topologyKey)] as const
      return (
        affinity.some((term) => {
          const [was, is] = values(term)
          return is !== undefined && is !== was
        }) ||
        antiAffinity.some((term) => {
          const [was, is] = values(term)
          return was !== undefined && is !== was
        })
      )
    }
    default:
      return false
  }
}

/**
 * The pods that a pod wants near must be in the same domain, those that it wants away must not, nor those that want it
 * away.
 */
export const interPodAffinity: Constraint = {
  name: InterPodAffinity,
  prepare: (pod: Pod, { topology }: ClusterView) => {
    const rules = topology.rulesOf(pod)
    const concerns =
      rules.affinity.length + rules.antiAffinity.length > 0 ||
      topology.termsAgainst(pod).some(({ owners }) => owners.size > 0)
    return concerns ? new InterPodAffinityCheck(pod, rules, topology) : undefined
  },
  wakesOn: ['PodAdd', 'PodDelete', 'PodLabel', 'SelfLabel', 'NodeAdd', 'NodeLabel'],
  wakesEachPod: true,
  couldHelp,
}
