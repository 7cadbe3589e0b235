import { labelOf } from './labels.ts'
import { HOSTNAME_LABEL, type Node, type NodeIndex } from './node.ts'
import type { Labels, Pod, PodShape } from './pod.ts'
import {
  type Counted,
  type Division,
  nodeCounts,
  type PodRules,
  type PodTerm,
  podRulesOf,
  type WeightedPodTerm,
} from './pod-rules.ts'
import { podSelectorMatches } from './pod-selector.ts'
import { allMatch, type PodSelection, type Selecting, Selections, selectionMatches } from './selections.ts'

/** What the topology reads of the state: which nodes there are, and the pods on them. */
export interface PlacedPods {
  readonly order: Int32Array
  readonly nodeCount: number
  readonly nodeCapacity: number
  node(index: NodeIndex): Node
  podsOn(index: NodeIndex): Iterable<Pod>
}

/** Memory for counts of pods, together: those that were asked for longest ago go first ... */
const COUNTS_BYTES_AT_MOST = 64 * 1024 * 1024
/** ... but so many kinds of pods are always counted, and never more. */
const COUNTERS_AT_LEAST = 64
const COUNTERS_AT_MOST = 2048
/** Ways in which pods of one kind are counted at once. */
const DIVISIONS_AT_MOST = 64
/** Terms that no placed pod has any more before they are forgotten. */
const UNOWNED_AT_MOST = 256

const noLabels: Labels = Object.freeze(Object.create(null) as Record<string, string>)

const grown = (numbers: Int32Array, length: number, fill = 0): Int32Array<ArrayBuffer> => {
  const larger = new Int32Array(length).fill(fill, numbers.length)
  larger.set(numbers)
  return larger
}

/** The values of one node label as numbers, by node. The numbers of values that no node has any more are given out anew. */
export class TopologyColumn {
  readonly key: string
  /** by node: the number of its value, -1 without the label */
  valueOf = new Int32Array(0)
  /** all numbers are below */
  size = 0
  readonly #numbers = new Map<string, number>()
  readonly #free: number[] = []
  readonly #values: string[] = []
  readonly #nodes: number[] = []
  uses = 0

  constructor(key: string) {
    this.key = key
  }

  enter(index: NodeIndex, { labels }: Node, nodeCapacity: number): void {
    if (this.valueOf.length < nodeCapacity) this.valueOf = grown(this.valueOf, nodeCapacity, -1)
    if (this.key === '') {
      this.valueOf[index] = index
      if (index >= this.size) this.size = index + 1
      return
    }
    const value = labelOf(labels, this.key)
    if (value === undefined) return
    let number = this.#numbers.get(value)
    if (number === undefined) {
      number = this.#free.pop() ?? this.size++
      this.#numbers.set(value, number)
      this.#values[number] = value
      this.#nodes[number] = 0
    }
    this.#nodes[number] = (this.#nodes[number] ?? 0) + 1
    this.valueOf[index] = number
  }

