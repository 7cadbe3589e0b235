// The real kube-scheduler as one of the two that the differential test compares.
import { once } from 'node:events'
import { closeSync, type FSWatcher, openSync, readSync, watch } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { systemClock } from '../../src/clock/clock.ts'
import { seededRandom } from '../../src/clock/random.ts'
import type { ObjectFeed } from '../../src/cluster/feed.ts'
import type {
  Condition,
  KubeList,
  KubeObject,
  NodeObject,
  PersistentVolumeClaimObject,
  PersistentVolumeObject,
  PodObject,
  PodStatus,
  Quantities,
} from '../../src/cluster/objects.ts'
import { SELECTED_NODE } from '../../src/cluster/volumes.ts'
import { type Connection, openConnection } from '../../src/kubernetes/connection.ts'
import { ListWatch } from '../../src/kubernetes/list-watch.ts'
import {
  collectionPath,
  createObject,
  deleteObject,
  listObjects,
  MERGE_PATCH,
  NAMESPACES as NAMESPACE_KIND,
  NODES,
  objectPath,
  PODS,
  STRATEGIC_MERGE_PATCH,
} from '../../src/kubernetes/objects.ts'
import { type ControlPlane, realControlPlane } from '../real-control-plane.ts'
import type { OtherObject } from './storage.ts'
import { type Change, NAMESPACES, PRIORITIES, RUNTIME_CLASSES, type World } from './worlds.ts'

/** What a scheduler said of one pod. */
export interface Verdict {
  readonly outcome: 'bound' | 'refused' | 'gated'
  /** the chosen node, or the one on which room is made; '' if none */
  readonly node: string
  /** `namespace/name` of the pods that have to go for it and do not go already */
  readonly victims: ReadonlySet<string>
  /** of the PodScheduled condition, '' if bound */
  readonly message: string
  /** names of the nodes that passed every rule */
  readonly feasible: ReadonlySet<string>
  /** node -> plugin -> score times weight; empty where nothing had to be ranked */
  readonly scores: ReadonlyMap<string, ReadonlyMap<string, number>>
}

/** A world as the API server has it. Its placed pods come as news. */
export interface Begun {
  readonly namespaces: readonly KubeObject[]
  readonly nodes: readonly NodeObject[]
  readonly others: readonly OtherObject[]
}

/** What became of a pod that was created. */
export interface Decided {
  /** as the API server stored it */
  readonly created: PodObject
  /** as it was when the verdict showed */
  readonly seen: PodObject
  readonly verdict: Verdict
}

/** What has become of a node: undefined if nothing has. */
export type NodeNews = { readonly seen: NodeObject } | { readonly gone: string } | undefined

/** What has become of pods since it was asked the last time, in order. */
export type PodNews = { readonly seen: PodObject } | { readonly goneUid: string }

/** What was sent is not taken by the API server: no scheduler ever sees such a pod. */
export class RefusedByApi extends Error {}

const patienceMs = 20_000
const NO_SCORES: ReadonlyMap<string, ReadonlyMap<string, number>> = new Map()

/** Resolves once `holds`; `look` must be called whenever that may have changed. */
class Waiting {
  readonly #lookers = new Set<() => void>()

  look(): void {
    for (const looker of this.#lookers) looker()
  }

  until<T>(what: string, find: () => T | undefined, atMostMs = patienceMs): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#lookers.delete(looker)
      }
      const looker = (): void => {
        const found = find()
        if (found === undefined) return
        end()
        resolve(found)
      }
      const timer = setTimeout(() => {
        end()
        reject(new Error(`waited ${atMostMs / 1_000} s for this in vain: ${what}`))
      }, atMostMs)
      this.#lookers.add(looker)
      looker()
    })
  }
}

/** What kube-scheduler has seen of the cluster and how it scored, read off its log as it grows. */
class SchedulerLog {
  /** as its cache has them */
  readonly nodes = new Set<string>()
  readonly placed = new Set<string>()
  /** how often it has seen a node or a placed pod change */
  readonly updates = new Map<string, number>()
  readonly changed = new Waiting()
  #scores = new Map<string, Map<string, Map<string, number>>>()
  readonly #file: number
  readonly #watcher: FSWatcher
  readonly #chunk = Buffer.alloc(1 << 18)
  #pending = ''

  constructor(path: string) {
    this.#file = openSync(path, 'r')
    this.#watcher = watch(path, () => this.read())
  }

