import { isMap, isScalar, LineCounter, parseDocument, visit, type Document, type Node, type YAMLMap } from 'yaml'
import { StowageError } from '../errors/catalogue.ts'
import { settingRows } from './schema.ts'
import { closest } from './suggestion.ts'

/** Largest configuration file that is read. */
const MAX_BYTES = 1024 * 1024

/** A value as the file has it: maps are Maps, so that no key can be mistaken for a property. */
export interface YamlValue {
  readonly raw: unknown
  readonly line: number
}

/** What a YAML file says: values of known keys, and everything that is wrong with its form. */
export interface YamlSettings {
  readonly values: ReadonlyMap<string, YamlValue>
  readonly problems: readonly StowageError[]
}

const knownKeys = new Set(settingRows.map((row) => row.key))
const sections = new Set(settingRows.flatMap((row) => (row.key.includes('.') ? [row.key.split('.')[0] ?? ''] : [])))

const shown = (key: string): string => JSON.stringify(key.length > 60 ? `${key.slice(0, 60)}…` : key)

/**
 * Reads a configuration file: one YAML document, one map, no aliases (a file of settings has no use for them, and they are
 * how a small file grows without end).
 * @param name how the file is called in errors
 */
export const readYaml = (name: string, source: string): YamlSettings => {
  const values = new Map<string, YamlValue>()
  const problems: StowageError[] = []
  const lines = new LineCounter()
  const at = (node: Node | null | undefined): number => lines.linePos(node?.range?.[0] ?? 0).line || 1
  const unreadable = (line: number, what: string): void => {
    problems.push(new StowageError('CONFIG_UNREADABLE', { found: `${name} line ${line}: ${what}` }))
  }
  const unknown = (key: string, line: number): void => {
    const meant = closest(key, [...knownKeys, ...sections])
    problems.push(
      new StowageError('CONFIG_UNKNOWN_KEY', {
        found: `${name} line ${line}: ${shown(key)}`,
        todo:
          meant === undefined
            ? `see docs/configuration.md for the keys there are; sections are ${[...sections].join(', ')}`
            : `did you mean ${meant}?`,
      }),
    )
  }

  const readMap = (document: Document, map: YAMLMap, above: string): void => {
    for (const pair of map.items) {
      const keyNode = pair.key as Node | null
      // stringKeys: every key is a scalar
      const written = isScalar(keyNode) ? String(keyNode.value) : ''
      const key = above === '' ? written : `${above}.${written}`
      const line = at(keyNode)
      const value = pair.value as Node | null
      if (knownKeys.has(key)) {
        values.set(key, { raw: value?.toJS(document, { mapAsMap: true }) as unknown, line })
      } else if (above === '' && sections.has(key)) {
        if (isMap(value)) readMap(document, value, key)
        else if (!isScalar(value) || value.value !== null) {
          problems.push(
            new StowageError('CONFIG_INVALID_VALUE', {
              found: `${name} line ${line}: ${key} has no keys below it`,
              expected: `a map of ${settingRows.flatMap((row) => (row.key.startsWith(`${key}.`) ? [row.key.slice(key.length + 1)] : [])).join(', ')}`,
            }),
          )
        }
      } else unknown(key, line)
    }
  }
  const read = (): void => {
    const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, stringKeys: true })
    for (const fault of [...document.errors, ...document.warnings]) {
      unreadable(lines.linePos(fault.pos[0]).line || 1, fault.message.split('\n')[0] ?? '')
    }
    visit(document, {
      Alias: (_, alias) => {
        unreadable(at(alias), `the alias *${alias.source}; write the value out`)
        return visit.BREAK
      },
    })
    if (problems.length > 0) return
    const { contents } = document
    if (isMap(contents)) readMap(document, contents, '')
    else if (contents !== null && !(isScalar(contents) && contents.value === null)) {
      unreadable(at(contents), 'the file is no map of settings')
    }
  }

  if (Buffer.byteLength(source) > MAX_BYTES) {
    unreadable(1, `the file has more than ${MAX_BYTES} bytes`)
    return { values, problems }
  }

  try {
    read()
  } catch (cause) {
    // nesting without end exhausts the stack
    if (!(cause instanceof RangeError)) throw cause
    unreadable(1, 'the file is nested too deeply')
  }
  return { values, problems }
}
