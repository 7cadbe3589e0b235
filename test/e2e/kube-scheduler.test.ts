import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { seededRandom } from '../../src/clock/random.ts'
import type { Container } from '../../src/cluster/objects.ts'
import { label, node, nodeName, pod, type PodBuilder, term } from '../builders.ts'
import { type ControlPlane, realControlPlane } from '../real-control-plane.ts'
import { Cluster } from './cluster.ts'
import { type RunningScheduler, startScheduler } from './scheduler.ts'

/** The API server wants limits of devices, equal to the requests. */
const device = (resource: string, amount: string): Container => ({
  name: 'device',
  image: 'app',
  resources: { requests: { [resource]: amount }, limits: { [resource]: amount } },
})

describe('beside the real kube-scheduler', { skip: realControlPlane.skip, timeout: 120_000 }, () => {
  let plane: ControlPlane
  let cluster: Cluster
  let ours: RunningScheduler

  before(async () => {
    plane = await realControlPlane.start({ scheduler: { parallelism: 1 } })
  })
  after(() => plane.stop())
  beforeEach(async () => {
    cluster = new Cluster(plane.kubeconfigPath)
    ours = await startScheduler(plane.kubeconfigPath)
  })
  afterEach(async () => {
    await ours.stop()
    await cluster.empty()
    await cluster.close()
  })

  test('a pod that fits nowhere is told the same by both', async () => {
    await cluster.create(
      node('cordoned').label('disk', 'ssd').cordoned(),
      node('tainted').label('disk', 'ssd').taint('dedicated', 'NoSchedule', 'gpu'),
      node('evicting').label('disk', 'ssd').taint('broken', 'NoExecute'),
      node('other-disk').label('disk', 'hdd').label('slots', '3'),
      node('small').label('disk', 'ssd').cpu('1').memory('1Gi'),
      node('crowded').label('disk', 'ssd').pods(0),
      node('gpu').label('disk', 'ssd').allocatable('nvidia.com/gpu', '2').taint('soft', 'PreferNoSchedule'),
    )
    const shapes: Record<string, (builder: PodBuilder) => PodBuilder> = {
      'too-large': (builder) => builder.cpu('100').memory('1Ti'),
      'too-many-devices': (builder) => builder.container(device('nvidia.com/gpu', '3')),
      'unknown-device': (builder) => builder.container(device('example.com/fpga', '1')),
      'no-such-label': (builder) => builder.nodeSelector('disk', 'tape'),
      contradiction: (builder) => builder.requiresNode(term(label('disk').in('ssd'), label('disk').isAbsent())),
      'more-slots': (builder) => builder.requiresNode(term(label('slots').greaterThan(5))),
      'pinned-to-nowhere': (builder) => builder.requiresNode(term(nodeName().in('nowhere'))),
      'pinned-to-a-small-one': (builder) => builder.requiresNode(term(nodeName().in('small'))).cpu('2'),
      'tolerates-one': (builder) => builder.tolerates('dedicated').cpu('100'),
      everything: (builder) => builder.cpu('8').nodeSelector('disk', 'ssd'),
      ephemeral: (builder) => builder.request('ephemeral-storage', '1Gi'),
    }
    for (const [name, shape] of Object.entries(shapes)) {
      await cluster.create(
        shape(pod(`theirs-${name}`).scheduler('default-scheduler')),
        shape(pod(`ours-${name}`).scheduler('stowage')),
      )
      const theirs = await cluster.refused(`theirs-${name}`)
      assert.equal(await cluster.refused(`ours-${name}`), theirs, name)
    }
  })

  test('without any node both say so', async () => {
    await cluster.create(pod('theirs').scheduler('default-scheduler'), pod('ours').scheduler('stowage'))
    assert.equal(await cluster.refused('ours'), await cluster.refused('theirs'))
  })

  test('kube-default places pod after pod where kube-scheduler does, or on a node that it scores the same', async () => {
    const random = seededRandom(11)
    // Of different sizes, so that totals seldom tie.
    for (let number = 0; number < 12; number++) {
      const built = node(`n${number}`)
        .cpu(`${3_000 + random.below(6_000)}m`)
        .memory(`${6_000 + random.below(12_000)}Mi`)
        .zone(`z${number % 3}`)
        .label('disk', number % 2 === 0 ? 'ssd' : 'hdd')
      if (number % 4 === 3) built.taint('spare', 'PreferNoSchedule')
      await cluster.create(built)
    }
    const differing: string[] = []
    for (let number = 0; number < 40; number++) {
      const cpu = `${50 + random.below(400)}m`
      const memory = `${50 + random.below(700)}Mi`
      const wish = random.below(3)
      const build = (name: string, scheduler: string): PodBuilder => {
        const builder = pod(name).scheduler(scheduler)
        if (number % 7 !== 0) builder.cpu(cpu)
        if (number % 5 !== 0) builder.memory(memory)
        if (wish === 1) builder.prefersNode(10, term(label('disk').in('ssd')))
        if (wish === 2) builder.tolerates('spare')
        return builder
      }
      // Theirs goes again before ours comes, and ours stays: both see the same cluster, which fills up.
      await cluster.create(build(`theirs-${number}`, 'default-scheduler'))
      const theirs = await cluster.bound(`theirs-${number}`)
      await cluster.deletePod(`theirs-${number}`)
      await cluster.pods.until('it is gone', () => cluster.pod(`theirs-${number}`) === undefined)
      await cluster.create(build(`ours-${number}`, 'stowage'))
      const node = await cluster.bound(`ours-${number}`)
      if (node === theirs) continue
      // Which of equals it takes depends on where its search began; its choice must be one of our best.
      const candidates = ours.system.decisions.explain('default', `ours-${number}`)?.candidates ?? []
      const scoreOf = (name: string) => candidates.find((candidate) => candidate.node === name)?.score
      if (scoreOf(theirs) === undefined || scoreOf(theirs) !== scoreOf(node)) {
        differing.push(`pod ${number}: theirs ${theirs} (${scoreOf(theirs)}), ours ${node} (${scoreOf(node)})`)
      }
    }
    assert.deepEqual(differing, [])
  })
})
