import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, test } from 'node:test'
import fc from 'fast-check'
import { VirtualClock } from '../clock/clock.ts'
import { type ErrorCode, StowageError } from '../errors/catalogue.ts'
import type { DecisionRecord, Outcome } from './record.ts'
import { candidate, decision, waiting } from './record.fixture.ts'
import { type DecisionFilter, type DecisionStoreOptions, openDecisionStore } from './store.ts'

const DAY_MS = 86_400_000
let folder: string
let clock: VirtualClock

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'stowage-decisions-'))
  clock = new VirtualClock()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const open = (changes: Partial<DecisionStoreOptions> = {}) =>
  openDecisionStore({ path: ':memory:', maxAgeMs: DAY_MS, maxBytes: 1 << 28, clock, ...changes })
const failsWith =
  (code: ErrorCode, message = /./) =>
  (thrown: unknown): boolean =>
    thrown instanceof StowageError && thrown.code === code && message.test(thrown.message)

describe('decision store', () => {
  test('a decision comes back exactly as it was kept, at once', () => {
    const store = open()
    const records = [
      decision({ id: 1, confidence: 0.75, reason: 'node-3 is quiet' }),
      waiting({ id: 2, pod: 'web-2', uid: 'u-2' }),
      decision({ id: 3, candidates: [candidate('a', { x: 1 }), candidate('b', { y: 2 }), candidate('c', {})] }),
      waiting({ id: 5, preemption: { node: 'node-7', victims: ['default/a', 'other/b'] } }),
      decision({ id: 4, candidates: [], refused: [], usage: '', outcome: 'gated', node: '' }),
    ]
    for (const record of records) store.keep(record)
    for (const record of records) assert.deepEqual(store.get(record.id), record)
    assert.equal(store.get(6), undefined)
    assert.equal(store.get(Number.NaN), undefined)
    store.close()
  })

  test('the end of a bind is seen whether its decision is written already or not', () => {
    const store = open()
    store.keep(decision({ id: 1, outcome: 'reserved', bindMs: -1 }))
    store.settle(1, 'bound', '', 4.5)
    store.keep(decision({ id: 2, outcome: 'reserved', bindMs: -1 }))
    store.flush()
    store.settle(2, 'failed', 'the node is gone', 7)
    store.settle(99, 'bound', '', 1)
    assert.equal(store.stats().pending, 0)
    assert.deepEqual(store.get(1), decision({ id: 1, bindMs: 4.5 }))
    assert.deepEqual(store.get(2), decision({ id: 2, outcome: 'failed', message: 'the node is gone', bindMs: 7 }))
    store.close()
  })

  test('the attempts of a pod are told newest first, by name or by uid', () => {
    const store = open()
    store.keep(waiting({ id: 1, attempt: 1, uid: 'old' }))
    store.keep(waiting({ id: 2, attempt: 1, uid: 'new' }))
    store.keep(decision({ id: 3, attempt: 2, uid: 'new' }))
    store.keep(decision({ id: 4, namespace: 'other', uid: 'else' }))
    const ids = (records: readonly DecisionRecord[]) => records.map((record) => record.id)
    assert.deepEqual(ids(store.history({ namespace: 'default', pod: 'web-1' })), [3, 2, 1])
    assert.deepEqual(ids(store.history({ uid: 'new' })), [3, 2])
    assert.equal(store.latest({ namespace: 'default', pod: 'web-1' })?.id, 3)
    assert.equal(store.latest({ uid: 'nobody' }), undefined)
    store.close()
  })

  test('what is kept is written by itself soon after', () => {
    const path = join(folder, 'decisions.db')
    const store = open({ path })
    store.keep(decision())
    clock.advance(100)
    const reader = new DatabaseSync(path, { readOnly: true })
    assert.equal(reader.prepare('SELECT count(*) AS n FROM decision').get()?.['n'], 1)
    reader.close()
    store.close()
  })

  test('decisions and the order of their ids survive a restart', () => {
    const path = join(folder, 'new', 'folder', 'decisions.db')
    const first = open({ path })
    const id = first.nextId()
    first.keep(decision({ id }))
    first.close()
    const second = open({ path })
    assert.deepEqual(second.get(id), decision({ id }))
    assert.ok(second.nextId() > id)
    second.close()
  })

  test('an id that is kept a second time replaces the first, so that nothing new is lost to a counter that restarted', () => {
    const store = open()
    store.keep(decision({ id: 1, pod: 'old' }))
    store.flush()
    store.keep(decision({ id: 1, pod: 'new' }))
    assert.equal(store.get(1)?.pod, 'new')
    assert.deepEqual({ ...store.stats(), bytes: 0 }, { records: 1, bytes: 0, pending: 0, lost: 0 })
    store.close()
  })

  test('pages follow each other without gap or repetition', () => {
    const store = open()
    // as large as a counter may begin that starts at the microsecond
    const start = 1_800_000_000_000_000
    for (let id = 1; id <= 25; id++) store.keep(decision({ id: start + id, node: `node-${id % 2}` }))
    const seen: number[] = []
    let cursor: string | undefined
    do {
      const page = store.list({ node: 'node-1', limit: 4, ...(cursor === undefined ? {} : { cursor }) })
      seen.push(...page.records.map((record) => record.id - start))
      cursor = page.next
    } while (cursor !== undefined)
    assert.deepEqual(seen, [25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1])
    store.close()
  })

  test('a cursor or limit that is none is refused with an explanation', () => {
    const store = open()
    assert.throws(() => store.list({ cursor: '1; DROP TABLE decision' }), failsWith('BAD_REQUEST', /cursor/))
    for (const limit of [0, -1, 1.5, Number.NaN])
      assert.throws(() => store.list({ limit }), failsWith('BAD_REQUEST', /limit/))
    store.close()
  })

  test('whatever is kept, settled and asked for, the store answers as a plain list in memory would', () => {
    const names = fc.constantFrom('a', 'b', "x' OR 1=1 --", '')
    const outcomes = fc.constantFrom<Outcome>('reserved', 'bound', 'waiting', 'gated', 'deleted', 'failed')
    const step = fc.oneof(
      fc.record({
        do: fc.constant('keep' as const),
        namespace: names,
        pod: names,
        node: names,
        policy: names,
        outcome: outcomes,
      }),
      fc.record({ do: fc.constant('settle' as const), back: fc.nat(5), outcome: outcomes }),
      fc.record({ do: fc.constant('flush' as const) }),
      fc.record({ do: fc.constant('later' as const), ms: fc.nat(300) }),
      fc.record({
        do: fc.constant('list' as const),
        filter: fc.record(
          {
            namespace: names,
            outcome: outcomes,
            node: names,
            policy: names,
            sinceAgoMs: fc.nat(600),
            limit: fc.integer({ min: 1, max: 5 }),
          },
          { requiredKeys: [] },
        ),
      }),
    )
    const property = fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
      const store = open()
      let model: DecisionRecord[] = []
      for (const each of steps) {
        switch (each.do) {
          case 'keep': {
            const { namespace, pod, node, policy, outcome } = each
            const record = decision({ id: store.nextId(), atMs: clock.nowMs(), namespace, pod, node, policy, outcome })
            store.keep(record)
            model.unshift(record)
            break
          }
          case 'settle': {
            const target = model[each.back]
            if (target === undefined) break
            const { outcome } = each
            store.settle(target.id, outcome, 'settled', 9)
            model = model.map((record) =>
              record === target ? { ...record, outcome, message: 'settled', bindMs: 9 } : record,
            )
            break
          }
          case 'flush':
            store.flush()
            break
          case 'later':
            clock.advance(each.ms)
            break
          case 'list': {
            const { sinceAgoMs, limit = 100, ...filter } = each.filter
            const sinceMs = sinceAgoMs === undefined ? Number.NEGATIVE_INFINITY : clock.nowMs() - sinceAgoMs
            const asked: DecisionFilter = { ...filter, limit, ...(sinceAgoMs === undefined ? {} : { sinceMs }) }
            const wanted = model.filter(
              (record) =>
                record.atMs >= sinceMs &&
                Object.entries(filter).every(([key, value]) => record[key as keyof typeof filter] === value),
            )
            const page = store.list(asked)
            assert.deepEqual(page.records, wanted.slice(0, limit))
            assert.equal(page.next, wanted.length > limit ? String(wanted[limit - 1]?.id) : undefined)
            break
          }
        }
      }
      for (const record of model) assert.deepEqual(store.get(record.id), record)
      assert.equal(store.stats().records, model.length)
      store.close()
    })
    fc.assert(property, { seed: 3, numRuns: 150 })
  })

  test('names of any characters are kept, found and change nothing else', () => {
    const store = open()
    let id = 0
    const property = fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), (pod, node) => {
      const record = decision({
        id: ++id,
        pod: `${id}${pod}`,
        node,
        message: pod,
        reason: node,
        request: { [pod]: 1, ['__proto__']: 2 },
        candidates: [candidate(node, { [pod]: 1, ['constructor']: 2 })],
      })
      store.keep(record)
      assert.deepEqual(store.latest({ namespace: 'default', pod: record.pod }), record)
    })
    fc.assert(property, { seed: 3, numRuns: 100 })
    assert.equal(store.stats().records, id)
    assert.equal(({} as Record<string, unknown>)['1'], undefined)
    store.close()
  })

  test('a record that cannot be written is counted as lost and takes no other with it', () => {
    const store = open()
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    store.keep(decision({ id: 1 }))
    store.keep(decision({ id: 2, request: circle as Record<string, number> }))
    store.keep(decision({ id: 3, atMs: Number.NaN }))
    store.keep(
      decision({ id: 4, refused: Array.from({ length: 5000 }, () => decision().refused[0]!) /* it has one */ }),
    )
    store.keep(decision({ id: 5, pod: undefined as unknown as string }))
    store.keep(decision({ id: 6 }))
    store.settle(6, 'bound', '', Number.NaN)
    store.flush()
    store.settle(1, 'bound', '', Number.NaN)
    assert.equal(store.get(1)?.id, 1)
    const { records, lost } = store.stats()
    assert.deepEqual({ records, lost }, { records: 1, lost: 5 })
    store.close()
  })

  test('a message without end is cut, so that no error text can fill the store', () => {
    const store = open()
    store.keep(decision({ message: 'x'.repeat(1_000_000) }))
    assert.equal(store.get(1)?.message.length, 4096)
    store.close()
  })
})

