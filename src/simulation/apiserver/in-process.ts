import type { KubeObject, WatchEvent } from '../../cluster/objects.ts'
import type { ObjectAccess } from './access.ts'
import { badRequest } from './failure.ts'
import type { ApiObject, Json } from './json.ts'
import type { Registry } from './registry.ts'
import type { Resource } from './resources.ts'
import { decode } from './schema.ts'
import type { Change } from './store.ts'

/** `ObjectAccess` over the registry that the HTTP side uses too. */
export class InProcessAccess implements ObjectAccess {
  readonly #registry: Registry

  constructor(registry: Registry) {
    this.#registry = registry
  }

  #rowOf(resource: string): Resource {
    const found = this.#registry.resources.named(resource)
    if (found === undefined) throw badRequest(`there is no resource ${resource}`)
    return found
  }

  get(resource: string, namespace: string, name: string): KubeObject | undefined {
    const row = this.#rowOf(resource)
    const object = this.#registry.find(row, namespace, name)?.object
    return object === undefined || row.toWire === undefined ? object : row.toWire(object)
  }

  list(resource: string): readonly KubeObject[] {
    const row = this.#rowOf(resource)
    const { toWire } = row
    return Array.from(this.#registry.collection(row).entries.values(), ({ object }) =>
      toWire === undefined ? object : toWire(object),
    )
  }

  create(resource: string, object: KubeObject): KubeObject {
    const row = this.#rowOf(resource)
    // A copy: defaults are filled in deep within.
    const own = structuredClone(object) as ApiObject
    const body: ApiObject = { ...own, metadata: own.metadata ?? {} }
    decode(row.type, body, row.kind, row.version, 'Ignore')
    return this.#registry.create(
      row,
      body.metadata.namespace ?? '',
      row.fromWire === undefined ? body : row.fromWire(body),
    )
  }

  update(resource: string, object: KubeObject, subresource?: 'status'): KubeObject {
    const row = this.#rowOf(resource)
    const body: ApiObject = { ...object, metadata: { ...object.metadata } }
    const { namespace = '', name = '' } = body.metadata
    // What the caller took over from the stored object is in its stored form already.
    const before = this.#registry.find(row, namespace, name)?.object
    const changed: Json = {}
    for (const [field, value] of Object.entries(body)) if (value !== before?.[field]) changed[field] = value
    decode(row.type, changed, row.kind, row.version, 'Ignore')
    return this.#registry.update(
      row,
      namespace,
      name,
      row.fromWire === undefined ? body : row.fromWire(body),
      subresource ?? '',
    )
  }

  remove(resource: string, namespace: string, name: string, gracePeriodSeconds?: number): void {
    this.#registry.remove(
      this.#rowOf(resource),
      namespace,
      name,
      gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds },
    )
  }

  subscribe(resource: string, listener: (event: WatchEvent<KubeObject>) => void): () => void {
    const row = this.#rowOf(resource)
    const { toWire } = row
    const { listeners } = this.#registry.collection(row)
    const own = ({ type, entry }: Change): void =>
      listener({ type, object: toWire === undefined ? entry.object : toWire(entry.object) })
    listeners.add(own)
    return () => void listeners.delete(own)
  }
}
