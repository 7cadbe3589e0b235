import type { Clock, Timer } from '../../clock/clock.ts'
import type { Random } from '../../clock/random.ts'
import type { KubeObject, NodeObject, NodeStatus, PodObject, WatchEvent } from '../../cluster/objects.ts'
import { StowageError, messageOf } from '../../errors/catalogue.ts'
import type { ObjectAccess } from '../apiserver/access.ts'
import { type Claim, type Refusal, admit, claimOf } from './kubelet-admission.ts'
import { MAX_NODES, type NodeShape } from '../workload/node-shapes.ts'
import { type KubeletPodStatus, type PodStage, endedStatus, podStages, readyStatus } from './pod-stages.ts'
import { evictionDelayMs, noExecuteTaints } from './taint-eviction.ts'
import { TimerQueue } from './timer-queue.ts'
import {
  LEASES,
  NODE_LEASE_NAMESPACE,
  POD_ADDRESSES_PER_NODE,
  VIRTUAL_NODE_LABEL,
  healthyConditions,
  nodeAddress,
  nodeLease,
  nodeObject,
  podAddress,
  unknownConditions,
  withUnreachableTaints,
  withoutUnreachableTaints,
} from './virtual-node-object.ts'

/** Work that comes round again is spread over ticks of this length, so that no moment has to carry all nodes. */
const TICK_MS = 250
/** kubelet's nodeLeaseDurationSeconds / 4 */
const LEASE_TICKS = 10_000 / TICK_MS
/** kubelet's nodeStatusReportFrequency: how often a status without news is posted */
const STATUS_EVERY_MS = 300_000
/** metrics-server's resolution */
const USAGE_TICKS = 15_000 / TICK_MS
/** How long a pod may be bound to a node that does not exist (the pod garbage collector's quarantine). */
const HOMELESS_MS = 40_000
const RETRY_MS = 1000
const ATTEMPTS = 5
/** What a container is taken to use where its pod asks for nothing: kube-scheduler's guess. */
const USAGE_WITHOUT_REQUEST = { cpuMilli: 100, memoryBytes: 200 * 2 ** 20 }

export interface VirtualNodesOptions {
  readonly objects: ObjectAccess
  readonly clock: Clock
  readonly random: Random
  /** told what went wrong, one line each */
  readonly log?: (message: string) => void
  /** how many times faster than the clock pods live: starting, running and stopping times are divided by it */
  readonly speed: number
  /** told at once and every 15 s of the clock what each reachable node uses, as metrics-server would measure it; see {@link VirtualNodes} */
  readonly reportUsage?: (nodeName: string, cpuMilli: number, memoryBytes: number) => void
}

/** What happened on the virtual nodes so far. */
export interface VirtualNodesCounts {
  readonly nodes: number
  /** now */
  readonly running: number
  /** since the start */
  readonly succeeded: number
  /** since the start; refused ones are among them */
  readonly failed: number
  /** pods that kubelet admission refused, by reason (`OutOfcpu`, `NodePorts`, ...): what a scheduler must never cause */
  readonly violations: Readonly<Record<string, number>>
}

/** What can go wrong on purpose. Names of nodes and pods that do not exist: StowageError NOT_FOUND. */
export interface Failures {
  /**
   * The kubelet falls silent: no lease, no life in its pods; conditions and taints as the node controller sets them then.
   * Pods are evicted when they tolerate that no longer, and go when the node is back.
   */
  nodeUnreachable(name: string): void
  /** It is back: healthy, untainted, and does what it missed. */
  nodeBack(name: string): void
  /** The node object is deleted; its pods and its lease go with it. */
  nodeVanishes(name: string): void
  /** The pod's containers end badly. */
  podFails(namespace: string, name: string, reason: string, message: string): void
}

/**
 * Nodes without machines: registered, leased and healthy, with pods that start, run and end on them by their stages
 * (pod-stages.ts). Every node that carries the label `stowage.dev/virtual` is kept, whoever created it.
 *
 * Usage model: a running pod uses a constant share of its request, drawn when it came to the node: 20-80 % of its cpu,
 * 50-95 % of its memory; where it requests nothing, that share of 100 millicores and 200 MiB. A node uses what its pods use.
 */
