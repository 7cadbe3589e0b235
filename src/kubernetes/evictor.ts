import type { Clock } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import { type Pod, podKey } from '../cluster/pod.ts'
import { StowageError } from '../errors/catalogue.ts'
import type { Evictor, Preemptor } from '../scheduling/ports.ts'
import type { ApiRequest, Connection } from './connection.ts'
import { objectPath, PODS, STRATEGIC_MERGE_PATCH } from './objects.ts'
import { apiTime } from './reporter.ts'
import { sendUntilAnswered } from './retry.ts'

export interface ApiEvictorOptions {
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
}

const TIMEOUT_MS = 15_000

/** Evicts pods as kube-scheduler does: the condition DisruptionTarget, then a delete with the pod's own grace period. */
export class ApiEvictor implements Evictor {
  readonly #options: ApiEvictorOptions

  constructor(options: ApiEvictorOptions) {
    this.#options = options
  }

  /** @throws StowageError API_REFUSED if the server refuses, or does not answer often enough */
  async evict(victim: Pod, preemptor: Preemptor, signal: AbortSignal): Promise<boolean> {
    const { namespace, name, uid } = victim
    const path = objectPath(PODS, namespace, name)
    if (!victim.preempted) {
      const condition = {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'PreemptionByScheduler',
        message: `${preemptor.schedulerName}: preempting to accommodate a higher priority ${preemptor.kind ?? 'pod'}`,
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
    const sent = await sendUntilAnswered(this.#options, { ...request, timeoutMs: TIMEOUT_MS, ignoreBody: true }, signal)
    if (sent.answer === undefined) throw refused(victim, sent.said, sent.cause)
    const { status } = sent.answer
    if (status < 300) return true
    if (status === 404 || status === 409) return false
    throw refused(victim, sent.said)
  }
}

const refused = (victim: Pod, why: string, cause?: unknown): StowageError =>
  new StowageError('API_REFUSED', { found: `pod ${podKey(victim)} was not evicted: ${why}` }, { cause })
