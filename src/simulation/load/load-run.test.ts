import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type LoadRunResult, runLoad } from './load-run.ts'
import type { PatternName } from './pattern.ts'
import { parseLoadScenario, readLoadScenario } from './scenario-file.ts'

const scenarios = join(import.meta.dirname, '../../../configs/experiments/scenarios')
const run = async (
  name: string,
  pattern: PatternName,
  more: { durationMs?: number; minUsers?: number; seed?: number; policy?: string } = {},
): Promise<LoadRunResult> => {
  const { durationMs = 300_000, minUsers, policy, seed = 1 } = more
  const scenario = await readLoadScenario(join(scenarios, `${name}.yaml`))
  return runLoad({ scenario, pattern: { name: pattern, durationMs, minUsers }, seed, policy })
}

/** A service that takes 100 ms of a core, or 50 ms of half a core and half a GPU. */
const service = (replicas: string, nodes = '{ shape: "cpu=4,memory=16Gi", network: 1ms }') =>
  parseLoadScenario(
    'service.yaml',
    `name: service
nodes: [${nodes}]
replicas: ${replicas}
requests: [{ name: ask, cpu: { mean: 100ms, cv: 0.2, cores: 1 }, gpu: { mean: 50ms, cv: 0.2, cores: 0.5, device_share: 0.5 } }]
balancer: least_outstanding
`,
  )
const cpuReplicas = (count: number, more = '') =>
  `{ cpu: { count: ${count}, requests: { cpu: 1, memory: 1Gi }, core_limit: 1, start: 30s ${more} } }`

describe('a service under load', () => {
  it('repeats every number with its seed, and differs with another', async () => {
    assert.deepEqual(await run('service-hpa', 'spike'), await run('service-hpa', 'spike'))
    const { summary } = await run('service-hpa', 'spike', { seed: 2 })
    assert.notDeepEqual(summary, (await run('service-hpa', 'spike')).summary)
  })

  it('has the percentiles of the whole run, and series that add up to it', async () => {
    const { series, summary } = await run('service-fixed', 'spike')
    assert.equal(series.length, 300)
    const sum = (of: (window: (typeof series)[number]) => number) => series.reduce((total, one) => total + of(one), 0)
    assert.equal(
      sum(({ requests }) => requests),
      summary.requests,
    )
    const p95s = series.map(({ latencyMs }) => latencyMs.p95)
    assert.ok(summary.latencyMs.p95 > Math.min(...p95s) && summary.latencyMs.p95 < Math.max(...p95s))
    assert.notEqual(summary.latencyMs.p95, p95s.at(-1))
  })

  it('runs only as many GPU replicas as there are GPUs; the others wait, in the words of the scheduler', async () => {
    const { replicas, summary } = await run('kisim-gpu', 'ramp', { durationMs: 30_000 })
    assert.deepEqual(summary.replicas.gpu, { wanted: 3, ready: 1, starting: 0, pending: 2 })
    assert.deepEqual(
      replicas.map(({ pendingBecause }) => pendingBecause),
      ['', ...Array.from({ length: 2 }, () => '0/1 nodes are available: 1 Insufficient nvidia.com/gpu.')],
    )
  })

  it('depends on where the scheduler puts replicas: packed on one node they are slower than spread', () => {
    const nodes = '{ shape: "cpu=4,memory=16Gi,count=2", background_cores: 2 }'
    const scenario = service(cpuReplicas(4), nodes)
    const under = (policy: string) =>
      runLoad({ scenario, pattern: { name: 'ramp', durationMs: 60_000, minUsers: 50, maxUsers: 50 }, seed: 1, policy })
    const [spread, packed] = [under('least_loaded'), under('most_allocated')]
    const nodesOf = ({ replicas }: LoadRunResult) => new Set(replicas.map(({ node }) => node)).size
    assert.deepEqual([nodesOf(spread), nodesOf(packed)], [2, 1])
    assert.ok(packed.summary.latencyMs.p95 > 1.5 * spread.summary.latencyMs.p95)
  })

  it('gets replicas from the autoscaler as users come and gives them back when they have gone', () => {
    const scenario = service(cpuReplicas(1, ', autoscaling: { target_percent: 50, max: 4, down_stabilisation: 60s }'))
    const { scalings, series, replicas } = runLoad({
      scenario,
      pattern: { name: 'spike', durationMs: 600_000, minUsers: 1, maxUsers: 20 },
      seed: 1,
    })
    const ready = (atS: number) => series[atS]?.replicas.cpu.ready
    // 20 users ask for 100 ms every 1.6 s: 1.25 cores, which are 2.5 replicas half busy
    assert.deepEqual([ready(100), ready(400), ready(599)], [1, 3, 1])
    // the peak is from 180 s to 420 s
    const [up] = scalings
    assert.ok(up !== undefined && up.atMs > 180_000 && up.atMs <= 210_000, JSON.stringify(scalings))
    // what was wanted at 420 s counts for 60 s
    const down = scalings.find(({ from, to }) => to < from)
    assert.ok(down !== undefined && down.atMs >= 480_000, JSON.stringify(scalings))
    const added = replicas.find(({ createdMs }) => createdMs > 0)
    assert.equal(added?.readyMs, (added?.placedMs ?? 0) + 30_000)
    assert.equal(replicas.filter(({ removedMs }) => removedMs !== undefined).length, 2)
  })

  it('lets replicas share a GPU where they ask for halves of it, and no more than fit', () => {
    const scenario = parseLoadScenario(
      'gpus.yaml',
      `name: gpus
nodes: [{ shape: "cpu=8,memory=16Gi,stowage.dev/gpu-milli=1000" }]
replicas:
  gpu: { count: 3, requests: { cpu: 1, memory: 1Gi, stowage.dev/gpu-milli: 500 }, core_limit: 1 }
requests: [{ name: ask, gpu: { mean: 50ms, cores: 0.1, device_share: 1 } }]
`,
    )
    const { replicas, summary } = runLoad({ scenario, pattern: { name: 'ramp', durationMs: 20_000 }, seed: 1 })
    // two halves of one GPU
    assert.deepEqual(
      replicas.map(({ devices }) => devices),
      [[0], [0], []],
    )
    assert.equal(summary.failed, 0)
    assert.ok(summary.gpuShare > 0)
  })
})

