import { Command, InvalidArgumentError, Option } from 'commander'
import { systemClock } from '../clock/clock.ts'
import { StowageError } from '../errors/catalogue.ts'
import { policyNames } from '../policies/registry.ts'
import { LiveLoad, type LiveReport, type LiveSecond } from '../simulation/load/live-load.ts'
import { writeLiveReport, writeLoadRun } from '../simulation/load/load-results.ts'
import {
  type ArrivalLoad,
  type LoadRunResult,
  type LoadScenario,
  readArrivals,
  runLoad,
  type UserLoad,
  WHOLE_LIST,
} from '../simulation/load/load-run.ts'
import { ARRIVALS, createPattern, PATTERN_NAMES, type PatternName, withoutUsers } from '../simulation/load/pattern.ts'
import { plainRequest, readRequestMix, targetUrl } from '../simulation/load/request-file.ts'
import { readLoadScenario } from '../simulation/load/scenario-file.ts'
import { DEFAULT_THINK_TIME, type ThinkTime } from '../simulation/load/users.ts'
import { provenance } from './provenance.ts'
import { untilSignalled } from './signals.ts'
import { duration, policyValue, positive, whole } from './values.ts'

interface LoadOptions {
  readonly url?: string
  readonly simulate?: string
  readonly pattern?: readonly PatternName[]
  readonly arrivals?: string
  readonly from?: number
  readonly compression?: number
  readonly inFlight?: number
  readonly duration?: number
  readonly minUsers?: number
  readonly maxUsers?: number
  readonly seed: number
  readonly think?: ThinkTime
  readonly timeout?: number
  readonly requests?: string
  readonly policy?: string
  readonly out?: string
  readonly json?: boolean
}

const DEFAULT_TIMEOUT_MS = 30_000
const DEFAULT_DURATION_MS = 300_000
const DEFAULT_PATTERN: readonly PatternName[] = ['ramp']
const DEFAULT_IN_FLIGHT = 1000
const SECOND_MS = 1000
/** A simulated run of a week has an entry a minute or so, and not one a second. */
const SAMPLES_AT_MOST = 10_000
/** Of an answer: a model's output is far below, and an attack must end somewhere. */
const BODY_BYTES_AT_MOST = 64 * 2 ** 20
/** Where this program was later than that, its latencies are not the server's. */
const LATE_MS = 50

const patterns = (text: string): PatternName[] => {
  if (text === 'all') return [...PATTERN_NAMES]
  const names = text.split(',')
  const known = PATTERN_NAMES.filter((name) => names.includes(name))
  if (known.length !== names.length)
    throw new InvalidArgumentError(`expected some of ${PATTERN_NAMES.join(', ')} with commas between them, or all`)
  return known
}

const thinkTime = (text: string): ThinkTime => {
  const [from = '', to = from, ...rest] = text.split('-')
  const zeroOrMore = (part: string): number => (/^0+(ms|s)?$/.test(part) ? 0 : duration(part))
  const think = { minMs: zeroOrMore(from), maxMs: zeroOrMore(to) }
  if (rest.length > 0 || think.minMs > think.maxMs) throw new InvalidArgumentError('expected a range such as 1s-2s')
  return think
}

const perSecond = (value: number): string => `${value.toFixed(1)}/s`
const milliseconds = (value: number): string => `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`

const latencies = ({ p50, p95, p99 }: { readonly p50: number; readonly p95: number; readonly p99: number }): string =>
  `p50 ${milliseconds(p50)}, p95 ${milliseconds(p95)}, p99 ${milliseconds(p99)}`

const counts = (kinds: Readonly<Record<string, number>>): string =>
  Object.entries(kinds)
    .map(([kind, count]) => `${kind}: ${count}`)
    .join(', ')

/** Who makes the load. */
const loadOf = (run: Pick<LoadRunResult, 'maxUsers' | 'minUsers' | 'pattern'>): string =>
  run.pattern === ARRIVALS ? ARRIVALS : `${run.pattern}, ${run.minUsers} to ${run.maxUsers} users`

const renderLive = (report: LiveReport): string => {
  const { byRequest, durationMs, errorRate, errors, failed, latencyMs, requests, statuses, stopped, succeeded } = report
  const lines = [
    `${loadOf(report)}, ${(durationMs / 1000).toFixed(1)} s${stopped ? ' (stopped)' : ''}, seed ${report.seed}`,
    `${requests} requests: ${succeeded} answered (${perSecond(report.throughput)}), ${failed} failed, ${report.timedOut} timed out, ${report.unfinished} unfinished; errors ${(100 * errorRate).toFixed(2)} %`,
    `latency of the run: ${latencies(latencyMs)}, max ${milliseconds(latencyMs.max)}`,
  ]
  if (report.arrivals !== undefined)
    lines.push(
      `of ${report.arrivals.due} due, ${report.arrivals.late} were sent late and ${report.arrivals.unsent} not`,
    )
  if (Object.keys(statuses).length > 0) lines.push(`statuses ${counts(statuses)}`)
  if (Object.keys(errors).length > 0) lines.push(`errors ${counts(errors)}`)
  if (byRequest.length > 1)
    for (const one of byRequest) lines.push(`  ${one.name}: ${one.requests} requests, ${latencies(one.latencyMs)}`)
  return `${lines.join('\n')}\n`
}

