import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { createConstraints } from '../constraints/registry.ts'
import { createPolicy } from '../policies/registry.ts'
import { World } from './world.fixture.ts'

const ZONE = 'topology.kubernetes.io/zone'
const twoZones = ['a', 'b'].map((zone) => node(zone).label(ZONE, zone).object())
const metadata = { namespace: 'default', name: 'web' }
const web = (name: string) => pod(name).label('app', 'web')

describe('what is read of namespaces, Services and controllers', () => {
  it('is there before anything is decided', async () => {
    const world = new World({ policy: createPolicy('kube-default') })
    const { disruptionBudgets, namespaces, nodes, pods, selectors, storage } = world.scheduler
    for (const object of twoZones) nodes.seen(object)
    pods.seen(pod('p').object())
    for (const feed of [nodes, pods, disruptionBudgets, ...Object.values(storage)]) feed.synced()
    world.scheduler.start()
    await world.quiet()
    for (const feed of [namespaces, ...Object.values(selectors ?? {})]) {
      assert.deepEqual(world.reporter.lines, [])
      // A relist is no other feed.
      feed.synced()
      feed.synced()
      await world.quiet()
    }
    assert.equal(world.reporter.lines.length, 1)
  })

  it('is not asked for where no policy looks at it', () => {
    assert.equal(new World({ policy: createPolicy('least_loaded') }).scheduler.selectors, undefined)
    assert.notEqual(new World({ policy: createPolicy('most_allocated') }).scheduler.selectors, undefined)
    const asFallback = new World({ policy: createPolicy('least_loaded'), fallback: createPolicy('kube-default') })
    assert.notEqual(asFallback.scheduler.selectors, undefined)
  })

  it('spreads the pods of a Service that say nothing of it themselves', async () => {
    const world = new World({ policy: createPolicy('kube-default') })
    world.scheduler.selectors?.services.seen({ metadata, spec: { selector: { app: 'web' } } })
    // So that room alone would speak for zone a.
    const filler = pod('filler').cpu('1').memory('4Gi').on('b').object()
    await world.begin(twoZones, [filler, web('first').on('a').object(), web('second').object()])
    assert.deepEqual(world.reporter.lines, ['second -> b'])
  })

  it('is no more once the Service is gone, or cannot be read', async () => {
    for (const end of ['gone', 'broken']) {
      const world = new World({ policy: createPolicy('kube-default') })
      const services = world.scheduler.selectors?.services
      services?.seen({ metadata, spec: { selector: { app: 'web' } } })
      if (end === 'gone') services?.gone('default', 'web', '')
      else services?.seen({ metadata, spec: { selector: { app: 7 as unknown as string } } })
      const filler = pod('filler').cpu('1').memory('4Gi').on('b').object()
      await world.begin(twoZones, [filler, web('first').on('a').object(), web('second').object()])
      assert.deepEqual(world.reporter.lines, ['second -> a'], end)
      assert.equal(world.scheduler.stats().unreadable, end === 'broken' ? 1 : 0)
    }
  })

  it('tells which namespaces a term speaks of, as their labels are now', async () => {
    const world = new World({}, { constraints: createConstraints() })
    const team = (name: string) =>
      world.scheduler.namespaces.seen({ metadata: { name: 'other', labels: { team: name } } })
    team('a')
    const avoiding = (name: string) =>
      pod(name)
        .spec({
          affinity: {
            podAntiAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: [
                { topologyKey: ZONE, labelSelector: {}, namespaceSelector: { matchLabels: { team: 'a' } } },
              ],
            },
          },
        })
        .object()
    const there = ['a', 'b'].map((on) => pod(`there-${on}`).namespace('other').on(on).object())
    await world.begin(twoZones, [...there, avoiding('early')])
    assert.match(world.reporter.lines.join(), /^early Unschedulable: 0\/2 nodes .*anti-affinity rules/)
    team('b')
    await world.see(avoiding('late'))
    assert.match(world.reporter.lines.at(-1) ?? '', /^late -> /)
    team('a')
    await world.see(avoiding('later'))
    assert.match(world.reporter.lines.at(-1) ?? '', /^later Unschedulable/)
    world.scheduler.namespaces.gone('', 'other', '')
    await world.see(avoiding('last'))
    assert.match(world.reporter.lines.at(-1) ?? '', /^last -> /)
  })
})
