import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { PATTERN_NAMES } from '../load/pattern.ts'
import { readLoadScenario } from '../load/scenario-file.ts'
import { readSettingsFile } from '../../configuration/settings-document.ts'
import { DEFAULT_REPLICA_WEIGHTS, ReplicaEnvironment } from './replicas.ts'

const share = (least: number) => z.number().min(least).max(1)
const count = z.number().int().min(1).max(1_000_000_000)
const replicas = z.number().int().min(0).max(10_000)
const seconds = z
  .number()
  .positive()
  .max(7 * 86_400)
const weight = z.number().min(0).max(1000)

const environment = z.strictObject({
  scenario: z.string().min(1).max(4096),
  episode_duration: seconds.default(300),
  action_interval: seconds.default(30),
  min_replicas: replicas.default(1),
  max_gpu_replicas: replicas.default(5),
  max_cpu_replicas: replicas.default(10),
  patterns: z.array(z.enum(PATTERN_NAMES)).min(1).max(PATTERN_NAMES.length).optional(),
  max_users: z.number().int().min(1).max(100_000).optional(),
  latency_weight: weight.default(DEFAULT_REPLICA_WEIGHTS.latency),
  throughput_weight: weight.default(DEFAULT_REPLICA_WEIGHTS.throughput),
  resource_efficiency_weight: weight.default(DEFAULT_REPLICA_WEIGHTS.resourceEfficiency),
  stability_weight: weight.default(DEFAULT_REPLICA_WEIGHTS.stability),
})

/** KISim's values of PPO. */
const agent = z
  .strictObject({
    learning_rate: z.number().positive().max(1).default(0.0003),
    gamma: share(0).default(0.99),
    gae_lambda: share(0).default(0.95),
    clip_epsilon: z.number().positive().max(1).default(0.2),
    value_coef: weight.default(0.5),
    entropy_coef: weight.default(0.01),
    max_grad_norm: z.number().positive().max(1e6).default(0.5),
    ppo_epochs: count.default(4),
    batch_size: count.default(64),
    buffer_size: count.default(2048),
  })
  .refine(({ batch_size: batch, buffer_size: buffer }) => batch <= buffer, {
    message: 'expected no more than buffer_size',
    path: ['batch_size'],
  })

const schema = z.strictObject({
  environment,
  agent: agent.prefault({}),
  training: z.strictObject({ episodes: count.default(100) }).prefault({}),
})

/** How PPO learns. */
export interface PpoSettings {
  readonly learningRate: number
  readonly gamma: number
  readonly gaeLambda: number
  readonly clipEpsilon: number
  readonly valueCoefficient: number
  readonly entropyCoefficient: number
  readonly maxGradientNorm: number
  readonly epochs: number
  readonly batchSize: number
  readonly bufferSize: number
}

/** What a JSON file such as `configs/rl_production_config.json` says. */
export interface RlConfig {
  /** a new environment, as many as are wanted */
  readonly createEnvironment: () => ReplicaEnvironment
  readonly agent: PpoSettings
  readonly episodes: number
}

/**
 * Reads a configuration of learning; the scenario that it names is looked for from its folder. Keys that mean nothing here, such as
 * the addresses of KISim's Prometheus and Locust, are errors.
 * @throws StowageError CONFIG_UNREADABLE, CONFIG_UNKNOWN_KEY, CONFIG_INVALID_VALUE
 */
export const readRlConfig = async (file: string): Promise<RlConfig> => {
  const { agent: ppo, environment: given, training } = await readSettingsFile(schema, file)
  const scenario = await readLoadScenario(resolve(dirname(file), given.scenario))
  const createEnvironment = (): ReplicaEnvironment =>
    new ReplicaEnvironment({
      scenario,
      episodeMs: 1000 * given.episode_duration,
      actionIntervalMs: 1000 * given.action_interval,
      minReplicas: given.min_replicas,
      maxGpuReplicas: given.max_gpu_replicas,
      maxCpuReplicas: given.max_cpu_replicas,
      patterns: given.patterns,
      maxUsers: given.max_users,
      weights: {
        latency: given.latency_weight,
        throughput: given.throughput_weight,
        resourceEfficiency: given.resource_efficiency_weight,
        stability: given.stability_weight,
      },
    })
  // what does not go together is told now
  createEnvironment()
  return {
    createEnvironment,
    agent: {
      learningRate: ppo.learning_rate,
      gamma: ppo.gamma,
      gaeLambda: ppo.gae_lambda,
      clipEpsilon: ppo.clip_epsilon,
      valueCoefficient: ppo.value_coef,
      entropyCoefficient: ppo.entropy_coef,
      maxGradientNorm: ppo.max_grad_norm,
      epochs: ppo.ppo_epochs,
      batchSize: ppo.batch_size,
      bufferSize: ppo.buffer_size,
    },
    episodes: training.episodes,
  }
}
