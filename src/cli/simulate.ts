import { Command } from 'commander'
import { seededRandom } from '../clock/random.ts'
import type { KubeObject } from '../cluster/objects.ts'
import { StowageError } from '../errors/catalogue.ts'
import { createPolicy } from '../policies/registry.ts'
import type { Arrival } from '../simulation/workload/arrivals.ts'
import { eventOptions, readEvents } from '../simulation/engine/events-file.ts'
import { fragmentationFor, gpuWorkloadOf } from '../simulation/engine/gpu-demand.ts'
import type { Sample, SimulationResult } from '../simulation/engine/result.ts'
import { Simulation } from '../simulation/engine/simulation.ts'
import type { NodeShape } from '../simulation/workload/node-shapes.ts'
import { readOpenb } from '../simulation/traces/openb.ts'
import { buildScenario } from '../system/scenario.ts'
import { ProgressBar } from './progress-bar.ts'
import { collected, duration, whole } from './values.ts'

interface SimulateOptions {
  readonly policy: readonly string[]
  readonly traceDir?: string
  readonly traces: string
  readonly departures: boolean
  readonly nodes?: number
  readonly nodeShape: readonly string[]
  readonly pods?: number
  readonly workload?: string
  readonly events?: string
  readonly drop?: boolean
  readonly for?: number
  readonly seed: number
  readonly json?: boolean
}

const DEFAULT_POLICY = 'kube-default'
const SCHEDULER_NAME = 'stowage'
const BAR_WIDTH = 30
const SPARK_WIDTH = 60

/** What all policies are asked to do. */
interface Task {
  readonly nodes: readonly NodeShape[]
  readonly objects: readonly KubeObject[]
  readonly arrivals: readonly Arrival[]
  /** where it comes from, for people */
  readonly from: string
}

/** @throws StowageError for flags that contradict one another, and for files that cannot be read */
const taskOf = async (options: SimulateOptions): Promise<Task> => {
  const { departures, nodeShape, nodes, pods, seed, traceDir, traces, workload } = options
  if (traceDir !== undefined) {
    const others = { '--nodes': nodes, '--node-shape': nodeShape[0], '--pods': pods, '--workload': workload }
    const given = Object.entries(others).flatMap(([flag, value]) => (value === undefined ? [] : [flag]))
    if (given.length > 0)
      throw new StowageError('CONFIG_CONFLICT', {
        found: `--trace-dir with ${given.join(', ')}`,
        expected: "the trace's own nodes and pods",
      })
    const trace = await readOpenb({
      directory: traceDir,
      podList: traces,
      // Recorded time, to the millisecond: nothing has to be compressed here.
      spanMs: 1000,
      schedulerName: SCHEDULER_NAME,
      departures,
    })
    const arrivals = trace.arrivals.map(({ atMs, pod }) => ({ atMs: Math.round(atMs * trace.speed), pod }))
    return { nodes: trace.nodes, objects: [], arrivals, from: `openb ${traces}` }
  }
  const scenario = await buildScenario({
    nodes,
    nodeShapes: nodeShape,
    pods,
    workload,
    trace: undefined,
    tracePods: undefined,
    departures,
    speed: undefined,
    forMs: options.for,
    schedulerName: SCHEDULER_NAME,
    random: seededRandom(seed),
  })
  return { ...scenario, from: workload ?? 'a synthetic workload' }
}

/** Ties go to the node that came first: in which order they come is drawn. */
const shuffled = (nodes: readonly NodeShape[], seed: number): NodeShape[] => {
  const random = seededRandom(seed)
  const result = [...nodes]
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.below(last + 1)
    // both are within the list
    ;[result[last], result[other]] = [result[other]!, result[last]!]
  }
  return result
}

