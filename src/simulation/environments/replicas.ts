import { seededRandom } from '../../clock/random.ts'
import { StowageError } from '../../errors/catalogue.ts'
import { type LoadScenario, openCluster } from '../load/load-run.ts'
import { createPattern, PATTERN_NAMES, type PatternName } from '../load/pattern.ts'
import type { ReplicaCluster, ReplicaWindow } from '../load/replica-cluster.ts'
import type { Preference } from '../load/request-simulation.ts'
import type { Environment, Observation, Step } from './environment.ts'

/** How much each part of the reward counts; they need not add up to 1. */
export interface ReplicaRewardWeights {
  readonly latency: number
  readonly throughput: number
  readonly resourceEfficiency: number
  readonly stability: number
}

export interface ReplicaEnvironmentOptions {
  /** the service; its replica counts are those that an episode begins with, and both kinds have a template */
  readonly scenario: LoadScenario
  /** @default 300_000 */
  readonly episodeMs?: number | undefined
  /** @default 30_000 */
  readonly actionIntervalMs?: number | undefined
  /** @default 1 */
  readonly minReplicas?: number | undefined
  /** @default 5 */
  readonly maxGpuReplicas?: number | undefined
  /** @default 10 */
  readonly maxCpuReplicas?: number | undefined
  /** an episode's seed chooses one of these @default all */
  readonly patterns?: readonly PatternName[] | undefined
  /** users at the peak @default the pattern's */
  readonly maxUsers?: number | undefined
  /** @default 0.4, 0.3, 0.2, 0.1 */
  readonly weights?: ReplicaRewardWeights | undefined
}

/** What is observed, in the units of KISim's documents. Rates and shares are means over the last interval. */
export interface ReplicaObservation {
  readonly cpuPercent: number
  readonly memoryPercent: number
  readonly gpuPercent: number
  readonly p95Ms: number
  readonly requestsPerSecond: number
  /** that are wanted, ready or not */
  readonly gpuReplicas: number
  readonly cpuReplicas: number
  /** -1 to 1: how much more was asked in the second half of the interval than in the first */
  readonly loadTrend: number
  /** 0 to 1: standard deviation of what was asked by its mean */
  readonly loadVariance: number
  /** 0 to 1: how much of the episode is over */
  readonly time: number
}

export const DEFAULT_REPLICA_WEIGHTS: ReplicaRewardWeights = {
  latency: 0.4,
  throughput: 0.3,
  resourceEfficiency: 0.2,
  stability: 0.1,
}

const DEFAULT_EPISODE_MS = 300_000
const DEFAULT_ACTION_INTERVAL_MS = 30_000
const DEFAULT_MIN_REPLICAS = 1
const DEFAULT_MAX_GPU_REPLICAS = 5
const DEFAULT_MAX_CPU_REPLICAS = 10

/** Choices of the first two parts of an action: so many replicas more. */
const CHANGES = [-2, -1, 0, 1, 2] as const
/** Choices of the third. */
const PLACEMENTS = ['gpu', 'balanced', 'cpu'] as const satisfies readonly Preference[]
/** KISim's bounds of what it observes: features are shares of these. */
const P95_AT_MOST_MS = 10_000
const REQUESTS_PER_SECOND_AT_MOST = 1000
/** Parts of an interval in which the load is looked at. */
const LOOKS = 6

const within = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value))

/** One interval, as agent and baseline have it. */
interface Interval {
  readonly p95Ms: number
  readonly throughput: number
}

/** How much better than the other, -1 to 1; 0 where both are nothing. */
const better = (less: number, more: number): number =>
  Math.max(less, more) > 0 ? (more - less) / Math.max(less, more) : 0

/**
 * KISim's environment: a service under load, whose GPU and CPU replicas are changed by up to two each time, and which kind of
 * them is asked first. The reward compares each interval with the same interval, users and seed under the replicas that the
 * episode began with (docs/simulator/load.md has the formulas).
 */
export class ReplicaEnvironment implements Environment {
  readonly observationSize = 10
  readonly actionSizes: readonly number[] = [CHANGES.length, CHANGES.length, PLACEMENTS.length]
  readonly rewardTerms: readonly string[] = ['latency', 'throughput', 'resource_efficiency', 'stability']

  readonly #scenario: LoadScenario
  readonly #episodeMs: number
  readonly #intervalMs: number
  readonly #limits: { readonly min: number; readonly gpu: number; readonly cpu: number }
  readonly #patterns: readonly PatternName[]
  readonly #maxUsers: number | undefined
  readonly #weights: ReplicaRewardWeights
  readonly #features = new Float32Array(10)
  readonly #mask = new Uint8Array(2 * CHANGES.length + PLACEMENTS.length)
  readonly #terms = new Float64Array(4)
  #cluster: ReplicaCluster | undefined
  #baseline: readonly Interval[] = []
  #pattern: PatternName = 'ramp'
  #elapsedMs = 0
  #observed: ReplicaObservation | undefined

