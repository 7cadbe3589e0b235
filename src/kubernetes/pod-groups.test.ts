import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../clock/random.ts'
import { awaitPodGroups, findPodGroups } from './pod-groups.ts'
import { withServer } from './scripted-connection.fixture.ts'
import type { ScriptedServer } from './scripted-server.fixture.ts'
import { WaitingClock } from './waiting-clock.fixture.ts'

const resources = (...names: string[]) => ({ resources: names.map((name) => ({ name, namespaced: true })) })

/** What is found on a server, whose answers by path are in `served`; all else is not there. */
const searching = (
  name: string,
  run: (search: {
    readonly server: ScriptedServer
    readonly clock: WaitingClock
    readonly told: string[]
    readonly over: Promise<void>
    readonly stop: AbortController
    readonly answer: (served: Readonly<Record<string, unknown>>, questions: number) => Promise<string[]>
  }) => Promise<void>,
  search = awaitPodGroups,
): void =>
  void test(name, { timeout: 10_000 }, () =>
    withServer(async (server, connection) => {
      const clock = new WaitingClock()
      const told: string[] = []
      const stop = new AbortController()
      const over = search({
        connection,
        clock,
        random: seededRandom(1),
        signal: stop.signal,
        onServed: (source, kind) => told.push(`${source}: ${kind.root}/${kind.plural}`),
        onTrouble: (why) => told.push(why),
      })
      const answer = async (served: Readonly<Record<string, unknown>>, questions: number): Promise<string[]> => {
        const asked: string[] = []
        for (let question = 0; question < questions; question++) {
          const exchange = await server.next()
          asked.push(exchange.path)
          const body = served[exchange.path]
          if (body === undefined) exchange.refuse(404, 'NotFound', 'the server could not find the requested resource')
          else exchange.answer(200, body)
        }
        return asked
      }
      await run({ server, clock, told, over, stop, answer })
      stop.abort(new Error('the test is over'))
      await over
    }),
  )

const ALL = [
  '/apis/scheduling.k8s.io/v1beta1',
  '/apis/scheduling.k8s.io/v1alpha3',
  '/apis/scheduling.x-k8s.io/v1alpha1',
  '/apis/scheduling.volcano.sh/v1beta1',
]

searching(
  'what a server lacks is no trouble, and is asked for again until its definition has been installed',
  async ({ answer, clock, told }) => {
    const first = clock.nextWait()
    assert.deepEqual(await answer({}, 4), ALL)
    const delayMs = await first
    assert.equal(delayMs, 15_000)
    assert.deepEqual(told, [])
    const second = clock.nextWait()
    clock.advance(delayMs)
    assert.deepEqual(await answer({ '/apis/scheduling.x-k8s.io/v1alpha1': resources('podgroups') }, 4), ALL)
    clock.advance(await second)
    assert.deepEqual(told, ['scheduling.x-k8s.io: /apis/scheduling.x-k8s.io/v1alpha1/podgroups'])
    // What is there is not asked for again.
    assert.deepEqual(await answer({}, 3), [...ALL.slice(0, 2), ALL[3]])
  },
)

searching(
  'whoever only wants to know what is there now is answered once',
  async ({ answer, over, told }) => {
    assert.deepEqual(await answer({}, 4), ALL)
    await over
    assert.deepEqual(told, [])
  },
  findPodGroups,
)

searching('each API is found in the first version that has PodGroups', async ({ answer, over, told }) => {
  await answer(
    {
      '/apis/scheduling.k8s.io/v1beta1': resources('workloads'),
      '/apis/scheduling.k8s.io/v1alpha3': resources('workloads', 'podgroups', 'podgroups/status'),
      '/apis/scheduling.x-k8s.io/v1alpha1': resources('podgroups'),
      '/apis/scheduling.volcano.sh/v1beta1': resources('podgroups'),
    },
    4,
  )
  await over
  assert.deepEqual(told, [
    'scheduling.k8s.io: /apis/scheduling.k8s.io/v1alpha3/podgroups',
    'scheduling.x-k8s.io: /apis/scheduling.x-k8s.io/v1alpha1/podgroups',
    'scheduling.volcano.sh: /apis/scheduling.volcano.sh/v1beta1/podgroups',
  ])
})

searching('a server that cannot answer is asked again, and answers that make no sense are no API', async (search) => {
  const { answer, clock, server, told } = search
  const waits = clock.nextWait(1_000)
  const exchange = await server.next()
  exchange.refuse(503, 'ServiceUnavailable', 'not now')
  clock.advance(await waits)
  const asksAgain = clock.nextWait()
  await answer({ '/apis/scheduling.k8s.io/v1beta1': { resources: [null, 'podgroups', {}] } }, 4)
  await asksAgain
  assert.equal(told.length, 1)
  assert.match(told[0] ?? '', /503: not now/)
})

searching('the search ends with the scheduler', async ({ over, server, stop, told }) => {
  await server.next()
  stop.abort(new Error('it stops'))
  await over
  assert.deepEqual(told, [])
})
