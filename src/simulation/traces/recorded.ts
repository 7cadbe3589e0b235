import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { StringDecoder } from 'node:string_decoder'
import { z } from 'zod'
import type { KubeObject, NodeObject, PodObject } from '../../cluster/objects.ts'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import { recordedKinds, recordedParts, type RecordedKind } from './recorded-fields.ts'

/** Of the format in docs/simulator/traces.md. A reader refuses what is newer. */
export const TRACE_VERSION = 1

/** The first line of a recorded trace. */
export interface TraceHeader {
  readonly stowageTrace: typeof TRACE_VERSION
  /** what made it: `cluster` (recorded), `synthetic`, `openb`, `azure-llm` */
  readonly source: string
  /** wall-clock time of `atMs: 0`, milliseconds since 1970 */
  readonly startedAtMs: number
  /** names are hashes under a secret that nobody has */
  readonly anonymised: boolean
  /** version of Stowage that wrote it */
  readonly writtenBy: string
}

/** How a pod ended: its containers did, somebody deleted it, or a scheduler made room. */
export type PodEnd = 'succeeded' | 'failed' | 'deleted' | 'preempted'

/** One line below the header. Lines ascend by `atMs`, milliseconds since the start of the recording. */
export type TraceEvent =
  /** a node, new or changed */
  | { readonly atMs: number; readonly event: 'node'; readonly object: NodeObject }
  | { readonly atMs: number; readonly event: 'node-gone'; readonly name: string }
  /** a pod, new or changed (gates, labels, a resize); one that has a node already has `spec.nodeName` */
  | { readonly atMs: number; readonly event: 'pod'; readonly object: PodObject }
  /** a pod got its node */
  | { readonly atMs: number; readonly event: 'bind'; readonly uid: string; readonly node: string }
  /** a scheduler said why it does not place the pod */
  | { readonly atMs: number; readonly event: 'refused'; readonly uid: string; readonly message: string }
  | { readonly atMs: number; readonly event: 'end'; readonly uid: string; readonly how: PodEnd }
  /** any other object, with `apiVersion` and `kind`, new or changed */
  | { readonly atMs: number; readonly event: 'object'; readonly object: KubeObject }
  | {
      readonly atMs: number
      readonly event: 'object-gone'
      readonly kind: RecordedKind
      readonly namespace: string
      readonly name: string
    }
  /** everything that was there at the start has been written; from here on, times are when things happened */
  | {
      readonly atMs: number
      readonly event: 'synced'
      /** kinds of objects that could not be read: rules that need them see none */
      readonly missing: readonly string[]
    }
  /** the recording ended as it should */
  | { readonly atMs: number; readonly event: 'stopped' }

export interface RecordedTrace {
  readonly header: TraceHeader
  readonly events: readonly TraceEvent[]
  /** the last line was cut off, as by a kill, and was left out */
  readonly truncated: boolean
}

const BYTES_AT_MOST = 4 * 2 ** 30
const EVENTS_AT_MOST = 5_000_000
/** etcd keeps no object above 1.5 MiB */
const LINE_BYTES_AT_MOST = 4 * 2 ** 20

const text = z.string().max(2_000)
const headerSchema = z.object({
  stowageTrace: z.int().min(1),
  source: text,
  startedAtMs: z.number(),
  anonymised: z.boolean(),
  writtenBy: text,
})
const atMs = z.number().min(0).max(Number.MAX_SAFE_INTEGER)
const word = z.string().min(1).max(253)
const objectOf = (kind: RecordedKind) =>
  z
    .object({ metadata: z.object({ name: word }).loose() })
    .loose()
    .transform((object) => recordedParts(kind, object))
const eventSchema = z.discriminatedUnion('event', [
  z.object({ atMs, event: z.literal('node'), object: objectOf('Node') }),
  z.object({ atMs, event: z.literal('node-gone'), name: word }),
  z.object({
    atMs,
    event: z.literal('pod'),
    object: z
      .object({ metadata: z.object({ name: word, namespace: word, uid: word }).loose(), spec: z.looseObject({}) })
      .loose()
      .transform((object) => recordedParts('Pod', object)),
  }),
  z.object({ atMs, event: z.literal('bind'), uid: word, node: word }),
  z.object({ atMs, event: z.literal('refused'), uid: word, message: z.string().max(100_000) }),
  z.object({ atMs, event: z.literal('end'), uid: word, how: z.enum(['succeeded', 'failed', 'deleted', 'preempted']) }),
  z.object({
    atMs,
    event: z.literal('object'),
    object: z
      .object({ apiVersion: word, kind: z.enum(recordedKinds), metadata: z.object({ name: word }).loose() })
      .loose()
      .transform((object) => ({
        ...recordedParts(object.kind, object),
        apiVersion: object.apiVersion,
        kind: object.kind,
      })),
  }),
  z.object({
    atMs,
    event: z.literal('object-gone'),
    kind: z.enum(recordedKinds),
    namespace: z.string().max(253),
    name: word,
  }),
  z.object({ atMs, event: z.literal('synced'), missing: z.array(text).max(100) }),
  z.object({ atMs, event: z.literal('stopped') }),
])

