import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { StowageError } from '../errors/catalogue.ts'
import { maskedSettings } from './describe.ts'
import { EXAMPLE_FILE, exampleFile, TABLE_FILE, withTable } from './documents.ts'
import { duration } from './kinds.ts'
import { flagAttribute, loadConfiguration, type LoadedConfiguration, type LoadOptions } from './load.ts'
import { settingRows } from './schema.ts'
import { readYaml } from './yaml-file.ts'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'stowage-configuration-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const policies = ['kube-default', 'resource_balanced', 'least_loaded', 'round_robin']
const load = (options: Partial<LoadOptions> = {}): LoadedConfiguration =>
  loadConfiguration({ cwd: folder, policies, ...options })

let files = 0
const yaml = (text: string): string => {
  const path = join(folder, `${files++}.yaml`)
  writeFileSync(path, text)
  return path
}

const problemsOf = (options: Partial<LoadOptions>): readonly StowageError[] => {
  let thrown: unknown
  assert.throws(
    () => load(options),
    (error) => {
      thrown = error
      return error instanceof StowageError
    },
  )
  const error = thrown as StowageError
  return error.cause instanceof AggregateError ? (error.cause.errors as StowageError[]) : [error]
}

test('without anything the defaults of the original systems hold', () => {
  const { configuration, warnings, sources } = load()
  assert.equal(configuration.api.port, 8000)
  assert.equal(configuration.metrics.port, 9090)
  assert.equal(configuration.metrics.windowMs, 300_000)
  assert.equal(configuration.metrics.intervalMs, 10_000)
  assert.equal(configuration.logging.level, 'INFO')
  assert.equal(configuration.fallback.strategy, 'resource_balanced')
  assert.deepEqual(
    configuration.profiles.map((profile) => `${profile.schedulerName}=${profile.policy}/${profile.fallback}`),
    [
      'stowage=kube-default/resource_balanced',
      'ai-llama-scheduler=resource_balanced/resource_balanced',
      'drl-scheduler=kube-default/resource_balanced',
    ],
  )
  assert.deepEqual(warnings, [])
  assert.deepEqual(sources.get('api.port'), { kind: 'default', where: 'default' })
})

test('a flag wins over the environment, that over .env, that over the file, that over the default, and each can be traced', () => {
  const cwd = mkdtempSync(join(folder, 'env-'))
  writeFileSync(join(cwd, '.env'), '# ports\nAPI_PORT=2\nMETRICS_INTERVAL=20\n\nexport LOG_LEVEL="debug"\n')
  const file = yaml('api: {port: 1}\nmetrics:\n  port: 11\n  interval: 21\nlogging: {level: ERROR, format: json}\n')
  const { configuration, sources } = load({
    cwd,
    file,
    env: { API_PORT: '3', METRICS_PORT: '13', LOG_LEVEL: '' },
    flags: { apiPort: '4' },
  })
  assert.equal(configuration.api.port, 4)
  assert.equal(configuration.metrics.port, 13)
  assert.equal(configuration.metrics.intervalMs, 20_000)
  assert.equal(configuration.logging.format, 'json')
  assert.equal(sources.get('api.port')?.where, '--api-port')
  assert.equal(sources.get('metrics.port')?.where, 'METRICS_PORT')
  assert.equal(sources.get('metrics.interval')?.where, '.env line 3, METRICS_INTERVAL')
  assert.equal(sources.get('logging.format')?.where, `${file} line 5`)
})

test('an empty variable counts as not set, and hides the one of the .env file', () => {
  const cwd = mkdtempSync(join(folder, 'env-'))
  writeFileSync(join(cwd, '.env'), 'API_PORT=2\n')
  assert.equal(load({ cwd, env: { API_PORT: '' } }).configuration.api.port, 8000)
})

test('an unknown key is refused with its line and the key that was probably meant', () => {
  const [problem, ...others] = problemsOf({ file: yaml('metrics:\n  enabled: true\n  prot: 9090\n') })
  assert.deepEqual(others, [])
  assert.equal(problem?.code, 'CONFIG_UNKNOWN_KEY')
  assert.match(problem?.message ?? '', /line 3: "metrics\.prot"; did you mean metrics\.port\?/)
})