const renderSimulated = (results: readonly LoadRunResult[]): string =>
  results
    .map((run) => {
      const { durationMs, policy, scenario, scalings, seed, summary, unfinished } = run
      const { cpuShare, failed, gpuShare, latencyMs, requests, throughput, timedOut } = summary
      return (
        `${scenario}, ${loadOf(run)}, ${durationMs / 1000} s, policy ${policy}, seed ${seed}\n` +
        `  ${requests} requests: ${perSecond(throughput)} answered, ${failed} failed, ${timedOut} timed out, ${unfinished} unfinished\n` +
        `  latency of the run: ${latencies(latencyMs)}\n` +
        `  busy: ${(100 * cpuShare).toFixed(1)} % of the cores, ${(100 * gpuShare).toFixed(1)} % of the GPUs; scaled ${scalings.length} times\n`
      )
    })
    .join('\n')

const showSecond = ({ atMs, latencyMs, requests, users }: LiveSecond): void => {
  if (!process.stderr.isTTY) return
  process.stderr.write(
    `\r${atMs / 1000 + 1} s: ${users} users, ${requests} requests, p95 ${milliseconds(latencyMs.p95)}\u001B[K`,
  )
}

const onlyWith = (flag: string, other: string): StowageError =>
  new StowageError('CONFIG_CONFLICT', { found: `${flag} with ${other}`, expected: 'one of them' })

/** With a list there are no users. */
const withoutUserFlags = (options: LoadOptions): void => {
  for (const [flag, name] of [
    ['pattern', '--pattern'],
    ['minUsers', '--min-users'],
    ['maxUsers', '--max-users'],
    ['think', '--think'],
  ] as const)
    if (options[flag] !== undefined) throw onlyWith(name, 'arrivals (nobody waits for an answer to ask again)')
}

/** What only makes sense with a list. */
const withoutListFlags = (options: LoadOptions): void => {
  for (const [flag, name] of [
    ['from', '--from'],
    ['compression', '--compression'],
    ['inFlight', '--in-flight'],
  ] as const)
    if (options[flag] !== undefined)
      throw new StowageError('CONFIG_CONFLICT', { found: `${name} without arrivals`, expected: '--arrivals FILE' })
}

/** The load of a live run. */
const liveLoad = async (options: LoadOptions) => {
  const { arrivals: file, compression = 1, duration: durationMs, from: fromMs = 0, inFlight, seed } = options
  if (file !== undefined) {
    withoutUserFlags(options)
    const load = await readArrivals({ file, fromMs, compression }, durationMs)
    const arrivals = { list: load.list, inFlightAtMost: inFlight ?? DEFAULT_IN_FLIGHT }
    return { pattern: withoutUsers(load.durationMs, seed), arrivals }
  }
  withoutListFlags(options)
  const { maxUsers, minUsers, pattern: names = DEFAULT_PATTERN } = options
  const [name, ...others] = names
  if (name === undefined || others.length > 0)
    throw new StowageError('CONFIG_CONFLICT', {
      found: `the patterns ${names.join(', ')} with --url`,
      expected: 'one pattern at a time',
    })
  return { pattern: createPattern({ name, durationMs: durationMs ?? DEFAULT_DURATION_MS, minUsers, maxUsers, seed }) }
}

const drive = async (url: string, options: LoadOptions): Promise<void> => {
  const base = targetUrl(url)
  const { seed, think = DEFAULT_THINK_TIME, timeout: timeoutMs } = options
  const load = await liveLoad(options)
  const mix = options.requests === undefined ? [plainRequest(base)] : await readRequestMix(options.requests, base)
  const stop = untilSignalled(systemClock)
  try {
    const report = await new LiveLoad({
      ...load,
      mix,
      think,
      seed,
      timeoutMs: timeoutMs ?? DEFAULT_TIMEOUT_MS,
      bodyBytes: BODY_BYTES_AT_MOST,
      clock: systemClock,
      signal: stop.signal,
      onSecond: showSecond,
    }).run()
    if (process.stderr.isTTY) process.stderr.write('\r\u001B[K')
    if (report.generatorDelayMs.p95 > LATE_MS)
      process.stderr.write(
        `stowage: this program itself was late (p95 ${milliseconds(report.generatorDelayMs.p95)}): latencies are partly its own; use fewer users or another machine\n`,
      )
    if (options.out !== undefined) await writeLiveReport(options.out, report, provenance())
    process.stdout.write(options.json ? `${JSON.stringify({ url: base.href, ...report })}\n` : renderLive(report))
    // Nothing but errors is an answer that scripts must not take for a success.
    if (report.requests > 0 && report.succeeded === 0) process.exitCode = 1
  } finally {
    stop.release()
  }
}

