import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Container, NodeObject, PodObject, PodSpec, Quantities } from '../../cluster/objects.ts'
import { type Claim, admit, claimOf } from './kubelet-admission.ts'

const container = (requests: Quantities, more: Partial<Container> = {}): Container => ({
  name: 'c',
  resources: { requests },
  ...more,
})
const pod = (spec: PodSpec): PodObject => ({ metadata: { name: 'p', namespace: 'default' }, spec })
const node = (allocatable: Quantities, more: Partial<NodeObject> = {}): NodeObject => ({
  metadata: { name: 'n', labels: { disk: 'ssd', cores: '16' } },
  status: { allocatable: { pods: '110', ...allocatable } },
  ...more,
})
const verdict = (spec: PodSpec, on: NodeObject, others: PodSpec[] = []) =>
  admit(
    pod(spec),
    claimOf(pod(spec)),
    on,
    others.map((other) => claimOf(pod(other))),
  )

for (const [name, spec, expected] of [
  ['the sum of its containers', { containers: [container({ cpu: '100m' }), container({ cpu: '0.2' })] }, { cpu: 300 }],
  [
    'its largest init container, where that is more',
    { initContainers: [container({ cpu: 2, memory: '1Gi' })], containers: [container({ cpu: 1, memory: '2Gi' })] },
    { cpu: 2000, memory: 2 ** 31 },
  ],
  [
    'sidecars beside its containers, and those before it beside an init container',
    {
      initContainers: [
        container({ cpu: '100m' }, { restartPolicy: 'Always' }),
        container({ cpu: 2 }),
        container({ cpu: '200m' }, { restartPolicy: 'Always' }),
      ],
      containers: [container({ cpu: 1 })],
    },
    { cpu: 2100 },
  ],
  [
    'what is set for the whole pod, for cpu and memory only',
    {
      resources: { requests: { cpu: 4, 'example.com/x': 9 } },
      containers: [container({ cpu: 1, 'example.com/x': 2 })],
    },
    { cpu: 4000, 'example.com/x': 2 },
  ],
  ['its overhead on top', { overhead: { cpu: '250m' }, containers: [container({ cpu: 1 })] }, { cpu: 1250 }],
] as [string, PodSpec, Record<string, number>][]) {
  test(`a pod claims ${name}`, () => {
    assert.deepEqual(Object.fromEntries(claimOf(pod(spec)).request), expected)
  })
}

const port = (hostPort: number, more: object = {}): PodSpec => ({
  containers: [container({}, { ports: [{ hostPort, ...more }] })],
})

for (const [name, spec, on, others, expected] of [
  [
    'that fits exactly',
    { containers: [container({ cpu: 1 })] },
    node({ cpu: 2 }),
    [{ containers: [container({ cpu: 1 })] }],
    undefined,
  ],
  [
    'whose cpu is not there any more',
    { containers: [container({ cpu: '1001m' })] },
    node({ cpu: 2 }),
    [{ containers: [container({ cpu: 1 })] }],
    {
      reason: 'OutOfcpu',
      message: "Node didn't have enough resource: cpu, requested: 1001, used: 1000, capacity: 2000",
    },
  ],
  [
    'whose memory is not there any more',
    { containers: [container({ memory: '2Gi' })] },
    node({ memory: '3Gi' }),
    [{ containers: [container({ memory: '2Gi' })] }],
    {
      reason: 'OutOfmemory',
      message:
        "Node didn't have enough resource: memory, requested: 2147483648, used: 2147483648, capacity: 3221225472",
    },
  ],
  [
    'that is one too many',
    { containers: [container({})] },
    node({ pods: '1' }),
    [{ containers: [container({})] }],
    { reason: 'OutOfpods', message: "Node didn't have enough resource: pods, requested: 1, used: 1, capacity: 1" },
  ],
  [
    'that asks for a GPU too many',
    { containers: [container({ 'nvidia.com/gpu': 2 })] },
    node({ 'nvidia.com/gpu': '2' }),
    [{ containers: [container({ 'nvidia.com/gpu': 1 })] }],
    {
      reason: 'OutOfnvidia.com/gpu',
      message: "Node didn't have enough resource: nvidia.com/gpu, requested: 2, used: 1, capacity: 2",
    },
  ],
  [
    'that asks for an extended resource the node does not know',
    { containers: [container({ 'example.com/x': 1 })] },
    node({}),
    [],
    undefined,
  ],
  [
    'whose node selector does not match',
    { nodeSelector: { disk: 'hdd' }, containers: [] },
    node({}),
    [],
    {
      reason: 'NodeAffinity',
      message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    },
  ],
  [
    'whose port is taken',
    port(80),
    node({}),
    [port(80, { hostIP: '127.0.0.1' })],
    {
      reason: 'NodePorts',
      message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    },
  ],
  ['whose port is taken for another protocol', port(53, { protocol: 'UDP' }), node({}), [port(53)], undefined],
  [
    'whose port is taken on another address',
    port(80, { hostIP: '10.0.0.1' }),
    node({}),
    [port(80, { hostIP: '10.0.0.2' })],
    undefined,
  ],
  [
    'that does not tolerate a NoExecute taint',
    { containers: [], tolerations: [{ key: 'other', operator: 'Exists' }] },
    node({}, { spec: { taints: [{ key: 'k', value: 'v', effect: 'NoExecute' }] } }),
    [],
    { reason: 'TaintToleration', message: 'Predicate TaintToleration failed: node(s) had untolerated taint(s)' },
  ],
  [
    'that tolerates it',
    { containers: [], tolerations: [{ key: 'k', value: 'v' }] },
    node({}, { spec: { taints: [{ key: 'k', value: 'v', effect: 'NoExecute' }] } }),
    [],
    undefined,
  ],
  [
    'that does not tolerate a NoSchedule taint, which is the scheduler’s business alone',
    { containers: [] },
    node({}, { spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] } }),
    [],
    undefined,
  ],
] as [string, PodSpec, NodeObject, PodSpec[], unknown][]) {
  test(`a pod ${name} is ${expected === undefined ? 'taken' : 'refused, in kubelet’s words'}`, () => {
    assert.deepEqual(verdict(spec, on, others), expected)
  })
}

