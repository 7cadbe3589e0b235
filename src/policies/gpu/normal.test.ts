import assert from 'node:assert/strict'
import { test } from 'node:test'
import { normalLoss, normalTail, poissonAtLeast } from './normal.ts'

const isNear = (actual: number, expected: number, relative: number): void =>
  assert.ok(Math.abs(actual - expected) <= relative * Math.abs(expected), `${actual} is not ${expected}`)

test('the normal tail is that of the tables, near and far from the mean', () => {
  for (const [z, tail] of [
    [0, 0.5],
    [1, 0.15865525393145707],
    [1.96, 0.02499789514822043],
    [3, 0.0013498980316300957],
    [6, 9.865876450377018e-10],
    [8, 6.22096057427178e-16],
    [-1, 0.8413447460685429],
    [-40, 1],
    [40, 0],
  ] as const)
    isNear(normalTail(z), tail, 1e-8)
})

test('the normal loss is the expected excess: what an integration step by step says', () => {
  for (const z of [-3, -1, 0, 0.5, 1, 2.5]) {
    let sum = 0
    const step = 1e-3
    for (let x = z; x < 10; x += step) sum += normalTail(x + step / 2) * step
    isNear(normalLoss(z), sum, 1e-4)
  }
  assert.equal(normalLoss(50), 0)
  assert.equal(normalLoss(-50), 50)
})

test('a Poisson variable reaches a number as often as its distribution says, summed from whichever side is shorter', () => {
  isNear(poissonAtLeast(1, 0.1), 1 - Math.exp(-0.1), 1e-12)
  isNear(poissonAtLeast(3, 2), 1 - Math.exp(-2) * (1 + 2 + 2), 1e-12)
  isNear(poissonAtLeast(3, 5), 1 - Math.exp(-5) * (1 + 5 + 12.5), 1e-12)
  assert.equal(poissonAtLeast(0, 0), 1)
  assert.equal(poissonAtLeast(1, 0), 0)
  assert.equal(poissonAtLeast(1000, 5), 0)
  isNear(poissonAtLeast(30, 9), 2.7654184231e-8, 1e-9)
  isNear(poissonAtLeast(5, 5000), 1, 1e-12)
  isNear(poissonAtLeast(200_000, 200_000), 0.5, 1e-2)
})
