import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { type ControlPlane, realControlPlane } from '../../../../test/real-control-plane.ts'
import { ContractClient } from '../contract.ts'
import { checkAgainst, fillIn } from './structural-schema.ts'
import { type Json, at, jsonAt, listAt, put, textAt } from '../json.ts'
import { FieldErrors } from '../validation/field-errors.ts'

interface Case {
  readonly title: string
  /** of the field `spec` */
  readonly schema: Json
  readonly spec: unknown
  /** every complaint as `reason field message`; none: the object is taken */
  readonly refused?: readonly string[]
  /** what is stored @default what was sent */
  readonly stored?: unknown
}

/** An object of one field. */
const field = (x: Json): Json => ({ type: 'object', properties: { x } })
const list = (items: Json, rest: Json = {}): Json => field({ type: 'array', items, ...rest })
const typed = (path: string, expected: string, found: string): string =>
  `FieldValueTypeInvalid ${path} Invalid value: "${found}": ${path} in body must be of type ${expected}: "${found}"`
const invalid = (value: string, text: string, path = 'spec.x'): string =>
  `FieldValueInvalid ${path} Invalid value: ${value}: ${path} in body should ${text}`
const nowhere = (text: string): string => `FieldValueInvalid <nil> Invalid value: "": ${text}`
const formatted = (format: string, good: string, bad: string): Case => ({
  title: `${JSON.stringify(bad)} is no ${format}, ${JSON.stringify(good)} is`,
  schema: {
    type: 'object',
    properties: { good: { type: 'string', format }, bad: { type: 'string', format } },
  },
  spec: { good, bad },
  refused: [typed('spec.bad', format, bad)],
})

