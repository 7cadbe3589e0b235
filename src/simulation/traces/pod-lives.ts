import type { PodObject } from '../../cluster/objects.ts'
import type { PodEnd, RecordedTrace } from './recorded.ts'

/** What a trace tells of one pod. Times are milliseconds since the start of the trace. */
export interface PodLife {
  readonly uid: string
  /** as it came */
  readonly object: PodObject
  /** later versions of it, with their times */
  readonly updates: readonly { readonly atMs: number; readonly object: PodObject }[]
  /** 0 for one that was there at the start */
  readonly arrivedMs: number
  /** since when a scheduler may place it: its arrival, or when its last gate was opened; undefined: gated to the end */
  readonly openMs: number | undefined
  /** where it was when it was first seen, '' if nowhere */
  readonly nodeAtFirst: string
  /** the node that a scheduler gave it while the trace was recorded; undefined: none */
  readonly bind: { readonly atMs: number; readonly node: string } | undefined
  readonly end: { readonly atMs: number; readonly how: PodEnd } | undefined
  /** why it was refused last, in its scheduler's words; '' if nobody said */
  readonly message: string
}

type Draft = { -readonly [Key in keyof PodLife]: PodLife[Key] } & { updates: { atMs: number; object: PodObject }[] }

const isGated = (object: PodObject): boolean => (object.spec?.schedulingGates ?? []).length > 0

/** The pods of a trace in the order in which they came. A second life of a uid (after a watch was cut) is another pod. */
export const podLives = ({ events }: Pick<RecordedTrace, 'events'>): PodLife[] => {
  const lives: Draft[] = []
  const living = new Map<string, Draft>()
  // Before `synced`, things are read, not happening.
  const syncedAt = events.findIndex(({ event }) => event === 'synced')
  events.forEach((event, index) => {
    const atMs = index <= syncedAt ? 0 : event.atMs
    if (event.event === 'pod') {
      const { object } = event
      const uid = object.metadata?.uid ?? ''
      const node = object.spec?.nodeName ?? ''
      const known = living.get(uid)
      if (known === undefined) {
        const life: Draft = {
          uid,
          object,
          updates: [],
          arrivedMs: atMs,
          openMs: isGated(object) ? undefined : atMs,
          nodeAtFirst: node,
          bind: undefined,
          end: undefined,
          message: '',
        }
        living.set(uid, life)
        lives.push(life)
        return
      }
      known.updates.push({ atMs, object })
      if (!isGated(object)) known.openMs ??= atMs
      if (node !== '' && known.nodeAtFirst === '') known.bind ??= { atMs, node }
    } else if (event.event === 'bind') {
      const known = living.get(event.uid)
      if (known?.nodeAtFirst === '') known.bind ??= { atMs, node: event.node }
    } else if (event.event === 'refused') {
      const known = living.get(event.uid)
      if (known !== undefined) known.message = event.message
    } else if (event.event === 'end') {
      const known = living.get(event.uid)
      if (known === undefined) return
      known.end = { atMs, how: event.how }
      living.delete(event.uid)
    }
  })
  return lives
}

/** Time at which the last thing of a trace happened; 0 if it holds one moment. */
export const traceDurationMs = ({ events }: Pick<RecordedTrace, 'events'>): number => {
  const last = events.at(-1)
  return last === undefined || last.event === 'synced' ? 0 : last.atMs
}
