import { readFile, stat } from 'node:fs/promises'
import { isNode, LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import { type Random, seededRandom } from '../../clock/random.ts'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import { type NodeShape, nodeShapes } from '../workload/node-shapes.ts'
import { parseDurationMs } from '../virtual/pod-stages.ts'
import type { SimulationEvent } from './events.ts'
import type { SimulationOptions } from './options.ts'

/** What a file of events asks for beside the pods. */
export interface EventsFile extends Pick<SimulationOptions, 'autoscaler' | 'failures'> {
  readonly events: readonly { readonly atMs: number; readonly event: SimulationEvent }[]
  /** share of the nodes that belong to the spot market, and what happens to them */
  readonly spot: ({ readonly share: number } & Omit<NonNullable<SimulationOptions['spot']>, 'isSpot'>) | undefined
}

const BYTES_AT_MOST = 4 * 2 ** 20
const EVENTS_AT_MOST = 100_000

/** `90s`, `5m`, `1h30m`, or seconds. */
const duration = z.union([z.string(), z.number()]).transform((given, context) => {
  try {
    return parseDurationMs(String(given))
  } catch {
    context.addIssue({ code: 'custom', message: 'expected a duration such as 90s, 5m, 1h30m, or seconds' })
    return z.NEVER
  }
})
const shapes = z
  .array(z.string())
  .min(1)
  .transform((given, context) => {
    try {
      return given.flatMap((text) => nodeShapes([text], 1)).map((shape): NodeShape => ({ ...shape, name: 'node' }))
    } catch (thrown) {
      context.addIssue({ code: 'custom', message: messageOf(thrown) })
      return z.NEVER
    }
  })
const name = z.string().min(1)
const event = z
  .strictObject({
    at: duration,
    'node-fail': name.optional(),
    'node-recover': name.optional(),
    'node-remove': name.optional(),
    'node-drain': name.optional(),
    notice: duration.optional(),
    'node-add': name.optional(),
    shape: z.string().optional(),
    evict: z
      .string()
      .regex(/^[^/\s]+(\/[^/\s]+)?$/, 'expected NAMESPACE/POD')
      .optional(),
    'pod-gone': z
      .string()
      .regex(/^[^/\s]+(\/[^/\s]+)?$/, 'expected NAMESPACE/POD')
      .optional(),
  })
  .transform((given, context) => {
    const { at: atMs, notice, shape, ...what } = given
    const [kind, ...more] = Object.keys(what)
    const fail = (message: string): never => {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    if (kind === undefined || more.length > 0)
      return fail('expected one of node-fail, node-recover, node-remove, node-drain, node-add, evict, pod-gone')
    if (notice !== undefined && kind !== 'node-drain') return fail('notice belongs to node-drain')
    if (shape !== undefined && kind !== 'node-add') return fail('shape belongs to node-add')
    const add = what['node-add']
    if (add !== undefined) {
      try {
        // one shape and one node
        const node = { ...nodeShapes(shape === undefined ? [] : [shape], 1)[0]!, name: add }
        return { atMs, event: { kind: 'node-add' as const, node } }
      } catch (thrown) {
        return fail(messageOf(thrown))
      }
    }
    for (const kind of ['evict', 'pod-gone'] as const) {
      const [first = '', second] = what[kind]?.split('/') ?? []
      if (first !== '')
        return { atMs, event: { kind, namespace: second === undefined ? 'default' : first, name: second ?? first } }
    }
    if (what['node-drain'] !== undefined)
      return { atMs, event: { kind: 'node-drain' as const, node: what['node-drain'], noticeMs: notice ?? 0 } }
    for (const kind of ['node-fail', 'node-recover', 'node-remove'] as const) {
      const node = what[kind]
      if (node !== undefined) return { atMs, event: { kind, node } }
    }
    return fail('expected an event')
  })
const schema = z.strictObject({
  events: z.array(event).max(EVENTS_AT_MOST).default([]),
  spot: z
    .strictObject({
      share: z.number().min(0).max(1),
      'reclaims-per-hour': z.number().positive(),
      notice: duration.optional(),
      'returns-after': duration.optional(),
    })
    .optional(),
  failures: z.strictObject({ 'mean-time-to-failure': duration, 'mean-time-to-recovery': duration }).optional(),
  autoscaler: z
    .strictObject({
      shapes,
      'most-added': z.number().int().min(1).optional(),
      react: duration.optional(),
      start: duration.optional(),
      idle: duration.optional(),
    })
    .optional(),
})

/** Only what is there, for options that must not be undefined. */
const given = <T extends Record<string, unknown>>(all: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }

/**
 * Reads what happens to the nodes of a simulation (docs/simulator/engine.md has the format).
 * @param file how it is called in errors
 * @throws StowageError WORKLOAD_MALFORMED with the line
 */
export const parseEvents = (file: string, text: string): EventsFile => {
  const lines = new LineCounter()
  const malformed = (offset: number | undefined, found: string): StowageError =>
    new StowageError('WORKLOAD_MALFORMED', {
      found: `${file} line ${lines.linePos(offset ?? 0).line || 1}: ${found}`,
      todo: 'see docs/simulator/engine.md for the format',
    })
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true })
  const [fault] = document.errors
  if (fault !== undefined) throw malformed(fault.pos[0], fault.message.split('\n')[0] ?? '')
  let raw: unknown
  try {
    raw = document.toJS({ maxAliasCount: 0 })
  } catch (thrown) {
    throw malformed(0, messageOf(thrown))
  }
  const parsed = schema.safeParse(raw ?? {})
  if (!parsed.success) {
    // there is an issue where it failed
    const { message, path } = parsed.error.issues[0]!
    let node: unknown
    for (let depth = path.length; node === undefined && depth >= 0; depth--)
      node = document.getIn(path.slice(0, depth) as (string | number)[], true) ?? undefined
    throw malformed(isNode(node) ? node.range?.[0] : 0, `${path.join('.')}${path.length > 0 ? ': ' : ''}${message}`)
  }
  const { autoscaler, events, failures, spot } = parsed.data
  return {
    events,
    spot:
      spot === undefined
        ? undefined
        : {
            share: spot.share,
            reclaimsPerHour: spot['reclaims-per-hour'],
            ...given({ noticeMs: spot.notice, returnsAfterMs: spot['returns-after'] }),
          },
    ...(failures === undefined
      ? {}
      : {
          failures: {
            meanTimeToFailureMs: failures['mean-time-to-failure'],
            meanTimeToRecoveryMs: failures['mean-time-to-recovery'],
          },
        }),
    ...(autoscaler === undefined
      ? {}
      : {
          autoscaler: {
            shapes: autoscaler.shapes,
            ...given({
              mostAdded: autoscaler['most-added'],
              reactMs: autoscaler.react,
              startMs: autoscaler.start,
              idleMs: autoscaler.idle,
            }),
          },
        }),
  }
}

