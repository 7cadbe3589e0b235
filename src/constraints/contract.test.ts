import type {
  NodeObject,
  NodeSelectorTerm,
  PodObject,
  SelectorRequirement,
  Taint,
  Toleration,
} from '../cluster/objects.ts'
import type { Refusal } from './constraint.ts'
import { type ConstraintCase, constraintContract } from './contract.ts'
import {
  CONFLICTING_NAMES,
  createNodeAffinity,
  NodeAffinity,
  nodeAffinityByName,
  REASON_AFFINITY,
  REASON_LEFT_OUT,
} from './node-affinity.ts'
import { createNodeName, NodeName, REASON_NODE_NAME } from './node-name.ts'
import { NodePorts, nodePorts, REASON_PORTS } from './node-ports.ts'
import {
  createNodeResourcesFit,
  NodeResourcesFit,
  REASON_INSUFFICIENT,
  REASON_TOO_MANY_PODS,
} from './node-resources-fit.ts'
import { createNodeUnschedulable, NodeUnschedulable, REASON_UNSCHEDULABLE } from './node-unschedulable.ts'
import { SchedulingGates, schedulingGates } from './scheduling-gates.ts'
import { createTaintToleration, REASON_UNTOLERATED_TAINT, TaintToleration } from './taint-toleration.ts'
import { Unsupported, unsupported } from './unsupported.ts'

// Each rule once more, as its documentation reads, on the objects from the wire.

const forGood = (reason: string): Refusal => ({ reasons: [reason], preemptionCouldHelp: false })

const literallyTolerated = ({ key, value, effect }: Taint, tolerations: readonly Toleration[]): boolean => {
  for (const toleration of tolerations) {
    const effectMatches = !toleration.effect || toleration.effect === effect
    const keyMatches = !toleration.key || toleration.key === key
    const operator = toleration.operator || 'Equal'
    const valueMatches = operator === 'Exists' || (operator === 'Equal' && (toleration.value ?? '') === (value ?? ''))
    if (effectMatches && keyMatches && valueMatches) return true
  }
  return false
}

const integer = (text: string): bigint | undefined => (/^\d+$/.test(text) ? BigInt(text) : undefined)

const literallyMatches = (
  { key = '', operator, values = [] }: SelectorRequirement,
  labels: Map<string, string>,
): boolean => {
  const value = labels.get(key)
  if (operator === 'In') return value !== undefined && values.includes(value)
  if (operator === 'NotIn') return value === undefined || !values.includes(value)
  if (operator === 'Exists') return value !== undefined
  if (operator === 'DoesNotExist') return value === undefined
  const left = integer(value ?? '')
  const right = integer(values[0] ?? '')
  if (left === undefined || right === undefined) return false
  return operator === 'Gt' ? left > right : operator === 'Lt' && left < right
}

const literallyTermMatches = (
  { matchExpressions = [], matchFields = [] }: NodeSelectorTerm,
  node: NodeObject,
): boolean => {
  if (matchExpressions.length + matchFields.length === 0) return false
  const labels = new Map(Object.entries(node.metadata?.labels ?? {}))
  const name = new Map([['metadata.name', node.metadata?.name ?? '']])
  return (
    matchExpressions.every((expression) => literallyMatches(expression, labels)) &&
    matchFields.every((field) => field.values?.length === 1 && literallyMatches(field, name))
  )
}

const requiredTerms = (pod: PodObject): NodeSelectorTerm[] | undefined =>
  pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms

const portsOf = (pod: PodObject): string[][] =>
  (pod.spec?.containers ?? [])
    .flatMap(({ ports = [] }) => ports)
    .map(({ hostPort, protocol, hostIP }) => [String(hostPort), protocol || 'TCP', hostIP || '0.0.0.0'])

const GI = 1024 ** 3
const amounts: Readonly<Record<string, number>> = {
  '500m': 0.5,
  '1Gi': GI,
  '2Gi': 2 * GI,
  '3Gi': 3 * GI,
  '4Gi': 4 * GI,
}
const amount = (quantity: string | number | undefined): number => amounts[String(quantity)] ?? Number(quantity ?? 0)
const asked = (pod: PodObject, resource: string): number =>
  amount(pod.spec?.containers?.[0]?.resources?.requests?.[resource])

