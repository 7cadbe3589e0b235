import { Command } from 'commander'
import { setImmediate as turn } from 'node:timers/promises'
import { systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { StowageError } from '../errors/catalogue.ts'
import { createPolicy, policyNames } from '../policies/registry.ts'
import { readTrace, type RecordedTrace, TRACE_VERSION, type TraceEvent } from '../simulation/traces/recorded.ts'
import { TraceRecorder } from '../simulation/traces/recorder.ts'
import { type Alternative, type Course, type Serving, whatIf, type WhatIf } from '../simulation/traces/what-if.ts'
import { recordCluster } from '../system/recording.ts'
import { readSettings } from './settings.ts'
import { untilSignalled } from './signals.ts'
import { addClusterSettings, connectionFor, sayOnce } from './trace.ts'
import { version } from './version.ts'

interface WhatIfCommandOptions extends Record<string, unknown> {
  readonly policy: string[]
  readonly seed: number
  readonly json?: boolean
  readonly kubeconfig?: string
}

const PATIENCE_MS = 60_000
/** What a policy that gives nothing usable is replaced by, as in `stowage schedule`. */
const FALLBACK = 'kube-default'
const MOVED_SHOWN = 10

/** Everything that is in a cluster now. @throws StowageError KUBECONFIG_UNREADABLE, API_UNREACHABLE */
const snapshot = async (options: WhatIfCommandOptions, signal: AbortSignal): Promise<RecordedTrace> => {
  const { configuration } = readSettings({ ...options, policy: undefined, seed: undefined })
  const connection = connectionFor(configuration, systemClock)
  const events: TraceEvent[] = []
  const done = new AbortController()
  const patience = AbortSignal.timeout(PATIENCE_MS)
  try {
    await recordCluster({
      connection,
      clock: systemClock,
      random: seededRandom(options.seed),
      recorder: new TraceRecorder({ clock: systemClock, write: (event) => events.push(event) }),
      signal: AbortSignal.any([signal, patience, done.signal]),
      onSynced: (missing) => {
        if (missing.length > 0)
          process.stderr.write(`the server does not give these, so no rule sees them: ${missing.join(', ')}\n`)
        done.abort(new Error('everything has been read'))
      },
      onTrouble: sayOnce(),
    })
    signal.throwIfAborted()
    if (!done.signal.aborted)
      throw new StowageError('API_UNREACHABLE', {
        found: `${connection.address} did not give everything that it has within ${PATIENCE_MS / 1000} s`,
        todo: 'check that the server runs, and that nodes and pods may be listed and watched',
      })
  } finally {
    connection.close()
  }
  // What came while the last kind was being read is no part of the moment.
  const until = events.findIndex(({ event }) => event === 'synced')
  return {
    header: {
      stowageTrace: TRACE_VERSION,
      source: 'cluster',
      startedAtMs: systemClock.nowMs(),
      anonymised: false,
      writtenBy: `stowage ${version}`,
    },
    events: events.slice(0, until + 1),
    truncated: false,
  }
}

/** @throws StowageError POLICY_UNKNOWN */
const servings = (names: readonly string[]): [() => Serving, ...(() => Serving)[]] => {
  const [first = '', ...others] = names
  const serving = (name: string): (() => Serving) => {
    const make = (): Serving => ({
      policy: createPolicy(name),
      ...(name === FALLBACK ? {} : { fallback: createPolicy(FALLBACK) }),
    })
    // An unknown name is said before anything is read.
    make()
    return make
  }
  return [serving(first), ...others.map(serving)]
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const waited = (ms: number): string => (ms < 9_950 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 1000).toFixed(0)} s`)

const row = (cells: readonly string[], widths: readonly number[]): string =>
  cells
    .map((cell, index) => (index === 0 ? cell.padEnd(widths[index] ?? 0) : cell.padStart(widths[index] ?? 0)))
    .join('  ')
    .trimEnd()

const table = (rows: readonly (readonly string[])[]): string[] => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)))
  return rows.map((cells) => row(cells, widths))
}

const figures = (course: Course, moment: boolean): string[] => {
  const { cpu, gpu, memory } = moment ? course.finalUtilisation : course.utilisation
  const { p50, p95, p99 } = course.pendingMs
  return [
    course.policy,
    String(course.placed),
    String(course.pending),
    ...(moment ? [] : [waited(p50), waited(p95), waited(p99)]),
    percent(cpu),
    percent(memory),
    percent(gpu),
    ...(moment ? [] : [course.imbalance.cpu.toFixed(3), course.imbalance.memory.toFixed(3)]),
    String(course.preemptions),
  ]
}

const renderMoved = ({ agree, compared, decisions, moved, policy }: Alternative): string[] => {
  const shown = moved.slice(0, MOVED_SHOWN).map(({ now, pod, recorded }) => {
    const from = recorded === '' ? 'pending' : recorded
    return `  ${pod}: ${from} -> ${now === '' ? 'pending' : now}`
  })
  const more = moved.length > MOVED_SHOWN ? [`  and ${moved.length - MOVED_SHOWN} more (--json has them all)`] : []
  const head =
    decisions === undefined
      ? `${policy}: ${moved.length} pods would get a node`
      : `${policy}: decides ${decisions.alike} of ${decisions.compared} as was decided${decisions.tied === 0 ? '' : ` (and ${decisions.tied} by another choice among equal scores)`}, each in the cluster as it was then; in its own course ${agree} of ${compared} pods are on the node where they were, ${moved.length} elsewhere`
  return [head, ...shown, ...more]
}

const render = (result: WhatIf): string[] => {
  const { durationMs, keptPods, leftOut, nodes, pods, policies, recorded } = result
  const moment = durationMs === 0
  const courses = [...(recorded === undefined ? [] : [recorded]), ...policies]
  const head = moment
    ? ['', 'placed', 'pending', 'cpu', 'memory', 'gpu', 'preempted']
    : ['', 'placed', 'pending', 'p50', 'p95', 'p99', 'cpu', 'memory', 'gpu', 'imb.cpu', 'imb.mem', 'preempted']
  return [
    `${nodes} nodes, ${pods} pods to place and ${keptPods} that stay where they are${moment ? ', at one moment' : `, in ${waited(durationMs)}`}`,
    ...(leftOut.gatedPods + leftOut.podChanges === 0
      ? []
      : [`left out: ${leftOut.gatedPods} pods that stayed gated, ${leftOut.podChanges} changes of pods`]),
    '',
    ...table([head, ...courses.map((course) => figures(course, moment))]),
    '',
    ...courses.flatMap(({ policy, waitingBecause }) =>
      waitingBecause.map(({ reason, pods: count }) => `${policy}: ${count} pending: ${reason}`),
    ),
    // Where nobody placed anything, every pod would be elsewhere.
    ...(recorded === undefined && !moment ? [] : policies.flatMap(renderMoved)),
  ]
}

const ask = async (file: string | undefined, options: WhatIfCommandOptions): Promise<void> => {
  const names = [...new Set(options.policy.flatMap((text) => text.split(',')))]
  const policies = servings(names)
  const stop = untilSignalled(systemClock)
  try {
    const trace = file === undefined ? await snapshot(options, stop.signal) : await readTrace(file)
    const tells = process.stderr.isTTY
    const result = await whatIf({
      trace,
      policies,
      seed: options.seed,
      signal: stop.signal,
      progress: async (policy, share) => {
        if (tells) process.stderr.write(`\r\u001b[K${policy} ${percent(share)}`)
        // Signals are heard between two turns of the event loop.
        await turn()
      },
    })
    if (tells) process.stderr.write('\r\u001b[K')
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ trace: file ?? 'cluster', ...result }, null, 2)}\n`
        : `${render(result).join('\n')}\n`,
    )
  } finally {
    stop.release()
  }
}

const seed = (text: string): number => {
  if (!/^\d{1,9}$/.test(text))
    throw new StowageError('BAD_REQUEST', { found: `--seed ${text.slice(0, 32)}`, expected: 'a whole number from 0' })
  return Number(text)
}

/** `stowage what-if` */
export const whatIfCommand = (): Command =>
  addClusterSettings(
    new Command('what-if')
      .argument('[file]', 'a recorded trace; without one the pending pods of the cluster as it is now')
      .description(
        'Replays what a cluster was asked for under other policies, and sets what would have come of it beside what did.',
      )
      .requiredOption(
        '--policy <names>',
        `one or several, with commas or given again: ${[...policyNames].join(', ')}, formula:FILE`,
        (text: string, before: string[] | undefined) => [...(before ?? []), text],
      )
      .option('--seed <number>', 'for policies that draw', seed, 1)
      .option('--json', 'print JSON, with every pod that would be elsewhere'),
  )
    .addHelpText(
      'after',
      `
Examples:
  stowage trace record --out monday.trace --for 8h
  stowage what-if --policy fgd,kube-default monday.trace
  stowage what-if --policy most_allocated --kubeconfig ~/.kube/config`,
    )
    .action(ask)
