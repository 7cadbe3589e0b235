import { type Random, seededRandom } from '../../clock/random.ts'
import type { LlmArrivals } from '../traces/llm-requests.ts'
import { type DurationDistribution, samplerOf, type TokenService } from './distribution.ts'
import { EventHeap } from './event-heap.ts'
import { Histogram, type Percentiles } from './histogram.ts'
import type { LoadPattern } from './pattern.ts'
import { SCHEDULE_TICK_MS, type ThinkTime, UserScript } from './users.ts'

export type ReplicaKind = 'gpu' | 'cpu'

/** What a request needs of a replica of one kind. */
export interface ServiceDemand {
  /** from its turn to its answer, on a node where nothing else runs; by tokens only where requests come from a trace */
  readonly service: DurationDistribution | TokenService
  /** cores that it keeps busy meanwhile */
  readonly cores: number
  /** share of the service during which the GPU is busy, 0 to 1; the rest is work of the CPU */
  readonly deviceShare: number
}

/** Time that a request takes of the one process that makes the load, as Locust's do: milliseconds of its CPU. */
export interface GeneratorWork {
  /** before the clock of the request starts */
  readonly prepareMs: number
  /** after it has started, before anything is sent */
  readonly sendMs: number
  /** after the answer has come, before the clock stops */
  readonly receiveMs: number
}

export interface SimulatedRequest {
  readonly name: string
  readonly weight: number
  readonly demand: Readonly<Record<ReplicaKind, ServiceDemand>>
  readonly generator?: GeneratorWork | undefined
}

/** How a replica is chosen: `random` as kube-proxy does, or by whoever has least to do. */
export type Balancer = 'random' | 'round_robin' | 'least_outstanding'
/** Which replicas are asked first. The others are asked where those have a queue as long as what they work on. */
export type Preference = 'gpu' | 'balanced' | 'cpu'

export interface RequestSimulationOptions {
  readonly pattern: LoadPattern
  /** An open loop beside the pattern's users: from `begin` on these come at their times, whatever becomes of those before. */
  readonly arrivals?: LlmArrivals | undefined
  readonly mix: readonly SimulatedRequest[]
  readonly think: ThinkTime
  /** users, service times and the balancer's draws come from it */
  readonly seed: number
  readonly balancer: Balancer
  /** requests that may wait at one replica; one more is answered 503 at once */
  readonly queueLimit: number
  /** users give up after so long */
  readonly timeoutMs: number
  /**
   * By how much work next to busy cores is slowed down even where cores are left (caches, memory bandwidth): a node whose
   * other cores are all busy makes it 1 + this times as long.
   */
  readonly interference: number
  /** Processes that make the load, where their own time matters. @default none: a generator that costs nothing */
  readonly generators?: number | undefined
}

export interface SimulatedNode {
  readonly cores: number
  /** kept busy by what is not simulated */
  readonly backgroundCores: number
  readonly gpus: number
  /** one way between the users and the node */
  readonly networkMs: number
}

export interface SimulatedReplica {
  readonly kind: ReplicaKind
  readonly node: number
  /** its GPUs' numbers on the node; all are busy together */
  readonly devices: readonly number[]
  /** requests that it works on at one time */
  readonly concurrency: number
  /** more is throttled */
  readonly coreLimit: number
  /** when it begins to take requests */
  readonly readyAtMs: number
}

/** What happened between two moments. */
export interface LoadWindow {
  readonly fromMs: number
  readonly toMs: number
  /** that the pattern asks for at the beginning */
  readonly users: number
  /** answered, refused and given up in this time */
  readonly requests: number
  readonly succeeded: number
  /** refused: no replica was ready, or its queue was full */
  readonly failed: number
  readonly timedOut: number
  /** milliseconds, of requests that were answered and, at the time-out, of those that were given up */
  readonly latencyMs: Percentiles
  /** answers a second */
  readonly throughput: number
  /** mean share of all cores that was busy, the background's with them */
  readonly cpuShare: number
  /** mean share of all GPUs that was busy; 0 without any */
  readonly gpuShare: number
  /** that wait or are worked on at the end */
  readonly outstanding: number
}

