import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import type { Clock, Timer } from '../clock/clock.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import { type Columns, cutText, decode, encode, toMicroseconds } from './encoding.ts'
import type { DecisionRecord, DecisionSink, Outcome } from './record.ts'

/** A pod by its name, which later pods may bear again, or by its uid, which none does. */
export type PodReference = { readonly namespace: string; readonly pod: string } | { readonly uid: string }

/** What `list` leaves out nothing of; each filter narrows. */
export interface DecisionFilter {
  readonly namespace?: string
  readonly outcome?: Outcome
  readonly node?: string
  readonly policy?: string
  /** decisions made at that time or later, milliseconds since 1970 */
  readonly sinceMs?: number
  /** @default 100; at most 1,000 */
  readonly limit?: number
  /** `next` of the page before */
  readonly cursor?: string
}

/** Newest first. `next` is the cursor of the following page, absent on the last. */
export interface DecisionPage {
  readonly records: readonly DecisionRecord[]
  readonly next?: string
}

export interface DecisionStoreOptions {
  /** a file, made with its folder if it is missing, or `:memory:` */
  readonly path: string
  /** decisions older than that go with the next one that is written, in milliseconds */
  readonly maxAgeMs: number
  /** when the records and their indexes take more, the oldest go; the write-ahead log comes on top, a few MiB */
  readonly maxBytes: number
  readonly clock: Clock
  /** told once when writing begins to fail, and once when it works again */
  readonly log?: (message: string) => void
}

export interface DecisionStoreStats {
  readonly records: number
  /** taken by records and indexes */
  readonly bytes: number
  /** decisions and their ends that are not written yet, because writing fails */
  readonly pending: number
  /** decisions that could not be kept, since the store was opened */
  readonly lost: number
}

/** What models made of the intents that pods state, so that no text is read twice. Neither method throws. */
export interface KeptIntents {
  /** JSON as it was kept, undefined if it was not */
  get(model: string, text: string): string | undefined
  keep(model: string, text: string, intent: string): void
}

export interface DecisionStore extends DecisionSink {
  readonly intents: KeptIntents
  /** An id for the next record: above every id that was kept or handed out, also before a restart. */
  nextId(): number
  /** @throws StowageError STORE_UNUSABLE, as every read, if the file cannot be read any more */
  get(id: number): DecisionRecord | undefined
  /** The newest decision about a pod. */
  latest(pod: PodReference): DecisionRecord | undefined
  /** The attempts of a pod, newest first. @param limit at most 1,000 */
  history(pod: PodReference, limit?: number): readonly DecisionRecord[]
  /** @throws StowageError BAD_REQUEST for a cursor or limit that is none */
  list(filter?: DecisionFilter): DecisionPage
  stats(): DecisionStoreStats
  /** Writes what is pending now instead of with the next batch. Never throws. */
  flush(): void
  /** Flushes and closes. What is kept afterwards is counted as lost. */
  close(): void
}

/** `Stow` in ASCII: how we know a file of ours. */
const APPLICATION_ID = 0x53_74_6f_77
/** 1: decisions alone; 2: intents as well */
const SCHEMA_VERSION = 2

const TABLE = `CREATE TABLE decision (
  id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, namespace TEXT NOT NULL, pod TEXT NOT NULL, uid TEXT NOT NULL,
  outcome TEXT NOT NULL, node TEXT NOT NULL, policy TEXT NOT NULL, message TEXT NOT NULL, bind_ms REAL NOT NULL,
  body TEXT NOT NULL) STRICT`
/** Every entry of an index ends with the id, so that those of one pod or node are read newest first. */
const INDEXES = [
  'CREATE INDEX decision_at ON decision (at_ms)',
  'CREATE INDEX decision_pod ON decision (namespace, pod)',
  'CREATE INDEX decision_uid ON decision (uid)',
  "CREATE INDEX decision_node ON decision (node) WHERE node <> ''",
]
const INTENT_TABLE = `CREATE TABLE intent (
  model TEXT NOT NULL, text TEXT NOT NULL, intent TEXT NOT NULL, at_ms INTEGER NOT NULL,
  PRIMARY KEY (model, text)) STRICT, WITHOUT ROWID`
/** Beyond, the oldest go. */
const INTENTS_AT_MOST = 5_000
const SELECT = 'SELECT id, at_ms, namespace, pod, uid, outcome, node, policy, message, bind_ms, body FROM decision'

