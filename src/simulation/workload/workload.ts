import type { Random } from '../../clock/random.ts'
import { GPU_MILLI_RESOURCE, WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { Container, KubeObject, OwnerReference, PodObject, PodSpec } from '../../cluster/objects.ts'
import { quantityUnits } from '../../cluster/quantity.ts'
import type { Arrival } from './arrivals.ts'
import { type NodeShape, ZONES } from './node-shapes.ts'
import { DURATION_ANNOTATION } from '../virtual/pod-stages.ts'

export interface PriorityClass extends KubeObject {
  value: number
  description: string
}

const priorityClass = (name: string, value: number, description: string): PriorityClass => ({
  apiVersion: 'scheduling.k8s.io/v1',
  kind: 'PriorityClass',
  metadata: { name },
  value,
  description,
})

/** The priority classes that generated pods name; they must exist before the pods do. */
export const workloadPriorityClasses: readonly PriorityClass[] = [
  priorityClass('stowage-high', 10_000, 'Stateful services of the synthetic workload'),
  priorityClass('stowage-low', -10, 'Batch jobs of the synthetic workload'),
]

/** The gate of pods that are created gated, as a quota system would set it. Whoever creates them opens it after a while. */
export const WORKLOAD_GATE = 'stowage.dev/held'

export interface WorkloadOptions {
  readonly pods: number
  /** the time over which they arrive */
  readonly spanMs: number
  /** decides everything: equal streams, equal workloads */
  readonly random: Random
  /** the nodes they are made for: GPU pods are drawn only where a node has GPUs */
  readonly nodes: readonly NodeShape[]
  readonly schedulerName: string
  /** @default default */
  readonly namespace?: string
}

/** What all pods of one owner share. */
interface Group {
  readonly owner: OwnerReference
  readonly labels: Readonly<Record<string, string>>
  readonly spec: PodSpec
  /** milliseconds of the median pod; undefined: runs until deleted */
  readonly medianMs: number | undefined
  readonly gated: boolean
  left: number
  made: number
}

interface Draw {
  readonly random: Random
  /** `unit`: how much of the resource one GPU is */
  readonly gpu: { readonly resource: string; readonly most: number; readonly unit: number } | undefined
}

interface Template {
  readonly name: string
  readonly weight: number
  readonly ownerKind: 'ReplicaSet' | 'StatefulSet' | 'Job'
  /** sizes of groups, equally likely */
  readonly replicas: readonly number[]
  readonly medianMs: number | undefined
  readonly spec: (draw: Draw) => PodSpec
}

const pick = <T>(random: Random, values: readonly [T, ...T[]]): T => values[random.below(values.length)] ?? values[0]
const container = (
  name: string,
  image: string,
  cpu: string,
  memory: string,
  more: Partial<Container> = {},
): Container => ({
  name,
  image,
  resources: { requests: { cpu, memory } },
  ...more,
})
const inZones = (zones: readonly string[]) => ({
  matchExpressions: [{ key: 'topology.kubernetes.io/zone', operator: 'In', values: [...zones] }],
})
const zone = (random: Random): string => ZONES[random.below(ZONES.length)] ?? ''

/** Only where nodes give out shares of their GPUs. */
const SHARED_GPU = 'shared-gpu'

const TEMPLATES: readonly Template[] = [
  {
    name: 'web',
    weight: 38,
    ownerKind: 'ReplicaSet',
    replicas: [3, 5, 10, 20],
    medianMs: undefined,
    spec: ({ random }) => ({
      containers: [
        container(
          'web',
          'nginx:1.29',
          pick(random, ['100m', '250m', '500m']),
          pick(random, ['128Mi', '256Mi', '512Mi']),
        ),
      ],
      ...(random.next() < 0.3
        ? {
            affinity: {
              nodeAffinity: {
                preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 50, preference: inZones([zone(random)]) }],
              },
            },
          }
        : {}),
    }),
  },
  {
    name: 'api',
    weight: 26,
    ownerKind: 'ReplicaSet',
    replicas: [2, 4, 8, 16],
    medianMs: undefined,
    spec: ({ random }) => ({
      nodeSelector: { 'kubernetes.io/arch': 'amd64' },
      initContainers: [container('proxy', 'envoyproxy/envoy:v1.36', '50m', '64Mi', { restartPolicy: 'Always' })],
      containers: [
        container(
          'api',
          'ghcr.io/example/api:2.4',
          pick(random, ['250m', '500m', '1']),
          pick(random, ['512Mi', '1Gi', '2Gi']),
        ),
      ],
      ...(random.next() < 0.2
        ? {
            affinity: {
              nodeAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: {
                  nodeSelectorTerms: [inZones([ZONES[0] ?? '', ZONES[1 + random.below(ZONES.length - 1)] ?? ''])],
                },
              },
            },
          }
        : {}),
    }),
  },
  {
    name: 'cache',
    weight: 10,
    ownerKind: 'StatefulSet',
    replicas: [1, 3, 5],
    medianMs: undefined,
    spec: ({ random }) => ({
      priorityClassName: 'stowage-high',
      containers: [
        container('redis', 'redis:8.2', pick(random, ['500m', '1']), pick(random, ['2Gi', '4Gi']), {
          ports: [{ containerPort: 6379, ...(random.next() < 0.3 ? { hostPort: 6379 } : {}) }],
        }),
      ],
    }),
  },
  {
    name: 'batch',
    weight: 20,
    ownerKind: 'Job',
    replicas: [1, 4, 12, 32],
    medianMs: 30_000,
    spec: ({ random }) => ({
      restartPolicy: 'Never',
      priorityClassName: 'stowage-low',
      tolerations: [{ key: 'stowage.dev/batch', operator: 'Exists', effect: 'NoSchedule' }],
      initContainers: [container('fetch', 'busybox:1.37', '100m', '1Gi')],
      containers: [
        container('batch', 'python:3.14', pick(random, ['500m', '1', '2']), pick(random, ['512Mi', '1Gi', '4Gi'])),
      ],
    }),
  },
  {
    name: 'gpu',
    weight: 6,
    ownerKind: 'Job',
    replicas: [1, 2, 4],
    medianMs: 60_000,
    spec: ({ random, gpu }) => {
      const wanted = Math.min(gpu?.most ?? 0, pick(random, [1, 1, 1, 1, 2, 2, 4, 8]))
      const devices = gpu === undefined ? {} : { [gpu.resource]: String(wanted * gpu.unit) }
      return {
        restartPolicy: 'Never',
        tolerations: [{ key: gpu?.resource ?? 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }],
        containers: [
          {
            name: 'train',
            image: 'pytorch/pytorch:2.9',
            resources: {
              requests: { cpu: String(2 * wanted), memory: `${8 * wanted}Gi`, ...devices },
              limits: devices,
            },
          },
        ],
      }
    },
  },
  {
    name: SHARED_GPU,
    weight: 6,
    ownerKind: 'ReplicaSet',
    replicas: [1, 2, 4, 8],
    medianMs: undefined,
    spec: ({ random }) => {
      const share = { [GPU_MILLI_RESOURCE]: pick(random, ['100', '200', '250', '500']) }
      return {
        containers: [
          {
            name: 'serve',
            image: 'vllm/vllm-openai:v0.11',
            resources: { requests: { cpu: '1', memory: '4Gi', ...share }, limits: share },
          },
        ],
      }
    },
  },
]
/** Share of groups that are created with a scheduling gate. */
const GATED = 0.02
/** Spread of the durations: exp of a normal deviate with this standard deviation times the median. */
const DURATION_SIGMA = 0.8

