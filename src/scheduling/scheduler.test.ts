import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import type { Ranking } from '../policies/policy.ts'
import { BindFailure } from './ports.ts'
import { emptiest, policyOf, World } from './world.fixture.ts'

const twoNodes = [node('small').cpu('2').object(), node('big').cpu('8').object()]
const whole = { miscounted: [], overcommitted: [] }

describe('the scheduler', () => {
  it('binds a pod to the node that its policy ranks first', async () => {
    const world = await new World().begin(twoNodes)
    await world.see(pod('a').cpu('1').object())
    assert.deepEqual(world.binder.bound, [{ uid: 'uid-a', nodeName: 'big' }])
    assert.deepEqual(world.reporter.lines, ['a -> big'])
  })

  it('decides nothing before all feeds are in sync and it leads', async () => {
    const world = new World()
    for (const object of twoNodes) world.scheduler.nodes.seen(object)
    world.scheduler.pods.seen(pod('a').object())
    for (const feed of Object.values(world.scheduler.storage)) feed.synced()
    world.scheduler.start()
    await world.quiet()
    world.scheduler.pods.synced()
    await world.quiet()
    assert.deepEqual(world.reporter.lines, [])
    world.scheduler.pause()
    world.scheduler.nodes.synced()
    world.scheduler.disruptionBudgets.synced()
    world.scheduler.namespaces.synced()
    await world.quiet()
    assert.deepEqual(world.reporter.lines, [])
    world.scheduler.start()
    await world.quiet()
    assert.deepEqual(world.reporter.lines, ['a -> big'])
  })

  it('binds nothing that a policy answers after another replica has taken the lead', async () => {
    let answer: (ranking: Ranking) => void = () => undefined
    const policy = policyOf(() => new Promise((resolve) => (answer = resolve)))
    const world = await new World({ policy }).begin(twoNodes, [pod('a').object()])
    world.scheduler.pause()
    answer({ scores: Float64Array.of(1, 2), source: 'model' })
    await world.passes(60_000)
    assert.deepEqual(world.binder.bound, [])
    assert.equal(world.scheduler.conservation().waiting, 1)
    await world.see(pod('a').on('small').resourceVersion('2').object())
    assert.equal(world.scheduler.conservation().bound, 1)
  })

  it('reads what has happened at least every few milliseconds while it decides', async () => {
    const slices: (() => void)[] = []
    const slow = policyOf((pod, candidates, context) => {
      world.clock.advance(1)
      return emptiest.rank(pod, candidates, context)
    })
    const world = new World({ policy: slow }, { yieldToEvents: (run) => slices.push(run) })
    await world.begin(
      twoNodes,
      Array.from({ length: 12 }, (_, i) => pod(`p-${i}`).cpu('100m').object()),
    )
    slices.shift()?.()
    assert.equal(world.decisions.records.length, 5)
    world.scheduler.nodes.seen(node('huge').cpu('100').object())
    slices.shift()?.()
    assert.equal(world.decisions.of('p-5').node, 'huge')
  })

  it('leaves pods of other schedulers alone but counts them where they are bound', async () => {
    const world = await new World().begin(twoNodes)
    await world.see(
      pod('theirs').scheduler('other').object(),
      pod('bound').scheduler('other').cpu('7').on('big').object(),
    )
    await world.see(pod('a').cpu('2').object())
    assert.deepEqual(world.reporter.lines, ['a -> small'])
    assert.equal(world.scheduler.conservation().seen, 1)
  })

  it('makes room again when a pod ends or goes, and wakes those that wait for it', async () => {
    for (const end of ['phase', 'gone'] as const) {
      const world = await new World().begin([node('n').cpu('1').object()])
      await world.see(pod('first').cpu('1').object())
      await world.see(pod('second').cpu('1').object())
      assert.match(world.reporter.lines[1] ?? '', /^second Unschedulable: 0\/1 nodes/)
      if (end === 'gone') world.scheduler.pods.gone('default', 'first', 'uid-first')
      else world.scheduler.pods.seen(pod('first').cpu('1').on('n').phase('Succeeded').resourceVersion('2').object())
      await world.passes(2000)
      assert.equal(world.reporter.lines[2], 'second -> n')
      assert.deepEqual(world.scheduler.conservation(), {
        seen: 2,
        bound: 2,
        waiting: 0,
        gated: 0,
        deleted: 0,
        inFlight: 0,
      })
    }
  })

  it('says of each waiting pod why it waits and what may help', async () => {
    const world = await new World().begin(twoNodes)
    await world.see(pod('a').cpu('100').object(), pod('b').gatedBy('x').object())
    assert.deepEqual(
      [...world.scheduler.waiting()].map(({ pod, ...rest }) => ({ pod: pod.name, ...rest })),
      [
        {
          pod: 'a',
          queue: 'unschedulable',
          attempts: 1,
          sinceMs: world.clock.nowMs(),
          reason:
            '0/2 nodes are available: 2 Insufficient cpu. ' +
            'preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.',
          rejectedBy: ['NodeResourcesFit'],
          wakesOn: ['NodeAdd', 'PodDelete', 'NodeAllocatable', 'SelfScaleDown'],
        },
        {
          pod: 'b',
          queue: 'gated',
          attempts: 0,
          sinceMs: world.clock.nowMs(),
          reason: 'waiting for scheduling gates: [x]',
          rejectedBy: [],
          wakesOn: ['SelfGates'],
        },
      ],
    )
    assert.equal(world.decisions.of('b').outcome, 'gated')
    assert.equal(world.decisions.of('a').outcome, 'waiting')
  })

  it('drops a pod that is being deleted, and says so', async () => {
    const world = await new World().begin(twoNodes)
    await world.see(pod('a').deleting().object())
    assert.deepEqual(world.reporter.lines, ['a SchedulerError: skip schedule deleting pod: default/a'])
    await world.see(pod('a').deleting().resourceVersion('2').object())
    world.scheduler.pods.gone('default', 'a', 'uid-a')
    await world.passes(60_000)
    assert.deepEqual(world.binder.bound, [])
    assert.deepEqual(world.scheduler.conservation(), {
      seen: 1,
      bound: 0,
      waiting: 0,
      gated: 0,
      deleted: 1,
      inFlight: 0,
    })
  })

  it('is as slow as it makes pods wait: the time behind scheduling gates is not its own', async () => {
    const sinceOpenMs: number[] = []
    const nothing = (): void => undefined
    const observer = {
      attempted: nothing,
      phase: nothing,
      bound: (_name: string, _attempts: number, ms: number) => void sinceOpenMs.push(ms),
      preempted: nothing,
      queued: nothing,
      fellBack: nothing,
      unreadable: nothing,
    }
    const world = await new World({}, { observer }).begin(twoNodes, [pod('a').gatedBy('x').object()])
    await world.passes(60_000)
    await world.see(pod('a').resourceVersion('2').object())
    assert.deepEqual(sinceOpenMs, [0])
  })

  it('lets go of a pod that somebody else bound', async () => {
    const world = await new World().begin(twoNodes, [pod('a').cpu('100').object()])
    await world.see(pod('a').cpu('100').on('big').resourceVersion('2').object())
    assert.deepEqual([...world.scheduler.waiting()], [])
    assert.equal(world.scheduler.conservation().bound, 1)
    assert.equal(world.decisions.of('a').outcome, 'bound')
  })

  it('outlives objects that cannot be read, and a pod of ours among them waits with the reason', async () => {
    const world = await new World().begin(twoNodes)
    const broken = [
      pod('ours').cpu('twelve').object(),
      pod('theirs').cpu('twelve').scheduler('other').object(),
      { metadata: null },
      { metadata: 7, spec: [] },
      {},
    ] as PodObject[]
    await world.see(...broken)
    world.scheduler.nodes.seen({ metadata: { name: 7 } } as unknown as NodeObject)
    await world.passes(10 * 60_000)
    assert.equal(world.reporter.lines.length, 1)
    assert.match(world.reporter.lines[0] ?? '', /^ours SchedulerError: .*twelve.*POD_MALFORMED/)
    assert.equal(world.scheduler.stats().unreadable, 6)
    assert.equal(world.scheduler.conservation().waiting, 1)
    await world.see(pod('ours').cpu('1').resourceVersion('2').object())
    assert.equal(world.reporter.lines[1], 'ours -> big')
  })
})

