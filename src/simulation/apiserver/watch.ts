import type { Clock, Timer } from '../../clock/clock.ts'
import type { Random } from '../../clock/random.ts'
import type { WatchControl } from './faults.ts'
import type { Writer } from './form.ts'
import type { ApiObject } from './json.ts'
import { expired } from './failure.ts'
import type { Reply } from './reply.ts'
import type { Matches } from './selectors.ts'
import { type Change, type Collection, Entry, type Store, typeSeenBy } from './store.ts'

export interface WatchRequest {
  readonly collection: Collection
  /** `ns/` for the objects of one namespace, else empty */
  readonly prefix: string
  readonly matches: Matches | undefined
  readonly writer: Writer
  /** undefined: from the current state */
  readonly fromRevision: number | undefined
  /** send what there is first, then the bookmark that says so (WatchList) */
  readonly initialEvents: boolean
  readonly bookmarks: boolean
  readonly timeoutMs: number | undefined
}

const bookmarkIntervalMs = 60_000
/** One write to the connection. */
const chunkBytes = 256 * 1024
/** A client that is further behind than this loses its watch, as with kube-apiserver. */
const backlogLimitBytes = 256 * 1024 * 1024

/** One open watch: the changes that match, written as lines, in order. */
class Watch {
  readonly #request: WatchRequest
  readonly #reply: Reply
  readonly #onEnd: (watch: Watch) => void
  readonly #listener = (change: Change): void => this.#change(change)
  #lines: string[] = []
  #backlogBytes = 0
  #scheduled = false
  #blocked = false
  #ended = false
  stalled = false
  timers: Timer[] = []

  constructor(request: WatchRequest, reply: Reply, onEnd: (watch: Watch) => void) {
    this.#request = request
    this.#reply = reply
    this.#onEnd = onEnd
  }

  start(store: Store): void {
    const { collection, fromRevision, prefix, matches, writer } = this.#request
    this.#reply.writeHead(200, { 'content-type': 'application/json' })
    this.#reply.flushHeaders()
    this.#reply.on('close', () => this.end())
    if (fromRevision === undefined) {
      for (const entry of collection.within(prefix))
        if (matches === undefined || matches(entry.object)) this.#say(writer.event('ADDED', entry))
      if (this.#request.initialEvents && this.#request.bookmarks) this.#say(writer.bookmark(store.revision, true))
    } else {
      const missed = collection.since(fromRevision)
      if (missed === undefined) {
        const failure = expired(`too old resource version: ${fromRevision} (${collection.forgottenRevision})`)
        this.#say(`${JSON.stringify({ type: 'ERROR', object: failure.status })}\n`)
        this.end()
        return
      }
      for (const change of missed) this.#change(change)
    }
    collection.listeners.add(this.#listener)
  }

  bookmark(revision: number): void {
    this.#say(this.#request.writer.bookmark(revision, false))
  }

  get wantsBookmarks(): boolean {
    return this.#request.bookmarks
  }

  /** Ends the answer properly, after what has been said. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#request.collection.listeners.delete(this.#listener)
    for (const timer of this.timers) timer.cancel()
    this.#onEnd(this)
    if (this.#reply.destroyed === true) return
    this.#reply.end(this.#blocked ? '' : this.#lines.join(''))
    this.#lines = []
  }

  #change(change: Change): void {
    const { prefix, matches, fromRevision, writer } = this.#request
    if (prefix !== '' && !change.entry.key.startsWith(prefix)) return
    if (fromRevision !== undefined && change.entry.revision <= fromRevision) return
    const type = typeSeenBy(change, matches)
    if (type !== undefined)
      this.#say(writer.event(type, type === 'DELETED' && change.type !== 'DELETED' ? asDeleted(change) : change.entry))
  }

  #say(line: string): void {
    if (this.stalled || this.#ended) return
    this.#lines.push(line)
    this.#backlogBytes += line.length
    if (this.#backlogBytes > backlogLimitBytes) {
      this.#lines = []
      this.end()
      return
    }
    if (this.#scheduled || this.#blocked) return
    this.#scheduled = true
    // Whatever changes in the same turn of the event loop goes out in one write.
    setImmediate(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    while (this.#lines.length > 0 && !this.#blocked && !this.#ended) {
      let bytes = 0
      let count = 0
      while (count < this.#lines.length && bytes < chunkBytes) bytes += this.#lines[count++]?.length ?? 0
      const chunk = this.#lines.splice(0, count).join('')
      this.#backlogBytes -= bytes
      if (!this.#reply.write(chunk)) {
        this.#blocked = true
        this.#reply.once('drain', () => {
          this.#blocked = false
          this.#flush()
        })
      }
    }
  }
}

/** An object that stopped matching is sent as it last matched, with the resourceVersion of the change. */
const asDeleted = (change: Change): Entry => {
  const last: ApiObject = (change.previous ?? change.entry).object
  const object = {
    ...last,
    metadata: { ...last.metadata, resourceVersion: change.entry.object.metadata.resourceVersion ?? '' },
  }
  return new Entry(change.entry.key, object, change.entry.revision)
}

/** All open watches of a server. */
export class Watches implements WatchControl {
  readonly #store: Store
  readonly #clock: Clock
  readonly #random: Random
  readonly #open = new Set<Watch>()
  #bookmarksOn = true
  #bookmarkTimer: Timer | undefined

  constructor(store: Store, clock: Clock, random: Random) {
    this.#store = store
    this.#clock = clock
    this.#random = random
  }

  get size(): number {
    return this.#open.size
  }

  open(request: WatchRequest, reply: Reply): void {
    const watch = new Watch(request, reply, (ended) => this.#open.delete(ended))
    this.#open.add(watch)
    // As kube-apiserver: 30 to 60 minutes where the client does not say.
    const timeoutMs = request.timeoutMs ?? 1_800_000 * (1 + this.#random.next())
    watch.timers.push(this.#clock.after(timeoutMs, () => watch.end()))
    watch.start(this.#store)
    this.#bookmarkTimer ??= this.#clock.after(bookmarkIntervalMs, () => this.#sendBookmarks())
  }

  cut(): void {
    for (const watch of this.#open) watch.end()
    this.#bookmarkTimer?.cancel()
    this.#bookmarkTimer = undefined
  }

  stall(): void {
    for (const watch of this.#open) watch.stalled = true
  }

  bookmarks(on: boolean): void {
    this.#bookmarksOn = on
  }

  forgetHistory(): void {
    this.#store.forgetHistory()
  }

  #sendBookmarks(): void {
    this.#bookmarkTimer = undefined
    if (this.#open.size === 0) return
    if (this.#bookmarksOn)
      for (const watch of this.#open) if (watch.wantsBookmarks) watch.bookmark(this.#store.revision)
    this.#bookmarkTimer = this.#clock.after(bookmarkIntervalMs, () => this.#sendBookmarks())
  }
}
