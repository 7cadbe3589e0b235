import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../clock/random.ts'
import { ApiReporter, cutNote } from './reporter.ts'
import { withServer } from './scripted-connection.fixture.ts'
import { slimPod } from './pods.fixture.ts'
import { WaitingClock } from './waiting-clock.fixture.ts'
import type { Exchange, ScriptedServer } from './scripted-server.fixture.ts'

interface Given {
  readonly server: ScriptedServer
  readonly reporter: ApiReporter
  readonly clock: WaitingClock
  readonly givenUp: string[]
  binds: number
}

const reporting = (name: string, run: (given: Given) => Promise<void>, maxQueued = 1_000): void =>
  void test(name, { timeout: 10_000 }, () =>
    withServer(async (server, connection) => {
      const clock = new WaitingClock(Date.UTC(2026, 0, 1))
      const givenUp: string[] = []
      const given: Given = { server, clock, givenUp, binds: 0, reporter: undefined as never }
      const reporter = new ApiReporter({
        connection,
        clock,
        random: seededRandom(1),
        hostname: 'host',
        bindsInFlight: () => given.binds,
        maxQueued,
        onGivenUp: (pod, what, why) => givenUp.push(`${what} of ${pod.name}: ${why}`),
      })
      await run(Object.assign(given, { reporter }))
      await reporter.drain(AbortSignal.abort(new Error('the test is over')))
    }),
  )

const isEvent = (exchange: Exchange): boolean => exchange.path.startsWith('/apis/events.k8s.io/v1/')
const isCondition = (exchange: Exchange): boolean => exchange.path.endsWith('/status')
const never = new AbortController().signal

reporting('a bound pod gets the event that kube-scheduler writes', async ({ server, reporter }) => {
  reporter.scheduled(slimPod('a'), 'n1')
  const exchange = await server.next()
  assert.equal(`${exchange.method} ${exchange.path}`, 'POST /apis/events.k8s.io/v1/namespaces/ns/events')
  const { metadata, ...event } = exchange.body as { metadata: { name: string; namespace: string } }
  assert.match(metadata.name, /^a\.[0-9a-f]+$/)
  assert.deepEqual(event, {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    eventTime: '2026-01-01T00:00:00.000000Z',
    reportingController: 'stowage',
    reportingInstance: 'stowage-host',
    action: 'Binding',
    reason: 'Scheduled',
    type: 'Normal',
    note: 'Successfully assigned ns/a to n1',
    regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'ns', name: 'a', uid: 'uid-a', resourceVersion: '7' },
  })
  exchange.answer(201, {})
  await reporter.drain(never)
})

reporting('a pod that waits gets a condition and a warning with the same words', async ({ server, reporter }) => {
  reporter.failed(slimPod('a', { generation: 3 }), 'Unschedulable', '0/2 nodes are available: 2 Insufficient cpu.')
  const condition = await server.next(isCondition)
  assert.equal(`${condition.method} ${condition.path}`, 'PATCH /api/v1/namespaces/ns/pods/a/status')
  assert.equal(condition.headers['content-type'], 'application/strategic-merge-patch+json')
  assert.deepEqual(condition.body, {
    metadata: { uid: 'uid-a', resourceVersion: '7' },
    status: {
      conditions: [
        {
          type: 'PodScheduled',
          status: 'False',
          reason: 'Unschedulable',
          message: '0/2 nodes are available: 2 Insufficient cpu.',
          observedGeneration: 3,
          lastTransitionTime: '2026-01-01T00:00:00Z',
        },
      ],
    },
  })
  condition.answer(200, {})
  const event = await server.next(isEvent)
  const { reason, action, type, note } = event.body as Record<string, string>
  assert.deepEqual([reason, action, type], ['FailedScheduling', 'Scheduling', 'Warning'])
  assert.equal(note, '0/2 nodes are available: 2 Insufficient cpu.')
  event.answer(201, {})
  await reporter.drain(never)
})

reporting(
  'a condition that says the same already is not written again, and keeps its time when only words change',
  async ({ server, reporter }) => {
    const scheduledCondition = { status: 'False', reason: 'Unschedulable', message: 'old' }
    reporter.failed(slimPod('a', { scheduledCondition }), 'Unschedulable', 'old')
    ;(await server.next()).answer(201, {})
    await reporter.drain(never)
    reporter.failed(slimPod('b', { scheduledCondition }), 'Unschedulable', 'new')
    const condition = await server.next(isCondition)
    const [written] = (condition.body as { status: { conditions: Record<string, string>[] } }).status.conditions
    assert.equal(written?.['message'], 'new')
    assert.equal(written?.['lastTransitionTime'], undefined)
  },
)

