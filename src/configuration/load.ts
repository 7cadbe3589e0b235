import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import type { WrittenProfile } from './kinds.ts'
import { hasModel } from './model-access.ts'
import { variablesNotYet } from './not-yet.ts'
import {
  settingRows,
  settingsSchema,
  type Configuration,
  type ProfileSettings,
  type SettingRow,
  type Settings,
} from './schema.ts'
import { closest } from './suggestion.ts'
import { readYaml } from './yaml-file.ts'

/** Where a value came from; later ones win. */
export type SourceKind = 'default' | 'file' | 'env' | 'flag'

export interface Source {
  readonly kind: SourceKind
  /** for people: `--log-level`, `LOG_LEVEL`, `.env line 3`, `stowage.yaml line 7`, `default` */
  readonly where: string
}

export interface LoadOptions {
  /** what the command line gave, by the attribute names of commander: `{ logLevel: 'DEBUG' }` */
  readonly flags?: Readonly<Record<string, unknown>>
  /** the environment of the process */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** the YAML file, if there is one; it must exist */
  readonly file?: string
  /** where a `.env` file is looked for */
  readonly cwd: string
  /** names of the policies there are */
  readonly policies: readonly string[]
}

export interface LoadedConfiguration {
  readonly configuration: Configuration
  /** by YAML key */
  readonly sources: ReadonlyMap<string, Source>
  /** one line each, to be logged once at start */
  readonly warnings: readonly string[]
}

const rank: Readonly<Record<SourceKind, number>> = { default: 0, file: 1, env: 2, flag: 3 }

interface Candidate {
  readonly row: SettingRow
  readonly source: Source
  /** the place and the value, for errors */
  readonly found: string
  readonly raw: unknown
}

/** The property under which commander hands out the value of a long flag: `--log-level` -> `logLevel`. */
export const flagAttribute = (flag: string): string =>
  flag.replace(/^--/, '').replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())

const written = (raw: unknown): string => {
  const text = JSON.stringify(raw instanceof Map ? Object.fromEntries(raw) : raw) ?? String(raw)
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}

/** Variables that Kubernetes sets in every pod for a Service, which can hide ours: METRICS_PORT for a Service `metrics`. */
const isServiceLink = (name: string, value: string): boolean =>
  /_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_.+)?)?)$/.test(name) &&
  (!name.endsWith('_PORT') || /^(tcp|udp|sctp):\/\//.test(value))

const readText = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new StowageError(
      'CONFIG_UNREADABLE',
      { found: `${path}: ${messageOf(cause)}`, todo: 'name a file that exists and can be read' },
      { cause },
    )
  }
}

