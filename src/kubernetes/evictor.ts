import { type Clock, sleep } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import type { StatusObject } from '../cluster/objects.ts'
import { type Pod, podKey } from '../cluster/pod.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import type { Evictor } from '../scheduling/ports.ts'
import { backoffMs } from './backoff.ts'
import type { ApiRequest, Connection } from './connection.ts'
import { objectPath, PODS, STRATEGIC_MERGE_PATCH } from './objects.ts'
import { apiTime } from './reporter.ts'

export interface ApiEvictorOptions {
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
}

/** As for binds: the first try and three more on 500, 503 and lost connections. */
const MAX_TRIES = 4
const RETRY = { firstMs: 100, maxMs: 2_000 }
const TIMEOUT_MS = 15_000
/** A server that only ever says 429 is given up after that. */
const THROTTLED_FOR_MS = 30_000

/** Evicts pods as kube-scheduler does: the condition DisruptionTarget, then a delete with the pod's own grace period. */
export class ApiEvictor implements Evictor {
  readonly #options: ApiEvictorOptions

  constructor(options: ApiEvictorOptions) {
    this.#options = options
  }

  /** @throws StowageError API_REFUSED if the server refuses, or does not answer often enough */
  async evict(victim: Pod, preemptor: Pod, signal: AbortSignal): Promise<boolean> {
    const { namespace, name, uid } = victim
    const path = objectPath(PODS, namespace, name)
    if (!victim.preempted) {
      const condition = {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'PreemptionByScheduler',
        message: `${preemptor.schedulerName}: preempting to accommodate a higher priority pod`,
        ...(victim.generation > 0 ? { observedGeneration: victim.generation } : {}),
        lastTransitionTime: apiTime(this.#options.clock.nowMs()),
      }
      const marked = await this.#send(victim, signal, {
        method: 'PATCH',
        path: `${path}/status`,
        contentType: STRATEGIC_MERGE_PATCH,
        body: { metadata: { uid }, status: { conditions: [condition] } },
      })
      if (!marked) return false
    }
    return this.#send(victim, signal, {
      method: 'DELETE',
      path,
      body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid } },
    })
  }

  /** @returns false if the pod is gone, or another has its name */
  async #send(victim: Pod, signal: AbortSignal, request: ApiRequest): Promise<boolean> {
    const { clock, connection, random } = this.#options
    const throttledUntilMs = clock.monotonicMs() + THROTTLED_FOR_MS
    let failures = 0
    let throttled = 0
    for (;;) {
      let why: string
      let waitMs: number
      let cause: unknown
      try {
        signal.throwIfAborted()
        const answer = await connection.request({ ...request, signal, timeoutMs: TIMEOUT_MS, ignoreBody: true })
        if (answer.status < 300) return true
        if (answer.status === 404 || answer.status === 409) return false
        why = (answer.body as StatusObject | undefined)?.message ?? `status ${answer.status}`
        const askedMs = answer.retryAfterMs ?? 0
        if (answer.status === 429) {
          waitMs = backoffMs(RETRY, ++throttled, random, askedMs)
          if (clock.monotonicMs() + waitMs > throttledUntilMs) throw refused(victim, why)
        } else {
          if (answer.status < 500 || ++failures >= MAX_TRIES) throw refused(victim, why)
          waitMs = backoffMs(RETRY, failures, random, askedMs)
        }
      } catch (error) {
        if (error instanceof StowageError && error.code === 'API_REFUSED') throw error
        why = messageOf(error)
        cause = error
        if (signal.aborted || ++failures >= MAX_TRIES) throw refused(victim, why, error)
        waitMs = backoffMs(RETRY, failures, random)
      }
      try {
        await sleep(clock, waitMs, signal)
      } catch {
        throw refused(victim, why, cause)
      }
    }
  }
}

const refused = (victim: Pod, why: string, cause?: unknown): StowageError =>
  new StowageError('API_REFUSED', { found: `pod ${podKey(victim)} was not evicted: ${why}` }, { cause })