describe('decision store, bounded', () => {
  test('decisions older than the limit go, younger ones stay', () => {
    const store = open({ maxAgeMs: 1000 })
    for (let id = 1; id <= 1450; id++) store.keep(decision({ id, atMs: clock.nowMs() }))
    clock.advance(900)
    for (let id = 1451; id <= 1550; id++) store.keep(decision({ id, atMs: clock.nowMs() }))
    clock.advance(100)
    assert.equal(store.stats().records, 1550)
    clock.advance(200)
    store.keep(decision({ id: 1551, atMs: clock.nowMs() }))
    // in steps, a timer apart
    clock.advance(500)
    assert.equal(store.stats().records, 101)
    assert.equal(store.list({ limit: 1000 }).records.at(-1)?.id, 1451)
    store.close()
  })

  test('the file stays within its size however many decisions come, and the newest are in it', () => {
    const path = join(folder, 'decisions.db')
    const maxBytes = 1 << 20
    const store = open({ path, maxBytes })
    for (let id = 1; id <= 6000; id++) store.keep(decision({ id, pod: `pod-${id}`, uid: `uid-${(id * 7919) % 6007}` }))
    assert.ok(store.stats().bytes <= maxBytes)
    assert.equal(store.get(6000)?.pod, 'pod-6000')
    assert.equal(store.get(1), undefined)
    store.close()
    assert.ok(statSync(path).size <= 3 * maxBytes, `${statSync(path).size} bytes`)
  })

  test('a bound that nothing fits in still keeps the newest, so that ids go on ascending after a restart', () => {
    const path = join(folder, 'decisions.db')
    const store = open({ path, maxBytes: 1 })
    for (let id = 1; id <= 700; id++) store.keep(decision({ id }))
    store.close()
    const again = open({ path, maxBytes: 1 })
    assert.equal(again.stats().records, 1)
    assert.equal(again.nextId(), 701)
    again.close()
  })
})

