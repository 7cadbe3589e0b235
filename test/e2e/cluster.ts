import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/clock/clock.ts'
import { seededRandom } from '../../src/clock/random.ts'
import type { ObjectFeed } from '../../src/cluster/feed.ts'
import type { Condition, KubeObject, NodeObject, PodObject } from '../../src/cluster/objects.ts'
import { type Connection, openConnection } from '../../src/kubernetes/connection.ts'
import { ListWatch } from '../../src/kubernetes/list-watch.ts'
import {
  collectionPath,
  createObject,
  deleteObject,
  EVENTS,
  NODES,
  patchObject,
  PODS,
  type ResourceKind,
} from '../../src/kubernetes/objects.ts'
import { type EmbeddedApiServer, startApiServer } from '../../src/simulation/apiserver/server.ts'
import type { NodeBuilder, PodBuilder } from '../builders.ts'
import { realControlPlane } from '../real-control-plane.ts'

/** An API server that tests run against, and what they may do to it. */
export interface TestServer {
  readonly kubeconfigPath: string
  /** Kills it and starts it again with what it had stored, as after a crash. */
  killAndRestart(): Promise<void>
  stop(): Promise<void>
}

/** The embedded API server, with a kubeconfig in a folder of its own. */
export const startEmbedded = async (): Promise<TestServer & { readonly server: EmbeddedApiServer }> => {
  const server = await startApiServer({ clock: systemClock, random: seededRandom(1) })
  const folder = mkdtempSync(join(tmpdir(), 'stowage-e2e-'))
  const kubeconfigPath = join(folder, 'kubeconfig')
  writeFileSync(kubeconfigPath, server.kubeconfig(), { mode: 0o600 })
  return {
    server,
    kubeconfigPath,
    killAndRestart: () => server.restart(),
    stop: async () => {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** etcd and kube-apiserver. */
export const startReal = async (): Promise<TestServer> => {
  const plane = await realControlPlane.start()
  return {
    kubeconfigPath: plane.kubeconfigPath,
    killAndRestart: async () => {
      await plane.killApiServer()
      await plane.restartApiServer()
    },
    stop: () => plane.stop(),
  }
}

/** An event as events.k8s.io/v1 has it. */
export interface EventObject extends KubeObject {
  type?: string
  reason?: string
  action?: string
  note?: string
  eventTime?: string
  reportingController?: string
  reportingInstance?: string
  regarding?: { kind?: string; namespace?: string; name?: string; uid?: string }
  series?: { count?: number }
}

/** Generous: the machine is shared. What is awaited comes by watch, so nobody waits longer than it takes. */
const patienceMs = 30_000

/** All objects of one kind as a watch tells them. */
export class Watched<T extends KubeObject> implements ObjectFeed<T> {
  readonly objects = new Map<string, T>()
  readonly #lookers = new Set<() => void>()

  seen(object: T): void {
    this.objects.set(`${object.metadata?.namespace ?? ''}/${object.metadata?.name}`, object)
    this.#look()
  }

  gone(namespace: string, name: string): void {
    this.objects.delete(`${namespace}/${name}`)
    this.#look()
  }

  synced(): void {
    this.#look()
  }

  #look(): void {
    for (const look of this.#lookers) look()
  }

  /** Resolves with what `find` finds, as soon as it does. */
  until<R>(what: string, find: (objects: ReadonlyMap<string, T>) => R | undefined | false): Promise<R> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#lookers.delete(look)
      }
      const look = (): void => {
        const found = find(this.objects)
        if (found === undefined || found === false) return
        end()
        resolve(found)
      }
      const timer = setTimeout(() => {
        end()
        reject(new Error(`waited ${patienceMs / 1_000} s for this in vain: ${what}`))
      }, patienceMs)
      this.#lookers.add(look)
      look()
    })
  }
}

/** A person with kubectl: creates, deletes, looks. Knows nothing of the scheduler. */
export class Cluster {
  readonly connection: Connection
  readonly pods = new Watched<PodObject>()
  readonly events = new Watched<EventObject>()
  readonly #ended = new AbortController()
  readonly #watches: Promise<void>[]

  constructor(kubeconfigPath: string) {
    this.connection = openConnection({ kubeconfig: kubeconfigPath, env: {} })
    this.#watches = [this.#watch(PODS, this.pods), this.#watch(EVENTS, this.events)]
  }

  #watch<T extends KubeObject>(kind: ResourceKind, feed: Watched<T>): Promise<void> {
    return new ListWatch<T>({
      connection: this.connection,
      clock: systemClock,
      random: seededRandom(2),
      path: collectionPath(kind),
      feed,
    }).run(this.#ended.signal)
  }

