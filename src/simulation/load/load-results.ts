import { join } from 'node:path'
import { type Provenance, writeWhole } from '../experiments/run-store.ts'
import type { LiveReport, LiveSecond } from './live-load.ts'
import type { LoadRunResult } from './load-run.ts'
import type { ReplicaWindow } from './replica-cluster.ts'

const DECIMALS = 3

const cell = (value: string | number | undefined): string => {
  if (value === undefined) return ''
  if (typeof value === 'number') return String(Number(value.toFixed(DECIMALS)))
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
}

const csv = (header: readonly string[], rows: readonly (readonly (string | number | undefined)[])[]): string =>
  [header, ...rows].map((row) => `${row.map(cell).join(',')}\n`).join('')

const COMMON = [
  'time_s',
  'users',
  'requests',
  'succeeded',
  'failed',
  'timed_out',
  'p50_ms',
  'p95_ms',
  'p99_ms',
] as const

const commonOf = (atMs: number, window: LiveSecond | ReplicaWindow): number[] => [
  atMs / 1000,
  window.users,
  window.requests,
  window.succeeded,
  window.failed,
  window.timedOut,
  window.latencyMs.p50,
  window.latencyMs.p95,
  window.latencyMs.p99,
]

const stats = (provenance: Provenance, told: object): string => `${JSON.stringify({ ...told, provenance }, null, 2)}\n`

/**
 * Keeps a simulated run in KISim's layout: `dynamic/` has what users saw, in all and second by second, `metrics/` where
 * replicas were, when their number changed, and what nodes did.
 * @throws StowageError FILE_UNWRITABLE
 */
export const writeLoadRun = async (directory: string, result: LoadRunResult, provenance: Provenance): Promise<void> => {
  const { nodes, replicas, scalings, series, ...rest } = result
  const name = `${result.pattern}_seed${result.seed}`
  const rows = series.map((window) => [
    ...commonOf(window.fromMs, window),
    window.throughput,
    100 * window.cpuShare,
    100 * window.memoryShare,
    100 * window.gpuShare,
    window.replicas.gpu.ready,
    window.replicas.cpu.ready,
    window.replicas.gpu.pending + window.replicas.cpu.pending,
    window.outstanding,
  ])
  const columns =
    'throughput,cpu_percent,memory_percent,gpu_percent,gpu_replicas,cpu_replicas,pending_replicas,outstanding'
  const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000)
  await writeWhole(join(directory, 'dynamic', `${name}_stats.json`), stats(provenance, rest))
  await writeWhole(join(directory, 'dynamic', `${name}_series.csv`), csv([...COMMON, ...columns.split(',')], rows))
  await writeWhole(
    join(directory, 'metrics', `${name}_placements.csv`),
    csv(
      ['replica', 'kind', 'node', 'gpus', 'created_s', 'placed_s', 'ready_s', 'removed_s', 'pending_because'],
      replicas.map((one) => [
        one.name,
        one.kind,
        one.node,
        one.devices.join(' '),
        seconds(one.createdMs),
        seconds(one.placedMs),
        seconds(one.readyMs),
        seconds(one.removedMs),
        one.pendingBecause,
      ]),
    ),
  )
  await writeWhole(
    join(directory, 'metrics', `${name}_scalings.csv`),
    csv(
      ['time_s', 'kind', 'from', 'to'],
      scalings.map(({ atMs, from, kind, to }) => [atMs / 1000, kind, from, to]),
    ),
  )
  await writeWhole(
    join(directory, 'metrics', `${name}_nodes.csv`),
    csv(
      ['node', 'busy_cores', 'busy_gpus'],
      nodes.map(({ cores, gpus, node }) => [node, cores, gpus]),
    ),
  )
}

/**
 * Keeps a live run: `dynamic/` as a simulated one has it.
 * @throws StowageError FILE_UNWRITABLE
 */
export const writeLiveReport = async (directory: string, report: LiveReport, provenance: Provenance): Promise<void> => {
  const { series, ...rest } = report
  const name = `${report.pattern}_seed${report.seed}`
  await writeWhole(join(directory, 'dynamic', `${name}_stats.json`), stats(provenance, rest))
  await writeWhole(
    join(directory, 'dynamic', `${name}_series.csv`),
    csv(
      COMMON,
      series.map((second) => commonOf(second.atMs, second)),
    ),
  )
}
