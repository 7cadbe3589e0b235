import { Command, InvalidArgumentError, Option } from 'commander'
import { systemClock } from '../clock/clock.ts'
import { StowageError } from '../errors/catalogue.ts'
import { policyNames } from '../policies/registry.ts'
import { LiveLoad, type LiveReport, type LiveSecond } from '../simulation/load/live-load.ts'
import { writeLiveReport, writeLoadRun } from '../simulation/load/load-results.ts'
import { type LoadRunResult, runLoad } from '../simulation/load/load-run.ts'
import { createPattern, PATTERN_NAMES, type PatternName } from '../simulation/load/pattern.ts'
import { plainRequest, readRequestMix, targetUrl } from '../simulation/load/request-file.ts'
import { readLoadScenario } from '../simulation/load/scenario-file.ts'
import { DEFAULT_THINK_TIME, type ThinkTime } from '../simulation/load/users.ts'
import { parseDurationMs } from '../simulation/pod-stages.ts'
import { provenance } from './provenance.ts'
import { untilSignalled } from './signals.ts'

interface LoadOptions {
  readonly url?: string
  readonly simulate?: string
  readonly pattern: readonly PatternName[]
  readonly duration: number
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
/** Of an answer: a model's output is far below, and an attack must end somewhere. */
const BODY_BYTES_AT_MOST = 64 * 2 ** 20
/** Where this program was later than that, its latencies are not the server's. */
const LATE_MS = 50

const whole =
  (least: number, most: number) =>
  (text: string): number => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= least && value <= most))
      throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}`)
    return value
  }

const duration = (text: string): number => {
  let ms = Number.NaN
  try {
    ms = parseDurationMs(text)
  } catch {
    // told below
  }
  if (!(ms > 0)) throw new InvalidArgumentError('expected a duration such as 30s, 5m or 1h30m')
  return ms
}

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

const renderLive = (report: LiveReport): string => {
  const { byRequest, durationMs, errorRate, errors, failed, latencyMs, requests, statuses, stopped, succeeded } = report
  const lines = [
    `${report.pattern}, ${report.minUsers} to ${report.maxUsers} users, ${(durationMs / 1000).toFixed(1)} s${stopped ? ' (stopped)' : ''}, seed ${report.seed}`,
    `${requests} requests: ${succeeded} answered (${perSecond(report.throughput)}), ${failed} failed, ${report.timedOut} timed out, ${report.unfinished} unfinished; errors ${(100 * errorRate).toFixed(2)} %`,
    `latency of the run: ${latencies(latencyMs)}, max ${milliseconds(latencyMs.max)}`,
  ]
  if (Object.keys(statuses).length > 0) lines.push(`statuses ${counts(statuses)}`)
  if (Object.keys(errors).length > 0) lines.push(`errors ${counts(errors)}`)
  if (byRequest.length > 1)
    for (const one of byRequest) lines.push(`  ${one.name}: ${one.requests} requests, ${latencies(one.latencyMs)}`)
  return `${lines.join('\n')}\n`
}

const renderSimulated = (results: readonly LoadRunResult[]): string =>
  results
    .map(({ durationMs, maxUsers, minUsers, pattern, policy, scenario, scalings, seed, summary }) => {
      const { cpuShare, failed, gpuShare, latencyMs, requests, throughput, timedOut } = summary
      return (
        `${scenario}, ${pattern}, ${minUsers} to ${maxUsers} users, ${durationMs / 1000} s, policy ${policy}, seed ${seed}\n` +
        `  ${requests} requests: ${perSecond(throughput)} answered, ${failed} failed, ${timedOut} timed out\n` +
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

const drive = async (url: string, options: LoadOptions): Promise<void> => {
  const base = targetUrl(url)
  const { maxUsers, minUsers, pattern: names, seed, think = DEFAULT_THINK_TIME, timeout: timeoutMs } = options
  const [name, ...others] = names
  if (name === undefined || others.length > 0)
    throw new StowageError('CONFIG_CONFLICT', {
      found: `the patterns ${names.join(', ')} with --url`,
      expected: 'one pattern at a time',
    })
  const pattern = createPattern({ name, durationMs: options.duration, minUsers, maxUsers, seed })
  const mix = options.requests === undefined ? [plainRequest(base)] : await readRequestMix(options.requests, base)
  const stop = untilSignalled(systemClock)
  try {
    const report = await new LiveLoad({
      pattern,
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

const simulate = async (file: string, options: LoadOptions): Promise<void> => {
  for (const flag of ['requests', 'think', 'timeout'] as const)
    if (options[flag] !== undefined) throw onlyWith(`--${flag}`, '--simulate (its file says that)')
  const scenario = await readLoadScenario(file)
  const { duration: durationMs, maxUsers, minUsers, pattern: names, policy, seed } = options
  const results: LoadRunResult[] = []
  for (const name of names) {
    const result = runLoad({ scenario, pattern: { name, durationMs, minUsers, maxUsers }, seed, policy })
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
      'Users in a closed loop: each asks, waits for the answer, thinks, and asks again; how many there are follows a pattern. They drive a real URL, or a simulated service. Ctrl-C ends it with the report so far.',
    )
    .option('--url <address>', 'the server to drive')
    .option('--simulate <file>', 'a scenario to run in simulated time instead (docs/simulator/load.md)')
    .option(
      '--pattern <name>',
      `how many users there are when: ${PATTERN_NAMES.join(', ')}; simulated also several, or all`,
      patterns,
      ['ramp'],
    )
    .option('--duration <duration>', 'how long', duration, 300_000)
    .option('--min-users <number>', 'the fewest users (default: 0 for ramp, 20 for spike, else 10)', whole(0, 100_000))
    .option('--max-users <number>', 'the most users (default: 100)', whole(0, 100_000))
    .option('--seed <number>', 'decides everything that is drawn', whole(0, 2 ** 31 - 1), 1)
    .option('--think <range>', 'how long users think between answer and request (default: 1s-2s)', thinkTime)
    .option('--timeout <duration>', 'of a whole request (default: 30s)', duration)
    .option('--requests <file>', 'what users ask, in YAML or JSON (default: GET the address)')
    .addOption(
      new Option('--policy <name>', 'who places the replicas of the scenario (default: as it says)').choices([
        ...policyNames,
      ]),
    )
    .option('--out <folder>', 'keep the figures there, in all and second by second')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  stowage load --pattern spike --url http://localhost:8000/v2/health/ready --duration 60s --json
  stowage load --pattern ramp --url https://model.example --requests mix.yaml --max-users 50 --out results/live
  stowage load --simulate configs/experiments/scenarios/service-hpa.yaml --pattern all`,
    )
    .action(load)
