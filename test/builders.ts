import type {
  Container,
  ContainerPort,
  NodeObject,
  NodeSelectorTerm,
  PodObject,
  PodSpec,
  Quantities,
  SelectorRequirement,
  Toleration,
} from '../src/cluster/objects.ts'

/**
 * Kubernetes objects for tests, written the way one speaks of them:
 * `pod('a').cpu('500m').tolerates('gpu').object()`, `node('n1').cpu('4').label('zone', 'a').object()`.
 * What is not said is what the API server would have filled in, or absent.
 */

/** One requirement of a node selector term; `on` says whether it looks at labels or at fields. */
export interface Expression {
  readonly on: 'label' | 'field'
  readonly requirement: SelectorRequirement
}

const expressionsOn = (on: Expression['on'], key: string) => {
  const expression = (operator: string, values?: string[]): Expression => ({
    on,
    requirement: values === undefined ? { key, operator } : { key, operator, values },
  })
  return {
    in: (...values: string[]) => expression('In', values),
    notIn: (...values: string[]) => expression('NotIn', values),
    exists: () => expression('Exists'),
    isAbsent: () => expression('DoesNotExist'),
    greaterThan: (value: number | string) => expression('Gt', [String(value)]),
    lessThan: (value: number | string) => expression('Lt', [String(value)]),
  }
}

/** `label('zone').in('a', 'b')`, `label('gpu').exists()` */
export const label = (key: string) => expressionsOn('label', key)

/** `nodeName().in('n1')`: the field metadata.name */
export const nodeName = () => expressionsOn('field', 'metadata.name')

/** A node selector term: all of its expressions must hold. Without any it matches nothing. */
export const term = (...expressions: Expression[]): NodeSelectorTerm => {
  const built: NodeSelectorTerm = {}
  for (const { on, requirement } of expressions) {
    if (on === 'label') built.matchExpressions = [...(built.matchExpressions ?? []), requirement]
    else built.matchFields = [...(built.matchFields ?? []), requirement]
  }
  return built
}

/** Creation time of everything that does not say another. */
export const createdAt = '2026-01-01T00:00:00Z'

export class PodBuilder {
  readonly #pod: PodObject & { spec: PodSpec }
  /** the container that `cpu`, `memory`, `request`, `image` and `hostPort` speak of */
  readonly #container: Container = { name: 'main' }

  constructor(name: string) {
    this.#pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'default',
        uid: `uid-${name}`,
        resourceVersion: '1',
        generation: 1,
        creationTimestamp: createdAt,
      },
      spec: { schedulerName: 'default-scheduler', priority: 0, containers: [this.#container] },
      status: { phase: 'Pending' },
    }
  }

  get #meta() {
    return (this.#pod.metadata ??= {})
  }

  get #nodeAffinity() {
    const affinity = (this.#pod.spec.affinity ??= {})
    return (affinity.nodeAffinity ??= {})
  }

  namespace(namespace: string): this {
    this.#meta.namespace = namespace
    return this
  }

  uid(uid: string): this {
    this.#meta.uid = uid
    return this
  }

  resourceVersion(resourceVersion: string): this {
    this.#meta.resourceVersion = resourceVersion
    return this
  }

  createdAt(timestamp: string): this {
    this.#meta.creationTimestamp = timestamp
    return this
  }

  label(key: string, value: string): this {
    this.#meta.labels = { ...this.#meta.labels, [key]: value }
    return this
  }

  annotation(key: string, value: string): this {
    this.#meta.annotations = { ...this.#meta.annotations, [key]: value }
    return this
  }

  ownedBy(kind: string, name: string, uid = `uid-${name}`): this {
    this.#meta.ownerReferences = [{ apiVersion: 'apps/v1', kind, name, uid, controller: true }]
    return this
  }

  deleting(timestamp = createdAt): this {
    this.#meta.deletionTimestamp = timestamp
    return this
  }

  cpu(quantity: string | number): this {
    return this.request('cpu', quantity)
  }

  memory(quantity: string | number): this {
    return this.request('memory', quantity)
  }

  /** What the main container asks for. */
  request(resource: string, quantity: string | number): this {
    this.#container.resources = { requests: { ...this.#container.resources?.requests, [resource]: quantity } }
    return this
  }

  image(image: string): this {
    this.#container.image = image
    return this
  }

  hostPort(hostPort: number, options: { protocol?: string; hostIP?: string } = {}): this {
    const port: ContainerPort = { containerPort: hostPort, hostPort, protocol: 'TCP', ...options }
    this.#container.ports = [...(this.#container.ports ?? []), port]
    return this
  }

  /** A further container. */
  container(container: Container): this {
    this.#pod.spec.containers = [...(this.#pod.spec.containers ?? []), container]
    return this
  }

  /** An init container; with `restartPolicy: 'Always'` it is a sidecar. */
  initContainer(container: Container): this {
    this.#pod.spec.initContainers = [...(this.#pod.spec.initContainers ?? []), container]
    return this
  }

