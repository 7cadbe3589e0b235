import { HOSTNAME_LABEL } from '../cluster/node.ts'
import { BY_NODE, defaultSpreadOf, type SoftSpread, type SpreadRule } from '../cluster/pod-rules.ts'
import type { Labels, Pod, PodSelector, PodShape } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'
import { MAX_NODE_SCORE } from './kube-scores.ts'

/** What one constraint says of nodes, at the current ranking. */
interface Preference {
  /** by node: the value of its label, -1 without it */
  valueOf: Int32Array
  /** pods in the node's domain: by `domainOf` */
  counts: Int32Array
  domainOf: Int32Array
  /** the more domains there are, the more a pod in one of them counts */
  weight: number
  /** what a node scores that has the label at all */
  base: number
}

/** Not to be scored: the node lacks a label. Raw scores are never negative. */
const IGNORED = -1

/**
 * PodTopologySpread's score: few of the pod's own in the node's domains are good. Constraints that are only preferred; for a
 * pod without any constraint kube-scheduler's System defaults, where a Service or controller selects the pod.
 */
export class SpreadScore {
  readonly #preferences: Preference[] = []
  /** by value of a column: the number of the last ranking's constraint that met it */
  #met = new Int32Array(0)
  #meeting = 0
  /** the values that the nodes of a ranking have, and by value what it scores */
  #values = new Int32Array(0)
  #scoreOf = new Float64Array(0)
  readonly #defaults = new WeakMap<
    PodShape,
    WeakMap<Labels, { selector: PodSelector; namespace: string; spread: SoftSpread }>
  >()

  /** Writes a value for each node; false: the rule does not concern the pod. */
  score(pod: Pod, nodes: Int32Array, count: number, cluster: ClusterView, values: Float64Array): boolean {
    const spread = this.#spreadOf(pod, cluster)
    if (spread === undefined) return false
    const [only] = spread.rules
    if (only !== undefined && spread.rules.length === 1 && only.topologyKey !== HOSTNAME_LABEL) {
      this.#scoreDomains(only, spread.requiresKeys, nodes, count, cluster, values)
      return true
    }
    const preferences = this.#prepare(spread, nodes, count, cluster, values)
    // A loop for each constraint: with a loop over constraints within, it would be half as fast.
    for (const { base, counts, domainOf, valueOf, weight } of preferences)
      for (let i = 0; i < count; i++) {
        // i < count <= length of both; nodes in use lie within the columns, and counts have room for every domain
        const node = nodes[i]!
        if (valueOf[node]! >= 0 && values[i]! >= 0) values[i]! += counts[domainOf[node]!]! * weight + base
      }
    let max = 0
    let min = Number.POSITIVE_INFINITY
    for (let i = 0; i < count; i++) {
      // i < count
      if (values[i] === IGNORED) continue
      const raw = Math.round(values[i]!)
      values[i] = raw
      if (raw > max) max = raw
      if (raw < min) min = raw
    }
    for (let i = 0; i < count; i++) {
      // i < count
      const raw = values[i]!
      if (raw === IGNORED) values[i] = 0
      else values[i] = max === 0 ? MAX_NODE_SCORE : Math.floor((MAX_NODE_SCORE * (max + min - raw)) / max)
    }
    return true
  }

