// What the differential test gives to both schedulers: clusters and pods, generated from a seed.
import fc from 'fast-check'
import type {
  Container,
  ContainerImage,
  KubeObject,
  LabelSelector,
  NodeObject,
  NodeSelectorTerm,
  PodObject,
  PodSpec,
  PodStatus,
  Quantities,
  SelectorRequirement,
  Taint,
  Toleration,
} from '../../src/cluster/objects.ts'
import {
  type Controller,
  controllerOf,
  controllers,
  ownerOf,
  owner,
  type Service,
  serviceOf,
  services,
} from './owners.ts'
import { exclusiveClaims, type OtherObject, podVolumes, storage, storageObjects, volumesOf } from './storage.ts'

/** The rules that ours knows, by kube-scheduler's names, and whether it preempts: nothing else is generated. */
export interface Known {
  readonly constraints: ReadonlySet<string>
  /** the plugins whose scores ours has */
  readonly scores: ReadonlySet<string>
  readonly preemption: boolean
}

/** What happens to the cluster before the next pod comes. */
export type Change =
  | { readonly kind: 'relabel'; readonly node: number; readonly labels: Record<string, string | null> }
  | { readonly kind: 'taint'; readonly node: number; readonly taints: readonly Taint[] }
  | { readonly kind: 'cordon'; readonly node: number; readonly unschedulable: boolean }
  | { readonly kind: 'add'; readonly object: NodeObject }
  /** a node goes, or comes back: its pods stay */
  | { readonly kind: 'remove'; readonly node: number }
  | { readonly kind: 'reshape'; readonly node: number; readonly status: NonNullable<NodeObject['status']> }
  | { readonly kind: 'delete'; readonly pod: number }
  | { readonly kind: 'relabel pod'; readonly pod: number; readonly labels: Record<string, string | null> }
  /** of its main container, in place */
  | { readonly kind: 'resize'; readonly pod: number; readonly requests: Quantities }

/** One pod to be placed, in the cluster as the cases before it have left it. */
export interface Case {
  readonly change: Change | undefined
  readonly pod: PodObject
  /** If room has to be made for it, it takes that room; else it goes again. */
  readonly stays: boolean
}

/** A cluster, and one pod after another to be placed in it. */
export interface World {
  readonly number: number
  readonly others: readonly OtherObject[]
  readonly nodes: readonly NodeObject[]
  /** bound from the beginning */
  readonly placed: readonly PodObject[]
  readonly cases: readonly Case[]
  /** Evicted pods take their time: room that is made stays taken for a while. */
  readonly graceful: boolean
}

export const CASES_PER_WORLD = 12

/** There from the beginning, in all worlds; the labels are what namespace selectors look at. */
export const NAMESPACES: Readonly<Record<string, Record<string, string>>> = {
  default: {},
  blue: { team: 'blue', tier: 'web' },
  green: { team: 'green', tier: 'web' },
}
export const PRIORITIES: Readonly<Record<string, { value: number; preemptionPolicy?: string }>> = {
  least: { value: -10 },
  low: { value: 10 },
  middle: { value: 100 },
  high: { value: 1_000 },
  patient: { value: 1_000, preemptionPolicy: 'Never' },
}
/** A runtime class and what its pods cost on top. */
export const RUNTIME_CLASSES: Readonly<Record<string, Quantities>> = { sandboxed: { cpu: '250m', memory: '64Mi' } }

const HOSTNAME = 'kubernetes.io/hostname'
const ZONE = 'topology.kubernetes.io/zone'
const REGION = 'topology.kubernetes.io/region'
const DEVICE = 'example.com/gpu'
const MIB = 1024 * 1024

const { constant, constantFrom, integer, array, record, oneof, tuple, boolean } = fc

/** The value in so many per cent of cases, else undefined. */
const sometimes = <T>(percent: number, value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  oneof({ arbitrary: constant(undefined), weight: 100 - percent }, { arbitrary: value, weight: percent })
/** One of these, the first ones more often the larger their weight is. */
const weighted = <T>(...choices: readonly (readonly [number, T])[]): fc.Arbitrary<T> =>
  oneof(...choices.map(([weight, value]) => ({ arbitrary: constant(value), weight })))

/** An empty list in so many per cent of cases. */
const orEmpty = <T>(emptyPercent: number, list: fc.Arbitrary<T[]>): fc.Arbitrary<T[]> =>
  oneof({ arbitrary: constant<T[]>([]), weight: emptyPercent }, { arbitrary: list, weight: 100 - emptyPercent })

/** Leaves out keys whose value is undefined, as JSON would, so that what is reported is what was sent. */
const defined = <T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }

