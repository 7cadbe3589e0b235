import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../clock/random.ts'
import { type GangSource, type PodGroupObject, readPodGroup } from '../cluster/gangs.ts'
import type { GangReport } from '../scheduling/ports.ts'
import { ApiReporter } from './reporter.ts'
import { withServer } from './scripted-connection.fixture.ts'
import type { ScriptedServer } from './scripted-server.fixture.ts'
import { WaitingClock } from './waiting-clock.fixture.ts'

interface Given {
  readonly server: ScriptedServer
  readonly reporter: ApiReporter
  readonly clock: WaitingClock
  readonly forbidden: string[]
}

const ROOTS: Readonly<Record<string, string>> = {
  'scheduling.k8s.io': '/apis/scheduling.k8s.io/v1beta1',
  'scheduling.x-k8s.io': '/apis/scheduling.x-k8s.io/v1alpha1',
  'scheduling.volcano.sh': '/apis/scheduling.volcano.sh/v1beta1',
}

const reporting = (name: string, run: (given: Given) => Promise<void>): void =>
  void test(name, { timeout: 10_000 }, () =>
    withServer(async (server, connection) => {
      const clock = new WaitingClock(Date.UTC(2026, 0, 1))
      const forbidden: string[] = []
      const reporter = new ApiReporter({
        connection,
        clock,
        random: seededRandom(1),
        hostname: 'host',
        bindsInFlight: () => 0,
        groupKind: (source) => ({ root: ROOTS[source] ?? '', plural: 'podgroups', namespaced: true }),
        onForbidden: (source, why) => forbidden.push(`${source}: ${why}`),
      })
      await run({ server, reporter, clock, forbidden })
      await reporter.drain(AbortSignal.abort(new Error('the test is over')))
    }),
  )

const never = new AbortController().signal
const atMs = Date.UTC(2026, 0, 1)
const time = '2026-01-01T00:00:00Z'

const object = (status: NonNullable<PodGroupObject['status']> = {}, resourceVersion = '7'): PodGroupObject => ({
  metadata: { namespace: 'ns', name: 'g', uid: 'uid-g', resourceVersion, generation: 3 },
  spec: { minMember: 2 },
  status,
})

const report = (
  source: GangSource,
  outcome: GangReport['outcome'],
  message = '',
  status?: PodGroupObject['status'],
): GangReport => ({ group: readPodGroup(source, object(status ?? {})), outcome, message, atMs })

reporting("Kubernetes' group gets kube-scheduler's condition", async ({ server, reporter }) => {
  reporter.gang(report('scheduling.k8s.io', 'Unschedulable', 'no room'))
  const exchange = await server.next()
  assert.equal(
    `${exchange.method} ${exchange.path}`,
    'PATCH /apis/scheduling.k8s.io/v1beta1/namespaces/ns/podgroups/g/status',
  )
  const condition = {
    type: 'PodGroupInitiallyScheduled',
    status: 'False',
    reason: 'Unschedulable',
    message: 'no room',
    observedGeneration: 3,
    lastTransitionTime: time,
  }
  assert.deepEqual(exchange.body, { metadata: { uid: 'uid-g' }, status: { conditions: [condition] } })
  exchange.answer(200, {})
  reporter.gang(report('scheduling.k8s.io', 'Scheduled'))
  const next = await server.next()
  const body = next.body as { status: { conditions: unknown[] } }
  assert.deepEqual(body.status.conditions, [{ ...condition, status: 'True', reason: 'Scheduled', message: '' }])
  next.answer(200, {})
  await reporter.drain(never)
})

reporting(
  'nothing is written that the group says already, and never that it is not scheduled once it was',
  async (given) => {
    const { server, reporter } = given
    const type = 'PodGroupInitiallyScheduled'
    const refused = { conditions: [{ type, status: 'False', reason: 'Unschedulable', message: 'no room' }] }
    const scheduled = { conditions: [{ type, status: 'True', reason: 'Scheduled' }] }
    reporter.gang(report('scheduling.k8s.io', 'Unschedulable', 'no room', refused))
    reporter.gang({ ...report('scheduling.k8s.io', 'Unschedulable', 'no room', scheduled), atMs: atMs + 1 })
    await reporter.drain(never)
    assert.equal(server.waiting, 0)
    // The same outcome for another reason is no transition.
    reporter.gang(report('scheduling.k8s.io', 'Unschedulable', 'other words', refused))
    const exchange = await server.next()
    const { status } = exchange.body as { status: { conditions: Record<string, unknown>[] } }
    assert.equal(status.conditions[0]?.['message'], 'other words')
    assert.equal('lastTransitionTime' in (status.conditions[0] ?? {}), false)
    exchange.answer(200, {})
    await reporter.drain(never)
  },
)

