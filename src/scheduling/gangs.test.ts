import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { node, pod, type PodBuilder } from '../../test/builders.ts'
import type { PodGroupObject } from '../cluster/gangs.ts'
import { BindFailure } from './ports.ts'
import { emptiest, policyOf, World } from './world.fixture.ts'

/** A member of a gang by our own annotations. */
const member = (name: string, gang: string, size: number): PodBuilder =>
  pod(name).cpu(1).annotation('stowage.dev/gang', gang).annotation('stowage.dev/gang-size', `${size}`)

const members = (gang: string, count: number, size = count): PodBuilder[] =>
  Array.from({ length: count }, (_, number) => member(`${gang}-${number}`, gang, size))

const objects = (...builders: readonly PodBuilder[]) => builders.map((builder) => builder.object())

const nodes = (count: number, cpu: number) =>
  Array.from({ length: count }, (_, number) => node(`n${number}`).cpu(cpu).object())

const boundNames = ({ binder }: World): string[] => binder.bound.map(({ uid }) => uid.replace('uid-', '')).sort()

const reasonOf = ({ scheduler }: World, name: string): string | undefined =>
  [...scheduler.waiting()].find(({ pod: { name: itsName } }) => itsName === name)?.reason

const waitingFor = (there: number, minCount: number): string =>
  `waiting for minCount pods from a gang to appear in scheduling queue: ${there} of ${minCount} are there`

const group = (name: string, spec: PodGroupObject['spec'] = {}): PodGroupObject => ({
  metadata: { namespace: 'default', name },
  spec,
})

