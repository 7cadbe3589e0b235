import { readFile, stat } from 'node:fs/promises'
import { type Document, LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import { closest } from './suggestion.ts'

const BYTES_AT_MOST = 2 ** 20
const ALIASES_AT_MOST = 10

/** What of a value is shown in an error. */
const shown = (value: unknown): string => {
  const written = JSON.stringify(value) ?? String(value)
  return written.length > 80 ? `${written.slice(0, 80)}…` : written
}

interface Definition {
  readonly type: string
  readonly shape?: Readonly<Record<string, z.core.$ZodType>>
  readonly element?: z.core.$ZodType
  readonly valueType?: z.core.$ZodType
  readonly innerType?: z.core.$ZodType
  readonly in?: z.core.$ZodType
  readonly out?: z.core.$ZodType
}

/** The keys that the map at a path may have. */
const keysAt = (schema: z.core.$ZodType | undefined, path: readonly PropertyKey[]): string[] => {
  if (schema === undefined) return []
  const { element, in: input, innerType, out, shape, type, valueType } = schema._zod.def as unknown as Definition
  const [first, ...rest] = path
  if (shape !== undefined) return first === undefined ? Object.keys(shape) : keysAt(shape[String(first)], rest)
  if (type === 'array' || type === 'record') return keysAt(element ?? valueType, rest)
  if (type === 'pipe') return [...keysAt(input, path), ...keysAt(out, path)]
  return keysAt(innerType, path)
}

/** Where in the file a path is, or what of it there is. */
const lineOf = (document: Document, lines: LineCounter, path: readonly (string | number)[]): number => {
  for (let depth = path.length; depth >= 0; depth--) {
    const node = depth === 0 ? document.contents : document.getIn(path.slice(0, depth), true)
    const range = (node as { range?: readonly number[] | null } | undefined)?.range
    if (range) return lines.linePos(range[0] ?? 0).line
  }
  return 1
}

/**
 * What the text of a settings file says: one YAML or JSON document that a zod schema of strict objects allows. Messages of the
 * schema that begin with `expected` are shown as they are.
 * @param file how it is called in errors
 * @throws StowageError CONFIG_UNREADABLE, CONFIG_UNKNOWN_KEY, CONFIG_INVALID_VALUE, with the line
 */
export const parseSettings = <T extends z.ZodType>(schema: T, file: string, text: string): z.output<T> => {
  const lines = new LineCounter()
  let document: Document.Parsed
  let value: unknown
  try {
    document = parseDocument(text, { lineCounter: lines, version: '1.2', stringKeys: true, prettyErrors: false })
    const [broken] = document.errors
    if (broken !== undefined)
      throw new SyntaxError(`line ${lines.linePos(broken.pos[0]).line || 1}: ${broken.message.split('\n')[0] ?? ''}`)
    value = document.toJS({ maxAliasCount: ALIASES_AT_MOST })
  } catch (cause) {
    // Too many aliases, or nesting without end, which exhausts the stack.
    const what = cause instanceof SyntaxError ? ` ${cause.message}` : `: ${messageOf(cause)}`
    throw new StowageError('CONFIG_UNREADABLE', { found: `${file}${what}` }, { cause })
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const { issues } = parsed.error
  // A misspelt key is often also a missing one.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]
  const path = (issue?.path ?? []).map((key) => (typeof key === 'number' ? key : String(key)))
  if (issue?.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys
    const known = keysAt(schema, path)
    const meant = closest(key, known)
    throw new StowageError('CONFIG_UNKNOWN_KEY', {
      found: `${file} line ${lineOf(document, lines, [...path, key])}: ${shown([...path, key].join('.'))}`,
      expected: `one of ${known.join(', ')}`,
      ...(meant === undefined ? {} : { todo: `did you mean ${meant}?` }),
    })
  }
  const found = path.length === 0 ? value : document.getIn(path)
  const what = path.length === 0 ? 'the file' : path.join('.')
  throw new StowageError('CONFIG_INVALID_VALUE', {
    found: `${file} line ${lineOf(document, lines, path)}: ${what}${found === undefined ? ' is missing' : ` is ${shown(found)}`}`,
    expected: (issue?.message ?? '').replace(/^.*?\bexpected /, '').replace(/, received .*$/, ''),
  })
}

/** @throws StowageError CONFIG_UNREADABLE, and as `parseSettings` */
export const readSettingsFile = async <T extends z.ZodType>(schema: T, file: string): Promise<z.output<T>> => {
  let text: string
  try {
    const { size } = await stat(file)
    if (size > BYTES_AT_MOST) throw new RangeError(`${size} bytes, ${BYTES_AT_MOST} at most`)
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new StowageError('CONFIG_UNREADABLE', { found: `${file} (${messageOf(cause)})` }, { cause })
  }
  return parseSettings(schema, file, text)
}
