import { createReadStream } from 'node:fs'
import { basename } from 'node:path'
import type { PodObject, Quantities } from '../../cluster/objects.ts'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import type { Arrival } from '../workload/arrivals.ts'
import { DURATION_ANNOTATION } from '../virtual/pod-stages.ts'
import { type CsvRow, CsvTable } from './csv.ts'

/** A request to a language model. */
export interface LlmRequest {
  /** milliseconds from the start of the window, with fractions */
  readonly atMs: number
  /** tokens of the prompt */
  readonly contextTokens: number
  /** tokens of the answer */
  readonly generatedTokens: number
}

export interface LlmWindow {
  /** seconds after the first request at which the window begins. @default 0 */
  readonly fromS?: number
  /** length of the window in seconds. @default to the last request */
  readonly lengthS?: number
  /**
   * How many times faster requests come than they were recorded. Only arrivals are moved: the load on whoever serves them
   * grows by this factor.
   * @default 1
   */
  readonly compression?: number
}

/** Requests in columns, in order of their times: 16 bytes each, so that weeks of them fit into memory. */
export interface LlmArrivals {
  readonly count: number
  /** milliseconds from the start of the window, with fractions */
  readonly atMs: Float64Array
  readonly contextTokens: Int32Array
  readonly generatedTokens: Int32Array
}

/** Longer than any week of these traces: 512 MiB in columns. */
const ROWS_AT_MOST = 2 ** 25
const LINE_CHARACTERS_AT_MOST = 1000
const TOKENS_AT_MOST = 100_000_000
const COLUMNS = ['TIMESTAMP', 'ContextTokens', 'GeneratedTokens']
const TIMESTAMP = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(\.\d{1,9})?(?:Z|([+-])(\d\d):(\d\d))?$/
const TIMESTAMP_WORDS = 'a time such as 2023-11-16 18:17:03.9799600'

/** Whole seconds as milliseconds since 1970, and the rest by itself: a double has no room for both to 100 ns. */
interface Instant {
  readonly secondMs: number
  readonly fractionMs: number
}

const instantOf = (table: CsvTable, row: CsvRow): Instant => {
  const text = table.text(row, 'TIMESTAMP', TIMESTAMP, TIMESTAMP_WORDS)
  const [, years, months, days, hours, minutes, seconds, fraction, sign, zoneHours, zoneMinutes] =
    TIMESTAMP.exec(text) ?? []
  const parts = [years, months, days, hours, minutes, seconds].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const [year, month, day, hour, minute, second] = parts
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second))
  // The 30th of February would be taken for the 2nd of March.
  const exact = [
    date.getUTCFullYear(),
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
  ].every((part, index) => part === parts[index])
  if (!exact) table.fail(row, 'TIMESTAMP', TIMESTAMP_WORDS)
  const zoneMs = (Number(zoneHours ?? 0) * 60 + Number(zoneMinutes ?? 0)) * 60_000
  return {
    secondMs: date.getTime() - (sign === '-' ? -zoneMs : zoneMs),
    fractionMs: Number(fraction ?? 0) * 1000,
  }
}

const checkedWindow = ({ compression = 1, fromS = 0, lengthS = Number.POSITIVE_INFINITY }: LlmWindow) => {
  const invalid = (what: string, value: number, expected: string): StowageError =>
    new StowageError('CONFIG_INVALID_VALUE', { found: `${what} ${value}`, expected })
  if (!(compression > 0 && Number.isFinite(compression))) throw invalid('compression', compression, 'a number above 0')
  if (!(fromS >= 0 && Number.isFinite(fromS))) throw invalid('the start of the window', fromS, 'seconds from 0')
  if (!(lengthS > 0)) throw invalid('the length of the window', lengthS, 'seconds above 0')
  return { compression, fromMs: fromS * 1000, untilMs: (fromS + lengthS) * 1000 }
}

/** Takes the lines of a list one by one. */
class LlmList {
  readonly #file: string
  readonly #table: CsvTable
  #atMs = new Float64Array(1024)
  #contextTokens = new Int32Array(1024)
  #generatedTokens = new Int32Array(1024)
  #count = 0
  #first: Instant | undefined
  #sorted = true

  /** @throws StowageError TRACE_MALFORMED */
  constructor(file: string, header: string) {
    this.#file = file
    this.#table = new CsvTable(file, header, COLUMNS)
  }