/** @throws StowageError FILE_UNREADABLE, WORKLOAD_MALFORMED */
export const readEvents = async (path: string): Promise<EventsFile> => {
  let text: string
  try {
    const { size } = await stat(path)
    if (size > BYTES_AT_MOST) throw new RangeError(`it has ${size} bytes, more than ${BYTES_AT_MOST}`)
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new StowageError(
      'FILE_UNREADABLE',
      { found: `${path} (${messageOf(cause)})`, expected: 'a file of events' },
      { cause },
    )
  }
  return parseEvents(path, text)
}

/** The part of the options that a file stands for. Which nodes are of the spot market is drawn from the seed. */
export const eventOptions = (
  { autoscaler, failures, spot }: EventsFile,
  nodes: readonly NodeShape[],
  seed: number,
): Pick<SimulationOptions, 'autoscaler' | 'failures' | 'spot'> => {
  const random: Random = seededRandom(seed).fork()
  const { share = 0, ...rest } = spot ?? {}
  const chosen = new Set(nodes.filter(() => random.next() < share).map((shape) => shape.name))
  return {
    ...(autoscaler === undefined ? {} : { autoscaler }),
    ...(failures === undefined ? {} : { failures }),
    ...(spot === undefined ? {} : { spot: { ...(rest as typeof spot), isSpot: (shape) => chosen.has(shape.name) } }),
  }
}
