import { isDeepStrictEqual } from 'node:util'
import { type ApiObject, type Json, at, isJson, jsonAt, listAt, numberAt, textAt, textsAt } from '../json.ts'
import type { FieldErrors } from './field-errors.ts'
import { checkLabelSelector, checkLabels } from './metadata.ts'
import {
  labelNameComplaints,
  labelValueComplaints,
  portNameComplaints,
  qualifiedNameComplaints,
  subdomainComplaints,
} from './names.ts'
import { compareQuantities, isNegative, isWhole } from './amounts.ts'

const portRange = 'must be between 1 and 65535, inclusive'
const isPort = (port: number): boolean => port >= 1 && port <= 65535
const taintEffects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute']
const standardResources = new Set(['cpu', 'memory', 'ephemeral-storage'])

const oneOf = (spec: Json, name: string, field: string, allowed: readonly string[], errors: FieldErrors): void => {
  const value = textAt(spec, name)
  if (value === '') errors.required(`${field}.${name}`)
  else if (!allowed.includes(value)) errors.notSupported(`${field}.${name}`, value, allowed)
}

/** spec of a pod, or of a pod's template (core ValidatePodSpec, as far as schedulers and kubelets of the simulation care). */
export const checkPodSpec = (spec: Json, field: string, errors: FieldErrors): void => {
  const containers = listAt(spec, 'containers')
  if (containers.length === 0) errors.required(`${field}.containers`)
  const names = new Set<string>()
  const hostPorts = new Set<string>()
  for (const [i, container] of containers.entries())
    checkContainer(container, `${field}.containers[${i}]`, names, hostPorts, errors)
  for (const [i, container] of listAt(spec, 'initContainers').entries()) {
    const here = `${field}.initContainers[${i}]`
    checkContainer(container, here, names, new Set(), errors)
    const restart = textAt(container, 'restartPolicy')
    if (restart !== '' && !['Always', 'Never', 'OnFailure'].includes(restart))
      errors.notSupported(`${here}.restartPolicy`, restart, ['Always', 'Never', 'OnFailure'])
  }
  checkResources(spec['resources'], `${field}.resources`, errors)
  oneOf(spec, 'restartPolicy', field, ['Always', 'OnFailure', 'Never'], errors)
  oneOf(spec, 'dnsPolicy', field, ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None'], errors)
  checkLabels(jsonAt(spec, 'nodeSelector'), `${field}.nodeSelector`, errors)
  checkAffinity(jsonAt(spec, 'affinity'), `${field}.affinity`, errors)
  const gates = new Set<string>()
  for (const [i, gate] of listAt(spec, 'schedulingGates').entries()) {
    const name = textAt(gate, 'name')
    errors.invalidAll(`${field}.schedulingGates[${i}]`, name, qualifiedNameComplaints(name))
    if (gates.has(name)) errors.duplicate(`${field}.schedulingGates[${i}]`, name)
    gates.add(name)
  }
  checkSpread(listAt(spec, 'topologySpreadConstraints'), `${field}.topologySpreadConstraints`, errors)
  const nodeName = textAt(spec, 'nodeName')
  if (nodeName !== '') errors.invalidAll(`${field}.nodeName`, nodeName, subdomainComplaints(nodeName))
  const deadline = numberAt(spec, 'activeDeadlineSeconds')
  if (deadline !== undefined && (deadline < 1 || deadline > 2147483647))
    errors.invalid(`${field}.activeDeadlineSeconds`, deadline, 'must be between 1 and 2147483647, inclusive')
  checkTolerations(listAt(spec, 'tolerations'), `${field}.tolerations`, errors)
  const className = textAt(spec, 'priorityClassName')
  if (className !== '') errors.invalidAll(`${field}.priorityClassName`, className, subdomainComplaints(className))
  const preemption = at(spec, 'preemptionPolicy')
  if (preemption !== undefined && preemption !== 'PreemptLowerPriority' && preemption !== 'Never')
    errors.notSupported(`${field}.preemptionPolicy`, preemption, ['PreemptLowerPriority', 'Never'])
}

const checkContainer = (
  container: Json,
  field: string,
  names: Set<string>,
  hostPorts: Set<string>,
  errors: FieldErrors,
): void => {
  const name = textAt(container, 'name')
  if (name === '') errors.required(`${field}.name`)
  else {
    errors.invalidAll(`${field}.name`, name, labelNameComplaints(name))
    if (names.has(name)) errors.duplicate(`${field}.name`, name)
    names.add(name)
  }
  if (textAt(container, 'image') === '') errors.required(`${field}.image`)
  const messagePolicy = textAt(container, 'terminationMessagePolicy')
  if (messagePolicy !== '' && messagePolicy !== 'File' && messagePolicy !== 'FallbackToLogsOnError')
    errors.notSupported(`${field}.terminationMessagePolicy`, messagePolicy, ['File', 'FallbackToLogsOnError'])
  const portNames = new Set<string>()
  for (const [i, port] of listAt(container, 'ports').entries()) {
    const here = `${field}.ports[${i}]`
    const portName = textAt(port, 'name')
    if (portName !== '') {
      const complaints = portNameComplaints(portName)
      errors.invalidAll(`${here}.name`, portName, complaints)
      if (complaints.length === 0 && portNames.has(portName)) errors.duplicate(`${here}.name`, portName)
      portNames.add(portName)
    }
    const containerPort = numberAt(port, 'containerPort') ?? 0
    if (containerPort === 0) errors.required(`${here}.containerPort`)
    else if (!isPort(containerPort)) errors.invalid(`${here}.containerPort`, containerPort, portRange)
    const hostPort = numberAt(port, 'hostPort') ?? 0
    if (hostPort !== 0 && !isPort(hostPort)) errors.invalid(`${here}.hostPort`, hostPort, portRange)
    const protocol = textAt(port, 'protocol')
    if (!['SCTP', 'TCP', 'UDP'].includes(protocol))
      errors.notSupported(`${here}.protocol`, protocol, ['SCTP', 'TCP', 'UDP'])
    if (hostPort !== 0) {
      const key = `${protocol}/${textAt(port, 'hostIP')}/${hostPort}`
      if (hostPorts.has(key)) errors.duplicate(`${here}.hostPort`, key)
      hostPorts.add(key)
    }
  }
  const pull = textAt(container, 'imagePullPolicy')
  if (pull !== '' && !['Always', 'IfNotPresent', 'Never'].includes(pull))
    errors.notSupported(`${field}.imagePullPolicy`, pull, ['Always', 'IfNotPresent', 'Never'])
  checkResources(container['resources'], `${field}.resources`, errors)
}

/** `resources` of a container or a pod (core ValidateContainerResourceRequirements). */
const checkResources = (resources: unknown, field: string, errors: FieldErrors): void => {
  if (!isJson(resources)) return
  const limits = jsonAt(resources, 'limits')
  const requests = jsonAt(resources, 'requests')
  const check = (list: string, name: string, amount: unknown): void => {
    const here = `${field}.${list}[${name}]`
    const standard = name.includes('/') || standardResources.has(name) || name.startsWith('hugepages-')
    const complaints = qualifiedNameComplaints(name)
    errors.invalidAll(here, name, complaints)
    if (complaints.length === 0 && !standard)
      errors.invalid(here, name, 'must be a standard resource type or fully qualified')
    if (!standard) errors.invalid(here, name, 'must be a standard resource for containers')
    if (isNegative(amount)) errors.invalid(here, amount, 'must be greater than or equal to 0')
    if (name.includes('/') && !isWhole(amount)) errors.invalid(here, amount, 'must be an integer')
  }
  for (const [name, limit] of Object.entries(limits)) check('limits', name, limit)
  for (const [name, requested] of Object.entries(requests)) {
    check('requests', name, requested)
    const limit = textAt(limits, name)
    // Devices and huge pages can not be shared: who asks for them must limit himself to them.
    const exclusive = name.includes('/') || name.startsWith('hugepages-')
    if (limit === '') {
      if (exclusive) errors.required(`${field}.limits`, 'Limit must be set for non overcommitable resources')
      continue
    }
    const order = compareQuantities(requested, limit)
    if (exclusive && order !== 0)
      errors.invalid(`${field}.requests`, requested, `must be equal to ${name} limit of ${limit}`)
    else if (order > 0)
      errors.invalid(`${field}.requests`, requested, `must be less than or equal to ${name} limit of ${limit}`)
  }
}

const checkTolerations = (tolerations: readonly Json[], field: string, errors: FieldErrors): void => {
  for (const [i, toleration] of tolerations.entries()) {
    const here = `${field}[${i}]`
    const key = textAt(toleration, 'key')
    const operator = textAt(toleration, 'operator')
    const value = textAt(toleration, 'value')
    const effect = textAt(toleration, 'effect')
    if (key !== '') errors.invalidAll(`${here}.key`, key, qualifiedNameComplaints(key))
    if (key === '' && operator !== 'Exists')
      errors.invalid(
        `${here}.operator`,
        operator,
        'operator must be Exists when `key` is empty, which means "match all values and all keys"',
      )
    if (toleration['tolerationSeconds'] !== undefined && effect !== 'NoExecute')
      errors.invalid(`${here}.effect`, effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
    if (operator === '' || operator === 'Equal') {
      const complaints = labelValueComplaints(value)
      if (complaints.length > 0) errors.invalid(`${here}.operator`, value, complaints.join(';'))
    } else if (operator === 'Exists') {
      if (value !== '') errors.invalid(`${here}.operator`, value, "value must be empty when `operator` is 'Exists'")
    } else errors.notSupported(`${here}.operator`, operator, ['Equal', 'Exists'])
    if (effect !== '' && !taintEffects.includes(effect)) errors.notSupported(`${here}.effect`, effect, taintEffects)
  }
}

/** A node selector term (required terms and preferences of node affinity). */
const checkNodeSelectorTerm = (term: Json, field: string, errors: FieldErrors): void => {
  for (const [i, requirement] of listAt(term, 'matchExpressions').entries()) {
    const here = `${field}.matchExpressions[${i}]`
    const values = textsAt(requirement, 'values')
    const operator = textAt(requirement, 'operator')
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) errors.required(`${here}.values`, "must be specified when `operator` is 'In' or 'NotIn'")
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0)
        errors.forbidden(`${here}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    } else if (operator === 'Gt' || operator === 'Lt') {
      if (values.length !== 1)
        errors.required(`${here}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'")
    } else errors.invalid(`${here}.operator`, operator, 'not a valid selector operator')
    const key = textAt(requirement, 'key')
    errors.invalidAll(`${here}.key`, key, qualifiedNameComplaints(key))
    for (const [j, value] of values.entries())
      errors.invalidAll(`${here}.values[${j}]`, value, labelValueComplaints(value))
  }
  for (const [i, requirement] of listAt(term, 'matchFields').entries()) {
    const here = `${field}.matchFields[${i}]`
    const values = textsAt(requirement, 'values')
    const operator = textAt(requirement, 'operator')
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length !== 1)
        errors.required(
          `${here}.values`,
          "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        )
    } else errors.invalid(`${here}.operator`, operator, 'not a valid selector operator')
    const key = textAt(requirement, 'key')
    if (key !== 'metadata.name') errors.invalid(`${here}.key`, key, 'not a valid field selector key')
    else
      for (const [j, value] of values.entries())
        errors.invalidAll(`${here}.values[${j}]`, value, subdomainComplaints(value))
  }
}