test('all problems of all sources are told at once', () => {
  const file = yaml('metrics: {port: 70000, windw: 3}\nprofiles:\n  a: least-loaded\nfallback: yes\n')
  const problems = problemsOf({ file, env: { API_PORT: 'eight' }, flags: { logLevel: 'loud' } })
  assert.deepEqual(problems.map((problem) => problem.code).sort(), [
    'CONFIG_INVALID_VALUE',
    'CONFIG_INVALID_VALUE',
    'CONFIG_INVALID_VALUE',
    'CONFIG_INVALID_VALUE',
    'CONFIG_UNKNOWN_KEY',
    'POLICY_UNKNOWN',
  ])
  const text = problems.map((problem) => problem.message).join('\n')
  assert.match(text, /line 1: metrics\.port 70000; expected a port from 0 to 65535/)
  assert.match(text, /API_PORT "eight"; expected a port/)
  assert.match(text, /--log-level "loud"; expected one of DEBUG, INFO, WARNING, ERROR/)
  assert.match(text, /"least-loaded"; expected one of .*; did you mean least_loaded\?/)
  assert.match(text, /line 4: fallback has no keys below it; expected a map of enabled, strategy/)
})

test('a wrong value is refused also where a stronger source overrides it', () => {
  const [problem] = problemsOf({ env: { API_PORT: 'x' }, flags: { apiPort: '1' } })
  assert.equal(problem?.code, 'CONFIG_INVALID_VALUE')
})

test('variables of features to come are warned of, and what they hold is not shown', () => {
  const { warnings } = load({ env: { GAMMA: '0.9' } })
  assert.equal(warnings.length, 1)
  assert.match(warnings[0] ?? '', /^GAMMA is set but not used/)
})

test('the names of the language model scheduler work, each from its source', () => {
  const { configuration, warnings } = load({
    env: {
      HUGGINGFACE_TOKEN: 'hf_verysecret',
      LLM_MODEL: 'm',
      LLM_ENDPOINT: 'http://models.example/v1',
      LLM_TIMEOUT: '3',
      LLM_MAX_RETRIES: '1',
      ENABLE_CACHE: 'false',
      CACHE_TTL: '20',
    },
    file: yaml(
      'llm: {temperature: 0.5, max_tokens: 100, retry_delay: 0.5}\ncache: {max_size: 7}\n' +
        'circuit_breaker: {enabled: false, failure_threshold: 2, timeout: 30, half_open_max_calls: 3}\n',
    ),
  })
  const { llm, cache, circuitBreaker } = configuration
  assert.deepEqual(warnings, [])
  assert.deepEqual(
    [
      llm.token,
      llm.model,
      llm.endpoint,
      llm.timeoutMs,
      llm.maxRetries,
      llm.temperature,
      llm.maxTokens,
      llm.retryDelayMs,
    ],
    ['hf_verysecret', 'm', 'http://models.example/v1', 3000, 1, 0.5, 100, 500],
  )
  assert.deepEqual(cache, { enabled: false, ttlMs: 20_000, maxSize: 7 })
  assert.deepEqual(circuitBreaker, { enabled: false, failureThreshold: 2, timeoutMs: 30_000, halfOpenMaxCalls: 3 })
  const defaults = load().configuration
  assert.deepEqual(
    [
      defaults.llm.model,
      defaults.llm.endpoint,
      defaults.llm.maxRetries,
      defaults.llm.temperature,
      defaults.llm.maxTokens,
    ],
    ['meta-llama/Llama-3.3-70B-Instruct', 'https://router.huggingface.co', 3, 0.3, 200],
  )
  assert.deepEqual([defaults.cache.ttlMs, defaults.cache.maxSize], [300_000, 100])
  assert.deepEqual([defaults.circuitBreaker.failureThreshold, defaults.circuitBreaker.timeoutMs], [5, 60_000])
})

