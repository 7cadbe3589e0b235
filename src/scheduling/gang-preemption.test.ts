import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { node, pod, type PodBuilder } from '../../test/builders.ts'
import { systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { DisruptionBudgets } from '../cluster/disruption-budgets.ts'
import type { NodeObject, PodDisruptionBudgetObject, PodObject } from '../cluster/objects.ts'
import { type Pod, podKey } from '../cluster/pod.ts'
import { ClusterState } from '../cluster/state.ts'
import { createConstraints } from '../constraints/registry.ts'
import { Cycle } from './cycle.ts'
import { findRoomForGang } from './gang-preemption.ts'
import { placeGang } from './gang-step.ts'
import { emptiest, World } from './world.fixture.ts'

const member = (name: string, size: number, gang = 'g'): PodBuilder =>
  pod(name).cpu(1).priority(100).annotation('stowage.dev/gang', gang).annotation('stowage.dev/gang-size', `${size}`)

const members = (count: number, size = count): PodBuilder[] =>
  Array.from({ length: count }, (_, number) => member(`g-${number}`, size))

const running = (name: string, on: string, priority = 0): PodBuilder => pod(name).cpu(1).priority(priority).on(on)

const objects = (...builders: readonly PodBuilder[]) => builders.map((builder) => builder.object())

const nodes = (count: number, cpu: number) =>
  Array.from({ length: count }, (_, number) => node(`n${number}`).cpu(cpu).object())

const budget = (app: string, disruptionsAllowed: number): PodDisruptionBudgetObject => ({
  metadata: { namespace: 'default', name: app },
  spec: { selector: { matchLabels: { app } } },
  status: { disruptionsAllowed, disruptedPods: {} },
})

const boundNames = ({ binder }: World): string[] => binder.bound.map(({ uid }) => uid.replace('uid-', '')).sort()

const reasonOf = ({ scheduler }: World, name: string): string =>
  [...scheduler.waiting()].find(({ pod: { name: itsName } }) => itsName === name)?.reason ?? ''

/** The API server shows that the victims are leaving, then that they are gone. */
const leave = async (world: World, ...builders: readonly PodBuilder[]): Promise<void> => {
  for (const builder of builders) {
    const object = builder.resourceVersion('2').deleting().object()
    const conditions = [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }]
    await world.see({ ...object, status: { ...object.status, conditions } })
  }
  for (const builder of builders) {
    const { metadata } = builder.object()
    world.scheduler.pods.gone('default', metadata?.name ?? '', metadata?.uid ?? '')
    await world.passes(3_000)
  }
}

