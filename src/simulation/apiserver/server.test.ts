import assert from 'node:assert/strict'
import { connect } from 'node:http2'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { VirtualClock, systemClock } from '../../clock/clock.ts'
import { seededRandom } from '../../clock/random.ts'
import type { KubeObject, PodObject } from '../../cluster/objects.ts'
import { StowageError } from '../../errors/catalogue.ts'
import { ContractClient } from './contract.ts'
import { ApiFailure } from './failure.ts'
import { type Json, listAt, numberAt, textAt } from './json.ts'
import { type EmbeddedApiServer, startApiServer } from './server.ts'

const pods = '/api/v1/namespaces/default/pods'
const pod = (name: string, namespace = 'default'): PodObject => ({
  metadata: { name, namespace },
  spec: { containers: [{ name: 'main', image: 'i' }] },
})
const timeout = 20_000

describe('an embedded API server', { timeout }, () => {
  let server: EmbeddedApiServer
  let client: ContractClient
  before(async () => {
    server = await startApiServer({ clock: systemClock })
    client = new ContractClient({ url: server.url, token: server.token, ca: server.caPem })
  })
  after(async () => {
    await client.close()
    await server.stop()
  })

  test('lets nobody in without its token, except to ask after its health and version', async () => {
    const stranger = new ContractClient({ url: server.url, token: 'guess', ca: server.caPem })
    try {
      const refused = await stranger.get(pods)
      assert.deepEqual([refused.status, refused.body['reason']], [401, 'Unauthorized'])
      for (const path of ['/healthz', '/livez', '/readyz', '/version'])
        assert.equal((await stranger.get(path)).status, 200)
    } finally {
      await stranger.close()
    }
  })

  test('speaks HTTP/2', async () => {
    const session = connect(server.url, { ca: server.caPem })
    try {
      const status = await new Promise((resolve, reject) => {
        const stream = session.request({ ':path': pods, authorization: `Bearer ${server.token}` })
        stream.on('response', (headers) => resolve(headers[':status']))
        stream.on('error', reject)
        stream.resume()
      })
      assert.equal(status, 200)
    } finally {
      session.destroy()
    }
  })

  test('says which port is taken and what to do', async () => {
    await assert.rejects(startApiServer({ clock: systemClock, port: server.port }), (error: unknown) => {
      assert.ok(error instanceof StowageError)
      assert.equal(error.code, 'PORT_IN_USE')
      assert.match(error.message, new RegExp(`port ${server.port} on 127.0.0.1 is taken; choose another port`))
      return true
    })
  })

  test('refuses a body of more than 3 MiB and goes on serving', async () => {
    assert.equal((await client.post(pods, 'x'.repeat(3 * 1024 * 1024 + 1))).status, 413)
    assert.equal((await client.get(pods)).status, 200)
  })

  test('keeps keys such as __proto__ as data that changes nothing else', async () => {
    const maps = '/api/v1/namespaces/default/configmaps'
    await client.post(maps, '{"metadata":{"name":"proto"},"data":{"__proto__":"x"}}')
    await client.merge(`${maps}/proto`, '{"data":{"__proto__":"y","constructor":"z"},"__proto__":{"polluted":true}}')
    assert.equal(({} as Json)['polluted'], undefined)
    assert.match((await client.get(`${maps}/proto`)).text, /"data":\{"__proto__":"y","constructor":"z"\}/)
  })

  test('shows code in its process the same objects as clients, under the same rules', async () => {
    const seen: string[] = []
    const stop = server.objects.subscribe('pods', ({ type, object }) => seen.push(`${type} ${object.metadata?.name}`))
    server.objects.create('pods', pod('inside'))
    await client.post(`${pods}/inside/binding`, { metadata: { name: 'inside' }, target: { name: 'n1' } })
    const bound = server.objects.get('pods', 'default', 'inside') as PodObject
    assert.equal(bound.spec?.nodeName, 'n1')
    server.objects.update('pods', { ...bound, status: { ...bound.status, phase: 'Running' } } as PodObject, 'status')
    assert.equal(textAt((await client.get(`${pods}/inside`)).body, 'status', 'phase'), 'Running')
    assert.throws(
      () => server.objects.update('pods', { ...bound, status: {} } as PodObject, 'status'),
      (error: unknown) => error instanceof ApiFailure && error.code === 409,
    )
    assert.throws(
      () => server.objects.create('pods', { metadata: { name: 'x', namespace: 'default' } }),
      (error: unknown) => error instanceof ApiFailure && error.code === 422,
    )
    server.objects.remove('pods', 'default', 'inside', 0)
    stop()
    assert.deepEqual(seen, ['ADDED inside', 'MODIFIED inside', 'MODIFIED inside', 'MODIFIED inside', 'DELETED inside'])
  })

  test('tells listeners of what listeners change in the order in which it happened', () => {
    const seen: string[] = []
    const stops = [
      server.objects.subscribe('configmaps', ({ type, object }) => {
        if (type === 'ADDED') server.objects.update('configmaps', { ...object, data: { a: 'b' } } as KubeObject)
      }),
      server.objects.subscribe('configmaps', ({ type }) => seen.push(type)),
    ]
    server.objects.create('configmaps', { metadata: { name: 'order', namespace: 'default' } })
    for (const stop of stops) stop()
    assert.deepEqual(seen, ['ADDED', 'MODIFIED'])
  })

  test('serves measurements once there are any, and forgets those of nodes that go', async () => {
    const path = '/apis/metrics.k8s.io/v1beta1/nodes'
    assert.equal((await client.get(path)).status, 404)
    server.objects.create('nodes', { metadata: { name: 'm1' } })
    server.setNodeUsage('m1', { cpuMilli: 250, memoryBytes: 1024 ** 3 })
    server.setPodUsage('default', 'p', { cpuMilli: 10, memoryBytes: 1024 })
    const [measured] = listAt((await client.get(path)).body, 'items')
    assert.deepEqual(measured?.['usage'], { cpu: '250m', memory: '1048576Ki' })
    assert.match((await client.get('/apis')).text, /metrics\.k8s\.io/)
    server.objects.remove('nodes', '', 'm1')
    assert.deepEqual(listAt((await client.get(path)).body, 'items'), [])
  })

  test('lets nobody define anew what is built in, and forgets the attempt without touching its objects', async () => {
    const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
    const leases = '/apis/coordination.k8s.io/v1/namespaces/default/leases'
    assert.equal(
      (await client.post(leases, { metadata: { name: 'kept' }, spec: { holderIdentity: 'me' } })).status,
      201,
    )
    const schema = { openAPIV3Schema: { type: 'object' } }
    const made = await client.post(definitions, {
      metadata: {
        name: 'leases.coordination.k8s.io',
        annotations: { 'api-approved.kubernetes.io': 'unapproved, a test' },
      },
      spec: {
        group: 'coordination.k8s.io',
        scope: 'Namespaced',
        names: { plural: 'leases', kind: 'Mine' },
        versions: [{ name: 'v1', served: true, storage: true, schema }],
      },
    })
    assert.equal(made.status, 201, made.text)
    const read = await client.get(`${leases}/kept`)
    assert.deepEqual([textAt(read.body, 'kind'), textAt(read.body, 'spec', 'holderIdentity')], ['Lease', 'me'])
    assert.equal((await client.delete(`${definitions}/leases.coordination.k8s.io`)).status, 200)
    assert.equal((await client.get(`${definitions}/leases.coordination.k8s.io`)).status, 404)
    assert.equal((await client.get(`${leases}/kept`)).status, 200)
  })

  test('removes a namespace when the last thing in it is gone', async () => {
    await client.post('/api/v1/namespaces', { metadata: { name: 'short' } })
    server.objects.create('pods', pod('bound', 'short'))
    server.objects.create('configmaps', { metadata: { name: 'c', namespace: 'short' } })
    await client.post('/api/v1/namespaces/short/pods/bound/binding', {
      metadata: { name: 'bound' },
      target: { name: 'n1' },
    })
    await client.delete('/api/v1/namespaces/short')
    assert.equal(server.objects.get('configmaps', 'short', 'c'), undefined)
    assert.equal(textAt((await client.get('/api/v1/namespaces/short')).body, 'status', 'phase'), 'Terminating')
    server.objects.remove('pods', 'short', 'bound', 0)
    assert.equal((await client.get('/api/v1/namespaces/short')).status, 404)
  })
})

