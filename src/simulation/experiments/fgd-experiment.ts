import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createPolicy } from '../../policies/registry.ts'
import { OPENB_NODE_LIST, openbPodListFile, readOpenbRows } from '../traces/openb.ts'
import { FGD_EARLY_COLUMN, FGD_LAST_COLUMN, type FgdInput, type FgdRun } from './fgd.ts'
import { listName, type PublishedTable, readPublished } from './fgd-published.ts'
import type { Curve, ExperimentRecord, Metric } from './record.ts'
import { type PoolProgress, runTasks } from './run-pool.ts'
import { digestOf, type Provenance, RunStore } from './run-store.ts'
import { comparePaired, type Estimate, estimate, mean, type PairedComparison } from './statistics.ts'

export interface FgdExperimentOptions {
  /** the folder with the openb lists */
  readonly directory: string
  readonly traces: readonly string[]
  readonly policies: readonly string[]
  readonly seeds: readonly number[]
  /** where finished runs are kept */
  readonly runsDirectory: string
  readonly workers: number
  readonly provenance: Provenance
  readonly signal: AbortSignal
  readonly onProgress?: (progress: PoolProgress) => void
}

/** A measurement of one policy on one list: each seed's, in the order of the seeds, and what they say together. */
export interface Measured extends Estimate {
  readonly seeds: readonly number[]
}

/** One line of the table. */
export interface FgdRow {
  readonly trace: string
  readonly policy: string
  /** allocated GPUs in percent of all when 130 % of their number has been asked for */
  readonly allocationPercent: Measured
  /** the same when 95 % has been asked for: who refuses early to gain at the end shows here */
  readonly allocationAt95Percent: Measured
  /** arrived demand in percent of all GPUs when the first pod found no place, mean of the seeds; null where some seed had none */
  readonly firstRefusalPercent: Measured | null
  /** mean of the authors' seeds; null where they did not measure it */
  readonly published: number | null
  readonly publishedAt95: number | null
  /** against FGD on the same seeds, at the end; null for FGD itself and without it */
  readonly againstFgd: PairedComparison | null
}

/** Means over seeds by column of arrived demand; null where a seed has no event there. */
export interface FgdCurve {
  readonly trace: string
  readonly policy: string
  readonly allocationPercent: readonly (number | null)[]
  readonly fragmentationPercent: readonly (number | null)[]
  /** as published, empty where it was not */
  readonly published: readonly number[]
}

export interface FgdResult {
  readonly seeds: readonly number[]
  readonly provenance: Provenance
  readonly rows: readonly FgdRow[]
  readonly curves: readonly FgdCurve[]
}

const measured = (values: readonly number[]): Measured => ({ ...estimate(values), seeds: values })

const meanCurve = (curves: readonly (readonly (number | null)[])[]): (number | null)[] =>
  Array.from({ length: FGD_LAST_COLUMN + 1 }, (_, column) => {
    const values = curves.flatMap((curve) => curve[column] ?? [])
    return values.length === curves.length ? mean(values) : null
  })

const at = (run: FgdRun, column: number): number => {
  // A list of few pods may have no event in the very column: the last before it holds until then.
  for (let from = column; from >= 0; from--) {
    const value = run.allocationPercent[from]
    if (typeof value === 'number') return value
  }
  return 0
}

const rowOf = (runs: readonly FgdRun[], fgd: readonly FgdRun[] | undefined, table: PublishedTable): FgdRow => {
  const [{ trace, policy } = { trace: '', policy: '' }] = runs
  const atEnd = runs.map((run) => at(run, FGD_LAST_COLUMN))
  const refusals = runs.flatMap(({ firstRefusalPercent }) => firstRefusalPercent ?? [])
  const published = table.get(listName(trace))?.get(policy)
  return {
    trace,
    policy,
    allocationPercent: measured(atEnd),
    allocationAt95Percent: measured(runs.map((run) => at(run, FGD_EARLY_COLUMN))),
    firstRefusalPercent: refusals.length === runs.length ? measured(refusals) : null,
    published: published?.allocationPercent ?? null,
    publishedAt95: published?.earlyPercent ?? null,
    againstFgd:
      fgd === undefined || fgd === runs
        ? null
        : comparePaired(
            atEnd,
            fgd.map((run) => at(run, FGD_LAST_COLUMN)),
          ),
  }
}

