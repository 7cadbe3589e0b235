import { isDeepStrictEqual } from 'node:util'
import { ApiFailure, type FieldError } from '../failure.ts'
import { goFloat, goJson, isInt64, quoted, shown } from './go-text.ts'
import { type Json, isJson, jsonAt, listAt, numberAt, put, textAt, textsAt } from '../json.ts'
import { decode, typeOf } from '../schema.ts'
import { stringFormats } from './string-formats.ts'
import { FieldErrors } from '../validation/field-errors.ts'
import { checkMetadata } from '../validation/metadata.ts'

// The structural schema of a version of a CustomResourceDefinition comes from a client: a keyword whose value is of the wrong type
// counts as absent.

const schemaAt = (schema: Json, keyword: string): Json | undefined => {
  const found = Object.hasOwn(schema, keyword) ? schema[keyword] : undefined
  return isJson(found) ? found : undefined
}
/** The schema of a field: its own or that of additionalProperties. */
const schemaOf = (schema: Json, field: string): Json | undefined => {
  const properties = jsonAt(schema, 'properties')
  return Object.hasOwn(properties, field) ? schemaAt(properties, field) : schemaAt(schema, 'additionalProperties')
}

/** What stands for a null, or for nothing: a copy of the default, undefined where there is none. */
const defaultOf = (schema: Json): unknown => structuredClone(schema['default'] ?? undefined)

/**
 * Fills in defaults, in place: what is absent, and what is null although it may not be. Such a null without a default goes. A
 * default that is an object gets the defaults of its own fields (apiextensions' schema/defaulting).
 */
export const fillIn = (schema: Json, value: unknown): void => {
  if (Array.isArray(value)) {
    const items = schemaAt(schema, 'items')
    if (items === undefined) return
    for (const [i, item] of value.entries()) {
      // kube-apiserver leaves a null in a list where no default replaces it; validation complains.
      if (item === null && items['nullable'] !== true) value[i] = defaultOf(items) ?? null
      fillIn(items, value[i])
    }
  } else if (isJson(value)) {
    for (const [field, inner] of Object.entries(jsonAt(schema, 'properties'))) {
      const absent = !Object.hasOwn(value, field) && isJson(inner) ? defaultOf(inner) : undefined
      if (absent !== undefined) put(value, field, absent)
    }
    for (const field of Object.keys(value)) {
      const inner = schemaOf(schema, field)
      if (inner === undefined) continue
      if (value[field] === null && inner['nullable'] !== true) {
        const replacement = defaultOf(inner)
        if (replacement === undefined) delete value[field]
        else put(value, field, replacement)
      }
      fillIn(inner, value[field])
    }
  }
}

/** Nobody reads more, see FieldErrors; it bounds what one hostile object can cost. */
const limit = 100

/** Where complaints go that kube-openapi does not tie to a field. */
const nowhere = '<nil>'

/**
 * What validation against one schema found: kube-openapi's errors by their text, under which each is said once, and the number
 * of checks that passed (its MatchCount), by which anyOf and oneOf choose whose errors to quote.
 */
class Findings {
  readonly errors = new Map<string, FieldError>()
  passed = 0

  get good(): boolean {
    return this.errors.size === 0
  }
  add(path: string, reason: string, text: string, message: string): void {
    if (this.errors.has(text) || this.errors.size >= limit) return
    this.errors.set(text, { reason, field: path === '' ? nowhere : path.replace(/^\./, ''), message })
  }
  invalid(path: string, value: unknown, text: string, reason = 'FieldValueInvalid'): void {
    this.add(path, reason, text, `Invalid value: ${shown(value)}: ${text}`)
  }
  wrongType(path: string, expected: string, found: string): void {
    this.invalid(path, found, `${path} in body must be of type ${expected}: ${quoted(found)}`, 'FieldValueTypeInvalid')
  }
  tooMany(path: string, what: string, count: number, most: number): void {
    const detail = `must have at most ${most} ${most === 1 ? 'item' : 'items'}`
    this.add(path, 'FieldValueTooMany', `${path} ${what} ${most}`, `Too many: ${count}: ${detail}`)
  }
  merge(other: Findings): void {
    for (const [text, error] of other.errors)
      if (this.errors.size < limit && !this.errors.has(text)) this.errors.set(text, error)
    this.passed += other.passed
  }
}

