import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import { stringify } from 'yaml'

/** A key pair in PEM. */
export interface Pair {
  readonly cert: string
  readonly key: string
}

/** An authority of our own, with a server's and a client's certificate. */
export interface Certificates {
  readonly ca: Pair
  readonly server: Pair
  readonly client: Pair
}

export const makeCertificates = async (): Promise<Certificates> => {
  const make = async (commonName: string, options: Parameters<typeof generate>[1]): Promise<Pair> => {
    const made = await generate([{ name: 'commonName', value: commonName }], {
      keyType: 'ec',
      algorithm: 'sha256',
      ...options,
    })
    return { cert: made.cert, key: made.private }
  }
  const ca = await make('test authority', {
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, digitalSignature: true, critical: true },
    ],
  })
  const server = await make('test server', {
    ca,
    extensions: [
      { name: 'basicConstraints', cA: false },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 7, ip: '127.0.0.1' },
          { type: 2, value: 'api.test' },
        ],
      },
    ],
  })
  const client = await make('somebody', {
    ca,
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'extKeyUsage', clientAuth: true },
    ],
  })
  return { ca, server, client }
}

/** One request that the test answers by hand, when and how it likes. */
export class Exchange {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: http.IncomingHttpHeaders
  /** the parsed JSON, undefined without a body */
  readonly body: unknown
  /** the client's certificate, '' without one */
  readonly clientName: string
  /** resolves when the client has gone away or has everything */
  readonly closed: Promise<unknown>
  readonly #response: http.ServerResponse

  constructor(request: http.IncomingMessage, response: http.ServerResponse, text: string) {
    const url = new URL(request.url ?? '/', 'http://server')
    this.method = request.method ?? ''
    this.path = url.pathname
    this.query = url.searchParams
    this.headers = request.headers
    this.body = text === '' ? undefined : JSON.parse(text)
    const socket = request.socket as { getPeerCertificate?: () => { subject?: { CN?: string | string[] } } }
    this.clientName = String(socket.getPeerCertificate?.()?.subject?.CN ?? '')
    this.#response = response
    this.closed = once(response, 'close')
  }

  answer(status: number, body: unknown, headers: Record<string, string> = {}): void {
    this.#response.writeHead(status, { 'content-type': 'application/json', ...headers })
    this.#response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

  refuse(code: number, reason: string, message: string, headers: Record<string, string> = {}): void {
    this.answer(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }, headers)
  }

  /** Begins an answer that does not end. */
  open(): this {
    this.#response.writeHead(200, { 'content-type': 'application/json' })
    this.#response.flushHeaders()
    return this
  }

  /** One watch event, whole. */
  event(type: string, object: unknown): this {
    return this.raw(`${JSON.stringify({ type, object })}\n`)
  }

  raw(text: string | Buffer): this {
    this.#response.write(text)
    return this
  }

  /** Ends the answer as a server does when its time is over. */
  end(): void {
    this.#response.end()
  }

  /** Breaks the answer off. */
  cut(): void {
    const { stream } = this.#response as unknown as { stream?: http2.ServerHttp2Stream }
    if (stream === undefined) this.#response.destroy()
    else stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
  }
}

export interface ScriptedServerOptions {
  /** HTTPS with HTTP/2; without: plain HTTP/1.1 */
  readonly certificates?: Certificates
  /** @default 0, a free one */
  readonly port?: number
  /** only HTTP/1.1 over TLS. @default false */
  readonly http1Only?: boolean
}

/** An API server without a will of its own: each request waits until the test takes and answers it. */
export class ScriptedServer {
  readonly #server: http.Server | http2.Http2SecureServer
  readonly #waiting: Exchange[] = []
  readonly #takers: { wants: (exchange: Exchange) => boolean; give: (exchange: Exchange) => void }[] = []
  readonly #sockets = new Set<Duplex>()
  readonly sessions = new Set<http2.ServerHttp2Session>()
  readonly #secure: boolean
  /** connections ever made */
  connections = 0

  readonly #options: ScriptedServerOptions
  #port = 0

  private constructor(options: ScriptedServerOptions) {
    this.#options = options
    const onRequest = (request: http.IncomingMessage, response: http.ServerResponse): void => {
      response.on('error', () => undefined)
      const chunks: Buffer[] = []
      request.on('error', () => undefined)
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => this.#arrived(new Exchange(request, response, Buffer.concat(chunks).toString())))
    }
    const { certificates } = options
    this.#secure = certificates !== undefined
    if (certificates === undefined) this.#server = http.createServer(onRequest)
    else if (options.http1Only) this.#server = https.createServer({ ...certificates.server }, onRequest)
    else {
      const secure = http2.createSecureServer(
        {
          ...certificates.server,
          ca: certificates.ca.cert,
          allowHTTP1: true,
          requestCert: true,
          rejectUnauthorized: false,
        },
        onRequest as never,
      )
      secure.on('session', (session) => {
        this.sessions.add(session)
        session.on('close', () => this.sessions.delete(session))
        session.on('error', () => undefined)
      })
      this.#server = secure
    }
    this.#server.on(this.#secure ? 'secureConnection' : 'connection', (socket: Duplex) => {
      this.connections++
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
    })
  }

  static async listen(options: ScriptedServerOptions = {}): Promise<ScriptedServer> {
    const server = new ScriptedServer(options)
    server.#server.listen(options.port ?? 0, '127.0.0.1')
    await once(server.#server, 'listening')
    server.#port = (server.#server.address() as AddressInfo).port
    return server
  }

  /** Another one in the place of this one, which has been killed. */
  restarted(): Promise<ScriptedServer> {
    return ScriptedServer.listen({ ...this.#options, port: this.#port })
  }

  get port(): number {
    return this.#port
  }

  get address(): string {
    return `${this.#secure ? 'https' : 'http'}://127.0.0.1:${this.port}`
  }

  /** The next request (that is such a one), those that already wait first. */
  next(wants: (exchange: Exchange) => boolean = () => true): Promise<Exchange> {
    const at = this.#waiting.findIndex(wants)
    const [exchange] = at < 0 ? [] : this.#waiting.splice(at, 1)
    if (exchange !== undefined) return Promise.resolve(exchange)
    return new Promise((give) => this.#takers.push({ wants, give }))
  }

  /** requests that wait for the test */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Ends it with everything that is open, as kill -9 does. */
  async kill(): Promise<void> {
    if (!this.#server.listening) return
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #arrived(exchange: Exchange): void {
    const at = this.#takers.findIndex(({ wants }) => wants(exchange))
    const [taker] = at < 0 ? [] : this.#takers.splice(at, 1)
    if (taker === undefined) this.#waiting.push(exchange)
    else taker.give(exchange)
  }
}

/** A folder that is gone when the test is over. */
export const withFolder = async (run: (folder: string) => Promise<void>): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), 'stowage-kubernetes-'))
  try {
    await run(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Writes a kubeconfig with one context. @returns its path */
export const writeKubeconfig = async (
  folder: string,
  cluster: Record<string, unknown>,
  user: Record<string, unknown> = {},
  name = 'config',
): Promise<string> => {
  const path = join(folder, name)
  const text = stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'here',
    contexts: [{ name: 'here', context: { cluster: 'test', user: 'me', namespace: 'somewhere' } }],
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'me', user }],
  })
  await writeFile(path, text)
  return path
}

export const base64 = (text: string): string => Buffer.from(text).toString('base64')
