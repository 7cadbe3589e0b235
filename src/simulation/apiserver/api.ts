import { parse as parseYaml } from 'yaml'
import type { Clock } from '../../clock/clock.ts'
import { ApiFailure, badRequest, expired, invalid, methodNotAllowed, noSuchResource } from './failure.ts'
import * as discovery from './discovery.ts'
import { type Form, type RowObject, Writer, formOf } from './form.ts'
import { type ApiObject, type Json, isJson, jsonAt, nestsDeeperThan, numberAt, textAt, textsAt } from './json.ts'
import type { Lists } from './list.ts'
import { applyPatch, patchKinds } from './patch.ts'
import type { Registry } from './registry.ts'
import { type Reply, send, sendJson } from './reply.ts'
import { type Resource, apiVersionOf, builtInNamed } from './resources.ts'
import type { ResourceTable } from './resource-table.ts'
import { decodeProtobuf } from './protobuf.ts'
import { type FieldValidation, type TypeNode, decode, typeOf } from './schema.ts'
import { type Matches, both, fieldSelector, labelSelector } from './selectors.ts'
import type { Watches } from './watch.ts'
import { Entry } from './store.ts'

/** A request, read whole. */
export interface ApiRequest {
  readonly method: string
  /** without the query */
  readonly path: string
  readonly query: URLSearchParams
  readonly accept: string | undefined
  readonly contentType: string
  readonly body: Buffer
}

const depthLimit = 500

/** Where a path leads. */
interface Target {
  readonly resource: Resource
  readonly namespace: string
  readonly name: string
  readonly subresource: string
}

/** Answers requests of clients that are let in: the paths and verbs of the Kubernetes API over a registry. */
export class Api {
  readonly #registry: Registry
  readonly #lists: Lists
  readonly #watches: Watches
  readonly #clock: Clock
  /** OpenAPI documents by their group and version, as of one generation of the resources */
  readonly #documents = new Map<string, string>()
  #documented = 0

  constructor(registry: Registry, lists: Lists, watches: Watches, clock: Clock) {
    this.#registry = registry
    this.#lists = lists
    this.#watches = watches
    this.#clock = clock
  }