/** Of one kind of request over the whole run. */
export interface RequestKindSummary {
  readonly name: string
  readonly requests: number
  readonly succeeded: number
  readonly failed: number
  readonly timedOut: number
  readonly latencyMs: Percentiles
}

interface Machine extends SimulatedNode {
  busyCores: number
  busyCoreMs: number
  sinceMs: number
  readonly deviceDemand: Float64Array
  readonly deviceBusyMs: Float64Array
  readonly deviceSinceMs: Float64Array
}

interface Replica extends SimulatedReplica {
  readonly id: number
  readonly machine: Machine
  ready: boolean
  draining: boolean
  busy: number
  busyCores: number
  queued: number
  /** first and last of the requests that wait, -1: none */
  head: number
  tail: number
  /** chosen and not answered yet: on their way, waiting or in service */
  outstanding: number
  busyCoreMs: number
  busySlotMs: number
  sinceMs: number
}

const WAKE = 0
const TICK = 1
const ARRIVE = 2
const DONE = 3
const READY = 4
const RESPOND = 5
const GENERATED = 6
const COME = 7

// where a request is
const FREE = 0
/** at the load generator, or on its way */
const AWAY = 1
const WAITING = 2
const SERVED = 3
/** answered, and at the load generator */
const ANSWERED = 4
/** its answer comes too late */
const LATE = 5
/** its user has given up, and the server does not know */
const ABANDONED = 6

interface Work {
  readonly coreMs: number
  readonly deviceMs: number
}
/** How long the service of a request takes. `arrival`: its number in the list, -1 for a user's. */
type ServiceTime = (arrival: number) => number
/** How much was done until then. */
interface Moment extends Work {
  readonly atMs: number
}
const NO_WORK: Work = { coreMs: 0, deviceMs: 0 }
const THE_START: Moment = { atMs: 0, ...NO_WORK }

class Counters {
  readonly latency = new Histogram()
  succeeded = 0
  failed = 0
  timedOut = 0

  get requests(): number {
    return this.succeeded + this.failed + this.timedOut
  }

  clear(): void {
    this.latency.clear()
    this.succeeded = this.failed = this.timedOut = 0
  }
}

/** Requests that may time out, in the order in which they were sent, which is that of their deadlines. */
class Deadlines {
  #atMs = new Float64Array(1024)
  #requests = new Int32Array(1024)
  #serials = new Int32Array(1024)
  #first = 0
  #size = 0

  get nextMs(): number {
    // first < length
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#atMs[this.#first]!
  }

  get request(): number {
    return this.#requests[this.#first]!
  }

  get serial(): number {
    return this.#serials[this.#first]!
  }

