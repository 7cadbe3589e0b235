import { type Clock, sleep } from '../clock/clock.ts'
import type { KubeList, KubeObject, Quantities } from '../cluster/objects.ts'
import { quantityMilli } from '../cluster/quantity.ts'
import { messageOf } from '../errors/catalogue.ts'
import { ApiRefusal, type Connection } from './connection.ts'

/** What a node was measured to use. */
export interface UsageSample {
  readonly node: string
  readonly cpuMilli: number
  readonly memoryBytes: number
  /** when it was measured, by the metrics server's clock */
  readonly timestampMs: number
}

export interface UsageListener {
  /** Each new measurement of a node, once. Must not throw. */
  measured(sample: UsageSample): void
  /** A node has had no new measurement for too long, or is no longer measured. Must not throw. */
  gone(node: string): void
  /** The API is not served or could not be read: said once for each reason until it can be. Must not throw. */
  unavailable(why: string): void
}

export interface UsagePollerOptions {
  readonly connection: Connection
  readonly clock: Clock
  readonly listener: UsageListener
  /** between two questions (METRICS_INTERVAL) */
  readonly intervalMs: number
  /** A measurement older than this says nothing any more (METRICS_WINDOW). */
  readonly staleMs: number
  readonly signal: AbortSignal
}

interface NodeMetrics extends KubeObject {
  timestamp?: string
  usage?: Quantities
}

const PATH = '/apis/metrics.k8s.io/v1beta1/nodes'
/** A cluster without a metrics server is asked so many times less often. */
const ABSENT_FACTOR = 6

/** Asks metrics.k8s.io for the use of all nodes until the signal is aborted. Never rejects for what the server does. */
export const pollUsage = async (options: UsagePollerOptions): Promise<void> => {
  const { connection, clock, listener, intervalMs, staleMs, signal } = options
  /** node -> the measurement told last, when it came by the own clock, and whether it has been taken back since */
  const told = new Map<string, { timestamp: string; atMs: number; stale: boolean }>()
  let trouble = ''
  while (!signal.aborted) {
    let absent = false
    try {
      const answer = await connection.request({ method: 'GET', path: PATH, signal })
      if (answer.status !== 200) throw new ApiRefusal(`GET ${PATH}`, answer)
      const items = (answer.body as KubeList<NodeMetrics> | undefined)?.items
      trouble = ''
      const measured = new Set<string>()
      for (const item of Array.isArray(items) ? items : []) {
        const sample = readSample(item)
        if (sample === undefined) continue
        measured.add(sample.node)
        const timestamp = item.timestamp ?? ''
        if (told.get(sample.node)?.timestamp === timestamp) continue
        told.set(sample.node, { timestamp, atMs: clock.monotonicMs(), stale: false })
        listener.measured(sample)
      }
      for (const [node, { stale }] of told) if (stale && !measured.has(node)) told.delete(node)
    } catch (error) {
      if (signal.aborted) return
      absent = error instanceof ApiRefusal && (error.status === 404 || error.status === 503)
      const why = absent ? 'metrics.k8s.io is not served' : messageOf(error)
      if (why !== trouble) listener.unavailable(why)
      trouble = why
    }
    for (const [node, sample] of told) {
      if (sample.stale || clock.monotonicMs() - sample.atMs < staleMs) continue
      sample.stale = true
      listener.gone(node)
    }
    await sleep(clock, absent ? intervalMs * ABSENT_FACTOR : intervalMs, signal).catch(() => undefined)
  }
}

/** @returns undefined for what cannot be read: one broken node must not hide the others */
const readSample = (item: NodeMetrics | null): UsageSample | undefined => {
  const node = item?.metadata?.name
  const timestampMs = Date.parse(item?.timestamp ?? '')
  if (typeof node !== 'string' || Number.isNaN(timestampMs)) return undefined
  try {
    const cpuMilli = quantityMilli(item?.usage?.['cpu'])
    return { node, cpuMilli, memoryBytes: quantityMilli(item?.usage?.['memory']) / 1_000, timestampMs }
  } catch {
    return undefined
  }
}
