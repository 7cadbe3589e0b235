import { isDeepStrictEqual } from 'node:util'
import { fillIn, checkAgainst } from './structural-schema.ts'
import { type ApiObject, type Json, at, isJson, jsonAt, listAt, textAt, textsAt } from '../json.ts'
import { type PrinterColumn, type Resource, resource } from '../resources.ts'
import { customTypeOf } from '../schema.ts'

const DEFAULT_COLUMNS: readonly PrinterColumn[] = [
  {
    name: 'Age',
    type: 'date',
    jsonPath: '.metadata.creationTimestamp',
    description:
      'CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations.',
  },
]

const condition = (definition: ApiObject, type: string): Json | undefined =>
  listAt(definition, 'status', 'conditions').find((one) => one['type'] === type)

/** Whether the resources of a CustomResourceDefinition are served. */
export const isEstablished = (definition: ApiObject): boolean =>
  condition(definition, 'Established')?.['status'] === 'True'

const withCondition = (
  status: Json,
  one: { type: string; status: string; reason: string; message: string },
  now: string,
): Json => {
  const conditions = listAt(status, 'conditions')
  const before = conditions.find(({ type }) => type === one.type)
  const lastTransitionTime = before?.['status'] === one.status ? before['lastTransitionTime'] : now
  const next = { type: one.type, status: one.status, lastTransitionTime, reason: one.reason, message: one.message }
  return {
    ...status,
    conditions:
      before === undefined ? [...conditions, next] : conditions.map((other) => (other === before ? next : other)),
  }
}

/**
 * The status of a definition as kube-apiserver's naming and establishing controllers leave it.
 * @param others of the same group; what they have is not to be had
 */
export const statusWithNames = (definition: ApiObject, others: readonly ApiObject[], now: string): Json => {
  const wanted = jsonAt(definition, 'spec', 'names')
  const had = jsonAt(definition, 'status', 'acceptedNames')
  const inUse = (...fields: string[]): Set<string> =>
    new Set(
      others.flatMap((other) =>
        fields.flatMap((field) => {
          const value = at(other, 'status', 'acceptedNames', field)
          return Array.isArray(value) ? (value as string[]) : typeof value === 'string' && value !== '' ? [value] : []
        }),
      ),
    )
  const plurals = inUse('plural', 'singular', 'shortNames')
  const kinds = inUse('kind', 'listKind')
  const names: Json = { ...had }
  let conflict: { reason: string; message: string } | undefined
  for (const [field, used] of [
    ['plural', plurals],
    ['singular', plurals],
    ['shortNames', plurals],
    ['kind', kinds],
    ['listKind', kinds],
  ] as const) {
    const value = wanted[field]
    const own = new Set([had[field]].flat())
    const taken = (Array.isArray(value) ? (value as string[]) : [textAt(wanted, field)]).filter(
      (name) => used.has(name) && !own.has(name),
    )
    if (taken.length > 0) {
      const texts = taken.map((name) => `"${name}" is already in use`)
      const reason = `${field.charAt(0).toUpperCase()}${field.slice(1)}Conflict`
      conflict = { reason, message: texts.length === 1 ? (texts[0] ?? '') : `[${texts.join(', ')}]` }
    } else if (value !== undefined) names[field] = value
    else delete names[field]
  }
  if (wanted['categories'] !== undefined) names['categories'] = wanted['categories']
  let status: Json = { ...jsonAt(definition, 'status'), acceptedNames: names }
  status = withCondition(
    status,
    conflict === undefined
      ? { type: 'NamesAccepted', status: 'True', reason: 'NoConflicts', message: 'no conflicts found' }
      : { type: 'NamesAccepted', status: 'False', ...conflict },
    now,
  )
  if (isEstablished(definition)) return status
  return withCondition(
    status,
    conflict === undefined
      ? {
          type: 'Established',
          status: 'True',
          reason: 'InitialNamesAccepted',
          message: 'the initial names have been accepted',
        }
      : { type: 'Established', status: 'False', reason: 'NotAccepted', message: 'not all names are accepted' },
    now,
  )
}

