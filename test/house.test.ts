import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'

/** The rooms of src/ from the ground up. A room imports from lower floors and from itself. docs/decisions/0001-floors.md */
const floors: readonly (readonly string[])[] = [
  ['errors', 'clock'],
  ['cluster', 'configuration', 'telemetry'],
  ['constraints', 'policies', 'decisions'],
  ['scheduling'],
  ['kubernetes', 'simulation'],
  ['system'],
  ['servers'],
  ['cli'],
]
const floorOf = new Map(floors.flatMap((rooms, floor) => rooms.map((room) => [room, floor] as const)))

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const files = globSync(['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'], { cwd: root }).sort()
/** Suites that several rooms run (`contract.ts`), and what tests are built with (`testing.ts`, `*.fixture.ts`). */
const isTest = (path: string): boolean =>
  /\.test\.ts$|\/(contract|testing)\.ts$|\.fixture\.ts$|^(test|bench)\//.test(path)
const shipped = files.filter((path) => path.startsWith('src/') && !isTest(path))

/** Comments hold examples, which import nothing. */
const withoutComments = (source: string): string => source.replace(/^\s*(\/\*\*?[^]*?\*\/|\/\/.*$)/gm, '')
const importPattern = /^(?:import|export)\s(?:[\w\s{},*$]+?\sfrom\s)?\s*'([^'\n]+)'|\bimport\('([^'\n]+)'\)/gm
/** Those that are followed when the file is loaded: neither types nor what is imported later. */
const staticImportPattern = /^(?:import|export)\s(?!type\b)(?:[\w\s{},*$]+?\sfrom\s)?\s*'([^'\n]+)'/gm
const importsOf = (path: string): string[] =>
  [...withoutComments(read(path)).matchAll(importPattern)].flatMap((match) => match[1] ?? match[2] ?? [])
const imports = new Map(files.map((path) => [path, importsOf(path)]))
const resolved = (from: string, specifier: string): string => join(dirname(from), specifier)
const roomOf = (path: string): string => path.split('/')[1] ?? ''
const packageOf = (specifier: string): string => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
const isRelative = (specifier: string): boolean => specifier.startsWith('.')

describe('the house', () => {
  test('every folder of src is a room of the plan', () => {
    const rooms = new Set(files.filter((path) => path.startsWith('src/')).map(roomOf))
    assert.deepEqual(
      [...rooms].filter((room) => !floorOf.has(room)),
      [],
    )
  })

  test('a room imports only from lower floors and from itself', () => {
    const climbing = files
      .filter((path) => path.startsWith('src/'))
      .flatMap((path) =>
        (imports.get(path) ?? [])
          .filter(isRelative)
          .map((specifier) => resolved(path, specifier))
          .filter((target) => target.startsWith('src/') && roomOf(target) !== roomOf(path))
          .filter((target) => (floorOf.get(roomOf(target)) ?? 0) >= (floorOf.get(roomOf(path)) ?? 0))
          .map((target) => `${path} imports ${target}`),
      )
    assert.deepEqual(climbing, [])
  })

  test('no file imports itself, by whatever way round', () => {
    const done = new Set<string>()
    const cycles: string[] = []
    const visit = (path: string, way: readonly string[]): void => {
      if (way.includes(path)) cycles.push([...way.slice(way.indexOf(path)), path].join(' > '))
      if (done.has(path) || way.includes(path)) return
      for (const specifier of imports.get(path) ?? []) {
        if (isRelative(specifier)) visit(resolved(path, specifier), [...way, path])
      }
      done.add(path)
    }
    for (const path of files) visit(path, [])
    assert.deepEqual(cycles, [])
  })

  test('who starts the program loads nothing that draws: a scheduler would carry it for ever', () => {
    const loaded = new Set<string>()
    const load = (path: string): void => {
      if (loaded.has(path)) return
      loaded.add(path)
      for (const [, specifier = ''] of withoutComments(read(path)).matchAll(staticImportPattern))
        if (isRelative(specifier)) load(resolved(path, specifier))
        else loaded.add(packageOf(specifier))
    }
    load('src/cli/main.ts')
    assert.ok(loaded.has('commander') && loaded.has('src/cli/experiment.ts'))
    assert.deepEqual(
      ['echarts', '@resvg/resvg-js'].filter((name) => loaded.has(name)),
      [],
    )
  })

  test('every import names a file that is there, with its extension', () => {
    const missing = files.flatMap((path) =>
      (imports.get(path) ?? [])
        .filter(isRelative)
        .filter((specifier) => !files.includes(resolved(path, specifier)) && !specifier.endsWith('.json'))
        .map((specifier) => `${path} imports ${specifier}`),
    )
    assert.deepEqual(missing, [])
  })

  test('what is shipped needs no test, no benchmark and no test runner', () => {
    const needing = shipped.flatMap((path) =>
      (imports.get(path) ?? [])
        .filter(
          (specifier) => specifier === 'node:test' || (isRelative(specifier) && isTest(resolved(path, specifier))),
        )
        .map((specifier) => `${path} imports ${specifier}`),
    )
    assert.deepEqual(needing, [])
  })

  test('no folder or file is named for nothing in particular', () => {
    const vague = files.filter((path) => /(^|\/)(utils?|helpers?|common|managers?|misc|shared)(\/|\.)/i.test(path))
    assert.deepEqual(vague, [])
  })

  test('package.json names exactly the packages that are imported', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
    const packagesOf = (paths: readonly string[]): Set<string> =>
      new Set(
        paths
          .flatMap((path) => imports.get(path) ?? [])
          .filter((specifier) => !isRelative(specifier) && !isBuiltin(specifier))
          .map(packageOf),
      )
    assert.deepEqual([...packagesOf(shipped)].sort(), Object.keys(dependencies ?? {}).sort())
    const known = new Set([...Object.keys(dependencies ?? {}), ...Object.keys(devDependencies ?? {})])
    assert.deepEqual(
      [...packagesOf(files)].filter((name) => !known.has(name)),
      [],
    )
  })

  test('only the clock asks the machine for the time, and only the seeded generator draws random numbers', () => {
    const asking = shipped
      .filter((path) => !path.startsWith('src/clock/'))
      .filter((path) =>
        /\bDate\.now\(|\bperformance\.now\(|\bnew Date\(\)|\bMath\.random\(|\bsetInterval\(/.test(
          withoutComments(read(path)),
        ),
      )
    assert.deepEqual(asking, [])
  })

  test('errors that Stowage raises on purpose have a code', () => {
    const bare = shipped.filter((path) => /\bthrow new Error\(/.test(withoutComments(read(path))))
    assert.deepEqual(bare, [])
  })
})