const BATCH = 500
/** the most that waits for a disk that takes nothing; then the oldest are lost */
const MAX_PENDING = 10 * BATCH
const FLUSH_AFTER_MS = 100
const RETRY_AFTER_MS = 1000
/** beyond, a decision is no decision any more */
const MAX_BODY = 256 * 1024
const MAX_LIMIT = 1000
/** decisions removed in one step, and the steps after one flush */
const PRUNE_ROWS = 100
const PRUNE_STEPS = (2 * BATCH) / PRUNE_ROWS
/** freed pages that are given back to the file system in one step */
const VACUUM_PAGES = 256
/** a lock of another process is waited for no longer: the scheduler's loop stands still meanwhile */
const BUSY_TIMEOUT_MS = 100

/** SQLite's primary result codes that blame one row, not the file: a constraint, a value too big, a wrong type. */
const ROW_ERRORS = new Set([18, 19, 20, 25])

interface Pending {
  readonly record: DecisionRecord
  outcome: Outcome
  message: string
  bindMs: number
}

interface Settlement {
  readonly outcome: Outcome
  readonly message: string
  readonly bindMs: number
}

const unusable = (path: string, found: string, todo: string, cause?: unknown): StowageError =>
  new StowageError('STORE_UNUSABLE', { found: `${path}: ${found}`, todo }, { cause })

/** The primary result code of an SQLite error; undefined for any other. */
const sqliteCode = (thrown: unknown): number | undefined => {
  const code = (thrown as { errcode?: unknown } | null)?.errcode
  return typeof code === 'number' ? code & 0xff : undefined
}

const pragma = (db: DatabaseSync, name: string): number => {
  const value = Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0]
  return typeof value === 'number' ? value : 0
}

/** Refuses what is not ours before anything is written to it, lays out what is new. */
const prepareFile = (db: DatabaseSync, path: string): void => {
  const schema = db.prepare('SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid').all()
  const applicationId = pragma(db, 'application_id')
  const version = pragma(db, 'user_version')
  const elsewhere = 'choose another path for the decision store, or move this file away'
  const isNew = schema.length === 0 && applicationId === 0 && version === 0
  if (!isNew) {
    if (applicationId !== APPLICATION_ID) throw unusable(path, 'it is a database of another program', elsewhere)
    if (version > SCHEMA_VERSION) {
      const found = `it was written by a newer Stowage (schema ${version}, this one knows ${SCHEMA_VERSION})`
      throw unusable(path, found, 'run that version, or choose another path for the decision store')
    }
    // triggers or views that somebody added would run with our writes
    const expected = [TABLE, ...INDEXES, ...(version < 2 ? [] : [INTENT_TABLE])]
    if (schema.length !== expected.length || schema.some((row, at) => row['sql'] !== expected[at])) {
      throw unusable(path, 'its tables are not those of a decision store', elsewhere)
    }
  }
  // small checkpoints, so that none holds up the scheduler for long
  if (isNew) db.exec('PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL')
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1000')
  db.exec('PRAGMA journal_size_limit = 8388608')
  if (!isNew && version < 2)
    db.exec(`BEGIN IMMEDIATE; ${INTENT_TABLE}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`)
  if (isNew) {
    const layout = [
      TABLE,
      ...INDEXES,
      INTENT_TABLE,
      `PRAGMA application_id = ${APPLICATION_ID}`,
      `PRAGMA user_version = ${SCHEMA_VERSION}`,
    ]
    db.exec(`BEGIN IMMEDIATE; ${layout.join(';')}; COMMIT`)
  }
}

const open = (path: string): DatabaseSync => {
  let db: DatabaseSync | undefined
  try {
    if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true })
    db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS })
    db.exec('PRAGMA trusted_schema = OFF')
    prepareFile(db, path)
    return db
  } catch (thrown) {
    db?.close()
    if (thrown instanceof StowageError) throw thrown
    const todo =
      sqliteCode(thrown) === 5
        ? 'another process holds it: stop that one, or choose another path'
        : 'check that the folder can be written; if the file is damaged, move it away and a new one is made'
    throw unusable(path, messageOf(thrown), todo, thrown)
  }
}

/** Whether it was written; false if this one row is at fault, thrown on if the file is. */
const writeRow = (write: () => void): boolean => {
  try {
    write()
    return true
  } catch (thrown) {
    const code = sqliteCode(thrown)
    if (code === undefined || ROW_ERRORS.has(code)) return false
    throw thrown
  }
}

