import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  bestFit,
  excessPercent,
  firstFit,
  funSearchOr,
  lowerBound,
  OR_SETS,
  orLibraryUniform,
  PACKING_RULES,
  pack,
  readOrLibrary,
} from './binpacking.ts'

const of = (capacity: number, ...items: number[]) => ({ name: 'own', capacity, items, bestKnown: undefined })

test('first fit takes the first bin with room, best fit the tightest, and both the earlier of equals', () => {
  // bins of 10 hold 6, 5 and 5: the 4 goes into the first bin with either rule
  assert.equal(pack(of(10, 6, 5, 5, 4), firstFit), 2)
  // 5 | 6: first fit puts 4 beside 5, then 5 needs a bin of its own; best fit puts it beside 6
  assert.equal(pack(of(10, 5, 6, 4, 5), firstFit), 3)
  assert.equal(pack(of(10, 5, 6, 4, 5), bestFit), 2)
  assert.equal(lowerBound(of(10, 5, 6, 4, 5)), 2)
})

test("FunSearch's rule opens a new bin where a gap would be left that nothing fills, and takes a tight fit", () => {
  // left with 9 is worth 0.9, a fresh bin left with 21 or less 0.98
  assert.equal(pack(of(30, 12, 9), funSearchOr), 2)
  assert.equal(pack(of(30, 12, 9), bestFit), 1)
  assert.equal(pack(of(30, 12, 18), funSearchOr), 1)
})

test('no rule packs below the lower bound, and none needs more bins than items', () => {
  const instance = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(instance, (items) => {
      for (const rule of [firstFit, bestFit, funSearchOr]) {
        const bins = pack(of(100, ...items), rule)
        assert.ok(bins >= lowerBound(of(100, ...items)) && bins <= items.length)
      }
    }),
    { seed: 7, numRuns: 100 },
  )
})

test('the lists of the OR-Library are made as its files have them', () => {
  const [first, , third] = orLibraryUniform(120)
  assert.deepEqual(first?.items.slice(0, 10), [42, 69, 67, 57, 93, 90, 38, 36, 45, 42])
  assert.deepEqual(third?.items.slice(0, 5), [38, 100, 60, 42, 20])
  assert.deepEqual(orLibraryUniform(120).at(-1)?.items.slice(-8), [74, 26, 38, 60, 41, 67, 80, 33])
  assert.deepEqual(orLibraryUniform(500)[0]?.items.slice(-5), [96, 97, 89, 30, 86])
})

for (const { name: set, items } of OR_SETS)
  test(`on ${set} first fit, best fit and FunSearch's rule waste what is published, to the last digit`, () => {
    const instances = orLibraryUniform(items)
    for (const { name, publishedPercent, score } of PACKING_RULES)
      assert.equal(excessPercent(instances, score).toFixed(2), publishedPercent[set]?.toFixed(2), name)
  })

const FILE = ` 2
 u4_00
 150 4 2
 42
 69
 67
 57
 t3_00
 100.0 3 1
 49.9
 25.1
 25
`

test('a file of the OR-Library is read', () => {
  assert.deepEqual(readOrLibrary('binpack3.txt', FILE), [
    { name: 'u4_00', capacity: 150, items: [42, 69, 67, 57], bestKnown: 2 },
    { name: 't3_00', capacity: 100, items: [49.9, 25.1, 25], bestKnown: 1 },
  ])
})

test('a broken file is refused with its name and line', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /x\.txt line 1: .*the number of problems/],
    [FILE.replace(' 69', ' sixty'), /x\.txt line 5: "sixty".*the size of item 2 of u4_00/],
    [FILE.replace(' 69', ' 151'), /line 5: "151".*up to 150/],
    [FILE.replace('150 4 2', '150 4'), /line 3: "150 4".*capacity, number of items/],
    [FILE.replace(' 25\n', ''), /line 12: the end of the file.*item 3 of t3_00/],
    [`${FILE}7\n`, /line 13: "7".*the end of the file after 2 problems/],
    [FILE.replace('150 4 2', '0 4 2'), /line 3: "0 4 2".*above 0/],
    ['99999', /line 1: "99999".*up to 10000/],
  ]
  for (const [text, expected] of cases) assert.throws(() => readOrLibrary('x.txt', text), expected)
})
