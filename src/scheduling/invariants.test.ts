import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../../test/builders.ts'
import { createConstraints } from '../constraints/registry.ts'
import { BindFailure } from './ports.ts'
import { emptiest, policyOf, World } from './world.fixture.ts'

/** What can happen around a scheduler, in any order. Numbers pick one of what is there. */
type Step =
  | { readonly what: 'pod'; readonly cpuMilli: number; readonly priority: number; readonly gated: boolean }
  | { readonly what: 'node'; readonly cpu: number; readonly tainted: boolean }
  | {
      readonly what:
        | 'nodeGone'
        | 'podGone'
        | 'podFinished'
        | 'podDeleting'
        | 'ungate'
        | 'watch'
        | 'stale'
        | 'boundByAnother'
        | 'bindOk'
        | 'bindConflict'
        | 'bindError'
        | 'bindGone'
        | 'answer'
        | 'pass'
        | 'pause'
      readonly at: number
    }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      what: fc.constant('pod' as const),
      cpuMilli: fc.integer({ min: 100, max: 3000 }),
      priority: fc.nat(2),
      gated: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant('node' as const),
      cpu: fc.integer({ min: 1, max: 4 }),
      tainted: fc.boolean(),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      what: fc.constantFrom(
        'nodeGone' as const,
        'podGone' as const,
        'podFinished' as const,
        'podDeleting' as const,
        'ungate' as const,
        'watch' as const,
        'watch' as const,
        'stale' as const,
        'boundByAnother' as const,
        'bindOk' as const,
        'bindOk' as const,
        'bindConflict' as const,
        'bindError' as const,
        'bindGone' as const,
        'answer' as const,
        'pass' as const,
        'pause' as const,
      ),
      at: fc.nat(1000),
    }),
  },
)

/** The truth, as an API server holds it: which pods there are and where they are bound. */
interface Truth {
  readonly name: string
  readonly cpuMilli: number
  readonly priority: number
  gated: boolean
  deleting: boolean
  finished: boolean
  boundTo: string
  version: number
}

const objectOf = (truth: Truth, boundTo = truth.boundTo) => {
  const builder = pod(truth.name).cpu(`${truth.cpuMilli}m`).priority(truth.priority).resourceVersion(`${truth.version}`)
  if (truth.gated) builder.gatedBy('gate')
  if (truth.deleting) builder.deleting()
  if (truth.finished) builder.phase('Succeeded')
  if (boundTo !== '') builder.on(boundTo)
  return builder.object()
}

