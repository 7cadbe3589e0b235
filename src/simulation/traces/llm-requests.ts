import { basename } from 'node:path'
import type { PodObject, Quantities } from '../../cluster/objects.ts'
import { StowageError } from '../../errors/catalogue.ts'
import type { Arrival } from '../arrivals.ts'
import { DURATION_ANNOTATION } from '../pod-stages.ts'
import { type CsvRow, CsvTable, readBounded } from './csv.ts'

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

const BYTES_AT_MOST = 128 * 2 ** 20
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

/**
 * The requests of a list `TIMESTAMP,ContextTokens,GeneratedTokens`, sorted by time, equal times in the list's order.
 * @param file how to call it in errors
 * @throws StowageError TRACE_MALFORMED, CONFIG_INVALID_VALUE
 */
export const llmRequests = (file: string, text: string, window: LlmWindow = {}): LlmRequest[] => {
  const { compression, fromMs, untilMs } = checkedWindow(window)
  const table = new CsvTable(file, text, COLUMNS)
  const rows = table.rows.map((row) => ({
    ...instantOf(table, row),
    contextTokens: table.whole(row, 'ContextTokens', TOKENS_AT_MOST),
    generatedTokens: table.whole(row, 'GeneratedTokens', TOKENS_AT_MOST),
  }))
  rows.sort((a, b) => a.secondMs - b.secondMs || a.fractionMs - b.fractionMs)
  const [first] = rows
  if (first === undefined) return []
  return rows.flatMap(({ contextTokens, fractionMs, generatedTokens, secondMs }) => {
    const sinceFirstMs = secondMs - first.secondMs + (fractionMs - first.fractionMs)
    if (sinceFirstMs < fromMs || sinceFirstMs >= untilMs) return []
    return [{ atMs: (sinceFirstMs - fromMs) / compression, contextTokens, generatedTokens }]
  })
}

/**
 * Reads a list of the Azure LLM inference traces (https://github.com/Azure/AzurePublicDataset, 2023 and 2024): when requests
 * to language models in production came, and how many tokens each had.
 * @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED, CONFIG_INVALID_VALUE
 * @example const load = await readLlmRequests('AzureLLMInferenceTrace_conv.csv', { lengthS: 600, compression: 4 })
 */
export const readLlmRequests = async (path: string, window: LlmWindow = {}): Promise<LlmRequest[]> =>
  llmRequests(basename(path), await readBounded(path, BYTES_AT_MOST, 'a list of LLM requests'), window)

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
