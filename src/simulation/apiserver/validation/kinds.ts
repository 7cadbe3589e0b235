import { isDeepStrictEqual } from 'node:util'
import { type ApiObject, type Json, at, jsonAt, listAt, numberAt, textAt } from '../json.ts'
import type { FieldErrors } from './field-errors.ts'
import { checkLabelSelector } from './metadata.ts'
import { isNegative } from './amounts.ts'
import { configKeyComplaints, labelValueComplaints, qualifiedNameComplaints } from './names.ts'
import { checkPodSpec } from './pod.ts'

export const checkPod = (pod: ApiObject, errors: FieldErrors): void => {
  checkPodSpec(jsonAt(pod, 'spec'), 'spec', errors)
  if (listAt(pod, 'spec', 'schedulingGates').length > 0 && textAt(pod, 'spec', 'nodeName') !== '')
    errors.forbidden('spec.nodeName', 'cannot be set until all schedulingGates have been cleared')
}

const taintEffects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute']

/** Taints are complained about under metadata: that is where kube-apiserver says they are. */
export const checkNode = (node: ApiObject, errors: FieldErrors): void => {
  const seen = new Set<string>()
  for (const [i, taint] of listAt(node, 'spec', 'taints').entries()) {
    const field = `metadata.taints[${i}]`
    const key = textAt(taint, 'key')
    const effect = textAt(taint, 'effect')
    errors.invalidAll(`${field}.key`, key, qualifiedNameComplaints(key))
    const complaints = labelValueComplaints(textAt(taint, 'value'))
    if (complaints.length > 0) errors.invalid(`${field}.value`, textAt(taint, 'value'), complaints.join(';'))
    if (effect === '') errors.required(`${field}.effect`)
    else if (!taintEffects.includes(effect)) errors.notSupported(`${field}.effect`, effect, taintEffects)
    if (seen.has(`${key}:${effect}`))
      errors.duplicate(
        field,
        { Key: key, Value: textAt(taint, 'value'), Effect: effect, TimeAdded: taint['timeAdded'] ?? null },
        'taints must be unique by key and effect pair',
      )
    seen.add(`${key}:${effect}`)
  }
  for (const list of ['capacity', 'allocatable'])
    for (const [name, amount] of Object.entries(jsonAt(node, 'status', list))) {
      const complaints = qualifiedNameComplaints(name)
      errors.invalidAll(`status.${list}.${name}`, name, complaints)
      if (isNegative(amount)) errors.invalid(`status.${list}.${name}`, amount, 'must be greater than or equal to 0')
    }
}

export const checkNodeUpdate = (node: ApiObject, old: ApiObject, errors: FieldErrors): void => {
  const before = textAt(old, 'spec', 'providerID')
  const now = textAt(node, 'spec', 'providerID')
  if (before !== '' && now === '') errors.invalid('spec.providerID', null, 'field cannot be cleared once set')
  else if (before !== '' && before !== now) errors.invalid('spec.providerID', null, 'field cannot be modified once set')
  const cidrs = at(old, 'spec', 'podCIDRs')
  if (Array.isArray(cidrs) && cidrs.length > 0 && !isDeepStrictEqual(cidrs, at(node, 'spec', 'podCIDRs')))
    errors.forbidden('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid')
}

export const checkConfigData = (object: ApiObject, errors: FieldErrors): void => {
  const text = jsonAt(object, 'data')
  const binary = jsonAt(object, 'binaryData')
  let bytes = 0
  for (const [field, map] of [
    ['data', text],
    ['binaryData', binary],
  ] as const)
    for (const [key, value] of Object.entries(map)) {
      errors.invalidAll(`${field}[${key}]`, key, configKeyComplaints(key))
      if (field === 'binaryData' && Object.hasOwn(text, key))
        errors.invalid(`data[${key}]`, key, 'duplicate of key present in binaryData')
      bytes += typeof value === 'string' ? value.length : 0
    }
  if (bytes > 1024 * 1024) errors.invalid('', '', 'may not be more than 1048576 bytes')
}

export const checkConfigUpdate = (object: ApiObject, old: ApiObject, errors: FieldErrors): void => {
  if (old['immutable'] !== true) return
  if (object['immutable'] !== true) errors.forbidden('immutable', 'field is immutable when `immutable` is set')
  for (const field of ['data', 'binaryData'])
    if (!isDeepStrictEqual(object[field] ?? {}, old[field] ?? {}))
      errors.forbidden(field, 'field is immutable when `immutable` is set')
}

export const checkLease = (lease: ApiObject, errors: FieldErrors): void => {
  const duration = numberAt(lease, 'spec', 'leaseDurationSeconds')
  if (duration !== undefined && duration <= 0)
    errors.invalid('spec.leaseDurationSeconds', duration, 'must be greater than 0')
  const transitions = numberAt(lease, 'spec', 'leaseTransitions')
  if (transitions !== undefined && transitions < 0)
    errors.invalid('spec.leaseTransitions', transitions, 'must be greater than or equal to 0')
}

