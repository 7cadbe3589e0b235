/**
 * Kubernetes objects as they are on the wire, limited to the fields that Stowage reads or writes. Everything is optional
 * that a hostile or old sender may leave out; readers (read-pod.ts, read-node.ts) decide what is required.
 */
export interface OwnerReference {
  apiVersion?: string
  kind?: string
  name?: string
  uid?: string
  controller?: boolean
}

export interface ObjectMeta {
  name?: string
  generateName?: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  ownerReferences?: OwnerReference[]
  finalizers?: string[]
  managedFields?: unknown
}

export interface KubeObject {
  apiVersion?: string
  kind?: string
  metadata?: ObjectMeta
}

export interface KubeList<T extends KubeObject> {
  apiVersion?: string
  kind?: string
  metadata?: { resourceVersion?: string; continue?: string; remainingItemCount?: number }
  items?: T[]
}

/** The answer to a request that failed, `kind: Status`. */
export interface StatusObject {
  kind?: string
  status?: string
  message?: string
  reason?: string
  code?: number
  details?: {
    name?: string
    kind?: string
    retryAfterSeconds?: number
    causes?: { reason?: string; message?: string; field?: string }[]
  }
}

export type WatchEventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
export interface WatchEvent<T> {
  type: WatchEventType
  object: T
}

export type Quantities = Record<string, string | number>
export interface ResourceRequirements {
  requests?: Quantities
  limits?: Quantities
}
export interface ContainerPort {
  containerPort?: number
  hostPort?: number
  hostIP?: string
  protocol?: string
  name?: string
}
export interface Container {
  name?: string
  image?: string
  resources?: ResourceRequirements
  ports?: ContainerPort[]
  restartPolicy?: string
  restartPolicyRules?: { action?: string }[]
  volumeMounts?: { bindMountOptions?: string[] }[]
}

export interface SelectorRequirement {
  key?: string
  operator?: string
  values?: string[]
}
export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: SelectorRequirement[]
}
export interface NodeSelectorTerm {
  matchExpressions?: SelectorRequirement[]
  matchFields?: SelectorRequirement[]
}
export interface NodeAffinity {
  requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: NodeSelectorTerm[] }
  preferredDuringSchedulingIgnoredDuringExecution?: { weight?: number; preference?: NodeSelectorTerm }[]
}
export interface PodAffinityTermObject {
  topologyKey?: string
  labelSelector?: LabelSelector | null
  namespaces?: string[]
  namespaceSelector?: LabelSelector | null
  matchLabelKeys?: string[]
  mismatchLabelKeys?: string[]
}
export interface PodAffinityObject {
  requiredDuringSchedulingIgnoredDuringExecution?: PodAffinityTermObject[]
  preferredDuringSchedulingIgnoredDuringExecution?: { weight?: number; podAffinityTerm?: PodAffinityTermObject }[]
}
export interface TopologySpreadConstraintObject {
  topologyKey?: string
  maxSkew?: number
  minDomains?: number | null
  whenUnsatisfiable?: string
  labelSelector?: LabelSelector | null
  matchLabelKeys?: string[]
  nodeAffinityPolicy?: string | null
  nodeTaintsPolicy?: string | null
}
export interface Taint {
  key?: string
  value?: string
  effect?: string
  timeAdded?: string
}
export interface Toleration {
  key?: string
  operator?: string
  value?: string
  effect?: string
  tolerationSeconds?: number
}

export interface Condition {
  type?: string
  status?: string
  reason?: string
  message?: string
  lastTransitionTime?: string
  lastProbeTime?: string | null
  lastHeartbeatTime?: string
  observedGeneration?: number
}

/** One entry of `spec.volumes`; of the kinds of source only those that a rule looks at. */
export interface PodVolumeSource {
  name?: string
  persistentVolumeClaim?: { claimName?: string; readOnly?: boolean }
  ephemeral?: unknown
  gcePersistentDisk?: { pdName?: string; readOnly?: boolean }
  awsElasticBlockStore?: { volumeID?: string }
  iscsi?: { iqn?: string; readOnly?: boolean }
  rbd?: { monitors?: string[]; pool?: string; image?: string; readOnly?: boolean }
  azureDisk?: { diskName?: string; diskURI?: string }
  cinder?: { volumeID?: string }
  portworxVolume?: { volumeID?: string }
  csi?: { driver?: string }
}

