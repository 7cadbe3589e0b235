import { type ApiObject, type Json, at, isJson, jsonAt, listAt, numberAt, textAt, textsAt } from './json.ts'
import { isEstablished } from './custom/definitions.ts'
import { valueAtPath } from './custom/json-path.ts'
import type { PrinterColumn, Resource } from './resources.ts'

// The columns of `kubectl get`, as pkg/printers/internalversion of Kubernetes has them.

interface Column {
  readonly name: string
  readonly type: 'string' | 'integer' | 'boolean' | 'date'
  readonly format: string
  readonly description: string
  /** 0 is always shown, 1 with `-o wide` */
  readonly priority: number
}
type Cell = string | number | boolean | null
interface Layout {
  readonly columns: readonly Column[]
  cells(object: ApiObject, nowMs: number): Cell[]
}

/** `Name`, `Ready`, `+IP` (wide only), `#Data` (a number) */
const columns = (...names: string[]): Column[] =>
  names.map((text) => {
    const name = text.replace(/^[+#]+/, '')
    return {
      name,
      type: text.includes('#') ? 'integer' : 'string',
      format: name === 'Name' ? 'name' : '',
      description: name,
      priority: text.startsWith('+') ? 1 : 0,
    }
  })

/** How long ago, as kubectl writes it (apimachinery duration.HumanDuration). */
const humanDuration = (ms: number): string => {
  const seconds = Math.trunc(ms / 1000)
  if (seconds < -1) return '<invalid>'
  if (seconds < 0) return '0s'
  if (seconds < 120) return `${seconds}s`
  const two = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
    small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`
  const minutes = Math.trunc(seconds / 60)
  if (minutes < 10) return two(minutes, 'm', seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  const hours = Math.trunc(minutes / 60)
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  const days = Math.trunc(hours / 24)
  if (hours < 192) return two(days, 'd', hours % 24, 'h')
  if (days < 730) return `${days}d`
  if (days < 2920) return two(Math.trunc(days / 365), 'y', days % 365, 'd')
  return `${Math.trunc(days / 365)}y`
}

const ago = (timestamp: string, nowMs: number): string => {
  const atMs = Date.parse(timestamp)
  return Number.isNaN(atMs) ? '<unknown>' : humanDuration(nowMs - atMs)
}
const age = (object: ApiObject, nowMs: number): string => ago(object.metadata.creationTimestamp ?? '', nowMs)
const nameOf = (object: ApiObject): string => object.metadata.name ?? ''
const orNone = (text: string): string => (text === '' ? '<none>' : text)

const namesAnd = (
  names: string[],
  cells: (object: ApiObject) => Cell[],
  wide: { names: string[]; cells: (object: ApiObject) => Cell[] } = { names: [], cells: () => [] },
): Layout => ({
  columns: columns('Name', ...names, 'Age', ...wide.names),
  cells: (object, nowMs) => [nameOf(object), ...cells(object), age(object, nowMs), ...wide.cells(object)],
})

const podRow = (pod: ApiObject, nowMs: number): Cell[] => {
  const status = jsonAt(pod, 'status')
  const phase = textAt(status, 'phase')
  const conditions = listAt(status, 'conditions')
  const containers = listAt(pod, 'spec', 'containers')
  const sidecars = new Set(
    listAt(pod, 'spec', 'initContainers')
      .filter((c) => c['restartPolicy'] === 'Always')
      .map((c) => c['name']),
  )
  let reason = textAt(status, 'reason') || phase
  if (conditions.some((c) => c['type'] === 'PodScheduled' && c['reason'] === 'SchedulingGated'))
    reason = 'SchedulingGated'
  let ready = 0
  let restarts = 0
  let lastRestart = ''
  const countRestarts = (container: Json): void => {
    restarts += numberAt(container, 'restartCount') ?? 0
    const finished = textAt(container, 'lastState', 'terminated', 'finishedAt')
    if (finished > lastRestart) lastRestart = finished
  }
  const total = containers.length + sidecars.size
  let initializing = false
  for (const [i, container] of listAt(status, 'initContainerStatuses').entries()) {
    countRestarts(container)
    const terminated = at(container, 'state', 'terminated')
    const waiting = textAt(container, 'state', 'waiting', 'reason')
    if (isJson(terminated) && (numberAt(terminated, 'exitCode') ?? 0) === 0) continue
    if (sidecars.has(container['name']) && container['started'] === true) {
      if (container['ready'] === true) ready++
      continue
    }
    if (isJson(terminated))
      reason = `Init:${textAt(terminated, 'reason') || `ExitCode:${numberAt(terminated, 'exitCode') ?? 0}`}`
    else if (waiting !== '' && waiting !== 'PodInitializing') reason = `Init:${waiting}`
    else reason = `Init:${i}/${listAt(pod, 'spec', 'initContainers').length}`
    initializing = true
    break
  }
  if (!initializing || conditions.some((c) => c['type'] === 'Initialized' && c['status'] === 'True')) {
    let running = false
    let failed = ''
    restarts = 0
    lastRestart = ''
    for (const container of listAt(status, 'initContainerStatuses'))
      if (sidecars.has(container['name'])) countRestarts(container)
    for (const container of listAt(status, 'containerStatuses').reverse()) {
      countRestarts(container)
      const terminated = at(container, 'state', 'terminated')
      const waiting = textAt(container, 'state', 'waiting', 'reason')
      if (waiting !== '') reason = waiting
      else if (isJson(terminated)) {
        const signal = numberAt(terminated, 'signal') ?? 0
        reason =
          textAt(terminated, 'reason') ||
          (signal !== 0 ? `Signal:${signal}` : `ExitCode:${numberAt(terminated, 'exitCode') ?? 0}`)
        if ((numberAt(terminated, 'exitCode') ?? 0) !== 0) failed = reason
      } else if (container['ready'] === true && isJson(at(container, 'state', 'running'))) {
        running = true
        ready++
      }
    }
    if (reason === 'Completed') {
      if (running && conditions.some((c) => c['type'] === 'Ready' && c['status'] === 'True')) reason = 'Running'
      else if (failed !== '') reason = failed
      else if (running) reason = 'NotReady'
    }
  }
  if (pod.metadata.deletionTimestamp !== undefined) {
    if (status['reason'] === 'NodeLost') reason = 'Unknown'
    else if (phase !== 'Succeeded' && phase !== 'Failed') reason = 'Terminating'
  }
  const gates = listAt(pod, 'spec', 'readinessGates')
  const gatesOpen = gates.filter((gate) =>
    conditions.some((c) => c['type'] === gate['conditionType'] && c['status'] === 'True'),
  ).length
  return [
    nameOf(pod),
    `${ready}/${total}`,
    reason,
    restarts !== 0 && lastRestart !== '' ? `${restarts} (${ago(lastRestart, nowMs)} ago)` : String(restarts),
    age(pod, nowMs),
    orNone(textAt(listAt(status, 'podIPs')[0], 'ip') || textAt(status, 'podIP')),
    orNone(textAt(pod, 'spec', 'nodeName')),
    orNone(textAt(status, 'nominatedNodeName')),
    gates.length === 0 ? '<none>' : `${gatesOpen}/${gates.length}`,
  ]
}

const nodeRow = (node: ApiObject, nowMs: number): Cell[] => {
  const ready = listAt(node, 'status', 'conditions').find((condition) => condition['type'] === 'Ready')
  const states = [ready === undefined ? 'Unknown' : ready['status'] === 'True' ? 'Ready' : 'NotReady']
  if (at(node, 'spec', 'unschedulable') === true) states.push('SchedulingDisabled')
  const roles = Object.entries(node.metadata.labels ?? {})
    .map(([key, value]) =>
      key.startsWith('node-role.kubernetes.io/')
        ? key.slice('node-role.kubernetes.io/'.length)
        : key === 'kubernetes.io/role'
          ? value
          : '',
    )
    .filter((role) => role !== '')
    .sort()
  const info = jsonAt(node, 'status', 'nodeInfo')
  const address = (type: string): string =>
    orNone(
      textAt(
        listAt(node, 'status', 'addresses').find((a) => a['type'] === type),
        'address',
      ),
    )
  const known = (field: string): string => textAt(info, field) || '<unknown>'
  const architecture = textAt(info, 'architecture')
  return [
    nameOf(node),
    states.join(','),
    orNone(roles.join(',')),
    age(node, nowMs),
    textAt(info, 'kubeletVersion'),
    address('InternalIP'),
    address('ExternalIP'),
    known('osImage'),
    architecture === '' ? known('kernelVersion') : `${known('kernelVersion')} (${architecture})`,
    known('containerRuntimeVersion'),
  ]
}

const eventRow = (event: ApiObject, nowMs: number): Cell[] => {
  const first = ago(textAt(event, 'firstTimestamp') || textAt(event, 'eventTime'), nowMs)
  const series = at(event, 'series')
  const last = isJson(series)
    ? ago(textAt(series, 'lastObservedTime'), nowMs)
    : textAt(event, 'lastTimestamp') === ''
      ? first
      : ago(textAt(event, 'lastTimestamp'), nowMs)
  const count = isJson(series) ? (numberAt(series, 'count') ?? 0) : numberAt(event, 'count') || 1
  const about = jsonAt(event, 'involvedObject')
  const kind = textAt(about, 'kind').toLowerCase()
  const name = textAt(about, 'name')
  const component = textAt(event, 'source', 'component') || textAt(event, 'reportingComponent')
  const instance = textAt(event, 'source', 'host') || textAt(event, 'reportingInstance')
  return [
    last,
    textAt(event, 'type'),
    textAt(event, 'reason'),
    name === '' ? kind : `${kind}/${name}`,
    textAt(about, 'fieldPath'),
    instance === '' ? component : `${component}, ${instance}`,
    textAt(event, 'message').trim(),
    first,
    count,
    nameOf(event),
  ]
}

const shownAt = (object: ApiObject, ...path: string[]): string => {
  const value = at(object, ...path)
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
}
const countAt = (object: ApiObject, ...path: string[]): number => numberAt(object, ...path) ?? 0
const selectorText = (object: ApiObject): string =>
  orNone(
    Object.entries(jsonAt(object, 'spec', 'selector', 'matchLabels'))
      .map(([key, value]) => `${key}=${String(value)}`)
      .join(','),
  )
const templateWide = {
  names: ['+Containers', '+Images', '+Selector'],
  cells: (object: ApiObject): Cell[] => {
    const containers = listAt(object, 'spec', 'template', 'spec', 'containers')
    return [
      containers.map((c) => textAt(c, 'name')).join(','),
      containers.map((c) => textAt(c, 'image')).join(','),
      selectorText(object),
    ]
  },
}
const sizeOfData = (object: ApiObject): Cell[] => [
  Object.keys(jsonAt(object, 'data')).length + Object.keys(jsonAt(object, 'binaryData')).length,
]
const modes = (object: ApiObject, ...path: string[]): string =>
  textsAt(object, ...path)
    .map((mode) => mode.replaceAll(/[a-z]/g, ''))
    .join(',')

const fallback = namesAnd([], () => [])

const layouts = new Map<string, Layout>([
  [
    'pods',
    {
      columns: columns(
        'Name',
        'Ready',
        'Status',
        'Restarts',
        'Age',
        '+IP',
        '+Node',
        '+Nominated Node',
        '+Readiness Gates',
      ),
      cells: podRow,
    },
  ],
  [
    'nodes',
    {
      columns: columns(
        'Name',
        'Status',
        'Roles',
        'Age',
        'Version',
        '+Internal-IP',
        '+External-IP',
        '+OS-Image',
        '+Kernel-Version',
        '+Container-Runtime',
      ),
      cells: nodeRow,
    },
  ],
  [
    'events',
    {
      columns: columns(
        'Last Seen',
        'Type',
        'Reason',
        'Object',
        '+Subobject',
        '+Source',
        'Message',
        '+First Seen',
        '+Count',
        '+Name',
      ),
      cells: eventRow,
    },
  ],
  ['namespaces', namesAnd(['Status'], (object) => [shownAt(object, 'status', 'phase')])],
  ['configmaps', namesAnd(['Data'], sizeOfData)],
  ['secrets', namesAnd(['Type', 'Data'], (object) => [shownAt(object, 'type'), ...sizeOfData(object)])],
  [
    'services',
    namesAnd(['Type', 'Cluster-IP', 'External-IP', 'Port(s)'], (object) => [
      shownAt(object, 'spec', 'type'),
      orNone(shownAt(object, 'spec', 'clusterIP')),
      orNone(textsAt(object, 'spec', 'externalIPs').join(',')),
      orNone(
        listAt(object, 'spec', 'ports')
          .map((port) => `${String(port['port'])}/${textAt(port, 'protocol')}`)
          .join(','),
      ),
    ]),
  ],
  ['leases.coordination.k8s.io', namesAnd(['Holder'], (object) => [shownAt(object, 'spec', 'holderIdentity')])],
  [
    'priorityclasses.scheduling.k8s.io',
    {
      columns: columns('Name', '#Value', 'Global-Default', 'Age', 'PreemptionPolicy'),
      cells: (object, nowMs) => [
        nameOf(object),
        countAt(object, 'value'),
        object['globalDefault'] === true,
        age(object, nowMs),
        shownAt(object, 'preemptionPolicy'),
      ],
    },
  ],
  [
    'storageclasses.storage.k8s.io',
    namesAnd(['Provisioner', 'ReclaimPolicy', 'VolumeBindingMode', 'AllowVolumeExpansion'], (object) => [
      shownAt(object, 'provisioner'),
      shownAt(object, 'reclaimPolicy'),
      shownAt(object, 'volumeBindingMode'),
      object['allowVolumeExpansion'] === true,
    ]),
  ],
  [
    'persistentvolumes',
    namesAnd(['Capacity', 'Access Modes', 'Reclaim Policy', 'Status', 'Claim', 'StorageClass'], (object) => [
      shownAt(object, 'spec', 'capacity', 'storage'),
      modes(object, 'spec', 'accessModes'),
      shownAt(object, 'spec', 'persistentVolumeReclaimPolicy'),
      shownAt(object, 'status', 'phase'),
      at(object, 'spec', 'claimRef') === undefined
        ? ''
        : `${shownAt(object, 'spec', 'claimRef', 'namespace')}/${shownAt(object, 'spec', 'claimRef', 'name')}`,
      shownAt(object, 'spec', 'storageClassName'),
    ]),
  ],
  [
    'persistentvolumeclaims',
    namesAnd(['Status', 'Volume', 'Capacity', 'Access Modes', 'StorageClass'], (object) => [
      shownAt(object, 'status', 'phase'),
      shownAt(object, 'spec', 'volumeName'),
      shownAt(object, 'status', 'capacity', 'storage'),
      modes(object, 'status', 'accessModes'),
      shownAt(object, 'spec', 'storageClassName'),
    ]),
  ],
  [
    'poddisruptionbudgets.policy',
    namesAnd(['Min Available', 'Max Unavailable', '#Allowed Disruptions'], (object) => [
      shownAt(object, 'spec', 'minAvailable') || 'N/A',
      shownAt(object, 'spec', 'maxUnavailable') || 'N/A',
      countAt(object, 'status', 'disruptionsAllowed'),
    ]),
  ],
  [
    'deployments.apps',
    namesAnd(
      ['Ready', '#Up-to-date', '#Available'],
      (object) => [
        `${countAt(object, 'status', 'readyReplicas')}/${countAt(object, 'spec', 'replicas')}`,
        countAt(object, 'status', 'updatedReplicas'),
        countAt(object, 'status', 'availableReplicas'),
      ],
      templateWide,
    ),
  ],
  [
    'replicasets.apps',
    namesAnd(
      ['#Desired', '#Current', '#Ready'],
      (object) => [
        countAt(object, 'spec', 'replicas'),
        countAt(object, 'status', 'replicas'),
        countAt(object, 'status', 'readyReplicas'),
      ],
      templateWide,
    ),
  ],
  [
    'statefulsets.apps',
    namesAnd(
      ['Ready'],
      (object) => [`${countAt(object, 'status', 'readyReplicas')}/${countAt(object, 'spec', 'replicas')}`],
      {
        names: templateWide.names.slice(0, 2),
        cells: (object) => templateWide.cells(object).slice(0, 2),
      },
    ),
  ],
  [
    'daemonsets.apps',
    namesAnd(
      ['#Desired', '#Current', '#Ready', '#Up-to-date', '#Available', 'Node Selector'],
      (object) => [
        countAt(object, 'status', 'desiredNumberScheduled'),
        countAt(object, 'status', 'currentNumberScheduled'),
        countAt(object, 'status', 'numberReady'),
        countAt(object, 'status', 'updatedNumberScheduled'),
        countAt(object, 'status', 'numberAvailable'),
        orNone(
          Object.entries(jsonAt(object, 'spec', 'template', 'spec', 'nodeSelector'))
            .map(([key, value]) => `${key}=${String(value)}`)
            .join(','),
        ),
      ],
      templateWide,
    ),
  ],
  [
    'customresourcedefinitions.apiextensions.k8s.io',
    {
      columns: columns('Name', 'Scope', 'Versions', 'Created At', '+Group', '+Kind', '+ShortNames', '+Established').map(
        (column) =>
          column.name === 'Created At'
            ? { ...column, type: 'date' }
            : column.name === 'Established'
              ? { ...column, type: 'boolean' }
              : column,
      ),
      cells: (object) => [
        nameOf(object),
        textAt(object, 'spec', 'scope'),
        listAt(object, 'spec', 'versions')
          .filter((version) => version['served'] === true)
          .map((version) => `${textAt(version, 'name')}${version['storage'] === true ? '(storage)' : ''}`)
          .sort()
          .join(','),
        object.metadata.creationTimestamp ?? '',
        textAt(object, 'spec', 'group'),
        textAt(object, 'spec', 'names', 'kind'),
        textsAt(object, 'spec', 'names', 'shortNames').join(','),
        isEstablished(object),
      ],
    },
  ],
  ['csinodes.storage.k8s.io', namesAnd(['#Drivers'], (object) => [listAt(object, 'spec', 'drivers').length])],
])

/** A cell of a column whose definition says of what type it is; null where the value is of another. */
const customCell = ({ jsonPath, type }: PrinterColumn, object: ApiObject, nowMs: number): Cell => {
  const value = valueAtPath(object, jsonPath)
  if (value === undefined || value === null) return null
  switch (type) {
    case 'string':
      return typeof value === 'string' ? value : JSON.stringify(value)
    case 'integer':
      return typeof value === 'number' ? Math.trunc(value) : null
    case 'number':
      return typeof value === 'number' ? value : null
    case 'boolean':
      return typeof value === 'boolean' ? value : null
    case 'date':
      return typeof value !== 'string' ? null : Number.isNaN(Date.parse(value)) ? '<invalid>' : ago(value, nowMs)
    default:
      return null
  }
}

const customLayout = (printed: readonly PrinterColumn[]): Layout => ({
  columns: [
    ...columns('Name'),
    ...printed.map(({ description = '', format = '', jsonPath, name, priority = 0, type }) => ({
      name,
      // what other types there are `customCell` does not know either
      type: type as Column['type'],
      format,
      description: description || `Custom resource definition column (in JSONPath format): ${jsonPath}`,
      priority,
    })),
  ],
  cells: (object, nowMs) => [nameOf(object), ...printed.map((column) => customCell(column, object, nowMs))],
})
const customLayouts = new WeakMap<Resource, Layout>()

const layoutOf = (resource: Resource): Layout => {
  if (resource.custom === undefined) return layouts.get(resource.storedIn) ?? fallback
  let layout = customLayouts.get(resource)
  if (layout === undefined) customLayouts.set(resource, (layout = customLayout(resource.custom.printerColumns)))
  return layout
}

export const columnsOf = (resource: Resource): readonly Column[] => layoutOf(resource).columns
export const rowOf = (resource: Resource, object: ApiObject, nowMs: number): Cell[] =>
  layoutOf(resource).cells(object, nowMs)
