import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import type { KubeObject } from '../cluster/objects.ts'
import type { Connection } from './connection.ts'
import { ListWatch, UNFINISHED_PODS } from './list-watch.ts'
import { withServer } from './scripted-connection.fixture.ts'
import type { Exchange, ScriptedServer } from './scripted-server.fixture.ts'

const pod = (name: string, resourceVersion: string, uid = `uid-${name}`): KubeObject => ({
  metadata: { namespace: 'ns', name, uid, resourceVersion },
})
const answerList = (exchange: Exchange, resourceVersion: string, items: KubeObject[], token?: string): void =>
  exchange.answer(200, { metadata: { resourceVersion, ...(token ? { continue: token } : {}) }, items })

/** A list/watch of pods under test, with what it told so far. */
class Reader {
  readonly clock = new VirtualClock()
  readonly told: string[] = []
  readonly listWatch: ListWatch<KubeObject>
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  #takers: { text: string; give: () => void }[] = []
  #interruptions: { why: string; delayMs: number }[] = []
  #onInterruption: ((interruption: { why: string; delayMs: number }) => void) | undefined

  constructor(connection: Connection) {
    this.listWatch = new ListWatch({
      connection,
      clock: this.clock,
      random: seededRandom(1),
      path: '/api/v1/pods',
      fieldSelector: UNFINISHED_PODS,
      feed: {
        seen: (object) => this.#tell(`seen ${object.metadata?.name} ${object.metadata?.resourceVersion}`),
        gone: (namespace, name, uid) => this.#tell(`gone ${namespace}/${name} ${uid}`),
        synced: () => this.#tell('synced'),
      },
      observer: {
        listed: () => undefined,
        interrupted: (_path, why, delayMs) => {
          const take = this.#onInterruption
          this.#onInterruption = undefined
          if (take === undefined) this.#interruptions.push({ why, delayMs })
          else take({ why, delayMs })
        },
      },
    })
    this.#running = this.listWatch.run(this.#stop.signal)
  }

  #tell(text: string): void {
    this.told.push(text)
    for (const taker of this.#takers.filter((taker) => taker.text === text)) taker.give()
    this.#takers = this.#takers.filter((taker) => taker.text !== text)
  }

  /** Waits until it has told this. */
  async until(text: string): Promise<void> {
    if (!this.told.includes(text)) await new Promise<void>((give) => this.#takers.push({ text, give }))
  }

  /** Waits until it was interrupted, and leaves it waiting. */
  async failed(): Promise<{ why: string; delayMs: number }> {
    return this.#interruptions.shift() ?? (await new Promise((give) => (this.#onInterruption = give)))
  }

  /** Waits until it was interrupted and lets the time pass after which it tries again. */
  async interrupted(): Promise<{ why: string; delayMs: number }> {
    const seen = await this.failed()
    this.clock.advance(seen.delayMs)
    return seen
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the test is over'))
    await this.#running
  }
}

/** Each case runs over both protocols: they end, break off and begin anew in different ways. */
const reading = (name: string, run: (server: ScriptedServer, reader: Reader) => Promise<void>): void => {
  for (const over of ['HTTP/1.1', 'HTTP/2'] as const) {
    void test(`${name} (${over})`, { timeout: 10_000 }, () =>
      withServer(async (server, connection) => {
        const reader = new Reader(connection)
        try {
          await run(server, reader)
        } finally {
          await reader.stop()
        }
      }, over),
    )
  }
}

/** Answers the first list with one pod `a` at version 10 and returns the watch that follows. */
const start = async (server: ScriptedServer): Promise<Exchange> => {
  answerList(await server.next(), '10', [pod('a', '5')])
  return (await server.next()).open()
}

reading('every page of a list is read, and the watch begins where the list was taken', async (server, reader) => {
  const first = await server.next()
  assert.equal(first.path, '/api/v1/pods')
  assert.equal(first.query.get('limit'), '500')
  assert.equal(first.query.get('fieldSelector'), UNFINISHED_PODS)
  answerList(first, '10', [pod('a', '5')], 'page two')
  const second = await server.next()
  assert.equal(second.query.get('continue'), 'page two')
  assert.equal(reader.listWatch.synced, false)
  answerList(second, '10', [pod('b', '6')])
  const watch = await server.next()
  assert.deepEqual(reader.told, ['seen a 5', 'seen b 6', 'synced'])
  assert.equal(watch.query.get('resourceVersion'), '10')
  assert.equal(watch.query.get('allowWatchBookmarks'), 'true')
  assert.equal(watch.query.get('fieldSelector'), UNFINISHED_PODS)
  const seconds = Number(watch.query.get('timeoutSeconds'))
  assert.ok(seconds >= 300 && seconds < 600)
  watch.open().event('MODIFIED', pod('a', '11')).event('DELETED', pod('b', '12'))
  await reader.until('gone ns/b uid-b')
  assert.deepEqual(reader.told.slice(3), ['seen a 11', 'gone ns/b uid-b'])
})

reading('a watch that is cut goes on after the last event, without a new list', async (server, reader) => {
  const watch = await start(server)
  watch.event('ADDED', pod('b', '11'))
  await reader.until('seen b 11')
  watch.cut()
  await reader.interrupted()
  const next = await server.next()
  assert.equal(next.query.get('watch'), '1')
  assert.equal(next.query.get('resourceVersion'), '11')
})

reading('a watch that the server ends in its time goes on at once after the last bookmark', async (server, reader) => {
  const watch = await start(server)
  watch.event('BOOKMARK', { kind: 'Pod', metadata: { resourceVersion: '900' } })
  reader.clock.advance(60_000)
  watch.end()
  const { delayMs } = await reader.interrupted()
  assert.equal(delayMs, 0)
  assert.equal((await server.next()).query.get('resourceVersion'), '900')
  assert.deepEqual(reader.told, ['seen a 5', 'synced'])
})

reading(
  'after 410 on resuming everything is listed again, and what went meanwhile is reported gone',
  async (server, reader) => {
    const watch = await start(server)
    watch.event('ADDED', pod('b', '11'))
    await reader.until('seen b 11')
    watch.cut()
    await reader.interrupted()
    ;(await server.next()).refuse(410, 'Expired', 'too old resource version')
    await reader.interrupted()
    const list = await server.next()
    assert.equal(list.query.get('watch'), null)
    assert.equal(list.query.get('resourceVersion'), null)
    answerList(list, '50', [pod('b', '11'), pod('c', '40')])
    assert.equal((await server.next()).query.get('resourceVersion'), '50')
    assert.deepEqual(reader.told, ['seen a 5', 'synced', 'seen b 11', 'seen c 40', 'gone ns/a uid-a', 'synced'])
  },
)

reading('410 within a running watch lists again at once', async (server, reader) => {
  const watch = await start(server)
  watch.event('ADDED', pod('b', '11'))
  watch.event('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' })
  const { delayMs } = await reader.interrupted()
  assert.equal(delayMs, 0)
  answerList(await server.next(), '60', [pod('a', '5'), pod('b', '11')])
  assert.equal((await server.next()).query.get('resourceVersion'), '60')
  assert.deepEqual(reader.told, ['seen a 5', 'synced', 'seen b 11', 'synced'])
})