const cases: readonly ConstraintCase[] = [
  {
    title: 'SchedulingGates',
    name: SchedulingGates,
    create: () => schedulingGates,
    isReason: (reason) => reason === 'waiting for scheduling gates: [a b]',
    literally: (pod) =>
      pod.spec?.schedulingGates === undefined ? undefined : forGood('waiting for scheduling gates: [a b]'),
  },
  {
    title: 'what is not supported yet',
    name: Unsupported,
    create: () => unsupported,
    isReason: (reason) => reason.includes('resource claims (DRA)'),
    literally: (pod) =>
      pod.spec?.resourceClaims === undefined
        ? undefined
        : forGood(
            'this version of Stowage does not know the rules for resource claims (DRA) yet and would rather wait than place the pod wrongly.',
          ),
    wakesOnNothingBecause: 'only a newer version knows the rule',
  },
  {
    title: 'NodeName',
    name: NodeName,
    create: createNodeName,
    isReason: (reason) => reason === REASON_NODE_NAME,
    literally: (pod, node) =>
      pod.spec?.nodeName === undefined || pod.spec.nodeName === node.metadata?.name
        ? undefined
        : forGood(REASON_NODE_NAME),
  },
  {
    title: 'NodeUnschedulable',
    name: NodeUnschedulable,
    create: createNodeUnschedulable,
    isReason: (reason) => reason === REASON_UNSCHEDULABLE,
    literally: (pod, node) =>
      node.spec?.unschedulable &&
      !literallyTolerated(
        { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' },
        pod.spec?.tolerations ?? [],
      )
        ? forGood(REASON_UNSCHEDULABLE)
        : undefined,
  },
  {
    title: 'TaintToleration',
    name: TaintToleration,
    create: createTaintToleration,
    isReason: (reason) => reason === REASON_UNTOLERATED_TAINT,
    literally: (pod, node) =>
      (node.spec?.taints ?? [])
        .filter((taint) => taint.effect !== 'PreferNoSchedule')
        .every((taint) => literallyTolerated(taint, pod.spec?.tolerations ?? []))
        ? undefined
        : forGood(REASON_UNTOLERATED_TAINT),
  },
  {
    title: 'NodeAffinity',
    name: NodeAffinity,
    create: createNodeAffinity,
    isReason: (reason) => reason === REASON_AFFINITY,
    literally: (pod, node) => {
      const labels = new Map(Object.entries(node.metadata?.labels ?? {}))
      const selected = Object.entries(pod.spec?.nodeSelector ?? {}).every(([key, value]) => labels.get(key) === value)
      const terms = requiredTerms(pod)
      const required = terms === undefined || terms.some((term) => literallyTermMatches(term, node))
      return selected && required ? undefined : forGood(REASON_AFFINITY)
    },
  },
  {
    title: 'NodeAffinity, for pods pinned by name',
    name: NodeAffinity,
    create: () => nodeAffinityByName,
    isReason: (reason) => reason === REASON_LEFT_OUT || reason === CONFLICTING_NAMES,
    literally: (pod, node) => {
      const names = new Set<string>()
      const terms = requiredTerms(pod) ?? []
      for (const { matchFields = [] } of terms) {
        const pins = matchFields.filter(({ operator }) => operator === 'In')
        if (pins.length === 0) return undefined
        for (const name of ['n0', 'n1', 'elsewhere'])
          if (pins.every(({ values = [] }) => values.includes(name))) names.add(name)
      }
      if (terms.length === 0 || names.has(node.metadata?.name ?? '')) return undefined
      return forGood(names.size === 0 ? CONFLICTING_NAMES : REASON_LEFT_OUT)
    },
  },
  {
    title: 'NodePorts',
    name: NodePorts,
    create: () => nodePorts,
    isReason: (reason) => reason === REASON_PORTS,
    literally: (pod, _node, placed) => {
      const taken = placed.flatMap(portsOf)
      const clashes = portsOf(pod).some(([port, protocol, ip]) =>
        taken.some(
          ([otherPort, otherProtocol, otherIp]) =>
            port === otherPort &&
            protocol === otherProtocol &&
            (ip === '0.0.0.0' || otherIp === '0.0.0.0' || ip === otherIp),
        ),
      )
      return clashes ? { reasons: [REASON_PORTS], preemptionCouldHelp: true } : undefined
    },
  },
  {
    title: 'NodeResourcesFit',
    name: NodeResourcesFit,
    create: createNodeResourcesFit,
    isReason: (reason) => reason === REASON_TOO_MANY_PODS || reason.startsWith(REASON_INSUFFICIENT),
    literally: (pod, node, placed) => {
      const room = node.status?.allocatable ?? {}
      const reasons = placed.length + 1 > amount(room['pods']) ? [REASON_TOO_MANY_PODS] : []
      let preemptionCouldHelp = true
      for (const resource of ['cpu', 'memory', 'ephemeral-storage', 'example.com/gpu']) {
        const wanted = asked(pod, resource)
        const taken = placed.reduce((sum, other) => sum + asked(other, resource), 0)
        if (wanted === 0 || wanted <= amount(room[resource]) - taken) continue
        reasons.push(`Insufficient ${resource}`)
        if (wanted > amount(room[resource])) preemptionCouldHelp = false
      }
      return reasons.length === 0 ? undefined : { reasons, preemptionCouldHelp }
    },
  },
]

for (const one of cases) constraintContract(one)