const gpuOf = (nodes: readonly NodeShape[]): Draw['gpu'] => {
  let best: Draw['gpu']
  for (const { allocatable } of nodes) {
    for (const [resource, quantity] of Object.entries(allocatable)) {
      const unit = resource === GPU_MILLI_RESOURCE ? WHOLE_GPU_MILLI : 1
      const most = resource.endsWith('/gpu') || unit > 1 ? Math.floor(quantityUnits(quantity) / unit) : 0
      if (most > (best?.most ?? 0)) best = { resource, most, unit }
    }
  }
  return best
}

const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789'
const letters = (random: Random, length: number): string =>
  Array.from({ length }, () => ALPHABET[random.below(ALPHABET.length)] ?? '').join('')
const uuid = (random: Random): string => {
  const hex = (digits: number): string => Array.from({ length: digits }, () => random.below(16).toString(16)).join('')
  return `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`
}

/** Box and Muller's normal deviate. */
const normal = (random: Random): number =>
  Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next())

const newGroup = (template: Template, number: number, draw: Draw): Group => {
  const { random } = draw
  const app = `${template.name}-${number}`
  const hash = letters(random, 5)
  return {
    owner: {
      apiVersion: template.ownerKind === 'Job' ? 'batch/v1' : 'apps/v1',
      kind: template.ownerKind,
      name: template.ownerKind === 'ReplicaSet' ? `${app}-${hash}` : app,
      uid: uuid(random),
      controller: true,
    },
    labels: { app, 'app.kubernetes.io/component': template.name },
    spec: template.spec(draw),
    medianMs: template.medianMs,
    gated: random.next() < GATED,
    left: template.replicas[random.below(template.replicas.length)] ?? 1,
    made: 0,
  }
}

