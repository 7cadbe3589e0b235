import { type ApiObject, type Json, isJson, jsonAt, listAt, textAt } from '../json.ts'
import type { FieldErrors } from './field-errors.ts'
import { labelNameComplaints, labelValueComplaints, qualifiedNameComplaints, subdomainComplaints } from './names.ts'

export type NameRule = 'subdomain' | 'label' | 'any'

const pathSegmentComplaints = (name: string): string[] =>
  name === '.' || name === '..'
    ? [`may not be '${name}'`]
    : ['/', '%'].filter((c) => name.includes(c)).map((c) => `may not contain '${c}'`)

const complaintsAbout = (rule: NameRule, name: string): string[] =>
  rule === 'subdomain'
    ? subdomainComplaints(name)
    : rule === 'label'
      ? labelNameComplaints(name)
      : pathSegmentComplaints(name)

/** Labels of metadata or a selector of plain labels. */
export const checkLabels = (labels: Json, field: string, errors: FieldErrors): void => {
  for (const [key, value] of Object.entries(labels)) {
    errors.invalidAll(field, key, qualifiedNameComplaints(key))
    if (typeof value === 'string') errors.invalidAll(field, value, labelValueComplaints(value))
  }
}

const standardFinalizers = new Set(['kubernetes', 'orphan', 'foregroundDeletion'])
const annotationsLimitBytes = 256 * 1024

/** metadata of any object (apimachinery ValidateObjectMeta). */
export const checkMetadata = (object: ApiObject, namespaced: boolean, rule: NameRule, errors: FieldErrors): void => {
  const { metadata } = object
  if (metadata.generateName !== undefined && metadata.generateName !== '') {
    // A prefix may end where a name may not.
    const prefix = metadata.generateName.endsWith('-')
      ? `${metadata.generateName.slice(0, -1)}a`
      : metadata.generateName
    errors.invalidAll('metadata.generateName', metadata.generateName, complaintsAbout(rule, prefix))
  }
  if (metadata.name === undefined || metadata.name === '')
    errors.required('metadata.name', 'name or generateName is required')
  else errors.invalidAll('metadata.name', metadata.name, complaintsAbout(rule, metadata.name))
  if (namespaced) {
    if (metadata.namespace === undefined || metadata.namespace === '') errors.required('metadata.namespace')
    else errors.invalidAll('metadata.namespace', metadata.namespace, labelNameComplaints(metadata.namespace))
  } else if (metadata.namespace !== undefined && metadata.namespace !== '')
    errors.forbidden('metadata.namespace', 'not allowed on this type')
  if (metadata.labels !== undefined) checkLabels(metadata.labels, 'metadata.labels', errors)
  checkAnnotations(metadata.annotations ?? {}, errors)
  for (const [i, owner] of listAt(metadata, 'ownerReferences').entries()) {
    const field = `metadata.ownerReferences[${i}]`
    for (const part of ['apiVersion', 'kind', 'name', 'uid'])
      if (textAt(owner, part) === '') errors.required(`${field}.${part}`, 'must not be empty')
  }
  for (const [i, finalizer] of (metadata.finalizers ?? []).entries()) {
    const field = `metadata.finalizers[${i}]`
    const complaints = qualifiedNameComplaints(finalizer)
    errors.invalidAll(field, finalizer, complaints)
    if (complaints.length === 0 && !finalizer.includes('/') && !standardFinalizers.has(finalizer))
      errors.invalid(field, finalizer, 'name is neither a standard finalizer name nor is it fully qualified')
  }
}

const checkAnnotations = (annotations: Record<string, string>, errors: FieldErrors): void => {
  let bytes = 0
  for (const [key, value] of Object.entries(annotations)) {
    errors.invalidAll('metadata.annotations', key, qualifiedNameComplaints(key.toLowerCase()))
    bytes += key.length + value.length
  }
  if (bytes > annotationsLimitBytes)
    errors.invalid('metadata.annotations', bytes, `may not be more than ${annotationsLimitBytes} bytes`)
}

/** What an update may not change (ValidateObjectMetaUpdate). */
export const checkMetadataUpdate = (object: ApiObject, old: ApiObject, errors: FieldErrors): void => {
  for (const field of [
    'name',
    'namespace',
    'uid',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
  ] as const) {
    const value = object.metadata[field]
    if ((value ?? '') !== (old.metadata[field] ?? ''))
      errors.invalid(`metadata.${field}`, value ?? '', 'field is immutable')
  }
  if (old.metadata.deletionTimestamp !== undefined) {
    const added = (object.metadata.finalizers ?? []).filter(
      (finalizer) => !old.metadata.finalizers?.includes(finalizer),
    )
    if (added.length > 0)
      errors.forbidden(
        'metadata.finalizers',
        `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((f) => `"${f}"`).join(', ')}}`,
      )
  }
}

/** A label selector with matchLabels and matchExpressions. */
export const checkLabelSelector = (selector: unknown, field: string, errors: FieldErrors): void => {
  if (!isJson(selector)) return
  checkLabels(jsonAt(selector, 'matchLabels'), `${field}.matchLabels`, errors)
  for (const [i, requirement] of listAt(selector, 'matchExpressions').entries()) {
    const here = `${field}.matchExpressions[${i}]`
    const values = Array.isArray(requirement['values']) ? requirement['values'] : []
    const operator = textAt(requirement, 'operator')
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) errors.required(`${here}.values`, "must be specified when `operator` is 'In' or 'NotIn'")
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0)
        errors.forbidden(`${here}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    } else errors.invalid(`${here}.operator`, operator, 'not a valid selector operator')
    errors.invalidAll(`${here}.key`, textAt(requirement, 'key'), qualifiedNameComplaints(textAt(requirement, 'key')))
    for (const [j, value] of values.entries())
      if (typeof value === 'string') errors.invalidAll(`${here}.values[${j}]`, value, labelValueComplaints(value))
  }
}
