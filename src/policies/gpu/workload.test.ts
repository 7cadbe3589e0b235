import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GpuDemand, typicalPart, workloadOfPods } from './workload.ts'

const demand = (
  cpuMilli: number,
  gpuMilli = 0,
  gpuCount = gpuMilli === 0 ? 0 : 1,
  models: string[] = [],
): GpuDemand => ({
  cpuMilli,
  gpuMilli,
  gpuCount,
  models,
})
const times = (count: number, one: GpuDemand): GpuDemand[] => Array.from({ length: count }, () => one)

test('pods are told apart by cpu, share, number and models, and weigh what they are of all, those without GPUs included', () => {
  const { classes } = workloadOfPods([
    ...times(5, demand(1000)),
    ...times(3, demand(1000, 500)),
    demand(1000, 1000, 2),
    demand(1000, 500, 1, ['T4']),
  ])
  assert.deepEqual(
    classes.map(({ weight }) => weight),
    [0.5, 0.3, 0.1, 0.1],
  )
  assert.deepEqual(
    classes.map(({ gpuMilli, gpuCount, models }) => [gpuMilli, gpuCount, models.join()]),
    [
      [0, 0, ''],
      [500, 1, ''],
      [1000, 2, ''],
      [500, 1, 'T4'],
    ],
  )
})

test('the typical part is the fewest classes that make up 95 %, among equals the larger, weighed among themselves', () => {
  const pods = [
    ...times(90, demand(1000, 1000)),
    ...times(3, demand(2000, 100)),
    ...times(3, demand(8000, 100)),
    ...times(4, demand(500)),
  ]
  const { classes } = typicalPart(workloadOfPods(pods))
  assert.deepEqual(
    classes.map(({ cpuMilli, weight }) => [cpuMilli, weight.toFixed(4)]),
    [
      [1000, (90 / 97).toFixed(4)],
      [500, (4 / 97).toFixed(4)],
      [8000, (3 / 97).toFixed(4)],
    ],
  )
  // 95 of 100 is enough: sums of hundredths must not fall short by rounding.
  const even = Array.from({ length: 20 }, (_, i) => times(5, demand(1000 * (i + 1)))).flat()
  assert.equal(typicalPart(workloadOfPods(even)).classes.length, 19)
})

test('without pods there is nothing to expect', () => {
  assert.deepEqual(workloadOfPods([]).classes, [])
  assert.deepEqual(typicalPart({ classes: [] }).classes, [])
})