/** Nothing is assumed, nothing miscounted, every pod accounted for. */
const sound = (world: World): void => {
  const { seen, bound, waiting, gated, deleted, inFlight } = world.scheduler.conservation()
  assert.equal(bound + waiting + gated + deleted + inFlight, seen)
  assert.deepEqual(world.scheduler.recount(), { waiting, gated, inFlight })
  assert.deepEqual(world.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
}

describe('a gang', () => {
  it('is placed when enough of its members are there, and not before', async () => {
    const world = await new World().begin(nodes(3, 1), objects(...members('a', 2, 3)))
    assert.deepEqual(boundNames(world), [])
    assert.equal(world.scheduler.conservation().gated, 2)
    assert.equal(reasonOf(world, 'a-1'), waitingFor(2, 3))
    await world.see(member('a-2', 'a', 3).object())
    assert.deepEqual(boundNames(world), ['a-0', 'a-1', 'a-2'])
    sound(world)
  })

  it('says how many are there to members that have waited a moment, and again when that changes', async () => {
    const world = await new World().begin(nodes(3, 1), objects(...members('a', 2, 4)))
    assert.deepEqual(world.reporter.lines, [])
    await world.passes(1_000)
    const first = `SchedulingGated: ${waitingFor(2, 4)}`
    assert.deepEqual(world.reporter.lines, [`a-0 ${first}`, `a-1 ${first}`])
    assert.equal(world.decisions.of('a-0').message, waitingFor(2, 4))
    assert.deepEqual(world.decisions.of('a-0').wakesOn, ['GangComplete'])
    // Nothing new, nothing said.
    await world.passes(60_000)
    assert.equal(world.reporter.lines.length, 2)
    await world.see(member('a-2', 'a', 4).object())
    await world.passes(1_000)
    assert.deepEqual(
      world.reporter.lines.slice(2),
      [0, 1, 2].map((at) => `a-${at} SchedulingGated: ${waitingFor(3, 4)}`),
    )
  })

  it('tells a member that takes the place of another, too', async () => {
    const world = await new World().begin(nodes(3, 1), objects(...members('a', 2, 3)))
    await world.passes(1_000)
    world.scheduler.pods.gone('default', 'a-1', 'uid-a-1')
    await world.see(member('a-9', 'a', 3).object())
    await world.passes(11_000)
    assert.ok(world.reporter.lines.includes(`a-9 SchedulingGated: ${waitingFor(2, 3)}`))
  })

  it('goes as a whole where there is room for all, and not at all where there is not', async () => {
    const world = await new World().begin(nodes(2, 1), objects(...members('a', 3)))
    assert.deepEqual(boundNames(world), [])
    const words =
      'minCount (3) cannot be satisfied: 2 scheduled, 0 remaining. default/a-2: 0/2 nodes are available: 2 Insufficient cpu. ' +
      'pod group preemption: No preemption victims found for incoming preemptor'
    assert.deepEqual(
      world.reporter.lines,
      [0, 1, 2].map((at) => `a-${at} Unschedulable: ${words}`),
    )
    assert.equal(reasonOf(world, 'a-0'), words)
    assert.equal(world.cluster.assumedPods, 0)
    sound(world)
    world.scheduler.nodes.seen(node('n2').cpu(1).object())
    await world.passes(3_000)
    assert.deepEqual(boundNames(world), ['a-0', 'a-1', 'a-2'])
    sound(world)
  })

  it('counts what is left to try as soon as it cannot succeed any more', async () => {
    const world = await new World().begin(nodes(1, 1), objects(...members('a', 3)))
    assert.match(reasonOf(world, 'a-2') ?? '', /^minCount \(3\) cannot be satisfied: 1 scheduled, 1 remaining\. /)
  })

  it('that is larger than the cluster holds up nobody', async () => {
    const world = await new World().begin(nodes(2, 2), [
      ...objects(...members('huge', 5).map((builder) => builder.priority(1000))),
      ...objects(...members('small', 2), pod('single').cpu(1)),
    ])
    assert.deepEqual(boundNames(world), ['single', 'small-0', 'small-1'])
    await world.passes(600_000)
    assert.equal(world.scheduler.conservation().waiting, 5)
    sound(world)
  })

  it('does not share room with another that needs the same: one goes whole, the other when it is gone', async () => {
    const interleaved = [...members('a', 3)].flatMap((builder, at) => [builder, member(`b-${at}`, 'b', 3)])
    const world = await new World().begin(nodes(2, 2), objects(...interleaved))
    const first = boundNames(world)
    assert.deepEqual(first, ['a-0', 'a-1', 'a-2'])
    for (const name of first) world.scheduler.pods.gone('default', name, `uid-${name}`)
    await world.passes(3_000)
    assert.deepEqual(boundNames(world), ['a-0', 'a-1', 'a-2', 'b-0', 'b-1', 'b-2'])
    sound(world)
  })

  it('has members beyond those that are needed placed if they fit, and later if they do not', async () => {
    const world = await new World().begin(nodes(3, 1), objects(...members('a', 4, 2)))
    assert.deepEqual(boundNames(world), ['a-0', 'a-1', 'a-2'])
    assert.equal(reasonOf(world, 'a-3'), '0/3 nodes are available: 3 Insufficient cpu.')
    world.scheduler.nodes.seen(node('more').cpu(1).object())
    await world.passes(3_000)
    assert.deepEqual(boundNames(world), ['a-0', 'a-1', 'a-2', 'a-3'])
  })

  it('takes its turn by the highest priority of its members', async () => {
    const [first, second] = members('a', 2)
    const world = await new World().begin(nodes(1, 2), [
      pod('rival').cpu(1).priority(5).object(),
      ...objects(first!, second!.priority(10)),
    ])
    assert.deepEqual(boundNames(world), ['a-0', 'a-1'])
  })

  it('wakes by what could help any of its members, and backs off as one', async () => {
    const [first, second] = members('a', 2)
    const world = await new World().begin(nodes(1, 8), objects(first!, second!.nodeSelector('disk', 'ssd')))
    assert.deepEqual(boundNames(world), [])
    world.scheduler.nodes.seen(node('ssd').cpu(1).label('disk', 'ssd').object())
    await world.passes(3_000)
    assert.deepEqual(boundNames(world), ['a-0', 'a-1'])
  })

  it('is not woken by the room that it gave back itself', async () => {
    const world = await new World().begin(nodes(1, 1), objects(...members('a', 2)))
    await world.passes(120_000)
    assert.deepEqual(
      [...world.scheduler.waiting()].map(({ attempts }) => attempts),
      [1, 1],
    )
  })

  it('waits again when one of its members is deleted, and takes its successor', async () => {
    const world = await new World().begin(nodes(1, 1), objects(...members('a', 2)))
    world.scheduler.pods.gone('default', 'a-1', 'uid-a-1')
    world.scheduler.nodes.seen(node('n1').cpu(1).object())
    await world.passes(12_000)
    assert.deepEqual(boundNames(world), [])
    assert.equal(reasonOf(world, 'a-0'), waitingFor(1, 2))
    sound(world)
    await world.see(member('a-9', 'a', 2).object())
    assert.deepEqual(boundNames(world), ['a-0', 'a-9'])
    sound(world)
  })

  it('does not count members that are gated, deleted or of a scheduler that is not ours', async () => {
    const [first, second, third, fourth] = members('a', 4, 2)
    const world = await new World().begin(nodes(4, 1), [
      ...objects(first!, second!.gatedBy('quota'), third!.scheduler('another'), fourth!.deleting()),
    ])
    assert.equal(reasonOf(world, 'a-0'), waitingFor(1, 2))
    await world.see(member('a-1', 'a', 2).resourceVersion('2').object())
    assert.deepEqual(boundNames(world), ['a-0', 'a-1'])
    sound(world)
  })

  it('that a restart found half placed is completed first', async () => {
    const [first, second, third] = members('a', 3)
    const world = await new World().begin(nodes(3, 1), [
      pod('early-0').cpu(1).object(),
      pod('early-1').cpu(1).object(),
      ...objects(second!, third!, first!.on('n0')),
    ])
    assert.deepEqual(boundNames(world), ['a-1', 'a-2'])
    sound(world)
  })

  it('that was cut in half with no room left says that too few fit, and completes when there is some', async () => {
    const [first, second, third] = members('a', 3)
    const world = await new World().begin(nodes(2, 1), objects(first!.on('n0'), second!, third!))
    assert.deepEqual(boundNames(world), [])
    assert.match(reasonOf(world, 'a-1') ?? '', /^minCount \(3\) cannot be satisfied: 2 scheduled, 0 remaining\. /)
    world.scheduler.nodes.seen(node('n2').cpu(1).object())
    await world.passes(3_000)
    assert.deepEqual(boundNames(world), ['a-1', 'a-2'])
  })

  it('keeps the place of a member that could not be bound until it is tried again', async () => {
    const world = await new World().begin(nodes(2, 1), [])
    world.binder.prompt = false
    await world.see(...objects(...members('a', 2)))
    world.binder.waiting[1]?.answer(new BindFailure('error', '500'))
    world.binder.waiting[0]?.answer()
    await world.quiet()
    await world.see(pod('rival').cpu(1).object())
    assert.match(reasonOf(world, 'rival') ?? '', /2 Insufficient cpu/)
    await world.passes(3_000)
    assert.deepEqual(
      world.binder.waiting.map(({ pod: { name } }) => name),
      ['a-1'],
    )
    world.binder.waiting[0]?.answer()
    await world.quiet()
    assert.deepEqual(boundNames(world), ['a-0', 'a-1'])
    sound(world)
  })

  it('keeps that place no longer than its timeout', async () => {
    const world = await new World().begin([node('n0').cpu(1).object(), node('n1').cpu(1).object()], [])
    world.binder.prompt = false
    await world.see(
      ...objects(...members('a', 2).map((builder) => builder.annotation('stowage.dev/gang-timeout', '20s'))),
    )
    world.binder.waiting[1]?.answer(new BindFailure('error', '500'))
    world.binder.waiting[0]?.answer()
    await world.quiet()
    const held = world.cluster.nominationOf('uid-a-1')
    // Another scheduler did not know.
    world.scheduler.pods.seen(pod('thief').cpu(1).on(held).object())
    await world.passes(10_000)
    assert.equal(world.cluster.nominationOf('uid-a-1'), held)
    await world.passes(11_000)
    assert.equal(world.cluster.nominationOf('uid-a-1'), '')
    assert.deepEqual(boundNames(world), ['a-0'])
    assert.match(reasonOf(world, 'a-1') ?? '', /^minCount \(2\) cannot be satisfied: 1 scheduled, 0 remaining/)
  })

  it('gives up the place that was kept for a member when that goes elsewhere, and others take it', async () => {
    const [first, second] = members('a', 2)
    const world = await new World().begin(
      [node('n0').cpu(1).object(), node('n1').cpu(2).label('disk', 'ssd').object()],
      objects(
        first!.nominatedTo('n0').nodeSelector('disk', 'ssd'),
        pod('rival').cpu(1).nodeSelector('kubernetes.io/hostname', 'n0'),
      ),
    )
    assert.deepEqual(boundNames(world), [])
    await world.see(second!.nodeSelector('disk', 'ssd').object())
    await world.passes(3_000)
    assert.deepEqual(boundNames(world), ['a-0', 'a-1', 'rival'])
    sound(world)
  })

  it('whose policy takes its time is ranked by the fallback, and the policy is asked once only', async () => {
    let asked = 0
    const slow = policyOf(() => {
      asked++
      return new Promise(() => undefined)
    }, 'slow')
    const world = await new World({ policy: slow }).begin(nodes(3, 2), objects(...members('a', 3)))
    assert.deepEqual(boundNames(world), ['a-0', 'a-1', 'a-2'])
    assert.equal(asked, 1)
    assert.equal(world.decisions.of('a-2').source, 'fallback')
    assert.match(world.decisions.of('a-2').reason ?? '', /slow gave no usable ranking: it does not answer at once/)
    assert.equal(world.scheduler.stats().rankingsInFlight, 0)
  })

  it('that loses a member while the policy thinks about one more is looked at anew, as a whole', async () => {
    const answers: (() => void)[] = []
    const slow = policyOf(
      (itsPod, candidates, context) =>
        new Promise((resolve) => answers.push(() => resolve(emptiest.rank(itsPod, candidates, context)))),
    )
    const [first, second, third] = members('a', 3, 2)
    const world = await new World({ policy: slow }).begin(
      nodes(2, 3),
      objects(first!.on('n0'), second!.on('n0'), third!),
    )
    world.scheduler.pods.gone('default', 'a-0', 'uid-a-0')
    world.scheduler.pods.gone('default', 'a-1', 'uid-a-1')
    for (const answer of answers) answer()
    await world.quiet()
    assert.deepEqual(boundNames(world), [])
    assert.equal(reasonOf(world, 'a-2'), waitingFor(1, 2))
    sound(world)
  })

  it('leaves everything as it was when a rule breaks in the middle of it', async () => {
    let asked = 0
    const broken = policyOf((_pod, candidates, context) => {
      if (++asked > 1) throw new Error('broken')
      return emptiest.rank(_pod, candidates, context)
    })
    const world = await new World({ policy: broken, fallback: undefined }).begin(
      nodes(3, 2),
      objects(...members('a', 2)),
    )
    assert.deepEqual(boundNames(world), [])
    assert.equal(world.cluster.assumedPods, 0)
    assert.match(world.reporter.lines[0] ?? '', /^a-0 SchedulerError: .*broken/)
    sound(world)
  })

  it('does not keep a scheduler from ending', async () => {
    const world = await new World().begin(nodes(1, 1), objects(...members('a', 1, 2)))
    await world.scheduler.drain(new AbortController().signal)
    await world.passes(60_000)
    assert.deepEqual(world.reporter.lines, [])
  })
})

describe('a gang is known by', () => {
  const marks: Readonly<Record<string, (builder: PodBuilder) => PodBuilder>> = {
    'the annotation stowage.dev/gang': (builder) => builder.annotation('stowage.dev/gang', 'g'),
    'the label stowage.dev/gang': (builder) => builder.label('stowage.dev/gang', 'g'),
    'spec.schedulingGroup': (builder) => builder.spec({ schedulingGroup: { podGroupName: 'g' } }),
    "coscheduling's label": (builder) => builder.label('scheduling.x-k8s.io/pod-group', 'g'),
    "coscheduling's older label": (builder) => builder.label('pod-group.scheduling.sigs.k8s.io', 'g'),
    "Volcano's annotation": (builder) => builder.annotation('scheduling.k8s.io/group-name', 'g'),
    "Volcano's other annotation": (builder) => builder.annotation('scheduling.volcano.sh/group-name', 'g'),
  }
  for (const [mark, put] of Object.entries(marks)) {
    it(`${mark}, with stowage.dev/gang-size where there is no object`, async () => {
      const built = (name: string) => put(pod(name).cpu(1)).annotation('stowage.dev/gang-size', '2').object()
      const world = await new World().begin(nodes(2, 1), [built('a')])
      assert.equal(reasonOf(world, 'a'), waitingFor(1, 2))
      await world.see(built('b'))
      assert.deepEqual(boundNames(world), ['a', 'b'])
    })
  }

  const apis = [
    ['scheduling.k8s.io', 'spec.schedulingGroup', { schedulingPolicy: { gang: { minCount: 2 } } }],
    ['scheduling.x-k8s.io', "coscheduling's label", { minMember: 2 }],
    ['scheduling.volcano.sh', "Volcano's annotation", { minMember: 2 }],
  ] as const
  for (const [source, mark, spec] of apis) {
    it(`the PodGroup of ${source}: its pods wait for the object, and for as many as it says`, async () => {
      const built = (name: string) => marks[mark]!(pod(name).cpu(1)).object()
      const world = await new World().begin(nodes(3, 1), [built('a')])
      assert.equal(reasonOf(world, 'a'), `waiting for pods's pod group "g" to appear in scheduling queue`)
      world.scheduler.podGroups[source].seen(group('g', spec))
      await world.passes(1_000)
      assert.equal(reasonOf(world, 'a'), waitingFor(1, 2))
      await world.see(built('b'))
      assert.deepEqual(boundNames(world), ['a', 'b'])
      // Fewer are enough from now on, then it is gone.
      world.scheduler.podGroups[source].gone('default', 'g', '')
      await world.see(built('c'))
      assert.match(reasonOf(world, 'c') ?? '', /pod group "g" to appear/)
      sound(world)
    })
  }

  it('an object that asks for fewer than before, as soon as it does', async () => {
    const built = (name: string) => pod(name).cpu(1).label('scheduling.x-k8s.io/pod-group', 'g').object()
    const world = await new World().begin(nodes(2, 1), [built('a'), built('b')])
    const feed = world.scheduler.podGroups['scheduling.x-k8s.io']
    feed.seen(group('g', { minMember: 3 }))
    await world.quiet()
    assert.deepEqual(boundNames(world), [])
    feed.seen(group('g', { minMember: 2 }))
    await world.quiet()
    assert.deepEqual(boundNames(world), ['a', 'b'])
  })

  it('a PodGroup without gang policy has its pods placed one by one', async () => {
    const world = await new World().begin(nodes(1, 1), [
      pod('a')
        .cpu(1)
        .spec({ schedulingGroup: { podGroupName: 'g' } })
        .object(),
    ])
    world.scheduler.podGroups['scheduling.k8s.io'].seen(group('g', { schedulingPolicy: { basic: {} } }))
    await world.quiet()
    assert.deepEqual(boundNames(world), ['a'])
  })

  it('what cannot be read holds its pods back and says what is wrong', async () => {
    const world = await new World().begin(nodes(1, 1), [
      pod('a').annotation('stowage.dev/gang', 'g').annotation('stowage.dev/gang-size', 'many').object(),
      pod('b').annotation('stowage.dev/gang', 'h').object(),
      pod('c').label('scheduling.x-k8s.io/pod-group', 'i').object(),
    ])
    assert.match(reasonOf(world, 'a') ?? '', /stowage\.dev\/gang-size is "many", which is no number from 1/)
    assert.match(reasonOf(world, 'b') ?? '', /no member has stowage\.dev\/gang-size/)
    world.scheduler.podGroups['scheduling.x-k8s.io'].seen(group('i', { minMember: 'x' as never }))
    assert.equal(world.scheduler.stats().unreadable, 1)
    sound(world)
  })

  it('a pod on a node counts whatever it says of its gang', async () => {
    const odd = pod('a').cpu(1).on('n0').annotation('stowage.dev/gang', 'g').annotation('stowage.dev/gang-size', '-1')
    const world = await new World().begin(nodes(1, 1), [odd.object(), pod('b').cpu(1).object()])
    assert.deepEqual(boundNames(world), [])
  })
})

describe('the object of a gang', () => {
  const built = (name: string) =>
    pod(name)
      .cpu(1)
      .spec({ schedulingGroup: { podGroupName: 'g' } })
  const gangOf = (minCount: number): PodGroupObject => group('g', { schedulingPolicy: { gang: { minCount } } })

  it('is told why it cannot be placed, once for each reason, and that it is', async () => {
    const world = await new World().begin(nodes(1, 1), objects(built('a'), built('b')))
    const feed = world.scheduler.podGroups['scheduling.k8s.io']
    feed.seen(gangOf(2))
    await world.quiet()
    const why =
      'minCount (2) cannot be satisfied: 1 scheduled, 0 remaining, ' +
      'pod group preemption: No preemption victims found for incoming preemptor'
    assert.deepEqual(world.reporter.gangs, [`g Unschedulable: ${why}`])
    await world.passes(600_000)
    assert.equal(world.reporter.gangs.length, 1)
    world.scheduler.nodes.seen(node('n1').cpu(1).object())
    await world.passes(12_000)
    assert.deepEqual(world.reporter.gangs.slice(1), ['g Scheduled'])
  })

  it('that was placed is never told otherwise, as Kubernetes has it', async () => {
    const world = await new World().begin(nodes(2, 1), objects(built('a'), built('b')))
    world.scheduler.podGroups['scheduling.k8s.io'].seen(gangOf(2))
    await world.quiet()
    world.scheduler.pods.gone('default', 'a', 'uid-a')
    world.scheduler.nodes.gone('', 'n0', 'uid-n0')
    world.scheduler.nodes.gone('', 'n1', 'uid-n1')
    await world.see(built('c').object(), built('d').object())
    await world.passes(12_000)
    assert.deepEqual(world.reporter.gangs, ['g Scheduled'])
  })

  it('is told by the next scheduler what the last one could not say any more', async () => {
    const world = new World()
    world.scheduler.podGroups['scheduling.k8s.io'].seen(gangOf(2))
    await world.begin(nodes(2, 1), objects(built('a').on('n0'), built('b').on('n1')))
    assert.deepEqual(world.reporter.gangs, ['g Scheduled'])
    // The same when the object is seen last.
    const other = await new World().begin(nodes(2, 1), objects(built('a').on('n0'), built('b').on('n1')))
    other.scheduler.podGroups['scheduling.k8s.io'].seen(gangOf(2))
    assert.deepEqual(other.reporter.gangs, ['g Scheduled'])
  })

  it('whose pods are of another scheduler is left alone', async () => {
    const world = new World()
    world.scheduler.podGroups['scheduling.k8s.io'].seen(gangOf(1))
    await world.begin(nodes(2, 1), objects(built('a').scheduler('another').on('n0')))
    assert.deepEqual(world.reporter.gangs, [])
  })
})

type Step =
  | { readonly what: 'member'; readonly gang: number; readonly cpuMilli: number; readonly priority: number }
  | { readonly what: 'node'; readonly cpu: number }
  | {
      readonly what: 'gone' | 'nodeGone' | 'bindOk' | 'bindError' | 'bindGone' | 'watch' | 'answer' | 'pass'
      readonly at: number
    }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant('member' as const),
      gang: fc.nat(3),
      cpuMilli: fc.integer({ min: 200, max: 1500 }),
      priority: fc.nat(1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('node' as const), cpu: fc.integer({ min: 1, max: 3 }) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      what: fc.constantFrom<'gone' | 'nodeGone' | 'bindOk' | 'bindError' | 'bindGone' | 'watch' | 'answer' | 'pass'>(
        ...(['gone', 'nodeGone', 'bindOk', 'bindOk', 'bindError', 'bindGone', 'watch', 'answer', 'pass'] as const),
      ),
      at: fc.nat(1000),
    }),
  },
)