/**
 * The FGD experiment (see fgd.ts) with every policy on every list and seed. All that can be wrong with the input is found
 * before the first run.
 * @throws StowageError FILE_UNREADABLE, FILE_UNWRITABLE, TRACE_MALFORMED, POLICY_UNKNOWN, POLICY_FAILED; the reason of the signal
 */
export const runFgdExperiment = async (options: FgdExperimentOptions): Promise<FgdResult> => {
  const { traces, seeds, provenance, workers, signal, onProgress } = options
  const directory = resolve(options.directory)
  const policies = options.policies.map((policy) => createPolicy(policy).name)
  const published = await readPublished(directory)
  const digests = new Map<string, string>()
  for (const trace of traces) {
    await readOpenbRows({ directory, podList: trace })
    digests.set(trace, digestOf(await readFile(join(directory, openbPodListFile(trace)), 'utf8')))
  }
  const nodeDigest = digestOf(await readFile(join(directory, OPENB_NODE_LIST), 'utf8'))
  const idOf = (trace: string, policy: string, seed: number): string => `${listName(trace)}_${policy}_${seed}`
  const tasks = traces.flatMap((trace) =>
    policies.flatMap((policy) =>
      seeds.map((seed) => ({
        id: idOf(trace, policy, seed),
        kind: 'fgd' as const,
        input: { directory, trace, policy, seed } satisfies FgdInput,
        files: [digests.get(trace) ?? '', nodeDigest],
      })),
    ),
  )
  const store = new RunStore(options.runsDirectory)
  const results = await runTasks({
    tasks,
    store,
    provenance,
    workers,
    signal,
    ...(onProgress === undefined ? {} : { onProgress }),
  })
  const runsOf = (trace: string, policy: string): FgdRun[] =>
    seeds.map((seed) => results.get(idOf(trace, policy, seed)) as FgdRun)
  const rows: FgdRow[] = []
  const curves: FgdCurve[] = []
  for (const trace of traces) {
    const byPolicy = new Map(policies.map((policy) => [policy, runsOf(trace, policy)]))
    for (const [policy, runs] of byPolicy) {
      rows.push(rowOf(runs, byPolicy.get('fgd'), published))
      curves.push({
        trace,
        policy,
        allocationPercent: meanCurve(runs.map(({ allocationPercent }) => allocationPercent)),
        fragmentationPercent: meanCurve(runs.map(({ fragmentationPercent }) => fragmentationPercent)),
        published: published.get(listName(trace))?.get(policy)?.curve ?? [],
      })
    }
  }
  return { seeds, provenance, rows, curves }
}

const METRICS: readonly Metric[] = [
  { name: 'allocated_gpus', label: 'Allocated GPUs at 130 % of demand', unit: '% of capacity', better: 'higher' },
  { name: 'allocated_gpus_at_95', label: 'Allocated GPUs at 95 % of demand', unit: '% of capacity', better: 'higher' },
  { name: 'first_refusal', label: 'Demand at the first refusal', unit: '% of capacity', better: 'higher' },
]

/** Where curves begin: a little before any policy leaves the line on which everything is placed. */
const firstColumn = (curves: readonly FgdCurve[]): number => {
  const departures = curves.map(({ allocationPercent }) =>
    allocationPercent.findIndex((value, column) => value !== null && column - value > 0.75),
  )
  const first = Math.min(...departures.map((column) => (column < 0 ? FGD_LAST_COLUMN : column)))
  return Math.max(0, 10 * Math.floor((first - 5) / 10))
}

