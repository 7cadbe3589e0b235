// Stowage as the other of the two that the differential test compares: in process, fed with what the API server lists.
import { VirtualClock } from '../../src/clock/clock.ts'
import { seededRandom } from '../../src/clock/random.ts'
import type { ObjectFeed } from '../../src/cluster/feed.ts'
import type { SelectingKind } from '../../src/cluster/default-selectors.ts'
import type { KubeObject, NodeObject, PodObject } from '../../src/cluster/objects.ts'
import { DisruptionBudgets } from '../../src/cluster/disruption-budgets.ts'
import { type Pod, podKey } from '../../src/cluster/pod.ts'
import { ClusterState } from '../../src/cluster/state.ts'
import type { Constraint } from '../../src/constraints/constraint.ts'
import { createConstraints } from '../../src/constraints/registry.ts'
import { GpuDevices } from '../../src/constraints/gpu-devices.ts'
import { gatesOf, SchedulingGates } from '../../src/constraints/scheduling-gates.ts'
import { Unsupported } from '../../src/constraints/unsupported.ts'
import { WEIGHTS } from '../../src/policies/kube-scoring.ts'
import type { Policy, Ranking } from '../../src/policies/policy.ts'
import { createPolicy } from '../../src/policies/registry.ts'
import { Cycle, type Decision } from '../../src/scheduling/cycle.ts'
import type { Profile } from '../../src/scheduling/profile.ts'
import { storageFeeds } from '../../src/scheduling/storage-feeds.ts'
import type { Begun, NodeNews, PodNews, Verdict } from './kube-scheduler.ts'
import type { OtherObject } from './storage.ts'
import type { Known } from './worlds.ts'

/** What this version knows, by which the generator decides what to draw. */
export const known: Known = {
  constraints: new Set(createConstraints().map(({ name }) => name)),
  scores: new Set(Object.keys(WEIGHTS)),
  preemption: true,
}

/** What a version of Stowage does not take notice of, of what the API server tells. */
interface Blindness {
  /** @param before as it was seen the last time */
  readonly pod?: (pod: PodObject, before: PodObject | undefined) => PodObject
  /** @param before as it was seen the last time */
  readonly node?: (news: NonNullable<NodeNews>, before: NodeObject | undefined) => NodeNews
  /** collections of which nothing is seen, by their plurals */
  readonly without?: readonly string[]
}

const without = <T extends object>(object: T | undefined, ...keys: (keyof T)[]): T => {
  const left = { ...object } as T
  for (const key of keys) delete left[key]
  return left
}
const blindness: ReadonlyMap<string, Blindness> = new Map<string, Blindness>([
  [
    'input sizes that nodes report of pods',
    {
      pod: (pod) => ({
        ...pod,
        status: without(pod.status, 'containerStatuses', 'initContainerStatuses', 'allocatedResources', 'resources'),
      }),
    },
  ],
  ['input resizes that are infeasible', { pod: (pod) => ({ ...pod, status: without(pod.status, 'conditions') }) }],
  [
    'input other labels of placed pods',
    {
      pod: (pod, before) =>
        before?.spec?.nodeName === undefined
          ? pod
          : { ...pod, metadata: { ...pod.metadata, labels: before.metadata?.labels ?? {} } },
    },
  ],
  ['input Services', { without: ['services'] }],
  ['input ReplicaSets', { without: ['replicasets'] }],
  ['input StatefulSets', { without: ['statefulsets'] }],
  ['input ReplicationControllers', { without: ['replicationcontrollers'] }],
  ['input nodes that come', { node: (news, before) => ('seen' in news && before === undefined ? undefined : news) }],
  ['input nodes that go', { node: (news) => ('gone' in news ? undefined : news) }],
  [
    'input other amounts and images of nodes',
    {
      node: (news, before) =>
        'seen' in news && before?.status !== undefined ? { seen: { ...news.seen, status: before.status } } : news,
    },
  ],
  [
    'input bind mount options',
    {
      pod: (pod) => ({
        ...pod,
        spec: {
          ...pod.spec,
          containers: (pod.spec?.containers ?? []).map((container) => without(container, 'volumeMounts')),
        },
      }),
    },
  ],
  ['input pods that terminate', { pod: (pod) => ({ ...pod, metadata: without(pod.metadata, 'deletionTimestamp') }) }],
  ['input nominated nodes', { pod: (pod) => ({ ...pod, status: without(pod.status, 'nominatedNodeName') }) }],
  ['input user namespaces', { pod: (pod) => ({ ...pod, spec: without(pod.spec, 'hostUsers') }) }],
])

/** Rules, score terms and kinds of news that may be left out, to see whether the test finds that. */
export const mutants: readonly string[] = [
  // Both rules are ours alone: kube-scheduler has nothing to hold against them.
  ...[...known.constraints]
    .filter((name) => name !== Unsupported && name !== GpuDevices)
    .map((name) => `filter ${name}`),
  ...Object.keys(WEIGHTS).map((name) => `score ${name}`),
  ...blindness.keys(),
]