const checkAffinity = (affinity: Json, field: string, errors: FieldErrors): void => {
  const node = jsonAt(affinity, 'nodeAffinity')
  const required = node['requiredDuringSchedulingIgnoredDuringExecution']
  if (isJson(required)) {
    const here = `${field}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`
    const terms = listAt(required, 'nodeSelectorTerms')
    if (terms.length === 0) errors.required(here, 'must have at least one node selector term')
    for (const [i, term] of terms.entries()) checkNodeSelectorTerm(term, `${here}[${i}]`, errors)
  }
  for (const [i, preferred] of listAt(node, 'preferredDuringSchedulingIgnoredDuringExecution').entries()) {
    const here = `${field}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[${i}]`
    checkWeight(preferred, here, errors)
    checkNodeSelectorTerm(jsonAt(preferred, 'preference'), `${here}.preference`, errors)
  }
  for (const kind of ['podAffinity', 'podAntiAffinity']) {
    const pods = jsonAt(affinity, kind)
    for (const [i, term] of listAt(pods, 'requiredDuringSchedulingIgnoredDuringExecution').entries())
      checkPodAffinityTerm(term, `${field}.${kind}.requiredDuringSchedulingIgnoredDuringExecution[${i}]`, errors)
    for (const [i, preferred] of listAt(pods, 'preferredDuringSchedulingIgnoredDuringExecution').entries()) {
      const here = `${field}.${kind}.preferredDuringSchedulingIgnoredDuringExecution[${i}]`
      checkWeight(preferred, here, errors)
      checkPodAffinityTerm(jsonAt(preferred, 'podAffinityTerm'), `${here}.podAffinityTerm`, errors)
    }
  }
}

