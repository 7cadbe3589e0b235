import { type Clock, sleep, type Timer } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import type { GangSource, PodGroupObject } from '../cluster/gangs.ts'
import type { PodObject } from '../cluster/objects.ts'
import { type Pod, podKey } from '../cluster/pod.ts'
import { messageOf } from '../errors/catalogue.ts'
import type { FailureReason, GangReport, Preemptor, Reporter } from '../scheduling/ports.ts'
import { backoffMs } from './backoff.ts'
import { type ApiAnswer, type Connection } from './connection.ts'
import {
  collectionPath,
  EVENTS,
  getObject,
  objectPath,
  PODS,
  type ResourceKind,
  STRATEGIC_MERGE_PATCH,
} from './objects.ts'
import { groupStatusRequest, writesStatusOf, writtenGroup } from './pod-group-status.ts'

export interface ApiReporterOptions {
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
  /** of this machine or pod: the instance that reports is `<schedulerName>-<hostname>` */
  readonly hostname: string
  /** While it is above 0, reports use only a few requests at a time. */
  readonly bindsInFlight: () => number
  /** Reports that may wait; more are dropped and counted. @default 100,000 */
  readonly maxQueued?: number
  /** Told of each report that will never be sent, and why. Must not throw. */
  readonly onGivenUp?: (about: Reported, what: What, why: string) => void
  /** Where the PodGroups of an API are; undefined: nowhere. @default nowhere */
  readonly groupKind?: (source: GangSource) => ResourceKind | undefined
  /** Told once of each API whose PodGroups' status may not be written. Must not throw. */
  readonly onForbidden?: (source: GangSource, why: string) => void
}

/** What a report is about. */
export interface Reported {
  readonly namespace: string
  readonly name: string
  /** of a PodGroup: whose */
  readonly source?: GangSource
}

type What = 'event' | 'condition' | 'group status'

const MAX_QUEUED = 100_000
const IN_FLIGHT = { besideBinds: 4, alone: 32, perThousandQueued: 1 }

/**
 * How many reports may be under way: few while binds are, more while none is. A queue that grows all the same gets one more
 * for each thousand reports, so that a flood of binds that does not end cannot fill it.
 */
export const reportsAtOnce = (bindsInFlight: number, queued: number): number => {
  const beside = IN_FLIGHT.besideBinds + Math.floor(queued / 1_000) * IN_FLIGHT.perThousandQueued
  return bindsInFlight > 0 ? Math.min(beside, IN_FLIGHT.alone) : IN_FLIGHT.alone
}
const RETRY = { firstMs: 200, maxMs: 10_000 }
const TIMEOUT_MS = 15_000
/** The API server takes no longer note (validation of events.k8s.io/v1). */
const MAX_NOTE_BYTES = 1_024
const MAX_NAME = 253
const MAX_INSTANCE = 128
/** client-go's event broadcaster: the same event within six minutes is counted, not sent again. */
const FOLD_MS = 6 * 60_000
const MAX_SERIES = 10_000

/** Cuts text to so many bytes of UTF-8, between characters, and says so with ` ...`. */
export const cutNote = (text: string, maxBytes = MAX_NOTE_BYTES): string => {
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return text
  const suffix = ' ...'
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(maxBytes - suffix.length))
  return text.slice(0, read) + suffix
}

/** RFC 3339 in whole seconds, as Time wants it. */
export const apiTime = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')

/** RFC 3339 with microseconds, as MicroTime wants it. */
export const microTime = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z')

/** A warning that may come again: later ones only raise its count. */
interface Series {
  readonly key: string
  readonly pod: Pod
  readonly name: string
  count: number
  /** what the API server was told last */
  sentCount: number
  lastMs: number
  created: boolean
}

type EventJob =
  | { readonly kind: 'scheduled'; readonly pod: Pod; readonly nodeName: string; readonly atMs: number }
  | {
      readonly kind: 'failed'
      readonly pod: Pod
      readonly note: string
      readonly atMs: number
      readonly series: Series
    }
  | {
      readonly kind: 'preempted'
      readonly pod: Pod
      readonly by: Preemptor
      readonly nodeName: string
      readonly atMs: number
    }
  | { readonly kind: 'count'; readonly pod: Pod; readonly series: Series }

