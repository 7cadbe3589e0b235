import { expressionsMatch, parseFieldSelector, parseLabelSelector } from '../../cluster/labels.ts'
import { StowageError } from '../../errors/catalogue.ts'
import { badRequest } from './failure.ts'
import { type ApiObject, at } from './json.ts'

export type Matches = (object: ApiObject) => boolean

const refusing = <T>(parse: () => T): T => {
  try {
    return parse()
  } catch (error) {
    if (error instanceof StowageError) throw badRequest(`unable to parse requirement: ${error.facts.found}`)
    throw error
  }
}

const noLabels: Record<string, string> = Object.freeze({})

/** A label selector as in a query: `a=b,c in (d,e),!f`. undefined for an empty one. @throws ApiFailure 400 */
export const labelSelector = (text: string): Matches | undefined => {
  if (text.trim() === '') return undefined
  const requirements = refusing(() => parseLabelSelector(text))
  return ({ metadata }) => expressionsMatch(metadata.labels ?? noLabels, requirements)
}

/**
 * A field selector as in a query: `spec.nodeName=n1,status.phase!=Failed`. undefined for an empty one.
 * @param supported fields that this resource can be selected by, with their paths in stored objects; metadata.name and
 *   metadata.namespace always are
 * @throws ApiFailure 400
 */
export const fieldSelector = (text: string, supported: ReadonlyMap<string, string>): Matches | undefined => {
  if (text.trim() === '') return undefined
  const requirements = refusing(() => parseFieldSelector(text)).map(({ field, equals, value }) => {
    const path = field === 'metadata.name' || field === 'metadata.namespace' ? field : supported.get(field)
    if (path === undefined) throw badRequest(`field label not supported: ${field}`)
    return { path: path.split('.'), equals, value }
  })
  return (object) =>
    requirements.every(({ path, equals, value }) => {
      const found = at(object, ...path)
      // Fields that are left out when they have their type's zero are selected as that zero.
      const zero = path.at(-1) === 'unschedulable' || path.at(-1) === 'hostNetwork' ? 'false' : ''
      const shown =
        typeof found === 'string' ? found : typeof found === 'number' || typeof found === 'boolean' ? `${found}` : zero
      return (shown === value) === equals
    })
}

export const both = (a: Matches | undefined, b: Matches | undefined): Matches | undefined =>
  a === undefined ? b : b === undefined ? a : (object) => a(object) && b(object)
