import type http from 'node:http'
import type { Clock } from '../../clock/clock.ts'
import { sleep } from '../../clock/clock.ts'
import type { Random } from '../../clock/random.ts'
import { hasModel, isLoopback } from '../../configuration/model-access.ts'
import type { Configuration } from '../../configuration/schema.ts'
import { StowageError } from '../../errors/catalogue.ts'
import type { Log } from '../../telemetry/log.ts'
import { type BreakerState, CircuitBreaker } from './breaker.ts'
import { Budget } from './budget.ts'
import { type ListedModel, type Prices, readCompletion, readModelList } from './completion.ts'
import { agentFor, exchange } from './exchange.ts'
import { ModelFailure } from './failure.ts'

export interface LanguageModelOptions {
  readonly settings: Configuration['llm']
  readonly breaker: Configuration['circuitBreaker']
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** told of every question that has ended */
  readonly onAnswered?: (durationMs: number, succeeded: boolean) => void
}

export interface Question<T> {
  readonly messages: readonly { readonly role: 'system' | 'user'; readonly content: string }[]
  /** of the answer, in the subset that every server understands: all required, nothing additional, no limits */
  readonly schema: { readonly name: string; readonly schema: object }
  readonly maxTokens: number
  /** What the text means; undefined: nothing. */
  readonly read: (text: string) => T | undefined
}

/** Why the model is not to be asked now. */
export type Unavailable = 'breaker_open' | 'credits_used_up' | 'rate_limited' | 'request_budget' | 'money_budget'

export interface ModelStatistics {
  /** questions that were answered so that it made sense */
  readonly successful: number
  readonly failed: number
  /** HTTP requests, with retries and hedges */
  readonly requests: number
  readonly retries: number
  readonly hedges: number
  readonly promptTokens: number
  readonly completionTokens: number
  /** since the start */
  readonly dollars: number
  /** sum over the questions that were answered or failed */
  readonly responseMs: number
  readonly breaker: BreakerState
  readonly breakerTrips: number
}

/** Answers are a few hundred bytes; servers add some of their own. */
const ANSWER_BYTES = 256 * 1024
/** The router's list has thousands of entries. */
const LIST_BYTES = 8 * 1024 * 1024
const LIST_TIMEOUT_MS = 10_000
const RETRY_AFTER_AT_MOST_MS = 3_600_000
/** Credits do not come back by themselves; a token is not mended by asking again. */
const HOLD_MS: ReadonlyMap<number, number> = new Map([
  [401, 300_000],
  [402, 3_600_000],
  [403, 300_000],
  [404, 300_000],
])
const REFUSALS: ReadonlyMap<number, string> = new Map([
  [401, 'it does not take the token (401)'],
  [402, 'the credits are used up (402)'],
  [403, 'the token may not use the model (403)'],
  [404, 'it does not have the model, or no chat completions at that address (404)'],
])
/** Where neither settings nor the server name a price: dearer than most, so that the budget is kept. */
const ASSUMED_PRICES: Prices = { input: 1, output: 1 }
const FREE: Prices = { input: 0, output: 0 }
/** Of English text; where the server does not count for us. */
const BYTES_PER_TOKEN = 4

/** Shorter tokens are placeholders for servers that take any. */
const SECRET_LENGTH = 8

/** One server with one model. */
interface Provider {
  readonly url: URL
  readonly agent: http.Agent
  readonly model: string
  readonly token: string | undefined
  prices: Prices
  /** how it is spoken to; the number of one of DIALECTS */
  dialect: number
  /** no other dialect is tried any more */
  settled: boolean
}

/** Ways to ask for the same, for servers that refuse a request that has what they do not know. */
interface Dialect {
  /** asks for JSON of a schema */
  readonly schema: boolean
  /** says `max_tokens` and a temperature, which OpenAI's reasoning models refuse */
  readonly classic: boolean
}

const DIALECTS: readonly Dialect[] = [
  { schema: true, classic: true },
  { schema: true, classic: false },
  { schema: false, classic: true },
]

/** `https://host/v1` and `https://host` mean the same. */
const pathOf = (endpoint: string, path: string): URL => new URL(`${endpoint.replace(/(\/v1)?\/*$/, '')}/v1/${path}`)

/**
 * A language model behind an OpenAI-compatible server, asked with everything that keeps a bad server from doing harm:
 * deadline, retries, Retry-After, circuit breaker, a second server, and budgets of requests and money. Shared by all who ask.
 */
export class LanguageModel {
  readonly #options: LanguageModelOptions
  readonly #budget: Budget
  readonly #breaker: CircuitBreaker
  readonly #providers: readonly Provider[]
  readonly #closing = new AbortController()
  readonly #told = new Set<string>()
  #quietUntilMs = 0
  #creditsUntilMs = 0
  #successful = 0
  #failed = 0
  #requests = 0
  #retries = 0
  #hedges = 0
  #promptTokens = 0
  #completionTokens = 0
  #dollars = 0
  #responseMs = 0