const sound = (world: World): void => {
  const { seen, bound, waiting, gated, deleted, inFlight } = world.scheduler.conservation()
  assert.equal(bound + waiting + gated + deleted + inFlight, seen)
  assert.deepEqual(world.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
}

describe('for a gang that cannot be placed as a whole', () => {
  it('as many pods of lower priority leave as it lacks room, and it goes when they have left', async () => {
    const victims = [running('v-1', 'n1'), running('v-2', 'n2')]
    const world = await new World().begin(nodes(3, 1), objects(...victims, ...members(3)))
    assert.deepEqual(world.evictor.evicted.toSorted(), ['v-1', 'v-2'])
    assert.equal(
      reasonOf(world, 'g-0'),
      'minCount (3) cannot be satisfied: 1 scheduled, 1 remaining. default/g-1: 0/3 nodes are available: 3 Insufficient cpu. ' +
        'pod group preemption: found a placement for podgroup, preempting 2 victims',
    )
    const waitsFor = ['g-0', 'g-1', 'g-2'].map((name) => world.decisions.of(name).preemption)
    assert.deepEqual(
      waitsFor.filter((one) => one !== undefined).toSorted((a, b) => a.node.localeCompare(b.node)),
      [
        { node: 'n1', victims: ['default/v-1'] },
        { node: 'n2', victims: ['default/v-2'] },
      ],
    )
    // Each member has a node of its own kept for it.
    assert.deepEqual([...world.reporter.nominations.values()].sort(), ['n0', 'n1', 'n2'])
    assert.ok(world.reporter.lines.some((line) => /^v-1 leaves n1 for g$/.test(line)))
    assert.deepEqual(boundNames(world), [])
    await leave(world, ...victims)
    assert.deepEqual(boundNames(world), ['g-0', 'g-1', 'g-2'])
    assert.equal(world.evictor.evicted.length, 2)
    sound(world)
  })

  it('nobody leaves if it would not be whole even so', async () => {
    const world = await new World().begin(nodes(2, 1), objects(running('v', 'n1'), ...members(3)))
    assert.deepEqual(world.evictor.evicted, [])
    assert.match(
      reasonOf(world, 'g-0'),
      /pod group preemption: minCount \(3\) cannot be satisfied: 2 scheduled, 0 remaining$/,
    )
    assert.equal(world.cluster.nominated.size, 0)
    await world.passes(600_000)
    assert.deepEqual(world.evictor.evicted, [])
    sound(world)
  })

  it('nobody of the same or a higher priority leaves', async () => {
    const world = await new World().begin(nodes(1, 2), objects(running('equal', 'n0', 100), ...members(2)))
    assert.deepEqual(world.evictor.evicted, [])
    assert.match(reasonOf(world, 'g-0'), /pod group preemption: No preemption victims found for incoming preemptor$/)
  })

  it('nobody leaves if one of its members may not preempt', async () => {
    const [first, second] = members(2)
    const world = await new World().begin(nodes(1, 2), objects(running('v', 'n0'), first!, second!.neverPreempts()))
    assert.deepEqual(world.evictor.evicted, [])
    assert.match(reasonOf(world, 'g-0'), /pod group preemption: not eligible due to preemptionPolicy=Never\.$/)
  })

  it('the victims are told to leave once, however often it is tried while they take their time', async () => {
    const victim = running('v', 'n1')
    const world = await new World().begin(nodes(2, 1), objects(victim, ...members(2)))
    const object = victim.resourceVersion('2').deleting().object()
    const conditions = [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }]
    await world.see({ ...object, status: { ...object.status, conditions } })
    // Somebody else's pod leaves: it is tried again.
    await world.see(running('other', 'n0', 200).object())
    world.scheduler.pods.gone('default', 'other', 'uid-other')
    await world.passes(20_000)
    assert.match(reasonOf(world, 'g-0'), /pod group preemption: ongoing preemption on nominated nodes$/)
    assert.deepEqual(world.evictor.evicted, ['v'])
    // Its places are still kept.
    assert.equal(world.cluster.nominated.size, 2)
    world.scheduler.pods.gone('default', 'v', 'uid-v')
    await world.passes(11_000)
    assert.deepEqual(boundNames(world), ['g-0', 'g-1'])
    sound(world)
  })

  it('the room that is made is kept from pods that matter less, and free room that it counts on too', async () => {
    const victim = running('v', 'n1')
    const world = await new World().begin(nodes(2, 1), objects(victim, ...members(2)))
    await world.see(pod('rival').cpu(1).priority(50).object())
    assert.deepEqual(boundNames(world), [])
    await leave(world, victim)
    assert.deepEqual(boundNames(world), ['g-0', 'g-1'])
  })

  it('those leave whom a PodDisruptionBudget lets go, and the least important of these', async () => {
    const world = new World()
    world.scheduler.disruptionBudgets.seen(budget('web', 0))
    await world.begin(
      nodes(3, 1),
      objects(
        running('web', 'n0').label('app', 'web'),
        running('more', 'n1', 5),
        running('less', 'n2', 1),
        member('g-0', 1),
      ),
    )
    assert.deepEqual(world.evictor.evicted, ['less'])
    const again = new World()
    again.scheduler.disruptionBudgets.seen(budget('web', 0))
    await again.begin(
      nodes(3, 1),
      objects(
        running('web', 'n0').label('app', 'web'),
        running('more', 'n1', 5),
        running('less', 'n2', 1),
        ...members(2),
      ),
    )
    assert.deepEqual(again.evictor.evicted.toSorted(), ['less', 'more'])
  })

  it('no more leave than are needed, where members beyond the number are there too', async () => {
    const world = await new World().begin(
      nodes(4, 1),
      objects(running('v-0', 'n0'), running('v-1', 'n1'), running('v-2', 'n2'), ...members(4, 2)),
    )
    assert.equal(world.evictor.evicted.length, 1)
  })

  it('a victim stays whom the evictions for later members make needless', async () => {
    const world = await new World().begin(
      nodes(1, 4),
      objects(running('small', 'n0'), running('large', 'n0', 1).cpu(3), ...members(2)),
    )
    assert.deepEqual(world.evictor.evicted, ['large'])
  })

  it('it is tried again if the API server lets nobody be evicted', async () => {
    const world = new World()
    world.evictor.prompt = false
    await world.begin(nodes(2, 1), objects(running('v', 'n1'), ...members(2)))
    world.evictor.waiting[0]?.answer(new Error('403'))
    await world.quiet()
    assert.equal(world.evictor.waiting.length, 0)
    await world.passes(3_000)
    assert.equal(world.evictor.waiting.length, 1)
    sound(world)
  })

  it('a restart in between evicts nobody anew: nominations and leaving pods are read from the API server', async () => {
    const victim = running('v', 'n1').resourceVersion('2').deleting().object()
    const conditions = [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }]
    const [first, second] = members(2)
    const world = await new World().begin(nodes(2, 1), [
      { ...victim, status: { ...victim.status, conditions } },
      ...objects(first!.nominatedTo('n0'), second!.nominatedTo('n1')),
    ])
    assert.deepEqual(world.evictor.evicted, [])
    assert.equal(world.cluster.nominated.size, 2)
    world.scheduler.pods.gone('default', 'v', 'uid-v')
    await world.passes(3_000)
    assert.deepEqual(boundNames(world), ['g-0', 'g-1'])
  })
})

