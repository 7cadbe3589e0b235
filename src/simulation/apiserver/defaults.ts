import { isDeepStrictEqual } from 'node:util'
import { type ApiObject, type Json, at, isJson, jsonAt, listAt, numberAt, textAt, textsAt } from './json.ts'

// What kube-apiserver fills in (core/v1/defaults.go and the DefaultTolerationSeconds admission plugin). Each works in place on
// an object that nobody else holds yet.

const fill = (target: Json, field: string, value: unknown): void => {
  if (target[field] === undefined || target[field] === '') target[field] = value
}

/** Limits stand in for requests that are not given. */
const requestsFromLimits = (holder: Json): void => {
  const resources = holder['resources']
  if (!isJson(resources)) return
  const limits = jsonAt(resources, 'limits')
  if (Object.keys(limits).length === 0) return
  const requests: Json = { ...jsonAt(resources, 'requests') }
  for (const [name, amount] of Object.entries(limits)) if (requests[name] === undefined) requests[name] = amount
  resources['requests'] = requests
}

const containerDefaults = (container: Json, hostNetwork: boolean): void => {
  container['resources'] ??= {}
  requestsFromLimits(container)
  fill(container, 'terminationMessagePath', '/dev/termination-log')
  fill(container, 'terminationMessagePolicy', 'File')
  const image = textAt(container, 'image')
  const tag = /:([^/:@]+)(@|$)/.exec(image)?.[1]
  fill(
    container,
    'imagePullPolicy',
    (tag === undefined && !image.includes('@')) || tag === 'latest' ? 'Always' : 'IfNotPresent',
  )
  for (const port of listAt(container, 'ports')) {
    fill(port, 'protocol', 'TCP')
    if (hostNetwork && port['hostPort'] === undefined) port['hostPort'] = port['containerPort']
  }
  for (const probe of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const settings = container[probe]
    if (!isJson(settings)) continue
    for (const [field, value] of [
      ['timeoutSeconds', 1],
      ['periodSeconds', 10],
      ['successThreshold', 1],
      ['failureThreshold', 3],
    ] as const)
      if (settings[field] === undefined || settings[field] === 0) settings[field] = value
    if (isJson(settings['httpGet'])) {
      fill(settings['httpGet'], 'path', '/')
      fill(settings['httpGet'], 'scheme', 'HTTP')
    }
  }
  for (const variable of listAt(container, 'env')) {
    const reference = at(variable, 'valueFrom', 'fieldRef')
    if (isJson(reference)) fill(reference, 'apiVersion', 'v1')
  }
}

/** The spec of a pod or of a pod's template. */
const podSpecDefaults = (spec: Json): void => {
  const hostNetwork = spec['hostNetwork'] === true
  fill(spec, 'restartPolicy', 'Always')
  spec['terminationGracePeriodSeconds'] ??= 30
  if ((numberAt(spec, 'terminationGracePeriodSeconds') ?? 0) < 0) spec['terminationGracePeriodSeconds'] = 1
  fill(spec, 'dnsPolicy', 'ClusterFirst')
  spec['securityContext'] ??= {}
  fill(spec, 'schedulerName', 'default-scheduler')
  for (const container of [...listAt(spec, 'initContainers'), ...listAt(spec, 'containers')])
    containerDefaults(container, hostNetwork)
  const account = textAt(spec, 'serviceAccountName') || textAt(spec, 'serviceAccount')
  if (account !== '') {
    spec['serviceAccountName'] = account
    spec['serviceAccount'] = account
  }
  for (const volume of listAt(spec, 'volumes')) {
    if (Object.keys(volume).length === 1) volume['emptyDir'] = {}
    for (const [source, mode] of [
      ['configMap', 420],
      ['secret', 420],
      ['downwardAPI', 420],
      ['projected', 420],
    ] as const) {
      const settings = volume[source]
      if (isJson(settings)) settings['defaultMode'] ??= mode
    }
    if (isJson(volume['hostPath'])) volume['hostPath']['type'] ??= ''
  }
  requestsFromLimits(spec)
}

