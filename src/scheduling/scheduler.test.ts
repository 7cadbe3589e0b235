import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { policyOf, World } from './testing.ts'

describe('the scheduler', () => {
  it('binds a pod to the node that its policy ranks first', async () => {
    const world = await new World().begin([node('small').cpu('2').object(), node('big').cpu('8').object()])
    await world.see(pod('a').cpu('1').object())
    assert.deepEqual(world.binder.bound, [{ uid: 'uid-a', nodeName: 'big' }])
    assert.deepEqual(world.reporter.lines, ['a -> big'])
    const record = world.decisions.of('a')
    assert.equal(record.outcome, 'bound')
    assert.deepEqual(
      record.candidates.map((candidate) => [candidate.node, candidate.score]),
      [
        ['big', 8000],
        ['small', 2000],
      ],
    )
    assert.equal(policyOf.length, 1)
  })
})
