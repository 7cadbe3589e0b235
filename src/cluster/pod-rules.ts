import { labelOf, nodeSelectorMatches, nodeTermMatches } from './labels.ts'
import { HOSTNAME_LABEL, type Node } from './node.ts'
import type { NodeSelectorTerm, Toleration } from './objects.ts'
import type { Labels, Pod, PodAffinityTerm, PodSelector, PodShape, TopologySpreadConstraint } from './pod.ts'
import { allOf, labelIs, podSelectorMatches } from './pod-selector.ts'
import type { PodSelection, Selecting } from './selections.ts'
import { isTolerated } from './tolerations.ts'

/** Which placed pods are counted. Equal ones have the same key. */
export interface Counted extends Selecting {
  readonly key: string
  /** pods that are being deleted count, too */
  readonly withDeleting: boolean
}

/** The nodes whose pods count: they have all of these labels, and pass what else is said. */
export interface NodeRule {
  readonly labels: readonly string[]
  readonly nodeSelector: Labels | undefined
  readonly requiredTerms: readonly NodeSelectorTerm[] | undefined
  /** they tolerate the node's taints; undefined: taints do not matter */
  readonly tolerations: readonly Toleration[] | undefined
}

/** By what nodes are put together. Equal ones have the same key. */
export interface Division {
  readonly key: string
  /** nodes with the same value of this label belong together; '': each node is by itself */
  readonly topologyKey: string
  /** undefined: every node with the label counts */
  readonly rule: NodeRule | undefined
}

/** A term of pod affinity or anti-affinity, with what it takes from its pod filled in. */
export interface PodTerm {
  readonly topologyKey: string
  readonly selection: PodSelection
  /** pods that the term selects, and how nodes are divided */
  readonly counted: Counted
  readonly division: Division
}

export interface WeightedPodTerm extends PodTerm {
  /** negative: the pod would rather be away from them */
  readonly weight: number
}

export interface SpreadRule {
  readonly maxSkew: number
  readonly minDomains: number
  readonly topologyKey: string
  /** of pods in the pod's namespace; one without requirements matches every pod, and yet no pod is counted for it */
  readonly selector: PodSelector
  readonly counted: Counted
  readonly division: Division
  /** 1 if the pod itself is one of those selected */
  readonly self: 0 | 1
  /** only nodes whose taints the pod tolerates are counted */
  readonly honorsTaints: boolean
}

/** Spread that is only preferred. */
export interface SoftSpread {
  readonly rules: readonly SpreadRule[]
  /** nodes without all keys are left out; else a node without the key is a domain of its own */
  readonly requiresKeys: boolean
}

/** All that a pod asks of where other pods are. */
export interface PodRules {
  readonly affinity: readonly PodTerm[]
  /** the pods that match every affinity term; undefined without one */
  readonly affineTo: Counted | undefined
  readonly antiAffinity: readonly PodTerm[]
  readonly preferred: readonly WeightedPodTerm[]
  readonly spread: readonly SpreadRule[]
  readonly softSpread: SoftSpread | undefined
}

/** kube-scheduler's System defaults for pods without any constraints. */
export const DEFAULT_SPREAD = [
  { topologyKey: HOSTNAME_LABEL, maxSkew: 3 },
  { topologyKey: 'topology.kubernetes.io/zone', maxSkew: 5 },
] as const

const divisionOf = (topologyKey: string, rule?: NodeRule): Division =>
  rule === undefined
    ? { key: topologyKey, topologyKey, rule }
    : { key: `${topologyKey} ${JSON.stringify(rule)}`, topologyKey, rule }

/** Each node by itself. */
export const BY_NODE: Division = divisionOf('')

const countedOf = (selections: readonly PodSelection[], withDeleting: boolean): Counted => ({
  key: JSON.stringify([
    withDeleting,
    selections.map(({ namespaces, namespaceSelector, selector }) => [
      namespaces,
      namespaceSelector ?? null,
      selector ?? null,
    ]),
  ]),
  selections,
  withDeleting,
})

const termOf = (term: PodAffinityTerm, pod: Pod): PodTerm => {
  const { matchLabelKeys, mismatchLabelKeys, namespaces, namespaceSelector, topologyKey } = term
  let { selector } = term
  if (selector !== undefined && matchLabelKeys.length + mismatchLabelKeys.length > 0) {
    // The API server has written them into the selector when the pod was created; only where it has not, they are missing.
    const spokenOf = new Set(selector.map(({ key }) => key))
    const further = (keys: readonly string[], operator: 'In' | 'NotIn') =>
      keys.flatMap((key) => {
        const value = labelOf(pod.labels, key)
        return value === undefined || spokenOf.has(key) ? [] : [labelIs(key, value, operator)]
      })
    selector = allOf([...selector, ...further(matchLabelKeys, 'In'), ...further(mismatchLabelKeys, 'NotIn')])
  }
  const own = namespaces.length === 0 && namespaceSelector === undefined
  const selection = { selector, namespaces: own ? [pod.namespace] : namespaces, namespaceSelector }
  return { topologyKey, selection, counted: countedOf([selection], true), division: divisionOf(topologyKey) }
}

