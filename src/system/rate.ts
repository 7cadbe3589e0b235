import type { Clock } from '../clock/clock.ts'

/** Counts what happens in each second of the last minute. */
export class RateMeter {
  static readonly SECONDS = 60
  readonly #clock: Clock
  readonly #counts = new Int32Array(RateMeter.SECONDS)
  #second: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#second = this.#now()
  }

  count(): void {
    this.#turn()
    const at = this.#second % RateMeter.SECONDS
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
  }

  /** Counts of the last whole seconds, oldest first; the second that still runs is left out. */
  perSecond(seconds = RateMeter.SECONDS - 1): number[] {
    this.#turn()
    return Array.from({ length: seconds }, (_, i) => {
      const second = this.#second - seconds + i
      return second < 0 ? 0 : (this.#counts[second % RateMeter.SECONDS] ?? 0)
    })
  }

  #now(): number {
    return Math.floor(this.#clock.monotonicMs() / 1000)
  }

  /** Seconds in which nothing happened count as zero. */
  #turn(): void {
    const now = this.#now()
    if (now - this.#second >= RateMeter.SECONDS) this.#counts.fill(0)
    else for (let second = this.#second + 1; second <= now; second++) this.#counts[second % RateMeter.SECONDS] = 0
    this.#second = now
  }
}
