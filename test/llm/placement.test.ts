import assert from 'node:assert/strict'
import { afterEach, describe, test } from 'node:test'
import type { NodeObject, PodObject } from '../../src/cluster/objects.ts'
import { node, pod } from '../builders.ts'
import { LlmWorld, type LlmWorldOptions } from './llm-world.ts'
import { type ChatRequest, groupsIn, ModelServer, sensible, sensibleText, type Script } from './model-server.ts'

const closing: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const nodes = (count: number): NodeObject[] =>
  Array.from({ length: count }, (_, at) =>
    node(`node-${at}`)
      .cpu('16')
      .memory('64Gi')
      .label('topology.kubernetes.io/zone', `zone-${at % 2}`)
      .object(),
  )

const open = async (
  script: Script,
  options: Partial<LlmWorldOptions> = {},
): Promise<{ server: ModelServer; world: LlmWorld }> => {
  const server = await ModelServer.start(script)
  closing.push(() => server.close())
  const world = await LlmWorld.start({ endpoint: server.url, nodes: nodes(8), ...options })
  closing.push(() => world.close())
  return { server, world }
}

const web = (name: string, cpu = '500m'): PodObject =>
  pod(name).cpu(cpu).memory('1Gi').label('app', 'web').ownedBy('ReplicaSet', 'web').object()
const many = (count: number, of = 'web'): PodObject[] =>
  Array.from({ length: count }, (_, at) =>
    pod(`${of}-${at}`).cpu('500m').memory('1Gi').label('app', of).ownedBy('ReplicaSet', of).object(),
  )

/** Always the candidate of that place in the question, however often it is needed. */
const choosing =
  (place: number): Script =>
  (request) => ({
    kind: 'answer',
    text: JSON.stringify({
      decisions: groupsIn(request).map(({ group, pods, candidates }) => ({
        group,
        selected_nodes: Array(pods).fill(candidates[place % candidates.length]?.id),
        confidence: 0.75,
        reasoning: 'because I say so',
      })),
    }),
  })

const placesOf = ({ world }: LlmWorld): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const { nodeName } of world.binder.bound) counts.set(nodeName, (counts.get(nodeName) ?? 0) + 1)
  return counts
}

describe('a pod that the model decides on', () => {
  test('goes where the model says, and its record has the confidence and the reason', async () => {
    const { world } = await open(choosing(3))
    await world.place([web('a')])
    const [record] = world.records
    assert.equal(record?.source, 'model')
    assert.equal(record.policy, 'llm')
    assert.equal(record.confidence, 0.75)
    assert.equal(record.reason, 'the model says "because I say so"')
    assert.equal(record.node, record.candidates[0]?.node)
    const terms = record.candidates[0]?.terms ?? {}
    assert.deepEqual(Object.keys(terms), ['resource_balanced', 'model'])
  })

  test('is described by computed facts under ids that mean nothing, in an order that differs from pod to pod', async () => {
    const { server, world } = await open(sensible, { cache: { enabled: false } })
    const orders = new Set<string>()
    for (let i = 0; i < 6; i++) {
      const name = `secret-name-${i}`
      const other = pod(name)
        .namespace('secret-space')
        .cpu(`${i + 1}`)
        .memory('1Gi')
        .label('app', 'web')
        .image('reg.example/team/web:1')
      await world.place([other.object()])
      const [group] = groupsIn(server.questions.at(-1)!)
      assert.deepEqual(
        group?.candidates.map(({ id }) => id),
        ['c1', 'c2', 'c3', 'c4', 'c5', 'c6'],
      )
      assert.deepEqual(group['request'], { cpu_cores: i + 1, memory_mib: 1024 })
      assert.deepEqual(group['images'], ['web'])
      orders.add(group.candidates.map((candidate) => JSON.stringify(candidate['zone'])).join())
    }
    assert.ok(orders.size > 1, [...orders].join(' | '))
    const sent = JSON.stringify(server.questions)
    for (const word of ['node-', 'secret-name', 'secret-space', 'zone-', 'reg.example'])
      assert.ok(!sent.includes(word), word)
  })

  test('is asked about together with the others of its template, and several templates in one call', async () => {
    const { server, world } = await open(sensible)
    await world.place([...many(3, 'a'), ...many(3, 'b'), ...many(3, 'c')])
    assert.equal(server.questions.length, 1)
    assert.deepEqual(
      groupsIn(server.questions[0]!).map(({ app }) => app),
      ['a', 'b', 'c'],
    )
    assert.equal(world.statistics.byModel, 9)
  })

  test('shares no question with pods of other namespaces', async () => {
    const { server, world } = await open(sensible)
    await world.place([
      web('a'),
      pod('b').namespace('other').cpu('1').object(),
      pod('c').namespace('third').cpu('1').object(),
    ])
    assert.deepEqual(
      server.questions.map((question) => groupsIn(question).length),
      [1, 1, 1],
    )
  })

  test('goes to no node that has become infeasible while the model thought', async () => {
    const { server, world } = await open(sensible, { nodes: nodes(2) })
    server.script = (request) => {
      // By the time this is answered, somebody else has taken the room on both nodes but one.
      world.world.scheduler.pods.seen(pod('filler').scheduler('other').cpu('10').on('node-0').object())
      return choosing(0)(request, 0)
    }
    for (const name of ['a', 'b']) {
      await world.place([web(name, name === 'a' ? '7' : '5')])
      assert.equal(world.records.at(-1)?.node, 'node-1')
    }
    assert.deepEqual(world.world.cluster.discrepancies(), { miscounted: [], overcommitted: [] })
  })

  test('waits no longer than its deadline, and the fallback places it then', async () => {
    const { world } = await open(() => ({ kind: 'silence' }), { llm: { timeoutMs: 60 } })
    await world.place([web('a')])
    const [record] = world.records
    assert.equal(record?.source, 'fallback')
    assert.match(record.reason ?? '', /did not answer/)
    assert.equal(world.statistics.failed, 1)
  })
})