describe('binding', () => {
  const slow = async (): Promise<World> => {
    const world = new World()
    world.binder.prompt = false
    return world.begin(twoNodes)
  }
  const [, big] = twoNodes

  it('goes on beside further decisions, and what is decided counts at once', async () => {
    const world = await slow()
    await world.see(pod('a').cpu('7').object(), pod('b').cpu('2').object())
    assert.deepEqual(
      world.binder.waiting.map(({ pod, nodeName }) => [pod.name, nodeName]),
      [
        ['a', 'big'],
        ['b', 'small'],
      ],
    )
    assert.equal(world.scheduler.conservation().inFlight, 2)
    assert.equal(world.decisions.of('a').outcome, 'reserved')
  })

  it('has no more on their way than allowed', async () => {
    const world = new World({}, { maxBindsInFlight: 3 })
    world.binder.prompt = false
    await world.begin(
      [big ?? {}],
      ['a', 'b', 'c', 'd', 'e'].map((name) => pod(name).object()),
    )
    assert.equal(world.binder.waiting.length, 3)
    world.binder.waiting[0]?.answer()
    await world.quiet()
    assert.equal(world.binder.waiting.length, 3)
    assert.equal(world.scheduler.conservation().inFlight, 3)
    assert.equal(world.scheduler.conservation().waiting, 1)
  })

  for (const kind of ['conflict', 'error'] as const) {
    it(`gives everything back when it ends with ${kind}, and the pod is tried again`, async () => {
      const world = await slow()
      await world.see(pod('a').cpu('7').object())
      world.binder.waiting[0]?.answer(new BindFailure(kind, 'the server said no'))
      await world.quiet()
      assert.equal(world.cluster.placedPods, 0)
      assert.deepEqual(world.reporter.lines, [
        'a SchedulerError: running Bind plugin "DefaultBinder": the server said no',
      ])
      assert.equal(world.decisions.of('a').outcome, 'failed')
      assert.equal(world.scheduler.stats().queues.backoff, 1)
      await world.passes(2000)
      world.binder.waiting[0]?.answer()
      await world.quiet()
      assert.equal(world.reporter.lines[1], 'a -> big')
    })
  }

  it('wakes others when it fails: its room is free again', async () => {
    const world = await slow()
    await world.see(pod('a').cpu('7').object(), pod('b').cpu('8').object())
    assert.match(world.reporter.lines[0] ?? '', /^b Unschedulable/)
    world.binder.waiting[0]?.answer(new BindFailure('error', 'no'))
    await world.quiet()
    assert.deepEqual(
      world.binder.waiting.map(({ pod }) => pod.name),
      ['b'],
    )
  })

  it('counts once when the watch is ahead of the answer', async () => {
    const world = await slow()
    await world.see(pod('a').cpu('7').object())
    await world.see(pod('a').cpu('7').on('big').resourceVersion('2').object())
    assert.equal(world.scheduler.conservation().bound, 1)
    world.binder.waiting[0]?.answer()
    await world.quiet()
    assert.equal(world.scheduler.conservation().bound, 1)
    assert.deepEqual(world.cluster.discrepancies(), whole)
    assert.deepEqual(world.reporter.lines, ['a -> big'])
  })

  it('has succeeded if the watch says so, even if the answer was lost', async () => {
    const world = await slow()
    await world.see(pod('a').cpu('7').object())
    await world.see(pod('a').cpu('7').on('big').resourceVersion('2').object())
    world.binder.waiting[0]?.answer(new BindFailure('conflict', 'already assigned'))
    await world.quiet()
    assert.deepEqual(world.reporter.lines, ['a -> big'])
    assert.equal(world.cluster.placeOf('uid-a'), 'big')
  })

  it('is ours, and reported, when the watch shows it after its answer was given up', async () => {
    const world = await slow()
    await world.see(pod('a').cpu('7').object())
    world.binder.waiting[0]?.answer(new BindFailure('error', 'connection lost'))
    await world.passes(2000)
    world.binder.waiting[0]?.answer(new BindFailure('conflict', 'already assigned'))
    await world.quiet()
    await world.see(pod('a').cpu('7').on('big').resourceVersion('2').object())
    assert.equal(world.reporter.lines.at(-1), 'a -> big')
    const { outcome, node } = world.decisions.of('a')
    assert.deepEqual({ outcome, node }, { outcome: 'bound', node: 'big' })
  })

  it('is told apart from the bind of another scheduler that the watch shows later', async () => {
    const world = await slow()
    await world.see(pod('a').cpu('1').object())
    world.binder.waiting[0]?.answer(new BindFailure('conflict', 'already assigned'))
    await world.quiet()
    await world.see(pod('a').cpu('1').on('small').resourceVersion('2').object())
    const { outcome, node, message } = world.decisions.of('a')
    assert.deepEqual(
      { outcome, node, message },
      { outcome: 'bound', node: '', message: 'somebody else bound it to small' },
    )
    assert.ok(!world.reporter.lines.includes('a -> small'))
  })

  it('yields to another scheduler that was quicker', async () => {
    const world = await slow()
    await world.see(pod('a').cpu('1').object())
    await world.see(pod('a').cpu('1').on('small').resourceVersion('2').object())
    world.binder.waiting[0]?.answer(new BindFailure('conflict', 'already assigned'))
    await world.passes(60_000)
    assert.equal(world.cluster.placeOf('uid-a'), 'small')
    assert.deepEqual(
      world.decisions.records.map(({ outcome, node }) => ({ outcome, node })),
      [
        { outcome: 'failed', node: 'big' },
        { outcome: 'bound', node: '' },
      ],
    )
    assert.equal(world.decisions.of('a').message, 'somebody else bound it to small')
    assert.deepEqual(world.binder.waiting, [])
    assert.equal(world.scheduler.conservation().bound, 1)
    assert.deepEqual(world.cluster.discrepancies(), whole)
  })

  it('is not begun again by an older view of a pod that is bound', async () => {
    const world = await new World().begin(twoNodes)
    await world.see(pod('a').object())
    await world.see(pod('a').resourceVersion('2').label('x', 'y').object())
    await world.see(pod('a').on('big').resourceVersion('3').object())
    await world.see(pod('a').resourceVersion('2').label('x', 'y').object())
    await world.passes(60_000)
    assert.equal(world.binder.bound.length, 1)
    assert.equal(world.scheduler.conservation().seen, 1)
  })

  it('of a pod that is deleted meanwhile leaves nothing behind', async () => {
    for (const failure of [undefined, new BindFailure('gone', 'pods "a" not found')]) {
      const world = await slow()
      await world.see(pod('a').cpu('7').object())
      world.scheduler.pods.gone('default', 'a', 'uid-a')
      assert.equal(world.cluster.placedPods, 0)
      world.binder.waiting[0]?.answer(failure)
      await world.passes(60_000)
      const { bound, deleted, inFlight } = world.scheduler.conservation()
      assert.deepEqual([bound, deleted, inFlight], failure === undefined ? [1, 0, 0] : [0, 1, 0])
      assert.equal(world.cluster.placedPods, 0)
      assert.deepEqual(world.binder.waiting, [])
    }
  })

  it('of a pod that is being deleted is not tried again', async () => {
    const world = await slow()
    await world.see(pod('a').object())
    await world.see(pod('a').deleting().resourceVersion('2').object())
    world.binder.waiting[0]?.answer(new BindFailure('gone', 'it is being deleted'))
    await world.passes(60_000)
    assert.deepEqual(world.binder.waiting, [])
    assert.deepEqual(world.reporter.lines, ['a SchedulerError: skip schedule deleting pod: default/a'])
    assert.equal(world.scheduler.conservation().deleted, 1)
  })

  it('survives a binder that throws at once', async () => {
    const world = new World(
      {},
      {
        binder: {
          bind: () => {
            throw new TypeError('a bug')
          },
        },
      },
    )
    await world.begin(twoNodes, [pod('a').object()])
    assert.deepEqual(world.reporter.lines, ['a SchedulerError: running Bind plugin "DefaultBinder": a bug'])
    assert.equal(world.cluster.placedPods, 0)
  })
})