  get #resources(): ResourceTable {
    return this.#registry.resources
  }

  /** @throws ApiFailure */
  answer(request: ApiRequest, reply: Reply): void {
    const segments = request.path.split('/').slice(1).map(decodeSegment)
    if (segments.at(-1) === '') segments.pop()
    const [root, ...rest] = segments
    if (root === 'api' && rest.length >= 2) this.#within('', rest[0] ?? '', rest.slice(1), request, reply)
    else if (root === 'apis' && rest.length >= 3)
      this.#within(rest[0] ?? '', rest[1] ?? '', rest.slice(2), request, reply)
    else this.#discover(root ?? '', rest, request, reply)
  }

  #discover(root: string, rest: readonly string[], request: ApiRequest, reply: Reply): void {
    if (request.method !== 'GET' && request.method !== 'HEAD') throw methodNotAllowed()
    const answer = (body: Json | undefined): void => {
      if (body === undefined) pageNotFound(reply)
      else sendJson(reply, 200, JSON.stringify(body))
    }
    const resources = this.#resources.served()
    if (root === 'api' || root === 'apis') {
      const core = root === 'api'
      if (rest.length === 0) {
        if (request.accept?.includes('as=APIGroupDiscoveryList') === true && request.accept.includes('v=v2'))
          send(
            reply,
            200,
            'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList',
            JSON.stringify(discovery.aggregated(core, resources)),
          )
        else
          answer(
            core
              ? { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }
              : discovery.groupList(resources),
          )
      } else if (!core && rest.length === 1) answer(discovery.group(rest[0] ?? '', resources))
      else answer(discovery.resourceList(core ? (rest[0] ?? '') : rest.join('/'), resources))
      return
    }
    if (root === 'openapi' && rest[0] === 'v3') {
      if (rest.length === 1) {
        answer(discovery.openApiIndex(resources))
        return
      }
      const groupVersion = rest.slice(2).join('/')
      if (this.#documented !== this.#resources.generation) this.#documents.clear()
      this.#documented = this.#resources.generation
      let text = this.#documents.get(groupVersion)
      if (text === undefined) {
        const document = discovery.openApiDocument(groupVersion, resources)
        if (document === undefined) {
          pageNotFound(reply)
          return
        }
        text = JSON.stringify(document)
        this.#documents.set(groupVersion, text)
      }
      sendJson(reply, 200, text)
      return
    }
    pageNotFound(reply)
  }

  #within(group: string, version: string, path: readonly string[], request: ApiRequest, reply: Reply): void {
    const watchPath = path[0] === 'watch'
    const target = this.#target(group, version, watchPath ? path.slice(1) : path)
    if (target === undefined) {
      const groupVersion = group === '' ? version : `${group}/${version}`
      if (discovery.resourceList(groupVersion, this.#resources.served()) === undefined) {
        pageNotFound(reply)
        return
      }
      throw noSuchResource()
    }
    const { subresource } = target
    if (subresource === '') this.#object(target, request, reply, watchPath)
    else if (subresource === 'status' && target.resource.hasStatus) this.#status(target, request, reply)
    else if (target.resource.group === '' && target.resource.plural === 'pods')
      this.#podSubresource(target, request, reply)
    else throw noSuchResource()
  }

  #target(group: string, version: string, path: readonly string[]): Target | undefined {
    let [plural = '', name = '', subresource = ''] = path
    let namespace = ''
    let length = path.length
    if (plural === 'namespaces' && path.length >= 3 && path[2] !== 'status' && path[2] !== 'finalize') {
      namespace = name
      ;[plural = '', name = '', subresource = ''] = path.slice(2)
      length -= 2
    }
    if (length > 3) return undefined
    if (plural === 'bindings' && namespace !== '') {
      plural = 'pods'
      subresource = 'binding'
    }
    const resource = this.#resources.find(group, version, plural)
    if (resource === undefined) return undefined
    // A namespaced object has one in its path; a cluster's has none. Lists go over all namespaces without.
    if (resource.namespaced ? namespace === '' && name !== '' : namespace !== '') return undefined
    return { resource, namespace, name, subresource }
  }

  #object(target: Target, request: ApiRequest, reply: Reply, watchPath: boolean): void {
    const { resource, namespace, name } = target
    const single = name !== ''
    const allowed = (verb: Resource['verbs'][number]): void => {
      if (!resource.verbs.includes(verb)) throw methodNotAllowed()
    }
    switch (request.method) {
      case 'GET':
      case 'HEAD': {
        const writer = this.#writer(resource, request)
        if (watchPath || request.query.get('watch') === 'true' || request.query.get('watch') === '1') {
          allowed('watch')
          this.#watch(target, request, writer, reply)
          return
        }
        allowed(single ? 'get' : 'list')
        if (single) sendJson(reply, 200, writer.one(this.#registry.entry(resource, namespace, name)))
        else this.#list(target, request, writer, reply)
        return
      }
      case 'POST': {
        if (single) throw methodNotAllowed()
        allowed('create')
        if (resource.namespaced && namespace === '') throw methodNotAllowed()
        const { object, headers } = this.#readObject(resource, namespace, request)
        if (resource.answer !== undefined) {
          const { kind, answer: status } = resource
          const metadata = { creationTimestamp: this.#registry.timestamp() }
          sendJson(
            reply,
            201,
            JSON.stringify({ kind, apiVersion: apiVersionOf(resource), ...object, metadata, status }),
            headers,
          )
          return
        }
        const created = this.#registry.create(resource, namespace, object, { dryRun: dryRunOf(request) })
        sendJson(reply, 201, this.#text(resource, created, request), headers)
        return
      }
      case 'PUT': {
        if (!single) throw methodNotAllowed()
        allowed('update')
        const { object, headers } = this.#readObject(resource, namespace, request)
        const exists = this.#registry.find(resource, namespace, name) !== undefined
        // Leases and events are made by their first update, as with kube-apiserver.
        if (!exists && (resource.storedIn === 'events' || resource.storedIn === 'leases.coordination.k8s.io')) {
          object.metadata.name ??= name
          sendJson(
            reply,
            201,
            this.#text(
              resource,
              this.#registry.create(resource, namespace, object, { dryRun: dryRunOf(request) }),
              request,
            ),
            headers,
          )
          return
        }
        sendJson(
          reply,
          200,
          this.#text(
            resource,
            this.#registry.update(resource, namespace, name, object, '', { dryRun: dryRunOf(request) }),
            request,
          ),
          headers,
        )
        return
      }
      case 'PATCH':
        if (!single) throw methodNotAllowed()
        allowed('patch')
        this.#patch(target, request, reply, '')
        return
      case 'DELETE': {
        const options = deleteOptions(request)
        if (single) {
          allowed('delete')
          this.#delete(target, options, request, reply)
        } else {
          allowed('deletecollection')
          this.#deleteAll(target, options, request, reply)
        }
        return
      }
      default:
        throw methodNotAllowed()
    }
  }

  #status(target: Target, request: ApiRequest, reply: Reply): void {
    const { resource, namespace, name } = target
    switch (request.method) {
      case 'GET':
      case 'HEAD':
        sendJson(reply, 200, this.#writer(resource, request).one(this.#registry.entry(resource, namespace, name)))
        return
      case 'PUT': {
        const { object, headers } = this.#readObject(resource, namespace, request)
        sendJson(
          reply,
          200,
          this.#text(
            resource,
            this.#registry.update(resource, namespace, name, object, 'status', { dryRun: dryRunOf(request) }),
            request,
          ),
          headers,
        )
        return
      }
      case 'PATCH':
        this.#patch(target, request, reply, 'status')
        return
      default:
        throw methodNotAllowed()
    }
  }

  #podSubresource({ namespace, name, subresource }: Target, request: ApiRequest, reply: Reply): void {
    if (subresource === 'binding' || subresource === 'eviction') {
      if (request.method !== 'POST') throw methodNotAllowed()
      const isBinding = subresource === 'binding'
      const body = readBody(request, isBinding ? bindingType : evictionType, isBinding ? 'Binding' : 'Eviction')
      if (isBinding) {
        decode(bindingType, body, 'Binding', 'v1', 'Ignore')
        this.#registry.bind(namespace, name === '' ? textAt(body, 'metadata', 'name') : name, body, {
          dryRun: dryRunOf(request),
        })
      } else {
        const options = jsonAt(body, 'deleteOptions')
        const grace = numberAt(options, 'gracePeriodSeconds')
        const uid = textAt(options, 'preconditions', 'uid')
        this.#registry.evict(namespace, name, {
          dryRun: dryRunOf(request) || textsAt(options, 'dryRun').includes('All'),
          ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
          ...(uid === '' ? {} : { uid }),
        })
      }
      sendJson(reply, 201, '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201}')
      return
    }
    if (['log', 'exec', 'attach', 'portforward', 'proxy'].includes(subresource)) {
      this.#registry.entry(podsRow, namespace, name)
      throw badRequest(`pods/${subresource} is not available: the pods of this simulated cluster run no containers`)
    }
    throw noSuchResource()
  }

  #list({ resource, namespace }: Target, request: ApiRequest, writer: Writer, reply: Reply): void {
    const { query } = request
    const limit = count(query, 'limit')
    const wanted = revisionOf(query)
    const current = this.#registry.store.revision
    if (wanted !== undefined && wanted > current) throw tooLarge(wanted, current)
    const match = query.get('resourceVersionMatch') ?? ''
    if (match !== '') checkVersionMatch(match, wanted)
    if ((query.get('continue') ?? '') !== '' && wanted !== undefined && wanted !== 0)
      throw badRequest('specifying resource version is not allowed when using continue')
    // Of the past only the pages are kept that somebody is reading.
    if (match === 'Exact' && wanted !== undefined && wanted < current)
      throw expired('The resourceVersion for the provided list is too old.')
    const page = this.#lists.page(resource.storedIn, this.#registry.collection(resource), {
      prefix: resource.namespaced && namespace !== '' ? `${namespace}/` : '',
      matches: selection(resource, query),
      limit,
      continueToken: query.get('continue') ?? '',
    })
    sendJson(reply, 200, writer.list(page.entries, page.metadata))
  }

  #watch({ resource, namespace, name }: Target, request: ApiRequest, writer: Writer, reply: Reply): void {
    const { query } = request
    const initialEvents = query.get('sendInitialEvents') === 'true'
    const match = query.get('resourceVersionMatch') ?? ''
    if (initialEvents !== (match === 'NotOlderThan'))
      throw invalid('meta.k8s.io', 'ListOptions', '', [
        initialEvents
          ? {
              reason: 'FieldValueForbidden',
              field: 'resourceVersionMatch',
              message: 'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
            }
          : {
              reason: 'FieldValueForbidden',
              field: 'resourceVersionMatch',
              message: 'Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
            },
      ])
    const revision = revisionOf(query)
    const seconds = count(query, 'timeoutSeconds')
    const one: Matches | undefined = name === '' ? undefined : (object) => object.metadata.name === name
    this.#watches.open(
      {
        collection: this.#registry.collection(resource),
        prefix: resource.namespaced && namespace !== '' ? `${namespace}/` : '',
        matches: both(one, selection(resource, query)),
        writer,
        fromRevision: initialEvents || revision === 0 ? undefined : revision,
        initialEvents,
        bookmarks: query.get('allowWatchBookmarks') === 'true' || query.get('allowWatchBookmarks') === '1',
        timeoutMs: seconds === 0 ? undefined : seconds * 1000,
      },
      reply,
    )
  }

  #patch({ resource, namespace, name }: Target, request: ApiRequest, reply: Reply, subresource: '' | 'status'): void {
    const kind = patchKinds.get(request.contentType)
    if (kind === undefined) throw new ApiFailure(415, 'UnsupportedMediaType', '415: Unsupported Media Type', {})
    if (kind === 'strategic' && resource.custom !== undefined)
      throw new ApiFailure(
        415,
        'UnsupportedMediaType',
        'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml',
      )
    const manager = request.query.get('fieldManager') ?? ''
    if (kind === 'apply' && manager === '')
      throw invalid('meta.k8s.io', 'PatchOptions', '', [
        { reason: 'FieldValueRequired', field: 'fieldManager', message: 'Required value: is required for apply patch' },
      ])
    const patch = parseBody(request.body.toString(), kind === 'apply' ? 'yaml' : 'json', (why) =>
      badRequest(`error decoding patch: ${why}`),
    )
    const dryRun = dryRunOf(request)
    const found = this.#registry.find(resource, namespace, name)
    if (found === undefined && kind === 'apply' && subresource === '' && isJson(patch)) {
      const { object, headers } = this.#decodeObject(resource, namespace, patch, request)
      object.metadata.name ??= name
      sendJson(
        reply,
        201,
        this.#text(resource, this.#registry.create(resource, namespace, object, { dryRun }), request),
        headers,
      )
      return
    }
    const stored = this.#registry.entry(resource, namespace, name).object
    const before = resource.toWire === undefined ? stored : resource.toWire(stored)
    const patched = applyPatch(kind, resource.type, before, kind === 'apply' ? applied(patch) : patch)
    const { object, headers } = this.#decodeObject(resource, namespace, patched, request)
    if (object.metadata.uid !== undefined && object.metadata.uid !== stored.metadata.uid)
      throw invalid(resource.group, resource.kind, name, [
        {
          reason: 'FieldValueInvalid',
          field: 'metadata.uid',
          message: `Invalid value: ${JSON.stringify(object.metadata.uid)}: field is immutable`,
        },
      ])
    sendJson(
      reply,
      200,
      this.#text(resource, this.#registry.update(resource, namespace, name, object, subresource, { dryRun }), request),
      headers,
    )
  }

  #delete({ resource, namespace, name }: Target, options: DeleteBody, request: ApiRequest, reply: Reply): void {
    const { object, gone } = this.#registry.remove(resource, namespace, name, options)
    if (!gone || resource.returnsDeleted) sendJson(reply, 200, this.#text(resource, object, request))
    else
      sendJson(
        reply,
        200,
        JSON.stringify({
          kind: 'Status',
          apiVersion: 'v1',
          metadata: {},
          status: 'Success',
          details: {
            name,
            ...(resource.group === '' ? {} : { group: resource.group }),
            kind: resource.plural,
            uid: object.metadata.uid,
          },
        }),
      )
  }

  #deleteAll({ resource, namespace }: Target, options: DeleteBody, request: ApiRequest, reply: Reply): void {
    const matches = selection(resource, request.query)
    const entries = this.#registry
      .collection(resource)
      .within(resource.namespaced && namespace !== '' ? `${namespace}/` : '')
      .filter(({ object }) => matches === undefined || matches(object))
    for (const { object } of entries) {
      const { name = '', namespace: own = '' } = object.metadata
      if (this.#registry.find(resource, own, name) !== undefined) this.#registry.remove(resource, own, name, options)
    }
    sendJson(
      reply,
      200,
      this.#writer(resource, request).list(entries, { resourceVersion: String(this.#registry.store.revision) }),
    )
  }

  #writer(resource: Resource, request: ApiRequest): Writer {
    const form: Form = formOf(request.accept)
    const include = request.query.get('includeObject')
    const rowObject: RowObject = include === 'None' || include === 'Object' ? include : 'Metadata'
    return new Writer(resource, form, rowObject, this.#clock)
  }

  #text(resource: Resource, object: ApiObject, request: ApiRequest): string {
    const writer = this.#writer(resource, request)
    const { name = '', namespace = '' } = object.metadata
    const entry: Entry | undefined = this.#registry.find(resource, namespace, name)
    return entry?.object === object ? writer.one(entry) : writer.object(object)
  }

  #readObject(
    resource: Resource,
    namespace: string,
    request: ApiRequest,
  ): { object: ApiObject; headers: Record<string, string> } {
    return this.#decodeObject(resource, namespace, readBody(request, resource.type, resource.kind), request)
  }

  /** From a body of any origin to an object in stored form. */
  #decodeObject(
    resource: Resource,
    namespace: string,
    body: Json,
    request: ApiRequest,
  ): { object: ApiObject; headers: Record<string, string> } {
    const kind = textAt(body, 'kind')
    const apiVersion = textAt(body, 'apiVersion')
    const own = apiVersionOf(resource)
    if (resource.custom !== undefined) checkCustomKind(resource, body)
    if (kind !== '' && kind !== resource.kind)
      throw badRequest(
        `${kind} in version "${apiVersion || 'v1'}" cannot be handled as a ${resource.kind}: the path is that of ${resource.plural}`,
      )
    if (apiVersion !== '' && apiVersion !== own)
      throw badRequest(`the API version in the data (${apiVersion}) does not match the expected API version (${own})`)
    const asked = request.query.get('fieldValidation') ?? ''
    const validation: FieldValidation = asked === 'Strict' || asked === 'Ignore' ? asked : 'Warn'
    const unknown = decode(resource.type, body, resource.kind, resource.version, validation)
    const metadata = jsonAt(body, 'metadata')
    const namespaceOfBody = textAt(metadata, 'namespace')
    if (resource.namespaced && namespaceOfBody !== '' && namespaceOfBody !== namespace)
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
    const object: ApiObject = { ...body, metadata: { ...metadata } }
    delete object.metadata.managedFields
    const stored = resource.fromWire === undefined ? object : resource.fromWire(object)
    const warnings =
      validation === 'Warn' && unknown.length > 0
        ? {
            warning: unknown
              .map((field) => `299 - "unknown field ${JSON.stringify(field).replaceAll(/["\\]/g, '\\$&')}"`)
              .join(', '),
          }
        : {}
    return { object: stored, headers: warnings }
  }
}

