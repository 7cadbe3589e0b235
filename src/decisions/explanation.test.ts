import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { explain, render } from './explanation.ts'
import type { DecisionRecord, Outcome } from './record.ts'
import { candidate, decision, GI_B, waiting } from './record.fixture.ts'

const told = (record: DecisionRecord): string => render(explain(record)).join('\n')

describe('explanation as data', () => {
  test('has every key that `stowage explain --json` promises', () => {
    const { pod, outcome, node, policy, source, feasible, refused, candidates, counterfactual, wakesOn } = explain(
      decision(),
    )
    assert.deepEqual(
      { pod, outcome, node, policy, source, feasible, refused, candidates, wakesOn },
      {
        pod: 'default/web-1',
        outcome: 'bound',
        node: 'node-3',
        policy: 'kube-default',
        source: 'heuristic',
        feasible: 3,
        refused: [{ reason: 'node(s) had untolerated taint(s)', nodes: 2, constraint: 'TaintToleration' }],
        candidates: [
          { node: 'node-3', score: 389, terms: { TaintToleration: 300, LeastAllocated: 89 } },
          { node: 'node-5', score: 372, terms: { TaintToleration: 300, LeastAllocated: 72 } },
        ],
        wakesOn: [],
      },
    )
    assert.equal(counterfactual?.node, 'node-5')
  })

  const outcomes: Readonly<Record<Outcome, string>> = {
    bound: 'bound',
    waiting: 'waiting',
    gated: 'gated',
    deleted: 'deleted',
    reserved: 'waiting',
    failed: 'waiting',
  }
  for (const [stage, outcome] of Object.entries(outcomes)) {
    test(`a pod whose last attempt is ${stage} is ${outcome}`, () => {
      assert.equal(explain(decision({ outcome: stage as Outcome })).outcome, outcome)
    })
  }

  test('an event that could help is not promised to a pod that is bound already', () => {
    assert.deepEqual(explain(waiting({ outcome: 'bound' })).wakesOn, [])
    assert.deepEqual(explain(waiting()).wakesOn, ['NodeAdd', 'PodDelete'])
  })

  test('what is unknown is null, never an empty string or a minus one', () => {
    const { node, usage, confidence, reason, latencies } = explain(waiting({ usage: '' }))
    assert.deepEqual(
      { node, usage, confidence, reason, bindMs: latencies.bindMs },
      { node: null, usage: null, confidence: null, reason: null, bindMs: null },
    )
    assert.equal(explain(waiting({ outcome: 'gated', cycleMs: -1 })).latencies.cycleMs, null)
  })

  test('the attempts are those of this very pod, not of one that bore its name before', () => {
    const record = decision({ id: 3, attempt: 2, uid: 'new' })
    const history = [record, waiting({ id: 2, uid: 'new' }), waiting({ id: 1, uid: 'old' })]
    assert.deepEqual(
      explain(record, history).attempts.map(({ attempt, outcome, node }) => ({ attempt, outcome, node })),
      [
        { attempt: 2, outcome: 'bound', node: 'node-3' },
        { attempt: 1, outcome: 'waiting', node: null },
      ],
    )
  })

  test('a record with an impossible time is told all the same', () => {
    assert.equal(explain(decision({ atMs: Number.NaN })).decidedAt, '1970-01-01T00:00:00.000Z')
    assert.equal(explain(decision({ atMs: 1e300 })).decidedAt, '1970-01-01T00:00:00.000Z')
  })
})