const checkWeight = (preferred: Json, field: string, errors: FieldErrors): void => {
  const weight = numberAt(preferred, 'weight') ?? 0
  if (weight <= 0 || weight > 100) errors.invalid(`${field}.weight`, weight, 'must be in the range 1-100')
}

const checkPodAffinityTerm = (term: Json, field: string, errors: FieldErrors): void => {
  checkLabelSelector(term['labelSelector'], `${field}.labelSelector`, errors)
  checkLabelSelector(term['namespaceSelector'], `${field}.namespaceSelector`, errors)
  for (const namespace of textsAt(term, 'namespaces'))
    errors.invalidAll(`${field}.namespace`, namespace, labelNameComplaints(namespace))
  const key = textAt(term, 'topologyKey')
  if (key === '') errors.required(`${field}.topologyKey`, 'can not be empty')
  errors.invalidAll(`${field}.topologyKey`, key, qualifiedNameComplaints(key))
}

const checkSpread = (constraints: readonly Json[], field: string, errors: FieldErrors): void => {
  for (const [i, constraint] of constraints.entries()) {
    const here = `${field}[${i}]`
    const maxSkew = numberAt(constraint, 'maxSkew') ?? 0
    if (maxSkew <= 0) errors.invalid(`${here}.maxSkew`, maxSkew, 'must be greater than zero')
    const key = textAt(constraint, 'topologyKey')
    if (key === '') errors.required(`${here}.topologyKey`, 'can not be empty')
    else errors.invalidAll(`${here}.topologyKey`, key, qualifiedNameComplaints(key))
    const when = textAt(constraint, 'whenUnsatisfiable')
    if (when !== 'DoNotSchedule' && when !== 'ScheduleAnyway')
      errors.notSupported(`${here}.whenUnsatisfiable`, when, ['DoNotSchedule', 'ScheduleAnyway'])
    const same = (other: Json): boolean =>
      textAt(other, 'topologyKey') === key && textAt(other, 'whenUnsatisfiable') === when
    if (constraints.slice(i + 1).some(same))
      errors.duplicate(`${here}.{topologyKey, whenUnsatisfiable}`, `{${key}, ${when}}`)
    const minDomains = numberAt(constraint, 'minDomains')
    if (minDomains !== undefined && minDomains <= 0)
      errors.invalid(`${here}.minDomains`, minDomains, 'must be greater than zero')
    if (minDomains !== undefined && when !== 'DoNotSchedule')
      errors.invalid(
        `${here}.minDomains`,
        minDomains,
        `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${when}`,
      )
    for (const policy of ['nodeAffinityPolicy', 'nodeTaintsPolicy']) {
      const value = at(constraint, policy)
      if (value !== undefined && value !== 'Ignore' && value !== 'Honor')
        errors.notSupported(`${here}.${policy}`, value, ['Honor', 'Ignore'])
    }
    checkLabelSelector(constraint['labelSelector'], `${here}.labelSelector`, errors)
  }
}

