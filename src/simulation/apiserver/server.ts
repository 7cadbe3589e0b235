import { randomBytes, randomInt } from 'node:crypto'
import { type IncomingMessage, type Server as HttpServer, createServer } from 'node:http'
import {
  type Http2SecureServer,
  type Http2ServerRequest,
  type ServerHttp2Session,
  createSecureServer,
} from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { stringify as toYaml } from 'yaml'
import type { Clock } from '../../clock/clock.ts'
import { type Random, seededRandom } from '../../clock/random.ts'
import { StowageError, messageOf } from '../../errors/catalogue.ts'
import type { ObjectAccess } from './access.ts'
import { Api } from './api.ts'
import { type Certificates, makeCertificates } from './certificates.ts'
import { kubernetesVersion } from './discovery.ts'
import { ApiFailure, badRequest, unauthorized } from './failure.ts'
import { type FaultEffect, Faults, faultReasons, pause } from './faults.ts'
import { InProcessAccess } from './in-process.ts'
import { Lists } from './list.ts'
import { Registry } from './registry.ts'
import { type Reply, send, sendJson } from './reply.ts'
import { ResourceTable } from './resource-table.ts'
import { Store } from './store.ts'
import { type NodeUsage, UsageMeasurements } from './usage.ts'
import { Watches } from './watch.ts'

export interface ApiServerOptions {
  /** @default 127.0.0.1 */
  readonly host?: string
  /** 0 for a free one @default 0 */
  readonly port?: number
  readonly clock: Clock
  /** for uids, generated names and faults @default seeded by the machine */
  readonly random?: Random
  /** https with a certificate of its own, HTTP/2 and HTTP/1.1; else plain HTTP/1.1 @default true */
  readonly tls?: boolean
  /** told of requests that failed within the server, which is a defect @default nothing */
  readonly log?: (message: string) => void
}

type Server = HttpServer | Http2SecureServer
type Incoming = IncomingMessage | Http2ServerRequest

const noBody = Buffer.alloc(0)
const bodyLimitBytes = 3 * 1024 * 1024
const openPaths = new Set(['/healthz', '/livez', '/readyz', '/version'])

/** @throws StowageError PORT_IN_USE, CONFIG_INVALID_VALUE (host or port cannot be used) */
export const startApiServer = async (options: ApiServerOptions): Promise<EmbeddedApiServer> => {
  const host = options.host ?? '127.0.0.1'
  const certificates = options.tls === false ? undefined : await makeCertificates(host)
  const server = new EmbeddedApiServer(options, host, certificates)
  await server.restart()
  return server
}

/**
 * A Kubernetes API server in this process: real HTTP, objects in memory.
 * @example
 * const server = await startApiServer({ clock: systemClock })
 * await writeFile('kubeconfig', server.kubeconfig())
 * await server.stop()
 */
export class EmbeddedApiServer {
  readonly objects: ObjectAccess
  readonly faults: Faults
  /** what a client sends as `Authorization: Bearer` */
  readonly token = randomBytes(24).toString('hex')
  readonly #host: string
  readonly #certificates: Certificates | undefined
  readonly #clock: Clock
  readonly #log: (message: string) => void
  readonly #registry: Registry
  readonly #lists: Lists
  readonly #watches: Watches
  readonly #usage: UsageMeasurements
  readonly #api: Api
  readonly #sockets = new Set<Socket>()
  readonly #sessions = new Set<ServerHttp2Session>()
  #server: Server | undefined
  #port: number

