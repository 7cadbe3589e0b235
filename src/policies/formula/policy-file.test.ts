import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type ErrorCode, StowageError } from '../../errors/catalogue.ts'
import { createPolicy, policyNames } from '../registry.ts'
import { policyFrom, policyOf } from './policy-file.ts'

const fails = (run: () => unknown, code: ErrorCode, message: RegExp): void => {
  assert.throws(run, (thrown) => {
    assert.ok(thrown instanceof StowageError, String(thrown))
    assert.equal(thrown.code, code)
    assert.match(thrown.message, message)
    return true
  })
}
const refuses = (text: string, code: ErrorCode, message: RegExp): void =>
  fails(() => policyOf('p.yaml', text, policyNames), code, message)

describe('policy files', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stowage-'))
  })
  after(() => rm(folder, { recursive: true }))

  test('formula:FILE is a policy wherever a name is', async () => {
    const file = join(folder, 'mine.yaml')
    await writeFile(file, 'kind: formula\nname: mine\nformula: free.cpu - request.cpu\n')
    const policy = createPolicy(`formula:${file}`)
    assert.equal(policy.name, 'mine')
    assert.match(policy.version, /^[0-9a-f]{12}$/)
    await writeFile(file, JSON.stringify({ kind: 'formula', name: 'other', formula: 'free.cpu - request.cpu' }))
    assert.equal(createPolicy(`formula:${file}`).version, policy.version)
  })

  test('paths are relative to the file that names them', () => {
    assert.equal(policyFrom(join('a', 'b.yaml'), 'formula:p.yaml'), `formula:${join('a', 'p.yaml')}`)
    assert.equal(policyFrom(join('a', 'b.yaml'), 'borg'), 'borg')
  })

  test('a file that is not there, a folder, or one without end is an error with its name', async () => {
    fails(() => createPolicy(`formula:${join(folder, 'none')}`), 'CONFIG_UNREADABLE', /none.*ENOENT/)
    fails(() => createPolicy(`formula:${folder}`), 'CONFIG_UNREADABLE', /not a file/)
    fails(() => createPolicy('formula:/dev/zero'), 'CONFIG_UNREADABLE', /not a file/)
    const large = join(folder, 'large.yaml')
    await writeFile(large, ' '.repeat(300_000))
    fails(() => createPolicy(`formula:${large}`), 'CONFIG_UNREADABLE', /300000 bytes, 262144 at most/)
  })

  test('what is wrong in a file is said with its place', () => {
    refuses(
      'kind: formula\nname: x\nformula: 1 + free.disk\n',
      'CONFIG_INVALID_VALUE',
      /p\.yaml: .*position 5: "free.disk"/,
    )
    refuses('kind: formula\nname: x\nformula: 7\n', 'CONFIG_INVALID_VALUE', /line 3: formula is 7; expected string/)
    refuses(
      'kind: forest\nname: x\nformula: pods\n',
      'CONFIG_INVALID_VALUE',
      /line 1: kind is "forest"; expected formula/,
    )
    refuses(
      'kind: formula\nname: borg\nformula: pods\n',
      'CONFIG_INVALID_VALUE',
      /name is "borg"; expected a name that no other/,
    )
    refuses('kind: formula\nname: X Y\nformula: pods\n', 'CONFIG_INVALID_VALUE', /line 2: name is "X Y"/)
    refuses('kind: formula\nname: x\nformulla: pods\n', 'CONFIG_UNKNOWN_KEY', /formulla.*did you mean formula/)
    refuses('[]', 'CONFIG_INVALID_VALUE', /p\.yaml line 1/)
    refuses('a: [', 'CONFIG_UNREADABLE', /p\.yaml line 1/)
  })

  test('files made to exhaust the reader are refused', () => {
    refuses('['.repeat(200_000), 'CONFIG_UNREADABLE', /p\.yaml/)
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'.replace(/./g, (letter, at: number) => `${letter}: &${letter} [${Array.from({ length: 9 }, () => `*${'abcdefghi'[at]}`).join()}]\n`)}`
    refuses(bomb, 'CONFIG_UNREADABLE', /p\.yaml/)
    refuses(`kind: formula\nname: x\nformula: ${'('.repeat(9000)}`, 'CONFIG_INVALID_VALUE', /levels of nesting/)
    refuses('kind: formula\nname: x\nformula: pods\n__proto__: { polluted: 1 }\n', 'CONFIG_UNKNOWN_KEY', /__proto__/)
    assert.equal(({} as { polluted?: number }).polluted, undefined)
  })
})
