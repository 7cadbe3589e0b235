import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { claim, storageClass, using, volume } from '../cluster/storage.fixture.ts'
import { volumeBinding } from '../constraints/volume-binding.ts'
import { volumeRestrictions } from '../constraints/volume-restrictions.ts'
import { BindFailure } from './ports.ts'
import { World } from './world.fixture.ts'

const uses = (name: string, ...claims: string[]) =>
  pod(name)
    .spec(using(...claims))
    .object()

/** Claims c and d wait for their first consumer; there is one volume for both. */
const begun = async (options: { maxBindsInFlight?: number } = {}): Promise<World> => {
  const world = new World({}, { constraints: [volumeRestrictions, volumeBinding], ...options })
  const { storage } = world.scheduler
  storage.classes.seen(storageClass('waits'))
  for (const name of ['c', 'd']) storage.claims.seen(claim(name))
  storage.volumes.seen(volume('v'))
  return world.begin([node('n').object()])
}

const allThere = { miscounted: [], overcommitted: [] }

describe('pods with claims', () => {
  it('are bound once their claims are', async () => {
    const world = await begun()
    await world.see(uses('p', 'c'))
    assert.deepEqual(world.binder.bound, [])
    assert.deepEqual(
      world.claimBinder.waiting.map((asked) => [asked.pod.name, asked.nodeName]),
      [['p', 'n']],
    )
    world.claimBinder.waiting[0]?.answer()
    await world.quiet()
    assert.deepEqual(world.reporter.lines, ['p -> n'])
  })

  it('whose claims are bound already wait for nobody', async () => {
    const world = await begun()
    world.scheduler.storage.claims.seen(claim('c', { volumeName: 'v', resourceVersion: '2' }))
    await world.see(uses('p', 'c'))
    assert.deepEqual(world.reporter.lines, ['p -> n'])
  })

  it('hold up nobody while their claims are being bound', async () => {
    const world = await begun({ maxBindsInFlight: 1 })
    await world.see(uses('p', 'c'))
    await world.see(pod('q').object(), pod('r').object())
    assert.deepEqual(world.reporter.lines, ['q -> n', 'r -> n'])
    assert.equal(world.scheduler.conservation().inFlight, 1)
  })

  it('never take the volume that another is on its way to', async () => {
    const world = await begun()
    await world.see(uses('p', 'c'), uses('q', 'd'))
    assert.equal(world.claimBinder.waiting.length, 1)
    assert.match(world.reporter.lines.join(), /^q Unschedulable: .*didn't find available persistent volumes to bind/)
  })

  it('give everything back when their claims cannot be bound, and are told why in the words of kube-scheduler', async () => {
    const world = await begun()
    await world.see(uses('p', 'c'))
    world.claimBinder.waiting[0]?.answer(new BindFailure('error', 'binding volumes: provisioning failed for PVC "c"'))
    await world.quiet()
    assert.deepEqual(world.reporter.lines, [
      'p SchedulerError: running PreBind plugin "VolumeBinding": binding volumes: provisioning failed for PVC "c"',
    ])
    assert.equal(world.reporter.nominations.get('p'), '')
    assert.equal(world.cluster.assumedPods, 0)
    assert.equal(world.cluster.volumes.volume('v')?.claimRef, undefined)
    assert.deepEqual(world.cluster.discrepancies(), allThere)
    await world.see(uses('q', 'd'))
    assert.deepEqual(
      world.claimBinder.waiting.map((asked) => asked.pod.name),
      ['q'],
    )
  })

  it('are tried again after their back-off', async () => {
    const world = await begun()
    await world.see(uses('p', 'c'))
    world.claimBinder.waiting[0]?.answer(new BindFailure('conflict', 'the object has been modified'))
    await world.quiet()
    await world.passes(2_000)
    world.claimBinder.waiting[0]?.answer()
    await world.quiet()
    assert.equal(world.reporter.lines.at(-1), 'p -> n')
  })

  it('are not bound where another scheduler has taken the room meanwhile', async () => {
    const world = await begun()
    await world.see(pod('p').cpu('3').spec(using('c')).object())
    await world.see(pod('theirs').cpu('3').scheduler('other').on('n').object())
    world.claimBinder.waiting[0]?.answer()
    await world.quiet()
    assert.deepEqual(world.binder.bound, [])
    assert.deepEqual(world.reporter.lines, [
      'p SchedulerError: running Bind plugin "DefaultBinder": others have taken the room on node n meanwhile',
    ])
    assert.equal(world.cluster.assumedPods, 0)
  })

  it('that are deleted meanwhile leave nothing behind', async () => {
    const world = await begun()
    await world.see(uses('p', 'c'))
    world.scheduler.pods.gone('default', 'p', 'uid-p')
    await world.quiet()
    assert.equal(world.claimBinder.waiting.length, 0)
    assert.deepEqual(world.reporter.lines, [])
    assert.equal(world.scheduler.conservation().deleted, 1)
    assert.equal(world.cluster.volumes.volume('v')?.claimRef, undefined)
  })

  it('do not keep a scheduler from ending', async () => {
    const world = await begun()
    await world.see(uses('p', 'c'))
    await world.scheduler.drain(new AbortController().signal)
    assert.deepEqual(world.binder.bound, [])
    assert.deepEqual(world.reporter.lines, [])
    assert.equal(world.scheduler.conservation().waiting, 1)
  })

  it('are left to the next leader by one that may not decide any more', async () => {
    const world = await begun()
    await world.see(uses('p', 'c'))
    world.scheduler.pause()
    await world.quiet()
    assert.deepEqual(world.binder.bound, [])
    assert.equal(world.scheduler.conservation().waiting, 1)
  })
})

describe('objects about volumes that cannot be read', () => {
  it('are counted and told, and what they were is true no more', async () => {
    const told: string[] = []
    const world = await begun()
    const log = { debug: () => undefined, info: () => undefined, error: () => undefined }
    const other = new World(
      {},
      { log: { ...log, warn: (_, fields) => told.push([fields['kind'], fields['name']].join(' ')) } },
    )
    const broken = { ...volume('v', { resourceVersion: '2' }), spec: { capacity: { storage: 'much' } } }
    other.scheduler.storage.volumes.seen(broken)
    assert.deepEqual(told, ['PersistentVolume v'])
    assert.equal(other.scheduler.stats().unreadable, 1)
    world.scheduler.storage.volumes.seen(broken)
    await world.see(uses('p', 'c'))
    assert.equal(world.claimBinder.waiting.length, 0)
  })
})
