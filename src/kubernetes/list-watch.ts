import { type Clock, sleep, type Timer } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import type { ObjectFeed } from '../cluster/feed.ts'
import type { KubeList, KubeObject, StatusObject, WatchEvent } from '../cluster/objects.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import { backoffMs } from './backoff.ts'
import { ApiRefusal, type Connection } from './connection.ts'

/** kube-scheduler's selector for pods: finished ones take nothing, and leave the watch as DELETED. */
export const UNFINISHED_PODS = 'status.phase!=Succeeded,status.phase!=Failed'

/** Told how reading one kind of object goes, for metrics and readiness. Must not throw. */
export interface ListWatchObserver {
  /** everything was listed; `relist` unless it was the first time */
  listed(path: string, objects: number, durationMs: number, relist: boolean): void
  /** a list or watch ended before it should have; the next try comes in `retryInMs` */
  interrupted(path: string, why: string, retryInMs: number): void
}

export interface ListWatchOptions<T extends KubeObject> {
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
  /** the collection, `/api/v1/pods` */
  readonly path: string
  readonly fieldSelector?: string
  readonly feed: ObjectFeed<T>
  readonly observer?: ListWatchObserver
  /** objects a page. @default 500, as client-go */
  readonly pageSize?: number
  /** Longest pause before an interrupted list or watch is tried again. @default 5,000 */
  readonly retryMaxMs?: number
  /** Neither object nor bookmark for so long (the server sends one a minute): the watch is dead. @default 90,000 */
  readonly idleTimeoutMs?: number
}

const PAGE_SIZE = 500
const IDLE_TIMEOUT_MS = 90_000
/** Low, because the cluster state is wrong for so long after an API server came back. */
const RETRY = { firstMs: 200, maxMs: 5_000 }
/** The server ends a watch after so long; drawn at random, so that not all watches of all clients end at once. */
const WATCH_SECONDS = { least: 300, spread: 300 }
/** A watch that ended sooner without a single event counts as failed. */
const SHORT_WATCH_MS = 1_000
const LIST_TIMEOUT_MS = 60_000

interface Known {
  uid: string
  resourceVersion: string
  /** number of the list that saw it last */
  list: number
}

/** The resource version is too old for the server: only a new list helps. */
class Expired extends Error {}
/** The server announced an error within a watch. */
class WatchError extends Error {
  readonly status: StatusObject
  constructor(status: StatusObject) {
    super(`the watch reported ${status.code ?? 'an error'}: ${status.message ?? status.reason ?? 'no reason given'}`)
    this.status = status
  }
}

/**
 * Keeps a feed told about all objects of one kind: lists them in pages, watches from there, resumes from the last
 * resource version after any cut, and lists again only when the server no longer knows that version. What disappeared
 * meanwhile is reported gone. Of each object only its key, uid and version are kept.
 */
export class ListWatch<T extends KubeObject> {
  readonly #options: ListWatchOptions<T>
  /** namespace -> name -> what was last reported; two levels, because the strings are the objects' own */
  readonly #known = new Map<string, Map<string, Known>>()
  #resourceVersion: string | undefined
  #lists = 0
  #lines = 0
  #synced = false
  #heardAtMs: number

  constructor(options: ListWatchOptions<T>) {
    this.#options = options
    this.#heardAtMs = options.clock.monotonicMs()
  }

  /** whether everything has been seen once */
  get synced(): boolean {
    return this.#synced
  }

  /** Time since the server last told us anything: what is known is at least so old. Up to a minute is usual. */
  get silentMs(): number {
    return this.#options.clock.monotonicMs() - this.#heardAtMs
  }

