import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { node, pod, type PodBuilder } from '../../test/builders.ts'
import { systemClock } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import { DisruptionBudgets } from '../cluster/disruption-budgets.ts'
import type { LabelSelector, NodeObject, PodDisruptionBudgetObject, PodObject } from '../cluster/objects.ts'
import { podKey } from '../cluster/pod.ts'
import { ClusterState } from '../cluster/state.ts'
import { createConstraints } from '../constraints/registry.ts'
import { Cycle, type Decision } from './cycle.ts'
import { emptiest, World } from './world.fixture.ts'

const started = (builder: PodBuilder, second: number): PodObject => {
  const object = builder.object()
  const startTime = new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString()
  return { ...object, status: { ...object.status, phase: 'Running', startTime } }
}
/** A pod that runs on a node, of one core unless it says otherwise. */
const running = (name: string, on: string, priority: number, second = 0): PodObject =>
  started(pod(name).cpu('1').priority(priority).on(on), second)

const budget = (
  name: string,
  selector: LabelSelector,
  disruptionsAllowed: number,
  disruptedPods: readonly string[] = [],
): PodDisruptionBudgetObject => ({
  metadata: { namespace: 'default', name },
  spec: { selector },
  status: {
    disruptionsAllowed,
    disruptedPods: Object.fromEntries(disruptedPods.map((pod) => [pod, '2026-01-01T00:00:00Z'])),
  },
})
const protects = (app: string, disruptionsAllowed: number, disruptedPods: readonly string[] = []) =>
  budget(app, { matchLabels: { app } }, disruptionsAllowed, disruptedPods)

interface Scene {
  readonly nodes: readonly NodeObject[]
  readonly pods: readonly PodObject[]
  readonly budgets?: readonly PodDisruptionBudgetObject[]
  readonly seed?: number
}

/** One decision about a pod, with nothing around it. */
const decide = (scene: Scene, preemptor: PodObject) => {
  const cluster = new ClusterState()
  const budgets = new DisruptionBudgets()
  for (const object of scene.nodes) cluster.applyNode(cluster.readNode(object))
  for (const object of scene.pods) cluster.applyPod(cluster.readPod(object))
  for (const object of scene.budgets ?? []) budgets.seen(object)
  let version = 0
  const offset = scene.seed ?? 1
  const random: Random = { next: () => 0, below: (bound) => offset % bound, fork: () => random }
  const cycleOf = (): Cycle =>
    new Cycle({
      clock: systemClock,
      random,
      cluster,
      budgets,
      constraints: createConstraints(),
      stateVersion: () => version++,
      onPhase: () => undefined,
    })
  const profile = { schedulerName: 'default-scheduler', policy: emptiest, fallback: undefined, deadlineMs: 1000 }
  const askOf = (cycle: Cycle, object: PodObject): Decision => {
    let decision: Decision | undefined
    cycle.decide(
      cluster.readPod(object),
      profile,
      (made) => (decision = made),
      (thrown) => {
        throw thrown
      },
    )
    assert.ok(decision)
    return decision
  }
  const used = cycleOf()
  const ask = (object: PodObject): Decision => {
    const decision = askOf(used, object)
    assert.deepEqual(decision.preemption, askOf(cycleOf(), object).preemption, 'what it remembers changes nothing')
    return decision
  }
  const before = snapshot(cluster)
  const decision = ask(preemptor)
  assert.deepEqual(snapshot(cluster), before, 'everything is as it was')
  assert.deepEqual(cluster.discrepancies().miscounted, [])
  const found = decision.preemption?.found
  const preemption = typeof found === 'object' ? found : undefined
  return {
    cluster,
    ask,
    message: decision.facts.message,
    node: preemption?.nodeName ?? '',
    victims: preemption?.victims.map(({ name }) => name) ?? [],
    preemption,
  }
}

