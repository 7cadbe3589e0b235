import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { createConstraints } from '../constraints/registry.ts'
import type { Ranking } from '../policies/policy.ts'
import { emptiest, policyOf, World } from './world.fixture.ts'

const scored = (...scores: number[]): Ranking => ({ scores: Float64Array.from(scores), source: 'model' })
const twoNodes = [node('small').cpu('2').object(), node('big').cpu('8').object()]

describe('the message of a pod that fits nowhere', () => {
  const messageOf = async (nodes: Parameters<World['begin']>[0], waiting: ReturnType<typeof pod>): Promise<string> => {
    const world = new World({}, { constraints: createConstraints() })
    await world.begin(nodes, [waiting.object()])
    const [line] = world.reporter.lines
    return line ?? ''
  }

  it("is kube-scheduler's, a count for each reason, sorted as strings", async () => {
    const nodes = [
      node('a').cpu('1').object(),
      node('b').cpu('1').object(),
      ...['c', 'd', 'e'].map((name) => node(name).taint('gpu', 'NoSchedule').object()),
    ]
    assert.equal(
      await messageOf(nodes, pod('p').cpu('2')),
      'p Unschedulable: 0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint(s). ' +
        'preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.',
    )
  })

  it('counts a node for each of its reasons', async () => {
    const nodes = [node('a').cpu('1').memory('1Gi').object(), node('b').cpu('1').memory('8Gi').object()]
    assert.equal(
      await messageOf(nodes, pod('p').cpu('2').memory('2Gi')),
      'p Unschedulable: 0/2 nodes are available: 1 Insufficient memory, 2 Insufficient cpu. ' +
        'preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.',
    )
  })

  it('says so when there are no nodes', async () => {
    assert.equal(await messageOf([], pod('p')), 'p Unschedulable: no nodes available to schedule pods')
  })

  it('is that of the rule which refuses the pod before any node is asked', async () => {
    const line = await messageOf(twoNodes, pod('p').spec({ resourceClaims: [{}] }))
    assert.match(line, /^p Unschedulable: 0\/2 nodes are available: .*resource claims.*\.$/)
  })
})

describe('the record of a decision', () => {
  it('names the refused by reason, the best with their terms and room, and the policy', async () => {
    const policy = policyOf(({ shape }, { nodes, count }, { cluster }) => {
      const free = Float64Array.from(nodes.subarray(0, count), (at) => cluster.allocatable[0]?.[at] ?? 0)
      assert.equal(shape.request.amounts[0], 1000)
      return {
        scores: free.map((milli) => milli * 2),
        terms: [{ name: 'free', weight: 2, valueAt: (candidate) => free[candidate] ?? 0 }],
        source: 'heuristic',
        usage: 'requests',
        confidence: 0.5,
        reason: 'the emptier the better',
      }
    })
    const world = await new World({ policy }).begin([...twoNodes, node('tiny').cpu('100m').object()])
    await world.see(pod('a').cpu('1').object())
    const record = world.decisions.of('a')
    assert.deepEqual(
      {
        ...record,
        candidates: record.candidates.map(({ room, ...rest }) => ({ ...rest, freeMilli: room.allocatableCpuMilli })),
        request: { ...record.request },
      },
      {
        id: 1,
        atMs: world.clock.nowMs(),
        namespace: 'default',
        pod: 'a',
        uid: 'uid-a',
        schedulerName: 'default-scheduler',
        attempt: 1,
        priority: 0,
        request: { cpu: 1000 },
        scoringCpuMilli: 1000,
        scoringMemoryBytes: 200 * 1024 * 1024,
        outcome: 'bound',
        node: 'big',
        policy: 'tried',
        policyVersion: '1',
        source: 'heuristic',
        usage: 'requests',
        confidence: 0.5,
        reason: 'the emptier the better',
        nodes: 3,
        feasible: 2,
        refused: [{ constraint: 'NodeResourcesFit', reason: 'Insufficient cpu', nodes: 1, preemptionCouldHelp: true }],
        candidates: [
          { node: 'big', score: 16_000, terms: { free: 16_000 }, freeMilli: 8000 },
          { node: 'small', score: 4000, terms: { free: 4000 }, freeMilli: 2000 },
        ],
        wakesOn: [],
        message: '',
        queueMs: 0,
        cycleMs: 0,
        bindMs: 0,
      },
    )
  })

  it('names the node that lacks least, and what it lacks', async () => {
    const world = await new World().begin(twoNodes)
    await world.see(pod('a').cpu('10').object())
    assert.deepEqual(world.decisions.of('a').nearestMiss, {
      node: 'big',
      lacks: { cpu: 2000 },
      reasons: ['Insufficient cpu'],
    })
  })

  it('keeps five candidates, best first and equals in the order of the nodes', async () => {
    const policy = policyOf((_pod, { count }) => scored(...[1, 5, 3, 5, 9, 2, 4].slice(0, count)))
    const nodes = 'abcdefg'.split('').map((name) => node(name).object())
    const world = await new World({ policy }).begin(nodes)
    await world.see(pod('p').object())
    assert.deepEqual(
      world.decisions.of('p').candidates.map((candidate) => candidate.node),
      ['e', 'b', 'd', 'g', 'c'],
    )
  })
})

