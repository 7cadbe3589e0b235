import { messageOf, StowageError } from '../errors/catalogue.ts'
import { gangOf } from './gangs.ts'
import { devicesIn, GPU_DEVICES_ANNOTATION, gpuRequestIn, isUnsharable, modelsOf } from './gpu-request.ts'
import { Interned } from './interned.ts'
import type {
  Container,
  ContainerStatus,
  ObjectMeta,
  PodAffinityTermObject,
  PodObject,
  PodSpec,
  Quantities,
} from './objects.ts'
import type {
  HostPort,
  Labels,
  Pod,
  PodAffinityTerm,
  PodPhase,
  PodShape,
  PreferredPodTerm,
  TopologySpreadConstraint,
} from './pod.ts'
import { podSelectorIn, stringsIn } from './pod-selector.ts'
import { quantityEntries, quantityMilli, resourceAmount } from './quantity.ts'
import { podVolumesOf } from './read-volumes.ts'
import { type ResourceIndex, type ResourceNames, type ResourceVector, vectorOf } from './resources.ts'
import { NO_VOLUMES, type PodVolumes } from './volumes.ts'
import { objectsIn, termIn, textOf } from './wire.ts'

/** kube-scheduler's stand-ins for a container without the request, when nodes are scored. */
const DEFAULT_SCORING_CPU_MILLI = 100
const DEFAULT_SCORING_MEMORY_BYTES = 200 * 1024 * 1024

/** Sums by resource, in thousandths of the unit: quantities are added exactly and rounded up once. */
type MilliSums = Map<string, number>

const add = (into: MilliSums, from: MilliSums): void => {
  for (const [name, milli] of from) into.set(name, (into.get(name) ?? 0) + milli)
}
const raise = (into: MilliSums, from: MilliSums): void => {
  for (const [name, milli] of from) into.set(name, Math.max(into.get(name) ?? 0, milli))
}
const milliOf = (quantities: Quantities | undefined): MilliSums => {
  const sums: MilliSums = new Map()
  for (const [name, quantity] of quantityEntries(quantities)) sums.set(name, quantityMilli(quantity))
  return sums
}

/** Resources whose pod-level value replaces the containers' sum. */
const isPodLevel = (name: string): boolean => name === 'cpu' || name === 'memory' || name.startsWith('hugepages-')

/** Requests of one container, by container: the spec's, or what a status says instead. */
type RequestsOf = (container: Container) => Quantities | undefined

/** What the spec asks for. */
const asked: RequestsOf = (container) => container.resources?.requests

/**
 * What a pod's containers take together: containers and sidecars (restartable init containers) add up; each ordinary init
 * container, with the sidecars before it, is a maximum.
 * @param defaults requests assumed for containers that lack the key
 */
const containerTotals = (spec: PodSpec, requestsOf: RequestsOf, defaults?: ReadonlyMap<string, number>): MilliSums => {
  const requests = (container: Container): MilliSums => {
    const own = milliOf(requestsOf(container))
    if (defaults !== undefined) for (const [name, milli] of defaults) if (!own.has(name)) own.set(name, milli)
    return own
  }
  const total: MilliSums = new Map()
  for (const container of spec.containers ?? []) add(total, requests(container))
  const sidecars: MilliSums = new Map()
  const initPeak: MilliSums = new Map()
  for (const container of spec.initContainers ?? []) {
    const own = requests(container)
    if (container.restartPolicy === 'Always') {
      add(total, own)
      add(sidecars, own)
      raise(initPeak, sidecars)
    } else {
      add(own, sidecars)
      raise(initPeak, own)
    }
  }
  raise(total, initPeak)
  return total
}

/** The pod request rules of Kubernetes: pod-level requests replace the containers' cpu, memory and huge pages; then overhead. */
const podTotals = (spec: PodSpec, ofContainers: MilliSums, podLevel: MilliSums): MilliSums => {
  const total = new Map(ofContainers)
  for (const [name, milli] of podLevel) if (isPodLevel(name)) total.set(name, milli)
  add(total, milliOf(spec.overhead))
  return total
}

/** Requests of cpu and memory that scores assume for containers without them. */
const SCORING_DEFAULTS: ReadonlyMap<string, number> = new Map([
  ['cpu', DEFAULT_SCORING_CPU_MILLI],
  ['memory', DEFAULT_SCORING_MEMORY_BYTES * 1000],
])

/** cpu and memory as scores count them. */
const scoringOf = (totals: MilliSums): { cpuMilli: number; memoryBytes: number } => ({
  cpuMilli: resourceAmount('cpu', totals.get('cpu') ?? 0),
  memoryBytes: resourceAmount('memory', totals.get('memory') ?? 0),
})

