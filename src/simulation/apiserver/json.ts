import type { KubeObject, ObjectMeta } from '../../cluster/objects.ts'

/** A JSON object whose fields are not known yet. Keys come from outside: read them with the functions below. */
export type Json = { [field: string]: unknown }

/** Any Kubernetes object as it is stored: immutable once it is in the store. */
export interface ApiObject extends KubeObject {
  metadata: ObjectMeta
  [field: string]: unknown
}

export const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The value at a path of field names, undefined where the path ends early. */
export const at = (value: unknown, ...path: string[]): unknown => {
  let here = value
  for (const field of path) {
    if (!isJson(here) || !Object.hasOwn(here, field)) return undefined
    here = here[field]
  }
  return here
}
export const jsonAt = (value: unknown, ...path: string[]): Json => {
  const found = at(value, ...path)
  return isJson(found) ? found : {}
}
export const textAt = (value: unknown, ...path: string[]): string => {
  const found = at(value, ...path)
  return typeof found === 'string' ? found : ''
}
export const numberAt = (value: unknown, ...path: string[]): number | undefined => {
  const found = at(value, ...path)
  return typeof found === 'number' ? found : undefined
}
/** The objects of a list; anything else in it is left out. */
export const listAt = (value: unknown, ...path: string[]): Json[] => {
  const found = at(value, ...path)
  return Array.isArray(found) ? found.filter(isJson) : []
}
export const textsAt = (value: unknown, ...path: string[]): string[] => {
  const found = at(value, ...path)
  return Array.isArray(found) ? found.filter((item) => typeof item === 'string') : []
}

/** Sets a field under any name, `__proto__` among them, as plain data. */
export const put = (target: Json, field: string, value: unknown): void => {
  if (field === '__proto__')
    Object.defineProperty(target, field, { value, enumerable: true, configurable: true, writable: true })
  else target[field] = value
}

/** Whether a JSON text nests objects and lists deeper than `limit`; a cheap bound before anything recursive sees the value. */
export const nestsDeeperThan = (text: string, limit: number): boolean => {
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (inString) {
      if (code === 0x5c) i++
      else if (code === 0x22) inString = false
    } else if (code === 0x22) inString = true
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > limit) return true
    } else if (code === 0x7d || code === 0x5d) depth--
  }
  return false
}
