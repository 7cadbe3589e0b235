/** A scheduled call; cancelling one that has run does nothing. */
export interface Timer {
  cancel(): void
}

/**
 * Time, handed in: the system's in a live scheduler, a virtual one in simulations and tests. Nothing else in the project
 * asks the machine what time it is.
 */
export interface Clock {
  /** Wall-clock time, milliseconds since 1970: for what is shown or sent. */
  nowMs(): number
  /** Milliseconds from an arbitrary start, with fractions, never going back: for durations. */
  monotonicMs(): number
  /** Calls `run` once after `delayMs`. Live timers do not keep the process alive. */
  after(delayMs: number, run: () => void): Timer
}

/** Resolves after `delayMs`; rejects with the signal's reason when it is aborted first. */
export const sleep = (clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error)
      return
    }
    const onAbort = (): void => {
      timer.cancel()
      reject(signal?.reason as Error)
    }
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs).unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

/** A clock that moves only when told to. Calls that fall due run in the order of their time, then of their scheduling. */
export class VirtualClock implements Clock {
  #nowMs: number
  readonly #startMs: number
  readonly #due: { atMs: number; run: () => void }[] = []

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#startMs = startMs
    this.#nowMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs - this.#startMs
  }

  after(delayMs: number, run: () => void): Timer {
    const entry = { atMs: this.#nowMs + Math.max(0, delayMs), run }
    const later = this.#due.findIndex((other) => other.atMs > entry.atMs)
    this.#due.splice(later < 0 ? this.#due.length : later, 0, entry)
    return {
      cancel: () => {
        const at = this.#due.indexOf(entry)
        if (at >= 0) this.#due.splice(at, 1)
      },
    }
  }

  /** Moves on by `ms`, running everything that falls due on the way. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms
    for (let next = this.#due[0]; next !== undefined && next.atMs <= untilMs; next = this.#due[0]) {
      this.#due.shift()
      this.#nowMs = next.atMs
      next.run()
    }
    this.#nowMs = untilMs
  }
}
