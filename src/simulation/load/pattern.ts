import { seededRandom } from '../../clock/random.ts'
import { StowageError } from '../../errors/catalogue.ts'

/** The shapes of load that KISim names. */
export const PATTERN_NAMES = ['ramp', 'spike', 'periodic', 'random'] as const
export type PatternName = (typeof PATTERN_NAMES)[number]
/** Requests that come at the times of a list, in place of users. */
export const ARRIVALS = 'arrivals'
export const LOAD_NAMES = [...PATTERN_NAMES, ARRIVALS] as const
export type LoadName = (typeof LOAD_NAMES)[number]

/** What a pattern is made of; what is left out takes the default of its shape (`PATTERN_DEFAULTS`). */
export interface PatternOptions {
  readonly name: PatternName
  readonly durationMs: number
  readonly minUsers?: number | undefined
  readonly maxUsers?: number | undefined
  /** Of `random`, which no other pattern needs. @default 1 */
  readonly seed?: number | undefined
}

/** How many users there are at each moment: the one schedule that simulation and live runs share. */
export interface LoadPattern {
  readonly name: LoadName
  readonly durationMs: number
  readonly minUsers: number
  readonly maxUsers: number
  readonly seed: number
  /** users at `atMs` since the start; none before the start and from `durationMs` on */
  usersAt(atMs: number): number
}

/** ramp 0 -> 100, spike 20 -> 100 -> 20, as KISim documents them; 10 to 100 is what its controller takes for the others. */
export const PATTERN_DEFAULTS: Readonly<Record<PatternName, { readonly minUsers: number; readonly maxUsers: number }>> =
  {
    ramp: { minUsers: 0, maxUsers: 100 },
    spike: { minUsers: 20, maxUsers: 100 },
    periodic: { minUsers: 10, maxUsers: 100 },
    random: { minUsers: 10, maxUsers: 100 },
  }

/** The peak of `spike` takes the middle 40 % of the run. */
const PEAK_FROM = 0.3
const PEAK_TO = 0.7
/** Waves of `periodic` in one run. */
const CYCLES = 3
/** `random` draws anew so often. */
const REDRAW_MS = 30_000

const MAX_USERS = 100_000
const MAX_DURATION_MS = 7 * 24 * 3_600_000

const invalid = (found: string, expected: string): StowageError =>
  new StowageError('CONFIG_INVALID_VALUE', { found, expected })

const checkedDuration = (durationMs: number): number => {
  if (durationMs > 0 && durationMs <= MAX_DURATION_MS) return durationMs
  throw invalid(`a load of ${durationMs} ms`, `more than 0 and at most ${MAX_DURATION_MS / 86_400_000} days`)
}

/** What stands where a pattern does when requests come from a list: no users. @throws StowageError CONFIG_INVALID_VALUE */
export const withoutUsers = (durationMs: number, seed: number): LoadPattern => ({
  name: ARRIVALS,
  durationMs: checkedDuration(durationMs),
  minUsers: 0,
  maxUsers: 0,
  seed,
  usersAt: () => 0,
})

const shapeOf = (name: PatternName, durationMs: number, low: number, high: number, seed: number) => {
  const span = high - low
  if (name === 'ramp') return (atMs: number) => low + Math.round((span * atMs) / durationMs)
  if (name === 'spike')
    return (atMs: number) => (atMs >= PEAK_FROM * durationMs && atMs < PEAK_TO * durationMs ? high : low)
  if (name === 'periodic')
    return (atMs: number) => low + Math.round(span * (0.5 + 0.5 * Math.sin((2 * Math.PI * CYCLES * atMs) / durationMs)))
  const random = seededRandom(seed)
  const drawn = Int32Array.from({ length: Math.ceil(durationMs / REDRAW_MS) }, () => low + random.below(span + 1))
  // atMs < durationMs
  return (atMs: number) => drawn[Math.floor(atMs / REDRAW_MS)]!
}

/**
 * A load pattern: `ramp` rises evenly from the fewest to the most users, `spike` holds the most for the middle 40 % of the
 * run, `periodic` is a sine of three waves, `random` draws a number between both every 30 s. Equal users make it constant.
 * @throws StowageError CONFIG_INVALID_VALUE
 * @example createPattern({ name: 'spike', durationMs: 60_000 }).usersAt(30_000) // 100
 */
export const createPattern = (options: PatternOptions): LoadPattern => {
  const { name, durationMs, seed = 1 } = options
  if (!PATTERN_NAMES.includes(name))
    throw invalid(`the load pattern ${JSON.stringify(name)}`, `one of ${PATTERN_NAMES.join(', ')}`)
  const { minUsers = Math.min(PATTERN_DEFAULTS[name].minUsers, options.maxUsers ?? MAX_USERS) } = options
  const { maxUsers = Math.max(PATTERN_DEFAULTS[name].maxUsers, minUsers) } = options
  checkedDuration(durationMs)
  for (const users of [minUsers, maxUsers])
    if (!Number.isInteger(users) || users < 0 || users > MAX_USERS)
      throw invalid(`${users} users`, `a whole number from 0 to ${MAX_USERS}`)
  if (minUsers > maxUsers)
    throw invalid(`${minUsers} users at least and ${maxUsers} at most`, 'no more at least than at most')
  if (!Number.isSafeInteger(seed)) throw invalid(`the seed ${seed}`, 'a whole number')
  const users = shapeOf(name, durationMs, minUsers, maxUsers, seed)
  return {
    name,
    durationMs,
    minUsers,
    maxUsers,
    seed,
    usersAt: (atMs) => (atMs >= 0 && atMs < durationMs ? users(atMs) : 0),
  }
}