reporting("coscheduling's status is its controller's", async ({ server, reporter }) => {
  reporter.gang(report('scheduling.x-k8s.io', 'Scheduled'))
  await reporter.drain(never)
  assert.equal(server.waiting, 0)
})

reporting("Volcano's group gets its phase and one of its two conditions, and keeps the others", async (given) => {
  const { server, reporter } = given
  const other = { type: 'Other', status: 'True', extra: [1] }
  const had = { phase: 'Inqueue', conditions: [other, { type: 'Unschedulable', status: 'True', reason: 'x' }] }
  reporter.gang(report('scheduling.volcano.sh', 'Unschedulable', 'no room', had))
  const first = await server.next()
  const unschedulable = {
    type: 'Unschedulable',
    status: 'True',
    reason: 'NotEnoughResources',
    message: 'no room',
    transitionID: `uid-g-${atMs}`,
    lastTransitionTime: time,
  }
  assert.deepEqual(first.body, {
    metadata: { uid: 'uid-g', resourceVersion: '7' },
    // Volcano's own scheduler has let it in already.
    status: { phase: 'Inqueue', conditions: [other, unschedulable] },
  })
  // Somebody else has written it meanwhile: what is written now leaves that alone.
  first.refuse(409, 'Conflict', 'the object has been modified')
  ;(await server.next()).answer(200, object({ phase: '', conditions: [{ type: 'Fresh', status: 'True' }] }, '8'))
  const again = await server.next()
  assert.deepEqual(again.body, {
    metadata: { uid: 'uid-g', resourceVersion: '8' },
    status: { phase: 'Pending', conditions: [{ type: 'Fresh', status: 'True' }, unschedulable] },
  })
  again.answer(200, {})
  reporter.gang(report('scheduling.volcano.sh', 'Scheduled', '', { phase: 'Pending', conditions: [unschedulable] }))
  const last = await server.next()
  const { status } = last.body as { status: { phase: string; conditions: { type: string }[] } }
  assert.equal(status.phase, 'Running')
  assert.deepEqual(
    status.conditions.map(({ type }) => type),
    ['Scheduled'],
  )
  last.answer(200, {})
  await reporter.drain(never)
})

reporting('another group of the same name is not written, nor one that is gone', async ({ server, reporter }) => {
  reporter.gang(report('scheduling.k8s.io', 'Scheduled'))
  ;(await server.next()).refuse(409, 'Conflict', 'Precondition failed: UID in precondition')
  ;(await server.next()).answer(200, { metadata: { uid: 'uid-another' } })
  reporter.gang(report('scheduling.volcano.sh', 'Scheduled'))
  ;(await server.next()).refuse(404, 'NotFound', 'podgroups "g" not found')
  await reporter.drain(never)
  assert.equal(server.waiting, 0)
})

reporting('what the server cannot take now is sent again, and only the latest', async ({ clock, server, reporter }) => {
  reporter.gang(report('scheduling.k8s.io', 'Unschedulable', 'no room'))
  const first = await server.next()
  reporter.gang(report('scheduling.k8s.io', 'Unschedulable', 'less room'))
  reporter.gang(report('scheduling.k8s.io', 'Scheduled'))
  const waits = clock.nextWait(10_000)
  first.refuse(503, 'ServiceUnavailable', 'later')
  clock.advance(await waits)
  const again = await server.next()
  assert.deepEqual(again.body, first.body)
  again.answer(200, {})
  const last = await server.next()
  const { status } = last.body as { status: { conditions: { status: string }[] } }
  assert.equal(status.conditions[0]?.status, 'True')
  last.answer(200, {})
  await reporter.drain(never)
})

reporting('that it may not be written is told once for each API', async ({ forbidden, server, reporter }) => {
  for (const message of ['one', 'two', 'three']) {
    reporter.gang(report('scheduling.k8s.io', 'Unschedulable', message))
    ;(await server.next()).refuse(403, 'Forbidden', 'podgroups is forbidden')
    await reporter.drain(never)
  }
  assert.deepEqual(forbidden, ['scheduling.k8s.io: status 403: podgroups is forbidden'])
  assert.equal(reporter.dropped, 3)
})