reporting(
  'a pod that was bound while its condition was on the way is left as it is',
  async ({ server, reporter, givenUp }) => {
    reporter.failed(slimPod('a'), 'Unschedulable', 'no room')
    ;(await server.next(isEvent)).answer(201, {})
    ;(await server.next(isCondition)).refuse(409, 'Conflict', 'the object has been modified')
    const look = await server.next()
    assert.equal(`${look.method} ${look.path}`, 'GET /api/v1/namespaces/ns/pods/a')
    look.answer(200, { metadata: { uid: 'uid-a', resourceVersion: '9' }, spec: { nodeName: 'n1' } })
    await reporter.drain(never)
    assert.deepEqual(givenUp, [])
  },
)

reporting('a pod that changed otherwise gets its condition at its new version', async ({ server, reporter }) => {
  reporter.failed(slimPod('a'), 'Unschedulable', 'no room')
  ;(await server.next(isEvent)).answer(201, {})
  ;(await server.next(isCondition)).refuse(409, 'Conflict', 'the object has been modified')
  ;(await server.next()).answer(200, { metadata: { uid: 'uid-a', resourceVersion: '9' }, spec: {} })
  const again = await server.next(isCondition)
  assert.equal((again.body as { metadata: { resourceVersion: string } }).metadata.resourceVersion, '9')
  again.answer(200, {})
  await reporter.drain(never)
})

reporting('a pod that is bound before its condition was sent never gets it', async ({ server, reporter }) => {
  const blockers = Array.from({ length: 32 }, (_, i) => slimPod(`blocker-${i}`))
  for (const pod of blockers) reporter.scheduled(pod, 'n1')
  reporter.failed(slimPod('a'), 'Unschedulable', 'no room')
  reporter.scheduled(slimPod('a'), 'n1')
  for (let i = 0; i < 34; i++) {
    const exchange = await server.next()
    assert.ok(isEvent(exchange))
    exchange.answer(201, {})
  }
  await reporter.drain(never)
})

reporting('the same warning within six minutes is one event whose count rises', async ({ server, reporter, clock }) => {
  const scheduledCondition = { status: 'False', reason: 'Unschedulable', message: 'no room' }
  const pod = slimPod('a', { scheduledCondition })
  reporter.failed(pod, 'Unschedulable', 'no room')
  const created = await server.next()
  const { name } = (created.body as { metadata: { name: string } }).metadata
  created.answer(201, {})
  await reporter.drain(never)
  // Draining ends all series; from here on a new one is watched.
  reporter.failed(pod, 'Unschedulable', 'no room')
  const another = await server.next()
  const { name: second } = (another.body as { metadata: { name: string } }).metadata
  assert.notEqual(second, name)
  clock.advance(60_000)
  reporter.failed(pod, 'Unschedulable', 'no room')
  another.answer(201, {})
  const patch = await server.next()
  assert.equal(`${patch.method} ${patch.path}`, `PATCH /apis/events.k8s.io/v1/namespaces/ns/events/${second}`)
  assert.deepEqual(patch.body, { series: { count: 2, lastObservedTime: '2026-01-01T00:01:00.000000Z' } })
  patch.answer(200, {})
  clock.advance(60_000)
  reporter.failed(pod, 'Unschedulable', 'no room')
  clock.advance(60_000)
  reporter.failed(pod, 'Unschedulable', 'no room')
  assert.equal(server.waiting, 0)
  clock.advance(8 * 60_000)
  const last = await server.next()
  assert.deepEqual(last.body, { series: { count: 4, lastObservedTime: '2026-01-01T00:03:00.000000Z' } })
  last.answer(200, {})
  await reporter.drain(never)
})

reporting('draining tells the counts that nobody has been told yet', async ({ server, reporter }) => {
  const scheduledCondition = { status: 'False', reason: 'Unschedulable', message: 'no room' }
  const pod = slimPod('a', { scheduledCondition })
  for (let i = 0; i < 3; i++) reporter.failed(pod, 'Unschedulable', 'no room')
  ;(await server.next()).answer(201, {})
  const drained = reporter.drain(never)
  const patch = await server.next()
  assert.equal((patch.body as { series: { count: number } }).series.count, 3)
  patch.answer(200, {})
  await drained
})

reporting('while binds are under way reports use few requests, afterwards many', async (given) => {
  const { server, reporter } = given
  given.binds = 1
  for (let i = 0; i < 100; i++) reporter.scheduled(slimPod(`p${i}`), 'n1')
  const open = await Promise.all(Array.from({ length: 4 }, () => server.next()))
  assert.equal(reporter.queued, 100)
  given.binds = 0
  open.pop()?.answer(201, {})
  open.push(...(await Promise.all(Array.from({ length: 29 }, () => server.next()))))
  assert.equal(server.waiting, 0)
  const drained = reporter.drain(never)
  for (let left = 99; left > 0; left--) {
    const exchange = open.pop() ?? (await server.next())
    exchange.answer(201, {})
  }
  await drained
})