describe('faults on demand', { timeout }, () => {
  let server: EmbeddedApiServer
  let client: ContractClient
  before(async () => {
    server = await startApiServer({ clock: systemClock, random: seededRandom(7) })
    client = new ContractClient({ url: server.url, token: server.token, ca: server.caPem })
  })
  after(async () => {
    await client.close()
    await server.stop()
  })

  test('a status for so many requests of a kind, with Retry-After where clients are to wait', async () => {
    server.faults.add({
      effect: { kind: 'status', status: 429, retryAfterSeconds: 3 },
      method: 'POST',
      path: /\/pods$/,
      times: 2,
    })
    const statuses: number[] = []
    for (let i = 0; i < 3; i++) {
      const answer = await client.post(pods, pod('a'))
      statuses.push(answer.status)
      if (answer.status === 429) assert.equal(answer.headers['retry-after'], '3')
    }
    assert.deepEqual(statuses, [429, 429, 201])
    assert.equal((await client.get(pods)).status, 200)
  })

  test('a fraction of requests fails, and none after all is cleared', async () => {
    server.faults.add({ effect: { kind: 'status', status: 503 }, fraction: 0.5 })
    const statuses = new Set<number>()
    for (let i = 0; i < 20; i++) statuses.add((await client.get(pods)).status)
    assert.deepEqual(statuses, new Set([200, 503]))
    server.faults.clear()
    for (let i = 0; i < 5; i++) assert.equal((await client.get(pods)).status, 200)
  })

  test('a connection that breaks before the work is done, and one that breaks after it', async () => {
    server.objects.create('pods', pod('b'))
    const bind = (): Promise<unknown> =>
      client.post(`${pods}/b/binding`, { metadata: { name: 'b' }, target: { name: 'n1' } })
    server.faults.add({ effect: { kind: 'reset' }, path: /binding/, times: 1 })
    await assert.rejects(bind())
    assert.equal((server.objects.get('pods', 'default', 'b') as PodObject).spec?.nodeName, undefined)
    server.faults.add({ effect: { kind: 'lostAnswer' }, path: /binding/, times: 1 })
    await assert.rejects(bind())
    assert.equal((server.objects.get('pods', 'default', 'b') as PodObject).spec?.nodeName, 'n1')
  })

  test('watches are cut, and resuming from a forgotten resourceVersion says 410 so that the client lists again', async () => {
    const list = (await client.get(pods)).body
    const from = textAt(list, 'metadata', 'resourceVersion')
    const path = `${pods}?watch=true&resourceVersion=${from}`
    const open = client.watch(path, () => false)
    await until(() => server.watchCount === 1)
    server.faults.cutWatches()
    assert.deepEqual(await open, [])
    server.faults.forgetHistory()
    const [event] = await client.watch(path, () => false)
    assert.deepEqual(
      [event?.['type'], numberAt(event, 'object', 'code'), textAt(event, 'object', 'reason')],
      ['ERROR', 410, 'Expired'],
    )
    const again = textAt((await client.get(pods)).body, 'metadata', 'resourceVersion')
    const resumed = client.watch(`${pods}?watch=true&resourceVersion=${again}`, () => true)
    server.objects.create('pods', pod('later'))
    assert.equal(textAt((await resumed)[0], 'object', 'metadata', 'name'), 'later')
  })

  test('a list whose pages are forgotten half way says 410', async () => {
    const first = (await client.get(`${pods}?limit=1`)).body
    server.faults.forgetHistory()
    const next = await client.get(`${pods}?limit=1&continue=${textAt(first, 'metadata', 'continue')}`)
    assert.deepEqual([next.status, next.body['reason']], [410, 'Expired'])
  })

  test('a stalled watch stays open and silent while a new one hears everything', async () => {
    const stalledEvents: Json[] = []
    const stalled = client.watch(
      `${pods}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dquiet`,
      (event) => stalledEvents.push(event) < 0,
    )
    await until(() => server.watchCount === 1)
    server.faults.stallWatches()
    const healthy = client.watch(`${pods}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Dquiet`, () => true)
    await until(() => server.watchCount === 2)
    server.objects.create('pods', pod('quiet'))
    assert.equal((await healthy).length, 1)
    assert.deepEqual(stalledEvents, [])
    server.faults.cutWatches()
    await stalled
  })

  test('a server that is killed and started again is the same one', async () => {
    const open = client.watch(`${pods}?watch=true&resourceVersion=0`, () => false)
    await until(() => server.watchCount === 1)
    const { url, token, caPem } = server
    await server.stop()
    await open.catch(() => undefined)
    await assert.rejects(client.get(pods))
    await server.restart()
    assert.deepEqual([server.url, server.token, server.caPem], [url, token, caPem])
    const kept = (await client.get(pods)).body
    assert.ok(listAt(kept, 'items').some((item) => textAt(item, 'metadata', 'name') === 'a'))
  })
})