/** Objects of custom resources must say what they are. */
const checkCustomKind = (resource: Resource, body: Json): void => {
  const kind = textAt(body, 'kind')
  const name = textAt(body, 'metadata', 'name')
  if (kind === '') {
    const text = JSON.stringify(body)
    throw badRequest(
      `the object provided is unrecognized (must be of type ${resource.kind}): Object 'Kind' is missing in '${text.slice(0, 1_000)}' (${text.slice(0, 64)})`,
    )
  }
  if (kind !== resource.kind)
    throw invalid(resource.group, kind, name, [
      {
        reason: 'FieldValueInvalid',
        field: 'kind',
        message: `Invalid value: ${JSON.stringify(kind)}: must be ${resource.kind}`,
      },
    ])
}

const podsRow = builtInNamed('pods')

const pageNotFound = (reply: Reply): void => send(reply, 404, 'text/plain; charset=utf-8', '404 page not found\n')

const decodeSegment = (segment: string): string => {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw badRequest(`the path is not encoded as a URL: ${segment.slice(0, 64)}`)
  }
}

const dryRunOf = ({ query }: ApiRequest): boolean => {
  const dryRun = query.getAll('dryRun')
  if (dryRun.some((value) => value !== 'All' && value !== ''))
    throw invalid('meta.k8s.io', 'CreateOptions', '', [
      {
        reason: 'FieldValueNotSupported',
        field: 'dryRun',
        message: `Unsupported value: ${JSON.stringify(dryRun)}: supported values: "All"`,
      },
    ])
  return dryRun.includes('All')
}

