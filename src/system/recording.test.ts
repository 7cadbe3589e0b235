import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { openConnection } from '../kubernetes/connection.ts'
import type { FaultRule } from '../simulation/apiserver/faults.ts'
import { startApiServer } from '../simulation/apiserver/server.ts'
import type { TraceEvent } from '../simulation/traces/recorded.ts'
import { TraceRecorder } from '../simulation/traces/recorder.ts'
import { recordCluster } from './recording.ts'

/** Records until everything that is there has been written. */
const recordWith = async (fault: FaultRule): Promise<{ missing: readonly string[]; events: TraceEvent[] }> => {
  const folder = mkdtempSync(join(tmpdir(), 'stowage-recording-'))
  const server = await startApiServer({ clock: systemClock, random: seededRandom(1), tls: false })
  const kubeconfig = join(folder, 'kubeconfig')
  writeFileSync(kubeconfig, server.kubeconfig())
  const connection = openConnection({ kubeconfig, env: {} })
  const ended = new AbortController()
  const events: TraceEvent[] = []
  let missing: readonly string[] = ['never synced']
  try {
    server.faults.add(fault)
    await recordCluster({
      connection,
      clock: systemClock,
      random: seededRandom(2),
      recorder: new TraceRecorder({ clock: systemClock, write: (event) => events.push(event) }),
      signal: AbortSignal.any([ended.signal, AbortSignal.timeout(20_000)]),
      onSynced: (kinds) => {
        missing = kinds
        ended.abort(new Error('everything is there'))
      },
      onTrouble: () => undefined,
    })
  } finally {
    connection.close()
    await server.stop()
    rmSync(folder, { recursive: true })
  }
  return { missing, events }
}

test('what the server does not give is named, and the recording begins without it', async () => {
  const { events, missing } = await recordWith({
    effect: { kind: 'status', status: 503 },
    path: /poddisruptionbudgets/,
  })
  assert.deepEqual(missing, ['poddisruptionbudgets (policy/v1)'])
  const synced = events.find(({ event }) => event === 'synced')
  assert.ok(synced?.event === 'synced')
  assert.deepEqual(synced.missing, missing)
})

test('nodes and pods are waited for: without them there is no trace', async () => {
  const { missing } = await recordWith({ effect: { kind: 'status', status: 503 }, path: /\/nodes/, times: 2 })
  assert.deepEqual(missing, [])
})
