import { isDeepStrictEqual } from 'node:util'
import type { Clock, Timer } from '../../clock/clock.ts'
import type { Random } from '../../clock/random.ts'
import { labelSelectorMatches } from '../../cluster/labels.ts'
import type { Condition, LabelSelector, PodSpec, PodStatus } from '../../cluster/objects.ts'
import { ApiFailure, alreadyExists, badRequest, conflict, forbidden, invalid, notFound, staleWrite } from './failure.ts'
import { type ApiObject, type Json, at, jsonAt, numberAt, textAt } from './json.ts'
import {
  CLEANUP_FINALIZER,
  isEstablished,
  isNewGeneration,
  resourcesOf,
  statusWithNames,
  terminatingStatus,
} from './custom/definitions.ts'
import { type Resource, apiVersionOf, builtInNamed, collectionOf } from './resources.ts'
import type { ResourceTable } from './resource-table.ts'
import type { Collection, Entry, Store } from './store.ts'
import { FieldErrors } from './validation/field-errors.ts'
import { systemPriorities } from './validation/kinds.ts'
import { checkMetadata, checkMetadataUpdate } from './validation/metadata.ts'
import { subdomainComplaints } from './validation/names.ts'

export interface WriteOptions {
  /** everything but the write */
  readonly dryRun?: boolean
}
export interface DeleteOptions extends WriteOptions {
  readonly gracePeriodSeconds?: number
  readonly uid?: string
  readonly resourceVersion?: string
}
/** What is left after a delete: the object while it lingers (grace, finalizers), or as it was when it went. */
export interface Deletion {
  readonly object: ApiObject
  readonly gone: boolean
}

const pods = builtInNamed('pods')
const events = builtInNamed('events')
const namespaces = builtInNamed('namespaces')
const priorityClasses = builtInNamed('priorityclasses.scheduling.k8s.io')
const definitions = builtInNamed('customresourcedefinitions.apiextensions.k8s.io')
const initialNamespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease']
const undeletable = new Set(['default', 'kube-system', 'kube-public'])

const suffixLetters = 'bcdfghjklmnpqrstvwxz2456789'
const eventLifetimeMs = 3_600_000
const eventSweepMs = 60_000
/** Events are the one resource that clients write without end; the oldest go first. */
const eventLimit = 50_000

/**
 * The operations on objects, as kube-apiserver's registries have them: admission, defaults, validation, preconditions, then the
 * store. Knows nothing of HTTP. Objects handed in become the registry's; those handed out are shared and never change.
 */
export class Registry {
  readonly store: Store
  readonly resources: ResourceTable
  readonly #clock: Clock
  readonly #random: Random
  readonly #terminating = new Set<string>()
  #sweep: Timer | undefined

  constructor(store: Store, resources: ResourceTable, clock: Clock, random: Random) {
    this.store = store
    this.resources = resources
    this.#clock = clock
    this.#random = random
    for (const name of initialNamespaces) this.create(namespaces, '', { metadata: { name } })
    for (const [name, value] of systemPriorities)
      this.create(priorityClasses, '', {
        metadata: { name },
        value,
        description:
          name === 'system-cluster-critical'
            ? 'Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.'
            : 'Used for system critical pods that must not be moved from their current node.',
      })
  }

  /** The time as Kubernetes writes it, to the second. */
  timestamp(): string {
    return `${new Date(this.#clock.nowMs()).toISOString().slice(0, 19)}Z`
  }

  collection(resource: Resource): Collection {
    return this.store.collection(resource.storedIn)
  }

  find(resource: Resource, namespace: string, name: string): Entry | undefined {
    return this.collection(resource).entries.get(resource.namespaced ? `${namespace}/${name}` : name)
  }

  /** @throws ApiFailure 404 */
  entry(resource: Resource, namespace: string, name: string): Entry {
    const found = this.find(resource, namespace, name)
    if (found === undefined) throw notFound(resource, name)
    return found
  }