export interface PodSpec {
  nodeName?: string
  schedulerName?: string
  priority?: number
  priorityClassName?: string
  preemptionPolicy?: string
  restartPolicy?: string
  terminationGracePeriodSeconds?: number
  nodeSelector?: Record<string, string>
  affinity?: { nodeAffinity?: NodeAffinity; podAffinity?: PodAffinityObject; podAntiAffinity?: PodAffinityObject }
  tolerations?: Toleration[]
  topologySpreadConstraints?: TopologySpreadConstraintObject[]
  containers?: Container[]
  initContainers?: Container[]
  overhead?: Quantities
  resources?: ResourceRequirements
  schedulingGates?: { name?: string }[]
  volumes?: PodVolumeSource[]
  hostNetwork?: boolean
  hostUsers?: boolean
  resourceClaims?: unknown[]
  schedulingGroup?: { podGroupName?: string }
}
export interface ContainerStatus {
  name?: string
  allocatedResources?: Quantities
  resources?: ResourceRequirements
}
export interface PodStatus {
  phase?: string
  conditions?: Condition[]
  nominatedNodeName?: string
  startTime?: string
  containerStatuses?: ContainerStatus[]
  initContainerStatuses?: ContainerStatus[]
  allocatedResources?: Quantities
  resources?: ResourceRequirements
}
export interface PodObject extends KubeObject {
  spec?: PodSpec
  status?: PodStatus
}

export interface ContainerImage {
  names?: string[]
  sizeBytes?: number
}
export interface NodeSpec {
  unschedulable?: boolean
  taints?: Taint[]
  providerID?: string
  podCIDR?: string
}
export interface NodeStatus {
  capacity?: Quantities
  allocatable?: Quantities
  conditions?: Condition[]
  images?: ContainerImage[]
  addresses?: { type?: string; address?: string }[]
  nodeInfo?: Record<string, string>
  declaredFeatures?: string[]
}
export interface NodeObject extends KubeObject {
  spec?: NodeSpec
  status?: NodeStatus
}

export interface PersistentVolumeObject extends KubeObject {
  spec?: {
    capacity?: Quantities
    accessModes?: string[]
    volumeMode?: string
    storageClassName?: string
    volumeAttributesClassName?: string
    claimRef?: { namespace?: string; name?: string; uid?: string }
    nodeAffinity?: { required?: { nodeSelectorTerms?: NodeSelectorTerm[] } }
    csi?: { driver?: string; volumeHandle?: string }
    gcePersistentDisk?: { pdName?: string }
    awsElasticBlockStore?: { volumeID?: string }
    azureDisk?: { diskName?: string; diskURI?: string }
    cinder?: { volumeID?: string }
    portworxVolume?: { volumeID?: string }
  }
  status?: { phase?: string }
}
export interface PersistentVolumeClaimObject extends KubeObject {
  spec?: {
    accessModes?: string[]
    resources?: ResourceRequirements
    selector?: LabelSelector
    storageClassName?: string
    volumeAttributesClassName?: string
    volumeMode?: string
    volumeName?: string
  }
  status?: { phase?: string }
}
export interface TopologySelectorTerm {
  matchLabelExpressions?: { key?: string; values?: string[] }[]
}
export interface StorageClassObject extends KubeObject {
  provisioner?: string
  volumeBindingMode?: string
  allowedTopologies?: TopologySelectorTerm[]
}
export interface CSINodeObject extends KubeObject {
  spec?: { drivers?: { name?: string; allocatable?: { count?: number } }[] }
}
export interface CSIDriverObject extends KubeObject {
  spec?: { storageCapacity?: boolean; preventPodSchedulingIfMissing?: boolean }
}
export interface VolumeAttachmentObject extends KubeObject {
  spec?: { attacher?: string; nodeName?: string; source?: { persistentVolumeName?: string } }
}
export interface CSIStorageCapacityObject extends KubeObject {
  storageClassName?: string
  nodeTopology?: LabelSelector
  capacity?: string | number
  maximumVolumeSize?: string | number
}

/** What of a Service, ReplicaSet, StatefulSet or ReplicationController says which pods are its own. */
export interface SelectingObject extends KubeObject {
  spec?: { selector?: LabelSelector | Record<string, string> | null }
}

export interface PodDisruptionBudgetObject extends KubeObject {
  spec?: { selector?: LabelSelector }
  status?: { disruptionsAllowed?: number; disruptedPods?: Record<string, string> }
}