const updatable =
  '`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)'

const withoutImages = (containers: unknown): unknown =>
  Array.isArray(containers)
    ? containers.map((container) => (isJson(container) ? { ...container, image: '' } : container))
    : containers

/** What an update may change in a pod's spec (core ValidatePodUpdate). */
export const checkPodUpdate = (object: ApiObject, old: ApiObject, errors: FieldErrors): void => {
  if (object['spec'] === old['spec'] || isDeepStrictEqual(object['spec'], old['spec'])) return
  const spec = jsonAt(object, 'spec')
  const before = jsonAt(old, 'spec')
  for (const list of ['containers', 'initContainers'] as const)
    if (listAt(spec, list).length !== listAt(before, list).length) {
      errors.forbidden(`spec.${list}`, 'pod updates may not add or remove containers')
      return
    }
  const deadline = numberAt(spec, 'activeDeadlineSeconds')
  const deadlineBefore = numberAt(before, 'activeDeadlineSeconds')
  if (deadlineBefore !== undefined && deadline === undefined)
    errors.invalid('spec.activeDeadlineSeconds', null, 'must not update from a positive integer to nil value')
  else if (deadline !== undefined && deadlineBefore !== undefined && deadline > deadlineBefore)
    errors.invalid('spec.activeDeadlineSeconds', deadline, 'must be less than or equal to previous value')
  const kept = listAt(spec, 'tolerations')
  if (listAt(before, 'tolerations').some((toleration) => !kept.some((other) => sameToleration(other, toleration))))
    errors.forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds')
  const gatesBefore = listAt(before, 'schedulingGates').map((gate) => textAt(gate, 'name'))
  for (const [i, gate] of listAt(spec, 'schedulingGates').entries()) {
    const name = textAt(gate, 'name')
    if (!gatesBefore.includes(name))
      errors.forbidden(
        `spec.schedulingGates[${i}].name`,
        `only deletion is allowed, but found new scheduling gate '${name}'`,
      )
  }

  const munged: Json = {
    ...spec,
    containers: withoutImages(spec['containers']),
    initContainers: withoutImages(spec['initContainers']),
    activeDeadlineSeconds: before['activeDeadlineSeconds'],
    tolerations: before['tolerations'],
    schedulingGates: before['schedulingGates'],
  }
  const grace = numberAt(before, 'terminationGracePeriodSeconds')
  if (grace !== undefined && grace < 0 && munged['terminationGracePeriodSeconds'] === 1)
    munged['terminationGracePeriodSeconds'] = grace
  if (gatesBefore.length > 0) {
    const selector = jsonAt(spec, 'nodeSelector')
    for (const [key, value] of Object.entries(jsonAt(before, 'nodeSelector')))
      if (selector[key] !== value) {
        errors.invalid(
          'spec.nodeSelector',
          selector,
          'only additions to spec.nodeSelector are allowed (no mutations or deletions)',
        )
        break
      }
    munged['nodeSelector'] = before['nodeSelector']
    // Node affinity of a gated pod may only become narrower; terms may gain requirements.
    const affinity = { ...jsonAt(spec, 'affinity') }
    const affinityBefore = at(before, 'affinity', 'nodeAffinity')
    checkNodeAffinityNarrows(affinity['nodeAffinity'], affinityBefore, errors)
    if (affinityBefore === undefined) delete affinity['nodeAffinity']
    else affinity['nodeAffinity'] = affinityBefore
    munged['affinity'] = Object.keys(affinity).length === 0 ? before['affinity'] : affinity
  }
  const original: Json = {
    ...before,
    containers: withoutImages(before['containers']),
    initContainers: withoutImages(before['initContainers']),
  }
  const changed = [...new Set([...Object.keys(munged), ...Object.keys(original)])].filter(
    (name) => !isDeepStrictEqual(munged[name], original[name]),
  )
  if (changed.length > 0) {
    const difference = changed
      .map((name) => `-${name}: ${JSON.stringify(original[name])}\n+${name}: ${JSON.stringify(munged[name])}`)
      .join('\n')
    errors.forbidden('spec', `pod updates may not change fields other than ${updatable}\n${difference}`)
  }
}

