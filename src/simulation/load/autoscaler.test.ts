import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type AutoscalerOptions, HorizontalAutoscaler } from './autoscaler.ts'

const bounds = { minReplicas: 1, maxReplicas: 10, target: 0.5 }
const minute = 60_000

/** One look after another, 15 s apart, with the same use of every ready pod; returns what it wanted each time. */
const looks = (options: AutoscalerOptions, current: number, uses: readonly number[]): number[] => {
  const autoscaler = new HorizontalAutoscaler(options)
  return uses.map((use, at) => {
    current = autoscaler.desired({
      nowMs: at * 15_000,
      current,
      utilisations: Array.from({ length: current }, () => use),
      unready: 0,
    })
    return current
  })
}

describe('the horizontal autoscaler', () => {
  it('wants the replicas at which the metric would be at its target', () => {
    assert.deepEqual(looks(bounds, 2, [0.9]), [4])
    assert.deepEqual(looks(bounds, 3, [0.6]), [4])
    assert.deepEqual(looks({ ...bounds, maxReplicas: 5 }, 4, [2]), [5])
  })

  it('leaves alone what is within a tenth of the target', () => {
    assert.deepEqual(looks(bounds, 4, [0.54, 0.46, 0.5]), [4, 4, 4])
    assert.deepEqual(looks(bounds, 4, [0.56]), [5])
  })

  it('takes replicas away only when nothing in the last 300 s wanted more', () => {
    const idle = Array.from({ length: 21 }, () => 0.1)
    const wanted = looks(bounds, 4, [0.5, ...idle])
    // at 0 s four were wanted; that counts until 300 s have passed
    assert.equal(wanted[19], 4)
    assert.equal(wanted[20], 1)
  })

  it('at once where nobody asked for stabilisation', () => {
    assert.deepEqual(looks({ ...bounds, downStabilisationMs: 0 }, 4, [0.1]), [1])
  })

  it('adds no more than four pods or twice as many in 15 s, whichever is more', () => {
    assert.deepEqual(looks({ ...bounds, maxReplicas: 100 }, 1, [50, 50, 50]), [5, 10, 20])
  })

  it('removes no faster than it was told', () => {
    const slow = [{ kind: 'pods', value: 1, periodMs: minute }] as const
    const wanted = looks({ ...bounds, downStabilisationMs: 0, down: slow }, 5, [0.01, 0.01, 0.01, 0.01, 0.01])
    assert.deepEqual(wanted, [4, 4, 4, 4, 3])
  })

  it('counts pods that are not ready as idle when it would add more, and never removes because of them', () => {
    const autoscaler = new HorizontalAutoscaler(bounds)
    const view = { nowMs: 0, current: 4, unready: 2 }
    // two busy at 0.9 alone would make it 4; with two idle ones the mean is 0.45
    assert.equal(autoscaler.desired({ ...view, utilisations: [0.9, 0.9] }), 4)
    assert.equal(new HorizontalAutoscaler(bounds).desired({ ...view, utilisations: [1.5, 1.5] }), 6)
  })

  it('does nothing while nobody is measured, and nothing at all where there is nobody', () => {
    assert.equal(new HorizontalAutoscaler(bounds).desired({ nowMs: 0, current: 3, utilisations: [], unready: 3 }), 3)
    assert.equal(new HorizontalAutoscaler(bounds).desired({ nowMs: 0, current: 0, utilisations: [], unready: 0 }), 0)
  })

  it('stays within its bounds whatever it sees', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { maxLength: 40 }), (uses) => {
        for (const wanted of looks({ ...bounds, minReplicas: 2 }, 2, uses)) assert.ok(wanted >= 2 && wanted <= 10)
      }),
      { seed: 1, numRuns: 100 },
    )
  })
})
