import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { VirtualClock } from '../clock/clock.ts'
import type { Policy } from '../policies/policy.ts'
import { createPolicy, policyNames } from '../policies/registry.ts'
import { warmUp } from './warm-up.ts'

const counting = (policy: Policy): { policy: Policy; ranked: () => number } => {
  let ranked = 0
  const counted: Policy = {
    name: policy.name,
    version: policy.version,
    rank: (...args) => {
      ranked++
      return policy.rank(...args)
    },
  }
  return { policy: counted, ranked: () => ranked }
}

const profile = (policy: Policy) => ({ schedulerName: 's', policy, fallback: undefined, deadlineMs: 1000 })

describe('warming up', () => {
  for (const name of policyNames)
    it(`makes hundreds of decisions with ${name}, so that the first real one is not the first`, () => {
      const { policy, ranked } = counting(createPolicy(name))
      warmUp([profile(policy)], new VirtualClock())
      assert.equal(ranked(), 1000)
    })

  it('leaves alone a policy that answers later, after one question', () => {
    const { policy, ranked } = counting({ name: 'slow', version: '1', rank: () => new Promise(() => {}) })
    warmUp([profile(policy)], new VirtualClock())
    assert.equal(ranked(), 1)
  })

  it('does not keep a scheduler from starting whose policy throws', () => {
    const broken = { name: 'broken', version: '1', rank: () => assert.fail('no opinion') }
    warmUp([profile(broken)], new VirtualClock())
  })
})
