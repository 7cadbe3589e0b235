import { Counter, exponentialBuckets, Gauge, Registry } from 'prom-client'
import { type Count, CountFamily, SeriesOf, type Spread, SpreadFamily } from './tally.ts'

type Queue = 'active' | 'backoff' | 'unschedulable' | 'gated'
type Attempt = 'scheduled' | 'unschedulable' | 'error'

/** What the language model was asked and did, since the start. */
export interface ModelFigures {
  /** questions, and decisions from earlier answers instead: the sum of the next three */
  readonly totalRequests: number
  readonly successfulRequests: number
  readonly failedRequests: number
  readonly cachedRequests: number
  /** pods placed by the answer to their own question */
  readonly llmDecisions: number
  /** pods that were not asked about, or in vain */
  readonly fallbackDecisions: number
  /** pods that were not asked about, by reason */
  readonly skipped: Readonly<Record<string, number>>
  /** of all requests, 0 to 1 */
  readonly cacheHitRate: number
  readonly avgResponseMs: number
  readonly circuitBreaker: 'closed' | 'open' | 'half_open'
  readonly circuitBreakerTrips: number
  /** over HTTP, with retries and hedges */
  readonly requests: number
  readonly retries: number
  readonly hedges: number
  readonly promptTokens: number
  readonly completionTokens: number
  readonly dollars: number
}

/** What is read from the running system when somebody scrapes: nothing of it is kept twice. */
export interface MetricsSource {
  /** pods waiting, by queue */
  pending(): Readonly<Record<Queue, number>>
  /** where the pods of our profiles are; `seen` is the sum of the others */
  conservation(): {
    readonly seen: number
    readonly bound: number
    readonly waiting: number
    readonly gated: number
    readonly deleted: number
    readonly inFlight: number
  }
  /** waiting pods by the rule that refuses them; a pod counts once for each */
  unschedulable(): Iterable<{ readonly plugin: string; readonly profile: string; readonly pods: number }>
  cluster(): {
    readonly readyNodes: number
    readonly notReadyNodes: number
    /** pods placed or assumed on a node */
    readonly pods: number
    /** of these, reserved and not yet confirmed by the API server */
    readonly assumedPods: number
    /** share of the cluster's allocatable that is in use, 0..1 */
    readonly cpuUsage: number
    readonly memoryUsage: number
  }
  /** events and conditions not sent yet, and given up so far */
  reports(): { readonly waiting: number; readonly lost: number }
  /** decisions kept in the store, and lost so far because it could not take them */
  decisions(): { readonly kept: number; readonly lost: number }
  /** whether this replica is the one that schedules */
  leads(): boolean
  /** how the language model does; undefined: there is none */
  model(): ModelFigures | undefined
}

/** From 1 ms to 16 s, kube-scheduler's for scheduling attempts (pkg/scheduler/metrics). */
const attemptBuckets = exponentialBuckets(0.001, 2, 15)
/** From 10 ms to 87 min, kube-scheduler's for pods. */
const sliBuckets = exponentialBuckets(0.01, 2, 20)
/** From 0.1 ms to 205 ms, kube-scheduler's for extension points. */
const phaseBuckets = exponentialBuckets(0.0001, 2, 12)
/** Ours start at 25 us: a decision here takes less than kube-scheduler's first bucket. */
const decisionBuckets = exponentialBuckets(0.000_025, 2, 18)

/** From 50 ms to 51 s: a language model's answers. */
const modelBuckets = exponentialBuckets(0.05, 2, 11)

/** kube-scheduler's for the victims of one preemption. */
const victimBuckets = exponentialBuckets(1, 2, 7)

const podAttemptBuckets = exponentialBuckets(1, 2, 5)

/** kube-scheduler's cap on the label `attempts`. */
const ATTEMPTS_CAP = 15

/**
 * The metrics of the process, in a registry of their own. Names and buckets are kube-scheduler's where they mean the same (its
 * dashboards work), the deep-RL scheduler's `drl_scheduler_`, and `stowage_` for what neither has. It is a SchedulingObserver
 * (src/scheduling/ports.ts) by structure.
 */
