import { type Clock, systemClock } from '../clock/clock.ts'
import type { StatusObject } from '../cluster/objects.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import { ClusterAccess, type Credentials, type KubeconfigSource } from './kubeconfig.ts'
import { connectTransport, type RawRequest, type Receiver, type Transport } from './transport.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export interface ApiRequest {
  readonly method: Method
  /** from the root, its parts escaped: `/api/v1/nodes/n1` */
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  /** sent as JSON */
  readonly body?: unknown
  /** @default application/json */
  readonly contentType?: string
  readonly signal?: AbortSignal | undefined
  /** from sending to the last byte of the answer. @default 30,000 */
  readonly timeoutMs?: number
  /** A successful answer's body is not parsed (it is undefined then): saves most of the work of a bind. @default false */
  readonly ignoreBody?: boolean
}

export interface ApiAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** parsed; undefined if empty */
  readonly body: unknown
  /** what the server asked us to wait, in its header or in its Status; undefined if it did not */
  readonly retryAfterMs: number | undefined
}

/** The server answered, and the answer is no. */
export class ApiRefusal extends StowageError {
  readonly status: number
  /** `AlreadyExists`, `Expired`, ..., '' where the server gives none */
  readonly reason: string
  /** the server's words */
  readonly said: string
  /** see {@link ApiAnswer.retryAfterMs} */
  readonly retryAfterMs: number | undefined

  constructor(what: string, answer: ApiAnswer) {
    const status = (answer.body ?? {}) as StatusObject
    const said = typeof status.message === 'string' ? status.message : ''
    super('API_REFUSED', {
      found: `${what} was answered ${answer.status}${said === '' ? '' : `: ${said.slice(0, 2_000)}`}`,
    })
    this.status = answer.status
    this.reason = typeof status.reason === 'string' ? status.reason : ''
    this.said = said
    this.retryAfterMs = answer.retryAfterMs
  }
}

export interface Connection {
  /** `https://10.0.0.1:6443`, for messages */
  readonly address: string
  /** of the kubeconfig's context */
  readonly namespace: string
  /**
   * Resolves with whatever the server answers, refusals too.
   * @throws StowageError API_UNREACHABLE (no connection, timeout, broken off), API_MALFORMED, KUBECONFIG_UNREADABLE; the signal's reason
   */
  request(request: ApiRequest): Promise<ApiAnswer>
  /**
   * Hands over the lines of an endless answer as they come. Resolves when the server ends it.
   * @param onLine one line without its newline; if it throws, the stream is ended and rejects with that
   * @throws ApiRefusal; StowageError API_UNREACHABLE, API_MALFORMED (a line over the limit); the signal's reason
   */
  stream(path: string, signal: AbortSignal, onLine: (line: string) => void): Promise<void>
  /** Ends all requests and connections. */
  close(): void
}

export interface ConnectionOptions extends KubeconfigSource {
  /** @default systemClock */
  readonly clock?: Clock
  /** @default 32 MiB: etcd keeps no object above 1.5 MiB */
  readonly maxLineBytes?: number
}

const DEFAULT_TIMEOUT_MS = 30_000
const DEFAULT_MAX_LINE_BYTES = 32 << 20
/** The longest answer that is read whole: a page of 500 objects of 256 KiB. */
const MAX_BODY_BYTES = 128 << 20
/** As client-go does for token files. */
const CREDENTIALS_FOR_MS = 60_000
/** A server that keeps refusing what we show must not make us run a plugin for each request. */
const REFUSED_PAUSE_MS = 5_000

const askedToWaitMs = (headers: ApiAnswer['headers'], body: unknown, nowMs: number): number | undefined => {
  const header = headers['retry-after']
  if (typeof header === 'string') {
    const seconds = Number(header)
    const ms = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(header) - nowMs
    if (Number.isFinite(ms)) return Math.max(0, ms)
  }
  const seconds = (body as StatusObject | undefined)?.details?.retryAfterSeconds
  return typeof seconds === 'number' && seconds > 0 ? seconds * 1_000 : undefined
}

/** Cuts bytes into lines without copying a byte twice, whatever the chunks are. */
export class LineSplitter {
  readonly #onLine: (line: string) => void
  readonly #maxBytes: number
  #pending: Buffer[] = []
  #pendingBytes = 0

  constructor(maxBytes: number, onLine: (line: string) => void) {
    this.#maxBytes = maxBytes
    this.#onLine = onLine
  }

