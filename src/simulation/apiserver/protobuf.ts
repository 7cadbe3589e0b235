import { readFileSync } from 'node:fs'
import { type Json, put } from './json.ts'
import type { TypeNode } from './schema.ts'

// kubectl and Go programs send built-in types in Kubernetes' protobuf form; answers may be JSON. What a message means is in the
// schemas, save for the numbers of its fields (schemas/field-numbers.json).

let loaded: Map<string, Map<number, string>> | undefined
const fieldNumbers = (): ReadonlyMap<string, ReadonlyMap<number, string>> => {
  loaded ??= new Map(
    Object.entries(
      JSON.parse(readFileSync(new URL('schemas/field-numbers.json', import.meta.url), 'utf8')) as Record<
        string,
        Record<string, string>
      >,
    ).map(([message, fields]) => [
      message,
      new Map(Object.entries(fields).map(([number, name]) => [Number(number), name])),
    ]),
  )
  return loaded
}

const malformed = (): never => {
  throw new RangeError('the protobuf body is broken')
}

/** One field of a message: its number, and a whole number or bytes. */
interface Field {
  readonly number: number
  readonly value: bigint
  readonly bytes: Buffer
}

const none = Buffer.alloc(0)

const readVarint = (data: Buffer, start: number): { value: bigint; next: number } => {
  let value = 0n
  for (let i = 0; i < 10; i++) {
    const byte = data[start + i]
    if (byte === undefined) return malformed()
    value |= BigInt(byte & 0x7f) << BigInt(7 * i)
    if (byte < 0x80) return { value: BigInt.asIntN(64, value), next: start + i + 1 }
  }
  return malformed()
}

/** @throws RangeError */
function* fieldsOf(data: Buffer): Generator<Field> {
  for (let at = 0; at < data.length; ) {
    const tag = readVarint(data, at)
    at = tag.next
    const number = Number(tag.value >> 3n)
    const wireType = Number(tag.value & 7n)
    if (wireType === 0) {
      const { value, next } = readVarint(data, at)
      at = next
      yield { number, value, bytes: none }
    } else if (wireType === 2) {
      const { value, next } = readVarint(data, at)
      const end = next + Number(value)
      if (value < 0n || end > data.length) malformed()
      at = end
      yield { number, value: 0n, bytes: data.subarray(next, end) }
    } else if (wireType === 1 || wireType === 5) at += wireType === 1 ? 8 : 4
    else malformed()
  }
}

const numberOf = (value: bigint): number => Number(value)

const timeOf = (data: Buffer, withMicroseconds: boolean): string | null => {
  let seconds = 0n
  let nanos = 0n
  for (const { number, value } of fieldsOf(data)) {
    if (number === 1) seconds = value
    else if (number === 2) nanos = value
  }
  if (seconds === 0n && nanos === 0n && data.length === 0) return null
  const date = new Date(Number(seconds) * 1000)
  if (Number.isNaN(date.getTime())) return malformed()
  const whole = date.toISOString().slice(0, 19)
  return withMicroseconds ? `${whole}.${String(nanos / 1000n).padStart(6, '0')}Z` : `${whole}Z`
}

const textOfMessage = (data: Buffer): string => {
  for (const { number, bytes } of fieldsOf(data)) if (number === 1) return bytes.toString()
  return ''
}

const decodeOne = (type: TypeNode, { value, bytes }: Field, depth: number): unknown => {
  switch (type.shape) {
    case 'struct':
      return decodeMessage(type, bytes, depth + 1)
    case 'string':
      return bytes.toString()
    case 'bytes':
      return bytes.toString('base64')
    case 'int32':
    case 'int64':
      return numberOf(value)
    case 'bool':
      return value !== 0n
    case 'quantity':
      return textOfMessage(bytes)
    case 'time':
      return timeOf(bytes, type.goName.endsWith('MicroTime'))
    case 'int-or-string': {
      let result: string | number = 0
      let isText = false
      for (const field of fieldsOf(bytes)) {
        if (field.number === 1) isText = field.value === 1n
        else if (field.number === 2 && !isText) result = numberOf(field.value)
        else if (field.number === 3 && isText) result = field.bytes.toString()
      }
      return result
    }
    default:
      // Raw JSON, and fields managed by appliers: nothing of it is kept.
      return undefined
  }
}

const depthLimit = 100

const decodeMessage = (type: TypeNode, data: Buffer, depth: number): Json => {
  if (depth > depthLimit) malformed()
  const result: Json = {}
  const take = (message: string, bytes: Buffer): void => {
    const names = fieldNumbers().get(message)
    for (const field of fieldsOf(bytes)) {
      const name = names?.get(field.number)
      if (name === undefined) continue
      if (name.startsWith('=')) {
        take(name.slice(1), field.bytes)
        continue
      }
      const node = type.fields.get(name)?.type
      if (node === undefined) continue
      if (node.shape === 'list' && node.element !== undefined) {
        const list = (result[name] ?? []) as unknown[]
        list.push(decodeOne(node.element, field, depth))
        result[name] = list
      } else if (node.shape === 'map' && node.element !== undefined) {
        const map = (result[name] ?? {}) as Json
        let key = ''
        let value: unknown
        for (const part of fieldsOf(field.bytes)) {
          if (part.number === 1) key = part.bytes.toString()
          else if (part.number === 2) value = decodeOne(node.element, part, depth)
        }
        put(map, key, value ?? (node.element.shape === 'string' || node.element.shape === 'bytes' ? '' : {}))
        result[name] = map
      } else {
        const value = decodeOne(node, field, depth)
        // Go writes the zero of every plain field; JSON leaves it out.
        if (value !== undefined && value !== null && value !== '') result[name] = value
      }
    }
  }
  take(type.name, data)
  return result
}

const magic = Buffer.from('k8s\0')

/**
 * A body of content type application/vnd.kubernetes.protobuf as the object it would be in JSON.
 * @throws RangeError for what is none
 */
export const decodeProtobuf = (body: Buffer, type: TypeNode): Json => {
  if (!body.subarray(0, 4).equals(magic)) malformed()
  let apiVersion = ''
  let kind = ''
  let raw: Buffer = none
  for (const { number, bytes } of fieldsOf(body.subarray(4))) {
    if (number === 1)
      for (const part of fieldsOf(bytes)) {
        if (part.number === 1) apiVersion = part.bytes.toString()
        else if (part.number === 2) kind = part.bytes.toString()
      }
    else if (number === 2) raw = bytes
  }
  return { kind, apiVersion, ...decodeMessage(type, raw, 0) }
}