/** kube-scheduler normalises image names so: a name without tag or digest means `:latest`. */
const taggedImage = (image: string): string =>
  image.lastIndexOf(':') <= image.lastIndexOf('/') && !image.includes('@') ? `${image}:latest` : image

const hostPorts = (spec: PodSpec): HostPort[] => {
  const ports: HostPort[] = []
  const sidecars = (spec.initContainers ?? []).filter((container) => container.restartPolicy === 'Always')
  for (const container of [...(spec.containers ?? []), ...sidecars])
    for (const { hostPort, hostIP, protocol } of container.ports ?? [])
      if (typeof hostPort === 'number' && hostPort > 0)
        ports.push({ hostIp: hostIP || '0.0.0.0', protocol: protocol || 'TCP', port: hostPort })
  return ports
}

/** @throws TypeError */
const affinityTermIn = (term: PodAffinityTermObject, what: string): PodAffinityTerm => {
  const topologyKey = textOf(term.topologyKey)
  if (topologyKey === '') throw new TypeError(`${what} has a term without topologyKey`)
  return {
    topologyKey,
    selector: podSelectorIn(term.labelSelector, what),
    namespaces: stringsIn(term.namespaces, what),
    namespaceSelector: podSelectorIn(term.namespaceSelector, what),
    matchLabelKeys: stringsIn(term.matchLabelKeys, what),
    mismatchLabelKeys: stringsIn(term.mismatchLabelKeys, what),
  }
}

const requiredPodTerms = (spec: PodSpec, of: 'podAffinity' | 'podAntiAffinity'): PodAffinityTerm[] => {
  const what = `required ${of}`
  return objectsIn(spec.affinity?.[of]?.requiredDuringSchedulingIgnoredDuringExecution, what).map((term) =>
    affinityTermIn(term, what),
  )
}

const preferredPodTerms = (spec: PodSpec, of: 'podAffinity' | 'podAntiAffinity', sign: 1 | -1): PreferredPodTerm[] => {
  const what = `preferred ${of}`
  return objectsIn(spec.affinity?.[of]?.preferredDuringSchedulingIgnoredDuringExecution, what).map(
    ({ weight, podAffinityTerm }) => ({
      weight: sign * (typeof weight === 'number' ? weight : 0),
      term: affinityTermIn(podAffinityTerm ?? {}, what),
    }),
  )
}

/** A count from outside, at least 1. @throws TypeError */
const countIn = (value: unknown, what: string): number => {
  if (!Number.isSafeInteger(value) || (value as number) < 1) throw new TypeError(`${what} is no number from 1`)
  return value as number
}

const spreadConstraints = (spec: PodSpec): TopologySpreadConstraint[] => {
  const what = 'spec.topologySpreadConstraints'
  return objectsIn(spec.topologySpreadConstraints, what).map((constraint) => {
    const topologyKey = textOf(constraint.topologyKey)
    if (topologyKey === '') throw new TypeError(`${what} has an entry without topologyKey`)
    const { whenUnsatisfiable } = constraint
    if (whenUnsatisfiable !== 'DoNotSchedule' && whenUnsatisfiable !== 'ScheduleAnyway')
      throw new TypeError(`${what} has whenUnsatisfiable ${JSON.stringify(whenUnsatisfiable)}`)
    return {
      topologyKey,
      maxSkew: countIn(constraint.maxSkew, `${what}: maxSkew`),
      minDomains: countIn(constraint.minDomains ?? 1, `${what}: minDomains`),
      required: whenUnsatisfiable === 'DoNotSchedule',
      selector: podSelectorIn(constraint.labelSelector, what),
      matchLabelKeys: stringsIn(constraint.matchLabelKeys, what),
      honorsAffinity: constraint.nodeAffinityPolicy !== 'Ignore',
      honorsTaints: constraint.nodeTaintsPolicy === 'Honor',
    }
  })
}

/** Kinds of controllers whose selector says which pods belong together. */
const SELECTING_CONTROLLERS: ReadonlySet<string> = new Set([
  'v1/ReplicationController',
  'apps/v1/ReplicaSet',
  'apps/v1/StatefulSet',
])

const controllerOf = ({ ownerReferences }: ObjectMeta): string => {
  const { apiVersion, kind = '', name } = (ownerReferences ?? []).find((owner) => owner.controller) ?? {}
  return SELECTING_CONTROLLERS.has(`${apiVersion}/${kind}`) ? `${kind}/${name}` : ''
}

