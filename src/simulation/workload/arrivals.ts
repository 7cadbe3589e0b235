import { type Clock, sleep } from '../../clock/clock.ts'
import type { PodObject } from '../../cluster/objects.ts'
import { messageOf } from '../../errors/catalogue.ts'

/** A pod and when it comes, counted from the start. */
export interface Arrival {
  readonly atMs: number
  readonly pod: PodObject
}

export interface ArrivalProgress {
  readonly total: number
  readonly created: number
  readonly failed: number
  /** why creations failed, with how often; what comes after the first dozen different messages is counted as `other` */
  readonly reasons: ReadonlyMap<string, number>
  /** every arrival has been tried; false after an abort */
  readonly done: boolean
}

export interface ArrivalsOptions {
  /** ascending by time */
  readonly arrivals: readonly Arrival[]
  /** asks the API server for the pod; a rejection counts as failed and is not tried again */
  readonly create: (pod: PodObject) => Promise<unknown>
  readonly clock: Clock
  /** creations under way at one time, at most */
  readonly concurrency: number
  /** no pod is started on after it is aborted; those under way are awaited */
  readonly signal: AbortSignal
  /** called after each creation */
  readonly onProgress?: (progress: ArrivalProgress) => void
}

const REASONS_AT_MOST = 12

/**
 * Creates each pod at its time; at once where it is late. When the API server is slow, pods wait for a free slot and
 * arrive later than planned, in order, and none is left out.
 * @returns how it ended; never rejects, also when aborted
 */
export const runArrivals = async (options: ArrivalsOptions): Promise<ArrivalProgress> => {
  const { arrivals, create, clock, signal } = options
  const startMs = clock.monotonicMs()
  const underWay = new Set<Promise<void>>()
  const reasons = new Map<string, number>()
  let tried = 0
  let created = 0
  let failed = 0
  const progress = (): ArrivalProgress => ({
    total: arrivals.length,
    created,
    failed,
    reasons,
    done: tried === arrivals.length && underWay.size === 0,
  })
  const attempt = async (pod: PodObject): Promise<void> => {
    try {
      await create(pod)
      created++
    } catch (thrown) {
      failed++
      const message = messageOf(thrown)
      const reason = reasons.has(message) || reasons.size < REASONS_AT_MOST ? message : 'other'
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
    }
  }
  const start = (pod: PodObject): void => {
    tried++
    const slot = attempt(pod).then(() => {
      underWay.delete(slot)
      options.onProgress?.(progress())
    })
    underWay.add(slot)
  }
  for (const { atMs, pod } of arrivals) {
    const waitMs = atMs - (clock.monotonicMs() - startMs)
    // Only an abort ends the wait early; the loop sees it.
    if (waitMs > 0) await sleep(clock, waitMs, signal).catch(() => undefined)
    while (underWay.size >= options.concurrency && !signal.aborted) await Promise.race(underWay)
    if (signal.aborted) break
    start(pod)
  }
  await Promise.all(underWay)
  return progress()
}
