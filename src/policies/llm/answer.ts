import { plainText } from './plain-text.ts'

/** What a model said about one group of pods. */
export interface GroupAnswer {
  /** ids of candidates that were offered, in the order in which the pods are to be placed; at least one */
  readonly ids: readonly string[]
  /** 0 to 1; undefined where it said nothing usable */
  readonly confidence: number | undefined
  /** plain text, '' without any */
  readonly reason: string
}

/** Beginnings of objects that are tried in one answer: a megabyte of braces must not cost a minute. */
const OBJECTS_AT_MOST = 64
const TEXT_AT_MOST = 64 * 1024
const REASON_LENGTH = 256
const IDS_AT_MOST = 64

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** The end of the object that begins at `from`, by counting braces outside of strings; -1: it does not end. */
const endOfObject = (text: string, from: number): number => {
  let depth = 0
  let inString = false
  for (let at = from; at < text.length; at++) {
    const character = text[at]
    if (inString) {
      if (character === '\\') at++
      else if (character === '"') inString = false
    } else if (character === '"') inString = true
    else if (character === '{') depth++
    else if (character === '}' && --depth === 0) return at
  }
  return -1
}

/**
 * Every JSON value in a text that a model wrote: the text itself, else what stands in fenced blocks, else objects found by
 * their braces. Of an object that was cut off, the whole ones within it count.
 */
export const jsonValuesIn = (text: string): unknown[] => {
  const cut = text.slice(0, TEXT_AT_MOST)
  const whole = parsed(cut)
  if (whole !== undefined) return [whole]
  const fenced = [...cut.matchAll(/```[a-z]{0,10}\s*([^]*?)```/gi)]
    .slice(0, OBJECTS_AT_MOST)
    .map(([, block = '']) => parsed(block))
    .filter((value) => value !== undefined)
  if (fenced.length > 0) return fenced
  const values: unknown[] = []
  let tried = 0
  for (let at = cut.indexOf('{'); at >= 0 && tried < OBJECTS_AT_MOST; at = cut.indexOf('{', at)) {
    tried++
    const end = endOfObject(cut, at)
    const value = end < 0 ? undefined : parsed(cut.slice(at, end + 1))
    if (value === undefined) at++
    else {
      values.push(value)
      at = end + 1
    }
  }
  return values
}

type Fields = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const own = (fields: Fields, name: string): unknown => (Object.hasOwn(fields, name) ? fields[name] : undefined)

/** `0.8`, `"0.8"`, `80`, `"80 %"`. */
const confidenceOf = (value: unknown): number | undefined => {
  const text = typeof value === 'string' ? value.slice(0, 20).replace(/\s*%$/, '') : value
  const number = typeof text === 'string' && text.trim() !== '' ? Number(text) : text
  if (typeof number !== 'number' || !Number.isFinite(number) || number < 0 || number > 100) return undefined
  return number > 1 ? number / 100 : number
}

/** The decisions in a value, whatever they are wrapped in. */
const decisionsIn = (value: unknown): Fields[] => {
  if (Array.isArray(value)) return value.slice(0, OBJECTS_AT_MOST).filter(isObject)
  if (!isObject(value)) return []
  const list = own(value, 'decisions')
  return list === undefined ? [value] : decisionsIn(list)
}

/**
 * Reads an answer: whatever it holds, only ids that were offered come out.
 * @param offered the ids of each group, by the group's own id
 * @returns by group; a group without a usable answer is missing
 */
export const readAnswer = (
  text: string,
  offered: ReadonlyMap<string, readonly string[]>,
): ReadonlyMap<string, GroupAnswer> => {
  const answers = new Map<string, GroupAnswer>()
  const [onlyGroup] = offered.size === 1 ? [...offered.keys()] : []
  for (const fields of jsonValuesIn(text).flatMap(decisionsIn)) {
    const named = own(fields, 'group')
    const group = typeof named === 'string' ? named : onlyGroup
    const ids = group === undefined ? undefined : offered.get(group)
    if (group === undefined || ids === undefined || answers.has(group)) continue
    const written = own(fields, 'selected_nodes') ?? own(fields, 'selected_node')
    const list: unknown[] = Array.isArray(written) ? written.slice(0, IDS_AT_MOST) : [written]
    const known = list.filter((id): id is string => typeof id === 'string' && ids.includes(id))
    // A list with inventions in it was not thought through.
    if (known.length === 0 || known.length < list.length) continue
    const reason = own(fields, 'reasoning')
    answers.set(group, {
      ids: known,
      confidence: confidenceOf(own(fields, 'confidence')),
      reason: typeof reason === 'string' ? plainText(reason, REASON_LENGTH) : '',
    })
  }
  return answers
}
