import type { Clock } from '../../clock/clock.ts'
import type { KubeObject, PodObject, WatchEvent } from '../../cluster/objects.ts'
import type { ObjectAccess } from '../apiserver/access.ts'
import { ApiFailure } from '../apiserver/failure.ts'

type Listener = (event: WatchEvent<KubeObject>) => void

/**
 * Objects without a server, for tests: no validation, no defaults, and listeners are told in the middle of the write,
 * which is harder on them than the embedded API server.
 */
export class MemoryObjects implements ObjectAccess {
  readonly #clock: Clock
  readonly #objects = new Map<string, Map<string, KubeObject>>()
  readonly #listeners = new Map<string, Set<Listener>>()
  #revision = 0
  writes = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get(resource: string, namespace: string, name: string): KubeObject | undefined {
    return this.#objects.get(resource)?.get(`${namespace}/${name}`)
  }

  list(resource: string): readonly KubeObject[] {
    return [...(this.#objects.get(resource)?.values() ?? [])]
  }

  create(resource: string, object: KubeObject): KubeObject {
    if (this.#stored(resource, object) !== undefined)
      throw new ApiFailure(409, 'AlreadyExists', `${object.metadata?.name} already exists`)
    const revision = ++this.#revision
    const stored = {
      ...object,
      metadata: { ...object.metadata, uid: `uid-${revision}`, resourceVersion: String(revision) },
    }
    return this.#put(resource, stored, 'ADDED')
  }

  update(resource: string, object: KubeObject, subresource?: 'status'): KubeObject {
    const old = this.#stored(resource, object)
    if (old === undefined) throw new ApiFailure(404, 'NotFound', `${object.metadata?.name} not found`)
    const given = object.metadata?.resourceVersion
    if (given !== undefined && given !== old.metadata?.resourceVersion)
      throw new ApiFailure(409, 'Conflict', 'the object has been modified')
    const metadata = {
      ...(subresource === 'status' ? old : object).metadata,
      resourceVersion: String(++this.#revision),
    }
    const status = (object as PodObject).status
    const next =
      subresource === 'status'
        ? { ...old, metadata, status }
        : { ...object, metadata, ...('status' in old ? { status: old.status } : {}) }
    return this.#put(resource, next, 'MODIFIED')
  }

  remove(resource: string, namespace: string, name: string, gracePeriodSeconds?: number): void {
    const old: PodObject | undefined = this.get(resource, namespace, name)
    if (old === undefined) throw new ApiFailure(404, 'NotFound', `${name} not found`)
    const deletionGracePeriodSeconds = gracePeriodSeconds ?? old.spec?.terminationGracePeriodSeconds ?? 30
    if (resource === 'pods' && deletionGracePeriodSeconds > 0 && (old.spec?.nodeName ?? '') !== '') {
      const deletionTimestamp = new Date(this.#clock.nowMs()).toISOString()
      this.update(resource, { ...old, metadata: { ...old.metadata, deletionTimestamp, deletionGracePeriodSeconds } })
      return
    }
    this.#objects.get(resource)?.delete(`${namespace}/${name}`)
    this.#tell(resource, { type: 'DELETED', object: old })
  }

  subscribe(resource: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(resource) ?? new Set()
    this.#listeners.set(resource, listeners.add(listener))
    return () => listeners.delete(listener)
  }

  #stored(resource: string, object: KubeObject): KubeObject | undefined {
    return this.get(resource, object.metadata?.namespace ?? '', object.metadata?.name ?? '')
  }

  #put(resource: string, object: KubeObject, type: 'ADDED' | 'MODIFIED'): KubeObject {
    this.writes++
    const objects = this.#objects.get(resource) ?? new Map<string, KubeObject>()
    this.#objects.set(resource, objects)
    objects.set(`${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`, object)
    this.#tell(resource, { type, object })
    return object
  }

  #tell(resource: string, event: WatchEvent<KubeObject>): void {
    for (const listener of this.#listeners.get(resource) ?? []) listener(event)
  }
}