describe('an embedded API server in virtual time', { timeout }, () => {
  test('bookmarks come each minute, watches end after their time, events live for an hour', async () => {
    const clock = new VirtualClock()
    const server = await startApiServer({ clock, tls: false })
    const client = new ContractClient({ url: server.url, token: server.token, ca: '' })
    try {
      server.objects.create('events', {
        metadata: { name: 'e', namespace: 'default' },
        involvedObject: { namespace: 'default' },
      } as KubeObject)
      const bookmark = client.watch(`${pods}?watch=true&resourceVersion=0&allowWatchBookmarks=true`, () => true)
      const ending = client.watch(`${pods}?watch=true&resourceVersion=0&timeoutSeconds=90`, () => false)
      await until(() => server.watchCount === 2)
      clock.advance(61_000)
      assert.equal((await bookmark)[0]?.['type'], 'BOOKMARK')
      clock.advance(30_000)
      assert.deepEqual(await ending, [])
      assert.equal(server.objects.list('events').length, 1)
      clock.advance(3_600_000)
      assert.equal(server.objects.list('events').length, 0)
    } finally {
      await client.close()
      await server.stop()
    }
  })

  test('the same seed gives the same names and uids', async () => {
    const made = async (): Promise<string[]> => {
      const server = await startApiServer({ clock: new VirtualClock(), random: seededRandom(1), tls: false })
      const { metadata } = server.objects.create('configmaps', {
        metadata: { generateName: 'c-', namespace: 'default' },
      })
      await server.stop()
      return [metadata?.name ?? '', metadata?.uid ?? '', metadata?.creationTimestamp ?? '']
    }
    assert.deepEqual(await made(), await made())
  })
})

