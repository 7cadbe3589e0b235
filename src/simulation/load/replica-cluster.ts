import type { Policy } from '../../policies/policy.ts'
import type { NodeShape } from '../workload/node-shapes.ts'
import { quantityMilli, quantityUnits } from '../../cluster/quantity.ts'
import { ReplicaPlacement } from './replica-placement.ts'
import {
  type LoadWindow,
  type Preference,
  type ReplicaKind,
  RequestSimulation,
  type RequestSimulationOptions,
} from './request-simulation.ts'

export const REPLICA_KINDS: readonly ReplicaKind[] = ['gpu', 'cpu']

export interface LoadNode {
  readonly shape: NodeShape
  /** one way between the users and the node */
  readonly networkMs: number
  /** kept busy by what is not simulated */
  readonly backgroundCores: number
}

/** The pods of one Deployment. */
export interface ReplicaTemplate {
  /** resource -> quantity, as Kubernetes writes it; `cpu` and `memory` among them */
  readonly requests: Readonly<Record<string, string>>
  /** more is throttled */
  readonly coreLimit: number
  /** requests that a replica works on at one time */
  readonly concurrency: number
  /** from its placement to its first request */
  readonly startMs: number
  /** resident once it runs */
  readonly memoryBytes: number
  readonly nodeSelector: Readonly<Record<string, string>>
}

/** A replica's life. Times are `undefined` where that has not happened. */
export interface ReplicaRecord {
  readonly name: string
  readonly kind: ReplicaKind
  readonly createdMs: number
  readonly placedMs: number | undefined
  readonly node: string
  /** its GPUs' numbers on the node */
  readonly devices: readonly number[]
  readonly readyMs: number | undefined
  readonly removedMs: number | undefined
  /** why it has no node, in the scheduler's words */
  readonly pendingBecause: string
}

type Replica = { -readonly [Key in keyof ReplicaRecord]: ReplicaRecord[Key] }

interface Live {
  readonly record: Replica
  /** its number in the simulation of requests, -1 while it has no node */
  id: number
  coreMs: number
  slotMs: number
}

/** How much replicas of a kind did, of what they asked for. */
export interface ReplicaUse {
  /** of each ready replica, as a share of its CPU request */
  readonly cpu: readonly number[]
  /** of each ready replica, as a share of the requests that it can work on at one time */
  readonly concurrency: readonly number[]
  readonly unready: number
}

export interface ReplicaCounts {
  readonly wanted: number
  readonly ready: number
  readonly starting: number
  readonly pending: number
}

export interface ReplicaWindow extends LoadWindow {
  /** resident memory of replicas and of requests at them, of what all nodes have, at the end */
  readonly memoryShare: number
  readonly replicas: Readonly<Record<ReplicaKind, ReplicaCounts>>
}

export interface ReplicaClusterOptions extends RequestSimulationOptions {
  readonly nodes: readonly LoadNode[]
  readonly templates: Readonly<Partial<Record<ReplicaKind, ReplicaTemplate>>>
  readonly policy: Policy
  /** memory of one request while a replica has it */
  readonly requestBytes: number
}

/** Pods are looked at so often: whether one that drains is gone, and whether one that waits has room now. */
const STEP_MS = 1000

/** Nodes, the replicas that the scheduler has placed there, and the users that ask them. */
export class ReplicaCluster {
  readonly #options: ReplicaClusterOptions
  readonly #placement: ReplicaPlacement
  readonly #requests: RequestSimulation
  readonly #nodeNumbers = new Map<string, number>()
  readonly #live: Record<ReplicaKind, Live[]> = { gpu: [], cpu: [] }
  #draining: Live[] = []
  readonly #records: Replica[] = []
  readonly #usedAtMs: Record<ReplicaKind, number> = { gpu: 0, cpu: 0 }
  #roomChanged = false