  /** @throws StowageError CONFIG_INVALID_VALUE */
  constructor(options: ReplicaEnvironmentOptions) {
    const { patterns = PATTERN_NAMES, scenario, weights = DEFAULT_REPLICA_WEIGHTS } = options
    this.#scenario = scenario
    this.#episodeMs = options.episodeMs ?? DEFAULT_EPISODE_MS
    this.#intervalMs = options.actionIntervalMs ?? DEFAULT_ACTION_INTERVAL_MS
    this.#limits = {
      min: options.minReplicas ?? DEFAULT_MIN_REPLICAS,
      gpu: options.maxGpuReplicas ?? DEFAULT_MAX_GPU_REPLICAS,
      cpu: options.maxCpuReplicas ?? DEFAULT_MAX_CPU_REPLICAS,
    }
    this.#patterns = patterns
    this.#maxUsers = options.maxUsers
    this.#weights = weights
    const invalid = (found: string, expected: string): StowageError =>
      new StowageError('CONFIG_INVALID_VALUE', { found, expected })
    if (!(this.#intervalMs > 0 && this.#episodeMs >= this.#intervalMs))
      throw invalid(
        `an episode of ${this.#episodeMs} ms with an action every ${this.#intervalMs} ms`,
        'an episode of at least one interval',
      )
    if (patterns.length === 0) throw invalid('no load pattern', `some of ${PATTERN_NAMES.join(', ')}`)
    const { cpu, gpu, min } = this.#limits
    for (const [kind, most] of [
      ['gpu', gpu],
      ['cpu', cpu],
    ] as const) {
      const group = scenario.replicas[kind]
      if (group === undefined)
        throw invalid(`the scenario ${scenario.name} without ${kind} replicas`, 'a template for both kinds')
      if (!(Number.isInteger(min) && Number.isInteger(most) && min >= 0 && min <= group.count && group.count <= most))
        throw invalid(
          `${group.count} ${kind} replicas at the start, ${min} at least and ${most} at most`,
          'whole numbers in this order: at least, start, at most',
        )
    }
  }

  /** The load of this episode. */
  get pattern(): PatternName {
    return this.#pattern
  }

  /** What the features are made of. */
  get observed(): ReplicaObservation | undefined {
    return this.#observed
  }

  reset(seed: number): Observation {
    const random = seededRandom(seed)
    // below the length
    this.#pattern = this.#patterns[random.below(this.#patterns.length)]!
    const loadSeed = random.below(2 ** 31)
    const open = (): ReplicaCluster => {
      const { maxUsers } = createPattern({ name: this.#pattern, durationMs: this.#episodeMs, maxUsers: this.#maxUsers })
      return openCluster({
        scenario: this.#scenario,
        pattern: { name: this.#pattern, durationMs: this.#episodeMs, maxUsers },
        seed: loadSeed,
      })
    }
    this.#elapsedMs = 0
    this.#baseline = this.#playBaseline(open())
    this.#cluster = open()
    this.#observe(this.#cluster, undefined, 0, 0)
    return { features: this.#features, mask: this.#mask }
  }

  step(action: ArrayLike<number>): Step {
    const cluster = this.#cluster
    if (cluster === undefined)
      throw new StowageError('BAD_REQUEST', { found: 'a step without an episode', expected: 'reset first' })
    const [gpuChange, cpuChange, placement] = this.#read(action)
    const interval = Math.round(this.#elapsedMs / this.#intervalMs)
    cluster.prefer(placement)
    cluster.scale('gpu', cluster.wanted('gpu') + gpuChange)
    cluster.scale('cpu', cluster.wanted('cpu') + cpuChange)
    const { loads, window } = this.#run(cluster)
    this.#reward(cluster, window, this.#baseline[interval], Math.abs(gpuChange) + Math.abs(cpuChange))
    const { trend, variance } = shapeOf(loads)
    this.#observe(cluster, window, trend, variance)
    const truncated = this.#elapsedMs >= this.#episodeMs
    if (truncated) this.#cluster = undefined
    const { latency, resourceEfficiency, stability, throughput } = this.#weights
    const weights = [latency, throughput, resourceEfficiency, stability]
    return {
      features: this.#features,
      mask: this.#mask,
      // as many terms as weights
      reward: this.#terms.reduce((sum, term, at) => sum + weights[at]! * term, 0),
      terms: this.#terms,
      terminated: false,
      truncated,
    }
  }

  #read(action: ArrayLike<number>): readonly [number, number, Preference] {
    let first = 0
    for (const [part, size] of this.actionSizes.entries()) {
      const choice = action[part] ?? Number.NaN
      if (this.#mask[first + choice] !== 1 || choice < 0 || choice >= size)
        throw new StowageError('BAD_REQUEST', {
          found: `the choice ${choice} in part ${part} of an action`,
          expected: 'one of those that the mask allows',
        })
      first += size
    }
    // each is a place in its list, as the mask has it
    return [CHANGES[action[0]!]!, CHANGES[action[1]!]!, PLACEMENTS[action[2]!]!]
  }

  /** One interval, or what is left of the episode. */
  #run(cluster: ReplicaCluster): { readonly window: ReplicaWindow; readonly loads: readonly number[] } {
    const lengthMs = Math.min(this.#intervalMs, this.#episodeMs - this.#elapsedMs)
    const startMs = this.#scenario.warmUpMs + this.#elapsedMs
    const loads: number[] = []
    for (let look = 1; look <= LOOKS; look++) {
      cluster.runUntil(startMs + (look * lengthMs) / LOOKS)
      loads.push(cluster.takeOffered())
    }
    this.#elapsedMs += lengthMs
    return { window: cluster.takeWindow(), loads }
  }

  #playBaseline(cluster: ReplicaCluster): Interval[] {
    const intervals: Interval[] = []
    for (let atMs = this.#intervalMs; atMs < this.#episodeMs + this.#intervalMs; atMs += this.#intervalMs) {
      cluster.runUntil(this.#scenario.warmUpMs + Math.min(atMs, this.#episodeMs))
      const { latencyMs, throughput } = cluster.takeWindow()
      intervals.push({ p95Ms: latencyMs.p95, throughput })
    }
    return intervals
  }

  #reward(cluster: ReplicaCluster, window: ReplicaWindow, baseline: Interval | undefined, changes: number): void {
    const [gpu, cpu] = [cluster.takeUse('gpu'), cluster.takeUse('cpu')]
    const uses = [...gpu.concurrency, ...cpu.concurrency]
    const replicas = uses.length + gpu.unready + cpu.unready
    this.#terms[0] = better(window.latencyMs.p95, baseline?.p95Ms ?? 0)
    this.#terms[1] = better(baseline?.throughput ?? 0, window.throughput)
    this.#terms[2] = replicas === 0 ? 0 : uses.reduce((sum, use) => sum + Math.min(1, use), 0) / replicas
    this.#terms[3] = 1 - changes / 4
  }

  #observe(cluster: ReplicaCluster, window: ReplicaWindow | undefined, trend: number, variance: number): void {
    const observed: ReplicaObservation = {
      cpuPercent: 100 * (window?.cpuShare ?? 0),
      memoryPercent: 100 * (window?.memoryShare ?? 0),
      gpuPercent: 100 * (window?.gpuShare ?? 0),
      p95Ms: window?.latencyMs.p95 ?? 0,
      requestsPerSecond: window?.throughput ?? 0,
      gpuReplicas: cluster.wanted('gpu'),
      cpuReplicas: cluster.wanted('cpu'),
      loadTrend: trend,
      loadVariance: variance,
      time: this.#elapsedMs / this.#episodeMs,
    }
    this.#observed = observed
    const { cpu, gpu, min } = this.#limits
    this.#features.set(
      [
        observed.cpuPercent / 100,
        observed.memoryPercent / 100,
        observed.gpuPercent / 100,
        // milliseconds matter as much as seconds
        Math.log1p(observed.p95Ms) / Math.log1p(P95_AT_MOST_MS),
        Math.log1p(observed.requestsPerSecond) / Math.log1p(REQUESTS_PER_SECOND_AT_MOST),
        observed.gpuReplicas / Math.max(1, gpu),
        observed.cpuReplicas / Math.max(1, cpu),
        (observed.loadTrend + 1) / 2,
        observed.loadVariance,
        observed.time,
      ].map((value) => within(value, 0, 1)),
    )
    for (const [at, change] of CHANGES.entries()) {
      const allows = (count: number, most: number): number => (count + change >= min && count + change <= most ? 1 : 0)
      this.#mask[at] = allows(observed.gpuReplicas, gpu)
      this.#mask[CHANGES.length + at] = allows(observed.cpuReplicas, cpu)
    }
    this.#mask.fill(1, 2 * CHANGES.length)
  }
}

/** How the load changed within an interval. */
const shapeOf = (loads: readonly number[]): { readonly trend: number; readonly variance: number } => {
  const meanOf = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
  const mean = meanOf(loads)
  if (mean === 0) return { trend: 0, variance: 0 }
  const half = loads.length / 2
  const deviation = Math.sqrt(meanOf(loads.map((load) => (load - mean) ** 2)))
  return {
    trend: within((meanOf(loads.slice(half)) - meanOf(loads.slice(0, half))) / mean, -1, 1),
    variance: within(deviation / mean, 0, 1),
  }
}