  push(atMs: number, request: number, serial: number): void {
    const length = this.#atMs.length
    if (this.#size === length) {
      const unrolled = <T extends Float64Array | Int32Array>(from: T, to: T): T => {
        to.set(from.subarray(this.#first))
        to.set(from.subarray(0, this.#first), length - this.#first)
        return to
      }
      this.#atMs = unrolled(this.#atMs, new Float64Array(2 * length))
      this.#requests = unrolled(this.#requests, new Int32Array(2 * length))
      this.#serials = unrolled(this.#serials, new Int32Array(2 * length))
      this.#first = 0
    }
    const at = (this.#first + this.#size++) & (this.#atMs.length - 1)
    this.#atMs[at] = atMs
    this.#requests[at] = request
    this.#serials[at] = serial
  }

  drop(): void {
    this.#first = (this.#first + 1) & (this.#atMs.length - 1)
    this.#size--
  }
}

/**
 * Closed-loop users or an open loop of arrivals, a load balancer and replicas on nodes, request by request on a clock of its own. Whoever drives it says
 * where replicas are and how far the clock goes. What it takes for granted is in docs/simulator/load.md.
 */
export class RequestSimulation {
  readonly #options: RequestSimulationOptions
  readonly #events = new EventHeap()
  readonly #deadlines = new Deadlines()
  readonly #random: Random
  readonly #serviceTimes: Readonly<Record<ReplicaKind, readonly ServiceTime[]>>
  /** which requests of the mix an open loop's are */
  readonly #chooser: UserScript
  readonly #machines: Machine[] = []
  readonly #replicas: (Replica | undefined)[] = []
  #ready: Replica[] = []
  readonly #turns: Record<ReplicaKind | 'all', number> = { gpu: 0, cpu: 0, all: 0 }
  #readyOf: Readonly<Record<ReplicaKind, Replica[]>> = { gpu: [], cpu: [] }
  readonly #users: UserScript[] = []
  readonly #present: boolean[] = []
  #wanted = 0
  #nowMs = 0
  #preference: Preference = 'balanced'

  // requests by number
  #state = new Uint8Array(256)
  #serial = new Int32Array(256)
  #user = new Int32Array(256)
  /** number in the list of arrivals, -1: a user's */
  #arrival = new Int32Array(256)
  #kind = new Int32Array(256)
  #replica = new Int32Array(256)
  #startMs = new Float64Array(256)
  #next = new Int32Array(256)
  /** shares of the node's and the device's work that end with the request */
  #cores = new Float64Array(256)
  #device = new Float64Array(256)
  readonly #free: number[] = []
  #made = 0
  #outstanding = 0
  #offered = 0

  // the processes that make the load
  readonly #generatorQueue: number[] = []
  #generatorAt = 0
  #generatorsIdle: number

  readonly #window = new Counters()
  readonly #run = new Counters()
  readonly #byKind: readonly Counters[]
  #windowFrom: Moment = THE_START
  #runFrom: Moment = THE_START
  readonly #runFromOf: Work[] = []

  constructor(options: RequestSimulationOptions) {
    this.#options = options
    this.#random = seededRandom(options.seed)
    const services = this.#random.fork()
    const { arrivals } = options
    const serviceTimesOf = (kind: ReplicaKind): readonly ServiceTime[] =>
      options.mix.map(({ demand }) => {
        const { service } = demand[kind]
        if (service.kind !== 'tokens') return samplerOf(service, services)
        const { perGeneratedTokenMs, perPromptTokenMs } = service
        return (arrival) =>
          (arrivals?.contextTokens[arrival] ?? 0) * perPromptTokenMs +
          (arrivals?.generatedTokens[arrival] ?? 0) * perGeneratedTokenMs
      })
    this.#serviceTimes = { gpu: serviceTimesOf('gpu'), cpu: serviceTimesOf('cpu') }
    this.#chooser = new UserScript(options.seed, 0, options.mix, options.think)
    this.#byKind = options.mix.map(() => new Counters())
    this.#generatorsIdle = options.generators ?? 0
    this.#events.push(0, TICK, 0)
  }

  get nowMs(): number {
    return this.#nowMs
  }

  prefer(preference: Preference): void {
    this.#preference = preference
  }

  /** @returns its number */
  addNode(node: SimulatedNode): number {
    this.#machines.push({
      ...node,
      busyCores: node.backgroundCores,
      busyCoreMs: 0,
      sinceMs: this.#nowMs,
      deviceDemand: new Float64Array(node.gpus),
      deviceBusyMs: new Float64Array(node.gpus),
      deviceSinceMs: new Float64Array(node.gpus).fill(this.#nowMs),
    })
    return this.#machines.length - 1
  }

  /** @returns its number */
  addReplica(replica: SimulatedReplica): number {
    const id = this.#replicas.length
    const machine = this.#machines[replica.node]
    if (machine === undefined) throw new RangeError(`there is no node number ${replica.node}`)
    this.#replicas.push({
      ...replica,
      id,
      machine,
      ready: false,
      draining: false,
      busy: 0,
      busyCores: 0,
      queued: 0,
      head: -1,
      tail: -1,
      outstanding: 0,
      busyCoreMs: 0,
      busySlotMs: 0,
      sinceMs: this.#nowMs,
    })
    this.#events.push(Math.max(this.#nowMs, replica.readyAtMs), READY, id)
    return id
  }

  /** Takes no more requests from now on; what it has, it answers. */
  removeReplica(id: number): void {
    const replica = this.#replicas[id]
    if (replica === undefined || replica.draining) return
    replica.draining = true
    replica.ready = false
    this.#listReady()
    this.#forgetIfDone(replica)
  }

  isReady(id: number): boolean {
    return this.#replicas[id]?.ready ?? false
  }

  /** Requests that users have begun since the last call. */
  takeOffered(): number {
    const offered = this.#offered
    this.#offered = 0
    return offered
  }

  /** It was removed and has answered everything. */
  isGone(id: number): boolean {
    return this.#replicas[id] === undefined
  }

  /** What a replica has done since the start: milliseconds of cores, and of requests worked on. */
  workOf(id: number): { readonly coreMs: number; readonly slotMs: number } {
    const replica = this.#replicas[id]
    if (replica === undefined) return { coreMs: 0, slotMs: 0 }
    const sinceMs = this.#nowMs - replica.sinceMs
    return {
      coreMs: replica.busyCoreMs + sinceMs * Math.min(replica.busyCores, replica.coreLimit),
      slotMs: replica.busySlotMs + sinceMs * replica.busy,
    }
  }

  /** Runs everything that happens before or at `untilMs`. */
  runUntil(untilMs: number): void {
    const events = this.#events
    const deadlines = this.#deadlines
    for (;;) {
      const eventMs = events.nextMs
      const deadlineMs = deadlines.nextMs
      if (deadlineMs <= eventMs) {
        if (deadlineMs > untilMs) break
        this.#nowMs = deadlineMs
        this.#giveUp()
        continue
      }
      if (eventMs > untilMs) break
      this.#nowMs = eventMs
      events.pop()
      switch (events.kind) {
        case WAKE:
          this.#wake(events.subject)
          break
        case DONE:
          this.#done(events.subject)
          break
        case ARRIVE:
          this.#arrive(events.subject)
          break
        case COME:
          this.#ask(-1, events.subject)
          this.#expect(events.subject + 1)
          break
        case TICK:
          this.#tick()
          break
        case READY:
          this.#becomeReady(events.subject)
          break
        case RESPOND:
          this.#generate(events.subject)
          break
        case GENERATED:
          this.#generated(events.subject)
          break
      }
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs)
  }

  /** The run begins now: what was before is left out of everything. */
  begin(): void {
    // Who is ready at this moment takes requests that come at it.
    this.runUntil(this.#nowMs)
    for (const counters of [this.#window, this.#run, ...this.#byKind]) counters.clear()
    this.#windowFrom = this.#runFrom = this.#moment()
    for (const machine of this.#machines.keys()) this.#runFromOf[machine] = this.#workOn(machine)
    this.#expect(0)
  }

  /** What happened since the last call, or the beginning. */
  takeWindow(): LoadWindow {
    const window = this.#windowOf(this.#window, this.#windowFrom)
    this.#window.clear()
    this.#windowFrom = this.#moment()
    return window
  }

  /** What happened since the beginning: percentiles are those of all requests of the run. */
  summary(): LoadWindow {
    return this.#windowOf(this.#run, this.#runFrom)
  }

  byKind(): RequestKindSummary[] {
    return this.#byKind.map(({ failed, latency, requests, succeeded, timedOut }, at) => ({
      // as many as kinds
      name: this.#options.mix[at]!.name,
      requests,
      succeeded,
      failed,
      timedOut,
      latencyMs: latency.percentiles(),
    }))
  }

  /** Busy cores and GPUs of a node, averaged since the beginning; its background counts as busy. */
  nodeUse(node: number): { readonly cores: number; readonly gpus: number } {
    const lengthMs = Math.max(this.#nowMs - this.#runFrom.atMs, Number.MIN_VALUE)
    const from = this.#runFromOf[node] ?? NO_WORK
    const { coreMs, deviceMs } = this.#workOn(node)
    return { cores: (coreMs - from.coreMs) / lengthMs, gpus: (deviceMs - from.deviceMs) / lengthMs }
  }

  /** Of one node since the start. */
  #workOn(node: number): Work {
    const machine = this.#machines[node]
    if (machine === undefined) return NO_WORK
    const coreMs = machine.busyCoreMs + machine.busyCores * (this.#nowMs - machine.sinceMs)
    let deviceMs = 0
    for (let gpu = 0; gpu < machine.gpus; gpu++)
      // gpu < length of all
      deviceMs +=
        machine.deviceBusyMs[gpu]! +
        Math.min(1, machine.deviceDemand[gpu]!) * (this.#nowMs - machine.deviceSinceMs[gpu]!)
    return { coreMs, deviceMs }
  }

  #moment(): Moment {
    let coreMs = 0
    let deviceMs = 0
    for (const machine of this.#machines.keys()) {
      const work = this.#workOn(machine)
      coreMs += work.coreMs
      deviceMs += work.deviceMs
    }
    return { atMs: this.#nowMs, coreMs, deviceMs }
  }

  #windowOf(counters: Counters, from: Moment): LoadWindow {
    const { coreMs, deviceMs } = this.#moment()
    const fromMs = from.atMs
    const lengthMs = this.#nowMs - fromMs
    const share = (busyMs: number, of: number): number => (of * lengthMs > 0 ? busyMs / (of * lengthMs) : 0)
    const { failed, latency, requests, succeeded, timedOut } = counters
    return {
      fromMs,
      toMs: this.#nowMs,
      users: this.#options.pattern.usersAt(fromMs),
      requests,
      succeeded,
      failed,
      timedOut,
      latencyMs: latency.percentiles(),
      throughput: lengthMs > 0 ? (1000 * succeeded) / lengthMs : 0,
      cpuShare: share(
        coreMs - from.coreMs,
        this.#machines.reduce((sum, { cores }) => sum + cores, 0),
      ),
      gpuShare: share(
        deviceMs - from.deviceMs,
        this.#machines.reduce((sum, { gpus }) => sum + gpus, 0),
      ),
      outstanding: this.#outstanding,
    }
  }

  // Users

  #tick(): void {
    const { mix, pattern, seed, think } = this.#options
    this.#wanted = pattern.usersAt(this.#nowMs)
    for (let user = 0; user < this.#wanted; user++) {
      if (this.#present[user] === true) continue
      this.#present[user] = true
      const script = (this.#users[user] ??= new UserScript(seed, user, mix, think))
      this.#events.push(this.#nowMs + script.arrivalDelayMs(), WAKE, user)
    }
    if (this.#nowMs < pattern.durationMs) this.#events.push(this.#nowMs + SCHEDULE_TICK_MS, TICK, 0)
  }

  #wake(user: number): void {
    if (user >= this.#wanted) {
      this.#present[user] = false
      return
    }
    this.#ask(user, -1)
  }

  /** Has the next of the list come at its time: only one waits at a time, however long the list. */
  #expect(arrival: number): void {
    const { arrivals, pattern } = this.#options
    if (arrivals === undefined || arrival >= arrivals.count) return
    // below the count
    const atMs = this.#runFrom.atMs + arrivals.atMs[arrival]!
    if (atMs < pattern.durationMs) this.#events.push(atMs, COME, arrival)
  }

  #ask(user: number, arrival: number): void {
    const request = this.#allocate()
    this.#offered++
    this.#user[request] = user
    this.#arrival[request] = arrival
    this.#kind[request] = (this.#users[user] ?? this.#chooser).nextRequest()
    this.#state[request] = AWAY
    if (this.#options.generators === undefined) {
      this.#startMs[request] = this.#nowMs
      this.#send(request)
    } else this.#generate(request)
  }

  #endFor(request: number, atMs: number): void {
    const user = this.#user[request]!
    // a user has a script; of an open loop's requests nobody waits for the answer
    if (user >= 0) this.#events.push(atMs + this.#users[user]!.thinkMs(), WAKE, user)
  }

  // Requests. Their number is below the length of every column.

  #allocate(): number {
    const freed = this.#free.pop()
    if (freed !== undefined) return freed
    const request = this.#made++
    if (request === this.#state.length) {
      const length = 2 * request
      const grown = <T extends Float64Array | Int32Array | Uint8Array>(from: T, to: T): T => {
        to.set(from)
        return to
      }
      this.#state = grown(this.#state, new Uint8Array(length))
      this.#serial = grown(this.#serial, new Int32Array(length))
      this.#user = grown(this.#user, new Int32Array(length))
      this.#arrival = grown(this.#arrival, new Int32Array(length))
      this.#kind = grown(this.#kind, new Int32Array(length))
      this.#replica = grown(this.#replica, new Int32Array(length))
      this.#startMs = grown(this.#startMs, new Float64Array(length))
      this.#next = grown(this.#next, new Int32Array(length))
      this.#cores = grown(this.#cores, new Float64Array(length))
      this.#device = grown(this.#device, new Float64Array(length))
    }
    return request
  }

  #release(request: number): void {
    this.#state[request] = FREE
    this.#serial[request]!++
    this.#free.push(request)
  }