/** Values of priority classes that users may define end here; above are the system's own. */
const highestUserPriority = 1_000_000_000
export const systemPriorities: ReadonlyMap<string, number> = new Map([
  ['system-cluster-critical', 2_000_000_000],
  ['system-node-critical', 2_000_001_000],
])

export const checkPriorityClass = (object: ApiObject, errors: FieldErrors): void => {
  const name = object.metadata.name ?? ''
  const value = numberAt(object, 'value') ?? 0
  if (name.startsWith('system-')) {
    if (systemPriorities.get(name) !== value)
      errors.forbidden(
        'metadata.name',
        `priority class names with 'system-' prefix are reserved for system use only. error: ${name} is not a known system priority class`,
      )
  } else if (value > highestUserPriority)
    errors.forbidden('value', `maximum allowed value of a user defined priority is ${highestUserPriority}`)
  const policy = at(object, 'preemptionPolicy')
  if (policy !== undefined && policy !== 'PreemptLowerPriority' && policy !== 'Never')
    errors.notSupported('preemptionPolicy', policy, ['PreemptLowerPriority', 'Never'])
}

export const checkPriorityClassUpdate = (object: ApiObject, old: ApiObject, errors: FieldErrors): void => {
  if (object['value'] !== old['value']) errors.forbidden('value', 'may not be changed in an update.')
  if (object['preemptionPolicy'] !== old['preemptionPolicy'])
    errors.invalid('preemptionPolicy', object['preemptionPolicy'], 'field is immutable')
}

/** apps/v1: a selector, and a template whose labels it selects. */
export const checkWorkload = (object: ApiObject, errors: FieldErrors): void => {
  const selector = at(object, 'spec', 'selector')
  if (selector === undefined) errors.required('spec.selector')
  else checkLabelSelector(selector, 'spec.selector', errors)
  const labels = jsonAt(object, 'spec', 'template', 'metadata', 'labels')
  if (Object.entries(jsonAt(selector, 'matchLabels')).some(([key, value]) => labels[key] !== value))
    errors.invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`')
  const replicas = numberAt(object, 'spec', 'replicas')
  if (replicas !== undefined && replicas < 0)
    errors.invalid('spec.replicas', replicas, 'must be greater than or equal to 0')
  checkPodSpec(jsonAt(object, 'spec', 'template', 'spec'), 'spec.template.spec', errors)
}

export const checkDisruptionBudget = (object: ApiObject, errors: FieldErrors): void => {
  const spec = jsonAt(object, 'spec')
  if (spec['minAvailable'] !== undefined && spec['maxUnavailable'] !== undefined)
    errors.invalid('spec', spec, 'minAvailable and maxUnavailable cannot be both set')
  checkLabelSelector(spec['selector'], 'spec.selector', errors)
}

/** An event, in core/v1 form; stricter where it came by way of events.k8s.io (core ValidateEventCreate). */
export const checkEvent = (event: ApiObject, errors: FieldErrors, strict: boolean): void => {
  const controllerField = strict ? 'reportingController' : 'reportingComponent'
  const namespace = event.metadata.namespace ?? ''
  const about = textAt(event, 'involvedObject', 'namespace')
  const mismatch = (): void => errors.invalid('involvedObject.namespace', about, 'does not match event.namespace')
  if (textAt(event, 'eventTime') === '') {
    if (about === '' ? namespace !== 'default' : about !== namespace) mismatch()
  } else {
    if (about === '' && namespace !== 'default' && namespace !== 'kube-system') mismatch()
    const controller = textAt(event, 'reportingComponent')
    if (controller === '') errors.required(controllerField)
    errors.invalidAll(controllerField, controller, qualifiedNameComplaints(controller))
    const limited = (field: string, value: string, limit: number, required: boolean): void => {
      if (required && value === '') errors.required(field)
      if (value.length > limit) errors.invalid(field, '', `can have at most ${limit} characters`)
    }
    limited('reportingInstance', textAt(event, 'reportingInstance'), 128, true)
    limited('action', textAt(event, 'action'), 128, true)
    limited('reason', textAt(event, 'reason'), 128, true)
    limited('message', textAt(event, 'message'), 1024, false)
  }
  if (!strict) return
  const series = event['series'] as Json | undefined
  if (series !== undefined) {
    if ((numberAt(series, 'count') ?? 0) < 2) errors.invalid('series.count', '', 'should be at least 2')
    if (textAt(series, 'lastObservedTime') === '') errors.required('series.lastObservedTime')
  }
  if (textAt(event, 'eventTime') === '') errors.required('eventTime')
  const type = textAt(event, 'type')
  if (type !== 'Normal' && type !== 'Warning') errors.invalid('type', '', `has invalid value: ${type}`)
  if (textAt(event, 'firstTimestamp') !== '') errors.invalid('firstTimestamp', '', 'needs to be unset')
  if (textAt(event, 'lastTimestamp') !== '') errors.invalid('lastTimestamp', '', 'needs to be unset')
  if ((numberAt(event, 'count') ?? 0) !== 0) errors.invalid('count', '', 'needs to be unset')
}
