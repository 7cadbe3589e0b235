import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { comparisons, isLearned } from './comparison.ts'
import { recordOf } from './record.fixture.ts'

const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
/** The same noise for each policy: differences are as clear as they are. */
const around = (mean: number, own = 0): number[] =>
  SEEDS.map((seed) => mean + Math.sin(seed) + own * Math.cos(7 * seed))
const verdicts = (values: Readonly<Record<string, readonly number[]>>, better: 'higher' | 'lower' = 'higher') =>
  new Map(comparisons(recordOf(values, { better })).map((cell) => [cell.policy, cell]))

describe('comparing policies', () => {
  it('holds each against the best heuristic, on the same seeds', () => {
    const cells = verdicts({ borg: around(10), fgd: around(12), random: around(5) })
    assert.deepEqual(
      [...cells].map(([policy, { bestHeuristic, verdict }]) => [policy, bestHeuristic, verdict]),
      [
        ['borg', 'fgd', 'worse'],
        ['fgd', 'fgd', 'best'],
        ['random', 'fgd', 'worse'],
      ],
    )
    assert.ok(Math.abs((cells.get('borg')?.difference?.meanDifference ?? 0) + 2) < 1e-9)
  })

  it('takes less for better where less is', () => {
    const cells = verdicts({ borg: around(10), fgd: around(12) }, 'lower')
    assert.equal(cells.get('fgd')?.verdict, 'worse')
    assert.equal(cells.get('borg')?.verdict, 'best')
  })

  it('never takes a learned policy for the bar, and says so where it beats it and where it does not', () => {
    assert.deepEqual(['learned', 'drl-v2', 'ppo_7', 'borg', 'learnedness'].map(isLearned), [
      true,
      true,
      true,
      false,
      false,
    ])
    const cells = verdicts({ borg: around(10), learned: around(12), ppo: around(10.02, 2), drl: around(9) })
    assert.equal(cells.get('learned')?.bestHeuristic, 'borg')
    assert.deepEqual(
      ['learned', 'ppo', 'drl'].map((policy) => cells.get(policy)?.verdict),
      ['better', 'undecided', 'worse'],
    )
  })

  it('says nothing of one seed', () => {
    const cells = verdicts({ borg: [10], fgd: [99] })
    assert.equal(cells.get('borg')?.verdict, 'undecided')
    assert.equal(cells.get('borg')?.pAdjusted, undefined)
  })

  it('asks more of each where many are compared: of twenty that are all alike none is called better', () => {
    const values = Object.fromEntries(
      Array.from({ length: 20 }, (_, at) => [
        `p${at}`,
        SEEDS.map((seed) => 10 + Math.sin(seed * 12.9898 + at * 78.233) * 3),
      ]),
    )
    for (const { verdict } of verdicts(values).values()) assert.notEqual(verdict, 'better')
  })
})
