import { randomBytes } from 'node:crypto'
import { Command } from 'commander'
import { type Clock, sleep, systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import type { Configuration } from '../configuration/schema.ts'
import { openConnection } from '../kubernetes/connection.ts'
import { serverVersion } from '../kubernetes/objects.ts'
import { quantityMilli } from '../cluster/quantity.ts'
import { StowageError } from '../errors/catalogue.ts'
import type { Arrival } from '../simulation/workload/arrivals.ts'
import { nodeShapes } from '../simulation/workload/node-shapes.ts'
import { DURATION_ANNOTATION, parseDurationMs } from '../simulation/virtual/pod-stages.ts'
import { type FetchedFile, fetchTrace, PUBLIC_TRACES } from '../simulation/traces/fetch.ts'
import { llmPods, readLlmRequests } from '../simulation/traces/llm-requests.ts'
import { madeTrace } from '../simulation/traces/made.ts'
import { readOpenb } from '../simulation/traces/openb.ts'
import { syntheticWorkload, workloadPriorityClasses } from '../simulation/workload/workload.ts'
import { hashingMask, noMask } from '../simulation/traces/mask.ts'
import { readTrace, type TraceEvent, TRACE_VERSION } from '../simulation/traces/recorded.ts'
import { TraceRecorder } from '../simulation/traces/recorder.ts'
import { summariseTrace, type TraceSummary } from '../simulation/traces/summary.ts'
import { createTraceFile } from '../simulation/traces/trace-file.ts'
import { recordCluster } from '../system/recording.ts'
import { addSettings, readSettings } from './settings.ts'
import { untilSignalled } from './signals.ts'
import { version } from './version.ts'
import { collected, duration, durationOption, positive, timed, whole } from './values.ts'

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
    ...(pendingMs.count === 0
      ? []
      : [
          `waits       p50 ${seconds(pendingMs.p50)}, p95 ${seconds(pendingMs.p95)}, p99 ${seconds(pendingMs.p99)}, longest ${seconds(pendingMs.max)}`,
        ]),
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
        const line = `${seconds(recorder.nowMs)}  nodes seen ${nodes} times, pods ${pods} times, ${bound} binds, ${over} ends, ${Math.ceil(file.bytes / 1024)} KiB`
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
      .option('--for <duration>', 'end after that time, such as 10m or 2d (default: on Ctrl-C)', timed)
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

/** Nobody recorded it, so it began at no time in particular. */
const MADE_AT_MS = Date.UTC(2026, 0, 1)

const writeMade = async (
  out: string,
  source: string,
  made: Parameters<typeof madeTrace>[0],
  untilMs: number,
  json: boolean | undefined,
): Promise<void> => {
  const file = createTraceFile(out, {
    stowageTrace: TRACE_VERSION,
    source,
    startedAtMs: MADE_AT_MS,
    anonymised: false,
    writtenBy: `stowage ${version}`,
  })
  try {
    for (const event of madeTrace(made, { startedAtMs: MADE_AT_MS, untilMs })) file.write(event)
  } finally {
    file.close()
  }
  await printSummary(out, json)
}

interface MakeOptions {
  readonly out: string
  readonly nodes?: number
  readonly nodeShape: string[]
  readonly for: number
  readonly schedulerName: string
  readonly json?: boolean
}

/** The options that every trace that is made shares. */
const makes = (command: Command): Command =>
  command
    .requiredOption('--out <file>', 'the trace to write; it must not exist yet')
    .addOption(durationOption('--for <duration>', 'the time that it lasts', '10m'))
    .option('--scheduler-name <name>', 'spec.schedulerName of the pods', 'stowage')
    .option('--json', 'print what is in it as JSON')

const withNodes = (command: Command): Command =>
  command
    .option('--nodes <number>', 'how many nodes (default: 100, or the counts of the shapes)', whole(0, 16_000))
    .option(
      '--node-shape <shape>',
      'what a node offers, e.g. cpu=16,memory=64Gi,stowage.dev/gpu-milli=8000,count=20; may be given several times',
      collected,
      [] as string[],
    )

const generate = async (options: MakeOptions & { readonly pods: number; readonly seed: number }): Promise<void> => {
  const nodes = nodeShapes(options.nodeShape, options.nodes)
  const { pods, schedulerName } = options
  const random = seededRandom(options.seed)
  const arrivals = syntheticWorkload({ pods, spanMs: options.for, random, nodes, schedulerName })
  await writeMade(
    options.out,
    'synthetic',
    { arrivals, nodes, objects: workloadPriorityClasses },
    options.for,
    options.json,
  )
}

const generateCommand = (): Command =>
  withNodes(
    makes(
      new Command('generate').description(
        'Makes a trace of synthetic pods with documented distributions (docs/simulator/traces.md). Equal seeds make equal files.',
      ),
    ),
  )
    .option('--pods <number>', 'how many pods come', whole(0, 1_000_000), 1000)
    .option('--seed <number>', 'decides everything', whole(0, 999_999_999), 1)
    .addHelpText(
      'after',
      `
Examples:
  stowage trace generate --out small.trace --pods 500 --nodes 20 --for 10m --seed 7
  stowage trace generate --out gpus.trace --node-shape cpu=64,memory=512Gi,stowage.dev/gpu-milli=8000,count=10`,
    )
    .action(generate)

interface ConvertOptions extends MakeOptions {
  readonly pods?: string
  readonly departures: boolean
  readonly request: string[]
  readonly msPerContextToken: number
  readonly msPerGeneratedToken: number
  readonly compression: number
  readonly from: number
}

const quantities = (pairs: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    pairs.flatMap((text) =>
      text.split(',').map((pair): [string, string] => {
        const [name = '', quantity = '', ...rest] = pair.split('=')
        if (name === '' || rest.length > 0 || !(quantityOrNaN(quantity) >= 0))
          throw new StowageError('CONFIG_INVALID_VALUE', {
            found: `--request ${JSON.stringify(pair.slice(0, 64))}`,
            expected: 'resource=quantity, such as cpu=1,memory=4Gi,stowage.dev/gpu-milli=500',
          })
        return [name, quantity]
      }),
    ),
  )

const quantityOrNaN = (text: string): number => {
  try {
    return quantityMilli(text)
  } catch {
    return Number.NaN
  }
}

const convertOpenb = async (folder: string, options: ConvertOptions): Promise<void> => {
  const { schedulerName } = options
  const { arrivals, nodes, speed } = await readOpenb({
    directory: folder,
    spanMs: options.for,
    schedulerName,
    departures: options.departures,
    ...(options.pods === undefined ? {} : { podList: options.pods }),
  })
  const compressed = arrivals.map(({ atMs, pod }): Arrival => {
    const { [DURATION_ANNOTATION]: life, ...others } = pod.metadata?.annotations ?? {}
    if (life === undefined) return { atMs, pod }
    const annotations = { ...others, [DURATION_ANNOTATION]: `${(parseDurationMs(life) / speed).toFixed(3)}ms` }
    return { atMs, pod: { ...pod, metadata: { ...pod.metadata, annotations } } }
  })
  await writeMade(options.out, 'openb', { arrivals: compressed, nodes, objects: [] }, options.for, options.json)
}

const convertAzure = async (list: string, options: ConvertOptions): Promise<void> => {
  const { compression, msPerContextToken, msPerGeneratedToken, schedulerName } = options
  const requests = await readLlmRequests(list, {
    fromS: options.from / 1000,
    lengthS: (options.for * compression) / 1000,
    compression,
  })
  const arrivals = llmPods(requests, {
    schedulerName,
    requests: quantities(options.request),
    msPerContextToken,
    msPerGeneratedToken,
  })
  const nodes = nodeShapes(options.nodeShape, options.nodes)
  await writeMade(options.out, 'azure-llm', { arrivals, nodes, objects: [] }, options.for, options.json)
}

const convertCommand = (): Command =>
  new Command('convert')
    .description('Writes a public trace as one that what-if replays.')
    .addCommand(
      makes(new Command('openb').argument('<folder>', 'the folder of the openb lists'))
        .description("Alibaba's GPU trace of 2023: its nodes, and its pods compressed to --for.")
        .option('--pods <list>', 'which pod list: default, cpu250, gpushare100, ..., or a file name')
        .option('--no-departures', 'pods come to stay')
        .action(convertOpenb),
    )
    .addCommand(
      withNodes(makes(new Command('azure').argument('<file>', 'a list of the Azure LLM inference traces')))
        .description('Requests to language models, a pod for each that runs as long as its tokens take.')
        .requiredOption('--ms-per-context-token <ms>', 'time to read a token of the prompt', positive)
        .requiredOption('--ms-per-generated-token <ms>', 'time to write a token of the answer', positive)
        .option('--request <quantities>', 'what a pod asks for, e.g. cpu=1,stowage.dev/gpu-milli=250', collected, [
          'cpu=1,memory=4Gi',
        ])
        .option('--compression <factor>', 'how many times faster requests come than they were recorded', positive, 1)
        .option('--from <duration>', 'leave out what came before', duration, 0)
        .action(convertAzure),
    )
    .addHelpText(
      'after',
      `
Examples:
  stowage trace convert openb ./openb --pods cpu250 --for 1h --out cpu250.trace
  stowage trace convert azure AzureLLMInferenceTrace_code.csv --for 10m --ms-per-context-token 0.1 --ms-per-generated-token 30 --nodes 20 --out code.trace`,
    )

interface FetchOptions {
  readonly dir: string
  readonly from?: string
  readonly list: string[]
  readonly json?: boolean
}

const fetchFiles = async (trace: string, options: FetchOptions): Promise<void> => {
  if (trace !== 'openb' && trace !== 'azure')
    throw new StowageError('BAD_REQUEST', {
      found: `the trace ${JSON.stringify(trace.slice(0, 64))}`,
      expected: 'openb or azure',
    })
  const { about, address } = PUBLIC_TRACES[trace]
  const stop = untilSignalled(systemClock)
  const files: FetchedFile[] = []
  process.stderr.write(`${about}\nfrom ${options.from ?? address}\n`)
  try {
    await fetchTrace({
      trace,
      directory: options.dir,
      ...(options.from === undefined ? {} : { from: options.from }),
      lists: options.list.flatMap((names) => names.split(',')),
      signal: stop.signal,
      onFile: (file) => {
        files.push(file)
        const how = file.kept ? 'is there already' : file.verified ? 'verified' : 'readable; no hash of it is known'
        process.stderr.write(`${file.name}  ${file.bytes} bytes, ${how}\n`)
      },
    })
    if (options.json) process.stdout.write(`${JSON.stringify({ trace, directory: options.dir, files }, null, 2)}\n`)
  } finally {
    stop.release()
  }
}

const fetchCommand = (): Command =>
  new Command('fetch')
    .argument('<trace>', 'openb or azure')
    .requiredOption('--dir <folder>', 'where to put its files; what is there and right is kept')
    .option('--from <url>', 'a mirror that has the files under their names (default: where their authors publish them)')
    .option('--list <names>', 'further openb pod lists, such as multigpu20,gpuspec33', collected, [] as string[])
    .option('--json', 'print the files as JSON')
    .description('Gets a public trace and checks that it is the one that Stowage is tested with.')
    .addHelpText(
      'after',
      `
Examples:
  stowage trace fetch openb --dir ./openb
  stowage trace fetch azure --dir ./azure-llm
  stowage trace fetch openb --dir ./openb --from http://mirror.example/openb`,
    )
    .action(fetchFiles)

/** `stowage trace` */
export const traceCommand = (): Command =>
  new Command('trace')
    .description('Records what a cluster did, says what is in a trace, and gets or makes others.')
    .addCommand(recordCommand())
    .addCommand(infoCommand())
    .addCommand(fetchCommand())
    .addCommand(generateCommand())
    .addCommand(convertCommand())