reporting(
  'no event is lost to a server that fails, throttles or hangs up',
  async ({ server, reporter, clock, givenUp }) => {
    reporter.scheduled(slimPod('a'), 'n1')
    const fail = [
      (exchange: Exchange) => exchange.refuse(500, 'InternalError', 'etcd is away'),
      (exchange: Exchange) => exchange.refuse(429, 'TooManyRequests', 'busy', { 'retry-after': '2' }),
      (exchange: Exchange) => exchange.cut(),
    ]
    let name = ''
    for (const how of fail) {
      const exchange = await server.next()
      name ||= (exchange.body as { metadata: { name: string } }).metadata.name
      const waits = clock.nextWait()
      how(exchange)
      await waits
      clock.advance(20_000)
    }
    const last = await server.next()
    assert.equal((last.body as { metadata: { name: string } }).metadata.name, name)
    // It had arrived, only the answer was lost.
    last.refuse(409, 'AlreadyExists', 'exists')
    await reporter.drain(never)
    assert.deepEqual(givenUp, [])
  },
)

reporting('what the server refuses for good is given up and said', async ({ server, reporter, givenUp }) => {
  reporter.scheduled(slimPod('a'), 'n1')
  ;(await server.next()).refuse(403, 'Forbidden', 'namespace ns is being terminated')
  await reporter.drain(never)
  assert.deepEqual(givenUp, ['event of a: status 403: namespace ns is being terminated'])
  assert.equal(reporter.dropped, 1)
})

reporting(
  'reports beyond the bound are dropped and counted',
  async ({ reporter, givenUp }) => {
    for (let i = 0; i < 60; i++) reporter.scheduled(slimPod(`p${i}`), 'n1')
    assert.equal(reporter.queued, 50)
    assert.equal(reporter.dropped, 10)
    assert.equal(givenUp[0], 'event of p50: too many reports wait')
  },
  50,
)

reporting('a drain that may not go on says what was left', async ({ server, reporter, givenUp }) => {
  for (let i = 0; i < 40; i++) reporter.scheduled(slimPod(`p${i}`), 'n1')
  await server.next()
  const stop = new AbortController()
  const drained = reporter.drain(stop.signal)
  stop.abort(new Error('time is up'))
  await drained
  assert.equal(givenUp.length, 40)
  assert.equal(reporter.queued, 0)
})

void test('a note is cut at 1,024 bytes between characters and ends in " ..."', () => {
  assert.equal(cutNote('x'.repeat(1_024)), 'x'.repeat(1_024))
  assert.equal(cutNote('x'.repeat(1_025)), `${'x'.repeat(1_020)} ...`)
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 2_000, size: 'max' }), (text) => {
      const note = cutNote(text)
      assert.ok(Buffer.byteLength(note) <= 1_024)
      if (note !== text) {
        assert.ok(note.endsWith(' ...'))
        assert.ok(text.startsWith(note.slice(0, -4)))
        assert.ok(Buffer.byteLength(note) > 1_024 - 4)
      }
    }),
    { seed: 3, numRuns: 50 },
  )
})

reporting('a nomination is written along with the condition, and taken away again', async ({ server, reporter }) => {
  const pod = slimPod('a')
  const told = async (): Promise<unknown> => {
    const exchange = await server.next(isCondition)
    exchange.answer(200, {})
    return (exchange.body as { status: { nominatedNodeName?: unknown } }).status.nominatedNodeName
  }
  reporter.failed(pod, 'Unschedulable', 'room is made', 'n1')
  assert.equal(await told(), 'n1')
  const waiting = { status: 'False', reason: 'Unschedulable', message: 'room is made' }
  const nominated = slimPod('a', { nominatedNodeName: 'n1', scheduledCondition: waiting, resourceVersion: '8' })
  reporter.failed(nominated, 'Unschedulable', 'room is made', '')
  assert.equal(await told(), null)
  reporter.denominated(nominated)
  assert.equal(await told(), null)
})

reporting('who was evicted for whom and where, the victim is told', async ({ server, reporter }) => {
  reporter.preempted(slimPod('victim', { schedulerName: 'other' }), slimPod('a'), 'n1')
  const { body } = await server.next(isEvent)
  const { regarding, ...event } = body as Record<string, Record<string, unknown>>
  assert.equal(regarding?.['name'], 'victim')
  assert.deepEqual(
    [event['type'], event['reason'], event['action'], event['note'], event['reportingController']],
    ['Normal', 'Preempted', 'Preempting', 'Preempted by pod uid-a on node n1', 'stowage'],
  )
})
