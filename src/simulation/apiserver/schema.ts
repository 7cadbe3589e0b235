import { readFileSync } from 'node:fs'
import { type Json, isJson, put } from './json.ts'
import { badRequest } from './failure.ts'
import { canonicalQuantity } from './quantity.ts'

/**
 * What upstream's OpenAPI says about the fields of built-in types (schemas/kubernetes.json, made by schemas/generate.ts): which
 * fields there are, of what type, and how patches merge them.
 */
export interface Schema {
  type?: string
  format?: string
  description?: string
  properties?: Record<string, Schema>
  items?: Schema
  additionalProperties?: Schema
  required?: string[]
  oneOf?: Schema[]
  allOf?: Schema[]
  $ref?: string
  'x-kubernetes-patch-merge-key'?: string
  'x-kubernetes-patch-strategy'?: string
  'x-kubernetes-list-type'?: string
  'x-kubernetes-list-map-keys'?: string[]
  'x-kubernetes-int-or-string'?: boolean
  'x-kubernetes-preserve-unknown-fields'?: boolean
  'x-kubernetes-embedded-resource'?: boolean
  'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[]
}

type Shape =
  | 'bytes'
  | 'struct'
  | 'map'
  | 'list'
  | 'string'
  | 'int32'
  | 'int64'
  | 'bool'
  | 'quantity'
  | 'int-or-string'
  | 'time'
  | 'any'

/** A type, ready for walking. `any` takes everything as it is. */
export interface TypeNode {
  readonly shape: Shape
  /** of a struct, the long name of its schema: `io.k8s.api.core.v1.Container` */
  readonly name: string
  /** the Go name, for decoding errors: `v1.Container` */
  readonly goName: string
  readonly fields: ReadonlyMap<string, FieldNode>
  /** of maps and lists */
  readonly element: TypeNode | undefined
  /** of a custom resource: what has another type is left as it is, for validation to complain about */
  readonly custom?: { readonly keepsUnknown: boolean }
}
export interface FieldNode {
  readonly type: TypeNode
  /** by which field items of the list are the same item; undefined: the list is replaced whole */
  readonly mergeKey: string | undefined
  /** lists of plain values that are merged as sets */
  readonly mergesValues: boolean
  /** an object that is replaced whole or whose keys not mentioned go (`retainKeys`) */
  readonly retainsKeys: boolean
}

const anything: TypeNode = { shape: 'any', name: '', goName: 'interface {}', fields: new Map(), element: undefined }

let loaded: Map<string, Schema> | undefined
/** All schemas by their long name, `io.k8s.api.core.v1.Pod`. */
export const schemas = (): ReadonlyMap<string, Schema> => {
  loaded ??= new Map(
    Object.entries(
      JSON.parse(readFileSync(new URL('schemas/kubernetes.json', import.meta.url), 'utf8')) as Record<string, Schema>,
    ),
  )
  return loaded
}

const compiled = new Map<string, TypeNode>()

const compileNamed = (name: string): TypeNode => {
  const known = compiled.get(name)
  if (known !== undefined) return known
  const schema = schemas().get(name)
  const parts = name.split('.')
  const goName = `${parts.at(-2)}.${parts.at(-1)}`
  const leaf = (shape: Shape): TypeNode => ({ ...anything, shape, goName })
  let node: TypeNode
  if (name.endsWith('.Quantity')) node = leaf('quantity')
  else if (name.endsWith('.IntOrString')) node = leaf('int-or-string')
  else if (name.endsWith('.Time') || name.endsWith('.MicroTime')) node = leaf('time')
  else if (schema?.properties === undefined) node = anything
  else {
    const fields = new Map<string, FieldNode>()
    node = { shape: 'struct', name, goName, fields, element: undefined }
    // Before its fields: types may contain themselves.
    compiled.set(name, node)
    for (const [field, inner] of Object.entries(schema.properties)) fields.set(field, compileField(inner))
  }
  compiled.set(name, node)
  return node
}

const referenced = (schema: Schema): string | undefined =>
  (schema.$ref ?? schema.allOf?.[0]?.$ref)?.replace('#/components/schemas/', '')