  /** Reads until the signal is aborted, then resolves. Never rejects for anything the server does. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, observer, path } = this.#options
    let failures = 0
    /** a 410 was followed by a new list, and no watch has brought anything since */
    let listedAnew = false
    while (!signal.aborted) {
      const linesBefore = this.#lines
      let why = 'the server ended the watch'
      let askedMs: number | undefined
      let failed = true
      let expired = false
      try {
        if (this.#resourceVersion === undefined) await this.#list(signal)
        const openedMs = clock.monotonicMs()
        await this.#watch(this.#resourceVersion ?? '', signal)
        failed = clock.monotonicMs() - openedMs < SHORT_WATCH_MS && this.#lines === linesBefore
      } catch (error) {
        if (signal.aborted) return
        why = messageOf(error)
        if (error instanceof ApiRefusal) askedMs = error.retryAfterMs
        else if (error instanceof WatchError) askedMs = (error.status.details?.retryAfterSeconds ?? 0) * 1_000
        expired = error instanceof Expired
        // What a broken line said is lost, so there too only a new list tells.
        if (expired || (error instanceof StowageError && error.code === 'API_MALFORMED')) {
          this.#resourceVersion = undefined
        }
      }
      // A row of failures is ended by what a watch brings: lists that succeed before each failing watch do not count.
      if (!failed || this.#lines > linesBefore) {
        failures = 0
        listedAnew = false
      }
      // A server that says 410 is well again, however many tries failed while it was away.
      const atOnce = !failed || (expired && !listedAnew)
      if (expired) listedAnew = true
      if (failed) failures++
      const limits = { firstMs: RETRY.firstMs, maxMs: this.#options.retryMaxMs ?? RETRY.maxMs }
      const delayMs = atOnce ? 0 : backoffMs(limits, failures, random, askedMs)
      observer?.interrupted(path, why, delayMs)
      if (delayMs > 0) await sleep(clock, delayMs, signal).catch(() => undefined)
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { connection, clock, path, fieldSelector, feed, observer, pageSize = PAGE_SIZE } = this.#options
    const begunMs = clock.monotonicMs()
    const list = ++this.#lists
    let objects = 0
    let token: string | undefined
    let resourceVersion: string | undefined
    do {
      const answer = await connection.request({
        method: 'GET',
        path,
        query: { limit: pageSize, fieldSelector, continue: token },
        signal,
        timeoutMs: LIST_TIMEOUT_MS,
      })
      if (answer.status === 410) throw new Expired(`the list of ${path} expired before its last page`)
      if (answer.status !== 200) throw new ApiRefusal(`GET ${path}`, answer)
      const page = answer.body as KubeList<T> | undefined
      // An empty list may be null where Go wrote it.
      const items = page?.items ?? []
      if (!Array.isArray(items) || typeof page?.metadata?.resourceVersion !== 'string') {
        throw new StowageError('API_MALFORMED', { found: `GET ${path} answered no list` })
      }
      this.#heardAtMs = clock.monotonicMs()
      for (const object of items) this.#seen(object, list)
      objects += items.length
      resourceVersion = page.metadata.resourceVersion
      token = page.metadata.continue || undefined
    } while (token !== undefined)
    this.#sweep(list)
    this.#resourceVersion = resourceVersion
    this.#synced = true
    feed.synced()
    observer?.listed(path, objects, clock.monotonicMs() - begunMs, list > 1)
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<void> {
    const { connection, clock, random, path, fieldSelector, idleTimeoutMs = IDLE_TIMEOUT_MS } = this.#options
    const query = new URLSearchParams({
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion,
      timeoutSeconds: String(WATCH_SECONDS.least + random.below(WATCH_SECONDS.spread)),
    })
    if (fieldSelector !== undefined) query.set('fieldSelector', fieldSelector)
    const idle = new AbortController()
    const openedMs = clock.monotonicMs()
    let timer: Timer
    // One timer that looks back, instead of one cancelled and set again with each event.
    const look = (): void => {
      const leftMs = Math.max(this.#heardAtMs, openedMs) + idleTimeoutMs - clock.monotonicMs()
      if (leftMs <= 0) idle.abort(new Error(`nothing was heard for ${idleTimeoutMs / 1000} s`))
      else timer = clock.after(leftMs, look)
    }
    timer = clock.after(idleTimeoutMs, look)
    try {
      await connection.stream(`${path}?${query.toString()}`, AbortSignal.any([signal, idle.signal]), (line) => {
        this.#heardAtMs = clock.monotonicMs()
        this.#line(line)
        this.#lines++
      })
    } catch (error) {
      if (error instanceof ApiRefusal && error.status === 410) throw new Expired(error.message)
      throw error
    } finally {
      timer.cancel()
    }
  }

  #line(line: string): void {
    let event: WatchEvent<T>
    try {
      event = JSON.parse(line) as WatchEvent<T>
    } catch (error) {
      throw this.#malformed('a line that is no JSON', error)
    }
    const object = event?.object
    if (typeof object !== 'object' || object === null) throw this.#malformed('a line without an object')
    if (event.type === 'ERROR') {
      const status = object as StatusObject
      if (status.code === 410 || status.reason === 'Expired' || status.reason === 'Gone') {
        throw new Expired(status.message ?? 'the resource version is too old')
      }
      throw new WatchError(status)
    }
    const version = object.metadata?.resourceVersion
    if (typeof version !== 'string' || version === '') throw this.#malformed('an object without a resourceVersion')
    if (event.type === 'ADDED' || event.type === 'MODIFIED') this.#seen(object, this.#lists)
    else if (event.type === 'DELETED') this.#deleted(object)
    else if (event.type !== 'BOOKMARK') throw this.#malformed(`an event of type "${String(event.type)}"`)
    this.#resourceVersion = version
  }

  #malformed(what: string, cause?: unknown): StowageError {
    return new StowageError('API_MALFORMED', { found: `${what} in the watch of ${this.#options.path}` }, { cause })
  }

  #seen(object: T, list: number): void {
    const { name, namespace = '', uid = '', resourceVersion = '' } = object?.metadata ?? {}
    if (typeof name !== 'string' || name === '') throw this.#malformed('an object without a name')
    let names = this.#known.get(namespace)
    if (names === undefined) this.#known.set(namespace, (names = new Map<string, Known>()))
    const known = names.get(name)
    if (known === undefined) names.set(name, { uid, resourceVersion, list })
    else {
      known.list = list
      if (known.uid === uid && known.resourceVersion === resourceVersion) return
      // The name was given anew while nobody watched.
      if (known.uid !== uid) this.#options.feed.gone(namespace, name, known.uid)
      known.uid = uid
      known.resourceVersion = resourceVersion
    }
    this.#options.feed.seen(object)
  }

  #deleted(object: T): void {
    const { name = '', namespace = '' } = object.metadata ?? {}
    const names = this.#known.get(namespace)
    const known = names?.get(name)
    if (names === undefined || known === undefined) return
    this.#forget(namespace, names, name)
    this.#options.feed.gone(namespace, name, known.uid)
  }

  #forget(namespace: string, names: Map<string, Known>, name: string): void {
    names.delete(name)
    if (names.size === 0) this.#known.delete(namespace)
  }

  /** Reports what the latest list no longer had. */
  #sweep(list: number): void {
    for (const [namespace, names] of this.#known) {
      for (const [name, known] of names) {
        if (known.list === list) continue
        this.#forget(namespace, names, name)
        this.#options.feed.gone(namespace, name, known.uid)
      }
    }
  }
}