const cases: readonly Case[] = [
  { title: 'a good object is taken as it is', schema: field({ type: 'integer', minimum: 1 }), spec: { x: 1 } },
  {
    title: 'a text where an integer belongs',
    schema: field({ type: 'integer' }),
    spec: { x: 'a' },
    refused: [typed('spec.x', 'integer', 'string')],
  },
  {
    title: 'a number where a text belongs',
    schema: field({ type: 'string' }),
    spec: { x: 5 },
    refused: [typed('spec.x', 'string', 'integer')],
  },
  {
    title: 'a fraction where an integer belongs is two complaints',
    schema: field({ type: 'integer' }),
    spec: { x: 2.5 },
    refused: [
      typed('spec.x', 'integer', 'number'),
      nowhere('Checked value must be of type integer (default format) in spec.x'),
    ],
  },
  { title: 'an integer is a number', schema: field({ type: 'number' }), spec: { x: 2 } },
  {
    title: 'a list where an object belongs',
    schema: field({ type: 'object' }),
    spec: { x: [] },
    refused: [typed('spec.x', 'object', 'array')],
  },
  {
    title: 'an object where a list belongs',
    schema: list({ type: 'string' }),
    spec: { x: {} },
    refused: [typed('spec.x', 'array', 'object')],
  },
  {
    title: 'a text where a boolean belongs',
    schema: field({ type: 'boolean' }),
    spec: { x: 'true' },
    refused: [typed('spec.x', 'boolean', 'string')],
  },
  {
    title: 'the spec itself is of the wrong type',
    schema: { type: 'object' },
    spec: 'a',
    refused: [typed('spec', 'object', 'string')],
  },
  {
    title: 'an integer beyond int32',
    schema: field({ type: 'integer', format: 'int32' }),
    spec: { x: 2147483648 },
    refused: [nowhere('Checked value must be of type integer with format int32 in spec.x')],
  },
  {
    title: 'a boolean where an int32 belongs is told the format',
    schema: field({ type: 'integer', format: 'int32' }),
    spec: { x: true },
    refused: [typed('spec.x', 'int32', '')],
  },
  {
    title: 'a number where a date belongs is told the format',
    schema: field({ type: 'string', format: 'date' }),
    spec: { x: 5 },
    refused: [typed('spec.x', 'date', 'int64')],
  },
  {
    title: 'a float beyond 32 bits',
    schema: field({ type: 'number', format: 'float' }),
    spec: { x: 1e39 },
    refused: [nowhere('Checked value must be of type number with format float in spec.x')],
  },
  {
    title: 'what is required is missing, at any depth',
    schema: { ...field({ type: 'object', required: ['b'] }), required: ['x', 'y'] },
    spec: { x: {} },
    refused: ['FieldValueRequired spec.x.b Required value', 'FieldValueRequired spec.y Required value'],
  },
  {
    title: 'a choice that is none of the texts',
    schema: field({ type: 'string', enum: ['a', 'b "c"'] }),
    spec: { x: 'c' },
    refused: ['FieldValueNotSupported spec.x Unsupported value: "c": supported values: "a", "b \\"c\\""'],
  },
  {
    title: 'a choice that is none of the numbers',
    schema: field({ type: 'integer', enum: [1, 2] }),
    spec: { x: 3 },
    refused: ['FieldValueNotSupported spec.x Unsupported value: 3: supported values: "1", "2"'],
  },
  {
    title: 'a choice that is none of the objects',
    schema: field({ type: 'object', 'x-kubernetes-preserve-unknown-fields': true, enum: [{ b: 1, a: '<' }] }),
    spec: { x: { b: 2, a: 1 } },
    refused: [
      'FieldValueNotSupported spec.x Unsupported value: {"a":1,"b":2}: supported values: "{\\"a\\":\\"\\\\u003c\\",\\"b\\":1}"',
    ],
  },
  {
    title: 'null where it is allowed is still none of the choices',
    schema: field({ type: 'string', enum: ['a'], nullable: true }),
    spec: { x: null },
    refused: ['FieldValueNotSupported spec.x Unsupported value: null: supported values: "a"'],
  },
  {
    title: 'a number below the minimum',
    schema: field({ type: 'integer', minimum: 1 }),
    spec: { x: 0 },
    refused: [invalid('0', 'be greater than or equal to 1')],
  },
  {
    title: 'a number on an exclusive minimum',
    schema: field({ type: 'integer', minimum: 1, exclusiveMinimum: true }),
    spec: { x: 1 },
    refused: [invalid('1', 'be greater than 1')],
  },
  {
    title: 'a number above the maximum, in the digits of Go',
    schema: field({ type: 'number', maximum: 2000000 }),
    spec: { x: 12345678.5 },
    refused: [invalid('1.23456785e+07', 'be less than or equal to 2e+06')],
  },
  {
    title: 'a number on an exclusive maximum',
    schema: field({ type: 'number', maximum: 0.5, exclusiveMaximum: true }),
    spec: { x: 0.5 },
    refused: [invalid('0.5', 'be less than 0.5')],
  },
  {
    title: 'tiny numbers in the digits of Go',
    schema: field({ type: 'number', minimum: 0.5 }),
    spec: { x: 0.00001 },
    refused: [invalid('1e-05', 'be greater than or equal to 0.5')],
  },
  {
    title: 'an integer against a bound with a fraction is held against the integer part',
    schema: field({ type: 'number', maximum: 2.5 }),
    spec: { x: 3 },
    refused: [invalid('3', 'be less than or equal to 2')],
  },
  {
    title: 'an integer whose bound has a fraction',
    schema: field({ type: 'integer', maximum: 2.5 }),
    spec: { x: 3000000 },
    refused: [
      nowhere('Maximum boundary value must be of type integer (default format) in spec.x'),
      invalid('3e+06', 'be less than or equal to 2.5'),
    ],
  },
  {
    title: 'no multiple of an integer',
    schema: field({ type: 'integer', multipleOf: 10 }),
    spec: { x: 10000000001 },
    refused: [invalid('10000000001', 'be a multiple of 10')],
  },
  {
    title: 'no multiple of a fraction',
    schema: field({ type: 'number', multipleOf: 0.1 }),
    spec: { x: 0.35 },
    refused: [invalid('0.35', 'be a multiple of 0.1')],
  },
  { title: 'a multiple of a fraction', schema: field({ type: 'number', multipleOf: 0.1 }), spec: { x: 0.3 } },
  {
    title: 'an integer against a fraction as factor',
    schema: field({ type: 'number', multipleOf: 0.5 }),
    spec: { x: 1 },
    refused: ['FieldValueInvalid spec.x Invalid value: 0: factor MultipleOf declared for spec.x must be positive: 0'],
  },
  {
    title: 'a text that is too long',
    schema: field({ type: 'string', maxLength: 3 }),
    spec: { x: 'abcd' },
    refused: ['FieldValueTooLong spec.x Too long: may not be more than 3 bytes'],
  },
  {
    title: 'a text that is too long for one byte',
    schema: field({ type: 'string', maxLength: 1 }),
    spec: { x: 'ab' },
    refused: ['FieldValueTooLong spec.x Too long: may not be more than 1 byte'],
  },
  { title: 'lengths count characters', schema: field({ type: 'string', maxLength: 2 }), spec: { x: '😀😀' } },
  {
    title: 'a text that is too short',
    schema: field({ type: 'string', minLength: 2 }),
    spec: { x: '😀' },
    refused: [invalid('"😀"', 'be at least 2 chars long')],
  },
  {
    title: 'a text against its pattern, with what Go escapes',
    schema: field({ type: 'string', pattern: '^a+$' }),
    spec: { x: 'b"\u0001\u0007\u007f\n\u200b<é\\u0007' },
    refused: [invalid('"b\\"\\x01\\a\\x7f\\n\\u200b<é\\\\u0007"', "match '^a+$'")],
  },
  {
    title: 'patterns may match a part and be in the words of Go',
    schema: {
      type: 'object',
      properties: {
        part: { type: 'string', pattern: '\\d' },
        ends: { type: 'string', pattern: '\\A[a-z\\-]+\\z' },
        flags: { type: 'string', pattern: '(?i)^ab$' },
        named: { type: 'string', pattern: '^(?P<who>x)$' },
        letters: { type: 'string', pattern: '^\\pL\\x{e9}$' },
      },
    },
    spec: { part: 'a1b', ends: 'a-b', flags: 'AB', named: 'y', letters: 'ôé' },
    refused: [invalid('"y"', "match '^(?P<who>x)$'", 'spec.named')],
  },
  {
    title: 'a list with too few items',
    schema: list({ type: 'string' }, { minItems: 2 }),
    spec: { x: ['a'] },
    refused: [invalid('1', 'have at least 2 items')],
  },
  {
    title: 'a list with too many items',
    schema: list({ type: 'string' }, { maxItems: 2 }),
    spec: { x: ['a', 'b', 'c'] },
    refused: ['FieldValueTooMany spec.x Too many: 3: must have at most 2 items'],
  },
  {
    title: 'a bad item is named by its index',
    schema: list(field({ type: 'integer', minimum: 0 })),
    spec: { x: [{ x: 1 }, { x: -1 }] },
    refused: [invalid('-1', 'be greater than or equal to 0', 'spec.x[1].x')],
  },
  {
    title: 'an object with too few fields',
    schema: field({ type: 'object', minProperties: 1 }),
    spec: { x: {} },
    refused: [invalid('0', 'have at least 1 properties')],
  },
  {
    title: 'an object with too many fields',
    schema: field({ type: 'object', maxProperties: 1, additionalProperties: { type: 'string' } }),
    spec: { x: { a: 'a', b: 'b' } },
    refused: ['FieldValueTooMany spec.x Too many: 2: must have at most 1 item'],
  },
  {
    title: 'the values of a map',
    schema: field({ type: 'object', additionalProperties: { type: 'string' } }),
    spec: { x: { 'example.com/a': 1 } },
    refused: [typed('spec.x.example.com/a', 'string', 'integer')],
  },
  {
    title: 'null in a list of what may not be null',
    schema: list({ type: 'string' }),
    spec: { x: [null] },
    refused: [typed('spec.x[0]', 'string', 'null')],
  },
  { title: 'null where it may be', schema: field({ type: 'string', nullable: true, default: 'a' }), spec: { x: null } },
  {
    title: 'an int-or-string is either',
    schema: {
      type: 'object',
      properties: {
        a: { 'x-kubernetes-int-or-string': true },
        b: { 'x-kubernetes-int-or-string': true, maximum: 3 },
        c: { 'x-kubernetes-int-or-string': true },
      },
    },
    spec: { a: '50%', b: 4, c: true },
    refused: [typed('spec.c', 'integer,string', 'boolean'), invalid('4', 'be less than or equal to 3', 'spec.b')],
  },
  {
    title: 'none of several alternatives quotes the closest',
    schema: {
      type: 'object',
      properties: { a: { type: 'string' }, b: { type: 'integer' } },
      anyOf: [{ required: ['a'] }, { required: ['b'], properties: { c: { minimum: 1 }, b: { minimum: 5 } } }],
    },
    spec: { b: 1 },
    refused: [
      nowhere('"spec" must validate at least one schema (anyOf)'),
      invalid('1', 'be greater than or equal to 5', 'spec.b'),
    ],
  },
  {
    title: 'one of several alternatives is enough',
    schema: {
      type: 'object',
      properties: { a: { type: 'string' } },
      anyOf: [{ required: ['b'] }, { required: ['a'] }],
    },
    spec: { a: 'a' },
  },
  {
    title: 'none of the alternatives of which exactly one must fit',
    schema: { type: 'object', properties: {}, oneOf: [{ required: ['a'] }, { required: ['b'] }] },
    spec: {},
    refused: [
      nowhere('"spec" must validate one and only one schema (oneOf). Found none valid'),
      'FieldValueRequired spec.a Required value',
    ],
  },
  {
    title: 'two of the alternatives of which exactly one must fit',
    schema: {
      type: 'object',
      properties: { a: { type: 'string' }, b: { type: 'string' } },
      oneOf: [{ required: ['a'] }, { required: ['b'] }],
    },
    spec: { a: 'a', b: 'b' },
    refused: [nowhere('"spec" must validate one and only one schema (oneOf). Found 2 valid alternatives')],
  },
  {
    title: 'one of the rules that must all hold does not',
    schema: field({ type: 'integer', allOf: [{ minimum: 5 }, { maximum: 9 }] }),
    spec: { x: 10 },
    refused: [invalid('10', 'be less than or equal to 9'), nowhere('"spec.x" must validate all the schemas (allOf)')],
  },
  {
    title: 'none of the rules that must all hold does',
    schema: field({ type: 'integer', allOf: [{ minimum: 5 }, { multipleOf: 2 }] }),
    spec: { x: 1 },
    refused: [
      invalid('1', 'be greater than or equal to 5'),
      invalid('1', 'be a multiple of 2'),
      nowhere('"spec.x" must validate all the schemas (allOf). None validated'),
    ],
  },
  {
    title: 'what must not hold holds',
    schema: field({ type: 'string', not: { enum: ['a'] } }),
    spec: { x: 'a' },
    refused: [nowhere('"spec.x" must not validate the schema (not)')],
  },
  formatted('date-time', '2026-02-28T23:59:59.5+01:00', '2026-02-28 23:59:59'),
  formatted('date', '2024-02-29', '2025-02-29'),
  formatted('duration', '1h30m', 'soon'),
  formatted('duration', '3 days', '3 moons'),
  formatted('byte', 'YWI=', 'YWI'),
  formatted('ipv4', '010.1.2.3', '1.2.3.256'),
  formatted('ipv6', 'fe80::1', '1.2.3.4'),
  formatted('cidr', '10.0.0.0/8', '10.0.0.0/33'),
  formatted('mac', '01-23-45-67-89-ab', '01-23:45-67-89-ab'),
  formatted('uuid', '123E4567-e89b-12d3-a456-426614174000', '123e4567'),
  formatted('uuid4', '123e4567-e89b-42d3-a456-426614174000', '123e4567-e89b-12d3-a456-426614174000'),
  formatted('hostname', 'a-b.example.com', '-a.example.com'),
  formatted('email', 'a@example.com', 'example.com'),
  formatted('uri', 'https://example.com/a', 'example.com'),
  formatted('k8s-short-name', 'a-b', 'a.b'),
  formatted('k8s-long-name', 'a-b.c', 'a_b'),
  { title: 'formats nobody knows', schema: field({ type: 'string', format: 'moon' }), spec: { x: 'a' } },
  {
    title: 'the same item twice in a set',
    schema: list({ type: 'integer' }, { 'x-kubernetes-list-type': 'set' }),
    spec: { x: [1, 2, 1, 1] },
    refused: ['FieldValueDuplicate spec.x[2] Duplicate value: 1'],
  },
  {
    title: 'the same key twice in a list that is a map',
    schema: list(
      { type: 'object', required: ['name'], properties: { name: { type: 'string' }, value: { type: 'string' } } },
      { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] },
    ),
    spec: { x: [{ name: 'a', value: '1' }, { name: 'b' }, { name: 'a', value: '2' }] },
    refused: ['FieldValueDuplicate spec.x[2] Duplicate value: {"name":"a"}'],
  },
  {
    title: 'the same two keys twice, one by default',
    schema: list(
      {
        type: 'object',
        required: ['port'],
        properties: { protocol: { type: 'string', default: 'TCP' }, port: { type: 'integer' } },
      },
      { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['protocol', 'port'] },
    ),
    spec: { x: [{ port: 1 }, { port: 1, protocol: 'UDP' }, { port: 1, protocol: 'TCP' }] },
    refused: ['FieldValueDuplicate spec.x[2] Duplicate value: {"port":1,"protocol":"TCP"}'],
  },
  {
    title: 'sets in maps are named in brackets',
    schema: field({
      type: 'object',
      additionalProperties: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
    }),
    spec: { x: { k: ['a', 'a'] } },
    refused: ['FieldValueDuplicate spec.x[k][1] Duplicate value: "a"'],
  },
  {
    title: 'an embedded object says what it is and has good metadata',
    schema: field({
      type: 'object',
      'x-kubernetes-embedded-resource': true,
      'x-kubernetes-preserve-unknown-fields': true,
    }),
    spec: { x: { kind: 'a_b', metadata: { labels: { a: '-' } } } },
    refused: [
      'FieldValueRequired spec.x.apiVersion Required value',
      `FieldValueInvalid spec.x.kind Invalid value: "a_b": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')`,
      `FieldValueInvalid spec.x.metadata.labels Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`,
    ],
  },
  {
    title: 'an object that is wrong already leaves rules in CEL unchecked',
    schema: { ...field({ type: 'integer' }), 'x-kubernetes-validations': [{ rule: 'self.x > 1' }] },
    spec: { x: 'a' },
    refused: [
      typed('spec.x', 'integer', 'string'),
      'FieldValueInvalid <nil> Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
    ],
  },
  {
    title: 'defaults fill in what is absent, down to the fields of a default',
    schema: {
      type: 'object',
      properties: {
        a: { type: 'string', default: 'A' },
        b: {
          type: 'object',
          default: { c: 1 },
          properties: { c: { type: 'integer' }, d: { type: 'boolean', default: false } },
        },
        e: { type: 'object', properties: { f: { type: 'string', default: 'F' } } },
      },
    },
    spec: { a: '' },
    stored: { a: '', b: { c: 1, d: false } },
  },
  {
    title: 'defaults fill in the items of lists and the values of maps',
    schema: {
      type: 'object',
      properties: {
        list: { type: 'array', items: field({ type: 'integer', default: 1 }) },
        map: { type: 'object', additionalProperties: field({ type: 'integer', default: 2 }) },
      },
    },
    spec: { list: [{}, { x: 0 }], map: { k: {} } },
    stored: { list: [{ x: 1 }, { x: 0 }], map: { k: { x: 2 } } },
  },
  {
    title: 'a null that may not be becomes the default, or goes',
    schema: {
      type: 'object',
      properties: {
        filled: { type: 'string', default: 'a' },
        gone: { type: 'string' },
        kept: { type: 'string', nullable: true },
        list: { type: 'array', items: { type: 'integer', default: 7 } },
        map: { type: 'object', additionalProperties: { type: 'string' } },
      },
    },
    spec: { filled: null, gone: null, kept: null, list: [null, 1], map: { k: null, l: 'l' } },
    stored: { filled: 'a', kept: null, list: [7, 1], map: { l: 'l' } },
  },
  {
    title: 'what nothing is said about keeps its nulls',
    schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    spec: { a: null, b: [null, { c: null }] },
  },
]

