import type { Condition, KubeObject, NodeObject, Taint } from '../../cluster/objects.ts'
import type { NodeShape } from '../workload/node-shapes.ts'

/** Every node with this label, whoever created it, is kept alive by the virtual nodes. */
export const VIRTUAL_NODE_LABEL = 'stowage.dev/virtual'
export const UNREACHABLE_TAINT = 'node.kubernetes.io/unreachable'
export const NODE_LEASE_NAMESPACE = 'kube-node-lease'
export const LEASES = 'leases.coordination.k8s.io'
/** kubelet's nodeLeaseDurationSeconds */
export const LEASE_DURATION_S = 40
/** A node's pod addresses: a /22, room for more than a thousand pods. */
export const POD_ADDRESSES_PER_NODE = 1024

const KUBERNETES_VERSION = 'v1.37.2'

/** `2026-01-01T00:00:00Z`, Kubernetes' Time. */
export const timestamp = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`
/** `2026-01-01T00:00:00.000000Z`, Kubernetes' MicroTime. */
export const microTimestamp = (ms: number): string => `${new Date(ms).toISOString().slice(0, 23)}000Z`

const dotted = (first: number, offset: number): string =>
  `${first}.${(offset >> 16) & 255}.${(offset >> 8) & 255}.${offset & 255}`

/** The address of the node with this number, in 172.16.0.0/12. */
export const nodeAddress = (index: number): string => dotted(172, 0x10_0000 + index + 1)
/** The nth address of a node's pods, in 10.0.0.0/8. */
export const podAddress = (index: number, nth: number): string => dotted(10, index * POD_ADDRESSES_PER_NODE + nth)

const HEALTHY: readonly (readonly [type: string, status: string, reason: string, message: string])[] = [
  ['MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
  ['DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
  ['PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
  ['Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'],
]

/** Sets conditions as kubelet posts them (texts: pkg/kubelet/nodestatus/setters.go, 1.37); others stay as they are. */
export const healthyConditions = (before: readonly Condition[], nowMs: number): Condition[] => {
  const now = timestamp(nowMs)
  const posted = HEALTHY.map(([type, status, reason, message]): Condition => {
    const old = before.find((condition) => condition.type === type)
    const since = old?.status === status ? (old.lastTransitionTime ?? now) : now
    return { type, status, lastHeartbeatTime: now, lastTransitionTime: since, reason, message }
  })
  return [...before.filter(({ type }) => !HEALTHY.some(([own]) => own === type)), ...posted]
}

/** What the node controller writes when a kubelet is silent (node_lifecycle_controller.go, 1.37). */
export const unknownConditions = (before: readonly Condition[], nowMs: number): Condition[] =>
  before.map((condition) =>
    HEALTHY.some(([type]) => type === condition.type) && condition.status !== 'Unknown'
      ? {
          ...condition,
          status: 'Unknown',
          reason: 'NodeStatusUnknown',
          message: 'Kubelet stopped posting node status.',
          lastTransitionTime: timestamp(nowMs),
        }
      : condition,
  )

/** The taints of a node that cannot be reached, beside those it has. */
export const withUnreachableTaints = (taints: readonly Taint[], nowMs: number): Taint[] => [
  ...withoutUnreachableTaints(taints),
  { key: UNREACHABLE_TAINT, effect: 'NoSchedule', timeAdded: timestamp(nowMs) },
  { key: UNREACHABLE_TAINT, effect: 'NoExecute', timeAdded: timestamp(nowMs) },
]

export const withoutUnreachableTaints = (taints: readonly Taint[]): Taint[] =>
  taints.filter(({ key }) => key !== UNREACHABLE_TAINT)

/** A node as it registers itself: ready, with everything its shape offers. */
export const nodeObject = (shape: NodeShape, index: number, nowMs: number): NodeObject => {
  const machineId = index.toString(16).padStart(32, '0')
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: shape.name,
      labels: {
        'kubernetes.io/hostname': shape.name,
        'kubernetes.io/arch': 'amd64',
        'kubernetes.io/os': 'linux',
        [VIRTUAL_NODE_LABEL]: 'true',
        ...shape.labels,
      },
      ...(shape.annotations === undefined ? {} : { annotations: { ...shape.annotations } }),
    },
    spec: {
      podCIDR: `${podAddress(index, 0)}/22`,
      providerID: `stowage://${shape.name}`,
      ...(shape.taints.length === 0 ? {} : { taints: [...shape.taints] }),
    },
    status: {
      capacity: { ...shape.allocatable },
      allocatable: { ...shape.allocatable },
      ...(shape.images === undefined ? {} : { images: [...shape.images] }),
      ...(shape.declaredFeatures === undefined ? {} : { declaredFeatures: [...shape.declaredFeatures] }),
      addresses: [
        { type: 'InternalIP', address: nodeAddress(index) },
        { type: 'Hostname', address: shape.name },
      ],
      conditions: healthyConditions([], nowMs),
      nodeInfo: {
        architecture: 'amd64',
        bootID: machineId,
        containerRuntimeVersion: 'containerd://2.2.0',
        kernelVersion: '6.12.0-virtual',
        kubeProxyVersion: '',
        kubeletVersion: KUBERNETES_VERSION,
        machineID: machineId,
        operatingSystem: 'linux',
        osImage: 'Stowage virtual node',
        systemUUID: machineId,
      },
    },
  }
}

/** A node's heartbeat, `coordination.k8s.io/v1`. */
export interface NodeLease extends KubeObject {
  spec: { holderIdentity: string; leaseDurationSeconds: number; renewTime: string }
}

export const nodeLease = (node: NodeObject, nowMs: number): NodeLease => {
  const name = node.metadata?.name ?? ''
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name,
      namespace: NODE_LEASE_NAMESPACE,
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid: node.metadata?.uid ?? '' }],
    },
    spec: { holderIdentity: name, leaseDurationSeconds: LEASE_DURATION_S, renewTime: microTimestamp(nowMs) },
  }
}
