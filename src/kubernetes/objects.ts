import type { KubeList, KubeObject } from '../cluster/objects.ts'
import { StowageError } from '../errors/catalogue.ts'
import { type ApiAnswer, ApiRefusal, type ApiRequest, type Connection } from './connection.ts'

/** A kind as the API addresses it. */
export interface ResourceKind {
  /** `/api/v1` or `/apis/GROUP/VERSION` */
  readonly root: string
  /** plural, as in paths */
  readonly plural: string
  readonly namespaced: boolean
}

export const PODS: ResourceKind = { root: '/api/v1', plural: 'pods', namespaced: true }
export const NODES: ResourceKind = { root: '/api/v1', plural: 'nodes', namespaced: false }
export const PERSISTENT_VOLUMES: ResourceKind = { root: '/api/v1', plural: 'persistentvolumes', namespaced: false }
export const PERSISTENT_VOLUME_CLAIMS: ResourceKind = {
  root: '/api/v1',
  plural: 'persistentvolumeclaims',
  namespaced: true,
}
const STORAGE = '/apis/storage.k8s.io/v1'
export const STORAGE_CLASSES: ResourceKind = { root: STORAGE, plural: 'storageclasses', namespaced: false }
export const CSI_NODES: ResourceKind = { root: STORAGE, plural: 'csinodes', namespaced: false }
export const CSI_DRIVERS: ResourceKind = { root: STORAGE, plural: 'csidrivers', namespaced: false }
export const VOLUME_ATTACHMENTS: ResourceKind = { root: STORAGE, plural: 'volumeattachments', namespaced: false }
export const STORAGE_CAPACITIES: ResourceKind = { root: STORAGE, plural: 'csistoragecapacities', namespaced: true }
export const NAMESPACES: ResourceKind = { root: '/api/v1', plural: 'namespaces', namespaced: false }
export const SERVICES: ResourceKind = { root: '/api/v1', plural: 'services', namespaced: true }
export const REPLICATION_CONTROLLERS: ResourceKind = {
  root: '/api/v1',
  plural: 'replicationcontrollers',
  namespaced: true,
}
export const REPLICA_SETS: ResourceKind = { root: '/apis/apps/v1', plural: 'replicasets', namespaced: true }
export const STATEFUL_SETS: ResourceKind = { root: '/apis/apps/v1', plural: 'statefulsets', namespaced: true }
export const EVENTS: ResourceKind = { root: '/apis/events.k8s.io/v1', plural: 'events', namespaced: true }
export const LEASES: ResourceKind = { root: '/apis/coordination.k8s.io/v1', plural: 'leases', namespaced: true }
export const DISRUPTION_BUDGETS: ResourceKind = {
  root: '/apis/policy/v1',
  plural: 'poddisruptionbudgets',
  namespaced: true,
}

export const MERGE_PATCH = 'application/merge-patch+json'
export const STRATEGIC_MERGE_PATCH = 'application/strategic-merge-patch+json'

/** The collection's path; without a namespace that of all namespaces. */
export const collectionPath = (kind: ResourceKind, namespace = ''): string =>
  kind.namespaced && namespace !== ''
    ? `${kind.root}/namespaces/${encodeURIComponent(namespace)}/${kind.plural}`
    : `${kind.root}/${kind.plural}`

export const objectPath = (kind: ResourceKind, namespace: string, name: string): string =>
  `${collectionPath(kind, namespace)}/${encodeURIComponent(name)}`

const accept = (request: ApiRequest, answer: ApiAnswer): ApiAnswer => {
  if (answer.status >= 300) throw new ApiRefusal(`${request.method} ${request.path}`, answer)
  return answer
}

const send = async <T>(connection: Connection, request: ApiRequest): Promise<T> => {
  const { body } = accept(request, await connection.request(request))
  if (typeof body !== 'object' || body === null) {
    throw new StowageError('API_MALFORMED', {
      found: `${request.method} ${request.path} was answered without an object`,
    })
  }
  return body as T
}