/** What is to be written of a pod's status. */
interface ConditionJob {
  readonly pod: Pod
  /** PodScheduled=False; undefined: the condition stays as it is */
  readonly condition: { readonly reason: string; readonly message: string } | undefined
  /** undefined: it stays as it is; '': none */
  readonly nominatedNodeName: string | undefined
  readonly atMs: number
}

/** Sends events and PodScheduled conditions in kube-scheduler's words, behind the binds. */
export class ApiReporter implements Reporter {
  readonly #options: ApiReporterOptions
  #events: EventJob[] = []
  /** events before it in the array have been taken */
  #next = 0
  /** by uid: only the latest matters */
  readonly #conditions = new Map<string, ConditionJob>()
  /** uids whose condition is being written */
  readonly #writing = new Set<string>()
  /** by API, namespace and name: only the latest matters */
  readonly #groups = new Map<string, GangReport>()
  /** groups whose status is being written */
  readonly #writingGroups = new Set<string>()
  readonly #forbidden = new Set<GangSource>()
  readonly #series = new Map<string, Series>()
  readonly #stop = new AbortController()
  #sweeper: Timer | undefined
  #running = 0
  #named = 0
  #dropped = 0
  #onIdle: (() => void)[] = []

  constructor(options: ApiReporterOptions) {
    this.#options = options
  }

  /** reports not sent yet */
  get queued(): number {
    return this.#events.length - this.#next + this.#conditions.size + this.#groups.size + this.#running
  }

  /** reports that will never be sent: refused for good, beyond the bound, or left at the end of `drain` */
  get dropped(): number {
    return this.#dropped
  }

  scheduled(pod: Pod, nodeName: string): void {
    // Bound is bound: a late "False" would be wrong.
    this.#conditions.delete(pod.uid)
    this.#enqueue({ kind: 'scheduled', pod, nodeName, atMs: this.#options.clock.nowMs() })
  }