  /** @param body the object in its stored form @throws ApiFailure */
  create(resource: Resource, namespace: string, body: ApiObject, options: WriteOptions = {}): ApiObject {
    const { metadata } = body
    const now = this.timestamp()
    if (resource.namespaced) metadata.namespace = namespace
    if (
      (metadata.name === undefined || metadata.name === '') &&
      metadata.generateName !== undefined &&
      metadata.generateName !== ''
    )
      metadata.name = `${metadata.generateName.slice(0, 58)}${Array.from({ length: 5 }, () => suffixLetters[this.#random.below(suffixLetters.length)]).join('')}`
    const name = metadata.name ?? ''
    if (resource.namespaced) this.#admitNamespace(resource, namespace, name)
    if (resource.custom !== undefined) this.#admitCustom(resource, name)
    delete metadata.deletionTimestamp
    delete metadata.deletionGracePeriodSeconds
    delete metadata.resourceVersion
    delete metadata.generation
    metadata.uid = this.#uid()
    metadata.creationTimestamp = now
    if (resource.generation) metadata.generation = 1
    resource.defaults(body, now)
    const object: ApiObject = {
      kind: resource.kind,
      apiVersion: apiVersionOf(resource),
      metadata: orderMetadata(metadata),
      ...withoutHead(body),
    }
    const stored = this.#storedAs(resource)
    if (stored !== resource) {
      object.kind = stored.kind
      object.apiVersion = apiVersionOf(stored)
    }
    if (resource === pods) this.#admitPriority(object)
    const errors = new FieldErrors()
    checkMetadata(object, resource.namespaced, resource.nameRule, errors)
    resource.validate(object, errors)
    // Events of either group are refused under the one name of the stored kind.
    if (errors.found.length > 0) throw invalid(stored.group, resource.kind, name, errors.found)
    const key = resource.namespaced ? `${namespace}/${name}` : name
    const collection = this.collection(resource)
    const present = collection.entries.get(key)
    if (present !== undefined)
      throw alreadyExists(resource, name, present.object.metadata.deletionTimestamp !== undefined)
    if (options.dryRun === true) return object
    this.store.put(collection, key, object)
    if (resource.storedIn === 'events') this.#boundEvents(collection)
    if (resource === definitions) this.#defineAll()
    return object
  }

