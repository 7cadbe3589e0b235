import { createHash, randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Clock } from '../clock/clock.ts'
import { type Random, seededRandom } from '../clock/random.ts'
import type { ObjectFeed } from '../cluster/feed.ts'
import type { GangSource } from '../cluster/gangs.ts'
import type { KubeObject, NodeObject, PodDisruptionBudgetObject, PodObject } from '../cluster/objects.ts'
import { podKey } from '../cluster/pod.ts'
import { CPU, MEMORY } from '../cluster/resources.ts'
import { ClusterState } from '../cluster/state.ts'
import type { UsageSource } from '../cluster/view.ts'
import { maskedSettings } from '../configuration/describe.ts'
import type { LoadedConfiguration } from '../configuration/load.ts'
import type { Configuration } from '../configuration/schema.ts'
import { StowageError } from '../errors/catalogue.ts'
import { createConstraints } from '../constraints/registry.ts'
import type { Explanation } from '../decisions/explanation.ts'
import type { DecisionRecord } from '../decisions/record.ts'
import {
  type DecisionFilter,
  type DecisionPage,
  type DecisionStore,
  openDecisionStore,
  type PodReference,
} from '../decisions/store.ts'
import { ApiBinder } from '../kubernetes/binder.ts'
import { type Connection, openConnection } from '../kubernetes/connection.ts'
import { ApiEvictor } from '../kubernetes/evictor.ts'
import { runLeaderElection } from '../kubernetes/leader-election.ts'
import { ListWatch, UNFINISHED_PODS } from '../kubernetes/list-watch.ts'
import {
  collectionPath,
  CSI_DRIVERS,
  CSI_NODES,
  DISRUPTION_BUDGETS,
  NAMESPACES,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  type ResourceKind,
  serverVersion,
  SERVICES,
  STATEFUL_SETS,
  STORAGE_CAPACITIES,
  STORAGE_CLASSES,
  VOLUME_ATTACHMENTS,
} from '../kubernetes/objects.ts'
import { awaitPodGroups } from '../kubernetes/pod-groups.ts'
import { ApiReporter } from '../kubernetes/reporter.ts'
import { pollUsage } from '../kubernetes/usage.ts'
import { ApiClaimBinder } from '../kubernetes/volume-binder.ts'
import { heeding, type Intents } from '../policies/intents/heeding.ts'
import { IntentBook } from '../policies/intents/intent-book.ts'
import { intentQuestion } from '../policies/llm/intent-question.ts'
import { type LanguageModel, openLanguageModel } from '../policies/llm/language-model.ts'
import type { LlmOptions } from '../policies/llm/llm-policy.ts'
import { PlacementStatistics } from '../policies/llm/placement-statistics.ts'
import type { Policy } from '../policies/policy.ts'
import { createPolicy } from '../policies/registry.ts'
import { BindFailure, type SchedulingObserver } from '../scheduling/ports.ts'
import type { Profile } from '../scheduling/profile.ts'
import { Scheduler } from '../scheduling/scheduler.ts'
import type { StorageFeeds } from '../scheduling/storage-feeds.ts'
import type { SelectorFeeds } from '../scheduling/topology-feeds.ts'
import type { Log } from '../telemetry/log.ts'
import { Metrics, type ModelFigures } from '../telemetry/metrics.ts'
import { explainPod } from './explaining.ts'
import { RateMeter } from './rate.ts'
import { AUTO, storePathFor } from './store-path.ts'
import { warmUp } from './warm-up.ts'

export interface SchedulingSystemOptions {
  readonly loaded: LoadedConfiguration
  readonly env: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly log: Log
  /** of Stowage itself */
  readonly version: string
  /** told of every decision as it is made */
  readonly onDecision?: (record: DecisionRecord) => void
  /** told of every bind: the time since the pod was first seen, or lost its last scheduling gate */
  readonly onBound?: (sinceOpenMs: number) => void
}

type Phase = 'starting' | 'standby' | 'running' | 'draining' | 'stopped'

/** A watch that has been silent for so long tells us nothing any more: bookmarks come every minute. */
const STALE_MS = 180_000
/** How many seconds the rate of decisions is averaged over. */
const RATE_SECONDS = 5

/** How much later than the policy llm itself the cycle gives up on it. */
const BACKSTOP_MS = 250

const isLlm = (policy: string): boolean => policy === 'llm'

