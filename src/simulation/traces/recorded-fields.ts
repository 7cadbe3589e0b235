import type { KubeObject } from '../../cluster/objects.ts'
import { noMask, type Mask } from './mask.ts'

// What a trace may hold of each kind of object: this list is all of it. Environment, commands, secrets, config maps, probes,
// addresses and whatever else no rule of scheduling reads cannot get into a file, because they are not here.

type Leaf =
  /** a number, a truth, or a text that means the same in every cluster */
  | 'plain'
  /** a word that somebody chose */
  | 'name'
  /** the key of a label or topology */
  | 'key'
  | 'image'
  /** key -> value */
  | 'labels'
  /** key -> value, only keys that are read */
  | 'annotations'
  /** resource -> quantity */
  | 'resources'
  /** `[{key, operator, values}]` about labels */
  | 'requirements'
  /** taints and tolerations */
  | 'taint'

type Field = Leaf | readonly [Field] | { readonly [name: string]: Field }

/** Read by the scheduler: see KEPT_ANNOTATIONS in cluster/read-pod.ts, cluster/gangs.ts and cluster/volumes.ts. */
const ANNOTATION =
  /^((stowage\.dev|agentaflow\.gpu)\/|cluster-autoscaler\.kubernetes\.io\/safe-to-evict$|karpenter\.sh\/do-not-disrupt$|scheduling\.(k8s\.io|volcano\.sh)\/group-name$|volume\.(beta\.)?kubernetes\.io\/(storage-class|selected-node)$|pv\.kubernetes\.io\/(bound-by-controller|bind-completed)$|storage\.alpha\.kubernetes\.io\/migrated-plugins$)/

const metadata: Field = {
  name: 'name',
  namespace: 'name',
  uid: 'name',
  creationTimestamp: 'plain',
  labels: 'labels',
  annotations: 'annotations',
  ownerReferences: [{ apiVersion: 'plain', kind: 'plain', name: 'name', uid: 'name', controller: 'plain' }],
}
const selector: Field = { matchLabels: 'labels', matchExpressions: 'requirements' }
const nodeTerm: Field = {
  matchExpressions: 'requirements',
  matchFields: [{ key: 'plain', operator: 'plain', values: ['name'] }],
}
const podTerm: Field = {
  topologyKey: 'key',
  labelSelector: selector,
  namespaces: ['name'],
  namespaceSelector: selector,
  matchLabelKeys: ['key'],
  mismatchLabelKeys: ['key'],
}
const podAffinity: Field = {
  requiredDuringSchedulingIgnoredDuringExecution: [podTerm],
  preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 'plain', podAffinityTerm: podTerm }],
}
const requirements: Field = { requests: 'resources', limits: 'resources' }
const container: Field = {
  name: 'name',
  image: 'image',
  resources: requirements,
  ports: [{ containerPort: 'plain', hostPort: 'plain', hostIP: 'plain', protocol: 'plain' }],
  restartPolicy: 'plain',
  restartPolicyRules: [{ action: 'plain' }],
  volumeMounts: [{ bindMountOptions: ['plain'] }],
}
const disks: { readonly [name: string]: Field } = {
  gcePersistentDisk: { pdName: 'name', readOnly: 'plain' },
  awsElasticBlockStore: { volumeID: 'name' },
  azureDisk: { diskName: 'name', diskURI: 'name' },
  cinder: { volumeID: 'name' },
  portworxVolume: { volumeID: 'name' },
}
const claimSpec: Field = {
  accessModes: ['plain'],
  resources: requirements,
  selector,
  storageClassName: 'name',
  volumeAttributesClassName: 'name',
  volumeMode: 'plain',
  volumeName: 'name',
}

