import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { parse, stringify } from 'yaml'
import { systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import type { KubeObject, PodObject } from '../cluster/objects.ts'
import type { Pod } from '../cluster/pod.ts'
import { BindFailure } from '../scheduling/ports.ts'
import { ApiBinder } from './binder.ts'
import { type Connection, openConnection } from './connection.ts'
import { runLeaderElection } from './leader-election.ts'
import { ListWatch, UNFINISHED_PODS } from './list-watch.ts'
import {
  createObject,
  deleteObject,
  EVENTS,
  getObject,
  listObjects,
  NAMESPACES,
  NODES,
  patchObject,
  PODS,
  serverVersion,
} from './objects.ts'
import { podObject } from './pods.fixture.ts'
import { ApiReporter } from './reporter.ts'
import { withFolder } from './scripted-server.fixture.ts'

/** An API server that the contract may fill and empty. */
export interface ContractServer {
  readonly kubeconfig: string
  /** as a crash would: connections break, what was written stays */
  kill(): Promise<void>
  /** on the same address */
  restart(): Promise<void>
  stop(): Promise<void>
}

interface EventObject extends KubeObject {
  reason?: string
  note?: string
  regarding?: { name?: string }
  series?: { count?: number }
}

/** A list/watch that keeps `namespace/name` -> object, and waits for things to be so. */
class Mirror {
  readonly objects = new Map<string, PodObject>()
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  readonly #conditions: { holds: () => boolean; done: () => void }[] = []
  #synced = false

  constructor(connection: Connection) {
    const key = (namespace: string, name: string): string => `${namespace}/${name}`
    this.#running = new ListWatch<PodObject>({
      connection,
      clock: systemClock,
      random: seededRandom(1),
      path: '/api/v1/pods',
      fieldSelector: UNFINISHED_PODS,
      pageSize: 7,
      feed: {
        seen: (object) => {
          this.objects.set(key(object.metadata?.namespace ?? '', object.metadata?.name ?? ''), object)
          this.#look()
        },
        gone: (namespace, name, uid) => {
          assert.equal(this.objects.get(key(namespace, name))?.metadata?.uid, uid)
          this.objects.delete(key(namespace, name))
          this.#look()
        },
        synced: () => {
          this.#synced = true
          this.#look()
        },
      },
    }).run(this.#stop.signal)
  }

  #look(): void {
    for (const condition of this.#conditions.filter(({ holds }) => holds())) {
      this.#conditions.splice(this.#conditions.indexOf(condition), 1)
      condition.done()
    }
  }

  until(holds: () => boolean): Promise<void> {
    return new Promise((done) => {
      this.#conditions.push({ holds, done })
      this.#look()
    })
  }

  synced(): Promise<void> {
    return this.until(() => this.#synced)
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the test is over'))
    await this.#running
  }
}

const slim = (object: PodObject): Pod =>
  ({
    uid: object.metadata?.uid ?? '',
    namespace: object.metadata?.namespace ?? '',
    name: object.metadata?.name ?? '',
    resourceVersion: object.metadata?.resourceVersion ?? '',
    generation: object.metadata?.generation ?? 0,
    schedulerName: object.spec?.schedulerName ?? '',
    scheduledCondition: undefined,
  }) as Pod

