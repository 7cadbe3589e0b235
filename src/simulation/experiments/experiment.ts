import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { StowageError } from '../../errors/catalogue.ts'
import { isPolicyFile, pathOf } from '../../policies/formula/policy-file.ts'
import { createPolicy } from '../../policies/registry.ts'
import { readArrivals, WHOLE_LIST } from '../load/load-run.ts'
import { ARRIVALS } from '../load/pattern.ts'
import { readLoadScenario } from '../load/scenario-file.ts'
import { openbPodListFile } from '../traces/openb.ts'
import type { CellResult, CellSeries } from './cell.ts'
import type { ExperimentFile } from './experiment-file.ts'
import { type ClusterInput, nodesOf, PODS_METRICS, type PodsInput, type PodsRunInput } from './pods-run.ts'
import type { Curve, ExperimentRecord, HeatMap, Metric } from './record.ts'
import { type PoolProgress, type RunTask, runTasks } from './run-pool.ts'
import { type Provenance, RunStore } from './run-store.ts'
import { SERVICE_METRICS, type ServiceRunInput } from './service-run.ts'
import { estimate } from './statistics.ts'

export interface ExperimentOptions {
  readonly experiment: ExperimentFile
  /** where finished runs are kept */
  readonly runsDirectory: string
  readonly workers: number
  readonly provenance: Provenance
  readonly signal: AbortSignal
  readonly onProgress?: (progress: PoolProgress) => void
}

/** A task and where it belongs in the tables. */
interface Cell {
  readonly policy: string
  readonly pattern: string
  readonly seed: number
  readonly task: RunTask
}

/** Of files of any length. */
const contentDigest = async (path: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** A policy of an experiment: how it is called in tables, and the digests of the files that it is made from. */
interface Arm {
  readonly policy: string
  readonly name: string
  readonly files: readonly string[]
}

/** @throws StowageError CONFIG_* for policy files that cannot be read, and for two of one name */
const armsOf = async (policies: readonly string[]): Promise<Arm[]> => {
  const arms = await Promise.all(
    policies.map(async (policy) =>
      isPolicyFile(policy)
        ? { policy, name: createPolicy(policy).name, files: [await contentDigest(pathOf(policy))] }
        : { policy, name: policy, files: [] },
    ),
  )
  const names = arms.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice === undefined) return arms
  throw new StowageError('CONFIG_INVALID_VALUE', {
    found: `two policies of the name ${twice}`,
    expected: 'a name of its own for each',
  })
}

/** Nodes and pods of an experiment's runs, without who places them. */
export interface PodsLoads {
  readonly cluster: ClusterInput
  readonly loads: readonly { readonly pattern: string; readonly pods: PodsInput }[]
  /** digests of the files that runs read */
  readonly files: readonly string[]
}

/** @throws StowageError CONFIG_*, FILE_UNREADABLE, TRACE_MALFORMED for what cannot be run */
export const podsLoadsOf = async (experiment: ExperimentFile): Promise<PodsLoads> => {
  const { workload } = experiment
  const given = experiment.cluster
  const { five_g: fiveG, openb, recorded, synthetic } = workload
  let cluster: ClusterInput
  if (recorded !== undefined) cluster = { kind: 'recorded', file: recorded.file }
  else if (given?.openb !== undefined)
    cluster = { kind: 'openb', directory: given.openb.directory, nodeList: given.openb.nodes }
  else cluster = { kind: 'shapes', shapes: given?.shapes ?? [], nodes: given?.nodes }
  // What is wrong with the nodes is told before the first run.
  await nodesOf(cluster)
  const files = cluster.kind === 'openb' ? [await contentDigest(join(cluster.directory, cluster.nodeList))] : []
  let loads: { readonly pattern: string; readonly pods: PodsInput }[]
  if (openb !== undefined) {
    const { departures, directory, duration: spanMs, pods: podList } = openb
    loads = [{ pattern: podList, pods: { kind: 'openb', directory, podList, spanMs, departures } }]
    files.push(await contentDigest(join(directory, openbPodListFile(podList))))
  } else if (recorded !== undefined) {
    loads = [{ pattern: 'recorded', pods: { kind: 'recorded', file: recorded.file } }]
    files.push(await contentDigest(recorded.file))
  } else if (fiveG !== undefined) {
    const { duration: spanMs, networks, scenarios } = fiveG
    loads = scenarios.map((scenario) => ({ pattern: scenario, pods: { kind: 'five_g', scenario, networks, spanMs } }))
  } else
    loads = [
      {
        pattern: 'synthetic',
        pods: { kind: 'synthetic', pods: synthetic?.pods ?? 0, spanMs: synthetic?.duration ?? 0 },
      },
    ]
  return { cluster, loads, files }
}

