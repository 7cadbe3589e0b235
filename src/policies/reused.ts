import type { Ranking, ScoreTerm } from './policy.ts'

/** A term whose values are written anew at each ranking into the same room, which grows with the number of candidates. */
export class ReusedTerm implements ScoreTerm {
  readonly name: string
  readonly weight: number
  values = new Float64Array(0)

  constructor(name: string, weight: number) {
    this.name = name
    this.weight = weight
  }

  /** Room for `count` values; what stands there is left over from before. */
  room(count: number): Float64Array {
    if (this.values.length < count) this.values = new Float64Array(count * 2)
    return this.values
  }
}

/** A ranking that is filled anew each time; `scores` and the terms' values may be longer than there are candidates. */
export class ReusedRanking {
  readonly ranking: { -readonly [Key in keyof Ranking]: Ranking[Key] }

  constructor(terms: readonly ScoreTerm[]) {
    this.ranking = { scores: new Float64Array(0), terms, source: 'heuristic' }
  }

  /** Room for the scores of `count` candidates. */
  room(count: number): Float64Array {
    if (this.ranking.scores.length < count) this.ranking.scores = new Float64Array(count * 2)
    return this.ranking.scores
  }
}
