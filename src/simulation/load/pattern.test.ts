import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { StowageError } from '../../errors/catalogue.ts'
import { createPattern, PATTERN_NAMES } from './pattern.ts'

const seconds = (value: number): number => value * 1000

describe('a load pattern', () => {
  it('ramp rises evenly from 0 to 100 users', () => {
    const ramp = createPattern({ name: 'ramp', durationMs: seconds(100) })
    assert.deepEqual(
      [0, 25, 50, 99.9].map((at) => ramp.usersAt(seconds(at))),
      [0, 25, 50, 100],
    )
  })

  it('spike goes from 20 to 100 users at once and back', () => {
    const spike = createPattern({ name: 'spike', durationMs: seconds(100) })
    assert.deepEqual(
      [0, 29.9, 30, 69.9, 70, 99].map((at) => spike.usersAt(seconds(at))),
      [20, 20, 100, 100, 20, 20],
    )
  })

  it('periodic is a sine of three waves between the fewest and the most users', () => {
    const periodic = createPattern({ name: 'periodic', durationMs: seconds(300), minUsers: 10, maxUsers: 110 })
    assert.deepEqual(
      [0, 25, 50, 75, 100, 125, 275].map((at) => periodic.usersAt(seconds(at))),
      [60, 110, 60, 10, 60, 110, 10],
    )
  })

  it('random draws every 30 s, the same numbers for the same seed and others for another', () => {
    const users = (seed: number) => {
      const random = createPattern({ name: 'random', durationMs: seconds(1200), seed })
      return Array.from({ length: 40 }, (_, at) => {
        const [first, last] = [random.usersAt(seconds(at * 30)), random.usersAt(seconds(at * 30 + 29.999))]
        assert.equal(first, last)
        return first
      })
    }
    assert.deepEqual(users(7), users(7))
    assert.notDeepEqual(users(7), users(8))
    assert.ok(new Set(users(7)).size > 20)
  })

  it('stays between the fewest and the most users while it lasts, and is nobody before and after', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...PATTERN_NAMES),
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.integer({ min: 0, max: 500 }),
        fc.integer({ min: 0, max: 500 }),
        fc.integer(),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (name, durationMs, minUsers, more, seed, at) => {
          const pattern = createPattern({ name, durationMs, minUsers, maxUsers: minUsers + more, seed })
          const users = pattern.usersAt(at * durationMs)
          assert.ok(Number.isInteger(users) && users >= minUsers && users <= minUsers + more, `${users}`)
          assert.equal(pattern.usersAt(-1), 0)
          assert.equal(pattern.usersAt(durationMs), 0)
        },
      ),
      { seed: 1, numRuns: 300 },
    )
  })

  it('takes fewer users than its default least where only the most is given', () => {
    const spike = createPattern({ name: 'spike', durationMs: seconds(10), maxUsers: 5 })
    assert.equal(spike.minUsers, 5)
  })

  it('says what is wrong with numbers that make no pattern', () => {
    const refused = (options: Partial<Parameters<typeof createPattern>[0]>) =>
      assert.throws(
        () => createPattern({ name: 'ramp', durationMs: 1000, ...options }),
        (error) => error instanceof StowageError && error.code === 'CONFIG_INVALID_VALUE',
      )
    refused({ durationMs: 0 })
    refused({ durationMs: Number.NaN })
    refused({ durationMs: Number.POSITIVE_INFINITY })
    refused({ minUsers: -1 })
    refused({ minUsers: 1.5 })
    refused({ maxUsers: 1e9 })
    refused({ minUsers: 9, maxUsers: 8 })
    refused({ name: 'sudden' as 'ramp' })
    refused({ seed: 0.5 })
  })
})
