import { explain } from '../decisions/explanation.ts'
import type { DecisionRecord } from '../decisions/record.ts'
import { someModelFigures } from '../telemetry/model-figures.fixture.ts'
import type { NodeDetail, SystemView } from './view.ts'

/** A decision as the scheduler records it, for tests of the routes. */
export const sampleDecision = (facts: Partial<DecisionRecord> = {}): DecisionRecord => {
  const room = {
    allocatableCpuMilli: 4000,
    requestedCpuMilli: 1000,
    allocatableMemoryBytes: 8 * 2 ** 30,
    requestedMemoryBytes: 2 ** 30,
    usedCpuMilli: 1000,
    usedMemoryBytes: 2 ** 30,
    maxPods: 110,
    pods: 3,
  }
  return {
    id: 1,
    atMs: Date.UTC(2026, 0, 1),
    namespace: 'default',
    pod: 'web-1',
    uid: 'uid-1',
    schedulerName: 'stowage',
    attempt: 1,
    priority: 0,
    request: { cpu: 500, memory: 2 ** 28 },
    scoringCpuMilli: 500,
    scoringMemoryBytes: 2 ** 28,
    outcome: 'bound',
    node: 'node-1',
    policy: 'kube-default',
    policyVersion: '1',
    source: 'heuristic',
    usage: '',
    nodes: 3,
    feasible: 2,
    refused: [{ constraint: 'NodeResourcesFit', reason: 'Insufficient cpu', nodes: 1, preemptionCouldHelp: true }],
    candidates: [
      { node: 'node-1', score: 80, terms: { NodeResourcesFit: 80 }, room },
      { node: 'node-2', score: 70, terms: { NodeResourcesFit: 70 }, room },
    ],
    wakesOn: [],
    message: '',
    queueMs: 1,
    cycleMs: 0.1,
    bindMs: 3,
    ...facts,
  }
}

const node = (name: string): NodeDetail => ({
  name,
  ready: true,
  unschedulable: false,
  pods: 1,
  maxPods: 110,
  allocatableCpuMilli: 4000,
  requestedCpuMilli: 500,
  usedCpuMilli: 250,
  allocatableMemoryBytes: 2 ** 33,
  requestedMemoryBytes: 2 ** 30,
  usedMemoryBytes: 2 ** 29,
  labels: { 'kubernetes.io/hostname': name },
  taints: [{ key: 'gpu', effect: 'NoSchedule' }],
  resources: [{ name: 'nvidia.com/gpu', allocatable: 8, requested: 2 }],
  podNames: ['default/web-1'],
})

/** A small running system, for tests of the routes. */
export const sampleView = (changes: Partial<SystemView> = {}): SystemView => {
  const nodes = new Map(['node-1', 'node-2'].map((name) => [name, node(name)]))
  const records = [
    sampleDecision({ id: 2 }),
    sampleDecision({
      id: 1,
      outcome: 'waiting',
      node: '',
      source: 'none',
      feasible: 0,
      candidates: [],
      confidence: 0.5,
      devices: [0, 3],
      reason: 'the words of a policy',
      nearestMiss: { node: 'node-1', lacks: { cpu: 100 }, reasons: ['Insufficient cpu'] },
      wakesOn: ['PodDelete'],
      message: '0/3 nodes are available: 3 Insufficient cpu.',
      bindMs: -1,
    }),
  ]
  return {
    healthy: () => true,
    readiness: () => ({ ready: true, reasons: [] }),
    status: () => ({
      phase: 'running',
      version: '0.1.0',
      uptimeMs: 61_500,
      profiles: [
        { schedulerName: 'stowage', policy: 'kube-default', fallback: 'resource_balanced' },
        { schedulerName: 'batch', policy: 'borg', fallback: undefined },
      ],
      queue: { active: 1, backoff: 0, unschedulable: 2, gated: 1 },
      pods: { seen: 10, bound: 5, waiting: 3, gated: 1, deleted: 0, inFlight: 1 },
      attempts: 12,
      scheduled: 5,
      failed: 7,
      fallbackDecisions: 1,
      failedBindings: 2,
      decisionsPerSecond: 3.5,
      model: { ...someModelFigures, model: 'm', circuitBreaker: 'closed' },
    }),
    configuration: () =>
      new Map([
        ['api.port', { value: 8000, source: 'default' }],
        ['kubernetes.kubeconfig', { value: null, source: 'default' }],
      ]),
    clusterSummary: () => ({
      nodes: 2,
      readyNodes: 2,
      pods: 2,
      allocatableCpuMilli: 8000,
      requestedCpuMilli: 1000,
      usedCpuMilli: 2000,
      allocatableMemoryBytes: 2 ** 34,
      requestedMemoryBytes: 2 ** 31,
      usedMemoryBytes: 2 ** 32,
      usageSource: 'requests',
    }),
    nodes: () => [...nodes.values()],
    node: (name) => nodes.get(name),
    waitingPods: (limit) =>
      [
        {
          namespace: 'default',
          name: 'big-1',
          uid: 'uid-9',
          schedulerName: 'stowage',
          queue: 'unschedulable' as const,
          priority: 10,
          attempts: 4,
          waitedMs: 60_000,
          reason: '0/2 nodes are available: 2 Insufficient cpu.',
        },
      ].slice(0, limit),
    decisions: {
      list: ({ limit = 100 }) => ({
        records: records.slice(0, limit),
        ...(limit < records.length ? { next: 'c2' } : {}),
      }),
      history: (pod, limit) => ('pod' in pod && pod.pod === 'web-1' ? records.slice(0, limit) : []),
      explain: (namespace, name) =>
        namespace === 'default' && name === 'web-1' ? explain(sampleDecision(), records) : undefined,
    },
    ...changes,
  }
}
