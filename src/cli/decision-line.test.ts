import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { CandidateRecord, DecisionRecord } from '../decisions/record.ts'
import { decisionLine } from './decision-line.ts'

const candidate = (node: string, terms: Record<string, number>): CandidateRecord => ({
  node,
  score: Object.values(terms).reduce((sum, term) => sum + term, 0),
  terms,
  room: {
    allocatableCpuMilli: 0,
    requestedCpuMilli: 0,
    allocatableMemoryBytes: 0,
    requestedMemoryBytes: 0,
    usedCpuMilli: 0,
    usedMemoryBytes: 0,
    maxPods: 0,
    pods: 0,
  },
})

const record = (part: Partial<DecisionRecord>): DecisionRecord => ({
  id: 1,
  atMs: 0,
  namespace: 'default',
  pod: 'web-0',
  uid: 'u',
  schedulerName: 's',
  attempt: 1,
  priority: 0,
  request: {},
  scoringCpuMilli: 0,
  scoringMemoryBytes: 0,
  outcome: 'bound',
  node: 'n1',
  policy: 'p',
  policyVersion: '1',
  source: 'heuristic',
  usage: '',
  nodes: 3,
  feasible: 2,
  refused: [],
  candidates: [],
  wakesOn: [],
  message: '',
  queueMs: 0,
  cycleMs: 0,
  bindMs: 0,
  ...part,
})

describe('a decision as one line', () => {
  it('says by which term the first was ahead of the second', () => {
    const candidates = [candidate('n1', { Taints: 300, Fit: 80 }), candidate('n2', { Taints: 300, Fit: 75.5 })]
    assert.equal(
      decisionLine(record({ candidates })),
      'default/web-0 -> n1 (of 2 that fit, 3 in all): 380, next n2 375.5; Fit +4.5',
    )
  })

  it('says that two were equal', () => {
    const candidates = [candidate('n1', { Fit: 80 }), candidate('n2', { Fit: 80 })]
    assert.match(decisionLine(record({ candidates })), /next n2 80; equal$/)
  })

  it('says where a pod went that had no choice, and why one waits', () => {
    assert.equal(decisionLine(record({ feasible: 1 })), 'default/web-0 -> n1 (of 1 that fit, 3 in all)')
    const message = '0/3 nodes are available: 3 Insufficient cpu.'
    assert.equal(decisionLine(record({ node: '', outcome: 'waiting', message })), `default/web-0 waits: ${message}`)
  })

  it('lets no escape code of a pod name reach the terminal', () => {
    assert.ok(!decisionLine(record({ pod: 'a\x1b[31mb' })).includes('\x1b'))
  })
})
