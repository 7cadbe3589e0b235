import type { KubeObject, WatchEvent } from '../../cluster/objects.ts'

/**
 * The objects of the embedded API server for code in the same process (virtual nodes, tests): the same validation, defaults,
 * admission and resource versions as over HTTP, without the wire. What is handed out is shared: read it, never change it.
 */
export interface ObjectAccess {
  /** @param resource plural with its group where it has one: `pods`, `leases.coordination.k8s.io` */
  get(resource: string, namespace: string, name: string): KubeObject | undefined
  list(resource: string): readonly KubeObject[]
  /** @throws ApiFailure (409 AlreadyExists, 422 Invalid, ...) */
  create(resource: string, object: KubeObject): KubeObject
  /** Replaces the object, or only its status. 409 if `object` carries another resourceVersion than the stored one. @throws ApiFailure */
  update(resource: string, object: KubeObject, subresource?: 'status'): KubeObject
  /** As a client's DELETE: pods get their grace period; with `gracePeriodSeconds: 0` they are gone at once. @throws ApiFailure (404) */
  remove(resource: string, namespace: string, name: string, gracePeriodSeconds?: number): void
  /** Calls `listener` with each change from now on, in order. @returns how to stop */
  subscribe(resource: string, listener: (event: WatchEvent<KubeObject>) => void): () => void
}
