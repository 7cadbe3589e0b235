import { z } from 'zod'

/** What a setting is called in each of its sources, and what a person has to know about it. */
export interface SettingFacts {
  /** place in the YAML file: `metrics.port` */
  readonly key: string
  /** name of the environment variable */
  readonly env: string
  /** long flag of the command line: `--metrics-port` */
  readonly flag: string
  /** how the flag's value is shown in --help: `<port>` */
  readonly argument: string
  readonly description: string
  /** what a value may be, for errors and documents: `a whole number from 0 to 65535` */
  readonly allowed: string
  /** never shown: masked wherever the configuration is printed */
  readonly secret?: true
}

/** The facts of every setting, by the zod schema of its value. */
export const settingFacts = z.registry<SettingFacts>()

/** A kind of value: reads what YAML, environment or flags hand in, and says in words what it takes. */
export interface Kind<T extends z.ZodType> {
  readonly schema: T
  readonly allowed: string
}

const kind = <T extends z.ZodType>(schema: T, allowed: string): Kind<T> => ({ schema, allowed })

/** Text of one line without control characters, trimmed by nobody: what is written is what is used. */
export const text = (allowed: string, pattern: RegExp = /^[^\p{Cc}]{1,4096}$/u) =>
  kind(z.string().regex(pattern), allowed)

const truth = new Map(
  Object.entries({ true: true, yes: true, on: true, '1': true, false: false, no: false, off: false, '0': false }),
)

/** `true` and `false`, and the other words that shells and YAML files use for them. */
export const boolean = () =>
  kind(
    z.union([
      z.boolean(),
      z
        .string()
        .toLowerCase()
        .refine((word) => truth.has(word))
        .transform((word) => truth.get(word) === true),
    ]),
    'true or false',
  )

/** One of a few words, upper and lower case alike. */
export const choice = <const T extends readonly string[]>(words: T) =>
  kind(
    z.preprocess(
      (raw) =>
        typeof raw === 'string' ? (words.find((word) => word.toLowerCase() === raw.toLowerCase()) ?? raw) : raw,
      z.enum(words),
    ),
    `one of ${words.join(', ')}`,
  )

export const integer = (min: number, max: number) =>
  kind(
    z
      .union([
        z.number(),
        z
          .string()
          .regex(/^-?\d{1,16}$/)
          .transform(Number),
      ])
      .pipe(z.number().int().min(min).max(max)),
    `a whole number from ${min} to ${max}`,
  )

/** A number, fractions allowed. */
export const decimal = (min: number, max: number) =>
  kind(
    z
      .union([
        z.number(),
        z
          .string()
          .regex(/^\d{1,9}(\.\d{1,9})?$/)
          .transform(Number),
      ])
      .pipe(z.number().min(min).max(max)),
    `a number from ${min} to ${max}`,
  )

const isPlainUrl = (written: string): boolean => {
  const url = URL.canParse(written) ? new URL(written) : undefined
  return (
    url !== undefined &&
    /^https?:$/.test(url.protocol) &&
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === ''
  )
}

/** The address of an HTTP server. Addresses are shown, so that nothing secret may be in them. */
export const url = () =>
  kind(z.string().max(2048).refine(isPlainUrl), 'an http:// or https:// address without a user, a password or a query')

/** A TCP port; 0 lets the system choose a free one. */
export const port = () => kind(integer(0, 65_535).schema, 'a port from 0 to 65535, where 0 takes a free one')

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
type DurationUnit = keyof typeof unitMs
const durationPart = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g

const durationOf = (raw: string | number, bare: DurationUnit): number => {
  const written = typeof raw === 'number' ? String(raw) : raw.trim()
  if (/^\d+(\.\d+)?$/.test(written)) return Number(written) * unitMs[bare]
  if (written.replace(durationPart, '') !== '' || written === '') return Number.NaN
  let sumMs = 0
  // the pattern allows no other unit
  for (const [, amount, unit] of written.matchAll(durationPart)) sumMs += Number(amount) * unitMs[unit as DurationUnit]
  return sumMs
}