/** Another process that has `store` open on `path`, and `decision`. */
const run = (path: string, body: string, wrapper: readonly string[] = []) => {
  const url = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href)
  const script = `
    import { openDecisionStore } from ${url('./store.ts')}
    import { decision } from ${url('./record.fixture.ts')}
    import { systemClock } from ${url('../clock/clock.ts')}
    const store = openDecisionStore({ path: ${JSON.stringify(path)}, maxAgeMs: 1e15, maxBytes: 1e9, clock: systemClock })
    ${body}`
  const [command, ...rest] = [...wrapper, process.execPath, '--input-type=module', '--eval', script]
  return spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
}

describe('intents in the store', () => {
  test('are there again after a restart, each as its model read it last', () => {
    const path = join(folder, 'decisions.db')
    const first = open({ path })
    first.intents.keep('m', 'near the cache', '{"near":["cache"]}')
    first.intents.keep('m', 'spread', '{"spread":0}')
    first.intents.keep('m', 'spread', '{"spread":1}')
    first.close()
    const second = open({ path })
    assert.equal(second.intents.get('m', 'near the cache'), '{"near":["cache"]}')
    assert.equal(second.intents.get('m', 'spread'), '{"spread":1}')
    assert.equal(second.intents.get('another', 'spread'), undefined)
    second.close()
  })

  test('are bounded in number, the oldest go', () => {
    const store = open()
    for (let i = 0; i < 5_100; i++) {
      clock.advance(1)
      store.intents.keep('m', `text ${i}`, '{}')
    }
    assert.equal(store.intents.get('m', 'text 0'), undefined)
    assert.equal(store.intents.get('m', 'text 5099'), '{}')
    store.close()
  })

  test('are no reason to fail: a store that is closed keeps and knows none, and says so', () => {
    const said: string[] = []
    const store = open({ log: (message) => said.push(message) })
    store.close()
    store.intents.keep('m', 'x', '{}')
    assert.equal(store.intents.get('m', 'x'), undefined)
    assert.equal(said.length, 2)
  })

  test('have their place in a store that an older version made, whose decisions stay', () => {
    const path = join(folder, 'decisions.db')
    const store = open({ path })
    store.keep(decision())
    store.close()
    const db = new DatabaseSync(path)
    db.exec('DROP TABLE intent; PRAGMA user_version = 1')
    db.close()
    const upgraded = open({ path })
    upgraded.intents.keep('m', 'x', '{}')
    assert.equal(upgraded.intents.get('m', 'x'), '{}')
    assert.deepEqual(upgraded.get(1), decision())
    upgraded.close()
  })
})

