import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { systemClock } from '../../src/clock/clock.ts'
import { seededRandom } from '../../src/clock/random.ts'
import type { Container } from '../../src/cluster/objects.ts'
import { type Connection, openConnection } from '../../src/kubernetes/connection.ts'
import { createPolicy } from '../../src/policies/registry.ts'
import { hashingMask, type Mask, noMask } from '../../src/simulation/traces/mask.ts'
import { parseTrace, type RecordedTrace, type TraceEvent, traceLine } from '../../src/simulation/traces/recorded.ts'
import { TraceRecorder } from '../../src/simulation/traces/recorder.ts'
import { summariseTrace } from '../../src/simulation/traces/summary.ts'
import { whatIf } from '../../src/simulation/traces/what-if.ts'
import { recordCluster } from '../../src/system/recording.ts'
import { node, pod } from '../builders.ts'
import { realControlPlane } from '../real-control-plane.ts'
import { Cluster, startEmbedded, startReal, type TestServer } from './cluster.ts'
import { type RunningScheduler, startScheduler } from './scheduler.ts'

const PATIENCE_MS = 30_000
const SECRET = 'hunter2'

/** `stowage trace record` in this process. */
class Recording {
  readonly lines: string[] = []
  readonly synced: Promise<readonly string[]>
  readonly #connection: Connection
  readonly #ended = new AbortController()
  readonly #done: Promise<void>
  readonly #recorder: TraceRecorder
  readonly #lookers = new Set<() => void>()

  constructor(kubeconfig: string, mask: Mask = noMask) {
    this.#connection = openConnection({ kubeconfig, env: {} })
    const write = (event: TraceEvent): void => {
      this.lines.push(traceLine(event))
      for (const look of this.#lookers) look()
    }
    this.#recorder = new TraceRecorder({ clock: systemClock, write, mask, messages: mask === noMask })
    const { promise, resolve } = Promise.withResolvers<readonly string[]>()
    this.synced = promise
    this.#done = recordCluster({
      connection: this.#connection,
      clock: systemClock,
      random: seededRandom(4),
      recorder: this.#recorder,
      signal: this.#ended.signal,
      onSynced: resolve,
      onTrouble: () => undefined,
    })
  }

  /** Resolves once so many events of a kind have been written. */
  until(event: TraceEvent['event'], count: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.lines.filter((line) => line.includes(`"event":"${event}"`)).length < count) return
        clearTimeout(timer)
        this.#lookers.delete(look)
        resolve()
      }
      const timer = setTimeout(() => reject(new Error(`no ${count} ${event}:\n${this.lines.join('')}`)), PATIENCE_MS)
      this.#lookers.add(look)
      look()
    })
  }

  async stop(): Promise<RecordedTrace> {
    this.#ended.abort(new Error('the recording ends'))
    await this.#done
    this.#connection.close()
    this.#recorder.stopped()
    const header = {
      stowageTrace: 1,
      source: 'cluster',
      startedAtMs: 0,
      anonymised: false,
      writtenBy: 'stowage test',
    } as const
    return parseTrace('recording', traceLine(header) + this.lines.join(''))
  }
}

/** What a user relies on of `stowage trace record` and `stowage what-if`, against whatever API server `start` starts. */
const recording = (name: string, skip: string | false, start: () => Promise<TestServer>): void => {
  describe(`a recording of ${name}`, { skip, timeout: 120_000 }, () => {
    let server: TestServer
    let cluster: Cluster
    let scheduler: RunningScheduler | undefined

    before(async () => {
      server = await start()
    })
    after(() => server.stop())
    beforeEach(() => {
      cluster = new Cluster(server.kubeconfigPath)
    })
    afterEach(async () => {
      await scheduler?.stop()
      scheduler = undefined
      await cluster.empty()
      await cluster.close()
    })

    test('tells what came, where it went and how it ended; the policy that was live decides all of it alike', async () => {
      scheduler = await startScheduler(server.kubeconfigPath)
      await cluster.create(node('n1').cpu('4'), node('n2').cpu('4'), pod('there').scheduler('stowage').cpu('1'))
      await cluster.bound('there')
      const recorder = new Recording(server.kubeconfigPath)
      assert.deepEqual(await recorder.synced, [])
      for (const [index, cpu] of ['2', '500m', '1', '1500m'].entries()) {
        await cluster.create(pod(`p${index}`).scheduler('stowage').cpu(cpu))
        await cluster.bound(`p${index}`)
        await recorder.until('bind', index + 1)
      }
      await cluster.create(pod('big').scheduler('stowage').cpu('6'))
      await cluster.refused('big')
      await recorder.until('refused', 1)
      await cluster.deletePod('p1')
      await recorder.until('end', 1)
      await cluster.create(node('n3').cpu('8'))
      assert.equal(await cluster.bound('big'), 'n3')
      await recorder.until('bind', 5)
      const trace = await recorder.stop()

      const { ended, ...pods } = summariseTrace(trace).pods
      assert.deepEqual(pods, { runningAtStart: 1, pendingAtStart: 0, came: 5, bound: 5, pending: 0, gated: 0 })
      assert.deepEqual(ended, { succeeded: 0, failed: 0, deleted: 1, preempted: 0 })
      const { policies, recorded } = await whatIf({
        trace,
        policies: [
          () => ({ policy: createPolicy('kube-default') }),
          () => ({ policy: createPolicy('most_allocated') }),
        ],
        seed: 1,
      })
      const [live, other] = policies
      assert.equal(recorded?.placed, 5)
      assert.deepEqual(live?.decisions, { compared: 5, alike: 5, tied: 0 })
      assert.deepEqual(live.moved, [], 'nor does it go another way where each decision changes the next')
      assert.ok((other?.moved.length ?? 0) > 0)
    })

    test('holds no environment, command or argument, and anonymised no name either', async () => {
      const telling: Container = { name: 'main', image: 'app', resources: { requests: { cpu: '1' } } }
      const container = Object.assign(telling, {
        command: [SECRET],
        args: [SECRET],
        env: [{ name: 'PASSWORD', value: SECRET }],
      })
      await cluster.create(
        node('rack-7').label('acme.example/room', 'blue'),
        pod('payroll')
          .label('team', 'finance')
          .spec({ containers: [container] }),
      )
      const open = new Recording(server.kubeconfigPath)
      const masked = new Recording(server.kubeconfigPath, hashingMask(new Uint8Array(32).fill(7)))
      await Promise.all([open.synced, masked.synced])
      await Promise.all([open.stop(), masked.stop()])
      const text = open.lines.join('')
      assert.ok(text.includes('payroll') && text.includes('rack-7'))
      assert.ok(!text.includes(SECRET), text)
      for (const word of [SECRET, 'payroll', 'finance', 'rack-7', 'acme', 'blue'])
        assert.ok(!masked.lines.join('').includes(word), word)
    })

    test('goes on after the API server was killed and came back', async () => {
      await cluster.create(node('n1'))
      const recorder = new Recording(server.kubeconfigPath)
      await recorder.synced
      await server.killAndRestart()
      // Whoever comes now has a connection of his own.
      await cluster.close()
      cluster = new Cluster(server.kubeconfigPath)
      await cluster.create(node('n2'))
      await recorder.until('node', 2)
      const { events } = await recorder.stop()
      assert.equal(events.filter(({ event }) => event === 'node').length, 2, 'what was known is not written again')
    })
  })
}

recording('the embedded API server', false, startEmbedded)
recording('a real kube-apiserver', realControlPlane.skip, startReal)
