import { StowageError } from '../../errors/catalogue.ts'
import { createPolicy } from '../../policies/registry.ts'
import { nodeShapes } from '../workload/node-shapes.ts'
import { type LlmArrivals, readLlmArrivals } from '../traces/llm-requests.ts'
import { type AutoscalerOptions, HorizontalAutoscaler } from './autoscaler.ts'
import { NETWORK_LATENCY_ANNOTATION } from './network-latency.ts'
import { ARRIVALS, createPattern, type LoadName, type LoadPattern, type PatternName, withoutUsers } from './pattern.ts'
import {
  type LoadNode,
  REPLICA_KINDS,
  ReplicaCluster,
  type ReplicaRecord,
  type ReplicaTemplate,
  type ReplicaWindow,
} from './replica-cluster.ts'
import type { Balancer, Preference, ReplicaKind, RequestKindSummary, SimulatedRequest } from './request-simulation.ts'
import type { ThinkTime } from './users.ts'

/** Nodes of one shape, as `--node-shape` writes it, and what is particular to them here. */
export interface LoadNodes {
  readonly shape: string
  readonly networkMs: number
  readonly backgroundCores: number
  readonly labels: Readonly<Record<string, string>>
}

export interface ReplicaAutoscaling extends AutoscalerOptions {
  /** share of the CPU request, or of the requests that a replica can work on at one time */
  readonly metric: 'cpu' | 'concurrency'
}

export interface ReplicaGroup extends ReplicaTemplate {
  readonly count: number
  readonly autoscaling?: ReplicaAutoscaling | undefined
}

/** Which requests of a list of the Azure LLM traces come, and how fast. Times are the list's. */
export interface ArrivalWindow {
  /** none: whoever runs the scenario names it */
  readonly file?: string | undefined
  /** after the list's first request */
  readonly fromMs: number
  /** none: to its last request */
  readonly lengthMs?: number | undefined
  /** how many times faster requests come than they were recorded */
  readonly compression: number
}

/** A service under load: nodes, replicas, users. Plain data, as the file says it (scenario-file.ts). */
export interface LoadScenario {
  readonly name: string
  readonly nodes: readonly LoadNodes[]
  readonly policy: string
  readonly replicas: Readonly<Partial<Record<ReplicaKind, ReplicaGroup>>>
  readonly requests: readonly SimulatedRequest[]
  readonly arrivals?: ArrivalWindow | undefined
  readonly think: ThinkTime
  readonly balancer: Balancer
  readonly preference: Preference
  readonly queueLimit: number
  readonly timeoutMs: number
  readonly interference: number
  readonly requestBytes: number
  readonly generators?: number | undefined
  /** how long replicas have to start before the first user comes */
  readonly warmUpMs: number
}

/** Users, as many as a pattern says. */
export interface UserLoad {
  readonly name: PatternName
  readonly durationMs: number
  readonly minUsers?: number | undefined
  readonly maxUsers?: number | undefined
}

/** Requests at the times of a list, up to `durationMs`. */
export interface ArrivalLoad {
  readonly name: typeof ARRIVALS
  readonly durationMs: number
  readonly list: LlmArrivals
}

/** One run of a scenario: plain data too. */
export interface LoadRunInput {
  readonly scenario: LoadScenario
  readonly pattern: UserLoad | ArrivalLoad
  readonly seed: number
  /** in place of the scenario's */
  readonly policy?: string | undefined
  /** length of an entry of the series @default 1000 */
  readonly sampleMs?: number | undefined
}

/** A change of how many replicas are wanted. */
export interface Scaling {
  readonly atMs: number
  readonly kind: ReplicaKind
  readonly from: number
  readonly to: number
}

/** What came of a run. All of it follows from the input, to the bit. Times count from when the first user may come. */
export interface LoadRunResult {
  readonly scenario: string
  readonly policy: string
  readonly pattern: LoadName
  readonly seed: number
  readonly durationMs: number
  readonly minUsers: number
  readonly maxUsers: number
  /** of the whole run */
  readonly summary: ReplicaWindow
  /** requests that had no end yet when the run ended; in no other number of it */
  readonly unfinished: number
  readonly requests: readonly RequestKindSummary[]
  readonly series: readonly ReplicaWindow[]
  readonly replicas: readonly ReplicaRecord[]
  readonly scalings: readonly Scaling[]
  readonly nodes: readonly { readonly node: string; readonly cores: number; readonly gpus: number }[]
}

/** The nodes of a scenario, named one after another. @throws StowageError CONFIG_INVALID_VALUE */
export const loadNodes = (nodes: readonly LoadNodes[]): LoadNode[] => {
  const made: LoadNode[] = []
  for (const { backgroundCores, labels, networkMs, shape } of nodes)
    for (const one of nodeShapes([/(^|,)\s*count=/.test(shape) ? shape : `${shape},count=1`]))
      made.push({
        shape: {
          ...one,
          name: `node-${String(made.length).padStart(4, '0')}`,
          labels: { ...one.labels, ...labels },
          annotations: { [NETWORK_LATENCY_ANNOTATION]: String(networkMs) },
        },
        networkMs,
        backgroundCores,
      })
  return made
}

/** All of a list, as it was recorded. */
export const WHOLE_LIST: ArrivalWindow = { fromMs: 0, compression: 1 }

/**
 * Reads the requests that a window asks for.
 * @param durationMs length of the run, after compression @default as long as the window, or until the list's last request has come
 * @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED, CONFIG_INVALID_VALUE
 */
