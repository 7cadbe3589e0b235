import { expressionsMatch, labelOf } from './labels.ts'
import type { LabelSelector, PodDisruptionBudgetObject, SelectorRequirement } from './objects.ts'
import type { Pod } from './pod.ts'
import { textOf } from './wire.ts'

/** A PodDisruptionBudget as far as a choice of victims goes. */
export interface DisruptionBudget {
  readonly namespace: string
  readonly name: string
  readonly matchLabels: readonly (readonly [string, string])[]
  readonly matchExpressions: readonly SelectorRequirement[]
  /** how many of its pods may go now, as its controller has worked out */
  readonly disruptionsAllowed: number
  /** names of pods whose eviction has been counted already */
  readonly disruptedPods: ReadonlySet<string>
}

const recordIn = (value: unknown, what: string): Readonly<Record<string, unknown>> => {
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw new TypeError(`${what} is no object`)
  return value as Readonly<Record<string, unknown>>
}

const requirementsIn = (list: LabelSelector['matchExpressions']): SelectorRequirement[] => {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list)) throw new TypeError('spec.selector.matchExpressions is no list')
  return list.map((entry: unknown) => {
    const { key, operator, values } = recordIn(entry, 'an expression of spec.selector')
    if (values !== undefined && values !== null && !Array.isArray(values))
      throw new TypeError('spec.selector has values that are no list')
    return { key: textOf(key), operator: textOf(operator), values: ((values ?? []) as unknown[]).map(textOf) }
  })
}

const read = (object: PodDisruptionBudgetObject): DisruptionBudget => {
  const { metadata = {}, spec = {}, status = {} } = object
  const selector = recordIn(spec.selector, 'spec.selector')
  const allowed: unknown = status.disruptionsAllowed
  return {
    namespace: textOf(metadata.namespace),
    name: textOf(metadata.name),
    matchLabels: Object.entries(recordIn(selector['matchLabels'], 'spec.selector.matchLabels')).map(
      ([key, value]) => [key, textOf(value)] as const,
    ),
    matchExpressions: requirementsIn(selector['matchExpressions'] as LabelSelector['matchExpressions']),
    disruptionsAllowed: typeof allowed === 'number' ? allowed : 0,
    disruptedPods: new Set(Object.keys(recordIn(status.disruptedPods, 'status.disruptedPods'))),
  }
}

/** A selector that is absent or empty matches nothing here (kube-scheduler's preemption). */
const matches = ({ matchLabels, matchExpressions }: DisruptionBudget, { labels }: Pod): boolean =>
  matchLabels.length + matchExpressions.length > 0 &&
  matchLabels.every(([key, value]) => labelOf(labels, key) === value) &&
  expressionsMatch(labels, matchExpressions)

/** The PodDisruptionBudgets of a cluster. */
export class DisruptionBudgets {
  readonly #byNamespace = new Map<string, Map<string, DisruptionBudget>>()
  #version = 0

  /** another number whenever one of them has changed */
  get version(): number {
    return this.#version
  }

  /** A budget that is new or has changed. @throws TypeError if it cannot be read; it is as if it were gone then */
  seen(object: PodDisruptionBudgetObject): void {
    const { namespace, name } = object.metadata ?? {}
    this.gone(textOf(namespace), textOf(name))
    const budget = read(object)
    let there = this.#byNamespace.get(budget.namespace)
    if (there === undefined) this.#byNamespace.set(budget.namespace, (there = new Map<string, DisruptionBudget>()))
    there.set(budget.name, budget)
  }

  gone(namespace: string, name: string): void {
    this.#version++
    const there = this.#byNamespace.get(namespace)
    there?.delete(name)
    if (there?.size === 0) this.#byNamespace.delete(namespace)
  }

  /**
   * Which of these pods a budget does not let go, if they go in this order. A pod counts against every budget that matches
   * it, unless its eviction has been counted already.
   */
  violatedBy(pods: readonly Pod[]): Set<Pod> {
    const violating = new Set<Pod>()
    if (this.#byNamespace.size === 0) return violating
    const left = new Map<DisruptionBudget, number>()
    for (const pod of pods) {
      for (const budget of this.#byNamespace.get(pod.namespace)?.values() ?? []) {
        if (!matches(budget, pod) || budget.disruptedPods.has(pod.name)) continue
        const after = (left.get(budget) ?? budget.disruptionsAllowed) - 1
        left.set(budget, after)
        if (after < 0) violating.add(pod)
      }
    }
    return violating
  }
}