/** The same where a type says what all keys are. */
const definedIn = <T extends object>(object: { [K in keyof T]: T[K] | undefined }): T => defined(object) as T

const nodeName = (world: number, node: number): string => `w${world}-n${node}`

/**
 * What a world has much of, and less of all the rest: what comes late among the rules is seen only where the others let pods
 * pass. Worlds take turns.
 */
const FOCUSES = ['nothing', 'volumes', 'topology', 'volumes and scores', 'nodes', 'preemption'] as const
type Focus = (typeof FOCUSES)[number]
const focusOf = (world: number): Focus => FOCUSES[world % FOCUSES.length] ?? 'nothing'

// Nodes

const taint: fc.Arbitrary<Taint> = record({
  key: constantFrom('dedicated', 'spare', 'broken'),
  value: constantFrom('', 'gpu', 'web'),
  effect: constantFrom('NoSchedule', 'PreferNoSchedule', 'PreferNoSchedule', 'NoExecute'),
})
/** The API server refuses the same key and effect twice. */
const taints = (atMost: number): fc.Arbitrary<Taint[]> =>
  fc.uniqueArray(taint, { maxLength: atMost, selector: ({ key, effect }) => `${key} ${effect}` })

const nodeLabels = record({
  zone: sometimes(85, constantFrom('a', 'b', 'c')),
  region: sometimes(80, constantFrom('north', 'south')),
  disk: sometimes(70, constantFrom('ssd', 'hdd')),
  cores: sometimes(50, constantFrom('4', '16', '64', 'many')),
  rack: sometimes(60, constantFrom('r1', 'r2', 'r3', 'r4')),
}).map(
  ({ zone, region, ...labels }) => defined({ [ZONE]: zone, [REGION]: region, ...labels }) as Record<string, string>,
)

const image = constantFrom<ContainerImage[]>(
  { names: ['web:1', 'docker.io/library/web:1'], sizeBytes: 600 * MIB },
  { names: ['side:latest'], sizeBytes: 300 * MIB },
  { names: ['tiny:1'], sizeBytes: 5 * MIB },
  { names: ['model:7'], sizeBytes: 1_900 * MIB },
)

/** What not every kubelet can do, by the part of a pod that asks for it. */
const FEATURES = {
  restart: 'RestartAllContainersOnContainerExits',
  mount: 'VolumeBindMountOptions',
  host: 'UserNamespacesHostNetworkSupport',
} as const
type Feature = keyof typeof FEATURES

const nodeShape = (focus: Focus) =>
  record({
    labels: nodeLabels,
    taints: orEmpty(focus.startsWith('volumes') ? 90 : 60, taints(2)),
    unschedulable: sometimes(focus.startsWith('volumes') ? 1 : 5, constant(true)),
    cpu: focus === 'preemption' ? constantFrom('1', '2', '4') : constantFrom('2', '4', '7500m', '16', '64'),
    memory: constantFrom('2Gi', '4Gi', '15999Mi', '64Gi', '257000000Ki'),
    pods: weighted([1, '2'], [2, '6'], [8, '110']),
    devices: sometimes(35, constantFrom('1', '4')),
    storage: sometimes(80, constantFrom('20Gi', '100Gi')),
    hugePages: sometimes(20, constantFrom('64Mi', '1Gi')),
    features: sometimes(80, fc.subarray<string>(Object.values(FEATURES).sort(), { minLength: 1 })),
    images: fc.uniqueArray(image, { maxLength: 3, selector: ({ names }) => names?.[0] }),
  })

type NodeShape = ReturnType<typeof nodeShape> extends fc.Arbitrary<infer T> ? T : never

const amountsOf = (shape: NodeShape) => ({
  cpu: shape.cpu,
  memory: shape.memory,
  pods: shape.pods,
  [DEVICE]: shape.devices,
  'ephemeral-storage': shape.storage,
  'hugepages-2Mi': shape.hugePages,
})

/** A merge patch that makes a node's status that of another shape. */
const reshaped = (shape: NodeShape): NonNullable<NodeObject['status']> => {
  const amounts = Object.fromEntries(Object.entries(amountsOf(shape)).map(([key, value]) => [key, value ?? null]))
  const { images, features } = shape
  return { capacity: amounts, allocatable: amounts, images, declaredFeatures: features ?? null } as NonNullable<
    NodeObject['status']
  >
}