  constructor(options: ReplicaClusterOptions) {
    this.#options = options
    this.#placement = new ReplicaPlacement(
      options.nodes.map(({ shape }) => shape),
      options.policy,
      options.seed,
    )
    this.#requests = new RequestSimulation(options)
    for (const { backgroundCores, networkMs, shape } of options.nodes) {
      const units = (resource: string, perGpu: number): number =>
        Math.floor(quantityUnits(shape.allocatable[resource] ?? '0') / perGpu)
      const number = this.#requests.addNode({
        cores: quantityMilli(shape.allocatable['cpu'] ?? '0') / 1000,
        backgroundCores,
        gpus: units('stowage.dev/gpu-milli', 1000) || units('nvidia.com/gpu', 1),
        networkMs,
      })
      this.#nodeNumbers.set(shape.name, number)
    }
  }

  get nowMs(): number {
    return this.#requests.nowMs
  }

  /** Every replica that there ever was, in the order in which they came. */
  get records(): readonly ReplicaRecord[] {
    return this.#records
  }

  prefer(preference: Preference): void {
    this.#requests.prefer(preference)
  }

  /** How many replicas are wanted. */
  wanted(kind: ReplicaKind): number {
    return this.#live[kind].length
  }

  counts(kind: ReplicaKind): ReplicaCounts {
    const live = this.#live[kind]
    const ready = live.filter(({ id }) => id >= 0 && this.#requests.isReady(id)).length
    const pending = live.filter(({ id }) => id < 0).length
    return { wanted: live.length, ready, starting: live.length - ready - pending, pending }
  }

  /**
   * Has so many replicas from now on. New ones go to the scheduler; as a ReplicaSet does, those go first that have no
   * node, then those that are not ready, then the youngest.
   */
  scale(kind: ReplicaKind, count: number): void {
    const live = this.#live[kind]
    while (live.length < count) this.#create(kind)
    if (live.length <= count) return
    const worth = ({ id }: Live): number => (id < 0 ? 0 : this.#requests.isReady(id) ? 2 : 1)
    const leaving = live
      .map((one, at) => ({ one, at }))
      .sort((a, b) => worth(a.one) - worth(b.one) || b.at - a.at)
      .slice(0, live.length - count)
    for (const { one } of leaving) this.#remove(kind, one)
    this.#settle()
  }

  /** Runs to that moment. */
  runUntil(untilMs: number): void {
    while (this.nowMs < untilMs) {
      this.#requests.runUntil(Math.min(untilMs, this.nowMs + STEP_MS))
      this.#settle()
    }
  }

  /** Counts from now on: what was before belongs to no window, no summary and no measurement. */
  begin(): void {
    this.#requests.begin()
    for (const kind of REPLICA_KINDS) this.takeUse(kind)
  }

  /** What happened since the last call, or the beginning. */
  takeWindow(): ReplicaWindow {
    return this.#window(this.#requests.takeWindow())
  }

  /** Requests that users have begun since the last call. */
  takeOffered(): number {
    return this.#requests.takeOffered()
  }

  /** What happened since the beginning. */
  summary(): ReplicaWindow {
    return this.#window(this.#requests.summary())
  }

  byKind(): ReturnType<RequestSimulation['byKind']> {
    return this.#requests.byKind()
  }

  /** Busy cores and GPUs of each node, averaged since the beginning. */
  nodeUse(): { readonly node: string; readonly cores: number; readonly gpus: number }[] {
    return Array.from(this.#nodeNumbers, ([node, number]) => ({ node, ...this.#requests.nodeUse(number) }))
  }

  /** What replicas of a kind did since the last call about them, or since the beginning: what an autoscaler measures. */
  takeUse(kind: ReplicaKind): ReplicaUse {
    const lengthMs = Math.max(1, this.nowMs - this.#usedAtMs[kind])
    this.#usedAtMs[kind] = this.nowMs
    const cpu: number[] = []
    const concurrency: number[] = []
    const template = this.#options.templates[kind]
    const requested = quantityMilli(template?.requests['cpu'] ?? '0') / 1000
    for (const one of this.#live[kind]) {
      const { coreMs, slotMs } = this.#requests.workOf(one.id)
      if (one.id >= 0 && this.#requests.isReady(one.id)) {
        cpu.push(requested > 0 ? (coreMs - one.coreMs) / lengthMs / requested : 0)
        concurrency.push((slotMs - one.slotMs) / lengthMs / (template?.concurrency ?? 1))
      }
      one.coreMs = coreMs
      one.slotMs = slotMs
    }
    return { cpu, concurrency, unready: this.#live[kind].length - cpu.length }
  }

  #window(window: LoadWindow): ReplicaWindow {
    const { nodes, requestBytes, templates } = this.#options
    const total = nodes.reduce((sum, { shape }) => sum + quantityUnits(shape.allocatable['memory'] ?? '0'), 0)
    let used = window.outstanding * requestBytes
    for (const kind of REPLICA_KINDS)
      used += (templates[kind]?.memoryBytes ?? 0) * this.#live[kind].filter(({ id }) => id >= 0).length
    return {
      ...window,
      memoryShare: total > 0 ? used / total : 0,
      replicas: { gpu: this.counts('gpu'), cpu: this.counts('cpu') },
    }
  }

  #create(kind: ReplicaKind): void {
    const record: Replica = {
      name: `${kind}-${this.#records.length}`,
      kind,
      createdMs: this.nowMs,
      placedMs: undefined,
      node: '',
      devices: [],
      readyMs: undefined,
      removedMs: undefined,
      pendingBecause: '',
    }
    const one: Live = { record, id: -1, coreMs: 0, slotMs: 0 }
    this.#records.push(record)
    this.#live[kind].push(one)
    this.#place(one)
  }

  #place(one: Live): void {
    const { record } = one
    const template = this.#options.templates[record.kind]
    // who scales a kind has a template for it
    if (template === undefined) throw new RangeError(`there is no template for ${record.kind} replicas`)
    const place = this.#placement.place({
      metadata: { name: record.name, namespace: 'default', labels: { app: `inference-${record.kind}` } },
      spec: {
        schedulerName: 'stowage',
        nodeSelector: { ...template.nodeSelector },
        containers: [{ name: 'server', resources: { requests: { ...template.requests } } }],
      },
    })
    if ('reason' in place) {
      record.pendingBecause = place.reason
      return
    }
    record.pendingBecause = ''
    record.node = place.node
    record.devices = place.devices
    record.placedMs = this.nowMs
    record.readyMs = this.nowMs + template.startMs
    one.id = this.#requests.addReplica({
      kind: record.kind,
      // the scheduler knows no other nodes
      node: this.#nodeNumbers.get(place.node)!,
      devices: place.devices,
      concurrency: template.concurrency,
      coreLimit: template.coreLimit,
      readyAtMs: record.readyMs,
    })
  }

  #remove(kind: ReplicaKind, one: Live): void {
    this.#live[kind].splice(this.#live[kind].indexOf(one), 1)
    one.record.removedMs = this.nowMs
    if (one.record.readyMs !== undefined && one.record.readyMs > this.nowMs) one.record.readyMs = undefined
    if (one.id < 0) return
    this.#requests.removeReplica(one.id)
    this.#draining.push(one)
  }

  /** Gives back the room of those that are gone, and lets those have it that wait. */
  #settle(): void {
    if (this.#draining.length > 0)
      this.#draining = this.#draining.filter(({ id, record }) => {
        if (!this.#requests.isGone(id)) return true
        this.#placement.remove(record.name)
        this.#roomChanged = true
        return false
      })
    if (!this.#roomChanged) return
    this.#roomChanged = false
    for (const kind of REPLICA_KINDS) for (const one of this.#live[kind]) if (one.id < 0) this.#place(one)
  }
}
