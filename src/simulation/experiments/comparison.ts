import type { ExperimentRecord, Metric } from './record.ts'
import { adjustHolm, comparePaired, type Estimate, estimate, type PairedComparison } from './statistics.ts'

/** One policy under one pattern by one metric, held against the best heuristic there. */
export interface ComparedCell {
  readonly metric: string
  readonly pattern: string
  readonly policy: string
  readonly estimate: Estimate
  readonly isLearned: boolean
  /** the heuristic with the best mean; the same policy where it is that one */
  readonly bestHeuristic: string
  /** this policy minus the best heuristic on the same seeds; undefined for itself, or where seeds are missing */
  readonly difference: PairedComparison | undefined
  /** p of the paired t test, by Holm adjusted to the number of policies compared under this pattern by this metric */
  readonly pAdjusted: number | undefined
  /** what the difference says, at 5 % */
  readonly verdict: 'best' | 'better' | 'worse' | 'undecided'
}

/** Chance of a false finding that is put up with, over the policies of one comparison together. */
export const SIGNIFICANCE = 0.05

/** Policies that were trained, by how they are called; every other is a heuristic. */
export const isLearned = (policy: string): boolean => /^(learned|drl|ppo|dqn|rl)([_-]|$)/.test(policy)

const bestOf = (means: readonly (readonly [policy: string, mean: number])[], better: Metric['better']): string => {
  const sign = better === 'higher' ? 1 : -1
  const [first = '', ...rest] = means.map(([policy]) => policy)
  const meanOf = new Map(means)
  return rest.reduce(
    (best, policy) => (sign * ((meanOf.get(policy) ?? 0) - (meanOf.get(best) ?? 0)) > 0 ? policy : best),
    first,
  )
}

/** Every policy against the best heuristic, by metric and pattern, in the record's order. */
export const comparisons = (record: ExperimentRecord): ComparedCell[] => {
  const { measurements, metrics, patterns, policies, seeds } = record
  const values = new Map<string, Map<number, number>>()
  const keyOf = (metric: string, pattern: string, policy: string): string => `${metric}\n${pattern}\n${policy}`
  for (const { metric, pattern, policy, seed, value } of measurements) {
    const key = keyOf(metric, pattern, policy)
    const ofCell = values.get(key) ?? new Map<number, number>()
    values.set(key, ofCell.set(seed, value))
  }
  const cells: ComparedCell[] = []
  for (const { better, name: metric } of metrics)
    for (const pattern of patterns) {
      const measured = policies.flatMap((policy) => {
        const bySeed = values.get(keyOf(metric, pattern, policy))
        return bySeed === undefined ? [] : [{ policy, bySeed, estimate: estimate([...bySeed.values()]) }]
      })
      if (measured.length === 0) continue
      const heuristics = measured.filter(({ policy }) => !isLearned(policy))
      const bestHeuristic = bestOf(
        (heuristics.length > 0 ? heuristics : measured).map((one) => [one.policy, one.estimate.mean]),
        better,
      )
      const best = measured.find(({ policy }) => policy === bestHeuristic)
      const differences = measured.map((one) => {
        const both = seeds.flatMap((seed): [number, number][] => {
          const mine = one.bySeed.get(seed)
          const its = best?.bySeed.get(seed)
          return mine === undefined || its === undefined ? [] : [[mine, its]]
        })
        return one === best || both.length === 0
          ? undefined
          : comparePaired(
              both.map(([mine]) => mine),
              both.map(([, its]) => its),
            )
      })
      const tested = differences.flatMap((difference, at) =>
        difference?.pT === undefined ? [] : [{ at, p: difference.pT }],
      )
      const adjusted = adjustHolm(tested.map(({ p }) => p))
      const pOf = new Map(tested.map(({ at }, index) => [at, adjusted[index] ?? 1]))
      for (const [at, one] of measured.entries()) {
        const difference = differences[at]
        const pAdjusted = pOf.get(at)
        const gain = difference === undefined ? 0 : difference.meanDifference * (better === 'higher' ? 1 : -1)
        cells.push({
          metric,
          pattern,
          policy: one.policy,
          estimate: one.estimate,
          isLearned: isLearned(one.policy),
          bestHeuristic,
          difference,
          pAdjusted,
          verdict:
            one === best
              ? 'best'
              : pAdjusted === undefined || pAdjusted >= SIGNIFICANCE || gain === 0
                ? 'undecided'
                : gain > 0
                  ? 'better'
                  : 'worse',
        })
      }
    }
  return cells
}
