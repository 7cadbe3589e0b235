import { randomBytes } from 'node:crypto'
import { Command, InvalidArgumentError } from 'commander'
import { type Clock, sleep, systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import type { Configuration } from '../configuration/schema.ts'
import { openConnection } from '../kubernetes/connection.ts'
import { serverVersion } from '../kubernetes/objects.ts'
import { hashingMask, noMask } from '../simulation/traces/mask.ts'
import { readTrace, type TraceEvent, TRACE_VERSION } from '../simulation/traces/recorded.ts'
import { TraceRecorder } from '../simulation/traces/recorder.ts'
import { summariseTrace, type TraceSummary } from '../simulation/traces/summary.ts'
import { createTraceFile } from '../simulation/traces/trace-file.ts'
import { recordCluster } from '../system/recording.ts'
import { addSettings, readSettings } from './settings.ts'
import { untilSignalled } from './signals.ts'
import { version } from './version.ts'

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const duration = (text: string): number => {
  const match = /^(\d{1,9}(?:\.\d+)?)(s|m|h|d)?$/.exec(text)
  const value = Number(match?.[1]) * (UNIT_MS[match?.[2] ?? 's'] ?? Number.NaN)
  if (!(value > 0)) throw new InvalidArgumentError('expected a duration such as 90s, 5m, 1h or 2d')
  return value
}

/** A connection to the cluster of the settings. @throws StowageError KUBECONFIG_UNREADABLE */
export const connectionFor = ({ kubernetes }: Configuration, clock: Clock) =>
  openConnection({
    env: process.env,
    clock,
    ...(kubernetes.kubeconfig === undefined ? {} : { kubeconfig: kubernetes.kubeconfig }),
    ...(kubernetes.context === undefined ? {} : { context: kubernetes.context }),
    ...(kubernetes.inCluster === undefined ? {} : { inCluster: kubernetes.inCluster }),
  })

/** Gives a command the settings that say which cluster. */
export const addClusterSettings = (command: Command): Command =>
  addSettings(command, ({ key }) => key.startsWith('kubernetes.'))

/** Each trouble is said once: a server that is away for an hour must not fill the terminal. Watches that end are none. */
export const sayOnce = (): ((kind: string, why: string) => void) => {
  const said = new Set<string>(['the server ended the watch'])
  return (_kind, why) => {
    if (said.has(why)) return
    said.add(why)
    process.stderr.write(`reading was interrupted and goes on: ${why}\n`)
  }
}

interface RecordOptions extends Record<string, unknown> {
  readonly out: string
  readonly for?: number
  readonly anonymise?: boolean
  readonly json?: boolean
}

const PROGRESS_MS = 1000

const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`
const seconds = (ms: number): string => (ms < 10_000 ? `${(ms / 1000).toFixed(2)} s` : `${Math.round(ms / 1000)} s`)

const renderSummary = (summary: TraceSummary): string[] => {
  const { nodes, objects, pendingMs, pods, schedulers } = summary
  const listed = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ') || 'none'
  return [
    `${summary.source} trace of ${seconds(summary.durationMs)} from ${summary.startedAt}, written by ${summary.writtenBy}${summary.anonymised ? ', anonymised' : ''}`,
    `${plural(summary.events, 'event')}${summary.truncated ? '; the last line was cut off and is left out' : ''}${summary.complete ? '' : '; the recording was not stopped, but ended'}`,
    ...(summary.missing.length === 0 ? [] : [`not recorded: ${summary.missing.join(', ')}`]),
    `nodes       ${nodes.atStart} at the start, ${nodes.came} came, ${nodes.gone} went`,
    `pods        ${pods.runningAtStart} running and ${pods.pendingAtStart} pending at the start, ${pods.came} came`,
    `            ${pods.bound} bound, ${listed(pods.ended)}; ${pods.pending} pending and ${pods.gated} gated at the end`,
    `waits       p50 ${seconds(pendingMs.p50)}, p95 ${seconds(pendingMs.p95)}, p99 ${seconds(pendingMs.p99)}, longest ${seconds(pendingMs.max)}`,
    `schedulers  ${listed(schedulers)}`,
    `objects     ${listed(objects)}`,
  ]
}

const printSummary = async (file: string, json: boolean | undefined): Promise<void> => {
  const summary = summariseTrace(await readTrace(file))
  process.stdout.write(json ? `${JSON.stringify(summary, null, 2)}\n` : `${renderSummary(summary).join('\n')}\n`)
}

const record = async (options: RecordOptions): Promise<void> => {
  const { configuration } = readSettings(options)
  const connection = connectionFor(configuration, systemClock)
  const stop = untilSignalled(systemClock)
  const failed = new AbortController()
  const ended = AbortSignal.any([
    stop.signal,
    failed.signal,
    ...(options.for === undefined ? [] : [AbortSignal.timeout(options.for)]),
  ])
  try {
    await serverVersion(connection, ended)
    const file = createTraceFile(options.out, {
      stowageTrace: TRACE_VERSION,
      source: 'cluster',
      startedAtMs: systemClock.nowMs(),
      anonymised: options.anonymise === true,
      writtenBy: `stowage ${version}`,
    })
    const counts = { nodes: 0, pods: 0, bound: 0, ended: 0 }
    const write = (event: TraceEvent): void => {
      // Feeds must not throw: what cannot be written ends the recording instead.
      try {
        if (!failed.signal.aborted) file.write(event)
      } catch (thrown) {
        failed.abort(thrown)
      }
      if (event.event === 'node') counts.nodes++
      else if (event.event === 'pod') counts.pods++
      else if (event.event === 'bind') counts.bound++
      else if (event.event === 'end') counts.ended++
    }
    const recorder = new TraceRecorder({
      clock: systemClock,
      write,
      mask: options.anonymise ? hashingMask(randomBytes(32)) : noMask,
      messages: options.anonymise !== true,
    })
    try {
      const recording = recordCluster({
        connection,
        clock: systemClock,
        random: seededRandom(configuration.scheduling.seed),
        recorder,
        signal: ended,
        onSynced: (missing) => {
          process.stderr.write(
            `recording ${connection.address} to ${options.out}: everything that is there has been written; Ctrl-C ends it\n`,
          )
          if (missing.length > 0)
            process.stderr.write(`not recorded, because the server does not give them: ${missing.join(', ')}\n`)
        },
        onTrouble: sayOnce(),
      })
      while (process.stderr.isTTY && !ended.aborted) {
        const { bound, ended: over, nodes, pods } = counts
        const line = `${seconds(recorder.nowMs)}  ${nodes} of nodes, ${pods} of pods, ${bound} binds, ${over} ends, ${Math.ceil(file.bytes / 1024)} KiB`
        process.stderr.write(`\r\u001b[K${line}`)
        await sleep(systemClock, PROGRESS_MS, ended).catch(() => undefined)
      }
      await recording
      if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
      if (failed.signal.aborted) throw failed.signal.reason
      recorder.stopped()
    } finally {
      file.close()
    }
    await printSummary(options.out, options.json)
  } catch (error) {
    // Told to stop before the first answer: there is nothing to keep.
    if (!(stop.signal.aborted && error === stop.signal.reason)) throw error
  } finally {
    connection.close()
    stop.release()
  }
}

const recordCommand = (): Command =>
  addClusterSettings(
    new Command('record')
      .description(
        'Records a live cluster - nodes, pods, when they came, where they went, how they ended, and whatever else schedulers read - into a file, until Ctrl-C or for a time. Never environment, commands or secrets.',
      )
      .requiredOption('--out <file>', 'the trace to write; it must not exist yet')
      .option('--for <duration>', 'end after that time, such as 10m or 2d (default: on Ctrl-C)', duration)
      .option('--anonymise', 'write hashes instead of names, labels and images')
      .option('--json', 'print what was recorded as JSON'),
  )
    .addHelpText(
      'after',
      `
Examples:
  stowage trace record --out monday.trace --kubeconfig ~/.kube/config
  stowage trace record --out night.trace --for 8h --anonymise
  stowage what-if --policy fgd monday.trace`,
    )
    .action(record)

const infoCommand = (): Command =>
  new Command('info')
    .argument('<file>', 'a trace that was recorded or generated')
    .option('--json', 'print JSON')
    .description('Says what is in a recorded trace.')
    .addHelpText(
      'after',
      `
Examples:
  stowage trace info monday.trace
  stowage trace info monday.trace --json`,
    )
    .action((file: string, options: { json?: boolean }) => printSummary(file, options.json))

/** `stowage trace` */
export const traceCommand = (): Command =>
  new Command('trace')
    .description('Records what a cluster did, says what is in a trace, and gets or makes others.')
    .addCommand(recordCommand())
    .addCommand(infoCommand())
