import type { ApiObject, Json } from './json.ts'

// One event object has two faces: core/v1 and events.k8s.io/v1. It is stored in the first.

/** Old name to new, as events.k8s.io/v1 calls the fields of core/v1. */
const renamed = [
  ['message', 'note'],
  ['involvedObject', 'regarding'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
  ['reportingComponent', 'reportingController'],
] as const
const toNew = new Map<string, string>(renamed)
const toOld = new Map<string, string>(renamed.map(([old, now]) => [now, old]))

const rename = (object: ApiObject, names: ReadonlyMap<string, string>, apiVersion: string): ApiObject => {
  const { metadata } = object
  const result: ApiObject = { kind: 'Event', apiVersion, metadata }
  for (const [field, value] of Object.entries(object)) if (!(field in result)) result[names.get(field) ?? field] = value
  return result
}

/** core/v1 -> events.k8s.io/v1 */
export const toEventsV1 = (event: ApiObject): ApiObject => {
  const result = rename(event, toNew, 'events.k8s.io/v1')
  // These are never left out there.
  result['eventTime'] ??= null
  for (const field of ['reportingController', 'reportingInstance']) if (result[field] === '') delete result[field]
  return result
}
/** events.k8s.io/v1 -> core/v1 */
export const fromEventsV1 = (event: ApiObject): ApiObject => eventDefaults(rename(event, toOld, 'v1'))

/** Fields that core/v1 never leaves out. */
export const eventDefaults = (event: ApiObject): ApiObject => {
  const fields = event as Json
  fields['involvedObject'] ??= {}
  fields['source'] ??= {}
  fields['firstTimestamp'] ??= null
  fields['lastTimestamp'] ??= null
  fields['eventTime'] ??= null
  fields['reportingComponent'] ??= ''
  fields['reportingInstance'] ??= ''
  return event
}