const nodeOf = (world: number, number: number, shape: NodeShape): NodeObject => {
  const allocatable = defined(amountsOf(shape)) as Quantities
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: nodeName(world, number), labels: { [HOSTNAME]: nodeName(world, number), ...shape.labels } },
    spec: defined({
      taints: shape.taints.length > 0 ? shape.taints : undefined,
      unschedulable: shape.unschedulable,
    }),
    status: {
      capacity: allocatable,
      allocatable,
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
      images: shape.images,
      ...(shape.features === undefined ? {} : { declaredFeatures: shape.features }),
    },
  }
}

// Selectors

const labelValues: Readonly<Record<string, readonly string[]>> = {
  [ZONE]: ['a', 'b', 'c', 'd'],
  [REGION]: ['north', 'south'],
  disk: ['ssd', 'hdd', 'tape'],
  rack: ['r1', 'r2', 'r3', 'r4'],
  cores: ['4', '16', '64', 'many'],
}
const requirement: fc.Arbitrary<SelectorRequirement> = oneof(
  constantFrom(...Object.keys(labelValues)).chain((key) =>
    oneof(
      {
        weight: 4,
        arbitrary: record({
          key: constant(key),
          operator: constantFrom('In', 'In', 'NotIn'),
          values: fc.uniqueArray(constantFrom(...(labelValues[key] ?? [])), { minLength: 1, maxLength: 3 }),
        }),
      },
      { weight: 1, arbitrary: record({ key: constant(key), operator: constantFrom('Exists', 'DoesNotExist') }) },
    ),
  ),
  record({
    key: constantFrom('cores', 'cores', 'disk'),
    operator: constantFrom('Gt', 'Lt'),
    values: constantFrom<string[][]>(['3'], ['15'], ['16'], ['63']),
  }),
)

/** A name of this world's nodes; now and then of none. */
const someName = (world: number, nodes: number): fc.Arbitrary<string> =>
  integer({ min: 0, max: nodes }).map((node) => nodeName(world, node))

const fieldRequirement = (world: number, nodes: number): fc.Arbitrary<SelectorRequirement> =>
  record({
    key: constant('metadata.name'),
    operator: constantFrom('In', 'In', 'NotIn'),
    values: tuple(someName(world, nodes)),
  })

const selectorTerm = (world: number, nodes: number): fc.Arbitrary<NodeSelectorTerm> =>
  oneof(
    { weight: 6, arbitrary: record({ matchExpressions: array(requirement, { minLength: 1, maxLength: 2 }) }) },
    { weight: 2, arbitrary: record({ matchFields: tuple(fieldRequirement(world, nodes)) }) },
    {
      weight: 1,
      arbitrary: record({
        matchFields: array(fieldRequirement(world, nodes), { minLength: 1, maxLength: 2 }),
        matchExpressions: array(requirement, { maxLength: 1 }),
      }),
    },
  )

const toleration: fc.Arbitrary<Toleration> = oneof(
  {
    weight: 3,
    arbitrary: record({ key: constantFrom('dedicated', 'spare', 'broken'), operator: constant('Exists') }),
  },
  {
    weight: 3,
    arbitrary: record({
      key: constantFrom('dedicated', 'spare', 'broken'),
      operator: constantFrom('Equal', 'Equal'),
      value: constantFrom('', 'gpu', 'web'),
      effect: constantFrom('NoSchedule', 'PreferNoSchedule', 'NoExecute', ''),
    }).map(({ effect, ...rest }) => (effect === '' ? rest : { ...rest, effect })),
  },
  { weight: 1, arbitrary: constant({ key: 'node.kubernetes.io/unschedulable', operator: 'Exists' }) },
  {
    weight: 1,
    arbitrary: record({
      operator: constant('Exists'),
      effect: constantFrom('NoSchedule', 'NoExecute', 'PreferNoSchedule'),
    }),
  },
  { weight: 1, arbitrary: constant({ operator: 'Exists' }) },
)

// Pods

const APPS = ['web', 'db', 'cache'] as const
const TIERS = ['front', 'back'] as const
const podLabels = record({
  app: sometimes(85, constantFrom(...APPS)),
  tier: sometimes(50, constantFrom(...TIERS)),
  version: sometimes(30, constantFrom('1', '2')),
}).map((labels) => defined(labels) as Record<string, string>)

const cpu = constantFrom('0', '1m', '100m', '333m', '500m', '1', '2500m', '7')
const memory = constantFrom('0', '1', '64Mi', '100M', '1Gi', '3333333333', '20Gi', '1.5Gi')
const requests = record({ cpu: sometimes(75, cpu), memory: sometimes(75, memory) }).map(
  (quantities) => defined(quantities) as Quantities,
)
const images = constantFrom<string[]>('web:1', 'side', 'other:2', 'docker.io/library/web:1', 'model:7', 'tiny:1')