/** @param asking undefined: there is no model, or it must not be asked */
const profilesOf = (
  { fallback: { strategy }, llm, profiles, scheduling }: Configuration,
  intents: Intents,
  asking: Omit<LlmOptions, 'random'> | undefined,
  random: Random,
): Profile[] => {
  const heedful = (policy: string): Policy => heeding(createPolicy(policy), intents)
  return profiles.map(({ schedulerName, policy, fallback }) => ({
    schedulerName,
    policy: isLlm(policy)
      ? createPolicy(policy, {
          cheap: heedful(fallback ?? strategy),
          llm: asking && { ...asking, random: random.fork() },
        })
      : heedful(policy),
    fallback: fallback === undefined ? undefined : heedful(fallback),
    deadlineMs: isLlm(policy) ? llm.timeoutMs + BACKSTOP_MS : scheduling.policyTimeoutMs,
  }))
}

/** The same with the model's name. */
export interface ModelStatus extends ModelFigures {
  readonly model: string
}

/** A node's load and room, CPU in millicores, memory in bytes. */
export interface NodeFigures {
  readonly name: string
  readonly ready: boolean
  readonly unschedulable: boolean
  readonly pods: number
  readonly maxPods: number
  readonly allocatableCpuMilli: number
  readonly requestedCpuMilli: number
  readonly usedCpuMilli: number
  readonly allocatableMemoryBytes: number
  readonly requestedMemoryBytes: number
  readonly usedMemoryBytes: number
}

/**
 * A scheduler against an API server, whole: reads the cluster, decides while it leads, binds, reports, and keeps why. It
 * answers everything that the servers ask (servers/view.ts).
 */
