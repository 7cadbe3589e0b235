import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const json = (path: string): unknown => JSON.parse(read(path))

/** What git tracks; a tarball without git has nothing to check. */
const tracked = (): string[] => {
  try {
    return execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .split('\0')
      .filter((path) => path !== '' && statSync(join(root, path), { throwIfNoEntry: false })?.isFile() === true)
  } catch {
    return []
  }
}

interface Locked {
  resolved?: string
  integrity?: string
  optional?: boolean
  optionalDependencies?: Record<string, string>
}
const locked = Object.entries((json('package-lock.json') as { packages: Record<string, Locked> }).packages).filter(
  ([path]) => path !== '',
)

describe('the repository', () => {
  test('no tracked file names a folder of the machine it was written on', () => {
    // Put together from parts, or this file would be a finding.
    const paths = new RegExp(`(^|[\\s'"\`(=:])/(${['work', 'root', 'home'].join('|')})/`, 'm')
    assert.deepEqual(
      tracked().filter((path) => paths.test(read(path))),
      [],
    )
  })

  test('no tracked file sends npm to a registry of its own, and the lockfile leaves the choice to the user', () => {
    const hosts = /\bregistry\.[a-z0-9-]+\.(?:com|dev|io|net|org)\b|^registry\s*=|[:]_authToken/m
    assert.deepEqual(
      tracked().filter((path) => hosts.test(read(path))),
      [],
    )
    assert.deepEqual(
      locked.filter(([, entry]) => entry.resolved !== undefined).map(([path]) => path),
      [],
    )
  })

  test('npm ci finds in the lockfile what it needs on any platform, with a hash of all that Linux needs', () => {
    const missing = locked
      .flatMap(([, { optionalDependencies }]) => Object.keys(optionalDependencies ?? {}))
      .filter((name) => !locked.some(([path]) => path === `node_modules/${name}`))
    assert.deepEqual(missing, [])
    assert.deepEqual(
      locked
        .filter(
          ([path, entry]) => entry.integrity === undefined && (entry.optional !== true || path.includes('node-linux-')),
        )
        .map(([path]) => path),
      [],
    )
  })

  test('everybody gets the same packages: package.json names exact versions', () => {
    const { dependencies, devDependencies, optionalDependencies } = json('package.json') as Record<
      string,
      Record<string, string>
    >
    const versions = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })
    assert.ok(versions.length > 0)
    assert.deepEqual(
      versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)),
      [],
    )
  })
})