/** What the API server wants limits of, equal to the requests. */
const special = (resource: string, quantity: string): Container['resources'] => ({
  requests: { [resource]: quantity },
  limits: { [resource]: quantity },
})
const specialResources = oneof(
  constantFrom('1', '2').map((amount) => special(DEVICE, amount)),
  constantFrom('10Gi', '60Gi').map((amount) => ({ requests: { 'ephemeral-storage': amount } })),
  constantFrom('32Mi', '64Mi').map((amount) => ({
    requests: { 'hugepages-2Mi': amount, cpu: '100m' },
    limits: { 'hugepages-2Mi': amount },
  })),
)
const hostPort = record({
  hostPort: constantFrom(80, 81),
  protocol: constantFrom('TCP', 'TCP', 'UDP', 'SCTP'),
  hostIP: sometimes(40, constantFrom('127.0.0.1', '10.0.0.7', '0.0.0.0')),
}).map((port) => defined({ ...port, containerPort: port.hostPort }))

/** Above what the containers of any pod here ask for together, as the API server demands. */
const podLevel = constantFrom<Quantities[]>({ cpu: '16', memory: '48Gi' }, { cpu: '30' }, { memory: '50Gi' }).map(
  (requests) => ({ requests }),
)

const selectorOf: fc.Arbitrary<LabelSelector> = oneof(
  { weight: 4, arbitrary: constantFrom(...APPS).map((app) => ({ matchLabels: { app } })) },
  {
    weight: 2,
    arbitrary: record({
      matchExpressions: tuple(
        oneof(
          record({
            key: constant('app'),
            operator: constantFrom('In', 'NotIn'),
            values: constantFrom<string[][]>(['web'], ['web', 'db']),
          }),
          record({ key: constantFrom('tier', 'version'), operator: constantFrom('Exists', 'DoesNotExist') }),
        ),
      ),
    }),
  },
  { weight: 1, arbitrary: constant({}) },
)

/** The API server refuses keys that the selector names already. */
const without = (selector: LabelSelector, keys: string[] | undefined): string[] | undefined => {
  const left = keys?.filter((key) => !selector.matchExpressions?.some((expression) => expression.key === key))
  return left?.length === 0 ? undefined : left
}

const spreadConstraint = record({
  maxSkew: constantFrom(1, 1, 2, 3),
  topologyKey: constantFrom(ZONE, HOSTNAME, 'rack', REGION),
  whenUnsatisfiable: constantFrom('DoNotSchedule', 'ScheduleAnyway'),
  labelSelector: sometimes(95, selectorOf),
  minDomains: sometimes(25, constantFrom(1, 2, 3, 5)),
  nodeAffinityPolicy: sometimes(25, constantFrom('Honor', 'Ignore')),
  nodeTaintsPolicy: sometimes(25, constantFrom('Honor', 'Ignore')),
  matchLabelKeys: sometimes(20, constantFrom<string[][]>(['version'], ['tier'], ['version', 'tier'])),
}).map(({ minDomains, matchLabelKeys, ...rest }) =>
  defined({
    ...rest,
    // what the API server would refuse
    minDomains: rest.whenUnsatisfiable === 'DoNotSchedule' ? minDomains : undefined,
    matchLabelKeys: rest.labelSelector === undefined ? undefined : without(rest.labelSelector, matchLabelKeys),
  }),
)
const spreading = fc.uniqueArray(spreadConstraint, {
  minLength: 1,
  maxLength: 3,
  selector: ({ topologyKey, whenUnsatisfiable }) => `${topologyKey} ${whenUnsatisfiable}`,
})

const affinityTerm = record({
  topologyKey: constantFrom(ZONE, ZONE, HOSTNAME, 'rack'),
  labelSelector: sometimes(95, selectorOf),
  namespaces: sometimes(15, constantFrom<string[][]>(['blue'], ['blue', 'green'])),
  namespaceSelector: sometimes(
    15,
    constantFrom<LabelSelector[]>(
      {},
      { matchLabels: { tier: 'web' } },
      { matchLabels: { team: 'green' } },
      { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] },
    ),
  ),
  matchLabelKeys: sometimes(10, constantFrom<string[][]>(['version'], ['tier'])),
  mismatchLabelKeys: sometimes(5, constant<string[]>(['version'])),
}).map(({ matchLabelKeys, mismatchLabelKeys, ...term }) =>
  defined({
    ...term,
    // what the API server would refuse
    matchLabelKeys: term.labelSelector === undefined ? undefined : without(term.labelSelector, matchLabelKeys),
    mismatchLabelKeys:
      term.labelSelector === undefined || matchLabelKeys?.includes('version') === true
        ? undefined
        : without(term.labelSelector, mismatchLabelKeys),
  }),
)
const podAffinity = record({
  requiredDuringSchedulingIgnoredDuringExecution: sometimes(55, array(affinityTerm, { minLength: 1, maxLength: 2 })),
  preferredDuringSchedulingIgnoredDuringExecution: sometimes(
    55,
    array(record({ weight: constantFrom(1, 10, 100), podAffinityTerm: affinityTerm }), { minLength: 1, maxLength: 2 }),
  ),
}).map(defined)