/** What this room expects of an API server, and what its parts do against one. The embedded and the real server both run it. */
export const describeClientContract = (
  server: string,
  start: () => Promise<ContractServer>,
  skip: string | false = false,
): void =>
  void describe(`the Kubernetes client against ${server}`, { skip, timeout: 60_000 }, () => {
    let running: ContractServer
    let connection: Connection
    const never = new AbortController().signal
    const namespace = 'client-contract'
    const create = async (name: string): Promise<PodObject> =>
      createObject<PodObject>(connection, PODS, podObject(namespace, name))
    const conditionOf = async (name: string): Promise<string> => {
      const pod = await getObject<PodObject>(connection, PODS, namespace, name)
      const found = pod?.status?.conditions?.find(({ type }) => type === 'PodScheduled')
      return `${found?.status} ${found?.reason ?? ''} ${found?.message ?? ''}`.trim()
    }
    const eventsOf = async (name: string): Promise<EventObject[]> => {
      const events: EventObject[] = []
      for await (const event of listObjects<EventObject>(connection, EVENTS, { namespace })) {
        if (event.regarding?.name === name) events.push(event)
      }
      return events
    }

    before(async () => {
      running = await start()
      connection = openConnection({ kubeconfig: running.kubeconfig, env: {} })
      await createObject(connection, NAMESPACES, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
      for (const name of ['n1', 'n2']) {
        await createObject(connection, NODES, { apiVersion: 'v1', kind: 'Node', metadata: { name } })
      }
    })
    after(async () => {
      connection?.close()
      await running?.stop()
    })

    void test('says its version', async () => {
      assert.match(await serverVersion(connection), /^v1\.\d+/)
    })

    void test('what is listed page by page and then watched is what the server has, after every kind of change', async () => {
      const names = Array.from({ length: 30 }, (_, i) => `listed-${i}`)
      await Promise.all(names.map(create))
      const mirror = new Mirror(connection)
      await mirror.synced()
      for (const name of names) assert.ok(mirror.objects.has(`${namespace}/${name}`))
      await create('watched')
      await patchObject(connection, PODS, namespace, 'listed-0', { metadata: { labels: { changed: 'yes' } } })
      // A finished pod leaves the selection, a deleted one the server.
      await patchObject(connection, PODS, namespace, 'listed-1', { status: { phase: 'Succeeded' } }, 'status')
      await deleteObject(connection, PODS, namespace, 'listed-2', { gracePeriodSeconds: 0 })
      const at = (name: string): PodObject | undefined => mirror.objects.get(`${namespace}/${name}`)
      await mirror.until(
        () =>
          at('watched') !== undefined &&
          at('listed-0')?.metadata?.labels?.['changed'] === 'yes' &&
          at('listed-1') === undefined &&
          at('listed-2') === undefined,
      )
      const there = new Map<string, string | undefined>()
      for await (const pod of listObjects<PodObject>(connection, PODS, { fieldSelector: UNFINISHED_PODS })) {
        there.set(`${pod.metadata?.namespace}/${pod.metadata?.name}`, pod.metadata?.resourceVersion)
      }
      assert.deepEqual(
        new Map([...mirror.objects].map(([key, { metadata }]) => [key, metadata?.resourceVersion] as const)),
        there,
      )
      await mirror.stop()
    })

    void test('a bind is done once: what comes too late is told apart', async () => {
      const binder = new ApiBinder({ connection, clock: systemClock, random: seededRandom(1) })
      const kindOf = (bind: Promise<void>): Promise<string> =>
        bind.then(
          () => 'bound',
          (error: unknown) => (error instanceof BindFailure ? error.kind : String(error)),
        )
      const pod = slim(await create('to-bind'))
      assert.equal(await kindOf(binder.bind(pod, 'n1', never)), 'bound')
      assert.equal((await getObject<PodObject>(connection, PODS, namespace, 'to-bind'))?.spec?.nodeName, 'n1')
      assert.equal(await kindOf(binder.bind(pod, 'n2', never)), 'conflict')
      assert.equal(await kindOf(binder.bind({ ...pod, name: 'no-such-pod' }, 'n1', never)), 'gone')
      const another = slim(await create('another'))
      assert.equal(await kindOf(binder.bind({ ...another, uid: pod.uid }, 'n1', never)), 'gone')
      // A finalizer keeps the pod while it is being deleted.
      await patchObject(connection, PODS, namespace, 'another', { metadata: { finalizers: ['stowage.dev/test'] } })
      await deleteObject(connection, PODS, namespace, 'another', { gracePeriodSeconds: 0 })
      assert.equal(await kindOf(binder.bind(another, 'n1', never)), 'gone')
      await patchObject(connection, PODS, namespace, 'another', { metadata: { finalizers: null } })
    })

    void test('a bind sent again after its answer was lost is a success', async () => {
      // Every first try arrives, but its answer does not.
      let lost = 0
      const losing: Connection = {
        address: connection.address,
        namespace: connection.namespace,
        stream: (...request) => connection.stream(...request),
        close: () => undefined,
        request: async (request) => {
          const answer = await connection.request(request)
          if (request.path.endsWith('/binding') && lost++ === 0) throw new Error('connection reset')
          return answer
        },
      }
      const pod = slim(await create('answer-lost'))
      await new ApiBinder({ connection: losing, clock: systemClock, random: seededRandom(1) }).bind(pod, 'n2', never)
      assert.equal(lost, 2)
      assert.equal((await getObject<PodObject>(connection, PODS, namespace, 'answer-lost'))?.spec?.nodeName, 'n2')
    })

    void test('reports are taken as they are sent: events, their counts, and conditions', async () => {
      const givenUp: string[] = []
      const reporter = new ApiReporter({
        connection,
        clock: systemClock,
        random: seededRandom(1),
        hostname: 'contract',
        bindsInFlight: () => 0,
        onGivenUp: (_pod, what, why) => givenUp.push(`${what}: ${why}`),
      })
      const pod = slim(await create('reported'))
      const message = '0/2 nodes are available: 2 Insufficient cpu.'
      reporter.failed(pod, 'Unschedulable', message)
      reporter.failed(pod, 'Unschedulable', message)
      reporter.failed(pod, 'Unschedulable', `${message}${'é'.repeat(1_000)}`)
      await reporter.drain(never)
      const events = await eventsOf('reported')
      assert.deepEqual(
        events.map(({ reason, note, series }) => [reason, note, series?.count]),
        [['FailedScheduling', message, 3]],
      )
      assert.match(
        await conditionOf('reported'),
        /^False Unschedulable 0\/2 nodes are available: 2 Insufficient cpu\.é/,
      )
      await new ApiBinder({ connection, clock: systemClock, random: seededRandom(1) }).bind(pod, 'n1', never)
      // Late news of a time when it waited: the pod stays scheduled.
      reporter.failed(pod, 'Unschedulable', 'too late')
      await reporter.drain(never)
      assert.equal(await conditionOf('reported'), 'True')
      reporter.scheduled(pod, 'n1')
      await reporter.drain(never)
      assert.ok(
        (await eventsOf('reported')).some(({ note }) => note === `Successfully assigned ${namespace}/reported to n1`),
      )
      assert.deepEqual(givenUp, [])
    })

    void test('two replicas: one leads, and the other takes over when it stops', async () => {
      const elected: string[] = []
      const heard = new Map<string, () => void>()
      const candidate = (identity: string): { stop: () => Promise<void>; elected: Promise<void> } => {
        const stop = new AbortController()
        const wins = new Promise<void>((resolve) => heard.set(identity, resolve))
        const running = runLeaderElection({
          connection,
          clock: systemClock,
          random: seededRandom(1),
          identity,
          leaseName: 'contract',
          namespace,
          leaseDurationMs: 30_000,
          renewDeadlineMs: 20_000,
          retryPeriodMs: 50,
          signal: stop.signal,
          onElected: () => {
            elected.push(identity)
            heard.get(identity)?.()
          },
          onLost: () => assert.fail('nobody takes the lease away'),
        })
        const end = (): Promise<void> => {
          stop.abort(new Error('stopped'))
          return running
        }
        return { stop: end, elected: wins }
      }
      const first = candidate('first')
      await first.elected
      const second = candidate('second')
      await first.stop()
      await second.elected
      await second.stop()
      assert.deepEqual(elected, ['first', 'second'])
    })

    void test('a server that is killed and comes back: nothing is missed, and what was reported meanwhile arrives', async () => {
      const mirror = new Mirror(connection)
      await mirror.synced()
      const pod = slim(await create('before-the-crash'))
      await mirror.until(() => mirror.objects.has(`${namespace}/before-the-crash`))
      const reporter = new ApiReporter({
        connection,
        clock: systemClock,
        random: seededRandom(1),
        hostname: 'contract',
        bindsInFlight: () => 0,
        onGivenUp: (_pod, what, why) => assert.fail(`${what}: ${why}`),
      })
      await running.kill()
      reporter.failed(pod, 'Unschedulable', 'reported while the server was away')
      await assert.rejects(serverVersion(connection), /API_UNREACHABLE/)
      await running.restart()
      await deleteObject(connection, PODS, namespace, 'listed-3', { gracePeriodSeconds: 0 })
      await create('after-the-crash')
      await mirror.until(
        () => mirror.objects.has(`${namespace}/after-the-crash`) && !mirror.objects.has(`${namespace}/listed-3`),
      )
      await reporter.drain(never)
      assert.deepEqual(
        (await eventsOf('before-the-crash')).map(({ note }) => note),
        ['reported while the server was away'],
      )
      assert.equal(await conditionOf('before-the-crash'), 'False Unschedulable reported while the server was away')
      await mirror.stop()
    })

    void test('a token that nobody knows is refused, not only ignored', () =>
      withFolder(async (folder) => {
        const { users, ...rest } = parse(await readFile(running.kubeconfig, 'utf8')) as { users: { name: string }[] }
        const kubeconfig = join(folder, 'kubeconfig')
        const strangers = users.map(({ name }) => ({ name, user: { token: 'guessed' } }))
        await writeFile(kubeconfig, stringify({ ...rest, users: strangers }))
        const stranger = openConnection({ kubeconfig, env: {} })
        try {
          const { status } = await stranger.request({ method: 'GET', path: '/api/v1/nodes' })
          assert.equal(status, 401)
        } finally {
          stranger.close()
        }
      }))
  })
