import type { CellHeatMap, CellResult, CellSeries } from './cell.ts'
import {
  type ArrivalLoad,
  type LoadRunInput,
  type LoadRunResult,
  loadNodes,
  readArrivals,
  runLoad,
  type UserLoad,
} from '../load/load-run.ts'
import { ARRIVALS } from '../load/pattern.ts'
import { hasGpus } from './pods-run.ts'
import type { Metric } from './record.ts'

/** One run: users ask a service whose replicas one policy places. */
export interface ServiceRunInput extends Omit<LoadRunInput, 'pattern'> {
  /** arrivals are read from the scenario's list where it runs */
  readonly pattern: UserLoad | Omit<ArrivalLoad, 'list'>
  /** whether it is also kept what was on each node when */
  readonly heatMap: boolean
}

/** What such runs are measured by: over the whole run, not at its end. */
export const SERVICE_METRICS: readonly Metric[] = [
  { name: 'latency_p50', label: 'Median latency', unit: 'ms', better: 'lower' },
  { name: 'latency_p95', label: '95th percentile of latency', unit: 'ms', better: 'lower' },
  { name: 'latency_p99', label: '99th percentile of latency', unit: 'ms', better: 'lower' },
  { name: 'throughput', label: 'Throughput', unit: 'answers/s', better: 'higher' },
  { name: 'error_rate', label: 'Requests refused', unit: '%', better: 'lower' },
  { name: 'timeout_rate', label: 'Requests given up', unit: '%', better: 'lower' },
  { name: 'cpu_use', label: 'Busy CPU, mean over time', unit: '% of capacity', better: 'lower' },
  { name: 'gpu_use', label: 'Busy GPUs, mean over time', unit: '% of capacity', better: 'lower' },
  { name: 'replica_seconds', label: 'Replicas, summed over time', unit: 'replica s', better: 'lower' },
]

const COLUMNS = 100
/** Of the courses: windows long enough for a percentile. */
const SAMPLES = 60

/** How many replicas were on each node when. */
const heatMapOf = ({ durationMs, nodes, replicas }: LoadRunResult): CellHeatMap => {
  const columnsS = Array.from({ length: COLUMNS }, (_, column) => (column * durationMs) / COLUMNS / 1000)
  const cells = nodes.map(({ node }) =>
    columnsS.map(
      (atS) =>
        replicas.filter(
          (replica) =>
            replica.node === node &&
            replica.placedMs !== undefined &&
            replica.placedMs <= 1000 * atS &&
            (replica.removedMs ?? Number.POSITIVE_INFINITY) > 1000 * atS,
        ).length,
    ),
  )
  return {
    value: { label: 'Replicas', unit: '', min: 0, max: Math.max(1, ...cells.flat()) },
    rows: nodes.map(({ node }) => node),
    columnsS,
    cells,
  }
}

/** @throws StowageError CONFIG_INVALID_VALUE, POLICY_UNKNOWN, FILE_UNREADABLE, TRACE_MALFORMED */
export const runService = async (input: ServiceRunInput): Promise<CellResult> => {
  const { pattern, scenario } = input
  const load = pattern.name === ARRIVALS ? await readArrivals(scenario.arrivals, pattern.durationMs) : pattern
  const result = runLoad({ ...input, pattern: load, sampleMs: Math.max(1000, input.pattern.durationMs / SAMPLES) })
  const { replicas, series, summary } = result
  const percent = (part: number): number => (summary.requests === 0 ? 0 : (100 * part) / summary.requests)
  const replicaMs = replicas.reduce(
    (sum, { placedMs, removedMs }) =>
      placedMs === undefined
        ? sum
        : sum + Math.max(0, Math.min(removedMs ?? result.durationMs, result.durationMs) - Math.max(0, placedMs)),
    0,
  )
  const seriesOf = (name: string, label: string, unit: string, values: number[]): CellSeries => ({
    name,
    label,
    unit,
    timesS: series.map(({ toMs }) => toMs / 1000),
    values,
  })
  const withGpus = loadNodes(input.scenario.nodes).some(({ shape }) => hasGpus(shape))
  return {
    values: [
      ['latency_p50', summary.latencyMs.p50],
      ['latency_p95', summary.latencyMs.p95],
      ['latency_p99', summary.latencyMs.p99],
      ['throughput', summary.throughput],
      ['error_rate', percent(summary.failed)],
      ['timeout_rate', percent(summary.timedOut)],
      ['cpu_use', 100 * summary.cpuShare],
      ...(withGpus ? [['gpu_use', 100 * summary.gpuShare] as const] : []),
      ['replica_seconds', replicaMs / 1000],
    ],
    digest: '',
    series: [
      seriesOf(
        'p95',
        '95th percentile of latency',
        'ms',
        series.map(({ latencyMs }) => latencyMs.p95),
      ),
      seriesOf(
        'throughput',
        'Throughput',
        'answers/s',
        series.map(({ throughput }) => throughput),
      ),
      seriesOf(
        'cpu',
        'Busy CPU',
        '% of capacity',
        series.map(({ cpuShare }) => 100 * cpuShare),
      ),
      ...(withGpus
        ? [
            seriesOf(
              'gpu',
              'Busy GPUs',
              '% of capacity',
              series.map(({ gpuShare }) => 100 * gpuShare),
            ),
          ]
        : []),
      seriesOf(
        'replicas',
        'Ready replicas',
        'replicas',
        series.map((window) => window.replicas.gpu.ready + window.replicas.cpu.ready),
      ),
    ],
    heatMap: input.heatMap ? heatMapOf(result) : undefined,
  }
}