describe('draining', () => {
  it('begins nothing more, waits for binds on their way, then for the reports', async () => {
    const world = new World({}, { maxBindsInFlight: 1 })
    world.binder.prompt = false
    await world.begin(twoNodes, [pod('a').object(), pod('b').object()])
    const drained = world.scheduler.drain(new AbortController().signal)
    await world.quiet()
    assert.equal(world.reporter.drained, 0)
    world.binder.waiting[0]?.answer()
    await drained
    assert.equal(world.reporter.drained, 1)
    assert.deepEqual(world.reporter.lines, ['a -> big'])
    world.scheduler.start()
    await world.passes(60_000)
    assert.equal(world.scheduler.conservation().waiting, 1)
  })

  it('aborts binds when its own time is over, and does not call that a failure', async () => {
    const world = new World()
    world.binder.prompt = false
    await world.begin(twoNodes, [pod('a').object()])
    const time = new AbortController()
    const drained = world.scheduler.drain(time.signal)
    time.abort()
    await drained
    assert.deepEqual(world.reporter.lines, [])
    assert.equal(world.cluster.placedPods, 0)
  })

  it('calls off policies that have not answered; their pods wait as before', async () => {
    let aborted = false
    const policy = policyOf((_pod, _candidates, { signal }) => {
      signal.addEventListener('abort', () => (aborted = true))
      return new Promise(() => undefined)
    })
    const world = await new World({ policy }).begin(twoNodes, [pod('a').object()])
    await world.scheduler.drain(new AbortController().signal)
    assert.ok(aborted)
    assert.deepEqual(
      { ...world.scheduler.conservation() },
      {
        seen: 1,
        bound: 0,
        waiting: 1,
        gated: 0,
        deleted: 0,
        inFlight: 0,
      },
    )
    assert.equal(world.scheduler.recount().waiting, 1)
  })
})