/** All that a rule or a policy may read of the cluster. */
const snapshot = (cluster: ClusterState) => ({
  // A resource that a pod was imagined to take may have a column from then on.
  requested: cluster.requested.map((column) => [...column]).filter((column) => column.some((amount) => amount !== 0)),
  scoring: [[...cluster.scoringCpuMilli], [...cluster.scoringMemoryBytes]],
  podCount: [...cluster.podCount],
  generation: [...cluster.generation],
  pods: Array.from(cluster.order.subarray(0, cluster.nodeCount), (index) => [...cluster.podsOn(index)].map(podKey)),
  ports: Array.from(cluster.order.subarray(0, cluster.nodeCount), (index) => cluster.portsOn(index)),
  lowestPriority: cluster.lowestPriority,
  nominated: [...cluster.nominated].map(([name, pods]) => [name, [...pods.keys()]]),
  placed: cluster.placedPods,
})

const high = (name = 'high') => pod(name).priority(100)
const one = (cpu: number): NodeObject[] => [node('n').cpu(cpu).object()]
const two = (cpu: number): NodeObject[] => [node('a').cpu(cpu).object(), node('b').cpu(cpu).object()]

describe('a pod that fits nowhere', () => {
  it('has pods of a lower priority leave, and no more of them than it needs', () => {
    const pods = [running('low', 'n', 1), running('lower', 'n', 0), running('equal', 'n', 100)]
    assert.deepEqual(decide({ nodes: one(3), pods }, high().cpu('1').object()).victims, ['lower'])
    assert.deepEqual(decide({ nodes: one(3), pods }, high().cpu('2').object()).victims, ['low', 'lower'])
  })

  it('touches nobody if it would not fit all the same', () => {
    const pods = [running('low', 'n', 1), running('equal', 'n', 100)]
    for (const [preemptor, why] of [
      [high().cpu('2'), '1 Insufficient cpu'],
      [high().cpu('9'), '1 Preemption is not helpful for scheduling'],
      [high().cpu('1').nodeSelector('disk', 'ssd'), '1 Preemption is not helpful for scheduling'],
      [pod('lowest').cpu('1').priority(0), '1 No preemption victims found for incoming pod'],
    ] as const) {
      const { message, victims } = decide({ nodes: one(2), pods }, preemptor.object())
      assert.deepEqual(victims, [])
      assert.ok(message.endsWith(`. preemption: 0/1 nodes are available: ${why}.`), message)
    }
  })

  it('is told why each node does not help, sorted as strings', () => {
    const nodes = [...two(2), node('small').cpu('500m').object(), node('tainted').taint('x', 'NoSchedule').object()]
    const pods = [
      running('equal', 'a', 100),
      running('other', 'a', 100),
      running('low', 'b', 1),
      running('big', 'b', 100),
    ]
    assert.equal(
      decide({ nodes, pods }, high().cpu('2').object()).message,
      '0/4 nodes are available: 1 node(s) had untolerated taint(s), 3 Insufficient cpu. preemption: 0/4 nodes are available: ' +
        '1 Insufficient cpu, 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.',
    )
  })

  it('that says it never preempts is told so', () => {
    const { message, victims } = decide(
      { nodes: one(1), pods: [running('low', 'n', 1)] },
      high().cpu('1').neverPreempts().object(),
    )
    assert.deepEqual(victims, [])
    assert.equal(
      message,
      '0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.',
    )
  })

  it('is told where room is made for it, without a full stop', () => {
    assert.equal(
      decide({ nodes: one(1), pods: [running('low', 'n', 1)] }, high().cpu('1').object()).message,
      '0/1 nodes are available: 1 Insufficient cpu. ' +
        'preemption: found a potential placement for pod on node n, preempting 1 victims',
    )
  })

  it('takes a host port from a pod of lower priority, and leaves the others alone', () => {
    const pods = [started(pod('web').hostPort(80).on('n'), 0), started(pod('other').hostPort(81).on('n'), 0)]
    assert.deepEqual(decide({ nodes: one(4), pods }, high().hostPort(80).object()).victims, ['web'])
  })
})