/**
 * Creates an object in the namespace it names.
 * @throws ApiRefusal (409 AlreadyExists, 422 Invalid, ...) and what {@link Connection.request} throws
 */
export const createObject = <T extends KubeObject>(
  connection: Connection,
  kind: ResourceKind,
  object: T,
  signal?: AbortSignal,
): Promise<T> =>
  send(connection, { method: 'POST', path: collectionPath(kind, object.metadata?.namespace), body: object, signal })

/** @returns undefined if there is none. @throws ApiRefusal for any other refusal */
export const getObject = async <T extends KubeObject>(
  connection: Connection,
  kind: ResourceKind,
  namespace: string,
  name: string,
  signal?: AbortSignal,
): Promise<T | undefined> => {
  const request = { method: 'GET', path: objectPath(kind, namespace, name), signal } as const
  const answer = await connection.request(request)
  return answer.status === 404 ? undefined : (accept(request, answer).body as T)
}

/** One page after the other; nothing but the page at hand is kept. @throws ApiRefusal (410 if the pages take too long) */
export async function* listObjects<T extends KubeObject>(
  connection: Connection,
  kind: ResourceKind,
  query: { readonly namespace?: string; readonly fieldSelector?: string; readonly labelSelector?: string } = {},
  signal?: AbortSignal,
): AsyncGenerator<T> {
  const { namespace, ...selectors } = query
  let token: string | undefined
  do {
    const page: KubeList<T> = await send(connection, {
      method: 'GET',
      path: collectionPath(kind, namespace),
      query: { limit: 500, ...selectors, continue: token },
      signal,
    })
    yield* page.items ?? []
    token = page.metadata?.continue || undefined
  } while (token !== undefined)
}

/** Replaces an object, or with `subresource` only its status. @throws ApiRefusal (409 if it changed since it was read) */
export const replaceObject = <T extends KubeObject>(
  connection: Connection,
  kind: ResourceKind,
  object: T,
  subresource?: 'status',
  signal?: AbortSignal,
): Promise<T> => {
  const path = objectPath(kind, object.metadata?.namespace ?? '', object.metadata?.name ?? '')
  return send(connection, { method: 'PUT', path: subresource ? `${path}/${subresource}` : path, body: object, signal })
}

/** A merge patch (RFC 7386) of an object or of its status. @throws ApiRefusal */
export const patchObject = <T extends KubeObject>(
  connection: Connection,
  kind: ResourceKind,
  namespace: string,
  name: string,
  patch: unknown,
  subresource?: 'status',
  signal?: AbortSignal,
): Promise<T> => {
  const path = objectPath(kind, namespace, name)
  return send(connection, {
    method: 'PATCH',
    path: subresource ? `${path}/${subresource}` : path,
    body: patch,
    contentType: MERGE_PATCH,
    signal,
  })
}

/**
 * Deletes an object; one that is gone already is no error.
 * @param options a pod's grace period (0: at once) and the uid it must have
 * @throws ApiRefusal
 */
export const deleteObject = async (
  connection: Connection,
  kind: ResourceKind,
  namespace: string,
  name: string,
  options: { readonly gracePeriodSeconds?: number; readonly uid?: string } = {},
  signal?: AbortSignal,
): Promise<void> => {
  const { gracePeriodSeconds, uid } = options
  const request = {
    method: 'DELETE',
    path: objectPath(kind, namespace, name),
    body: {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      ...(uid === undefined ? {} : { preconditions: { uid } }),
    },
    signal,
  } as const
  const answer = await connection.request(request)
  if (answer.status !== 404) accept(request, answer)
}

/**
 * The server's version, as a first question that shows whether it can be reached and takes our credentials.
 * @throws StowageError API_UNREACHABLE; ApiRefusal
 */
export const serverVersion = async (connection: Connection, signal?: AbortSignal): Promise<string> => {
  const { gitVersion } = await send<{ gitVersion?: string }>(connection, { method: 'GET', path: '/version', signal })
  return gitVersion ?? 'unknown'
}
