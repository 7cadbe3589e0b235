import { VirtualClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import type { NodeIndex } from '../cluster/node.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import type { Pod } from '../cluster/pod.ts'
import { CPU } from '../cluster/resources.ts'
import { ClusterState } from '../cluster/state.ts'
import type { ClusterView } from '../cluster/view.ts'
import {
  ALLOWED,
  type Check,
  type Constraint,
  type Refusal,
  siftByVerdict,
  type Tally,
  type Verdict,
} from '../constraints/constraint.ts'
import type { DecisionRecord, DecisionSink, Outcome } from '../decisions/record.ts'
import type { VolumePlan } from '../cluster/volumes.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policies/policy.ts'
import {
  type Binder,
  BindFailure,
  type ClaimBinder,
  type Evictor,
  type FailureReason,
  type GangReport,
  type Preemptor,
  type Reporter,
  type SchedulingObserver,
} from './ports.ts'
import type { Profile } from './profile.ts'
import { Scheduler, type SchedulerOptions } from './scheduler.ts'

/** The least that a scheduler needs around it, for the tests of this room. */

/** Refuses nodes for one reason; what wakes is a pod that went or a node that came. */
const rule = (
  name: string,
  reason: string,
  allows: (pod: Pod, node: NodeIndex, cluster: ClusterView) => boolean,
): Constraint => {
  let pod: Pod
  let cluster: ClusterView
  const refusals: readonly Refusal[] = [{ reasons: [reason], preemptionCouldHelp: true }]
  const check: Check = {
    constraint: name,
    refusals,
    verdict: (node: NodeIndex): Verdict => (allows(pod, node, cluster) ? ALLOWED : 1),
    sift: (nodes: Int32Array, count: number, tally: Tally) => siftByVerdict(check, nodes, count, tally),
  }
  return {
    name,
    prepare: (itsPod, itsCluster) => {
      pod = itsPod
      cluster = itsCluster
      return check
    },
    wakesOn: ['NodeAdd', 'PodDelete', 'NodeAllocatable', 'SelfScaleDown'],
    couldHelp: () => true,
  }
}

/** Cpu and number of pods only, so that this room's tests hang on no other room's rules. */
export const fits = (): Constraint =>
  rule('NodeResourcesFit', 'Insufficient cpu', ({ shape }, node, cluster) => {
    const at = shape.request.indexes.indexOf(CPU)
    const cpuMilli = at < 0 ? 0 : (shape.request.amounts[at] ?? 0)
    const freeMilli = (cluster.allocatable[CPU]?.[node] ?? 0) - (cluster.requested[CPU]?.[node] ?? 0)
    return cpuMilli <= freeMilli && (cluster.podCount[node] ?? 0) < (cluster.maxPods[node] ?? 0)
  })

/** spec.nodeSelector */
export const selects = (): Constraint =>
  rule('NodeAffinity', "node(s) didn't match Pod's node affinity/selector", ({ shape }, node, cluster) =>
    Object.entries(shape.nodeSelector).every(([key, value]) => cluster.node(node).labels[key] === value),
  )

/** Prefers the node with the most free cpu. */
export const emptiest: Policy = {
  name: 'emptiest',
  version: '1',
  rank: (_pod, { nodes, count }, { cluster }) => ({
    scores: Float64Array.from(
      nodes.subarray(0, count),
      (node) => (cluster.allocatable[CPU]?.[node] ?? 0) - (cluster.requested[CPU]?.[node] ?? 0),
    ),
    source: 'heuristic',
  }),
}

/** A policy out of its `rank` alone. */
export const policyOf = (
  rank: (pod: Pod, candidates: Candidates, context: RankContext) => Ranking | Promise<Ranking>,
  name = 'tried',
): Policy => ({ name, version: '1', rank })

/** An API server's side of binding: each bind waits for `answer` unless `prompt`. */
export class MemoryBinder implements Binder {
  prompt = true
  readonly bound: { readonly uid: string; readonly nodeName: string }[] = []
  readonly waiting: { readonly pod: Pod; readonly nodeName: string; answer(failure?: BindFailure): void }[] = []

  bind(pod: Pod, nodeName: string, signal: AbortSignal): Promise<void> {
    if (this.prompt) {
      this.bound.push({ uid: pod.uid, nodeName })
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const request = {
        pod,
        nodeName,
        answer: (failure?: BindFailure): void => {
          this.waiting.splice(this.waiting.indexOf(request), 1)
          if (failure === undefined) {
            this.bound.push({ uid: pod.uid, nodeName })
            resolve()
          } else reject(failure)
        },
      }
      this.waiting.push(request)
      signal.addEventListener('abort', () => request.answer(new BindFailure('error', 'aborted')), { once: true })
    })
  }
}

/** An API server's side of evicting: each waits for `answer` unless `prompt`. */
export class MemoryEvictor implements Evictor {
  prompt = true
  readonly evicted: string[] = []
  readonly waiting: { readonly victim: Pod; answer(failure?: Error): void }[] = []

  evict(victim: Pod, _preemptor: Preemptor, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const request = {
        victim,
        answer: (failure?: Error): void => {
          const at = this.waiting.indexOf(request)
          if (at >= 0) this.waiting.splice(at, 1)
          if (failure === undefined) {
            this.evicted.push(victim.name)
            resolve(true)
          } else reject(failure)
        },
      }
      if (this.prompt) request.answer()
      else {
        this.waiting.push(request)
        signal.addEventListener('abort', () => request.answer(new Error('aborted')), { once: true })
      }
    })
  }
}