describe('of the pods on a node', () => {
  it('those with the higher priority stay, then those that began earlier', () => {
    const pods = [running('late', 'n', 1, 30), running('early', 'n', 1, 10), running('more', 'n', 2, 40)]
    assert.deepEqual(decide({ nodes: one(3), pods }, high().cpu('1').object()).victims, ['late'])
    assert.deepEqual(decide({ nodes: one(3), pods }, high().cpu('2').object()).victims, ['early', 'late'])
  })

  it('one that has not begun yet goes before one that has', () => {
    const pods = [started(pod('begun').cpu('1').on('n'), 10), pod('fresh').cpu('1').on('n').object()]
    assert.deepEqual(decide({ nodes: one(2), pods }, high().cpu('1').object()).victims, ['fresh'])
  })

  const guarded = (name: string, priority: number) =>
    started(pod(name).cpu('1').priority(priority).label('app', 'db').on('n'), 0)

  it('those that a budget protects stay rather than others, whatever their priority', () => {
    const pods = [guarded('db', 0), running('more', 'n', 50)]
    const scene = { nodes: one(2), pods }
    assert.deepEqual(decide({ ...scene, budgets: [protects('db', 0)] }, high().cpu('1').object()).victims, ['more'])
    assert.deepEqual(decide({ ...scene, budgets: [protects('db', 1)] }, high().cpu('1').object()).victims, ['db'])
  })

  it('those that a budget protects go all the same if nothing else helps', () => {
    const { victims, preemption } = decide(
      { nodes: one(2), pods: [guarded('db', 0), running('more', 'n', 50)], budgets: [protects('db', 0)] },
      high().cpu('2').object(),
    )
    assert.deepEqual(victims, ['more', 'db'])
    assert.equal(preemption?.violations, 1)
  })

  it('a budget protects as many as it says, the most important ones last', () => {
    const pods = [guarded('db-1', 3), guarded('db-2', 2), guarded('db-3', 1)]
    const { preemption, victims } = decide(
      { nodes: one(3), pods, budgets: [protects('db', 2)] },
      high().cpu('3').object(),
    )
    assert.deepEqual(victims, ['db-1', 'db-2', 'db-3'])
    assert.equal(preemption?.violations, 1)
  })

  for (const [why, spared] of [
    ['matches everything, which here is nothing', budget('all', {}, 0)],
    ['counts the eviction already', protects('db', 0, ['db'])],
    ['is of another namespace', { ...protects('db', 0), metadata: { namespace: 'other', name: 'db' } }],
    ['matches other labels', protects('web', 0)],
  ] as const)
    it(`none is protected by a budget that ${why}`, () => {
      const scene = { nodes: one(2), pods: [guarded('db', 0), running('more', 'n', 50)], budgets: [spared] }
      assert.deepEqual(decide(scene, high().cpu('1').object()).victims, ['db'])
    })

  for (const [key, value] of [
    ['cluster-autoscaler.kubernetes.io/safe-to-evict', 'false'],
    ['karpenter.sh/do-not-disrupt', 'true'],
  ] as const) {
    it(`one with ${key}: "${value}" is kept like one that a budget protects`, () => {
      const kept = (cpu: string, annotated: string): PodObject =>
        started(pod('kept').cpu(cpu).annotation(key, annotated).on('n'), 0)
      const other = running('more', 'n', 50)
      assert.deepEqual(decide({ nodes: one(2), pods: [kept('1', value), other] }, high().cpu('1').object()).victims, [
        'more',
      ])
      assert.deepEqual(decide({ nodes: one(2), pods: [kept('1', 'maybe'), other] }, high().cpu('1').object()).victims, [
        'kept',
      ])
      const forced = decide({ nodes: one(2), pods: [kept('2', value)] }, high().cpu('2').object())
      assert.deepEqual([forced.victims, forced.preemption?.violations], [['kept'], 1])
    })
  }
})

