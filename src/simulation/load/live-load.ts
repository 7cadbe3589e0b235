import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Clock, Timer } from '../../clock/clock.ts'
import type { LlmArrivals } from '../traces/llm-requests.ts'
import { exchange, type ExchangeOutcome, type HttpExchange } from './http-exchange.ts'
import { Histogram, type Percentiles } from './histogram.ts'
import type { LoadName, LoadPattern } from './pattern.ts'
import { SCHEDULE_TICK_MS, type ThinkTime, UserScript } from './users.ts'

export interface LiveRequest extends HttpExchange {
  readonly name: string
  readonly weight: number
}

/** Requests at the times of a list, whatever the server does. */
export interface LiveArrivals {
  readonly list: LlmArrivals
  /** what comes while so many are on their way waits, and counts as late */
  readonly inFlightAtMost: number
}

export interface LiveLoadOptions {
  readonly pattern: LoadPattern
  /** beside the pattern's users, until its end */
  readonly arrivals?: LiveArrivals | undefined
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
  readonly pattern: LoadName
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
  /** of a list: whose time came; of those, that were sent only when another had ended; that were never sent */
  readonly arrivals?: { readonly due: number; readonly late: number; readonly unsent: number }
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

/** Users of a closed loop that drive real URLs on a pattern's schedule, or an open loop of arrivals. */
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
  /** of the open loop */
  readonly #agent: HttpAgent | HttpsAgent
  readonly #chooser: UserScript
  #nextArrival: Timer | undefined
  #sent = 0
  #late = 0
  #wanted = 0
  #inFlight = 0
  #startMs = 0
  #over = false

  constructor(options: LiveLoadOptions) {
    this.#options = options
    this.#byRequest = options.mix.map(() => new Tally())
    this.#agent = this.#newAgent(options.arrivals?.inFlightAtMost ?? 1)
    this.#chooser = new UserScript(options.seed, 0, options.mix, options.think)
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
      else {
        tick()
        this.#sendDue()
      }
    })
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs() - this.#startMs
  }

  #newAgent(maxSockets: number): HttpAgent | HttpsAgent {
    const secure = this.#options.mix.some(({ url }) => url.protocol === 'https:')
    return new (secure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets })
  }

  /** Sends what is due and may be on its way, and comes back when the next is due or, at the limit, when one has ended. */
  #sendDue(): void {
    const { arrivals, clock, pattern } = this.#options
    if (arrivals === undefined || this.#over) return
    this.#nextArrival?.cancel()
    while (this.#inFlight < arrivals.inFlightAtMost) {
      const nowMs = this.#nowMs()
      const dueMs = arrivals.list.atMs[this.#sent]
      if (dueMs === undefined || dueMs >= pattern.durationMs) return
      if (dueMs > nowMs) {
        this.#nextArrival = clock.after(dueMs - nowMs, () => {
          this.#delay.record(this.#nowMs() - dueMs)
          this.#sendDue()
        })
        return
      }
      this.#sent++
      void this.#ask(this.#chooser, this.#agent, dueMs, () => {
        const next = arrivals.list.atMs[this.#sent]
        // it was held back until now
        if (this.#inFlight === arrivals.inFlightAtMost - 1 && next !== undefined && next <= this.#nowMs()) this.#late++
        this.#sendDue()
      })
    }
  }

  #follow(wanted: number): void {
    const { mix, seed, think } = this.#options
    this.#wanted = wanted
    for (let number = 0; number < wanted; number++) {
      let user = this.#users[number]
      if (user === undefined) {
        const script = new UserScript(seed, number, mix, think)
        user = { script, agent: this.#newAgent(1), present: false, pause: undefined }
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
      if (number < this.#wanted)
        void this.#ask(user.script, user.agent, this.#nowMs(), () =>
          this.#wakeAfter(number, user, user.script.thinkMs()),
        )
      else user.present = false
    })
  }

  /** @param dueMs when it should be sent: latency counts from then */
  async #ask(script: UserScript, agent: User['agent'], dueMs: number, onEnd: () => void): Promise<void> {
    const { bodyBytes, clock, mix, timeoutMs } = this.#options
    const at = script.nextRequest()
    // a place in the mix
    const request = mix[at]!
    const waitedMs = this.#nowMs() - dueMs
    this.#inFlight++
    const outcome = await exchange(request, agent, { bodyBytes, timeoutMs }, clock, this.#end.signal)
    if (this.#over) return
    this.#inFlight--
    const latencyMs = outcome.kind === 'timeout' ? waitedMs + timeoutMs : this.#nowMs() - dueMs
    // at < length
    for (const tally of [this.#run, this.#second, this.#byRequest[at]!]) tally.count(outcome, latencyMs)
    if (outcome.kind === 'answered') count(this.#statuses, String(outcome.status))
    if (outcome.kind === 'error') count(this.#errors, outcome.code)
    onEnd()
  }

  #closeSecond(lengthMs: number): void {
    const atMs = this.#series.length * SECOND_MS
    const second: LiveSecond = { atMs, users: this.#options.pattern.usersAt(atMs), ...this.#second.told() }
    this.#second.clear()
    this.#series.push(second)
    if (lengthMs === SECOND_MS) this.#options.onSecond?.(second)
  }

  #finish(): LiveReport {
    const { arrivals, mix, pattern, seed } = this.#options
    const durationMs = Math.min(this.#nowMs(), pattern.durationMs)
    const restMs = durationMs - this.#series.length * SECOND_MS
    if (restMs > 0) this.#closeSecond(restMs)
    for (const user of this.#users) user.pause?.cancel()
    this.#end.abort()
    this.#nextArrival?.cancel()
    for (const { agent } of [...this.#users, { agent: this.#agent }]) agent.destroy()
    const whole = this.#run.told()
    const isDue = (atMs: number): boolean => atMs <= durationMs && atMs < pattern.durationMs
    const due = arrivals?.list.atMs.reduce((sum, atMs) => sum + (isDue(atMs) ? 1 : 0), 0)
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
      ...(due === undefined ? {} : { arrivals: { due, late: this.#late, unsent: due - this.#sent } }),
      generatorDelayMs: this.#delay.percentiles(),
      series: this.#series,
    }
  }
}

const count = (counts: Map<string, number>, code: string): void => {
  const kept = counts.has(code) || counts.size < CODES_AT_MOST ? code : 'OTHER'
  counts.set(kept, (counts.get(kept) ?? 0) + 1)
}