test('the pods of ai-llama-scheduler are ranked by the language model where there is one to ask', () => {
  const policyOf = (env: Record<string, string>): string | undefined =>
    load({ env }).configuration.profiles.find(({ schedulerName }) => schedulerName === 'ai-llama-scheduler')?.policy
  assert.equal(policyOf({}), 'resource_balanced')
  assert.equal(policyOf({ HUGGINGFACE_TOKEN: 'hf_verysecret' }), 'llm')
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]'])
    assert.equal(policyOf({ LLM_ENDPOINT: `http://${host}:11434` }), 'llm', host)
  for (const host of ['127.0.0.1.example', 'localhost.example', '10.0.0.1'])
    assert.equal(policyOf({ LLM_ENDPOINT: `http://${host}:11434` }), 'resource_balanced', host)
})

test('a token that is none is refused without being shown, and so are addresses that hold a password', () => {
  const [problem] = problemsOf({ env: { HUGGINGFACE_TOKEN: 'hf verysecret' } })
  assert.match(problem?.message ?? '', /HUGGINGFACE_TOKEN \(hidden\)/)
  for (const address of ['https://me:pw@h.example', 'ftp://h.example', 'https://h.example?key=1', 'h.example', ''])
    if (address !== '')
      assert.equal(problemsOf({ flags: { llmEndpoint: address } })[0]?.code, 'CONFIG_INVALID_VALUE', address)
})

test('a fallback that may take as long as the model itself is refused', () => {
  assert.ok(problemsOf({ flags: { fallbackStrategy: 'llm' } }).some(({ code }) => code === 'CONFIG_CONFLICT'))
  assert.equal(problemsOf({ flags: { llmHedgeModel: 'm' } })[0]?.code, 'CONFIG_CONFLICT')
})

test('a misspelt variable of ours is warned of; those that Kubernetes sets for a Service named stowage are not', () => {
  const env = {
    STOWAGE_SEDE: '1',
    STOWAGE_PORT: 'tcp://10.0.0.1:80',
    STOWAGE_SERVICE_HOST: '10.0.0.1',
    STOWAGE_PORT_80_TCP: 'x',
  }
  assert.deepEqual(load({ env }).warnings, ['STOWAGE_SEDE is no setting of Stowage; did you mean STOWAGE_SEED?'])
})

test('a METRICS_PORT that Kubernetes set for a Service named metrics is refused with the way out', () => {
  const [problem] = problemsOf({ env: { METRICS_PORT: 'tcp://10.96.0.7:9090' } })
  assert.match(problem?.message ?? '', /enableServiceLinks: false/)
})

test('settings that exclude each other are refused', () => {
  const conflict = (options: Partial<LoadOptions>, words: RegExp): void => {
    const [problem] = problemsOf(options)
    assert.equal(problem?.code, 'CONFIG_CONFLICT')
    assert.match(problem?.message ?? '', words)
  }
  conflict(
    { flags: { apiPort: '9090' } },
    /api\.port \(--api-port\) with metrics\.port \(default\); expected two different ports/,
  )
  conflict({ flags: { leaseDuration: '5s' } }, /renew_deadline .*lease_duration/)
  conflict({ env: { METRICS_WINDOW: '5' } }, /metrics\.window/)
  conflict(
    { file: yaml('fallback: {enabled: false}\nprofiles: {a: {policy: kube-default, fallback: round_robin}}') },
    /fallback/,
  )
  conflict({ file: yaml('profiles: {}') }, /at least one profile/)
  conflict({ env: { KUBECONFIG: '/k', IN_CLUSTER: 'true' } }, /KUBECONFIG "\/k" with IN_CLUSTER "true"/)
  // both free ports are not the same port
  assert.equal(load({ flags: { apiPort: '0', metricsPort: '0' } }).configuration.api.port, 0)
})

