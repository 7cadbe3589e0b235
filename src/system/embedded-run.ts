import type { Clock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import type { KubeObject, PodObject } from '../cluster/objects.ts'
import type { LoadedConfiguration } from '../configuration/load.ts'
import type { DecisionRecord } from '../decisions/record.ts'
import { createObject, NAMESPACES, patchObject, PODS, type ResourceKind } from '../kubernetes/objects.ts'
import { ApiRefusal } from '../kubernetes/connection.ts'
import { type Arrival, type ArrivalProgress, runArrivals } from '../simulation/workload/arrivals.ts'
import { allocations } from '../simulation/virtual/cluster-report.ts'
import type { NodeShape } from '../simulation/workload/node-shapes.ts'
import { WORKLOAD_GATE } from '../simulation/workload/workload.ts'
import type { Log } from '../telemetry/log.ts'
import { type EmbeddedCluster, startEmbeddedCluster } from './embedded-cluster.ts'
import { percentiles, type RunReport } from './run-report.ts'
import { SchedulingSystem } from './scheduling-system.ts'

/** What a run is made of. */
export interface Scenario {
  readonly nodes: readonly NodeShape[]
  /** to be there before the pods: namespaces, priority classes */
  readonly objects: readonly KubeObject[]
  readonly arrivals: readonly Arrival[]
  /** how many times faster than the clock pods live */
  readonly speed: number
}

export interface EmbeddedRunOptions {
  readonly scenario: Scenario
  /** without a kubeconfig; that is the cluster's own */
  readonly loaded: LoadedConfiguration
  readonly policy: string
  readonly kubePort: number
  readonly kubeconfig: string | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly log: Log
  readonly version: string
}

const PRIORITY_CLASSES: ResourceKind = {
  root: '/apis/scheduling.k8s.io/v1',
  plural: 'priorityclasses',
  namespaced: false,
}
const KINDS: Readonly<Record<string, ResourceKind>> = { Namespace: NAMESPACES, PriorityClass: PRIORITY_CLASSES }

/** Pods that are created at one time, at most. */
const CREATIONS_IN_FLIGHT = 32
/** How long the gated pods of the synthetic workload are held. */
const GATE_OPENS_MS = 3_000
const LAST_DECISIONS = 16
const REASONS_AT_MOST = 10
const SAMPLES_AT_MOST = 1_000_000
const SAMPLE_ALLOCATION_MS = 250

/** An embedded cluster, a workload that comes to it over HTTP, and a scheduler for it: what `stowage up` runs. */
export class EmbeddedRun {
  readonly cluster: EmbeddedCluster
  readonly system: SchedulingSystem
  readonly #options: EmbeddedRunOptions
  readonly #startMs: number
  readonly #loading = new AbortController()
  readonly #latenciesMs: number[]
  readonly #decisionsMs: number[]
  readonly #last: DecisionRecord[]
  readonly #span: { firstMs: number; lastMs: number }
  readonly #peak = new Map<string, number>()
  #busiest = 0
  #arrivals: ArrivalProgress
  #loaded: Promise<unknown> = Promise.resolve()
  #sampling = true

  private constructor(
    options: EmbeddedRunOptions,
    cluster: EmbeddedCluster,
    system: SchedulingSystem,
    seen: {
      latenciesMs: number[]
      decisionsMs: number[]
      last: DecisionRecord[]
      span: { firstMs: number; lastMs: number }
    },
  ) {
    this.#options = options
    this.cluster = cluster
    this.system = system
    this.#latenciesMs = seen.latenciesMs
    this.#decisionsMs = seen.decisionsMs
    this.#last = seen.last
    this.#span = seen.span
    this.#startMs = options.clock.monotonicMs()
    this.#arrivals = { total: options.scenario.arrivals.length, created: 0, failed: 0, reasons: new Map(), done: false }
  }

  /**
   * Starts the cluster and builds the scheduler, which does nothing yet: servers can be opened first.
   * @throws StowageError PORT_IN_USE, FILE_UNWRITABLE, STORE_UNUSABLE; then nothing is left running
   */
  static async open(options: EmbeddedRunOptions): Promise<EmbeddedRun> {
    const { clock, env, loaded, log, scenario, version } = options
    const random = seededRandom(loaded.configuration.scheduling.seed)
    const cluster = await startEmbeddedCluster({
      nodes: scenario.nodes,
      port: options.kubePort,
      kubeconfig: options.kubeconfig,
      clock,
      random,
      speed: scenario.speed,
      log,
    })
    const seen = {
      latenciesMs: [] as number[],
      decisionsMs: [] as number[],
      last: [] as DecisionRecord[],
      span: { firstMs: -1, lastMs: -1 },
    }
    try {
      const { configuration } = loaded
      const kubernetes = { ...configuration.kubernetes, kubeconfig: cluster.kubeconfigPath }
      const system = new SchedulingSystem({
        loaded: { ...loaded, configuration: { ...configuration, kubernetes } },
        env,
        clock,
        log,
        version,
        onDecision: (record) => {
          const nowMs = clock.monotonicMs()
          if (seen.span.firstMs < 0) seen.span.firstMs = nowMs
          seen.span.lastMs = nowMs
          // What no cycle decided took none.
          if (record.cycleMs >= 0 && seen.decisionsMs.length < SAMPLES_AT_MOST) seen.decisionsMs.push(record.cycleMs)
          seen.last.unshift(record)
          if (seen.last.length > LAST_DECISIONS) seen.last.pop()
        },
        onBound: (sinceOpenMs) => {
          if (seen.latenciesMs.length < SAMPLES_AT_MOST) seen.latenciesMs.push(sinceOpenMs)
        },
      })
      return new EmbeddedRun(options, cluster, system, seen)
    } catch (error) {
      await cluster.stop()
      throw error
    }
  }

  /** Starts the scheduler, then the arrivals. @throws StowageError API_REFUSED if an object of the scenario is not taken */
  async start(signal: AbortSignal): Promise<void> {
    const { clock, scenario } = this.#options
    const { connection } = this.system
    await this.system.start(signal)
    await this.system.ready(signal)
    for (const object of scenario.objects) {
      const kind = KINDS[object.kind ?? '']
      if (kind !== undefined) await createObject(connection, kind, object, signal).catch(unlessItExists)
    }
    this.#sample()
    this.#loaded = runArrivals({
      arrivals: scenario.arrivals,
      create: async (pod) => {
        // Not called off when the run ends: those under way are awaited.
        await createObject(connection, PODS, pod)
        if (pod.spec?.schedulingGates?.some(({ name }) => name === WORKLOAD_GATE)) this.#openLater(pod)
      },
      clock,
      concurrency: CREATIONS_IN_FLIGHT,
      signal: this.#loading.signal,
      onProgress: (progress) => this.#progress(progress),
    }).then((progress) => this.#progress(progress))
  }

  /** What held the pod back lets it go, as a quota system would. */
  #openLater(pod: PodObject): void {
    const { clock, log } = this.#options
    const { namespace = '', name = '' } = pod.metadata ?? {}
    clock.after(GATE_OPENS_MS, () => {
      if (this.#loading.signal.aborted) return
      const opened = { spec: { schedulingGates: null } }
      patchObject(this.system.connection, PODS, namespace, name, opened, undefined, this.#loading.signal).catch(
        (error: unknown) => {
          if (!this.#loading.signal.aborted)
            log.warn('a gate could not be opened', { pod: `${namespace}/${name}`, error })
        },
      )
    })
  }

  #progress(progress: ArrivalProgress): void {
    if (progress.failed > 0 && this.#arrivals.failed === 0)
      this.#options.log.warn('a pod could not be created', { why: [...progress.reasons.keys()].join('; ') })
    this.#arrivals = progress
  }

  get arrivals(): ArrivalProgress {
    return this.#arrivals
  }

  get elapsedMs(): number {
    return this.#options.clock.monotonicMs() - this.#startMs
  }

  /** newest first */
  get lastDecisions(): readonly DecisionRecord[] {
    return this.#last
  }

  /** Ends the arrivals and drains the scheduler; the cluster goes on, so that the report can be counted. */
  async drain(): Promise<void> {
    this.#sampling = false
    this.#loading.abort(new Error('the run ends'))
    await this.#loaded
    await this.system.stop()
  }

  /** Call after `drain`, before `close`. */
  report(): RunReport {
    const { system, cluster } = this
    this.#takeSample()
    const pods = system.scheduler.conservation()
    const { miscounted, overcommitted } = system.cluster.discrepancies()
    const counts = cluster.nodes.counts()
    const violationsBy: Record<string, number> = { ...counts.violations }
    if (miscounted.length > 0) violationsBy['columns that differ from a recount'] = miscounted.length
    if (overcommitted.length > 0) violationsBy['nodes that hold more than they have'] = overcommitted.length
    const spanMs = this.#span.lastMs - this.#span.firstMs
    const reasons = new Map<string, number>()
    for (const { reason, queue } of system.scheduler.waiting()) {
      if (queue === 'gated') continue
      const why = withoutCounts(reason)
      reasons.set(why, (reasons.get(why) ?? 0) + 1)
    }
    return {
      nodes: system.cluster.nodeCount,
      pods,
      decisionsPerSecond: spanMs > 0 ? Math.round((system.decisionCount * 10_000) / spanMs) / 10 : system.decisionCount,
      busiestSecond: Math.max(this.#busiest, ...system.decisionsPerSecond()),
      latencyMs: percentiles(this.#latenciesMs),
      decisionMs: percentiles(this.#decisionsMs),
      violations: Object.values(violationsBy).reduce((sum, count) => sum + count, 0),
      violationsBy,
      unaccounted: pods.seen - pods.bound - pods.waiting - pods.gated - pods.deleted - pods.inFlight,
      policy: this.#options.policy,
      seed: this.#options.loaded.configuration.scheduling.seed,
      elapsedSeconds: this.elapsedMs / 1000,
      created: {
        pods: this.#arrivals.created,
        failed: this.#arrivals.failed,
        failures: Object.fromEntries(this.#arrivals.reasons),
      },
      lives: { running: counts.running, succeeded: counts.succeeded, failed: counts.failed },
      waitingBecause: [...reasons]
        .sort(([, a], [, b]) => b - a)
        .slice(0, REASONS_AT_MOST)
        .map(([reason, count]) => ({ reason, pods: count })),
      allocation: allocations(system.cluster),
      peakAllocationPercent: Object.fromEntries(this.#peak),
      usage: system.cluster.usageSource,
    }
  }

  /** Ends everything that still runs. */
  async close(): Promise<void> {
    await this.drain()
    await this.cluster.stop()
  }

  /** Peaks are seen by looking now and then. */
  #sample(): void {
    if (!this.#sampling) return
    this.#takeSample()
    this.#options.clock.after(SAMPLE_ALLOCATION_MS, () => this.#sample())
  }

  #takeSample(): void {
    for (const { resource, percent } of allocations(this.system.cluster))
      this.#peak.set(resource, Math.max(percent, this.#peak.get(resource) ?? 0))
    this.#busiest = Math.max(this.#busiest, ...this.system.decisionsPerSecond())
  }
}

/** `0/5 nodes are available: 2 Insufficient cpu, 3 node(s) were unschedulable.` without what differs from pod to pod. */
const withoutCounts = (message: string): string =>
  message === ''
    ? 'not tried yet'
    : message
        .replace(/^0\/\d+ nodes are available: /, '')
        .replace(/\.$/, '')
        .split(', ')
        .map((part) => part.replace(/^\d+ /, ''))
        .join(', ')

const unlessItExists = (error: unknown): void => {
  if (!(error instanceof ApiRefusal && error.status === 409)) throw error
}