  constructor(options: LanguageModelOptions) {
    const { settings, breaker, clock } = options
    this.#options = options
    this.#budget = new Budget(settings, clock)
    this.#breaker = new CircuitBreaker(breaker, clock)
    const { endpoint, hedgeEndpoint, hedgeModel, hedgeToken, model, token } = settings
    this.#providers = [
      this.#provider(endpoint, model, token),
      ...(hedgeEndpoint === undefined ? [] : [this.#provider(hedgeEndpoint, hedgeModel ?? model, hedgeToken)]),
    ]
  }

  #provider(endpoint: string, model: string, token: string | undefined): Provider {
    const { concurrency, inputPrice, outputPrice } = this.#options.settings
    const url = pathOf(endpoint, 'chat/completions')
    const assumed = isLoopback(endpoint) ? FREE : ASSUMED_PRICES
    return {
      url,
      agent: agentFor(url, concurrency + 1),
      model,
      token,
      prices: { input: inputPrice ?? assumed.input, output: outputPrice ?? assumed.output },
      dialect: 0,
      settled: false,
    }
  }

  get name(): string {
    return this.#options.settings.model
  }

  get statistics(): ModelStatistics {
    return {
      successful: this.#successful,
      failed: this.#failed,
      requests: this.#requests,
      retries: this.#retries,
      hedges: this.#hedges,
      promptTokens: this.#promptTokens,
      completionTokens: this.#completionTokens,
      dollars: this.#dollars,
      responseMs: this.#responseMs,
      breaker: this.#breaker.state,
      breakerTrips: this.#breaker.trips,
    }
  }

  /** why asking now would be of no use; undefined: it may be asked */
  get unavailable(): Unavailable | undefined {
    const nowMs = this.#options.clock.monotonicMs()
    if (!this.#breaker.admits) return nowMs < this.#creditsUntilMs ? 'credits_used_up' : 'breaker_open'
    if (nowMs < this.#quietUntilMs) return 'rate_limited'
    switch (this.#budget.exhausted) {
      case 'requests':
        return 'request_budget'
      case 'money':
        return 'money_budget'
      default:
        return undefined
    }
  }

  /**
   * Reads what the server says of its models: the price, and whether it has ours at all, which is told once in the log.
   * @returns what is wrong; undefined: the model is there. A server without a list is no reason to doubt it.
   */
  async look(signal: AbortSignal): Promise<string | undefined> {
    const { settings, log } = this.#options
    const [provider] = this.#providers
    if (provider === undefined) return undefined
    let models: ReadonlyMap<string, ListedModel>
    try {
      models = await this.#within(LIST_TIMEOUT_MS, signal, async (within) => {
        const { status, text } = await exchange({
          ...provider,
          url: pathOf(settings.endpoint, 'models'),
          headers: headersOf(provider),
          maxBytes: LIST_BYTES,
          signal: within,
        })
        if (status === 401 || status === 403)
          throw new ModelFailure('status', REFUSALS.get(status) ?? `it answered ${status}`, status)
        return status === 200 ? readModelList(text) : new Map<string, ListedModel>()
      })
    } catch (failure) {
      const why = failure instanceof ModelFailure ? failure.message : 'its list of models cannot be read'
      if (!this.#closing.signal.aborted)
        log.warn('the language model may not work', { endpoint: settings.endpoint, why })
      return why
    }
    const listed = models.get(provider.model) ?? models.get(provider.model.replace(/:[^:/]*$/, ''))
    if (listed === undefined) {
      if (models.size === 0) return undefined
      const why = `its list of ${models.size} models does not have ${provider.model}`
      log.warn('the language model may not work', { endpoint: settings.endpoint, why })
      return why
    }
    if (listed.prices !== undefined)
      provider.prices = {
        input: settings.inputPrice ?? listed.prices.input,
        output: settings.outputPrice ?? listed.prices.output,
      }
    log.info('the language model is there', {
      endpoint: settings.endpoint,
      model: provider.model,
      dollarsPerMillionTokens: `${provider.prices.input} in, ${provider.prices.output} out`,
      ...(listed.structured === undefined ? {} : { structured: listed.structured }),
    })
    return undefined
  }

  /**
   * Asks, and again where that may help, until `timeoutMs` have passed.
   * @param signal calls it off
   * @throws ModelFailure
   */
  async ask<T>(question: Question<T>, timeoutMs: number, signal: AbortSignal): Promise<T> {
    const { clock, onAnswered } = this.#options
    if (this.unavailable !== undefined) throw new ModelFailure('closed', `it is not asked now: ${this.unavailable}`)
    const call = this.#breaker.begin()
    const startMs = clock.monotonicMs()
    try {
      const answer = await this.#within(timeoutMs, signal, (within) =>
        this.#hedged(question, startMs + timeoutMs, within),
      )
      call.succeeded()
      this.#told.clear()
      this.#successful++
      this.#responseMs += clock.monotonicMs() - startMs
      onAnswered?.(clock.monotonicMs() - startMs, true)
      return answer
    } catch (thrown) {
      if (signal.aborted || this.#closing.signal.aborted) {
        call.calledOff()
        throw new ModelFailure('closed', 'the question was called off')
      }
      this.#failed++
      this.#responseMs += clock.monotonicMs() - startMs
      onAnswered?.(clock.monotonicMs() - startMs, false)
      call.failed()
      const failure =
        thrown instanceof ModelFailure ? thrown : new ModelFailure('malformed', 'its answer broke its reader')
      if (!(thrown instanceof ModelFailure)) this.#options.log.error('reading an answer broke', { error: thrown })
      this.#heed(failure)
      throw failure
    }
  }