export interface VirtualNodes {
  readonly failures: Failures
  /** Registers nodes. Those whose name exists already are an error of the API. @throws ApiFailure, StowageError */
  addNodes(shapes: readonly NodeShape[]): void
  counts(): VirtualNodesCounts
  /** Lets go of everything: no timer and no subscription stays; objects stay as they are. */
  stop(): Promise<void>
}

interface Held {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly node: VirtualNode
  readonly claim: Claim | undefined
  readonly refusal: Refusal | undefined
  readonly address: number
  readonly cpuShare: number
  readonly memoryShare: number
  phase: string
  stage: PodStage | undefined
  timer: Timer | undefined
  eviction: Timer | undefined
  /** its stage came due while the node was unreachable */
  missed: boolean
  attempts: number
}

interface VirtualNode {
  readonly name: string
  readonly index: number
  object: NodeObject
  reachable: boolean
  nextStatusMs: number
  readonly pods: Map<string, Held>
  readonly addresses: Set<number>
  nextAddress: number
}

const isFinished = (phase: string): boolean => phase === 'Succeeded' || phase === 'Failed'
const phaseOf = (pod: PodObject): string => pod.status?.phase ?? 'Pending'
const isVirtual = (node: KubeObject): boolean => node.metadata?.labels?.[VIRTUAL_NODE_LABEL] === 'true'

/**
 * A kubelet that cannot be reached does not see the taints that say so, and they are gone when it is back: a bind that
 * raced with the loss of the node is no violation. The pod is evicted instead.
 */
const asKubeletSeesIt = (node: NodeObject): NodeObject => {
  const taints = node.spec?.taints
  return taints === undefined ? node : { ...node, spec: { ...node.spec, taints: withoutUnreachableTaints(taints) } }
}

class KeptNodes implements VirtualNodes {
  readonly failures: Failures
  readonly #options: VirtualNodesOptions
  readonly #queue: TimerQueue
  readonly #nodes = new Map<string, VirtualNode>()
  readonly #pods = new Map<string, Held>()
  /** nodes that share the ticks: by index, with holes */
  readonly #byIndex: (VirtualNode | undefined)[] = []
  readonly #freeIndexes: number[] = []
  /** numbers of nodes that are being created, by name */
  readonly #reserved = new Map<string, number>()
  /** node name -> uids of pods that are bound to it while it does not exist */
  readonly #homeless = new Map<string, Map<string, { readonly namespace: string; readonly name: string }>>()
  readonly #violations = new Map<string, number>()
  readonly #unsubscribe: readonly (() => void)[]
  #tick = 0
  #running = 0
  #succeeded = 0
  #failed = 0

