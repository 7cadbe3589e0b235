import type { Pod } from '../cluster/pod.ts'
import type { TopologyColumn } from '../cluster/topology.ts'
import type { ClusterView } from '../cluster/view.ts'
import { MAX_NODE_SCORE } from './kube-scores.ts'

/** What each value of one label is worth. */
interface Worth {
  column: TopologyColumn
  byValue: Float64Array
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
    const range = max - min
    for (let i = 0; i < count; i++)
      // i < count
      values[i] = range > 0 ? Math.floor(MAX_NODE_SCORE * ((values[i]! - min) / range)) : 0
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
