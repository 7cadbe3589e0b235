import { type Clock, sleep } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import type { StatusObject } from '../cluster/objects.ts'
import { messageOf } from '../errors/catalogue.ts'
import { backoffMs } from './backoff.ts'
import type { ApiAnswer, ApiRequest, Connection } from './connection.ts'

export interface RetryOptions {
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
}

/** An answer that another try would not change: success, or a refusal. */
export interface Answered {
  readonly answer: ApiAnswer
  /** of a refusal: the server's words, else its status */
  readonly said: string
  /** tries before that failed: one of them may have arrived although its answer did not */
  readonly failures: number
}

/** No such answer came. */
export interface GaveUp {
  readonly answer: undefined
  /** what was said or went wrong the last time, and whether we were stopped */
  readonly said: string
  /** what was thrown, undefined if the server answered */
  readonly cause: unknown
}

/** As kube-scheduler: the first try and three more on 500, 503 and lost connections. */
const MAX_TRIES = 4
const RETRY = { firstMs: 100, maxMs: 2_000 }
/** A server that only ever says 429 is given up after that. */
const THROTTLED_FOR_MS = 30_000

/**
 * Sends a request until the server answers it: failures of the server and of the connection are tried again a few times,
 * and while the server is busy (429) it is asked again for as long as it says, within bounds.
 */
export const sendUntilAnswered = async (
  { clock, connection, random }: RetryOptions,
  request: ApiRequest,
  signal: AbortSignal,
): Promise<Answered | GaveUp> => {
  const throttledUntilMs = clock.monotonicMs() + THROTTLED_FOR_MS
  let failures = 0
  let throttled = 0
  for (;;) {
    let said: string
    let waitMs: number
    let cause: unknown
    try {
      signal.throwIfAborted()
      const answer = await connection.request({ ...request, signal })
      const { status, retryAfterMs = 0 } = answer
      if (status < 300) return { answer, said: '', failures }
      said = (answer.body as StatusObject | undefined)?.message ?? `status ${status}`
      if (status === 429) {
        waitMs = backoffMs(RETRY, ++throttled, random, retryAfterMs)
        if (clock.monotonicMs() + waitMs > throttledUntilMs) return { answer: undefined, said, cause }
      } else if (status >= 500) {
        if (++failures >= MAX_TRIES) return { answer: undefined, said, cause }
        waitMs = backoffMs(RETRY, failures, random, retryAfterMs)
      } else return { answer, said, failures }
    } catch (error) {
      if (signal.aborted) return { answer: undefined, said: 'stopped before it was answered', cause: error }
      said = messageOf(error)
      cause = error
      if (++failures >= MAX_TRIES) return { answer: undefined, said, cause }
      waitMs = backoffMs(RETRY, failures, random)
    }
    try {
      await sleep(clock, waitMs, signal)
    } catch {
      return { answer: undefined, said: `stopped while waiting for another try: ${said}`, cause }
    }
  }
}