  close(): void {
    this.#watcher.close()
    closeSync(this.#file)
  }

  /** Takes in what has been written since. */
  read(): void {
    for (;;) {
      const size = readSync(this.#file, this.#chunk)
      if (size === 0) break
      const lines = (this.#pending + this.#chunk.toString('latin1', 0, size)).split('\n')
      this.#pending = lines.pop() ?? ''
      for (const line of lines) this.#take(line)
    }
    this.changed.look()
  }

  /** node -> plugin -> weighted score, of the last cycle of a pod; forgotten then. */
  takeScores(pod: string): ReadonlyMap<string, ReadonlyMap<string, number>> {
    this.read()
    const scores = this.#scores.get(pod) ?? NO_SCORES
    this.#scores = new Map()
    return scores
  }

  #take(line: string): void {
    const scored = /"Plugin scored node for pod" pod="(\S+?)" plugin="(\w+)" node="(\S+?)" score=(-?\d+)/.exec(line)
    if (scored !== null) {
      const [, pod = '', plugin = '', node = '', score] = scored
      const nodes = this.#scores.get(pod) ?? new Map<string, Map<string, number>>()
      this.#scores.set(pod, nodes)
      const plugins = nodes.get(node) ?? new Map<string, number>()
      nodes.set(node, plugins)
      plugins.set(plugin, Number(score))
      return
    }
    const seen = /"(Add|Update|Delete) event for (node|scheduled pod)" \w+="(\S+?)"/.exec(line)
    if (seen === null) return
    const [, event, kind, name = ''] = seen
    const objects = kind === 'node' ? this.nodes : this.placed
    if (event === 'Delete') objects.delete(name)
    else objects.add(name)
    if (event === 'Update') this.updates.set(name, (this.updates.get(name) ?? 0) + 1)
  }
}

/** Takes every node and remembers which ones it was asked about: those that passed all filters. */
class RecordingExtender {
  readonly #server: Server
  readonly #asked = new Map<string, ReadonlySet<string>>()

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const { Pod, NodeNames } = JSON.parse(Buffer.concat(chunks).toString()) as {
          Pod: PodObject
          NodeNames: string[] | null
        }
        this.#asked.set(Pod.metadata?.uid ?? '', new Set(NodeNames))
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ Nodes: null, NodeNames, FailedNodes: {}, Error: '' }))
      })
    })
  }

  async start(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
    return address.port
  }

  /** The nodes it was asked about for a pod the last time, none if it was not asked; forgotten then. */
  take(uid: string): ReadonlySet<string> {
    const asked = this.#asked.get(uid) ?? new Set<string>()
    this.#asked.clear()
    return asked
  }

  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

const VOLUMES = '/api/v1/persistentvolumes'
const CLAIMS = '/api/v1/namespaces/default/persistentvolumeclaims'

const keyOf = ({ metadata }: KubeObject): string => `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`

const scheduledOf = ({ status }: PodObject): Condition | undefined =>
  status?.conditions?.find(({ type }) => type === 'PodScheduled')

/** Names of the claims that a pod names. */
export const claimsOf = ({ spec }: PodObject): string[] =>
  (spec?.volumes ?? []).flatMap(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName ?? [])

const same = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean =>
  a.size === b.size && [...a].every((name) => b.has(name))

const versionOf = ({ metadata }: KubeObject): number => Number(metadata?.resourceVersion)

const settings = `percentageOfNodesToScore: 100
extenders:
- urlPrefix: "http://127.0.0.1:PORT"
  filterVerb: filter
  nodeCacheCapable: true`

/** A control plane with the real kube-scheduler, to which worlds and pods are given. */
export class KubeScheduler {
  readonly #plane: ControlPlane
  readonly #extender: RecordingExtender
  readonly #connection: Connection
  readonly #log: SchedulerLog
  readonly #pods = new Map<string, PodObject>()
  #news: PodNews[] = []
  readonly #nodes = new Set<string>()
  /** how many changes kube-scheduler must have seen of an object */
  readonly #expected = new Map<string, number>()
  /** the versions of pods that we must have seen, or later ones */
  readonly #versions = new Map<string, number>()
  #others: { readonly path: string; readonly name: string }[] = []
  #barriers = 0
  #touches = 0
  #startedPods = 0
  readonly #podsChanged = new Waiting()
  readonly #ended = new AbortController()
  readonly #watching: Promise<void>

