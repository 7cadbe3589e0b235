import { type Clock, sleep } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import { GPU_DEVICES_ANNOTATION } from '../cluster/gpu-request.ts'
import type { StatusObject } from '../cluster/objects.ts'
import type { Pod } from '../cluster/pod.ts'
import { messageOf } from '../errors/catalogue.ts'
import { type Binder, BindFailure } from '../scheduling/ports.ts'
import { backoffMs } from './backoff.ts'
import { type ApiAnswer, type Connection } from './connection.ts'

export interface ApiBinderOptions {
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
  /** Binds under way at once; more wait their turn. @default 64: more brings no more binds a second, only 429 */
  readonly maxInFlight?: number
  /** @default 15,000 */
  readonly timeoutMs?: number
}

const MAX_IN_FLIGHT = 64
const TIMEOUT_MS = 15_000
/** As kube-scheduler: the first try and three more on 500, 503 and lost connections. */
const MAX_TRIES = 4
const RETRY = { firstMs: 100, maxMs: 2_000 }
/** A server that only ever says 429 is given up after that. */
const THROTTLED_FOR_MS = 30_000

/** Binds pods by their `binding` subresource. */
export class ApiBinder implements Binder {
  readonly #options: ApiBinderOptions
  readonly #waiting: (() => void)[] = []
  #running = 0
  #pending = 0

  constructor(options: ApiBinderOptions) {
    this.#options = options
  }

  /** binds asked for and not answered yet */
  get inFlight(): number {
    return this.#pending
  }

  async bind(pod: Pod, nodeName: string, signal: AbortSignal): Promise<void> {
    this.#pending++
    try {
      if (this.#running >= (this.#options.maxInFlight ?? MAX_IN_FLIGHT)) {
        await new Promise<void>((resolve) => this.#waiting.push(resolve))
      } else this.#running++
      try {
        await this.#bind(pod, nodeName, signal)
      } finally {
        // The place is handed on as it is, so `running` changes only when nobody waits.
        const next = this.#waiting.shift()
        if (next === undefined) this.#running--
        else next()
      }
    } finally {
      this.#pending--
    }
  }

  async #bind(pod: Pod, nodeName: string, signal: AbortSignal): Promise<void> {
    const { clock, connection, random, timeoutMs = TIMEOUT_MS } = this.#options
    const { gpuDevices, namespace, name, uid } = pod
    // The API server copies what stands on a Binding to the pod.
    const annotations = gpuDevices && { annotations: { [GPU_DEVICES_ANNOTATION]: gpuDevices.join() } }
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/binding`
    const body = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { namespace, name, uid, ...annotations },
      target: { kind: 'Node', name: nodeName },
    }
    const throttledUntilMs = clock.monotonicMs() + THROTTLED_FOR_MS
    let failures = 0
    let throttled = 0
    for (;;) {
      let why: string
      let waitMs: number
      let cause: unknown
      try {
        signal.throwIfAborted()
        const answer = await connection.request({ method: 'POST', path, body, signal, timeoutMs, ignoreBody: true })
        if (answer.status < 300) return
        const said = (answer.body as StatusObject | undefined)?.message ?? `status ${answer.status}`
        const askedMs = answer.retryAfterMs ?? 0
        why = said
        if (answer.status === 429) {
          waitMs = backoffMs(RETRY, ++throttled, random, askedMs)
          if (clock.monotonicMs() + waitMs > throttledUntilMs) throw new BindFailure('error', said)
        } else if (answer.status >= 500) {
          if (++failures >= MAX_TRIES) throw new BindFailure('error', said)
          waitMs = backoffMs(RETRY, failures, random, askedMs)
        } else {
          // An earlier try of ours may have arrived although its answer did not.
          if (failures > 0 && isAssignedTo(said, nodeName)) return
          throw refused(answer, said)
        }
      } catch (error) {
        if (error instanceof BindFailure) throw error
        if (signal.aborted) throw new BindFailure('error', 'stopped before the bind was answered', { cause: error })
        why = messageOf(error)
        cause = error
        if (++failures >= MAX_TRIES) throw new BindFailure('error', why, { cause })
        waitMs = backoffMs(RETRY, failures, random)
      }
      try {
        await sleep(clock, waitMs, signal)
      } catch {
        throw new BindFailure('error', `stopped while waiting for another try: ${why}`, { cause })
      }
    }
  }
}

/** `pod x is already assigned to node "n"`, as kube-apiserver words it */
const isAssignedTo = (said: string, nodeName: string): boolean =>
  said.includes(`already assigned to node "${nodeName}"`)

const refused = (answer: ApiAnswer, said: string): BindFailure => {
  // kube-apiserver refuses both a pod being deleted and one created anew under the same name with 409.
  if (answer.status === 404 || /is being deleted|UID in precondition|uid in precondition/.test(said)) {
    return new BindFailure('gone', said)
  }
  return new BindFailure(answer.status === 409 ? 'conflict' : 'error', said)
}