/** What stands in the way of a definition's end while objects of it are left. */
export const CLEANUP_FINALIZER = 'customresourcecleanup.apiextensions.k8s.io'

export const terminatingStatus = (definition: ApiObject, now: string): Json =>
  withCondition(
    jsonAt(definition, 'status'),
    {
      type: 'Terminating',
      status: 'True',
      reason: 'InstanceDeletionPending',
      message: 'CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon',
    },
    now,
  )

const STABILITY: readonly string[] = ['alpha', 'beta', '']
/** Kubernetes' order of versions, the preferred one first: stable ones, beta, alpha, the later the better, then other names. */
const byPreference = (a: string, b: string): number => {
  const rank = (name: string): readonly number[] => {
    const parts = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(name)
    if (parts === null) return [-1, 0, 0]
    return [STABILITY.indexOf(parts[2] ?? ''), Number(parts[1]), Number(parts[3] ?? 0)]
  }
  const [left, right] = [rank(a), rank(b)]
  for (const [i, value] of left.entries()) if (value !== right[i]) return (right[i] ?? 0) - value
  return a < b ? -1 : 1
}

const withVersion =
  (apiVersion: string) =>
  (object: ApiObject): ApiObject =>
    object.apiVersion === apiVersion ? object : { ...object, apiVersion }

const everythingBut = (object: ApiObject, ...fields: readonly string[]): Json => {
  const left: Json = { ...object }
  for (const field of fields) delete left[field]
  return left
}

/** Whether a write of a custom object counts as another generation of it. */
export const isNewGeneration = (object: ApiObject, old: ApiObject, hasStatus: boolean): boolean => {
  const ignored = ['metadata', 'apiVersion', ...(hasStatus ? ['status'] : [])]
  return !isDeepStrictEqual(everythingBut(object, ...ignored), everythingBut(old, ...ignored))
}

/**
 * The resources that an established definition defines: one for each version that is served, the preferred one first. Where a
 * webhook would have to convert between them it is the stored version alone: nobody is called from here.
 */
export const resourcesOf = (definition: ApiObject): Resource[] => {
  const spec = jsonAt(definition, 'spec')
  const group = textAt(spec, 'group')
  const names = jsonAt(definition, 'status', 'acceptedNames')
  const kind = textAt(names, 'kind')
  const convertible = textAt(spec, 'conversion', 'strategy') !== 'Webhook'
  return listAt(spec, 'versions')
    .filter((version) => version['served'] === true && (convertible || version['storage'] === true))
    .sort((a, b) => byPreference(textAt(a, 'name'), textAt(b, 'name')))
    .map((served) => {
      const version = textAt(served, 'name')
      const schema = jsonAt(served, 'schema', 'openAPIV3Schema')
      const hasStatus = isJson(at(served, 'subresources', 'status'))
      const columns = listAt(served, 'additionalPrinterColumns') as unknown as readonly PrinterColumn[]
      return resource({
        group,
        version,
        kind,
        listKind: textAt(names, 'listKind'),
        plural: textAt(names, 'plural'),
        singular: textAt(names, 'singular'),
        shortNames: textsAt(names, 'shortNames'),
        categories: textsAt(names, 'categories'),
        namespaced: textAt(spec, 'scope') === 'Namespaced',
        hasStatus,
        generation: true,
        unconditionalUpdate: false,
        schemaName: [...group.split('.').toReversed(), version, kind].join('.'),
        type: customTypeOf(schema, kind),
        defaults: (object) => {
          if (hasStatus) delete object['status']
          fillIn(schema, object)
        },
        updateDefaults: (object) => fillIn(schema, object),
        validate: (object, errors) => checkAgainst(schema, object, errors),
        updateStatus: (object, _old, errors) => checkAgainst(schema, object, errors),
        // Objects are alike in all versions but for the version's name.
        toWire: withVersion(`${group}/${version}`),
        custom: { schema, printerColumns: columns.length > 0 ? columns : DEFAULT_COLUMNS },
      })
    })
}
