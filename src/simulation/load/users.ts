import { type Random, seededRandom } from '../../clock/random.ts'

/** How long a user waits between an answer and the next request: uniform between both. */
export interface ThinkTime {
  readonly minMs: number
  readonly maxMs: number
}

/** Locust's `between(1, 2)`, as KISim's users have it. */
export const DEFAULT_THINK_TIME: ThinkTime = { minMs: 1000, maxMs: 2000 }
/** New users do not all come at one moment: a burst spreads over so long (Locust with as many users a second as come). */
export const ARRIVAL_SPREAD_MS = 1000
/** How often the number of users follows its pattern. */
export const SCHEDULE_TICK_MS = 250

/** Anything that is chosen by its weight. */
export interface Weighted {
  readonly weight: number
}

/**
 * What one user of a closed loop does: which request comes next and how long it thinks before. Determined by the run's
 * seed and the user's number, so that the same user does the same in simulation and live.
 */
export class UserScript {
  readonly #random: Random
  readonly #think: ThinkTime
  readonly #bounds: Float64Array

  /** @param mix what it chooses from; weights above 0 in sum */
  constructor(seed: number, user: number, mix: readonly Weighted[], think: ThinkTime) {
    this.#random = seededRandom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(user + 1, 0x85ebca6b))
    this.#think = think
    let sum = 0
    this.#bounds = Float64Array.from(mix, ({ weight }) => (sum += weight))
  }

  /** how long after it was called for it begins */
  arrivalDelayMs(): number {
    return this.#random.next() * ARRIVAL_SPREAD_MS
  }

  thinkMs(): number {
    const { minMs, maxMs } = this.#think
    return minMs + this.#random.next() * (maxMs - minMs)
  }

  /** the place in the mix of the next request */
  nextRequest(): number {
    const bounds = this.#bounds
    const last = bounds.length - 1
    // last < length
    const drawn = this.#random.next() * bounds[last]!
    let at = 0
    while (at < last && drawn >= bounds[at]!) at++
    return at
  }
}