describe('of the nodes on which pods could make room, the one is taken', () => {
  /** On both nodes, in either order and from any offset. */
  const chooses = (onA: PodObject[], onB: PodObject[], budgets: PodDisruptionBudgetObject[] = []): void => {
    for (const nodes of [two(4), two(4).reverse()])
      for (const seed of [1, 2, 3])
        assert.equal(decide({ nodes, pods: [...onA, ...onB], budgets, seed }, high().cpu('4').object()).node, 'a')
  }
  const sized = (name: string, on: string, cpu: number, priority: number, second = 0): PodObject =>
    started(pod(name).cpu(cpu).priority(priority).on(on), second)

  it('where the fewest budgets are broken', () => {
    const broken = started(pod('b-1').cpu(4).label('app', 'db').on('b'), 0)
    chooses([sized('a-1', 'a', 4, 99)], [broken], [protects('db', 0)])
  })

  it('then where the most important victim matters least', () =>
    chooses([sized('a-1', 'a', 2, 5), sized('a-2', 'a', 2, 5)], [sized('b-1', 'b', 4, 6)]))

  it('then where the victims together matter least', () =>
    chooses([sized('a-1', 'a', 2, 5), sized('a-2', 'a', 2, 3)], [sized('b-1', 'b', 2, 5), sized('b-2', 'b', 2, 4)]))

  it('then where they are fewest, even if their priorities are negative', () =>
    chooses([sized('a-1', 'a', 4, -5)], [sized('b-1', 'b', 2, -5), sized('b-2', 'b', 2, -2_000_000_000)]))

  it('then where the most important ones began last', () =>
    chooses(
      [sized('a-1', 'a', 2, 5, 20), sized('a-2', 'a', 2, 1, 0)],
      [sized('b-1', 'b', 2, 5, 10), sized('b-2', 'b', 2, 1, 30)],
    ))
})

describe('a nominated pod', () => {
  const nominee = (priority: number) => pod('nominee').cpu('2').priority(priority).scheduler('other').nominatedTo('a')

  it('of any scheduler keeps its room from pods that matter no more', () => {
    const nodes = two(3)
    const scene = { nodes: [nodes[0] ?? {}], pods: [nominee(100).object()] }
    const { message } = decide(scene, high().cpu('2').object())
    assert.match(message, /^0\/1 nodes are available: 1 Insufficient cpu\. preemption: .*No preemption victims found/)
    const world = { nodes, pods: [nominee(100).object()] }
    assert.equal(decide(world, high('x').cpu('2').object()).message, '')
  })

  it('does not keep it from one that matters more, nor from itself', () => {
    const scene = { nodes: [two(3)[0] ?? {}], pods: [nominee(1).object()] }
    assert.equal(decide(scene, high().cpu('2').object()).message, '')
    assert.equal(decide(scene, nominee(1).object()).message, '')
  })

  it('is left its room where others make theirs', () => {
    const pods = [running('low-1', 'a', 1), running('low-2', 'a', 1), nominee(100).object()]
    const { victims } = decide({ nodes: [node('a').cpu(4).object()], pods }, high().cpu('2').object())
    assert.deepEqual(victims, ['low-1', 'low-2'])
  })
})

