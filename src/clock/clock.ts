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

interface Due {
  readonly atMs: number
  /** calls of one time run in the order they came */
  readonly order: number
  /** undefined: cancelled; the entry stays where it is until its time */
  run: (() => void) | undefined
}

const isBefore = (a: Due, b: Due): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

/** A clock that moves only when told to. Calls that fall due run in the order of their time, then of their scheduling. */
export class VirtualClock implements Clock {
  readonly #startMs: number
  /** since the start: fractions stay exact, which they would not beside the milliseconds since 1970 */
  #elapsedMs = 0
  /** a binary heap: simulations have thousands of calls waiting */
  readonly #due: Due[] = []
  #order = 0

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#startMs = startMs
  }

  nowMs(): number {
    return this.#startMs + this.#elapsedMs
  }

  monotonicMs(): number {
    return this.#elapsedMs
  }

  after(delayMs: number, run: () => void): Timer {
    const entry: Due = { atMs: this.#elapsedMs + Math.max(0, delayMs), order: this.#order++, run }
    this.#push(entry)
    return {
      cancel: () => {
        entry.run = undefined
      },
    }
  }

  /** Moves on by `ms`, running everything that falls due on the way. */
  advance(ms: number): void {
    const untilMs = this.#elapsedMs + ms
    while (this.step(untilMs));
    this.#elapsedMs = untilMs
  }

  /**
   * Moves on to the next call, and runs it.
   * @param untilMs on the monotonic clock: later calls wait
   * @returns false if there was none; the time is what it was then
   */
  step(untilMs = Number.POSITIVE_INFINITY): boolean {
    for (let [next] = this.#due; next !== undefined; [next] = this.#due) {
      if (next.run !== undefined && next.atMs > untilMs) return false
      this.#pop()
      if (next.run === undefined) continue
      this.#elapsedMs = next.atMs
      next.run()
      return true
    }
    return false
  }

  #push(entry: Due): void {
    const heap = this.#due
    let at = heap.length
    heap.push(entry)
    while (at > 0) {
      const above = (at - 1) >> 1
      // above < at < length
      const parent = heap[above]!
      if (!isBefore(entry, parent)) break
      heap[at] = parent
      at = above
    }
    heap[at] = entry
  }

  #pop(): void {
    const heap = this.#due
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (let below = 1; below < heap.length; below = 2 * at + 1) {
      const right = heap[below + 1]
      // below < length
      if (right !== undefined && isBefore(right, heap[below]!)) below++
      const child = heap[below]!
      if (!isBefore(child, last)) break
      heap[at] = child
      at = below
    }
    heap[at] = last
  }
}