const SELECTING: ReadonlyMap<string, SelectingKind> = new Map([
  ['services', 'Service'],
  ['replicasets', 'ReplicaSet'],
  ['statefulsets', 'StatefulSet'],
  ['replicationcontrollers', 'ReplicationController'],
])

/** kube-default without one of its terms. */
const withoutTerm = (policy: Policy, term: string): Policy => ({
  name: policy.name,
  version: policy.version,
  rank: (pod, candidates, context) => {
    const ranking = policy.rank(pod, candidates, context) as Ranking
    const terms = ranking.terms?.filter(({ name }) => name !== term) ?? []
    const scores = new Float64Array(candidates.count)
    for (const term of terms) scores.forEach((_, i) => (scores[i]! += term.weight * term.valueAt(i)))
    return { ...ranking, terms, scores }
  },
})

/** Decides as one version of Stowage does: whole, or with a part left out. */
class Decider {
  readonly #cluster: ClusterState
  readonly #constraints: readonly Constraint[]
  readonly #profile: Profile
  readonly #cycle: Cycle
  /** node -> term -> weighted score, of the decision at hand */
  #ranked = new Map<string, ReadonlyMap<string, number>>()

  constructor(
    cluster: ClusterState,
    budgets: DisruptionBudgets,
    stateVersion: () => number,
    mutant: string | undefined,
  ) {
    const [part = '', name = ''] = mutant?.split(' ') ?? []
    const random = seededRandom(1)
    this.#cluster = cluster
    this.#constraints = createConstraints().filter((constraint) => part !== 'filter' || constraint.name !== name)
    const policy = createPolicy('kube-default')
    this.#profile = {
      schedulerName: 'default-scheduler',
      policy: this.#observed(part === 'score' ? withoutTerm(policy, name) : policy),
      fallback: undefined,
      deadlineMs: 1_000,
    }
    this.#cycle = new Cycle({
      clock: new VirtualClock(),
      random,
      cluster,
      budgets,
      constraints: this.#constraints,
      stateVersion,
      onPhase: () => {},
    })
  }

  /** What it ranks, and how, is kept for the verdict. */
  #observed(policy: Policy): Policy {
    return {
      ...policy,
      rank: (pod, candidates, context) => {
        const ranking = policy.rank(pod, candidates, context) as Ranking
        const nodes = candidates.nodes.subarray(0, candidates.count)
        this.#ranked = new Map(
          Array.from(nodes, (index, at) => [
            this.#cluster.node(index).name,
            new Map(ranking.terms?.map((term) => [term.name, term.weight * term.valueAt(at)] as const)),
          ]),
        )
        return ranking
      },
    }
  }

  decide(pod: Pod): Verdict {
    let decision: Decision | undefined
    const failed = (thrown: unknown): never => {
      throw thrown
    }
    this.#cycle.decide(pod, this.#profile, (made) => (decision = made), failed)
    if (decision === undefined) throw new Error('the cycle did not conclude at once')
    const { node, nodeName, facts, preemption } = decision
    const room = typeof preemption?.found === 'object' ? preemption.found : undefined
    // The queue keeps such pods back, whatever the cycle would say of them.
    const gated = this.#constraints.some(({ name }) => name === SchedulingGates) && gatesOf(pod).length > 0
    const scores = this.#ranked
    this.#ranked = new Map()
    return {
      outcome: node >= 0 ? 'bound' : gated ? 'gated' : 'refused',
      node: room?.nodeName ?? nodeName,
      victims: new Set(room?.victims.filter(({ deleting }) => !deleting).map(podKey)),
      message: gated ? '' : facts.message,
      // Nothing is ranked where one node is left.
      feasible: new Set(node < 0 ? [] : scores.size > 0 ? scores.keys() : [nodeName]),
      scores,
    }
  }
}

/** One world as a version of Stowage keeps it, and what those decide that keep it alike. */
class KeptWorld {
  readonly #cluster = new ClusterState()
  readonly #deciders = new Map<string | undefined, Decider>()
  readonly #budgets = new DisruptionBudgets()
  /** by the plural of what they are fed with */
  readonly #storage: ReadonlyMap<string, ObjectFeed<KubeObject>>
  readonly #blind: Blindness
  readonly #nodes = new Map<string, NodeObject>()
  /** by uid */
  readonly #pods = new Map<string, PodObject>()
  #version = 0