const compile = (schema: Schema): TypeNode => {
  const name = referenced(schema)
  if (name !== undefined) return compileNamed(name)
  const leaf = (shape: Shape, goName: string): TypeNode => ({ ...anything, shape, goName })
  switch (schema.type) {
    case 'string':
      return schema.format === 'byte' ? leaf('bytes', '[]uint8') : leaf('string', 'string')
    case 'boolean':
      return leaf('bool', 'bool')
    case 'integer':
      return schema.format === 'int64' ? leaf('int64', 'int64') : leaf('int32', 'int32')
    case 'array': {
      const element = compile(schema.items ?? {})
      return { shape: 'list', name: '', goName: `[]${element.goName}`, fields: anything.fields, element }
    }
    case 'object': {
      if (schema.additionalProperties === undefined) return anything
      const element = compile(schema.additionalProperties)
      return { shape: 'map', name: '', goName: `map[string]${element.goName}`, fields: anything.fields, element }
    }
    default:
      return anything
  }
}

const compileField = (schema: Schema): FieldNode => {
  const strategy = (schema['x-kubernetes-patch-strategy'] ?? '').split(',')
  const type = compile(schema)
  const merges = strategy.includes('merge')
  return {
    type,
    mergeKey: merges ? schema['x-kubernetes-patch-merge-key'] : undefined,
    mergesValues: merges && schema['x-kubernetes-patch-merge-key'] === undefined && type.shape === 'list',
    retainsKeys: strategy.includes('retainKeys'),
  }
}

/** The type of a kind. Kinds without a schema take every field. */
export const typeOf = (schemaName: string): TypeNode =>
  schemas().has(schemaName) ? compileNamed(schemaName) : anything

const METADATA = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'
const asField = (type: TypeNode): FieldNode => ({ type, mergeKey: undefined, mergesValues: false, retainsKeys: false })

/** What stays of a custom object by its structural schema, and how its lists merge. */
const compileCustom = (schema: Schema, goName: string): TypeNode => {
  const keepsUnknown = schema['x-kubernetes-preserve-unknown-fields'] === true
  const custom = { keepsUnknown }
  if (schema['x-kubernetes-int-or-string'] === true) return anything
  if (schema.type === 'array') {
    const element = compileCustom(schema.items ?? {}, goName)
    return { shape: 'list', name: '', goName, fields: anything.fields, element, custom }
  }
  const others: unknown = schema.additionalProperties
  if (schema.type !== 'object' || others === true) return anything
  if (typeof others === 'object' && others !== null) {
    const element = compileCustom(others, goName)
    return { shape: 'map', name: '', goName, fields: anything.fields, element, custom }
  }
  const fields = new Map<string, FieldNode>()
  if (schema['x-kubernetes-embedded-resource'] === true)
    for (const field of ['apiVersion', 'kind', 'metadata']) fields.set(field, asField(anything))
  for (const [field, inner] of Object.entries(schema.properties ?? {})) {
    const keys = inner['x-kubernetes-list-map-keys']
    const isMap = inner['x-kubernetes-list-type'] === 'map' && keys?.length === 1
    fields.set(field, {
      type: compileCustom(inner, goName),
      mergeKey: isMap ? keys[0] : undefined,
      mergesValues: inner['x-kubernetes-list-type'] === 'set',
      retainsKeys: false,
    })
  }
  return { shape: 'struct', name: '', goName, fields, element: undefined, custom }
}

/** The type of a custom resource's objects. @param schema of its version */
export const customTypeOf = (schema: Schema, kind: string): TypeNode => {
  const root = compileCustom({ ...schema, type: 'object' }, kind)
  const fields = new Map(root.fields)
  for (const field of ['apiVersion', 'kind']) fields.set(field, asField(anything))
  fields.set('metadata', asField(compileNamed(METADATA)))
  return { ...root, shape: 'struct', fields, element: undefined }
}

const jsonTypeOf = (value: unknown): string =>
  Array.isArray(value) ? 'array' : typeof value === 'boolean' ? 'bool' : typeof value