reading('410 from a server that was away for long lists again at once, and only once', async (server, reader) => {
  const watch = await start(server)
  watch.cut()
  await reader.interrupted()
  for (let failures = 0; failures < 5; failures++) {
    ;(await server.next()).refuse(503, 'ServiceUnavailable', 'starting')
    await reader.interrupted()
  }
  ;(await server.next()).refuse(410, 'Expired', 'too old')
  assert.equal((await reader.interrupted()).delayMs, 0)
  answerList(await server.next(), '60', [pod('a', '5')])
  ;(await server.next()).refuse(410, 'Expired', 'too old')
  assert.ok((await reader.interrupted()).delayMs >= 2_500)
})

reading('410 between two pages begins the list anew', async (server, reader) => {
  answerList(await server.next(), '10', [pod('a', '5')], 'more')
  ;(await server.next()).refuse(410, 'Expired', 'the provided continue parameter is too old')
  await reader.interrupted()
  const again = await server.next()
  assert.equal(again.query.get('continue'), null)
  answerList(again, '20', [pod('b', '15')])
  await server.next()
  assert.deepEqual(reader.told, ['seen a 5', 'seen b 15', 'gone ns/a uid-a', 'synced'])
})

reading('a server that answers 410 to each watch is not listed in a tight loop', async (server, reader) => {
  const delays: number[] = []
  for (let i = 0; i < 5; i++) {
    answerList(await server.next(), '10', [])
    ;(await server.next()).refuse(410, 'Expired', 'too old')
    delays.push((await reader.interrupted()).delayMs)
  }
  assert.equal(delays[0], 0)
  assert.ok(delays.slice(1).every((delay) => delay >= 100))
  assert.ok((delays[4] ?? 0) >= 800)
})

reading(
  'an object created anew under the name of one that went unseen: the old one goes before the new one comes',
  async (server, reader) => {
    const watch = await start(server)
    watch.event('ERROR', { kind: 'Status', code: 410 })
    await reader.interrupted()
    answerList(await server.next(), '60', [pod('a', '59', 'another')])
    await server.next()
    assert.deepEqual(reader.told.slice(2), ['gone ns/a uid-a', 'seen a 59', 'synced'])
  },
)

reading('events arrive whole, in order and once, however the network cuts them', async (server, reader) => {
  const watch = await start(server)
  const text = ['b', 'ü', '日本', 'c']
    .map((name, i) => `${JSON.stringify({ type: 'ADDED', object: pod(name, String(11 + i)) })}\n`)
    .join('')
  const bytes = Buffer.from(text)
  for (const from of Array.from({ length: Math.ceil(bytes.length / 7) }, (_, i) => i * 7)) {
    watch.raw(bytes.subarray(from, from + 7))
  }
  await reader.until('seen c 14')
  assert.deepEqual(reader.told.slice(2), ['seen b 11', 'seen ü 12', 'seen 日本 13', 'seen c 14'])
})

