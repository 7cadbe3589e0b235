import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { FastifyInstance } from 'fastify'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { StowageError } from '../errors/catalogue.ts'
import type { Log, LogFields } from '../telemetry/log.ts'
import { Metrics } from '../telemetry/metrics.ts'
import * as answers from './answers.ts'
import { managementServer } from './management.ts'
import { sampleView } from './testing.ts'
import type { SystemView } from './view.ts'

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const serve = async (
  t: TestContext,
  changes: Partial<SystemView> = {},
  log: Log = silent,
): Promise<FastifyInstance> => {
  const app = await managementServer({ view: sampleView(changes), metrics: new Metrics(), host: '127.0.0.1', log })
  t.after(() => app.close())
  return app
}

interface Failure {
  readonly error: { readonly code: string; readonly message: string }
}

test('every JSON answer has exactly the shape that /openapi.json promises', async (t) => {
  const app = await serve(t)
  const shapes: readonly (readonly [string, TSchema])[] = [
    ['/health', answers.Health],
    ['/readiness', answers.Readiness],
    ['/status', answers.Status],
    ['/config', answers.Settings],
    ['/cluster/state', answers.ClusterState],
    ['/cluster/nodes', answers.Nodes],
    ['/cluster/nodes/node-1', answers.NodeInFull],
    ['/api/v1/queue', answers.Queue],
    ['/api/v1/decisions', answers.Decisions],
    ['/api/v1/decisions?limit=1', answers.Decisions],
    ['/api/v1/decisions/default/web-1', answers.Explanation],
    ['/api/v1/decisions/default/web-1/history', answers.History],
    ['/cluster/nodes/none', answers.Failure],
    ['/api/v1/queue?limit=0', answers.Failure],
  ]
  for (const [url, schema] of shapes) {
    const response = await app.inject(url)
    assert.match(String(response.headers['content-type']), /^application\/json/, url)
    assert.deepEqual([...Value.Errors(schema, response.json())], [], url)
  }
})

test('/openapi.json is OpenAPI 3.1 and lists every route with its answers', async (t) => {
  const app = await serve(t)
  const document = (await app.inject('/openapi.json')).json<{
    openapi: string
    paths: Record<
      string,
      Record<string, { summary?: string; responses: Record<string, { content?: Record<string, { schema: unknown }> }> }>
    >
  }>()
  assert.match(document.openapi, /^3\.1\./)
  assert.deepEqual(Object.keys(document.paths).sort(), [
    '/api/v1/decisions',
    '/api/v1/decisions/{namespace}/{name}',
    '/api/v1/decisions/{namespace}/{name}/history',
    '/api/v1/queue',
    '/cluster/nodes',
    '/cluster/nodes/{name}',
    '/cluster/state',
    '/config',
    '/health',
    '/healthz',
    '/metrics',
    '/openapi.json',
    '/readiness',
    '/readyz',
    '/status',
  ])
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      assert.ok(operation.summary, `${method} ${path} has no summary`)
      const content = operation.responses['200']?.content ?? {}
      assert.ok(
        Object.values(content).every((each) => each.schema !== undefined),
        path,
      )
      assert.ok(Object.keys(content).length > 0, path)
    }
  }
  const promised = document.paths['/status']?.['get']?.responses['200']?.content?.['application/json']?.schema
  assert.deepEqual(
    Object.keys((promised as { properties: object }).properties).sort(),
    Object.keys(answers.Status.properties).sort(),
  )
})

test('probes answer 503 with the reasons while the scheduler cannot work', async (t) => {
  const well = await serve(t)
  assert.deepEqual([(await well.inject('/healthz')).body, (await well.inject('/readyz')).body], ['ok', 'ok'])
  assert.deepEqual((await well.inject('/health')).json(), { status: 'healthy' })

  const ill = await serve(t, {
    healthy: () => false,
    readiness: () => ({
      ready: false,
      reasons: ['the list of nodes is not complete', 'no connection to the API server'],
    }),
  })
  const readyz = await ill.inject('/readyz')
  assert.equal(readyz.statusCode, 503)
  assert.equal(readyz.body, 'the list of nodes is not complete\nno connection to the API server')
  const readiness = await ill.inject('/readiness')
  assert.equal(readiness.statusCode, 503)
  assert.equal(readiness.json<{ ready: boolean }>().ready, false)
  assert.equal((await ill.inject('/healthz')).statusCode, 503)
  assert.deepEqual((await ill.inject('/health')).json(), { status: 'unhealthy' })
})

