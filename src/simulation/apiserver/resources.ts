import * as defaults from './defaults.ts'
import { eventDefaults, fromEventsV1, toEventsV1 } from './event-forms.ts'
import type { ApiObject, Json } from './json.ts'
import { type TypeNode, schemaNameOf, typeOf } from './schema.ts'
import type { FieldErrors } from './validation/field-errors.ts'
import * as kinds from './validation/kinds.ts'
import type { NameRule } from './validation/metadata.ts'
import { checkDefinition, checkDefinitionUpdate } from './validation/definition.ts'
import { checkPodStatusUpdate, checkPodUpdate } from './validation/pod.ts'

const allVerbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'] as const
type Verb = (typeof allVerbs)[number]

/** A column of `kubectl get` as a CustomResourceDefinition describes it. */
export interface PrinterColumn {
  readonly name: string
  readonly type: string
  readonly jsonPath: string
  readonly format?: string
  readonly description?: string
  readonly priority?: number
}

/** What only resources have that a CustomResourceDefinition defines. */
export interface Custom {
  /** of the version, in OpenAPI */
  readonly schema: Json
  readonly printerColumns: readonly PrinterColumn[]
}

/** All that the server knows about a resource. */
export interface Resource {
  readonly group: string
  readonly version: string
  readonly kind: string
  /** the kind of a list of them */
  readonly listKind: string
  readonly plural: string
  readonly singular: string
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly namespaced: boolean
  readonly verbs: readonly Verb[]
  /** has a status that only the status subresource writes */
  readonly hasStatus: boolean
  readonly nameRule: NameRule
  /** fields beside metadata.name and metadata.namespace that a field selector may name, with their paths in stored objects */
  readonly selectableFields: ReadonlyMap<string, string>
  /** metadata.generation counts changes of spec */
  readonly generation: boolean
  /** may be updated without saying which resourceVersion is meant */
  readonly unconditionalUpdate: boolean
  /** a delete answers with the object instead of with a Status */
  readonly returnsDeleted: boolean
  /** pods are deleted in two steps, so that their kubelets can end them */
  readonly graceful: boolean
  /** the collection that holds its objects: `pods`, `leases.coordination.k8s.io` */
  readonly storedIn: string
  readonly schemaName: string
  /** the kind's fields; read the schema only when they are needed */
  readonly type: TypeNode
  /** fills in a new object, in place */
  readonly defaults: (object: ApiObject, now: string) => void
  /** fills in what an update leaves out, in place */
  readonly updateDefaults: (object: ApiObject, old: ApiObject) => void
  readonly validate: (object: ApiObject, errors: FieldErrors) => void
  readonly validateUpdate: (object: ApiObject, old: ApiObject, errors: FieldErrors) => void
  /** completes a status that a client has written, in place, and complains about it */
  readonly updateStatus: (object: ApiObject, old: ApiObject, errors: FieldErrors) => void
  /** from the form on the wire to the stored one and back, where they differ */
  readonly fromWire: ((object: ApiObject) => ApiObject) | undefined
  readonly toWire: ((object: ApiObject) => ApiObject) | undefined
  /** undefined: it is built in */
  readonly custom: Custom | undefined
  /** What is created is a question, answered with this status and kept nowhere. */
  readonly answer: Json | undefined
}

type Row = Pick<Resource, 'group' | 'kind' | 'plural'> & Partial<Resource> & { clusterWide?: boolean }

const nothing = (): void => undefined

export const apiVersionOf = ({ group, version }: Pick<Resource, 'group' | 'version'>): string =>
  group === '' ? version : `${group}/${version}`

/** `pods`, `leases.coordination.k8s.io` */
export const collectionOf = ({ group, plural }: Pick<Resource, 'group' | 'plural'>): string =>
  group === '' ? plural : `${plural}.${group}`

