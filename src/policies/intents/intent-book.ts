import type { Pod } from '../../cluster/pod.ts'
import { plainText } from '../llm/plain-text.ts'
import type { Intents } from './heeding.ts'
import { INTENT_ANNOTATION, INTENT_WEIGHTS_ANNOTATION, type Intent, isEmpty, readIntent } from './intent.ts'

/** Where intents that have been read are kept over a restart. Neither method throws. */
export interface IntentStore {
  /** JSON of the intent, undefined where it is not kept */
  get(model: string, text: string): string | undefined
  keep(model: string, text: string, intent: string): void
}

/** An intent as it stands, for people. */
export interface KnownIntent {
  readonly text: string
  /** undefined: it has not been read yet */
  readonly intent: Intent | undefined
}

export interface IntentBookOptions {
  /** whose reading it is; another model may read differently */
  readonly model: string
  /** Reads a text; may take long. Rejects where it cannot, and is asked again at a later pod. undefined: nobody reads. */
  readonly read: ((text: string) => Promise<Intent>) | undefined
  readonly store: IntentStore
  /** monotonic */
  readonly nowMs: () => number
}

/** Texts that are kept in memory, and that wait to be read: pods of a cluster have a few templates, an attacker many. */
const TEXTS_AT_MOST = 2_000
const WAITING_AT_MOST = 50
const RETRY_MS = 60_000
/** An annotation can be 256 KiB, which must not be kept so many times; no wish is that long. */
const WRITTEN_LENGTH = 2_000

interface Entry {
  readonly text: string
  intent: Intent | undefined
  /** no attempt before */
  notBeforeMs: number
}

/**
 * What the owners of pods wish, by what they wrote. Texts are read one at a time, once each, while pods go on being placed: the
 * first of a template are placed as if nothing had been written. The annotation with weights needs no reading, and wins.
 */
export class IntentBook implements Intents {
  readonly #options: IntentBookOptions
  readonly #entries = new Map<string, Entry>()
  readonly #weights = new Map<string, Intent | undefined>()
  readonly #waiting = new Set<Entry>()
  #reading = false

  constructor(options: IntentBookOptions) {
    this.#options = options
  }

  of({ annotations }: Pod): Intent | undefined {
    const weights = annotations[INTENT_WEIGHTS_ANNOTATION]
    if (weights !== undefined) return this.#written(weights)
    const text = annotations[INTENT_ANNOTATION]
    if (text === undefined || text === '') return undefined
    const intent = this.#entry(text).intent
    return intent === undefined || isEmpty(intent) ? undefined : intent
  }

  /** every text that is known, with what was made of it */
  get known(): KnownIntent[] {
    return [...this.#entries.values()].map(({ text, intent }) => ({ text, intent }))
  }

  #written(weights: string): Intent | undefined {
    if (weights.length > WRITTEN_LENGTH) return undefined
    const known = this.#weights.get(weights)
    if (known !== undefined || this.#weights.has(weights)) return known
    let intent: Intent | undefined
    try {
      intent = readIntent(JSON.parse(weights))
    } catch {
      // what is no JSON wishes nothing
    }
    if (intent !== undefined && isEmpty(intent)) intent = undefined
    trim(this.#weights)
    this.#weights.set(weights, intent)
    return intent
  }

  #entry(annotation: string): Entry {
    const written = annotation.slice(0, WRITTEN_LENGTH)
    let entry = this.#entries.get(written)
    if (entry === undefined) {
      const text = plainText(written)
      const kept = this.#options.store.get(this.#options.model, text)
      entry = { text, intent: kept === undefined ? undefined : parsed(kept), notBeforeMs: 0 }
      trim(this.#entries)
      this.#entries.set(written, entry)
    }
    if (entry.intent === undefined) this.#wait(entry)
    return entry
  }

  #wait(entry: Entry): void {
    const { nowMs, read } = this.#options
    if (read === undefined || this.#waiting.has(entry) || this.#waiting.size >= WAITING_AT_MOST) return
    if (nowMs() < entry.notBeforeMs) return
    this.#waiting.add(entry)
    if (!this.#reading) void this.#readAll(read)
  }

  /** Never rejects. */
  async #readAll(read: (text: string) => Promise<Intent>): Promise<void> {
    this.#reading = true
    for (const entry of this.#waiting) {
      try {
        const intent = await read(entry.text)
        entry.intent = intent
        this.#options.store.keep(this.#options.model, entry.text, JSON.stringify(intent))
      } catch {
        // The model's own log says why.
        entry.notBeforeMs = this.#options.nowMs() + RETRY_MS
      }
      this.#waiting.delete(entry)
    }
    this.#reading = false
  }
}

/** The oldest goes. */
const trim = (map: Map<string, unknown>): void => {
  for (const oldest of map.keys()) {
    if (map.size < TEXTS_AT_MOST) break
    map.delete(oldest)
  }
}

const parsed = (json: string): Intent | undefined => {
  try {
    return readIntent(JSON.parse(json))
  } catch {
    return undefined
  }
}
