import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { quantityMilli } from '../../cluster/quantity.ts'
import { bytes, duration as durationKind, type Kind } from '../../configuration/kinds.ts'
import { StowageError } from '../../errors/catalogue.ts'
import { parseSettings, readSettingsFile } from '../../configuration/settings-document.ts'
import { policyFrom } from '../../policies/formula/policy-file.ts'
import { policyName } from '../policy-name.ts'
import { loadNodes, type LoadScenario, type ReplicaGroup } from './load-run.ts'
import type { ServiceDemand } from './request-simulation.ts'

/** A kind of value of the settings, with its words where a value is not allowed. */
const told = <T extends z.ZodType>({ allowed, schema }: Kind<T>): T =>
  z.any().transform((value, context) => {
    const parsed = schema.safeParse(value)
    if (parsed.success) return parsed.data
    context.addIssue({ code: 'custom', message: `expected ${allowed}` })
    return z.NEVER
  }) as unknown as T

const duration = told(durationKind('ms', '0ms', '7d'))
const memory = told(bytes(0, 2 ** 50, 'a number of bytes such as 512Mi or 1Gi'))
const count = z.number().int().min(0).max(10_000)
const cores = z.number().min(0).max(10_000)
const text = z.string().min(1).max(253)
const labels = z.record(text, z.string().max(253))

const quantities = z.record(
  text,
  z.union([z.string().max(64), z.number()]).transform((value, context) => {
    try {
      if (quantityMilli(value) >= 0) return String(value)
    } catch {
      // told below
    }
    context.addIssue({ code: 'custom', message: 'expected a quantity as Kubernetes writes it, such as 500m or 4Gi' })
    return z.NEVER
  }),
)

const scalingPolicies = z
  .array(z.strictObject({ kind: z.enum(['pods', 'percent']), value: z.number().min(0), period: duration }))
  .min(1)
  .max(20)

const autoscaling = z
  .strictObject({
    metric: z.enum(['cpu', 'concurrency']).default('cpu'),
    target_percent: z.number().positive().max(10_000),
    min: z.number().int().min(1).max(10_000).default(1),
    max: z.number().int().min(1).max(10_000),
    tolerance: z.number().min(0).max(10).optional(),
    sync: told(durationKind('ms', '1s', '1h')).optional(),
    down_stabilisation: duration.optional(),
    up_stabilisation: duration.optional(),
    up: scalingPolicies.optional(),
    down: scalingPolicies.optional(),
  })
  .refine(({ max, min }) => min <= max, { message: 'expected no more at least than at most', path: ['min'] })

const group = z.strictObject({
  count,
  requests: quantities,
  core_limit: z.number().positive().max(10_000),
  concurrency: z.number().int().min(1).max(10_000).default(1),
  start: duration.default(0),
  memory: memory.default(0),
  node_selector: labels.default({}),
  autoscaling: autoscaling.optional(),
})

const demand = z.strictObject({
  distribution: z.enum(['constant', 'exponential', 'lognormal']).optional(),
  mean: duration.optional(),
  cv: z.number().min(0).max(100).optional(),
  per_prompt_token: duration.optional(),
  per_generated_token: duration.optional(),
  cores: cores.default(1),
  device_share: z.number().min(0).max(1).default(0),
})

const request = z.strictObject({
  name: text,
  weight: z.number().min(0).max(1e6).default(1),
  gpu: demand.optional(),
  cpu: demand.optional(),
  generator: z.strictObject({ prepare: duration, send: duration, receive: duration }).optional(),
})

const schema = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$/, 'expected lower-case letters, digits and hyphens'),
    description: z.string().max(4000).default(''),
    nodes: z
      .array(
        z.strictObject({
          shape: z.string().min(1).max(1000),
          network: duration.default(0),
          background_cores: cores.default(0),
          labels: labels.default({}),
        }),
      )
      .min(1)
      .max(1000),
    policy: policyName.default('kube-default'),
    replicas: z.strictObject({ gpu: group.optional(), cpu: group.optional() }),
    requests: z.array(request).min(1).max(100),
    arrivals: z
      .strictObject({
        file: z.string().min(1).max(4096).optional(),
        from: told(durationKind('ms', '0ms', '365d')).default(0),
        length: told(durationKind('ms', '1ms', '365d')).optional(),
        compression: z.number().positive().max(1e6).default(1),
      })
      .optional(),
    think: z.strictObject({ min: duration, max: duration }).default({ min: 1000, max: 2000 }),
    balancer: z.enum(['random', 'round_robin', 'least_outstanding']).default('random'),
    preference: z.enum(['gpu', 'balanced', 'cpu']).default('balanced'),
    queue_limit: z.number().int().min(0).max(1_000_000).default(1000),
    timeout: told(durationKind('ms', '1ms', '7d')).default(60_000),
    interference: z.number().min(0).max(100).default(0),
    request_memory: memory.default(0),
    generators: z.number().int().min(1).max(10_000).optional(),
    warm_up: duration.default(0),
  })
  .superRefine(({ arrivals, replicas, requests, think }, context) => {
    const problem = (path: (string | number)[], message: string): void =>
      context.addIssue({ code: 'custom', path, message })
    if (think.min > think.max) problem(['think', 'min'], 'expected no more at least than at most')
    if (replicas.gpu === undefined && replicas.cpu === undefined) problem(['replicas'], 'expected gpu, cpu or both')
    if (requests.every(({ weight }) => weight === 0)) problem(['requests'], 'expected a weight above 0')
    for (const [at, one] of requests.entries())
      for (const kind of ['gpu', 'cpu'] as const)
        if (replicas[kind] !== undefined && one[kind] === undefined)
          problem(['requests', at, kind], `expected what the request needs of a ${kind} replica: mean, cv, cores, ...`)
    for (const [at, one] of requests.entries())
      for (const kind of ['gpu', 'cpu'] as const) {
        const { cv, distribution, mean, per_generated_token: generated, per_prompt_token: prompt } = one[kind] ?? {}
        const drawn = [mean, cv, distribution].some((value) => value !== undefined)
        const byTokens = prompt !== undefined || generated !== undefined
        if (drawn && byTokens)
          problem(['requests', at, kind], 'expected either mean, with distribution and cv, or a time per token')
        else if (
          byTokens ? prompt === undefined || generated === undefined : one[kind] !== undefined && mean === undefined
        )
          problem(['requests', at, kind], 'expected mean, or both per_prompt_token and per_generated_token')
        if (byTokens && arrivals === undefined)
          problem(['requests', at, kind], 'expected a mean: only where there are arrivals do requests have tokens')
      }
  })

