import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../builders.ts'
import { LlmWorld } from './llm-world.ts'
import { type Behaviour, ModelServer } from './model-server.ts'

const TIMEOUT_MS = 60
const RUNS = 120
/** Room for what a run of the test itself needs; one packed answer of the server would unpack to 64 MiB. */
const MEMORY_BYTES = 96 * 1024 * 1024

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 500 }),
  fc.json(),
  fc.constantFrom(
    '',
    'null',
    '{}',
    '{"decisions":null}',
    '{"decisions":[{"group":"g1","selected_nodes":["node-1"]}]}',
    '{"decisions":[{"group":"g1","selected_nodes":["c1"]}]}',
    '{"selected_node":"c99"}',
    '{"__proto__":{"group":"g1"}}',
    '{'.repeat(100_000),
    '[1e999]',
  ),
)

const anyBehaviour: fc.Arbitrary<Behaviour> = fc.oneof(
  fc.record({ kind: fc.constant('answer' as const), text: anyText, stream: fc.boolean() }),
  fc.record({
    kind: fc.constant('bytes' as const),
    bytes: fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
    type: fc.constantFrom('application/json', 'text/event-stream', 'text/html', 'application/octet-stream'),
  }),
  fc.record({
    kind: fc.constant('status' as const),
    status: fc.constantFrom(204, 300, 301, 400, 401, 402, 403, 404, 408, 409, 418, 422, 429, 500, 502, 503, 529),
    headers: fc.constantFrom<Record<string, string>>(
      {},
      { 'retry-after': '1' },
      { 'retry-after': '-5' },
      { 'retry-after': 'soon' },
    ),
  }),
  fc.record({ kind: fc.constant('truncated' as const), text: anyText }),
  fc.constantFrom<Behaviour>(
    { kind: 'endless' },
    { kind: 'drip' },
    { kind: 'gzip-bomb' },
    { kind: 'redirect', to: 'http://127.0.0.1:9/' },
    { kind: 'redirect', to: '/v1/chat/completions' },
    { kind: 'reset' },
    { kind: 'silence' },
  ),
)

test('whatever a model server answers, each pod is placed in time, on a node that may have it, and memory stays bounded', async () => {
  const server = await ModelServer.start()
  const nodes = Array.from({ length: 4 }, (_, at) => node(`node-${at}`).cpu('64').memory('256Gi').object())
  const forbidden = node('forbidden').cpu('640').memory('2560Gi').taint('no', 'NoSchedule').object()
  const before = process.memoryUsage()
  let runs = 0
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyBehaviour, { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        async (behaviours, hedged) => {
          server.script = (_request, number) => behaviours[number % behaviours.length] ?? { kind: 'silence' }
          server.received.length = 0
          const world = await LlmWorld.start({
            endpoint: server.url,
            nodes: [...nodes, forbidden],
            llm: {
              timeoutMs: TIMEOUT_MS,
              retryDelayMs: 1,
              hedgeAfterMs: 10,
              ...(hedged ? { hedgeEndpoint: server.url } : {}),
            },
          })
          const pods = Array.from({ length: 5 }, (_, at) =>
            pod(`p-${runs}-${at}`)
              .cpu(`${at % 2 ? 1 : 2}`)
              .object(),
          )
          runs++
          await world.place(pods)
          world.close()
          for (const record of world.records) {
            assert.match(record.node, /^node-\d$/)
            assert.ok(
              record.source === 'model' ||
                record.source === 'fallback' ||
                record.source === 'heuristic' ||
                record.source === 'cache',
            )
            // The deadline is kept by a timer: what is told is that it ended the wait, whenever the machine came to it.
            if (record.source === 'fallback') assert.match(record.reason ?? '', /^llm gave no usable ranking: /)
          }
          assert.equal(world.world.binder.bound.length, pods.length)
          assert.deepEqual(world.world.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
        },
      ),
      { numRuns: RUNS, seed: 20260101 },
    )
  } finally {
    await server.close()
  }
  const after = process.memoryUsage()
  const grown = after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed
  assert.ok(grown < MEMORY_BYTES, `${Math.round(grown / 2 ** 20)} MiB more after ${runs} runs`)
})
