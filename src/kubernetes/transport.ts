import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import tls from 'node:tls'
import type { Clock, Timer } from '../clock/clock.ts'
import type { Credentials } from './kubeconfig.ts'

/** One request as it goes over the wire. */
export interface RawRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly body: string | undefined
}

/** Is told what comes back, in this order; `end` exactly once, with an error if the answer broke off or never came. */
export interface Receiver {
  head(status: number, headers: Readonly<Record<string, string | string[] | undefined>>): void
  chunk(data: Buffer): void
  end(error?: Error): void
}

/** A way to one server. */
export interface Transport {
  /** whether it takes requests; once false, false for ever */
  readonly usable: boolean
  /** @returns how to give the request up; after that `end` is told an error */
  send(request: RawRequest, receiver: Receiver): () => void
  /** Requests under way go on to their end, new ones are not taken. */
  retire(): void
  /** Ends everything at once. */
  destroy(): void
}

const CONNECT_TIMEOUT_MS = 10_000
/** Go's client does the same with 30 s and 15 s: a connection that died silently is noticed within half a minute. */
const PING_INTERVAL_MS = 15_000
const PING_TIMEOUT_MS = 15_000
/** Of a stream and of a connection: Node's 64 KiB would make a list of pods wait for the round trip every 64 KiB. */
const STREAM_WINDOW_BYTES = 4 << 20
const CONNECTION_WINDOW_BYTES = 16 << 20
const HTTP1_SOCKETS = 64

const GIVEN_UP = 'the request was given up'

/** HTTP/1.1 with kept-alive connections, for servers without TLS (`kubectl proxy`) and proxies that know nothing newer. */
class Http1Transport implements Transport {
  readonly #agent: http.Agent
  readonly #server: URL
  readonly #requests = new Set<http.ClientRequest>()
  #retired = false

  constructor(server: URL, credentials: Credentials) {
    this.#server = server
    const options = { keepAlive: true, maxSockets: HTTP1_SOCKETS, timeout: 0 }
    this.#agent =
      server.protocol === 'https:' ? new https.Agent({ ...options, ...credentials.tls }) : new http.Agent(options)
  }

  get usable(): boolean {
    return !this.#retired
  }

  send(request: RawRequest, receiver: Receiver): () => void {
    const { method, path, headers, body } = request
    let ended = false
    const end = (error?: Error): void => {
      if (ended) return
      ended = true
      this.#requests.delete(outgoing)
      receiver.end(error)
      if (this.#retired && this.#requests.size === 0) this.#agent.destroy()
    }
    const outgoing = (this.#server.protocol === 'https:' ? https : http).request(
      {
        host: this.#server.hostname.replace(/^\[|\]$/g, ''),
        port: this.#server.port,
        method,
        path,
        agent: this.#agent,
        headers: body === undefined ? headers : { ...headers, 'content-length': Buffer.byteLength(body) },
      },
      (response) => {
        receiver.head(response.statusCode ?? 0, response.headers)
        response.on('data', (data: Buffer) => receiver.chunk(data))
        response.on('end', () => end())
        response.on('error', end)
        response.on('close', () => {
          if (!ended) end(new Error('the connection was closed in the middle of an answer'))
        })
      },
    )
    this.#requests.add(outgoing)
    outgoing.on('error', end)
    outgoing.end(body)
    return () => outgoing.destroy(new Error(GIVEN_UP))
  }

  retire(): void {
    this.#retired = true
    if (this.#requests.size === 0) this.#agent.destroy()
  }

  destroy(): void {
    for (const request of this.#requests) request.destroy(new Error(GIVEN_UP))
    this.#agent.destroy()
  }
}

/** One HTTP/2 connection. */
class Http2Transport implements Transport {
  readonly #session: http2.ClientHttp2Session
  readonly #clock: Clock
  readonly #onGone: (closed: boolean) => void
  #timer: Timer | undefined
  #open = 0
  #why: Error | undefined

  constructor(server: URL, socket: tls.TLSSocket, clock: Clock, onGone: (closed: boolean) => void) {
    this.#clock = clock
    this.#onGone = onGone
    this.#session = http2.connect(server.origin, {
      createConnection: () => socket,
      maxSessionMemory: 256,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
    })
    this.#session.setLocalWindowSize(CONNECTION_WINDOW_BYTES)
    this.#session.on('error', (error) => this.#gone(error))
    this.#session.on('goaway', () => this.#gone(undefined))
    this.#session.on('close', () => this.#gone(undefined))
    this.#timer = clock.after(PING_INTERVAL_MS, () => this.#ping())
  }

  #gone(error: Error | undefined): void {
    this.#why ??= error
    this.#onGone(this.#session.destroyed)
    if (this.#session.destroyed) this.#timer?.cancel()
  }

  #ping(): void {
    if (this.#session.destroyed) return
    this.#timer = this.#clock.after(PING_TIMEOUT_MS, () => {
      this.#session.destroy(new Error(`the server did not answer a ping within ${PING_TIMEOUT_MS / 1000} s`))
    })
    const sent = this.#open === 0 || this.#session.ping(() => this.#pong())
    if (this.#open === 0 || !sent) this.#pong()
  }