const simulate = async (options: SimulateOptions): Promise<void> => {
  const { drop, for: untilMs, json, policy: policies, seed } = options
  // A wrong name is told before anything is read.
  for (const name of policies) createPolicy(name)
  const task = await taskOf(options)
  const events = options.events === undefined ? undefined : await readEvents(options.events)
  const hasGpus = task.nodes.some(({ allocatable }) => Object.keys(allocatable).some((key) => /gpu/.test(key)))
  const fragmentation = hasGpus ? fragmentationFor(gpuWorkloadOf(task.arrivals)) : undefined
  const results: SimulationResult[] = []
  for (const name of policies) {
    const bar = new ProgressBar(name)
    const simulation = new Simulation({
      nodes: shuffled(task.nodes, seed),
      policy: createPolicy(name),
      fallback: createPolicy('least_loaded'),
      seed,
      objects: task.objects,
      arrivals: task.arrivals,
      departures: options.departures,
      unschedulable: drop ? 'drop' : 'wait',
      progress: ({ arrivals, arrived }) => {
        bar.show(arrived, arrivals)
        return undefined
      },
      ...(fragmentation === undefined ? {} : { fragmentation }),
      ...(untilMs === undefined ? {} : { untilMs }),
      ...(events === undefined ? {} : eventOptions(events, task.nodes, seed)),
    })
    for (const { atMs, event } of events?.events ?? []) simulation.at(atMs, event)
    try {
      results.push(await simulation.run())
    } finally {
      bar.end()
    }
  }
  process.stdout.write(
    json
      ? `${JSON.stringify({ workload: task.from, nodes: task.nodes.length, pods: task.arrivals.length, seed, results })}\n`
      : `${renderSimulations(task, seed, results).join('\n')}\n`,
  )
  if (results.some(({ discrepancies }) => discrepancies.miscounted.length > 0)) process.exitCode = 1
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

const timeText = (ms: number): string => {
  if (ms < 1000) return `${Math.round(ms)} ms`
  for (const [unit, size] of [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
  ] as const)
    if (ms >= 2 * size) return `${(ms / size).toFixed(1)} ${unit}`
  return `${(ms / 1000).toFixed(1)} s`
}

const bar = (share: number): string => '█'.repeat(Math.round(share * BAR_WIDTH)).padEnd(BAR_WIDTH, '·')

const HEIGHTS = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
/** Values 0-1 over time as one line: each character is the largest value of its part; a value holds until the next. */
const spark = (series: readonly Sample[], valueOf: (sample: Sample) => number, endMs: number): string => {
  const most = new Float64Array(SPARK_WIDTH)
  const columnOf = (atMs: number): number =>
    endMs > 0 ? Math.min(SPARK_WIDTH - 1, Math.floor((atMs / endMs) * SPARK_WIDTH)) : 0
  for (const [at, sample] of series.entries()) {
    const value = valueOf(sample)
    const next = series[at + 1]
    const last = next === undefined ? columnOf(sample.atMs) : columnOf(next.atMs)
    // column < length
    for (let column = columnOf(sample.atMs); column <= last; column++) most[column] = Math.max(most[column]!, value)
  }
  return Array.from(most, (value) => HEIGHTS[Math.ceil(Math.min(1, value) * 8)] ?? '').join('')
}

type Column = readonly [head: string, cell: (result: SimulationResult) => string]
const GPU_COLUMNS: readonly Column[] = [
  ['gpu', ({ utilisation }) => percent(utilisation.gpu)],
  ['gpu at end', ({ finalUtilisation }) => percent(finalUtilisation.gpu)],
  ['fragmented', ({ finalFragmentation }) => percent(finalFragmentation ?? 0)],
]

/** The results of one task side by side, for people. */
export const renderSimulations = (
  task: { readonly from: string; readonly nodes: readonly unknown[]; readonly arrivals: readonly unknown[] },
  seed: number,
  results: readonly SimulationResult[],
): string[] => {
  const hasGpus = results.some(({ peakUtilisation }) => peakUtilisation.gpu > 0)
  const columns: readonly Column[] = [
    ['policy', ({ policy }) => policy],
    ['placed', ({ pods }) => `${pods.placed}`],
    ['completed', ({ pods }) => `${pods.completed}`],
    ['waiting', ({ pods }) => `${pods.pending + pods.gated}`],
    ['dropped', ({ pods }) => `${pods.dropped}`],
    ['disrupted', ({ disruptions }) => `${Object.values(disruptions).reduce((sum, count) => sum + count, 0)}`],
    ['pending p50', ({ pendingMs }) => timeText(pendingMs.p50)],
    ['p95', ({ pendingMs }) => timeText(pendingMs.p95)],
    ['p99', ({ pendingMs }) => timeText(pendingMs.p99)],
    ['cpu', ({ utilisation }) => percent(utilisation.cpu)],
    ['memory', ({ utilisation }) => percent(utilisation.memory)],
    ...(hasGpus ? GPU_COLUMNS : []),
    ['imbalance', ({ imbalance }) => imbalance.cpu.toFixed(3)],
    ['nodes', ({ nodes }) => (nodes.most === nodes.atStart ? `${nodes.atStart}` : `${nodes.atStart}-${nodes.most}`)],
  ]
  const rows = [columns.map(([head]) => head), ...results.map((result) => columns.map(([, cell]) => cell(result)))]
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
  const longest = Math.max(0, ...results.map(({ durationMs }) => durationMs))
  const nameWidth = Math.max(...results.map(({ policy }) => policy.length))
  const kind = hasGpus ? 'gpu' : 'cpu'
  const mostPending = Math.max(0, ...results.map(({ pendingPods }) => pendingPods.most))
  return [
    `${task.from}: ${task.arrivals.length} pods on ${task.nodes.length} nodes, seed ${seed}, ${timeText(longest)} simulated`,
    '',
    ...rows.map(line),
    '',
    `${kind} requested, averaged over time and at the most`,
    ...results.map(
      ({ peakUtilisation, policy, utilisation }) =>
        `${policy.padEnd(nameWidth)}  ${bar(utilisation[kind])} ${percent(utilisation[kind]).padStart(7)}  ${percent(peakUtilisation[kind]).padStart(7)}`,
    ),
    '',
    `over time: ${kind} requested${mostPending === 0 ? '' : `, and below pods that wait (full height: ${mostPending})`}`,
    ...results.flatMap(({ policy, series }) => [
      `${policy.padEnd(nameWidth)}  ${spark(series, (sample) => sample[kind], longest)}`,
      ...(mostPending === 0
        ? []
        : [`${' '.repeat(nameWidth)}  ${spark(series, ({ pending }) => pending / mostPending, longest)}`]),
    ]),
    ...results.flatMap(({ policy, waitingBecause }) =>
      waitingBecause.length === 0
        ? []
        : [
            '',
            `${policy} at the end, waiting because:`,
            ...waitingBecause.map(({ pods, reason }) => `  ${`${pods}`.padStart(6)}  ${reason}`),
          ],
    ),
  ]
}

const policyList = (text: string): string[] =>
  text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')

/** `stowage simulate` */
export const simulateCommand = (): Command =>
  new Command('simulate')
    .description(
      'Plays pods to the scheduler in simulated time and says what came of it: utilisation, waiting, fragmentation, disruption. Equal seeds give equal runs, to the bit.',
    )
    .option(
      '--policy <names>',
      'who ranks the nodes, formula:FILE for a policy file; several with commas between are run side by side',
      policyList,
      [DEFAULT_POLICY],
    )
    .option('--trace-dir <folder>', "nodes and pods of Alibaba's GPU trace of 2023 (the openb lists), in recorded time")
    .option('--traces <list>', 'which pod list of that folder: default, cpu250, ..., or a file name', 'default')
    .option('--no-departures', 'pods come to stay, whatever their duration')
    .option('--nodes <number>', 'how many nodes (default: 20)', whole(0, 16_000))
    .option(
      '--node-shape <shape>',
      'what a node offers, e.g. cpu=16,memory=64Gi,nvidia.com/gpu=8,count=20; may be given several times',
      collected,
      [] as string[],
    )
    .option('--pods <number>', 'how many synthetic pods come (default: 200)', whole(0, 1_000_000))
    .option('--workload <file>', 'pods from a file instead: YAML or JSON of Pods, Deployments, Jobs, StatefulSets')
    .option(
      '--events <file>',
      'what happens to the nodes: failures, drains, additions, spot reclaim, an autoscaler (docs/simulator/engine.md)',
    )
    .option('--drop', 'pods that fit nowhere are given up at once instead of waiting')
    .option('--for <duration>', 'how much time is simulated (default: until nothing happens any more)', duration)
    .option('--seed <number>', 'decides everything that is drawn', whole(0, 2 ** 31 - 1), 1)
    .option('--json', 'print one JSON object; everything else goes to standard error')
    .addHelpText(
      'after',
      `
Examples:
  stowage simulate --nodes 50 --pods 2000 --for 10m
  stowage simulate --policy kube-default,borg,most_allocated --nodes 50 --pods 2000 --for 10m
  stowage simulate --policy fgd --trace-dir ./openb --seed 1 --json
  stowage simulate --policy fgd,bestfit --trace-dir ./openb --traces default --no-departures --drop
  stowage simulate --nodes 30 --pods 800 --for 1h --events ./events.yaml`,
    )
    .action(simulate)