const nextPod = (
  group: Group,
  { schedulerName, namespace = 'default' }: WorkloadOptions,
  random: Random,
): PodObject => {
  const index = group.made++
  group.left--
  const owner = group.owner.name ?? ''
  const durationMs =
    group.medianMs === undefined ? undefined : group.medianMs * Math.exp(DURATION_SIGMA * normal(random))
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `${owner}-${group.owner.kind === 'StatefulSet' ? index : `${index.toString(36)}${letters(random, 4)}`}`,
      namespace,
      labels: { ...group.labels },
      ...(durationMs === undefined
        ? {}
        : { annotations: { [DURATION_ANNOTATION]: `${(durationMs / 1000).toFixed(1)}s` } }),
      ownerReferences: [group.owner],
    },
    spec: {
      ...group.spec,
      schedulerName,
      ...(group.gated ? { schedulingGates: [{ name: WORKLOAD_GATE }] } : {}),
    },
  }
}

/**
 * A synthetic mix of what runs in clusters. All shares are of pods, on average:
 * web 38 %, api 26 % (with a sidecar, a node selector, a fifth bound to two zones), cache 10 % (high priority, a third with
 * a host port), batch 20 % (low priority, an init container, ends), gpu 6 % (1, 2, 4 or 8 GPUs with 2 CPU and 8 GiB each,
 * ends; only where nodes have GPUs); where nodes give out shares of GPUs (`stowage.dev/gpu-milli`) also shared-gpu with the
 * weight of gpu (100, 200, 250 or 500 thousandths of one GPU with 1 CPU and 4 GiB, runs until deleted): then all shares above
 * are of 94 % of the pods. Pods come in groups of one owner, which share everything but their names; 2 % of the
 * groups are gated. Requests are drawn evenly from the few sizes of a template. Durations are log-normal: median 30 s
 * (batch) or 60 s (gpu), sigma 0.8. Arrivals are a Poisson process, given how many there are: uniform in the span, sorted.
 * @returns ascending by time
 */
export const syntheticWorkload = (options: WorkloadOptions): Arrival[] => {
  const { random } = options
  const draw: Draw = { random, gpu: gpuOf(options.nodes) }
  const templates = TEMPLATES.filter(
    ({ name }) =>
      (name !== 'gpu' || draw.gpu !== undefined) && (name !== SHARED_GPU || draw.gpu?.resource === GPU_MILLI_RESOURCE),
  )
  const total = templates.reduce((sum, { weight }) => sum + weight, 0)
  const groups = new Map<Template, Group>()
  let number = 0
  const times = Float64Array.from({ length: options.pods }, () => random.next() * options.spanMs).sort()
  return Array.from(times, (atMs): Arrival => {
    let at = random.next() * total
    const template = templates.find(({ weight }) => (at -= weight) < 0) ?? TEMPLATES[0]
    if (template === undefined) throw new RangeError('there are no templates')
    let group = groups.get(template)
    if (group === undefined || group.left === 0) {
      group = newGroup(template, number++, draw)
      groups.set(template, group)
    }
    return { atMs, pod: nextPod(group, options, random) }
  })
}