/** The format of a schema, empty where its type has no such format: kube-apiserver ignores it there. */
const formatOf = (schema: Json, types: readonly string[]): string => {
  const format = textAt(schema, 'format')
  const type = types.length === 1 ? types[0] : 'string'
  const known =
    type === 'string'
      ? stringFormats.has(format.replaceAll('-', ''))
      : type === 'integer'
        ? format === 'int32' || format === 'int64'
        : type === 'number' && (format === 'float' || format === 'double')
  return known ? format : ''
}

const kindOf = (value: unknown): string =>
  Array.isArray(value) ? 'array' : isInt64(value) ? 'integer' : isJson(value) ? 'object' : typeof value

/** go-openapi's IsFloat64AJSONInteger */
const isNearlyInteger = (value: number): boolean => {
  const rounded = Math.round(value)
  return Number.isSafeInteger(rounded) && Math.abs(value - rounded) <= 1e-9 * Math.abs(rounded)
}

const checkType = (types: readonly string[], format: string, value: unknown, path: string, found: Findings): void => {
  const kind = kindOf(value)
  const known = kind === 'integer' ? 'int64' : kind === 'number' ? 'float64' : ''
  const fits =
    types.includes(kind) ||
    (kind === 'integer' && types.includes('number')) ||
    (typeof value === 'number' && types.includes('integer') && isNearlyInteger(value))
  const numeric = types.includes('number') || types.includes('integer')
  const plain = kind !== 'string' && kind !== 'array'
  if (fits || (format !== '' && !plain && !numeric)) found.passed++
  else if (format !== '' && plain) found.wrongType(path, format, known)
  else found.wrongType(path, types.join(','), kind)
}

const checkEnum = (schema: Json, value: unknown, path: string, found: Findings): void => {
  const allowed = Array.isArray(schema['enum']) ? (schema['enum'] as unknown[]) : []
  if (allowed.length === 0) return
  for (const choice of allowed) {
    // Go converts the value to the type of the choice first, and so cuts off a fraction.
    const converted = typeof value === 'number' && isInt64(choice) ? Math.trunc(value) : value
    if (value !== null && isDeepStrictEqual(converted, choice)) return
  }
  const choices = allowed.map((choice) => quoted(typeof choice === 'string' ? choice : goJson(choice))).join(', ')
  const message = `Unsupported value: ${shown(value)}: supported values: ${choices}`
  found.add(path, 'FieldValueNotSupported', `${path} should be one of ${choices}`, message)
}

/**
 * A regular expression of Go in the words of JavaScript; undefined where there is none: what JavaScript reads otherwise or not at
 * all constrains nothing.
 */
