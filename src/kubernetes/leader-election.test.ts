import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../clock/random.ts'
import type { Connection } from './connection.ts'
import { runLeaderElection } from './leader-election.ts'
import { withServer } from './scripted-connection.fixture.ts'
import type { Exchange, ScriptedServer } from './scripted-server.fixture.ts'
import { WaitingClock } from './waiting-clock.fixture.ts'

interface Lease {
  metadata: { resourceVersion?: string }
  spec: Record<string, unknown>
}

/** One Lease as an API server keeps it: versions, conflicts, and faults on demand. */
class LeaseKeeper {
  lease: Lease | undefined
  version = 0
  fault: 'none' | 'error' | 'silence' = 'none'

  get holder(): unknown {
    return this.lease?.spec['holderIdentity']
  }

  async serve(server: ScriptedServer): Promise<never> {
    for (;;) this.#answer(await server.next())
  }

  put(lease: Lease): Lease {
    this.lease = { ...lease, metadata: { ...lease.metadata, resourceVersion: String(++this.version) } }
    return this.lease
  }

  #answer(exchange: Exchange): void {
    if (this.fault === 'silence') return
    if (this.fault === 'error') exchange.refuse(500, 'InternalError', 'etcd is away')
    else if (exchange.method === 'GET') {
      if (this.lease === undefined) exchange.refuse(404, 'NotFound', 'no lease')
      else exchange.answer(200, this.lease)
    } else {
      const sent = exchange.body as Lease
      const stale = sent.metadata.resourceVersion !== this.lease?.metadata.resourceVersion
      if (stale) exchange.refuse(409, 'Conflict', 'the lease has been modified')
      else exchange.answer(200, this.put(sent))
    }
  }
}

/** A candidate with a clock of its own. */
class Replica {
  readonly clock: WaitingClock
  readonly told: string[] = []
  leading: AbortSignal | undefined
  /** time left to its next try */
  untilTryMs = 0
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  constructor(connection: Connection, identity: string, startMs = Date.UTC(2026, 0, 1)) {
    this.clock = new WaitingClock(startMs)
    this.#running = runLeaderElection({
      connection,
      clock: this.clock,
      random: seededRandom(5),
      identity,
      leaseName: 'stowage',
      namespace: 'kube-system',
      signal: this.#stop.signal,
      onElected: (leading) => {
        this.leading = leading
        this.told.push('elected')
      },
      onLost: (why) => this.told.push(`lost: ${why}`),
    })
  }

  /** Its first try has been answered. */
  settled(): Promise<number> {
    // Waits for an answer are 10 s, those between two tries at most 4.4 s.
    return this.clock.nextWait(5_000)
  }

  /** Lets time pass for this replica alone, second by second, each try answered before the next. */
  async live(seconds: number, waitsMs = this.untilTryMs): Promise<void> {
    let leftMs = seconds * 1_000
    while (waitsMs <= leftMs) {
      leftMs -= waitsMs
      const next = this.settled()
      this.clock.advance(waitsMs)
      // Whole milliseconds, so that none is lost in fractions.
      waitsMs = Math.ceil(await next)
    }
    this.clock.advance(leftMs)
    this.untilTryMs = waitsMs - leftMs
  }

  async started(): Promise<this> {
    this.untilTryMs = Math.ceil(await this.settled())
    return this
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('stopped'))
    await this.#running
  }
}

const electing = (
  name: string,
  run: (keeper: LeaseKeeper, replica: (identity: string, startMs?: number) => Promise<Replica>) => Promise<void>,
): void =>
  void test(name, { timeout: 10_000 }, () =>
    withServer(async (server, connection) => {
      const keeper = new LeaseKeeper()
      void keeper.serve(server)
      const replicas: Replica[] = []
      await run(keeper, (identity, startMs) => {
        const replica = new Replica(connection, identity, startMs)
        replicas.push(replica)
        return replica.started()
      })
      keeper.fault = 'none'
      await Promise.all(replicas.map((replica) => replica.stop()))
    }),
  )

