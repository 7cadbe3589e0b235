import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { settingRows } from './schema.ts'

const root = join(import.meta.dirname, '../..')

/** Files that are made from the schema, relative to the root of the repository. */
export const TABLE_FILE = 'docs/configuration.md'
export const EXAMPLE_FILE = 'configs/stowage.yaml'

const tableBegins = '<!-- settings: written by node src/configuration/documents.ts -->\n'
const tableEnds = '\n<!-- end of settings -->'

const cell = (text: string): string => text.replaceAll('|', '\\|')

const table = (): string =>
  [
    '| YAML key | Environment | Flag | Default | Allowed | What it is for |',
    '|---|---|---|---|---|---|',
    ...settingRows.map(
      (row) =>
        `| \`${row.key}\` | \`${row.env}\` | \`${row.flag} ${cell(row.argument)}\` | ${
          row.default === undefined ? '-' : `\`${row.default}\``
        } | ${cell(row.allowed)} | ${cell(row.description)} |`,
    ),
  ].join('\n')

/** `document` with the table of all settings as the schema has them now. */
export const withTable = (document: string): string => {
  const from = document.indexOf(tableBegins)
  const to = document.indexOf(tableEnds)
  if (from < 0 || to < from) throw new RangeError(`${TABLE_FILE} has lost the marks around its table`)
  return document.slice(0, from + tableBegins.length) + table() + document.slice(to)
}

const wrapped = (text: string, indent: string): string => {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = `${lines.at(-1)} ${word}`
    if (`${indent}#${line}`.length <= 110) lines[lines.length - 1] = line
    else lines.push(` ${word}`)
  }
  return lines.map((line) => `${indent}#${line}\n`).join('')
}

/** A YAML file with every key at its default, each with what it is for. */
export const exampleFile = (): string => {
  let file = `# Every setting of Stowage at its default. Copy what you change; the rest may be left out.
# A flag wins over an environment variable, that over this file. docs/configuration.md has the names of all three.
# Written by: node src/configuration/documents.ts
`
  let section = ''
  for (const row of settingRows) {
    const [first = '', ...rest] = row.key.split('.')
    const indent = '  '.repeat(rest.length)
    if (rest.length > 0 && first !== section) file += `\n${first}:\n`
    else if (rest.length === 0) file += '\n'
    section = first
    // an empty value is one that is not set
    const value = row.default === undefined ? '' : ` ${/^:|^$/.test(row.default) ? `'${row.default}'` : row.default}`
    file += `${wrapped(row.description, indent)}${wrapped(`Allowed: ${row.allowed}.`, indent)}${indent}${rest.at(-1) ?? first}:${value}\n`
  }
  return file
}

if (import.meta.main) {
  const path = join(root, TABLE_FILE)
  writeFileSync(path, withTable(readFileSync(path, 'utf8')))
  writeFileSync(join(root, EXAMPLE_FILE), exampleFile())
}
