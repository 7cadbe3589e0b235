import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Random, seededRandom } from '../../clock/random.ts'
import type { Environment, Observation } from './environment.ts'

export interface EnvironmentContract<E extends Environment> {
  readonly name: string
  /** a new one, whose episodes have at least a few dozen steps */
  readonly create: () => E
  /** how far observations may lie outside 0 to 1 @default 0.001 */
  readonly slack?: number
  /** what the mask must be at this moment, found out in another way; undefined: the mask is tried out only */
  readonly expectedMask?: (environment: E) => ArrayLike<number>
}

const STEPS = 300

/** A choice for each part of the action that the mask allows. */
const drawAction = ({ mask }: Observation, sizes: readonly number[], random: Random): number[] => {
  let first = 0
  return sizes.map((size) => {
    const allowed: number[] = []
    for (let choice = 0; choice < size; choice++) if (mask[first + choice] === 1) allowed.push(choice)
    first += size
    assert.ok(allowed.length > 0, 'there is a choice for each part')
    return allowed[random.below(allowed.length)] ?? -1
  })
}

interface Trail {
  readonly features: number[][]
  readonly masks: number[][]
  readonly rewards: number[]
  readonly ends: string[]
  readonly actions: number[][]
}

/** Plays random allowed actions through some episodes. */
const play = (environment: Environment, seed: number, steps = STEPS, choices = seed): Trail => {
  const random = seededRandom(choices)
  const trail: Trail = { features: [], masks: [], rewards: [], ends: [], actions: [] }
  let episode = seed
  let seen = environment.reset(episode)
  for (let at = 0; at < steps; at++) {
    trail.features.push([...seen.features])
    trail.masks.push([...seen.mask])
    const action = drawAction(seen, environment.actionSizes, random)
    const step = environment.step(action)
    trail.actions.push(action)
    trail.rewards.push(step.reward)
    trail.ends.push(step.terminated ? 'terminated' : step.truncated ? 'truncated' : '')
    seen = step.terminated || step.truncated ? environment.reset(++episode) : step
  }
  return trail
}

/** What every environment holds. */
export const environmentContract = <E extends Environment>(contract: EnvironmentContract<E>): void => {
  const { create, name, slack = 0.001 } = contract
  describe(`the environment ${name}`, () => {
    it('says how much it observes and how many choices there are', () => {
      const environment = create()
      const { features, mask } = environment.reset(1)
      assert.equal(features.length, environment.observationSize)
      assert.equal(
        mask.length,
        environment.actionSizes.reduce((sum, size) => sum + size, 0),
      )
      assert.ok([...mask].every((allowed) => allowed === 0 || allowed === 1))
    })

    it('repeats with its seed, to the bit, also when it was used before, and differs with another', () => {
      const used = create()
      play(used, 9, 50)
      const first = play(create(), 3)
      assert.deepEqual(play(used, 3), first)
      assert.notDeepEqual(play(create(), 4, STEPS, 3).features, first.features)
    })

    it('observes finite numbers of about 0 to 1, and rewards with finite ones', () => {
      const { features, rewards } = play(create(), 5)
      for (const row of features)
        for (const [at, value] of row.entries())
          assert.ok(value >= -slack && value <= 1 + slack, `feature ${at} is ${value}`)
      assert.ok(rewards.every(Number.isFinite))
    })

    it('does not give one constant reward, and its actions have an effect', () => {
      const one = play(create(), 6, 60, 1)
      const other = play(create(), 6, 60, 2)
      assert.ok(new Set(one.rewards).size > 1, 'rewards differ')
      assert.notDeepEqual(one.actions, other.actions)
      assert.notDeepEqual(one.features, other.features)
      assert.notDeepEqual(one.rewards, other.rewards)
    })

    it('refuses a choice that the mask rules out or that there is not, and changes nothing by it', () => {
      const environment = create()
      const { actionSizes } = environment
      let seen = environment.reset(7)
      const random = seededRandom(7)
      let refused = 0
      for (let at = 0; at < STEPS; at++) {
        const good = drawAction(seen, actionSizes, random)
        const before = [[...seen.features], [...seen.mask]]
        let first = 0
        for (const [part, size] of actionSizes.entries()) {
          for (const choice of [-1, size, 0.5, Number.NaN, ...Array.from({ length: size }, (_, one) => one)]) {
            if (seen.mask[first + choice] === 1 && choice < size) continue
            refused++
            assert.throws(() => environment.step(good.with(part, choice)), /BAD_REQUEST/)
          }
          first += size
        }
        assert.throws(() => environment.step([]), /BAD_REQUEST/)
        assert.deepEqual([[...seen.features], [...seen.mask]], before)
        const step = environment.step(good)
        if (step.terminated || step.truncated) break
        seen = step
      }
      assert.ok(refused > 0)
    })

    it('takes no step before a reset, nor after the end', () => {
      const environment = create()
      assert.throws(() => environment.step(environment.actionSizes.map(() => 0)), /BAD_REQUEST/)
      let seen = environment.reset(8)
      const random = seededRandom(8)
      for (let at = 0; at < 100_000; at++) {
        const step = environment.step(drawAction(seen, environment.actionSizes, random))
        assert.ok(!(step.terminated && step.truncated), 'an end is a termination or a truncation')
        if (step.terminated || step.truncated) {
          assert.throws(() => environment.step(environment.actionSizes.map(() => 0)), /BAD_REQUEST/)
          return
        }
        seen = step
      }
      assert.fail('the episode does not end')
    })

    it('where rewards are changes of a potential, they add up to its difference, and the terms are what it is made of', () => {
      const environment = create()
      if (environment.potential === undefined) return
      const random = seededRandom(11)
      let seen: Observation = environment.reset(11)
      const before = environment.potential
      let sum = 0
      for (let at = 0; at < STEPS; at++) {
        const step = environment.step(drawAction(seen, environment.actionSizes, random))
        sum += step.reward
        assert.equal(step.terms?.length, environment.rewardTerms?.length)
        assert.ok(Math.abs(sum - (environment.potential - before)) < 1e-9, `${sum} after ${at + 1} steps`)
        if (step.terminated || step.truncated) break
        seen = step
      }
      assert.notEqual(sum, 0)
    })

    if (contract.expectedMask !== undefined) {
      const { expectedMask } = contract
      it('masks exactly what is not possible', () => {
        const environment = create()
        const random = seededRandom(12)
        let seen: Observation = environment.reset(12)
        let masked = 0
        for (let at = 0; at < STEPS; at++) {
          assert.deepEqual([...seen.mask], Array.from(expectedMask(environment)), `at step ${at}`)
          masked += [...seen.mask].filter((allowed) => allowed === 0).length
          const step = environment.step(drawAction(seen, environment.actionSizes, random))
          if (step.terminated || step.truncated) seen = environment.reset(at)
          else seen = step
        }
        assert.ok(masked > 0, 'something was not possible')
      })
    }
  })
}
