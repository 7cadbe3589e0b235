import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { seededRandom } from '../../clock/random.ts'
import type { LlmArrivals } from '../traces/llm-requests.ts'
import { readArrivals, runLoad } from './load-run.ts'
import { withoutUsers } from './pattern.ts'
import { RequestSimulation } from './request-simulation.ts'
import { parseLoadScenario, readLoadScenario } from './scenario-file.ts'

const LLM = join(import.meta.dirname, '../../../configs/experiments/scenarios/llm.yaml')

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stowage-arrivals-'))
})
after(() => rm(folder, { recursive: true }))

const at = (second: number): string =>
  `2023-11-16 18:${String(Math.floor(second / 60)).padStart(2, '0')}:${String(second % 60).padStart(2, '0')}`

/** Writes a list of [second, tokens of the prompt, tokens of the answer]. */
const listOf = async (name: string, rows: readonly (readonly [number, number, number])[]): Promise<string> => {
  const file = join(folder, name)
  const lines = rows.map(([second, prompt, answer]) => `${at(second)},${prompt},${answer}\n`)
  await writeFile(file, `TIMESTAMP,ContextTokens,GeneratedTokens\n${lines.join('')}`)
  return file
}

/** One GPU replica: 1 ms a token of the prompt, 10 ms a token of the answer. */
const scenario = (more = '') =>
  parseLoadScenario(
    join(folder, 'model.yaml'),
    `name: model
nodes: [{ shape: "cpu=8,memory=16Gi,nvidia.com/gpu=2" }]
replicas: { gpu: { count: 1, requests: { cpu: 1, memory: 1Gi, nvidia.com/gpu: 2 }, core_limit: 1 } }
requests: [{ name: ask, gpu: { per_prompt_token: 1ms, per_generated_token: 10ms, cores: 0, device_share: 1 } }]
arrivals: {}
${more}`,
  )

const run = async (file: string, durationMs?: number, more = '') => {
  const model = scenario(more)
  return runLoad({ scenario: model, pattern: await readArrivals({ ...model.arrivals!, file }, durationMs), seed: 1 })
}