/** Parts of a pod's main container and of its spec that take a feature of the kubelet. */
const featureParts: Readonly<Record<Feature, { readonly main?: object; readonly spec?: PodSpec }>> = {
  restart: {
    main: {
      restartPolicy: 'Never',
      restartPolicyRules: [{ action: 'RestartAllContainers', exitCodes: { operator: 'In', values: [42] } }],
    },
  },
  mount: { main: { volumeMounts: [{ name: 'scratch', mountPath: '/scratch', bindMountOptions: ['noexec'] }] } },
  host: { spec: { hostNetwork: true, hostUsers: false } },
}

/** What a node reports of a pod's size while it is being changed, in place of what the spec asks for. */
const resizing = record({
  allocated: sometimes(60, requests),
  actual: sometimes(60, requests),
  podAllocated: sometimes(50, constantFrom<Quantities[]>({ cpu: '20' }, { cpu: '17', memory: '49Gi' })),
  podActual: sometimes(50, constantFrom<Quantities[]>({ cpu: '18' }, { memory: '60Gi' })),
  infeasible: sometimes(40, constant(true)),
})

/** Everything a pod may say, each part in some of them. */
const podParts = (known: Known, world: number, nodes: number) => {
  const focus = focusOf(world)
  /** Of the kind that this world has much of, or of another. */
  const share = (kind: Focus, percent: number): number =>
    focus === 'nothing' ? percent : focus.startsWith(kind) ? Math.min(80, percent * 3) : Math.round(percent / 3)
  const of = <T>(kind: Focus, percent: number, part: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    sometimes(share(kind, percent), part)
  const ifKnown = <T>(
    constraint: string,
    kind: Focus,
    percent: number,
    part: fc.Arbitrary<T>,
  ): fc.Arbitrary<T | undefined> =>
    known.constraints.has(constraint) ? sometimes(share(kind, percent), part) : constant(undefined)
  return record({
    namespace,
    labels: podLabels,
    requests,
    image: images,
    sidekick: of('nodes', 15, record({ image: images, requests })),
    init: of('nodes', 12, record({ image: images, requests })),
    sidecar: of('nodes', 12, record({ image: images, requests, hostPort: sometimes(30, hostPort) })),
    special: of('nodes', 12, specialResources),
    podLevel: of('nodes', 8, podLevel),
    runtimeClassName: sometimes(6, constantFrom(...Object.keys(RUNTIME_CLASSES))),
    hostPort: of('nodes', 30, hostPort),
    tolerations: orEmpty(55, array(toleration, { minLength: 1, maxLength: 3 })),
    nodeSelector: of(
      'nodes',
      12,
      constantFrom('disk', ZONE, 'rack').chain((key) =>
        constantFrom(...(labelValues[key] ?? [])).map((value) => ({ [key]: value })),
      ),
    ),
    required: of('nodes', 15, array(selectorTerm(world, nodes), { minLength: 1, maxLength: 3 })),
    preferred: of(
      'nodes',
      25,
      array(record({ weight: constantFrom(1, 30, 100), preference: selectorTerm(world, nodes) }), {
        minLength: 1,
        maxLength: 3,
      }),
    ),
    gates: sometimes(
      4,
      constantFrom<{ name: string }[][]>(
        [{ name: 'example.com/quota' }],
        [{ name: 'example.com/a' }, { name: 'example.com/b' }],
      ),
    ),
    // Without preemption nobody may be more important than others, or kube-scheduler would evict them.
    priorityClassName: !known.preemption
      ? constant(undefined)
      : focus === 'preemption'
        ? weighted<string | undefined>([5, 'high'], [1, 'patient'], [1, 'middle'], [1, undefined])
        : sometimes(70, constantFrom(...Object.keys(PRIORITIES))),
    volumes: ifKnown('VolumeBinding', 'volumes', 25, podVolumes),
    feature: ifKnown('NodeDeclaredFeatures', 'nodes', 12, constantFrom<Feature[]>('restart', 'mount', 'host')),
    owner: known.constraints.has('PodTopologySpread') ? sometimes(80, owner) : constant(undefined),
    resizing: of('nodes', 15, resizing),
    spread: ifKnown('PodTopologySpread', 'topology', 25, spreading),
    podAffinity: ifKnown('InterPodAffinity', 'topology', 15, podAffinity),
    podAntiAffinity: ifKnown('InterPodAffinity', 'topology', 15, podAffinity),
  })
}
type PodParts = ReturnType<typeof podParts> extends fc.Arbitrary<infer T> ? T : never

type Resizing = typeof resizing extends fc.Arbitrary<infer T> ? T : never

/** A pod's status in the middle of a change of its size. */
const statusOf = (
  { allocated, actual, podAllocated, podActual, infeasible }: Resizing,
  containers: readonly Container[],
  initContainers: readonly Container[],
  { podLevel }: PodParts,
): PodStatus => {
  const statuses = (list: readonly Container[]) =>
    list.map(({ name = '', image = '' }) => ({
      name,
      image,
      imageID: '',
      ready: true,
      restartCount: 0,
      ...(allocated === undefined ? {} : { allocatedResources: allocated }),
      ...(actual === undefined ? {} : { resources: { requests: actual } }),
    }))
  return definedIn<PodStatus>({
    containerStatuses: statuses(containers),
    initContainerStatuses: initContainers.length > 0 ? statuses(initContainers) : undefined,
    allocatedResources: podLevel === undefined ? undefined : podAllocated,
    resources: podLevel === undefined || podActual === undefined ? undefined : { requests: podActual },
    conditions: infeasible && [{ type: 'PodResizePending', status: 'True', reason: 'Infeasible' }],
  })
}

const podOf = (world: number, name: string, parts: PodParts, graceful: boolean): PodObject => {
  const feature = parts.feature === undefined ? undefined : featureParts[parts.feature]
  const main: Container = {
    name: 'main',
    image: parts.image,
    resources: { requests: parts.requests },
    ...(parts.hostPort === undefined ? {} : { ports: [parts.hostPort] }),
    ...feature?.main,
  }
  const containers: Container[] = [main]
  if (parts.sidekick !== undefined)
    containers.push({ name: 'sidekick', image: parts.sidekick.image, resources: { requests: parts.sidekick.requests } })
  if (parts.special !== undefined) containers.push({ name: 'special', image: 'other:2', resources: parts.special })
  const initContainers: Container[] = []
  if (parts.sidecar !== undefined) {
    const { image, requests, hostPort } = parts.sidecar
    initContainers.push({
      name: 'sidecar',
      image,
      restartPolicy: 'Always',
      resources: { requests },
      ...(hostPort === undefined ? {} : { ports: [hostPort] }),
    })
  }
  if (parts.init !== undefined)
    initContainers.push({ name: 'init', image: parts.init.image, resources: { requests: parts.init.requests } })
  const nodeAffinity = defined({
    requiredDuringSchedulingIgnoredDuringExecution:
      parts.required === undefined ? undefined : { nodeSelectorTerms: parts.required },
    preferredDuringSchedulingIgnoredDuringExecution: parts.preferred,
  })
  const affinity = defined({
    nodeAffinity: Object.keys(nodeAffinity).length > 0 ? nodeAffinity : undefined,
    podAffinity: parts.podAffinity,
    podAntiAffinity: parts.podAntiAffinity,
  })
  const volumes: NonNullable<PodSpec['volumes']> = parts.volumes === undefined ? [] : volumesOf(world, parts.volumes)
  if (parts.feature === 'mount') volumes.push({ name: 'scratch', emptyDir: {} } as (typeof volumes)[number])
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      // Claims are there only.
      namespace: parts.volumes === undefined ? parts.namespace : 'default',
      name,
      labels: parts.labels,
      ...(parts.owner === undefined ? {} : { ownerReferences: [ownerOf(world, parts.owner)] }),
    },
    ...(parts.resizing === undefined ? {} : { status: statusOf(parts.resizing, containers, initContainers, parts) }),
    spec: definedIn<PodSpec & { runtimeClassName?: string }>({
      schedulerName: 'default-scheduler',
      terminationGracePeriodSeconds: graceful ? 30 : 0,
      containers,
      initContainers: initContainers.length > 0 ? initContainers : undefined,
      resources: parts.podLevel,
      volumes: volumes.length > 0 ? volumes : undefined,
      hostNetwork: feature?.spec?.hostNetwork,
      hostUsers: feature?.spec?.hostUsers,
      runtimeClassName: parts.runtimeClassName,
      tolerations: parts.tolerations.length > 0 ? parts.tolerations : undefined,
      nodeSelector: parts.nodeSelector,
      affinity: Object.keys(affinity).length > 0 ? affinity : undefined,
      schedulingGates: parts.gates,
      priorityClassName: parts.priorityClassName,
      topologySpreadConstraints: parts.spread,
    }),
  }
}

