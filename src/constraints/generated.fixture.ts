import fc from 'fast-check'
import { type NodeBuilder, node, type PodBuilder, pod } from '../../test/builders.ts'
import type {
  KubeObject,
  NodeObject,
  NodeSelectorTerm,
  PodObject,
  SelectorRequirement,
  Toleration,
} from '../cluster/objects.ts'

/**
 * Small clusters and pods out of few values, so that rules are met and broken about equally often. Written as Kubernetes
 * objects: what is held against them knows neither our readers nor our columns.
 */
export interface Situation {
  readonly namespaces?: readonly KubeObject[]
  /** claims, volumes, and what attaches them */
  readonly storage?: readonly KubeObject[]
  readonly nodes: readonly NodeObject[]
  /** pods with a node */
  readonly placed: readonly PodObject[]
  readonly pod: PodObject
}

const nodeNames = ['n0', 'n1', 'n2', 'n3']
const maybe = <T>(values: readonly T[]): fc.Arbitrary<T | undefined> => fc.constantFrom(undefined, ...values)
const effects = ['NoSchedule', 'NoExecute', 'PreferNoSchedule']

export const nodeNamed = (name: string): fc.Arbitrary<NodeObject> =>
  fc
    .record({
      cpu: fc.constantFrom('1', '2', '4'),
      memory: fc.constantFrom('1Gi', '4Gi'),
      storage: maybe(['2Gi']),
      gpus: maybe(['0', '2']),
      pods: fc.nat(3),
      zone: maybe(['a', 'b']),
      cores: maybe(['4', '16', 'many']),
      taints: fc.array(
        fc.tuple(fc.constantFrom('k1', 'k2'), fc.constantFrom(...effects), fc.constantFrom('', 'v', '5')),
        { maxLength: 2 },
      ),
      cordoned: fc.boolean(),
    })
    .map((parts) => {
      const built: NodeBuilder = node(name).cpu(parts.cpu).memory(parts.memory).pods(parts.pods)
      if (parts.storage !== undefined) built.allocatable('ephemeral-storage', parts.storage)
      if (parts.gpus !== undefined) built.allocatable('example.com/gpu', parts.gpus)
      if (parts.zone !== undefined) built.label('zone', parts.zone)
      if (parts.cores !== undefined) built.label('cores', parts.cores)
      for (const [key, effect, value] of parts.taints) built.taint(key, effect, value)
      if (parts.cordoned) built.cordoned()
      return built.object()
    })