  /** @throws StowageError TRACE_MALFORMED */
  add(line: number, text: string): void {
    if (text.trim() === '') return
    const row = this.#table.rowOf(line, text)
    if (this.#count === ROWS_AT_MOST)
      throw new StowageError('TRACE_MALFORMED', {
        found: `${this.#file} line ${line}: more than ${ROWS_AT_MOST} requests`,
        expected: 'at most so many',
        todo: 'split the list',
      })
    if (this.#count === this.#atMs.length) this.#grow()
    const at = this.#count++
    const { fractionMs, secondMs } = instantOf(this.#table, row)
    this.#first ??= { fractionMs, secondMs }
    const atMs = secondMs - this.#first.secondMs + (fractionMs - this.#first.fractionMs)
    this.#atMs[at] = atMs
    this.#contextTokens[at] = this.#table.whole(row, 'ContextTokens', TOKENS_AT_MOST)
    this.#generatedTokens[at] = this.#table.whole(row, 'GeneratedTokens', TOKENS_AT_MOST)
    // at - 1 is below the count
    if (at > 0 && atMs < this.#atMs[at - 1]!) this.#sorted = false
  }

  /** The requests of a window, sorted by time, equal times in the list's order. */
  within({ compression, fromMs, untilMs }: ReturnType<typeof checkedWindow>): LlmArrivals {
    const times = this.#atMs.subarray(0, this.#count)
    const order = new Uint32Array(this.#count).map((_, at) => at)
    // what order has is below the count
    if (!this.#sorted) order.sort((a, b) => times[a]! - times[b]! || a - b)
    const startMs = (times[order[0] ?? 0] ?? 0) + fromMs
    const endMs = startMs - fromMs + untilMs
    const kept = order.filter((at) => times[at]! >= startMs && times[at]! < endMs)
    return {
      count: kept.length,
      atMs: new Float64Array(kept.length).map((_, at) => (times[kept[at]!]! - startMs) / compression),
      contextTokens: new Int32Array(kept.length).map((_, at) => this.#contextTokens[kept[at]!]!),
      generatedTokens: new Int32Array(kept.length).map((_, at) => this.#generatedTokens[kept[at]!]!),
    }
  }

  #grow(): void {
    const length = 2 * this.#atMs.length
    const grown = <T extends Float64Array | Int32Array>(from: T, to: T): T => {
      to.set(from)
      return to
    }
    this.#atMs = grown(this.#atMs, new Float64Array(length))
    this.#contextTokens = grown(this.#contextTokens, new Int32Array(length))
    this.#generatedTokens = grown(this.#generatedTokens, new Int32Array(length))
  }
}

const requestsOf = ({ atMs, contextTokens, generatedTokens }: LlmArrivals): LlmRequest[] =>
  // columns of one length
  Array.from(atMs, (ms, at) => ({
    atMs: ms,
    contextTokens: contextTokens[at]!,
    generatedTokens: generatedTokens[at]!,
  }))

/**
 * The requests of a list `TIMESTAMP,ContextTokens,GeneratedTokens`, sorted by time, equal times in the list's order.
 * @param file how to call it in errors
 * @throws StowageError TRACE_MALFORMED, CONFIG_INVALID_VALUE
 */
export const llmRequests = (file: string, text: string, window: LlmWindow = {}): LlmRequest[] => {
  const checked = checkedWindow(window)
  const [header = '', ...lines] = text.split(/\r?\n/)
  const list = new LlmList(file, header)
  for (const [at, line] of lines.entries()) list.add(at + 2, line)
  return requestsOf(list.within(checked))
}

/**
 * Reads a list of the Azure LLM inference traces (https://github.com/Azure/AzurePublicDataset, 2023 and 2024): when requests
 * to language models in production came, and how many tokens each had. The file is read piece by piece: it may be longer
 * than memory has room for its text.
 * @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED, CONFIG_INVALID_VALUE
 * @example const load = await readLlmArrivals('AzureLLMInferenceTrace_conv.csv', { lengthS: 600, compression: 4 })
 */
export const readLlmArrivals = async (path: string, window: LlmWindow = {}): Promise<LlmArrivals> => {
  const checked = checkedWindow(window)
  const file = basename(path)
  let list: LlmList | undefined
  let line = 0
  const take = (text: string): void => {
    line++
    if (list === undefined) list = new LlmList(file, text)
    else list.add(line, text)
  }
  let rest = ''
  try {
    for await (const chunk of createReadStream(path, 'utf8')) {
      const lines = (rest + String(chunk)).split(/\r?\n/)
      rest = lines.pop() ?? ''
      for (const text of lines) take(text)
      if (rest.length > LINE_CHARACTERS_AT_MOST)
        throw new StowageError('TRACE_MALFORMED', {
          found: `${file} line ${line + 1}: more than ${LINE_CHARACTERS_AT_MOST} characters`,
          expected: `a line such as 2023-11-16 18:17:03.9799600,4808,10`,
        })
    }
    take(rest)
  } catch (thrown) {
    if (thrown instanceof StowageError) throw thrown
    throw new StowageError(
      'FILE_UNREADABLE',
      { found: `${path} (${messageOf(thrown)})`, expected: 'a list of LLM requests' },
      { cause: thrown },
    )
  }
  // the last line has been taken
  return list!.within(checked)
}

/** As `readLlmArrivals`, an object for each request. @throws StowageError as it */
export const readLlmRequests = async (path: string, window: LlmWindow = {}): Promise<LlmRequest[]> =>
  requestsOf(await readLlmArrivals(path, window))

/** How requests become pods that each answer one. */
export interface LlmPodOptions {
  readonly schedulerName: string
  /** @default default */
  readonly namespace?: string
  /** what each pod asks for */
  readonly requests: Quantities
  /** time to read a token of the prompt, and to write one of the answer: the trace does not know the machine */
  readonly msPerContextToken: number
  readonly msPerGeneratedToken: number
}

/** A pod for each request that runs as long as reading its prompt and writing its answer take, one token after another. */
export const llmPods = (requests: readonly LlmRequest[], options: LlmPodOptions): Arrival[] => {
  const limits = Object.fromEntries(Object.entries(options.requests).filter(([resource]) => resource.includes('/')))
  const digits = String(requests.length).length
  return requests.map(({ atMs, contextTokens, generatedTokens }, index): Arrival => {
    const durationMs = contextTokens * options.msPerContextToken + generatedTokens * options.msPerGeneratedToken
    const pod: PodObject = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: `llm-request-${String(index).padStart(digits, '0')}`,
        namespace: options.namespace ?? 'default',
        labels: { app: 'llm-request' },
        annotations: { [DURATION_ANNOTATION]: `${(durationMs / 1000).toFixed(3)}s` },
      },
      spec: {
        schedulerName: options.schedulerName,
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 0,
        containers: [{ name: 'answer', image: 'llm/request:v1', resources: { requests: options.requests, limits } }],
      },
    }
    return { atMs, pod }
  })
}
