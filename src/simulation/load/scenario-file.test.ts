import assert from 'node:assert/strict'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { StowageError } from '../../errors/catalogue.ts'
import { readExperiment } from '../experiments/experiment-file.ts'
import { parseLoadScenario, readLoadScenario } from './scenario-file.ts'

const configs = join(import.meta.dirname, '../../../configs/experiments/scenarios')

const least = `name: least
nodes:
  - shape: cpu=4,memory=8Gi
replicas:
  cpu: { count: 1, requests: { cpu: 500m, memory: 1Gi }, core_limit: 1 }
requests:
  - name: ask
    cpu: { mean: 20ms }
`

const refused = (text: string, code: string, words: RegExp): void => {
  assert.throws(
    () => parseLoadScenario('s.yaml', text),
    (error) => {
      assert.ok(error instanceof StowageError, String(error))
      assert.equal(error.code, code)
      assert.match(error.message, words)
      return true
    },
  )
}

describe('a scenario file', () => {
  it('says nodes, replicas, requests and users; the rest has defaults', () => {
    const scenario = parseLoadScenario('s.yaml', least)
    assert.deepEqual(scenario.think, { minMs: 1000, maxMs: 2000 })
    assert.deepEqual(scenario.requests[0]?.demand.cpu, {
      service: { kind: 'lognormal', meanMs: 20, cv: 1 },
      cores: 1,
      deviceShare: 0,
    })
    assert.deepEqual(
      [scenario.policy, scenario.balancer, scenario.timeoutMs, scenario.generators],
      ['kube-default', 'random', 60_000, undefined],
    )
    assert.equal(scenario.replicas.gpu, undefined)
  })

  it('that ships can be read', async () => {
    const files = globSync('*.yaml', { cwd: configs })
    assert.ok(files.length >= 6)
    for (const file of files) assert.equal(`${(await readLoadScenario(join(configs, file))).name}.yaml`, file)
  })

  it('is found by every experiment that ships and names one', async () => {
    const experiments = join(configs, '..')
    const files = globSync('*.yaml', { cwd: experiments })
    assert.ok(files.length >= 5)
    for (const file of files) {
      const { name, workload } = await readExperiment(join(experiments, file))
      assert.equal(`${name}.yaml`, file)
      for (const scenario of workload.service?.scenarios ?? []) await readLoadScenario(scenario)
    }
  })

  it('is refused with file, line and what is allowed', () => {
    refused(
      `${least}thinktime: 1s\n`,
      'CONFIG_UNKNOWN_KEY',
      /s\.yaml line 9: "thinktime"; expected one of name, .*think/,
    )
    refused(least.replace('core_limit', 'corelimit'), 'CONFIG_UNKNOWN_KEY', /line 5.*did you mean core_limit/)
    refused(least.replace('20ms', 'soon'), 'CONFIG_INVALID_VALUE', /line 8: requests\.0\.cpu\.mean is "soon".*duration/)
    refused(least.replace('500m', 'lots'), 'CONFIG_INVALID_VALUE', /requests\.cpu is "lots"; expected a quantity/)
    refused(least.replace('cpu=4', 'cpu=many'), 'CONFIG_INVALID_VALUE', /s\.yaml: node shape/)
    refused(`${least}policy: best\n`, 'CONFIG_INVALID_VALUE', /policy is "best"; expected one of kube-default/)
    refused(`${least}think: { min: 2s, max: 1s }\n`, 'CONFIG_INVALID_VALUE', /think\.min/)
    refused(least.replace('cpu: { mean', 'gpu: { mean'), 'CONFIG_INVALID_VALUE', /requests\.0\.cpu is missing/)
    refused(`${least}    weight: 0\n`, 'CONFIG_INVALID_VALUE', /weight above 0/)
    refused('name: [', 'CONFIG_UNREADABLE', /line 1/)
    refused('', 'CONFIG_INVALID_VALUE', /the file/)
  })

  it('may say that requests come at the times of a list, and take their time by tokens', () => {
    const text = `${least.replace('mean: 20ms', 'per_prompt_token: 0.2ms, per_generated_token: 30ms')}arrivals: { file: ../a.csv, from: 1m, length: 10m, compression: 4 }\n`
    const { arrivals, requests } = parseLoadScenario('/srv/scenarios/s.yaml', text)
    assert.deepEqual(arrivals, { file: '/srv/a.csv', fromMs: 60_000, lengthMs: 600_000, compression: 4 })
    assert.deepEqual(requests[0]?.demand.cpu.service, {
      kind: 'tokens',
      perPromptTokenMs: 0.2,
      perGeneratedTokenMs: 30,
    })
    refused(text.replace(/arrivals.*/, ''), 'CONFIG_INVALID_VALUE', /expected a mean: only where there are arrivals/)
    refused(text.replace(', per_generated_token: 30ms', ''), 'CONFIG_INVALID_VALUE', /both per_prompt_token and/)
    refused(
      text.replace('per_prompt', 'cv: 1, per_prompt'),
      'CONFIG_INVALID_VALUE',
      /either mean, .* or a time per token/,
    )
    refused(text.replace('compression: 4', 'compression: 0'), 'CONFIG_INVALID_VALUE', /arrivals\.compression is 0/)
    refused(least.replace('mean: 20ms', 'cv: 1'), 'CONFIG_INVALID_VALUE', /requests\.0\.cpu.*expected mean/)
  })

  it('that is missing says so', async () => {
    await assert.rejects(readLoadScenario('/nowhere/s.yaml'), /CONFIG_UNREADABLE/)
  })

  it('whatever it holds ends in a scenario or in an error that can be looked up', () => {
    const lines = least.split('\n')
    fc.assert(
      fc.property(
        fc.nat(lines.length - 1),
        fc.oneof(fc.string(), fc.constantFrom('__proto__: 1', '  constructor: {}', '- - -', 'a: &a [*a]', '? {}')),
        (at, line) => {
          const text = lines.with(at, line).join('\n')
          try {
            parseLoadScenario('s.yaml', text)
          } catch (error) {
            assert.ok(error instanceof StowageError && error.code.startsWith('CONFIG_'), String(error))
          }
        },
      ),
      { seed: 1, numRuns: 300 },
    )
  })
})