/** Parts of a spec that ask for a rule which this version does not have. */
const unsupportedParts = (spec: PodSpec, amounts: ReadonlyMap<string, number>): string[] => [
  ...((spec.resourceClaims ?? []).length > 0 ? ['resource claims (DRA)'] : []),
  ...(isUnsharable(amounts)
    ? ['a share of several GPUs (ask for up to 1000 thousandths, or for a multiple of 1000)']
    : []),
]

/** Features that a node must declare before it may run such a pod, as NodeDeclaredFeatures infers them (v1.37). */
const requiredFeatures = (spec: PodSpec): string[] => {
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])]
  const features: string[] = []
  if (
    containers.some(({ restartPolicyRules }) =>
      objectsIn(restartPolicyRules, 'restartPolicyRules').some(({ action }) => action === 'RestartAllContainers'),
    )
  )
    features.push('RestartAllContainersOnContainerExits')
  if (spec.hostNetwork === true && spec.hostUsers === false) features.push('UserNamespacesHostNetworkSupport')
  if (
    containers.some(({ volumeMounts }) =>
      objectsIn(volumeMounts, 'volumeMounts').some(({ bindMountOptions }) => (bindMountOptions ?? []).length > 0),
    )
  )
    features.push('VolumeBindMountOptions')
  return features
}

/**
 * All that a shape is read from. Most pods are seen again and again, and share their shape with others: making this text
 * takes far less than reading the shape.
 */
const shapeText = (spec: PodSpec): string => {
  const { affinity, nodeSelector, overhead, schedulingGates, tolerations, topologySpreadConstraints } = spec
  const ofContainer = ({ image, ports, resources, restartPolicy }: Container): unknown[] => [
    image,
    ports,
    resources?.requests,
    restartPolicy,
  ]
  return JSON.stringify([
    (spec.containers ?? []).map(ofContainer),
    spec.initContainers?.map(ofContainer),
    spec.resources?.requests,
    overhead,
    affinity,
    nodeSelector,
    tolerations,
    topologySpreadConstraints,
    schedulingGates,
    spec.resourceClaims?.length,
    // Mounts have names of their own in each pod, so these are read.
    requiredFeatures(spec),
  ])
}

const KEPT_ANNOTATIONS =
  /^(?:stowage\.dev|agentaflow\.gpu)\/|^(?:cluster-autoscaler\.kubernetes\.io\/safe-to-evict|karpenter\.sh\/do-not-disrupt)$/

const PHASES: ReadonlySet<string> = new Set(['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'])

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1)

const sortedEntries = (record: Record<string, string> | undefined): [string, string][] =>
  Object.entries(record ?? {})
    .filter((entry): entry is [string, string] => typeof entry[1] === 'string')
    .sort(byName)

/** Labels (or annotations) as records without a prototype, shared between all that have the same. */
export class LabelTable {
  readonly #interned = new Interned<Labels>()
  readonly #none: Labels = Object.freeze(Object.create(null) as Record<string, string>)

  of(record: Record<string, string> | undefined, keep?: RegExp): Labels {
    if (record === undefined) return this.#none
    let entries = sortedEntries(record)
    if (keep !== undefined) entries = entries.filter(([key]) => keep.test(key))
    if (entries.length === 0) return this.#none
    return this.#interned.get(JSON.stringify(entries), () =>
      Object.freeze(Object.assign(Object.create(null) as Record<string, string>, Object.fromEntries(entries))),
    )
  }
}

/** Turns pods from the wire into the slim records of the scheduler. */
export class PodReader {
  readonly #resources: ResourceNames
  readonly #labels: LabelTable
  readonly #shapes = new Interned<PodShape>()
  /** the same shapes by what they were read from */
  readonly #readShapes = new Interned<PodShape>()
  readonly #volumeSets = new Interned<PodVolumes>()
  #nextShape = 1

  constructor(resources: ResourceNames, labels: LabelTable) {
    this.#resources = resources
    this.#labels = labels
  }