const group = 'schemas.stowage.dev'
/** A kind of its own for each case. */
const kindOf = (number: number): string => `Case${number}`
const objectOf = (number: number): Json => ({
  apiVersion: `${group}/v1`,
  kind: kindOf(number),
  metadata: { name: 'a' },
  spec: structuredClone(cases[number]?.spec),
})
const schemaOf = ({ schema }: Case): Json => ({ type: 'object', properties: { spec: schema } })
const texts = (errors: readonly Json[]): string[] =>
  errors.map((error) => `${textAt(error, 'reason')} ${textAt(error, 'field')} ${textAt(error, 'message')}`).toSorted()

describe('custom objects against the schema of their kind', () => {
  for (const [number, told] of cases.entries())
    test(told.title, () => {
      const object = objectOf(number)
      const schema = schemaOf(told)
      const errors = new FieldErrors()
      fillIn(schema, object)
      checkAgainst(schema, object, errors)
      assert.deepEqual(texts(errors.found.map((error) => ({ ...error }))), (told.refused ?? []).toSorted())
      if (told.refused === undefined) assert.deepEqual(object['spec'], told.stored ?? told.spec)
    })

  test('fields named after what every JavaScript object has are fields like others', () => {
    const schema = JSON.parse(
      '{"type":"object","properties":{"spec":{"type":"object","required":["toString"],"properties":{"__proto__":{"type":"object","default":{"a":1}},"constructor":{"type":"string"}}}}}',
    ) as Json
    const object: Json = { spec: {} }
    const errors = new FieldErrors()
    fillIn(schema, object)
    checkAgainst(schema, object, errors)
    assert.equal(JSON.stringify(object), '{"spec":{"__proto__":{"a":1}}}')
    assert.equal(at(object, 'spec', 'a'), undefined)
    assert.deepEqual(
      errors.found.map((error) => error.field),
      ['spec.toString'],
    )
  })

  test('two objects do not share a default', () => {
    const schema = field({ type: 'object', default: {} })
    const [one, other] = [{ x: null }, { x: null }]
    fillIn(schema, one)
    put(jsonAt(one, 'x'), 'mine', true)
    fillIn(schema, other)
    assert.deepEqual(other, { x: {} })
  })

  test('an object that is wrong everywhere gets a hundred complaints', () => {
    const errors = new FieldErrors()
    checkAgainst(list({ type: 'string' }), { x: Array.from({ length: 50_000 }, (_, i) => i) }, errors)
    assert.equal(errors.found.length, 100)
  })

  test('formats do not make a long text slow', () => {
    const errors = new FieldErrors()
    for (const format of ['duration', 'byte', 'k8s-long-name', 'hostname', 'uri', 'email', 'ipv4', 'cidr', 'date-time'])
      for (const part of ['1', 'a', '1ms', '.1', '1 ', 'a-', '@'])
        checkAgainst(field({ type: 'string', format }), { x: part.repeat(200_000) }, errors)
    assert.ok(errors.found.length > 40)
  })

  test('a schema that makes no sense constrains nothing', () => {
    const odd: unknown = {
      type: 5,
      properties: { a: null, b: { items: 7, required: 'x', enum: 1, pattern: '(', anyOf: {}, format: {} } },
      additionalProperties: [],
      oneOf: [null],
      not: 'x',
    }
    const errors = new FieldErrors()
    const object = { a: 1, b: ['x'], c: 'd' }
    fillIn(odd as Json, object)
    checkAgainst(odd as Json, object, errors)
    assert.deepEqual(errors.found, [])
    assert.deepEqual(object, { a: 1, b: ['x'], c: 'd' })
  })
})

