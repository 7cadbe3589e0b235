import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { leaseNameOf } from './scheduling-system.ts'

describe('the lease of a scheduler', () => {
  it('is shared by replicas, in whatever order they name their profiles', () => {
    assert.equal(leaseNameOf(['a', 'b']), leaseNameOf(['b', 'a']))
  })

  it('is not shared by schedulers of other pods, which would stand by for ever', () => {
    assert.notEqual(leaseNameOf(['default-scheduler']), leaseNameOf(['batch']))
    assert.notEqual(leaseNameOf(['a', 'b']), leaseNameOf(['a']))
  })

  it('is a name that the API server takes, whatever the profiles are called', () => {
    assert.match(leaseNameOf(['Some_Name.of-a/Profile']), /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
  })
})
