import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { catalogue } from '../src/errors/catalogue.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

describe('the error catalogue', () => {
  test('a code that somebody saw can be looked up in docs/errors.md, and none is told there that does not exist', () => {
    const documented = [...read('docs/errors.md').matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => String(match[1]))
    assert.deepEqual(documented.sort(), Object.keys(catalogue).sort())
  })

  test('every code is raised somewhere', () => {
    const sources = globSync('src/**/*.ts', { cwd: root })
      .filter((path) => path !== join('src', 'errors', 'catalogue.ts') && !path.endsWith('.test.ts'))
      .map(read)
    const unused = Object.keys(catalogue).filter((code) => !sources.some((source) => source.includes(`'${code}'`)))
    assert.deepEqual(unused, [])
  })
})