interface PlacedPod {
  readonly node: number
  readonly parts: PodParts
}

/**
 * Without what two pods cannot have at once: host ports of one node, claims for one pod. kube-scheduler never lets such pods
 * in, and loses count of them (README.md).
 */
const withoutClashes = (placed: readonly PlacedPod[], exclusive: ReadonlySet<number>): PlacedPod[] => {
  const taken = new Set<string>()
  return placed.map(({ node, parts }) => {
    const { hostPort, sidecar, volumes } = parts
    const ports = [hostPort, sidecar?.hostPort].flatMap((port) =>
      port === undefined ? [] : [`${node} ${port.protocol} ${port.hostPort}`],
    )
    const claims = (volumes?.claims ?? []).flatMap((claim) => (exclusive.has(claim) ? [`claim ${claim}`] : []))
    const wanted = [...ports, ...claims]
    const clash = wanted.some((key, at) => taken.has(key) || wanted.indexOf(key) !== at)
    if (clash) return { node, parts: { ...parts, hostPort: undefined, sidecar: undefined, volumes: undefined } }
    for (const key of wanted) taken.add(key)
    return { node, parts }
  })
}

/** Where much is to be evicted, those who are there matter less. */
const LOWER: Readonly<Record<string, string>> = { high: 'low', patient: 'least', middle: 'middle' }