describe("KISim's published baselines of May 2025", () => {
  // requests a second and median of the whole run, as the last entries of the published *_stats.json have them
  const published = {
    'kisim-gpu': {
      ramp: [340, 12, 1700],
      spike: [317, 9.4, 1500],
      periodic: [383, 12.04, 1700],
      random: [332, 12.5, 1400],
    },
    'kisim-cpu': {
      ramp: [340, 12.28, 1700],
      spike: [317, 9.88, 1800],
      periodic: [383, 12.09, 1900],
      random: [332, 12.74, 2000],
    },
  } as const

  it('come out with their throughput within 12 %, and like there it is the same with and without a GPU', async () => {
    for (const [name, patterns] of Object.entries(published))
      for (const [pattern, [seconds, perSecond]] of Object.entries(patterns)) {
        const { summary } = await run(name, pattern as PatternName, { durationMs: 1000 * seconds, minUsers: 10 })
        const off = summary.throughput / perSecond - 1
        assert.ok(Math.abs(off) < 0.12, `${name} ${pattern}: ${summary.throughput} instead of ${perSecond}`)
        assert.equal(summary.failed + summary.timedOut, 0)
      }
  })

  it('show what held them back: the process that made the load, for health checks are as slow as inference', async () => {
    const { requests, summary } = await run('kisim-gpu', 'ramp', { durationMs: 340_000, minUsers: 10 })
    const mean = (name: string) => requests.find((request) => request.name === name)?.latencyMs.mean ?? 0
    // published: 1741 ms and 2084 ms
    assert.ok(mean('Health Check') > 0.7 * mean('Model Inference'))
    assert.ok(summary.latencyMs.p50 > 1200 && summary.latencyMs.p50 < 2000, `${summary.latencyMs.p50}`)
    const { summary: free } = await run('service-fixed', 'ramp')
    assert.ok(free.throughput > 2.5 * summary.throughput)
    assert.ok(free.latencyMs.p95 < 100)
  })
})