const pod: Field = {
  metadata,
  spec: {
    nodeName: 'name',
    schedulerName: 'plain',
    priority: 'plain',
    priorityClassName: 'name',
    preemptionPolicy: 'plain',
    restartPolicy: 'plain',
    terminationGracePeriodSeconds: 'plain',
    nodeSelector: 'labels',
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [nodeTerm] },
        preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 'plain', preference: nodeTerm }],
      },
      podAffinity,
      podAntiAffinity: podAffinity,
    },
    tolerations: ['taint'],
    topologySpreadConstraints: [
      {
        topologyKey: 'key',
        maxSkew: 'plain',
        minDomains: 'plain',
        whenUnsatisfiable: 'plain',
        labelSelector: selector,
        matchLabelKeys: ['key'],
        nodeAffinityPolicy: 'plain',
        nodeTaintsPolicy: 'plain',
      },
    ],
    containers: [container],
    initContainers: [container],
    overhead: 'resources',
    resources: requirements,
    schedulingGates: [{ name: 'name' }],
    volumes: [
      {
        name: 'name',
        persistentVolumeClaim: { claimName: 'name', readOnly: 'plain' },
        ephemeral: {},
        iscsi: { iqn: 'name', readOnly: 'plain' },
        rbd: { monitors: ['name'], pool: 'name', image: 'name', readOnly: 'plain' },
        csi: { driver: 'plain' },
        ...disks,
      },
    ],
    hostNetwork: 'plain',
    hostUsers: 'plain',
    resourceClaims: [{ name: 'name' }],
    schedulingGroup: { podGroupName: 'name' },
  },
}

/** Every kind that a trace may hold, and what of it. */
const KINDS = {
  Pod: pod,
  Node: {
    metadata,
    spec: { unschedulable: 'plain', taints: ['taint'] },
    status: {
      allocatable: 'resources',
      conditions: [{ type: 'plain', status: 'plain' }],
      images: [{ names: ['image'], sizeBytes: 'plain' }],
      declaredFeatures: ['plain'],
    },
  },
  Namespace: { metadata },
  PriorityClass: { metadata, value: 'plain', globalDefault: 'plain', preemptionPolicy: 'plain' },
  PodDisruptionBudget: {
    metadata,
    spec: { selector, minAvailable: 'plain', maxUnavailable: 'plain' },
    status: { disruptionsAllowed: 'plain' },
  },
  PersistentVolumeClaim: { metadata, spec: claimSpec, status: { phase: 'plain' } },
  PersistentVolume: {
    metadata,
    spec: {
      capacity: 'resources',
      accessModes: ['plain'],
      volumeMode: 'plain',
      storageClassName: 'name',
      volumeAttributesClassName: 'name',
      claimRef: { namespace: 'name', name: 'name', uid: 'name' },
      nodeAffinity: { required: { nodeSelectorTerms: [nodeTerm] } },
      csi: { driver: 'plain', volumeHandle: 'name' },
      ...disks,
    },
    status: { phase: 'plain' },
  },
  StorageClass: {
    metadata,
    provisioner: 'plain',
    volumeBindingMode: 'plain',
    allowedTopologies: [{ matchLabelExpressions: 'requirements' }],
  },
  CSINode: { metadata, spec: { drivers: [{ name: 'plain', allocatable: { count: 'plain' } }] } },
  CSIDriver: { metadata, spec: { storageCapacity: 'plain', preventPodSchedulingIfMissing: 'plain' } },
  VolumeAttachment: {
    metadata,
    spec: { attacher: 'plain', nodeName: 'name', source: { persistentVolumeName: 'name' } },
  },
  CSIStorageCapacity: {
    metadata,
    storageClassName: 'name',
    nodeTopology: selector,
    capacity: 'plain',
    maximumVolumeSize: 'plain',
  },
  Service: { metadata, spec: { selector: 'labels' } },
  ReplicationController: { metadata, spec: { selector: 'labels' } },
  ReplicaSet: { metadata, spec: { selector } },
  StatefulSet: { metadata, spec: { selector } },
  PodGroup: {
    metadata,
    spec: {
      schedulingPolicy: { basic: {}, gang: { minCount: 'plain' } },
      minMember: 'plain',
      scheduleTimeoutSeconds: 'plain',
      disruptionMode: { single: {}, all: {} },
    },
  },
} as const satisfies Readonly<Record<string, Field>>

