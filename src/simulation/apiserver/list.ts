import { ApiFailure, badRequest, expired } from './failure.ts'
import { type Json, isJson } from './json.ts'
import type { Matches } from './selectors.ts'
import { type Collection, type Entry, type Store, lowerBound } from './store.ts'

export interface ListRequest {
  readonly prefix: string
  readonly matches: Matches | undefined
  /** 0: everything */
  readonly limit: number
  readonly continueToken: string
}
export interface Page {
  readonly entries: readonly Entry[]
  readonly metadata: Json
}

/** Pages of a list come from the state at which its first page was read; so many of these are remembered. */
const snapshotLimit = 16

const encode = (revision: number, start: string): string =>
  Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, start: `${start}\0` })).toString('base64url')

const tooOld =
  'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.'

/** Lists, whole and in pages. */
export class Lists {
  readonly #store: Store
  readonly #snapshots = new Map<string, readonly Entry[]>()

  constructor(store: Store) {
    this.#store = store
  }

  /** Pages that have begun can not go on. */
  forget(): void {
    this.#snapshots.clear()
  }

  /** @throws ApiFailure 400, 410 */
  page(name: string, collection: Collection, request: ListRequest): Page {
    let revision = this.#store.revision
    let entries: readonly Entry[]
    let start = 0
    if (request.continueToken === '') entries = collection.within(request.prefix)
    else {
      const token = decode(request.continueToken)
      if (token.revision < 0) entries = collection.within(request.prefix)
      else {
        revision = token.revision
        const snapshot = this.#snapshots.get(`${name} ${request.prefix} ${revision}`)
        if (snapshot === undefined) {
          const failure = expired(tooOld)
          throw new ApiFailure(failure.code, failure.reason, failure.message, {
            continue: encode(-1, token.start.replace(/\0$/, '')),
          } as never)
        }
        entries = snapshot
      }
      start = lowerBound(entries, token.start)
    }
    const found: Entry[] = []
    let i = start
    for (; i < entries.length && (request.limit === 0 || found.length < request.limit); i++) {
      const entry = entries[i]
      if (entry !== undefined && (request.matches === undefined || request.matches(entry.object))) found.push(entry)
    }
    const metadata: Json = { resourceVersion: String(revision) }
    // A further page only if something on it could match.
    while (request.matches !== undefined && i < entries.length) {
      const entry = entries[i]
      if (entry !== undefined && request.matches(entry.object)) break
      i++
    }
    const last = found.at(-1)
    if (i < entries.length && last !== undefined) {
      this.#remember(`${name} ${request.prefix} ${revision}`, entries)
      metadata['continue'] = encode(revision, last.key)
      if (request.matches === undefined) metadata['remainingItemCount'] = entries.length - i
    }
    return { entries: found, metadata }
  }

  #remember(key: string, entries: readonly Entry[]): void {
    this.#snapshots.delete(key)
    this.#snapshots.set(key, entries)
    if (this.#snapshots.size <= snapshotLimit) return
    const oldest = this.#snapshots.keys().next().value
    if (oldest !== undefined) this.#snapshots.delete(oldest)
  }
}

const decode = (token: string): { revision: number; start: string } => {
  const refuse = (why: string): never => {
    throw badRequest(`invalid continue token: continue key is not valid: ${why}`)
  }
  if (!/^[\w+/=-]{4,}$/.test(token)) return refuse('illegal base64 data at input byte 0')
  try {
    const value: unknown = JSON.parse(Buffer.from(token, 'base64url').toString())
    if (isJson(value) && typeof value['rv'] === 'number' && typeof value['start'] === 'string')
      return { revision: value['rv'], start: value['start'] }
  } catch {
    // said below
  }
  return refuse('unexpected value')
}
