import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { DEFAULT_SHARES } from './default-list.fixture.ts'
import { type HoleValues, priceHoles } from './prices.ts'
import { workloadOf } from './workload.ts'

const share = (gpuMilli: number, weight = 1) => ({ cpuMilli: 1000, gpuMilli, gpuCount: 1, models: [], weight })
const priced = (shares: readonly (readonly [gpuMilli: number, weight: number])[]): HoleValues =>
  priceHoles(workloadOf(shares.map(([gpuMilli, weight]) => share(gpuMilli, weight))))

const assertNear = (actual: readonly number[], expected: readonly number[]): void => {
  assert.equal(actual.length, expected.length)
  for (const [i, value] of actual.entries())
    assert.ok(Math.abs(value - (expected[i] ?? Number.NaN)) < 1e-9, `${actual.join()} is not ${expected.join()}`)
}

/** Where the value of a hole rises, and to what. */
const stepsOf = ({ byMilli }: HoleValues): [milli: number, value: number][] => {
  const steps: [number, number][] = []
  for (const [milli, value] of byMilli.entries())
    if (value > (steps.at(-1)?.[1] ?? 0) + 1e-9) steps.push([milli, value])
  return steps
}

describe('prices of shares of GPUs', () => {
  test('under openb’s default list they are the golden ones: .81 is worth a GPU, .65 two thirds, .47 a half, .16 nothing', () => {
    const holes = priced(DEFAULT_SHARES)
    const bySize = new Map(holes.sizesMilli.map((milli, i) => [milli, holes.prices[i] ?? Number.NaN]))
    const golden = new Map([
      [1, [810]],
      [2 / 3, [650, 590, 550]],
      [1 / 2, [480, 470, 460]],
      [1 / 3, [440, 370, 350, 330, 320]],
      [1 / 4, [290, 270, 230]],
      [1 / 12, [220]],
      [0, [160, 140, 110, 50]],
    ])
    for (const [price, sizes] of golden)
      assertNear(
        sizes.map((milli) => bySize.get(milli) ?? Number.NaN),
        sizes.map(() => price),
      )
    assert.equal(bySize.size, DEFAULT_SHARES.length)
  })

  test('a hole is worth what fits into it: the golden steps of the default list', () => {
    const steps = stepsOf(priced(DEFAULT_SHARES))
    assert.deepEqual(
      steps.map(([milli]) => milli),
      [220, 230, 320, 460, 550, 690, 780, 810],
    )
    assertNear(
      steps.map(([, value]) => value),
      [1 / 12, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 11 / 12, 1],
    )
  })

  test('shares of which k fill a GPU are worth a k-th of it, sizes rounded up to hundredths', () => {
    for (const [gpuMilli, k] of [
      [500, 2],
      [340, 2],
      [330, 3],
      [250, 4],
      [241, 4],
      [251, 3],
      [10, 100],
      [1, 100],
    ] as const)
      assertNear([...priced([[gpuMilli, 1]]).prices], [1 / k])
  })

  test('what is left beside plenty of .6 is free for .4', () => {
    assertNear(
      [
        ...priced([
          [600, 10],
          [400, 1],
        ]).prices,
      ],
      [0, 1],
    )
    // Where .4 is plenty, two of them compete for a GPU.
    assertNear(
      [
        ...priced([
          [600, 1],
          [400, 10],
        ]).prices,
      ],
      [1 / 2, 1 / 2],
    )
  })

  test('no demand for shares: nothing but a whole GPU is worth anything', () => {
    const { byMilli, prices } = priceHoles({ classes: [{ ...share(1000), gpuCount: 8 }] })
    assert.deepEqual(prices, [])
    assert.deepEqual([byMilli[999], byMilli[1000]], [0, 1])
  })

  test('no filling of a GPU is worth more than the GPU, and two holes never more than one of their size', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 999 }), fc.double({ min: 1e-6, max: 1e6, noNaN: true })), {
          minLength: 1,
          maxLength: 60,
        }),
        fc.nat(1000),
        fc.nat(1000),
        (shares, a, b) => {
          const { byMilli, prices } = priced(shares)
          for (const price of prices) assert.ok(price >= 0 && price <= 1 + 1e-9)
          const [small, rest] = [Math.min(a, 1000 - a), Math.min(b, 1000 - Math.min(a, 1000 - a))]
          // Hundredths are rounded down for each hole.
          assert.ok((byMilli[small] ?? 0) + (byMilli[rest] ?? 0) <= (byMilli[small + rest] ?? 0) + 1e-6)
          for (let milli = 1; milli <= 1000; milli++) assert.ok((byMilli[milli] ?? 0) >= (byMilli[milli - 1] ?? 0))
        },
      ),
      { numRuns: 200, seed: 20260101 },
    )
  })

  test('the prices are the best: together the demand is worth as many GPUs as the cheapest cover needs', () => {
    // Every way to fill a GPU with two sizes, and the best mix of any two ways: the optimum of a program with two rows.
    fc.assert(
      fc.property(
        fc.integer({ min: 5, max: 95 }),
        fc.integer({ min: 5, max: 95 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        (first, second, firstDemand, secondDemand) => {
          if (first === second) return
          const [a, b] = first < second ? [first, second] : [second, first]
          const ways: [number, number][] = []
          for (let i = 0; i * a <= 100; i++) ways.push([i, Math.floor((100 - i * a) / b)])
          let fewest = Number.POSITIVE_INFINITY
          for (const [p, q] of ways)
            for (const [r, s] of ways) {
              const alone = Math.max(p > 0 ? firstDemand / p : Infinity, q > 0 ? secondDemand / q : Infinity)
              if (alone < fewest) fewest = alone
              const determinant = p * s - r * q
              if (determinant === 0) continue
              const x = (firstDemand * s - secondDemand * r) / determinant
              const y = (p * secondDemand - q * firstDemand) / determinant
              if (x >= 0 && y >= 0 && x + y < fewest) fewest = x + y
            }
          const { prices } = priced([
            [a * 10, firstDemand],
            [b * 10, secondDemand],
          ])
          const worth = firstDemand * (prices[0] ?? 0) + secondDemand * (prices[1] ?? 0)
          assert.ok(Math.abs(worth - fewest) < 1e-6 * fewest, `${worth} is not ${fewest}`)
        },
      ),
      { numRuns: 300, seed: 20260101 },
    )
  })
})
