/**
 * Names that users of the original systems know and that this version does not use yet. They are neither accepted (a setting
 * that does nothing misleads) nor called unknown (they are spelled right).
 */

/** Environment variables -> what they belong to. */
export const variablesNotYet: ReadonlyMap<string, string> = new Map(
  [
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
)