describe('a real kube-apiserver', { skip: realControlPlane.skip }, () => {
  let plane: ControlPlane
  let client: ContractClient
  const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

  before(async () => {
    plane = await realControlPlane.start()
    client = new ContractClient({ url: plane.url, token: plane.token, ca: plane.ca })
    await Promise.all(
      cases.map(async (told, number) => {
        const plural = kindOf(number).toLowerCase()
        const created = await client.post(definitions, {
          metadata: { name: `${plural}.${group}` },
          spec: {
            group,
            scope: 'Cluster',
            names: { plural, kind: kindOf(number) },
            versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schemaOf(told) } }],
          },
        })
        assert.equal(created.status, 201, `${told.title}: ${created.text}`)
      }),
    )
  })
  after(async () => {
    await client.close()
    await plane.stop()
  })

  for (const [number, told] of cases.entries())
    test(told.title, { timeout: 120_000 }, async () => {
      const plural = kindOf(number).toLowerCase()
      // Established is said a moment before every part of the server knows it.
      const established = async (): Promise<boolean> => {
        const { body } = await client.get(`${definitions}/${plural}.${group}`)
        const isSaid = listAt(body, 'status', 'conditions').some(
          (condition) => condition['type'] === 'Established' && condition['status'] === 'True',
        )
        return isSaid && (await client.get(`/apis/${group}/v1/${plural}`)).status === 200
      }
      while (!(await established())) await pause(50)
      const answer = await client.post(`/apis/${group}/v1/${plural}`, objectOf(number))
      assert.equal(answer.status, told.refused === undefined ? 201 : 422, answer.text)
      assert.deepEqual(texts(listAt(answer.body, 'details', 'causes')), (told.refused ?? []).toSorted())
      if (told.refused === undefined) assert.deepEqual(jsonAt(answer.body, 'spec'), told.stored ?? told.spec)
    })
})