const columnsOf = (row: Record<string, unknown>): Columns => ({
  id: Number(row['id']),
  atMs: Number(row['at_ms']),
  namespace: String(row['namespace']),
  pod: String(row['pod']),
  uid: String(row['uid']),
  // decode checks it
  outcome: String(row['outcome']) as Outcome,
  node: String(row['node']),
  policy: String(row['policy']),
  message: String(row['message']),
  bindMs: Number(row['bind_ms']),
})

class SqliteDecisionStore implements DecisionStore {
  readonly #db: DatabaseSync
  readonly #path: string
  readonly #clock: Clock
  readonly #maxAgeMs: number
  readonly #maxBytes: number
  readonly #log: (message: string) => void
  readonly #insert: StatementSync
  readonly #update: StatementSync
  readonly #delete: StatementSync
  /** lists differ by their filters: few texts, prepared once */
  readonly #queries = new Map<string, StatementSync>()
  readonly #pageBytes: number
  #pending = new Map<number, Pending>()
  #settlements = new Map<number, Settlement>()
  #timer: Timer | undefined
  #lost = 0
  #highestId: number
  #highestWrittenId: number
  #failing = false
  /** more is left to remove than one flush may */
  #pruning = false
  #open = true

  constructor(options: DecisionStoreOptions) {
    this.#path = options.path
    this.#clock = options.clock
    this.#maxAgeMs = options.maxAgeMs
    this.#maxBytes = options.maxBytes
    this.#log = options.log ?? (() => {})
    this.#db = open(options.path)
    try {
      this.#insert = this.#db.prepare('INSERT INTO decision VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      this.#update = this.#db.prepare('UPDATE decision SET outcome = ?, message = ?, bind_ms = ? WHERE id = ?')
      this.#highestId = Number(this.#db.prepare('SELECT max(id) AS id FROM decision').get()?.['id'] ?? 0)
      this.#highestWrittenId = this.#highestId
      this.#delete = this.#db.prepare('DELETE FROM decision WHERE id = ?')
      this.#pageBytes = pragma(this.#db, 'page_size')
    } catch (thrown) {
      this.#db.close()
      throw this.#unreadable(thrown)
    }
  }

  readonly intents: KeptIntents = {
    get: (model, text) => {
      try {
        const row = this.#prepared('SELECT intent FROM intent WHERE model = ? AND text = ?').get(model, text)
        return row === undefined ? undefined : String(row['intent'])
      } catch (thrown) {
        this.#log(`the decision store ${this.#path} could not be asked for an intent: ${messageOf(thrown)}`)
        return undefined
      }
    },
    keep: (model, text, intent) => {
      try {
        const insert =
          'INSERT INTO intent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET intent = excluded.intent, at_ms = excluded.at_ms'
        this.#prepared(insert).run(model, text, intent, Math.round(this.#clock.nowMs()))
        const oldest =
          'DELETE FROM intent WHERE at_ms <= (SELECT at_ms FROM intent ORDER BY at_ms DESC LIMIT 1 OFFSET ?)'
        this.#prepared(oldest).run(INTENTS_AT_MOST)
      } catch (thrown) {
        this.#log(`the decision store ${this.#path} could not keep an intent: ${messageOf(thrown)}`)
      }
    },
  }

  nextId(): number {
    return ++this.#highestId
  }