describe('requests that nobody would send on purpose', { timeout: 60_000 }, () => {
  const whole: Json = {
    metadata: {
      name: 'odd',
      labels: { a: 'b' },
      finalizers: ['x.y/z'],
      ownerReferences: [{ apiVersion: 'v1', kind: 'K', name: 'n', uid: 'u' }],
    },
    spec: {
      containers: [
        {
          name: 'c',
          image: 'i',
          ports: [{ containerPort: 1 }],
          env: [{ name: 'E' }],
          resources: { requests: { cpu: '1' }, limits: { cpu: '1' } },
        },
      ],
      initContainers: [{ name: 'd', image: 'i' }],
      tolerations: [{ key: 'k', operator: 'Exists' }],
      nodeSelector: { a: 'b' },
      schedulingGates: [{ name: 'g' }],
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: 'k', operator: 'Exists' }] }],
          },
        },
      },
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: 'z',
          whenUnsatisfiable: 'DoNotSchedule',
          labelSelector: { matchLabels: { a: 'b' } },
        },
      ],
      volumes: [{ name: 'v', configMap: { name: 'c' } }],
      template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
      selector: { matchLabels: { a: 'b' } },
      taints: [{ key: 'k', effect: 'NoSchedule' }],
    },
    status: {
      conditions: [{ type: 'T', status: 'True' }],
      capacity: { cpu: '1' },
      containerStatuses: [{ name: 'c', state: { running: {} } }],
    },
    data: { a: 'b' },
    involvedObject: { namespace: 'default', name: 'x' },
    series: { count: 2 },
  }
  const spots: string[][] = []
  const visit = (value: unknown, path: string[]): void => {
    if (path.length > 0) spots.push(path)
    if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) visit(inner, [...path, key])
  }
  visit(whole, [])
  const withSpot = (path: readonly string[], value: unknown): Json => {
    const copy = structuredClone(whole)
    let here: Record<string, unknown> = copy
    for (const key of path.slice(0, -1)) here = here[key] as Record<string, unknown>
    here[path.at(-1) ?? ''] = value
    return copy
  }

  test('are answered with what is wrong, never with an internal error', async () => {
    const defects: string[] = []
    const server = await startApiServer({ clock: systemClock, tls: false, log: (message) => defects.push(message) })
    const client = new ContractClient({ url: server.url, token: server.token, ca: '' })
    const kinds = [
      '/api/v1/namespaces/default/pods',
      '/api/v1/nodes',
      '/api/v1/namespaces/default/events',
      '/apis/events.k8s.io/v1/namespaces/default/events',
      '/apis/apps/v1/namespaces/default/deployments',
      '/api/v1/namespaces/default/configmaps',
      '/api/v1/namespaces/default/secrets',
      '/apis/policy/v1/namespaces/default/poddisruptionbudgets',
    ]
    for (const kind of kinds) await client.post(kind, whole)
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...kinds),
          fc.constantFrom(...spots),
          fc.jsonValue({ maxDepth: 2 }),
          async (kind, spot, value) => {
            const body = withSpot(spot, value)
            const answers = [
              await client.post(kind, body),
              await client.put(`${kind}/odd`, body),
              await client.merge(`${kind}/odd`, body),
              await client.strategic(`${kind}/odd`, body),
              await client.strategic(`${kind}/odd/status`, body),
              await client.get(kind, { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' }),
              await client.post(`${kind}/odd/binding`, body),
              await client.delete(`${kind}/odd?dryRun=All`, body),
            ]
            for (const answer of answers)
              assert.notEqual(
                answer.body['reason'],
                'InternalError',
                `${kind} ${spot.join('.')} ${JSON.stringify(value)}: ${answer.text}`,
              )
          },
        ),
        { seed: 15, numRuns: 150 },
      )
      assert.deepEqual(defects, [])
    } finally {
      await client.close()
      await server.stop()
    }
  })

  test('odd paths and queries are no exception', async () => {
    const server = await startApiServer({ clock: systemClock, tls: false })
    const client = new ContractClient({ url: server.url, token: server.token, ca: '' })
    try {
      for (const path of [
        '/',
        '//',
        '/api',
        '/apis/',
        '/api/v1/',
        '/api//pods',
        '/api/v1/namespaces//pods',
        '/api/v1/pods/%',
        '/api/v1/namespaces/a/b/c/d/e',
        '/api/v1/watch',
        '/openapi/v3/x',
        '/api/v1/pods?limit=-1',
        '/api/v1/pods?limit=1e9',
        '/api/v1/pods?continue=e30',
        '/api/v1/pods?labelSelector=%00',
        '/api/v1/pods?fieldSelector==',
        '/api/v1/pods?resourceVersion=-1',
        '/api/v1/nodes?watch=1&resourceVersion=z',
        '/api/v1/constructor',
        '/apis/__proto__/v1/pods',
      ])
        assert.ok((await client.get(path)).status < 500, path)
    } finally {
      await client.close()
      await server.stop()
    }
  })
})

/** Resolves when something has become true within the server; each look lets it work on. */
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}
