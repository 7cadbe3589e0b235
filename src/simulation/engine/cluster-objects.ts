import type { Clock } from '../../clock/clock.ts'
import type { ObjectFeed } from '../../cluster/feed.ts'
import type {
  KubeObject,
  PersistentVolumeClaimObject,
  PersistentVolumeObject,
  PodObject,
} from '../../cluster/objects.ts'
import { podKey } from '../../cluster/pod.ts'
import { BOUND_BY_CONTROLLER, SELECTED_NODE } from '../../cluster/volumes.ts'
import { StowageError } from '../../errors/catalogue.ts'
import { BindFailure, type ClaimBinder } from '../../scheduling/ports.ts'
import type { Scheduler } from '../../scheduling/scheduler.ts'
import { MemoryObjects } from '../virtual/memory-objects.ts'
import { startVolumeController } from '../virtual/volume-controller.ts'

const VOLUMES = 'persistentvolumes'
const CLAIMS = 'persistentvolumeclaims'
const PODS = 'pods'

/** Kinds that may be there from the start, the resource under which they are kept, and where the scheduler is told of them. */
const KINDS = new Map<string, readonly [resource: string, feed: (of: Scheduler) => ObjectFeed<KubeObject> | undefined]>(
  [
    ['PriorityClass', ['priorityclasses', () => undefined]],
    ['Namespace', ['namespaces', ({ namespaces }) => namespaces]],
    ['PodDisruptionBudget', ['poddisruptionbudgets', ({ disruptionBudgets }) => disruptionBudgets]],
    ['PersistentVolumeClaim', [CLAIMS, ({ storage }) => storage.claims]],
    ['PersistentVolume', [VOLUMES, ({ storage }) => storage.volumes]],
    ['StorageClass', ['storageclasses.storage.k8s.io', ({ storage }) => storage.classes]],
    ['CSINode', ['csinodes', ({ storage }) => storage.csiNodes]],
    ['CSIDriver', ['csidrivers', ({ storage }) => storage.csiDrivers]],
    ['VolumeAttachment', ['volumeattachments.storage.k8s.io', ({ storage }) => storage.attachments]],
    ['CSIStorageCapacity', ['csistoragecapacities', ({ storage }) => storage.capacities]],
    ['Service', ['services', ({ selectors }) => selectors?.services]],
    ['ReplicaSet', ['replicasets', ({ selectors }) => selectors?.replicaSets]],
    ['StatefulSet', ['statefulsets', ({ selectors }) => selectors?.statefulSets]],
    ['ReplicationController', ['replicationcontrollers', ({ selectors }) => selectors?.replicationControllers]],
    ['PodGroup', ['podgroups', () => undefined]],
  ],
)

const groupFeed = ({ podGroups }: Scheduler, { apiVersion = '' }: KubeObject): ObjectFeed<KubeObject> | undefined => {
  const [group = ''] = apiVersion.split('/')
  return Object.hasOwn(podGroups, group) ? podGroups[group as keyof typeof podGroups] : undefined
}

/**
 * Everything in a simulated cluster that is neither node nor pod, with the volume controller of the embedded cluster, which
 * here works at once: a claim that is to be bound is bound when the question returns.
 */
export class ClusterObjects {
  readonly claimBinder: ClaimBinder
  readonly #store: MemoryObjects
  readonly #given: readonly KubeObject[]
  readonly #priorities = new Map<string, number>()
  #defaultPriority = 0
  /** what the volume controller wants to do next */
  readonly #soon: (() => void)[] = []
  readonly #unreadable: string[] = []