  /** @throws StowageError API_MALFORMED if a line is longer than the limit, and whatever `onLine` throws */
  push(chunk: Buffer): void {
    const last = chunk.lastIndexOf(0x0a)
    if (last < 0) {
      this.#keep(chunk)
      return
    }
    let from = 0
    if (this.#pendingBytes > 0) {
      const first = chunk.indexOf(0x0a)
      this.#keep(chunk.subarray(0, first))
      const line = Buffer.concat(this.#pending, this.#pendingBytes).toString()
      this.#pending = []
      this.#pendingBytes = 0
      this.#onLine(line)
      from = first + 1
    }
    while (from <= last) {
      const to = chunk.indexOf(0x0a, from)
      if (to > from) this.#onLine(chunk.toString('utf8', from, to))
      from = to + 1
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from))
  }

  #keep(part: Buffer): void {
    this.#pendingBytes += part.length
    if (this.#pendingBytes > this.#maxBytes) {
      throw new StowageError('API_MALFORMED', {
        found: `a line of more than ${this.#maxBytes} bytes in a watch`,
        expected: 'one object a line',
      })
    }
    this.#pending.push(part)
  }
}

const withQuery = (path: string, query: ApiRequest['query']): string => {
  if (query === undefined) return path
  const search = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value))
  return search.size === 0 ? path : `${path}?${search.toString()}`
}

const parseBody = (chunks: Buffer[]): unknown => {
  const text = chunks.length === 1 ? (chunks[0] as Buffer).toString() : Buffer.concat(chunks).toString()
  if (text === '') return undefined
  return JSON.parse(text) as unknown
}

/** One request under way. It ends once: with its answer, or with what `finish` was told. */
abstract class Exchange implements Receiver {
  status = 0
  headers: ApiAnswer['headers'] = {}
  /** the transport ended it before the answer was whole */
  brokeOff = false
  #done = false
  #failure: Error | undefined
  /** undefined: it has not been sent */
  #ended: PromiseWithResolvers<void> | undefined
  #cancel: (() => void) | undefined

  protected abstract take(data: Buffer): void