describe('the model is not asked', () => {
  const skipped = async (
    reason: string,
    world: LlmWorld,
    server: ModelServer,
    pods: readonly PodObject[] = [web('skipped')],
  ): Promise<void> => {
    const before = server.questions.length
    await world.place(pods)
    assert.equal(server.questions.length, before)
    assert.deepEqual([...world.statistics.skipped], [[reason, pods.length]])
    assert.match(world.records.at(-1)?.reason ?? '', /^the model was not asked \(.+\), resource_balanced ranked/)
  }

  test('where one node is clearly better, unless the pod states what it wants', async () => {
    const crowded = pod('crowd').scheduler('other').cpu('14').memory('60Gi').on('node-0').object()
    const { server, world } = await open(sensible, { nodes: nodes(2), llm: { margin: 0.1 } })
    await world.world.see(crowded)
    await skipped('wide_margin', world, server)
    await world.place([pod('wishing').cpu('1').annotation('stowage.dev/intent-weights', '{"spread":1}').object()])
    assert.equal(world.records.at(-1)?.source, 'model')
  })

  test('while the breaker is open', async () => {
    const { server, world } = await open(() => ({ kind: 'status', status: 400 }), { breaker: { failureThreshold: 1 } })
    await world.place([web('a')])
    await skipped('breaker_open', world, server)
  })

  test('when the budget of requests is used up', async () => {
    const { server, world } = await open(sensible, { llm: { requestsPerMinute: 1 }, cache: { enabled: false } })
    await world.place([web('a')])
    await skipped('request_budget', world, server)
  })

  test('when its credits are used up', async () => {
    const { server, world } = await open(() => ({ kind: 'status', status: 402 }))
    await world.place([web('a')])
    await skipped('credits_used_up', world, server)
  })

  test('when more pods wait than it can decide on: a burst is placed while it thinks, and no pod waits longer than the deadline', async () => {
    const { server, world } = await open(() => ({ kind: 'silence' }), { llm: { timeoutMs: 150 }, nodes: nodes(40) })
    await world.place(many(300))
    const { asked, failed, skippedInAll } = world.statistics
    assert.equal(asked, 300)
    assert.equal(failed + skippedInAll, 300)
    assert.ok(failed <= 12, `${failed} pods waited`)
    assert.equal(server.questions.length, 1)
    assert.equal(Math.max(...placesOf(world).values()) <= 12, true, 'evenly, as the fallback places')
  })
})