/** Plays steps against a scheduler and holds the invariants after each of them. Returns what was decided, in order. */
const play = async (steps: readonly Step[], asynchronous: boolean): Promise<string[]> => {
  const answers: (() => void)[] = []
  const policy = asynchronous
    ? policyOf(
        (itsPod, candidates, context) =>
          new Promise((resolve, reject) => {
            answers.push(() => {
              // Answers about nodes that may have gone meanwhile, and now and then none.
              if (answers.length % 3 === 0) reject(new Error('no answer'))
              else resolve(emptiest.rank(itsPod, candidates, context))
            })
          }),
      )
    : emptiest
  const world = new World({ policy }, { constraints: createConstraints() })
  world.binder.prompt = false
  await world.begin([node('node-0').cpu('2').object()])
  const pods: Truth[] = []
  const names = ['node-0']
  const bindings = new Map<string, number>()
  const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % Math.max(1, list.length)]
  const changed = (truth: Truth | undefined, change: (truth: Truth) => void): void => {
    if (truth === undefined) return
    change(truth)
    truth.version++
  }
  const answerBind = (at: number, failure?: BindFailure): void => {
    const request = pick(world.binder.waiting, at)
    if (request === undefined) return
    const truth = pods.find(({ name }) => name === request.pod.name)
    // The API server takes no second binding and none for what is gone.
    if (truth === undefined || truth.deleting) request.answer(new BindFailure('gone', 'not found'))
    else if (truth.boundTo !== '') request.answer(new BindFailure('conflict', 'already assigned'))
    else if (failure !== undefined) request.answer(failure)
    else {
      changed(truth, (it) => (it.boundTo = request.nodeName))
      bindings.set(truth.name, (bindings.get(truth.name) ?? 0) + 1)
      request.answer()
    }
  }
  let seen = 0
  let overcommittedByOthers = false
  /** The API server has taken evictions: those pods are on their way out. */
  const evict = (): void => {
    for (const name of world.evictor.evicted.splice(0))
      changed(
        pods.find((truth) => truth.name === name),
        (truth) => {
          truth.deleting = true
          evicted.add(truth)
        },
      )
  }
  const evicted = new Set<Truth>()
  for (const it of steps) {
    switch (it.what) {
      case 'pod': {
        const { cpuMilli, priority, gated } = it
        const truth = {
          name: `pod-${seen++}`,
          cpuMilli,
          priority,
          gated,
          deleting: false,
          finished: false,
          boundTo: '',
          version: 1,
        }
        pods.push(truth)
        world.scheduler.pods.seen(objectOf(truth))
        break
      }
      case 'node': {
        const name = `node-${names.length}`
        names.push(name)
        const builder = node(name).cpu(it.cpu).pods(3)
        if (it.tainted) builder.taint('x', 'NoSchedule')
        world.scheduler.nodes.seen(builder.object())
        break
      }
      case 'nodeGone':
        world.scheduler.nodes.gone('', pick(names, it.at) ?? '', '')
        break
      case 'podGone': {
        const [gone] = pods.splice(it.at % Math.max(1, pods.length), 1)
        if (gone !== undefined) world.scheduler.pods.gone('default', gone.name, `uid-${gone.name}`)
        break
      }
      case 'podFinished':
        changed(
          pick(
            pods.filter(({ boundTo }) => boundTo !== ''),
            it.at,
          ),
          (truth) => {
            truth.finished = true
            world.scheduler.pods.seen(objectOf(truth))
          },
        )
        break
      case 'podDeleting':
        changed(pick(pods, it.at), (truth) => {
          truth.deleting = true
          world.scheduler.pods.seen(objectOf(truth))
        })
        break
      case 'ungate':
        changed(pick(pods, it.at), (truth) => {
          truth.gated = false
          world.scheduler.pods.seen(objectOf(truth))
        })
        break
      case 'watch':
        for (const truth of pods) world.scheduler.pods.seen(objectOf(truth))
        break
      case 'stale': {
        // A view from before its binding, as a lagging server may give it.
        const truth = pick(
          pods.filter(({ finished }) => !finished),
          it.at,
        )
        if (truth !== undefined) world.scheduler.pods.seen(objectOf({ ...truth, version: truth.version - 1 }, ''))
        break
      }
      case 'boundByAnother':
        changed(
          pick(
            pods.filter(({ boundTo, gated }) => boundTo === '' && !gated),
            it.at,
          ),
          (truth) => {
            truth.boundTo = pick(names, it.at) ?? ''
            overcommittedByOthers = true
          },
        )
        break
      case 'bindOk':
        answerBind(it.at)
        break
      case 'bindConflict':
        answerBind(it.at, new BindFailure('conflict', 'changed'))
        break
      case 'bindError':
        answerBind(it.at, new BindFailure('error', '500'))
        break
      case 'bindGone':
        answerBind(it.at, new BindFailure('gone', 'not found'))
        break
      case 'answer':
        answers.splice(it.at % Math.max(1, answers.length), 1)[0]?.()
        break
      case 'pass':
        world.clock.advance(it.at * 20)
        break
      case 'pause':
        world.scheduler.pause()
        if (it.at % 2 === 0) world.scheduler.start()
        break
    }
    await world.quiet()
    evict()
    const conservation = world.scheduler.conservation()
    const { bound, waiting, gated, deleted, inFlight } = conservation
    assert.equal(bound + waiting + gated + deleted + inFlight, conservation.seen, 'the sum holds')
    assert.equal(conservation.seen, seen, 'every pod was seen once')
    assert.deepEqual(world.scheduler.recount(), { waiting, gated, inFlight }, 'the counters are right')
    const { miscounted, overcommitted } = world.cluster.discrepancies()
    assert.deepEqual(miscounted, [], 'the columns are those of the pods')
    if (!overcommittedByOthers) assert.deepEqual(overcommitted, [], 'no node holds more than it has')
    for (const count of bindings.values()) assert.equal(count, 1, 'nothing is bound twice')
  }
  // In the end everything is known of, and everybody answers: what can be placed is placed.
  world.scheduler.start()
  for (let round = 0; round < 12; round++) {
    // Who was evicted is gone before long.
    for (const truth of evicted) {
      if (!pods.includes(truth)) continue
      pods.splice(pods.indexOf(truth), 1)
      world.scheduler.pods.gone('default', truth.name, `uid-${truth.name}`)
    }
    evicted.clear()
    for (const truth of pods) world.scheduler.pods.seen(objectOf(truth))
    for (let answer = answers.shift(); answer !== undefined; answer = answers.shift()) answer()
    await world.quiet()
    while (world.binder.waiting.length > 0) answerBind(0)
    await world.passes(12_000)
    evict()
  }
  for (const truth of pods) world.scheduler.pods.seen(objectOf(truth))
  await world.quiet()
  assert.equal(world.scheduler.conservation().inFlight, 0)
  assert.equal(
    world.scheduler.conservation().waiting,
    pods.filter(({ boundTo, gated, deleting }) => boundTo === '' && !gated && !deleting).length,
    'who waits is who has no node',
  )
  return world.decisions.records.map(
    ({ id, pod, outcome, node, message }) => `${id} ${pod} ${outcome} ${node} ${message}`,
  )
}

describe('whatever happens, in any order,', () => {
  for (const asynchronous of [false, true]) {
    it(`every pod is accounted for, nothing is bound twice, no node is overcommitted (policy answers ${asynchronous ? 'later' : 'at once'})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80 }), async (steps) => {
          await play(steps, asynchronous)
        }),
        { seed: 20_260_101, numRuns: 60 },
      )
    })
  }

  it('the same events lead to the same decisions', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), fc.boolean(), async (steps, asynchronous) => {
        assert.deepEqual(await play(steps, asynchronous), await play(steps, asynchronous))
      }),
      { seed: 7, numRuns: 20 },
    )
  })
})
