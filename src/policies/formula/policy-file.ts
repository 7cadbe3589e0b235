import { readFileSync, statSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { z } from 'zod'
import { parseSettings } from '../../configuration/settings-document.ts'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import type { Policy } from '../policy.ts'
import { CHARACTERS_AT_MOST } from './expression.ts'
import { createFormula } from './formula-policy.ts'

const PREFIX = 'formula:'
const BYTES_AT_MOST = 256 * 1024
const NAME = /^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$/

const figure = z.strictObject({
  policy: z.string().max(64),
  mean: z.number(),
  /** mean difference of the formula to it on the same seeds, with the limits of its 95 % confidence interval */
  difference: z.number().optional(),
  low: z.number().optional(),
  high: z.number().optional(),
  /** of the paired t test, adjusted for the number of comparisons (Holm) */
  p: z.number().min(0).max(1).optional(),
})

const schema = z.strictObject({
  kind: z.literal('formula', 'expected formula'),
  name: z.string().regex(NAME, 'expected lower-case letters, digits, hyphens and underscores, 63 at most'),
  formula: z.string().min(1).max(CHARACTERS_AT_MOST),
  provenance: z
    .strictObject({
      command: z.string().max(4096),
      version: z.string().max(64),
      source: z.string().max(64),
      /** of the search */
      seed: z.number().int(),
      trained_on: z.string().max(4096),
      held_out: z.strictObject({
        seeds: z.string().max(4096),
        metric: z.string().max(64),
        better: z.enum(['higher', 'lower']),
        /** whether it beats the best heuristic there */
        verdict: z.string().max(400),
        figures: z.array(figure).max(200),
      }),
    })
    .optional(),
})

/** A policy file as it is written. */
export type PolicyFile = z.infer<typeof schema>

/** Whether the name of a policy is that of a file, `formula:FILE`. */
export const isPolicyFile = (name: string): boolean => name.startsWith(PREFIX) && name.length > PREFIX.length

/** The path in `formula:FILE`. */
export const pathOf = (name: string): string => name.slice(PREFIX.length)

/** `formula:FILE` with a path that is relative to the file that says it; other names as they are. */
export const policyFrom = (file: string, name: string): string =>
  isPolicyFile(name) && !isAbsolute(pathOf(name)) ? `${PREFIX}${join(dirname(file), pathOf(name))}` : name

/**
 * The policy that a policy file's text describes, and the file as it was read.
 * @param file how it is called in errors
 * @param taken names that it may not have
 * @throws StowageError CONFIG_UNREADABLE, CONFIG_UNKNOWN_KEY, CONFIG_INVALID_VALUE, with the line or the position in the formula
 */
export const policyOf = (
  file: string,
  text: string,
  taken: readonly string[],
): { policy: Policy; read: PolicyFile } => {
  const read = parseSettings(schema, file, text)
  if (taken.includes(read.name))
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: `${file}: name is ${JSON.stringify(read.name)}`,
      expected: 'a name that no other policy has',
    })
  try {
    return { policy: createFormula(read.name, read.formula), read }
  } catch (thrown) {
    if (!(thrown instanceof StowageError)) throw thrown
    throw new StowageError(thrown.code, { ...thrown.facts, found: `${file}: ${thrown.facts.found}` }, { cause: thrown })
  }
}

/**
 * Reads the file of `formula:FILE`, at once: a policy is made before anything runs.
 * @throws StowageError as `policyOf`
 */
export const readPolicyFile = (name: string, taken: readonly string[]): Policy => {
  const file = pathOf(name)
  let text: string
  try {
    const found = statSync(file)
    if (!found.isFile()) throw new RangeError('not a file')
    if (found.size > BYTES_AT_MOST) throw new RangeError(`${found.size} bytes, ${BYTES_AT_MOST} at most`)
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new StowageError('CONFIG_UNREADABLE', { found: `${file} (${messageOf(cause)})` }, { cause })
  }
  return policyOf(file, text, taken).policy
}