  #send(request: number): void {
    // From now, not from the start: what makes the load may have been busy since, and deadlines stay in order this way.
    this.#deadlines.push(this.#nowMs + this.#options.timeoutMs, request, this.#serial[request]!)
    const replica = this.#choose()
    if (replica === undefined) {
      this.#fail(request)
      return
    }
    this.#replica[request] = replica.id
    replica.outstanding++
    this.#outstanding++
    const { networkMs } = replica.machine
    if (networkMs > 0) this.#events.push(this.#nowMs + networkMs, ARRIVE, request)
    else this.#arrive(request)
  }

  #arrive(request: number): void {
    // a replica stays while it has requests
    const replica = this.#replicas[this.#replica[request]!]!
    if (this.#state[request] === ABANDONED) {
      this.#leave(replica)
      this.#release(request)
    } else if (replica.busy < replica.concurrency) this.#serve(request, replica)
    else if (replica.queued < this.#options.queueLimit) {
      this.#state[request] = WAITING
      this.#next[request] = -1
      if (replica.tail < 0) replica.head = request
      else this.#next[replica.tail] = request
      replica.tail = request
      replica.queued++
    } else {
      this.#leave(replica)
      this.#fail(request)
    }
  }

  #leave(replica: Replica): void {
    replica.outstanding--
    this.#outstanding--
    if (replica.draining) this.#forgetIfDone(replica)
  }

  #forgetIfDone(replica: Replica): void {
    if (replica.outstanding === 0) this.#replicas[replica.id] = undefined
  }

  #serve(request: number, replica: Replica): void {
    const { interference, mix } = this.#options
    const { kind, machine } = replica
    const at = this.#kind[request]!
    // a kind of the mix
    const demand = mix[at]!.demand[kind]
    const nowMs = this.#nowMs
    this.#state[request] = SERVED
    this.#occupySlot(replica, 1)
    const others = machine.busyCores - Math.min(replica.busyCores, replica.coreLimit)
    const cores = this.#work(replica, demand.cores)
    this.#cores[request] = demand.cores
    const throttled = Math.max(1, replica.busyCores / replica.coreLimit)
    const contended = Math.max(1, machine.busyCores / machine.cores)
    const disturbed = 1 + interference * Math.min(1, others / machine.cores)
    let slowdown = cores > 0 || demand.deviceShare < 1 ? throttled * contended * disturbed : 1
    this.#device[request] = 0
    if (replica.devices.length > 0 && demand.deviceShare > 0) {
      const busy = this.#occupy(replica, demand.deviceShare)
      this.#device[request] = demand.deviceShare
      slowdown = (1 - demand.deviceShare) * slowdown + demand.deviceShare * Math.max(1, busy)
    }
    this.#events.push(nowMs + slowdown * this.#serviceTimes[kind][at]!(this.#arrival[request]!), DONE, request)
  }

  #occupySlot(replica: Replica, slots: number): void {
    const sinceMs = this.#nowMs - replica.sinceMs
    replica.busyCoreMs += sinceMs * Math.min(replica.busyCores, replica.coreLimit)
    replica.busySlotMs += sinceMs * replica.busy
    replica.sinceMs = this.#nowMs
    replica.busy += slots
  }

  /** Adds to what a replica keeps busy; returns its node's share of it, which its limit bounds. */
  #work(replica: Replica, cores: number): number {
    const { machine } = replica
    machine.busyCoreMs += machine.busyCores * (this.#nowMs - machine.sinceMs)
    machine.sinceMs = this.#nowMs
    const before = Math.min(replica.busyCores, replica.coreLimit)
    // no crumbs of rounding are left where nothing is done
    replica.busyCores = replica.busy === 0 ? 0 : replica.busyCores + cores
    const change = Math.min(replica.busyCores, replica.coreLimit) - before
    machine.busyCores = Math.max(0, machine.busyCores + change)
    return change
  }

  /** @returns what is asked of the one of its GPUs that is asked most */
  #occupy({ devices, machine }: Replica, share: number): number {
    let most = 0
    for (const device of devices) {
      // the device is one of the machine's
      const demand = machine.deviceDemand[device]!
      machine.deviceBusyMs[device]! += Math.min(1, demand) * (this.#nowMs - machine.deviceSinceMs[device]!)
      machine.deviceSinceMs[device] = this.#nowMs
      most = Math.max(most, (machine.deviceDemand[device] = Math.max(0, demand + share)))
    }
    return most
  }

  #done(request: number): void {
    // a replica stays while it has requests
    const replica = this.#replicas[this.#replica[request]!]!
    this.#occupySlot(replica, -1)
    this.#work(replica, -this.#cores[request]!)
    if (this.#device[request]! > 0) this.#occupy(replica, -this.#device[request]!)
    this.#serveNext(replica)
    const abandoned = this.#state[request] === ABANDONED
    const backMs = this.#nowMs + replica.machine.networkMs
    this.#leave(replica)
    if (abandoned) this.#release(request)
    else if (backMs >= this.#startMs[request]! + this.#options.timeoutMs) this.#state[request] = LATE
    else {
      this.#state[request] = ANSWERED
      if (this.#options.generators === undefined) this.#succeed(request, backMs)
      else this.#events.push(backMs, RESPOND, request)
    }
  }

  #serveNext(replica: Replica): void {
    while (replica.head >= 0 && replica.busy < replica.concurrency) {
      const request = replica.head
      replica.head = this.#next[request]!
      if (replica.head < 0) replica.tail = -1
      replica.queued--
      if (this.#state[request] === ABANDONED) {
        replica.outstanding--
        this.#outstanding--
        this.#release(request)
      } else this.#serve(request, replica)
    }
    if (replica.draining) this.#forgetIfDone(replica)
  }

  #count(request: number, count: (counters: Counters) => void): void {
    count(this.#window)
    count(this.#run)
    count(this.#byKind[this.#kind[request]!]!)
  }

  #succeed(request: number, atMs: number): void {
    const latencyMs = atMs - this.#startMs[request]!
    this.#count(request, (counters) => {
      counters.succeeded++
      counters.latency.record(latencyMs)
    })
    this.#endFor(request, atMs)
    this.#release(request)
  }

  #fail(request: number): void {
    this.#count(request, (counters) => counters.failed++)
    this.#endFor(request, this.#nowMs)
    this.#release(request)
  }

  /** The oldest deadline has passed; most requests are answered by then. */
  #giveUp(): void {
    const { request, serial } = this.#deadlines
    this.#deadlines.drop()
    const state = this.#state[request]
    if (this.#serial[request] !== serial || state === ANSWERED) return
    this.#count(request, (counters) => {
      counters.timedOut++
      counters.latency.record(this.#options.timeoutMs)
    })
    this.#endFor(request, this.#nowMs)
    if (state === LATE) this.#release(request)
    else this.#state[request] = ABANDONED
  }

  // The load generator's own time

  /** Its turn with the generator: to be sent, or answered. */
  #generate(request: number): void {
    if (this.#generatorsIdle > 0) {
      this.#generatorsIdle--
      this.#beginGenerating(request)
    } else this.#generatorQueue.push(request)
  }

  #beginGenerating(request: number): void {
    const { generator } = this.#options.mix[this.#kind[request]!]!
    const nowMs = this.#nowMs
    if (this.#state[request] === ANSWERED) this.#events.push(nowMs + (generator?.receiveMs ?? 0), GENERATED, request)
    else {
      const startMs = nowMs + (generator?.prepareMs ?? 0)
      this.#startMs[request] = startMs
      this.#events.push(startMs + (generator?.sendMs ?? 0), GENERATED, request)
    }
  }

  #generated(request: number): void {
    if (this.#state[request] === ANSWERED) this.#succeed(request, this.#nowMs)
    else this.#send(request)
    const next = this.#generatorQueue[this.#generatorAt]
    if (next === undefined) {
      this.#generatorsIdle++
      this.#generatorQueue.length = this.#generatorAt = 0
    } else {
      this.#generatorAt++
      this.#beginGenerating(next)
    }
  }

  // Balancing

  #becomeReady(id: number): void {
    const replica = this.#replicas[id]
    if (replica === undefined || replica.draining) return
    replica.ready = true
    this.#listReady()
  }

  #listReady(): void {
    const ready = this.#replicas.filter((replica) => replica?.ready === true) as Replica[]
    this.#ready = ready
    this.#readyOf = {
      gpu: ready.filter(({ kind }) => kind === 'gpu'),
      cpu: ready.filter(({ kind }) => kind === 'cpu'),
    }
  }

  #choose(): Replica | undefined {
    const preference = this.#preference
    let chosen: Replica | undefined
    if (preference === 'balanced') chosen = this.#among(this.#ready, 'all')
    else {
      chosen = this.#among(this.#readyOf[preference], preference)
      if (chosen === undefined || chosen.outstanding >= 2 * chosen.concurrency) {
        const rest = preference === 'gpu' ? 'cpu' : 'gpu'
        const other = this.#among(this.#readyOf[rest], rest)
        if (other !== undefined && (chosen === undefined || loadOf(other) < loadOf(chosen))) chosen = other
      }
    }
    return chosen
  }

  #among(replicas: readonly Replica[], turns: ReplicaKind | 'all'): Replica | undefined {
    const count = replicas.length
    if (count <= 1) return replicas[0]
    const { balancer } = this.#options
    if (balancer === 'random') return replicas[this.#random.below(count)]
    const first = this.#turns[turns]++ % count
    if (balancer === 'round_robin') return replicas[first]
    // from another one each time, so that equals share; first < count
    let best = replicas[first]!
    for (let i = 1; i < count; i++) {
      const other = replicas[(first + i) % count]!
      if (loadOf(other) < loadOf(best)) best = other
    }
    return best
  }
}

const loadOf = ({ concurrency, outstanding }: Replica): number => outstanding / concurrency