  #spreadOf(pod: Pod, cluster: ClusterView): SoftSpread | undefined {
    if (pod.shape.spread.length > 0) return cluster.topology.rulesOf(pod).softSpread
    const selector = cluster.defaultSelectors.of(pod)
    if (selector === undefined) return undefined
    let byLabels = this.#defaults.get(pod.shape)
    if (byLabels === undefined) this.#defaults.set(pod.shape, (byLabels = new WeakMap()))
    let known = byLabels.get(pod.labels)
    if (known === undefined || known.selector !== selector || known.namespace !== pod.namespace) {
      known = { selector, namespace: pod.namespace, spread: defaultSpreadOf(pod, selector) }
      byLabels.set(pod.labels, known)
    }
    return known.spread
  }

  /** As `score` for one constraint of zones and the like: all nodes of a domain score the same. */
  #scoreDomains(
    { counted, division, maxSkew }: SpreadRule,
    requiresKeys: boolean,
    nodes: Int32Array,
    count: number,
    { topology }: ClusterView,
    values: Float64Array,
  ): void {
    const { column, counts } = topology.counts(counted, division)
    const { valueOf } = column
    if (this.#met.length < column.size) this.#met = new Int32Array(column.size * 2)
    if (this.#values.length < column.size) {
      this.#values = new Int32Array(column.size * 2)
      this.#scoreOf = new Float64Array(column.size * 2)
    }
    const met = this.#met
    const meeting = ++this.#meeting
    let domains = 0
    let without = 0
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length; nodes in use lie within the column, and there is room for every value
      const value = valueOf[nodes[i]!]!
      if (value < 0) without++
      else if (met[value] !== meeting) {
        met[value] = meeting
        this.#values[domains++] = value
      }
    }
    // A node without the label scores nothing where the label is required, else like one of an empty domain.
    const counting = !requiresKeys && without > 0 ? 1 : 0
    const weight = Math.log(domains + counting + 2)
    const found = this.#values.subarray(0, domains)
    const scoreOf = this.#scoreOf
    const base = maxSkew - 1
    let max = 0
    let min = counting > 0 ? 0 : Number.POSITIVE_INFINITY
    for (const value of found) {
      // counts has room for every value
      const raw = Math.round(counts[value]! * weight + base)
      scoreOf[value] = raw
      if (raw > max) max = raw
      if (raw < min) min = raw
    }
    const normalized = (raw: number): number =>
      max === 0 ? MAX_NODE_SCORE : Math.floor((MAX_NODE_SCORE * (max + min - raw)) / max)
    for (const value of found) scoreOf[value] = normalized(scoreOf[value]!)
    const ofWithout = counting > 0 ? normalized(0) : 0
    for (let i = 0; i < count; i++) {
      // as above
      const value = valueOf[nodes[i]!]!
      values[i] = value < 0 ? ofWithout : scoreOf[value]!
    }
  }

  /** The constraints as they are now; `values` holds `IGNORED` for nodes that lack a label, 0 for the others. */
  #prepare(
    { requiresKeys, rules }: SoftSpread,
    nodes: Int32Array,
    count: number,
    { topology }: ClusterView,
    values: Float64Array,
  ): readonly Preference[] {
    const preferences = this.#preferences
    preferences.length = 0
    for (const { counted, division, maxSkew, topologyKey } of rules) {
      const perNode = topologyKey === HOSTNAME_LABEL
      const { column, counts } = topology.counts(counted, perNode ? BY_NODE : division)
      const { valueOf } = perNode ? topology.hostnames : column
      preferences.push({ valueOf, counts, domainOf: column.valueOf, weight: 0, base: maxSkew - 1 })
    }
    values.fill(0, 0, count)
    let ignored = 0
    if (requiresKeys)
      for (const { valueOf } of preferences)
        for (let i = 0; i < count; i++)
          // as in `score`
          if (valueOf[nodes[i]!]! < 0 && values[i] === 0) {
            values[i] = IGNORED
            ignored++
          }
    for (const [at, preference] of preferences.entries()) {
      const domains =
        rules[at]?.topologyKey === HOSTNAME_LABEL
          ? count - ignored
          : this.#domains(preference.valueOf, nodes, count, values)
      preference.weight = Math.log(domains + 2)
    }
    return preferences
  }

  /** How many values the nodes have that are not ignored; to have none is one, too. */
  #domains(valueOf: Int32Array, nodes: Int32Array, count: number, values: Float64Array): number {
    const meeting = ++this.#meeting
    let domains = 0
    let without = 0
    let met = this.#met
    for (let i = 0; i < count; i++) {
      if (values[i] === IGNORED) continue
      // as in `score`
      const value = valueOf[nodes[i]!]!
      if (value < 0) without = 1
      else {
        if (value >= met.length) {
          const larger = new Int32Array(Math.max(64, value * 2))
          larger.set(met)
          this.#met = met = larger
        }
        if (met[value] !== meeting) {
          met[value] = meeting
          domains++
        }
      }
    }
    return domains + without
  }
}