export const readArrivals = async (window: ArrivalWindow | undefined, durationMs?: number): Promise<ArrivalLoad> => {
  const { compression, file, fromMs, lengthMs } = window ?? WHOLE_LIST
  if (file === undefined)
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: 'a load of arrivals without a list of them',
      expected: 'arrivals.file in the scenario, --arrivals FILE, or workload.service.arrivals in an experiment',
    })
  const wantedMs = Math.min(
    lengthMs ?? Number.POSITIVE_INFINITY,
    (durationMs ?? Number.POSITIVE_INFINITY) * compression,
  )
  const list = await readLlmArrivals(file, { fromS: fromMs / 1000, lengthS: wantedMs / 1000, compression })
  const lastMs = list.atMs.at(-1)
  if (lastMs === undefined)
    throw new StowageError('TRACE_MALFORMED', {
      found: `${file}: no request in the window from ${fromMs / 1000} s`,
      expected: 'a window in which requests came',
    })
  const endMs = durationMs ?? (lengthMs === undefined ? Math.floor(lastMs) + 1 : lengthMs / compression)
  return { name: ARRIVALS, durationMs: endMs, list }
}

const patternOf = ({ pattern, scenario, seed }: LoadRunInput): LoadPattern => {
  if (pattern.name === ARRIVALS) return withoutUsers(pattern.durationMs, seed)
  const byTokens = scenario.requests.find(({ demand }) =>
    REPLICA_KINDS.some((kind) => demand[kind].service.kind === 'tokens'),
  )
  if (byTokens === undefined) return createPattern({ ...pattern, seed })
  throw new StowageError('CONFIG_INVALID_VALUE', {
    found: `${scenario.name}: users under ${pattern.name} whose request ${byTokens.name} takes its time by tokens`,
    expected: 'the arrivals of a list, which says how many tokens each has; or a mean',
  })
}

/** The cluster of a scenario with its first replicas placed, all of them `warmUpMs` old. The pattern starts then. */
export const openCluster = (input: LoadRunInput): ReplicaCluster => {
  const { scenario, seed } = input
  const pattern = patternOf(input)
  const { warmUpMs } = scenario
  const cluster = new ReplicaCluster({
    ...scenario,
    nodes: loadNodes(scenario.nodes),
    templates: scenario.replicas,
    policy: createPolicy(input.policy ?? scenario.policy),
    mix: scenario.requests,
    seed,
    arrivals: input.pattern.name === ARRIVALS ? input.pattern.list : undefined,
    pattern: {
      ...pattern,
      durationMs: pattern.durationMs + warmUpMs,
      usersAt: (atMs) => pattern.usersAt(atMs - warmUpMs),
    },
  })
  cluster.prefer(scenario.preference)
  for (const kind of REPLICA_KINDS) cluster.scale(kind, scenario.replicas[kind]?.count ?? 0)
  cluster.runUntil(warmUpMs)
  cluster.begin()
  return cluster
}

/**
 * Runs a scenario under a pattern to its end.
 * @throws StowageError CONFIG_INVALID_VALUE, POLICY_UNKNOWN
 */
export const runLoad = (input: LoadRunInput): LoadRunResult => {
  const { sampleMs = 1000, scenario, seed } = input
  const { durationMs, maxUsers, minUsers, name } = patternOf(input)
  if (!(sampleMs > 0))
    throw new StowageError('CONFIG_INVALID_VALUE', { found: `samples of ${sampleMs} ms`, expected: 'more than 0' })
  const cluster = openCluster(input)
  const { warmUpMs } = scenario
  const autoscalers = REPLICA_KINDS.flatMap((kind) => {
    const options = scenario.replicas[kind]?.autoscaling
    if (options === undefined) return []
    const autoscaler = new HorizontalAutoscaler(options)
    return [{ kind, metric: options.metric, autoscaler, nextMs: autoscaler.syncMs }]
  })
  const scalings: Scaling[] = []
  const series: ReplicaWindow[] = []
  let nextSampleMs = sampleMs
  for (let atMs = 0; atMs < durationMs; ) {
    atMs = Math.min(durationMs, nextSampleMs, ...autoscalers.map(({ nextMs }) => nextMs))
    cluster.runUntil(warmUpMs + atMs)
    if (atMs === nextSampleMs || atMs === durationMs) {
      series.push(since(cluster.takeWindow(), warmUpMs))
      nextSampleMs += sampleMs
    }
    for (const one of autoscalers) {
      const { autoscaler, kind, metric, nextMs } = one
      if (atMs !== nextMs) continue
      one.nextMs += autoscaler.syncMs
      const current = cluster.wanted(kind)
      const { unready, [metric]: utilisations } = cluster.takeUse(kind)
      const wanted = autoscaler.desired({ nowMs: atMs, current, utilisations, unready })
      if (wanted === current) continue
      scalings.push({ atMs, kind, from: current, to: wanted })
      cluster.scale(kind, wanted)
    }
  }
  const relative = (atMs: number | undefined): number | undefined => (atMs === undefined ? undefined : atMs - warmUpMs)
  const summary = since(cluster.summary(), warmUpMs)
  return {
    scenario: scenario.name,
    policy: input.policy ?? scenario.policy,
    pattern: name,
    seed,
    durationMs,
    minUsers,
    maxUsers,
    summary,
    unfinished: cluster.takeOffered() - summary.requests,
    requests: cluster.byKind(),
    series,
    replicas: cluster.records.map((record) => ({
      ...record,
      createdMs: record.createdMs - warmUpMs,
      placedMs: relative(record.placedMs),
      readyMs: relative(record.readyMs),
      removedMs: relative(record.removedMs),
    })),
    scalings,
    nodes: cluster.nodeUse(),
  }
}

const since = (window: ReplicaWindow, startMs: number): ReplicaWindow => ({
  ...window,
  fromMs: Math.max(0, window.fromMs - startMs),
  toMs: window.toMs - startMs,
})