  /** @throws StowageError POD_MALFORMED naming the pod and what is wrong with it */
  read(object: PodObject): Pod {
    const metadata = object.metadata ?? {}
    const spec = object.spec ?? {}
    const status = object.status ?? {}
    const namespace = textOf(metadata.namespace)
    const name = textOf(metadata.name)
    const uid = textOf(metadata.uid)
    try {
      if (name === '' || uid === '') throw new TypeError('metadata.name or metadata.uid is missing')
      const shape = this.#shape(spec)
      const placed = spec.nodeName ? this.#placed(object, shape) : undefined
      const condition = (status.conditions ?? []).find(({ type }) => type === 'PodScheduled')
      return {
        uid,
        namespace,
        name,
        resourceVersion: metadata.resourceVersion ?? '',
        generation: metadata.generation ?? 0,
        schedulerName: spec.schedulerName ?? 'default-scheduler',
        priority: typeof spec.priority === 'number' ? spec.priority : 0,
        preemptionPolicy: spec.preemptionPolicy === 'Never' ? 'Never' : 'PreemptLowerPriority',
        labels: this.#labels.of(metadata.labels),
        annotations: this.#labels.of(metadata.annotations, KEPT_ANNOTATIONS),
        ownerUid: (metadata.ownerReferences ?? []).find(({ controller }) => controller)?.uid ?? '',
        controller: spec.nodeName ? '' : controllerOf(metadata),
        gang: gangOf(object),
        nodeName: spec.nodeName ?? '',
        nominatedNodeName: status.nominatedNodeName ?? '',
        phase: (PHASES.has(status.phase ?? '') ? status.phase : 'Pending') as PodPhase,
        deleting: metadata.deletionTimestamp !== undefined,
        createdAtMs: Date.parse(metadata.creationTimestamp ?? '') || 0,
        startedAtMs: Date.parse(status.startTime ?? '') || Number.POSITIVE_INFINITY,
        preempted: (status.conditions ?? []).some(
          ({ type, status: on, reason }) =>
            type === 'DisruptionTarget' && on === 'True' && reason === 'PreemptionByScheduler',
        ),
        shape,
        gpuDevices: spec.nodeName ? devicesIn(metadata.annotations?.[GPU_DEVICES_ANNOTATION], shape.gpu) : undefined,
        volumes: this.#volumes(name, spec),
        placedRequest: placed?.request ?? shape.request,
        placedScoringCpuMilli: placed?.scoringCpuMilli ?? shape.scoringCpuMilli,
        placedScoringMemoryBytes: placed?.scoringMemoryBytes ?? shape.scoringMemoryBytes,
        scheduledCondition:
          condition === undefined
            ? undefined
            : { status: condition.status ?? '', reason: condition.reason ?? '', message: condition.message ?? '' },
      }
    } catch (cause) {
      throw new StowageError(
        'POD_MALFORMED',
        { found: `pod ${namespace}/${name}: ${messageOf(cause)}`, todo: 'correct the pod and create it again' },
        { cause },
      )
    }
  }