type Written = z.output<typeof schema>

const groupOf = (written: NonNullable<Written['replicas']['gpu']>): ReplicaGroup => {
  const { autoscaling: scaling } = written
  return {
    count: written.count,
    requests: written.requests,
    coreLimit: written.core_limit,
    concurrency: written.concurrency,
    startMs: written.start,
    memoryBytes: written.memory,
    nodeSelector: written.node_selector,
    autoscaling:
      scaling === undefined
        ? undefined
        : {
            metric: scaling.metric,
            target: scaling.target_percent / 100,
            minReplicas: scaling.min,
            maxReplicas: scaling.max,
            tolerance: scaling.tolerance,
            syncMs: scaling.sync,
            downStabilisationMs: scaling.down_stabilisation,
            upStabilisationMs: scaling.up_stabilisation,
            up: scaling.up?.map(({ kind, period, value }) => ({ kind, value, periodMs: period })),
            down: scaling.down?.map(({ kind, period, value }) => ({ kind, value, periodMs: period })),
          },
  }
}

/** Nobody asks a kind of replica that there is none of. */
const NEVER_ASKED: ServiceDemand = { service: { kind: 'constant', meanMs: 0 }, cores: 0, deviceShare: 0 }

const serviceOf = (written: z.output<typeof demand>): ServiceDemand['service'] => {
  const { cv = 1, distribution: kind = 'lognormal', mean } = written
  const { per_generated_token: perGeneratedTokenMs = 0, per_prompt_token: perPromptTokenMs = 0 } = written
  // the schema has either a mean or both times
  if (mean !== undefined) return { kind, meanMs: mean, cv }
  return { kind: 'tokens', perPromptTokenMs, perGeneratedTokenMs }
}

const demandOf = (written: z.output<typeof demand> | undefined): ServiceDemand =>
  written === undefined
    ? NEVER_ASKED
    : { service: serviceOf(written), cores: written.cores, deviceShare: written.device_share }

const scenarioOf = (file: string, written: Written): LoadScenario => {
  const { gpu, cpu } = written.replicas
  const nodes = written.nodes.map((node) => ({
    shape: node.shape,
    networkMs: node.network,
    backgroundCores: node.background_cores,
    labels: node.labels,
  }))
  try {
    loadNodes(nodes)
  } catch (cause) {
    if (!(cause instanceof StowageError)) throw cause
    throw new StowageError(cause.code, { ...cause.facts, found: `${file}: ${cause.facts.found}` }, { cause })
  }
  return {
    name: written.name,
    nodes,
    policy: policyFrom(file, written.policy),
    replicas: {
      ...(gpu === undefined ? {} : { gpu: groupOf(gpu) }),
      ...(cpu === undefined ? {} : { cpu: groupOf(cpu) }),
    },
    requests: written.requests.map((one) => ({
      name: one.name,
      weight: one.weight,
      demand: { gpu: demandOf(one.gpu), cpu: demandOf(one.cpu) },
      generator:
        one.generator === undefined
          ? undefined
          : { prepareMs: one.generator.prepare, sendMs: one.generator.send, receiveMs: one.generator.receive },
    })),
    arrivals:
      written.arrivals === undefined
        ? undefined
        : {
            file: written.arrivals.file === undefined ? undefined : resolve(dirname(file), written.arrivals.file),
            fromMs: written.arrivals.from,
            lengthMs: written.arrivals.length,
            compression: written.arrivals.compression,
          },
    think: { minMs: written.think.min, maxMs: written.think.max },
    balancer: written.balancer,
    preference: written.preference,
    queueLimit: written.queue_limit,
    timeoutMs: written.timeout,
    interference: written.interference,
    requestBytes: written.request_memory,
    generators: written.generators,
    warmUpMs: written.warm_up,
  }
}

/**
 * What the text of a scenario file says (docs/simulator/load.md has its keys).
 * @param file how it is called in errors; paths in it are relative to its folder
 * @throws StowageError CONFIG_UNREADABLE, CONFIG_UNKNOWN_KEY, CONFIG_INVALID_VALUE, with the line
 */
export const parseLoadScenario = (file: string, text: string): LoadScenario =>
  scenarioOf(file, parseSettings(schema, file, text))

/** @throws StowageError as `parseLoadScenario` */
export const readLoadScenario = async (file: string): Promise<LoadScenario> =>
  scenarioOf(file, await readSettingsFile(schema, file))
