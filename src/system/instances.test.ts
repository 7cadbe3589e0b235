import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { announceInstance, runningInstances } from './instances.ts'

const home = mkdtempSync(join(tmpdir(), 'stowage-instances-'))
after(() => rmSync(home, { recursive: true, force: true }))
const env = { XDG_STATE_HOME: home }

describe('instances on this machine', () => {
  it('are found while they run and forgotten when they take their note back', () => {
    const withdraw = announceInstance({ pid: process.pid, apiUrl: 'http://127.0.0.1:1', startedAtMs: 1 }, env)
    assert.deepEqual(
      runningInstances(env).map(({ apiUrl }) => apiUrl),
      ['http://127.0.0.1:1'],
    )
    withdraw()
    assert.deepEqual(runningInstances(env), [])
  })

  it('are not believed to run after they died without a word', () => {
    const { pid } = spawnSync(process.execPath, ['-e', ''])
    announceInstance({ pid, apiUrl: 'http://127.0.0.1:2', startedAtMs: 2 }, env)
    writeFileSync(join(home, 'stowage', 'instances', '1.json'), '{"pid":')
    assert.deepEqual(runningInstances(env), [])
  })

  it('run without a note where the folder cannot be written', () => {
    const withdraw = announceInstance({ pid: 1, apiUrl: '', startedAtMs: 0 }, { XDG_STATE_HOME: '/dev/null' })
    withdraw()
    assert.deepEqual(runningInstances({ XDG_STATE_HOME: '/dev/null' }), [])
  })
})
