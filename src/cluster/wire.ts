import type { NodeSelectorTerm, SelectorRequirement } from './objects.ts'

// Parts of objects from outside that may hold anything: what comes out may be relied on.

/** A string, '' for anything else. */
export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Strings of a list, none if it is absent. @throws TypeError if it is something else */
export const textsIn = (list: unknown): string[] => {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list)) throw new TypeError('what should be a list of texts is none')
  return list.map(textOf)
}

/** Entries of a list. @throws TypeError unless it is a list of objects, or absent */
export const objectsIn = <T extends object>(list: readonly T[] | undefined | null, what: string): readonly T[] => {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list) || (list as unknown[]).some((entry: unknown) => typeof entry !== 'object' || entry === null))
    throw new TypeError(`${what} is no list of objects`)
  return list as readonly T[]
}

/** Requirements of a selector whose lists may be relied on. @throws TypeError */
export const requirementsIn = (list: readonly SelectorRequirement[] | undefined, what: string): SelectorRequirement[] =>
  objectsIn(list, what).map(({ key, operator, values }) => {
    if (values !== undefined && values !== null && !Array.isArray(values))
      throw new TypeError(`${what} has values that are no list`)
    return { key: textOf(key), operator: textOf(operator), values: (values ?? []).map(textOf) }
  })

/** A term of a node selector. @throws TypeError */
export const termIn = ({ matchExpressions, matchFields }: NodeSelectorTerm, what: string): NodeSelectorTerm => ({
  ...(matchExpressions ? { matchExpressions: requirementsIn(matchExpressions, what) } : {}),
  ...(matchFields ? { matchFields: requirementsIn(matchFields, what) } : {}),
})
