import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { StowageError } from '../../errors/catalogue.ts'
import type { LoadScenario, ReplicaGroup } from '../load/load-run.ts'
import type { PatternName } from '../load/pattern.ts'
import { environmentContract } from './contract.ts'
import { ReplicaEnvironment, type ReplicaEnvironmentOptions, type ReplicaObservation } from './replicas.ts'

const group = (more: Partial<ReplicaGroup>): ReplicaGroup => ({
  count: 1,
  requests: { cpu: '2', memory: '4Gi' },
  coreLimit: 4,
  concurrency: 1,
  startMs: 5000,
  memoryBytes: 2 ** 29,
  nodeSelector: {},
  ...more,
})

const demand = (meanMs: number, deviceShare: number) => ({
  service: { kind: 'lognormal', meanMs, cv: 0.2 } as const,
  cores: 1,
  deviceShare,
})

/** Four nodes, two with a GPU each; one replica of a kind works off 25 (CPU) or 50 (GPU) requests a second. */
const scenario: LoadScenario = {
  name: 'tried',
  nodes: ['nvidia.com/gpu=1,count=2', 'count=2'].map((shape) => ({
    shape: `cpu=8,memory=32Gi,${shape}`,
    networkMs: 0.5,
    backgroundCores: 0.5,
    labels: {},
  })),
  policy: 'kube-default',
  replicas: { gpu: group({ requests: { cpu: '2', memory: '4Gi', 'nvidia.com/gpu': '1' } }), cpu: group({}) },
  requests: [{ name: 'infer', weight: 1, demand: { gpu: demand(20, 0.5), cpu: demand(40, 0) } }],
  think: { minMs: 500, maxMs: 1000 },
  balancer: 'least_outstanding',
  preference: 'balanced',
  queueLimit: 100,
  timeoutMs: 5000,
  interference: 0.1,
  requestBytes: 2 ** 20,
  warmUpMs: 10_000,
}

const environmentOf = (options: Partial<ReplicaEnvironmentOptions> = {}): ReplicaEnvironment =>
  new ReplicaEnvironment({ scenario, ...options })

const HOLD = 2
const BALANCED = 1

/** An episode with the same action at each step that the mask allows; what cannot be done is left. */
const play = (environment: ReplicaEnvironment, seed: number, action: readonly [number, number, number]) => {
  let { mask } = environment.reset(seed)
  const observed: ReplicaObservation[] = []
  const rewards: number[] = []
  const terms: number[][] = []
  for (;;) {
    const [gpu, cpu, placement] = action
    const step = environment.step([mask[gpu] === 1 ? gpu : HOLD, mask[5 + cpu] === 1 ? cpu : HOLD, placement])
    mask = step.mask
    // after a step something was observed
    observed.push(environment.observed!)
    rewards.push(step.reward)
    terms.push([...(step.terms ?? [])])
    if (step.truncated) return { observed, rewards, terms, pattern: environment.pattern }
  }
}

const only = (pattern: PatternName, options: Partial<ReplicaEnvironmentOptions> = {}) =>
  environmentOf({ patterns: [pattern], ...options })

environmentContract({
  name: 'of replicas',
  create: () => environmentOf({ episodeMs: 60_000, actionIntervalMs: 2000, maxUsers: 60 }),
  expectedMask: (environment) => {
    const { gpuReplicas = 0, cpuReplicas = 0 } = environment.observed ?? {}
    const allowed = (count: number, most: number) =>
      [-2, -1, 0, 1, 2].map((change) => (count + change >= 1 && count + change <= most ? 1 : 0))
    return [...allowed(gpuReplicas, 5), ...allowed(cpuReplicas, 10), 1, 1, 1]
  },
})

