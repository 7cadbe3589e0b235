import type { Random } from '../clock/random.ts'

/** Delays that double from `firstMs` up to `maxMs`. */
export interface BackoffLimits {
  readonly firstMs: number
  readonly maxMs: number
}

/**
 * How long to wait before the next try: doubling, drawn from the upper half so that clients spread out, and never
 * less than the server asked for.
 * @param failures how many tries have failed in a row, at least 1
 */
export const backoffMs = (limits: BackoffLimits, failures: number, random: Random, askedMs = 0): number => {
  const ceilingMs = Math.min(limits.maxMs, limits.firstMs * 2 ** Math.min(failures - 1, 30))
  return Math.max(askedMs, ceilingMs * (0.5 + random.next() / 2))
}