const malformed = (place: string, found: string, expected: string, cause?: unknown): StowageError =>
  new StowageError(
    'TRACE_MALFORMED',
    { found: `${place}: ${found}`, expected },
    cause === undefined ? undefined : { cause },
  )

const jsonIn = (place: string, line: string): unknown => {
  try {
    return JSON.parse(line) as unknown
  } catch (cause) {
    throw malformed(place, messageOf(cause), 'one JSON object on each line', cause)
  }
}

/** What is wrong first, and where in the line. */
const complaint = (error: z.ZodError): string => {
  const [issue] = error.issues
  return `${issue?.message ?? 'it is wrong'}${issue === undefined || issue.path.length === 0 ? '' : ` in ${issue.path.join('.')}`}`
}

const headerIn = (place: string, line: string): TraceHeader => {
  const parsed = headerSchema.safeParse(jsonIn(place, line))
  if (!parsed.success)
    throw malformed(place, complaint(parsed.error), 'the header of a recorded trace, {"stowageTrace":1,...}')
  const { stowageTrace, ...header } = parsed.data
  if (stowageTrace !== TRACE_VERSION)
    throw malformed(place, `stowageTrace is ${stowageTrace}`, `${TRACE_VERSION}: a newer Stowage wrote it`)
  return { ...header, stowageTrace }
}

const eventIn = (place: string, line: string): TraceEvent => {
  const parsed = eventSchema.safeParse(jsonIn(place, line))
  if (!parsed.success)
    throw malformed(place, complaint(parsed.error), 'an event of a recorded trace (docs/simulator/traces.md)')
  return parsed.data
}

/** Takes a trace line by line. */
class TraceParser {
  header: TraceHeader | undefined
  readonly events: TraceEvent[] = []
  readonly #file: string
  #line = 0
  #latestMs = 0

  constructor(file: string) {
    this.#file = file
  }

  take(line: string): void {
    const place = `${this.#file} line ${++this.#line}`
    if (line.trim() === '') return
    if (this.header === undefined) {
      this.header = headerIn(place, line)
      return
    }
    const event = eventIn(place, line)
    if (event.atMs < this.#latestMs)
      throw malformed(place, `atMs ${event.atMs}`, `a time not before that of the line before, ${this.#latestMs}`)
    if (this.events.length >= EVENTS_AT_MOST) throw malformed(place, 'one event too many', `at most ${EVENTS_AT_MOST}`)
    this.#latestMs = event.atMs
    this.events.push(event)
  }

  /** @param rest what follows the last newline */
  end(rest: string): RecordedTrace {
    // A line without its end is what a kill leaves; it may be whole all the same, but nothing says so.
    const truncated = rest.trim() !== ''
    if (this.header === undefined)
      throw malformed(`${this.#file} line 1`, 'no header', 'the header of a recorded trace, {"stowageTrace":1,...}')
    return { header: this.header, events: this.events, truncated }
  }
}

/**
 * Reads the text of a recorded trace.
 * @param file how to call it in errors
 * @throws StowageError TRACE_MALFORMED
 */
export const parseTrace = (file: string, text: string): RecordedTrace => {
  const parser = new TraceParser(file)
  const lines = text.split('\n')
  const rest = lines.pop() ?? ''
  for (const line of lines) parser.take(line)
  return parser.end(rest)
}

/** Reads a recorded trace. @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED */
export const readTrace = async (path: string): Promise<RecordedTrace> => {
  const parser = new TraceParser(path)
  const decoder = new StringDecoder('utf8')
  let rest = ''
  try {
    const { size } = await stat(path)
    if (size > BYTES_AT_MOST)
      throw new StowageError('FILE_UNREADABLE', {
        found: `${path} has ${size} bytes`,
        expected: `at most ${BYTES_AT_MOST}`,
      })
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      const lines = (rest + decoder.write(chunk as Buffer)).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) parser.take(line)
      if (rest.length > LINE_BYTES_AT_MOST)
        throw malformed(path, `a line of more than ${LINE_BYTES_AT_MOST} bytes`, 'one JSON object on each line')
    }
  } catch (thrown) {
    if (thrown instanceof StowageError) throw thrown
    throw new StowageError(
      'FILE_UNREADABLE',
      { found: `${path} (${messageOf(thrown)})`, expected: 'a trace that stowage trace record wrote' },
      { cause: thrown },
    )
  }
  return parser.end(rest + decoder.end())
}

/** A header or event as a line, with its end. */
export const traceLine = (entry: TraceHeader | TraceEvent): string => `${JSON.stringify(entry)}\n`
