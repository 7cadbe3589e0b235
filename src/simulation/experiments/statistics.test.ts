import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  adjustHolm,
  comparePaired,
  estimate,
  mean,
  standardDeviation,
  studentQuantile,
  studentTwoSidedP,
} from './statistics.ts'

const near = (actual: number | undefined, expected: number, within = 1e-9): void => {
  assert.ok(actual !== undefined && Math.abs(actual - expected) <= within, `${actual} instead of ${expected}`)
}

test('mean and deviation are those of the sample', () => {
  assert.equal(mean([2, 4, 4, 4, 5, 5, 7, 9]), 5)
  near(standardDeviation([2, 4, 4, 4, 5, 5, 7, 9]), 2.138089935299395)
  assert.equal(standardDeviation([3]), 0)
  assert.throws(() => mean([]), /INTERNAL/)
})

test("Student's t agrees with scipy 1.16 (stats.t.ppf, stats.t.sf)", () => {
  near(studentQuantile(0.95, 1), 12.706204736432095, 1e-8)
  near(studentQuantile(0.95, 9), 2.2621571627409915)
  near(studentQuantile(0.95, 30), 2.0422724563012373)
  near(studentTwoSidedP(2.5, 7), 0.04099221858575289)
  assert.equal(studentTwoSidedP(0, 7), 1)
})

const A = [95.3, 95.5, 95.1, 95.7, 95.45, 95.2, 95.6, 95.33, 95.41, 95.0]
const B = [93.1, 95.9, 93.2, 92.9, 93.15, 93.3, 93.05, 93.0, 93.12, 95.2]

test('the paired comparison agrees with scipy 1.16 (ttest_rel, wilcoxon exact)', () => {
  const { t, pT, pWilcoxon, low, high, meanDifference, least, most, n } = comparePaired(A, B)
  assert.equal(n, 10)
  near(meanDifference, 1.767)
  near(t, 4.977385798908075)
  near(pT, 0.0007621603620253044)
  near(low, 0.9639214627603636)
  near(high, 2.570078537239631)
  near(pWilcoxon, 0.009765625)
  near(least, -0.4)
  near(most, 2.8)
})

test('the same series twice shows no difference, and a constant one is certain by t alone', () => {
  assert.deepEqual([comparePaired(A, A).pT, comparePaired(A, A).pWilcoxon], [1, undefined])
  const shifted = comparePaired([2, 3, 4], [1, 2, 3])
  assert.equal(shifted.pT, 0)
  near(shifted.pWilcoxon, 0.25)
  assert.equal(comparePaired([1], [2]).pT, undefined, 'one pair says nothing')
})

test('the interval widens with the level, holds the mean, and is a point for one value', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 2, maxLength: 30 }),
      (values) => {
        const narrow = estimate(values, 0.5)
        const wide = estimate(values, 0.99)
        assert.ok(wide.low <= narrow.low && narrow.low <= narrow.mean)
        assert.ok(narrow.mean <= narrow.high && narrow.high <= wide.high)
      },
    ),
    { seed: 5, numRuns: 50 },
  )
  assert.deepEqual(estimate([7]), { n: 1, mean: 7, sd: 0, low: 7, high: 7 })
})

test('a comparison turned round has the opposite difference and the same p', () => {
  const values = fc.array(fc.tuple(fc.integer({ min: -20, max: 20 }), fc.integer({ min: -20, max: 20 })), {
    minLength: 2,
    maxLength: 25,
  })
  fc.assert(
    fc.property(values, (pairs) => {
      const [a, b] = [pairs.map(([x]) => x), pairs.map(([, y]) => y)]
      const there = comparePaired(a, b)
      const back = comparePaired(b, a)
      near(there.meanDifference, -back.meanDifference)
      near(there.pT, back.pT ?? Number.NaN)
      assert.equal(there.pWilcoxon, back.pWilcoxon)
      assert.ok((there.pT ?? 0) >= 0 && (there.pT ?? 2) <= 1)
    }),
    { seed: 6, numRuns: 100 },
  )
})

test('Holm raises p values by how many comparisons are left, in the order given', () => {
  const adjusted = adjustHolm([0.01, 0.04, 0.03])
  for (const [at, expected] of [0.03, 0.06, 0.06].entries()) near(adjusted[at], expected)
  assert.deepEqual(adjustHolm([0.9, 0.8]), [1, 1])
})
