import type { Pod } from '../cluster/pod.ts'
import type { TopologyColumn } from '../cluster/topology.ts'
import type { ClusterView } from '../cluster/view.ts'
import { MAX_NODE_SCORE } from './kube-scores.ts'

/** What each value of one label is worth. */
interface Worth {
  column: TopologyColumn
  byValue: Float64Array
}

/** The least scores 0, the most 100. */
const between = (sum: number, min: number, max: number): number =>
  max > min ? Math.floor(MAX_NODE_SCORE * ((sum - min) / (max - min))) : 0

/** All nodes with the same value of the label score the same: what a value is worth becomes its score. */
const scoreOneLabel = (
  { byValue, column: { size, valueOf } }: Worth,
  nodes: Int32Array,
  count: number,
  values: Float64Array,
): void => {
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < count; i++) {
    // i < count; nodes in use lie within the column, and there is room for every value
    const value = valueOf[nodes[i]!]!
    const sum = value < 0 ? 0 : byValue[value]!
    if (sum < min) min = sum
    if (sum > max) max = sum
  }
  for (let value = 0; value < size; value++) byValue[value] = between(byValue[value]!, min, max)
  const ofWithout = between(0, min, max)
  for (let i = 0; i < count; i++) {
    // as above
    const value = valueOf[nodes[i]!]!
    values[i] = value < 0 ? ofWithout : byValue[value]!
  }
}

/**
 * InterPodAffinity's score: near the pods that it prefers, and near those that prefer or require it; away from those that it,
 * or who, would rather not.
 */
export class PodAffinityScore {
  readonly #worths: Worth[] = []
  #used = 0

  /** Writes a value for each node; false: the rule does not concern the pod. */
  score(pod: Pod, nodes: Int32Array, count: number, { topology }: ClusterView, values: Float64Array): boolean {
    this.#used = 0
    let concerned = false
    if (pod.shape.preferredPodTerms.length > 0)
      for (const { counted, division, weight } of topology.rulesOf(pod).preferred) {
        const { column, counts, total } = topology.counts(counted, division)
        if (total === 0) continue
        concerned = true
        const worth = this.#worthOf(column)
        // counts has room for every value
        for (let value = 0; value < column.size; value++) worth[value]! += weight * counts[value]!
      }
    for (const { column, owners, weight } of topology.termsAbout(pod)) {
      if (owners.size === 0) continue
      concerned = true
      const worth = this.#worthOf(column)
      for (const [value, pods] of owners) worth[value]! += weight * pods
    }
    if (!concerned) return false
    const [only] = this.#worths
    if (only !== undefined && this.#used === 1) {
      scoreOneLabel(only, nodes, count, values)
      return true
    }
    values.fill(0, 0, count)
    for (let at = 0; at < this.#used; at++) {
      // at < length
      const { byValue, column } = this.#worths[at]!
      const { valueOf } = column
      for (let i = 0; i < count; i++) {
        // i < count; nodes in use lie within the column
        const value = valueOf[nodes[i]!]!
        if (value >= 0) values[i]! += byValue[value]!
      }
    }
    let min = Number.POSITIVE_INFINITY
    let max = Number.NEGATIVE_INFINITY
    for (let i = 0; i < count; i++) {
      // i < count
      const sum = values[i]!
      if (sum < min) min = sum
      if (sum > max) max = sum
    }
    for (let i = 0; i < count; i++)
      // i < count
      values[i] = between(values[i]!, min, max)
    return true
  }

  /** What the values of a label are worth so far, in memory that is used again. */
  #worthOf(column: TopologyColumn): Float64Array {
    for (let at = 0; at < this.#used; at++) {
      const known = this.#worths[at]
      if (known?.column === column) return known.byValue
    }
    let worth = this.#worths[this.#used]
    if (worth === undefined) this.#worths.push((worth = { column, byValue: new Float64Array(column.size) }))
    else if (worth.byValue.length < column.size) worth.byValue = new Float64Array(column.size * 2)
    else worth.byValue.fill(0, 0, column.size)
    worth.column = column
    this.#used++
    return worth.byValue
  }
}