electing('of two replicas one leads, and stays leader while it renews', async (keeper, replica) => {
  const a = await replica('a')
  const b = await replica('b')
  for (let i = 0; i < 20; i++) {
    await a.live(3)
    await b.live(3)
  }
  assert.deepEqual([a.told, b.told], [['elected'], []])
  assert.deepEqual(
    [keeper.holder, keeper.lease?.spec['leaseDurationSeconds'], keeper.lease?.spec['leaseTransitions']],
    ['a', 15, 0],
  )
  assert.match(String(keeper.lease?.spec['renewTime']), /^2026-01-01T00:01:00\.\d{6}Z$/)
})

electing('a leader that falls silent is followed once its lease has run out', async (keeper, replica) => {
  await replica('a')
  const b = await replica('b')
  await b.live(14)
  assert.deepEqual(b.told, [])
  await b.live(6)
  assert.deepEqual(b.told, ['elected'])
  assert.deepEqual([keeper.holder, keeper.lease?.spec['leaseTransitions']], ['b', 1])
})

electing('a leader that stops gives the lease back, and the next one need not wait', async (keeper, replica) => {
  const a = await replica('a')
  const b = await replica('b')
  await a.stop()
  assert.equal(keeper.holder, '')
  await b.live(5)
  assert.deepEqual([a.told, b.told], [['elected'], ['elected']])
})

for (const fault of ['error', 'silence'] as const) {
  electing(`a leader that cannot renew (${fault}) stops before anyone else may begin`, async (keeper, replica) => {
    const a = await replica('a')
    keeper.fault = fault
    const { leading } = a
    assert.equal(leading?.aborted, false)
    if (fault === 'error') {
      await a.live(9)
      assert.deepEqual(a.told, ['elected'])
      await a.live(3)
    } else {
      // The try after 2 s is never answered; the deadline is 10 s after the last renewal.
      a.clock.advance(9_999)
      assert.deepEqual(a.told, ['elected'])
      const next = a.settled()
      a.clock.advance(1)
      keeper.fault = 'error'
      await next
    }
    assert.equal(a.told.length, 2)
    assert.match(a.told[1] ?? '', /lost: the lease was not renewed in time/)
    assert.equal(leading?.aborted, true)
  })
}

for (const holderIdentity of ['thief', '']) {
  const what = holderIdentity === '' ? 'taken and given back' : 'taken'
  electing(`a leader whose lease was ${what} by another stops at its next renewal`, async (keeper, replica) => {
    const a = await replica('a')
    assert.ok(keeper.lease)
    keeper.put({ ...keeper.lease, spec: { ...keeper.lease.spec, holderIdentity, leaseDurationSeconds: 15 } })
    const { leading } = a
    await a.live(2)
    assert.deepEqual(a.told.slice(0, 2), ['elected', 'lost: the lease is no longer ours'])
    assert.equal(leading?.aborted, true)
  })
}

electing('clocks that are hours apart change nothing', async (_keeper, replica) => {
  const a = await replica('a', Date.UTC(2026, 0, 1, 0))
  const ahead = await replica('ahead', Date.UTC(2026, 0, 1, 5))
  const behind = await replica('behind', Date.UTC(2025, 11, 31, 3))
  for (let i = 0; i < 10; i++) for (const one of [a, ahead, behind]) await one.live(3)
  assert.deepEqual([a.told, ahead.told, behind.told], [['elected'], [], []])
})

electing('a lease that somebody deleted is written anew by its holder', async (keeper, replica) => {
  const a = await replica('a')
  keeper.lease = undefined
  await a.live(3)
  assert.equal(keeper.holder, 'a')
  assert.deepEqual(a.told, ['elected'])
})

void test('durations that leave no room for one another are refused', async () => {
  await withServer(async (_server, connection) => {
    const never = new AbortController().signal
    const nothing = (): void => undefined
    await assert.rejects(
      runLeaderElection({
        connection,
        clock: new WaitingClock(),
        random: seededRandom(1),
        identity: 'a',
        leaseName: 'x',
        namespace: 'y',
        renewDeadlineMs: 20_000,
        signal: never,
        onElected: nothing,
        onLost: nothing,
      }),
      /lease duration > renew deadline/,
    )
  })
})
