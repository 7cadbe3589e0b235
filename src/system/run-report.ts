import type { Conservation } from '../scheduling/ports.ts'
import type { Allocation } from '../simulation/virtual/cluster-report.ts'

/** What came of a run of `stowage up`. All figures were counted in that run. */
export interface RunReport {
  readonly nodes: number
  readonly pods: Conservation
  /** decisions a second, from the first to the last, and in the busiest second */
  readonly decisionsPerSecond: number
  readonly busiestSecond: number
  /** from the first sight of a pod to the API server's answer to its bind; null without a bind */
  readonly latencyMs: { readonly p50: number | null; readonly p99: number | null }
  /** constraints and ranking alone */
  readonly decisionMs: { readonly p50: number | null; readonly p99: number | null }
  /** pods that a kubelet refused, nodes that hold more than they have, and columns that differ from a recount */
  readonly violations: number
  readonly violationsBy: Readonly<Record<string, number>>
  /** seen - (bound + waiting + gated + deleted + inFlight): 0, or pods were lost */
  readonly unaccounted: number
  readonly policy: string
  readonly seed: number
  readonly elapsedSeconds: number
  readonly created: {
    readonly pods: number
    readonly failed: number
    readonly failures: Readonly<Record<string, number>>
  }
  /** pods on virtual nodes: now running, ended well since the start, failed since the start */
  readonly lives: { readonly running: number; readonly succeeded: number; readonly failed: number }
  /** most common first */
  readonly waitingBecause: readonly { readonly reason: string; readonly pods: number }[]
  readonly allocation: readonly Allocation[]
  /** the highest share of each resource that was requested at once, in percent */
  readonly peakAllocationPercent: Readonly<Record<string, number>>
  readonly usage: 'metrics.k8s.io' | 'requests'
}

/**
 * The value below which a share of the values lies (nearest rank).
 * @param sorted ascending
 */
export const percentile = (sorted: ArrayLike<number>, share: number): number | null =>
  sorted.length === 0 ? null : (sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null)

/** Milliseconds to a microsecond: more digits would claim more than the clock can tell. */
const rounded = (ms: number | null): number | null => (ms === null ? null : Math.round(ms * 1000) / 1000)

export const percentiles = (values: readonly number[]): { p50: number | null; p99: number | null } => {
  const sorted = Float64Array.from(values).sort()
  return { p50: rounded(percentile(sorted, 0.5)), p99: rounded(percentile(sorted, 0.99)) }
}

const ms = (value: number | null): string =>
  value === null ? '-' : `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`

/** The report for people. */
export const renderReport = (report: RunReport): string[] => {
  const { pods, lives, created } = report
  const lines = [
    `${report.nodes} nodes, policy ${report.policy}, seed ${report.seed}, ${report.elapsedSeconds.toFixed(1)} s`,
    `pods seen ${pods.seen} = ${pods.bound} bound + ${pods.waiting} waiting + ${pods.gated} gated + ${pods.deleted} deleted + ${pods.inFlight} in flight` +
      (report.unaccounted === 0 ? '' : `, and ${report.unaccounted} LOST`),
    `on nodes ${lives.running} running, ${lives.succeeded} succeeded, ${lives.failed} failed`,
    `decisions ${report.decisionsPerSecond.toFixed(0)} a second (busiest second ${report.busiestSecond})`,
    `latency from seen to bound: median ${ms(report.latencyMs.p50)}, p99 ${ms(report.latencyMs.p99)}; a decision itself: median ${ms(report.decisionMs.p50)}, p99 ${ms(report.decisionMs.p99)}`,
    `constraint violations ${report.violations}${Object.entries(report.violationsBy)
      .map(([kind, count]) => `, ${kind} ${count}`)
      .join('')}`,
    'requested at the end (and at the most):',
    ...report.allocation.map(
      ({ resource, percent }) =>
        `  ${resource.padEnd(24)} ${String(percent).padStart(5)} %  (${report.peakAllocationPercent[resource] ?? percent} %)`,
    ),
  ]
  if (created.failed > 0) {
    lines.push(`${created.failed} pods could not be created:`)
    for (const [reason, count] of Object.entries(created.failures)) lines.push(`  ${count} ${reason}`)
  }
  if (report.waitingBecause.length > 0) {
    lines.push('waiting because:')
    for (const { reason, pods: count } of report.waitingBecause) lines.push(`  ${String(count).padStart(5)}  ${reason}`)
  }
  return lines
}
