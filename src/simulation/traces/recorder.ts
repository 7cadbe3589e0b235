import { createHash } from 'node:crypto'
import type { Clock } from '../../clock/clock.ts'
import type { ObjectFeed } from '../../cluster/feed.ts'
import type { Condition, KubeObject, PodObject } from '../../cluster/objects.ts'
import { noMask, type Mask } from './mask.ts'
import { recordedParts, type RecordedKind } from './recorded-fields.ts'
import type { PodEnd, TraceEvent } from './recorded.ts'

export interface TraceRecorderOptions {
  readonly clock: Clock
  /** takes each event as it happens; what it throws goes to whoever told the feed */
  readonly write: (event: TraceEvent) => void
  /** @default noMask */
  readonly mask?: Mask
  /** what the schedulers say of pods that they refuse holds names, so it is left out where those are masked. @default true */
  readonly messages?: boolean
}

interface KnownPod {
  /** of what is written of it, without what changes by being placed */
  readonly digest: string
  readonly node: string
  readonly message: string
  readonly preempted: boolean
  readonly ended: boolean
}

const digestOf = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('base64')

/** Longer ones say nothing more that is of use. */
const MESSAGE_AT_MOST = 2_000

/** Feeds must not throw, whatever the object is. */
const conditionOf = (object: PodObject, type: string): Condition | undefined => {
  const conditions: unknown = object.status?.conditions
  return Array.isArray(conditions)
    ? (conditions as (Condition | undefined)[]).find((condition) => condition?.type === type)
    : undefined
}

/**
 * Turns what is seen of a cluster into the events of a trace. Objects that change in nothing that is kept (heartbeats,
 * counters) are written once. Of each object a digest is remembered.
 */
export class TraceRecorder {
  readonly #options: TraceRecorderOptions
  readonly #mask: Mask
  readonly #startMs: number
  readonly #pods = new Map<string, KnownPod>()
  /** by kind, `namespace/name` -> digest */
  readonly #objects = new Map<string, Map<string, string>>()

  constructor(options: TraceRecorderOptions) {
    this.#options = options
    this.#mask = options.mask ?? noMask
    this.#startMs = options.clock.monotonicMs()
  }

  /** milliseconds since the start, to the microsecond */
  get nowMs(): number {
    return Math.round((this.#options.clock.monotonicMs() - this.#startMs) * 1000) / 1000
  }

  /**
   * Where to tell of the objects of one kind.
   * @param apiVersion `v1`, `storage.k8s.io/v1`, ...
   * @param onSynced when all that are there have been seen for the first time
   */
  feed(kind: RecordedKind, apiVersion: string, onSynced: () => void): ObjectFeed<KubeObject> {
    let told = false
    const synced = (): void => {
      if (told) return
      told = true
      onSynced()
    }
    if (kind === 'Pod')
      return {
        seen: (object) => this.#podSeen(object),
        gone: (_namespace, _name, uid) => this.#podGone(uid),
        synced,
      }
    const known = new Map<string, string>()
    this.#objects.set(`${apiVersion}/${kind}`, known)
    return {
      seen: (object) => {
        const parts = recordedParts(kind, object, this.#mask)
        const key = `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`
        const digest = digestOf(parts)
        if (known.get(key) === digest) return
        known.set(key, digest)
        if (kind === 'Node') this.#write({ atMs: this.nowMs, event: 'node', object: parts })
        else this.#write({ atMs: this.nowMs, event: 'object', object: { apiVersion, kind, ...parts } })
      },
      gone: (namespace, name) => {
        if (!known.delete(`${namespace}/${name}`)) return
        const masked = this.#mask.name(name)
        if (kind === 'Node') this.#write({ atMs: this.nowMs, event: 'node-gone', name: masked })
        else
          this.#write({
            atMs: this.nowMs,
            event: 'object-gone',
            kind,
            namespace: this.#mask.name(namespace),
            name: masked,
          })
      },
      synced,
    }
  }

  /** Everything that was there at the start has been told. @param missing kinds that could not be read */
  synced(missing: readonly string[] = []): void {
    this.#write({ atMs: this.nowMs, event: 'synced', missing })
  }

  /** The recording ends. */
  stopped(): void {
    this.#write({ atMs: this.nowMs, event: 'stopped' })
  }

  #podSeen(object: PodObject): void {
    const uid: unknown = object.metadata?.uid
    if (typeof uid !== 'string' || uid === '') return
    const known = this.#pods.get(uid)
    const phase = object.status?.phase
    const finished = phase === 'Succeeded' || phase === 'Failed'
    if (known === undefined && finished) return
    if (known?.ended) return
    const node = object.spec?.nodeName ?? ''
    const parts: PodObject = recordedParts('Pod', object, this.#mask)
    const { nodeName: placedOn, ...spec } = parts.spec ?? {}
    const digest = digestOf({ ...parts, spec })
    const message = node === '' ? this.#messageOf(object) : ''
    const disruption = conditionOf(object, 'DisruptionTarget')
    const preempted =
      known?.preempted === true || (disruption?.status === 'True' && disruption.reason === 'PreemptionByScheduler')
    const masked = this.#mask.name(uid)
    if (known === undefined || known.digest !== digest) this.#write({ atMs: this.nowMs, event: 'pod', object: parts })
    else if (known.node === '' && placedOn !== undefined && placedOn !== '')
      this.#write({ atMs: this.nowMs, event: 'bind', uid: masked, node: placedOn })
    if (message !== '' && message !== known?.message)
      this.#write({ atMs: this.nowMs, event: 'refused', uid: masked, message })
    this.#pods.set(uid, { digest, node, message, preempted, ended: false })
    if (finished) this.#end(uid, phase === 'Succeeded' ? 'succeeded' : 'failed')
  }

  #podGone(uid: string): void {
    const known = this.#pods.get(uid)
    if (known === undefined) return
    if (!known.ended) this.#end(uid, known.preempted ? 'preempted' : 'deleted')
    this.#pods.delete(uid)
  }

  #end(uid: string, how: PodEnd): void {
    const known = this.#pods.get(uid)
    if (known !== undefined) this.#pods.set(uid, { ...known, ended: true })
    this.#write({ atMs: this.nowMs, event: 'end', uid: this.#mask.name(uid), how })
  }

  #messageOf(object: PodObject): string {
    if (this.#options.messages === false) return ''
    const condition = conditionOf(object, 'PodScheduled')
    const { message } = condition?.status === 'False' ? condition : {}
    return typeof message === 'string' ? message.slice(0, MESSAGE_AT_MOST) : ''
  }

  #write(event: TraceEvent): void {
    this.#options.write(event)
  }
}
