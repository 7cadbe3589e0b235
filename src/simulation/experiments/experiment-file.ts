import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { StowageError } from '../../errors/catalogue.ts'
import { FIVE_G_SCENARIOS } from '../load/five-g.ts'
import { ARRIVALS, LOAD_NAMES } from '../load/pattern.ts'
import { parseDurationMs } from '../virtual/pod-stages.ts'
import { parseSettings, readSettingsFile } from '../../configuration/settings-document.ts'
import { policyFrom } from '../../policies/formula/policy-file.ts'
import { policyName } from '../policy-name.ts'
import { OPENB_NODE_LIST } from '../traces/openb.ts'
import { PODS_METRICS } from './pods-run.ts'
import { parseSeeds } from './seeds.ts'
import { SERVICE_METRICS } from './service-run.ts'

const NAME = /^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$/
const path = z.string().min(1).max(4096)

const duration = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    const ms = parseDurationMs(String(value))
    if (ms > 0) return ms
  } catch {
    // told below
  }
  context.addIssue({ code: 'custom', message: 'expected a duration above 0 such as 90s, 5m or 1h30m' })
  return z.NEVER
})

const seeds = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    return parseSeeds(String(value))
  } catch (thrown) {
    context.addIssue({
      code: 'custom',
      message: `expected ${thrown instanceof StowageError ? thrown.facts.expected : 'seeds'}`,
    })
    return z.NEVER
  }
})

const users = z.number().int().min(0).max(100_000)
const patternShape = z
  .strictObject({ name: z.enum(LOAD_NAMES), min_users: users.optional(), max_users: users.optional() })
  .refine(
    ({ max_users, min_users, name }) => name !== ARRIVALS || (max_users === undefined && min_users === undefined),
    {
      message: 'expected no users: arrivals come from a list',
    },
  )
/** `spike`, or a map where the users are not the usual ones */
const pattern = z.preprocess((value) => (typeof value === 'string' ? { name: value } : value), patternShape)

const oneOf = (keys: readonly string[]) => (value: Readonly<Record<string, unknown>>) =>
  keys.filter((key) => value[key] !== undefined).length === 1

const openbNodes = z.strictObject({ directory: path, nodes: z.string().max(255).default(OPENB_NODE_LIST) })
const cluster = z
  .strictObject({
    /** as `--node-shape` takes them */
    shapes: z.array(z.string().max(1000)).min(1).max(100).optional(),
    nodes: z.number().int().min(1).max(16_000).optional(),
    openb: openbNodes.optional(),
  })
  .refine(oneOf(['shapes', 'openb']), 'expected either shapes or openb')
  .refine(({ nodes, openb }) => nodes === undefined || openb === undefined, {
    message: 'expected no number of nodes: openb lists them',
    path: ['nodes'],
  })

const workload = z
  .strictObject({
    synthetic: z.strictObject({ pods: z.number().int().min(1).max(200_000), duration }).optional(),
    openb: z
      .strictObject({
        directory: path,
        pods: z.string().max(255).default('default'),
        duration,
        departures: z.boolean().default(true),
      })
      .optional(),
    /** a file of `stowage trace record`, with its nodes */
    recorded: z.strictObject({ file: path }).optional(),
    five_g: z
      .strictObject({
        scenarios: z
          .array(z.enum(FIVE_G_SCENARIOS))
          .min(1)
          .max(FIVE_G_SCENARIOS.length)
          .default([...FIVE_G_SCENARIOS]),
        networks: z.number().int().min(1).max(10_000),
        duration,
      })
      .optional(),
    service: z
      .strictObject({
        scenario: path.optional(),
        /** in place of one: held against each other as policies are */
        scenarios: z.array(path).min(1).max(20).optional(),
        /** the list of the pattern `arrivals`, in place of the scenarios' */
        arrivals: path.optional(),
        duration,
      })
      .refine(oneOf(['scenario', 'scenarios']), 'expected either scenario or scenarios')
      .transform(({ scenario, scenarios, ...rest }) => ({ ...rest, scenarios: scenarios ?? [scenario ?? ''] }))
      .optional(),
  })
  .refine(
    oneOf(['synthetic', 'openb', 'recorded', 'five_g', 'service']),
    'expected one of synthetic, openb, recorded, five_g, service',
  )