  valueAt(number: number): string {
    return this.key === '' ? String(number) : (this.#values[number] ?? '')
  }

  leave(index: NodeIndex): void {
    const number = this.valueOf[index] ?? -1
    this.valueOf[index] = -1
    if (number < 0 || this.key === '') return
    const left = (this.#nodes[number] ?? 0) - 1
    this.#nodes[number] = left
    if (left > 0) return
    this.#numbers.delete(this.#values[number] ?? '')
    this.#free.push(number)
  }
}

/** Nodes put together by a label, as far as their pods count. */
class Domains {
  readonly division: Division
  readonly column: TopologyColumn
  /** by node: whether its pods count; undefined: all with the label do */
  eligible: Uint8Array | undefined
  /** by value: nodes whose pods count */
  nodes = new Int32Array(0)
  /** values with such nodes */
  domains = 0
  uses = 0

  constructor(division: Division, column: TopologyColumn) {
    this.division = division
    this.column = column
    if (division.rule !== undefined) this.eligible = new Uint8Array(0)
  }

  /** The domain in which the node's pods count, -1: they count nowhere. */
  of(index: NodeIndex): number {
    return this.eligible !== undefined && this.eligible[index] !== 1 ? -1 : (this.column.valueOf[index] ?? -1)
  }

  /** Comes after the column has been told. */
  enter(index: NodeIndex, node: Node, nodeCapacity: number): void {
    const { rule } = this.division
    if (rule !== undefined && this.eligible !== undefined) {
      if (this.eligible.length < nodeCapacity) {
        const larger = new Uint8Array(nodeCapacity)
        larger.set(this.eligible)
        this.eligible = larger
      }
      this.eligible[index] = nodeCounts(rule, node) ? 1 : 0
    }
    const domain = this.of(index)
    if (domain < 0) return
    if (domain >= this.nodes.length) this.nodes = grown(this.nodes, Math.max(16, this.column.size, domain * 2))
    // domain < length
    if (this.nodes[domain]!++ === 0) this.domains++
  }

  /** Comes before the column is told. */
  leave(index: NodeIndex): void {
    const domain = this.of(index)
    // it has entered, so there is room
    if (domain >= 0 && --this.nodes[domain]! === 0) this.domains--
    if (this.eligible !== undefined) this.eligible[index] = 0
  }
}

/** How many placed pods of one kind are in each domain. */
export class DomainCounts {
  readonly domains: Domains
  readonly column: TopologyColumn
  /** by value of the column; as long as the column has values, at least */
  counts = new Int32Array(0)
  /** all of them */
  total = 0

  constructor(domains: Domains) {
    this.domains = domains
    this.column = domains.column
  }

  add(index: NodeIndex, by: number): void {
    const domain = this.domains.of(index)
    if (domain < 0) return
    this.reach()
    // reach() has made room for every value
    this.counts[domain]! += by
    this.total += by
  }

  /** Room for every value there is. */
  reach(): this {
    const { size } = this.column
    if (this.counts.length < size) this.counts = grown(this.counts, Math.max(16, size, this.counts.length * 2))
    return this
  }

  /** What differs from a recount, by the values' names. */
  differsFrom(other: DomainCounts): boolean {
    const texts = [this, other].map(({ counts, column, domains, total }) => {
      const lines: string[] = []
      for (let i = 0; i < column.size; i++) {
        const nodes = domains.nodes[i] ?? 0
        if (nodes > 0 || (counts[i] ?? 0) !== 0) lines.push(`${column.valueAt(i)} ${nodes} ${counts[i] ?? 0}`)
      }
      return [total, domains.domains, ...lines.sort()].join()
    })
    return texts[0] !== texts[1]
  }

  /** The least in any domain, 0 where there are fewer domains than that. */
  least(minDomains: number): number {
    const { domains, nodes } = this.domains
    if (domains < minDomains) return 0
    const { counts } = this
    const size = Math.min(nodes.length, counts.length)
    let least = Number.MAX_SAFE_INTEGER
    // i < size <= both lengths
    for (let i = 0; i < size; i++) if (nodes[i]! > 0 && counts[i]! < least) least = counts[i]!
    return least === Number.MAX_SAFE_INTEGER ? 0 : least
  }
}

/** Counts the placed pods of one kind, in every division that was asked for. */
class Counter implements Selecting {
  readonly counted: Counted
  readonly selections: readonly PodSelection[]
  readonly byDivision = new Map<string, DomainCounts>()

  constructor(counted: Counted) {
    this.counted = counted
    this.selections = counted.selections
  }

  count(index: NodeIndex, pod: Pod, by: number): void {
    if (pod.deleting && !this.counted.withDeleting) return
    for (const counts of this.byDivision.values()) counts.add(index, by)
  }
}

/** A term that pods on nodes have, and where they are: an incoming pod that it selects must, or would rather, mind them. */
export class OwnedTerm implements Selecting {
  readonly key: string
  readonly weight: number
  readonly column: TopologyColumn
  readonly selections: readonly PodSelection[]
  /** by value of the column; only those with any */
  readonly owners = new Map<number, number>()
  /** also those on nodes without the label */
  pods = 0

  constructor(key: string, weight: number, column: TopologyColumn, selections: readonly PodSelection[]) {
    this.key = key
    this.weight = weight
    this.column = column
    this.selections = selections
  }

  add(index: NodeIndex, by: number): void {
    this.pods += by
    const value = this.column.valueOf[index] ?? -1
    if (value < 0) return
    const owners = (this.owners.get(value) ?? 0) + by
    if (owners === 0) this.owners.delete(value)
    else this.owners.set(value, owners)
  }
}

/** The terms of one sort that placed pods have. */
class OwnedTerms {
  readonly byKey = new Map<string, OwnedTerm>()
  readonly selecting: Selections<OwnedTerm>
  #unowned = 0

  constructor(selecting: Selections<OwnedTerm>) {
    this.selecting = selecting
  }

  add(
    key: string,
    { selection, topologyKey }: PodTerm,
    weight: number,
    index: NodeIndex,
    by: 1 | -1,
    columnOf: (key: string) => TopologyColumn,
    release: (column: TopologyColumn) => void,
  ): void {
    let term = this.byKey.get(key)
    if (term === undefined) {
      const column = columnOf(topologyKey)
      column.uses++
      term = new OwnedTerm(key, weight, column, [selection])
      this.byKey.set(key, term)
      this.selecting.add(term)
    } else if (term.pods === 0) this.#unowned--
    term.add(index, by)
    if (term.pods > 0) return
    this.#unowned++
    if (this.#unowned <= UNOWNED_AT_MOST + this.byKey.size / 2) return
    for (const [one, old] of this.byKey) {
      if (old.pods > 0) continue
      this.byKey.delete(one)
      release(old.column)
    }
    this.selecting.prune((kept) => kept.pods > 0)
    this.#unowned = 0
  }
}

/** Where the pods of a namespace with the same labels are: how many on which node. */
interface Alike {
  readonly staying: Map<NodeIndex, number>
  /** those that are being deleted */
  readonly leaving: Map<NodeIndex, number>
}

/** kube-scheduler's hardPodAffinityWeight: what a required affinity term of a placed pod is worth to those it selects. */
const HARD_AFFINITY_WEIGHT = 1

/**
 * Where pods are by topology: how many of a kind are in each zone, rack or node, and which terms placed pods have about
 * others. Kept up to date by each event. What is counted is registered when a rule first asks for it, and then counted
 * once by the kinds of pods there are; equal selectors share their counts.
 */
export class Topology {
  readonly #placed: PlacedPods
  readonly #namespaces = new Map<string, Labels>()
  readonly #labelsOf = (namespace: string): Labels => this.#namespaces.get(namespace) ?? noLabels
  readonly #columns = new Map<string, TopologyColumn>()
  readonly #domains = new Map<string, Domains>()
  /** in the order of their last use */
  readonly #counters = new Map<string, Counter>()
  readonly #counting = new Selections<Counter>(this.#labelsOf)
  readonly #repelling = new OwnedTerms(new Selections<OwnedTerm>(this.#labelsOf))
  readonly #attracting = new OwnedTerms(new Selections<OwnedTerm>(this.#labelsOf))
  /** all placed pods, by namespace and labels */
  readonly #alike = new Map<string, Map<Labels, Alike>>()
  readonly #rules = new WeakMap<PodShape, WeakMap<Labels, Map<string, PodRules>>>()
  /** another number after each change of anything that is counted */
  version = 0

  /** which nodes say what their hostname is */
  readonly hostnames = new TopologyColumn(HOSTNAME_LABEL)

  constructor(placed: PlacedPods) {
    this.#placed = placed
    // for good
    this.hostnames.uses = 1
    this.#columns.set(HOSTNAME_LABEL, this.hostnames)
  }

  // What rules and scores ask

  /** What a pod asks of where other pods are; worked out once for all pods of a template with the same labels. */
  rulesOf(pod: Pod): PodRules {
    let byLabels = this.#rules.get(pod.shape)
    if (byLabels === undefined) this.#rules.set(pod.shape, (byLabels = new WeakMap<Labels, Map<string, PodRules>>()))
    let byNamespace = byLabels.get(pod.labels)
    if (byNamespace === undefined) byLabels.set(pod.labels, (byNamespace = new Map<string, PodRules>()))
    let rules = byNamespace.get(pod.namespace)
    if (rules === undefined) byNamespace.set(pod.namespace, (rules = podRulesOf(pod)))
    return rules
  }

  /** How many placed pods of a kind are in each domain. */
  counts(counted: Counted, division: Division): DomainCounts {
    let counter = this.#counters.get(counted.key)
    if (counter === undefined) {
      counter = new Counter(counted)
      this.#counting.add(counter)
    } else this.#counters.delete(counted.key)
    this.#counters.set(counted.key, counter)
    let counts = counter.byDivision.get(division.key)
    if (counts === undefined) {
      if (counter.byDivision.size === DIVISIONS_AT_MOST) this.#drop(counter)
      counts = new DomainCounts(this.#domainsOf(division))
      counter.byDivision.set(division.key, counts)
      this.#recount(counter, counts)
      this.#dropUnused()
    }
    return counts.reach()
  }

  /** Required anti-affinity terms of placed pods that select this pod. Some may have no owner any more. */
  termsAgainst({ labels, namespace }: Pod): readonly OwnedTerm[] {
    return this.#repelling.selecting.of(labels, namespace)
  }

  /** Preferred terms, and required affinity terms, of placed pods that select this pod. Some may have no owner any more. */
  termsAbout({ labels, namespace }: Pod): readonly OwnedTerm[] {
    return this.#attracting.selecting.of(labels, namespace)
  }

  /** Whether a pod is one that a term speaks of. */
  selects({ selection }: PodTerm, { labels, namespace }: Pod): boolean {
    return selectionMatches(selection, labels, namespace, this.#labelsOf)
  }

  // What the state tells

  /** A node is there, without pods. */
  enter(index: NodeIndex): void {
    const { nodeCapacity } = this.#placed
    const node = this.#placed.node(index)
    for (const column of this.#columns.values()) column.enter(index, node, nodeCapacity)
    for (const domains of this.#domains.values()) domains.enter(index, node, nodeCapacity)
    this.version++
  }

  /** A node goes; its pods have gone before. */
  leave(index: NodeIndex): void {
    for (const domains of this.#domains.values()) domains.leave(index)
    for (const column of this.#columns.values()) column.leave(index)
    this.version++
  }

  /** A pod counts on a node from now on (1), or no longer (-1). */
  count(index: NodeIndex, pod: Pod, by: 1 | -1): void {
    const { labels, namespace, shape } = pod
    this.#countAlike(index, pod, by)
    for (const counter of this.#counting.of(labels, namespace)) counter.count(index, pod, by)
    if (shape.podAntiAffinity.length + shape.podAffinity.length + shape.preferredPodTerms.length > 0) {
      const { affinity, antiAffinity, preferred } = this.rulesOf(pod)
      for (const term of antiAffinity) this.#own(this.#repelling, term, 0, index, by)
      for (const term of affinity) this.#own(this.#attracting, term, HARD_AFFINITY_WEIGHT, index, by)
      for (const term of preferred) this.#own(this.#attracting, term, term.weight, index, by)
    }
    this.version++
  }

  /** A namespace is new or has changed its labels; undefined: it is gone. */
  applyNamespace(name: string, labels: Labels | undefined): void {
    const before = this.#labelsOf(name)
    if (labels === undefined) this.#namespaces.delete(name)
    else this.#namespaces.set(name, labels)
    const now = this.#labelsOf(name)
    if (before === now) return
    this.#counting.forget()
    this.#repelling.selecting.forget()
    this.#attracting.selecting.forget()
    const flips = ({ namespaces, namespaceSelector }: PodSelection): boolean =>
      !namespaces.includes(name) &&
      podSelectorMatches(namespaceSelector, before) !== podSelectorMatches(namespaceSelector, now)
    for (const counter of this.#counters.values())
      if (counter.selections.some(flips))
        for (const counts of counter.byDivision.values()) this.#recount(counter, counts)
    this.version++
  }

  /** Everything that differs from a recount of the pods; empty unless there is a bug. */
  discrepancies(): string[] {
    const recount = new Topology(this.#placed)
    for (const index of this.#nodes()) recount.enter(index)
    for (const [name, labels] of this.#namespaces) recount.#namespaces.set(name, labels)
    for (const index of this.#nodes()) for (const pod of this.#placed.podsOn(index)) recount.count(index, pod, 1)
    const wrong: string[] = []
    for (const { byDivision, counted } of this.#counters.values())
      for (const counts of byDivision.values())
        if (counts.differsFrom(recount.counts(counted, counts.domains.division)))
          wrong.push(`topology: ${counts.domains.division.key}: pods counted wrongly of ${counted.key}`)
    const owned = ({ byKey }: OwnedTerms): string[] =>
      Array.from(
        byKey.values().filter(({ pods }) => pods > 0),
        ({ column, key, owners, pods }) =>
          [key, pods, ...Array.from(owners, ([value, count]) => `${column.valueAt(value)} ${count}`).sort()].join(),
      ).sort()
    for (const [mine, theirs] of [
      [owned(this.#repelling), owned(recount.#repelling)],
      [owned(this.#attracting), owned(recount.#attracting)],
    ] as const)
      if (mine.join(';') !== theirs.join(';'))
        wrong.push(`topology: terms of placed pods: ${mine.join('; ')} counted, ${theirs.join('; ')} there`)
    return wrong
  }

  // Within

  #own(terms: OwnedTerms, term: PodTerm | WeightedPodTerm, weight: number, index: NodeIndex, by: 1 | -1): void {
    const key = `${weight} ${term.topologyKey} ${term.counted.key}`
    terms.add(key, term, weight, index, by, this.#columnOf, this.#release)
  }

  readonly #columnOf = (key: string): TopologyColumn => {
    let column = this.#columns.get(key)
    if (column === undefined) {
      const { nodeCapacity } = this.#placed
      column = new TopologyColumn(key)
      for (const index of this.#nodes()) column.enter(index, this.#placed.node(index), nodeCapacity)
      this.#columns.set(key, column)
    }
    return column
  }

  readonly #release = (column: TopologyColumn): void => {
    if (--column.uses === 0) this.#columns.delete(column.key)
  }

  #domainsOf(division: Division): Domains {
    let domains = this.#domains.get(division.key)
    if (domains === undefined) {
      const { nodeCapacity } = this.#placed
      const column = this.#columnOf(division.topologyKey)
      column.uses++
      domains = new Domains(division, column)
      for (const index of this.#nodes()) domains.enter(index, this.#placed.node(index), nodeCapacity)
      this.#domains.set(division.key, domains)
    }
    domains.uses++
    return domains
  }

  #nodes(): Int32Array {
    return this.#placed.order.subarray(0, this.#placed.nodeCount)
  }

  /** Goes through the kinds of pods that are placed, not through the pods. */
  #recount({ counted, selections }: Counter, counts: DomainCounts): void {
    counts.counts.fill(0)
    counts.total = 0
    const [first] = selections
    const namespaces =
      first === undefined || first.namespaceSelector !== undefined ? this.#alike.keys() : first.namespaces
    for (const namespace of namespaces)
      for (const [labels, { leaving, staying }] of this.#alike.get(namespace) ?? []) {
        if (!allMatch(selections, labels, namespace, this.#labelsOf)) continue
        for (const [index, pods] of staying) counts.add(index, pods)
        if (counted.withDeleting) for (const [index, pods] of leaving) counts.add(index, pods)
      }
  }

  #countAlike(index: NodeIndex, { deleting, labels, namespace }: Pod, by: 1 | -1): void {
    let byLabels = this.#alike.get(namespace)
    if (byLabels === undefined) this.#alike.set(namespace, (byLabels = new Map<Labels, Alike>()))
    let alike = byLabels.get(labels)
    if (alike === undefined) byLabels.set(labels, (alike = { staying: new Map(), leaving: new Map() }))
    const byNode = deleting ? alike.leaving : alike.staying
    const pods = (byNode.get(index) ?? 0) + by
    if (pods !== 0) byNode.set(index, pods)
    else {
      byNode.delete(index)
      if (alike.staying.size + alike.leaving.size === 0) byLabels.delete(labels)
      if (byLabels.size === 0) this.#alike.delete(namespace)
    }
  }

  /** A quarter of the counters at once, so that what is remembered of pods stays of use. */
  #dropUnused(): void {
    const bytes = 8 * Math.max(1, this.#placed.nodeCapacity)
    const atMost = Math.min(COUNTERS_AT_MOST, Math.max(COUNTERS_AT_LEAST, COUNTS_BYTES_AT_MOST / bytes))
    if (this.#counters.size <= atMost) return
    const dropped = new Set<Counter>()
    for (const [key, counter] of this.#counters) {
      if (this.#counters.size <= (atMost * 3) / 4) break
      this.#counters.delete(key)
      dropped.add(counter)
      this.#drop(counter)
    }
    this.#counting.prune((counter) => !dropped.has(counter))
  }

  #drop({ byDivision }: Counter): void {
    for (const { domains } of byDivision.values()) {
      if (--domains.uses > 0) continue
      this.#domains.delete(domains.division.key)
      this.#release(domains.column)
    }
    byDivision.clear()
  }
}