  keep(record: DecisionRecord): void {
    if (!this.#open) {
      this.#lost++
      return
    }
    const { outcome, message, bindMs } = record
    this.#pending.set(record.id, { record, outcome, message, bindMs })
    if (record.id > this.#highestId) this.#highestId = record.id
    this.#arm()
  }

  settle(id: number, outcome: Outcome, message: string, bindMs: number): void {
    if (!this.#open) return
    const pending = this.#pending.get(id)
    if (pending === undefined) {
      this.#settlements.set(id, { outcome, message, bindMs })
      this.#arm()
    } else {
      pending.outcome = outcome
      pending.message = message
      pending.bindMs = bindMs
    }
  }

  get(id: number): DecisionRecord | undefined {
    return Number.isSafeInteger(id) ? this.#read(`${SELECT} WHERE id = ?`, [id])[0]?.record : undefined
  }

  latest(pod: PodReference): DecisionRecord | undefined {
    return this.history(pod, 1)[0]
  }

  history(pod: PodReference, limit = 100): readonly DecisionRecord[] {
    const [where, values] =
      'uid' in pod ? ['uid = ?', [pod.uid]] : ['namespace = ? AND pod = ?', [pod.namespace, pod.pod]]
    const rows = this.#read(`${SELECT} WHERE ${where} ORDER BY id DESC LIMIT ?`, [...values, limitOf(limit)])
    return rows.flatMap((row) => row.record ?? [])
  }

  list(filter: DecisionFilter = {}): DecisionPage {
    const limit = limitOf(filter.limit)
    const where: string[] = []
    const values: SQLInputValue[] = []
    const narrow = (condition: string, value: SQLInputValue | undefined): void => {
      if (value === undefined) return
      where.push(condition)
      values.push(value)
    }
    // + keeps SQLite from sorting the whole namespace by id: walking back from the newest ends with the page
    narrow('+namespace = ?', filter.namespace)
    narrow('outcome = ?', filter.outcome)
    narrow(filter.node === '' ? 'node = ?' : "node <> '' AND node = ?", filter.node)
    narrow('policy = ?', filter.policy)
    // ids ascend in time, so the first decision since then bounds them: one look into the index instead of a scan
    narrow(
      'id >= coalesce((SELECT id FROM decision WHERE at_ms >= ? ORDER BY at_ms, id LIMIT 1), 9e18)',
      filter.sinceMs,
    )
    narrow('id < ?', filter.cursor === undefined ? undefined : idOfCursor(filter.cursor))
    const condition = where.length === 0 ? '' : ` WHERE ${where.join(' AND ')}`
    const rows = this.#read(`${SELECT}${condition} ORDER BY id DESC LIMIT ?`, [...values, limit + 1])
    const page = rows.slice(0, limit)
    const last = page.at(-1)
    return {
      records: page.flatMap((row) => row.record ?? []),
      ...(rows.length > limit && last !== undefined ? { next: String(last.id) } : {}),
    }
  }

  stats(): DecisionStoreStats {
    if (this.#open) this.flush()
    return {
      records: this.#open ? this.#count() : 0,
      bytes: this.#open ? this.#usedBytes() : 0,
      pending: this.#pending.size + this.#settlements.size,
      lost: this.#lost,
    }
  }

  flush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (!this.#open || (this.#pending.size === 0 && this.#settlements.size === 0 && !this.#pruning)) return
    try {
      this.#write()
      this.#pending.clear()
      this.#settlements.clear()
      this.#pruning = this.#prune()
      if (this.#failing)
        this.#log(`the decision store ${this.#path} can be written again; ${this.#lost} decisions were lost`)
      this.#failing = false
      if (this.#pruning) this.#armAfter(FLUSH_AFTER_MS)
    } catch (thrown) {
      if (!this.#failing) this.#log(`the decision store ${this.#path} cannot be written: ${messageOf(thrown)}`)
      this.#failing = true
      this.#armAfter(RETRY_AFTER_MS)
    }
  }

  close(): void {
    if (!this.#open) return
    this.flush()
    this.#timer?.cancel()
    this.#timer = undefined
    this.#open = false
    this.#lost += this.#pending.size
    this.#pending.clear()
    try {
      this.#db.close()
    } catch (thrown) {
      this.#log(`the decision store ${this.#path} did not close cleanly: ${messageOf(thrown)}`)
    }
  }

  /** After something was put in memory: makes sure that it is written soon, and that memory stays bounded. */
  #arm(): void {
    if (this.#failing) {
      // the disk is asked again by the timer, not by every decision
      for (const id of this.#pending.keys()) {
        if (this.#pending.size <= MAX_PENDING) break
        this.#pending.delete(id)
        this.#lost++
      }
      for (const id of this.#settlements.keys()) {
        if (this.#settlements.size <= MAX_PENDING) break
        this.#settlements.delete(id)
      }
      return
    }
    if (this.#pending.size + this.#settlements.size >= BATCH) this.flush()
    else this.#armAfter(FLUSH_AFTER_MS)
  }

  #armAfter(delayMs: number): void {
    this.#timer ??= this.#clock.after(delayMs, () => {
      this.#timer = undefined
      this.flush()
    })
  }

  #write(): void {
    let lost = 0
    let highest = 0
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      for (const { record, outcome, message, bindMs } of this.#pending.values()) {
        const written = writeRow(() => {
          const body = encode(record)
          if (body.length > MAX_BODY) throw new RangeError('a decision that large is none')
          const { id, atMs, namespace, pod, uid, node, policy } = record
          const mutable = [outcome, node, policy, cutText(message), toMicroseconds(bindMs)] as const
          // an id for the second time replaces the first; INSERT OR REPLACE would double the cost of every row
          if (id <= this.#highestWrittenId) this.#delete.run(id)
          else highest = Math.max(highest, id)
          this.#insert.run(id, Math.round(atMs), namespace, pod, uid, ...mutable, body)
        })
        if (!written) lost++
      }
      for (const [id, { outcome, message, bindMs }] of this.#settlements) {
        writeRow(() => this.#update.run(outcome, cutText(message), toMicroseconds(bindMs), id))
      }
      this.#db.exec('COMMIT')
    } catch (thrown) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw thrown
    }
    this.#lost += lost
    this.#highestWrittenId = Math.max(this.#highestWrittenId, highest)
  }

  /**
   * Removes the oldest in small steps, at most twice as many as a flush brings, so that no flush takes long. The newest
   * stays in any case: it remembers which ids were given out. @returns whether more is left to remove
   */
  #prune(): boolean {
    const cutoffMs = Math.floor(this.#clock.nowMs() - this.#maxAgeMs)
    const oldestFirst = this.#prepared('SELECT id, at_ms FROM decision ORDER BY id LIMIT 1 OFFSET ?')
    for (let step = 0; step < PRUNE_STEPS; step++) {
      const oldest = oldestFirst.get(0)
      const newest = this.#prepared('SELECT max(id) AS id FROM decision').get()?.['id']
      if (oldest === undefined || oldest['id'] === newest) return false
      const upTo = oldestFirst.get(PRUNE_ROWS)?.['id'] ?? newest ?? 0
      if (this.#usedBytes() > this.#maxBytes) this.#prepared('DELETE FROM decision WHERE id < ?').run(upTo)
      else if (Number(oldest['at_ms']) < cutoffMs) {
        this.#prepared('DELETE FROM decision WHERE id < ? AND at_ms < ?').run(upTo, cutoffMs)
      } else return false
      // pages that the next records will fill stay; what a burst left behind goes back to the file system
      if (pragma(this.#db, 'freelist_count') > VACUUM_PAGES) this.#db.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`)
    }
    return true
  }

  #usedBytes(): number {
    return (pragma(this.#db, 'page_count') - pragma(this.#db, 'freelist_count')) * this.#pageBytes
  }

  #count(): number {
    return Number(this.#prepared('SELECT count(*) AS n FROM decision').get()?.['n'] ?? 0)
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#queries.get(sql)
    if (statement === undefined) {
      statement = this.#db.prepare(sql)
      this.#queries.set(sql, statement)
    }
    return statement
  }

  /** Rows newest first; `record` is absent where the file holds something that this version did not write. */
  #read(sql: string, values: readonly SQLInputValue[]): { id: number; record: DecisionRecord | undefined }[] {
    if (!this.#open) throw unusable(this.#path, 'it has been closed', 'ask before shutdown')
    this.flush()
    try {
      return this.#prepared(sql)
        .all(...values)
        .map((row) => {
          const columns = columnsOf(row)
          return { id: columns.id, record: decode(columns, String(row['body'])) }
        })
    } catch (thrown) {
      throw this.#unreadable(thrown)
    }
  }

  #unreadable(thrown: unknown): StowageError {
    const todo = 'the file may be damaged: stop Stowage, move it away, and a new one is made'
    return unusable(this.#path, messageOf(thrown), todo, thrown)
  }
}

const limitOf = (limit = 100): number => {
  if (Number.isInteger(limit) && limit > 0) return Math.min(limit, MAX_LIMIT)
  throw new StowageError('BAD_REQUEST', {
    found: `the limit ${limit}`,
    expected: `a whole number from 1 to ${MAX_LIMIT}`,
  })
}

const idOfCursor = (cursor: string): number => {
  if (/^\d{1,16}$/.test(cursor) && Number.isSafeInteger(Number(cursor))) return Number(cursor)
  const found = `the cursor ${JSON.stringify(cursor.slice(0, 40))}`
  throw new StowageError('BAD_REQUEST', { found, expected: 'the cursor that the page before ended with' })
}

/**
 * Opens the store of decisions, in memory or in a file that survives restarts and kills: what was flushed (after 500
 * decisions or 100 ms) is there again. One process writes to a file, any number may read it meanwhile.
 * @throws StowageError STORE_UNUSABLE for a file that is damaged, another program's, a newer version's, or cannot be
 * written; such a file is left as it is
 * @example const store = openDecisionStore({ path: 'decisions.db', maxAgeMs: 7 * 86_400_000, maxBytes: 1 << 28, clock })
 */
export const openDecisionStore = (options: DecisionStoreOptions): DecisionStore => new SqliteDecisionStore(options)
