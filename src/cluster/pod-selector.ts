import { expressionsMatch } from './labels.ts'
import type { LabelSelector, SelectorRequirement } from './objects.ts'
import type { Labels, PodSelector } from './pod.ts'

export const podSelectorMatches = (selector: PodSelector, labels: Labels): boolean =>
  selector !== undefined && expressionsMatch(labels, selector)

/** Strings of a list from outside. @throws TypeError unless it is a list of strings, or absent */
export const stringsIn = (list: unknown, what: string): string[] => {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list) || list.some((entry) => typeof entry !== 'string'))
    throw new TypeError(`${what} is no list of strings`)
  return [...new Set(list as string[])].sort()
}

const TAKES_VALUES: ReadonlyMap<unknown, boolean> = new Map([
  ['In', true],
  ['NotIn', true],
  ['Exists', false],
  ['DoesNotExist', false],
])

const textOf = ({ key, operator, values }: SelectorRequirement): string => JSON.stringify([key, operator, values])

/** The requirements in the order in which equal selectors have them. */
export const allOf = (requirements: readonly SelectorRequirement[]): readonly SelectorRequirement[] => {
  const byText = new Map(requirements.map((requirement) => [textOf(requirement), requirement]))
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, requirement]) => requirement)
}

/** A requirement that the label has exactly this value, or exactly not. */
export const labelIs = (key: string, value: string, operator: 'In' | 'NotIn' = 'In'): SelectorRequirement => ({
  key,
  operator,
  values: [value],
})

/** The labels of a map from outside, as requirements. @throws TypeError */
export const matchLabelsIn = (labels: unknown, what: string): SelectorRequirement[] => {
  if (labels === undefined || labels === null) return []
  if (typeof labels !== 'object') throw new TypeError(`${what} has matchLabels that are no map`)
  return Object.entries(labels).map(([key, value]: [string, unknown]) => {
    if (typeof value !== 'string') throw new TypeError(`${what} asks for label ${key} without a string`)
    return labelIs(key, value)
  })
}

/** A label selector from outside; absent is undefined. @throws TypeError naming what it belongs to */
export const podSelectorIn = (selector: LabelSelector | undefined | null, what: string): PodSelector => {
  if (selector === undefined || selector === null) return undefined
  if (typeof selector !== 'object') throw new TypeError(`${what} has a selector that is no object`)
  const requirements = matchLabelsIn(selector.matchLabels, what)
  const expressions: unknown = selector.matchExpressions ?? []
  if (!Array.isArray(expressions)) throw new TypeError(`${what} has matchExpressions that are no list`)
  for (const expression of expressions as (SelectorRequirement | null)[]) {
    const takesValues = TAKES_VALUES.get(expression?.operator)
    const values = stringsIn(expression?.values, what)
    if (typeof expression?.key !== 'string' || takesValues === undefined || takesValues !== values.length > 0)
      throw new TypeError(`${what} has the requirement ${JSON.stringify(expression)}, which cannot be met or broken`)
    // the map has only operators with a name
    requirements.push({ key: expression.key, operator: expression.operator!, values })
  }
  return allOf(requirements)
}
