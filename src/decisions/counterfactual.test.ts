import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Change, counterfactual, type RankRooms } from './counterfactual.ts'
import type { CandidateRoom, DecisionRecord } from './record.ts'
import { candidate, decision, GI_B, room, waiting } from './record.fixture.ts'

/** The mean of free cpu and free memory, 0 to 100, smooth; and the same in whole points, as kube-scheduler's LeastAllocated. */
const free: RankRooms = (rooms, ask) =>
  rooms.map(
    (each) =>
      ((each.allocatableCpuMilli - each.requestedCpuMilli - ask.scoringCpuMilli) * 50) / each.allocatableCpuMilli +
      ((each.allocatableMemoryBytes - each.requestedMemoryBytes - ask.scoringMemoryBytes) * 50) /
        each.allocatableMemoryBytes,
  )
const freePoints: RankRooms = (rooms, ask) => Array.from(free(rooms, ask), Math.floor)
const taken: RankRooms = (rooms, ask) => Array.from(free(rooms, ask), (score) => -score)
const emptyPods: RankRooms = (rooms) => rooms.map((each) => each.maxPods - each.pods)
const nothing: RankRooms = (rooms) => rooms.map(() => 0)

/** A decision of a policy that adds points of its own to what `rank` says of the rooms. */
const decided = (rank: RankRooms, nodes: readonly { room: CandidateRoom; points?: number }[]): DecisionRecord => {
  const scores = Array.from(
    rank(
      nodes.map((node) => node.room),
      decision(),
    ),
  )
  const candidates = nodes
    .map((node, at) => candidate(`node-${at}`, { Points: node.points ?? 0, Room: scores[at] ?? 0 }, node.room))
    .sort((a, b) => b.score - a.score)
  return decision({ candidates, node: candidates[0]?.node ?? '' })
}

/** Whether `node` is alone on top after a change, worked out anew from the record. */
const wins = (
  record: DecisionRecord,
  rank: RankRooms,
  node: string,
  change: Change,
  amount = change.amount,
): boolean => {
  const sign = change.direction === 'freed' ? -1 : 1
  const rooms = record.candidates.map((each) => each.room)
  const changed = record.candidates.map(({ node: name, room: before }) => {
    if (name !== change.node) return before
    if (change.resource === 'pods') return { ...before, pods: before.pods + sign * amount }
    return change.resource === 'cpu'
      ? { ...before, requestedCpuMilli: before.requestedCpuMilli + sign * amount }
      : { ...before, requestedMemoryBytes: before.requestedMemoryBytes + sign * amount }
  })
  const [before, after] = [rank(rooms, record), rank(changed, record)]
  const scores = record.candidates.map((each, at) => each.score + ((after[at] ?? 0) - (before[at] ?? 0)))
  const own = scores[record.candidates.findIndex((each) => each.node === node)] ?? Number.NaN
  return scores.filter((score) => score >= own).length === 1
}

const stepOf = (change: Change): number => (change.resource === 'memory' ? 2 ** 20 : 1)

