import { isDeepStrictEqual } from 'node:util'
import { type ApiObject, type Json, at, isJson, jsonAt, listAt, textAt, textsAt } from '../json.ts'
import type { FieldErrors } from './field-errors.ts'
import { labelNameComplaints, subdomainComplaints } from './names.ts'

const SCOPES = ['Cluster', 'Namespaced']
const APPROVAL = 'api-approved.kubernetes.io'
/** What a printer column may be of. */
const COLUMN_TYPES = ['integer', 'number', 'string', 'boolean', 'date']

/** A CustomResourceDefinition, in the words of apiextensions' validation; what a schema may say is checked as far as its structure. */
export const checkDefinition = (definition: ApiObject, errors: FieldErrors): void => {
  const spec = jsonAt(definition, 'spec')
  const group = textAt(spec, 'group')
  const plural = textAt(spec, 'names', 'plural')
  const name = definition.metadata.name ?? ''
  if (name !== `${plural}.${group}`) errors.invalid('metadata.name', name, 'must be spec.names.plural+"."+spec.group')
  const isProtected = /(^|\.)(k8s|kubernetes)\.io$/.test(group)
  if (isProtected && (definition.metadata.annotations?.[APPROVAL] ?? '') === '')
    errors.required(
      `metadata.annotations[${APPROVAL}]`,
      `protected groups must have approval annotation "${APPROVAL}", see https://github.com/kubernetes/enhancements/pull/1111`,
    )
  if (group === '') errors.required('spec.group')
  else {
    errors.invalidAll('spec.group', group, subdomainComplaints(group))
    if (!group.includes('.')) errors.invalid('spec.group', group, 'should be a domain with at least one dot')
  }
  const scope = textAt(spec, 'scope')
  if (scope === '') errors.required('spec.scope')
  else if (!SCOPES.includes(scope)) errors.notSupported('spec.scope', scope, SCOPES)
  if (spec['preserveUnknownFields'] === true)
    errors.invalid(
      'spec.preserveUnknownFields',
      true,
      'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead',
    )
  checkVersions(spec, errors)
  checkNames(jsonAt(spec, 'names'), errors)
  if (textsAt(definition, 'status', 'storedVersions').length === 0)
    errors.invalid('status.storedVersions', null, 'must have at least one stored version')
}

const checkNames = (names: Json, errors: FieldErrors): void => {
  for (const field of ['plural', 'singular', 'kind', 'listKind'] as const) {
    const name = textAt(names, field)
    const path = `spec.names.${field}`
    if (name === '') errors.required(path)
    // A kind is one that would be a label if it were written small.
    else errors.invalidAll(path, name, labelNameComplaints(field.endsWith('ind') ? name.toLowerCase() : name))
  }
  for (const field of ['shortNames', 'categories'] as const)
    for (const [i, name] of textsAt(names, field).entries())
      errors.invalidAll(`spec.names.${field}[${i}]`, name, labelNameComplaints(name))
  const kind = textAt(names, 'kind')
  if (kind !== '' && kind === textAt(names, 'listKind'))
    errors.invalid('spec.names.listKind', kind, 'kind and listKind may not be the same')
}

const checkVersions = (spec: Json, errors: FieldErrors): void => {
  const versions = listAt(spec, 'versions')
  const schemas = versions.map((version) => at(version, 'schema', 'openAPIV3Schema'))
  // Go keeps what all versions share in one place, and complains about it there.
  const shared = schemas.every((schema) => isDeepStrictEqual(schema, schemas[0]))
  const seen = new Set<string>()
  for (const [i, version] of versions.entries()) {
    const path = `spec.versions[${i}]`
    const name = textAt(version, 'name')
    errors.invalidAll(`${path}.name`, name, labelNameComplaints(name))
    if (seen.has(name)) errors.invalid('spec.versions', versions, 'must contain unique version names')
    seen.add(name)
    const schema = schemas[i]
    if (!isJson(schema)) errors.required(`${path}.schema.openAPIV3Schema`)
    else if (!shared || i === 0)
      checkStructure(
        schema,
        shared ? 'spec.validation.openAPIV3Schema' : `${path}.schema.openAPIV3Schema`,
        'the root',
        errors,
      )
    for (const [c, column] of listAt(version, 'additionalPrinterColumns').entries()) {
      const type = textAt(column, 'type')
      const at = `${path}.additionalPrinterColumns[${c}]`
      if (textAt(column, 'name') === '') errors.required(`${at}.name`)
      if (type === '') errors.required(`${at}.type`, `must be one of ${COLUMN_TYPES.join(',')}`)
      else if (!COLUMN_TYPES.includes(type))
        errors.invalid(`${at}.type`, type, `must be one of ${COLUMN_TYPES.join(',')}`)
      if (textAt(column, 'jsonPath') === '') errors.required(`${at}.JSONPath`)
    }
  }
  if (versions.filter((version) => version['storage'] === true).length !== 1)
    errors.invalid(
      'spec.versions',
      versions.length === 0 ? null : versions,
      'must have exactly one version marked as storage version',
    )
}

/** A schema is structural where each part says of what type it is. */
const checkStructure = (schema: Json, path: string, what: string, errors: FieldErrors): void => {
  const free = schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true
  if (textAt(schema, 'type') === '' && (what === 'the root' || !free))
    errors.required(
      `${path}.type`,
      what === 'the root' ? 'must not be empty at the root' : `must not be empty for specified ${what}`,
    )
  else if (what === 'the root' && schema['type'] !== 'object')
    errors.invalid(`${path}.type`, schema['type'], 'must be object at the root')
  for (const [field, inner] of Object.entries(jsonAt(schema, 'properties')))
    if (isJson(inner)) checkStructure(inner, `${path}.properties[${field}]`, 'object fields', errors)
  const items = schema['items']
  if (isJson(items)) checkStructure(items, `${path}.items`, 'array items', errors)
  const others = schema['additionalProperties']
  if (isJson(others)) checkStructure(others, `${path}.additionalProperties`, 'object fields', errors)
}

/** What objects are stored under may not change beneath them. */
export const checkDefinitionUpdate = (definition: ApiObject, old: ApiObject, errors: FieldErrors): void => {
  for (const path of [['scope'], ['group'], ['names', 'kind'], ['names', 'plural']]) {
    const value = at(definition, 'spec', ...path)
    if (value !== at(old, 'spec', ...path)) errors.invalid(`spec.${path.join('.')}`, value, 'field is immutable')
  }
}