  failed(pod: Pod, reason: FailureReason, message: string, nominatedNodeName?: string): void {
    const atMs = this.#options.clock.nowMs()
    this.#warn(pod, message, atMs)
    const had = pod.scheduledCondition
    const same = had?.status === 'False' && had.reason === reason && had.message === message
    const nomination = nominatedNodeName ?? this.#conditions.get(pod.uid)?.nominatedNodeName
    const renominated = nomination !== undefined && nomination !== pod.nominatedNodeName
    if (same && !renominated) {
      // An older one that waits would undo it.
      this.#conditions.delete(pod.uid)
      return
    }
    this.#write({
      pod,
      condition: same ? undefined : { reason, message },
      nominatedNodeName: renominated ? nomination : undefined,
      atMs,
    })
  }

  denominated(pod: Pod): void {
    const condition = this.#conditions.get(pod.uid)?.condition
    this.#write({ pod, condition, nominatedNodeName: '', atMs: this.#options.clock.nowMs() })
  }

  preempted(victim: Pod, preemptor: Preemptor, nodeName: string): void {
    this.#enqueue({ kind: 'preempted', pod: victim, by: preemptor, nodeName, atMs: this.#options.clock.nowMs() })
  }

  gang(report: GangReport): void {
    const { source, namespace, name } = report.group
    const key = `${source}/${namespace}/${name}`
    if (!writesStatusOf(source) || this.#options.groupKind?.(source) === undefined) return
    if (this.queued >= (this.#options.maxQueued ?? MAX_QUEUED) && !this.#groups.has(key)) {
      this.#giveUp(report.group, 'group status', 'too many reports wait')
      return
    }
    this.#groups.set(key, report)
    this.#pump()
  }

  async drain(signal: AbortSignal): Promise<void> {
    for (const series of this.#series.values()) this.#sendCount(series)
    this.#series.clear()
    this.#sweeper?.cancel()
    this.#sweeper = undefined
    if (this.queued === 0) return
    const onAbort = (): void => this.#abandon(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    if (this.queued > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
    signal.removeEventListener('abort', onAbort)
  }

  #abandon(reason: unknown): void {
    const why = `stopped before it was sent: ${messageOf(reason)}`
    for (const job of this.#events.slice(this.#next)) this.#giveUp(job.pod, 'event', why)
    for (const job of this.#conditions.values()) this.#giveUp(job.pod, 'condition', why)
    this.#events = []
    this.#next = 0
    this.#conditions.clear()
    for (const { group } of this.#groups.values()) this.#giveUp(group, 'group status', why)
    this.#groups.clear()
    this.#stop.abort(reason)
    this.#settle()
  }

  #warn(pod: Pod, message: string, atMs: number): void {
    // As client-go, the note is no part of the key: a changed message changes the condition, and so the version.
    const key = `${pod.uid}/${pod.resourceVersion}`
    const known = this.#series.get(key)
    if (known !== undefined && atMs - known.lastMs < FOLD_MS) {
      known.count++
      known.lastMs = atMs
      if (known.count === 2) this.#sendCount(known)
      return
    }
    if (known !== undefined) this.#finish(known)
    if (this.#series.size >= MAX_SERIES) {
      const [oldest] = this.#series.values()
      if (oldest !== undefined) this.#finish(oldest)
    }
    const series = { key, pod, name: this.#eventName(pod, atMs), count: 1, sentCount: 1, lastMs: atMs, created: false }
    if (this.#enqueue({ kind: 'failed', pod, note: cutNote(message), atMs, series })) this.#series.set(key, series)
    this.#sweeper ??= this.#options.clock.after(FOLD_MS, () => this.#sweep())
  }

  #write(job: ConditionJob): void {
    const { pod } = job
    if (this.queued >= (this.#options.maxQueued ?? MAX_QUEUED) && !this.#conditions.has(pod.uid)) {
      this.#giveUp(pod, 'condition', 'too many reports wait')
      return
    }
    this.#conditions.set(pod.uid, job)
    this.#pump()
  }

  #sweep(): void {
    this.#sweeper = undefined
    const nowMs = this.#options.clock.nowMs()
    for (const series of this.#series.values()) if (nowMs - series.lastMs >= FOLD_MS) this.#finish(series)
    if (this.#series.size > 0) this.#sweeper = this.#options.clock.after(FOLD_MS / 6, () => this.#sweep())
  }

  /** No more of this one: its last count is sent. */
  #finish(series: Series): void {
    this.#series.delete(series.key)
    this.#sendCount(series)
  }

  #sendCount(series: Series): void {
    if (!series.created || series.count === series.sentCount) return
    series.sentCount = series.count
    this.#enqueue({ kind: 'count', pod: series.pod, series })
  }

  #enqueue(job: EventJob): boolean {
    if (this.queued >= (this.#options.maxQueued ?? MAX_QUEUED)) {
      this.#giveUp(job.pod, 'event', 'too many reports wait')
      return false
    }
    this.#events.push(job)
    this.#pump()
    return true
  }

  #giveUp(about: Reported, what: What, why: string): void {
    this.#dropped++
    this.#options.onGivenUp?.(about, what, why)
  }

  #pump(): void {
    const limit = reportsAtOnce(this.#options.bindsInFlight(), this.queued)
    while (this.#running < limit) {
      const work = this.#take()
      if (work === undefined) return
      this.#running++
      void work().finally(() => {
        this.#running--
        this.#pump()
        this.#settle()
      })
    }
  }

  #settle(): void {
    if (this.queued > 0) return
    const waiting = this.#onIdle
    this.#onIdle = []
    for (const resolve of waiting) resolve()
  }

  /** Conditions first: autoscalers act on them, people only read events. */
  #take(): (() => Promise<void>) | undefined {
    for (const [uid, job] of this.#conditions) {
      if (this.#writing.has(uid)) continue
      this.#conditions.delete(uid)
      this.#writing.add(uid)
      return () => this.#writeCondition(job).finally(() => this.#writing.delete(uid))
    }
    for (const [key, report] of this.#groups) {
      if (this.#writingGroups.has(key)) continue
      this.#groups.delete(key)
      this.#writingGroups.add(key)
      return () => this.#writeGroup(key, report).finally(() => this.#writingGroups.delete(key))
    }
    const job = this.#events[this.#next]
    if (job === undefined) return undefined
    this.#next++
    // Taken jobs are cut off now and then; one at a time would move the whole array each time.
    if (this.#next >= 1_024 && this.#next * 2 >= this.#events.length) {
      this.#events = this.#events.slice(this.#next)
      this.#next = 0
    }
    return () => this.#sendEvent(job)
  }

  async #sendEvent(job: EventJob): Promise<void> {
    const { pod } = job
    if (job.kind === 'count') {
      await this.#persist(pod, 'event', () => ({
        method: 'PATCH',
        path: objectPath(EVENTS, pod.namespace, job.series.name),
        contentType: STRATEGIC_MERGE_PATCH,
        body: { series: { count: job.series.sentCount, lastObservedTime: microTime(job.series.lastMs) } },
      }))
      return
    }
    const { reportingController, ...told } = this.#told(job)
    const body = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: {
        namespace: pod.namespace,
        name: job.kind === 'failed' ? job.series.name : this.#eventName(pod, job.atMs),
      },
      eventTime: microTime(job.atMs),
      reportingController,
      reportingInstance: `${reportingController}-${this.#options.hostname}`.slice(0, MAX_INSTANCE),
      ...told,
      regarding: {
        apiVersion: 'v1',
        kind: 'Pod',
        namespace: pod.namespace,
        name: pod.name,
        uid: pod.uid,
        resourceVersion: pod.resourceVersion,
      },
    }
    const path = collectionPath(EVENTS, pod.namespace)
    const sent = await this.#persist(pod, 'event', () => ({ method: 'POST', path, body }))
    if (job.kind !== 'failed') return
    if (sent) {
      job.series.created = true
      // Those that came while it was on its way.
      this.#sendCount(job.series)
    } else this.#series.delete(job.series.key)
  }

  /** What an event says, in kube-scheduler's words, and who says it. */
  #told(job: Exclude<EventJob, { readonly kind: 'count' }>) {
    const { pod } = job
    if (job.kind === 'failed')
      return {
        reportingController: pod.schedulerName,
        action: 'Scheduling',
        reason: 'FailedScheduling',
        type: 'Warning',
        note: job.note,
      }
    if (job.kind === 'scheduled')
      return {
        reportingController: pod.schedulerName,
        action: 'Binding',
        reason: 'Scheduled',
        type: 'Normal',
        note: cutNote(`Successfully assigned ${podKey(pod)} to ${job.nodeName}`),
      }
    return {
      reportingController: job.by.schedulerName,
      action: 'Preempting',
      reason: 'Preempted',
      type: 'Normal',
      note: `Preempted by ${job.by.kind ?? 'pod'} ${job.by.uid} on node ${job.nodeName}`,
    }
  }

  async #writeCondition(job: ConditionJob): Promise<void> {
    const { pod, condition, nominatedNodeName, atMs } = job
    let resourceVersion = pod.resourceVersion
    let transition = pod.scheduledCondition?.status !== 'False'
    const request = (): Parameters<Connection['request']>[0] => ({
      method: 'PATCH',
      path: `${objectPath(PODS, pod.namespace, pod.name)}/status`,
      contentType: STRATEGIC_MERGE_PATCH,
      body: {
        // The version guards against a pod that was bound meanwhile.
        metadata: { uid: pod.uid, resourceVersion },
        status: {
          ...(condition === undefined
            ? {}
            : {
                conditions: [
                  {
                    type: 'PodScheduled',
                    status: 'False',
                    ...condition,
                    ...(pod.generation > 0 ? { observedGeneration: pod.generation } : {}),
                    ...(transition ? { lastTransitionTime: apiTime(atMs) } : {}),
                  },
                ],
              }),
          // null takes it away
          ...(nominatedNodeName === undefined ? {} : { nominatedNodeName: nominatedNodeName || null }),
        },
      },
    })
    await this.#persist(pod, 'condition', request, async () => {
      const now = await getObject<PodObject>(this.#options.connection, PODS, pod.namespace, pod.name, this.#stop.signal)
      if (now?.metadata?.uid !== pod.uid || now.spec?.nodeName || now.metadata.deletionTimestamp) return false
      const newer = this.#conditions.get(pod.uid)
      if (newer !== undefined) {
        // Its words replace ours, but where the pod is nominated it may leave as it is.
        const nomination = newer.nominatedNodeName ?? nominatedNodeName
        this.#conditions.set(pod.uid, { ...newer, nominatedNodeName: nomination })
        return false
      }
      const had = now.status?.conditions?.find(({ type }) => type === 'PodScheduled')
      const said =
        condition === undefined ||
        (had?.status === 'False' && had.reason === condition.reason && had.message === condition.message)
      const nominated = nominatedNodeName === undefined || (now.status?.nominatedNodeName ?? '') === nominatedNodeName
      if (said && nominated) return false
      transition = had?.status !== 'False'
      resourceVersion = now.metadata.resourceVersion ?? ''
      return true
    })
  }

  async #writeGroup(key: string, report: GangReport): Promise<void> {
    const { group } = report
    const { namespace, name, source, uid } = group
    const kind = this.#options.groupKind?.(source)
    if (kind === undefined) return
    const time = apiTime(report.atMs)
    const first = groupStatusRequest(kind, report, time, group)
    if (first === undefined) return
    let request = first
    await this.#persist(
      group,
      'group status',
      () => request,
      async () => {
        const now = await getObject<PodGroupObject>(this.#options.connection, kind, namespace, name, this.#stop.signal)
        // Another has its name, or what is newer is said next.
        if (now?.metadata?.uid !== uid || this.#groups.has(key)) return false
        const newer = groupStatusRequest(kind, report, time, writtenGroup(now))
        if (newer === undefined) return false
        request = newer
        return true
      },
    )
  }

  /** It will be refused again each time, which need not be said again each time. */
  #forbid(source: GangSource, why: string): void {
    this.#dropped++
    if (this.#forbidden.has(source)) return
    this.#forbidden.add(source)
    this.#options.onForbidden?.(source, why)
  }

  /**
   * Sends until the server has taken it or refused it for good.
   * @param onConflict what a 409 means: true, try again; false, there is nothing left to say
   * @returns whether it was taken
   */
  async #persist(
    about: Reported,
    what: What,
    request: () => Parameters<Connection['request']>[0],
    onConflict: () => Promise<boolean> = () => Promise.resolve(false),
  ): Promise<boolean> {
    const { connection, clock, random } = this.#options
    const { signal } = this.#stop
    for (let failures = 1; ; failures++) {
      let why: string
      let askedMs: number | undefined
      try {
        const answer = await connection.request({ ...request(), signal, timeoutMs: TIMEOUT_MS, ignoreBody: true })
        if (answer.status < 300) return true
        // An event of that name is our own, whose answer was lost.
        if (answer.status === 409) {
          if (await onConflict()) continue
          return true
        }
        why = refusal(answer)
        // The pod or the event is gone, and so is what there was to say.
        if (answer.status === 404) return false
        if (answer.status < 500 && answer.status !== 429 && answer.status !== 401) {
          if (answer.status === 403 && about.source !== undefined) this.#forbid(about.source, why)
          else this.#giveUp(about, what, why)
          return false
        }
        askedMs = answer.retryAfterMs
      } catch (error) {
        why = messageOf(error)
      }
      try {
        await sleep(clock, backoffMs(RETRY, failures, random, askedMs), signal)
      } catch {
        this.#giveUp(about, what, `stopped before it was sent: ${why}`)
        return false
      }
    }
  }

  #eventName(pod: Pod, atMs: number): string {
    // client-go takes nanoseconds; here a counter stands in for what the clock cannot tell apart.
    const suffix = (BigInt(Math.floor(atMs)) * 1_000_000n + BigInt(this.#named++ % 1_000_000)).toString(16)
    return `${pod.name.slice(0, MAX_NAME - 1 - suffix.length)}.${suffix}`
  }
}

const refusal = (answer: ApiAnswer): string => {
  const said = (answer.body as { message?: unknown } | undefined)?.message
  return `status ${answer.status}${typeof said === 'string' ? `: ${said.slice(0, 500)}` : ''}`
}
