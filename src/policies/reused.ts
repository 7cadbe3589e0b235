import type { Ranking, ScoreTerm } from './policy.ts'

/** Doubles of the length asked for last, in memory that is used again and grows with the largest. */
class ReusedDoubles {
  #memory = new Float64Array(0)
  view = this.#memory

  /** What stands there is left over from before. */
  room(count: number): Float64Array {
    if (this.view.length === count) return this.view
    if (this.#memory.length < count) this.#memory = new Float64Array(count * 2)
    this.view = this.#memory.subarray(0, count)
    return this.view
  }
}

/** A term whose values are written anew at each ranking. */
export class ReusedTerm implements ScoreTerm {
  readonly name: string
  readonly weight: number
  readonly #values = new ReusedDoubles()
  /** what it says of every candidate; undefined: that stands in the values */
  #same: number | undefined

  constructor(name: string, weight: number) {
    this.name = name
    this.weight = weight
  }

  get values(): Float64Array {
    return this.#values.view
  }

  /** Room for one value a candidate. */
  room(count: number): Float64Array {
    this.#same = undefined
    return this.#values.room(count)
  }

  /** It says the same of every candidate. */
  same(value: number): void {
    this.#same = value
  }

  valueAt(candidate: number): number {
    return this.#same ?? this.values[candidate] ?? 0
  }
}

/** A term whose values are kept by node. */
export class NodeTerm implements ScoreTerm {
  readonly name: string
  readonly weight: number
  #byNode: ArrayLike<number> = []
  #nodes: Int32Array = new Int32Array(0)

  constructor(name: string, weight: number) {
    this.name = name
    this.weight = weight
  }

  /** @param nodes the candidates */
  take(byNode: ArrayLike<number>, nodes: Int32Array): void {
    this.#byNode = byNode
    this.#nodes = nodes
  }

  valueAt(candidate: number): number {
    return this.#byNode[this.#nodes[candidate] ?? -1] ?? 0
  }
}

/** A ranking that is filled anew each time. */
export class ReusedRanking {
  readonly ranking: { -readonly [Key in keyof Ranking]: Ranking[Key] }
  readonly #scores = new ReusedDoubles()

  constructor(terms: readonly ScoreTerm[]) {
    this.ranking = { scores: this.#scores.view, terms, source: 'heuristic' }
  }

  /** Room for one score a candidate. */
  room(count: number): Float64Array {
    this.ranking.scores = this.#scores.room(count)
    return this.ranking.scores
  }
}