describe('whatever the cluster', () => {
  const app = fc.constantFrom('a', 'b', 'c')
  const placed = fc.record({
    on: fc.nat(2),
    cpu: fc.integer({ min: 1, max: 3 }),
    priority: fc.nat(4),
    second: fc.nat(50),
    app,
    port: fc.constantFrom(0, 0, 0, 80),
    apart: fc.constantFrom(false, false, true),
    kept: fc.constantFrom(false, false, true),
    nominated: fc.constantFrom(false, false, false, true),
  })
  const scenes = fc.record({
    cpus: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 3, maxLength: 3 }),
    pods: fc.array(placed, { minLength: 5, maxLength: 14 }),
    allowed: fc.array(fc.nat(2), { minLength: 3, maxLength: 3 }),
    preemptor: placed,
    seed: fc.nat(),
  })
  const names = ['n0', 'n1', 'n2']
  const apart = (builder: PodBuilder, name: string): PodBuilder =>
    builder.spec({
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: name } } },
          ],
        },
      },
    })
  const build = (name: string, it: typeof placed extends fc.Arbitrary<infer T> ? T : never): PodBuilder => {
    const builder = pod(name).cpu(it.cpu).priority(it.priority).label('app', it.app)
    if (it.port > 0) builder.hostPort(it.port)
    if (it.apart) apart(builder, it.app)
    if (it.kept) builder.annotation('karpenter.sh/do-not-disrupt', 'true')
    return builder
  }

  it('victims matter less, the pod fits once they are gone, none of them is idly given up, and asking changes nothing', () => {
    let preempted = 0
    fc.assert(
      fc.property(scenes, ({ cpus, pods, allowed, preemptor, seed }) => {
        const scene: Scene = {
          nodes: names.map((name, at) =>
            node(name)
              .cpu(cpus[at] ?? 1)
              .object(),
          ),
          pods: pods.map((it, at) => {
            const on = names[it.on] ?? ''
            const builder = build(`p${at}`, it)
            return it.nominated ? builder.nominatedTo(on).object() : started(builder.on(on), it.second)
          }),
          budgets: ['a', 'b', 'c'].map((name, at) => protects(name, allowed[at] ?? 0)),
          seed,
        }
        const object = build('preemptor', { ...preemptor, priority: preemptor.priority + 1 }).object()
        const { cluster, ask, preemption } = decide(scene, object)
        if (preemption === undefined) return
        preempted++
        const { victims, nodeName } = preemption
        assert.ok(victims.length > 0)
        for (const victim of victims) {
          assert.ok(victim.priority < (object.spec?.priority ?? 0))
          assert.equal(victim.nodeName, nodeName)
        }
        assert.deepEqual(ask(object).preemption?.found, preemption)
        const others = names.filter((name) => name !== nodeName)
        for (const name of others) cluster.removeNode(name)
        assert.equal(ask(object).node, -1, 'it does not fit while they are there')
        for (const { uid } of victims) cluster.removePod(uid)
        assert.equal(ask(object).nodeName, nodeName, 'it fits once they are gone')
        for (const victim of victims) {
          cluster.applyPod(victim)
          assert.equal(ask(object).node, -1, 'it does not fit if any of them stays')
          cluster.removePod(victim.uid)
        }
      }),
      { seed: 20_260_102, numRuns: 400 },
    )
    assert.ok(preempted > 100, `only ${preempted} of the clusters were of any use`)
  })
})

