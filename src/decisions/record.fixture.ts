import type { CandidateRecord, CandidateRoom, DecisionRecord } from './record.ts'

export const GI_B = 2 ** 30

/** A node with 32 cores and 128 GiB, for tests. */
export const room = (requestedCpuMilli: number, requestedMemoryBytes: number, pods: number): CandidateRoom => ({
  allocatableCpuMilli: 32_000,
  requestedCpuMilli,
  allocatableMemoryBytes: 128 * GI_B,
  requestedMemoryBytes,
  usedCpuMilli: requestedCpuMilli,
  usedMemoryBytes: requestedMemoryBytes,
  maxPods: 110,
  pods,
})

export const candidate = (
  node: string,
  terms: Readonly<Record<string, number>>,
  itsRoom: CandidateRoom = room(0, 0, 0),
): CandidateRecord => ({ node, terms, score: Object.values(terms).reduce((a, b) => a + b, 0), room: itsRoom })

/** A decision as they mostly are, for tests: bound, on the best of two nodes. */
export const decision = (changes: Partial<DecisionRecord> = {}): DecisionRecord => ({
  id: 1,
  atMs: Date.UTC(2026, 0, 1),
  namespace: 'default',
  pod: 'web-1',
  uid: '7c1f2c9e-0000-4000-8000-000000000001',
  schedulerName: 'stowage',
  attempt: 1,
  priority: 0,
  request: { cpu: 500, memory: GI_B },
  scoringCpuMilli: 500,
  scoringMemoryBytes: GI_B,
  outcome: 'bound',
  node: 'node-3',
  policy: 'kube-default',
  policyVersion: '1',
  source: 'heuristic',
  usage: 'requests',
  nodes: 5,
  feasible: 3,
  refused: [
    {
      constraint: 'TaintToleration',
      reason: 'node(s) had untolerated taint(s)',
      nodes: 2,
      preemptionCouldHelp: false,
    },
  ],
  candidates: [
    candidate('node-3', { TaintToleration: 300, LeastAllocated: 89 }, room(4000, 8 * GI_B, 10)),
    candidate('node-5', { TaintToleration: 300, LeastAllocated: 72 }, room(12_000, 20 * GI_B, 12)),
  ],
  wakesOn: [],
  message: '',
  queueMs: 1.5,
  cycleMs: 0.2,
  bindMs: 3,
  ...changes,
})

export const waiting = (changes: Partial<DecisionRecord> = {}): DecisionRecord =>
  decision({
    outcome: 'waiting',
    node: '',
    source: 'none',
    feasible: 0,
    refused: [
      {
        constraint: 'TaintToleration',
        reason: 'node(s) had untolerated taint(s)',
        nodes: 2,
        preemptionCouldHelp: false,
      },
      { constraint: 'NodeResourcesFit', reason: 'Insufficient cpu', nodes: 3, preemptionCouldHelp: true },
    ],
    candidates: [],
    nearestMiss: { node: 'node-7', lacks: { cpu: 300 }, reasons: ['Insufficient cpu'] },
    wakesOn: ['NodeAdd', 'PodDelete'],
    message: '0/5 nodes are available: 2 node(s) had untolerated taint(s), 3 Insufficient cpu.',
    bindMs: -1,
    ...changes,
  })
