import type {
  Container,
  ContainerPort,
  NodeObject,
  NodeSelectorTerm,
  PodObject,
  PodSpec,
  Quantities,
  SelectorRequirement,
  Taint,
  Toleration,
} from '../../cluster/objects.ts'
import { quantityEntries, quantityMilli, resourceAmount } from '../../cluster/quantity.ts'

/**
 * Whether a kubelet takes a pod that was bound to it: predicate.go of kubelet 1.37. It is the witness that the scheduler
 * broke no rule, so on purpose it shares no rule with `constraints/` nor the reading of pods with `cluster/`: it works on
 * the objects from the wire and counts everything anew.
 */
export interface Refusal {
  /** `OutOfcpu`, `OutOfpods`, `NodeAffinity`, ... */
  readonly reason: string
  readonly message: string
}

/** What a pod takes on its node. */
export interface Claim {
  /** resource -> millicores for cpu, else whole units */
  readonly request: ReadonlyMap<string, number>
  readonly ports: readonly { readonly ip: string; readonly protocol: string; readonly port: number }[]
}

type Amounts = Map<string, number>

const amounts = (quantities: Quantities | undefined): Amounts =>
  new Map(quantityEntries(quantities).map(([name, value]) => [name, resourceAmount(name, quantityMilli(value))]))
const plus = (into: Amounts, other: Amounts): Amounts => {
  for (const [name, amount] of other) into.set(name, (into.get(name) ?? 0) + amount)
  return into
}
const most = (into: Amounts, other: Amounts): Amounts => {
  for (const [name, amount] of other) into.set(name, Math.max(into.get(name) ?? 0, amount))
  return into
}

const isSidecar = (container: Container): boolean => container.restartPolicy === 'Always'
const isPodLevel = (resource: string): boolean =>
  resource === 'cpu' || resource === 'memory' || resource.startsWith('hugepages-')
const isNative = (resource: string): boolean => !resource.includes('/') || resource.includes('kubernetes.io/')

/** Kubernetes' pod request: k8s.io/component-helpers/resource PodRequests. @throws StowageError QUANTITY_MALFORMED */
const podRequest = (spec: PodSpec): Amounts => {
  const total: Amounts = new Map()
  for (const container of spec.containers ?? []) plus(total, amounts(container.resources?.requests))
  const sidecars: Amounts = new Map()
  const initial: Amounts = new Map()
  for (const container of spec.initContainers ?? []) {
    const own = amounts(container.resources?.requests)
    if (isSidecar(container)) {
      plus(total, own)
      most(initial, plus(sidecars, own))
    } else most(initial, plus(own, sidecars))
  }
  most(total, initial)
  for (const [name, amount] of amounts(spec.resources?.requests)) if (isPodLevel(name)) total.set(name, amount)
  return plus(total, amounts(spec.overhead))
}

const hostPorts = (spec: PodSpec): Claim['ports'] =>
  [...(spec.containers ?? []), ...(spec.initContainers ?? []).filter((container) => isSidecar(container))]
    .flatMap((container): ContainerPort[] => container.ports ?? [])
    .filter(({ hostPort }) => (hostPort ?? 0) > 0)
    .map(({ hostIP, protocol, hostPort }) => ({
      ip: hostIP === undefined || hostIP === '' ? '0.0.0.0' : hostIP,
      protocol: protocol ?? 'TCP',
      port: hostPort ?? 0,
    }))

/** What a pod will take. @throws StowageError QUANTITY_MALFORMED */
export const claimOf = (pod: PodObject): Claim => ({
  request: podRequest(pod.spec ?? {}),
  ports: hostPorts(pod.spec ?? {}),
})

const clash = (a: Claim['ports'][number], b: Claim['ports'][number]): boolean =>
  a.port === b.port && a.protocol === b.protocol && (a.ip === b.ip || a.ip === '0.0.0.0' || b.ip === '0.0.0.0')

const holds = ({ operator, values = [] }: SelectorRequirement, actual: string | undefined): boolean => {
  const integer = (text: string | undefined): number =>
    text !== undefined && /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  switch (operator) {
    case 'In':
      return actual !== undefined && values.includes(actual)
    case 'NotIn':
      return actual === undefined || !values.includes(actual)
    case 'Exists':
      return actual !== undefined
    case 'DoesNotExist':
      return actual === undefined
    case 'Gt':
      return integer(actual) > integer(values[0])
    case 'Lt':
      return integer(actual) < integer(values[0])
    default:
      return false
  }
}

