import jsonPatch from 'fast-json-patch'
import { ApiFailure, badRequest } from './failure.ts'
import { type Json, isJson, put } from './json.ts'
import type { FieldNode, TypeNode } from './schema.ts'

/** How a PATCH body is to be read, by its content type. */
type PatchKind = 'json' | 'merge' | 'strategic' | 'apply'
export const patchKinds: ReadonlyMap<string, PatchKind> = new Map([
  ['application/json-patch+json', 'json'],
  ['application/merge-patch+json', 'merge'],
  ['application/strategic-merge-patch+json', 'strategic'],
  ['application/apply-patch+yaml', 'apply'],
])

/**
 * An object with a patch applied. Neither is changed; what the patch does not touch is shared with the object.
 * @throws ApiFailure 400 or 422
 */
export const applyPatch = (kind: PatchKind, type: TypeNode, object: Json, patch: unknown): Json => {
  if (kind === 'json') return applyJsonPatch(object, patch)
  if (!isJson(patch)) throw badRequest('the patch is no JSON object')
  return kind === 'merge' ? (mergePatch(object, patch) as Json) : strategicMerge(type, object, patch)
}

const operationLimit = 10_000
/** Copies can double an object each time; kube-apiserver bounds what they add up to in the same way. */
const copiedLimitBytes = 3 * 1024 * 1024

const applyJsonPatch = (object: Json, patch: unknown): Json => {
  if (!Array.isArray(patch))
    throw badRequest('error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch')
  if (patch.length > operationLimit)
    throw new ApiFailure(
      413,
      'RequestEntityTooLarge',
      `Request entity too large: The allowed maximum operations in a JSON patch is ${operationLimit}, got ${patch.length}`,
    )
  let result: Json = structuredClone(object)
  let copiedBytes = 0
  for (const operation of patch as jsonPatch.Operation[]) {
    try {
      if (isJson(operation) && operation.op === 'copy')
        copiedBytes += JSON.stringify(jsonPatch.getValueByPointer(result, operation.from) ?? null).length
      if (copiedBytes <= copiedLimitBytes) result = jsonPatch.applyOperation(result, operation, true).newDocument
    } catch {
      // kube-apiserver does not say which operation it was.
      throw new ApiFailure(422, 'Invalid', 'the server rejected our request due to an error in our request', {})
    }
    if (copiedBytes > copiedLimitBytes)
      throw new ApiFailure(
        413,
        'RequestEntityTooLarge',
        `Request entity too large: The copies of a JSON patch may add up to ${copiedLimitBytes} bytes`,
      )
    if (!isJson(result)) throw badRequest('the patched object is no JSON object')
  }
  return result
}

/** RFC 7386 */
const mergePatch = (target: unknown, patch: unknown): unknown => {
  if (!isJson(patch)) return patch
  const result: Json = isJson(target) ? { ...target } : {}
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete result[field]
    else put(result, field, mergePatch(Object.hasOwn(result, field) ? result[field] : undefined, value))
  }
  return result
}

const directive = '$patch'

/** Kubernetes' strategic merge: lists of items with a key are merged by it (apimachinery strategicpatch). */
const strategicMerge = (type: TypeNode | undefined, target: Json, patch: Json): Json => {
  if (patch[directive] === 'replace') return withoutDirectives(patch)
  if (patch[directive] === 'delete') return {}
  const result: Json = { ...target }
  const retained = patch['$retainKeys']
  if (Array.isArray(retained))
    for (const field of Object.keys(result)) if (!retained.includes(field)) delete result[field]
  for (const [field, value] of Object.entries(patch)) {
    if (field === directive || field === '$retainKeys' || field.startsWith('$setElementOrder/')) continue
    if (field.startsWith('$deleteFromPrimitiveList/')) {
      const list = field.slice('$deleteFromPrimitiveList/'.length)
      const gone = Array.isArray(value) ? value : []
      const current = result[list]
      if (Array.isArray(current)) result[list] = current.filter((item) => !gone.includes(item))
      continue
    }
    const node: FieldNode | undefined = type?.shape === 'struct' ? type.fields.get(field) : undefined
    const current = Object.hasOwn(result, field) ? result[field] : undefined
    if (value === null) delete result[field]
    else if (isJson(value))
      put(result, field, strategicMerge(node?.type ?? type?.element, isJson(current) ? current : {}, value))
    else if (Array.isArray(value)) {
      const order = patch[`$setElementOrder/${field}`]
      put(
        result,
        field,
        mergeLists(node, Array.isArray(current) ? current : [], value, Array.isArray(order) ? order : undefined),
      )
    } else put(result, field, value)
  }
  return result
}

const mergeLists = (
  node: FieldNode | undefined,
  current: unknown[],
  patch: unknown[],
  order: unknown[] | undefined,
): unknown[] => {
  if (node?.mergesValues === true) {
    const merged = [...current, ...patch.filter((item) => !current.includes(item))]
    return inOrder(merged, patch, order, current, (item) => item)
  }
  const key = node?.mergeKey
  if (key === undefined || patch.some((item) => isJson(item) && item[directive] === 'replace'))
    return patch
      .filter((item) => !(isJson(item) && item[directive] === 'replace'))
      .map((item) => (isJson(item) ? withoutDirectives(item) : item))
  const merged = [...current]
  for (const item of patch) {
    if (!isJson(item)) continue
    if (item[key] === undefined)
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`)
    const at = merged.findIndex((other) => isJson(other) && other[key] === item[key])
    if (item[directive] === 'delete') {
      if (at >= 0) merged.splice(at, 1)
      continue
    }
    const before = at < 0 ? undefined : merged[at]
    const next = strategicMerge(node?.type.element, isJson(before) ? before : {}, item)
    if (at < 0) merged.push(next)
    else merged[at] = next
  }
  return inOrder(merged, patch, order, current, (item) => (isJson(item) ? item[key] : item))
}

/**
 * The order of a merged list (strategicpatch normalizeElementOrder): items that the patch names keep the order it gives them,
 * the others stay where the list had them, and what is new comes before those.
 */
const inOrder = (
  merged: unknown[],
  patch: unknown[],
  order: unknown[] | undefined,
  before: unknown[],
  keyOf: (item: unknown) => unknown,
): unknown[] => {
  const places = (items: unknown[]): Map<unknown, number> => new Map(items.map((item, i) => [keyOf(item), i]))
  const wanted = places(order ?? patch)
  const had = places(before)
  const named = merged
    .filter((item) => wanted.has(keyOf(item)))
    .sort((a, b) => (wanted.get(keyOf(a)) ?? 0) - (wanted.get(keyOf(b)) ?? 0))
  const others = merged.filter((item) => !wanted.has(keyOf(item)))
  const result: unknown[] = []
  let next = 0
  for (const other of others) {
    const place = had.get(keyOf(other)) ?? 0
    while (next < named.length && !((had.get(keyOf(named[next])) ?? -1) > place)) result.push(named[next++])
    result.push(other)
  }
  return [...result, ...named.slice(next)]
}

const withoutDirectives = (patch: Json): Json => {
  const result: Json = {}
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith('$') || value === null) continue
    put(result, field, isJson(value) ? withoutDirectives(value) : value)
  }
  return result
}