/** A kind of object that a trace may hold. */
export type RecordedKind = keyof typeof KINDS
export const recordedKinds = Object.keys(KINDS) as RecordedKind[]

type Fields = Readonly<Record<string, unknown>>
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isPrimitive = (value: unknown): value is string | number | boolean =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'

const words = (value: unknown, masked: (text: string) => string): unknown =>
  typeof value === 'string' ? masked(value) : isPrimitive(value) ? value : undefined

/** Entries whose values are primitives; `fromEntries` makes own properties of whatever the keys are. */
const entries = (
  value: unknown,
  masked: (key: string, value: string | number | boolean) => [string, unknown],
): unknown =>
  isFields(value)
    ? Object.fromEntries(Object.entries(value).flatMap(([key, of]) => (isPrimitive(of) ? [masked(key, of)] : [])))
    : undefined

const underKey = (mask: Mask, key: string, value: unknown): unknown => words(value, (text) => mask.value(key, text))

const requirement = (value: unknown, mask: Mask): unknown => {
  if (!isFields(value)) return undefined
  const { key, operator, values } = value
  const of = typeof key === 'string' ? key : ''
  return {
    key: mask.key(of),
    ...(isPrimitive(operator) ? { operator } : {}),
    ...(Array.isArray(values) ? { values: values.map((one) => underKey(mask, of, one)) } : {}),
  }
}

const taint = (value: unknown, mask: Mask): unknown => {
  if (!isFields(value)) return undefined
  const { key, value: of, ...rest } = value
  return {
    ...(typeof key === 'string' ? { key: key === '' ? '' : mask.key(key) } : {}),
    ...(isPrimitive(of) ? { value: underKey(mask, typeof key === 'string' ? key : '', of) } : {}),
    ...Object.fromEntries(
      ['operator', 'effect', 'tolerationSeconds'].flatMap((name) =>
        isPrimitive(rest[name]) ? [[name, rest[name]]] : [],
      ),
    ),
  }
}

const LEAVES: Readonly<Record<Leaf, (value: unknown, mask: Mask) => unknown>> = {
  plain: (value) => (isPrimitive(value) ? value : undefined),
  name: (value, mask) => words(value, (text) => mask.name(text)),
  key: (value, mask) => words(value, (text) => mask.key(text)),
  image: (value, mask) => words(value, (text) => mask.image(text)),
  labels: (value, mask) => entries(value, (key, of) => [mask.key(key), underKey(mask, key, of)]),
  annotations: (value, mask) =>
    isFields(value)
      ? entries(Object.fromEntries(Object.entries(value).filter(([key]) => ANNOTATION.test(key))), (key, of) => [
          key,
          underKey(mask, key, of),
        ])
      : undefined,
  resources: (value, mask) => entries(value, (name, quantity) => [mask.resource(name), quantity]),
  requirements: (value, mask) => (Array.isArray(value) ? value.map((one) => requirement(one, mask)) : undefined),
  taint,
}

const kept = (value: unknown, field: Field, mask: Mask): unknown => {
  if (typeof field === 'string') return LEAVES[field](value, mask)
  if (Array.isArray(field)) {
    const [of] = field as readonly [Field]
    return Array.isArray(value)
      ? value.flatMap((one: unknown) => {
          const part = kept(one, of, mask)
          return part === undefined ? [] : [part]
        })
      : undefined
  }
  if (!isFields(value)) return undefined
  const parts: Record<string, unknown> = {}
  for (const [name, of] of Object.entries(field)) {
    const part = Object.hasOwn(value, name) ? kept(value[name], of, mask) : undefined
    if (part !== undefined) parts[name] = part
  }
  return parts
}

/**
 * Of an object from outside, what a trace of it holds: known fields with values of the right kind. Whatever the object is,
 * the result is safe to use.
 * @param mask @default noMask
 */
export const recordedParts = (kind: RecordedKind, object: unknown, mask: Mask = noMask): KubeObject =>
  kept(object, KINDS[kind], mask) ?? {}