describe('explanation in sentences', () => {
  test('a bound pod: who chose, why this node, who came second and what would have changed it', () => {
    assert.deepEqual(render(explain(decision())), [
      'default/web-1 was placed on node-3.',
      '3 of 5 nodes could take it, and the policy kube-default 1 chose node-3.',
      "node-3 scored 389, most of it TaintToleration 300 and LeastAllocated 89; load was read from the pods' requests.",
      'Next came node-5 with 372, 17 behind: LeastAllocated 72 against 89.',
      'node-5 was 17 points behind: it loses on LeastAllocated by 17.',
      'Not possible: 2 nodes: a taint that the pod does not tolerate.',
      'Attempt 1 at 2026-01-01T00:00:00.000Z, after 1.5 ms in the queue; decided in 0.2 ms, bound in 3 ms.',
    ])
  })

  test('a pod that a language model placed: in whose words, and how sure it was', () => {
    const said = { policy: 'llm', source: 'model', confidence: 0.9, reason: 'the model says "most room"' } as const
    assert.equal(
      render(explain(decision(said)))[1],
      '3 of 5 nodes could take it, and the policy llm 1 chose node-3 by its model (90 % sure): the model says "most room".',
    )
  })

  test('a waiting pod: what refuses it, the nearest miss, and which events could help', () => {
    assert.deepEqual(render(explain(waiting())), [
      'default/web-1 waits.',
      'None of 5 nodes can take it. 3 nodes: not enough free cpu; 2 nodes: a taint that the pod does not tolerate.',
      'Closest is node-7: it lacks 300m cpu.',
      'It would fit node-7 if 300m more cpu were free there, or if it asked for that much less.',
      'It is tried again when a node is added or a pod on a node ends or is deleted.',
      'Attempt 1 at 2026-01-01T00:00:00.000Z, after 1.5 ms in the queue; decided in 0.2 ms.',
    ])
  })

  test('a waiting pod that has others evicted: for how many it waits, where, and who they are', () => {
    const victims = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => `default/${name}`)
    assert.equal(
      render(explain(waiting({ preemption: { node: 'node-7', victims } })))[1],
      'It waits for 7 pods to leave node-7, of lower priority: ' +
        'default/a, default/b, default/c, default/d, default/e and 2 more.',
    )
    assert.equal(
      render(explain(waiting({ preemption: { node: 'node-7', victims: ['default/a'] } })))[1],
      'It waits for 1 pod to leave node-7, of lower priority: default/a.',
    )
  })

  test('several reasons of one rule are told apart', () => {
    const refused = [
      {
        constraint: 'NodeResourcesFit',
        reason: 'Insufficient cpu, Insufficient nvidia.com/gpu',
        nodes: 1,
        preemptionCouldHelp: true,
      },
    ]
    assert.match(told(waiting({ refused })), /1 node: not enough free cpu and not enough free nvidia\.com\/gpu\./)
  })

  test('a reason that preemption could end on some nodes only is told once', () => {
    const reason = { constraint: 'NodeResourcesFit', reason: 'Insufficient cpu' }
    const refused = [
      { ...reason, nodes: 1, preemptionCouldHelp: true },
      { ...reason, nodes: 2, preemptionCouldHelp: false },
    ]
    assert.deepEqual(explain(waiting({ refused })).refused, [{ ...reason, nodes: 3 }])
  })

  test('a gated pod: that its gates hold it, and which', () => {
    const text = told(
      waiting({ outcome: 'gated', message: 'waiting for scheduling gates: [a b]', cycleMs: -1, nodes: 0, refused: [] }),
    )
    assert.match(text, /held back by its scheduling gates \(waiting for scheduling gates: \[a b\]\)/)
    assert.doesNotMatch(text, /decided in|Attempt/)
  })

  test('a pod whose gang is not there yet: how many are missing; one whose gang has no room: what the gang lacks', () => {
    const words = 'waiting for minCount pods from a gang to appear in scheduling queue: 2 of 3 are there'
    const held = {
      outcome: 'gated',
      message: words,
      wakesOn: ['GangComplete'],
      cycleMs: -1,
      nodes: 0,
      refused: [],
    } as const
    assert.match(told(waiting(held)), /others of its gang are missing \(.*: 2 of 3 are there\)\. It is considered once/)
    const message =
      'minCount (3) cannot be satisfied: 1 scheduled, 1 remaining. a/b: 0/1 nodes are available: 1 Insufficient cpu.'
    assert.match(
      told(waiting({ message })),
      /Its gang is placed together or not at all: minCount \(3\) cannot be satisfied/,
    )
  })

  test('a pod that the scheduler could not even read: its own words, and no talk of nodes', () => {
    const { nearestMiss: _, ...record } = waiting({
      nodes: 0,
      refused: [],
      wakesOn: [],
      message: 'spec is broken',
      cycleMs: -1,
    })
    assert.deepEqual(render(explain(record)), [
      'default/web-1 waits.',
      'The scheduler says: spec is broken',
      'So it stood at 2026-01-01T00:00:00.000Z.',
    ])
  })

  test('a pod that somebody else bound: by whom is not made up', () => {
    const text = told(waiting({ outcome: 'bound', message: 'somebody else bound it to node-9' }))
    assert.match(text, /^default\/web-1 is bound: somebody else bound it to node-9\.\nAttempt/)
  })

  test('a bind that failed: where to, and why not', () => {
    assert.match(
      told(decision({ outcome: 'failed', message: 'nodes "node-3" not found' })),
      /meant for node-3, but could not be bound: nodes "node-3" not found\./,
    )
  })

  test('a fallback: that the policy failed, why, and who chose instead', () => {
    const text = told(decision({ source: 'fallback', policy: 'resource_balanced', reason: 'it answered NaN' }))
    assert.match(
      text,
      /The profile's own policy gave nothing usable: it answered NaN; the fallback resource_balanced 1 chose node-3\./,
    )
  })

  test('a pod that only one node could take: that there was nothing to rank', () => {
    const candidates = [candidate('node-3', {})]
    const text = told(decision({ source: 'none', feasible: 1, candidates, reason: 'only one node can take it' }))
    assert.match(text, /1 of 5 nodes could take it; there was nothing to rank: only one node can take it\./)
    assert.doesNotMatch(text, /scored|Next came/)
  })

  test('a deleted pod: when it went', () => {
    assert.match(told(decision({ outcome: 'deleted' })), /was deleted after node-3 had been chosen for it/)
    assert.match(told(waiting({ outcome: 'deleted' })), /was deleted before it was placed/)
  })

  test('names that try to command the terminal, to forge a line or to hide appear as harmless text, in sentences and in JSON', () => {
    const evil = fc.string({
      unit: fc.oneof(
        fc.constantFrom('\u001B[2J', '\n', '\u202E', '\u200B', '\u0007'),
        fc.string({ unit: 'binary', maxLength: 1 }),
      ),
    })
    const outcomes = fc.constantFrom<Outcome>('reserved', 'bound', 'waiting', 'gated', 'deleted', 'failed')
    const property = fc.property(fc.array(evil, { minLength: 8, maxLength: 8 }), outcomes, (texts, outcome) => {
      const at = (index: number): string => `x${texts[index]}`
      const record = waiting({
        outcome,
        namespace: at(0),
        pod: at(1),
        node: outcome === 'waiting' ? '' : at(2),
        policy: at(3),
        reason: at(4),
        message: at(5),
        refused: [{ constraint: at(6), reason: at(7), nodes: 1, preemptionCouldHelp: false }],
        candidates:
          outcome === 'waiting'
            ? []
            : [candidate(at(2), { [at(3)]: 1 }), candidate(at(4), { [at(5)]: 0, ['__proto__']: 3 })],
        nearestMiss: { node: at(0), lacks: { [at(1)]: 2 * GI_B }, reasons: [at(6)] },
        wakesOn: [at(2)],
        request: { [at(1)]: 4 * GI_B },
      })
      const explanation = explain(record, [record], { rank: (rooms) => rooms.map((each) => -each.requestedCpuMilli) })
      for (const text of [...render(explanation), JSON.stringify(explanation)]) {
        assert.doesNotMatch(text, /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u)
        // JSON escapes what it must not show; then it was still there
        assert.doesNotMatch(text, /\\u[0-9a-f]{4}/)
      }
    })
    fc.assert(property, { seed: 3, numRuns: 200 })
  })
})