/** The `.env` file of a folder; none is fine. */
const readEnvFile = (cwd: string): { values: ReadonlyMap<string, string>; lineOf: (name: string) => number } => {
  let source = ''
  try {
    source = readFileSync(join(cwd, '.env'), 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    if (code !== 'ENOENT' && code !== 'ENOTDIR') {
      throw new StowageError(
        'CONFIG_UNREADABLE',
        { found: `${join(cwd, '.env')}: ${messageOf(cause)}`, todo: 'make it readable or remove it' },
        { cause },
      )
    }
  }
  const lines = source.split('\n')
  return {
    values: new Map(
      Object.entries(parseEnv(source)).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    ),
    lineOf: (name) => lines.findLastIndex((line) => new RegExp(`^\\s*(export\\s+)?${name}\\s*=`).test(line)) + 1,
  }
}

const assemble = (winners: ReadonlyMap<string, Candidate>): Settings => {
  const root: Record<string, unknown> = {}
  for (const row of settingRows) {
    let section = root
    for (const property of row.path.slice(0, -1)) section = (section[property] ??= {}) as Record<string, unknown>
    const winner = winners.get(row.key)
    // path and property names come from the schema, never from outside
    if (winner !== undefined) section[row.path.at(-1)!] = winner.raw
  }
  return settingsSchema.parse(root)
}

/** Profiles as they will be served (see the descriptions of `profiles` and `scheduler.name`). */
const effectiveProfiles = (settings: Settings): ProfileSettings[] => {
  const { strategy, enabled } = settings.fallback
  const usual: readonly WrittenProfile[] = [
    { schedulerName: 'stowage', policy: 'kube-default' },
    { schedulerName: 'ai-llama-scheduler', policy: hasModel(settings.llm) ? 'llm' : strategy },
    { schedulerName: 'drl-scheduler', policy: 'kube-default' },
  ]
  const { name } = settings.scheduler
  const chosen: WrittenProfile[] = [...(settings.profiles ?? (name === undefined ? usual : []))]
  if (name !== undefined && !chosen.some((profile) => profile.schedulerName === name)) {
    chosen.push(
      usual.find((profile) => profile.schedulerName === name) ?? { schedulerName: name, policy: 'kube-default' },
    )
  }
  return chosen.map((profile) => ({
    schedulerName: profile.schedulerName,
    policy: profile.policy,
    fallback: enabled ? (profile.fallback ?? strategy) : undefined,
  }))
}

/** Settings that are right each for itself and wrong together. */
const conflictsOf = (settings: Settings, where: (key: string) => string): StowageError[] => {
  const conflicts: StowageError[] = []
  const conflict = (keys: readonly string[], expected: string): void => {
    const found = keys.map((key) => `${key} (${where(key)})`).join(' with ')
    conflicts.push(new StowageError('CONFIG_CONFLICT', { found, expected }))
  }
  const { api, metrics, leaderElection: lease, fallback, profiles } = settings
  if (metrics.enabled && api.port === metrics.port && api.port !== 0) {
    conflict(['api.port', 'metrics.port'], `two different ports; both are ${api.port}`)
  }
  if (lease.renewDeadlineMs >= lease.leaseDurationMs) {
    conflict(['leader_election.renew_deadline', 'leader_election.lease_duration'], 'the first to be shorter')
  }
  if (lease.retryPeriodMs >= lease.renewDeadlineMs) {
    conflict(['leader_election.retry_period', 'leader_election.renew_deadline'], 'the first to be shorter')
  }
  if (metrics.windowMs < metrics.intervalMs) {
    conflict(
      ['metrics.window', 'metrics.interval'],
      'the first to be at least as long, or every measurement is out of date',
    )
  }
  if (fallback.strategy.replaceAll('-', '_') === 'llm' || profiles?.some((profile) => profile.fallback === 'llm')) {
    conflict(['fallback.strategy', 'profiles'], 'a fallback that answers at once, not the language model itself')
  }
  if (settings.llm.hedgeEndpoint === undefined) {
    for (const [key, value] of [
      ['llm.hedge_model', settings.llm.hedgeModel],
      ['llm.hedge_token', settings.llm.hedgeToken],
    ] as const)
      if (value !== undefined) conflict([key, 'llm.hedge_endpoint'], 'the second to be set, or neither')
  }
  if (!fallback.enabled && profiles?.some((profile) => profile.fallback !== undefined)) {
    conflict(['fallback.enabled', 'profiles'], 'no fallback in a profile while fallback.enabled is false')
  }
  if (profiles?.length === 0 && settings.scheduler.name === undefined) {
    conflict(['profiles', 'scheduler.name'], 'at least one profile or a name')
  }
  return conflicts
}

const unknownPolicies = (
  settings: Settings,
  policies: readonly string[],
  where: (key: string) => string,
): StowageError[] => {
  const problems: StowageError[] = []
  const check = (key: string, policy: string): void => {
    // Whoever makes the policy of a file says what is wrong with it.
    if (policies.includes(policy) || policy.startsWith('formula:')) return
    const meant = closest(policy, policies)
    problems.push(
      new StowageError('POLICY_UNKNOWN', {
        found: `${where(key)}: ${key} names the policy ${JSON.stringify(policy)}`,
        expected: `one of ${policies.join(', ')}`,
        ...(meant === undefined ? {} : { todo: `did you mean ${meant}?` }),
      }),
    )
  }
  check('fallback.strategy', settings.fallback.strategy)
  for (const profile of settings.profiles ?? []) {
    check('profiles', profile.policy)
    if (profile.fallback !== undefined) check('profiles', profile.fallback)
  }
  return problems
}

/** One error for all problems: itself if it is alone, else a list under the code of the first. */
const together = (problems: readonly StowageError[]): StowageError => {
  const [first] = problems
  // called with at least one problem
  if (problems.length === 1) return first!
  const list = problems.map((problem) => `\n  - ${problem.message}`).join('')
  return new StowageError(
    first!.code,
    { found: `${problems.length} problems:${list}\n` },
    { cause: new AggregateError(problems) },
  )
}

/**
 * Reads all settings: flag > environment > `.env` > YAML file > default. An empty variable counts as not set.
 * @throws StowageError CONFIG_UNREADABLE, CONFIG_UNKNOWN_KEY, CONFIG_INVALID_VALUE, CONFIG_CONFLICT or POLICY_UNKNOWN; with
 *   several problems its `cause` is an AggregateError of them all, and its message lists them
 */
export const loadConfiguration = (options: LoadOptions): LoadedConfiguration => {
  const { flags = {}, env = {}, cwd } = options
  const problems: StowageError[] = []
  const warnings: string[] = []
  const candidates: Candidate[] = []
  const add = (row: SettingRow, kind: SourceKind, where: string, label: string, raw: unknown): void => {
    const found = row.secret ? `${label} (hidden)` : `${label} ${written(raw)}`
    candidates.push({ row, source: { kind, where }, found, raw })
  }

  if (options.file !== undefined) {
    const file = options.file
    const yaml = readYaml(file, readText(file))
    problems.push(...yaml.problems)
    for (const row of settingRows) {
      const value = yaml.values.get(row.key)
      // an optional key without a value is a key left out
      if (value === undefined || (value.raw === null && row.default === undefined)) continue
      const where = `${file} line ${value.line}`
      add(row, 'file', where, `${where}: ${row.key}`, value.raw)
    }
  }

  const envFile = readEnvFile(cwd)
  const variable = (name: string): { value: string; where: string } | undefined => {
    const own = Object.hasOwn(env, name) ? env[name] : undefined
    if (own !== undefined) return own === '' ? undefined : { value: own, where: name }
    const value = envFile.values.get(name)
    return value === undefined || value === ''
      ? undefined
      : { value, where: `.env line ${envFile.lineOf(name)}, ${name}` }
  }
  for (const row of settingRows) {
    const found = variable(row.env)
    if (found !== undefined) add(row, 'env', found.where, found.where, found.value)
  }
  for (const [name, feature] of variablesNotYet) {
    if (variable(name) !== undefined) {
      warnings.push(`${name} is set but not used: this version of Stowage does not have ${feature} yet`)
    }
  }
  const variables = settingRows.map((row) => row.env)
  for (const name of new Set([...Object.keys(env), ...envFile.values.keys()])) {
    if (!name.startsWith('STOWAGE_') || variables.includes(name)) continue
    const found = variable(name)
    if (found === undefined || isServiceLink(name, found.value)) continue
    const meant = closest(name, variables)
    warnings.push(`${found.where} is no setting of Stowage${meant === undefined ? '' : `; did you mean ${meant}?`}`)
  }

  for (const row of settingRows) {
    const attribute = flagAttribute(row.flag)
    const raw = Object.hasOwn(flags, attribute) ? flags[attribute] : undefined
    if (raw !== undefined) add(row, 'flag', row.flag, row.flag, raw)
  }

  const winners = new Map<string, Candidate>()
  // a value that a stronger source overrides must be right as well
  for (const candidate of candidates) {
    if (candidate.row.schema.safeParse(candidate.raw).success) {
      winners.set(candidate.row.key, candidate)
      continue
    }
    const link = typeof candidate.raw === 'string' && isServiceLink(candidate.row.env, candidate.raw)
    problems.push(
      new StowageError('CONFIG_INVALID_VALUE', {
        found: candidate.found,
        expected: candidate.row.allowed,
        ...(link
          ? {
              todo: 'Kubernetes sets this variable for a Service of that name: set enableServiceLinks: false in the pod',
            }
          : {}),
      }),
    )
  }

  // Where a cluster is named twice, the stronger source wins; the same source cannot mean both.
  const kubeconfig = winners.get('kubernetes.kubeconfig')
  const inCluster = winners.get('kubernetes.in_cluster')
  if (kubeconfig !== undefined && inCluster !== undefined && inCluster.row.schema.parse(inCluster.raw) === true) {
    const lead = rank[kubeconfig.source.kind] - rank[inCluster.source.kind]
    if (lead > 0) winners.delete('kubernetes.in_cluster')
    else if (lead < 0) winners.delete('kubernetes.kubeconfig')
    else {
      problems.push(
        new StowageError('CONFIG_CONFLICT', {
          found: `${kubeconfig.found} with ${inCluster.found}`,
          expected: "a kubeconfig or the pod's service account, not both",
        }),
      )
    }
  }

  const where = (key: string): string => winners.get(key)?.source.where ?? 'default'
  const settings = assemble(winners)
  problems.push(...unknownPolicies(settings, options.policies, where), ...conflictsOf(settings, where))
  if (problems.length > 0) throw together(problems)

  const sources = new Map<string, Source>(
    settingRows.map((row) => [row.key, winners.get(row.key)?.source ?? { kind: 'default', where: 'default' }]),
  )
  return { configuration: { ...settings, profiles: effectiveProfiles(settings) }, sources, warnings }
}