/** The arrivals that the scenario or the command line names; the command line's word counts. */
const simulatedArrivals = (scenario: LoadScenario, options: LoadOptions): Promise<ArrivalLoad> => {
  withoutUserFlags(options)
  const { arrivals: file, compression, duration: durationMs, from: fromMs } = options
  const said = scenario.arrivals ?? WHOLE_LIST
  return readArrivals(
    {
      ...said,
      file: file ?? said.file,
      fromMs: fromMs ?? said.fromMs,
      compression: compression ?? said.compression,
    },
    durationMs,
  )
}

const simulate = async (file: string, options: LoadOptions): Promise<void> => {
  for (const flag of ['requests', 'think', 'timeout', 'inFlight'] as const)
    if (options[flag] !== undefined)
      throw onlyWith(flag === 'inFlight' ? '--in-flight' : `--${flag}`, '--simulate (its file says that)')
  const scenario = await readLoadScenario(file)
  const { duration: durationMs, maxUsers, minUsers, policy, seed } = options
  const results: LoadRunResult[] = []
  const byUsers = (name: PatternName): UserLoad => ({
    name,
    durationMs: durationMs ?? DEFAULT_DURATION_MS,
    minUsers,
    maxUsers,
  })
  const isOpenLoop = scenario.arrivals !== undefined || options.arrivals !== undefined
  if (!isOpenLoop) withoutListFlags(options)
  const loads = isOpenLoop
    ? [await simulatedArrivals(scenario, options)]
    : (options.pattern ?? DEFAULT_PATTERN).map(byUsers)
  for (const pattern of loads) {
    const sampleMs = SECOND_MS * Math.ceil(pattern.durationMs / SECOND_MS / SAMPLES_AT_MOST)
    const result = runLoad({ scenario, pattern, seed, policy, sampleMs })
    results.push(result)
    if (options.out !== undefined) await writeLoadRun(options.out, result, provenance())
  }
  process.stdout.write(options.json ? `${JSON.stringify({ runs: results })}\n` : renderSimulated(results))
}

const load = (options: LoadOptions): Promise<void> => {
  const { simulate: file, url } = options
  if (url !== undefined && file !== undefined) throw onlyWith('--url', '--simulate')
  if (url !== undefined) {
    if (options.policy !== undefined) throw onlyWith('--policy', '--url')
    return drive(url, options)
  }
  if (file !== undefined) return simulate(file, options)
  throw new StowageError('BAD_REQUEST', {
    found: 'neither --url nor --simulate',
    expected: '--url ADDRESS to drive a server, or --simulate FILE to run a scenario in simulated time',
  })
}

/** `stowage load` */
export const loadCommand = (): Command =>
  new Command('load')
    .description(
      'Users in a closed loop: each asks, waits for the answer, thinks, and asks again; how many there are follows a pattern. Or an open loop: requests at the times of a trace. They drive a real URL, or a simulated service. Ctrl-C ends it with the report so far.',
    )
    .option('--url <address>', 'the server to drive')
    .option('--simulate <file>', 'a scenario to run in simulated time instead (docs/simulator/load.md)')
    .option(
      '--pattern <name>',
      `how many users there are when: ${PATTERN_NAMES.join(', ')}; simulated also several, or all (default: ramp)`,
      patterns,
    )
    .option('--arrivals <file>', 'a list of the Azure LLM traces: requests come at its times, and there are no users')
    .option('--from <duration>', 'leave out what came before in the list (default: 0)', duration)
    .option('--compression <factor>', 'how many times faster than in the list requests come (default: 1)', positive)
    .option(
      '--in-flight <number>',
      `requests of the list on their way to the address at most; others wait (default: ${DEFAULT_IN_FLIGHT})`,
      whole(1, 10_000),
    )
    .option('--duration <duration>', 'how long (default: 300s; with arrivals to the end of the list)', duration)
    .option('--min-users <number>', 'the fewest users (default: 0 for ramp, 20 for spike, else 10)', whole(0, 100_000))
    .option('--max-users <number>', 'the most users (default: 100)', whole(0, 100_000))
    .option('--seed <number>', 'decides everything that is drawn', whole(0, 2 ** 31 - 1), 1)
    .option('--think <range>', 'how long users think between answer and request (default: 1s-2s)', thinkTime)
    .option('--timeout <duration>', 'of a whole request (default: 30s)', duration)
    .option('--requests <file>', 'what users ask, in YAML or JSON (default: GET the address)')
    .addOption(
      new Option(
        '--policy <name>',
        `who places the replicas of the scenario: ${policyNames.join(', ')}, formula:FILE (default: as it says)`,
      ).argParser(policyValue),
    )
    .option('--out <folder>', 'keep the figures there, in all and second by second')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  stowage load --pattern spike --url http://localhost:8000/v2/health/ready --duration 60s --json
  stowage load --pattern ramp --url https://model.example --requests mix.yaml --max-users 50 --out results/live
  stowage load --simulate configs/experiments/scenarios/service-hpa.yaml --pattern all
  stowage load --simulate configs/experiments/scenarios/llm.yaml --arrivals AzureLLMInferenceTrace_conv.csv
  stowage load --url http://localhost:8000/ --requests mix.yaml --arrivals AzureLLMInferenceTrace_code.csv --compression 2 --duration 5m`,
    )
    .action(load)
