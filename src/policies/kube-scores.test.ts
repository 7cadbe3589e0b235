import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  balancedAllocation,
  imageLocality,
  imageWorth,
  leastAllocatedOf,
  mostAllocatedOf,
  normalized,
  resourceScore,
} from './kube-scores.ts'

const runs = { numRuns: 5000, seed: 20260101 }
const MIB = 1024 * 1024
const GIB = 1024 * MIB

/** Up to 32 TiB in bytes, with many near each other. */
const bytes = fc.oneof(
  fc.integer({ min: 1, max: 1000 }),
  fc.double({ min: 1, max: 2 ** 45, noNaN: true }).map(Math.floor),
)
const pairs = fc.oneof(
  fc.tuple(bytes, bytes),
  fc
    .tuple(bytes, fc.integer({ min: -2, max: 2 }))
    .map(([capacity, off]) => [Math.max(0, capacity + off), capacity] as const),
)

describe('the arithmetic of kube-scheduler', () => {
  test('the share that stays free is that of 64-bit integers, up to 32 TiB', () => {
    fc.assert(
      fc.property(pairs, ([requested, capacity]) => {
        const [r, c] = [BigInt(requested), BigInt(capacity)]
        assert.equal(leastAllocatedOf(requested, capacity), r > c ? 0 : Number(((c - r) * 100n) / c))
      }),
      runs,
    )
  })

  test('the share that is taken is that of 64-bit integers, up to 32 TiB', () => {
    fc.assert(
      fc.property(pairs, ([requested, capacity]) => {
        const [r, c] = [BigInt(requested), BigInt(capacity)]
        assert.equal(mostAllocatedOf(requested, capacity), Number(((r > c ? c : r) * 100n) / c))
      }),
      runs,
    )
  })

  test('images are scored as with 64-bit integers', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 42 }), fc.integer({ min: 1, max: 40 }), (sum, images) => {
        const least = 23n * BigInt(MIB)
        const most = BigInt(images) * 1000n * BigInt(MIB)
        const s = BigInt(sum)
        const clamped = s < least ? least : s > most ? most : s
        assert.equal(imageLocality(sum, images), Number((100n * (clamped - least)) / (most - least)))
      }),
      runs,
    )
  })

  test('normalised counts are those of 64-bit integers', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 1, max: 5000 }), (value, max) => {
        assert.equal(normalized(Math.min(value, max), max), Number((100n * BigInt(Math.min(value, max))) / BigInt(max)))
      }),
      runs,
    )
  })

  test('every score lies between 0 and 100', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constant(0), bytes), { minLength: 6, maxLength: 6 }), (v) => {
        const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = v
        for (const score of [
          resourceScore(leastAllocatedOf, a, b, c, d),
          resourceScore(mostAllocatedOf, a, b, c, d),
          balancedAllocation(a, b, c, d, e, f),
        ])
          assert.ok(Number.isInteger(score) && score >= 0 && score <= 100, String(score))
      }),
      runs,
    )
  })
})

describe('scores worked out by hand', () => {
  test('a node with 4 cores and 16 GiB that will have given 1 core and 4 GiB keeps 75 of both', () => {
    assert.equal(resourceScore(leastAllocatedOf, 1000, 4000, 4 * GIB, 16 * GIB), 75)
    assert.equal(resourceScore(mostAllocatedOf, 1000, 4000, 4 * GIB, 16 * GIB), 25)
  })

  test('each resource is cut to a whole number, then their mean', () => {
    // cpu 3900/4000 free = 97.5 -> 97; memory (16384 - 200) / 16384 free = 98.78 -> 98; mean 97.5 -> 97
    assert.equal(resourceScore(leastAllocatedOf, 100, 4000, 200 * MIB, 16 * GIB), 97)
  })

  test('a resource that the node does not have is left out of the mean', () => {
    assert.equal(resourceScore(leastAllocatedOf, 100, 0, 4 * GIB, 16 * GIB), 75)
    assert.equal(resourceScore(leastAllocatedOf, 1000, 4000, 1, 0), 75)
    assert.equal(resourceScore(leastAllocatedOf, 1, 0, 1, 0), 0)
  })

  test('a node where more is asked for than there is scores 0 for it', () => {
    assert.equal(leastAllocatedOf(5000, 4000), 0)
    assert.equal(mostAllocatedOf(5000, 4000), 100)
  })

  test('a pod that leaves the balance as it is scores 75', () => {
    assert.equal(balancedAllocation(0, 1000, 4000, 0, 4 * GIB, 16 * GIB), 75)
  })

  test('a pod of pure cpu on an empty node tips it: half of the imbalance is lost', () => {
    // 1000m of 4000m: fractions 0.25 and 0, deviation 0.125, balance 87 after 100: 50 + floor((50 + 87 - 100) / 2)
    assert.equal(balancedAllocation(0, 1000, 4000, 0, 0, 16 * GIB), 68)
  })

  test('a pod that restores the balance gains', () => {
    // before 0.5 and 0: deviation 0.25, balance 75; after 0.5 and 0.5: balance 100; 50 + floor((50 + 25) / 2)
    assert.equal(balancedAllocation(2000, 0, 4000, 0, 8 * GIB, 16 * GIB), 87)
  })

  test('on a node with one of the two resources nothing can be out of balance', () => {
    assert.equal(balancedAllocation(0, 1000, 4000, 0, 0, 0), 75)
  })

  test('an image of 500 MiB on two of ten nodes counts 100 MiB, and makes 7 points', () => {
    assert.equal(imageWorth(500 * MIB, 2, 10), 100 * MIB)
    // 100 * (100 - 23) / (1000 - 23) = 7.88
    assert.equal(imageLocality(100 * MIB, 1), 7)
  })

  test('images below 23 MiB count nothing, above 1000 MiB each no more', () => {
    assert.equal(imageLocality(22 * MIB, 1), 0)
    assert.equal(imageLocality(5000 * MIB, 1), 100)
    assert.equal(imageLocality(1000 * MIB, 2), Math.floor((100 * (1000 - 23)) / (2000 - 23)))
  })
})
