// The workloads of kube-scheduler's own benchmark (kubernetes/test/integration/scheduler_perf, v1.37), for both benchmarks.
import type { NodeObject, PodObject, PodSpec, Quantities } from '../src/cluster/objects.ts'

/** Marks the pods whose time is taken. */
const MEASURED = { bench: 'measured' } as const
export const MEASURED_SELECTOR = 'bench=measured'
/** All the others. */
export const OTHERS_SELECTOR = 'bench!=measured'
/** There in all arms. */
export const PRIORITIES: Readonly<Record<string, number>> = { high: 10 }

const HOSTNAME = 'kubernetes.io/hostname'
const ZONE = 'topology.kubernetes.io/zone'
const ZONES = 3

export interface Workload {
  readonly name: string
  /** one line for `--help` */
  readonly what: string
  /** what a node has. @default the benchmark's own */
  readonly allocatable?: Quantities
  /** the pods whose time is taken; `group` tells pods apart of which a node takes only one */
  readonly labels: (group: number) => Record<string, string>
  readonly spec: (group: number) => PodSpec
  /** how many pods of the same kind are on nodes already */
  readonly placed?: { readonly perNode: number; readonly spec?: PodSpec; readonly labels?: Record<string, string> }
  /** pods that wait all the time and never get a node: how many a measured pod */
  readonly waiting?: { readonly perPod: number; readonly spec: PodSpec }
  /** how many pods each measured pod has to evict. @default 0 */
  readonly evicts?: number
  /** every second a node, a pod that fits nowhere and a service come and the last ones go. @default false */
  readonly churn?: boolean
  /** how many measured pods may share a group, as a part of the nodes. @default all pods share one */
  readonly groupPerNode?: number
}

const requesting = (cpu: string, memory: string): PodSpec => ({
  schedulerName: 'default-scheduler',
  containers: [{ name: 'main', image: 'app', resources: { requests: { cpu, memory } } }],
})
const small = requesting('100m', '128Mi')
const unlabelled = (): Record<string, string> => ({ app: 'bench' })

const spreading = (whenUnsatisfiable: string): Pick<Workload, 'labels' | 'spec'> => ({
  labels: () => ({ color: 'blue' }),
  spec: () => ({
    ...small,
    topologySpreadConstraints: [
      { maxSkew: 5, topologyKey: ZONE, whenUnsatisfiable, labelSelector: { matchLabels: { color: 'blue' } } },
    ],
  }),
})

/** Of the same names as in scheduler_perf, in its order. */
export const WORKLOADS: readonly Workload[] = [
  { name: 'basic', what: 'pods that ask for cpu and memory only', labels: unlabelled, spec: () => small },
  {
    name: 'topology-spread',
    what: 'spread over three zones with a skew of at most 5, DoNotSchedule',
    ...spreading('DoNotSchedule'),
  },
  {
    name: 'preferred-topology-spread',
    what: 'the same with ScheduleAnyway',
    ...spreading('ScheduleAnyway'),
  },
  {
    name: 'node-affinity',
    what: 'required node affinity to two of three zones',
    labels: unlabelled,
    spec: () => ({
      ...small,
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: ZONE, operator: 'In', values: ['zone-0', 'zone-1'] }] }],
          },
        },
      },
    }),
  },
  {
    name: 'pod-anti-affinity',
    what: 'at most one pod of a group on a node; a group has half as many pods as there are nodes',
    groupPerNode: 0.5,
    labels: (group) => ({ color: `green-${group}` }),
    spec: (group) => ({
      ...small,
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { labelSelector: { matchLabels: { color: `green-${group}` } }, topologyKey: HOSTNAME },
          ],
        },
      },
    }),
  },
  {
    name: 'pod-affinity',
    what: 'into a zone where pods of the same kind are; each node has one already',
    labels: () => ({ color: 'blue' }),
    spec: () => ({
      ...small,
      affinity: {
        podAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { labelSelector: { matchLabels: { color: 'blue' } }, topologyKey: ZONE },
          ],
        },
      },
    }),
    placed: { perNode: 1 },
  },
  {
    name: 'mixed-churn',
    what: 'as basic, while each second a node, a pod that fits nowhere and a service come and go',
    labels: unlabelled,
    spec: () => small,
    churn: true,
  },
  {
    name: 'preemption',
    what: 'nodes of 4 cores full of pods of lower priority; each pod has to evict three',
    allocatable: { cpu: '4', memory: '32Gi', pods: '110' },
    labels: unlabelled,
    spec: () => ({ ...requesting('3', '500Mi'), priorityClassName: 'high' }),
    evicts: 3,
    placed: {
      perNode: 4,
      labels: { app: 'low' },
      spec: { ...requesting('900m', '500Mi'), terminationGracePeriodSeconds: 0 },
    },
  },
  {
    name: 'unschedulable',
    what: 'as basic, with pods waiting that fit nowhere: one for ten measured',
    labels: unlabelled,
    spec: () => small,
    waiting: { perPod: 0.1, spec: requesting('1000', '500Mi') },
  },
  {
    name: 'gated',
    what: 'as basic, with gated pods waiting: two for one measured',
    labels: unlabelled,
    spec: () => small,
    waiting: { perPod: 2, spec: { ...small, schedulingGates: [{ name: 'example.com/hold' }] } },
  },
]

