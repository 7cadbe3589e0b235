import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Clock, Timer } from '../../clock/clock.ts'
import { exchange, type ExchangeOutcome, type HttpExchange } from './http-exchange.ts'
import { Histogram, type Percentiles } from './histogram.ts'
import type { LoadPattern, PatternName } from './pattern.ts'
import { SCHEDULE_TICK_MS, type ThinkTime, UserScript } from './users.ts'

export interface LiveRequest extends HttpExchange {
  readonly name: string
  readonly weight: number
}

export interface LiveLoadOptions {
  readonly pattern: LoadPattern
  readonly mix: readonly LiveRequest[]
  readonly think: ThinkTime
  /** the users' choices and think times, as in a simulation with this seed */
  readonly seed: number
  /** of a whole request */
  readonly timeoutMs: number
  /** an answer with more is cut off and counts as failed */
  readonly bodyBytes: number
  readonly clock: Clock
  /** ends the run at once, with the report so far */
  readonly signal: AbortSignal
  /** called with each whole second */
  readonly onSecond?: (second: LiveSecond) => void
}

/** What happened in one second. */
export interface LiveSecond {
  readonly atMs: number
  readonly users: number
  readonly requests: number
  readonly succeeded: number
  readonly failed: number
  readonly timedOut: number
  readonly latencyMs: Percentiles
}

export interface LiveTally {
  /** ended: answered, failed or given up */
  readonly requests: number
  /** answered with a status below 400 */
  readonly succeeded: number
  /** answered with 400 or more, or not answered */
  readonly failed: number
  readonly timedOut: number
  /** of all requests that were answered, whatever the status, and of those given up, at the time-out */
  readonly latencyMs: Percentiles
}

export interface LiveReport extends LiveTally {
  readonly pattern: PatternName
  readonly seed: number
  /** that were asked for */
  readonly plannedMs: number
  /** that it took: less if it was stopped */
  readonly durationMs: number
  readonly stopped: boolean
  readonly minUsers: number
  readonly maxUsers: number
  /** successes a second */
  readonly throughput: number
  /** failed and timed out of all requests, 0 to 1 */
  readonly errorRate: number
  /** on their way when the run ended; in no other number */
  readonly unfinished: number
  readonly statuses: Readonly<Record<string, number>>
  /** by Node's or OpenSSL's code */
  readonly errors: Readonly<Record<string, number>>
  readonly byRequest: readonly (LiveTally & { readonly name: string })[]
  /** How late this program itself was in what users should have done: where that is not small, latencies are its own and not the server's. */
  readonly generatorDelayMs: Percentiles
  readonly series: readonly LiveSecond[]
}

const SECOND_MS = 1000
/** Different error codes that are told apart; the rest counts as `OTHER`. */
const CODES_AT_MOST = 50

class Tally {
  readonly latency = new Histogram()
  succeeded = 0
  failed = 0
  timedOut = 0

  clear(): void {
    this.latency.clear()
    this.succeeded = this.failed = this.timedOut = 0
  }

  count(outcome: ExchangeOutcome, latencyMs: number): void {
    if (outcome.kind === 'timeout') this.timedOut++
    else if (outcome.kind === 'answered' && outcome.status < 400) this.succeeded++
    else this.failed++
    if (outcome.kind !== 'error') this.latency.record(latencyMs)
  }

  told(): LiveTally {
    const { failed, latency, succeeded, timedOut } = this
    return {
      requests: succeeded + failed + timedOut,
      succeeded,
      failed,
      timedOut,
      latencyMs: latency.percentiles(),
    }
  }
}

interface User {
  readonly script: UserScript
  /** one connection each, kept between requests, as a Locust user's session */
  readonly agent: HttpAgent | HttpsAgent
  present: boolean
  /** until its next request */
  pause: Timer | undefined
}

/** Users of a closed loop that drive real URLs on a pattern's schedule. */
export class LiveLoad {
  readonly #options: LiveLoadOptions
  readonly #users: User[] = []
  readonly #run = new Tally()
  readonly #second = new Tally()
  readonly #byRequest: readonly Tally[]
  readonly #delay = new Histogram()
  readonly #statuses = new Map<string, number>()
  readonly #errors = new Map<string, number>()
  readonly #series: LiveSecond[] = []
  /** calls off requests that are on their way when the run ends */
  readonly #end = new AbortController()
  #wanted = 0
  #inFlight = 0
  #startMs = 0
  #over = false

  constructor(options: LiveLoadOptions) {
    this.#options = options
    this.#byRequest = options.mix.map(() => new Tally())
  }