  /** Ends everything that is under way; nothing is asked any more. */
  close(): void {
    this.#closing.abort(new ModelFailure('closed', 'the scheduler stops'))
    for (const { agent } of this.#providers) agent.destroy()
  }

  /** A server that says that asking is of no use is believed, and that is told once. */
  #heed(failure: ModelFailure): void {
    const { clock, log, settings } = this.#options
    const holdMs = HOLD_MS.get(failure.status)
    if (holdMs !== undefined) {
      this.#breaker.hold(holdMs)
      if (failure.status === 402) this.#creditsUntilMs = clock.monotonicMs() + holdMs
    }
    const what = holdMs === undefined ? 'the language model failed' : 'the language model is left alone'
    const key = `${failure.kind} ${failure.status}`
    if (this.#told.has(key)) return
    this.#told.add(key)
    log.warn(what, {
      endpoint: settings.endpoint,
      why: failure.message,
      ...(holdMs === undefined ? {} : { forSeconds: holdMs / 1000 }),
    })
  }

  /** Runs something with a signal that is aborted after a time, by the caller, or at the end. */
  async #within<T>(timeoutMs: number, signal: AbortSignal, run: (within: AbortSignal) => Promise<T>): Promise<T> {
    const timeout = new AbortController()
    const timer = this.#options.clock.after(timeoutMs, () => timeout.abort())
    try {
      return await run(AbortSignal.any([timeout.signal, signal, this.#closing.signal]))
    } finally {
      timer.cancel()
    }
  }

  /** Asks the first server, and the second as well when the first has failed or is slow. */
  #hedged<T>(question: Question<T>, untilMs: number, signal: AbortSignal): Promise<T> {
    const [first, second] = this.#providers
    // there always is one
    if (second === undefined) return this.#persist(first!, question, untilMs, signal)
    const race = new AbortController()
    const within = AbortSignal.any([signal, race.signal])
    return new Promise<T>((resolve, reject) => {
      let running = 0
      let hedged = false
      let over = false
      const end = (): void => {
        over = true
        timer.cancel()
        race.abort()
      }
      const start = (provider: Provider): void => {
        running++
        this.#persist(provider, question, untilMs, within).then(
          (answer) => {
            running--
            if (!over) end()
            resolve(answer)
          },
          (failure: Error) => {
            running--
            if (over) return
            if (!hedged && !signal.aborted) hedge()
            else if (running === 0) {
              end()
              reject(failure)
            }
          },
        )
      }
      const hedge = (): void => {
        hedged = true
        this.#hedges++
        start(second)
      }
      const timer = this.#options.clock.after(this.#options.settings.hedgeAfterMs, () => {
        if (!over && !hedged) hedge()
      })
      start(first!)
    })
  }

  /** Asks one server, and again after a failure that may pass, while there is time. */
  async #persist<T>(provider: Provider, question: Question<T>, untilMs: number, signal: AbortSignal): Promise<T> {
    const { clock, random, settings } = this.#options
    for (let retry = 0; ; retry++) {
      try {
        return await this.#request(provider, question, signal)
      } catch (failure) {
        if (!(failure instanceof ModelFailure) || !failure.mayPass) throw failure
        const backoffMs = settings.retryDelayMs * 2 ** retry * (0.5 + random.next() / 2)
        const delayMs = Math.max(backoffMs, failure.retryAfterMs ?? 0)
        if (retry >= settings.maxRetries || clock.monotonicMs() + delayMs >= untilMs) throw failure
        this.#retries++
        await sleep(clock, delayMs, signal).catch(() => {
          throw failure
        })
      }
    }
  }

  async #request<T>(provider: Provider, question: Question<T>, signal: AbortSignal): Promise<T> {
    if (!this.#budget.take()) throw new ModelFailure('closed', 'the budget of requests or money is used up')
    this.#requests++
    const { temperature } = this.#options.settings
    const { dialect } = provider
    // there is one of that number
    const { classic, schema } = DIALECTS[dialect]!
    const body = JSON.stringify({
      model: provider.model,
      messages: question.messages,
      stream: false,
      ...(classic ? { temperature, max_tokens: question.maxTokens } : { max_completion_tokens: question.maxTokens }),
      ...(schema
        ? { response_format: { type: 'json_schema', json_schema: { ...question.schema, strict: true } } }
        : {}),
    })
    let answered: Awaited<ReturnType<typeof exchange>>
    try {
      answered = await exchange({ ...provider, headers: headersOf(provider), body, maxBytes: ANSWER_BYTES, signal })
    } catch (failure) {
      // What was asked is paid for, whether we heard the answer or not; but not where nobody was there to hear us.
      if (!(failure instanceof ModelFailure && failure.kind === 'network'))
        this.#spend(provider, Buffer.byteLength(body) / BYTES_PER_TOKEN, 0)
      throw failure
    }
    const { status, headers, text } = answered
    if (status < 200 || status > 299) {
      if ((status === 400 || status === 422) && !provider.settled) {
        // Most likely it does not know part of the request. Another call may have found the dialect meanwhile.
        if (provider.dialect === dialect) provider.dialect = (dialect + 1) % DIALECTS.length
        if (provider.dialect !== 0) return this.#request(provider, question, signal)
        provider.settled = true
      }
      throw this.#refusal(status, headers)
    }
    provider.settled = true
    const { text: written, promptTokens, completionTokens } = readCompletion(headers['content-type'] ?? '', text)
    this.#spend(
      provider,
      promptTokens ?? Buffer.byteLength(body) / BYTES_PER_TOKEN,
      completionTokens ?? Buffer.byteLength(written) / BYTES_PER_TOKEN,
    )
    const answer = question.read(this.#withoutTokens(written))
    if (answer === undefined) throw new ModelFailure('malformed', 'its answer is not in the form asked for')
    return answer
  }

  #spend({ prices }: Provider, promptTokens: number, completionTokens: number): void {
    const dollars = (promptTokens * prices.input + completionTokens * prices.output) / 1e6
    this.#promptTokens += Math.ceil(promptTokens)
    this.#completionTokens += Math.ceil(completionTokens)
    this.#dollars += dollars
    this.#budget.spend(dollars)
  }

  #refusal(status: number, headers: http.IncomingHttpHeaders): ModelFailure {
    if (status >= 300 && status < 400) return new ModelFailure('redirect', `it sends us elsewhere (${status})`, status)
    const retryAfterMs = this.#retryAfterMs(headers['retry-after'])
    if (retryAfterMs !== undefined)
      this.#quietUntilMs = Math.max(this.#quietUntilMs, this.#options.clock.monotonicMs() + retryAfterMs)
    return new ModelFailure('status', REFUSALS.get(status) ?? `it answered ${status}`, status, retryAfterMs)
  }

  /** A number of seconds, or a date. */
  #retryAfterMs(written: string | undefined): number | undefined {
    if (written === undefined) return undefined
    const ms = /^\d{1,9}$/.test(written) ? Number(written) * 1000 : Date.parse(written) - this.#options.clock.nowMs()
    return Number.isFinite(ms) ? Math.min(Math.max(0, ms), RETRY_AFTER_AT_MOST_MS) : undefined
  }

  /** A server may say what we told it: our token goes no further. */
  #withoutTokens(text: string): string {
    let clean = text
    for (const { token } of this.#providers)
      if (token !== undefined && token.length >= SECRET_LENGTH) clean = clean.replaceAll(token, '***')
    return clean
  }
}

const headersOf = ({ token }: Provider): Record<string, string> =>
  token === undefined ? {} : { authorization: `Bearer ${token}` }

/**
 * The model that the settings name; undefined where there is none to ask.
 * @throws StowageError MODEL_UNUSABLE where it is required
 */
export const openLanguageModel = (options: LanguageModelOptions): LanguageModel | undefined => {
  const { endpoint, required } = options.settings
  if (hasModel(options.settings)) return new LanguageModel(options)
  if (required)
    throw new StowageError('MODEL_UNUSABLE', {
      found: `there is no token for ${endpoint}`,
      todo: 'set HUGGINGFACE_TOKEN, or llm.endpoint to a server on this machine, or leave out llm.required',
    })
  return undefined
}
