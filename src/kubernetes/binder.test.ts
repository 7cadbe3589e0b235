import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Timer, VirtualClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { BindFailure } from '../scheduling/ports.ts'
import { ApiBinder } from './binder.ts'
import { withServer } from './scripted-connection.fixture.ts'
import { slimPod } from './pods.fixture.ts'
import type { ScriptedServer } from './scripted-server.fixture.ts'

/** A clock on which each wait is over at once; the waits are written down. */
class HurriedClock extends VirtualClock {
  readonly waitsMs: number[] = []
  override after(delayMs: number, run: () => void): Timer {
    this.waitsMs.push(delayMs)
    let cancelled = false
    setImmediate(() => {
      if (!cancelled) this.advance(delayMs)
      if (!cancelled) run()
    })
    return { cancel: () => void (cancelled = true) }
  }
}

const never = new AbortController().signal
const conflict = (node: string): string =>
  `Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "${node}"`

const binding = (
  name: string,
  run: (server: ScriptedServer, binder: ApiBinder, clock: HurriedClock) => Promise<void>,
  maxInFlight = 64,
): void =>
  void test(name, { timeout: 10_000 }, () =>
    withServer(async (server, connection) => {
      const clock = new HurriedClock()
      await run(server, new ApiBinder({ connection, clock, random: seededRandom(1), maxInFlight }), clock)
    }),
  )

const fails = async (bind: Promise<void>, kind: BindFailure['kind'], message: RegExp): Promise<void> => {
  await assert.rejects(bind, (error: unknown) => {
    assert.ok(error instanceof BindFailure)
    assert.equal(error.kind, kind)
    assert.match(error.message, message)
    return true
  })
}

binding('a bind names the pod with its uid and the node, once', async (server, binder) => {
  const bound = binder.bind(slimPod('a'), 'n1', never)
  assert.equal(binder.inFlight, 1)
  const exchange = await server.next()
  assert.equal(`${exchange.method} ${exchange.path}`, 'POST /api/v1/namespaces/ns/pods/a/binding')
  assert.deepEqual(exchange.body, {
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { namespace: 'ns', name: 'a', uid: 'uid-a' },
    target: { kind: 'Node', name: 'n1' },
  })
  exchange.answer(201, { kind: 'Status', status: 'Success' })
  await bound
  assert.equal(binder.inFlight, 0)
})

for (const status of [500, 503]) {
  binding(`${status} is tried again, with growing pauses, four times in all`, async (server, binder, clock) => {
    const bound = binder.bind(slimPod('a'), 'n1', never)
    const failed = fails(bound, 'error', /etcd is away/)
    for (let i = 0; i < 4; i++) (await server.next()).refuse(status, 'InternalError', 'etcd is away')
    await failed
    assert.equal(clock.waitsMs.length, 3)
    assert.ok((clock.waitsMs[0] ?? 0) < (clock.waitsMs[2] ?? 0))
  })
}

binding('429 waits as long as the server asked, and is no failed try', async (server, binder, clock) => {
  const bound = binder.bind(slimPod('a'), 'n1', never)
  for (let i = 0; i < 6; i++) {
    ;(await server.next()).refuse(429, 'TooManyRequests', 'busy', { 'retry-after': '1' })
  }
  ;(await server.next()).answer(201, {})
  await bound
  assert.ok(clock.waitsMs.every((waitMs) => waitMs >= 1_000))
})

binding('a server that says nothing but 429 is given up after half a minute', async (server, binder) => {
  const failed = fails(binder.bind(slimPod('a'), 'n1', never), 'error', /busy/)
  for (let i = 0; i < 3; i++) {
    ;(await server.next()).refuse(429, 'TooManyRequests', 'busy', { 'retry-after': '12' })
  }
  await failed
})

binding('a pod that another scheduler has bound is a conflict', async (server, binder) => {
  const failed = fails(binder.bind(slimPod('a'), 'n1', never), 'conflict', /already assigned to node "n2"/)
  ;(await server.next()).refuse(409, 'Conflict', conflict('n2'))
  await failed
})

binding(
  'a bind whose answer was lost is a success when the server says the pod is where we wanted it',
  async (server, binder) => {
    const bound = binder.bind(slimPod('a'), 'n1', never)
    ;(await server.next()).cut()
    ;(await server.next()).refuse(409, 'Conflict', conflict('n1'))
    await bound
  },
)

binding(
  'a bind whose answer was lost is a conflict when another was quicker, on a node of a similar name too',
  async (server, binder) => {
    for (const other of ['n2', 'n11']) {
      const failed = fails(binder.bind(slimPod('a'), 'n1', never), 'conflict', /already assigned/)
      ;(await server.next()).cut()
      ;(await server.next()).refuse(409, 'Conflict', conflict(other))
      await failed
    }
  },
)

for (const [what, status, message] of [
  ['does not exist any more', 404, 'pods "a" not found'],
  [
    'is being deleted',
    409,
    'Operation cannot be fulfilled on pods/binding "a": pod a is being deleted, cannot be assigned to a host',
  ],
  ['was created anew', 409, 'Precondition failed: UID in precondition: uid-a, UID in object meta: other'],
] as const) {
  binding(`a pod that ${what} is gone`, async (server, binder) => {
    const failed = fails(binder.bind(slimPod('a'), 'n1', never), 'gone', /./)
    ;(await server.next()).refuse(status, 'Conflict', message)
    await failed
  })
}

binding('what the server forbids is an error with its words, not tried again', async (server, binder) => {
  const failed = fails(binder.bind(slimPod('a'), 'n1', never), 'error', /cannot create pods\/binding/)
  ;(await server.next()).refuse(403, 'Forbidden', 'user cannot create pods/binding')
  await failed
  assert.equal(server.waiting, 0)
})

binding('stopping ends a bind that waits for its answer', async (server, binder) => {
  const stop = new AbortController()
  const failed = fails(binder.bind(slimPod('a'), 'n1', stop.signal), 'error', /stopped/)
  const exchange = await server.next()
  stop.abort(new Error('enough'))
  await failed
  await exchange.closed
  assert.equal(binder.inFlight, 0)
})

binding(
  'more binds than may run at once wait their turn, in order',
  async (server, binder) => {
    const bound = ['a', 'b', 'c'].map((name) => binder.bind(slimPod(name), 'n1', never))
    assert.equal(binder.inFlight, 3)
    for (const name of ['a', 'b', 'c']) {
      const exchange = await server.next()
      assert.match(exchange.path, new RegExp(`/pods/${name}/binding`))
      assert.equal(server.waiting, 0)
      exchange.answer(201, {})
    }
    await Promise.all(bound)
  },
  1,
)

binding('a bind says which GPUs the pod was given, on the pod itself', async (server, binder) => {
  const bound = binder.bind({ ...slimPod('a'), gpuDevices: [0, 3] }, 'n1', never)
  const exchange = await server.next()
  const { metadata } = exchange.body as { metadata: unknown }
  assert.deepEqual(metadata, {
    namespace: 'ns',
    name: 'a',
    uid: 'uid-a',
    annotations: { 'stowage.dev/gpu-devices': '0,3' },
  })
  exchange.answer(201, { kind: 'Status', status: 'Success' })
  await bound
})