interface DeleteBody {
  readonly dryRun: boolean
  readonly gracePeriodSeconds?: number
  readonly uid?: string
  readonly resourceVersion?: string
}
const deleteOptions = (request: ApiRequest): DeleteBody => {
  const body = request.body.length === 0 ? {} : readBody(request, deleteOptionsType, 'DeleteOptions')
  const asked = request.query.get('gracePeriodSeconds')
  const grace =
    numberAt(body, 'gracePeriodSeconds') ?? (asked === null ? undefined : count(request.query, 'gracePeriodSeconds'))
  const uid = textAt(body, 'preconditions', 'uid')
  const resourceVersion = textAt(body, 'preconditions', 'resourceVersion')
  return {
    dryRun: dryRunOf(request) || textsAt(body, 'dryRun').includes('All'),
    ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
    ...(uid === '' ? {} : { uid }),
    ...(resourceVersion === '' ? {} : { resourceVersion }),
  }
}

const selection = (resource: Resource, query: URLSearchParams): Matches | undefined => {
  const fields = query.get('fieldSelector') ?? ''
  const labels = query.get('labelSelector') ?? ''
  if (fields === '' && labels === '') return undefined
  return both(labelSelector(labels), fieldSelector(fields, resource.selectableFields))
}

/** A count in the query, 0 where absent. */
const count = (query: URLSearchParams, name: string): number => {
  const text = query.get(name) ?? ''
  if (text === '') return 0
  if (!/^-?\d{1,15}$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`)
  return Math.max(0, Number(text))
}

const revisionOf = (query: URLSearchParams): number | undefined => {
  const text = query.get('resourceVersion') ?? ''
  if (text === '') return undefined
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(
      `invalid resource version: resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
    )
  return Number(text)
}