/**
 * A length of time, in milliseconds once read: `30s`, `5m`, `1h30m`, or a bare number in the unit `bare`.
 * @param min shortest, written as a user would
 * @param max longest
 */
export const duration = (bare: DurationUnit, min: string, max: string) =>
  kind(
    z
      .union([z.string().max(64), z.number()])
      .transform((raw) => durationOf(raw, bare))
      .pipe(z.number().min(durationOf(min, bare)).max(durationOf(max, bare))),
    `a duration from ${min} to ${max} such as 30s, 5m or 1h30m, or a number of ${bare === 's' ? 'seconds' : bare}`,
  )

const sizeUnit = new Map(Object.entries({ '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, k: 1e3, M: 1e6, G: 1e9 }))

/** A number of bytes: `512Mi`, `1Gi`, or a bare number. */
export const bytes = (min: number, max: number, allowed: string) =>
  kind(
    z
      .union([z.string().max(32), z.number()])
      .transform((raw) => {
        const [, amount, unit] = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G|)$/.exec(String(raw)) ?? []
        return amount === undefined ? Number.NaN : Math.floor(Number(amount) * (sizeUnit.get(unit ?? '') ?? Number.NaN))
      })
      .pipe(z.number().min(min).max(max)),
    allowed,
  )

/** A profile as written: which policy ranks the nodes for pods of that schedulerName, and who steps in when it fails. */
export interface WrittenProfile {
  readonly schedulerName: string
  readonly policy: string
  readonly fallback?: string
}

const profileName = /^[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,251}[a-zA-Z0-9])?$/
/** Names, or the file of one. */
export const policyName = /^(?:[a-zA-Z0-9][-a-zA-Z0-9_.]{0,62}|formula:[^\p{Cc},=]{1,4000})$/u

const writtenProfiles = (raw: unknown): WrittenProfile[] | undefined => {
  if (raw instanceof Map) {
    const profiles: WrittenProfile[] = []
    for (const [name, value] of raw as Map<unknown, unknown>) {
      if (typeof name !== 'string' || !profileName.test(name)) return undefined
      const fields =
        value instanceof Map ? (value as Map<unknown, unknown>) : new Map<unknown, unknown>([['policy', value]])
      const policy = fields.get('policy')
      const fallback = fields.get('fallback')
      if (typeof policy !== 'string' || !policyName.test(policy)) return undefined
      if (fallback !== undefined && (typeof fallback !== 'string' || !policyName.test(fallback))) return undefined
      if ([...fields.keys()].some((key) => key !== 'policy' && key !== 'fallback')) return undefined
      profiles.push({ schedulerName: name, policy, ...(fallback === undefined ? {} : { fallback }) })
    }
    return profiles
  }
  const written: unknown[] = typeof raw === 'string' ? raw.split(',') : Array.isArray(raw) ? raw : [undefined]
  const profiles: WrittenProfile[] = []
  for (const entry of written) {
    if (typeof entry !== 'string') return undefined
    const [name = '', policy = '', ...rest] = entry.trim().split('=')
    if (rest.length > 0 || !profileName.test(name) || !policyName.test(policy)) return undefined
    if (profiles.some((other) => other.schedulerName === name)) return undefined
    profiles.push({ schedulerName: name, policy })
  }
  return profiles
}

/** Profiles: a YAML map `name: policy` or `name: {policy, fallback}`; as flags and in the environment `name=policy`. */
export const profiles = () =>
  kind(
    z.unknown().transform((raw, context): WrittenProfile[] => {
      const read = writtenProfiles(raw)
      if (read !== undefined) return read
      context.issues.push({ code: 'custom', message: 'no profiles', input: raw })
      return z.NEVER
    }),
    'schedulerName: policy or schedulerName: {policy, fallback} in YAML, schedulerName=policy elsewhere, each name once',
  )