/** Bound from the beginning: whatever they ask for, nobody checks it. */
const placedOf = (
  world: number,
  name: string,
  node: string,
  parts: PodParts,
  modest: boolean,
  graceful: boolean,
): PodObject => {
  const own = parts.priorityClassName
  const priorityClassName = focusOf(world) === 'preemption' ? LOWER[own ?? ''] : own
  const large = modest ? { init: undefined, sidecar: undefined, special: undefined, podLevel: undefined } : {}
  const requests: Quantities = modest && 'cpu' in parts.requests ? { cpu: '300m', memory: '300Mi' } : parts.requests
  const { spec = {}, ...pod } = podOf(
    world,
    name,
    {
      ...parts,
      ...large,
      requests,
      priorityClassName,
      gates: undefined,
    },
    graceful,
  )
  return { ...pod, spec: { ...spec, nodeName: node } }
}

/** A change but for the name of a node that comes, which no other has. */
type DrawnChange = Exclude<Change, { readonly kind: 'add' }> | { readonly kind: 'add'; readonly shape: NodeShape }

const change = (nodes: number, placed: number, focus: Focus): fc.Arbitrary<DrawnChange> => {
  const node = integer({ min: 0, max: nodes - 1 })
  const changes: fc.Arbitrary<DrawnChange>[] = [
    record({
      kind: constant('relabel' as const),
      node,
      labels: oneof(
        constantFrom('a', 'b', 'c', null).map((value) => ({ [ZONE]: value })),
        constantFrom('ssd', 'hdd', null).map((value) => ({ disk: value })),
        constantFrom('r1', 'r2', null).map((value) => ({ rack: value })),
      ) as fc.Arbitrary<Record<string, string | null>>,
    }),
    record({ kind: constant('taint' as const), node, taints: taints(2) }),
    record({ kind: constant('cordon' as const), node, unschedulable: boolean() }),
    record({ kind: constant('add' as const), shape: nodeShape(focus) }),
    record({ kind: constant('remove' as const), node }),
    record({ kind: constant('reshape' as const), node, status: nodeShape(focus).map(reshaped) }),
  ]
  if (placed > 0) {
    const pod = integer({ min: 0, max: placed - 1 })
    changes.push(record({ kind: constant('delete' as const), pod }))
    changes.push(
      record({
        kind: constant('relabel pod' as const),
        pod,
        // Not those that matchLabelKeys name: what a pod has of them when it is created stays in its selectors.
        labels: constantFrom(...APPS, null).map((app) => ({ app })),
      }),
    )
    changes.push(
      record({
        kind: constant('resize' as const),
        pod,
        requests: constantFrom<Quantities[]>({ cpu: '50m' }, { cpu: '1500m' }, { memory: '2Gi' }, { memory: '32Mi' }),
      }),
    )
  }
  return oneof(...changes)
}

