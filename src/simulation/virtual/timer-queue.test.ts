import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Clock, VirtualClock } from '../../clock/clock.ts'
import { TimerQueue } from './timer-queue.ts'

/** A virtual clock that knows how many timers are pending. */
const countingClock = (): { clock: VirtualClock; counted: Clock; pending: () => number } => {
  const clock = new VirtualClock()
  let pending = 0
  const counted: Clock = {
    nowMs: () => clock.nowMs(),
    monotonicMs: () => clock.monotonicMs(),
    after: (delayMs, run) => {
      pending++
      let over = false
      const end = (): void => {
        if (!over) pending--
        over = true
      }
      const timer = clock.after(delayMs, () => {
        end()
        run()
      })
      return {
        cancel: () => {
          end()
          timer.cancel()
        },
      }
    },
  }
  return { clock, counted, pending: () => pending }
}

test('calls run at their time, those of one time in the order they were asked for, cancelled ones never', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ delayMs: fc.nat(50), cancel: fc.boolean() }), { maxLength: 60 }), (calls) => {
      const clock = new VirtualClock(0)
      const queue = new TimerQueue(clock)
      const ran: [atMs: number, call: number][] = []
      for (const [index, { delayMs, cancel }] of calls.entries()) {
        const timer = queue.after(delayMs, () => ran.push([clock.monotonicMs(), index]))
        if (cancel) timer.cancel()
      }
      clock.advance(100)
      const expected = calls
        .map(({ delayMs, cancel }, index) => ({ delayMs, cancel, index }))
        .filter(({ cancel }) => !cancel)
        .sort((a, b) => a.delayMs - b.delayMs || a.index - b.index)
      assert.deepEqual(
        ran.map(([, index]) => index),
        expected.map(({ index }) => index),
      )
      // A call may come up to a millisecond early, with one that was due.
      for (const [index, { delayMs }] of expected.entries()) assert.ok(Math.abs((ran[index]?.[0] ?? -9) - delayMs) <= 1)
    }),
    { seed: 7, numRuns: 200 },
  )
})

test('any number of calls costs one timer of the clock, and none once it is stopped', () => {
  const { clock, counted, pending } = countingClock()
  const queue = new TimerQueue(counted)
  let ran = 0
  for (let i = 0; i < 10_000; i++) queue.after(1 + (i % 1000), () => ran++)
  assert.equal(pending(), 1)
  clock.advance(500)
  assert.ok(ran >= 5000 && ran < 5100, String(ran))
  assert.equal(pending(), 1)
  queue.stop()
  assert.equal(pending(), 0)
  queue.after(1, () => ran++)
  assert.equal(pending(), 0)
})

test('calls that ask for further calls are served in one go of time', () => {
  const clock = new VirtualClock()
  const queue = new TimerQueue(clock)
  let ticks = 0
  const again = (): void => {
    ticks++
    queue.after(10, again)
  }
  queue.after(10, again)
  clock.advance(1000)
  assert.equal(ticks, 100)
})
