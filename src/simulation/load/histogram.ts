/** Quantiles are off by at most this share of their value. */
const RELATIVE_ERROR = 0.005
const GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
const LOG_GAMMA = Math.log(GAMMA)
/** Smaller values count as this: a hundredth of a microsecond is nobody's latency. */
const LEAST = 1e-5
/** Larger ones as this: about eleven days in milliseconds. */
const MOST = 1e9
const OFFSET = 1 - Math.ceil(Math.log(LEAST) / LOG_GAMMA)
const BUCKETS = Math.ceil(Math.log(MOST) / LOG_GAMMA) + OFFSET + 1

/** What a histogram says of the values that it saw. All zero where there were none. */
export interface Percentiles {
  readonly mean: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

/**
 * Counts positive values in buckets whose bounds grow by 1 %, so that every quantile of millions of values is known to
 * within 0.5 % in fixed memory (the mapping of DDSketch: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile
 * sketch with relative-error guarantees", VLDB 2019). Mean and maximum are exact.
 */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS)
  #count = 0
  #sum = 0
  #max = 0
  /** buckets in use are from `#low` to `#high` */
  #low = BUCKETS
  #high = -1

  get count(): number {
    return this.#count
  }

  get sum(): number {
    return this.#sum
  }

  /** One more value; what is no positive number counts as the least that there is. */
  record(value: number): void {
    const kept = value > LEAST ? (value < MOST ? value : MOST) : LEAST
    const at = Math.ceil(Math.log(kept) / LOG_GAMMA) + OFFSET
    // kept is between LEAST and MOST
    this.#counts[at]!++
    this.#count++
    this.#sum += kept
    if (kept > this.#max) this.#max = kept
    if (at < this.#low) this.#low = at
    if (at > this.#high) this.#high = at
  }

  /** All values of another, too. */
  add(other: Histogram): void {
    for (let at = other.#low; at <= other.#high; at++) this.#counts[at]! += other.#counts[at]! // same length
    this.#count += other.#count
    this.#sum += other.#sum
    this.#max = Math.max(this.#max, other.#max)
    this.#low = Math.min(this.#low, other.#low)
    this.#high = Math.max(this.#high, other.#high)
  }

  /** Forgets everything. */
  clear(): void {
    if (this.#high >= 0) this.#counts.fill(0, this.#low, this.#high + 1)
    this.#count = 0
    this.#sum = 0
    this.#max = 0
    this.#low = BUCKETS
    this.#high = -1
  }

  /**
   * The value that a share `q` of all values does not exceed (nearest rank), within 0.5 %; 0 without any value.
   * @param q from 0 to 1
   */
  quantile(q: number): number {
    if (this.#count === 0) return 0
    const rank = Math.max(1, Math.ceil(q * this.#count))
    let seen = 0
    for (let at = this.#low; at <= this.#high; at++) {
      // low <= at <= high < length
      seen += this.#counts[at]!
      if (seen >= rank) return Math.min(this.#max, (2 * Math.exp((at - OFFSET) * LOG_GAMMA)) / (1 + GAMMA))
    }
    return this.#max
  }

  percentiles(): Percentiles {
    return {
      mean: this.#count === 0 ? 0 : this.#sum / this.#count,
      p50: this.quantile(0.5),
      p95: this.quantile(0.95),
      p99: this.quantile(0.99),
      max: this.#max,
    }
  }
}