describe('decision store, when things go wrong', () => {
  test('what was flushed before a kill is there afterwards', { timeout: 20_000 }, async () => {
    const path = join(folder, 'decisions.db')
    const child = run(
      path,
      `for (let id = 1; id <= 1234; id++) store.keep(decision({ id }))
       store.flush()
       for (let id = 1235; id <= 1300; id++) store.keep(decision({ id }))
       console.log('flushed')
       while (true) store.settle(1, 'bound', 'again', 1)`,
    )
    const ended = once(child, 'exit')
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    assert.equal((await ended)[1], 'SIGKILL')
    const store = open({ path, maxAgeMs: 1e15 })
    assert.ok(store.stats().records >= 1234)
    assert.equal(store.get(1234)?.id, 1234)
    assert.ok(store.nextId() > 1234)
    store.close()
  })

  const hostile: readonly (readonly [string, (path: string) => void, RegExp])[] = [
    [
      'that is no database',
      (path) => writeFileSync(path, 'not a database, but long enough to look at'.repeat(50)),
      /not a database.*move it away/,
    ],
    ['that is a folder', (path) => mkdirSync(path), /unable to open.*can be written/],
    ['of another program', (path) => sql(path, 'CREATE TABLE bills (id)'), /another program.*another path/],
    ['of another program, still empty', (path) => sql(path, 'PRAGMA application_id = 7'), /another program/],
    [
      'of a newer version',
      (path) => ours(path, 'PRAGMA user_version = 99'),
      /newer Stowage \(schema 99.*run that version/,
    ],
    [
      'with a table that somebody changed',
      (path) => ours(path, 'ALTER TABLE decision ADD COLUMN more TEXT'),
      /tables are not/,
    ],
    [
      'with a trigger that somebody added',
      (path) => ours(path, 'CREATE TRIGGER t AFTER INSERT ON decision BEGIN DELETE FROM decision; END'),
      /tables are not/,
    ],
    ['that was cut off', (path) => ours(path, 'VACUUM', (bytes) => bytes.subarray(0, 5000)), /move it away/],
    [
      'whose schema was overwritten',
      (path) => ours(path, 'VACUUM', (bytes) => bytes.fill(0x41, 100, 4000)),
      /move it away/,
    ],
  ]
  const sql = (path: string, text: string): void => {
    const db = new DatabaseSync(path)
    db.exec(text)
    db.close()
  }
  const ours = (path: string, text: string, mangle?: (bytes: Buffer) => Buffer): void => {
    const store = open({ path })
    store.keep(decision())
    store.close()
    sql(path, text)
    if (mangle !== undefined) writeFileSync(path, mangle(readFileSync(path)))
  }
  for (const [what, make, message] of hostile) {
    test(`a file ${what} is refused with what to do, and left as it is`, () => {
      const path = join(folder, 'decisions.db')
      make(path)
      const before = statSync(path).isFile() ? readFileSync(path) : undefined
      assert.throws(() => open({ path }), failsWith('STORE_UNUSABLE', message))
      if (before !== undefined) assert.deepEqual(readFileSync(path), before)
    })
  }

  test('a path below a file is refused with what to do', () => {
    writeFileSync(join(folder, 'file'), '')
    assert.throws(
      () => open({ path: join(folder, 'file', 'decisions.db') }),
      failsWith('STORE_UNUSABLE', /can be written/),
    )
  })

  test('a row that was forged is passed over, the others are still told', () => {
    const path = join(folder, 'decisions.db')
    ours(
      path,
      `INSERT INTO decision SELECT id + 1, at_ms, namespace, pod, uid, outcome, node, policy, message, bind_ms,
      '[1,2,{"__proto__":3}]' FROM decision; INSERT INTO decision SELECT id + 2, at_ms, namespace, pod, uid, 'won', node,
      policy, message, bind_ms, body FROM decision; UPDATE decision SET body = '{' WHERE id = 4`,
    )
    const store = open({ path })
    assert.deepEqual(
      store.list().records.map((record) => record.id),
      [1],
    )
    assert.equal(store.get(2), undefined)
    store.close()
  })

  test('while another process locks the file decisions wait in memory, bounded, and nobody is stopped', () => {
    const path = join(folder, 'decisions.db')
    const lines: string[] = []
    const store = open({ path, log: (line) => lines.push(line) })
    const other = new DatabaseSync(path)
    other.exec('BEGIN EXCLUSIVE')
    for (let id = 1; id <= 6000; id++) store.keep(decision({ id }))
    assert.deepEqual(lines.length, 1)
    assert.match(lines[0] ?? '', /cannot be written: database is locked/)
    other.exec('COMMIT')
    other.close()
    clock.advance(1000)
    const { records, lost, pending } = store.stats()
    assert.deepEqual({ records, lost, pending }, { records: 5000, lost: 1000, pending: 0 })
    assert.match(lines[1] ?? '', /can be written again; 1000 decisions were lost/)
    assert.equal(lines.length, 2)
    store.close()
  })

  test('when the disk is full keeping goes on, what cannot be kept is counted, and what was there stays', {
    timeout: 20_000,
  }, async () => {
    const path = join(folder, 'decisions.db')
    const child = run(
      path,
      `for (let id = 1; id <= 20000; id++) store.keep(decision({ id, pod: 'pod-' + id, uid: 'uid-' + id }))
       store.close()
       console.log(JSON.stringify({ lost: store.stats().lost }))`,
      // no file may grow beyond 2,048 blocks: writes fail as on a full disk
      ['sh', '-c', 'ulimit -f 2048; exec "$@"', 'sh'],
    )
    const ended = once(child, 'exit')
    const output: string[] = []
    child.stdout.on('data', (chunk) => output.push(String(chunk)))
    assert.deepEqual(await ended, [0, null])
    const { lost } = JSON.parse(output.join('')) as { lost: number }
    const store = open({ path, maxAgeMs: 1e15 })
    assert.ok(lost > 0 && lost < 20_000)
    assert.equal(store.stats().records, 20_000 - lost)
    assert.equal(store.get(1)?.pod, 'pod-1')
    store.close()
  })

  test('what comes after closing is lost, counted, and harms nobody', () => {
    const store = open()
    store.close()
    store.close()
    store.keep(decision())
    store.settle(1, 'bound', '', 1)
    store.flush()
    assert.equal(store.stats().lost, 1)
    assert.throws(() => store.get(1), failsWith('STORE_UNUSABLE', /closed/))
  })
})
