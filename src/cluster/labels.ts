import { StowageError } from '../errors/catalogue.ts'
import { HOSTNAME_LABEL } from './node.ts'
import type { LabelSelector, NodeSelectorTerm, SelectorRequirement } from './objects.ts'
import type { Labels } from './pod.ts'

/** A label's value, undefined without it; safe for keys such as `constructor` from outside. */
export const labelOf = (labels: Labels | undefined, key: string): string | undefined =>
  labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined

const INTEGER = /^[+-]?\d{1,19}$/

const compares = (value: string | undefined, bound: string | undefined, larger: boolean): boolean => {
  if (value === undefined || bound === undefined || !INTEGER.test(value) || !INTEGER.test(bound)) return false
  const a = BigInt(value)
  const b = BigInt(bound)
  return larger ? a > b : a < b
}

/**
 * One requirement against a value. Operators of node selectors (In, NotIn, Exists, DoesNotExist, Gt, Lt) and so of label
 * selectors; an unknown operator matches nothing.
 */
export const requirementMatches = (requirement: SelectorRequirement, value: string | undefined): boolean => {
  const { operator, values = [] } = requirement
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    case 'Gt':
    case 'Lt':
      return values.length === 1 && compares(value, values[0], operator === 'Gt')
    default:
      return false
  }
}

/** All expressions hold for the labels. */
export const expressionsMatch = (labels: Labels, expressions: readonly SelectorRequirement[] | undefined): boolean =>
  (expressions ?? []).every((requirement) => requirementMatches(requirement, labelOf(labels, requirement.key ?? '')))

/** A node's fields: only metadata.name exists, with In or NotIn and exactly one value. */
const fieldsMatch = (nodeName: string, fields: readonly SelectorRequirement[] | undefined): boolean =>
  (fields ?? []).every(
    ({ key, operator, values = [] }) =>
      key === 'metadata.name' &&
      values.length === 1 &&
      (operator === 'In' || operator === 'NotIn') &&
      (values[0] === nodeName) === (operator === 'In'),
  )

/** Whether a term has nothing to say; such a term matches no node. */
export const isEmptyTerm = (term: NodeSelectorTerm): boolean =>
  (term.matchExpressions ?? []).length === 0 && (term.matchFields ?? []).length === 0

/** Whether only the node itself can say if a term holds: the hostname label and fields are no part of a node class. */
export const termNeedsNode = (term: NodeSelectorTerm): boolean =>
  (term.matchFields ?? []).length > 0 || (term.matchExpressions ?? []).some(({ key }) => key === HOSTNAME_LABEL)

/** One term of a node affinity: all of its expressions and fields hold. An empty term matches nothing. */
export const nodeTermMatches = (term: NodeSelectorTerm, labels: Labels, nodeName: string): boolean =>
  !isEmptyTerm(term) && expressionsMatch(labels, term.matchExpressions) && fieldsMatch(nodeName, term.matchFields)

/** A nodeSelector: every label is there with that value. */
export const nodeSelectorMatches = (selector: Labels, labels: Labels): boolean => {
  for (const key in selector) if (labelOf(labels, key) !== selector[key]) return false
  return true
}

/** A LabelSelector: undefined matches nothing, `{}` everything. */
export const labelSelectorMatches = (selector: LabelSelector | undefined, labels: Labels): boolean =>
  selector !== undefined &&
  Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labelOf(labels, key) === value) &&
  expressionsMatch(labels, selector.matchExpressions)

const LABEL_KEY = /^(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const TERM =
  /^\s*(?:!\s*([^\s!=<>,()]+)|([^\s!=<>,()]+)(?:\s+(in|notin)\s*\(([^()]*)\)|\s*(==|=|!=|>|<)\s*([^\s,()=!<>]*))?)\s*$/

const selectorMalformed = (found: string): StowageError =>
  new StowageError('SELECTOR_MALFORMED', {
    found: JSON.stringify(found.slice(0, 200)),
    expected: 'terms such as app=web, tier!=db, zone in (a,b), gpu or !gpu, joined by commas',
  })

/** Splits at commas that stand in no parentheses. */
const splitTerms = (text: string): string[] => {
  const terms: string[] = []
  let depth = 0
  let start = 0
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (c === '(') depth++
    else if (c === ')') depth--
    else if (c === ',' && depth === 0) {
      terms.push(text.slice(start, i))
      start = i + 1
    }
  }
  terms.push(text.slice(start))
  return terms
}

/**
 * A label selector in its text form (`kubectl -l`), as requirements.
 * @throws StowageError SELECTOR_MALFORMED
 */
export const parseLabelSelector = (text: string): SelectorRequirement[] => {
  if (text.trim() === '') return []
  return splitTerms(text).map((term) => {
    const match = TERM.exec(term)
    if (match === null) throw selectorMalformed(term)
    const [, absent, name, set, list, operator, value = ''] = match
    const key = absent ?? name ?? ''
    if (!LABEL_KEY.test(key)) throw selectorMalformed(term)
    if (absent !== undefined) return { key, operator: 'DoesNotExist' }
    if (set !== undefined)
      return { key, operator: set === 'in' ? 'In' : 'NotIn', values: (list ?? '').split(',').map((v) => v.trim()) }
    switch (operator) {
      case undefined:
        return { key, operator: 'Exists' }
      case '!=':
        return { key, operator: 'NotIn', values: [value] }
      case '>':
      case '<':
        if (!INTEGER.test(value)) throw selectorMalformed(term)
        return { key, operator: operator === '>' ? 'Gt' : 'Lt', values: [value] }
      default:
        return { key, operator: 'In', values: [value] }
    }
  })
}

/** One `field=value` or `field!=value`. */
export interface FieldRequirement {
  readonly field: string
  readonly equals: boolean
  readonly value: string
}

/**
 * A field selector in its text form (`kubectl --field-selector`); `\,` `\=` and `\\` are escapes.
 * @throws StowageError SELECTOR_MALFORMED
 */
export const parseFieldSelector = (text: string): FieldRequirement[] => {
  if (text.trim() === '') return []
  const terms = text.match(/(?:\\.|[^,\\])+/gs) ?? []
  return terms.map((term) => {
    const match = /^((?:\\.|[^=!\\])+)(==|=|!=)((?:\\.|[^\\])*)$/s.exec(term)
    if (match === null) throw selectorMalformed(term)
    const [, field = '', operator, value = ''] = match
    return { field: field.trim(), equals: operator !== '!=', value: value.replace(/\\(.)/gs, '$1') }
  })
}
