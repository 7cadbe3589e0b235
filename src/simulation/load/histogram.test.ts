import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Histogram } from './histogram.ts'

const histogramOf = (values: readonly number[]): Histogram => {
  const histogram = new Histogram()
  for (const value of values) histogram.record(value)
  return histogram
}

const latencies = fc.array(fc.double({ min: 1e-4, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 300 })

describe('the histogram of latencies', () => {
  it('gives every quantile of the whole run within 0.5 %', () => {
    fc.assert(
      fc.property(latencies, fc.double({ min: 0, max: 1, noNaN: true }), (values, q) => {
        const sorted = values.toSorted((a, b) => a - b)
        const exact = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0
        const told = histogramOf(values).quantile(q)
        assert.ok(Math.abs(told - exact) <= 0.005001 * exact, `${told} for ${exact}`)
      }),
      { seed: 1, numRuns: 500 },
    )
  })

  it('is not the last second: one bad second in a hundred moves the p99, not the p50', () => {
    const values = Array.from({ length: 10_000 }, (_, at) => (at < 9_800 ? 10 : 1000))
    const { p50, p95, p99, max, mean } = histogramOf(values).percentiles()
    assert.ok(Math.abs(p50 - 10) < 0.06 && Math.abs(p95 - 10) < 0.06, `${p50} ${p95}`)
    assert.ok(Math.abs(p99 - 1000) < 6, `${p99}`)
    assert.equal(max, 1000)
    assert.equal(mean, 29.8)
  })

  it('of two parts together is that of the whole', () => {
    fc.assert(
      fc.property(latencies, latencies, (first, second) => {
        const together = histogramOf(first)
        together.add(histogramOf(second))
        const whole = histogramOf([...first, ...second])
        assert.equal(together.count, whole.count)
        for (const q of [0, 0.5, 0.95, 0.99, 1]) assert.equal(together.quantile(q), whole.quantile(q))
      }),
      { seed: 2, numRuns: 100 },
    )
  })

  it('takes anything without breaking, and is empty again when cleared', () => {
    const histogram = histogramOf([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e300])
    assert.equal(histogram.count, 5)
    assert.ok(Number.isFinite(histogram.quantile(1)))
    histogram.clear()
    assert.deepEqual(histogram.percentiles(), { mean: 0, p50: 0, p95: 0, p99: 0, max: 0 })
    histogram.record(5)
    assert.ok(Math.abs(histogram.quantile(0.5) - 5) < 0.03)
  })
})