  constructor({ namespaces, nodes, others }: Begun, blind: Blindness = {}) {
    this.#blind = blind
    const feeds = storageFeeds(this.#cluster.volumes, {
      changed: () => {},
      synced: () => {},
      unreadable: (_kind, _object, thrown) => {
        throw thrown
      },
    })
    this.#storage = new Map<string, ObjectFeed<KubeObject>>([
      ['persistentvolumeclaims', feeds.claims],
      ['persistentvolumes', feeds.volumes],
      ['storageclasses', feeds.classes],
      ['csinodes', feeds.csiNodes],
      ['csidrivers', feeds.csiDrivers],
      ['volumeattachments', feeds.attachments],
      ['csistoragecapacities', feeds.capacities],
    ])
    for (const namespace of namespaces) this.#cluster.applyNamespace(namespace)
    for (const other of others) this.seeOther(other)
    for (const node of nodes) this.#seeNode(node)
  }

  seeOther({ path, object }: OtherObject): void {
    const plural = path.slice(path.lastIndexOf('/') + 1)
    if (this.#blind.without?.includes(plural) === true) return
    this.#version++
    const feed = this.#storage.get(plural)
    if (feed !== undefined) feed.seen(object)
    else if (plural === 'poddisruptionbudgets') this.#budgets.seen(object)
    else {
      const kind = SELECTING.get(plural)
      if (kind === undefined) throw new Error(`nobody here knows what ${path} is about`)
      this.#cluster.defaultSelectors.apply(kind, object)
    }
  }

  seeNode(told: NonNullable<NodeNews>): void {
    const name = 'gone' in told ? told.gone : (told.seen.metadata?.name ?? '')
    const news = this.#blind.node === undefined ? told : this.#blind.node(told, this.#nodes.get(name))
    if (news === undefined) return
    if ('seen' in news) this.#seeNode(news.seen)
    else {
      this.#version++
      this.#nodes.delete(name)
      this.#cluster.removeNode(name)
    }
  }

  #seeNode(node: NodeObject): void {
    this.#version++
    this.#nodes.set(node.metadata?.name ?? '', node)
    this.#cluster.applyNode(this.#cluster.readNode(node))
  }

  seePods(news: readonly PodNews[]): void {
    this.#version++
    for (const one of news) {
      if ('seen' in one) {
        const pod = this.#visible(one.seen)
        this.#pods.set(pod.metadata?.uid ?? '', pod)
        this.#cluster.applyPod(this.#cluster.readPod(pod))
      } else {
        this.#pods.delete(one.goneUid)
        this.#cluster.removePod(one.goneUid)
      }
    }
  }

  #visible(pod: PodObject): PodObject {
    return this.#blind.pod === undefined ? pod : this.#blind.pod(pod, this.#pods.get(pod.metadata?.uid ?? ''))
  }

  unsupported(pod: PodObject): readonly string[] {
    return this.#cluster.readPod(pod).shape.unsupported
  }

  decide(pod: PodObject, mutant: string | undefined): Verdict {
    let decider = this.#deciders.get(mutant)
    if (decider === undefined) {
      decider = new Decider(this.#cluster, this.#budgets, () => this.#version, mutant)
      this.#deciders.set(mutant, decider)
    }
    return decider.decide(this.#cluster.readPod(this.#visible(pod)))
  }

  miscounted(): readonly string[] {
    return this.#cluster.discrepancies().miscounted
  }
}

/** One world as Stowage has it, and what each of its versions decides in it. */
export class Stowage {
  readonly #whole: KeptWorld
  /** by mutant */
  readonly #blind: ReadonlyMap<string, KeptWorld>

  /** @param mutating those that will be asked about */
  constructor(began: Begun, mutating: readonly string[]) {
    this.#whole = new KeptWorld(began)
    this.#blind = new Map(
      mutating.flatMap((name) => {
        const blind = blindness.get(name)
        return blind === undefined ? [] : [[name, new KeptWorld(began, blind)] as const]
      }),
    )
  }

  *#all(): Generator<KeptWorld> {
    yield this.#whole
    yield* this.#blind.values()
  }

  /** A claim, a volume, a budget or the like that is new or has changed. */
  seeOther(other: OtherObject): void {
    for (const one of this.#all()) one.seeOther(other)
  }

  seeNode(news: NonNullable<NodeNews>): void {
    for (const one of this.#all()) one.seeNode(news)
  }

  seePods(news: readonly PodNews[]): void {
    for (const one of this.#all()) one.seePods(news)
  }

  /** Rules that the pod needs and this version lacks. */
  unsupported(pod: PodObject): readonly string[] {
    return this.#whole.unsupported(pod)
  }

  /** @param mutant the part that is left out, undefined: none */
  decide(pod: PodObject, mutant?: string): Verdict {
    const blind = mutant === undefined ? undefined : this.#blind.get(mutant)
    return blind === undefined ? this.#whole.decide(pod, mutant) : blind.decide(pod, undefined)
  }

  /** Columns that differ from a recount. */
  miscounted(): readonly string[] {
    return this.#whole.miscounted()
  }
}
