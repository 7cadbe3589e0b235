import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sleep, VirtualClock } from './clock.ts'
import { seededRandom } from './random.ts'

describe('the virtual clock', () => {
  it('runs what falls due in the order of time, then of scheduling, and nothing that was cancelled', () => {
    const clock = new VirtualClock(0)
    const ran: string[] = []
    clock.after(20, () => ran.push(`late at ${clock.nowMs()}`))
    clock.after(10, () => {
      ran.push(`first at ${clock.nowMs()}`)
      clock.after(5, () => ran.push(`nested at ${clock.nowMs()}`))
    })
    clock.after(10, () => ran.push('second'))
    clock.after(12, () => ran.push('never')).cancel()
    clock.advance(20)
    assert.deepEqual(ran, ['first at 10', 'second', 'nested at 15', 'late at 20'])
    assert.equal(clock.monotonicMs(), 20)
  })

  it('keeps that order among thousands of calls, steps from one to the next, and stops at the time it is given', () => {
    const random = seededRandom(3)
    const clock = new VirtualClock(0)
    const ran: { atMs: number; number: number }[] = []
    for (let number = 0; number < 5000; number++) {
      const atMs = random.below(500)
      const timer = clock.after(atMs, () => ran.push({ atMs, number }))
      if (number % 7 === 0) timer.cancel()
    }
    let steps = 0
    while (clock.step(250)) steps++
    assert.equal(steps, ran.length)
    assert.ok(clock.monotonicMs() <= 250)
    while (clock.step());
    assert.equal(ran.length, 5000 - Math.ceil(5000 / 7))
    assert.deepEqual(
      ran,
      ran.toSorted((a, b) => a.atMs - b.atMs || a.number - b.number),
    )
    assert.equal(clock.step(), false)
  })

  it('runs what falls due exactly when it is told to go as far, in fractions of milliseconds too', () => {
    const clock = new VirtualClock()
    let ran = 0
    for (const delayMs of [512.345_678_9, 0.1, 1e-4, 1 / 3]) {
      clock.after(delayMs, () => ran++)
      clock.advance(delayMs)
    }
    assert.equal(ran, 4)
  })

  it('ends a sleep at once when its signal is aborted', async () => {
    const clock = new VirtualClock()
    const abort = new AbortController()
    const slept = sleep(clock, 1000, abort.signal)
    abort.abort(new Error('stop'))
    await assert.rejects(slept, /stop/)
    await assert.rejects(sleep(clock, 1000, abort.signal), /stop/)
  })
})

describe('seeded randomness', () => {
  it('repeats with its seed and differs with another', () => {
    const draw = (seed: number) =>
      Array.from(
        { length: 5 },
        (
          (random) => () =>
            random.below(1000)
        )(seededRandom(seed)),
      )
    assert.deepEqual(draw(7), draw(7))
    assert.notDeepEqual(draw(7), draw(8))
  })

  it('is spread evenly', () => {
    const random = seededRandom(1)
    const counts = Array.from({ length: 10 }, () => 0)
    for (let i = 0; i < 100_000; i++) {
      const value = random.below(10)
      counts[value] = (counts[value] ?? 0) + 1
    }
    for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, counts.join())
  })
})