/** @returns Guaranteed, Burstable or BestEffort (apis/core/helper/qos) */
const qosClass = (spec: Json): string => {
  const containers = [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')]
  let any = false
  let guaranteed = true
  const whole = isJson(spec['resources']) && Object.keys(jsonAt(spec, 'resources', 'requests')).length > 0
  for (const holder of whole ? [spec] : containers) {
    const requests = jsonAt(holder, 'resources', 'requests')
    const limits = jsonAt(holder, 'resources', 'limits')
    for (const name of ['cpu', 'memory']) {
      const request = requests[name]
      const limit = limits[name]
      if ((request !== undefined && request !== '0') || (limit !== undefined && limit !== '0')) any = true
      if (limit === undefined || limit === '0' || (request !== undefined && request !== limit)) guaranteed = false
    }
  }
  return !any ? 'BestEffort' : guaranteed && containers.length > 0 ? 'Guaranteed' : 'Burstable'
}

const tolerates = (tolerations: readonly Json[], key: string): boolean =>
  tolerations.some((toleration) => {
    const effect = textAt(toleration, 'effect')
    return (toleration['key'] === key || textAt(toleration, 'key') === '') && (effect === 'NoExecute' || effect === '')
  })

/** The DefaultTolerationSeconds admission plugin. */
const tolerateLostNodes = (spec: Json): void => {
  const tolerations = listAt(spec, 'tolerations')
  const missing = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'].filter(
    (key) => !tolerates(tolerations, key),
  )
  if (missing.length > 0)
    spec['tolerations'] = [
      ...tolerations,
      ...missing.map((key) => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 })),
    ]
}

/** What an update of a pod leaves out is what it has by default, or had. */
export const podUpdateDefaults = (pod: ApiObject, old: ApiObject): void => {
  const spec = jsonAt(pod, 'spec')
  if (spec === old['spec']) return
  pod['spec'] = spec
  podSpecDefaults(spec)
  spec['enableServiceLinks'] ??= true
  tolerateLostNodes(spec)
  const before = jsonAt(old, 'spec')
  for (const field of ['priority', 'preemptionPolicy']) if (before[field] !== undefined) spec[field] ??= before[field]
}

/** Selectors say what the pod's own labels were when it was created (core pod strategy, mutatePodAffinity and what is beside it). */
const mergeLabelKeys = (spec: Json, labels: Readonly<Record<string, string>>): void => {
  const affinities = [jsonAt(spec, 'affinity', 'podAffinity'), jsonAt(spec, 'affinity', 'podAntiAffinity')]
  const terms = affinities.flatMap((affinity) => [
    ...listAt(affinity, 'requiredDuringSchedulingIgnoredDuringExecution'),
    ...listAt(affinity, 'preferredDuringSchedulingIgnoredDuringExecution').map((one) => jsonAt(one, 'podAffinityTerm')),
  ])
  for (const term of [...terms, ...listAt(spec, 'topologySpreadConstraints')]) {
    const selector = term['labelSelector']
    if (!isJson(selector)) continue
    const added = (['matchLabelKeys', 'mismatchLabelKeys'] as const).flatMap((field) =>
      textsAt(term, field).flatMap((key) =>
        Object.hasOwn(labels, key)
          ? [{ key, operator: field === 'matchLabelKeys' ? 'In' : 'NotIn', values: [labels[key]] }]
          : [],
      ),
    )
    const present = listAt(selector, 'matchExpressions')
    // A pod that was read from a server and is created anew says so already.
    const missing = added.filter((one) => !present.some((other) => isDeepStrictEqual(other, one)))
    if (missing.length > 0) selector['matchExpressions'] = [...present, ...missing]
  }
}

/** A new pod: its spec's defaults, tolerations of 300 s for nodes that are lost, and the status it starts with. */
export const podDefaults = (pod: ApiObject, now: string): void => {
  const spec = jsonAt(pod, 'spec')
  pod['spec'] = spec
  podSpecDefaults(spec)
  mergeLabelKeys(spec, pod.metadata.labels ?? {})
  spec['enableServiceLinks'] ??= true
  tolerateLostNodes(spec)
  const gated = listAt(spec, 'schedulingGates').length > 0
  pod['status'] = {
    phase: 'Pending',
    ...(gated
      ? {
          conditions: [
            {
              type: 'PodScheduled',
              status: 'False',
              lastProbeTime: null,
              lastTransitionTime: now,
              reason: 'SchedulingGated',
              message: 'Scheduling is blocked due to non-empty scheduling gates',
            },
          ],
        }
      : {}),
    qosClass: qosClass(spec),
  }
}

/** Facts about a node that its kubelet fills in later. */
const nodeInfo = {
  machineID: '',
  systemUUID: '',
  bootID: '',
  kernelVersion: '',
  osImage: '',
  containerRuntimeVersion: '',
  kubeletVersion: '',
  kubeProxyVersion: '',
  operatingSystem: '',
  architecture: '',
}

