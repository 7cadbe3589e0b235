import http from 'node:http'
import https from 'node:https'
import { messageOf } from '../../errors/catalogue.ts'
import { ModelFailure } from './failure.ts'

/** One request to a server that is not trusted. */
export interface ExchangeOptions {
  readonly url: URL
  /** kept connections, of the kind that the address needs */
  readonly agent: http.Agent
  readonly headers: Readonly<Record<string, string>>
  /** sent with POST; undefined: GET */
  readonly body?: string
  /** larger answers are cut off */
  readonly maxBytes: number
  /** ends it, however slowly the answer drips */
  readonly signal: AbortSignal
}

export interface Exchange {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
}

/** Kept connections to a server; `destroy` it at the end. */
export const agentFor = (url: URL, sockets: number): http.Agent => {
  const options = { keepAlive: true, maxSockets: sockets, maxFreeSockets: sockets }
  return url.protocol === 'https:' ? new https.Agent(options) : new http.Agent(options)
}

/**
 * Sends one request and reads the whole answer. Follows no redirect (it would be given our token), unpacks nothing (a few bytes
 * can unpack to gigabytes; we ask for plain text), reads no more than `maxBytes`, and is over when the signal says so.
 * @throws ModelFailure network, timeout, too_large, encoded
 */
export const exchange = (options: ExchangeOptions): Promise<Exchange> =>
  new Promise((resolve, reject) => {
    const { url, agent, body, maxBytes, signal } = options
    if (signal.aborted) {
      reject(new ModelFailure('timeout', 'there was no time left to ask'))
      return
    }
    const chunks: Buffer[] = []
    let bytes = 0
    const request = (url.protocol === 'https:' ? https : http).request(url, {
      agent,
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        ...options.headers,
        accept: 'application/json',
        'accept-encoding': 'identity',
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
      },
    })
    const over = (): void => {
      signal.removeEventListener('abort', onAbort)
      // Whatever still comes is no concern of ours; without a listener it would end the process.
      request.on('error', () => undefined)
    }
    const fail = (failure: ModelFailure): void => {
      over()
      request.destroy()
      reject(failure)
    }
    const onAbort = (): void => fail(new ModelFailure('timeout', 'it did not answer in time'))
    signal.addEventListener('abort', onAbort, { once: true })
    request.on('error', (error) => fail(new ModelFailure('network', networkText(error))))
    request.on('response', (response) => {
      const encoding = response.headers['content-encoding'] ?? 'identity'
      if (encoding !== 'identity') {
        fail(new ModelFailure('encoded', 'its answer is packed, although plain text was asked for'))
        return
      }
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > maxBytes) fail(new ModelFailure('too_large', `its answer has more than ${maxBytes} bytes`))
        else chunks.push(chunk)
      })
      response.on('error', (error) => fail(new ModelFailure('network', networkText(error))))
      response.on('close', () => {
        if (response.complete) return
        fail(new ModelFailure('network', 'the connection was closed in the middle of its answer'))
      })
      response.on('end', () => {
        if (!response.complete) return
        over()
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString('utf8'),
        })
      })
    })
    request.end(body)
  })

/** Node's own words for what happened to a connection (`ECONNREFUSED`), never what the other side sent. */
const networkText = (error: unknown): string => {
  const code = (error as { code?: unknown } | null)?.code
  return `the connection failed: ${typeof code === 'string' ? code : messageOf(error).slice(0, 100)}`
}
