import assert from 'node:assert/strict'
import { rmSync, mkdtempSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { render } from '../../src/decisions/explanation.ts'
import { createObject, deleteObject, DISRUPTION_BUDGETS } from '../../src/kubernetes/objects.ts'
import { label, node, pod, term } from '../builders.ts'
import { Cluster, type TestServer } from './cluster.ts'
import { type RunningScheduler, type SchedulerOptions, startScheduler, unaccounted } from './scheduler.ts'

const priorityClasses = { root: '/apis/scheduling.k8s.io/v1', plural: 'priorityclasses', namespaced: false }

/** A pod of our own profile. */
const ours = (name: string) => pod(name).scheduler('stowage')

/** Everything that a user relies on, from API server to bind and back, against whatever API server `start` starts. */
export const endToEnd = (name: string, skip: string | false, start: () => Promise<TestServer>): void => {
  describe(`with ${name}`, { skip, timeout: 120_000 }, () => {
    let server: TestServer
    let cluster: Cluster
    let schedulers: RunningScheduler[] = []

    before(async () => {
      server = await start()
    })
    after(() => server.stop())
    beforeEach(() => {
      cluster = new Cluster(server.kubeconfigPath)
    })
    afterEach(async () => {
      await Promise.all(schedulers.map((scheduler) => scheduler.stop()))
      schedulers = []
      await cluster.empty()
      await cluster.close()
    })
    const schedule = async (options: SchedulerOptions = {}): Promise<RunningScheduler> => {
      const scheduler = await startScheduler(server.kubeconfigPath, options)
      schedulers.push(scheduler)
      return scheduler
    }

    test('a pod is bound, and its condition and event say so in the words of kube-scheduler', async () => {
      const { system } = await schedule()
      await cluster.create(node('n1'), ours('web').cpu('500m').memory('1Gi'))
      assert.equal(await cluster.bound('web'), 'n1')
      assert.equal((await cluster.scheduledCondition('web', ({ status }) => status === 'True')).type, 'PodScheduled')
      const event = await cluster.event('web', 'Scheduled')
      assert.equal(event.type, 'Normal')
      assert.equal(event.action, 'Binding')
      assert.equal(event.note, 'Successfully assigned default/web to n1')
      assert.equal(event.reportingController, 'stowage')
      assert.equal(event.reportingInstance, `stowage-${hostname()}`)
      assert.equal(event.regarding?.uid, cluster.pod('web')?.metadata?.uid)
      assert.deepEqual(system.scheduler.conservation(), {
        seen: 1,
        bound: 1,
        waiting: 0,
        gated: 0,
        deleted: 0,
        inFlight: 0,
      })
    })

    test('a pod that fits nowhere waits with the exact reason, and is bound as soon as a node comes that takes it', async () => {
      // Nodes and pods come in watches of their own, in any order: what is there before is known before.
      await cluster.create(node('small').cpu('1'))
      const { system } = await schedule()
      await cluster.create(ours('big').cpu('2'))
      const waiting =
        '0/1 nodes are available: 1 Insufficient cpu. ' +
        'preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.'
      assert.equal(await cluster.refused('big'), waiting)
      const event = await cluster.event('big', 'FailedScheduling')
      assert.equal(event.type, 'Warning')
      assert.equal(event.action, 'Scheduling')
      assert.equal(event.note, waiting)
      assert.equal(system.scheduler.conservation().waiting, 1)
      await cluster.create(node('large').cpu('4'))
      assert.equal(await cluster.bound('big'), 'large')
    })

    test('without any node a pod waits and says that there is none', async () => {
      await schedule()
      await cluster.create(ours('early'))
      assert.equal(await cluster.refused('early'), 'no nodes available to schedule pods')
      await cluster.create(node('first'))
      assert.equal(await cluster.bound('early'), 'first')
    })

    test('each rule refuses a node in its own words, and a pod that keeps to all of them goes to the node that is left', async () => {
      await cluster.create(
        node('cordoned').label('disk', 'ssd').cordoned(),
        node('tainted').label('disk', 'ssd').taint('dedicated', 'NoSchedule', 'gpu'),
        node('unlabelled'),
        node('full').label('disk', 'ssd').cpu('1'),
        node('crowded').label('disk', 'ssd').pods(0),
        node('taken').label('disk', 'ssd'),
        pod('holder').hostPort(8080).scheduler('another'),
      )
      assert.equal(await cluster.bind('holder', 'taken'), 201)
      await schedule()
      const picky = ours('picky')
        .cpu('2')
        .hostPort(8080)
        .requiresNode(term(label('disk').in('ssd')))
      await cluster.create(picky)
      assert.equal(
        await cluster.refused('picky'),
        "0/6 nodes are available: 1 Insufficient cpu, 1 Too many pods, 1 node(s) didn't have free ports for the requested pod ports, " +
          "1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. " +
          'preemption: 0/6 nodes are available: 2 No preemption victims found for incoming pod, ' +
          '4 Preemption is not helpful for scheduling.',
      )
      await cluster.create(node('right').label('disk', 'ssd'))
      assert.equal(await cluster.bound('picky'), 'right')
    })

    test('a refusal ends when what caused it does: a label, a taint, a cordon, a pod that leaves', async () => {
      await cluster.create(node('n1').cpu('2').taint('dedicated', 'NoSchedule', 'gpu').cordoned())
      await schedule()
      await cluster.create(ours('first').cpu('2').nodeSelector('disk', 'ssd'))
      assert.match(await cluster.refused('first'), /^0\/1 nodes are available: 1 node\(s\) were unschedulable\. /)
      await cluster.patchNode('n1', { spec: { unschedulable: false } })
      await cluster.scheduledCondition('first', ({ message = '' }) =>
        message.includes('1 node(s) had untolerated taint(s). '),
      )
      await cluster.patchNode('n1', { spec: { taints: null } })
      await cluster.scheduledCondition('first', ({ message = '' }) =>
        message.includes("1 node(s) didn't match Pod's node affinity/selector. "),
      )
      await cluster.patchNode('n1', { metadata: { labels: { disk: 'ssd' } } })
      assert.equal(await cluster.bound('first'), 'n1')
      await cluster.create(ours('second').cpu('1'))
      assert.equal(
        await cluster.refused('second'),
        '0/1 nodes are available: 1 Insufficient cpu. ' +
          'preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.',
      )
      await cluster.deletePod('first')
      assert.equal(await cluster.bound('second'), 'n1')
    })

    test('a gated pod is left in peace until its last gate is removed', async () => {
      const { system } = await schedule()
      await cluster.create(node('n1'), ours('gated').gatedBy('quota', 'licence'), ours('free'))
      await cluster.bound('free')
      await cluster.patchPod('gated', { spec: { schedulingGates: [{ name: 'licence' }] } })
      await cluster.create(ours('later'))
      await cluster.bound('later')
      assert.deepEqual(cluster.eventsOf('gated'), [])
      assert.equal(system.scheduler.conservation().gated, 1)
      await cluster.patchPod('gated', { spec: { schedulingGates: [] } })
      assert.equal(await cluster.bound('gated'), 'n1')
    })

    test('of those that wait, the one with the highest priority is placed first', async () => {
      for (const [className, value] of Object.entries({ 'e2e-low': 10, 'e2e-high': 1_000 })) {
        await createObject(cluster.connection, priorityClasses, {
          apiVersion: 'scheduling.k8s.io/v1',
          kind: 'PriorityClass',
          metadata: { name: className },
          value,
        } as never)
      }
      const all = { cpu: '4' }
      await cluster.create(
        node('n1').cpu(all.cpu),
        ours('none').cpu(all.cpu),
        ours('low').cpu(all.cpu).spec({ priorityClassName: 'e2e-low' }),
        ours('high').cpu(all.cpu).spec({ priorityClassName: 'e2e-high' }),
      )
      await schedule()
      assert.equal(await cluster.bound('high'), 'n1')
      assert.match(await cluster.refused('low'), /1 Insufficient cpu/)
      await cluster.deletePod('high')
      assert.equal(await cluster.bound('low'), 'n1')
      await cluster.deletePod('low')
      assert.equal(await cluster.bound('none'), 'n1')
    })

    test('a pod that matters more has others leave, spares whom a budget protects, and takes their place when they are gone', async () => {
      for (const { name, ...rest } of [
        { name: 'e2e-lowly', value: -10 },
        { name: 'e2e-patient', value: 500, preemptionPolicy: 'Never' },
        { name: 'e2e-urgent', value: 1_000 },
      ]) {
        await createObject(cluster.connection, priorityClasses, {
          apiVersion: 'scheduling.k8s.io/v1',
          kind: 'PriorityClass',
          metadata: { name },
          ...rest,
        } as never)
      }
      await createObject(cluster.connection, DISRUPTION_BUDGETS, {
        apiVersion: 'policy/v1',
        kind: 'PodDisruptionBudget',
        metadata: { name: 'guard', namespace: 'default' },
        spec: { minAvailable: 1, selector: { matchLabels: { app: 'guarded' } } },
      } as never)
      const lowly = { priorityClassName: 'e2e-lowly' }
      await cluster.create(
        node('n1').cpu('2'),
        node('n2').cpu('2'),
        ours('guarded').cpu('2').label('app', 'guarded').spec(lowly),
        ours('free').cpu('2').spec(lowly),
      )
      assert.equal(await cluster.bind('guarded', 'n1'), 201)
      assert.equal(await cluster.bind('free', 'n2'), 201)
      await schedule()
      await cluster.create(ours('patient').cpu('2').spec({ priorityClassName: 'e2e-patient' }))
      assert.match(await cluster.refused('patient'), / preemption: not eligible due to preemptionPolicy=Never\.$/)
      await cluster.create(ours('urgent').cpu('2').spec({ priorityClassName: 'e2e-urgent' }))
      assert.equal(await cluster.leaves('free'), 'stowage: preempting to accommodate a higher priority pod')
      const urgent = await cluster.pods.until('the nomination', () => {
        const found = cluster.pod('urgent')
        return found?.status?.nominatedNodeName !== undefined && found
      })
      assert.equal(urgent.status?.nominatedNodeName, 'n2')
      assert.match(
        await cluster.refused('urgent'),
        / preemption: found a potential placement for pod on node n2, preempting 1 victims$/,
      )
      const event = await cluster.event('free', 'Preempted')
      assert.equal(event.type, 'Normal')
      assert.equal(event.action, 'Preempting')
      assert.equal(event.note, `Preempted by pod ${urgent.metadata?.uid} on node n2`)
      assert.equal(event.reportingController, 'stowage')
      assert.equal(cluster.pod('guarded')?.metadata?.deletionTimestamp, undefined)
      // There is no kubelet: the victim is gone when we say so. Its place is kept from the patient one.
      await cluster.deletePod('free')
      assert.equal(await cluster.bound('urgent'), 'n2')
      assert.equal(cluster.pod('guarded')?.spec?.nodeName, 'n1')
      await deleteObject(cluster.connection, DISRUPTION_BUDGETS, 'default', 'guard')
    })

    test('a gang is placed together or not at all, and says what it waits for', async () => {
      const member = (name: string) =>
        ours(name).cpu('1').label('stowage.dev/gang', 'training').annotation('stowage.dev/gang-size', '3')
      await cluster.create(node('n1').cpu('1'), node('n2').cpu('1'))
      const { system } = await schedule()
      await cluster.create(member('rank-0'), member('rank-1'))
      const missing = await cluster.scheduledCondition('rank-1', ({ reason }) => reason === 'SchedulingGated')
      const words = 'waiting for minCount pods from a gang to appear in scheduling queue: 2 of 3 are there'
      assert.equal(missing.message, words)
      assert.equal((await cluster.event('rank-0', 'FailedScheduling')).note, words)
      await cluster.create(member('rank-2'))
      const refused =
        'minCount (3) cannot be satisfied: 2 scheduled, 0 remaining. default/rank-2: 0/2 nodes are available: 2 Insufficient cpu. ' +
        'pod group preemption: No preemption victims found for incoming preemptor'
      for (const name of ['rank-0', 'rank-1', 'rank-2']) assert.equal(await cluster.refused(name), refused)
      const told = system.decisions.explain('default', 'rank-0')
      assert.ok(told)
      assert.match(render(told).join(' '), /minCount \(3\) cannot be satisfied: 2 scheduled/)
      await cluster.create(ours('other').cpu('1'))
      assert.match(await cluster.bound('other'), /^n[12]$/)
      await cluster.create(node('n3').cpu('1'), node('n4').cpu('1'))
      const nodes = await Promise.all(['rank-0', 'rank-1', 'rank-2'].map((name) => cluster.bound(name)))
      assert.equal(new Set(nodes).size, 3)
      assert.deepEqual(system.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
    })

    test('each profile places by its own policy, and pods of other schedulers are not touched', async () => {
      await cluster.create(node('empty').cpu('8'), node('used').cpu('8'), pod('tenant').cpu('4').scheduler('another'))
      await cluster.bind('tenant', 'used')
      const { system } = await schedule({ profiles: ['spread=kube-default', 'pack=most_allocated'] })
      await cluster.create(
        pod('alien').scheduler('another'),
        pod('spread').cpu('1').scheduler('spread'),
        pod('pack').cpu('1').scheduler('pack'),
      )
      assert.equal(await cluster.bound('spread'), 'empty')
      assert.equal(await cluster.bound('pack'), 'used')
      assert.equal((await cluster.event('pack', 'Scheduled')).reportingController, 'pack')
      assert.equal(cluster.pod('alien')?.spec?.nodeName, undefined)
      assert.deepEqual(cluster.eventsOf('alien'), [])
      assert.equal(system.scheduler.conservation().seen, 2)
    })

    test('where another scheduler binds the same pods at the same time, every pod is bound once and the sums stay right', async () => {
      const names = Array.from({ length: 40 }, (_, number) => `contested-${number}`)
      await cluster.create(node('n1').cpu('64'), node('n2').cpu('64'))
      const rival: Promise<number>[] = []
      const { system } = await schedule({
        onDecision: ({ pod: name }) => void (names.includes(name) && rival.push(cluster.bind(name, 'n2'))),
      })
      await cluster.create(...names.map((name) => ours(name).cpu('100m')))
      const nodes = await Promise.all(names.map((name) => cluster.bound(name)))
      const won = (await Promise.all(rival)).filter((status) => status === 201).length
      assert.ok(nodes.filter((bound) => bound === 'n2').length >= won)
      // A pod that comes afterwards is placed when everything before it has been digested.
      await cluster.create(ours('last'))
      await cluster.bound('last')
      await cluster.event('last', 'Scheduled')
      await system.stop()
      assert.equal(unaccounted(system), 0)
      assert.equal(system.scheduler.conservation().bound, names.length + 1)
      assert.deepEqual(system.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
    })

    test('many pods at once: all are bound, no node holds more than it has, each is reported once', async () => {
      const names = Array.from({ length: 200 }, (_, number) => `many-${number}`)
      await cluster.create(...Array.from({ length: 10 }, (_, number) => node(`n${number}`).cpu('2').pods(30)))
      const { system } = await schedule()
      await cluster.create(...names.map((name) => ours(name).cpu('100m')))
      await cluster.pods.until('all pods are bound', (pods) =>
        names.every((name) => pods.get(`default/${name}`)?.spec?.nodeName),
      )
      await cluster.events.until('each has its event', () => names.every((name) => cluster.eventsOf(name).length === 1))
      const perNode = Map.groupBy(names, (name) => cluster.pod(name)?.spec?.nodeName)
      assert.deepEqual(
        [...perNode.values()].map((pods) => pods.length),
        Array.from({ length: 10 }, () => 20),
      )
      assert.deepEqual(system.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
      assert.equal(system.scheduler.conservation().bound, names.length)
    })

    test('a pod that is deleted while it waits is forgotten', async () => {
      const { system } = await schedule()
      await cluster.create(node('n1').cpu('1'), ours('hopeless').cpu('2'))
      await cluster.refused('hopeless')
      await cluster.deletePod('hopeless')
      await cluster.create(ours('other').cpu('1'))
      // Its event follows the answer to its bind; the watch may be ahead of that.
      await cluster.event('other', 'Scheduled')
      assert.deepEqual(system.scheduler.conservation(), {
        seen: 2,
        bound: 1,
        waiting: 0,
        gated: 0,
        deleted: 1,
        inFlight: 0,
      })
    })

    test('of two replicas one schedules; when it goes, or dies, the other takes over and loses nothing', async () => {
      await cluster.create(node('n1'))
      const first = await schedule({ leaderElection: true })
      assert.equal(first.system.leads, true)
      const second = await schedule({ leaderElection: true })
      assert.equal(second.system.leads, false)
      await cluster.create(ours('of-first'))
      await cluster.bound('of-first')
      assert.equal(second.system.decisionCount, 0)
      await first.stop()
      await cluster.create(ours('of-second'))
      await cluster.bound('of-second')
      const third = await schedule({ leaderElection: true })
      second.crash()
      await cluster.create(ours('of-third'))
      await cluster.bound('of-third')
      assert.equal(third.system.leads, true)
    })

    test('a scheduler that dies between its decision and the bind leaves a pod that its successor binds once', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'stowage-e2e-'))
      const decisions = join(folder, 'decisions.sqlite')
      try {
        await cluster.create(node('n1').cpu('1'))
        const decided = Promise.withResolvers<void>()
        const first = await schedule({
          decisions,
          onDecision: (_, scheduler) => {
            scheduler.crash()
            decided.resolve()
          },
        })
        await cluster.create(ours('caught').cpu('1'))
        await decided.promise
        assert.equal(cluster.pod('caught')?.spec?.nodeName, undefined)
        await first.stop()
        const second = await schedule({ decisions })
        assert.equal(await cluster.bound('caught'), 'n1')
        await cluster.event('caught', 'Scheduled')
        assert.equal(cluster.eventsOf('caught').length, 1)
        assert.deepEqual(second.system.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
        assert.equal(unaccounted(second.system), 0)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })

    test('when the API server is killed and started again, scheduling goes on where it was', async () => {
      const { system } = await schedule()
      await cluster.create(node('n1').cpu('2'), ours('before').cpu('1'))
      await cluster.bound('before')
      await cluster.create(ours('waiting').cpu('2'))
      await cluster.refused('waiting')
      await server.killAndRestart()
      // Whoever comes now has a connection of his own.
      await cluster.close()
      cluster = new Cluster(server.kubeconfigPath)
      await cluster.create(ours('after').cpu('1'))
      assert.equal(await cluster.bound('after'), 'n1')
      await cluster.deletePod('before')
      await cluster.deletePod('after')
      assert.equal(await cluster.bound('waiting'), 'n1')
      assert.equal(unaccounted(system), 0)
    })

    test('what was decided can be explained: why this node, and what a waiting pod lacks', async () => {
      const { system } = await schedule()
      await cluster.create(
        node('roomy').cpu('8'),
        node('tight').cpu('2'),
        node('tainted').taint('dedicated', 'NoSchedule'),
        ours('placed').cpu('1'),
      )
      await cluster.bound('placed')
      await cluster.event('placed', 'Scheduled')
      const placed = system.decisions.explain('default', 'placed')
      assert.equal(placed?.outcome, 'bound')
      assert.equal(placed?.node, 'roomy')
      assert.equal(placed?.policy, 'kube-default')
      assert.equal(placed?.feasible, 2)
      assert.deepEqual(placed?.refused, [
        { reason: 'node(s) had untolerated taint(s)', nodes: 1, constraint: 'TaintToleration' },
      ])
      assert.deepEqual(
        placed?.candidates.map((candidate) => candidate.node),
        ['roomy', 'tight'],
      )
      await cluster.create(ours('hungry').cpu('16'))
      await cluster.refused('hungry')
      const hungry = system.decisions.explain('default', 'hungry')
      assert.equal(hungry?.outcome, 'waiting')
      assert.equal(hungry?.node, null)
      assert.equal(hungry?.nearestMiss?.node, 'roomy')
      assert.ok(hungry?.wakesOn.includes('NodeAdd'))
    })
  })
}
