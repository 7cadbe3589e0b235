import { spreadOf } from '../engine/measures.ts'
import type { Spread } from '../engine/result.ts'
import { podLives, traceDurationMs } from './pod-lives.ts'
import type { PodEnd, RecordedTrace } from './recorded.ts'

/** What is in a recorded trace. */
export interface TraceSummary {
  readonly source: string
  /** ISO 8601 */
  readonly startedAt: string
  readonly durationMs: number
  readonly writtenBy: string
  readonly anonymised: boolean
  /** the recording was stopped, not killed */
  readonly complete: boolean
  /** its last line was cut off and left out */
  readonly truncated: boolean
  /** kinds of objects that could not be recorded */
  readonly missing: readonly string[]
  readonly events: number
  readonly nodes: { readonly atStart: number; readonly came: number; readonly gone: number }
  readonly pods: {
    /** on a node already at the start */
    readonly runningAtStart: number
    /** without a node at the start */
    readonly pendingAtStart: number
    readonly came: number
    /** got their node while the trace was recorded */
    readonly bound: number
    readonly ended: Readonly<Record<PodEnd, number>>
    /** without a node at the end, gated ones left out */
    readonly pending: number
    readonly gated: number
  }
  /** pods by the scheduler that they name */
  readonly schedulers: Readonly<Record<string, number>>
  /** objects beside nodes and pods, by kind */
  readonly objects: Readonly<Record<string, number>>
  /** from arrival, or the opening of the last gate, to the node */
  readonly pendingMs: Spread
}

const tally = (words: Iterable<string>): Record<string, number> => {
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  return Object.fromEntries([...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)))
}

export const summariseTrace = (trace: RecordedTrace): TraceSummary => {
  const { events, header, truncated } = trace
  const synced = events.find((event) => event.event === 'synced')
  const syncedAt = synced === undefined ? -1 : events.indexOf(synced)
  const lives = podLives(trace)
  const known = new Set<string>()
  const nodes = { atStart: 0, came: 0, gone: 0 }
  const objects = new Map<string, string>()
  events.forEach((event, index) => {
    if (event.event === 'node') {
      const name = event.object.metadata?.name ?? ''
      if (known.has(name)) return
      known.add(name)
      if (index <= syncedAt) nodes.atStart++
      else nodes.came++
    } else if (event.event === 'node-gone') {
      if (known.delete(event.name)) nodes.gone++
    } else if (event.event === 'object') {
      const { kind = '', metadata } = event.object
      objects.set(`${kind}/${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`, kind)
    }
  })
  const ended: Record<PodEnd, number> = { succeeded: 0, failed: 0, deleted: 0, preempted: 0 }
  for (const { end } of lives) if (end !== undefined) ended[end.how]++
  const startedBefore = new Set(
    events.slice(0, syncedAt + 1).flatMap((event) => (event.event === 'pod' ? [event.object.metadata?.uid] : [])),
  )
  const waits = lives.filter(({ bind, end, nodeAtFirst }) => nodeAtFirst === '' && !bind && !end)
  return {
    source: header.source,
    startedAt: new Date(header.startedAtMs).toISOString(),
    durationMs: traceDurationMs(trace),
    writtenBy: header.writtenBy,
    anonymised: header.anonymised,
    complete: events.at(-1)?.event === 'stopped',
    truncated,
    missing: synced?.missing ?? [],
    events: events.length,
    nodes,
    pods: {
      runningAtStart: lives.filter(({ nodeAtFirst, uid }) => startedBefore.has(uid) && nodeAtFirst !== '').length,
      pendingAtStart: lives.filter(({ nodeAtFirst, uid }) => startedBefore.has(uid) && nodeAtFirst === '').length,
      came: lives.filter(({ uid }) => !startedBefore.has(uid)).length,
      bound: lives.filter(({ bind }) => bind !== undefined).length,
      ended,
      pending: waits.filter(({ openMs }) => openMs !== undefined).length,
      gated: waits.filter(({ openMs }) => openMs === undefined).length,
    },
    schedulers: tally(lives.map(({ object }) => object.spec?.schedulerName ?? 'default-scheduler')),
    objects: tally(objects.values()),
    pendingMs: spreadOf(
      lives.flatMap(({ bind, openMs }) =>
        bind === undefined || openMs === undefined ? [] : [Math.max(0, bind.atMs - openMs)],
      ),
    ),
  }
}
