import { InvalidArgumentError, Option } from 'commander'
import { isPolicyFile } from '../policies/formula/policy-file.ts'
import { policyNames } from '../policies/registry.ts'
import { parseDurationMs } from '../simulation/virtual/pod-stages.ts'

/** Parsers for the values of flags; each throws commander's InvalidArgumentError, which names the flag and the value. */

/** A whole number within bounds. */
export const whole =
  (least: number, most: number) =>
  (text: string): number => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= least && value <= most))
      throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}`)
    return value
  }

/** A number above 0. */
export const positive = (text: string): number => {
  const value = Number(text)
  if (!(value > 0 && value <= 1e9)) throw new InvalidArgumentError('expected a number above 0')
  return value
}

/** Milliseconds of a duration above 0; a number alone is seconds. */
export const duration = (text: string): number => {
  let ms = Number.NaN
  try {
    ms = parseDurationMs(text)
  } catch {
    // told below
  }
  if (!(ms > 0)) throw new InvalidArgumentError('expected a duration such as 30s, 5m or 1h30m')
  return ms
}

/** Node's timers take no more. */
const TIMER_MS_AT_MOST = 2 ** 31 - 1

/** A duration in real time. */
export const timed = (text: string): number => {
  const ms = duration(text)
  if (ms > TIMER_MS_AT_MOST) throw new InvalidArgumentError('expected a duration up to 24d, such as 90s, 5m, 1h or 2d')
  return ms
}

/** An option for a duration with a default, which help shows as it would be written. */
export const durationOption = (flags: string, description: string, byDefault: string): Option =>
  new Option(flags, description).argParser(duration).default(duration(byDefault), byDefault)

/** A flag that may be given several times. */
export const collected = (text: string, before: readonly string[]): string[] => [...before, text]

/** The name of a policy, or `formula:FILE`. */
export const policyValue = (text: string): string => {
  if (isPolicyFile(text) || policyNames.includes(text)) return text
  throw new InvalidArgumentError(`expected one of ${policyNames.join(', ')}, formula:FILE`)
}