describe('a pod', () => {
  it('goes to its nominated node unscored if that passes every rule', async () => {
    const world = await new World().begin(twoNodes)
    await world.see(pod('a').cpu('1').nominatedTo('small').object())
    assert.deepEqual(world.reporter.lines, ['a -> small'])
    assert.equal(world.decisions.of('a').source, 'none')
  })

  it('goes elsewhere if its nominated node has no room', async () => {
    const world = await new World().begin(twoNodes)
    await world.see(pod('a').cpu('3').nominatedTo('small').object())
    assert.deepEqual(world.reporter.lines, ['a -> big'])
  })

  it('is not scored when one node is feasible', async () => {
    const policy = policyOf(() => assert.fail('it must not be asked'))
    const world = await new World({ policy }).begin(twoNodes)
    await world.see(pod('a').cpu('3').object())
    assert.deepEqual(world.reporter.lines, ['a -> big'])
    assert.equal(world.decisions.of('a').reason, 'no other node passes every rule')
    assert.equal(world.scheduler.stats().fallbacks, 0)
  })

  it('is not asked about anew while nothing has changed since another of its template was refused', async () => {
    let asked = 0
    const rules = createConstraints().map((constraint) => ({
      ...constraint,
      prepare: (...args: Parameters<typeof constraint.prepare>) => {
        if (constraint.name === 'NodeResourcesFit') asked++
        return constraint.prepare(...args)
      },
    }))
    const pods = Array.from({ length: 1000 }, (_, i) => pod(`p-${i}`).cpu('64').object())
    const world = await new World({}, { constraints: rules }).begin(twoNodes, pods)
    assert.equal(asked, 1)
    assert.equal(world.reporter.lines.length, 1000)
    await world.see(pod('other').cpu('65').object(), pod('labelled').cpu('64').label('x', 'y').object())
    assert.equal(asked, 3)
    world.scheduler.nodes.seen(node('huge').cpu('128').object())
    await world.passes(2000)
    assert.equal(world.binder.bound.length, 2)
  })

  it('waits with the error if a rule breaks, and is tried again', async () => {
    let broken = true
    const world = new World(
      {},
      {
        constraints: [
          {
            name: 'Broken',
            prepare: () => {
              if (broken) throw new Error('a bug')
              return undefined
            },
            wakesOn: [],
            couldHelp: () => false,
          },
        ],
      },
    )
    await world.begin(twoNodes, [pod('a').object()])
    assert.deepEqual(world.reporter.lines, ['a SchedulerError: a bug'])
    broken = false
    await world.passes(2000)
    assert.deepEqual(world.reporter.lines.slice(1), ['a -> big'])
  })
})