const podsCells = async (experiment: ExperimentFile): Promise<Cell[]> => {
  const { seeds } = experiment
  const arms = await armsOf(experiment.policies)
  const { cluster, files, loads } = await podsLoadsOf(experiment)
  return loads.flatMap(({ pattern, pods }, place) =>
    arms.flatMap(({ files: ownFiles, name, policy }) =>
      seeds.map((seed, index) => ({
        policy: name,
        pattern,
        seed,
        task: {
          id: loads.length === 1 ? `${name}_${seed}` : `${pattern}_${name}_${seed}`,
          kind: 'pods' as const,
          input: { cluster, pods, policy, seed, heatMap: index === 0 && place === 0 } satisfies PodsRunInput,
          files: [...files, ...ownFiles],
        },
      })),
    ),
  )
}

/** What is compared: policies; scenarios where there are several under one policy; else both. */
const armOf = (policy: string, scenario: string, { policies, workload }: ExperimentFile): string => {
  if ((workload.service?.scenarios ?? []).length < 2) return policy
  return policies.length < 2 ? scenario : `${policy} ${scenario}`
}

const serviceCells = async (experiment: ExperimentFile): Promise<Cell[]> => {
  const { patterns = [], seeds, workload } = experiment
  const policies = await armsOf(experiment.policies)
  const { arrivals, duration = 0, scenarios: paths = [] } = workload.service ?? {}
  const scenarios = (await Promise.all(paths.map(readLoadScenario))).map((scenario) =>
    arrivals === undefined
      ? scenario
      : { ...scenario, arrivals: { ...(scenario.arrivals ?? WHOLE_LIST), file: arrivals } },
  )
  const names = scenarios.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined)
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: `two scenarios of the name ${twice}`,
      expected: 'a name of its own for each',
    })
  const lists = new Map<string, readonly string[]>()
  if (patterns.some(({ name }) => name === ARRIVALS))
    for (const { arrivals: window, name } of scenarios) {
      // What is wrong with the list is told before the first run; without a file there is an error.
      await readArrivals(window, duration)
      lists.set(name, [await contentDigest(window?.file ?? '')])
    }
  return patterns.flatMap(({ max_users: maxUsers, min_users: minUsers, name }, place) => {
    const again = patterns.findIndex((other) => other.name === name) < place
    const pattern = again ? `${name}-${place + 1}` : name
    return scenarios.flatMap((scenario) =>
      policies.flatMap(({ files: ownFiles, name: called, policy }) => {
        const arm = armOf(called, scenario.name, experiment)
        return seeds.map((seed, index) => ({
          policy: arm,
          pattern,
          seed,
          task: {
            id: `${pattern}_${arm.replaceAll(' ', '_')}_${seed}`,
            kind: 'service',
            input: {
              scenario,
              pattern:
                name === ARRIVALS ? { name, durationMs: duration } : { name, durationMs: duration, minUsers, maxUsers },
              policy,
              seed,
              heatMap: index === 0 && place === 0,
            } satisfies ServiceRunInput,
            files: [...((name === ARRIVALS ? lists.get(scenario.name) : undefined) ?? []), ...ownFiles],
          } as const,
        }))
      }),
    )
  })
}

/** What a series is at a time: its last value until then; null before and after the run. */
const valueAt = ({ timesS, values }: CellSeries, atS: number): number | null => {
  let low = 0
  let high = timesS.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((timesS[middle] ?? 0) <= atS) low = middle + 1
    else high = middle
  }
  return low === 0 || atS > (timesS.at(-1) ?? 0) ? null : (values[low - 1] ?? null)
}

const STEPS = 100
/** With more, bands hide each other. */
const BANDS_AT_MOST = 4

/** One figure for each quantity that has a course, with the policies' means over the seeds and their confidence intervals. */
const curvesOf = (pattern: string, runs: ReadonlyMap<string, readonly CellResult[]>, prefix: string): Curve[] => {
  const all = [...runs.values()].flat()
  const endOf = ({ series }: CellResult): number => Math.max(0, ...series.map(({ timesS }) => timesS.at(-1) ?? 0))
  // A policy's line ends where its first run does: a mean of the others would be one of other runs.
  const endS = Math.max(0, ...Array.from(runs.values(), (results) => Math.min(...results.map(endOf))))
  const inMinutes = endS > 600
  const ownTimesS = all[0]?.series[0]?.timesS ?? []
  const alike = all.every(({ series }) => series[0]?.timesS.join() === ownTimesS.join())
  const timesS = alike ? ownTimesS : Array.from({ length: STEPS + 1 }, (_, step) => (step * endS) / STEPS)
  const seeds = all.length / runs.size
  const withBands = seeds > 1 && runs.size <= BANDS_AT_MOST
  // Runs of different scenarios may differ in what has a course: without GPUs there is none of their use.
  const firsts = new Map(all.flatMap(({ series }) => series.map((one) => [one.name, one] as const)))
  return Array.from(firsts.values(), (first): Curve => {
    const lines = Array.from(runs, ([policy, results]) => {
      const points: [number, number | null][] = []
      const band: [number, number][] = []
      const courses = results.flatMap(({ series }) => series.find(({ name }) => name === first.name) ?? [])
      for (const timeS of timesS) {
        const values = courses.flatMap((one) => valueAt(one, timeS) ?? [])
        const whole = values.length === results.length ? estimate(values) : undefined
        points.push([inMinutes ? timeS / 60 : timeS, whole?.mean ?? null])
        // No quantity here is negative.
        band.push([Math.max(0, whole?.low ?? 0), whole?.high ?? 0])
      }
      return { name: policy, points, ...(withBands ? { band } : {}) }
    }).filter(({ points }) => points.some(([, value]) => value !== null))
    return {
      name: `${prefix}${first.name}-over-time`,
      caption: `${first.label} over time, ${pattern}: mean of ${seeds} seeds${withBands ? '; bands are 95 % confidence intervals' : ''}.`,
      x: { label: 'Time', unit: inMinutes ? 'min' : 's', min: 0, max: inMinutes ? endS / 60 : endS },
      y: { label: first.label, unit: first.unit, min: 0 },
      lines,
    }
  })
}