export const nodeDefaults = (node: ApiObject): void => {
  node['spec'] = jsonAt(node, 'spec')
  const status = jsonAt(node, 'status')
  node['status'] = status
  status['daemonEndpoints'] ??= { kubeletEndpoint: { Port: 0 } }
  status['nodeInfo'] = { ...nodeInfo, ...jsonAt(status, 'nodeInfo') }
  // A node that says only what it has offers all of it.
  if (status['capacity'] !== undefined && status['allocatable'] === undefined)
    status['allocatable'] = status['capacity']
}

export const namespaceDefaults = (namespace: ApiObject): void => {
  namespace.metadata.labels = {
    ...namespace.metadata.labels,
    'kubernetes.io/metadata.name': namespace.metadata.name ?? '',
  }
  namespace['spec'] = { finalizers: ['kubernetes'] }
  namespace['status'] = { phase: 'Active' }
}

export const priorityClassDefaults = (object: ApiObject): void => {
  object['value'] ??= 0
  object['preemptionPolicy'] ??= 'PreemptLowerPriority'
}

export const leaseDefaults = (lease: ApiObject): void => {
  lease['spec'] ??= {}
}

/** apps/v1: one replica, and the defaults of the pods to be. */
export const workloadDefaults = (object: ApiObject): void => {
  daemonSetDefaults(object)
  jsonAt(object, 'spec')['replicas'] ??= 1
  object['status'] ??= { replicas: 0 }
}

export const workloadUpdateDefaults = (object: ApiObject, old: ApiObject): void => {
  if (object['spec'] === old['spec']) return
  if (object.kind === 'DaemonSet') daemonSetDefaults(object)
  else workloadDefaults(object)
}

/** As other workloads, on every node instead of in so many replicas. */
export const daemonSetDefaults = (object: ApiObject): void => {
  const spec = jsonAt(object, 'spec')
  object['spec'] = spec
  const template = spec['template']
  if (isJson(template)) {
    const podSpec = jsonAt(template, 'spec')
    template['spec'] = podSpec
    podSpecDefaults(podSpec)
  }
}

export const volumeDefaults = (object: ApiObject): void => {
  const spec = jsonAt(object, 'spec')
  object['spec'] = spec
  fill(spec, 'volumeMode', 'Filesystem')
  if (object.kind === 'PersistentVolume') {
    fill(spec, 'persistentVolumeReclaimPolicy', 'Retain')
    object['status'] = { phase: 'Available' }
  } else object['status'] = { phase: 'Pending' }
}

export const storageClassDefaults = (object: ApiObject): void => {
  fill(object, 'reclaimPolicy', 'Delete')
  fill(object, 'volumeBindingMode', 'Immediate')
}

export const secretDefaults = (secret: ApiObject): void => {
  fill(secret, 'type', 'Opaque')
  const text = jsonAt(secret, 'stringData')
  if (Object.keys(text).length > 0) {
    const data: Json = { ...jsonAt(secret, 'data') }
    for (const [key, value] of Object.entries(text)) data[key] = Buffer.from(String(value)).toString('base64')
    secret['data'] = data
  }
  delete secret['stringData']
}

export const serviceDefaults = (service: ApiObject): void => {
  const spec = jsonAt(service, 'spec')
  service['spec'] = spec
  fill(spec, 'type', 'ClusterIP')
  fill(spec, 'sessionAffinity', 'None')
  for (const port of listAt(spec, 'ports')) {
    fill(port, 'protocol', 'TCP')
    port['targetPort'] ??= numberAt(port, 'port')
  }
  service['status'] ??= { loadBalancer: {} }
}

export const disruptionBudgetDefaults = (budget: ApiObject): void => {
  budget['status'] ??= { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 }
}

/** Names and versions of a CustomResourceDefinition that follow from the others (apiextensions/v1/defaults.go). */
export const definitionDefaults = (definition: ApiObject): void => {
  const spec = definition['spec']
  if (!isJson(spec)) return
  const names = (spec['names'] ??= {})
  if (isJson(names) && textAt(names, 'kind') !== '') {
    fill(names, 'singular', textAt(names, 'kind').toLowerCase())
    fill(names, 'listKind', `${textAt(names, 'kind')}List`)
  }
  spec['conversion'] ??= { strategy: 'None' }
  // true is refused, and false is what it is without
  if (spec['preserveUnknownFields'] === false) delete spec['preserveUnknownFields']
  const storage = listAt(spec, 'versions').filter((version) => version['storage'] === true)
  const stored = textsAt(definition, 'status', 'storedVersions')
  const versions = [...new Set([...stored, ...storage.map((version) => textAt(version, 'name'))])]
  definition['status'] = {
    conditions: null,
    acceptedNames: { plural: '', kind: '' },
    ...jsonAt(definition, 'status'),
    ...(versions.length === 0 ? {} : { storedVersions: versions }),
  }
}
