/**
 * Names that users of the original systems know and that this version does not use yet. They are neither accepted (a setting
 * that does nothing misleads) nor called unknown (they are spelled right).
 */

/** Sections of the YAML file -> what they belong to. */
export const sectionsNotYet: ReadonlyMap<string, string> = new Map([
  ['llm', 'the language model policy'],
  ['cache', 'the cache of the language model policy'],
  ['circuit_breaker', 'the circuit breaker of the language model policy'],
])

/** Environment variables -> what they belong to. */
export const variablesNotYet: ReadonlyMap<string, string> = new Map([
  ...[
    'HUGGINGFACE_TOKEN',
    'LLM_MODEL',
    'LLM_ENDPOINT',
    'LLM_TIMEOUT',
    'LLM_MAX_RETRIES',
    'ENABLE_CACHE',
    'CACHE_TTL',
  ].map((name) => [name, 'the language model policy'] as const),
  ...[
    'ENABLE_TRAINING',
    'TRAINING_INTERVAL',
    'LEARNING_RATE',
    'GAMMA',
    'EPSILON_START',
    'EPSILON_END',
    'EPSILON_DECAY',
    'BATCH_SIZE',
    'MODEL_PATH',
    'MODEL_NAME',
    'USE_PRETRAINED',
    'REWARD_RESOURCE_UTIL',
    'REWARD_LOAD_BALANCE',
    'REWARD_LATENCY',
    'REWARD_AFFINITY',
    'REWARD_ENERGY',
    'ENABLE_TENSORBOARD',
    'TENSORBOARD_DIR',
  ].map((name) => [name, 'the learned policies'] as const),
])