/** A resource with what a row leaves out. */
export const resource = (row: Row): Resource => {
  const version = row.version ?? 'v1'
  let type: TypeNode | undefined
  const schemaName = row.schemaName ?? schemaNameOf(row.group, version, row.kind)
  return {
    version,
    listKind: `${row.kind}List`,
    singular: row.kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced: row.clusterWide !== true,
    verbs: allVerbs,
    hasStatus: false,
    nameRule: 'subdomain',
    selectableFields: new Map(),
    generation: false,
    unconditionalUpdate: true,
    returnsDeleted: false,
    graceful: false,
    storedIn: collectionOf(row),
    schemaName,
    get type() {
      type ??= typeOf(schemaName)
      return type
    },
    defaults: nothing,
    updateDefaults: nothing,
    validate: nothing,
    validateUpdate: nothing,
    updateStatus: nothing,
    fromWire: undefined,
    toWire: undefined,
    custom: undefined,
    answer: undefined,
    ...row,
  }
}

const fields = (...names: string[]): ReadonlyMap<string, string> => new Map(names.map((name) => [name, name]))

const all = ['all']
const eventFields = fields(
  'involvedObject.kind',
  'involvedObject.namespace',
  'involvedObject.name',
  'involvedObject.uid',
  'involvedObject.apiVersion',
  'involvedObject.resourceVersion',
  'involvedObject.fieldPath',
  'reason',
  'reportingComponent',
  'source',
  'type',
)
/** The same under the names of events.k8s.io. */
const newEventFields = new Map([
  ...['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'].map(
    (field) => [`regarding.${field}`, `involvedObject.${field}`] as const,
  ),
  ['reportingController', 'reportingComponent'] as const,
  ['reason', 'reason'] as const,
  ['type', 'type'] as const,
])
const workload = {
  group: 'apps',
  categories: all,
  hasStatus: true,
  generation: true,
  defaults: defaults.workloadDefaults,
  updateDefaults: defaults.workloadUpdateDefaults,
  validate: kinds.checkWorkload,
}

/** Who asks what they may do: whoever has the token may do everything. */
const question: Pick<Row, 'clusterWide' | 'verbs'> = { clusterWide: true, verbs: ['create'] }
const EVERYTHING = 'whoever has the token of this server may do everything'