  /** Watches one more kind until `close`. */
  watch<T extends KubeObject>(kind: ResourceKind): Watched<T> {
    const feed = new Watched<T>()
    this.#watches.push(this.#watch(kind, feed))
    return feed
  }

  async close(): Promise<void> {
    this.#ended.abort(new Error('the test is over'))
    await Promise.all(this.#watches)
    this.connection.close()
  }

  /** Creates them in this order. */
  async create(...builders: (PodBuilder | NodeBuilder)[]): Promise<void> {
    for (const builder of builders) {
      const { metadata = {}, ...object }: PodObject & NodeObject = builder.object()
      const { name, namespace, labels, annotations } = metadata
      const written = {
        ...object,
        metadata: {
          ...(name === undefined ? {} : { name }),
          ...(namespace === undefined ? {} : { namespace }),
          ...(labels === undefined ? {} : { labels }),
          ...(annotations === undefined ? {} : { annotations }),
        },
      }
      if (object.kind === 'Pod' && object.spec !== undefined) {
        // The API server works it out of the class.
        const { priority: _, ...spec } = object.spec
        const containers = spec.containers?.map((container) => ({ image: 'app', ...container })) ?? []
        await createObject(this.connection, PODS, { ...written, status: {}, spec: { ...spec, containers } })
      } else
        await createObject(this.connection, NODES, {
          ...written,
          status: { ...object.status, capacity: object.status?.allocatable ?? {} },
        })
    }
  }

  deletePod(name: string): Promise<void> {
    return deleteObject(this.connection, PODS, 'default', name, { gracePeriodSeconds: 0 })
  }

  deleteNode(name: string): Promise<void> {
    return deleteObject(this.connection, NODES, '', name)
  }

  async patchPod(name: string, patch: unknown): Promise<void> {
    await patchObject(this.connection, PODS, 'default', name, patch)
  }

  async patchNode(name: string, patch: unknown): Promise<void> {
    await patchObject(this.connection, NODES, '', name, patch)
  }

  /** Binds as another scheduler would. @returns the status of the answer */
  async bind(name: string, node: string): Promise<number> {
    const { status } = await this.connection.request({
      method: 'POST',
      path: `/api/v1/namespaces/default/pods/${name}/binding`,
      body: { apiVersion: 'v1', kind: 'Binding', metadata: { name }, target: { kind: 'Node', name: node } },
    })
    return status
  }

  pod(name: string): PodObject | undefined {
    return this.pods.objects.get(`default/${name}`)
  }

  /** The node of a bound pod, once it has one. */
  bound(name: string): Promise<string> {
    return this.pods.until(`pod ${name} is bound`, () => this.pod(name)?.spec?.nodeName)
  }

  /** The PodScheduled condition, once `fits` takes it. */
  scheduledCondition(name: string, fits: (condition: Condition) => boolean): Promise<Condition> {
    return this.pods.until(`the PodScheduled condition of pod ${name}`, () => {
      const condition = this.pod(name)?.status?.conditions?.find(({ type }) => type === 'PodScheduled')
      return condition !== undefined && fits(condition) && condition
    })
  }

  /** What the pod waits for, in the words of its condition. */
  async refused(name: string): Promise<string> {
    const { message = '' } = await this.scheduledCondition(
      name,
      ({ status, reason }) => status === 'False' && reason === 'Unschedulable',
    )
    return message
  }

  /** What is said of a pod that a scheduler evicts, once it is being deleted. */
  leaves(name: string): Promise<string> {
    return this.pods.until(`pod ${name} leaves`, () => {
      const { metadata, status } = this.pod(name) ?? {}
      const { reason, message } = status?.conditions?.find(({ type }) => type === 'DisruptionTarget') ?? {}
      return metadata?.deletionTimestamp !== undefined && reason === 'PreemptionByScheduler' && message
    })
  }

  /** Of the pod that has this name now. */
  eventsOf(name: string): EventObject[] {
    const uid = this.pod(name)?.metadata?.uid
    return [...this.events.objects.values()].filter(({ regarding }) => regarding?.uid === uid)
  }

  event(name: string, reason: string): Promise<EventObject> {
    return this.events.until(`event ${reason} of pod ${name}`, () =>
      this.eventsOf(name).find((event) => event.reason === reason),
    )
  }

  /** Away with all pods and nodes. */
  async empty(): Promise<void> {
    for (const object of this.pods.objects.values()) await this.deletePod(object.metadata?.name ?? '')
    await this.pods.until('all pods are gone', (objects) => objects.size === 0)
    const { body } = await this.connection.request({ method: 'GET', path: collectionPath(NODES) })
    for (const node of (body as { items: NodeObject[] }).items) await this.deleteNode(node.metadata?.name ?? '')
  }
}
