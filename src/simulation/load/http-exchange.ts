import { type Agent as HttpAgent, type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http'
import { type Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Clock } from '../../clock/clock.ts'

/** One request as it goes to the server. */
export interface HttpExchange {
  readonly url: URL
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
}

/** How it ended. Never an exception: whatever a server does is a result. */
export type ExchangeOutcome =
  | { readonly kind: 'answered'; readonly status: number }
  /** the deadline came first: no connection, no answer, or one without end */
  | { readonly kind: 'timeout' }
  /** `code`: Node's or OpenSSL's (`ECONNRESET`, `DEPTH_ZERO_SELF_SIGNED_CERT`), or `BODY_TOO_LARGE` */
  | { readonly kind: 'error'; readonly code: string }
  /** called off by the caller */
  | { readonly kind: 'aborted' }

export interface ExchangeLimits {
  readonly timeoutMs: number
  /** an answer with more is cut off */
  readonly bodyBytes: number
}

const codeOf = (error: Error): string => {
  const { code } = error as NodeJS.ErrnoException
  // never the message: it may hold whatever a server sent
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,63}$/.test(code) ? code : 'ERROR'
}

/**
 * Sends a request and reads its answer to the end, keeping nothing of it. The whole exchange, from name lookup to the last
 * byte, has one deadline.
 */
export const exchange = (
  { body, headers, method, url }: HttpExchange,
  agent: HttpAgent | HttpsAgent,
  { bodyBytes, timeoutMs }: ExchangeLimits,
  clock: Clock,
  signal: AbortSignal,
): Promise<ExchangeOutcome> =>
  new Promise((resolve) => {
    let over = false
    let current: ClientRequest | undefined
    const end = (outcome: ExchangeOutcome, whole: boolean): void => {
      if (over) return
      over = true
      deadline.cancel()
      signal.removeEventListener('abort', onAbort)
      // what is not read to its end cannot be used for the next request
      if (!whole) current?.destroy()
      resolve(outcome)
    }
    const onAbort = (): void => end({ kind: 'aborted' }, false)
    const deadline = clock.after(timeoutMs, () => end({ kind: 'timeout' }, false))
    signal.addEventListener('abort', onAbort, { once: true })

    const onAnswer = (answer: IncomingMessage): void => {
      const status = answer.statusCode ?? 0
      let read = 0
      answer.on('data', (chunk: Buffer) => {
        read += chunk.length
        if (read > bodyBytes) end({ kind: 'error', code: 'BODY_TOO_LARGE' }, false)
      })
      answer.on('end', () => end({ kind: 'answered', status }, true))
      answer.on('error', (error) => end({ kind: 'error', code: codeOf(error) }, false))
      // cut off in the middle without an error of its own
      answer.on('close', () => end({ kind: 'error', code: 'ECONNRESET' }, false))
    }
    const attempt = (mayRepeat: boolean): void => {
      let made: ClientRequest
      try {
        made = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, { method, headers, agent })
      } catch (error) {
        end({ kind: 'error', code: codeOf(error as Error) }, true)
        return
      }
      current = made
      let answered = false
      made.on('response', (answer) => {
        answered = true
        onAnswer(answer)
      })
      made.on('error', (error) => {
        // A server may close a connection that was idle just as it is used again: that says nothing about this request.
        if (!over && !answered && mayRepeat && made.reusedSocket && codeOf(error) === 'ECONNRESET') attempt(false)
        else end({ kind: 'error', code: codeOf(error) }, false)
      })
      // a server that switches protocols or opens a tunnel has given no answer
      made.on('upgrade', (_answer, socket) => {
        socket.destroy()
        end({ kind: 'error', code: 'UNEXPECTED_UPGRADE' }, false)
      })
      try {
        made.end(body)
      } catch (error) {
        end({ kind: 'error', code: codeOf(error as Error) }, false)
      }
    }
    if (signal.aborted) onAbort()
    else attempt(true)
  })