const namespace = weighted<string>([8, 'default'], [2, 'blue'], [1, 'green'])

const budget = record({ namespace, selector: selectorOf, disruptionsAllowed: constantFrom(0, 0, 1, 2) })
type Budget = typeof budget extends fc.Arbitrary<infer T> ? T : never
const budgetOf = (
  name: string,
  {
    namespace,
    selector,
    disruptionsAllowed,
  }: { namespace: string; selector: LabelSelector; disruptionsAllowed: number },
): OtherObject => ({
  path: `/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets`,
  object: {
    metadata: { name, namespace },
    spec: { selector, maxUnavailable: 1 },
    status: { disruptionsAllowed, observedGeneration: 1, currentHealthy: 3, desiredHealthy: 2, expectedPods: 3 },
  } as KubeObject,
})

const worldOf = (known: Known, number: number): fc.Arbitrary<World> =>
  (focusOf(number) === 'preemption'
    ? // Few nodes with many pods: else there is room.
      tuple(integer({ min: 1, max: 6 }), integer({ min: 15, max: 45 }))
    : tuple(
        oneof(
          { weight: 1, arbitrary: integer({ min: 1, max: 3 }) },
          { weight: 4, arbitrary: integer({ min: 5, max: 16 }) },
        ),
        integer({ min: 0, max: 45 }),
      )
  ).chain(([nodes, placed]) =>
    record({
      modest: focusOf(number).startsWith('volumes') ? constant(true) : weighted([1, false], [2, true]),
      graceful: weighted([focusOf(number) === 'preemption' ? 1 : 6, false], [2, true]),
      shapes: array(nodeShape(focusOf(number)), { minLength: nodes, maxLength: nodes }),
      placed: array(tuple(integer({ min: 0, max: nodes - 1 }), podParts(known, number, nodes)), {
        minLength: placed,
        maxLength: placed,
      }),
      // No pod matches two: README.md.
      budgets: known.preemption
        ? fc.uniqueArray(budget, { maxLength: 3, selector: ({ namespace }) => namespace })
        : constant<Budget[]>([]),
      storage: known.constraints.has('VolumeBinding')
        ? sometimes(focusOf(number).startsWith('volumes') ? 100 : 40, storage(focusOf(number) === 'volumes and scores'))
        : constant(undefined),
      services: known.constraints.has('PodTopologySpread') ? services(namespace) : constant<Service[]>([]),
      controllers: known.constraints.has('PodTopologySpread') ? controllers(namespace) : constant<Controller[]>([]),
      cases: array(
        tuple(sometimes(35, change(nodes, placed, focusOf(number))), podParts(known, number, nodes), boolean()),
        { minLength: CASES_PER_WORLD, maxLength: CASES_PER_WORLD },
      ),
    }).map((drawn) => ({
      number,
      graceful: drawn.graceful,
      others: [
        ...drawn.budgets.map((budget, at) => budgetOf(`w${number}-b${at}`, budget)),
        ...(drawn.storage === undefined ? [] : storageObjects(number, nodes, drawn.storage)),
        ...drawn.services.map((service, at) => serviceOf(`w${number}-s${at}`, service)),
        ...drawn.controllers.map((controller, at) => controllerOf(number, at, controller)),
      ],
      nodes: drawn.shapes.map((shape, at) => nodeOf(number, at, shape)),
      placed: withoutClashes(
        drawn.placed.map(([node, parts]) => ({ node, parts })),
        drawn.storage === undefined ? new Set() : exclusiveClaims(drawn.storage),
      ).map(({ node, parts }, at) =>
        placedOf(number, `w${number}-p${at}`, nodeName(number, node), parts, drawn.modest, drawn.graceful),
      ),
      cases: drawn.cases.map(([change, parts, stays], at) => ({
        change: change?.kind === 'add' ? { kind: 'add', object: nodeOf(number, nodes + at, change.shape) } : change,
        pod: podOf(number, `w${number}-c${at}`, parts, drawn.graceful),
        stays,
      })),
    })),
  )

/** World number `number` of a seed: the same for everybody who asks. */
export const generateWorld = (seed: number, number: number, known: Known): World => {
  const [world] = fc.sample(worldOf(known, number), { seed: seed * 1_000_003 + number, numRuns: 1 })
  if (world === undefined) throw new Error('fast-check drew no sample')
  return world
}