  /** Requests that have been sent and have not ended. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** To the end of the pattern, or until the signal; never rejects. May be called once. */
  run(): Promise<LiveReport> {
    const { clock, pattern, signal } = this.#options
    this.#startMs = clock.monotonicMs()
    return new Promise((resolve) => {
      let timer: Timer | undefined
      const finish = (): void => {
        if (this.#over) return
        this.#over = true
        timer?.cancel()
        signal.removeEventListener('abort', finish)
        resolve(this.#finish())
      }
      let ticks = 0
      const tick = (): void => {
        const nowMs = this.#nowMs()
        if (ticks > 0) this.#delay.record(nowMs - ticks * SCHEDULE_TICK_MS)
        while ((this.#series.length + 1) * SECOND_MS <= nowMs) this.#closeSecond(SECOND_MS)
        if (nowMs >= pattern.durationMs) {
          finish()
          return
        }
        this.#follow(pattern.usersAt(nowMs))
        // ticks that came too late are left out
        ticks = Math.floor(nowMs / SCHEDULE_TICK_MS) + 1
        timer = clock.after(Math.min(ticks * SCHEDULE_TICK_MS, pattern.durationMs) - nowMs, tick)
      }
      signal.addEventListener('abort', finish, { once: true })
      if (signal.aborted) finish()
      else tick()
    })
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs() - this.#startMs
  }

  #follow(wanted: number): void {
    const { mix, seed, think } = this.#options
    this.#wanted = wanted
    for (let number = 0; number < wanted; number++) {
      let user = this.#users[number]
      if (user === undefined) {
        const secure = mix.some(({ url }) => url.protocol === 'https:')
        const agent = new (secure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1 })
        user = { script: new UserScript(seed, number, mix, think), agent, present: false, pause: undefined }
        this.#users.push(user)
      }
      if (user.present) continue
      user.present = true
      this.#wakeAfter(number, user, user.script.arrivalDelayMs())
    }
  }

  #wakeAfter(number: number, user: User, delayMs: number): void {
    const dueMs = this.#nowMs() + delayMs
    user.pause = this.#options.clock.after(delayMs, () => {
      user.pause = undefined
      this.#delay.record(this.#nowMs() - dueMs)
      if (number < this.#wanted) void this.#ask(number, user)
      else user.present = false
    })
  }

  async #ask(number: number, user: User): Promise<void> {
    const { bodyBytes, clock, mix, timeoutMs } = this.#options
    const at = user.script.nextRequest()
    // a place in the mix
    const request = mix[at]!
    const startMs = this.#nowMs()
    this.#inFlight++
    const outcome = await exchange(request, user.agent, { bodyBytes, timeoutMs }, clock, this.#end.signal)
    if (this.#over) return
    this.#inFlight--
    const latencyMs = outcome.kind === 'timeout' ? timeoutMs : this.#nowMs() - startMs
    // at < length
    for (const tally of [this.#run, this.#second, this.#byRequest[at]!]) tally.count(outcome, latencyMs)
    if (outcome.kind === 'answered') count(this.#statuses, String(outcome.status))
    if (outcome.kind === 'error') count(this.#errors, outcome.code)
    this.#wakeAfter(number, user, user.script.thinkMs())
  }

  #closeSecond(lengthMs: number): void {
    const atMs = this.#series.length * SECOND_MS
    const second: LiveSecond = { atMs, users: this.#options.pattern.usersAt(atMs), ...this.#second.told() }
    this.#second.clear()
    this.#series.push(second)
    if (lengthMs === SECOND_MS) this.#options.onSecond?.(second)
  }

  #finish(): LiveReport {
    const { mix, pattern, seed } = this.#options
    const durationMs = Math.min(this.#nowMs(), pattern.durationMs)
    const restMs = durationMs - this.#series.length * SECOND_MS
    if (restMs > 0) this.#closeSecond(restMs)
    for (const user of this.#users) user.pause?.cancel()
    this.#end.abort()
    for (const { agent } of this.#users) agent.destroy()
    const whole = this.#run.told()
    return {
      pattern: pattern.name,
      seed,
      plannedMs: pattern.durationMs,
      durationMs,
      stopped: durationMs < pattern.durationMs,
      minUsers: pattern.minUsers,
      maxUsers: pattern.maxUsers,
      ...whole,
      throughput: durationMs > 0 ? (1000 * whole.succeeded) / durationMs : 0,
      errorRate: whole.requests > 0 ? (whole.failed + whole.timedOut) / whole.requests : 0,
      unfinished: this.#inFlight,
      statuses: Object.fromEntries(this.#statuses),
      errors: Object.fromEntries(this.#errors),
      // as many as in the mix
      byRequest: mix.map(({ name }, at) => ({ name, ...this.#byRequest[at]!.told() })),
      generatorDelayMs: this.#delay.percentiles(),
      series: this.#series,
    }
  }
}

const count = (counts: Map<string, number>, code: string): void => {
  const kept = counts.has(code) || counts.size < CODES_AT_MOST ? code : 'OTHER'
  counts.set(kept, (counts.get(kept) ?? 0) + 1)
}
