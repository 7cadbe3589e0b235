import { relative } from 'node:path'
import { Command, Option } from 'commander'
import { sleep, systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import type { LoadedConfiguration } from '../configuration/load.ts'
import { type SettingRow } from '../configuration/schema.ts'
import { StowageError } from '../errors/catalogue.ts'
import { decisionLine } from './decision-line.ts'
import { policyNames } from '../policies/registry.ts'
import { startServers } from '../servers/start.ts'
import { EmbeddedRun } from '../system/embedded-run.ts'
import { announceInstance } from '../system/instances.ts'
import { renderReport } from '../system/run-report.ts'
import { buildScenario, TRACE_MS } from '../system/scenario.ts'
import { createLog } from '../telemetry/log.ts'
import { type LiveFrame, LiveView } from './live-view.ts'
import { addSettings, readSettings } from './settings.ts'
import { untilSignalled } from './signals.ts'
import { version } from './version.ts'
import { collected, policyValue, positive, timed, whole } from './values.ts'

interface UpOptions extends Record<string, unknown> {
  readonly nodes?: number
  readonly nodeShape: string[]
  readonly pods?: number
  readonly workload?: string
  readonly trace?: string
  readonly tracePods?: string
  readonly departures: boolean
  readonly for?: number
  readonly speed?: number
  readonly policy?: string
  readonly kubePort: number
  readonly kubeconfig?: string
  readonly json?: boolean
}

const DEFAULT_POLICY = 'kube-default'
const FRAME_MS = 250
const PLAIN_LINE_MS = 2_000
/** Lines of the log that are shown after the picture is gone: the last ones. */
const KEPT_LINES = 200

/** The user's cluster and its election are no business of a cluster in this process. */
const applies = ({ key }: SettingRow): boolean => !key.startsWith('kubernetes.') && !key.startsWith('leader_election.')

/** Settings of `up`: alone in its cluster, serving every pod that comes, keeping nothing unless asked to. */
const settingsOf = (options: UpOptions): LoadedConfiguration => {
  const { policy = DEFAULT_POLICY } = options
  // Here that flag says where to write; the setting of that name says what to read.
  const flags = { ...options, kubeconfig: undefined }
  const asGiven = readSettings(flags, true)
  const unlessGiven = (key: string, flag: string, value: unknown): Record<string, unknown> =>
    asGiven.sources.get(key)?.kind === 'default' ? { [flag]: value } : {}
  const profilesFrom = asGiven.sources.get('profiles')
  if (options.policy !== undefined && profilesFrom !== undefined && profilesFrom.kind !== 'default')
    throw new StowageError('CONFIG_CONFLICT', {
      found: `--policy with profiles (${profilesFrom.where})`,
      expected: 'one of them: each says which policy ranks the nodes',
    })
  const usual = asGiven.configuration.profiles.filter(({ schedulerName }) => schedulerName !== 'stowage')
  const profiles = [
    `default-scheduler=${policy}`,
    `stowage=${policy}`,
    ...usual.map((one) => `${one.schedulerName}=${one.policy}`),
  ]
  return readSettings(
    {
      ...flags,
      ...unlessGiven('profiles', 'profile', profiles),
      ...unlessGiven('decisions.path', 'decisions', ':memory:'),
      leaderElect: 'false',
    },
    true,
  )
}

const frameOf = (run: EmbeddedRun, policy: string, forMs: number | undefined, kubectl: string): LiveFrame => {
  const { system, arrivals } = run
  const { queue, pods } = system.status()
  return {
    elapsedMs: run.elapsedMs,
    ...(forMs === undefined ? {} : { forMs }),
    policy,
    apiUrl: run.cluster.server.url,
    kubectl,
    nodes: system.nodes().map((node) => ({
      name: node.name,
      cpu: node.allocatableCpuMilli > 0 ? node.requestedCpuMilli / node.allocatableCpuMilli : 0,
      memory: node.allocatableMemoryBytes > 0 ? node.requestedMemoryBytes / node.allocatableMemoryBytes : 0,
      pods: node.pods,
      ready: node.ready,
    })),
    queue,
    pods: {
      created: arrivals.created,
      refused: arrivals.failed,
      toCreate: arrivals.total,
      bound: pods.bound,
      inFlight: pods.inFlight,
    },
    decisionsPerSecond: system.decisionsPerSecond(),
    lastDecisions: run.lastDecisions.map(decisionLine),
  }
}

/** As one would type it here. */
const shortPath = (path: string): string => {
  const fromHere = relative(process.cwd(), path)
  return fromHere.startsWith('..') ? path : fromHere
}

const up = async (options: UpOptions): Promise<void> => {
  const loaded = settingsOf(options)
  const { api, logging, metrics, profiles, scheduling } = loaded.configuration
  const view = new LiveView(process.stderr, { colour: process.env['NO_COLOR'] === undefined })
  // The picture and the log would write over one another: while there is a picture, only what went wrong is kept, for the end.
  const kept: string[] = []
  const keep = (line: string): void => {
    kept.push(line)
    if (kept.length > KEPT_LINES) kept.shift()
  }
  const log = createLog({
    ...logging,
    level: view.isLive && logging.level === 'INFO' ? 'WARNING' : logging.level,
    clock: systemClock,
    ...(view.isLive ? { write: keep } : {}),
  })
  for (const warning of loaded.warnings) log.warn(warning)
  // The profile that the generated pods name; settings without any profile are refused.
  const { schedulerName, policy } = profiles.find((profile) => profile.schedulerName === 'stowage') ?? profiles[0]!
  const forMs = options.for ?? (options.trace === undefined ? undefined : TRACE_MS)
  const scenario = await buildScenario({
    nodes: options.nodes,
    nodeShapes: options.nodeShape,
    pods: options.pods,
    workload: options.workload,
    trace: options.trace,
    tracePods: options.tracePods,
    departures: options.departures,
    speed: options.speed,
    forMs,
    schedulerName,
    random: seededRandom(scheduling.seed),
  })
  const stop = untilSignalled(systemClock)
  const cleanUp: (() => unknown)[] = [() => stop.release()]
  try {
    const run = await EmbeddedRun.open({
      scenario,
      loaded,
      policy,
      kubePort: options.kubePort,
      kubeconfig: options.kubeconfig,
      env: process.env,
      clock: systemClock,
      log,
      version,
    })
    cleanUp.push(() => run.close())
    const servers = await startServers({
      view: run.system,
      metrics: metrics.enabled ? run.system.metrics : undefined,
      host: api.host,
      apiPort: api.port,
      metricsPort: metrics.port,
      log,
    })
    cleanUp.push(() => servers.close())
    cleanUp.push(
      announceInstance({ pid: process.pid, apiUrl: servers.apiUrl, startedAtMs: systemClock.nowMs() }, process.env),
    )
    const kubectl = `kubectl --kubeconfig ${shortPath(run.cluster.kubeconfigPath)} get pods -A -o wide`
    if (!view.isLive) {
      process.stderr.write(
        `a cluster of ${scenario.nodes.length} nodes serves ${run.cluster.server.url}; look at it with\n  ${kubectl}\n`,
      )
      process.stderr.write(
        `management API ${servers.apiUrl}${servers.metricsUrl === undefined ? '' : `, metrics ${servers.metricsUrl}`}\n`,
      )
    }
    cleanUp.push(() => view.close())
    const end = forMs === undefined ? stop.signal : AbortSignal.any([stop.signal, AbortSignal.timeout(forMs)])
    try {
      await run.start(stop.signal)
      while (!end.aborted) {
        view.show(frameOf(run, policy, forMs, kubectl))
        await sleep(systemClock, view.isLive ? FRAME_MS : PLAIN_LINE_MS, end).catch(() => undefined)
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error
    }
    await run.drain()
    view.close()
    const report = run.report()
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : `${renderReport(report).join('\n')}\n`)
    if (report.violations > 0 || report.unaccounted !== 0) process.exitCode = 1
  } finally {
    for (const clean of cleanUp.reverse()) await clean()
    for (const line of kept) process.stderr.write(line)
  }
}

/** `stowage up` */
export const upCommand = (): Command =>
  addSettings(
    new Command('up')
      .description(
        'Starts a Kubernetes API with virtual nodes in this process, brings pods to it, and schedules them: to look at, to try a policy, to use kubectl on. Ctrl-C ends it.',
      )
      .option('--nodes <number>', 'how many nodes (default: 20)', whole(0, 16_000))
      .option(
        '--node-shape <shape>',
        'what a node offers, e.g. cpu=16,memory=64Gi,nvidia.com/gpu=8,count=20; may be given several times',
        collected,
        [] as string[],
      )
      .option(
        '--pods <number>',
        'how many synthetic pods come (default: 200); 0 leaves the cluster to your own',
        whole(0, 1_000_000),
      )
      .option('--workload <file>', 'pods from a file instead: YAML or JSON of Pods, Deployments, Jobs, StatefulSets')
      .option(
        '--trace <folder>',
        "nodes and pods of Alibaba's GPU trace of 2023 instead (the openb lists), compressed to --for (default: 60s)",
      )
      .option('--trace-pods <list>', 'which pod list of that folder: default, cpu250, gpushare100, or a file name')
      .option('--no-departures', 'pods of the trace come to stay')
      .option('--for <duration>', 'end after that time with a report (default: on Ctrl-C; with --trace 60s)', timed)
      .option('--speed <factor>', 'how many times faster than real time pods come and live (default: 1)', positive)
      .addOption(
        new Option(
          '--policy <name>',
          `who ranks the nodes for pods of default-scheduler and stowage: ${policyNames.join(', ')}, formula:FILE (default: ${DEFAULT_POLICY})`,
        ).argParser(policyValue),
      )
      .option('--kube-port <port>', 'port of the Kubernetes API; 0: a free one', whole(0, 65_535), 0)
      .option(
        '--kubeconfig <file>',
        'where to write the kubeconfig (default: a temporary file); it is removed at the end',
      )
      .option('--json', 'print the report as one JSON object; everything else goes to standard error'),
    applies,
  )
    .addHelpText(
      'after',
      `
Examples:
  stowage up                                          20 nodes, 200 pods, a live view
  stowage up --for 20s --nodes 100 --pods 1000 --json
  stowage up --pods 0 --kubeconfig ./kubeconfig       an empty cluster for kubectl --kubeconfig ./kubeconfig
  stowage up --trace ./openb --policy most_allocated --api-port 0 --metrics-port 0`,
    )
    .action(up)