const heatMapsOf = (cells: readonly Cell[], results: ReadonlyMap<string, unknown>): HeatMap[] =>
  cells.flatMap(({ pattern, policy, seed, task }) => {
    const { heatMap } = results.get(task.id) as CellResult
    const endS = heatMap?.columnsS.at(-1) ?? 0
    if (heatMap === undefined || endS === 0) return []
    const inMinutes = endS > 600
    const columns = Array.from({ length: STEPS }, (_, step) => (step * endS) / (STEPS - 1))
    return [
      {
        name: `placement-${policy.replaceAll(' ', '-')}`,
        caption: `${heatMap.value.label}${heatMap.value.unit === '' ? '' : ` (${heatMap.value.unit})`} by node and time: ${pattern}, policy ${policy}, seed ${seed}.`,
        x: { label: 'Time', unit: inMinutes ? 'min' : 's' },
        yLabel: 'Node',
        value: { ...heatMap.value },
        columns: columns.map((atS) => (inMinutes ? atS / 60 : atS)),
        rows: [...heatMap.rows],
        cells: heatMap.cells.map((values) => {
          const series = { name: '', label: '', unit: '', timesS: heatMap.columnsS, values }
          return columns.map((atS) => valueAt(series, atS) ?? 0)
        }),
      },
    ]
  })

/**
 * Runs what a file asks for, or what is left of it. All that can be wrong with the input is found before the first run.
 * @throws StowageError FILE_UNREADABLE, FILE_UNWRITABLE, TRACE_MALFORMED, CONFIG_*, POLICY_FAILED; the reason of the signal
 */
export const runExperiment = async (options: ExperimentOptions): Promise<ExperimentRecord> => {
  const { experiment, onProgress, provenance, signal, workers } = options
  const isService = experiment.workload.service !== undefined
  const cells = await (isService ? serviceCells(experiment) : podsCells(experiment))
  const results = await runTasks({
    tasks: cells.map(({ task }) => task),
    store: new RunStore(options.runsDirectory),
    provenance,
    workers,
    signal,
    ...(onProgress === undefined ? {} : { onProgress }),
  })
  const resultOf = ({ task }: Cell): CellResult => results.get(task.id) as CellResult
  const measured = new Set(cells.flatMap((cell) => resultOf(cell).values.map(([metric]) => metric)))
  const known: readonly Metric[] = isService ? SERVICE_METRICS : PODS_METRICS
  const metrics = known.filter(
    ({ name }) => measured.has(name) && (experiment.metrics === undefined || experiment.metrics.includes(name)),
  )
  const wanted = new Set(metrics.map(({ name }) => name))
  const patterns = [...new Set(cells.map(({ pattern }) => pattern))]
  const arms = [...new Set(cells.map(({ policy }) => policy))]
  return {
    format: 'stowage-experiment/1',
    name: experiment.name,
    description: experiment.description,
    patternLabel: isService ? 'Load pattern' : 'Pods',
    provenance,
    policies: arms,
    patterns,
    seeds: [...experiment.seeds],
    metrics: [...metrics],
    measurements: cells.flatMap((cell) =>
      resultOf(cell)
        .values.filter(([metric]) => wanted.has(metric))
        .map(([metric, value]) => ({ policy: cell.policy, pattern: cell.pattern, seed: cell.seed, metric, value })),
    ),
    references: [],
    curves: patterns.flatMap((pattern) =>
      curvesOf(
        pattern,
        new Map(
          arms.map((policy) => [
            policy,
            cells.filter((cell) => cell.pattern === pattern && cell.policy === policy).map(resultOf),
          ]),
        ),
        patterns.length > 1 ? `${pattern}-` : '',
      ),
    ),
    heatMaps: heatMapsOf(cells, results),
  }
}