describe('a group that is disrupted as a whole or not at all', () => {
  const grouped = (name: string, on: string, priority = 0) =>
    running(name, on, priority).spec({ schedulingGroup: { podGroupName: 'lowly' } })
  const withGroup = (mode: object): World => {
    const world = new World()
    world.scheduler.podGroups['scheduling.k8s.io'].seen({
      metadata: { namespace: 'default', name: 'lowly', uid: 'uid-lowly' },
      spec: { schedulingPolicy: { gang: { minCount: 2 } }, disruptionMode: mode },
    })
    return world
  }

  it('leaves as a whole for one pod, on whatever nodes its pods are', async () => {
    const world = withGroup({ all: {} })
    await world.begin(nodes(2, 1), objects(grouped('a', 'n0'), grouped('b', 'n1'), pod('high').cpu(1).priority(10)))
    assert.deepEqual(world.evictor.evicted.toSorted(), ['a', 'b'])
    assert.match(reasonOf(world, 'high'), /preempting 2 victims$/)
  })

  it('leaves pod by pod if it says so', async () => {
    const world = withGroup({ single: {} })
    await world.begin(nodes(2, 1), objects(grouped('a', 'n0'), grouped('b', 'n1'), pod('high').cpu(1).priority(10)))
    assert.equal(world.evictor.evicted.length, 1)
  })

  it('stays if one of its pods matters as much', async () => {
    const world = withGroup({ all: {} })
    await world.begin(nodes(2, 1), objects(grouped('a', 'n0'), grouped('b', 'n1', 10), pod('high').cpu(1).priority(10)))
    assert.deepEqual(world.evictor.evicted, [])
  })

  it('stays where single pods of the same priority are enough, and leaves as a whole for a gang', async () => {
    const spared = withGroup({ all: {} })
    await spared.begin(
      nodes(4, 1),
      objects(grouped('a', 'n0'), grouped('b', 'n1'), running('c', 'n2'), running('d', 'n3'), ...members(2)),
    )
    assert.deepEqual(spared.evictor.evicted.toSorted(), ['c', 'd'])
    const whole = withGroup({ all: {} })
    await whole.begin(
      nodes(4, 1),
      objects(grouped('a', 'n0'), grouped('b', 'n1'), running('c', 'n2'), running('d', 'n3'), ...members(3)),
    )
    assert.deepEqual(whole.evictor.evicted.toSorted(), ['a', 'b', 'c', 'd'])
  })
})

/** All that a rule or a policy may read of the cluster. */
const snapshot = (cluster: ClusterState) => ({
  requested: cluster.requested.map((column) => [...column]).filter((column) => column.some((amount) => amount !== 0)),
  scoring: [[...cluster.scoringCpuMilli], [...cluster.scoringMemoryBytes]],
  podCount: [...cluster.podCount],
  generation: [...cluster.generation],
  gpus: [...cluster.gpus.freeMilli],
  pods: Array.from(cluster.order.subarray(0, cluster.nodeCount), (index) => [...cluster.podsOn(index)].map(podKey)),
  ports: Array.from(cluster.order.subarray(0, cluster.nodeCount), (index) => cluster.portsOn(index)),
  lowestPriority: cluster.lowestPriority,
  nominated: new Map([...cluster.nominated].map(([name, pods]) => [name, new Set(pods.keys())])),
  placed: cluster.placedPods,
})

interface Scene {
  readonly nodes: readonly NodeObject[]
  readonly pods: readonly PodObject[]
  readonly members: readonly PodObject[]
  readonly minCount: number
  readonly budgets: readonly PodDisruptionBudgetObject[]
}

const app = fc.constantFrom('a', 'b', 'c')

