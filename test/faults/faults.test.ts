import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import type { FaultRule } from '../../src/simulation/apiserver/faults.ts'
import { node, pod } from '../builders.ts'
import { Cluster, startEmbedded } from '../e2e/cluster.ts'
import { type RunningScheduler, startScheduler, unaccounted } from '../e2e/scheduler.ts'

const ours = (name: string) => pod(name).scheduler('stowage')
const bindings = /\/binding$/

describe('whatever the API server does', { timeout: 120_000 }, () => {
  let api: Awaited<ReturnType<typeof startEmbedded>>
  let cluster: Cluster
  let scheduler: RunningScheduler

  before(async () => {
    api = await startEmbedded()
  })
  after(() => api.stop())
  beforeEach(async () => {
    cluster = new Cluster(api.kubeconfigPath)
    await cluster.create(node('n1').cpu('64').pods(300), node('n2').cpu('64').pods(300))
    scheduler = await startScheduler(api.kubeconfigPath)
  })
  afterEach(async () => {
    api.server.faults.clear()
    await scheduler.stop()
    await cluster.empty()
    await cluster.close()
  })

  /** Creates pods and waits until each is bound and reported; then everything must add up. */
  const place = async (count: number): Promise<void> => {
    const names = Array.from({ length: count }, (_, number) => `p${number}`)
    await cluster.create(...names.map((name) => ours(name).cpu('10m')))
    await cluster.pods.until('all pods are bound', (pods) =>
      names.every((name) => pods.get(`default/${name}`)?.spec?.nodeName),
    )
    const told = (name: string): number => cluster.eventsOf(name).filter(({ reason }) => reason === 'Scheduled').length
    await cluster.events.until('each pod has its Scheduled event', () => names.every((name) => told(name) > 0))
    assert.deepEqual(
      names.filter((name) => told(name) > 1),
      [],
    )
    const { system } = scheduler
    assert.equal(unaccounted(system), 0)
    assert.equal(system.scheduler.conservation().bound, count)
    assert.deepEqual(system.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
  }

  const cases: [title: string, rules: FaultRule[]][] = [
    [
      'a bind that is refused with 409 is tried again, and its room is free meanwhile',
      [{ effect: { kind: 'status', status: 409 }, method: 'POST', path: bindings, times: 3 }],
    ],
    [
      'binds throttled with 429 and Retry-After arrive all the same',
      [{ effect: { kind: 'status', status: 429, retryAfterSeconds: 1 }, method: 'POST', path: bindings, times: 10 }],
    ],
    [
      'binds answered with 500 and 503 arrive all the same',
      [
        { effect: { kind: 'status', status: 500 }, method: 'POST', path: bindings, times: 5 },
        { effect: { kind: 'status', status: 503 }, method: 'POST', path: bindings, times: 5 },
      ],
    ],
    [
      'a bind whose connection breaks is sent again',
      [{ effect: { kind: 'reset' }, method: 'POST', path: bindings, times: 2 }],
    ],
    [
      'a bind that was done although its answer was lost counts as done, and is reported',
      [{ effect: { kind: 'lostAnswer' }, method: 'POST', path: bindings, times: 2 }],
    ],
    [
      'a slow server makes binds slow and nothing else',
      [{ effect: { kind: 'delay', delayMs: 300 }, method: 'POST', path: bindings, times: 20 }],
    ],
    [
      'events that are refused for a while are sent later, and none is lost',
      [{ effect: { kind: 'status', status: 503 }, method: 'POST', path: /\/events$/, times: 20 }],
    ],
  ]
  for (const [title, rules] of cases) {
    test(title, async () => {
      for (const rule of rules) api.server.faults.add(rule)
      await place(20)
    })
  }

  test('watches that are cut go on where they were', async () => {
    await place(10)
    api.server.faults.cutWatches()
    await cluster.create(ours('afterwards'))
    await cluster.bound('afterwards')
    assert.equal(unaccounted(scheduler.system), 0)
  })

  test('when the server has forgotten the version to go on from (410), everything is read anew, also what disappeared meanwhile', async () => {
    await cluster.create(ours('gone').cpu('60'), ours('stays').cpu('60'))
    await cluster.bound('gone')
    await cluster.bound('stays')
    await cluster.create(ours('waits').cpu('60'))
    await cluster.refused('waits')
    // Nobody may see the deletion as an event.
    const unseen = api.server.faults.add({ effect: { kind: 'status', status: 503 }, method: 'GET', path: /watch=/ })
    api.server.faults.cutWatches()
    await cluster.deletePod('gone')
    api.server.faults.forgetHistory()
    unseen()
    await cluster.bound('waits')
    assert.equal(unaccounted(scheduler.system), 0)
    assert.deepEqual(scheduler.system.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
  })

  test('a server that fails one request in ten in every way still gets every pod bound and reported once', async () => {
    const effects: FaultRule['effect'][] = [
      { kind: 'status', status: 500 },
      { kind: 'status', status: 503 },
      { kind: 'status', status: 429, retryAfterSeconds: 1 },
      { kind: 'lostAnswer' },
      { kind: 'delay', delayMs: 50 },
    ]
    // Of binds and events; what the test itself asks for is spared.
    for (const effect of effects) {
      for (const path of [bindings, /\/events$/])
        api.server.faults.add({ effect, method: 'POST', path, fraction: 0.02 })
    }
    await place(150)
  })
})