  /** Use `startApiServer`. */
  constructor(options: ApiServerOptions, host: string, certificates: Certificates | undefined) {
    const random = options.random ?? seededRandom(randomInt(0x7fff_ffff))
    this.#host = host
    this.#certificates = certificates
    this.#clock = options.clock
    this.#log = options.log ?? (() => undefined)
    this.#port = options.port ?? 0
    const store = new Store()
    this.#usage = new UsageMeasurements(store, this.#clock)
    const resources = new ResourceTable(({ group }) => group !== 'metrics.k8s.io' || this.#usage.known)
    this.#registry = new Registry(store, resources, this.#clock, random.fork())
    this.#lists = new Lists(store)
    this.#watches = new Watches(store, this.#clock, random.fork())
    this.#api = new Api(this.#registry, this.#lists, this.#watches, this.#clock)
    this.objects = new InProcessAccess(this.#registry)
    this.faults = new Faults(random.fork(), {
      cut: () => this.#watches.cut(),
      stall: () => this.#watches.stall(),
      bookmarks: (on) => this.#watches.bookmarks(on),
      forgetHistory: () => {
        this.#watches.forgetHistory()
        this.#lists.forget()
      },
    })
  }

  get port(): number {
    return this.#port
  }

  get url(): string {
    const host = this.#host.includes(':') ? `[${this.#host}]` : this.#host
    return `${this.#certificates === undefined ? 'http' : 'https'}://${host}:${this.#port}`
  }

  /** The authority to trust, PEM; empty over plain HTTP. */
  get caPem(): string {
    return this.#certificates?.caPem ?? ''
  }

  /** Watches that are open now. */
  get watchCount(): number {
    return this.#watches.size
  }

  /** A kubeconfig of this server, as YAML, whose one context is called `stowage`. */
  kubeconfig(): string {
    const name = 'stowage'
    const authority =
      this.caPem === '' ? {} : { 'certificate-authority-data': Buffer.from(this.caPem).toString('base64') }
    return toYaml({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': name,
      clusters: [{ name, cluster: { server: this.url, ...authority } }],
      users: [{ name, user: { token: this.token } }],
      contexts: [{ name, context: { cluster: name, user: name } }],
    })
  }

  /** What a node uses; from the first call on metrics.k8s.io is served. */
  setNodeUsage(node: string, usage: NodeUsage): void {
    this.#usage.setNode(node, usage)
  }

  /** What a pod uses, all its containers together. Measurements go with their node or pod. */
  setPodUsage(namespace: string, pod: string, usage: NodeUsage): void {
    this.#usage.setPod(namespace, pod, usage)
  }

  /** Ends at once: watches and connections are cut. The objects stay; `restart` serves them again. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    this.#registry.stop()
    this.#watches.cut()
    if (server === undefined) return
    const closed = new Promise<void>((resolve) => void server.close(() => resolve()))
    for (const session of this.#sessions) session.destroy()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  /** As if the process had been killed and started again: same objects, port, certificates and token. @throws StowageError PORT_IN_USE */
  async restart(): Promise<void> {
    await this.stop()
    const onRequest = (incoming: Incoming, reply: unknown): void => void this.#handle(incoming, reply as Reply)
    const server =
      this.#certificates === undefined
        ? createServer({ keepAliveTimeout: 75_000 }, onRequest)
        : createSecureServer(
            {
              allowHTTP1: true,
              key: this.#certificates.keyPem,
              cert: this.#certificates.certPem,
              settings: { maxConcurrentStreams: 1000, initialWindowSize: 1024 * 1024 },
              // Streams of watches hold what a slow client has not read yet; the watch bounds it.
              maxSessionMemory: 1024,
            },
            onRequest,
          )
    server.on('connection', (socket: Socket) => this.#keep(this.#sockets, socket))
    server.on('secureConnection', (socket: Socket) => this.#keep(this.#sockets, socket))
    server.on('session', (session: ServerHttp2Session) => this.#keep(this.#sessions, session))
    // Broken connections are the clients' business.
    server.on('sessionError', () => undefined)
    server.on('clientError', (_error: Error, socket: Socket) => socket.destroy())
    await new Promise<void>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void =>
        reject(
          error.code === 'EADDRINUSE'
            ? new StowageError(
                'PORT_IN_USE',
                {
                  found: `port ${this.#port} on ${this.#host} is taken`,
                  todo: 'choose another port for the API server, or 0 for a free one',
                },
                { cause: error },
              )
            : new StowageError(
                'CONFIG_INVALID_VALUE',
                {
                  found: `the API server cannot listen on ${this.#host}, port ${this.#port} (${error.message})`,
                  expected: 'an address of this machine and a port that this user may open',
                },
                { cause: error },
              ),
        )
      server.once('error', failed)
      server.listen(this.#port, this.#host, () => {
        server.off('error', failed)
        resolve()
      })
    })
    server.on('error', (error: Error) => this.#log(`API server: ${error.message}`))
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  #keep<T extends Socket | ServerHttp2Session>(kept: Set<T>, item: T): void {
    kept.add(item)
    item.on('error', () => undefined)
    item.on('close', () => kept.delete(item))
  }

  async #handle(incoming: Incoming, reply: Reply): Promise<void> {
    incoming.on('error', () => undefined)
    reply.on('error', () => undefined)
    try {
      await this.#serve(incoming, reply)
    } catch (error) {
      const failure = error instanceof ApiFailure ? error : this.#defect(incoming, error)
      if (reply.headersSent) {
        reply.end()
        return
      }
      fail(reply, failure)
    }
  }

  #defect(incoming: Incoming, error: unknown): ApiFailure {
    this.#log(
      `API server: ${incoming.method} ${incoming.url}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    )
    return new ApiFailure(500, 'InternalError', `Internal error occurred: ${messageOf(error)}`)
  }

  async #serve(incoming: Incoming, reply: Reply): Promise<void> {
    const server = this.#server
    const method = incoming.method ?? 'GET'
    const url = incoming.url ?? '/'
    const mark = url.indexOf('?')
    const path = mark < 0 ? url : url.slice(0, mark)
    if (openPaths.has(path)) {
      if (path === '/version') sendJson(reply, 200, JSON.stringify(kubernetesVersion))
      else send(reply, 200, 'text/plain; charset=utf-8', 'ok')
      return
    }
    const { headers } = incoming
    if (headers.authorization !== `Bearer ${this.token}`) throw unauthorized()
    const effect = this.faults.effectOn(method, url)
    if (effect?.kind === 'reset') {
      breakConnection(reply)
      return
    }
    const body = method === 'GET' || method === 'HEAD' ? noBody : await readWhole(incoming)
    if (effect?.kind === 'status') {
      failWith(reply, effect)
      return
    }
    if (effect?.kind === 'delay') await pause(this.#clock, effect.delayMs)
    // What was waiting when the server was killed is not done by a dead one.
    if (this.#server !== server) {
      breakConnection(reply)
      return
    }
    const contentType = (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
    const request = {
      method,
      path,
      query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
      accept: headers.accept,
      contentType,
      body,
    }
    this.#api.answer(request, effect?.kind === 'lostAnswer' ? unheard(reply) : reply)
  }
}

const fail = (reply: Reply, failure: ApiFailure, headers: Record<string, string> = {}): void => {
  const retryAfter = failure.details?.retryAfterSeconds
  sendJson(
    reply,
    failure.code,
    JSON.stringify(failure.status),
    retryAfter === undefined ? headers : { 'retry-after': String(retryAfter), ...headers },
  )
}

const failWith = (reply: Reply, effect: FaultEffect & { kind: 'status' }): void => {
  const { reason, message } = faultReasons[effect.status] ?? {
    reason: 'Unknown',
    message: 'injected by the simulation',
  }
  const retryAfterSeconds = effect.retryAfterSeconds ?? (effect.status === 429 ? 1 : undefined)
  fail(
    reply,
    new ApiFailure(effect.status, reason, message, retryAfterSeconds === undefined ? undefined : { retryAfterSeconds }),
  )
}

const breakConnection = (reply: Reply): void => {
  if (reply.stream != null) reply.stream.close(2 /* INTERNAL_ERROR */)
  else reply.socket?.destroy()
}

/** A reply whose first byte breaks the connection: the work is done and nobody hears of it. */
const unheard = (reply: Reply): Reply => ({
  headersSent: false,
  socket: null,
  writeHead: () => breakConnection(reply),
  flushHeaders: () => undefined,
  write: () => true,
  end: () => undefined,
  on: () => undefined,
  once: () => undefined,
})

/** The body. Listens instead of iterating: half the cost for bodies that come in one piece, as nearly all do. */
const readWhole = (incoming: Incoming): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    incoming.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      // What is too much is read to its end and thrown away, so that the client hears the answer.
      if (bytes <= bodyLimitBytes) chunks.push(chunk)
    })
    incoming.on('end', () => {
      if (bytes > bodyLimitBytes)
        reject(new ApiFailure(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${bodyLimitBytes}`))
      else resolve(chunks.length === 1 ? (chunks[0] ?? noBody) : Buffer.concat(chunks))
    })
    incoming.on('error', reject)
    incoming.on('aborted', () => reject(badRequest('the connection ended before the body did')))
  })