const checkNodeAffinityNarrows = (now: unknown, before: unknown, errors: FieldErrors): void => {
  const path = ['requiredDuringSchedulingIgnoredDuringExecution', 'nodeSelectorTerms'] as const
  const terms = listAt(now, ...path)
  const termsBefore = listAt(before, ...path)
  if (termsBefore.length === 0) return
  const field = `spec.affinity.nodeAffinity.${path.join('.')}`
  if (terms.length !== termsBefore.length) {
    errors.invalid(field, terms, 'no additions/deletions to non-empty NodeSelectorTerms list are allowed')
    return
  }
  for (const [i, term] of terms.entries())
    for (const part of ['matchExpressions', 'matchFields'])
      if (listAt(termsBefore[i], part).some((requirement, j) => !isDeepStrictEqual(requirement, listAt(term, part)[j])))
        errors.invalid(`${field}[${i}]`, term, 'only additions are allowed (no mutations or deletions)')
}

const sameToleration = (a: Json, b: Json): boolean =>
  ['key', 'operator', 'value', 'effect'].every((field) => (a[field] ?? '') === (b[field] ?? ''))

/** What a client may not say in a pod's status; its QoS class is no client's to change. */
export const checkPodStatusUpdate = (object: ApiObject, old: ApiObject, errors: FieldErrors): void => {
  const status = jsonAt(object, 'status')
  const before = jsonAt(old, 'status')
  if (before['qosClass'] !== undefined && status['qosClass'] !== before['qosClass'])
    object['status'] = { ...status, qosClass: before['qosClass'] }
  const nominated = textAt(status, 'nominatedNodeName')
  if (nominated !== '' && nominated !== textAt(before, 'nominatedNodeName') && textAt(old, 'spec', 'nodeName') !== '')
    errors.forbidden('status.nominatedNodeName', 'may not be set on pods that are already bound to a node')
}