const schema = z
  .strictObject({
    name: z.string().regex(NAME, 'expected lower-case letters, digits and hyphens, 64 at most'),
    description: z.string().max(2000).default(''),
    /** which folder of the results it belongs to */
    results: z.enum(['comparison', 'baseline', 'cpu_baseline']).default('comparison'),
    cluster: cluster.optional(),
    workload,
    patterns: z.array(pattern).min(1).max(20).optional(),
    policies: z.array(policyName).min(1).max(100),
    seeds,
    metrics: z.array(z.string()).min(1).max(100).optional(),
  })
  .superRefine((file, context) => {
    const isService = file.workload.service !== undefined
    const custom = (path: string[], message: string): void => context.addIssue({ code: 'custom', path, message })
    if (isService && file.cluster !== undefined)
      custom(['cluster'], 'expected no cluster: the scenario of the service names its nodes')
    const isRecorded = file.workload.recorded !== undefined
    if (isRecorded && file.cluster !== undefined)
      custom(['cluster'], 'expected no cluster: the recorded trace has its nodes')
    if (!isService && !isRecorded && file.cluster === undefined)
      custom(['cluster'], 'expected the nodes: shapes or openb')
    if (isService && file.patterns === undefined)
      custom(['patterns'], `expected load patterns: ${LOAD_NAMES.join(', ')}`)
    if (!isService && file.patterns !== undefined)
      custom(['patterns'], 'expected none: load patterns are for a service, whose users they count')
    const known = (isService ? SERVICE_METRICS : PODS_METRICS).map(({ name }) => name)
    for (const [at, metric] of (file.metrics ?? []).entries())
      if (!known.includes(metric)) custom(['metrics', String(at)], `expected one of ${known.join(', ')}`)
    for (const key of ['policies', 'metrics'] as const) {
      const list = file[key] ?? []
      const twice = list.findIndex((value, at) => list.indexOf(value) !== at)
      if (twice >= 0) custom([key, String(twice)], 'expected each once')
    }
  })

/** An experiment as its file says it, with durations in milliseconds and paths from where the file lies. */
export type ExperimentFile = z.infer<typeof schema>

const resolved = (file: string, experiment: ExperimentFile): ExperimentFile => {
  const fromFile = (path: string): string => resolve(dirname(file), path)
  const { openb, recorded, service } = experiment.workload
  if (openb !== undefined) openb.directory = fromFile(openb.directory)
  if (recorded !== undefined) recorded.file = fromFile(recorded.file)
  if (service !== undefined) service.scenarios = service.scenarios.map(fromFile)
  if (service?.arrivals !== undefined) service.arrivals = fromFile(service.arrivals)
  experiment.policies = experiment.policies.map((policy) => policyFrom(file, policy))
  const nodes = experiment.cluster?.openb
  if (nodes !== undefined) nodes.directory = fromFile(nodes.directory)
  return experiment
}

/**
 * What the text of an experiment file says (docs/simulator/experiments.md has its keys).
 * @param file how it is called in errors; paths in it are relative to its folder
 * @throws StowageError CONFIG_UNREADABLE, CONFIG_UNKNOWN_KEY, CONFIG_INVALID_VALUE, with the line
 */
export const parseExperiment = (file: string, text: string): ExperimentFile =>
  resolved(file, parseSettings(schema, file, text))

/** @throws StowageError as `parseExperiment` */
export const readExperiment = async (file: string): Promise<ExperimentFile> =>
  resolved(file, await readSettingsFile(schema, file))