describe('a policy costs nothing but its opinion when it', () => {
  const faults: [string, Parameters<typeof policyOf>[0], RegExp][] = [
    [
      'throws',
      () => {
        throw new Error('out of memory')
      },
      /out of memory/,
    ],
    ['rejects', () => Promise.reject(new Error('503')), /503/],
    ['answers NaN', () => scored(1, Number.NaN), /NaN/],
    ['answers infinity', () => scored(Number.POSITIVE_INFINITY, 1), /Infinity/],
    ['scores too few nodes', () => scored(1), /1 scores for 2 nodes/],
    ['answers nothing', () => undefined as unknown as Ranking, /no scores/],
    ['answers with text', () => ({ scores: 'big' }) as unknown as Ranking, /no scores/],
    ['answers nothing later', () => Promise.resolve(undefined as unknown as Ranking), /no scores/],
    [
      'writes other nodes into its list',
      (_pod, { nodes }) => {
        nodes[0] = 2
        return scored(9, 1)
      },
      /changed the list/,
    ],
  ]
  for (const [what, rank, why] of faults) {
    it(what, async () => {
      const world = await new World({ policy: policyOf(rank) }).begin([...twoNodes, node('tiny').cpu('10m').object()])
      await world.see(pod('a').cpu('1').object())
      assert.deepEqual(world.reporter.lines, ['a -> big'])
      const record = world.decisions.of('a')
      assert.equal(record.source, 'fallback')
      assert.equal(record.policy, 'emptiest')
      assert.match(record.reason ?? '', why)
      assert.match(record.reason ?? '', /^tried gave no usable ranking/)
      assert.equal(world.scheduler.stats().fallbacks, 1)
    })
  }

  it('scores more nodes than there are', async () => {
    const world = await new World({ policy: policyOf(() => scored(2, 1, 99)) }).begin(twoNodes)
    await world.see(pod('a').cpu('1').object())
    assert.deepEqual(world.reporter.lines, ['a -> small'])
  })

  it('hangs: the fallback places the pod at the deadline, and the policy is told', async () => {
    let told: unknown
    const policy = policyOf((_pod, _candidates, { signal }) => {
      signal.addEventListener('abort', () => (told = signal.reason))
      return new Promise(() => undefined)
    })
    const world = await new World({ policy, deadlineMs: 300 }).begin(twoNodes, [pod('a').object()])
    await world.passes(299)
    assert.deepEqual(world.reporter.lines, [])
    await world.passes(1)
    assert.deepEqual(world.reporter.lines, ['a -> big'])
    assert.match(String(told), /did not answer within 300 ms/)
  })

  it('is followed by a fallback that fails too: the first feasible node takes the pod', async () => {
    const policy = policyOf(() => scored())
    for (const fallback of [
      policyOf(() => {
        throw new Error('no')
      }),
      policyOf(() => Promise.resolve(scored(1, 2))),
    ]) {
      const world = await new World({ policy, fallback }).begin(twoNodes, [pod('a').object()])
      assert.deepEqual(world.reporter.lines, ['a -> small'])
      assert.equal(world.decisions.of('a').source, 'fallback')
    }
  })
})

describe('a pod of a profile without a fallback', () => {
  it('waits with the error when its policy fails, and is tried again after its back-off', async () => {
    for (const answer of ['at once', 'later']) {
      let fails = true
      const policy = policyOf(() => {
        if (!fails) return scored(1, 2)
        if (answer === 'later') return Promise.reject(new Error('503'))
        throw new Error('503')
      })
      const world = await new World({ policy, fallback: undefined }).begin(twoNodes, [pod('a').object()])
      assert.equal(world.reporter.lines.length, 1)
      assert.match(world.reporter.lines[0] ?? '', /^a SchedulerError: .*503.*POLICY_FAILED/)
      assert.equal(world.scheduler.stats().queues.backoff, 1)
      fails = false
      await world.passes(2000)
      assert.equal(world.reporter.lines[1], 'a -> big')
    }
  })
})