const scene: fc.Arbitrary<Scene> = fc
  .record({
    nodes: fc.array(fc.record({ cpu: fc.integer({ min: 1, max: 4 }), zone: fc.nat(2), gpus: fc.nat(2) }), {
      minLength: 2,
      maxLength: 5,
    }),
    pods: fc.array(
      fc.record({
        cpu: fc.integer({ min: 1, max: 2 }),
        priority: fc.constantFrom(0, 0, 1, 1, 3),
        on: fc.nat(4),
        app,
        gpu: fc.boolean(),
      }),
      { minLength: 4, maxLength: 10 },
    ),
    members: fc.array(
      fc.record({
        cpu: fc.integer({ min: 1, max: 2 }),
        port: fc.boolean(),
        apart: fc.option(fc.constantFrom('kubernetes.io/hostname', 'topology.kubernetes.io/zone'), { freq: 2 }),
        shuns: fc.option(app, { freq: 2 }),
        spread: fc.boolean(),
        gpu: fc.boolean(),
        nominatedTo: fc.option(fc.nat(4)),
      }),
      { minLength: 1, maxLength: 5 },
    ),
    beyond: fc.nat(1),
    allowed: fc.nat(1),
  })
  .map(({ nodes: shapes, pods, members: shapesOfMembers, beyond, allowed }) => {
    const free = shapes.map(({ cpu }) => cpu)
    const withGpu = new Set<number>()
    const term = (topologyKey: string, name: string) => ({
      topologyKey,
      labelSelector: { matchLabels: { app: name } },
    })
    return {
      nodes: shapes.map(({ cpu, gpus, zone }, at) =>
        node(`n${at}`)
          .cpu(cpu)
          .zone(`z${zone}`)
          .allocatable('stowage.dev/gpu-milli', gpus * 1000)
          .object(),
      ),
      pods: pods.flatMap(({ app: label, cpu, gpu, on, priority }, at) => {
        const index = on % shapes.length
        if ((free[index] ?? 0) < cpu) return []
        free[index] = (free[index] ?? 0) - cpu
        const builder = pod(`p${at}`).cpu(cpu).priority(priority).label('app', label).on(`n${index}`)
        if (gpu && (shapes[index]?.gpus ?? 0) > 0 && !withGpu.has(index))
          builder.request('stowage.dev/gpu-milli', 800).annotation('stowage.dev/gpu-devices', '0')
        if (gpu) withGpu.add(index)
        if (at === 0) builder.hostPort(8000)
        return [builder.object()]
      }),
      members: shapesOfMembers.map(({ apart, cpu, gpu, nominatedTo, port, shuns, spread }, at) => {
        const builder = pod(`g${at}`).cpu(cpu).priority(2).label('app', 'gang')
        if (port) builder.hostPort(8000)
        if (gpu) builder.request('stowage.dev/gpu-milli', 500)
        if (nominatedTo !== null && nominatedTo < shapes.length) builder.nominatedTo(`n${nominatedTo}`)
        const terms = [
          ...(apart === null ? [] : [term(apart, 'gang')]),
          ...(shuns === null ? [] : [term('topology.kubernetes.io/zone', shuns)]),
        ]
        if (terms.length > 0)
          builder.spec({ affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } } })
        if (spread)
          builder.spec({
            topologySpreadConstraints: [
              {
                maxSkew: 1,
                topologyKey: 'kubernetes.io/hostname',
                whenUnsatisfiable: 'DoNotSchedule',
                labelSelector: { matchLabels: { app: 'gang' } },
              },
            ],
          })
        return builder.object()
      }),
      minCount: Math.max(1, shapesOfMembers.length - beyond),
      budgets: [budget('a', allowed)],
    }
  })

/** Those of app c leave together or not at all. */
const togetherIn = (cluster: ClusterState) => {
  const all: Pod[] = []
  for (const index of cluster.order.subarray(0, cluster.nodeCount))
    for (const one of cluster.podsOn(index)) if (one.labels['app'] === 'c') all.push(one)
  return (uid: string): readonly Pod[] | undefined => (all.some((one) => one.uid === uid) ? all : undefined)
}