/** @throws ApiFailure 422, as apimachinery's ValidateListOptions */
const checkVersionMatch = (match: string, revision: number | undefined): void => {
  const refuse = (reason: string, message: string): never => {
    throw invalid('meta.k8s.io', 'ListOptions', '', [{ reason, field: 'resourceVersionMatch', message }])
  }
  if (revision === undefined)
    refuse('FieldValueForbidden', 'Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided')
  if (match !== 'Exact' && match !== 'NotOlderThan')
    refuse(
      'FieldValueNotSupported',
      `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan", ""`,
    )
  if (match === 'Exact' && revision === 0)
    refuse('FieldValueForbidden', 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
}

const tooLarge = (wanted: number, current: number): ApiFailure =>
  new ApiFailure(504, 'Timeout', `Timeout: Too large resource version: ${wanted}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  })

const unsupported = (): ApiFailure =>
  new ApiFailure(
    415,
    'UnsupportedMediaType',
    'the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf',
  )

/** @throws what `failure` makes of the reason */
const parseBody = (text: string, syntax: 'json' | 'yaml', failure: (why: string) => ApiFailure): unknown => {
  if (syntax === 'json' || text.trimStart().startsWith('{')) {
    if (nestsDeeperThan(text, depthLimit)) throw failure('exceeded max depth')
    try {
      return JSON.parse(text)
    } catch (error) {
      if (syntax === 'json') throw failure(error instanceof Error ? error.message : String(error))
    }
  }
  let value: unknown
  try {
    value = parseYaml(text, { maxAliasCount: 100, uniqueKeys: true, version: '1.2', schema: 'core' })
  } catch (error) {
    throw failure(
      `error converting YAML to JSON: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`,
    )
  }
  // Through JSON: aliases become copies, and what JSON has no word for goes.
  const json = JSON.stringify(value ?? null)
  if (nestsDeeperThan(json, depthLimit)) throw failure('exceeded max depth')
  return JSON.parse(json)
}

const bindingType = typeOf('io.k8s.api.core.v1.Binding')
const evictionType = typeOf('io.k8s.api.policy.v1.Eviction')
const deleteOptionsType = typeOf('io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions')

/** @param type what a protobuf body holds */
const readBody = ({ contentType, body }: ApiRequest, type: TypeNode, kind: string): Json => {
  const unrecognized = (why: string): ApiFailure =>
    badRequest(
      `the object provided is unrecognized (must be of type ${kind}): ${why} (${body.toString('utf8', 0, 64)})`,
    )
  if (contentType === 'application/vnd.kubernetes.protobuf') {
    try {
      return decodeProtobuf(body, type)
    } catch (error) {
      if (error instanceof RangeError) throw unrecognized(error.message)
      throw error
    }
  }
  const syntax =
    contentType === '' || contentType === 'application/json'
      ? 'json'
      : contentType === 'application/yaml'
        ? 'yaml'
        : undefined
  if (syntax === undefined) throw unsupported()
  const value = parseBody(body.toString(), syntax, (why) =>
    unrecognized(`couldn't get version/kind; json parse error: ${why}`),
  )
  if (value === null) return {}
  if (!isJson(value)) throw unrecognized("couldn't get version/kind; json parse error: not an object")
  return value
}

/** A server-side apply says what shall be; what identifies the object version is no part of that. */
const applied = (patch: unknown): unknown => {
  if (!isJson(patch)) return patch
  const { resourceVersion: _version, managedFields: _managed, ...metadata } = jsonAt(patch, 'metadata')
  return { ...patch, metadata }
}