  constructor(options: VirtualNodesOptions) {
    this.#options = options
    this.#queue = new TimerQueue(options.clock)
    this.failures = {
      nodeUnreachable: (name) => this.#lose(this.#known(name)),
      nodeBack: (name) => this.#restore(this.#known(name)),
      nodeVanishes: (name) => options.objects.remove('nodes', '', this.#known(name).name),
      podFails: (namespace, name, reason, message) => {
        const pod = options.objects.get('pods', namespace, name)
        if (pod === undefined) throw new StowageError('NOT_FOUND', { found: `no pod ${namespace}/${name}` })
        this.#writePod(pod, endedStatus(pod, options.clock.nowMs(), { phase: 'Failed', reason, message }))
      },
    }
    // Listeners only keep the books and plan: whatever is written is written from the queue, so that an API which tells
    // its listeners in the middle of a write shows everybody the same order.
    this.#unsubscribe = [
      options.objects.subscribe('nodes', (event) => this.#onNode(event)),
      options.objects.subscribe('pods', (event) => this.#onPod(event)),
    ]
    for (const node of options.objects.list('nodes')) this.#onNode({ type: 'ADDED', object: node })
    for (const pod of options.objects.list('pods')) this.#onPod({ type: 'ADDED', object: pod })
    this.#nextTick()
  }

  addNodes(shapes: readonly NodeShape[]): void {
    const { objects, clock } = this.#options
    for (const shape of shapes) {
      const index = this.#takeIndex()
      this.#reserved.set(shape.name, index)
      try {
        this.#keep(objects.create('nodes', nodeObject(shape, index, clock.nowMs())))
      } finally {
        if (this.#reserved.delete(shape.name)) this.#freeIndexes.push(index)
      }
    }
  }

  counts(): VirtualNodesCounts {
    return {
      nodes: this.#nodes.size,
      running: this.#running,
      succeeded: this.#succeeded,
      failed: this.#failed,
      violations: Object.fromEntries(this.#violations),
    }
  }

  stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.#queue.stop()
    this.#nodes.clear()
    this.#byIndex.length = 0
    this.#pods.clear()
    this.#homeless.clear()
    return Promise.resolve()
  }

  // Nodes

  #onNode({ type, object }: WatchEvent<KubeObject>): void {
    const node = this.#nodes.get(object.metadata?.name ?? '')
    if (type === 'DELETED') {
      if (node !== undefined) this.#drop(node)
    } else if (node !== undefined) {
      const taints = JSON.stringify(noExecuteTaints(node.object.spec?.taints ?? []))
      node.object = object
      if (taints === JSON.stringify(noExecuteTaints(node.object.spec?.taints ?? []))) return
      for (const held of node.pods.values()) this.#planEviction(held)
    } else if ((type === 'ADDED' || type === 'MODIFIED') && isVirtual(object)) {
      this.#attempt(`node ${object.metadata?.name}`, () => this.#keep(object))
    }
  }

  #takeIndex(): number {
    const index = this.#freeIndexes.pop() ?? this.#byIndex.length + this.#reserved.size
    if (index < MAX_NODES) return index
    throw new StowageError('BAD_REQUEST', {
      found: `more than ${MAX_NODES} virtual nodes`,
      expected: `at most ${MAX_NODES}`,
    })
  }

  #keep(object: NodeObject): void {
    const name = object.metadata?.name ?? ''
    if (this.#nodes.has(name)) return
    const index = this.#reserved.get(name) ?? this.#takeIndex()
    this.#reserved.delete(name)
    const ready = object.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true
    const nowMs = this.#options.clock.monotonicMs()
    const node: VirtualNode = {
      name,
      index,
      object,
      reachable: true,
      // Spread, so that five thousand nodes that came together do not all report in the same tick for ever.
      nextStatusMs: ready ? nowMs + STATUS_EVERY_MS * (0.5 + 0.5 * this.#options.random.next()) : 0,
      pods: new Map(),
      addresses: new Set(),
      nextAddress: 1,
    }
    this.#nodes.set(name, node)
    this.#byIndex[index] = node
    this.#queue.after(0, () => {
      if (this.#nodes.get(name) !== node) return
      this.#beat(node)
      // At once, so that metrics are served from the start.
      this.#reportUsage(node)
    })
    const homeless = this.#homeless.get(name)
    this.#homeless.delete(name)
    for (const { namespace, name: podName } of homeless?.values() ?? []) {
      const pod = this.#options.objects.get('pods', namespace, podName)
      if (pod !== undefined) this.#onPod({ type: 'MODIFIED', object: pod })
    }
  }

  #drop(node: VirtualNode): void {
    this.#nodes.delete(node.name)
    this.#byIndex[node.index] = undefined
    this.#freeIndexes.push(node.index)
    for (const held of node.pods.values()) {
      held.timer?.cancel()
      held.eviction?.cancel()
    }
    // What the garbage collectors of a control plane do, without their delay.
    this.#queue.after(0, () => {
      const { objects } = this.#options
      if (this.#nodes.has(node.name)) return
      this.#attempt(`lease of ${node.name}`, () => {
        if (objects.get(LEASES, NODE_LEASE_NAMESPACE, node.name) !== undefined)
          objects.remove(LEASES, NODE_LEASE_NAMESPACE, node.name)
      })
    })
    for (const held of node.pods.values()) this.#queue.after(0, () => this.#remove(held.namespace, held.name, held.uid))
  }

  #nextTick(): void {
    this.#queue.after(TICK_MS, () => {
      const tick = this.#tick++
      for (let index = tick % LEASE_TICKS; index < this.#byIndex.length; index += LEASE_TICKS) {
        const node = this.#byIndex[index]
        if (node?.reachable === true) this.#beat(node)
      }
      for (let index = tick % USAGE_TICKS; index < this.#byIndex.length; index += USAGE_TICKS) {
        const node = this.#byIndex[index]
        if (node?.reachable === true) this.#reportUsage(node)
      }
      this.#nextTick()
    })
  }

  /** Renews the lease, and posts the status when its time has come. */
  #beat(node: VirtualNode): void {
    const { objects, clock } = this.#options
    this.#attempt(`lease of ${node.name}`, () => {
      const old = objects.get(LEASES, NODE_LEASE_NAMESPACE, node.name)
      const lease = nodeLease(node.object, clock.nowMs())
      if (old === undefined) objects.create(LEASES, lease)
      else objects.update(LEASES, { ...lease, ...(old.metadata === undefined ? {} : { metadata: old.metadata }) })
    })
    if (clock.monotonicMs() >= node.nextStatusMs) this.#postStatus(node)
  }

  #postStatus(node: VirtualNode): void {
    const { clock } = this.#options
    node.nextStatusMs = clock.monotonicMs() + STATUS_EVERY_MS
    this.#writeNodeStatus(node, (status) => ({
      ...status,
      conditions: healthyConditions(status.conditions ?? [], clock.nowMs()),
    }))
  }

  #writeNodeStatus(node: VirtualNode, change: (status: NodeStatus) => NodeStatus): void {
    const { objects } = this.#options
    this.#attempt(`status of node ${node.name}`, () => {
      const current: NodeObject | undefined = objects.get('nodes', '', node.name)
      if (current !== undefined)
        objects.update('nodes', { ...current, status: change(current.status ?? {}) } as NodeObject, 'status')
    })
  }

  #reportUsage(node: VirtualNode): void {
    const { reportUsage } = this.#options
    if (reportUsage === undefined) return
    let cpuMilli = 0
    let memoryBytes = 0
    for (const held of node.pods.values()) {
      if (held.phase !== 'Running') continue
      cpuMilli += held.cpuShare * (held.claim?.request.get('cpu') ?? USAGE_WITHOUT_REQUEST.cpuMilli)
      memoryBytes += held.memoryShare * (held.claim?.request.get('memory') ?? USAGE_WITHOUT_REQUEST.memoryBytes)
    }
    reportUsage(node.name, Math.round(cpuMilli), Math.round(memoryBytes))
  }

  // Failures

  #known(name: string): VirtualNode {
    const node = this.#nodes.get(name)
    if (node === undefined) throw new StowageError('NOT_FOUND', { found: `no virtual node ${JSON.stringify(name)}` })
    return node
  }

  #lose(node: VirtualNode): void {
    const { clock } = this.#options
    node.reachable = false
    this.#writeNodeStatus(node, (status) => ({
      ...status,
      conditions: unknownConditions(status.conditions ?? [], clock.nowMs()),
    }))
    this.#writeTaints(node, withUnreachableTaints)
    this.#writeReady(node, false)
  }

  #restore(node: VirtualNode): void {
    if (node.reachable) return
    node.reachable = true
    node.nextStatusMs = 0
    this.#beat(node)
    this.#writeTaints(node, withoutUnreachableTaints)
    this.#writeReady(node, true)
    for (const held of node.pods.values()) {
      if (!held.missed) continue
      held.missed = false
      this.#act(held)
    }
  }

  #writeTaints(node: VirtualNode, change: typeof withUnreachableTaints): void {
    const { objects, clock } = this.#options
    this.#attempt(`taints of node ${node.name}`, () => {
      const current: NodeObject | undefined = objects.get('nodes', '', node.name)
      if (current === undefined) return
      const taints = change(current.spec?.taints ?? [], clock.nowMs())
      objects.update('nodes', { ...current, spec: { ...current.spec, taints } } as NodeObject)
    })
  }

  #writeReady(node: VirtualNode, ready: boolean): void {
    for (const held of node.pods.values()) {
      const pod = this.#current(held)
      if (pod === undefined || phaseOf(pod) !== 'Running') continue
      this.#attempt(`status of pod ${held.namespace}/${held.name}`, () =>
        this.#writePod(pod, readyStatus(pod, this.#options.clock.nowMs(), ready)),
      )
    }
  }

  // Pods

  #onPod({ type, object }: WatchEvent<KubeObject>): void {
    if (type === 'BOOKMARK' || type === 'ERROR') return
    const pod = object as PodObject
    const uid = pod.metadata?.uid ?? ''
    const nodeName = pod.spec?.nodeName ?? ''
    const held = this.#pods.get(uid)
    if (type === 'DELETED') {
      if (held !== undefined) this.#forget(held)
      this.#noLongerWaits(nodeName, uid)
    } else if (held !== undefined) {
      this.#seePhase(held, phaseOf(pod))
      this.#plan(held, pod)
    } else if (nodeName !== '') this.#receive(pod, uid, nodeName)
  }

  /** A pod that is bound and not known yet: admission, as kubelet's HandlePodAdditions. */
  #receive(pod: PodObject, uid: string, nodeName: string): void {
    const node = this.#nodes.get(nodeName)
    const phase = phaseOf(pod)
    if (node === undefined) {
      if (!isFinished(phase)) this.#awaitNode(pod, uid, nodeName)
      return
    }
    if (isFinished(phase) && pod.metadata?.deletionTimestamp === undefined) return
    const { random } = this.#options
    let claim: Claim | undefined
    let refusal: Refusal | undefined
    if (!isFinished(phase)) {
      try {
        claim = claimOf(pod)
        // What ran before this process did is on the node already; it is not asked again.
        if (phase === 'Pending') refusal = admit(pod, claim, asKubeletSeesIt(node.object), this.#claimsOn(node))
      } catch (thrown) {
        refusal = { reason: 'UnexpectedAdmissionError', message: messageOf(thrown) }
      }
    }
    const held: Held = {
      uid,
      namespace: pod.metadata?.namespace ?? '',
      name: pod.metadata?.name ?? '',
      node,
      claim: refusal === undefined ? claim : undefined,
      refusal,
      address: this.#takeAddress(node),
      cpuShare: 0.2 + 0.6 * random.next(),
      memoryShare: 0.5 + 0.45 * random.next(),
      phase: '',
      stage: undefined,
      timer: undefined,
      eviction: undefined,
      missed: false,
      attempts: 0,
    }
    if (refusal !== undefined) {
      this.#violations.set(refusal.reason, (this.#violations.get(refusal.reason) ?? 0) + 1)
      this.#options.log?.(
        `node ${nodeName} refused pod ${held.namespace}/${held.name}: ${refusal.reason}: ${refusal.message}`,
      )
    }
    this.#pods.set(uid, held)
    node.pods.set(uid, held)
    this.#seePhase(held, phase)
    this.#plan(held, pod)
    if (refusal === undefined && noExecuteTaints(node.object.spec?.taints ?? []).length > 0) this.#planEviction(held)
  }

  *#claimsOn(node: VirtualNode): Generator<Claim> {
    for (const { claim, phase } of node.pods.values()) if (claim !== undefined && !isFinished(phase)) yield claim
  }

  #takeAddress(node: VirtualNode): number {
    for (let tries = 0; tries < POD_ADDRESSES_PER_NODE; tries++) {
      node.nextAddress = (node.nextAddress % (POD_ADDRESSES_PER_NODE - 2)) + 1
      if (!node.addresses.has(node.nextAddress)) break
    }
    node.addresses.add(node.nextAddress)
    return node.nextAddress
  }

  #awaitNode(pod: PodObject, uid: string, nodeName: string): void {
    const waiting = this.#homeless.get(nodeName) ?? new Map<string, { namespace: string; name: string }>()
    if (waiting.has(uid)) return
    const namespace = pod.metadata?.namespace ?? ''
    const name = pod.metadata?.name ?? ''
    waiting.set(uid, { namespace, name })
    this.#homeless.set(nodeName, waiting)
    this.#queue.after(HOMELESS_MS, () => {
      if (this.#homeless.get(nodeName)?.has(uid) !== true) return
      if (this.#options.objects.get('nodes', '', nodeName) !== undefined) return
      this.#noLongerWaits(nodeName, uid)
      this.#remove(namespace, name, uid)
    })
  }

  #noLongerWaits(nodeName: string, uid: string): void {
    const waiting = this.#homeless.get(nodeName)
    if (waiting?.delete(uid) === true && waiting.size === 0) this.#homeless.delete(nodeName)
  }

  #seePhase(held: Held, phase: string): void {
    if (held.phase === phase) return
    if (held.phase === 'Running') this.#running--
    if (phase === 'Running') this.#running++
    // A pod that had finished when it was first seen is nobody's news.
    if (held.phase !== '' && phase === 'Succeeded') this.#succeeded++
    if (held.phase !== '' && phase === 'Failed') this.#failed++
    held.phase = phase
  }

  #forget(held: Held): void {
    held.timer?.cancel()
    held.eviction?.cancel()
    if (held.phase === 'Running') this.#running--
    this.#pods.delete(held.uid)
    held.node.pods.delete(held.uid)
    held.node.addresses.delete(held.address)
  }

  #plan(held: Held, pod: PodObject): void {
    const stage = podStages.find((candidate) => candidate.applies(pod, held.refusal))
    if (stage === held.stage) return
    held.timer?.cancel()
    held.timer = undefined
    held.stage = stage
    held.missed = false
    held.attempts = 0
    if (stage === undefined) return
    try {
      const delayMs = stage.delayMs(pod, this.#options.random.next()) / this.#options.speed
      held.timer = this.#queue.after(delayMs, () => this.#act(held))
    } catch (thrown) {
      this.#options.log?.(`pod ${held.namespace}/${held.name} stays as it is: ${messageOf(thrown)}`)
    }
  }

  /** Deletes the pod, as a client would, when it may not stay under the node's taints any longer. */
  #planEviction(held: Held): void {
    held.eviction?.cancel()
    held.eviction = undefined
    const tolerations = this.#current(held)?.spec?.tolerations ?? []
    const delayMs = evictionDelayMs(noExecuteTaints(held.node.object.spec?.taints ?? []), tolerations)
    if (delayMs === undefined) return
    held.eviction = this.#queue.after(delayMs, () => {
      const pod = this.#current(held)
      if (pod === undefined || pod.metadata?.deletionTimestamp !== undefined || isFinished(held.phase)) return
      this.#attempt(`eviction of pod ${held.namespace}/${held.name}`, () =>
        this.#options.objects.remove('pods', held.namespace, held.name),
      )
    })
  }

  #act(held: Held): void {
    if (!held.node.reachable) {
      held.missed = true
      return
    }
    const pod = this.#current(held)
    if (pod === undefined || held.stage?.applies(pod, held.refusal) !== true) return
    const node = held.node
    const hostIP =
      node.object.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? nodeAddress(node.index)
    const podIP = pod.spec?.hostNetwork === true ? hostIP : podAddress(node.index, held.address)
    try {
      const next = held.stage.next(pod, { nowMs: this.#options.clock.nowMs(), hostIP, podIP, refusal: held.refusal })
      if (next === 'gone') this.#options.objects.remove('pods', held.namespace, held.name, 0)
      else this.#writePod(pod, next)
    } catch (thrown) {
      held.attempts++
      this.#options.log?.(`pod ${held.namespace}/${held.name} could not ${held.stage.name}: ${messageOf(thrown)}`)
      if (held.attempts < ATTEMPTS) held.timer = this.#queue.after(RETRY_MS, () => this.#act(held))
    }
  }

  #current(held: Held): PodObject | undefined {
    const pod = this.#options.objects.get('pods', held.namespace, held.name)
    return pod?.metadata?.uid === held.uid ? pod : undefined
  }

  #writePod(pod: PodObject, status: KubeletPodStatus): void {
    this.#options.objects.update('pods', { ...pod, status } as PodObject, 'status')
  }

  #remove(namespace: string, name: string, uid: string): void {
    const { objects } = this.#options
    this.#attempt(`pod ${namespace}/${name}`, () => {
      if (objects.get('pods', namespace, name)?.metadata?.uid === uid) objects.remove('pods', namespace, name, 0)
    })
  }

  /** Upkeep must not end because one write was refused. */
  #attempt(what: string, run: () => void): void {
    try {
      run()
    } catch (thrown) {
      this.#options.log?.(`${what} could not be kept: ${messageOf(thrown)}`)
    }
  }
}

/** Takes up the virtual nodes and pods that are there, and keeps them and those to come until `stop`. */
export const startVirtualNodes = (options: VirtualNodesOptions): VirtualNodes => new KeptNodes(options)