describe('counterfactual', () => {
  test('the runner-up would have won with the cpu free that it lacked', () => {
    const record = decided(free, [{ room: room(4000, 0, 1) }, { room: room(6000, 0, 1) }])
    const told = counterfactual(record, free)
    assert.deepEqual(told?.change, {
      node: 'node-1',
      resource: 'cpu',
      amount: 2001,
      unit: 'millicores',
      direction: 'freed',
    })
    assert.equal(told?.sentence, 'node-1 would have won if 2.001 more cores had been free on it.')
  })

  test('where the runner-up is empty, it says how much more the winner would have had to be asked for', () => {
    const record = decided(free, [{ room: room(0, 0, 0), points: 10 }, { room: room(0, 0, 0) }])
    const told = counterfactual(record, free)
    assert.deepEqual(
      { ...told?.change, amount: 0 },
      { node: 'node-0', resource: 'cpu', amount: 0, unit: 'millicores', direction: 'taken' },
    )
    assert.match(told?.sentence ?? '', /^node-1 would have won if 6\.4\d* more cores had been requested on node-0\.$/)
  })

  test('under a policy that packs, more has to be requested, not less', () => {
    const record = decided(taken, [{ room: room(9000, GI_B, 1) }, { room: room(8000, GI_B, 1) }])
    assert.match(
      counterfactual(record, taken)?.sentence ?? '',
      /^node-1 would have won if 1\.001 more cores had been requested on it\.$/,
    )
  })

  test('pods are counted as pods', () => {
    const record = decided(emptyPods, [{ room: room(0, 0, 3) }, { room: room(0, 0, 5) }])
    assert.equal(counterfactual(record, emptyPods)?.sentence, 'node-1 would have won if 3 fewer pods had been on it.')
  })

  test('where no room would do, it names the term that decided', () => {
    const record = decided(freePoints, [
      { room: room(0, 0, 0), points: 300 },
      { room: room(0, 0, 0), points: 199 },
    ])
    const told = counterfactual(record, freePoints)
    assert.equal(told?.change, null)
    assert.equal(
      told?.sentence,
      'no amount of free cpu, memory or pods would have made node-1 win: it loses on Points by 101.',
    )
  })

  test('where it takes cpu and memory together, it does not say that no room would do', () => {
    const record = decided(free, [
      { room: room(0, 0, 0) },
      { room: room(2000, 2 * GI_B, 3), points: 0.5 },
      { room: room(16_000, 64 * GI_B, 9), points: 1 },
    ])
    const [third] = counterfactual(record, free)?.others ?? []
    assert.equal(
      third?.sentence,
      'node-2 would have won if it were empty, but by no change of its cpu, memory or pods alone.',
    )
  })

  test('without the policy at hand, it tells the distance and where it comes from', () => {
    const told = counterfactual(decision())
    assert.equal(told?.sentence, 'node-5 was 17 points behind: it loses on LeastAllocated by 17.')
    assert.equal(told?.change, null)
  })

  test('a tie is called a tie', () => {
    const record = decided(nothing, [{ room: room(0, 0, 0) }, { room: room(0, 0, 0) }])
    assert.equal(counterfactual(record)?.sentence, 'node-1 scored the same as node-0, which was taken.')
    assert.match(
      counterfactual(record, nothing)?.sentence ?? '',
      /^node-1 scored the same as node-0, which was taken; no amount/,
    )
  })

  test('the further candidates are told too, each on its own', () => {
    const record = decided(free, [
      { room: room(0, 0, 0) },
      { room: room(1000, 0, 0) },
      { room: room(2000, 0, 0), points: 0.5 },
    ])
    const told = counterfactual(record, free)
    assert.deepEqual(
      told?.others.map((other) => other.node),
      ['node-2'],
    )
  })

  test('a change that helps only up to a point is found', () => {
    // balance: best where cpu and memory are taken alike
    const balance: RankRooms = (rooms) =>
      rooms.map(
        (each) =>
          -Math.abs(
            each.requestedCpuMilli / each.allocatableCpuMilli - each.requestedMemoryBytes / each.allocatableMemoryBytes,
          ),
      )
    const record = decided(balance, [{ room: room(1600, 0, 1) }, { room: room(16_000, 32 * GI_B, 1) }])
    const told = counterfactual(record, balance)
    // told is checked against undefined by the assertion before
    assert.ok(told?.change && wins(record, balance, told.node, told.change), told?.sentence)
  })

  test('a policy whose scores are no numbers changes nothing and stops nothing', () => {
    const told = counterfactual(decision(), (rooms) => rooms.map(() => Number.NaN))
    assert.equal(told?.change, null)
    assert.equal(counterfactual(decision(), () => [])?.change, null)
  })

  const anyRoom = fc
    .record({ cpu: fc.nat(31_000), memory: fc.nat(127 * 1024), pods: fc.nat(100) })
    .map(({ cpu, memory, pods }) => room(cpu, memory * 2 ** 20, pods))
  const nodes = fc.array(fc.record({ room: anyRoom, points: fc.nat(60) }), { minLength: 2, maxLength: 5 })
  for (const [name, rank] of Object.entries({ free, freePoints, taken, emptyPods })) {
    test(`each change that is named does it, and a step less does not (${name})`, () => {
      const property = fc.property(nodes, (drawn) => {
        const record = decided(rank, drawn)
        const told = counterfactual(record, rank)
        assert.ok(told)
        assert.deepEqual(counterfactual(record, rank), told)
        for (const { node, change } of [told, ...told.others]) {
          if (change === null) continue
          assert.ok(wins(record, rank, node, change), `${node} does not win by ${JSON.stringify(change)}`)
          const less = change.amount - stepOf(change)
          assert.ok(
            !wins(record, rank, node, change, less),
            `${node} wins by ${less} already: ${JSON.stringify(change)}`,
          )
        }
      })
      fc.assert(property, { seed: 3, numRuns: 100 })
    })
  }
})

describe('counterfactual of a pod that waits', () => {
  test('it says what would have to be free, where, and that asking for less would do too', () => {
    const told = counterfactual(waiting())
    assert.equal(
      told?.sentence,
      'It would fit node-7 if 300m more cpu were free there, or if it asked for that much less.',
    )
    assert.deepEqual(told?.changes, [
      { node: 'node-7', resource: 'cpu', amount: 300, unit: 'millicores', direction: 'freed' },
    ])
  })

  test('it does not tell a pod to ask for less than nothing', () => {
    const lacks = { cpu: 500, memory: GI_B / 2, pods: 1 }
    const told = counterfactual(waiting({ nearestMiss: { node: 'node-7', lacks, reasons: ['Too many pods'] } }))
    assert.equal(
      told?.sentence,
      'It would fit node-7 if 500m more cpu, 512 MiB more memory and 1 more pod were free there.',
    )
    assert.equal(told?.changes.length, 3)
  })

  test('it does not promise a fit where another rule refuses the pod as well', () => {
    const reasons = ['Insufficient cpu', 'node(s) had untolerated taint(s)']
    const told = counterfactual(waiting({ nearestMiss: { node: 'node-7', lacks: { cpu: 1 }, reasons } }))
    assert.match(
      told?.sentence ?? '',
      /; but node-7 also refuses it for another reason: node\(s\) had untolerated taint\(s\)\.$/,
    )
  })

  test('where room is not the reason it names the reason', () => {
    const reasons = ['node(s) were unschedulable']
    const told = counterfactual(waiting({ nearestMiss: { node: 'node-7', lacks: {}, reasons } }))
    assert.equal(told?.sentence, 'node-7 comes closest, and room is not what it lacks: node(s) were unschedulable.')
    assert.equal(told?.change, null)
  })

  test('there is none without a near miss, for a gated pod, and for one that somebody else bound', () => {
    const { nearestMiss: _, ...without } = waiting()
    assert.equal(counterfactual(without), null)
    assert.equal(counterfactual(decision({ outcome: 'gated', candidates: [] })), null)
    assert.equal(counterfactual({ ...waiting(), outcome: 'bound' }), null)
    assert.equal(counterfactual(decision({ candidates: decision().candidates.slice(0, 1) })), null)
  })
})