describe('whatever happens, in any order,', () => {
  for (const asynchronous of [false, true]) {
    it(`no step leaves a gang with some of its members placed but fewer than it needs (policy answers ${asynchronous ? 'later' : 'at once'})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 70 }), async (steps) => {
          const answers: (() => void)[] = []
          const policy = asynchronous
            ? policyOf(
                (itsPod, candidates, context) =>
                  new Promise((resolve) => {
                    answers.push(() => resolve(emptiest.rank(itsPod, candidates, context)))
                  }),
              )
            : emptiest
          const world = new World({ policy })
          world.binder.prompt = false
          await world.begin([node('node-0').cpu(3).object()])
          const pods = new Map<string, { readonly builder: PodBuilder; readonly gang: number; boundTo: string }>()
          const names = ['node-0']
          let seen = 0
          const placed = (gang: number): Set<string> => {
            const found = new Set<string>()
            for (const [name, known] of pods)
              if (known.gang === gang && world.cluster.placeOf(`uid-${name}`) !== '') found.add(name)
            return found
          }
          const answer = (at: number, failure?: BindFailure): void => {
            const request = world.binder.waiting[at % Math.max(1, world.binder.waiting.length)]
            if (request === undefined) return
            const known = pods.get(request.pod.name)
            if (known === undefined) request.answer(new BindFailure('gone', 'not found'))
            else if (failure !== undefined) request.answer(failure)
            else {
              known.boundTo = request.nodeName
              request.answer()
            }
          }
          for (const it of steps) {
            const before = [0, 1, 2, 3].map(placed)
            switch (it.what) {
              case 'member': {
                const name = `pod-${seen++}`
                const builder = member(name, `gang-${it.gang}`, it.gang + 1)
                  .cpu(`${it.cpuMilli}m`)
                  .priority(it.priority)
                pods.set(name, { builder, gang: it.gang, boundTo: '' })
                world.scheduler.pods.seen(builder.object())
                break
              }
              case 'node': {
                const name = `node-${names.length}`
                names.push(name)
                world.scheduler.nodes.seen(node(name).cpu(it.cpu).object())
                break
              }
              case 'gone': {
                const name = [...pods.keys()][it.at % Math.max(1, pods.size)]
                if (name === undefined) break
                pods.delete(name)
                world.scheduler.pods.gone('default', name, `uid-${name}`)
                break
              }
              case 'nodeGone':
                world.scheduler.nodes.gone('', names[it.at % names.length] ?? '', '')
                break
              case 'bindOk':
                answer(it.at)
                break
              case 'bindError':
                answer(it.at, new BindFailure('error', '500'))
                break
              case 'bindGone':
                answer(it.at, new BindFailure('gone', 'not found'))
                break
              case 'watch':
                for (const { builder, boundTo } of pods.values())
                  if (boundTo !== '') world.scheduler.pods.seen(builder.resourceVersion('2').on(boundTo).object())
                break
              case 'answer':
                answers.splice(it.at % Math.max(1, answers.length), 1)[0]?.()
                break
              case 'pass':
                world.clock.advance(it.at * 20)
                break
            }
            await world.quiet()
            for (const [gang, had] of before.entries()) {
              const now = placed(gang)
              const came = [...now].filter((name) => !had.has(name)).length
              assert.ok(came === 0 || now.size > gang, `gang ${gang}: ${came} came, ${now.size} of ${gang + 1} placed`)
            }
            sound(world)
          }
          // In the end everybody answers: nothing is left in flight.
          for (let round = 0; round < 8; round++) {
            for (let next = answers.shift(); next !== undefined; next = answers.shift()) next()
            await world.quiet()
            while (world.binder.waiting.length > 0) answer(0)
            await world.passes(12_000)
          }
          assert.equal(world.scheduler.conservation().inFlight, 0)
          sound(world)
        }),
        { seed: 20_260_201, numRuns: 60 },
      )
    })
  }
})