describe('a policy that answers later', () => {
  const slow = () => {
    const answers: ((ranking: Ranking) => void)[] = []
    const policy = policyOf(() => new Promise<Ranking>((resolve) => answers.push(resolve)))
    return { answers, policy }
  }

  it('does not hold up the pods of other profiles', async () => {
    const { policy } = slow()
    const profiles = [
      { schedulerName: 'slow', policy, fallback: emptiest, deadlineMs: 1000 },
      { schedulerName: 'quick', policy: emptiest, fallback: emptiest, deadlineMs: 1000 },
    ]
    const pods = Array.from({ length: 100 }, (_, i) => pod(`slow-${i}`).priority(9).scheduler('slow').object())
    const world = await new World({}, { profiles }).begin(twoNodes, [...pods, pod('quick').scheduler('quick').object()])
    assert.deepEqual(world.reporter.lines, ['quick -> big'])
    assert.equal(world.scheduler.stats().rankingsInFlight, 16)
    assert.equal(world.scheduler.conservation().inFlight, 16)
  })

  it('chooses among what is feasible when it answers, not when it was asked', async () => {
    const { answers, policy } = slow()
    const world = await new World({ policy }).begin(
      [node('a').cpu('1').object(), node('b').cpu('1').object(), node('c').cpu('1').object()],
      [pod('first').cpu('1').object(), pod('second').cpu('1').object()],
    )
    assert.equal(answers.length, 2)
    for (const answer of answers) answer(scored(3, 2, 1))
    await world.quiet()
    assert.deepEqual(world.reporter.lines, ['first -> a', 'second -> b'])
    assert.deepEqual(world.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
  })

  it('is not taken at its word about a node whose place another has taken', async () => {
    const { answers, policy } = slow()
    const world = await new World({ policy }).begin([node('a').object(), node('b').object()], [pod('p').object()])
    world.scheduler.nodes.gone('', 'a', 'uid-a')
    world.scheduler.nodes.seen(node('c').cpu('16').object())
    assert.equal(world.cluster.indexOf('c'), 0)
    answers[0]?.(scored(9, 1))
    await world.quiet()
    assert.deepEqual(world.reporter.lines, ['p -> b'])
  })

  it('is replaced by the fallback if none of its nodes is left', async () => {
    const { answers, policy } = slow()
    const world = await new World({ policy }).begin([node('a').object(), node('b').object()], [pod('p').object()])
    for (const name of ['a', 'b']) world.scheduler.nodes.gone('', name, `uid-${name}`)
    for (const name of ['c', 'd']) world.scheduler.nodes.seen(node(name).object())
    answers[0]?.(scored(9, 1))
    await world.quiet()
    assert.deepEqual(world.reporter.lines, ['p -> c'])
    assert.match(world.decisions.of('p').reason ?? '', /none of the nodes it ranked/)
  })

  it('is forgotten when its pod is deleted meanwhile', async () => {
    const { answers, policy } = slow()
    const world = await new World({ policy }).begin(twoNodes, [pod('p').object()])
    world.scheduler.pods.gone('default', 'p', 'uid-p')
    answers[0]?.(scored(9, 1))
    await world.passes(5000)
    assert.deepEqual(world.reporter.lines, [])
    assert.deepEqual(world.binder.bound, [])
    assert.equal(world.scheduler.conservation().deleted, 1)
    assert.equal(world.scheduler.stats().rankingsInFlight, 0)
  })

  it('is asked anew if the pod changed meanwhile', async () => {
    const { answers, policy } = slow()
    const world = await new World({ policy }).begin(twoNodes, [pod('p').cpu('1').object()])
    await world.see(pod('p').cpu('1').nodeSelector('none', 'such').resourceVersion('2').object())
    answers[0]?.(scored(9, 1))
    await world.quiet()
    assert.deepEqual(world.binder.bound, [])
    assert.match(world.reporter.lines[0] ?? '', /^p Unschedulable: 0\/2 nodes/)
  })
})