/** A cluster with a cycle, and how a gang is placed and room found for it there. */
const play = ({ budgets: budgetObjects, members: memberObjects, minCount, nodes: nodeObjects, pods }: Scene) => {
  const cluster = new ClusterState()
  const budgets = new DisruptionBudgets()
  for (const object of nodeObjects) cluster.applyNode(cluster.readNode(object))
  for (const object of pods) cluster.applyPod(cluster.readPod(object))
  for (const object of budgetObjects) budgets.seen(object)
  const gang = memberObjects.map((object) => cluster.readPod(object))
  for (const one of gang) cluster.applyPod(one)
  const together = togetherIn(cluster)
  let version = 0
  const changed = (): void => {
    version++
  }
  const cycle = new Cycle({
    clock: systemClock,
    random: seededRandom(1),
    cluster,
    budgets,
    constraints: createConstraints(),
    together: () => together,
    stateVersion: () => version,
    onPhase: () => undefined,
  })
  const profile = { schedulerName: 'default-scheduler', policy: emptiest, fallback: undefined, deadlineMs: 1000 }
  const candidates = gang.map((one: Pod) => ({ pod: one, profile }))
  const uids = new Set(gang.map(({ uid }) => uid))
  const common = { cluster, minCount, placed: 0, plan: () => undefined, changed }
  return {
    cluster,
    candidates,
    place: () => {
      const seeks = ({ pod: { uid } }: { readonly pod: Pod }): number => (cluster.nominationOf(uid) === '' ? 1 : 0)
      const inOrder = candidates.toSorted((a, b) => seeks(a) - seeks(b))
      return placeGang(inOrder, { ...common, decide: (one, its) => cycle.decideAtOnce(one, its, false) })
    },
    find: () =>
      findRoomForGang(candidates, {
        ...common,
        budgets,
        isMember: (uid) => uids.has(uid),
        together,
        decide: (one, its) => cycle.decideAtOnce(one, its, true),
        fits: (one, index, imagined) => cycle.fits(one, index, imagined),
        isLocal: (one) => cycle.isLocal(one),
      }),
    changed,
  }
}

describe('whatever a gang asks for and whoever is there,', () => {
  it('those who leave make it whole with every rule kept, none of them could stay, and looking changes nothing', () => {
    const seen = { found: 0, none: 0, together: 0 }
    fc.assert(
      fc.property(scene, (drawn) => {
        const { candidates, cluster, find, place } = play(drawn)
        const before = snapshot(cluster)
        if (place().whole) return
        assert.deepEqual({ ...snapshot(cluster), generation: [] }, { ...before, generation: [] })
        const still = snapshot(cluster)
        const { found, text } = find()
        assert.deepEqual(snapshot(cluster), still, 'everything is as it was')
        assert.deepEqual(cluster.discrepancies().miscounted, [])
        if (typeof found !== 'object') {
          seen.none++
          assert.match(text, /^pod group preemption: /)
          return
        }
        seen.found++
        assert.ok(found.victims.length > 0)
        assert.equal(new Set(found.victims.map(({ pod: { uid } }) => uid)).size, found.victims.length)
        for (const { pod: victim } of found.victims) assert.ok(victim.priority < 2, 'victims matter less')
        assert.equal(found.nominations.size, drawn.minCount, 'never half a gang')
        const { minCount } = drawn
        /** Whether the members fit, one after the other, where they are nominated, once these are gone. */
        const fitWithout = (leaving: readonly string[]): boolean => {
          const again = play(drawn)
          for (const uid of leaving) again.cluster.removePod(uid)
          for (const candidate of again.candidates) again.cluster.nominate(candidate.pod, '')
          for (const [candidate, nodeName] of found.nominations)
            again.cluster.nominate(
              again.candidates.find(({ pod: { uid } }) => uid === candidate.pod.uid)?.pod ?? candidate.pod,
              nodeName,
            )
          again.changed()
          const step = again.place()
          if (!step.whole) return false
          const places = new Map(step.placed.map(({ candidate, decision }) => [candidate.pod.uid, decision.nodeName]))
          return [...found.nominations].every(
            ([
              {
                pod: { uid },
              },
              nodeName,
            ]) => places.get(uid) === nodeName,
          )
        }
        const leaving = found.victims.map(({ pod: { uid } }) => uid)
        const together = togetherIn(cluster)
        for (const uid of leaving)
          for (const other of together(uid) ?? []) assert.ok(leaving.includes(other.uid), 'half of another gang leaves')
        if (leaving.some((uid) => together(uid) !== undefined)) seen.together++
        assert.ok(fitWithout(leaving), `${candidates.length} members, ${minCount} needed, ${leaving.join()}`)
        for (const spared of leaving)
          assert.ok(
            !fitWithout(
              leaving.filter((uid) => uid !== spared && !together(spared)?.some((other) => other.uid === uid)),
            ),
            `${spared} could have stayed`,
          )
      }),
      { seed: 20_261_123, numRuns: 500 },
    )
    assert.ok(seen.found > 50 && seen.none > 50 && seen.together > 5, JSON.stringify(seen))
  })
})