describe('a plan that is kept', () => {
  const single = async (world: LlmWorld, count: number): Promise<void> => {
    for (const one of many(count)) await world.place([one])
  }

  test('places the pods of its template that come next, without a question, and counts apart from what the model decides', async () => {
    const { server, world } = await open(sensible)
    await single(world, 9)
    assert.equal(server.questions.length, 1)
    assert.equal(world.statistics.byModel, 1)
    assert.equal(world.statistics.fromCache, 8)
    assert.equal(world.records.at(-1)?.source, 'cache')
    await single(world, 0)
    await world.place([web('web-x')])
    assert.equal(server.questions.length, 2, 'used up')
  })

  test('ends when anybody else changes one of its nodes', async () => {
    const { server, world } = await open(sensible, { nodes: nodes(4) })
    await single(world, 2)
    assert.equal(world.statistics.fromCache, 1)
    await world.world.see(pod('other').scheduler('other').cpu('1').on('node-2').object())
    await world.place([web('late')])
    assert.equal(server.questions.length, 2)
  })

  test('is for no pod of another namespace, with other labels, tolerations, priority or selectors', async () => {
    const { server, world } = await open(sensible)
    await world.place([web('a')])
    const like = (name: string) => pod(name).cpu('500m').memory('1Gi').label('app', 'web').ownedBy('ReplicaSet', 'web')
    const others = [
      like('b').namespace('other'),
      like('c').label('app', 'web2'),
      like('d').tolerates('x'),
      like('e').priority(7),
      like('f').nodeSelector('kubernetes.io/hostname', 'node-1'),
      like('g').cpu('501m'),
    ]
    for (const [at, other] of others.entries()) {
      await world.place([other.object()])
      assert.equal(world.statistics.fromCache, 0, String(at))
    }
    // the one with a selector has no choice
    assert.equal(server.questions.length, others.length)
  })

  test('never lets a burst stack on one node, whatever the model likes', async () => {
    for (const script of [choosing(0), choosing(5), sensible]) {
      const { world } = await open((request) => firstOnly(script, request), { nodes: nodes(10) })
      await world.place(many(100))
      const counts = [...placesOf(world).values()]
      assert.equal(
        counts.reduce((sum, count) => sum + count, 0),
        100,
      )
      assert.ok(Math.max(...counts) <= 20, counts.join())
    }
  })

  test('is not kept where the cache is switched off', async () => {
    const { server, world } = await open(sensible, { cache: { enabled: false } })
    await single(world, 3)
    assert.equal(server.questions.length, 3)
    assert.equal(world.statistics.fromCache, 0)
  })
})

/** A model that names one node only, as the original's did. */
const firstOnly = (script: Script, request: ChatRequest): ReturnType<Script> => {
  const behaviour = script(request, 0)
  if (behaviour.kind !== 'answer') return behaviour
  const { decisions } = JSON.parse(behaviour.text) as { decisions: { group: string; selected_nodes: string[] }[] }
  const text = JSON.stringify({
    decisions: decisions.map(({ group, selected_nodes: [first] }) => ({ group, selected_node: first })),
  })
  return { kind: 'answer', text }
}

describe('what owners wish in plain words', () => {
  const asking: Script = (request) =>
    request.response_format?.json_schema?.name === 'intent'
      ? { kind: 'answer', text: '{"spread":0,"spot":0,"idle":0,"near":["cache"],"away":[],"zones":[]}' }
      : { kind: 'answer', text: sensibleText(request) }
  const wishing = (name: string): PodObject =>
    pod(name).cpu('1').memory('1Gi').annotation('stowage.dev/intent', 'keep near the cache').object()

  test('is read once for a template, holds up no pod, and is heeded and shown from then on', async () => {
    const { server, world } = await open(asking, { cache: { enabled: false } })
    await world.world.see(pod('cache').scheduler('other').label('app', 'cache').cpu('1').on('node-5').object())
    await world.place([wishing('first')])
    const intentQuestions = (): readonly ChatRequest[] =>
      server.questions.filter((question) => question.response_format?.json_schema?.name === 'intent')
    assert.equal(intentQuestions().length, 1)
    assert.deepEqual(intentQuestions()[0]?.messages[1]?.content, '"keep near the cache"')
    server.script = () => ({ kind: 'status', status: 400 })
    await world.place([wishing('second')])
    const record = world.records.at(-1)
    assert.equal(record?.node, 'node-5')
    assert.match(record.reason ?? '', /gave no usable ranking/)
    assert.ok((record.candidates[0]?.terms['intent.near'] ?? 0) > 0)
    assert.equal(intentQuestions().length, 1)
    assert.deepEqual(world.intents.known[0]?.intent?.near, ['cache'])
  })

  test('reaches the model as a number for each candidate', async () => {
    const { server, world } = await open(asking, { cache: { enabled: false } })
    await world.world.see(pod('cache').scheduler('other').label('app', 'cache').cpu('1').on('node-5').object())
    await world.place([wishing('first')])
    await world.place([wishing('second')])
    const [group] = groupsIn(server.questions.at(-1)!)
    const wishes = group?.candidates.map(({ wish }) => Number(wish)).toSorted()
    assert.deepEqual(new Set(wishes), new Set([0, 0.5, 1]))
  })
})