const hasAny = (labels: Labels): boolean => {
  for (const _ in labels) return true
  return false
}

const ruleOf = (
  { nodeSelector, requiredTerms, tolerations }: PodShape,
  keys: readonly string[],
  honors: { readonly honorsAffinity: boolean; readonly honorsTaints: boolean },
): NodeRule | undefined => {
  const selects = honors.honorsAffinity && hasAny(nodeSelector)
  const requires = honors.honorsAffinity && requiredTerms !== undefined
  if (keys.length === 0 && !selects && !requires && !honors.honorsTaints) return undefined
  return {
    labels: keys,
    nodeSelector: selects ? nodeSelector : undefined,
    requiredTerms: requires ? requiredTerms : undefined,
    tolerations: honors.honorsTaints ? tolerations : undefined,
  }
}

const countedFor = (selector: PodSelector, pod: Pod): Counted =>
  // kube-scheduler's quirk: a selector without requirements counts no pod.
  countedOf(
    [
      {
        selector: selector?.length === 0 ? undefined : selector,
        namespaces: [pod.namespace],
        namespaceSelector: undefined,
      },
    ],
    false,
  )

const spreadOf = (constraints: readonly TopologySpreadConstraint[], pod: Pod): SpreadRule[] => {
  const keys = [...new Set(constraints.map(({ topologyKey }) => topologyKey))].sort()
  return constraints.map((constraint) => {
    const { matchLabelKeys, maxSkew, minDomains, topologyKey } = constraint
    let { selector } = constraint
    if (selector !== undefined)
      selector = allOf([
        ...selector,
        ...matchLabelKeys.flatMap((key) => {
          const value = labelOf(pod.labels, key)
          return value === undefined ? [] : [labelIs(key, value)]
        }),
      ])
    const others = keys.filter((key) => key !== topologyKey)
    return {
      maxSkew,
      minDomains,
      topologyKey,
      selector,
      counted: countedFor(selector, pod),
      division: divisionOf(topologyKey, ruleOf(pod.shape, others, constraint)),
      self: podSelectorMatches(selector, pod.labels) ? 1 : 0,
      honorsTaints: constraint.honorsTaints,
    }
  })
}

/** What a pod asks of where other pods are, its own labels and namespace put in. */
export const podRulesOf = (pod: Pod): PodRules => {
  const { podAffinity, podAntiAffinity, preferredPodTerms, spread } = pod.shape
  const affinity = podAffinity.map((term) => termOf(term, pod))
  const soft = spread.filter(({ required }) => !required)
  return {
    affinity,
    affineTo:
      affinity.length === 0
        ? undefined
        : countedOf(
            affinity.map(({ selection }) => selection),
            true,
          ),
    antiAffinity: podAntiAffinity.map((term) => termOf(term, pod)),
    preferred: preferredPodTerms.map(({ weight, term }) => ({ weight, ...termOf(term, pod) })),
    spread: spreadOf(
      spread.filter(({ required }) => required),
      pod,
    ),
    softSpread: soft.length === 0 ? undefined : { rules: spreadOf(soft, pod), requiresKeys: true },
  }
}

/** The System defaults for a pod that its Services or controllers select so. */
export const defaultSpreadOf = (pod: Pod, selector: PodSelector): SoftSpread => ({
  rules: DEFAULT_SPREAD.map(({ topologyKey, maxSkew }) => ({
    maxSkew,
    minDomains: 1,
    topologyKey,
    selector,
    counted: countedFor(selector, pod),
    division: divisionOf(topologyKey, ruleOf(pod.shape, [], { honorsAffinity: true, honorsTaints: false })),
    self: 0,
    honorsTaints: false,
  })),
  requiresKeys: false,
})

/** Whether the pods on a node count. The label by which nodes are divided is looked at by whoever divides. */
export const nodeCounts = ({ labels, nodeSelector, requiredTerms, tolerations }: NodeRule, node: Node): boolean =>
  labels.every((key) => labelOf(node.labels, key) !== undefined) &&
  (nodeSelector === undefined || nodeSelectorMatches(nodeSelector, node.labels)) &&
  (requiredTerms === undefined || requiredTerms.some((term) => nodeTermMatches(term, node.labels, node.name))) &&
  (tolerations === undefined ||
    node.taints.every(
      (taint) => (taint.effect !== 'NoSchedule' && taint.effect !== 'NoExecute') || isTolerated(tolerations, taint),
    ))