  /** @throws StowageError WORKLOAD_MALFORMED for an object of a kind that nobody looks at */
  constructor(clock: Clock, objects: readonly KubeObject[]) {
    this.#given = objects
    this.#store = new MemoryObjects(clock)
    for (const object of objects) {
      if (!KINDS.has(object.kind ?? ''))
        throw new StowageError('WORKLOAD_MALFORMED', {
          found: `a ${JSON.stringify(object.kind)} for a simulation`,
          expected: `one of ${[...KINDS.keys()].join(', ')}`,
        })
      if (object.kind !== 'PriorityClass') continue
      const { globalDefault, metadata, value } = object as KubeObject & { value?: unknown; globalDefault?: unknown }
      if (typeof value !== 'number') continue
      this.#priorities.set(metadata?.name ?? '', value)
      if (globalDefault === true) this.#defaultPriority = value
    }
    const pumped: Clock = {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      after: (_, run) => {
        this.#soon.push(run)
        return { cancel: () => this.#soon.splice(this.#soon.indexOf(run), 1) }
      },
    }
    if (objects.some(({ kind }) => kind === 'StorageClass' || kind === 'PersistentVolume'))
      startVolumeController({ objects: this.#store, clock: pumped, log: (why) => this.#unreadable.push(why) })
    this.claimBinder = {
      bindClaims: (pod, nodeName, { bindings, provisions }) => {
        for (const { claim, volume } of bindings) {
          const { name, namespace, uid } = claim
          const stored = this.#stored(VOLUMES, '', volume.name) as PersistentVolumeObject
          if (stored.spec?.claimRef?.uid === uid) continue
          const annotations = { ...stored.metadata?.annotations, [BOUND_BY_CONTROLLER]: 'yes' }
          this.#store.update(VOLUMES, {
            ...stored,
            metadata: { ...stored.metadata, annotations },
            spec: { ...stored.spec, claimRef: { name, namespace, uid } },
          } as KubeObject)
        }
        for (const { claim } of provisions) {
          const stored = this.#stored(CLAIMS, claim.namespace, claim.name)
          const annotations = { ...stored.metadata?.annotations, [SELECTED_NODE]: nodeName }
          this.#store.update(CLAIMS, { ...stored, metadata: { ...stored.metadata, annotations } })
        }
        this.#pump()
        const open = [...bindings, ...provisions].filter(({ claim: { namespace, name } }) => {
          const { status } = this.#stored(CLAIMS, namespace, name) as PersistentVolumeClaimObject
          return status?.phase !== 'Bound'
        })
        return open.length === 0
          ? Promise.resolve()
          : Promise.reject(new BindFailure('error', `nobody provides the volumes of ${podKey(pod)}`))
      },
    }
  }

  /** Tells the scheduler of everything that is there, and of every change from now on. */
  connect(scheduler: Scheduler): void {
    for (const [resource, feedOf] of KINDS.values()) {
      const feed = feedOf(scheduler)
      if (feed === undefined) continue
      this.#store.subscribe(resource, ({ type, object }) => {
        const { name = '', namespace = '', uid = '' } = object.metadata ?? {}
        if (type === 'DELETED') feed.gone(namespace, name, uid)
        else feed.seen(object)
      })
    }
    for (const object of this.#given) {
      // known kinds only, as the constructor holds
      const [resource] = KINDS.get(object.kind ?? '')!
      const stored = this.#store.create(resource, object)
      if (object.kind === 'PodGroup') groupFeed(scheduler, stored)?.seen(stored)
    }
    this.#pump()
  }

  /** The priority that admission gives to pods of a class. @throws StowageError WORKLOAD_MALFORMED if there is no such class */
  priorityOf(className: string | undefined): number {
    if (className === undefined || className === '') return this.#defaultPriority
    if (className === 'system-node-critical') return 2_000_001_000
    if (className === 'system-cluster-critical') return 2_000_000_000
    const priority = this.#priorities.get(className)
    if (priority === undefined)
      throw new StowageError('WORKLOAD_MALFORMED', {
        found: `a pod of the priority class ${JSON.stringify(className)}, which is not there`,
        expected: `one of ${[...this.#priorities.keys()].join(', ') || 'those that come with the workload: there is none'}`,
      })
    return priority
  }

  /** A pod has come: claims are made for its ephemeral volumes. */
  podComes(pod: PodObject): void {
    if (!hasEphemeral(pod)) return
    this.#store.create(PODS, pod)
    this.#pump()
  }

  /** It is gone, and so are those. */
  podGoes(pod: PodObject): void {
    if (!hasEphemeral(pod)) return
    this.#store.remove(PODS, pod.metadata?.namespace ?? '', pod.metadata?.name ?? '', 0)
    this.#pump()
  }

  #stored(resource: string, namespace: string, name: string): KubeObject {
    const stored = this.#store.get(resource, namespace, name)
    if (stored === undefined) throw new BindFailure('error', `${resource} ${namespace}/${name} is not there`)
    return stored
  }

  #pump(): void {
    for (let run = this.#soon.shift(); run !== undefined; run = this.#soon.shift()) run()
  }
}

const hasEphemeral = ({ spec }: PodObject): boolean => (spec?.volumes ?? []).some(({ ephemeral }) => ephemeral)
