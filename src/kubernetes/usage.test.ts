import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withServer } from './scripted-connection.fixture.ts'
import type { ScriptedServer } from './scripted-server.fixture.ts'
import { WaitingClock } from './waiting-clock.fixture.ts'
import { pollUsage } from './usage.ts'

const metrics = (name: string, timestamp: string, cpu: unknown = '250m', memory: unknown = '1Gi'): unknown => ({
  metadata: { name },
  timestamp,
  usage: { cpu, memory },
})

const polling = (
  name: string,
  run: (server: ScriptedServer, told: string[], answered: () => Promise<number>, clock: WaitingClock) => Promise<void>,
): void =>
  void test(name, { timeout: 10_000 }, () =>
    withServer(async (server, connection) => {
      const clock = new WaitingClock()
      const told: string[] = []
      const stop = new AbortController()
      const running = pollUsage({
        connection,
        clock,
        intervalMs: 10_000,
        staleMs: 60_000,
        signal: stop.signal,
        listener: {
          measured: ({ node, cpuMilli, memoryBytes, timestampMs }) =>
            told.push(`${node} ${cpuMilli} ${memoryBytes} ${new Date(timestampMs).toISOString()}`),
          gone: (node) => told.push(`gone ${node}`),
          unavailable: (why) => told.push(`unavailable: ${why}`),
        },
      })
      await run(server, told, () => clock.nextWait(), clock)
      stop.abort(new Error('the test is over'))
      await running
    }),
  )

polling('each measurement is told once, with its time', async (server, told, answered, clock) => {
  for (const timestamp of ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', '2026-01-01T00:00:15Z']) {
    const exchange = await server.next()
    assert.equal(exchange.path, '/apis/metrics.k8s.io/v1beta1/nodes')
    const waits = answered()
    exchange.answer(200, { items: [metrics('n1', timestamp)] })
    assert.equal(await waits, 10_000)
    clock.advance(10_000)
  }
  assert.deepEqual(told, ['n1 250 1073741824 2026-01-01T00:00:00.000Z', 'n1 250 1073741824 2026-01-01T00:00:15.000Z'])
})

polling(
  'a cluster without the API is said once and asked seldom, until it has one',
  async (server, told, answered, clock) => {
    for (let i = 0; i < 3; i++) {
      const exchange = await server.next()
      const waits = answered()
      exchange.refuse(i === 1 ? 503 : 404, 'NotFound', 'the server could not find the requested resource')
      assert.equal(await waits, 60_000)
      clock.advance(60_000)
    }
    assert.equal(told.length, 1)
    const exchange = await server.next()
    const waits = answered()
    exchange.answer(200, { items: [metrics('n1', '2026-01-01T00:00:00Z')] })
    assert.equal(await waits, 10_000)
    assert.equal(told.length, 2)
  },
)

polling('a measurement that is not renewed in its window counts no longer', async (server, told, answered, clock) => {
  for (let i = 0; i < 20; i++) {
    const exchange = await server.next()
    const waits = answered()
    exchange.answer(200, {
      items: [metrics('n1', '2026-01-01T00:00:00Z'), metrics('n2', new Date(clock.nowMs()).toISOString())],
    })
    await waits
    clock.advance(10_000)
  }
  assert.deepEqual(
    told.filter((text) => text.startsWith('gone')),
    ['gone n1'],
  )
})

polling('a node whose measurement is broken does not hide the others', async (server, told, answered) => {
  const exchange = await server.next()
  const waits = answered()
  exchange.answer(200, {
    items: [
      metrics('n1', 'yesterday'),
      metrics('n2', '2026-01-01T00:00:00Z', 'lots'),
      null,
      {},
      metrics('n3', '2026-01-01T00:00:00Z', '1500000n', '2048Ki'),
    ],
  })
  await waits
  assert.deepEqual(told, ['n3 2 2097152 2026-01-01T00:00:00.000Z'])
})