for (const [what, text] of [
  ['a line that is no JSON', '{"type":"ADDED","object":{"meta\n'],
  ['a line that is no object', 'null\n'],
  ['an event without an object', '{"type":"ADDED"}\n'],
  ['an object without a version', '{"type":"ADDED","object":{"metadata":{"name":"x"}}}\n'],
  ['an event of an unknown type', '{"type":"TELEPORTED","object":{"metadata":{"name":"x","resourceVersion":"12"}}}\n'],
] as const) {
  reading(`${what} loses nothing: everything is listed again`, async (server, reader) => {
    const watch = await start(server)
    watch.raw(text)
    await reader.interrupted()
    const list = await server.next()
    assert.equal(list.query.get('watch'), null)
    answerList(list, '30', [pod('a', '5'), pod('x', '12')])
    await reader.until('seen x 12')
  })
}

reading('a watch that breaks off within a line is resumed and the event is read whole then', async (server, reader) => {
  const watch = await start(server)
  watch.raw(JSON.stringify({ type: 'ADDED', object: pod('b', '11') }).slice(0, 30))
  watch.end()
  await reader.interrupted()
  const next = await server.next()
  assert.equal(next.query.get('resourceVersion'), '10')
  next.open().event('ADDED', pod('b', '11'))
  await reader.until('seen b 11')
  assert.deepEqual(reader.told, ['seen a 5', 'synced', 'seen b 11'])
})

reading('429 is obeyed: the next try waits as long as the server asked', async (server, reader) => {
  ;(await server.next()).refuse(429, 'TooManyRequests', 'slow down', { 'retry-after': '7' })
  const { delayMs } = await reader.interrupted()
  assert.ok(delayMs >= 7_000)
  answerList(await server.next(), '10', [])
  await reader.until('synced')
})

reading('a server that fails is asked less and less often, but at least every 5 s', async (server, reader) => {
  const delays: number[] = []
  for (let i = 0; i < 8; i++) {
    ;(await server.next()).refuse(500, 'InternalError', 'etcd is sad')
    delays.push((await reader.interrupted()).delayMs)
  }
  assert.ok((delays[0] ?? 0) <= 200)
  assert.ok((delays[7] ?? 0) > (delays[0] ?? 0))
  assert.ok(delays.every((delay) => delay <= 5_000))
})

reading('a watch in which nothing moves for 90 s is given up and resumed', async (server, reader) => {
  const watch = await start(server)
  watch.event('ADDED', pod('b', '11'))
  await reader.until('seen b 11')
  reader.clock.advance(89_999)
  assert.equal(reader.listWatch.silentMs, 89_999)
  reader.clock.advance(1)
  const { why } = await reader.interrupted()
  assert.match(why, /nothing was heard for 90 s/)
  await watch.closed
  const next = await server.next()
  assert.equal(next.query.get('resourceVersion'), '11')
})

reading('bookmarks alone keep a quiet watch alive', async (server, reader) => {
  const watch = await start(server)
  for (const version of ['100', '200', '300']) {
    reader.clock.advance(60_000)
    watch.event('BOOKMARK', { metadata: { resourceVersion: version } })
    // A deletion nobody knows of tells nobody; the event after it shows that the bookmark has been read.
    watch.event('ADDED', pod('a', version))
    await reader.until(`seen a ${version}`)
  }
  assert.equal(server.waiting, 0)
})

reading(
  'an API server that is killed and restarted on its port is found again, with all that changed',
  async (server, reader) => {
    await start(server)
    await server.kill()
    await reader.interrupted()
    const { why, delayMs } = await reader.failed()
    assert.match(why, /API_UNREACHABLE/)
    const restarted = await server.restarted()
    try {
      reader.clock.advance(delayMs)
      const watch = await restarted.next()
      assert.equal(watch.query.get('resourceVersion'), '10')
      watch.open().event('DELETED', pod('a', '11'))
      await reader.until('gone ns/a uid-a')
    } finally {
      await restarted.kill()
    }
  },
)

reading('a name that is a word of the language is a name like any other', async (server, reader) => {
  const watch = await start(server)
  watch
    .event('ADDED', pod('__proto__', '11'))
    .event('DELETED', pod('__proto__', '12'))
    .event('DELETED', pod('constructor', '13'))
  watch.event('ADDED', pod('b', '14'))
  await reader.until('seen b 14')
  assert.deepEqual(reader.told.slice(2), ['seen __proto__ 11', 'gone ns/__proto__ uid-__proto__', 'seen b 14'])
})

reading(
  'a watch that the server ends after a burst goes on at once, for the burst is why it was ended',
  async (server, reader) => {
    const watch = await start(server)
    watch.event('ADDED', pod('b', '11'))
    await reader.until('seen b 11')
    watch.end()
    const { delayMs } = await reader.interrupted()
    assert.equal(delayMs, 0)
    assert.equal((await server.next()).query.get('resourceVersion'), '11')
  },
)