/** @returns the value in the form it is stored; undefined for null @throws ApiFailure 400 in the words of Go's decoder */
const decodeValue = (
  type: TypeNode,
  value: unknown,
  struct: string,
  path: string,
  goPath: string,
  unknown: string[],
): unknown => {
  if (value === null || type.shape === 'any') return value
  const mismatch = (): unknown => {
    if (type.custom !== undefined) return value
    const where = goPath === '' ? 'Go value' : `Go struct field ${struct}.${goPath}`
    throw new TypeError(`json: cannot unmarshal ${jsonTypeOf(value)} into ${where} of type ${type.goName}`)
  }
  switch (type.shape) {
    case 'struct': {
      if (!isJson(value)) return mismatch()
      const name = type.goName.slice(type.goName.lastIndexOf('.') + 1)
      for (const field of Object.keys(value)) {
        const known = type.fields.get(field)
        const fieldPath = path === '' ? field : `${path}.${field}`
        if (known === undefined) {
          if (type.custom?.keepsUnknown === true) continue
          if (unknown.length < 100) unknown.push(fieldPath)
          delete value[field]
          continue
        }
        const decoded = decodeValue(
          known.type,
          value[field],
          name,
          fieldPath,
          type.custom !== undefined ? '' : goPath === '' ? field : `${goPath}.${field}`,
          unknown,
        )
        // Go writes some times that are unset as null (lastProbeTime of conditions); all else that is null is left out.
        // What may be null in a custom object its schema says.
        if (decoded === null && known.type.shape !== 'time' && type.custom === undefined) delete value[field]
        else put(value, field, decoded)
      }
      return value
    }
    case 'map':
      if (!isJson(value)) return mismatch()
      for (const key of Object.keys(value)) {
        // Go reads null into a map of strings as the empty string.
        const decoded =
          type.element === undefined
            ? value[key]
            : decodeValue(type.element, value[key], struct, `${path}.${key}`, goPath, unknown)
        put(value, key, decoded === null && type.element?.shape === 'string' ? '' : decoded)
      }
      return value
    case 'list': {
      if (!Array.isArray(value)) return mismatch()
      const items = value as unknown[]
      const element = type.element ?? anything
      for (let i = 0; i < items.length; i++) {
        items[i] = decodeValue(element, items[i], struct, `${path}[${i}]`, goPath, unknown)
        if (items[i] === null && type.custom === undefined)
          items[i] = element.shape === 'struct' || element.shape === 'map' ? {} : element.shape === 'string' ? '' : 0
      }
      return value
    }
    case 'string':
    case 'bytes':
      return typeof value === 'string' ? value : mismatch()
    case 'bool':
      return typeof value === 'boolean' ? value : mismatch()
    case 'int32':
    case 'int64': {
      if (typeof value !== 'number') return mismatch()
      const limit = type.shape === 'int32' ? 0x8000_0000 : Number.MAX_SAFE_INTEGER
      if (!Number.isInteger(value) || value >= limit || value < -limit)
        throw new TypeError(
          `json: cannot unmarshal number ${value} into Go struct field ${struct}.${goPath} of type ${type.goName}`,
        )
      return value
    }
    case 'int-or-string':
      return typeof value === 'string' || Number.isInteger(value) ? value : mismatch()
    case 'quantity':
      if (typeof value !== 'string' && typeof value !== 'number') return mismatch()
      return canonicalQuantity(value)
    case 'time':
      if (typeof value !== 'string') return mismatch()
      if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value))
        throw new TypeError(`parsing time "${value}" as "2006-01-02T15:04:05Z07:00": cannot parse "${value}" as "2006"`)
      return value
    default:
      return value
  }
}

/** What becomes of fields that a type does not have: `Strict` refuses them, `Warn` and `Ignore` drop them. */
export type FieldValidation = 'Strict' | 'Warn' | 'Ignore'

/**
 * Brings a body from outside into the form it is stored in: unknown fields and nulls go, quantities become canonical, types are
 * checked. Works in place.
 * @returns the unknown fields @throws ApiFailure 400
 */
export const decode = (
  type: TypeNode,
  body: Json,
  kind: string,
  version: string,
  validation: FieldValidation,
): string[] => {
  const unknown: string[] = []
  const refuse = (why: string): never => {
    throw badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: ${why}`)
  }
  try {
    decodeValue(type, body, kind, '', '', unknown)
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) refuse(error.message)
    throw error
  }
  if (validation === 'Strict' && unknown.length > 0)
    refuse(`strict decoding error: ${unknown.map((field) => `unknown field "${field}"`).join(', ')}`)
  return unknown
}

/** The first name under which a kind has a schema: `io.k8s.api.core.v1.Pod`. */
export const schemaNameOf = (group: string, version: string, kind: string): string => {
  for (const [name, schema] of schemas()) {
    if (!name.endsWith(`.${kind}`)) continue
    if (
      schema['x-kubernetes-group-version-kind']?.some(
        (gvk) => gvk.group === group && gvk.version === version && gvk.kind === kind,
      )
    )
      return name
  }
  return ''
}