  /**
   * @param body the whole new object in its stored form; its resourceVersion, where given, must be the stored one
   * @throws ApiFailure
   */
  update(
    resource: Resource,
    namespace: string,
    name: string,
    body: ApiObject,
    subresource: '' | 'status',
    options: WriteOptions = {},
  ): ApiObject {
    const entry = this.entry(resource, namespace, name)
    const old = entry.object
    const own = body.metadata
    if (own.name !== undefined && own.name !== '' && own.name !== name)
      throw badRequest(`the name of the object (${own.name}) does not match the name on the URL (${name})`)
    if (
      own.resourceVersion !== undefined &&
      own.resourceVersion !== '' &&
      own.resourceVersion !== old.metadata.resourceVersion
    )
      throw staleWrite(resource, name)
    if (!resource.unconditionalUpdate && (own.resourceVersion ?? '') === '')
      throw invalid(resource.group, resource.plural, name, [
        {
          reason: 'FieldValueInvalid',
          field: 'metadata.resourceVersion',
          message: 'Invalid value: 0: must be specified for an update',
        },
      ])
    if (own.uid !== undefined && own.uid !== '' && own.uid !== old.metadata.uid)
      throw conflict(
        resource,
        name,
        `Precondition failed: UID in precondition: ${own.uid}, UID in object meta: ${old.metadata.uid}`,
      )

    const kept = old.metadata
    const metadata = orderMetadata({
      ...own,
      name,
      ...(kept.namespace === undefined ? {} : { namespace: own.namespace ?? kept.namespace }),
      ...(kept.uid === undefined ? {} : { uid: kept.uid }),
      ...(kept.resourceVersion === undefined ? {} : { resourceVersion: kept.resourceVersion }),
      creationTimestamp: own.creationTimestamp ?? kept.creationTimestamp ?? '',
    })
    for (const field of ['generation', 'deletionTimestamp', 'deletionGracePeriodSeconds', 'generateName'] as const) {
      delete metadata[field]
      if (kept[field] !== undefined) Object.assign(metadata, { [field]: kept[field] })
    }
    const rest = subresource === 'status' ? { ...withoutHead(old), status: body['status'] ?? {} } : withoutHead(body)
    if (subresource === '' && resource.hasStatus) {
      if (old['status'] !== undefined) rest['status'] = old['status']
      else if (resource.custom !== undefined) delete rest['status']
    }
    const object: ApiObject = {
      kind: old.kind ?? resource.kind,
      apiVersion: old.apiVersion ?? apiVersionOf(resource),
      metadata: orderMetadata(metadata),
      ...rest,
    }
    const errors = new FieldErrors()
    if (subresource === 'status') resource.updateStatus(object, old, errors)
    else {
      resource.updateDefaults(object, old)
      checkMetadata(object, resource.namespaced, resource.nameRule, errors)
      checkMetadataUpdate(object, old, errors)
      if (object['spec'] !== old['spec'] || object['spec'] === undefined || resource.custom !== undefined)
        resource.validate(object, errors)
      resource.validateUpdate(object, old, errors)
      const isNew =
        resource.custom === undefined
          ? !isDeepStrictEqual(object['spec'], old['spec'])
          : isNewGeneration(object, old, resource.hasStatus)
      if (resource.generation && isNew) object.metadata.generation = (kept.generation ?? 0) + 1
    }
    if (errors.found.length > 0) throw invalid(this.#storedAs(resource).group, resource.kind, name, errors.found)
    // A write that changes nothing is none: no new resourceVersion, no event.
    if (options.dryRun === true) return object
    if (isDeepStrictEqual(object, old)) return old
    const written = this.store.put(this.collection(resource), entry.key, object)
    if (resource === definitions) this.#defineAll()
    if (
      object.metadata.deletionTimestamp !== undefined &&
      (object.metadata.finalizers ?? []).length === 0 &&
      (object.metadata.deletionGracePeriodSeconds ?? 0) === 0
    )
      this.#removeFinally(resource, written)
    return object
  }

  /** @throws ApiFailure */
  remove(resource: Resource, namespace: string, name: string, options: DeleteOptions = {}): Deletion {
    const entry = this.entry(resource, namespace, name)
    const { metadata } = entry.object
    const precondition = (what: string, wanted: string | undefined, have: string | undefined, may: string): void => {
      if (wanted !== undefined && wanted !== have)
        throw conflict(
          { group: '', plural: resource.kind, kind: resource.kind },
          name,
          `the ${what} in the precondition (${wanted}) does not match the ${what} in record (${have}). The object might have been ${may}`,
        )
    }
    precondition('UID', options.uid, metadata.uid, 'deleted and then recreated')
    precondition('ResourceVersion', options.resourceVersion, metadata.resourceVersion, 'modified')
    if (resource === namespaces) return this.#removeNamespace(entry, options)
    if (resource === definitions) return this.#removeDefinition(entry, options)
    const graceSeconds = resource.graceful ? graceOf(entry.object, options.gracePeriodSeconds) : 0
    const finalized = (metadata.finalizers ?? []).length > 0
    const lingers = graceSeconds > 0 || finalized
    const already = metadata.deletionTimestamp !== undefined
    if (already && lingers && graceSeconds >= (metadata.deletionGracePeriodSeconds ?? 0))
      return { object: entry.object, gone: false }
    if (options.dryRun === true)
      return { object: resource.graceful ? this.#marked(entry.object, graceSeconds) : entry.object, gone: !lingers }
    if (!lingers && !resource.graceful) return { object: this.#removeFinally(resource, entry), gone: true }
    const marked = this.#marked(entry.object, graceSeconds)
    if (!lingers && already) return { object: this.#removeFinally(resource, entry, marked), gone: true }
    const written = this.store.put(this.collection(resource), entry.key, marked)
    if (lingers) return { object: written.object, gone: false }
    return { object: this.#removeFinally(resource, written), gone: true }
  }

  /** pods/binding, with the checks and words of kube-apiserver's BindingREST. @throws ApiFailure */
  bind(namespace: string, name: string, binding: Json, options: WriteOptions = {}): void {
    const metadata = jsonAt(binding, 'metadata')
    const boundName = textAt(metadata, 'name')
    if (boundName !== '' && boundName !== name) throw badRequest('name in URL does not match name in Binding object')
    const node = textAt(binding, 'target', 'name')
    const kind = textAt(binding, 'target', 'kind')
    const errors = new FieldErrors()
    if (kind !== '' && kind !== 'Node') errors.notSupported('target.kind', kind, ['Node', '<empty>'])
    if (node === '') errors.required('target.name')
    else errors.invalidAll('target.name', node, subdomainComplaints(node))
    if (errors.found.length > 0)
      throw new ApiFailure(500, '', errors.found.map(({ field, message }) => `${field}: ${message}`).join(', '))

    const entry = this.entry(pods, namespace, name)
    const pod = entry.object
    const precondition = (what: string, wanted: string, have: string | undefined): void => {
      if (wanted !== '' && wanted !== have)
        throw conflict(
          pods,
          name,
          `StorageError: invalid object, Code: 4, Key: /registry/pods/${entry.key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${have}`,
        )
    }
    precondition('UID', textAt(metadata, 'uid'), pod.metadata.uid)
    precondition('ResourceVersion', textAt(metadata, 'resourceVersion'), pod.metadata.resourceVersion)
    const refuse = (why: string): never => {
      throw conflict({ ...pods, plural: 'pods/binding' }, name, why)
    }
    if (pod.metadata.deletionTimestamp !== undefined)
      refuse(`pod ${name} is being deleted, cannot be assigned to a host`)
    const spec = (pod['spec'] ?? {}) as PodSpec
    if (spec.nodeName !== undefined && spec.nodeName !== '')
      refuse(`pod ${name} is already assigned to node "${spec.nodeName}"`)
    if ((spec.schedulingGates ?? []).length > 0) refuse(`pod ${name} has non-empty .spec.schedulingGates`)
    if (options.dryRun === true) return

    const { nominatedNodeName: _, ...status } = (pod['status'] ?? {}) as PodStatus
    const before = status.conditions?.find((condition) => condition.type === 'PodScheduled')
    const scheduled: Condition = {
      type: 'PodScheduled',
      status: 'True',
      lastProbeTime: null,
      lastTransitionTime:
        before?.status === 'True' && before.lastTransitionTime !== undefined
          ? before.lastTransitionTime
          : this.timestamp(),
    }
    const conditions =
      before === undefined
        ? [...(status.conditions ?? []), scheduled]
        : (status.conditions ?? []).map((condition) => (condition === before ? scheduled : condition))
    const copied: ApiObject['metadata'] = { ...pod.metadata }
    for (const field of ['labels', 'annotations'] as const) {
      const added = jsonAt(metadata, field) as Record<string, string>
      if (Object.keys(added).length > 0) copied[field] = { ...copied[field], ...added }
    }
    this.store.put(this.collection(pods), entry.key, {
      ...pod,
      metadata: copied,
      spec: { ...spec, nodeName: node },
      status: { ...status, conditions },
    })
  }

  /** pods/eviction: a delete that pod disruption budgets may refuse. @throws ApiFailure 429 */
  evict(namespace: string, name: string, options: DeleteOptions): void {
    const { object } = this.entry(pods, namespace, name)
    // Who does not run is not protected.
    const running = textAt(object, 'status', 'phase') === 'Running' && object.metadata.deletionTimestamp === undefined
    for (const { object: budget } of this.store.collection('poddisruptionbudgets.policy').within(`${namespace}/`)) {
      if (!running) break
      const selector = at(budget, 'spec', 'selector') as LabelSelector | undefined
      if (!labelSelectorMatches(selector, object.metadata.labels ?? {})) continue
      if ((numberAt(budget, 'status', 'disruptionsAllowed') ?? 0) > 0) continue
      throw new ApiFailure(
        429,
        'TooManyRequests',
        "Cannot evict pod as it would violate the pod's disruption budget.",
        {
          causes: [
            {
              reason: 'DisruptionBudget',
              message: `The disruption budget ${budget.metadata.name} needs ${numberAt(budget, 'status', 'desiredHealthy') ?? 0} healthy pods and has ${numberAt(budget, 'status', 'currentHealthy') ?? 0} currently`,
            },
          ],
        },
      )
    }
    this.remove(pods, namespace, name, options)
  }

  /** Stops what goes on by itself (the ageing of events). */
  stop(): void {
    this.#sweep?.cancel()
    this.#sweep = undefined
  }

  #uid(): string {
    const hex = Array.from({ length: 4 }, () => this.#random.below(0x1_0000_0000).toString(16).padStart(8, '0')).join(
      '',
    )
    const variant = (8 + (Number.parseInt(hex.charAt(16), 16) & 3)).toString(16)
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`
  }

  #admitNamespace(resource: Resource, namespace: string, name: string): void {
    const found = this.find(namespaces, '', namespace)
    if (found === undefined) throw notFound(namespaces, namespace)
    if (!this.#terminating.has(namespace)) return
    throw forbidden(
      resource,
      name,
      `unable to create new content in namespace ${namespace} because it is being terminated`,
      [
        {
          reason: 'NamespaceTerminating',
          message: `namespace ${namespace} is being terminated`,
          field: 'metadata.namespace',
        },
      ],
    )
  }

  /** A definition that goes takes no more objects. */
  #admitCustom(resource: Resource, name: string): void {
    if (this.find(definitions, '', resource.storedIn)?.object.metadata.deletionTimestamp === undefined) return
    throw forbidden(resource, name, 'create not allowed while custom resource definition is terminating')
  }

  /** The Priority admission plugin: spec.priority comes from the class and from nowhere else. */
  #admitPriority(pod: ApiObject): void {
    const spec = pod['spec'] as PodSpec
    const name = pod.metadata.name ?? ''
    let chosen: ApiObject | undefined
    if (spec.priorityClassName !== undefined && spec.priorityClassName !== '') {
      chosen = this.find(priorityClasses, '', spec.priorityClassName)?.object
      if (chosen === undefined)
        throw forbidden(pods, name, `no PriorityClass with name ${spec.priorityClassName} was found`)
    } else {
      for (const { object } of this.collection(priorityClasses).entries.values())
        if (
          object['globalDefault'] === true &&
          (chosen === undefined || (numberAt(object, 'value') ?? 0) < (numberAt(chosen, 'value') ?? 0))
        )
          chosen = object
      if (chosen?.metadata.name !== undefined) spec.priorityClassName = chosen.metadata.name
    }
    const priority = numberAt(chosen, 'value') ?? 0
    if (spec.priority !== undefined && spec.priority !== priority)
      throw forbidden(
        pods,
        name,
        `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${priority} from the given PriorityClass name`,
      )
    const policy = textAt(chosen, 'preemptionPolicy') || 'PreemptLowerPriority'
    if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy)
      throw forbidden(
        pods,
        name,
        `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`,
      )
    spec.priority = priority
    spec.preemptionPolicy = policy
  }

  #marked(object: ApiObject, graceSeconds: number): ApiObject {
    const atMs = this.#clock.nowMs() + graceSeconds * 1000
    const { generation } = object.metadata
    const metadata = orderMetadata({
      ...object.metadata,
      deletionTimestamp:
        object.metadata.deletionTimestamp !== undefined && graceSeconds === 0
          ? object.metadata.deletionTimestamp
          : `${new Date(atMs).toISOString().slice(0, 19)}Z`,
      deletionGracePeriodSeconds: graceSeconds,
      ...(generation === undefined || object.metadata.deletionTimestamp !== undefined
        ? {}
        : { generation: generation + 1 }),
    })
    return { ...object, metadata }
  }

  #removeFinally(resource: Resource, entry: Entry, last: ApiObject = entry.object): ApiObject {
    const object = { ...last, metadata: { ...last.metadata } }
    this.store.remove(this.collection(resource), entry, object)
    // What was measured of a node or pod goes with it.
    if (resource.group === '' && (resource.plural === 'nodes' || resource.plural === 'pods')) {
      const usage = this.store.collection(`${resource.plural}.metrics.k8s.io`)
      const measured = usage.entries.get(entry.key)
      if (measured !== undefined)
        this.store.remove(usage, measured, { ...measured.object, metadata: { ...measured.object.metadata } })
    }
    const { namespace } = object.metadata
    if (resource.namespaced && namespace !== undefined && this.#terminating.has(namespace))
      this.#finishNamespace(namespace)
    if (resource === definitions) this.#defineAll()
    else if (resource.custom !== undefined) this.#finishDefinition(resource.storedIn)
    return object
  }

  /** The resource under whose name and version objects are stored: that of `resource`, but for events. */
  #storedAs(resource: Resource): Resource {
    return resource.storedIn === collectionOf(resource) ? resource : builtInNamed(resource.storedIn)
  }

  /** Gives definitions the names that they may have, and serves what is established. */
  #defineAll(): void {
    const now = this.timestamp()
    const collection = this.collection(definitions)
    for (const { key, object } of collection.entries.values()) {
      const others = Array.from(collection.entries.values(), (other) => other.object).filter(
        (other) => other !== object && textAt(other, 'spec', 'group') === textAt(object, 'spec', 'group'),
      )
      const status = statusWithNames(object, others, now)
      if (object.metadata.deletionTimestamp === undefined && !isDeepStrictEqual(status, object['status']))
        this.store.put(collection, key, { ...object, metadata: { ...object.metadata }, status })
    }
    const established = Array.from(collection.entries.values(), ({ object }) => object).filter(isEstablished)
    this.resources.define(established.flatMap(resourcesOf))
  }

  /** A definition takes its objects with it, and goes when the last of them has gone. */
  #removeDefinition(entry: Entry, options: DeleteOptions): Deletion {
    const { object } = entry
    if (options.dryRun === true || object.metadata.deletionTimestamp !== undefined) return { object, gone: false }
    const now = this.timestamp()
    const finalizers = [...new Set([...(object.metadata.finalizers ?? []), CLEANUP_FINALIZER])]
    const marked = this.store.put(this.collection(definitions), entry.key, {
      ...object,
      metadata: orderMetadata({ ...object.metadata, deletionTimestamp: now, finalizers }),
      status: terminatingStatus(object, now),
    })
    const resource = this.resources.named(entry.key)
    if (resource?.custom !== undefined)
      for (const { object: one } of this.collection(resource).sorted()) {
        const { name = '', namespace = '' } = one.metadata
        if (this.find(resource, namespace, name) !== undefined) this.remove(resource, namespace, name)
      }
    this.#finishDefinition(entry.key)
    return { object: marked.object, gone: false }
  }

  #finishDefinition(name: string): void {
    const entry = this.find(definitions, '', name)
    if (entry?.object.metadata.deletionTimestamp === undefined) return
    // Objects of a kind that is built in are none of its own.
    if (this.resources.named(name)?.custom !== undefined && this.store.collection(name).entries.size > 0) return
    const { metadata } = entry.object
    const finalizers = (metadata.finalizers ?? []).filter((finalizer) => finalizer !== CLEANUP_FINALIZER)
    const object = { ...entry.object, metadata: orderMetadata({ ...metadata, finalizers }) }
    if (finalizers.length === 0) this.#removeFinally(definitions, entry, object)
    else if (finalizers.length < (metadata.finalizers ?? []).length)
      this.store.put(this.collection(definitions), name, object)
  }

  #removeNamespace(entry: Entry, options: DeleteOptions): Deletion {
    const name = entry.key
    if (undeletable.has(name)) throw forbidden(namespaces, name, 'this namespace may not be deleted')
    if (options.dryRun === true) return { object: entry.object, gone: false }
    if (this.#terminating.has(name)) return { object: entry.object, gone: false }
    const marked = orderMetadata({ ...entry.object.metadata, deletionTimestamp: this.timestamp() })
    const written = this.store.put(this.collection(namespaces), name, {
      ...entry.object,
      metadata: marked,
      status: { phase: 'Terminating' },
    })
    this.#terminating.add(name)
    for (const resource of this.resources.all()) {
      if (!resource.namespaced || this.#storedAs(resource) !== resource) continue
      for (const { object } of this.collection(resource).within(`${name}/`))
        if (this.find(resource, name, object.metadata.name ?? '') !== undefined)
          this.remove(resource, name, object.metadata.name ?? '')
    }
    this.#finishNamespace(name)
    return { object: written.object, gone: false }
  }

  /** A terminating namespace goes when nothing is left in it. */
  #finishNamespace(name: string): void {
    for (const resource of this.resources.all())
      if (resource.namespaced && this.collection(resource).hasWithin(`${name}/`)) return
    const entry = this.find(namespaces, '', name)
    if (entry === undefined || !this.#terminating.delete(name)) return
    this.#removeFinally(namespaces, entry)
  }

  #boundEvents(collection: Collection): void {
    if (collection.entries.size > eventLimit) {
      const oldest = collection.entries.values().next().value
      if (oldest !== undefined) this.#removeFinally(events, oldest)
    }
    this.#sweep ??= this.#clock.after(eventSweepMs, () => this.#expireEvents(collection))
  }

  #expireEvents(collection: Collection): void {
    this.#sweep = undefined
    const beforeMs = this.#clock.nowMs() - eventLifetimeMs
    // Each write of an event gives it another hour: its series says when it was seen last.
    for (const entry of collection.entries.values()) {
      const seen =
        textAt(entry.object, 'series', 'lastObservedTime') ||
        textAt(entry.object, 'lastTimestamp') ||
        (entry.object.metadata.creationTimestamp ?? '')
      if (Date.parse(seen) < beforeMs) this.#removeFinally(events, entry)
    }
    if (collection.entries.size > 0) this.#sweep = this.#clock.after(eventSweepMs, () => this.#expireEvents(collection))
  }
}

const withoutHead = ({ kind: _kind, apiVersion: _version, metadata: _metadata, ...rest }: ApiObject): Json => rest

/** The order in which Go writes these fields; people compare outputs. */
const orderMetadata = (metadata: ApiObject['metadata']): ApiObject['metadata'] => {
  const {
    name,
    generateName,
    namespace,
    uid,
    resourceVersion,
    generation,
    creationTimestamp,
    deletionTimestamp,
    deletionGracePeriodSeconds,
    ...rest
  } = metadata
  const head = {
    name,
    generateName,
    namespace,
    uid,
    resourceVersion,
    generation,
    creationTimestamp,
    deletionTimestamp,
    deletionGracePeriodSeconds,
  }
  const ordered: Json = {}
  for (const [field, value] of Object.entries(head)) if (value !== undefined && value !== '') ordered[field] = value
  for (const [field, value] of Object.entries(rest)) {
    const empty = typeof value === 'object' && value !== null && Object.keys(value).length === 0
    if (value !== undefined && !empty) ordered[field] = value
  }
  return ordered
}

/** Seconds that a pod may take to end: none if nobody runs it (core pod strategy, CheckGracefulDelete). */
const graceOf = (pod: ApiObject, asked: number | undefined): number => {
  if (textAt(pod, 'spec', 'nodeName') === '') return 0
  const phase = textAt(pod, 'status', 'phase')
  if (phase === 'Succeeded' || phase === 'Failed') return 0
  const seconds = asked ?? numberAt(pod, 'spec', 'terminationGracePeriodSeconds') ?? 30
  return seconds < 0 ? 1 : seconds
}