const expression = fc.oneof<fc.Arbitrary<SelectorRequirement>[]>(
  fc.record({
    key: fc.constantFrom('zone', 'cores', 'kubernetes.io/hostname', 'constructor'),
    operator: fc.constantFrom('In', 'NotIn'),
    values: fc.array(fc.constantFrom('a', 'b', '4', 'n0', 'n1'), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    key: fc.constantFrom('zone', 'cores', 'kubernetes.io/hostname', '__proto__'),
    operator: fc.constantFrom('Exists', 'DoesNotExist', 'Near'),
  }),
  fc.record({
    key: fc.constantFrom('zone', 'cores'),
    operator: fc.constantFrom('Gt', 'Lt'),
    values: fc.constantFrom(['4'], ['5'], ['few'], ['90071992547409931']),
  }),
)

const field: fc.Arbitrary<SelectorRequirement> = fc.record({
  key: fc.constant('metadata.name'),
  operator: fc.constantFrom('In', 'In', 'NotIn'),
  values: fc.array(fc.constantFrom('n0', 'n1', 'elsewhere'), { minLength: 1, maxLength: 2 }),
})

const selectorTerm: fc.Arbitrary<NodeSelectorTerm> = fc.oneof(
  fc.record({ matchExpressions: fc.array(expression, { maxLength: 2 }) }),
  fc.record({ matchFields: fc.array(field, { minLength: 1, maxLength: 2 }) }),
  fc.record({
    matchExpressions: fc.array(expression, { maxLength: 2 }),
    matchFields: fc.array(field, { maxLength: 1 }),
  }),
)

const toleration: fc.Arbitrary<Toleration> = fc.record(
  {
    key: fc.constantFrom('', 'k1', 'k2', 'node.kubernetes.io/unschedulable'),
    operator: fc.constantFrom('', 'Equal', 'Exists', 'Lt', 'Gt'),
    value: fc.constantFrom('', 'v', '5'),
    effect: fc.constantFrom('', ...effects),
  },
  { requiredKeys: [] },
)

const hostPort = fc.record(
  {
    hostPort: fc.constantFrom(80, 81),
    protocol: fc.constantFrom('TCP', 'UDP', ''),
    hostIP: fc.constantFrom('', '0.0.0.0', '10.0.0.1', '10.0.0.2'),
  },
  { requiredKeys: ['hostPort'] },
)

const requests = fc.record({
  cpu: maybe(['0', '500m', '1', '3']),
  memory: maybe(['0', '1Gi', '3Gi']),
  storage: maybe(['1Gi', '3Gi']),
  gpus: maybe(['0', '1', '3']),
})

const asking = (built: PodBuilder, parts: { cpu?: string; memory?: string; storage?: string; gpus?: string }): void => {
  if (parts.cpu !== undefined) built.cpu(parts.cpu)
  if (parts.memory !== undefined) built.memory(parts.memory)
  if (parts.storage !== undefined) built.request('ephemeral-storage', parts.storage)
  if (parts.gpus !== undefined) built.request('example.com/gpu', parts.gpus)
}

export const waitingPod: fc.Arbitrary<PodObject> = fc
  .record({
    requests,
    terms: fc.option(fc.array(selectorTerm, { maxLength: 2 }), { nil: undefined, freq: 2 }),
    zone: fc.constantFrom(undefined, undefined, 'a'),
    hostname: fc.constantFrom(undefined, undefined, undefined, 'n1'),
    tolerations: fc.array(toleration, { maxLength: 3 }),
    ports: fc.array(hostPort, { maxLength: 2 }),
    gates: fc.constantFrom(undefined, undefined, undefined, ['a', 'b']),
    device: fc.constantFrom(undefined, undefined, undefined, { name: 'gpu', resourceClaimName: 'gpu' }),
    nodeName: fc.constantFrom(undefined, undefined, undefined, 'n0', 'elsewhere'),
  })
  .map((parts) => {
    const built = pod('waiting')
    asking(built, parts.requests as Parameters<typeof asking>[1])
    if (parts.terms !== undefined) built.requiresNode(...parts.terms)
    if (parts.zone !== undefined) built.nodeSelector('zone', parts.zone)
    if (parts.hostname !== undefined) built.nodeSelector('kubernetes.io/hostname', parts.hostname)
    for (const one of parts.tolerations) built.toleration(one)
    for (const { hostPort: port, ...options } of parts.ports) built.hostPort(port, options)
    if (parts.gates !== undefined) built.gatedBy(...parts.gates)
    if (parts.device !== undefined) built.spec({ resourceClaims: [parts.device] })
    if (parts.nodeName !== undefined) built.on(parts.nodeName)
    return built.object()
  })

const placedPods: fc.Arbitrary<PodObject[]> = fc
  .array(fc.record({ on: fc.constantFrom(...nodeNames), requests, ports: fc.array(hostPort, { maxLength: 1 }) }), {
    maxLength: 5,
  })
  .map((all) =>
    all.map((parts, i) => {
      const built = pod(`placed${i}`).on(parts.on).phase('Running')
      asking(built, parts.requests as Parameters<typeof asking>[1])
      for (const { hostPort: port, ...options } of parts.ports) built.hostPort(port, options)
      return built.object()
    }),
  )

const someNodes: fc.Arbitrary<NodeObject[]> = fc
  .integer({ min: 1, max: nodeNames.length })
  .chain((count) => fc.tuple(...nodeNames.slice(0, count).map(nodeNamed)))

export const situation: fc.Arbitrary<Situation> = fc.record({ nodes: someNodes, placed: placedPods, pod: waitingPod })

const aspects = ['taints', 'cordons', 'affinity', 'ports'] as const

/**
 * A situation in which only some rules matter, and a node as it will be later: with all at once hardly any pod would ever be
 * let in.
 */
export const development: fc.Arbitrary<{ given: Situation; later: NodeObject }> = fc
  .record({
    given: situation,
    later: fc.constantFrom(...nodeNames).chain(nodeNamed),
    matter: fc.subarray([...aspects], { maxLength: 2 }),
  })
  .map(({ given, later, matter }) => {
    const left = (aspect: (typeof aspects)[number]): boolean => !matter.includes(aspect)
    const easier = (object: NodeObject): NodeObject => {
      const { taints, unschedulable } = object.spec ?? {}
      return {
        ...object,
        spec: {
          ...(left('taints') || taints === undefined ? {} : { taints }),
          ...(left('cordons') || unschedulable === undefined ? {} : { unschedulable }),
        },
      }
    }
    const { schedulingGates: _gates, resourceClaims: _devices, nodeName: _node, ...spec } = given.pod.spec ?? {}
    if (left('affinity')) {
      delete spec.affinity
      delete spec.nodeSelector
    }
    if (left('ports')) for (const container of spec.containers ?? []) delete container.ports
    return {
      given: { nodes: given.nodes.map(easier), placed: given.placed, pod: { ...given.pod, spec } },
      later: easier(later),
    }
  })
