import type { Clock } from '../../clock/clock.ts'
import type { Random } from '../../clock/random.ts'

/** What happens to a request that a rule applies to. */
export type FaultEffect =
  /** answered with this status at once, its work not done */
  | {
      readonly kind: 'status'
      readonly status: 409 | 410 | 429 | 500 | 502 | 503 | 504
      readonly retryAfterSeconds?: number
    }
  /** the connection breaks, the work not done */
  | { readonly kind: 'reset' }
  /** the work is done, and the connection breaks before the answer */
  | { readonly kind: 'lostAnswer' }
  /** answered later */
  | { readonly kind: 'delay'; readonly delayMs: number }

export interface FaultRule {
  readonly effect: FaultEffect
  /** `GET`, `POST`, ...; any when absent */
  readonly method?: string
  /** tested against path and query; any when absent */
  readonly path?: RegExp
  /** ends after so many requests @default without end */
  readonly times?: number
  /** so many of the requests, 0 to 1 @default 1 */
  readonly fraction?: number
}

/** What the server lets its watches be subject to. */
export interface WatchControl {
  cut(): void
  stall(): void
  bookmarks(on: boolean): void
  forgetHistory(): void
}

/** Things that go wrong with API servers, on demand. */
export class Faults {
  readonly #rules: { rule: FaultRule; left: number }[] = []
  readonly #random: Random
  readonly #watches: WatchControl

  constructor(random: Random, watches: WatchControl) {
    this.#random = random
    this.#watches = watches
  }

  /** Adds a rule; the first rule that fits a request applies. @returns how to take it away */
  add(rule: FaultRule): () => void {
    const entry = { rule, left: rule.times ?? Number.POSITIVE_INFINITY }
    this.#rules.push(entry)
    return () => {
      const index = this.#rules.indexOf(entry)
      if (index >= 0) this.#rules.splice(index, 1)
    }
  }

  /** Everything is well again. */
  clear(): void {
    this.#rules.length = 0
    this.#watches.bookmarks(true)
  }

  /** Ends all watches, as a restart of the server would. */
  cutWatches(): void {
    this.#watches.cut()
  }

  /** Watches that are open now stay open and never say anything again, as half-dead connections do; new ones work. */
  stallWatches(): void {
    this.#watches.stall()
  }

  stopBookmarks(): void {
    this.#watches.bookmarks(false)
  }

  /** Whoever resumes a watch from any resourceVersion given out so far is told 410. */
  forgetHistory(): void {
    this.#watches.forgetHistory()
  }

  /** The effect on a request, undefined if it is spared. Counts it. */
  effectOn(method: string, path: string): FaultEffect | undefined {
    for (const [index, entry] of this.#rules.entries()) {
      const { rule } = entry
      if (rule.method !== undefined && rule.method !== method) continue
      if (rule.path !== undefined && !rule.path.test(path)) continue
      if (rule.fraction !== undefined && this.#random.next() >= rule.fraction) continue
      if (--entry.left <= 0) this.#rules.splice(index, 1)
      return rule.effect
    }
    return undefined
  }
}

/** Reasons as kube-apiserver gives them with these codes. */
export const faultReasons: Record<number, { reason: string; message: string }> = {
  409: {
    reason: 'Conflict',
    message:
      'Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again',
  },
  410: { reason: 'Expired', message: 'The resourceVersion for the provided watch is too old.' },
  429: { reason: 'TooManyRequests', message: 'Too many requests, please try again later.' },
  500: { reason: 'InternalError', message: 'Internal error occurred: injected by the simulation' },
  502: { reason: 'InternalError', message: 'bad gateway' },
  503: { reason: 'ServiceUnavailable', message: 'the server is currently unable to handle the request' },
  504: { reason: 'Timeout', message: 'Timeout: request did not complete within the allotted timeout' },
}

/** Resolves after a delay of the server's clock. */
export const pause = (clock: Clock, delayMs: number): Promise<void> =>
  new Promise((resolve) => void clock.after(delayMs, resolve))
