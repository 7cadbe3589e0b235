import type { Clock } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import { GPU_DEVICES_ANNOTATION } from '../cluster/gpu-request.ts'
import type { Pod } from '../cluster/pod.ts'
import { type Binder, BindFailure } from '../scheduling/ports.ts'
import type { ApiAnswer, Connection } from './connection.ts'
import { sendUntilAnswered } from './retry.ts'

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
    const { timeoutMs = TIMEOUT_MS } = this.#options
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
    const request = { method: 'POST', path, body, timeoutMs, ignoreBody: true } as const
    const sent = await sendUntilAnswered(this.#options, request, signal)
    if (sent.answer === undefined) throw new BindFailure('error', sent.said, { cause: sent.cause })
    // An earlier try of ours may have arrived although its answer did not.
    if (sent.answer.status < 300 || (sent.failures > 0 && isAssignedTo(sent.said, nodeName))) return
    throw refused(sent.answer, sent.said)
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
