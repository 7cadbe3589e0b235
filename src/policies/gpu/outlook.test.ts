import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { cpuPerWorth, Outlook } from './outlook.ts'
import { gpuNode, gpuPod, packed } from './placing.fixture.ts'
import { priceHoles } from './prices.ts'
import { type GpuDemand, type GpuWorkload, typicalPart, workloadOfPods } from './workload.ts'

const trace = process.env['STOWAGE_OPENB']
const openb = async (list: string): Promise<GpuWorkload> => {
  const [, ...rows] = (await readFile(join(trace ?? '', `openb_pod_list_${list}.csv`), 'utf8')).trim().split('\n')
  return workloadOfPods(
    rows.map((row): GpuDemand => {
      const [, cpu, , count = '', milli] = row.split(',')
      const gpuCount = Number(count)
      return { cpuMilli: Number(cpu), gpuCount, gpuMilli: gpuCount === 0 ? 0 : Number(milli), models: [] }
    }),
  )
}

const ofWhole = (gpuCount: number, weight: number, cpuMilli = 1000, models: readonly string[] = []) => ({
  cpuMilli,
  gpuMilli: 1000,
  gpuCount,
  models,
  weight,
})

describe('what is to come', () => {
  test('under openb’s default list a GPU’s worth goes with 10.481 cores, spread by 5.529; 35 of 91 kinds are typical', {
    skip: trace === undefined && 'STOWAGE_OPENB names no folder with the openb lists',
  }, async () => {
    const workload = await openb('default')
    assert.deepEqual([workload.classes.length, typicalPart(workload).classes.length], [91, 35])
    const { coresPerGpu, spread } = cpuPerWorth(workload, priceHoles(workload).byMilli)
    assert.deepEqual([coresPerGpu.toFixed(3), spread.toFixed(3)], ['10.481', '5.529'])
  })

  test('the cpu that a GPU’s worth goes with, and its spread', () => {
    const workload = { classes: [ofWhole(1, 0.5, 2000), ofWhole(2, 0.5, 10_000)] }
    const { coresPerGpu, spread } = cpuPerWorth(workload, priceHoles(workload).byMilli)
    // 12 cores for 3 GPUs; 2 is 2 too few for one GPU, 10 is 2 too many for two.
    assert.ok(Math.abs(coresPerGpu - 4) < 1e-12)
    assert.ok(Math.abs(spread - Math.sqrt((0.5 * 4 + 0.5 * 4) / 1.5)) < 1e-12)
    assert.deepEqual(cpuPerWorth({ classes: [] }, new Float64Array(1001)), { coresPerGpu: 0, spread: 0 })
  })

  test('a place for several GPUs is worth nothing while there are many, and all its GPUs when the last is wanted', () => {
    const outlook = new Outlook({ classes: [ofWhole(1, 0.6), ofWhole(4, 0.4)] })
    const nodes = Array.from({ length: 40 }, (_, i) => gpuNode(`n${i}`, 4))
    const roomy = packed(nodes)
    outlook.refresh(roomy)
    assert.ok((outlook.reservations[0] ?? 1) < 4 * 0.05, '28 of the 70 pods to come want one of 40 places')
    const pods = nodes.slice(0, 39).map((_, i) => ({ on: `n${i}`, devices: [0], pod: gpuPod(`q${i}`, 1000) }))
    outlook.refresh(packed(nodes, pods))
    assert.ok((outlook.reservations[0] ?? 0) > 4 * 0.99)
  })

  test('a model is wanted as far as pods name it that may have few others', () => {
    const outlook = new Outlook({
      classes: [ofWhole(1, 0.25, 1000, ['A']), ofWhole(1, 0.25, 1000, ['A', 'B']), ofWhole(1, 0.5)],
    })
    const cluster = packed([
      gpuNode('a', 2, { model: 'A' }),
      gpuNode('b', 2, { model: 'B' }),
      gpuNode('c', 4, { model: 'C' }),
    ])
    outlook.refresh(cluster)
    const wanted = Object.fromEntries(cluster.gpus.models.map((model, i) => [model, outlook.premiums[i]]))
    // 8 pods for 8 GPUs: 2 for the 2 of A, 2 for the 4 of A and B.
    assert.deepEqual([wanted['A'], wanted['B'], wanted['C']], [1, 0.5, 0])
  })

  test('cpu is scarce when pods for all GPUs ask for more than 1.05 times what there is', () => {
    const scarce = (cpu: string): boolean => {
      const outlook = new Outlook({ classes: [ofWhole(1, 0.5, 6000), { ...ofWhole(0, 0.5, 4000), gpuMilli: 0 }] })
      outlook.refresh(packed([gpuNode('n', 4, { cpu })]))
      return outlook.cpuScarce
    }
    // 8 pods, half of them without GPUs, ask for 40 cores.
    assert.deepEqual([scarce('38'), scarce('39')], [true, false])
  })
})