describe('a preemption', () => {
  const urgent = (): PodBuilder => pod('urgent').cpu('1').priority(100)
  const begun = async (): Promise<World> => {
    const world = new World({}, { constraints: createConstraints() })
    world.evictor.prompt = false
    return world.begin(one(2), [running('low', 'n', 0), running('lower', 'n', -1)])
  }
  const evicting = async (cpu: string): Promise<World> => {
    const world = await begun()
    await world.see(urgent().cpu(cpu).object())
    return world
  }

  it('nominates the pod, evicts the victims, and the pod goes there as soon as they are gone', async () => {
    const world = await evicting('1')
    assert.equal(world.reporter.nominations.get('urgent'), 'n')
    assert.equal(world.cluster.nominationOf('uid-urgent'), 'n')
    assert.deepEqual(
      world.evictor.waiting.map(({ victim }) => victim.name),
      ['lower'],
    )
    world.evictor.waiting[0]?.answer()
    await world.quiet()
    assert.equal(world.reporter.lines.at(-1), 'lower leaves n for urgent')
    await world.see(started(pod('lower').cpu('1').priority(-1).on('n').deleting().resourceVersion('2'), 0))
    await world.passes(5_000)
    assert.equal(
      world.scheduler.stats().attempts.unschedulable,
      1,
      'it is not tried while its victim is on its way out',
    )
    world.scheduler.pods.gone('default', 'lower', 'uid-lower')
    await world.passes(5_000)
    assert.equal(world.reporter.lines.at(-1), 'urgent -> n')
    assert.equal(world.cluster.nominationOf('uid-urgent'), '')
    assert.deepEqual(world.decisions.records[0]?.preemption, { node: 'n', victims: ['default/lower'] })
  })

  it('evicts the last victim when all others have been, and the pod is not tried before that one leaves', async () => {
    const world = await evicting('2')
    assert.deepEqual(
      world.evictor.waiting.map(({ victim }) => victim.name),
      ['low'],
    )
    world.evictor.waiting[0]?.answer()
    await world.quiet()
    assert.deepEqual(
      world.evictor.waiting.map(({ victim }) => victim.name),
      ['lower'],
    )
    world.scheduler.pods.gone('default', 'low', 'uid-low')
    await world.see()
    await world.passes(60_000)
    assert.equal(world.scheduler.stats().attempts.unschedulable, 1)
    world.evictor.waiting[0]?.answer()
    world.scheduler.pods.gone('default', 'lower', 'uid-lower')
    await world.passes(2_000)
    assert.equal(world.reporter.lines.at(-1), 'urgent -> n')
  })

  it('that fails puts the pod back, which is tried again after its back-off', async () => {
    const world = await evicting('1')
    world.evictor.waiting[0]?.answer(new Error('403'))
    await world.quiet()
    assert.equal(world.scheduler.stats().queues.backoff, 1)
    await world.passes(2_000)
    assert.equal(world.evictor.waiting.length, 1)
  })

  it('is not repeated while its victims are leaving, whatever else happens', async () => {
    const world = await evicting('1')
    world.evictor.waiting[0]?.answer()
    await world.quiet()
    const leaving = started(pod('lower').cpu('1').priority(-1).on('n').deleting().resourceVersion('2'), 0)
    const conditions = [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }]
    await world.see({ ...leaving, status: { ...leaving.status, conditions } })
    world.scheduler.nodes.seen(node('full').cpu('100m').object())
    world.scheduler.nodes.seen(node('n').cpu('2500m').resourceVersion('2').object())
    await world.passes(5_000)
    assert.equal(
      world.decisions.of('urgent').message,
      '0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated node.',
    )
    assert.equal(world.reporter.nominations.get('urgent'), 'n')
    assert.deepEqual(world.evictor.evicted, ['lower'])
  })

  it('takes the nomination of those that matter less, which look for other room at once', async () => {
    const world = await evicting('1')
    await world.see(pod('more').cpu('1').priority(200).object())
    assert.ok(world.reporter.lines.includes('urgent is nominated no more'))
    assert.equal(world.cluster.nominationOf('uid-urgent'), '')
    assert.equal(world.cluster.nominationOf('uid-more'), 'n')
    const leaving = started(pod('lower').cpu('1').priority(-1).on('n').deleting().resourceVersion('2'), 0)
    await world.see(leaving)
    await world.passes(2_000)
    assert.deepEqual(
      world.evictor.waiting.map(({ victim }) => victim.name),
      ['lower', 'lower', 'low'],
    )
    assert.equal(world.cluster.nominationOf('uid-urgent'), 'n')
  })

  it('ends a nomination that helps no more', async () => {
    const world = await begun()
    await world.see(pod('p').cpu('9').priority(100).nominatedTo('n').object())
    assert.equal(world.reporter.nominations.get('p'), '')
    assert.equal(world.cluster.nominationOf('uid-p'), '')
  })

  it('wakes those that matter no more than a nominated pod when that one goes', async () => {
    const world = new World({}, { constraints: createConstraints() })
    await world.begin(one(1), [pod('theirs').cpu('1').priority(50).scheduler('other').nominatedTo('n').object()])
    await world.see(pod('waits').cpu('1').object())
    assert.match(world.reporter.lines[0] ?? '', /^waits Unschedulable/)
    world.scheduler.pods.gone('default', 'theirs', 'uid-theirs')
    await world.passes(2_000)
    assert.equal(world.reporter.lines.at(-1), 'waits -> n')
  })

  it('is not begun before the budgets are known', async () => {
    const world = new World({}, { constraints: createConstraints() })
    for (const object of one(1)) world.scheduler.nodes.seen(object)
    for (const object of [running('low', 'n', 0), urgent().object()]) world.scheduler.pods.seen(object)
    world.scheduler.nodes.synced()
    world.scheduler.pods.synced()
    world.scheduler.start()
    await world.quiet()
    assert.deepEqual(world.evictor.evicted, [])
  })

  it('under way is waited for when the scheduler ends', async () => {
    const world = await evicting('1')
    const drained = world.scheduler.drain(new AbortController().signal)
    await world.quiet()
    assert.equal(world.reporter.drained, 0)
    world.evictor.waiting[0]?.answer()
    await drained
    assert.deepEqual(world.evictor.evicted, ['lower'])
  })
})