for (const [term, taken] of [
  [{ matchExpressions: [{ key: 'disk', operator: 'In', values: ['ssd', 'nvme'] }] }, true],
  [{ matchExpressions: [{ key: 'disk', operator: 'NotIn', values: ['ssd'] }] }, false],
  [{ matchExpressions: [{ key: 'zone', operator: 'NotIn', values: ['a'] }] }, true],
  [{ matchExpressions: [{ key: 'disk', operator: 'Exists' }] }, true],
  [{ matchExpressions: [{ key: 'disk', operator: 'DoesNotExist' }] }, false],
  [{ matchExpressions: [{ key: 'cores', operator: 'Gt', values: ['15'] }] }, true],
  [{ matchExpressions: [{ key: 'cores', operator: 'Lt', values: ['16'] }] }, false],
  [{ matchExpressions: [{ key: 'disk', operator: 'Gt', values: ['1'] }] }, false],
  [{ matchExpressions: [{ key: 'constructor', operator: 'Exists' }] }, false],
  [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n'] }] }, true],
  [{ matchFields: [{ key: 'metadata.name', operator: 'NotIn', values: ['n'] }] }, false],
  [{}, false],
] as const) {
  test(`required affinity ${JSON.stringify(term)} ${taken ? 'matches' : 'does not match'}`, () => {
    const nodeAffinity = {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [structuredClone(term)] },
    }
    const answer = verdict({ containers: [], affinity: { nodeAffinity } as NonNullable<PodSpec['affinity']> }, node({}))
    assert.equal(answer === undefined, taken)
  })
}

test('whatever comes in whatever order, what a node has taken never exceeds what it offers', () => {
  const arbitraryPod = fc.record({ cpu: fc.nat(3000), memory: fc.nat(3000), gpu: fc.nat(2) })
  fc.assert(
    fc.property(fc.array(arbitraryPod, { maxLength: 30 }), (requests) => {
      const on = node({ cpu: '8', memory: '6000', 'nvidia.com/gpu': '4', pods: '9' })
      const taken: Claim[] = []
      for (const { cpu, memory, gpu } of requests) {
        const asked = pod({ containers: [container({ cpu: `${cpu}m`, memory, 'nvidia.com/gpu': gpu })] })
        const sum = (name: string): number => taken.reduce((total, { request }) => total + (request.get(name) ?? 0), 0)
        const refusal = admit(asked, claimOf(asked), on, taken)
        const fits =
          taken.length < 9 &&
          (cpu === 0 || sum('cpu') + cpu <= 8000) &&
          (memory === 0 || sum('memory') + memory <= 6000) &&
          (gpu === 0 || sum('nvidia.com/gpu') + gpu <= 4)
        assert.equal(refusal === undefined, fits)
        if (refusal === undefined) taken.push(claimOf(asked))
      }
    }),
    { seed: 11, numRuns: 200 },
  )
})
