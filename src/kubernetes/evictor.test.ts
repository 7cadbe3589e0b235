import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Timer, VirtualClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { StowageError } from '../errors/catalogue.ts'
import { ApiEvictor } from './evictor.ts'
import { slimPod } from './pods.fixture.ts'
import { withServer } from './scripted-connection.fixture.ts'
import type { ScriptedServer } from './scripted-server.fixture.ts'

/** A clock on which each wait is over at once. */
class HurriedClock extends VirtualClock {
  override after(delayMs: number, run: () => void): Timer {
    let cancelled = false
    setImmediate(() => {
      if (cancelled) return
      this.advance(delayMs)
      run()
    })
    return { cancel: () => void (cancelled = true) }
  }
}

const never = new AbortController().signal
const victim = slimPod('victim', { generation: 2 })
const preemptor = slimPod('urgent')

const evicting = (name: string, run: (server: ScriptedServer, evictor: ApiEvictor) => Promise<void>): void =>
  void test(name, { timeout: 10_000 }, () =>
    withServer(async (server, connection) => {
      const clock = new HurriedClock(Date.UTC(2026, 0, 1))
      await run(server, new ApiEvictor({ connection, clock, random: seededRandom(1) }))
    }),
  )

evicting(
  'a victim is told why, then deleted with its own grace period, and only if it is still the same pod',
  async (server, evictor) => {
    const evicted = evictor.evict(victim, preemptor, never)
    const told = await server.next()
    assert.equal(`${told.method} ${told.path}`, 'PATCH /api/v1/namespaces/ns/pods/victim/status')
    assert.equal(told.headers['content-type'], 'application/strategic-merge-patch+json')
    assert.deepEqual(told.body, {
      metadata: { uid: 'uid-victim' },
      status: {
        conditions: [
          {
            type: 'DisruptionTarget',
            status: 'True',
            reason: 'PreemptionByScheduler',
            message: 'stowage: preempting to accommodate a higher priority pod',
            observedGeneration: 2,
            lastTransitionTime: '2026-01-01T00:00:00Z',
          },
        ],
      },
    })
    told.answer(200, {})
    const deleted = await server.next()
    assert.equal(`${deleted.method} ${deleted.path}`, 'DELETE /api/v1/namespaces/ns/pods/victim')
    assert.deepEqual(deleted.body, { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: 'uid-victim' } })
    deleted.answer(200, {})
    assert.equal(await evicted, true)
  },
)

for (const status of [404, 409])
  evicting(
    `a victim that is gone, or whose name another bears (${status}), needs no eviction`,
    async (server, evictor) => {
      const evicted = evictor.evict(victim, preemptor, never)
      ;(await server.next()).answer(status, {})
      assert.equal(await evicted, false)
    },
  )

evicting('what may pass is tried again', async (server, evictor) => {
  const evicted = evictor.evict({ ...victim, preempted: true }, preemptor, never)
  for (const status of [503, 429, 500]) (await server.next()).answer(status, {})
  ;(await server.next()).answer(200, {})
  assert.equal(await evicted, true)
})

evicting('a refusal is told with the words of the server', async (server, evictor) => {
  const evicted = evictor.evict(victim, preemptor, never)
  const refused = assert.rejects(
    evicted,
    (thrown: unknown) =>
      thrown instanceof StowageError && thrown.code === 'API_REFUSED' && /ns\/victim.*not allowed/.test(thrown.message),
  )
  ;(await server.next()).answer(403, { message: 'not allowed' })
  await refused
})