test('/status speaks as the deep-RL scheduler did, and says null for what this version does not have', async (t) => {
  const status = (await (await serve(t)).inject('/status')).json<Record<string, unknown>>()
  assert.equal(status['status'], 'running')
  assert.equal(status['scheduled_pods'], 5)
  assert.equal(status['failed_schedules'], 7)
  assert.equal(status['total_requests'], 12)
  assert.equal(status['fallback_decisions'], 1)
  assert.equal(status['failed_bindings'], 2)
  assert.equal(status['uptime_seconds'], 61.5)
  for (const later of ['training_episodes', 'epsilon', 'model_version']) assert.equal(status[later], null)
})

test('the explanation of a pod comes as JSON, or in sentences', async (t) => {
  const app = await serve(t)
  const json = (await app.inject('/api/v1/decisions/default/web-1')).json<{
    node: string
    candidates: { node: string }[]
  }>()
  assert.equal(json.node, 'node-1')
  assert.equal(json.candidates[1]?.node, 'node-2')
  const text = await app.inject('/api/v1/decisions/default/web-1?format=text')
  assert.match(String(text.headers['content-type']), /^text\/plain/)
  assert.match(text.body, /^default\/web-1 .* node-1\.\n/)
  const unknown = await app.inject('/api/v1/decisions/default/nobody')
  assert.equal(unknown.statusCode, 404)
  assert.equal(unknown.json<Failure>().error.code, 'NOT_FOUND')
})

test('filters, limit and cursor reach the store as they were written', async (t) => {
  const asked: unknown[] = []
  const app = await serve(t, {
    decisions: {
      ...sampleView().decisions,
      list: (filter) => {
        asked.push({ ...filter })
        return { records: [] }
      },
    },
  })
  await app.inject('/api/v1/decisions?namespace=a&node=n&policy=p&outcome=waiting&sinceMs=5&limit=7&cursor=x%20y')
  await app.inject('/api/v1/decisions')
  assert.deepEqual(asked, [
    { namespace: 'a', node: 'n', policy: 'p', outcome: 'waiting', sinceMs: 5, limit: 7, cursor: 'x y' },
    { limit: 100 },
  ])
})

test('a query that is misspelt or out of range is refused, never ignored', async (t) => {
  const app = await serve(t)
  for (const query of [
    'limt=1',
    'limit=0',
    'limit=1001',
    'limit=1.5',
    'limit=x',
    'limit=1&limit=2',
    'outcome=lost',
    '__proto__=1',
    'sinceMs=soon',
    `cursor=${'x'.repeat(300)}`,
  ]) {
    const response = await app.inject(`/api/v1/decisions?${query}`)
    assert.equal(response.statusCode, 400, query)
    assert.equal(response.json<Failure>().error.code, 'BAD_REQUEST', query)
  }
  assert.equal((await app.inject('/api/v1/decisions/default/web-1?format=xml')).statusCode, 400)
})

test('hostile paths get a clear refusal as JSON', async (t) => {
  const app = await serve(t)
  const expected: readonly (readonly [string, number])[] = [
    ['/cluster/nodes/__proto__', 404],
    ['/cluster/nodes/constructor', 404],
    ['/cluster/nodes/..%2f..%2fetc%2fpasswd', 404],
    ['/cluster/nodes/%00', 404],
    ['/cluster/nodes/%0d%0aset-cookie:x', 404],
    ['/cluster/nodes/%', 400],
    ['/cluster/nodes/%ff%fe', 400],
    [`/cluster/nodes/${'a'.repeat(254)}`, 400],
    [`/cluster/nodes/${'a'.repeat(8_000)}`, 414],
    ['/api/v1/decisions/__proto__/toString', 404],
    ['/nothing', 404],
    ['//', 404],
    ['/training/trigger', 404],
  ]
  for (const [url, status] of expected) {
    const response = await app.inject(url)
    assert.equal(response.statusCode, status, url.slice(0, 60))
    assert.deepEqual([...Value.Errors(answers.Failure, response.json())], [], url)
    assert.ok(response.body.length < 1_000, url)
    assert.equal(response.headers['set-cookie'], undefined)
  }
  assert.equal((await app.inject({ method: 'POST', url: '/status', payload: { x: 1 } })).statusCode, 404)
})