const translated = (pattern: string): RegExp | undefined => {
  if (pattern === '' || /\\[QC]|\[:/.test(pattern)) return undefined
  const flags = /^\(\?([ims]+)\)/.exec(pattern)?.[1] ?? ''
  const own: Readonly<Record<string, string>> = { '\\A': '^', '\\z': '$', '\\x{': '\\u{', '(?P<': '(?<' }
  const source = (flags === '' ? pattern : pattern.slice(flags.length + 3)).replaceAll(
    /\\[pP][A-Z]|\\x\{|\\[\s\S]|\(\?P</g,
    (part) => own[part] ?? part.replace(/^(\\p)([A-Z])/i, '$1{$2}'),
  )
  // Without `u` more is allowed, but classes like \p{L} mean something else.
  for (const mode of /\\p|\\u\{/i.test(source) ? ['u'] : ['u', ''])
    try {
      return new RegExp(source, flags + mode)
    } catch {
      // The next mode may take it.
    }
  return undefined
}
const patterns = new WeakMap<Json, { readonly compiled: RegExp | undefined }>()
const patternOf = (schema: Json): RegExp | undefined => {
  let known = patterns.get(schema)
  if (known === undefined) patterns.set(schema, (known = { compiled: translated(textAt(schema, 'pattern')) }))
  return known.compiled
}

/** Longer texts are held against no pattern: JavaScript backtracks, Go does not. A short text can still be slow. */
const patternLimit = 64 * 1024

const checkString = (schema: Json, value: string, path: string, found: Findings): void => {
  const most = numberAt(schema, 'maxLength')
  const least = numberAt(schema, 'minLength')
  let length = 0
  for (const _ of most === undefined && least === undefined ? '' : value) length++
  if (most !== undefined && length > most) {
    const message = `Too long: may not be more than ${most} ${most === 1 ? 'byte' : 'bytes'}`
    found.add(path, 'FieldValueTooLong', `${path} in body should be at most ${most} chars long`, message)
  } else if (least !== undefined && length < least)
    found.invalid(path, value, `${path} in body should be at least ${least} chars long`)
  else if (value.length <= patternLimit && patternOf(schema)?.test(value) === false)
    found.invalid(path, value, `${path} in body should match '${textAt(schema, 'pattern')}'`)
}

const checkNumber = (schema: Json, types: readonly string[], value: number, path: string, found: Findings): void => {
  const type = types.length === 1 ? types[0] : undefined
  const format = type === undefined ? '' : formatOf(schema, types)
  const inRange = (number: number, what: string): boolean => {
    const good =
      type === 'integer'
        ? isInt64(number) && (format !== 'int32' || (number >= -(2 ** 31) && number < 2 ** 31))
        : format !== 'float' || Math.abs(number) <= 3.4028234663852886e38
    const described = format === '' ? '(default format)' : `with format ${format}`
    if (!good) found.invalid('', '', `${what} value must be of type ${type} ${described} in ${path}`)
    return good
  }
  inRange(value, 'Checked')
  /** What a keyword says and how both numbers are written: cut to integers where Go compares integers. */
  const boundOf = (keyword: string, what: string): [bound: number, text: string, written: string] | undefined => {
    const bound = numberAt(schema, keyword)
    if (bound === undefined) return undefined
    if (!inRange(bound, what) || !isInt64(value)) return [bound, goFloat(bound), goFloat(value)]
    return [Math.trunc(bound), String(Math.trunc(bound)), String(value)]
  }
  const refuse = (rule: string, written = ''): void => {
    const text = `${path} in body should be ${rule}`
    found.add(path, 'FieldValueInvalid', text, `Invalid value: ${written}: ${text}`)
  }
  const [factor = 1, factorText, factorWritten] = boundOf('multipleOf', 'MultipleOf') ?? []
  const isMultiple = (): boolean =>
    isInt64(value) && isInt64(factor)
      ? value % factor === 0
      : isNearlyInteger(factor < 1 ? (1 / factor) * value : value / factor)
  if (factor <= 0) found.invalid(path, factor, `factor MultipleOf declared for ${path} must be positive: ${factorText}`)
  else if (factorText !== undefined && !isMultiple()) refuse(`a multiple of ${factorText}`, factorWritten)
  const [least, leastText, leastWritten] = boundOf('minimum', 'Minimum boundary') ?? []
  const above = schema['exclusiveMinimum'] === true
  if (least !== undefined && (value < least || (above && value === least)))
    refuse(`greater than ${above ? '' : 'or equal to '}${leastText}`, leastWritten)
  const [most, mostText, mostWritten] = boundOf('maximum', 'Maximum boundary') ?? []
  const below = schema['exclusiveMaximum'] === true
  if (most !== undefined && (value > most || (below && value === most)))
    refuse(`less than ${below ? '' : 'or equal to '}${mostText}`, mostWritten)
  found.passed++
}

const checkArray = (schema: Json, value: readonly unknown[], path: string, found: Findings): void => {
  const items = schemaAt(schema, 'items')
  if (items !== undefined) for (const [i, item] of value.entries()) found.merge(check(items, item, `${path}[${i}]`))
  const least = numberAt(schema, 'minItems')
  if (least !== undefined && value.length < least)
    found.invalid(path, value.length, `${path} in body should have at least ${least} items`)
  const most = numberAt(schema, 'maxItems')
  if (most !== undefined && value.length > most) found.tooMany(path, 'items', value.length, most)
  found.passed++
}

/** Of the object itself: other rules than its schema's hold for these. */
const rootFields = new Set(['apiVersion', 'kind', 'metadata'])

const checkObject = (schema: Json, value: Json, path: string, found: Findings): void => {
  const fields = Object.keys(value)
  const least = numberAt(schema, 'minProperties')
  if (least !== undefined && fields.length < least)
    found.invalid(path, fields.length, `${path} in body should have at least ${least} properties`)
  const most = numberAt(schema, 'maxProperties')
  if (most !== undefined && fields.length > most) found.tooMany(path, 'properties', fields.length, most)
  const properties = jsonAt(schema, 'properties')
  for (const field of fields) {
    const inner = path === '' && rootFields.has(field) ? undefined : schemaOf(schema, field)
    const own = path === '' && Object.hasOwn(properties, field)
    if (inner !== undefined) found.merge(check(inner, value[field], own ? field : `${path}.${field}`))
  }
  for (const field of textsAt(schema, 'required'))
    if (!Object.hasOwn(value, field))
      found.add(`${path}.${field}`, 'FieldValueRequired', `${path}.${field} in body is required`, 'Required value')
}

/** allOf, anyOf, oneOf and not. Where no alternative fits, the errors of the one are quoted of which most fits. */
const checkCombined = (schema: Json, value: unknown, path: string, found: Findings): void => {
  const say = (what: string): void => found.invalid('', '', `${quoted(path)} ${what}`)
  const closest = (results: readonly Findings[]): Findings | undefined => {
    let best: Findings | undefined
    for (const result of results) if (best === undefined || result.passed > best.passed) best = result
    return best
  }
  const against = (keyword: string): Findings[] => listAt(schema, keyword).map((inner) => check(inner, value, path))
  const any = against('anyOf')
  const fitting = any.find((result) => result.good) ?? closest(any)
  if (fitting?.good === false) say('must validate at least one schema (anyOf)')
  if (fitting !== undefined) found.merge(fitting)
  const one = against('oneOf')
  const good = one.filter((result) => result.good)
  if (one.length > 0 && good.length !== 1)
    say(
      `must validate one and only one schema (oneOf). Found ${good.length === 0 ? 'none valid' : `${good.length} valid alternatives`}`,
    )
  const quotedOne = good.length === 0 ? closest(one) : good.length === 1 ? good[0] : undefined
  if (quotedOne !== undefined) found.merge(quotedOne)
  const all = against('allOf')
  for (const result of all) found.merge(result)
  if (all.some((result) => !result.good))
    say(`must validate all the schemas (allOf)${all.some((result) => result.good) ? '' : '. None validated'}`)
  const not = schemaAt(schema, 'not')
  if (not !== undefined && check(not, value, path).good) say('must not validate the schema (not)')
  found.passed++
}

/** kube-openapi's validation/validate: the same checks in the same order, and the same count of passed ones. */
const check = (schema: Json, value: unknown, path: string): Findings => {
  const found = new Findings()
  const type = textAt(schema, 'type')
  const types = schema['x-kubernetes-int-or-string'] === true ? ['integer', 'string'] : type === '' ? [] : [type]
  const format = formatOf(schema, types)
  if (value === null) {
    if (types.length > 0 && schema['nullable'] !== true) found.wrongType(path, types.join(','), 'null')
    else found.passed++
    checkEnum(schema, value, path, found)
    return found
  }
  if (types.length > 0 || format !== '') {
    checkType(types, format, value, path, found)
    found.passed++
  }
  checkCombined(schema, value, path, found)
  // One for the alternatives, one for what follows, one for the enum, one for the whole.
  found.passed += 4
  if (typeof value === 'string') {
    checkString(schema, value, path, found)
    const fits = format === '' ? undefined : stringFormats.get(format.replaceAll('-', ''))
    if (fits !== undefined) found.passed++
    if (fits !== undefined && !fits(value)) found.wrongType(path, format, value)
  } else if (typeof value === 'number') checkNumber(schema, types, value, path, found)
  else if (Array.isArray(value)) checkArray(schema, value, path, found)
  else if (typeof value === 'boolean') found.passed--
  checkEnum(schema, value, path, found)
  if (isJson(value)) checkObject(schema, value, path, found)
  return found
}

const complain = (errors: FieldErrors, error: FieldError): void => {
  if (errors.found.length < limit) errors.found.push(error)
}

const checkEmbedded = (value: Json, path: string, errors: FieldErrors): void => {
  const own = new FieldErrors()
  for (const field of ['apiVersion', 'kind'])
    if (!Object.hasOwn(value, field)) own.required(field)
    else if (typeof value[field] !== 'string') own.invalid(field, value[field], 'must be a string')
    else if (value[field] === '') own.invalid(field, '', 'must not be empty')
  const version = textAt(value, 'apiVersion')
  if (version.split('/').length > 2) own.invalid('apiVersion', version, `unexpected GroupVersion string: ${version}`)
  const kind = textAt(value, 'kind')
  if (kind !== '' && !/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/i.test(kind))
    own.invalid(
      'kind',
      kind,
      `may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`,
    )
  if (isJson(value['metadata'])) {
    const metadata = structuredClone(value['metadata'])
    try {
      decode(typeOf('io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'), metadata, 'ObjectMeta', 'v1', 'Ignore')
      const named = { ...metadata, name: textAt(metadata, 'name') || 'fakename' }
      checkMetadata({ metadata: named }, textAt(metadata, 'namespace') !== '', 'any', own)
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error
      own.invalid('metadata', value['metadata'], error.message)
    }
  }
  for (const error of own.found) complain(errors, { ...error, field: `${path}.${error.field}` })
}

/** Each item that is there before, once per value. */
const checkUnique = (values: readonly unknown[], path: string, errors: FieldErrors): void => {
  const times = new Map<string, number>()
  for (const [i, value] of values.entries()) {
    const identity = goJson(value)
    const before = times.get(identity) ?? 0
    times.set(identity, before + 1)
    const message = `Duplicate value: ${shown(value)}`
    if (before === 1) complain(errors, { reason: 'FieldValueDuplicate', field: `${path}[${i}]`, message })
  }
}

const keysOf = (item: unknown, keys: readonly string[]): Json => {
  const found: Json = {}
  for (const key of keys) if (isJson(item) && Object.hasOwn(item, key)) put(found, key, item[key])
  return found
}

const checkList = (schema: Json, list: readonly unknown[], path: string, errors: FieldErrors): void => {
  const type = schema['x-kubernetes-list-type']
  const odd = list.findIndex((item) => item !== null && !isJson(item))
  if (type === 'set') checkUnique(list, path, errors)
  else if (type === 'map' && odd >= 0) {
    const message = `Invalid value: ${shown(list[odd])}: must be an object for an array of list-type map`
    complain(errors, { reason: 'FieldValueInvalid', field: `${path}[${odd}]`, message })
  } else if (type === 'map') {
    const keys = textsAt(schema, 'x-kubernetes-list-map-keys')
    const found = list.map((item) => keysOf(item, keys))
    checkUnique(found, path, errors)
  }
}

/**
 * Objects within the object, and lists that are maps or sets and may hold nothing twice (apiextensions' schema/objectmeta and
 * schema/listtype). Unlike the rest, these write keys of maps in brackets: `spec.labels[app]`.
 */
const checkMarked = (schema: Json, value: unknown, path: string, errors: FieldErrors): void => {
  if (Array.isArray(value)) {
    checkList(schema, value, path, errors)
    const items = schemaAt(schema, 'items')
    if (items !== undefined) for (const [i, item] of value.entries()) checkMarked(items, item, `${path}[${i}]`, errors)
  }
  if (!isJson(value)) return
  if (schema['x-kubernetes-embedded-resource'] === true && path !== '') checkEmbedded(value, path, errors)
  const properties = jsonAt(schema, 'properties')
  for (const field of Object.keys(value)) {
    const inner = path === '' && rootFields.has(field) ? undefined : schemaOf(schema, field)
    const name = !Object.hasOwn(properties, field) ? `[${field}]` : path === '' ? field : `.${field}`
    if (inner !== undefined) checkMarked(inner, value[field], `${path}${name}`, errors)
  }
}

const blocking = new Set(
  ['NotSupported', 'Required', 'TooLong', 'TooMany', 'TypeInvalid'].map((reason) => `FieldValue${reason}`),
)

/**
 * Complains about a custom object, in kube-apiserver's words. Its apiVersion, kind and metadata are not looked at. Rules in CEL
 * (`x-kubernetes-validations`) are not evaluated: an object that only they refuse is taken.
 */
export const checkAgainst = (schema: Json, object: Json, errors: FieldErrors): void => {
  const before = errors.found.length
  for (const error of check(schema, object, '').errors.values()) complain(errors, error)
  checkMarked(schema, object, '', errors)
  const blocks = errors.found.slice(before).some(({ reason }) => blocking.has(reason))
  if (blocks && JSON.stringify(schema).includes('"x-kubernetes-validations":'))
    complain(errors, {
      reason: 'FieldValueInvalid',
      field: nowhere,
      message:
        'Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
    })
}