/** A volume controller's side: the claims of each pod wait for `answer`. */
export class MemoryClaimBinder implements ClaimBinder {
  readonly waiting: { readonly pod: Pod; readonly nodeName: string; answer(failure?: BindFailure): void }[] = []

  bindClaims(pod: Pod, nodeName: string, _plan: VolumePlan, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = {
        pod,
        nodeName,
        answer: (failure?: BindFailure): void => {
          this.waiting.splice(this.waiting.indexOf(request), 1)
          if (failure === undefined) resolve()
          else reject(failure)
        },
      }
      this.waiting.push(request)
      signal.addEventListener('abort', () => request.answer(new BindFailure('error', 'aborted')), { once: true })
    })
  }
}

export class MemoryReporter implements Reporter {
  readonly lines: string[] = []
  /** pod -> the nominated node that was written last */
  readonly nominations = new Map<string, string>()
  readonly gangs: string[] = []
  drained = 0

  scheduled(pod: Pod, nodeName: string): void {
    this.lines.push(`${pod.name} -> ${nodeName}`)
  }

  failed(pod: Pod, reason: FailureReason, message: string, nominatedNodeName?: string): void {
    this.lines.push(`${pod.name} ${reason}: ${message}`)
    if (nominatedNodeName !== undefined) this.nominations.set(pod.name, nominatedNodeName)
  }

  denominated(pod: Pod): void {
    this.lines.push(`${pod.name} is nominated no more`)
  }

  preempted(victim: Pod, preemptor: Preemptor, nodeName: string): void {
    this.lines.push(`${victim.name} leaves ${nodeName} for ${preemptor.name}`)
  }

  gang({ group, message, outcome }: GangReport): void {
    this.gangs.push(`${group.name} ${outcome}${message === '' ? '' : `: ${message}`}`)
  }

  drain(): Promise<void> {
    this.drained++
    return Promise.resolve()
  }
}

export class MemoryDecisions implements DecisionSink {
  readonly records: DecisionRecord[] = []

  keep(record: DecisionRecord): void {
    this.records.push(record)
  }

  settle(id: number, outcome: Outcome, message: string, bindMs: number): void {
    const at = this.records.findIndex((record) => record.id === id)
    const record = this.records[at]
    if (record === undefined) throw new RangeError(`there is no decision ${id}`)
    this.records[at] = { ...record, outcome, message: message === '' ? record.message : message, bindMs }
  }

  /** The last about a pod. */
  of(pod: string): DecisionRecord {
    const record = this.records.findLast((record) => record.pod === pod)
    if (record === undefined) throw new RangeError(`there is no decision about ${pod}`)
    return record
  }
}

const nothing = (): void => undefined
const observer: SchedulingObserver = {
  attempted: nothing,
  phase: nothing,
  bound: nothing,
  queued: nothing,
  fellBack: nothing,
  preempted: nothing,
  unreadable: nothing,
}

/** A scheduler on a virtual clock, with everything around it in memory. Its pods' scheduler name is `default-scheduler`. */
export class World {
  readonly clock = new VirtualClock()
  readonly cluster = new ClusterState()
  readonly binder = new MemoryBinder()
  readonly claimBinder = new MemoryClaimBinder()
  readonly evictor = new MemoryEvictor()
  readonly reporter = new MemoryReporter()
  readonly decisions = new MemoryDecisions()
  readonly scheduler: Scheduler
  readonly #slices: (() => void)[] = []

  constructor(profile: Partial<Profile> = {}, options: Partial<SchedulerOptions> = {}) {
    this.scheduler = new Scheduler({
      clock: this.clock,
      random: seededRandom(1),
      profiles: [
        { schedulerName: 'default-scheduler', policy: emptiest, fallback: emptiest, deadlineMs: 1000, ...profile },
      ],
      constraints: [selects(), fits()],
      cluster: this.cluster,
      binder: this.binder,
      claimBinder: this.claimBinder,
      evictor: this.evictor,
      reporter: this.reporter,
      decisions: this.decisions,
      observer,
      log: { debug: nothing, info: nothing, warn: nothing, error: nothing },
      yieldToEvents: (run) => this.#slices.push(run),
      ...options,
    })
  }

  /** Both feeds have seen these and are in sync, and the scheduler leads. */
  async begin(nodes: readonly NodeObject[], pods: readonly PodObject[] = []): Promise<this> {
    for (const node of nodes) this.scheduler.nodes.seen(node)
    for (const pod of pods) this.scheduler.pods.seen(pod)
    this.scheduler.nodes.synced()
    for (const feed of Object.values(this.scheduler.storage)) feed.synced()
    this.scheduler.namespaces.synced()
    for (const feed of Object.values(this.scheduler.selectors ?? {})) feed.synced()
    this.scheduler.pods.synced()
    this.scheduler.disruptionBudgets.synced()
    this.scheduler.start()
    return this.quiet()
  }

  /** Pods seen, and everything done that follows at once. */
  async see(...pods: readonly PodObject[]): Promise<this> {
    for (const pod of pods) this.scheduler.pods.seen(pod)
    return this.quiet()
  }

  async passes(ms: number): Promise<this> {
    this.clock.advance(ms)
    return this.quiet()
  }

  /** Until nothing is left to do at this moment. */
  async quiet(): Promise<this> {
    do {
      for (let slice = this.#slices.shift(); slice !== undefined; slice = this.#slices.shift()) slice()
      // promises that are settled run before the next turn of the event loop
      await new Promise(setImmediate)
    } while (this.#slices.length > 0)
    return this
  }
}
