import { ModelFailure } from './failure.ts'

/** What came of one chat completion. */
export interface Completion {
  readonly text: string
  /** as the server counts them; undefined where it does not say */
  readonly promptTokens: number | undefined
  readonly completionTokens: number | undefined
}

type Fields = Readonly<Record<string, unknown>>
const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {})
const own = (value: unknown, name: string): unknown => {
  const fields = fieldsOf(value)
  return Object.hasOwn(fields, name) ? fields[name] : undefined
}
const first = (value: unknown): unknown => (Array.isArray(value) ? (value as unknown[])[0] : undefined)

const tokens = (usage: unknown, name: string): number | undefined => {
  const count = own(usage, name)
  return typeof count === 'number' && Number.isFinite(count) && count >= 0 && count < 1e9 ? count : undefined
}

/** Some servers send the parts of a text one by one. */
const textOf = (content: unknown): string | undefined => {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return undefined
  const parts = content.map((part) => own(part, 'text')).filter((part) => typeof part === 'string')
  return parts.length === 0 ? undefined : parts.join('')
}

const malformed = (what: string): ModelFailure =>
  new ModelFailure('malformed', `its answer is no chat completion: ${what}`)

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw malformed('it is no JSON')
  }
}

const wholeOf = (body: unknown): Completion => {
  const message = own(first(own(body, 'choices')), 'message')
  const text = textOf(own(message, 'content'))
  if (text === undefined) throw malformed('it has no text in choices[0].message.content')
  const usage = own(body, 'usage')
  return { text, promptTokens: tokens(usage, 'prompt_tokens'), completionTokens: tokens(usage, 'completion_tokens') }
}

/** Lines `data: {...}`, ended by `data: [DONE]`: what a server sends that streams whether it was asked to or not. */
const streamedOf = (body: string): Completion => {
  let text = ''
  let usage: unknown
  let chunks = 0
  let done = false
  for (const line of body.split(/\r\n|\n|\r/)) {
    if (!line.startsWith('data:')) continue
    const data = line.slice('data:'.length).trim()
    if (data === '[DONE]') {
      done = true
      break
    }
    const chunk = parse(data)
    chunks++
    const choice = first(own(chunk, 'choices'))
    text += textOf(own(own(choice, 'delta'), 'content')) ?? ''
    if (typeof own(choice, 'finish_reason') === 'string') done = true
    usage = own(chunk, 'usage') ?? usage
  }
  if (chunks === 0) throw malformed('its stream holds nothing')
  if (!done) throw malformed('its stream breaks off')
  return { text, promptTokens: tokens(usage, 'prompt_tokens'), completionTokens: tokens(usage, 'completion_tokens') }
}

/** Reads the body of a chat completion. @throws ModelFailure malformed */
export const readCompletion = (contentType: string, body: string): Completion =>
  contentType.startsWith('text/event-stream') ? streamedOf(body) : wholeOf(parse(body))

/** Prices in dollars for a million tokens. */
export interface Prices {
  readonly input: number
  readonly output: number
}

/** What a server's list says of one model. */
export interface ListedModel {
  /** the dearest of its providers that are there, for we do not choose; undefined: it does not say */
  readonly prices: Prices | undefined
  /** whether every provider that is there keeps to a JSON schema; undefined: it does not say */
  readonly structured: boolean | undefined
}

const MODELS_AT_MOST = 20_000

const priceOf = (pricing: unknown, name: string): number | undefined => {
  const price = own(pricing, name)
  return typeof price === 'number' && price >= 0 && price < 1e6 ? price : undefined
}

/**
 * Reads GET /v1/models: OpenAI's list of ids, with what Hugging Face's router adds for each provider.
 * @throws ModelFailure malformed
 */
export const readModelList = (body: string): ReadonlyMap<string, ListedModel> => {
  const data = own(parse(body), 'data')
  if (!Array.isArray(data)) throw new ModelFailure('malformed', 'its list of models has no data')
  const models = new Map<string, ListedModel>()
  for (const entry of data.slice(0, MODELS_AT_MOST) as unknown[]) {
    const id = own(entry, 'id')
    if (typeof id !== 'string') continue
    const written = own(entry, 'providers')
    const providers = (Array.isArray(written) ? (written as unknown[]) : []).filter(
      (provider) => (own(provider, 'status') ?? 'live') === 'live',
    )
    const prices = [own(entry, 'pricing'), ...providers.map((provider) => own(provider, 'pricing'))].flatMap(
      (pricing) => {
        const input = priceOf(pricing, 'input')
        const output = priceOf(pricing, 'output')
        return input === undefined || output === undefined ? [] : [{ input, output }]
      },
    )
    const structured = providers.map((provider) => own(provider, 'supports_structured_output'))
    models.set(id, {
      prices:
        prices.length === 0
          ? undefined
          : {
              input: Math.max(...prices.map(({ input }) => input)),
              output: Math.max(...prices.map(({ output }) => output)),
            },
      structured:
        structured.every((value) => typeof value === 'boolean') && structured.length > 0
          ? structured.every(Boolean)
          : undefined,
    })
  }
  return models
}