export class Metrics {
  readonly registry = new Registry()
  readonly #attempts: SeriesOf<{ readonly total: Count; readonly seconds: Spread }>
  readonly #drlSuccess: Count
  readonly #drlFailed: Count
  readonly #drlSeconds: Spread
  readonly #decisionSeconds: Spread
  readonly #phases: SeriesOf<Spread>
  readonly #sli: SeriesOf<Spread>
  readonly #podAttempts: Spread
  readonly #preemptions: Count
  readonly #victims: Spread
  readonly #incoming: SeriesOf<Count>
  readonly #decided: SeriesOf<Count>
  readonly #fallbacks: SeriesOf<Count>
  readonly #bindFailures: SeriesOf<Count>
  readonly #unreadable: SeriesOf<Count>
  readonly #watchCuts: SeriesOf<Count>
  readonly #relists: SeriesOf<Count>
  readonly #modelSeconds: SeriesOf<Spread>

  constructor() {
    const attempts = this.#counter<'result' | 'profile'>(
      'scheduler_schedule_attempts_total',
      "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem.",
    )
    const attemptSeconds = this.#histogram<'result' | 'profile'>(
      'scheduler_scheduling_attempt_duration_seconds',
      'Scheduling attempt latency in seconds (scheduling algorithm + binding)',
      attemptBuckets,
    )
    this.#attempts = new SeriesOf((profile, result) => ({
      total: attempts.series({ result, profile }),
      seconds: attemptSeconds.series({ result, profile }),
    }))
    const drlAttempts = this.#counter<'status'>(
      'drl_scheduler_schedule_attempts_total',
      'Attempts to schedule a pod, by status: success or failed',
    )
    this.#drlSuccess = drlAttempts.series({ status: 'success' })
    this.#drlFailed = drlAttempts.series({ status: 'failed' })
    this.#drlSeconds = this.#histogram(
      'drl_scheduler_schedule_duration_seconds',
      'Time of one scheduling attempt in seconds',
      attemptBuckets,
    ).series({})
    this.#decisionSeconds = this.#histogram(
      'stowage_decision_duration_seconds',
      'Time of one decision, constraints and ranking without the bind, in seconds',
      decisionBuckets,
    ).series({})

    const phases = this.#histogram<'extension_point' | 'status' | 'profile'>(
      'scheduler_framework_extension_point_duration_seconds',
      'Latency for running all plugins of a specific extension point.',
      phaseBuckets,
    )
    this.#phases = new SeriesOf((profile, phase) =>
      phases.series({ extension_point: phase, status: 'Success', profile }),
    )
    const sli = this.#histogram<'attempts'>(
      'scheduler_pod_scheduling_sli_duration_seconds',
      'E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts.',
      sliBuckets,
    )
    this.#sli = new SeriesOf((attempts) => sli.series({ attempts }))
    this.#podAttempts = this.#histogram(
      'scheduler_pod_scheduling_attempts',
      'Number of attempts to successfully schedule a pod.',
      podAttemptBuckets,
    ).series({})
    this.#preemptions = this.#counter(
      'scheduler_preemption_attempts_total',
      'Total preemption attempts in the cluster till now',
    ).series({})
    this.#victims = this.#histogram(
      'scheduler_preemption_victims',
      'Number of selected preemption victims',
      victimBuckets,
    ).series({})
    const incoming = this.#counter<'queue' | 'event'>(
      'scheduler_queue_incoming_pods_total',
      'Number of pods added to scheduling queues by event and queue type.',
    )
    this.#incoming = new SeriesOf((queue, event) => incoming.series({ queue, event }))

    const decided = this.#counter<'policy' | 'source'>(
      'stowage_decisions_total',
      'Decisions by policy and by where the ranking came from',
    )
    this.#decided = new SeriesOf((policy, source) => decided.series({ policy, source }))
    const fallbacks = this.#counter<'profile' | 'policy'>(
      'stowage_fallbacks_total',
      'Pods that the fallback placed because the policy gave nothing',
    )
    this.#fallbacks = new SeriesOf((profile, policy) => fallbacks.series({ profile, policy }))
    const bindFailures = this.#counter<'kind'>(
      'stowage_bind_failures_total',
      'Binds that the API server did not take, by kind: conflict, gone or error',
    )
    this.#bindFailures = new SeriesOf((kind) => bindFailures.series({ kind }))
    const unreadable = this.#counter<'kind'>(
      'stowage_unreadable_objects_total',
      'Objects from the API server that could not be read',
    )
    this.#unreadable = new SeriesOf((kind) => unreadable.series({ kind }))
    const watchCuts = this.#counter<'resource'>(
      'stowage_watch_cuts_total',
      'Watches that ended before their time, by resource',
    )
    this.#watchCuts = new SeriesOf((resource) => watchCuts.series({ resource }))
    const relists = this.#counter<'resource'>(
      'stowage_relists_total',
      'Lists read anew because a watch could not resume, by resource',
    )
    this.#relists = new SeriesOf((resource) => relists.series({ resource }))
    const modelSeconds = this.#histogram<'result'>(
      'stowage_llm_response_seconds',
      'Time until a question to the language model was answered or given up, by result: success or failed',
      modelBuckets,
    )
    this.#modelSeconds = new SeriesOf((result) => modelSeconds.series({ result }))
    this.#addProcess()
  }

  modelAnswered(durationMs: number, succeeded: boolean): void {
    this.#modelSeconds.at(succeeded ? 'success' : 'failed').observe(durationMs / 1000)
  }

  attempted(schedulerName: string, result: Attempt, durationMs: number): void {
    const series = this.#attempts.at(schedulerName, result)
    const seconds = durationMs / 1000
    series.total.add()
    series.seconds.observe(seconds)
    if (result === 'scheduled') this.#drlSuccess.add()
    else this.#drlFailed.add()
    this.#drlSeconds.observe(seconds)
  }

  phase(schedulerName: string, phase: string, durationMs: number): void {
    this.#phases.at(schedulerName, phase).observe(durationMs / 1000)
  }

  bound(_schedulerName: string, attempts: number, sinceOpenMs: number): void {
    this.#sli.at(attempts >= ATTEMPTS_CAP ? `${ATTEMPTS_CAP}+` : String(attempts)).observe(sinceOpenMs / 1000)
    this.#podAttempts.observe(attempts)
  }

  /** Pods that could make room for another were looked for; 0: there were none. */
  preempted(victims: number): void {
    this.#preemptions.add()
    if (victims > 0) this.#victims.observe(victims)
  }

  queued(queue: Queue, event: string): void {
    this.#incoming.at(queue, event).add()
  }

  fellBack(schedulerName: string, policy: string): void {
    this.#fallbacks.at(schedulerName, policy).add()
  }

  unreadable(kind: string): void {
    this.#unreadable.at(kind).add()
  }

  /**
   * A decision was recorded: fields of its DecisionRecord. What no cycle decided (a gate, an unreadable pod, the bind of
   * somebody else) counts as none.
   */
  decided(record: { readonly policy: string; readonly source: string; readonly cycleMs: number }): void {
    if (record.cycleMs < 0) return
    this.#decided.at(record.policy, record.source).add()
    this.#decisionSeconds.observe(record.cycleMs / 1000)
  }

  bindFailed(kind: string): void {
    this.#bindFailures.at(kind).add()
  }

  watchCut(resource: string): void {
    this.#watchCuts.at(resource).add()
  }

  relisted(resource: string): void {
    this.#relists.at(resource).add()
  }

  /** The text that Prometheus scrapes, and its content type. */
  async scrape(): Promise<{ readonly contentType: string; readonly body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() }
  }

  /** Adds what is read from the running system at each scrape. Called once. */
  observe(source: MetricsSource): void {
    this.#gauge(
      'scheduler_pending_pods',
      "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of pods in backoffQ; 'unschedulable' means number of pods in unschedulable pool; 'gated' is the number of pods that the scheduler never attempted to schedule because they are gated.",
      ['queue'],
      (gauge) => {
        for (const [queue, pods] of Object.entries(source.pending())) gauge.set({ queue }, pods)
      },
    )
    this.#gauge(
      'scheduler_unschedulable_pods',
      'The number of unschedulable pods broken down by plugin name. A pod will increment the gauge for all plugins that caused it to not schedule.',
      ['plugin', 'profile'],
      (gauge) => {
        for (const { plugin, profile, pods } of source.unschedulable()) gauge.set({ plugin, profile }, pods)
      },
    )
    this.#gauge(
      'scheduler_scheduler_cache_size',
      'Number of nodes, pods, and assumed (bound) pods in the scheduler cache.',
      ['type'],
      (gauge) => {
        const cluster = source.cluster()
        gauge.set({ type: 'nodes' }, cluster.readyNodes + cluster.notReadyNodes)
        gauge.set({ type: 'pods' }, cluster.pods)
        gauge.set({ type: 'assumed_pods' }, cluster.assumedPods)
      },
    )
    this.#gauge(
      'stowage_pods',
      'Pods of our profiles by where they are; seen is the sum of the others',
      ['state'],
      (gauge) => {
        const sum = source.conservation()
        gauge.set({ state: 'seen' }, sum.seen)
        gauge.set({ state: 'bound' }, sum.bound)
        gauge.set({ state: 'waiting' }, sum.waiting)
        gauge.set({ state: 'gated' }, sum.gated)
        gauge.set({ state: 'deleted' }, sum.deleted)
        gauge.set({ state: 'in_flight' }, sum.inFlight)
      },
    )
    this.#gauge('stowage_reports_waiting', 'Events and conditions not yet sent to the API server', [], (gauge) =>
      gauge.set(source.reports().waiting),
    )
    this.#total('stowage_reports_lost_total', 'Events and conditions given up', () => source.reports().lost)
    this.#gauge('stowage_decisions_kept', 'Decisions in the store', [], (gauge) => gauge.set(source.decisions().kept))
    this.#total(
      'stowage_decisions_lost_total',
      'Decisions that the store could not keep',
      () => source.decisions().lost,
    )
    this.#gauge('stowage_leader', '1 while this replica is the one that schedules, else 0', [], (gauge) =>
      gauge.set(source.leads() ? 1 : 0),
    )
    this.#gauge('drl_scheduler_cluster_cpu_usage', 'Share of the allocatable CPU in use, 0 to 1', [], (gauge) =>
      gauge.set(source.cluster().cpuUsage),
    )
    this.#gauge('drl_scheduler_cluster_memory_usage', 'Share of the allocatable memory in use, 0 to 1', [], (gauge) =>
      gauge.set(source.cluster().memoryUsage),
    )
    this.#gauge('drl_scheduler_node_count', 'Nodes by state: ready or not_ready', ['state'], (gauge) => {
      const cluster = source.cluster()
      gauge.set({ state: 'ready' }, cluster.readyNodes)
      gauge.set({ state: 'not_ready' }, cluster.notReadyNodes)
    })
    this.#gauge('drl_scheduler_pod_count', 'Pods placed on a node', [], (gauge) => gauge.set(source.cluster().pods))
    this.#observeModel(() => source.model())
  }

  #observeModel(read: MetricsSource['model']): void {
    const total = (name: string, help: string, pick: (model: ModelFigures) => number): void => {
      this.#total(`stowage_llm_${name}`, help, () => {
        const model = read()
        return model === undefined ? 0 : pick(model)
      })
    }
    total(
      'requests_total',
      'Questions to the language model, and decisions from its earlier answers',
      (m) => m.totalRequests,
    )
    total(
      'successful_requests_total',
      'Questions that were answered so that it made sense',
      (m) => m.successfulRequests,
    )
    total('failed_requests_total', 'Questions that were not', (m) => m.failedRequests)
    total('cached_requests_total', 'Pods placed by an earlier answer, without a question', (m) => m.cachedRequests)
    total('decisions_total', 'Pods placed by the answer to their own question', (m) => m.llmDecisions)
    total(
      'fallback_decisions_total',
      'Pods of the policy llm that were not asked about, or in vain',
      (m) => m.fallbackDecisions,
    )
    total('circuit_breaker_trips_total', 'How often the circuit breaker has opened', (m) => m.circuitBreakerTrips)
    total('http_requests_total', 'Requests to its servers, with retries and hedges', (m) => m.requests)
    total('retries_total', 'Requests that were sent again', (m) => m.retries)
    total('hedges_total', 'Requests to the second server', (m) => m.hedges)
    total('prompt_tokens_total', 'Tokens sent, as the server or else we count them', (m) => m.promptTokens)
    total('completion_tokens_total', 'Tokens received, as the server or else we count them', (m) => m.completionTokens)
    total('dollars_total', 'Dollars spent, by the prices in the settings or in the list of models', (m) => m.dollars)
    const gauge = <L extends string>(
      name: string,
      help: string,
      labels: readonly L[],
      write: (gauge: Gauge<L>, model: ModelFigures) => void,
    ): void =>
      this.#gauge(`stowage_llm_${name}`, help, labels, (made) => {
        const model = read()
        if (model !== undefined) write(made, model)
      })
    gauge('cache_hit_rate', 'Share of the requests that earlier answers made needless, 0 to 1', [], (made, m) =>
      made.set(m.cacheHitRate),
    )
    gauge('avg_response_time_seconds', 'Mean time until a question was answered or given up', [], (made, m) =>
      made.set(m.avgResponseMs / 1000),
    )
    gauge('circuit_breaker_state', '1 for the state the breaker is in', ['state'], (made, m) => {
      for (const state of ['closed', 'half_open', 'open']) made.set({ state }, m.circuitBreaker === state ? 1 : 0)
    })
    gauge('skipped_pods', 'Pods placed without a question since the start, by the reason', ['reason'], (made, m) => {
      for (const [reason, pods] of Object.entries(m.skipped)) made.set({ reason }, pods)
    })
  }

  #counter<L extends string>(name: string, help: string): CountFamily<L> {
    return new CountFamily<L>(name, help).register(this.registry)
  }

  #histogram<L extends string = never>(name: string, help: string, buckets: readonly number[]): SpreadFamily<L> {
    return new SpreadFamily<L>(name, help, buckets).register(this.registry)
  }

  #gauge<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    read: (gauge: Gauge<L>) => void,
  ): void {
    const collect = function (this: Gauge<L>): void {
      this.reset()
      read(this)
    }
    this.registry.registerMetric(new Gauge<L>({ name, help, labelNames, registers: [], collect }))
  }

  #total(name: string, help: string, read: () => number): void {
    const collect = function (this: Counter): void {
      this.reset()
      this.inc(read())
    }
    this.registry.registerMetric(new Counter({ name, help, registers: [], collect }))
  }

  /**
   * The process itself, under the names that Prometheus clients share. Not prom-client's own set: that one samples the event
   * loop with a timer of 10 ms and observes every garbage collection for as long as the process lives.
   */
  #addProcess(): void {
    let loop = performance.eventLoopUtilization()
    this.#total('process_cpu_seconds_total', 'User and system CPU time spent in seconds', () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    })
    this.#gauge('process_start_time_seconds', 'Start time of the process since 1970 in seconds', [], (gauge) =>
      gauge.set(performance.timeOrigin / 1000),
    )
    this.#gauge('process_resident_memory_bytes', 'Resident memory in bytes', [], (gauge) =>
      gauge.set(process.memoryUsage.rss()),
    )
    this.#gauge('nodejs_heap_size_used_bytes', 'JavaScript heap in use in bytes', [], (gauge) =>
      gauge.set(process.memoryUsage().heapUsed),
    )
    this.#gauge(
      'nodejs_eventloop_utilization',
      'Share of time that the event loop was busy since the last scrape, 0 to 1',
      [],
      (gauge) => {
        const now = performance.eventLoopUtilization()
        gauge.set(performance.eventLoopUtilization(now, loop).utilization)
        loop = now
      },
    )
  }
}