  #pong(): void {
    this.#timer?.cancel()
    if (!this.#session.destroyed) this.#timer = this.#clock.after(PING_INTERVAL_MS, () => this.#ping())
  }

  get usable(): boolean {
    return !this.#session.destroyed && !this.#session.closed
  }

  send(request: RawRequest, receiver: Receiver): () => void {
    let ended = false
    let answered = false
    const end = (error?: Error): void => {
      if (ended) return
      ended = true
      this.#open--
      receiver.end(error)
    }
    this.#open++
    let stream: http2.ClientHttp2Stream
    try {
      stream = this.#session.request(
        { ...request.headers, ':method': request.method, ':path': request.path },
        { endStream: request.body === undefined },
      )
    } catch (error) {
      end(error as Error)
      return () => undefined
    }
    stream.on('response', (headers) => {
      answered = true
      receiver.head(headers[':status'] ?? 0, headers)
    })
    stream.on('data', (data: Buffer) => receiver.chunk(data))
    // A stream that the server resets ends too, without an error if the code is CANCEL or NO_ERROR.
    stream.on('end', () => {
      if (answered && stream.rstCode === http2.constants.NGHTTP2_NO_ERROR && !stream.aborted) end()
    })
    stream.on('error', (error) => end(this.#why ?? error))
    stream.on('close', () => {
      // An error with its stack is the most expensive thing here, and hardly ever needed.
      if (!ended) end(this.#why ?? new Error('the connection was closed in the middle of an answer'))
    })
    if (request.body !== undefined) stream.end(request.body)
    return () => {
      end(new Error(GIVEN_UP))
      stream.close(http2.constants.NGHTTP2_CANCEL)
    }
  }

  retire(): void {
    this.#session.close()
  }

  destroy(): void {
    this.#timer?.cancel()
    this.#session.destroy()
  }
}

const dial = (server: URL, credentials: Credentials, clock: Clock): Promise<tls.TLSSocket> =>
  new Promise((resolve, reject) => {
    const socket = tls.connect({
      ...credentials.tls,
      host: server.hostname.replace(/^\[|\]$/g, ''),
      port: Number(server.port || 443),
      ALPNProtocols: ['h2', 'http/1.1'],
    })
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 30_000)
    const timer = clock.after(CONNECT_TIMEOUT_MS, () => {
      socket.destroy(new Error(`no connection within ${CONNECT_TIMEOUT_MS / 1000} s`))
    })
    const fail = (error: Error): void => {
      timer.cancel()
      reject(error)
    }
    const closed = (): void => fail(new Error('the server closed the connection before it was secure'))
    socket.once('error', fail)
    socket.once('close', closed)
    socket.once('secureConnect', () => {
      timer.cancel()
      socket.off('error', fail)
      socket.off('close', closed)
      resolve(socket)
    })
  })

/**
 * Connects: HTTP/2 where the server speaks it over TLS, else HTTP/1.1. See docs/decisions/0003-transport.md.
 * @param onGone the connection takes no more requests (broken, or the server said GOAWAY): connect anew;
 *   told again with `closed` once nothing is under way on it any more
 */
export const connectTransport = async (
  server: URL,
  credentials: Credentials,
  clock: Clock,
  onGone: (closed: boolean) => void,
): Promise<Transport> => {
  if (server.protocol === 'http:') return new Http1Transport(server, credentials)
  const socket = await dial(server, credentials, clock)
  if (socket.alpnProtocol === 'h2') return new Http2Transport(server, socket, clock, onGone)
  socket.destroy()
  return new Http1Transport(server, credentials)
}
