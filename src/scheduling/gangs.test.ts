import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { node, pod, type PodBuilder } from '../../test/builders.ts'
import { BindFailure } from './ports.ts'
import { emptiest, policyOf, World } from './world.fixture.ts'

/** A member of a gang of so many. */
const member = (name: string, gang: string, size: number): PodBuilder =>
  pod(name).cpu(1).annotation('stowage.dev/gang', gang).annotation('stowage.dev/gang-size', `${size}`)

const members = (gang: string, count: number, size = count): PodBuilder[] =>
  Array.from({ length: count }, (_, number) => member(`${gang}-${number}`, gang, size))

const objects = (builders: readonly PodBuilder[]) => builders.map((builder) => builder.object())

const nodes = (count: number, cpu: number) =>
  Array.from({ length: count }, (_, number) => node(`n${number}`).cpu(cpu).object())

const boundNames = ({ binder }: World): string[] => binder.bound.map(({ uid }) => uid.replace('uid-', '')).sort()

describe('a gang', () => {
  it('is placed when enough of its members are there, and not before', async () => {
    const [a, b, c] = objects(members('a', 3))
    const world = await new World().begin(nodes(3, 1), [a!, b!])
    assert.deepEqual(boundNames(world), [])
    assert.equal(world.scheduler.conservation().gated, 2)
    await world.see(c!)
    assert.deepEqual(boundNames(world), ['a-0', 'a-1', 'a-2'])
    assert.equal(world.scheduler.conservation().bound, 3)
  })
})