const termMatches = (term: NodeSelectorTerm, labels: Readonly<Record<string, string>>, name: string): boolean => {
  const expressions = term.matchExpressions ?? []
  const fields = term.matchFields ?? []
  if (expressions.length + fields.length === 0) return false
  const label = (key = ''): string | undefined => (Object.hasOwn(labels, key) ? labels[key] : undefined)
  return (
    expressions.every((expression) => holds(expression, label(expression.key))) &&
    fields.every((field) => field.key === 'metadata.name' && holds(field, name))
  )
}

const affinityMatches = (spec: PodSpec, node: NodeObject): boolean => {
  const labels = node.metadata?.labels ?? {}
  const selected = Object.entries(spec.nodeSelector ?? {}).every(
    ([key, value]) => Object.hasOwn(labels, key) && labels[key] === value,
  )
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  if (required === undefined) return selected
  return (
    selected && (required.nodeSelectorTerms ?? []).some((term) => termMatches(term, labels, node.metadata?.name ?? ''))
  )
}

/** Whether a toleration covers a taint, operators Equal and Exists. */
export const tolerates = (toleration: Toleration, taint: Taint): boolean => {
  if (toleration.effect !== undefined && toleration.effect !== '' && toleration.effect !== taint.effect) return false
  const anyKey = toleration.key === undefined || toleration.key === ''
  if (!anyKey && toleration.key !== taint.key) return false
  return toleration.operator === 'Exists' || (!anyKey && (toleration.value ?? '') === (taint.value ?? ''))
}

/**
 * kubelet's verdict on a pod, given what the pods it has already taken claim. As kubelet does, only the first reason is
 * told, in the order pods, cpu, memory, ephemeral-storage, other resources, affinity, ports, taints; an extended resource
 * that the node does not know is not counted; of taints only NoExecute matters. Priority does not help here: a critical
 * pod is refused like any other, where kubelet would kill others for it.
 */
export const admit = (pod: PodObject, claim: Claim, node: NodeObject, others: Iterable<Claim>): Refusal | undefined => {
  const used: Amounts = new Map()
  const taken: Claim['ports'][number][] = []
  let count = 0
  for (const other of others) {
    count++
    for (const [name, amount] of other.request) used.set(name, (used.get(name) ?? 0) + amount)
    taken.push(...other.ports)
  }
  const allocatable = amounts(node.status?.allocatable ?? node.status?.capacity)
  const short = (resource: string, requested: number, inUse: number, capacity: number): Refusal => ({
    reason: `OutOf${resource}`,
    message: `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${inUse}, capacity: ${capacity}`,
  })
  const predicate = (name: string, text: string): Refusal => ({
    reason: name,
    message: `Predicate ${name} failed: ${text}`,
  })

  const maxPods = allocatable.get('pods') ?? 0
  if (count + 1 > maxPods) return short('pods', 1, count, maxPods)
  const first = ['cpu', 'memory', 'ephemeral-storage']
  const rest = [...claim.request.keys()].filter((name) => !first.includes(name)).sort()
  for (const name of [...first, ...rest]) {
    const requested = claim.request.get(name) ?? 0
    const capacity = allocatable.get(name)
    if (requested === 0 || (capacity === undefined && !isNative(name))) continue
    const inUse = used.get(name) ?? 0
    if (requested > (capacity ?? 0) - inUse) return short(name, requested, inUse, capacity ?? 0)
  }
  const spec = pod.spec ?? {}
  if (!affinityMatches(spec, node))
    return predicate('NodeAffinity', "node(s) didn't match Pod's node affinity/selector")
  if (claim.ports.some((port) => taken.some((other) => clash(port, other)))) {
    return predicate('NodePorts', "node(s) didn't have free ports for the requested pod ports")
  }
  const intolerable = (node.spec?.taints ?? []).some(
    (taint) =>
      taint.effect === 'NoExecute' && !(spec.tolerations ?? []).some((toleration) => tolerates(toleration, taint)),
  )
  return intolerable ? predicate('TaintToleration', 'node(s) had untolerated taint(s)') : undefined
}