/** For `--help`. */
export const workloadHelp = (workloads: readonly Workload[] = WORKLOADS): string =>
  workloads.map(({ name, what }) => `  ${name.padEnd(27)}${what}\n`).join('')

export const nodeOf = (workload: Workload, number: number, allocatable: Quantities): NodeObject => {
  const name = `node-${number}`
  const has = workload.allocatable ?? allocatable
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { [HOSTNAME]: name, [ZONE]: `zone-${number % ZONES}` } },
    spec: {},
    status: {
      capacity: has,
      allocatable: has,
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
    },
  }
}

const podObject = (name: string, labels: Record<string, string>, spec: PodSpec): PodObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'default', name, labels },
  spec,
})

/** The measured pod of that number. */
export const podOf = (workload: Workload, number: number, nodes: number): PodObject => {
  const group = workload.groupPerNode === undefined ? 0 : Math.floor(number / Math.ceil(nodes * workload.groupPerNode))
  return podObject(`pod-${number}`, { ...workload.labels(group), ...MEASURED }, workload.spec(group))
}

/** Groups of pods that are there already; no measured pod has one of these. */
const FIRST_PLACED_GROUP = 1_000_000

/** Pods that are on nodes from the beginning, node after node. */
export function* placedPods({ placed, labels, spec }: Workload, nodes: number): Generator<PodObject> {
  for (let number = 0; number < nodes * (placed?.perNode ?? 0); number++) {
    const group = FIRST_PLACED_GROUP + Math.floor(number / nodes)
    yield podObject(`placed-${number}`, placed?.labels ?? labels(group), {
      ...(placed?.spec ?? spec(group)),
      nodeName: `node-${number % nodes}`,
    })
  }
}

/** Pods that wait and never get a node. */
export function* waitingPods({ waiting }: Workload, pods: number): Generator<PodObject> {
  for (let number = 0; number < pods * (waiting?.perPod ?? 0); number++)
    yield podObject(`waiting-${number}`, { app: 'waiting' }, waiting?.spec ?? {})
}

/** What comes and goes during `churn`; without a number, names would be used again while the old ones go. */
export const churned = (
  number: number,
): { readonly node: NodeObject; readonly pod: PodObject; readonly service: object } => ({
  node: {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: `churn-${number}` },
    status: {
      capacity: { pods: '0' },
      allocatable: { pods: '0' },
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
    },
  },
  pod: podObject(`churn-${number}`, { app: 'churn' }, { ...requesting('1000', '500Mi'), priorityClassName: 'high' }),
  service: {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name: `churn-${number}` },
    spec: { selector: { app: 'foo' }, ports: [{ protocol: 'TCP', port: 8080, targetPort: 8080 }] },
  },
})