const pointsOf = (values: readonly (number | null)[], from: number): [number, number | null][] =>
  values.flatMap((value, column): [number, number | null][] => (column < from ? [] : [[column, value]]))

const curvesOf = (trace: string, curves: readonly FgdCurve[], seeds: number): Curve[] => {
  const from = firstColumn(curves)
  const columns = Array.from({ length: FGD_LAST_COLUMN + 1 }, (_, column) => column)
  const x = { label: 'Arrived GPU demand', unit: '% of capacity', min: from, max: FGD_LAST_COLUMN }
  const shown = listName(trace)
  const published = curves.filter((curve) => curve.policy === 'fgd' && curve.published.length > 0)
  return [
    {
      name: `allocation-${shown}`,
      caption: `Allocated GPUs against arrived demand on the list ${shown}, mean of ${seeds} seeds.`,
      x,
      y: { label: 'Allocated GPUs', unit: '% of capacity', min: from, max: 100 },
      lines: [
        {
          name: 'all placed',
          isReference: true,
          points: pointsOf(
            columns.map((column) => (column > 100 ? null : column)),
            from,
          ),
        },
        ...published.map((curve) => ({
          name: 'fgd, published',
          isReference: true,
          points: pointsOf(curve.published, from),
        })),
        ...curves.map(({ allocationPercent, policy }) => ({ name: policy, points: pointsOf(allocationPercent, from) })),
      ],
    },
    {
      name: `fragmentation-${shown}`,
      caption: `Free GPUs that the typical workload cannot use, of all free ones, against arrived demand on the list ${shown}, mean of ${seeds} seeds.`,
      x: { ...x, min: 0 },
      y: { label: 'Fragmented GPUs', unit: '% of free GPUs', min: 0, max: 100 },
      lines: curves.map(({ fragmentationPercent, policy }) => ({
        name: policy,
        points: pointsOf(fragmentationPercent, 0),
      })),
    },
  ]
}

/** The result as the record that figures and report are made of. */
export const fgdRecord = ({ curves, provenance, rows, seeds }: FgdResult): ExperimentRecord => {
  const traces = [...new Set(rows.map(({ trace }) => trace))]
  return {
    format: 'stowage-experiment/1',
    name: 'fgd',
    description:
      'The experiment of "Beware of Fragmentation" (Weng et al., USENIX ATC 2023): pods of an openb list come in random order, ' +
      'their GPU demand brought to 130 % of the cluster; none leaves; what fits nowhere is dropped.',
    patternLabel: 'Pod list',
    provenance,
    policies: [...new Set(rows.map(({ policy }) => policy))],
    patterns: traces.map(listName),
    seeds: [...seeds],
    metrics: [...METRICS],
    measurements: rows.flatMap(({ allocationAt95Percent, allocationPercent, firstRefusalPercent, policy, trace }) =>
      (
        [
          ['allocated_gpus', allocationPercent],
          ['allocated_gpus_at_95', allocationAt95Percent],
          ['first_refusal', firstRefusalPercent],
        ] as const
      ).flatMap(([metric, values]) =>
        (values?.seeds ?? []).map((value, index) => ({
          policy,
          pattern: listName(trace),
          seed: seeds[index] ?? 0,
          metric,
          value,
        })),
      ),
    ),
    references: rows.flatMap(({ policy, published, publishedAt95, trace }) =>
      (
        [
          ['allocated_gpus', published],
          ['allocated_gpus_at_95', publishedAt95],
        ] as const
      ).flatMap(([metric, value]) =>
        value === null ? [] : [{ policy, pattern: listName(trace), metric, value, source: 'published' }],
      ),
    ),
    curves: traces.flatMap((trace) =>
      curvesOf(
        trace,
        curves.filter((curve) => curve.trace === trace),
        seeds.length,
      ),
    ),
    heatMaps: [],
  }
}
