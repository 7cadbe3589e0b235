import type { Random } from '../../clock/random.ts'

/** How long something takes. `cv` is the coefficient of variation: standard deviation / mean. */
export interface DurationDistribution {
  readonly kind: 'constant' | 'exponential' | 'lognormal'
  readonly meanMs: number
  /** of `lognormal` only */
  readonly cv?: number
}

/** Time by what a request of a trace has to read and to write. */
export interface TokenService {
  readonly kind: 'tokens'
  readonly perPromptTokenMs: number
  readonly perGeneratedTokenMs: number
}

/** Draws from a distribution, in milliseconds. */
export type Sampler = () => number

/** @param random draws come from here; one stream may serve many samplers */
export const samplerOf = ({ kind, meanMs, cv = 1 }: DurationDistribution, random: Random): Sampler => {
  if (kind === 'constant' || meanMs === 0 || (kind === 'lognormal' && cv === 0)) return () => meanMs
  // 1 - next() is above 0
  if (kind === 'exponential') return () => -meanMs * Math.log(1 - random.next())
  const variance = Math.log(1 + cv * cv)
  const sigma = Math.sqrt(variance)
  const mu = Math.log(meanMs) - variance / 2
  // Box-Muller makes two normal numbers at a time
  let spare = Number.NaN
  return () => {
    const kept = spare
    spare = Number.NaN
    if (!Number.isNaN(kept)) return Math.exp(mu + sigma * kept)
    const radius = Math.sqrt(-2 * Math.log(1 - random.next()))
    const angle = 2 * Math.PI * random.next()
    spare = radius * Math.sin(angle)
    return Math.exp(mu + sigma * radius * Math.cos(angle))
  }
}
