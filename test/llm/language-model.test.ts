import assert from 'node:assert/strict'
import { afterEach, describe, test } from 'node:test'
import { systemClock } from '../../src/clock/clock.ts'
import { seededRandom } from '../../src/clock/random.ts'
import type { Configuration } from '../../src/configuration/schema.ts'
import { ModelFailure } from '../../src/policies/llm/failure.ts'
import { LanguageModel, openLanguageModel, type Question } from '../../src/policies/llm/language-model.ts'
import { llmSettings, type Logged } from './llm-world.ts'
import { type Behaviour, type ChatRequest, ModelServer } from './model-server.ts'

const TOKEN = 'hf_averysecrettoken0123456789'
const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

const serving = async (...behaviours: Behaviour[]): Promise<ModelServer> => {
  const server = await ModelServer.start((_request, number) => behaviours[Math.min(number, behaviours.length - 1)]!)
  closing.push(() => server.close())
  return server
}

const breaker = { enabled: true, failureThreshold: 5, timeoutMs: 60_000, halfOpenMaxCalls: 1 }

const modelAt = (
  server: ModelServer,
  llm: Partial<Configuration['llm']> = {},
): { model: LanguageModel; logged: Logged[] } => {
  const logged: Logged[] = []
  const say =
    (level: string) =>
    (message: string, fields = {}): void =>
      void logged.push({ level, message, fields })
  const model = new LanguageModel({
    settings: llmSettings({ endpoint: server.url, model: 'test-model', token: TOKEN, retryDelayMs: 1, ...llm }),
    breaker,
    clock: systemClock,
    random: seededRandom(1),
    log: { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') },
  })
  closing.push(() => model.close())
  return { model, logged }
}

const question: Question<string> = {
  messages: [{ role: 'user', content: 'x' }],
  schema: { name: 'x', schema: { type: 'object' } },
  maxTokens: 10,
  read: (text) => (text === '' ? undefined : text),
}
const never = new AbortController().signal
const ask = (model: LanguageModel, timeoutMs = 5000): Promise<string> => model.ask(question, timeoutMs, never)
const failureOf = async (model: LanguageModel, timeoutMs?: number): Promise<ModelFailure> => {
  const failure: unknown = await ask(model, timeoutMs).then(
    () => assert.fail('it was answered'),
    (thrown: unknown) => thrown,
  )
  assert.ok(failure instanceof ModelFailure, String(failure))
  return failure
}
const hello: Behaviour = { kind: 'answer', text: 'hello' }
const status = (code: number, headers?: Record<string, string>): Behaviour => ({
  kind: 'status',
  status: code,
  ...(headers === undefined ? {} : { headers }),
})

describe('asking a model', () => {
  test('works with servers that stream and with those that do not, with and without /v1 in the address', async () => {
    for (const stream of [false, true])
      for (const suffix of ['', '/', '/v1', '/v1/']) {
        const server = await serving({ kind: 'answer', text: 'grüß dich {"a":1}', stream })
        const { model } = modelAt(server, { endpoint: `${server.url}${suffix}` })
        assert.equal(await ask(model), 'grüß dich {"a":1}')
        assert.equal(server.received[0]?.headers.authorization, `Bearer ${TOKEN}`)
      }
  })

  test('is tried again after 408, 429, 5xx and lost connections, and never after what will not pass', async () => {
    for (const passing of [
      status(408),
      status(429),
      status(500),
      status(503),
      { kind: 'reset' } as const,
      { kind: 'truncated', text: 'x' } as const,
    ]) {
      const server = await serving(passing, passing, hello)
      const { model } = modelAt(server)
      assert.equal(await ask(model), 'hello', JSON.stringify(passing))
      assert.equal(model.statistics.retries, 2)
    }
    for (const code of [401, 402, 403, 404]) {
      const server = await serving(status(code), hello)
      const { model } = modelAt(server)
      assert.equal((await failureOf(model)).status, code)
      assert.equal(server.questions.length, 1, String(code))
    }
    const server = await serving(status(500))
    const { model } = modelAt(server, { maxRetries: 2 })
    assert.equal((await failureOf(model)).status, 500)
    assert.equal(server.questions.length, 3)
  })

  test('waits as long as Retry-After says if there is time, and else leaves the server alone for so long', async () => {
    const soon = await serving(status(429, { 'retry-after': '0' }), hello)
    assert.equal(await ask(modelAt(soon).model), 'hello')
    const late = await serving(status(429, { 'retry-after': '3600' }), hello)
    const { model } = modelAt(late)
    assert.equal((await failureOf(model, 2000)).retryAfterMs, 3_600_000)
    assert.equal(model.unavailable, 'rate_limited')
    assert.equal((await failureOf(model)).kind, 'closed')
    assert.equal(late.questions.length, 1)
    const dated = await serving(status(503, { 'retry-after': new Date(systemClock.nowMs() + 600_000).toUTCString() }))
    const { retryAfterMs = 0 } = await failureOf(modelAt(dated).model, 2000)
    assert.ok(retryAfterMs > 500_000 && retryAfterMs <= 600_000)
  })

  test('ends for an hour when the credits are used up, and that is said once', async () => {
    const server = await serving(status(402))
    const { model, logged } = modelAt(server)
    for (let i = 0; i < 5; i++) await failureOf(model)
    assert.equal(server.questions.length, 1)
    assert.equal(model.unavailable, 'credits_used_up')
    assert.deepEqual(
      logged.map(({ message, fields }) => [message, fields['why'], fields['forSeconds']]),
      [['the language model is left alone', 'the credits are used up (402)', 3600]],
    )
  })

  test('ends for a while after so many failures in a row', async () => {
    const server = await serving(status(400))
    const { model, logged } = modelAt(server)
    for (let i = 0; i < 9; i++) await failureOf(model)
    assert.equal(model.statistics.breaker, 'open')
    assert.equal(model.statistics.breakerTrips, 1)
    // The first was asked in three ways.
    assert.equal(server.questions.length, 7)
    assert.equal(logged.length, 1)
  })

  test('does without what the server does not know: a JSON schema, or a temperature, and remembers that', async () => {
    const knowing: readonly ((request: ChatRequest) => boolean)[] = [
      (request) => request.response_format === undefined,
      (request) => request.temperature === undefined && request.max_tokens === undefined,
    ]
    for (const knows of knowing) {
      const server = await ModelServer.start((request) => (knows(request) ? hello : status(400)))
      closing.push(() => server.close())
      const { model } = modelAt(server)
      assert.equal(await ask(model), 'hello')
      const tried = server.questions.length
      assert.equal(await ask(model), 'hello')
      assert.equal(server.questions.length, tried + 1)
      assert.equal(model.statistics.failed, 0)
      server.script = () => status(400)
      assert.equal((await failureOf(model)).status, 400)
      assert.equal(server.questions.length, tried + 2, 'what has worked is not doubted')
    }
  })

  test('asks a second server when the first is slow or fails, with a token of its own, and takes the first good answer', async () => {
    for (const first of [
      { kind: 'silence' } as const,
      status(404),
      { kind: 'bytes', bytes: Buffer.from('x') } as const,
    ]) {
      const slow = await serving(first)
      const quick = await serving({ kind: 'answer', text: 'second' })
      const { model } = modelAt(slow, {
        hedgeEndpoint: quick.url,
        hedgeToken: 'hf_another_token',
        hedgeModel: 'm2',
        hedgeAfterMs: 20,
      })
      assert.equal(await ask(model), 'second')
      assert.equal(quick.received[0]?.headers.authorization, 'Bearer hf_another_token')
      assert.equal(quick.questions[0]?.model, 'm2')
      assert.equal(model.statistics.hedges, 1)
    }
    const good = await serving(hello)
    const spare = await serving(hello)
    const { model } = modelAt(good, { hedgeEndpoint: spare.url })
    assert.equal(await ask(model), 'hello')
    assert.equal(spare.questions.length, 0)
    const bad = await serving(status(404))
    const worse = await serving(status(404))
    assert.equal((await failureOf(modelAt(bad, { hedgeEndpoint: worse.url }).model)).status, 404)
  })

  test('follows no redirect: whoever it leads to would be given the token', async () => {
    const elsewhere = await serving(hello)
    const server = await serving({ kind: 'redirect', to: `${elsewhere.url}/v1/chat/completions` })
    assert.equal((await failureOf(modelAt(server).model)).kind, 'redirect')
    assert.equal(elsewhere.received.length, 0)
  })

  test('unpacks nothing, reads no more than an answer can have, and waits no longer than it was told', async () => {
    const kindOf = async (behaviour: Behaviour, timeoutMs = 5000): Promise<string> =>
      (await failureOf(modelAt(await serving(behaviour)).model, timeoutMs)).kind
    assert.equal(await kindOf({ kind: 'gzip-bomb' }), 'encoded')
    assert.equal(await kindOf({ kind: 'endless' }), 'too_large')
    assert.equal(await kindOf({ kind: 'drip' }, 100), 'timeout')
    assert.equal(await kindOf({ kind: 'silence' }, 100), 'timeout')
    assert.equal(
      await kindOf({ kind: 'bytes', bytes: Buffer.from('<html>login</html>'), type: 'text/html' }),
      'malformed',
    )
    assert.equal(
      await kindOf({ kind: 'bytes', bytes: Buffer.from('data: {"choices":[]}\n\n'), type: 'text/event-stream' }),
      'malformed',
    )
  })

  test('keeps the token out of what it makes of an answer and of what it logs', async () => {
    const server = await serving(
      { kind: 'answer', text: `you said Bearer ${TOKEN}` },
      status(401, { 'www-authenticate': TOKEN }),
    )
    const { model, logged } = modelAt(server)
    assert.equal(await ask(model), 'you said Bearer ***')
    const failure = await failureOf(model)
    await model.look(never)
    assert.ok(!JSON.stringify([logged, failure.message, String(failure.stack)]).includes(TOKEN))
  })

  test('stops when the budget of requests or of money is used up', async () => {
    const server = await serving(hello)
    const few = modelAt(server, { requestsPerMinute: 2 }).model
    await ask(few)
    await ask(few)
    assert.equal(few.unavailable, 'request_budget')
    assert.equal((await failureOf(few)).kind, 'closed')
    const poor = modelAt(server, { inputPrice: 1000, outputPrice: 1000, dollarsPerDay: 0.001 }).model
    await ask(poor)
    assert.equal(poor.unavailable, 'money_budget')
    const { dollars, promptTokens, completionTokens } = poor.statistics
    assert.equal(dollars, ((promptTokens + completionTokens) * 1000) / 1e6)
  })

  test('that is called off counts for nothing', async () => {
    const { model, logged } = modelAt(await serving({ kind: 'silence' }))
    const off = new AbortController()
    const asked = model.ask(question, 5000, off.signal)
    off.abort()
    await assert.rejects(asked, /called off/)
    assert.equal(model.statistics.failed, 0)
    assert.deepEqual(logged, [])
  })
})

describe('the list of models', () => {
  test("gives the price, of the dearest provider, as Hugging Face's router tells it", async () => {
    const server = await serving(hello)
    const provider = (input: number, status = 'live'): object => ({
      provider: 'p',
      status,
      supports_structured_output: true,
      pricing: { input, output: 2 * input },
    })
    server.models = { data: [{ id: 'test-model', providers: [provider(0.1), provider(0.6), provider(9, 'error')] }] }
    const { model, logged } = modelAt(server, { model: 'test-model:fastest' })
    assert.equal(await model.look(never), undefined)
    assert.equal(logged[0]?.fields['dollarsPerMillionTokens'], '0.6 in, 1.2 out')
    await ask(model)
    const { dollars, promptTokens, completionTokens } = model.statistics
    assert.ok(Math.abs(dollars - (promptTokens * 0.6 + completionTokens * 1.2) / 1e6) < 1e-12)
  })

  test('without the model, or a token that it does not take, is a warning; no list at all is none', async () => {
    const server = await serving(hello)
    server.models = { data: [{ id: 'another' }] }
    const { model, logged } = modelAt(server)
    assert.match((await model.look(never)) ?? '', /does not have test-model/)
    assert.equal(logged[0]?.level, 'warn')
    server.models = undefined
    assert.equal(await modelAt(server).model.look(never), undefined)
    server.models = { data: 7 }
    assert.match((await modelAt(server).model.look(never)) ?? '', /has no data/)
  })

  test('is needed for nothing: without a token there is no model, which is an error only where one is required', () => {
    const options = { breaker, clock: systemClock, random: seededRandom(1), log: console }
    assert.equal(openLanguageModel({ ...options, settings: llmSettings({}) }), undefined)
    assert.throws(
      () => openLanguageModel({ ...options, settings: llmSettings({ required: true }) }),
      /HUGGINGFACE_TOKEN/,
    )
  })
})