  private constructor(plane: ControlPlane, extender: RecordingExtender) {
    this.#plane = plane
    this.#extender = extender
    this.#connection = openConnection({ kubeconfig: plane.kubeconfigPath, env: {} })
    this.#log = new SchedulerLog(plane.schedulerLogPath)
    const feed: ObjectFeed<PodObject> = {
      seen: (pod) => {
        this.#pods.set(keyOf(pod), pod)
        this.#news.push({ seen: pod })
        this.#podsChanged.look()
      },
      gone: (namespace, name, uid) => {
        this.#pods.delete(`${namespace}/${name}`)
        this.#news.push({ goneUid: uid })
        this.#podsChanged.look()
      },
      synced: () => {},
    }
    this.#watching = new ListWatch<PodObject>({
      connection: this.#connection,
      clock: systemClock,
      random: seededRandom(1),
      path: collectionPath(PODS),
      feed,
    }).run(this.#ended.signal)
  }

  static async start(): Promise<KubeScheduler> {
    const extender = new RecordingExtender()
    const port = await extender.start()
    try {
      const plane = await realControlPlane.start({
        scheduler: {
          parallelism: 1,
          configuration: settings.replace('PORT', String(port)),
          vmodule: 'schedule_one=10,eventhandlers=4',
        },
        // Without these, pods never say what the nodes are to declare.
        featureGates: 'UserNamespacesHostNetworkSupport=true,VolumeBindMountOptions=true',
      })
      const scheduler = new KubeScheduler(plane, extender)
      await scheduler.#prepare()
      return scheduler
    } catch (error) {
      extender.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    this.#ended.abort(new Error('the comparison is over'))
    await this.#watching
    this.#log.close()
    this.#connection.close()
    await this.#plane.stop()
    this.#extender.stop()
  }

  async #prepare(): Promise<void> {
    for (const [name, labels] of Object.entries(NAMESPACES)) {
      if (name !== 'default') await createObject(this.#connection, NAMESPACE_KIND, { metadata: { name, labels } })
    }
    for (const [name, priority] of Object.entries(PRIORITIES))
      await this.#post('/apis/scheduling.k8s.io/v1/priorityclasses', { metadata: { name }, ...priority })
    for (const [name, podFixed] of Object.entries(RUNTIME_CLASSES))
      await this.#post('/apis/node.k8s.io/v1/runtimeclasses', {
        metadata: { name },
        handler: name,
        overhead: { podFixed },
      })
  }

  async #post<T>(path: string, body: unknown): Promise<T> {
    const { status, body: answer } = await this.#connection.request({ method: 'POST', path, body })
    if (status === 422 || status === 400 || status === 403)
      throw new RefusedByApi(`${(answer as { message?: string } | undefined)?.message}`)
    if (status >= 300) throw new Error(`POST ${path} was answered ${status}: ${JSON.stringify(answer)}`)
    return answer as T
  }

  /** @throws RefusedByApi */
  async #patch<T>(path: string, patch: unknown, contentType = MERGE_PATCH): Promise<T> {
    const { status, body } = await this.#connection.request({ method: 'PATCH', path, body: patch, contentType })
    if (status === 422 || status === 403) throw new RefusedByApi((body as { message?: string }).message)
    if (status >= 300) throw new Error(`PATCH ${path} was answered ${status}: ${JSON.stringify(body)}`)
    return body as T
  }

  async #get<T>(path: string): Promise<T> {
    const { status, body } = await this.#connection.request({ method: 'GET', path })
    if (status >= 300) throw new Error(`GET ${path} was answered ${status}: ${JSON.stringify(body)}`)
    return body as T
  }

  async #removeOther({ path, name }: { readonly path: string; readonly name: string }): Promise<void> {
    // What protects claims and volumes in use is taken off by a controller that does not run here.
    if (path === CLAIMS || path === VOLUMES) await this.#patch(`${path}/${name}`, { metadata: { finalizers: null } })
    await this.#connection.request({ method: 'DELETE', path: `${path}/${name}`, ignoreBody: true })
  }

  async #deleteAll(path: string): Promise<void> {
    const { status, body } = await this.#connection.request({
      method: 'DELETE',
      path,
      body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0 },
    })
    if (status >= 300) throw new Error(`DELETE ${path} was answered ${status}: ${JSON.stringify(body)}`)
  }

  /** Waits until kube-scheduler has in its cache what the API server has, and so have we. */
  async settle(): Promise<void> {
    for (let waitedMs = 0; ; waitedMs += 1_000) {
      try {
        await this.#bothSee(await this.#podNames(), 1_000)
        break
      } catch (error) {
        // A pod may have been bound since they were listed.
        if (waitedMs >= patienceMs) throw error
      }
    }
    this.#versions.clear()
    this.#expected.clear()
  }

  /** Names of the pods that the API server has, and of those that have a node. */
  async #podNames(): Promise<{ readonly all: ReadonlySet<string>; readonly placed: ReadonlySet<string> }> {
    const all = new Set<string>()
    const placed = new Set<string>()
    for await (const pod of listObjects<PodObject>(this.#connection, PODS)) {
      all.add(keyOf(pod))
      if (pod.spec?.nodeName) placed.add(keyOf(pod))
    }
    return { all, placed }
  }

  async #bothSee(
    { all, placed }: { readonly all: ReadonlySet<string>; readonly placed: ReadonlySet<string> },
    atMostMs: number,
  ): Promise<void> {
    const isOld = ([key, version]: [string, number]): boolean => {
      const pod = this.#pods.get(key)
      return pod !== undefined && versionOf(pod) < version
    }
    const wePlaced = (): Set<string> =>
      new Set([...this.#pods].filter(([, { spec }]) => spec?.nodeName).map(([key]) => key))
    const weSee = (): boolean =>
      same(new Set(this.#pods.keys()), all) && same(wePlaced(), placed) && !this.#versions.entries().some(isOld)
    await this.#podsChanged.until('we have seen the pods', () => weSee() || undefined, atMostMs)
    const log = this.#log
    log.read()
    const isDone = ([name, count]: [string, number]): boolean => (log.updates.get(name) ?? 0) >= count
    const schedulerSees = (): boolean =>
      same(log.nodes, this.#nodes) && same(log.placed, placed) && this.#expected.entries().every(isDone)
    await log.changed.until('kube-scheduler has seen the world', () => schedulerSees() || undefined, atMostMs)
  }

  /** Waits until kube-scheduler has seen all that has happened to pods up to now: it reads them in one stream. */
  async #passBarrier(): Promise<void> {
    const name = `barrier-${this.#barriers++}`
    await this.#create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'default', name },
      spec: {
        nodeName: 'no-such-node',
        terminationGracePeriodSeconds: 0,
        containers: [{ name: 'main', image: 'app' }],
      },
    })
    const log = this.#log
    await log.changed.until('kube-scheduler has seen the barrier', () => log.placed.has(`default/${name}`) || undefined)
  }

  /** What has become of pods since the last call. */
  takeNews(): readonly PodNews[] {
    const news = this.#news
    this.#news = []
    return news
  }

  /** Makes this world the only one. @returns its nodes as the API server has them; what it does not take is left out */
  async begin(world: World): Promise<Begun> {
    for (const namespace of Object.keys(NAMESPACES)) await this.#deleteAll(collectionPath(PODS, namespace))
    await this.#deleteAll(collectionPath(NODES))
    this.#nodes.clear()
    // Nodes that come while others go would mix up the order of zones.
    await this.settle()
    this.takeNews()
    await Promise.all(this.#others.map((other) => this.#removeOther(other)))
    this.#others = []
    const others: OtherObject[] = []
    for (const { path, object } of world.others) {
      const { status, ...written } = object as KubeObject & { status?: unknown }
      const name = object.metadata?.name ?? ''
      let created = await this.#post<KubeObject>(path, written)
      this.#others.push({ path, name })
      if (status !== undefined) created = await this.#patch<KubeObject>(`${path}/${name}/status`, { status })
      others.push({ path, object: created })
    }
    const namespaces: KubeObject[] = []
    for await (const namespace of listObjects<KubeObject>(this.#connection, NAMESPACE_KIND)) namespaces.push(namespace)
    // One after the other: their order is kube-scheduler's order of nodes.
    const nodes: NodeObject[] = []
    for (const node of world.nodes) {
      nodes.push(await this.#post<NodeObject>(collectionPath(NODES), node))
      this.#nodes.add(node.metadata?.name ?? '')
    }
    await Promise.all(
      world.placed.map(async (pod) => {
        try {
          await this.#create(pod)
        } catch (error) {
          if (error instanceof RefusedByApi) return
          throw error
        }
        await this.started(pod, pod.status)
      }),
    )
    await this.settle()
    return { namespaces, nodes, others }
  }

  /** Plays the node that starts a placed pod, each a minute after the one before, and reports `reported` of it. */
  async started(pod: PodObject, reported: PodStatus = {}): Promise<void> {
    const startTime = new Date(Date.UTC(2026, 0, 1) + ++this.#startedPods * 60_000).toISOString().replace('.000', '')
    await this.#patchPod(pod, '/status', { status: { ...reported, phase: 'Running', startTime } })
  }

  /** From then on `settle` waits until both have seen it. @throws RefusedByApi */
  async #patchPod(pod: PodObject, subresource: '' | '/status' | '/resize', patch: unknown): Promise<void> {
    const key = keyOf(pod)
    const { namespace = '', name = '' } = pod.metadata ?? {}
    const path = objectPath(PODS, namespace, name)
    this.#log.read()
    const updates = this.#expected.get(key) ?? this.#log.updates.get(key) ?? 0
    // A start is always new.
    const before = subresource === '/status' ? Number.NaN : versionOf(await this.#get<PodObject>(path))
    const after = versionOf(await this.#patch<PodObject>(`${path}${subresource}`, patch, STRATEGIC_MERGE_PATCH))
    if (after === before) return
    this.#expected.set(key, updates + 1)
    this.#versions.set(key, after)
  }

  /** Does what `change` says and waits until kube-scheduler has seen it. */
  async apply(change: Change, world: World): Promise<NodeNews> {
    switch (change.kind) {
      case 'delete':
      case 'relabel pod':
      case 'resize': {
        const pod = world.placed[change.pod]
        if (pod === undefined || !this.#pods.has(keyOf(pod))) return undefined
        if (change.kind === 'delete') await this.remove(pod)
        else if (change.kind === 'resize') await this.#resize(pod, change.requests)
        else await this.#patchPod(pod, '', { metadata: { labels: change.labels } })
        await this.settle()
        return undefined
      }
      case 'add':
        return this.#addNode(change.object)
      default: {
        const node = world.nodes[change.node]
        const name = node?.metadata?.name ?? ''
        if (this.#nodes.has(name)) return this.#changeNode(name, change)
        return change.kind === 'remove' && node !== undefined ? this.#addNode(node) : undefined
      }
    }
  }

  async #addNode(object: NodeObject): Promise<NodeNews> {
    const node = await this.#post<NodeObject>(collectionPath(NODES), object)
    this.#nodes.add(node.metadata?.name ?? '')
    await this.#recountImages()
    return { seen: node }
  }

  /** The node may say that it is too small for that, and then nothing happens. */
  async #resize(pod: PodObject, requests: Quantities): Promise<void> {
    const container = pod.spec?.containers?.[0]?.name
    try {
      await this.#patchPod(pod, '/resize', { spec: { containers: [{ name: container, resources: { requests } }] } })
    } catch (error) {
      if (!(error instanceof RefusedByApi)) throw error
    }
  }

  async #changeNode(name: string, change: Extract<Change, { readonly node: number }>): Promise<NodeNews> {
    const path = objectPath(NODES, '', name)
    if (change.kind === 'remove') {
      await this.#connection.request({ method: 'DELETE', path, ignoreBody: true })
      this.#nodes.delete(name)
      await this.#recountImages()
      return { gone: name }
    }
    this.#log.read()
    const updates = this.#log.updates.get(name) ?? 0
    const before = await this.#get<NodeObject>(path)
    const node =
      change.kind === 'reshape'
        ? await this.#patch<NodeObject>(`${path}/status`, { status: change.status })
        : await this.#patch<NodeObject>(
            path,
            change.kind === 'relabel'
              ? { metadata: { labels: change.labels } }
              : change.kind === 'taint'
                ? { spec: { taints: change.taints } }
                : { spec: { unschedulable: change.unschedulable } },
          )
    if (versionOf(before) === versionOf(node)) return { seen: node }
    this.#expected.set(name, updates + 1)
    await (change.kind === 'reshape' ? this.#recountImages() : this.settle())
    return { seen: node }
  }

  /**
   * Has kube-scheduler look at each node anew: how many nodes have an image it works out for a node only when something about
   * that node changes.
   */
  async #recountImages(): Promise<void> {
    await this.settle()
    this.#touches++
    await Promise.all(
      [...this.#nodes].map(async (name) => {
        this.#expected.set(name, (this.#log.updates.get(name) ?? 0) + 1)
        await this.#patch(objectPath(NODES, '', name), { metadata: { annotations: { touched: `${this.#touches}` } } })
      }),
    )
    await this.settle()
  }

  #create(pod: PodObject): Promise<PodObject> {
    return this.#post(collectionPath(PODS, pod.metadata?.namespace), pod)
  }

  /** Creates a pod and waits for what becomes of it. @throws RefusedByApi */
  async decide(pod: PodObject): Promise<Decided> {
    const key = keyOf(pod)
    const claiming = claimsOf(pod).length > 0
    const staying = this.#staying()
    const created = await this.#create(pod)
    const seen = await this.#podsChanged.until(`kube-scheduler decides about ${key}`, () => {
      const now = this.#pods.get(key)
      if (now === undefined) return undefined
      const condition = scheduledOf(now)
      // A pod whose claims are still to be bound shows its node so.
      const chosen = now.spec?.nodeName || (claiming && now.status?.nominatedNodeName)
      return chosen || condition?.status === 'False' ? now : undefined
    })
    return { created, seen, verdict: await this.#verdictOn(seen, staying) }
  }

  /** Names of the pods that have a node and are not on their way. */
  #staying(): ReadonlySet<string> {
    const stays = ([, { spec, metadata }]: [string, PodObject]): boolean =>
      Boolean(spec?.nodeName) && metadata?.deletionTimestamp === undefined
    return new Set([...this.#pods].filter(stays).map(([key]) => key))
  }

  /** @param staying the pods that stayed before it was tried */
  async #verdictOn(seen: PodObject, staying: ReadonlySet<string>): Promise<Verdict> {
    const condition = scheduledOf(seen)
    const refused = condition?.status === 'False'
    const node = seen.spec?.nodeName ?? (refused ? '' : (seen.status?.nominatedNodeName ?? ''))
    const gated = condition?.reason === 'SchedulingGated'
    const message = node === '' && !gated ? (condition?.message ?? '') : ''
    const evicting = Number(/preempting (\d+) victims$/.exec(message)?.[1] ?? 0)
    const room = seen.status?.nominatedNodeName ?? ''
    return {
      outcome: node !== '' ? 'bound' : gated ? 'gated' : 'refused',
      node: evicting > 0 ? room : node,
      victims: evicting > 0 ? await this.#evicted(evicting, room, staying) : new Set(),
      message,
      feasible: this.#extender.take(seen.metadata?.uid ?? ''),
      scores: this.#log.takeScores(keyOf(seen)),
    }
  }

  /**
   * Wakes a pod that lacked room, by a pod that leaves a node which is not there, and waits for what becomes of it now.
   * @returns undefined if nothing new does
   */
  async triesAgain(pod: PodObject): Promise<Decided | undefined> {
    const key = keyOf(pod)
    const staying = this.#staying()
    const before = scheduledOf(pod)?.message
    await this.#passBarrier()
    await deleteObject(this.#connection, PODS, 'default', `barrier-${this.#barriers - 1}`, { gracePeriodSeconds: 0 })
    const find = (): PodObject | undefined => {
      const now = this.#pods.get(key)
      return now !== undefined && (now.spec?.nodeName || scheduledOf(now)?.message !== before) ? now : undefined
    }
    const seen = await this.#podsChanged.until(`${key} is tried again`, find, 2_500).catch(() => undefined)
    return seen === undefined ? undefined : { created: seen, seen, verdict: await this.#verdictOn(seen, staying) }
  }

  /** Names of so many of these pods once they are gone or on their way, less those of the node that were before. */
  async #evicted(count: number, node: string, staying: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    const going = (pod: PodObject | undefined): boolean => pod?.metadata?.deletionTimestamp !== undefined
    const before = [...this.#pods].filter(
      ([key, pod]) => pod.spec?.nodeName === node && going(pod) && !staying.has(key),
    ).length
    const find = (): string[] => [...staying].filter((key) => !this.#pods.has(key) || going(this.#pods.get(key)))
    await this.#podsChanged.until(
      `kube-scheduler has evicted ${count} pods`,
      () => find().length >= count - before || undefined,
    )
    // Whether those who were going already are among them shows only in nobody else's going.
    if (before > 0) await pause(100)
    await this.#passBarrier()
    return new Set(find())
  }

  /**
   * Waits until a pod for which room was made is bound, and plays provisioner for it.
   * @returns it, undefined if that does not happen soon
   */
  async boundLater(pod: PodObject): Promise<PodObject | undefined> {
    for (let waitedMs = 0; waitedMs < 4_000; waitedMs += 100) {
      const now = this.#pods.get(keyOf(pod))
      if (now?.spec?.nodeName) return now
      for (const name of claimsOf(pod)) {
        const node = await this.#nodeOfClaim(name)
        if (node === undefined) continue
        const there = node || (now?.status?.nominatedNodeName ?? '')
        // It may be an earlier pod's that never came to use the claim.
        return this.provisioned(pod, there, 4_000).catch(() => pause(1_500).then(() => undefined))
      }
      await pause(100)
    }
    return undefined
  }

  /** The node for which kube-scheduler waits for the claim to be bound, '' if it takes a volume that is there; else undefined. */
  async #nodeOfClaim(name: string): Promise<string | undefined> {
    const { status, body } = await this.#connection.request({ method: 'GET', path: `${CLAIMS}/${name}` })
    if (status === 404) return undefined
    const { metadata, spec } = body as PersistentVolumeClaimObject
    if (spec?.volumeName !== undefined) return undefined
    const node = metadata?.annotations?.[SELECTED_NODE]
    if (node !== undefined) return node
    const volumes = await this.#get<KubeList<PersistentVolumeObject>>(VOLUMES)
    return volumes.items?.some(({ spec }) => spec?.claimRef?.name === name) ? '' : undefined
  }

  /** Plays provisioner and volume controller for a pod that goes to `node`. @returns it once it is bound */
  async provisioned(pod: PodObject, node: string, atMostMs = patienceMs): Promise<PodObject> {
    for (const name of claimsOf(pod)) {
      let claim = await this.#get<PersistentVolumeClaimObject>(`${CLAIMS}/${name}`)
      if (claim.spec?.volumeName !== undefined) continue
      // Not before kube-scheduler has asked for it: what it writes to the claim would be refused as outdated.
      for (let waitedMs = 0; waitedMs < 2_000 && (await this.#nodeOfClaim(name)) === undefined; waitedMs += 20)
        await pause(20)
      claim = await this.#get<PersistentVolumeClaimObject>(`${CLAIMS}/${name}`)
      // A volume that was there already is reserved for the claim; else one is asked for by an annotation.
      const volumes = await this.#get<KubeList<PersistentVolumeObject>>(VOLUMES)
      let volume = volumes.items?.find(({ spec }) => spec?.claimRef?.name === name)
      if (volume === undefined) {
        volume = await this.#post<PersistentVolumeObject>(VOLUMES, {
          metadata: { name: `${name}-made` },
          spec: {
            capacity: claim.spec?.resources?.requests,
            accessModes: claim.spec?.accessModes,
            storageClassName: claim.spec?.storageClassName,
            csi: { driver: 'disks.example.com', volumeHandle: `${name}-made` },
            claimRef: { namespace: 'default', name, uid: claim.metadata?.uid },
            nodeAffinity: {
              required: {
                nodeSelectorTerms: [
                  { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] },
                ],
              },
            },
          },
        })
        this.#others.push({ path: VOLUMES, name: `${name}-made` })
      }
      const volumeName = volume.metadata?.name ?? ''
      await this.#patch(`${VOLUMES}/${volumeName}/status`, { status: { phase: 'Bound' } })
      await this.#patch(`${CLAIMS}/${name}`, {
        metadata: { annotations: { 'pv.kubernetes.io/bind-completed': 'yes' } },
        spec: { volumeName },
      })
      await this.#patch(`${CLAIMS}/${name}/status`, { status: { phase: 'Bound' } })
    }
    const find = (): PodObject | undefined => {
      const now = this.#pods.get(keyOf(pod))
      return now?.spec?.nodeName ? now : undefined
    }
    return this.#podsChanged.until(`pod ${keyOf(pod)} is bound`, find, atMostMs)
  }

  /** As they are now: kube-scheduler writes to them too. */
  async claimsAndVolumes(): Promise<OtherObject[]> {
    const others: OtherObject[] = []
    for (const path of [VOLUMES, CLAIMS])
      for (const object of (await this.#get<KubeList<KubeObject>>(path)).items ?? []) others.push({ path, object })
    return others
  }

  async remove(pod: PodObject): Promise<void> {
    const { namespace = '', name = '' } = pod.metadata ?? {}
    await deleteObject(this.#connection, PODS, namespace, name, { gracePeriodSeconds: 0 })
  }
}