test('of two ways to name a cluster the stronger source wins', () => {
  const byFlag = load({ env: { IN_CLUSTER: 'true' }, flags: { kubeconfig: '/k' } }).configuration.kubernetes
  assert.deepEqual([byFlag.kubeconfig, byFlag.inCluster], ['/k', undefined])
  const inCluster = load({ env: { KUBECONFIG: '/k' }, flags: { inCluster: 'true' } }).configuration.kubernetes
  assert.deepEqual([inCluster.kubeconfig, inCluster.inCluster], [undefined, true])
})

test('profiles come from a YAML map, from repeated flags or from one variable, and SCHEDULER_NAME adds one', () => {
  const names = (options: Partial<LoadOptions>): string[] =>
    load(options).configuration.profiles.map(
      (profile) => `${profile.schedulerName}=${profile.policy}/${profile.fallback}`,
    )
  const file = yaml('profiles:\n  a: round_robin\n  b: {policy: least_loaded, fallback: kube-default}\n')
  assert.deepEqual(names({ file }), ['a=round_robin/resource_balanced', 'b=least_loaded/kube-default'])
  assert.deepEqual(names({ file, flags: { profile: ['c=round_robin', 'd=kube-default'] } }), [
    'c=round_robin/resource_balanced',
    'd=kube-default/resource_balanced',
  ])
  assert.deepEqual(names({ env: { STOWAGE_PROFILES: 'a=round_robin, b=kube-default' } }).length, 2)
  assert.deepEqual(names({ flags: { profile: ['a=formula:some/where.yaml'] } }), [
    'a=formula:some/where.yaml/resource_balanced',
  ])
  assert.deepEqual(names({ env: { SCHEDULER_NAME: 'mine' } }), ['mine=kube-default/resource_balanced'])
  assert.deepEqual(names({ env: { SCHEDULER_NAME: 'ai-llama-scheduler' } }), [
    'ai-llama-scheduler=resource_balanced/resource_balanced',
  ])
  assert.deepEqual(names({ file, env: { SCHEDULER_NAME: 'a' } }).length, 2)
  assert.deepEqual(names({ flags: { fallbackEnabled: 'false', profile: ['a=round_robin'] } }), [
    'a=round_robin/undefined',
  ])
  for (const written of ['a', 'a=', '=b', 'a=b=c', 'a=round_robin,a=kube-default', 'a b=round_robin']) {
    assert.equal(
      problemsOf({ flags: { profile: [written].flatMap((each) => each.split(',')) } })[0]?.code,
      'CONFIG_INVALID_VALUE',
    )
  }
  assert.equal(
    problemsOf({ file: yaml('profiles: {a: {policy: round_robin, fallbak: x}}') })[0]?.code,
    'CONFIG_INVALID_VALUE',
  )
})

test('a file that is no plain map of settings is refused, never half read', () => {
  const unreadable = (text: string, words: RegExp): void => {
    const [problem] = problemsOf({ file: yaml(text) })
    assert.equal(problem?.code, 'CONFIG_UNREADABLE')
    assert.match(problem?.message ?? '', words)
  }
  unreadable('api: {port: 1}\napi: {port: 2}\n', /line 2: .*unique/)
  unreadable('logging: &x {level: INFO}\nmetrics: *x\n', /line 2: the alias \*x/)
  unreadable('profiles: &a [x, *a]\n', /line 1: the alias/)
  unreadable('api: {port: 1}\n---\napi: {port: 2}\n', /line 2/)
  unreadable('- api\n', /no map/)
  unreadable('api: {port: 1\n', /line/)
  unreadable('api: {port: !!js/function 1}\n', /tag/i)
  unreadable(`# ${'x'.repeat(1_100_000)}\n`, /more than/)
  unreadable('['.repeat(100_000), /./)
  unreadable(`profiles: ${'['.repeat(20_000)}${']'.repeat(20_000)}`, /nested too deeply|call stack/)
  assert.equal(problemsOf({ file: join(folder, 'missing.yaml') })[0]?.code, 'CONFIG_UNREADABLE')
  assert.equal(load({ file: yaml('') }).configuration.api.port, 8000)
  assert.equal(load({ file: yaml('api:\n') }).configuration.api.port, 8000)
})

