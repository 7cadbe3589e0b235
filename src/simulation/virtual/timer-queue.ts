import type { Clock, Timer } from '../../clock/clock.ts'

interface Entry {
  readonly atMs: number
  /** entries of one time run in the order they came */
  readonly order: number
  run: (() => void) | undefined
}

const before = (a: Entry, b: Entry): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

/** After so many calls in a row the event loop gets its turn. */
const BATCH = 100

/**
 * Many timers on one timer of the clock: a binary heap of calls by time. A hundred thousand pods that will end some day
 * cost one pending timer, and `stop` leaves none.
 */
export class TimerQueue {
  readonly #clock: Clock
  readonly #heap: Entry[] = []
  #order = 0
  #armed: { readonly atMs: number; readonly timer: Timer } | undefined
  #running = false
  #stopped = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Calls `run` once after `delayMs`; never before this call has returned. After `stop` nothing is taken any more. */
  after(delayMs: number, run: () => void): Timer {
    const entry: Entry = { atMs: this.#clock.monotonicMs() + Math.max(0, delayMs), order: this.#order++, run }
    if (this.#stopped) return { cancel: () => {} }
    this.#push(entry)
    this.#arm()
    return {
      cancel: () => {
        // The entry stays in the heap until its time; what it holds is let go now.
        entry.run = undefined
      },
    }
  }

  /** Forgets every call. */
  stop(): void {
    this.#stopped = true
    this.#heap.length = 0
    this.#armed?.timer.cancel()
    this.#armed = undefined
  }

  #arm(): void {
    const next = this.#heap[0]
    if (next === undefined || this.#running) return
    if (this.#armed !== undefined) {
      if (this.#armed.atMs <= next.atMs) return
      this.#armed.timer.cancel()
    }
    const timer = this.#clock.after(Math.max(0, next.atMs - this.#clock.monotonicMs()), () => this.#runDue())
    this.#armed = { atMs: next.atMs, timer }
  }

  #runDue(): void {
    this.#armed = undefined
    this.#running = true
    const nowMs = this.#clock.monotonicMs()
    try {
      for (let calls = 0; calls < BATCH; ) {
        const next = this.#heap[0]
        // Timers of the machine may fire a fraction of a millisecond early.
        if (next === undefined || next.atMs > nowMs + 1) break
        this.#pop()
        if (next.run === undefined) continue
        calls++
        next.run()
      }
    } finally {
      this.#running = false
      this.#arm()
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(entry)
    while (at > 0) {
      const up = (at - 1) >> 1
      const parent = heap[up]
      if (parent === undefined || !before(entry, parent)) break
      heap[at] = parent
      at = up
    }
    heap[at] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      let down = 2 * at + 1
      let child = heap[down]
      if (child === undefined) break
      const right = heap[down + 1]
      if (right !== undefined && before(right, child)) {
        down++
        child = right
      }
      if (!before(child, last)) break
      heap[at] = child
      at = down
    }
    heap[at] = last
  }
}