  /** @throws what `finish` is told, or why the answer broke off */
  run(transport: Transport, request: RawRequest): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    this.#ended = Promise.withResolvers()
    this.#cancel = transport.send(request, this)
    return this.#ended.promise
  }

  /** @param error undefined: the answer is whole */
  finish(error: Error | undefined): void {
    if (this.#done) return
    this.#done = true
    if (error === undefined) {
      this.#ended?.resolve()
      return
    }
    this.#failure = error
    this.#ended?.reject(error)
    this.#cancel?.()
  }

  head(status: number, headers: ApiAnswer['headers']): void {
    this.status = status
    this.headers = headers
  }

  chunk(data: Buffer): void {
    if (!this.#done) this.take(data)
  }

  end(error?: Error): void {
    if (error !== undefined && !this.#done) this.brokeOff = true
    this.finish(error)
  }
}

/** An answer that is kept until it is whole. */
class WholeExchange extends Exchange {
  readonly chunks: Buffer[] = []
  readonly #what: () => string
  #bytes = 0

  constructor(what: () => string) {
    super()
    this.#what = what
  }

  protected take(data: Buffer): void {
    this.#bytes += data.length
    if (this.#bytes <= MAX_BODY_BYTES) this.chunks.push(data)
    else {
      const found = `${this.#what()} was answered with more than ${MAX_BODY_BYTES} bytes`
      this.finish(new StowageError('API_MALFORMED', { found }))
    }
  }
}

/** An answer without end, of lines; a refusal is kept. */
class LineExchange extends Exchange {
  readonly refusal: Buffer[] = []
  readonly #lines: LineSplitter

  constructor(lines: LineSplitter) {
    super()
    this.#lines = lines
  }

  protected take(data: Buffer): void {
    if (this.status !== 200) {
      if (this.refusal.length < 1_000) this.refusal.push(data)
      return
    }
    try {
      this.#lines.push(data)
    } catch (error) {
      this.finish(error as Error)
    }
  }
}

/**
 * Which exchanges a signal ends. All that are under way with the same signal share a listener: adding one compares it with
 * every other. With the last of them it goes, because a signal with a listener may be kept alive by it.
 */
class EndingSignals {
  readonly #bySignal = new Map<AbortSignal, { readonly exchanges: Set<Exchange>; readonly onAbort: () => void }>()

  add(signal: AbortSignal, exchange: Exchange): void {
    let known = this.#bySignal.get(signal)
    if (known === undefined) {
      const exchanges = new Set<Exchange>()
      const onAbort = (): void => {
        for (const each of exchanges) each.finish(signal.reason as Error)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#bySignal.set(signal, (known = { exchanges, onAbort }))
    }
    known.exchanges.add(exchange)
  }

  remove(signal: AbortSignal, exchange: Exchange): void {
    const known = this.#bySignal.get(signal)
    if (known === undefined) return
    known.exchanges.delete(exchange)
    if (known.exchanges.size > 0) return
    signal.removeEventListener('abort', known.onAbort)
    this.#bySignal.delete(signal)
  }
}

/** Requests and watches have a connection each, so that a burst of events never stands in the way of a bind. */
type Lane = 'requests' | 'streams'

class ApiConnection implements Connection {
  readonly address: string
  readonly namespace: string
  readonly #access: ClusterAccess
  readonly #basePath: string
  readonly #clock: Clock
  readonly #maxLineBytes: number
  readonly #lanes = new Map<Lane, Promise<Transport>>()
  /** those that finish what they have begun, too */
  readonly #alive = new Set<Transport>()
  readonly #signals = new EndingSignals()
  #credentials: Promise<Credentials> | undefined
  #readAtMs = 0
  #closed = false

  constructor(options: ConnectionOptions) {
    this.#clock = options.clock ?? systemClock
    this.#access = new ClusterAccess(options, this.#clock)
    this.#maxLineBytes = options.maxLineBytes ?? DEFAULT_MAX_LINE_BYTES
    this.address = this.#access.server.origin
    this.#basePath = this.#access.server.pathname.replace(/\/$/, '')
    this.namespace = this.#access.namespace
  }

  async request(request: ApiRequest): Promise<ApiAnswer> {
    const path = this.#basePath + withQuery(request.path, request.query)
    const body = request.body === undefined ? undefined : JSON.stringify(request.body)
    return this.#asOurselves((credentials) => this.#exchange(request, path, body, credentials), request.signal)
  }

  async #exchange(
    request: ApiRequest,
    path: string,
    body: string | undefined,
    credentials: Credentials,
  ): Promise<ApiAnswer> {
    const {
      contentType = 'application/json',
      ignoreBody = false,
      method,
      signal,
      timeoutMs = DEFAULT_TIMEOUT_MS,
    } = request
    const what = (): string => `${method} ${request.path}`
    const exchange = new WholeExchange(what)
    const timer = this.#clock.after(timeoutMs, () => {
      exchange.finish(this.#unreachable(`${what()} was not answered within ${timeoutMs / 1000} s`))
    })
    try {
      await this.#send('requests', credentials, method, path, body, contentType, signal, exchange)
    } finally {
      timer.cancel()
    }
    const { chunks, headers, status } = exchange
    if (ignoreBody && status < 300) return this.#answer(status, headers, undefined)
    try {
      return this.#answer(status, headers, parseBody(chunks))
    } catch (error) {
      // Refusals by something in between (a proxy, a load balancer) are seldom JSON.
      if (status >= 400) {
        return this.#answer(status, headers, { message: Buffer.concat(chunks).toString().slice(0, 500) })
      }
      throw new StowageError(
        'API_MALFORMED',
        {
          found: `${what()} at ${this.address} was answered with something that is no JSON`,
          todo: 'check the address',
        },
        { cause: error },
      )
    }
  }

  #answer(status: number, headers: ApiAnswer['headers'], body: unknown): ApiAnswer {
    const retryAfterMs = status < 400 ? undefined : askedToWaitMs(headers, body, this.#clock.nowMs())
    return { status, headers, body, retryAfterMs }
  }

  async stream(path: string, signal: AbortSignal, onLine: (line: string) => void): Promise<void> {
    const open = async (credentials: Credentials): Promise<ApiAnswer> => {
      const exchange = new LineExchange(new LineSplitter(this.#maxLineBytes, onLine))
      await this.#send('streams', credentials, 'GET', this.#basePath + path, undefined, undefined, signal, exchange)
      let body: unknown
      try {
        body = parseBody(exchange.refusal)
      } catch {
        body = undefined
      }
      return this.#answer(exchange.status, exchange.headers, body)
    }
    const answer = await this.#asOurselves(open, signal)
    if (answer.status !== 200) throw new ApiRefusal(`GET ${path}`, answer)
  }

  close(): void {
    this.#closed = true
    this.#lanes.clear()
    for (const transport of this.#alive) transport.destroy()
    this.#alive.clear()
  }

  /** Sends one request over a lane and resolves once the answer has ended. */
  async #send(
    lane: Lane,
    credentials: Credentials,
    method: string,
    path: string,
    body: string | undefined,
    contentType: string | undefined,
    signal: AbortSignal | undefined,
    exchange: Exchange,
  ): Promise<void> {
    signal?.throwIfAborted()
    const transport = await this.#transport(lane, credentials)
    signal?.throwIfAborted()
    const headers: Record<string, string | string[]> = { accept: 'application/json', ...credentials.headers }
    if (body !== undefined && contentType !== undefined) headers['content-type'] = contentType
    if (signal !== undefined) this.#signals.add(signal, exchange)
    try {
      await exchange.run(transport, { method, path, headers, body })
    } catch (error) {
      throw exchange.brokeOff ? this.#unreachable(messageOf(error), error) : error
    } finally {
      if (signal !== undefined) this.#signals.remove(signal, exchange)
    }
  }

  /** The lane's connection, made anew if there is none that takes requests. */
  async #transport(lane: Lane, credentials: Credentials): Promise<Transport> {
    for (;;) {
      if (this.#closed) throw this.#unreachable('this connection has been closed')
      let making = this.#lanes.get(lane)
      if (making === undefined) {
        const made: Promise<Transport> = this.#connect(credentials, () => this.#forget(lane, made))
        making = made
        this.#lanes.set(lane, made)
      }
      const transport = await making
      if (transport.usable) return transport
      // Its end has not been announced yet.
      this.#forget(lane, making)
    }
  }

  #forget(lane: Lane, transport: Promise<Transport>): void {
    if (this.#lanes.get(lane) === transport) this.#lanes.delete(lane)
  }

  async #connect(credentials: Credentials, forget: () => void): Promise<Transport> {
    try {
      const transport: Transport = await connectTransport(this.#access.server, credentials, this.#clock, (closed) => {
        forget()
        if (closed) this.#alive.delete(transport)
      })
      if (this.#closed) {
        transport.destroy()
        throw this.#unreachable('this connection has been closed')
      }
      this.#alive.add(transport)
      return transport
    } catch (error) {
      forget()
      throw this.#unreachable(messageOf(error), error)
    }
  }

  #current(): Promise<Credentials> {
    const ageMs = this.#clock.monotonicMs() - this.#readAtMs
    if (this.#credentials !== undefined && ageMs < CREDENTIALS_FOR_MS) return this.#credentials
    return this.#read(false)
  }

  /** Sends with what proves who we are; if the server no longer takes that, once more with what is renewed. */
  async #asOurselves(
    send: (credentials: Credentials) => Promise<ApiAnswer>,
    signal: AbortSignal | undefined,
  ): Promise<ApiAnswer> {
    signal?.throwIfAborted()
    const shown = await this.#current()
    const answer = await send(shown)
    if (answer.status !== 401) return answer
    let now = await this.#current()
    if (now === shown) {
      if (this.#clock.monotonicMs() - this.#readAtMs < REFUSED_PAUSE_MS) return answer
      now = await this.#read(true)
    }
    return send(now)
  }

  #read(refused: boolean): Promise<Credentials> {
    const before = this.#credentials
    this.#readAtMs = this.#clock.monotonicMs()
    const reading = this.#access.credentials(refused).then(
      async (now) => {
        const old = await before?.catch(() => undefined)
        if (old !== undefined && !sameTls(old, now)) this.#reconnect()
        return now
      },
      (error: unknown) => {
        // What was good a minute ago is likely to be good still; without it there is nothing to try.
        if (before !== undefined && !refused) return before
        if (this.#credentials === reading) this.#credentials = undefined
        throw error
      },
    )
    this.#credentials = reading
    return reading
  }

  /** Another certificate needs another handshake: what is under way ends on the old connection. */
  #reconnect(): void {
    this.#lanes.clear()
    for (const transport of this.#alive) transport.retire()
  }

  #unreachable(found: string, cause?: unknown): StowageError {
    if (cause instanceof StowageError) return cause
    const code = (cause as { code?: unknown } | undefined)?.code
    const untrusted = typeof code === 'string' && /CERT|ALTNAME|SIGNATURE|ISSUER/.test(code)
    return new StowageError(
      'API_UNREACHABLE',
      {
        found: `${this.address}: ${found}`,
        todo: untrusted
          ? `its certificate is not trusted: check certificate-authority and tls-server-name in ${this.#access.from}`
          : 'check that the server runs and that the address in the kubeconfig is right',
      },
      { cause },
    )
  }
}

const sameTls = (a: Credentials, b: Credentials): boolean =>
  (['ca', 'cert', 'key', 'servername'] as const).every((key) => String(a.tls[key]) === String(b.tls[key])) &&
  a.tls.rejectUnauthorized === b.tls.rejectUnauthorized

/**
 * A connection to the cluster that a kubeconfig names. Nothing is sent before the first request.
 * @throws StowageError KUBECONFIG_UNREADABLE
 */
export const openConnection = (options: ConnectionOptions): Connection => new ApiConnection(options)
