import type { WatchEventType } from '../../cluster/objects.ts'
import type { ApiObject } from './json.ts'

/** One object as it is at one resourceVersion, with its JSON, made when first asked for. */
export class Entry {
  readonly key: string
  readonly object: ApiObject
  readonly revision: number
  #json: string | undefined

  constructor(key: string, object: ApiObject, revision: number) {
    this.key = key
    this.object = object
    this.revision = revision
  }

  get json(): string {
    this.#json ??= JSON.stringify(this.object)
    return this.#json
  }

  /** Superseded entries live on in the history only; their text would be most of its memory. */
  forgetJson(): void {
    this.#json = undefined
  }
}

/** A change of one object. `entry` is what it is now, or was when it was deleted (with the resourceVersion of the deletion). */
export interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly entry: Entry
  readonly previous: Entry | undefined
}

/** What a watch that is selective must say about a change: objects appear when they begin to match and are deleted when they stop. */
export const typeSeenBy = (
  change: Change,
  matches: ((object: ApiObject) => boolean) | undefined,
): WatchEventType | undefined => {
  if (matches === undefined) return change.type
  const before = change.previous !== undefined && matches(change.previous.object)
  const now = change.type !== 'DELETED' && matches(change.entry.object)
  return now ? (before ? 'MODIFIED' : 'ADDED') : before ? 'DELETED' : undefined
}

export type Listener = (change: Change) => void

/** The objects of one resource, their recent changes, and who listens. Only the store writes here. */
export class Collection {
  readonly entries = new Map<string, Entry>()
  readonly listeners = new Set<Listener>()
  /** changes up to and including this revision are forgotten */
  forgottenRevision: number
  #history: Change[] = []
  #sorted: readonly Entry[] | undefined
  readonly #historyLimit: number

  constructor(revision: number, historyLimit: number) {
    this.forgottenRevision = revision
    this.#historyLimit = historyLimit
  }

  /** All objects in the order of their keys; the list does not change afterwards. */
  sorted(): readonly Entry[] {
    this.#sorted ??= [...this.entries.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
    return this.#sorted
  }

  /** Objects whose keys begin with `prefix`, in order. */
  within(prefix: string): readonly Entry[] {
    const sorted = this.sorted()
    if (prefix === '') return sorted
    const start = lowerBound(sorted, prefix)
    let end = start
    while (end < sorted.length && sorted[end]?.key.startsWith(prefix) === true) end++
    return sorted.slice(start, end)
  }

  hasWithin(prefix: string): boolean {
    for (const key of this.entries.keys()) if (key.startsWith(prefix)) return true
    return false
  }

  /** The changes after a revision, undefined if some of them are forgotten. */
  since(revision: number): readonly Change[] | undefined {
    if (revision < this.forgottenRevision) return undefined
    let low = 0
    let high = this.#history.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#history[middle]?.entry.revision ?? 0) <= revision) low = middle + 1
      else high = middle
    }
    return this.#history.slice(low)
  }

  forgetHistory(revision: number): void {
    this.forgottenRevision = revision
    this.#history = []
  }

  record(change: Change): void {
    this.#sorted = undefined
    change.previous?.forgetJson()
    this.#history.push(change)
    // Cut in blocks: shifting one by one would move the whole list each time.
    if (this.#history.length >= this.#historyLimit * 1.25) {
      const dropped = this.#history.splice(0, this.#history.length - this.#historyLimit)
      this.forgottenRevision = dropped.at(-1)?.entry.revision ?? this.forgottenRevision
    }
  }
}

/** Index of the first entry whose key is not below `key`. */
export const lowerBound = (sorted: readonly Entry[], key: string): number => {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle]?.key ?? '') < key) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * All objects under one growing revision, as etcd keeps them. Objects are replaced, never changed. Listeners hear of every
 * change in the order of the revisions, also of those that a listener makes.
 */
export class Store {
  #revision = 1
  readonly #collections = new Map<string, Collection>()
  readonly #historyLimit: number
  readonly #untold: { collection: Collection; change: Change }[] = []
  #telling = false

  /** @param historyLimit changes of one resource that a watch can go back */
  constructor(historyLimit = 8192) {
    this.#historyLimit = historyLimit
  }

  get revision(): number {
    return this.#revision
  }

  collection(resource: string): Collection {
    let collection = this.#collections.get(resource)
    if (collection === undefined) {
      collection = new Collection(0, this.#historyLimit)
      this.#collections.set(resource, collection)
    }
    return collection
  }

  collections(): Iterable<[string, Collection]> {
    return this.#collections
  }

  /** Writes an object whose metadata the store may still change: it gets the next resourceVersion. */
  put(collection: Collection, key: string, object: ApiObject): Entry {
    const previous = collection.entries.get(key)
    const entry = this.#next(key, object)
    collection.entries.set(key, entry)
    this.#tell(collection, { type: previous === undefined ? 'ADDED' : 'MODIFIED', entry, previous })
    return entry
  }

  /** Makes every revision that was ever handed out too old to watch from. */
  forgetHistory(): void {
    this.#revision++
    for (const collection of this.#collections.values()) collection.forgetHistory(this.#revision)
  }

  /** Removes the object of a key that exists; `last` is the form in which watches see it go. */
  remove(collection: Collection, previous: Entry, last: ApiObject): Entry {
    const entry = this.#next(previous.key, last)
    collection.entries.delete(previous.key)
    this.#tell(collection, { type: 'DELETED', entry, previous })
    return entry
  }

  #next(key: string, object: ApiObject): Entry {
    this.#revision++
    object.metadata.resourceVersion = String(this.#revision)
    return new Entry(key, object, this.#revision)
  }

  #tell(collection: Collection, change: Change): void {
    collection.record(change)
    this.#untold.push({ collection, change })
    if (this.#telling) return
    this.#telling = true
    try {
      for (let next = this.#untold.shift(); next !== undefined; next = this.#untold.shift())
        for (const listener of next.collection.listeners) listener(next.change)
    } finally {
      this.#telling = false
    }
  }
}
