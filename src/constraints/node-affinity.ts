import { labelOf, nodeSelectorMatches, nodeTermMatches, termNeedsNode } from '../cluster/labels.ts'
import { HOSTNAME_LABEL, type Node, type NodeClass, type NodeIndex } from '../cluster/node.ts'
import type { NodeSelectorTerm, PodShape } from '../cluster/pod.ts'
import { ClassCheck, type ClassVerdict } from './class-check.ts'
import {
  ALLOWED,
  type Check,
  type Constraint,
  type Refusal,
  siftByVerdict,
  type Tally,
  type Verdict,
} from './constraint.ts'

export const NodeAffinity = 'NodeAffinity'
export const REASON_AFFINITY = "node(s) didn't match Pod's node affinity/selector"
/** Said of nodes that the pod's terms leave out by name. */
export const REASON_LEFT_OUT = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
/** The whole message where a pod's terms name nodes that exclude each other; kube-scheduler ends it so. */
export const CONFLICTING_NAMES = 'pod affinity terms conflict. not found'

const ofNode = ({ nodeSelector, requiredTerms }: PodShape, { labels, name }: Node): boolean => {
  // First what rules out nearly every node.
  const hostname = nodeSelector[HOSTNAME_LABEL]
  if (hostname !== undefined && labels[HOSTNAME_LABEL] !== hostname) return false
  return (
    nodeSelectorMatches(nodeSelector, labels) &&
    (requiredTerms === undefined || requiredTerms.some((term) => nodeTermMatches(term, labels, name)))
  )
}

const ofClass = ({ nodeSelector, requiredTerms }: PodShape, { labels }: NodeClass): ClassVerdict => {
  let depends = false
  for (const key in nodeSelector) {
    if (key === HOSTNAME_LABEL) depends = true
    else if (labelOf(labels, key) !== nodeSelector[key]) return 'refuses'
  }
  if (requiredTerms !== undefined) {
    const decided = requiredTerms.some((term) => !termNeedsNode(term) && nodeTermMatches(term, labels, ''))
    if (!decided && !requiredTerms.some(termNeedsNode)) return 'refuses'
    if (!decided) depends = true
  }
  return depends ? 'depends' : 'allows'
}

const concerns = ({ nodeSelector, requiredTerms }: PodShape): boolean => {
  if (requiredTerms !== undefined) return true
  for (const _ in nodeSelector) return true
  return false
}

const REFUSAL: Refusal = { reasons: [REASON_AFFINITY], preemptionCouldHelp: false }
const wakesOn = ['NodeAdd', 'NodeLabel'] as const

const couldHelp: Constraint['couldHelp'] = (pod, event) => {
  switch (event.kind) {
    case 'NodeAdd':
      return ofNode(pod.shape, event.node)
    case 'NodeLabel':
      return !ofNode(pod.shape, event.before) && ofNode(pod.shape, event.node)
    default:
      return false
  }
}

/** nodeSelector and one of the required terms must match the node. */
export const createNodeAffinity = (): Constraint => {
  const check = new ClassCheck({ constraint: NodeAffinity, refusal: REFUSAL, ofClass, ofNode })
  return {
    name: NodeAffinity,
    isLocal: true,
    prepare: (pod, cluster) => (concerns(pod.shape) ? check.for(pod.shape, cluster) : undefined),
    wakesOn,
    couldHelp,
  }
}

/**
 * The names to which required terms pin a pod: undefined unless every term asks for metadata.name with In (as DaemonSet
 * pods do); empty where the names within each term exclude each other.
 */
export const pinnedNames = (terms: readonly NodeSelectorTerm[] | undefined): ReadonlySet<string> | undefined => {
  if (terms === undefined || terms.length === 0) return undefined
  const names = new Set<string>()
  for (const { matchFields = [] } of terms) {
    let ofTerm: string[] | undefined
    for (const { key, operator, values = [] } of matchFields)
      if (key === 'metadata.name' && operator === 'In')
        ofTerm = ofTerm === undefined ? values : ofTerm.filter((name) => values.includes(name))
    if (ofTerm === undefined) return undefined
    for (const name of ofTerm) names.add(name)
  }
  return names
}

class PinnedCheck implements Check {
  readonly constraint = NodeAffinity
  readonly refusals: readonly Refusal[] = [{ reasons: [REASON_LEFT_OUT], preemptionCouldHelp: false }]
  readonly #pinned: ReadonlySet<NodeIndex>

  constructor(pinned: ReadonlySet<NodeIndex>) {
    this.#pinned = pinned
  }

  verdict(node: NodeIndex): Verdict {
    return this.#pinned.has(node) ? ALLOWED : 1
  }

  sift(nodes: Int32Array, nodeCount: number, tally: Tally): number {
    return siftByVerdict(this, nodes, nodeCount, tally)
  }
}

/**
 * NodeAffinity's PreFilter: a pod that is pinned to nodes by name is never tried elsewhere, so the other nodes say only that,
 * whatever else speaks against them. Comes before all other rules for nodes.
 */
export const nodeAffinityByName: Constraint = {
  name: NodeAffinity,
  isLocal: true,
  prepare: (pod, cluster) => {
    const names = pinnedNames(pod.shape.requiredTerms)
    if (names === undefined) return undefined
    if (names.size === 0) return { constraint: NodeAffinity, message: CONFLICTING_NAMES }
    const pinned = new Set<NodeIndex>()
    for (const name of names) {
      const index = cluster.indexOf(name)
      if (index >= 0) pinned.add(index)
    }
    return new PinnedCheck(pinned)
  },
  wakesOn,
  couldHelp,
}
