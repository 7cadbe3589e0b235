import { StowageError } from '../../errors/catalogue.ts'

/** Mean of repeated measurements with how sure it is. */
export interface Estimate {
  readonly n: number
  readonly mean: number
  /** sample standard deviation (divided by n - 1); 0 where n is 1 */
  readonly sd: number
  /** limits of the confidence interval of the mean; the mean itself where n is 1, which says nothing */
  readonly low: number
  readonly high: number
}

/** Two series measured under the same conditions, pair by pair (the same seed, hence the same arrivals). */
export interface PairedComparison {
  readonly n: number
  /** mean of a - b */
  readonly meanDifference: number
  /** limits of the confidence interval of the mean difference, from Student's t */
  readonly low: number
  readonly high: number
  readonly t: number
  /** two-sided p of the paired t test, undefined below two pairs */
  readonly pT: number | undefined
  /** two-sided p of Wilcoxon's signed-rank test, exact, undefined where no pair differs */
  readonly pWilcoxon: number | undefined
  /** the smallest and the largest difference of a pair */
  readonly least: number
  readonly most: number
}

/** @throws StowageError INTERNAL for no values */
export const mean = (values: readonly number[]): number => {
  if (values.length === 0) throw new StowageError('INTERNAL', { found: 'the mean of no values was asked for' })
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Sample standard deviation, divided by n - 1; 0 for a single value. */
export const standardDeviation = (values: readonly number[]): number => {
  const centre = mean(values)
  if (values.length === 1) return 0
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1))
}

/** Lanczos' approximation with g = 7 and nine terms: relative error below 1e-14 for x > 0. */
const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
] as const
const logGamma = (x: number): number => {
  const [first, ...rest] = LANCZOS
  const shifted = x - 1
  const series = rest.reduce((sum, term, at) => sum + term / (shifted + at + 1), first as number)
  const base = shifted + 7.5
  return 0.5 * Math.log(2 * Math.PI) + (shifted + 0.5) * Math.log(base) - base + Math.log(series)
}

const TINY = 1e-300
/** Regularised incomplete beta function I_x(a, b), by Lentz's continued fraction. */
const incompleteBeta = (x: number, a: number, b: number): number => {
  if (x <= 0) return 0
  if (x >= 1) return 1
  // The fraction converges quickly only on this side of the mean.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a)
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a
  const away = (value: number): number => (Math.abs(value) < TINY ? TINY : value)
  let c = 1
  let d = 1 / away(1 - ((a + b) * x) / (a + 1))
  let fraction = d
  for (let m = 1; m <= 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    d = 1 / away(1 + even * d)
    c = away(1 + even / c)
    fraction *= d * c
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    d = 1 / away(1 + odd * d)
    c = away(1 + odd / c)
    const step = d * c
    fraction *= step
    if (Math.abs(step - 1) < 1e-15) break
  }
  return front * fraction
}

/** P(|T| >= |t|) for Student's t with `degrees` degrees of freedom. */
export const studentTwoSidedP = (t: number, degrees: number): number =>
  Number.isFinite(t) ? incompleteBeta(degrees / (degrees + t * t), degrees / 2, 0.5) : 0

/** The t that |T| stays below with probability `level`, by bisection. */
export const studentQuantile = (level: number, degrees: number): number => {
  let low = 0
  let high = 1
  while (1 - studentTwoSidedP(high, degrees) < level) high *= 2
  for (let step = 0; step < 100; step++) {
    const middle = (low + high) / 2
    if (1 - studentTwoSidedP(middle, degrees) < level) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/**
 * Mean, deviation and confidence interval of independent measurements.
 * @param level probability with which the interval holds the true mean. @default 0.95
 */
export const estimate = (values: readonly number[], level = 0.95): Estimate => {
  const centre = mean(values)
  const sd = standardDeviation(values)
  const n = values.length
  const half = n > 1 ? (studentQuantile(level, n - 1) * sd) / Math.sqrt(n) : 0
  return { n, mean: centre, sd, low: centre - half, high: centre + half }
}

/**
 * Two-sided p of Wilcoxon's signed-rank test: how often random signs would give ranks at least as one-sided. Exact for ties
 * too (mean ranks); pairs that do not differ are left out. @returns undefined where no pair differs
 */
const wilcoxon = (differences: readonly number[]): number | undefined => {
  const sorted = differences.filter((value) => value !== 0).sort((a, b) => Math.abs(a) - Math.abs(b))
  if (sorted.length === 0) return undefined
  // twice the ranks, which are whole numbers even where ranks are means
  const ranks: number[] = []
  for (let from = 0; from < sorted.length; ) {
    let to = from
    while (to < sorted.length && Math.abs(sorted[to] ?? 0) === Math.abs(sorted[from] ?? 0)) to++
    for (let at = from; at < to; at++) ranks.push(from + to + 1)
    from = to
  }
  const total = ranks.reduce((sum, rank) => sum + rank, 0)
  const positive = ranks.reduce((sum, rank, at) => sum + ((sorted[at] ?? 0) > 0 ? rank : 0), 0)
  const probability = new Float64Array(total + 1)
  probability[0] = 1
  let reached = 0
  for (const rank of ranks) {
    reached += rank
    // sum - rank >= 0 within the loop's bounds; both are below the length
    for (let sum = reached; sum >= 0; sum--)
      probability[sum] = (probability[sum]! + (sum >= rank ? probability[sum - rank]! : 0)) / 2
  }
  const extreme = Math.min(positive, total - positive)
  const tail = probability.subarray(0, extreme + 1).reduce((sum, value) => sum + value, 0)
  return Math.min(1, 2 * tail)
}

/**
 * Compares two policies on the same seeds: interval and paired t test of the mean difference, and Wilcoxon's test, which does
 * not suppose that the differences are normal.
 * @param a,b values of the same pairs in the same order
 * @throws StowageError INTERNAL for lists of different lengths, or none
 */
export const comparePaired = (a: readonly number[], b: readonly number[], level = 0.95): PairedComparison => {
  if (a.length !== b.length)
    throw new StowageError('INTERNAL', { found: `${a.length} values were to be paired with ${b.length}` })
  const differences = a.map((value, at) => value - (b[at] ?? Number.NaN))
  const { n, mean: meanDifference, sd, low, high } = estimate(differences, level)
  const t =
    sd === 0 ? (meanDifference === 0 ? 0 : Math.sign(meanDifference) * Infinity) : meanDifference / (sd / Math.sqrt(n))
  return {
    n,
    meanDifference,
    low,
    high,
    t,
    pT: n < 2 ? undefined : sd === 0 && meanDifference === 0 ? 1 : studentTwoSidedP(t, n - 1),
    pWilcoxon: wilcoxon(differences),
    least: Math.min(...differences),
    most: Math.max(...differences),
  }
}

/**
 * Holm's adjustment of p values of several comparisons, so that the chance of any false finding stays at the level.
 * @returns in the order given
 */
export const adjustHolm = (pValues: readonly number[]): number[] => {
  const order = pValues.map((p, at) => ({ p, at })).sort((a, b) => a.p - b.p)
  const adjusted: number[] = Array.from({ length: pValues.length }, () => 1)
  let highest = 0
  for (const [rank, { p, at }] of order.entries()) {
    highest = Math.max(highest, Math.min(1, p * (pValues.length - rank)))
    adjusted[at] = highest
  }
  return adjusted
}
