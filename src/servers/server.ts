import { isIP, type AddressInfo } from 'node:net'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify'
import { StowageError, type ErrorCode } from '../errors/catalogue.ts'
import type { Log } from '../telemetry/log.ts'

/** Longest time a client may take to send its request, headers and all. */
const REQUEST_TIMEOUT_MS = 10_000
const KEEP_ALIVE_TIMEOUT_MS = 10_000
const MAX_HEADER_BYTES = 16 * 1024
const MAX_BODY_BYTES = 64 * 1024
/** Scrapers, probes and a few people; more is a mistake or an attack. */
const MAX_CONNECTIONS = 512

const statusOf: Partial<Record<ErrorCode, number>> = { NOT_FOUND: 404, BAD_REQUEST: 400, STORE_UNUSABLE: 503 }

/** Longest message of a failure: some repeat the URL. */
const MAX_MESSAGE_LENGTH = 500

const failure = (code: ErrorCode, message: string): { error: { code: ErrorCode; message: string } } => ({
  error: { code, message: message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH)}…` : message },
})

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || host.startsWith('127.')

/** The host that a client named, without its port: `[::1]:8000` -> `::1`. */
const namedHost = (header: string | undefined): string =>
  (header ?? '')
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()

/**
 * An HTTP server with our limits, headers and errors, and no routes yet.
 * @param host the address it will listen on. What listens on loopback only is meant for this machine: a web page that has
 *   its own name resolve to 127.0.0.1 (DNS rebinding) must not read it, so there only localhost and addresses are served.
 */
export const bareServer = (log: Log, host: string): FastifyInstance => {
  const app = Fastify({
    logger: false,
    forceCloseConnections: true,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    bodyLimit: MAX_BODY_BYTES,
    http: { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: REQUEST_TIMEOUT_MS },
    routerOptions: { maxParamLength: 1024 },
    // a misspelt query parameter is an error, never ignored
    ajv: { customOptions: { removeAdditional: false, allErrors: false, coerceTypes: true } },
    // a path that cannot be decoded
    frameworkErrors: (error, _request, reply) => {
      void (reply as FastifyReply).code(error.statusCode ?? 400).send(failure('BAD_REQUEST', error.message))
    },
  })
  app.server.maxConnections = MAX_CONNECTIONS
  // answers are made by us in the shape of their schemas (the tests hold them to it): serialising needs no second look
  app.setSerializerCompiler(() => JSON.stringify)
  const local = isLoopback(host)
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    })
    const named = namedHost(request.headers.host)
    if (local && named !== 'localhost' && isIP(named) === 0) {
      await reply.code(421).send(failure('BAD_REQUEST', 'this server answers to localhost and to addresses only'))
    }
  })
  app.setNotFoundHandler(async (request, reply) => {
    return reply.code(404).send(failure('NOT_FOUND', `see /openapi.json; there is no ${request.method} ${request.url}`))
  })
  app.setErrorHandler<FastifyError | StowageError>(async (error, request, reply) => {
    if (error instanceof StowageError) {
      const status = statusOf[error.code] ?? 500
      if (status >= 500) log.error('a request failed', { route: request.routeOptions.url, error })
      return reply.code(status).send(failure(error.code, error.message))
    }
    const status = error.statusCode ?? 500
    if (status < 500) return reply.code(status).send(failure('BAD_REQUEST', error.message))
    log.error('a request failed', { route: request.routeOptions.url, error })
    return reply.code(status).send(failure('INTERNAL', 'an unexpected error; the log of the scheduler says more'))
  })
  return app
}

/**
 * Starts listening.
 * @param setting how the port is set, for the error: `api.port, API_PORT or --api-port`
 * @returns the URL, with the port that was really taken
 * @throws StowageError PORT_IN_USE, or CONFIG_INVALID_VALUE for an address that this machine does not have
 */
export const listen = async (app: FastifyInstance, host: string, port: number, setting: string): Promise<string> => {
  try {
    await app.listen({ host, port })
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code === 'EADDRINUSE') {
      throw new StowageError(
        'PORT_IN_USE',
        { found: `port ${port} of ${host} is taken`, todo: `set another with ${setting}, or 0 for a free one` },
        { cause },
      )
    }
    if (code === 'EACCES') {
      throw new StowageError(
        'CONFIG_INVALID_VALUE',
        { found: `port ${port}: this user may not listen there`, expected: `a port above 1023 in ${setting}` },
        { cause },
      )
    }
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
      throw new StowageError(
        'CONFIG_INVALID_VALUE',
        { found: `host ${host}: ${code}`, expected: 'an address of this machine in api.host, STOWAGE_HOST or --host' },
        { cause },
      )
    }
    throw cause
  }
  // listening on TCP: the address is no pipe's name
  const { port: taken } = app.server.address() as AddressInfo
  const named = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${named.includes(':') ? `[${named}]` : named}:${taken}`
}
