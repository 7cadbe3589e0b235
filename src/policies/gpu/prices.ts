import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import { type GpuWorkload, isShared } from './workload.ts'

/** A GPU is priced in hundredths: shares are asked for in full per cent. */
const UNITS = 100
const MILLI_PER_UNIT = WHOLE_GPU_MILLI / UNITS
/** What a pattern must be worth above a GPU, or a price below 0, to be no rounding error. */
const EPSILON = 1e-9
/** Pivots after which the prices at hand are brought down until they are feasible, and taken. openb's 20 sizes need a few dozen. */
const PIVOTS_AT_MOST = 2000

/** What a free part of a GPU is worth, in GPUs. */
export interface HoleValues {
  /** sizes of shares in thousandths, ascending, as they are priced (rounded up to hundredths of a GPU) */
  readonly sizesMilli: readonly number[]
  /** of each size, in GPUs: its row's dual value over the capacity's; a whole GPU is worth 1 */
  readonly prices: readonly number[]
  /** byMilli[r]: the most that fits into r thousandths is worth, 0 <= r <= 1000 */
  readonly byMilli: Float64Array
}

const unitsOf = (gpuMilli: number): number => Math.ceil(gpuMilli / MILLI_PER_UNIT)

/**
 * What `units` hundredths can hold at best: sum of prices, each size as often as one likes.
 * `last[u]` is the size taken last on the way to u, -1: none.
 */
class Knapsack {
  readonly #sizes: readonly number[]
  readonly value = new Float64Array(UNITS + 1)
  readonly #last = new Int16Array(UNITS + 1)

  constructor(sizes: readonly number[]) {
    this.#sizes = sizes
  }

  solve(prices: Float64Array): void {
    const { value } = this
    const last = this.#last
    for (let units = 0; units <= UNITS; units++) {
      // What fits into less fits here too.
      let best = units > 0 ? value[units - 1]! : 0
      let taken = units > 0 ? -2 : -1
      for (let i = 0; i < this.#sizes.length; i++) {
        const size = this.#sizes[i]!
        if (size > units) break
        const worth = value[units - size]! + prices[i]!
        if (worth > best + EPSILON) {
          best = worth
          taken = i
        }
      }
      value[units] = best
      last[units] = taken
    }
  }

  /** How often each size is in the best filling of a GPU. */
  pattern(): Float64Array {
    const counts = new Float64Array(this.#sizes.length)
    for (let units = UNITS; units > 0; ) {
      // 0 < units <= UNITS
      const taken = this.#last[units]!
      if (taken < 0) units--
      else {
        counts[taken] = counts[taken]! + 1
        units -= this.#sizes[taken]!
      }
    }
    return counts
  }
}

/**
 * Dual prices of shares of GPUs under a workload: the linear program "serve as much of the demand as fits", in which each GPU
 * takes one pattern of shares and whole GPUs take GPUs of their own. A size's price is the dual value of its demand over that of
 * the capacity, which does not depend on the whole GPUs: it is the dual of "cover the demand for shares with as few GPUs as
 * possible", solved by column generation with a knapsack for the best pattern (Gilmore and Gomory 1961) and a revised simplex on
 * the explicit inverse of the basis, at most 99 rows.
 */
export const priceHoles = ({ classes }: GpuWorkload): HoleValues => {
  const demandOfSize = new Map<number, number>()
  for (const one of classes) {
    if (!isShared(one)) continue
    const units = unitsOf(one.gpuMilli)
    // As good as whole: no other share fits beside it.
    if (units < UNITS) demandOfSize.set(units, (demandOfSize.get(units) ?? 0) + one.weight)
  }
  const sizes = [...demandOfSize.keys()].sort((a, b) => a - b)
  const demand = Float64Array.from(sizes, (size) => demandOfSize.get(size) ?? 0)
  const knapsack = new Knapsack(sizes)
  const prices = cheapestCover(sizes, demand, knapsack)
  knapsack.solve(prices)
  return {
    sizesMilli: sizes.map((size) => size * MILLI_PER_UNIT),
    prices: [...prices],
    byMilli: Float64Array.from({ length: WHOLE_GPU_MILLI + 1 }, (_, milli) =>
      // A whole GPU is worth 1 whatever the shares are.
      milli === WHOLE_GPU_MILLI ? 1 : Math.min(1, knapsack.value[Math.floor(milli / MILLI_PER_UNIT)]!),
    ),
  }
}

/** The dual values of the demands in: minimise the GPUs used such that every demand is covered. */
const cheapestCover = (sizes: readonly number[], demand: Float64Array, knapsack: Knapsack): Float64Array => {
  const rows = sizes.length
  const prices = new Float64Array(rows)
  if (rows === 0) return prices
  // The first basis: GPUs full of one size each. inverse[row * rows + column]
  const inverse = new Float64Array(rows * rows)
  const basic = new Float64Array(rows)
  const costs = new Float64Array(rows).fill(1)
  for (let row = 0; row < rows; row++) {
    const fits = Math.floor(UNITS / sizes[row]!)
    inverse[row * rows + row] = 1 / fits
    basic[row] = demand[row]! / fits
  }
  const direction = new Float64Array(rows)
  for (let pivots = 0; pivots < PIVOTS_AT_MOST; pivots++) {
    prices.fill(0)
    for (let row = 0; row < rows; row++) {
      const cost = costs[row]!
      if (cost !== 0) for (let i = 0; i < rows; i++) prices[i] = prices[i]! + cost * inverse[row * rows + i]!
    }
    // A demand that is covered beyond need: its surplus enters, at no cost.
    let surplus = -1
    for (let i = 0; i < rows; i++) if (prices[i]! < (surplus < 0 ? -EPSILON : prices[surplus]!)) surplus = i
    let column: Float64Array
    if (surplus >= 0) {
      column = new Float64Array(rows)
      column[surplus] = -1
    } else {
      knapsack.solve(prices)
      if (knapsack.value[UNITS]! <= 1 + EPSILON) return prices.map((price) => Math.max(0, price))
      column = knapsack.pattern()
    }
    for (let row = 0; row < rows; row++) {
      let sum = 0
      for (let i = 0; i < rows; i++) sum += inverse[row * rows + i]! * column[i]!
      direction[row] = sum
    }
    let leaving = -1
    let step = Number.POSITIVE_INFINITY
    for (let row = 0; row < rows; row++) {
      if (direction[row]! <= EPSILON) continue
      const ratio = basic[row]! / direction[row]!
      if (ratio < step - 1e-15 || (ratio <= step && direction[row]! > direction[leaving]!)) {
        step = ratio
        leaving = row
      }
    }
    // Nothing holds the column back: only rounding errors can say so, for GPUs have a cost.
    if (leaving < 0) break
    const pivot = direction[leaving]!
    for (let i = 0; i < rows; i++) inverse[leaving * rows + i] = inverse[leaving * rows + i]! / pivot
    for (let row = 0; row < rows; row++) {
      const factor = direction[row]!
      if (row === leaving || factor === 0) continue
      basic[row] = Math.max(0, basic[row]! - factor * step)
      for (let i = 0; i < rows; i++)
        inverse[row * rows + i] = inverse[row * rows + i]! - factor * inverse[leaving * rows + i]!
    }
    basic[leaving] = step
    costs[leaving] = surplus >= 0 ? 0 : 1
  }
  // Whatever is left, prices brought down to the dearest pattern are feasible (Farley's bound).
  const feasible = prices.map((price) => Math.max(0, price))
  knapsack.solve(feasible)
  const most = Math.max(1, knapsack.value[UNITS]!)
  return feasible.map((price) => price / most)
}