export class SchedulingSystem {
  readonly metrics = new Metrics()
  readonly cluster = new ClusterState()
  readonly scheduler: Scheduler
  readonly connection: Connection
  readonly store: DecisionStore
  readonly intents: IntentBook
  readonly #options: SchedulingSystemOptions
  readonly #model: LanguageModel | undefined
  readonly #placed = new PlacementStatistics()
  readonly #configuration: Configuration
  readonly #startedMs: number
  readonly #reporter: ApiReporter
  /** where the PodGroups of each API are that the server has */
  readonly #groupKinds = new Map<GangSource, ResourceKind>()
  readonly #watches: {
    readonly kind: string
    /** without it this scheduler is not ready */
    readonly isNeeded: boolean
    readonly watch: { readonly synced: boolean; readonly silentMs: number }
  }[] = []
  readonly #decisionRate: RateMeter
  readonly #reading = new AbortController()
  readonly #candidacy = new AbortController()
  readonly #running: Promise<unknown>[] = []
  #phase: Phase = 'starting'
  #decisions = 0
  #reportsGivenUp = 0
  #failedBindings = 0
  #whenReady: (() => void)[] = []

  /** @throws StowageError KUBECONFIG_UNREADABLE, STORE_UNUSABLE, POLICY_UNKNOWN */
  constructor(options: SchedulingSystemOptions) {
    const { clock, loaded, env, log } = options
    const { configuration } = loaded
    this.#options = options
    this.#configuration = configuration
    this.#startedMs = clock.monotonicMs()
    this.#decisionRate = new RateMeter(clock)
    const random = seededRandom(configuration.scheduling.seed)
    const { decisions, kubernetes, scheduling } = configuration
    this.connection = openConnection({
      env,
      clock,
      ...(kubernetes.kubeconfig === undefined ? {} : { kubeconfig: kubernetes.kubeconfig }),
      ...(kubernetes.context === undefined ? {} : { context: kubernetes.context }),
      ...(kubernetes.inCluster === undefined ? {} : { inCluster: kubernetes.inCluster }),
    })
    this.store = this.#openStore(decisions)
    const client = { connection: this.connection, clock }
    const binder = new ApiBinder({
      ...client,
      random: random.fork(),
      maxInFlight: scheduling.bindsInFlight,
      timeoutMs: scheduling.bindTimeoutMs,
    })
    this.#reporter = new ApiReporter({
      ...client,
      random: random.fork(),
      hostname: hostname(),
      bindsInFlight: () => binder.inFlight,
      groupKind: (source) => this.#groupKinds.get(source),
      onForbidden: (source, why) =>
        log.warn('the status of PodGroups may not be written: grant "patch" on podgroups/status', { api: source, why }),
      onGivenUp: (about, what, why) => {
        // The first, the tenth, the hundredth: a server that takes none must not fill the log too.
        if (Number.isInteger(Math.log10(++this.#reportsGivenUp)))
          log.warn('a report was given up', { about: podKey(about), what, why, soFar: this.#reportsGivenUp })
      },
    })
    this.#model = openLanguageModel({
      settings: configuration.llm,
      breaker: configuration.circuitBreaker,
      clock,
      random: random.fork(),
      log,
      onAnswered: (durationMs, succeeded) => this.metrics.modelAnswered(durationMs, succeeded),
    })
    this.intents = this.#openIntents()
    const asking = this.#model && {
      model: this.#model,
      settings: configuration.llm,
      cache: configuration.cache,
      statistics: this.#placed,
      intents: this.intents,
      clock,
    }
    const profiles = profilesOf(configuration, this.intents, asking, random)
    this.scheduler = new Scheduler({
      clock,
      random: random.fork(),
      profiles,
      constraints: createConstraints(),
      cluster: this.cluster,
      binder: {
        bind: async (pod, nodeName, signal) => {
          try {
            await binder.bind(pod, nodeName, signal)
          } catch (error) {
            this.#failedBindings++
            this.metrics.bindFailed(error instanceof BindFailure ? error.kind : 'error')
            throw error
          }
        },
      },
      evictor: new ApiEvictor({ ...client, random: random.fork() }),
      claimBinder: new ApiClaimBinder({ ...client, cluster: this.cluster }),
      reporter: this.#reporter,
      decisions: {
        keep: (record) => {
          this.#decisions++
          this.#decisionRate.count()
          this.store.keep(record)
          this.metrics.decided(record)
          options.onDecision?.(record)
        },
        settle: (id, outcome, message, bindMs) => this.store.settle(id, outcome, message, bindMs),
      },
      observer: this.#observer(),
      log,
      maxBindsInFlight: scheduling.bindsInFlight,
      // Microseconds: also replicas that share a file do not give out the same number.
      firstDecisionId: Math.max(this.store.nextId(), clock.nowMs() * 1000),
    })
    this.#observe()
  }

  /**
   * Connects and begins to read; decides as soon as everything has been read and this replica leads.
   * @throws StowageError API_UNREACHABLE, API_REFUSED at the first question to the server
   */
  async start(signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    const version = await serverVersion(this.connection, signal)
    warmUp(profilesOf(this.#configuration, this.intents, undefined, seededRandom(1)), this.#options.clock)
    log.info('connected', { server: this.connection.address, version })
    await this.#meetModel(signal)
    this.#read<NodeObject>(NODES, this.scheduler.nodes)
    this.#read(NAMESPACES, this.scheduler.namespaces)
    this.#readSelectors(this.scheduler.selectors)
    this.#readStorage(this.scheduler.storage)
    this.#read<PodObject>(PODS, this.scheduler.pods, UNFINISHED_PODS)
    this.#read<PodDisruptionBudgetObject>(DISRUPTION_BUDGETS, this.scheduler.disruptionBudgets)
    this.#running.push(this.#readUsage(), this.#readPodGroups())
    if (this.#configuration.leaderElection.enabled) {
      this.#running.push(this.#stand())
    } else this.#lead()
  }

  /** Resolves when it is ready: everything has been read, and it leads or stands by. Rejects with the signal's reason. */
  async ready(signal: AbortSignal): Promise<void> {
    while (!this.readiness().ready) {
      signal.throwIfAborted()
      await new Promise<void>((resolve, reject) => {
        const onAbort = (): void => reject(signal.reason as Error)
        signal.addEventListener('abort', onAbort, { once: true })
        this.#whenReady.push(() => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        })
      })
    }
  }

  get leads(): boolean {
    return this.#phase === 'running'
  }

  /**
   * Ends: no new decision, binds and reports under way are awaited for at most the drain timeout, the lease is given back,
   * decisions are written. Never throws.
   */
  async stop(): Promise<void> {
    if (this.#phase === 'draining' || this.#phase === 'stopped') return
    const { clock, log } = this.#options
    this.#phase = 'draining'
    const late = new AbortController()
    const timer = clock.after(this.#configuration.scheduling.drainTimeoutMs, () =>
      late.abort(new Error('the drain timeout has passed')),
    )
    await this.scheduler.drain(late.signal).catch((error: unknown) => log.error('draining broke', { error }))
    timer.cancel()
    this.#candidacy.abort(new Error('the scheduler stops'))
    this.#reading.abort(new Error('the scheduler stops'))
    // A server that does not answer must not keep us from ending; giving back the lease is a courtesy.
    const patience = clock.after(LEASE_PATIENCE_MS, () => this.connection.close())
    this.#model?.close()
    await Promise.allSettled(this.#running)
    patience.cancel()
    this.connection.close()
    this.store.close()
    this.#phase = 'stopped'
  }

  // What the servers ask

  healthy(): boolean {
    return this.#phase !== 'stopped'
  }

  readiness(): { ready: boolean; reasons: string[] } {
    const reasons: string[] = []
    if (this.#phase === 'starting') reasons.push('has not asked the API server yet who leads')
    if (this.#phase === 'draining' || this.#phase === 'stopped') reasons.push('stopping')
    for (const { kind, watch } of this.#watches.filter(({ isNeeded }) => isNeeded))
      if (!watch.synced) reasons.push(`${kind} have not all been read yet`)
      else if (watch.silentMs > STALE_MS)
        reasons.push(`nothing has been heard of ${kind} for ${Math.round(watch.silentMs / 1000)} s`)
    return { ready: reasons.length === 0, reasons }
  }

  status() {
    const { attempts, fallbacks, queues } = this.scheduler.stats()
    const rates = this.#decisionRate.perSecond(RATE_SECONDS)
    return {
      phase: this.#phase,
      version: this.#options.version,
      uptimeMs: this.#options.clock.monotonicMs() - this.#startedMs,
      profiles: this.#configuration.profiles,
      queue: queues,
      pods: this.scheduler.conservation(),
      attempts: attempts.scheduled + attempts.unschedulable + attempts.error,
      scheduled: attempts.scheduled,
      failed: attempts.unschedulable + attempts.error,
      fallbackDecisions: fallbacks,
      failedBindings: this.#failedBindings,
      decisionsPerSecond: rates.reduce((sum, rate) => sum + rate, 0) / RATE_SECONDS,
      model: this.modelStatus(),
    }
  }

  /** decisions in each of the last seconds, oldest first */
  decisionsPerSecond(): number[] {
    return this.#decisionRate.perSecond()
  }

  /** decisions since the start, with whatever end */
  get decisionCount(): number {
    return this.#decisions
  }

  configuration(): ReadonlyMap<string, { readonly value: unknown; readonly source: string }> {
    const { sources } = this.#options.loaded
    return new Map(
      [...maskedSettings(this.#configuration)].map(([key, value]) => [
        key,
        { value, source: sources.get(key)?.where ?? 'default' },
      ]),
    )
  }

  clusterSummary() {
    const nodes = this.nodes()
    const sum = (pick: (node: NodeFigures) => number): number => nodes.reduce((total, node) => total + pick(node), 0)
    return {
      nodes: nodes.length,
      readyNodes: nodes.filter(({ ready }) => ready).length,
      pods: sum(({ pods }) => pods),
      allocatableCpuMilli: sum((node) => node.allocatableCpuMilli),
      requestedCpuMilli: sum((node) => node.requestedCpuMilli),
      usedCpuMilli: sum((node) => node.usedCpuMilli),
      allocatableMemoryBytes: sum((node) => node.allocatableMemoryBytes),
      requestedMemoryBytes: sum((node) => node.requestedMemoryBytes),
      usedMemoryBytes: sum((node) => node.usedMemoryBytes),
      usageSource: this.cluster.usageSource satisfies UsageSource,
    }
  }

  nodes(): NodeFigures[] {
    return Array.from(this.cluster.order.subarray(0, this.cluster.nodeCount), (index) => this.#figures(index))
  }

  node(name: string) {
    const index = this.cluster.indexOf(name)
    if (index < 0) return undefined
    const { allocatable, requested, resources } = this.cluster
    const { labels, taints } = this.cluster.node(index)
    return {
      ...this.#figures(index),
      labels,
      taints: taints.map(({ key = '', value, effect = '' }) => ({
        key,
        effect,
        ...(value === undefined ? {} : { value }),
      })),
      resources: Array.from({ length: resources.size }, (_, resource) => ({
        name: resources.name(resource),
        allocatable: allocatable[resource]?.[index] ?? 0,
        requested: requested[resource]?.[index] ?? 0,
      })).filter((row, resource) => resource !== CPU && resource !== MEMORY && row.allocatable + row.requested > 0),
      podNames: Array.from(this.cluster.podsOn(index), podKey),
    }
  }

  waitingPods(limit: number) {
    const nowMs = this.#options.clock.nowMs()
    return [...this.scheduler.waiting()]
      .sort((a, b) => a.sinceMs - b.sinceMs)
      .slice(0, limit)
      .map(({ pod, queue, attempts, sinceMs, reason }) => ({
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid,
        schedulerName: pod.schedulerName,
        queue,
        priority: pod.priority,
        attempts,
        waitedMs: Math.max(0, nowMs - sinceMs),
        reason,
      }))
  }

  readonly decisions = {
    list: (filter: DecisionFilter): DecisionPage => this.store.list(filter),
    history: (pod: PodReference, limit: number): readonly DecisionRecord[] => this.store.history(pod, limit),
    explain: (namespace: string, name: string): Explanation | undefined => explainPod(this.store, namespace, name),
  }

  // Within

  #openIntents(): IntentBook {
    const { clock } = this.#options
    const { llm } = this.#configuration
    const model = this.#model
    return new IntentBook({
      model: llm.model,
      read:
        model && ((text) => model.ask(intentQuestion(text, llm.maxTokens), INTENT_TIMEOUT_MS, this.#reading.signal)),
      store: this.store.intents,
      nowMs: () => clock.monotonicMs(),
    })
  }

  /**
   * Has the model's server looked at, beside everything else; where the model is required, before anything else.
   * @throws StowageError MODEL_UNUSABLE
   */
  async #meetModel(signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    const { llm, profiles } = this.#configuration
    if (this.#model === undefined) {
      if (profiles.some(({ policy, schedulerName }) => isLlm(policy) || schedulerName === 'ai-llama-scheduler'))
        log.info('the language model is off: no token is set', {
          endpoint: llm.endpoint,
          variable: 'HUGGINGFACE_TOKEN',
        })
      return
    }
    const looking = this.#model.look(signal)
    if (!llm.required) {
      this.#running.push(looking)
      return
    }
    const trouble = await looking
    if (trouble !== undefined)
      throw new StowageError('MODEL_UNUSABLE', {
        found: `${llm.model} at ${llm.endpoint}: ${trouble}`,
        todo: 'mend that, or leave out llm.required to place pods without it',
      })
  }

  /** How the language model does; undefined: there is none. */
  modelStatus(): ModelStatus | undefined {
    if (this.#model === undefined) return undefined
    const placed = this.#placed
    const { breaker, breakerTrips, failed, responseMs, successful, ...usage } = this.#model.statistics
    const requests = successful + failed + placed.fromCache
    return {
      ...usage,
      model: this.#model.name,
      totalRequests: requests,
      successfulRequests: successful,
      failedRequests: failed,
      cachedRequests: placed.fromCache,
      llmDecisions: placed.byModel,
      fallbackDecisions: placed.failed + placed.skippedInAll,
      skipped: Object.fromEntries(placed.skipped),
      cacheHitRate: requests > 0 ? placed.fromCache / requests : 0,
      avgResponseMs: successful + failed > 0 ? responseMs / (successful + failed) : 0,
      circuitBreaker: breaker,
      circuitBreakerTrips: breakerTrips,
    }
  }

  /** The metrics, and whoever else wants to know of binds. */
  #observer(): SchedulingObserver {
    const { metrics } = this
    const { onBound } = this.#options
    return {
      attempted: (schedulerName, result, durationMs) => metrics.attempted(schedulerName, result, durationMs),
      phase: (schedulerName, phase, durationMs) => metrics.phase(schedulerName, phase, durationMs),
      bound: (schedulerName, attempts, sinceOpenMs) => {
        metrics.bound(schedulerName, attempts, sinceOpenMs)
        onBound?.(sinceOpenMs)
      },
      queued: (queue, event) => metrics.queued(queue, event),
      preempted: (_schedulerName, victims) => metrics.preempted(victims),
      fellBack: (schedulerName, policy) => metrics.fellBack(schedulerName, policy),
      unreadable: (kind) => metrics.unreadable(kind),
    }
  }

  /** A store where the user wants it; in a place of our choice it is no reason not to run if it cannot be had. */
  #openStore(decisions: Configuration['decisions']): DecisionStore {
    const { clock, env, log } = this.#options
    const options = { ...decisions, clock, log: (message: string) => log.warn(message) }
    if (decisions.path !== AUTO) return openDecisionStore(options)
    try {
      return openDecisionStore({ ...options, path: storePathFor(this.connection.address, env) })
    } catch (error) {
      log.warn('decisions are kept in memory only: the store cannot be opened', { error })
      return openDecisionStore({ ...options, path: ':memory:' })
    }
  }

  #figures(index: number): NodeFigures {
    const { allocatable, requested, podCount, maxPods } = this.cluster
    const { name, ready, unschedulable } = this.cluster.node(index)
    return {
      name,
      ready,
      unschedulable,
      pods: podCount[index] ?? 0,
      maxPods: maxPods[index] ?? 0,
      allocatableCpuMilli: allocatable[CPU]?.[index] ?? 0,
      requestedCpuMilli: requested[CPU]?.[index] ?? 0,
      usedCpuMilli: this.cluster.usedCpuMilli(index),
      allocatableMemoryBytes: allocatable[MEMORY]?.[index] ?? 0,
      requestedMemoryBytes: requested[MEMORY]?.[index] ?? 0,
      usedMemoryBytes: this.cluster.usedMemoryBytes(index),
    }
  }

  /** @param isNeeded without it this scheduler is not ready */
  #read<T extends KubeObject>(kind: ResourceKind, feed: ObjectFeed<T>, fieldSelector?: string, isNeeded = true): void {
    const { clock, log } = this.#options
    const watch = new ListWatch<T>({
      connection: this.connection,
      clock,
      random: seededRandom(this.#configuration.scheduling.seed + this.#watches.length),
      path: collectionPath(kind),
      retryMaxMs: this.#configuration.scheduler.watchIntervalMs,
      feed,
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
      observer: {
        listed: (path, objects, durationMs, relist) => {
          log.info('listed', { path, objects, ms: Math.round(durationMs) })
          if (relist) this.metrics.relisted(kind.plural)
          this.#tellReady()
        },
        interrupted: (path, why, retryInMs) => {
          this.metrics.watchCut(kind.plural)
          log.warn('reading was interrupted', { path, why, retryInMs: Math.round(retryInMs) })
        },
      },
    })
    this.#watches.push({ kind: kind.plural, watch, isNeeded })
    this.#running.push(watch.run(this.#reading.signal))
  }

  #readStorage(storage: StorageFeeds): void {
    this.#read(PERSISTENT_VOLUME_CLAIMS, storage.claims)
    this.#read(PERSISTENT_VOLUMES, storage.volumes)
    this.#read(STORAGE_CLASSES, storage.classes)
    this.#read(CSI_NODES, storage.csiNodes)
    this.#read(CSI_DRIVERS, storage.csiDrivers)
    this.#read(VOLUME_ATTACHMENTS, storage.attachments)
    this.#read(STORAGE_CAPACITIES, storage.capacities)
  }

  #readSelectors(selectors: SelectorFeeds | undefined): void {
    if (selectors === undefined) return
    this.#read(SERVICES, selectors.services)
    this.#read(REPLICA_SETS, selectors.replicaSets)
    this.#read(STATEFUL_SETS, selectors.statefulSets)
    this.#read(REPLICATION_CONTROLLERS, selectors.replicationControllers)
  }

  #readPodGroups(): Promise<void> {
    const { clock, log } = this.#options
    return awaitPodGroups({
      connection: this.connection,
      clock,
      random: seededRandom(this.#configuration.scheduling.seed),
      signal: this.#reading.signal,
      onServed: (source, kind) => {
        this.#groupKinds.set(source, kind)
        // Its definition may be taken away again, or be no business of ours: gangs that need it wait, and nobody else.
        this.#read(kind, this.scheduler.podGroups[source], undefined, false)
      },
      onTrouble: (why) => log.warn('cannot find out which PodGroups are served', { why }),
    })
  }

  #readUsage(): Promise<void> {
    const { clock, log } = this.#options
    const { intervalMs, windowMs } = this.#configuration.metrics
    return pollUsage({
      connection: this.connection,
      clock,
      intervalMs,
      staleMs: windowMs,
      signal: this.#reading.signal,
      listener: {
        measured: ({ node, cpuMilli, memoryBytes }) => this.scheduler.usage(node, cpuMilli, memoryBytes),
        gone: (node) => this.scheduler.noUsage(node),
        unavailable: (why) => log.info('load is taken from requests: metrics.k8s.io gives none', { why }),
      },
    })
  }

  #stand(): Promise<void> {
    const { clock, log } = this.#options
    const { leaderElection: lease, profiles, scheduling } = this.#configuration
    const leaseName = lease.leaseName ?? leaseNameOf(profiles.map(({ schedulerName }) => schedulerName))
    return runLeaderElection({
      connection: this.connection,
      clock,
      // Replicas that share a seed must not share the moments at which they ask.
      random: seededRandom(scheduling.seed ^ process.pid),
      identity: `${hostname()}_${randomUUID()}`,
      leaseName,
      namespace: lease.leaseNamespace,
      leaseDurationMs: lease.leaseDurationMs,
      renewDeadlineMs: lease.renewDeadlineMs,
      retryPeriodMs: lease.retryPeriodMs,
      signal: this.#candidacy.signal,
      onElected: () => this.#lead(),
      onLost: (why) => {
        log.warn('leadership was lost', { why })
        this.scheduler.pause()
        if (this.#phase === 'running') this.#phase = 'standby'
      },
      onHeld: () => {
        if (this.#phase !== 'starting') return
        this.#phase = 'standby'
        log.info('another replica schedules; this one stands by', {
          lease: `${lease.leaseNamespace}/${leaseName}`,
        })
        this.#tellReady()
      },
      onTrouble: (why) => log.warn('the lease cannot be taken or renewed', { why }),
    })
  }

  #lead(): void {
    if (this.#phase === 'draining' || this.#phase === 'stopped') return
    this.#phase = 'running'
    this.#options.log.info('this replica schedules', {
      profiles: this.#configuration.profiles.map(({ schedulerName, policy }) => `${schedulerName}=${policy}`).join(' '),
    })
    this.scheduler.start()
    this.#tellReady()
  }

  #tellReady(): void {
    const waiting = this.#whenReady
    this.#whenReady = []
    // The feed is told that it has synced after the observer, in the same turn.
    setImmediate(() => {
      for (const tell of waiting) tell()
    })
  }

  #observe(): void {
    this.metrics.observe({
      pending: () => this.scheduler.stats().queues,
      conservation: () => this.scheduler.conservation(),
      unschedulable: () => this.#unschedulable(),
      cluster: () => {
        const sum = this.clusterSummary()
        const share = (used: number, of: number): number => (of > 0 ? used / of : 0)
        return {
          readyNodes: sum.readyNodes,
          notReadyNodes: sum.nodes - sum.readyNodes,
          pods: this.cluster.placedPods,
          assumedPods: this.cluster.assumedPods,
          cpuUsage: share(sum.usedCpuMilli, sum.allocatableCpuMilli),
          memoryUsage: share(sum.usedMemoryBytes, sum.allocatableMemoryBytes),
        }
      },
      reports: () => ({ waiting: this.#reporter.queued, lost: this.#reportsGivenUp }),
      decisions: () => {
        const { records, pending, lost } = this.store.stats()
        return { kept: records + pending, lost }
      },
      leads: () => this.leads,
      model: () => this.modelStatus(),
    })
  }

  #unschedulable(): { plugin: string; profile: string; pods: number }[] {
    const counts = new Map<string, { plugin: string; profile: string; pods: number }>()
    for (const { pod, rejectedBy } of this.scheduler.waiting())
      for (const plugin of rejectedBy) {
        const key = `${plugin} ${pod.schedulerName}`
        const entry = counts.get(key)
        if (entry === undefined) counts.set(key, { plugin, profile: pod.schedulerName, pods: 1 })
        else entry.pods++
      }
    return [...counts.values()]
  }
}

/** One lease for those who serve the same pods. */
export const leaseNameOf = (schedulerNames: readonly string[]): string =>
  `stowage-${createHash('sha256')
    .update([...schedulerNames].sort().join('\n'))
    .digest('hex')
    .slice(0, 10)}`

/** Reading an intent holds up no pod. */
const INTENT_TIMEOUT_MS = 30_000
/** How long giving back the lease may take. */
const LEASE_PATIENCE_MS = 300
