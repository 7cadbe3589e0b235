import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import { VirtualClock } from '../../clock/clock.ts'
import { type Arrival, type ArrivalProgress, runArrivals } from './arrivals.ts'

const arrival = (atMs: number, name: string): Arrival => ({ atMs, pod: { metadata: { name } } })

/** Lets promises settle between steps of the clock. */
const pass = async (clock: VirtualClock, ms: number): Promise<void> => {
  for (let i = 0; i < ms; i++) {
    clock.advance(1)
    await turn()
  }
  await turn()
}

test('pods are created at their times, and the last report says that all came', async () => {
  const clock = new VirtualClock()
  const created: [name: string, atMs: number][] = []
  const reports: ArrivalProgress[] = []
  const run = runArrivals({
    arrivals: [arrival(0, 'a'), arrival(0, 'b'), arrival(20, 'c')],
    create: async (pod) => {
      created.push([pod.metadata?.name ?? '', clock.monotonicMs()])
    },
    clock,
    concurrency: 4,
    signal: new AbortController().signal,
    onProgress: (progress) => reports.push({ ...progress }),
  })
  await pass(clock, 25)
  assert.deepEqual(created, [
    ['a', 0],
    ['b', 0],
    ['c', 20],
  ])
  assert.deepEqual(await run, { total: 3, created: 3, failed: 0, reasons: new Map(), done: true })
  assert.equal(reports.length, 3)
  assert.deepEqual([reports[0]?.done, reports.at(-1)?.done, reports.at(-1)?.created], [false, true, 3])
})

test('a slow API server is never asked for more than the bound, and gets every pod in order all the same', async () => {
  const clock = new VirtualClock()
  let underWay = 0
  let most = 0
  const order: string[] = []
  const run = runArrivals({
    arrivals: Array.from({ length: 50 }, (_, index) => arrival(index, `p${index}`)),
    create: (pod) => {
      order.push(pod.metadata?.name ?? '')
      most = Math.max(most, ++underWay)
      return new Promise<void>((resolve) => {
        clock.after(10, () => {
          underWay--
          resolve()
        })
      })
    },
    clock,
    concurrency: 3,
    signal: new AbortController().signal,
  })
  await pass(clock, 250)
  assert.equal((await run).created, 50)
  assert.equal(most, 3)
  assert.deepEqual(
    order,
    Array.from({ length: 50 }, (_, index) => `p${index}`),
  )
})

test('pods that the API server refuses are counted by reason, and the others still come', async () => {
  const clock = new VirtualClock()
  const result = await runArrivals({
    arrivals: Array.from({ length: 40 }, (_, index) => arrival(0, `p${index}`)),
    create: (pod) => {
      const number = Number(pod.metadata?.name?.slice(1))
      if (number % 2 === 0) return Promise.resolve()
      if (number === 1) throw new Error('thrown at once')
      return Promise.reject(new Error(`refused ${number}`))
    },
    clock,
    concurrency: 8,
    signal: new AbortController().signal,
  })
  assert.deepEqual([result.created, result.failed, result.done], [20, 20, true])
  assert.equal(result.reasons.get('thrown at once'), 1)
  assert.equal(result.reasons.get('other'), 8)
  assert.equal(result.reasons.size, 13)
})

test('after an abort no pod is started on, and those under way are waited for', async () => {
  const clock = new VirtualClock()
  const stop = new AbortController()
  const created: string[] = []
  const run = runArrivals({
    arrivals: [arrival(0, 'a'), arrival(5, 'b'), arrival(1000, 'c')],
    create: (pod) =>
      new Promise<void>((resolve) => {
        clock.after(20, () => {
          created.push(pod.metadata?.name ?? '')
          resolve()
        })
      }),
    clock,
    concurrency: 4,
    signal: stop.signal,
  })
  await pass(clock, 10)
  stop.abort()
  await pass(clock, 30)
  assert.deepEqual(await run, { total: 3, created: 2, failed: 0, reasons: new Map(), done: false })
  assert.deepEqual(created, ['a', 'b'])
})
