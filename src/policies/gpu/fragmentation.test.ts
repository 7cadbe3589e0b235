import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Fragmentation } from './fragmentation.ts'
import { type GpuClass, workloadOf } from './workload.ts'

const MODELS = ['', 'T4', 'A100']

/** The paper's definition, word for word. */
const defined = (
  classes: readonly GpuClass[],
  freeCpuMilli: number,
  model: string,
  free: readonly number[],
): number => {
  const left = free.map((milli) => Math.max(0, milli) / 1000)
  const all = left.reduce((sum, one) => sum + one, 0)
  let expected = 0
  for (const { cpuMilli, gpuMilli, gpuCount, models, weight } of classes) {
    const asked = gpuMilli / 1000
    const runs =
      gpuCount > 0 &&
      cpuMilli <= freeCpuMilli &&
      (models.length === 0 || models.includes(model)) &&
      left.filter((one) => one >= asked).length >= gpuCount
    expected += weight * (runs ? left.filter((one) => one < asked).reduce((sum, one) => sum + one, 0) : all)
  }
  return expected
}

const someClass = fc.record({
  cpuMilli: fc.constantFrom(0, 500, 1000, 8000),
  gpu: fc.constantFrom([0, 0], [10, 1], [300, 1], [301, 1], [999, 1], [1000, 1], [1000, 2], [1000, 8]),
  models: fc.constantFrom<readonly string[]>([], ['T4'], ['A100', 'T4']),
  weight: fc.integer({ min: 1, max: 9 }),
})

test('summed up beforehand it is what the definition says of every node, overcommitted ones included', () => {
  fc.assert(
    fc.property(
      fc.array(someClass, { maxLength: 12 }),
      fc.constantFrom(-5, 0, 499, 500, 4000, 1e6),
      fc.nat(2),
      fc.array(fc.constantFrom(-200, 0, 10, 299, 300, 301, 700, 999, 1000), { maxLength: 9 }),
      (some, freeCpuMilli, model, free) => {
        const workload = workloadOf(
          some.map(({ gpu: [gpuMilli = 0, gpuCount = 0], ...rest }) => ({ ...rest, gpuMilli, gpuCount })),
        )
        if (workload.classes.length === 0) return
        const columns = Int32Array.from([77, ...free, 77])
        const found = new Fragmentation(workload).of(freeCpuMilli, model, MODELS, columns, 1, free.length)
        const expected = defined(workload.classes, freeCpuMilli, MODELS[model] ?? '', free)
        assert.ok(Math.abs(found - expected) < 1e-9, `${found} is not ${expected}`)
      },
    ),
    { numRuns: 500, seed: 20260101 },
  )
})

test('kinds that ask for more GPUs than any machine has cost nothing but their share', () => {
  const absurd = { cpuMilli: 1, gpuMilli: 1000, gpuCount: 1_000_000_000, models: [], weight: 1 }
  const usual = { cpuMilli: 1, gpuMilli: 1000, gpuCount: 2, models: [], weight: 3 }
  const fragmentation = new Fragmentation(workloadOf([absurd, usual]))
  assert.equal(fragmentation.of(1000, 0, MODELS, Int32Array.of(1000, 1000), 0, 2), 0.25 * 2)
})