/** Every resource that is built in. To add one, add its row. */
export const builtIn: readonly Resource[] = [
  resource({
    group: '',
    kind: 'Namespace',
    plural: 'namespaces',
    clusterWide: true,
    shortNames: ['ns'],
    hasStatus: true,
    nameRule: 'label',
    selectableFields: fields('status.phase'),
    verbs: allVerbs.filter((verb) => verb !== 'deletecollection'),
    defaults: defaults.namespaceDefaults,
  }),
  resource({
    group: '',
    kind: 'Node',
    plural: 'nodes',
    clusterWide: true,
    shortNames: ['no'],
    hasStatus: true,
    selectableFields: fields('spec.unschedulable'),
    defaults: defaults.nodeDefaults,
    validate: kinds.checkNode,
    validateUpdate: kinds.checkNodeUpdate,
  }),
  resource({
    group: '',
    kind: 'Pod',
    plural: 'pods',
    returnsDeleted: true,
    shortNames: ['po'],
    categories: all,
    hasStatus: true,
    generation: true,
    graceful: true,
    selectableFields: fields(
      'spec.nodeName',
      'spec.restartPolicy',
      'spec.schedulerName',
      'spec.serviceAccountName',
      'spec.hostNetwork',
      'status.phase',
      'status.podIP',
      'status.nominatedNodeName',
    ),
    defaults: defaults.podDefaults,
    updateDefaults: defaults.podUpdateDefaults,
    validate: kinds.checkPod,
    validateUpdate: checkPodUpdate,
    updateStatus: checkPodStatusUpdate,
  }),
  resource({
    group: '',
    kind: 'Event',
    plural: 'events',
    shortNames: ['ev'],
    selectableFields: eventFields,
    nameRule: 'any',
    defaults: eventDefaults,
    validate: (event, errors) => kinds.checkEvent(event, errors, false),
  }),
  resource({
    group: 'events.k8s.io',
    kind: 'Event',
    plural: 'events',
    storedIn: 'events',
    shortNames: ['ev'],
    selectableFields: newEventFields,
    fromWire: fromEventsV1,
    toWire: toEventsV1,
    validate: (event, errors) => kinds.checkEvent(event, errors, true),
  }),
  resource({
    group: '',
    kind: 'ConfigMap',
    plural: 'configmaps',
    shortNames: ['cm'],
    validate: kinds.checkConfigData,
    validateUpdate: kinds.checkConfigUpdate,
  }),
  resource({
    group: '',
    kind: 'Secret',
    plural: 'secrets',
    selectableFields: fields('type'),
    defaults: defaults.secretDefaults,
    updateDefaults: defaults.secretDefaults,
    validateUpdate: kinds.checkConfigUpdate,
  }),
  resource({
    group: '',
    kind: 'Service',
    plural: 'services',
    shortNames: ['svc'],
    categories: all,
    hasStatus: true,
    nameRule: 'label',
    defaults: defaults.serviceDefaults,
  }),
  resource({ group: '', kind: 'ServiceAccount', plural: 'serviceaccounts', returnsDeleted: true, shortNames: ['sa'] }),
  resource({ group: '', kind: 'Endpoints', plural: 'endpoints', singular: 'endpoints', shortNames: ['ep'] }),
  resource({
    group: '',
    kind: 'PersistentVolume',
    plural: 'persistentvolumes',
    returnsDeleted: true,
    clusterWide: true,
    shortNames: ['pv'],
    hasStatus: true,
    defaults: defaults.volumeDefaults,
  }),
  resource({
    group: '',
    kind: 'PersistentVolumeClaim',
    plural: 'persistentvolumeclaims',
    returnsDeleted: true,
    shortNames: ['pvc'],
    hasStatus: true,
    defaults: defaults.volumeDefaults,
  }),
  resource({
    group: '',
    kind: 'ReplicationController',
    plural: 'replicationcontrollers',
    shortNames: ['rc'],
    categories: all,
    hasStatus: true,
    generation: true,
  }),
  resource({
    group: 'coordination.k8s.io',
    kind: 'Lease',
    plural: 'leases',
    unconditionalUpdate: false,
    defaults: defaults.leaseDefaults,
    validate: kinds.checkLease,
  }),
  resource({
    group: 'scheduling.k8s.io',
    kind: 'PriorityClass',
    plural: 'priorityclasses',
    generation: true,
    clusterWide: true,
    shortNames: ['pc'],
    defaults: defaults.priorityClassDefaults,
    validate: kinds.checkPriorityClass,
    validateUpdate: kinds.checkPriorityClassUpdate,
  }),
  resource({
    group: 'storage.k8s.io',
    kind: 'StorageClass',
    plural: 'storageclasses',
    returnsDeleted: true,
    clusterWide: true,
    shortNames: ['sc'],
    defaults: defaults.storageClassDefaults,
  }),
  resource({ group: 'storage.k8s.io', kind: 'CSINode', plural: 'csinodes', returnsDeleted: true, clusterWide: true }),
  resource({
    group: 'storage.k8s.io',
    kind: 'CSIDriver',
    plural: 'csidrivers',
    returnsDeleted: true,
    clusterWide: true,
  }),
  resource({ group: 'storage.k8s.io', kind: 'CSIStorageCapacity', plural: 'csistoragecapacities' }),
  resource({
    group: 'storage.k8s.io',
    kind: 'VolumeAttachment',
    plural: 'volumeattachments',
    returnsDeleted: true,
    clusterWide: true,
    hasStatus: true,
  }),
  resource({
    group: 'policy',
    kind: 'PodDisruptionBudget',
    plural: 'poddisruptionbudgets',
    defaults: defaults.disruptionBudgetDefaults,
    unconditionalUpdate: false,
    shortNames: ['pdb'],
    hasStatus: true,
    generation: true,
    validate: kinds.checkDisruptionBudget,
  }),
  resource({ ...workload, kind: 'Deployment', plural: 'deployments', shortNames: ['deploy'] }),
  resource({ ...workload, kind: 'ReplicaSet', plural: 'replicasets', shortNames: ['rs'] }),
  resource({ ...workload, kind: 'StatefulSet', plural: 'statefulsets', shortNames: ['sts'] }),
  resource({
    ...workload,
    kind: 'DaemonSet',
    plural: 'daemonsets',
    shortNames: ['ds'],
    defaults: defaults.daemonSetDefaults,
  }),
  resource({
    group: 'resource.k8s.io',
    kind: 'DeviceClass',
    plural: 'deviceclasses',
    clusterWide: true,
    returnsDeleted: true,
  }),
  resource({
    group: 'resource.k8s.io',
    kind: 'ResourceSlice',
    plural: 'resourceslices',
    clusterWide: true,
    returnsDeleted: true,
  }),
  resource({
    group: 'resource.k8s.io',
    kind: 'ResourceClaim',
    plural: 'resourceclaims',
    returnsDeleted: true,
    hasStatus: true,
  }),
  resource({
    group: 'resource.k8s.io',
    kind: 'ResourceClaimTemplate',
    plural: 'resourceclaimtemplates',
    returnsDeleted: true,
  }),
  resource({
    group: 'resource.k8s.io',
    kind: 'DeviceTaintRule',
    plural: 'devicetaintrules',
    clusterWide: true,
    hasStatus: true,
  }),
  resource({
    group: 'apiextensions.k8s.io',
    kind: 'CustomResourceDefinition',
    plural: 'customresourcedefinitions',
    clusterWide: true,
    returnsDeleted: true,
    shortNames: ['crd', 'crds'],
    categories: ['api-extensions'],
    hasStatus: true,
    generation: true,
    unconditionalUpdate: false,
    defaults: (definition) => {
      delete definition['status']
      defaults.definitionDefaults(definition)
    },
    updateDefaults: defaults.definitionDefaults,
    validate: checkDefinition,
    validateUpdate: checkDefinitionUpdate,
  }),
  resource({
    ...question,
    group: 'authorization.k8s.io',
    kind: 'SelfSubjectAccessReview',
    plural: 'selfsubjectaccessreviews',
    answer: { allowed: true, reason: EVERYTHING },
  }),
  resource({
    ...question,
    group: 'authorization.k8s.io',
    kind: 'SelfSubjectRulesReview',
    plural: 'selfsubjectrulesreviews',
    answer: {
      resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
      nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
      incomplete: false,
    },
  }),
  resource({
    ...question,
    group: 'authentication.k8s.io',
    kind: 'SelfSubjectReview',
    plural: 'selfsubjectreviews',
    answer: { userInfo: { username: 'admin', groups: ['system:masters', 'system:authenticated'] } },
  }),
  resource({
    group: 'metrics.k8s.io',
    version: 'v1beta1',
    kind: 'NodeMetrics',
    plural: 'nodes',
    singular: '',
    clusterWide: true,
    verbs: ['get', 'list'],
  }),
  resource({
    group: 'metrics.k8s.io',
    version: 'v1beta1',
    kind: 'PodMetrics',
    plural: 'pods',
    singular: '',
    verbs: ['get', 'list'],
  }),
]

const byCollection = new Map(builtIn.map((row) => [collectionOf(row), row]))

/** @param name `pods`, `leases.coordination.k8s.io` @throws RangeError */
export const builtInNamed = (name: string): Resource => {
  const found = byCollection.get(name)
  if (found === undefined) throw new RangeError(`there is no built-in resource ${name}`)
  return found
}