  #volumes(podName: string, spec: PodSpec): PodVolumes {
    const volumes = podVolumesOf(podName, spec)
    return volumes === NO_VOLUMES ? volumes : this.#volumeSets.get(JSON.stringify(volumes), () => volumes)
  }

  #vector(sums: MilliSums): ResourceVector {
    const amounts = new Map<ResourceIndex, number>()
    for (const [name, milli] of sums) amounts.set(this.#resources.index(name), resourceAmount(name, milli))
    return vectorOf(amounts)
  }

  #shape(spec: PodSpec): PodShape {
    return this.#readShapes.get(shapeText(spec), () => this.#readShape(spec))
  }

  #readShape(spec: PodSpec): PodShape {
    const nodeAffinity = spec.affinity?.nodeAffinity
    const required = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
    const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])]
    const ofContainers = containerTotals(spec, asked)
    const request = [...podTotals(spec, ofContainers, milliOf(spec.resources?.requests))].sort(byName)
    const amounts = new Map(request.map(([name, milli]) => [name, resourceAmount(name, milli)]))
    const parts = {
      request,
      // kube-scheduler's quirk: pod-level requests of the pod that is being scored do not count here.
      scoring: scoringOf(podTotals(spec, containerTotals(spec, asked, SCORING_DEFAULTS), new Map())),
      nodeSelector: sortedEntries(spec.nodeSelector),
      requiredTerms: required
        ? objectsIn(required.nodeSelectorTerms, 'required node affinity').map((term) =>
            termIn(term, 'required node affinity'),
          )
        : undefined,
      preferredTerms: objectsIn(
        nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution,
        'preferred node affinity',
      ).map(({ weight, preference }) => ({
        weight: typeof weight === 'number' ? weight : 0,
        preference: termIn(preference ?? {}, 'preferred node affinity'),
      })),
      podAffinity: requiredPodTerms(spec, 'podAffinity'),
      podAntiAffinity: requiredPodTerms(spec, 'podAntiAffinity'),
      preferredPodTerms: [
        ...preferredPodTerms(spec, 'podAffinity', 1),
        ...preferredPodTerms(spec, 'podAntiAffinity', -1),
      ],
      spread: spreadConstraints(spec),
      tolerations: objectsIn(spec.tolerations, 'spec.tolerations'),
      hostPorts: hostPorts(spec),
      images: containers.flatMap(({ image }) => (image ? [taggedImage(image)] : [])),
      schedulingGates: (spec.schedulingGates ?? []).map((gate) => gate.name ?? ''),
      requiredFeatures: requiredFeatures(spec),
      unsupported: unsupportedParts(spec, amounts),
    }
    return this.#shapes.get(JSON.stringify(parts), () => ({
      ...parts,
      id: this.#nextShape++,
      request: this.#vector(new Map(parts.request)),
      gpu: gpuRequestIn(amounts, modelsOf(spec.nodeSelector ?? {}, parts.requiredTerms)),
      scoringCpuMilli: parts.scoring.cpuMilli,
      scoringMemoryBytes: parts.scoring.memoryBytes,
      nodeSelector: this.#labels.of(spec.nodeSelector),
    }))
  }

  /**
   * What a placed pod takes while it is resized in place: per resource the most of what its spec asks, what its node has
   * allocated, and what it runs with. A resize that its node has called infeasible does not count, so that such a pod takes
   * only what its node reports of it. Where the node reports the whole pod, its containers' reports do not count.
   */
  #placed(
    object: PodObject,
    shape: PodShape,
  ): { request: ResourceVector; scoringCpuMilli: number; scoringMemoryBytes: number } {
    const { spec = {}, status = {} } = object
    const statuses = new Map<string, ContainerStatus>()
    for (const one of [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])])
      statuses.set(one.name ?? '', one)
    const infeasible =
      (status.conditions ?? []).find(({ type }) => type === 'PodResizePending')?.reason === 'Infeasible'
    const reported =
      status.allocatedResources !== undefined ||
      status.resources !== undefined ||
      [...statuses.values()].some(
        (one) => one.allocatedResources !== undefined || one.resources?.requests !== undefined,
      )
    if (!reported && !infeasible && spec.resources?.requests === undefined)
      return {
        request: shape.request,
        scoringCpuMilli: shape.scoringCpuMilli,
        scoringMemoryBytes: shape.scoringMemoryBytes,
      }

    const unreported: RequestsOf = infeasible ? () => undefined : asked
    const allocated: RequestsOf = (container) =>
      statuses.get(container.name ?? '')?.allocatedResources ?? unreported(container)
    const actual: RequestsOf = (container) =>
      statuses.get(container.name ?? '')?.resources?.requests ?? allocated(container)
    const ofPod =
      status.allocatedResources === undefined || status.resources?.requests === undefined
        ? undefined
        : [status.allocatedResources, status.resources.requests].map(milliOf)
    const podLevel = milliOf(infeasible && status.resources !== undefined ? undefined : spec.resources?.requests)
    if (hasPodLevel(spec) && status.resources !== undefined) {
      raise(podLevel, milliOf(status.resources.requests))
      raise(podLevel, milliOf(status.allocatedResources))
    }
    const totals = (defaults?: ReadonlyMap<string, number>): MilliSums => {
      const most: MilliSums = infeasible ? new Map() : containerTotals(spec, asked, defaults)
      for (const sums of ofPod ?? [containerTotals(spec, allocated, defaults), containerTotals(spec, actual, defaults)])
        raise(most, sums)
      return podTotals(spec, most, hasPodLevel(spec) ? podLevel : new Map())
    }
    const most = totals()
    // With pod-level requests the defaults stand in only for a key that the whole pod lacks.
    const defaults = new Map([...SCORING_DEFAULTS].filter(([name]) => !hasPodLevel(spec) || !most.has(name)))
    const scoring = scoringOf(totals(defaults))
    const request = this.#vector(most)
    return {
      request: sameVector(request, shape.request) ? shape.request : request,
      scoringCpuMilli: scoring.cpuMilli,
      scoringMemoryBytes: scoring.memoryBytes,
    }
  }
}

/** The pod as a whole asks for something that replaces what its containers ask for. */
const hasPodLevel = ({ resources }: PodSpec): boolean => Object.keys(resources?.requests ?? {}).some(isPodLevel)

/** Equal resources and amounts. */
export const sameVector = (a: ResourceVector, b: ResourceVector): boolean =>
  a === b ||
  (a.indexes.length === b.indexes.length &&
    a.indexes.every((index, i) => index === b.indexes[i] && a.amounts[i] === b.amounts[i]))