describe('arrivals of a trace', () => {
  it('take as long as their tokens, and their GPUs are busy so long', async () => {
    const file = await listOf('apart.csv', [
      [0, 100, 10],
      [10, 500, 50],
      [20, 0, 1],
    ])
    const { summary } = await run(file, 30_000)
    assert.equal(summary.succeeded, 3)
    assert.equal(summary.latencyMs.mean, (200 + 1000 + 10) / 3)
    assert.equal(summary.latencyMs.max, 1000)
    // both GPUs of the replica
    assert.ok(Math.abs(summary.gpuShare - 1210 / 30_000) < 1e-9, `${summary.gpuShare}`)
  })

  it('come at their times, however slow the service is: what users would not have asked waits, and is given up', async () => {
    const rows = Array.from({ length: 60 }, (_, second) => [second, 0, 1000] as const)
    const { series, summary, unfinished } = await run(await listOf('slow.csv', rows), 60_000, 'timeout: 15s\n')
    // 10 s each, one at a time
    assert.equal(summary.succeeded, 1)
    assert.equal(summary.timedOut, 45)
    assert.equal(unfinished, 14)
    assert.equal(series.length, 60)
    assert.ok(Math.abs(summary.latencyMs.p95 / 15_000 - 1) < 0.005)
  })

  it('wait as long as the formula for random arrivals and constant service says', () => {
    // M/D/1: mean wait = service * load / (2 (1 - load)) (Pollaczek and Khinchine)
    const [count, serviceMs, load] = [200_000, 10, 0.7]
    const random = seededRandom(5)
    let nowMs = 0
    const list: LlmArrivals = {
      count,
      atMs: new Float64Array(count).map(() => (nowMs += (-serviceMs / load) * Math.log(1 - random.next()))),
      contextTokens: new Int32Array(count),
      generatedTokens: new Int32Array(count).fill(1),
    }
    const demand = {
      service: { kind: 'tokens', perPromptTokenMs: 0, perGeneratedTokenMs: serviceMs },
      cores: 1,
      deviceShare: 0,
    } as const
    const simulation = new RequestSimulation({
      pattern: withoutUsers(nowMs + 1000, 1),
      arrivals: list,
      mix: [{ name: 'ask', weight: 1, demand: { cpu: demand, gpu: demand } }],
      think: { minMs: 0, maxMs: 0 },
      seed: 1,
      balancer: 'random',
      queueLimit: 1e9,
      timeoutMs: 1e9,
      interference: 0,
    })
    const node = simulation.addNode({ cores: 8, backgroundCores: 0, gpus: 0, networkMs: 0 })
    simulation.addReplica({ kind: 'cpu', node, devices: [], concurrency: 1, coreLimit: 8, readyAtMs: 0 })
    simulation.runUntil(0)
    simulation.begin()
    simulation.runUntil(nowMs + 1000)
    const { latencyMs, succeeded } = simulation.summary()
    assert.equal(succeeded, count)
    const expectedMs = serviceMs + (serviceMs * load) / (2 * (1 - load))
    assert.ok(Math.abs(latencyMs.mean / expectedMs - 1) < 0.02, `${latencyMs.mean} instead of ${expectedMs}`)
  })

  it('come faster by the compression, from the window that is asked for', async () => {
    const file = await listOf(
      'window.csv',
      Array.from({ length: 100 }, (_, second) => [second, 10, 0] as const),
    )
    const window = { file, fromMs: 20_000, lengthMs: 60_000, compression: 4 }
    const load = await readArrivals(window)
    assert.deepEqual([load.durationMs, load.list.count, load.list.atMs[1]], [15_000, 60, 250])
    const { durationMs, pattern, requests, summary } = runLoad({ scenario: scenario(), pattern: load, seed: 1 })
    assert.deepEqual([durationMs, pattern, summary.succeeded, requests[0]?.requests], [15_000, 'arrivals', 60, 60])
    // a shorter run takes what comes within it
    assert.equal((await readArrivals(window, 5000)).list.count, 20)
  })

  it('repeat every number', async () => {
    const file = await listOf(
      'again.csv',
      Array.from({ length: 200 }, (_, second) => [second, 7 * (second % 90), second % 70] as const),
    )
    assert.deepEqual(await run(file), await run(file))
  })

  it('find replicas that were ready when the run began, the very first among them', async () => {
    const { arrivals, ...others } = await readLoadScenario(LLM)
    const file = await listOf('first.csv', [
      [0, 1000, 10],
      [60, 1000, 10],
    ])
    const { summary } = runLoad({
      scenario: { ...others, arrivals },
      pattern: await readArrivals({ ...arrivals!, file }, 100_000),
      seed: 1,
    })
    assert.deepEqual([summary.succeeded, summary.failed], [2, 0])
    // 160 ms to read, 420 to write, 1 on the way
    assert.ok(Math.abs(summary.latencyMs.mean - 581) < 1e-6, `${summary.latencyMs.mean}`)
  })

  it('are refused where a row is broken, where none comes, and where no list is named', async () => {
    const file = await listOf('broken.csv', [
      [0, 1, 1],
      [1, -5, 1],
    ])
    await assert.rejects(readArrivals({ file, fromMs: 0, compression: 1 }), {
      code: 'TRACE_MALFORMED',
      message: /broken\.csv line 3: "-5" in column ContextTokens/,
    })
    const short = await listOf('short.csv', [[0, 1, 1]])
    await assert.rejects(
      readArrivals({ file: short, fromMs: 5000, compression: 1 }),
      /short\.csv: no request in the window/,
    )
    await assert.rejects(readArrivals({ fromMs: 0, compression: 1 }), /without a list.*--arrivals FILE/)
    assert.throws(
      () => runLoad({ scenario: scenario(), pattern: { name: 'ramp', durationMs: 1000 }, seed: 1 }),
      /users under ramp whose request ask takes its time by tokens/,
    )
  })
})

const traces = process.env['STOWAGE_AZURE_LLM']
describe('the Azure LLM traces of 2023', {
  skip: traces === undefined && 'STOWAGE_AZURE_LLM names no folder with the lists',
}, () => {
  for (const [name, requests] of [
    ['code', 8819],
    ['conv', 19_366],
  ] as const)
    it(`drive the model that ships: every request of ${name} is answered, given up or still there`, async () => {
      const model = await readLoadScenario(LLM)
      const file = join(traces ?? '', `AzureLLMInferenceTrace_${name}.csv`)
      const pattern = await readArrivals({ ...model.arrivals!, file })
      const { summary, unfinished } = runLoad({ scenario: model, pattern, seed: 1, sampleMs: 60_000 })
      assert.equal(summary.requests + unfinished, requests)
      assert.equal(summary.failed, 0)
      assert.ok(summary.timedOut <= 1)
      assert.ok(summary.latencyMs.p50 < summary.latencyMs.p95 && summary.latencyMs.p95 < summary.latencyMs.p99)
    })
})