test('names of JavaScript properties are unknown keys like any other', () => {
  const file = yaml('__proto__: {x: 1}\nconstructor: 1\napi: {__proto__: 1, toString: 2}\n')
  assert.deepEqual(
    problemsOf({ file }).map((problem) => problem.code),
    ['CONFIG_UNKNOWN_KEY', 'CONFIG_UNKNOWN_KEY', 'CONFIG_UNKNOWN_KEY', 'CONFIG_UNKNOWN_KEY'],
  )
  assert.equal(({} as Record<string, unknown>)['x'], undefined)
  const { configuration } = load({ file: yaml('profiles: {constructor: kube-default}') })
  assert.equal(configuration.profiles[0]?.schedulerName, 'constructor')
})

test('no text whatever makes reading a file crash', () => {
  const word = fc.constantFrom(
    'api',
    'metrics',
    'port',
    ':',
    ' ',
    '\n',
    '  ',
    '{',
    '}',
    '[',
    ']',
    '&a',
    '*a',
    '!!',
    '|',
    '9090',
    '- ',
    '"',
    '?',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word, { maxLength: 30 }).map((words) => words.join('')),
      ),
      (text) => {
        for (const problem of readYaml('file', text).problems) assert.ok(problem instanceof StowageError)
      },
    ),
    { seed: 7, numRuns: 500 },
  )
})

test('a duration means the same however it is written', () => {
  const { schema } = duration('s', '0s', '3650d')
  assert.equal(schema.parse('1h30m'), 5_400_000)
  assert.equal(schema.parse('1500ms'), 1_500)
  assert.equal(schema.parse('0.5'), 500)
  for (const wrong of [
    '',
    ' ',
    '5 minutes',
    '-1s',
    '1s2',
    's',
    '1e3',
    'NaN',
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -1,
    null,
    true,
  ]) {
    assert.equal(schema.safeParse(wrong).success, false, String(wrong))
  }
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 86_400 }), (seconds) => {
      const written = [
        seconds,
        `${seconds}`,
        `${seconds}s`,
        `${seconds * 1000}ms`,
        `${Math.floor(seconds / 60)}m${seconds % 60}s`,
      ]
      for (const each of written) assert.equal(schema.parse(each), seconds * 1000)
    }),
    { seed: 7 },
  )
})

test('what is shown of the configuration has every key, and nothing of a secret', () => {
  const shown = maskedSettings(load({ flags: { apiPort: '5' } }).configuration)
  assert.deepEqual(
    [...shown.keys()],
    settingRows.map((row) => row.key),
  )
  assert.equal(shown.get('api.port'), 5)
  assert.equal(shown.get('kubernetes.kubeconfig'), null)
  const { configuration } = load({ flags: { host: 'hunter2', kubeconfig: 'hunter2' } })
  const allSecret = maskedSettings(
    configuration,
    settingRows.map((row) => ({ ...row, secret: true as const })),
  )
  assert.ok(!JSON.stringify([...allSecret]).includes('hunter2'))
  assert.equal(allSecret.get('api.host'), '***')
})

test('no two settings share a key, a variable or a flag', () => {
  for (const name of ['key', 'env', 'flag'] as const) {
    assert.equal(new Set(settingRows.map((row) => row[name])).size, settingRows.length)
  }
  assert.equal(flagAttribute('--enable-metrics'), 'enableMetrics')
})

test('configs/stowage.yaml has every key, and loads to the defaults', () => {
  assert.equal(
    readFileSync(join(root, EXAMPLE_FILE), 'utf8'),
    exampleFile(),
    'run: node src/configuration/documents.ts',
  )
  const values = readYaml('example', exampleFile()).values
  assert.deepEqual([...values.keys()].sort(), settingRows.map((row) => row.key).sort())
  assert.deepEqual(load({ file: join(root, EXAMPLE_FILE) }).configuration, load().configuration)
})

test('docs/configuration.md lists the settings that there are', () => {
  const document = readFileSync(join(root, TABLE_FILE), 'utf8')
  assert.equal(withTable(document), document, 'run: node src/configuration/documents.ts')
})
