import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { StowageError } from '../../errors/catalogue.ts'
import { readRlConfig } from './rl-config.ts'

const configs = join(import.meta.dirname, '../../../configs')

describe('a configuration of learning', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stowage-rl-'))
  })
  after(() => rm(folder, { recursive: true }))

  const written = async (config: object): Promise<string> => {
    const file = join(folder, 'config.json')
    await writeFile(file, JSON.stringify(config, null, 2))
    return file
  }
  const scenario = join(configs, 'experiments/scenarios/replicas.yaml')
  const refused = async (config: object, code: string, words: RegExp): Promise<void> =>
    assert.rejects(
      readRlConfig(await written(config)),
      (error) => error instanceof StowageError && error.code === code && words.test(error.message),
    )

  it('ships for production, with the values that KISim documents', async () => {
    const { agent, createEnvironment, episodes } = await readRlConfig(join(configs, 'rl_production_config.json'))
    assert.deepEqual(agent, {
      learningRate: 0.0003,
      gamma: 0.99,
      gaeLambda: 0.95,
      clipEpsilon: 0.2,
      valueCoefficient: 0.5,
      entropyCoefficient: 0.01,
      maxGradientNorm: 0.5,
      epochs: 4,
      batchSize: 64,
      bufferSize: 2048,
    })
    assert.equal(episodes, 100)
    const environment = createEnvironment()
    environment.reset(1)
    for (let step = 1; step < 10; step++) assert.equal(environment.step([2, 2, 1]).truncated, false)
    assert.equal(environment.step([2, 2, 1]).truncated, true)
  })

  it('ships for a quick test, with shorter episodes', async () => {
    const { createEnvironment } = await readRlConfig(join(configs, 'rl_test_config.json'))
    const environment = createEnvironment()
    environment.reset(1)
    const ends = [1, 2, 3, 4].map(() => environment.step([2, 2, 1]).truncated)
    assert.deepEqual(ends, [false, false, false, true])
  })

  it('takes the documented values for what it does not say', async () => {
    const { agent, episodes } = await readRlConfig(await written({ environment: { scenario } }))
    assert.deepEqual([agent.learningRate, agent.epochs, episodes], [0.0003, 4, 100])
  })

  it('refuses keys that nobody reads, with the line and what there is', async () => {
    await refused(
      { environment: { scenario }, agent: { learning_rte: 1 } },
      'CONFIG_UNKNOWN_KEY',
      /line 6.*learning_rate/,
    )
    await refused(
      { environment: { scenario, prometheus_url: 'http://localhost:9090' } },
      'CONFIG_UNKNOWN_KEY',
      /prometheus_url.*episode_duration/,
    )
    await refused({ environment: { scenario }, use_gpu: true }, 'CONFIG_UNKNOWN_KEY', /use_gpu/)
  })

  it('refuses values that cannot be', async () => {
    await refused({ environment: { scenario }, agent: { gamma: 1.5 } }, 'CONFIG_INVALID_VALUE', /agent\.gamma is 1\.5/)
    await refused({ environment: { scenario }, agent: { batch_size: 4096 } }, 'CONFIG_INVALID_VALUE', /buffer_size/)
    await refused({ environment: { scenario, action_interval: 400 } }, 'CONFIG_INVALID_VALUE', /400000 ms/)
    await refused({ environment: { scenario: 'nowhere.yaml' } }, 'CONFIG_UNREADABLE', /nowhere\.yaml/)
    await refused({ environment: {} }, 'CONFIG_INVALID_VALUE', /environment\.scenario is missing/)
  })
})