describe("KISim's environment", () => {
  it('has ten actions in an episode of 300 s, of five, five and three choices', () => {
    const environment = environmentOf()
    assert.deepEqual(environment.actionSizes, [5, 5, 3])
    assert.equal(environment.observationSize, 10)
    assert.equal(play(environment, 1, [HOLD, HOLD, BALANCED]).observed.length, 10)
  })

  it('rewards what the action has changed: more replicas are faster under a spike, fewer are slower', () => {
    const more = play(only('spike'), 3, [3, 4, BALANCED])
    const same = play(only('spike'), 3, [HOLD, HOLD, BALANCED])
    const atPeak = ({ observed }: typeof more) => observed[5]?.p95Ms ?? 0
    assert.ok(atPeak(more) < 0.5 * atPeak(same), `${atPeak(more)} against ${atPeak(same)}`)
    assert.ok((more.rewards[5] ?? 0) > (same.rewards[5] ?? 0))
    const wide = {
      ...scenario,
      replicas: { gpu: group({ ...scenario.replicas.gpu, count: 2 }), cpu: group({ count: 6 }) },
    }
    const fewer = play(only('spike', { scenario: wide }), 3, [1, 0, BALANCED])
    assert.ok((fewer.terms[5]?.[0] ?? 0) < -0.5, `${fewer.terms[5]?.join()}`)
  })

  it('compares with what would have been without any action, so that doing nothing gains nothing', () => {
    const { terms } = play(only('random'), 5, [HOLD, HOLD, BALANCED])
    for (const [latency, throughput, , stability] of terms)
      assert.deepEqual([latency, throughput, stability], [0, 0, 1])
  })

  it('applies placement: the preferred kind does the work', () => {
    const share = (placement: number) => {
      const { observed } = play(only('ramp', { maxUsers: 20 }), 2, [HOLD, HOLD, placement])
      return observed.reduce((sum, { gpuPercent }) => sum + gpuPercent, 0) / observed.length
    }
    const [gpu, balanced, cpu] = [share(0), share(1), share(2)]
    assert.ok(gpu > 1.2 * balanced && balanced > 2 * cpu, `${gpu}, ${balanced}, ${cpu}`)
  })

  it('is driven by its pattern while it is stepped', () => {
    const requests = (pattern: PatternName) =>
      play(only(pattern), 1, [3, 3, BALANCED]).observed.map(({ requestsPerSecond }) => requestsPerSecond)
    const ramp = requests('ramp')
    assert.ok((ramp[9] ?? 0) > 5 * (ramp[0] ?? 0), ramp.join())
    const spike = requests('spike')
    assert.ok((spike[5] ?? 0) > 3 * (spike[0] ?? 0) && (spike[5] ?? 0) > 3 * (spike[9] ?? 0), spike.join())
    const trends = play(only('ramp'), 1, [HOLD, HOLD, BALANCED]).observed.map(({ loadTrend }) => loadTrend)
    assert.ok((trends[0] ?? 0) > 0.3, trends.join())
  })

  it('keeps the pattern of its seed, and those that it is to be evaluated with', () => {
    const seen = new Set<PatternName>()
    const environment = environmentOf({ episodeMs: 30_000 })
    for (let seed = 0; seed < 40; seed++) {
      environment.reset(seed)
      const { pattern } = environment
      seen.add(pattern)
      environment.reset(seed)
      assert.equal(environment.pattern, pattern)
    }
    assert.deepEqual([...seen].sort(), ['periodic', 'ramp', 'random', 'spike'])
    const evaluated = only('periodic', { episodeMs: 30_000 })
    for (let seed = 0; seed < 10; seed++) {
      evaluated.reset(seed)
      assert.equal(evaluated.pattern, 'periodic')
    }
    const users = (seed: number) =>
      play(only('random'), seed, [HOLD, HOLD, BALANCED]).observed.map(({ requestsPerSecond }) => requestsPerSecond)
    assert.deepEqual(users(4), users(4))
    assert.notDeepEqual(users(4), users(5))
  })

  it('observes nothing that is constant', () => {
    const values = new Map<string, Set<number>>()
    const environment = environmentOf()
    for (let seed = 0; seed < 4; seed++)
      for (const observed of play(environment, seed, [3 + (seed % 2), 1 + seed, seed % 3]).observed)
        for (const [name, value] of Object.entries(observed))
          values.set(name, (values.get(name) ?? new Set<number>()).add(value))
    assert.equal(values.size, 10)
    for (const [name, different] of values) assert.ok(different.size > 3, `${name}: ${[...different].join()}`)
  })

  it('never has more replicas than its limits, nor fewer than one', () => {
    const counts = (action: readonly [number, number, number]) =>
      play(environmentOf(), 1, action).observed.map(({ cpuReplicas, gpuReplicas }) => [gpuReplicas, cpuReplicas])
    assert.deepEqual(counts([4, 4, 1]).at(-1), [5, 9])
    assert.deepEqual(counts([3, 3, 1]).at(-1), [5, 10])
    assert.deepEqual(counts([0, 1, 1]).at(-1), [1, 1])
  })

  it('wants more GPU replicas than there are GPUs in vain: the scheduler has no place for them', () => {
    const { observed } = play(only('spike'), 1, [4, HOLD, 0])
    assert.deepEqual(observed.at(-1)?.gpuReplicas, 5)
    const memory = observed.map(({ memoryPercent }) => memoryPercent)
    // what is pending takes no memory: two GPU replicas and a CPU one of 0.5 GiB on 128 GiB, and requests
    assert.ok((memory[1] ?? 0) >= 1.17 && Math.max(...memory) < 1.4, memory.join())
  })

  it('says that thrashing costs, as it does', () => {
    const environment = environmentOf()
    environment.reset(1)
    const step = environment.step([4, 4, BALANCED])
    assert.equal(step.terms?.[3], 0)
  })

  it('refuses to be made of what fits nothing', () => {
    for (const options of [
      { episodeMs: 10, actionIntervalMs: 20 },
      { maxGpuReplicas: 0 },
      { minReplicas: 2 },
      { patterns: [] },
      { scenario: { ...scenario, replicas: { cpu: group({}) } } },
    ])
      assert.throws(
        () => environmentOf(options),
        (error) => error instanceof StowageError && error.code === 'CONFIG_INVALID_VALUE',
      )
  })
})