test('labels and names from the cluster arrive unchanged, whatever they are called', async (t) => {
  const detail = sampleView().node('node-1')
  assert.ok(detail)
  const labels = new Map([
    ['__proto__', 'x'],
    ['constructor', '</script><script>alert(1)</script>'],
  ])
  const app = await serve(t, { node: () => ({ ...detail, labels }) })
  const response = await app.inject('/cluster/nodes/node-1')
  const read = response.json<{ labels: object }>().labels
  assert.deepEqual(Object.entries(read), [...labels])
  assert.match(String(response.headers['content-security-policy']), /default-src 'none'/)
  assert.equal(response.headers['x-content-type-options'], 'nosniff')
})

test('an unexpected error is logged and not shown; one of ours is told with its code', async (t) => {
  const logged: (LogFields | undefined)[] = []
  const log: Log = { ...silent, error: (_message, fields) => logged.push(fields) }
  const secret = new Error('the password is hunter2')
  const broken = await serve(
    t,
    {
      clusterSummary: () => {
        throw secret
      },
      nodes: () => {
        throw new StowageError('STORE_UNUSABLE', { found: 'the disk is gone' })
      },
    },
    log,
  )
  const unexpected = await broken.inject('/cluster/state')
  assert.equal(unexpected.statusCode, 500)
  assert.equal(unexpected.json<Failure>().error.code, 'INTERNAL')
  assert.ok(!unexpected.body.includes('hunter2'))
  assert.equal(logged[0]?.['error'], secret)
  const ours = await broken.inject('/cluster/nodes')
  assert.equal(ours.statusCode, 503)
  assert.match(ours.json<Failure>().error.message, /the disk is gone/)
})

test('an empty cluster has a usage of zero, not none', async (t) => {
  const app = await serve(t, {
    clusterSummary: () => ({
      ...sampleView().clusterSummary(),
      nodes: 0,
      allocatableCpuMilli: 0,
      allocatableMemoryBytes: 0,
    }),
  })
  const state = (await app.inject('/cluster/state')).json<{ cpu_usage: number; memory_usage: number }>()
  assert.deepEqual([state.cpu_usage, state.memory_usage], [0, 0])
})

test('/metrics on the management port is the text that Prometheus reads', async (t) => {
  const response = await (await serve(t)).inject('/metrics')
  assert.match(String(response.headers['content-type']), /^text\/plain; version=0\.0\.4/)
  assert.match(response.body, /^# HELP scheduler_schedule_attempts_total /m)
})

test('a page that has its own name resolve to this machine learns nothing', async () => {
  const app = await managementServer({ view: sampleView(), metrics: new Metrics(), host: '127.0.0.1', log: silent })
  const status = async (host: string): Promise<number> =>
    (await app.inject({ url: '/config', headers: { host } })).statusCode
  assert.equal(await status('evil.example'), 421)
  assert.equal(await status('evil.example:8000'), 421)
  assert.equal(await status('localhost:8000'), 200)
  assert.equal(await status('127.0.0.1:8000'), 200)
  assert.equal(await status('[::1]:8000'), 200)
  await app.close()
  const everywhere = await managementServer({
    view: sampleView(),
    metrics: new Metrics(),
    host: '0.0.0.0',
    log: silent,
  })
  assert.equal((await everywhere.inject({ url: '/config', headers: { host: 'stowage.team.svc' } })).statusCode, 200)
  await everywhere.close()
})