  overhead(quantities: Quantities): this {
    this.#pod.spec.overhead = quantities
    return this
  }

  /** Requests of the pod as a whole. */
  podLevelRequests(requests: Quantities): this {
    this.#pod.spec.resources = { requests }
    return this
  }

  nodeSelector(key: string, value: string): this {
    this.#pod.spec.nodeSelector = { ...this.#pod.spec.nodeSelector, [key]: value }
    return this
  }

  /** Required node affinity: one of `terms` must match. Called without any, it matches no node. */
  requiresNode(...terms: NodeSelectorTerm[]): this {
    this.#nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution = { nodeSelectorTerms: terms }
    return this
  }

  prefersNode(weight: number, preference: NodeSelectorTerm): this {
    const affinity = this.#nodeAffinity
    affinity.preferredDuringSchedulingIgnoredDuringExecution = [
      ...(affinity.preferredDuringSchedulingIgnoredDuringExecution ?? []),
      { weight, preference },
    ]
    return this
  }

  /** Tolerates every taint of that key, or exactly what `options` say. */
  tolerates(key: string, options: Omit<Toleration, 'key'> = { operator: 'Exists' }): this {
    return this.toleration({ key, ...options })
  }

  toleration(toleration: Toleration): this {
    this.#pod.spec.tolerations = [...(this.#pod.spec.tolerations ?? []), toleration]
    return this
  }

  gatedBy(...names: string[]): this {
    this.#pod.spec.schedulingGates = names.map((name) => ({ name }))
    return this
  }

  scheduler(schedulerName: string): this {
    this.#pod.spec.schedulerName = schedulerName
    return this
  }

  priority(priority: number): this {
    this.#pod.spec.priority = priority
    return this
  }

  neverPreempts(): this {
    this.#pod.spec.preemptionPolicy = 'Never'
    return this
  }

  /** Bound to that node. */
  on(node: string): this {
    this.#pod.spec.nodeName = node
    return this
  }

  nominatedTo(node: string): this {
    this.#pod.status = { ...this.#pod.status, nominatedNodeName: node }
    return this
  }

  phase(phase: string): this {
    this.#pod.status = { ...this.#pod.status, phase }
    return this
  }

  /** Any further part of the spec, as it is on the wire. */
  spec(part: PodSpec): this {
    Object.assign(this.#pod.spec, part)
    return this
  }

  /** A copy of its own, so that the builder may go on. */
  object(): PodObject {
    return structuredClone(this.#pod)
  }
}

export class NodeBuilder {
  readonly #node: NodeObject & { status: { allocatable: Quantities } }

  constructor(name: string) {
    this.#node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name,
        uid: `uid-${name}`,
        resourceVersion: '1',
        creationTimestamp: createdAt,
        labels: { 'kubernetes.io/hostname': name },
      },
      spec: {},
      status: {
        allocatable: { cpu: '4', memory: '16Gi', pods: '110' },
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    }
  }

  get #meta() {
    return (this.#node.metadata ??= {})
  }

  get #spec() {
    return (this.#node.spec ??= {})
  }

  resourceVersion(resourceVersion: string): this {
    this.#meta.resourceVersion = resourceVersion
    return this
  }

  label(key: string, value: string): this {
    this.#meta.labels = { ...this.#meta.labels, [key]: value }
    return this
  }

  zone(zone: string, region = 'here'): this {
    return this.label('topology.kubernetes.io/zone', zone).label('topology.kubernetes.io/region', region)
  }

  annotation(key: string, value: string): this {
    this.#meta.annotations = { ...this.#meta.annotations, [key]: value }
    return this
  }

  cpu(quantity: string | number): this {
    return this.allocatable('cpu', quantity)
  }

  memory(quantity: string | number): this {
    return this.allocatable('memory', quantity)
  }

  /** How many pods fit. */
  pods(count: number): this {
    return this.allocatable('pods', String(count))
  }

  allocatable(resource: string, quantity: string | number): this {
    this.#node.status.allocatable[resource] = quantity
    return this
  }

  taint(key: string, effect: string, value = ''): this {
    this.#spec.taints = [...(this.#spec.taints ?? []), { key, value, effect }]
    return this
  }

  cordoned(): this {
    this.#spec.unschedulable = true
    return this
  }

  notReady(): this {
    this.#node.status.conditions = [{ type: 'Ready', status: 'False' }]
    return this
  }

  image(sizeBytes: number, ...names: string[]): this {
    this.#node.status.images = [...(this.#node.status.images ?? []), { names, sizeBytes }]
    return this
  }

  /** A copy of its own, so that the builder may go on. */
  object(): NodeObject {
    return structuredClone({
      ...this.#node,
      status: { ...this.#node.status, capacity: this.#node.status.allocatable },
    })
  }
}

export const pod = (name: string): PodBuilder => new PodBuilder(name)
export const node = (name: string): NodeBuilder => new NodeBuilder(name)
