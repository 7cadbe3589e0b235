import type { Clock } from '../../clock/clock.ts'
import type { ApiObject, Json } from './json.ts'
import { ApiFailure } from './failure.ts'
import { type Resource, apiVersionOf } from './resources.ts'
import type { Entry } from './store.ts'
import { columnsOf, rowOf } from './table.ts'

/** In which form a client wants objects, as its Accept header says. */
export type Form = 'object' | 'table' | 'metadata'
/** What the rows of a table carry beside their cells (`includeObject`). */
export type RowObject = 'None' | 'Metadata' | 'Object'

/** @throws ApiFailure 406 */
export const formOf = (accept: string | undefined): Form => {
  if (accept === undefined || accept === '') return 'object'
  for (const offer of accept.split(',')) {
    const [type = '', ...parameters] = offer.split(';').map((part) => part.trim())
    if (type !== 'application/json' && type !== 'application/*' && type !== '*/*' && type !== 'application/yaml')
      continue
    const as = parameters.find((parameter) => parameter.startsWith('as='))?.slice(3)
    const version = parameters.find((parameter) => parameter.startsWith('v='))?.slice(2)
    if (as === undefined) return 'object'
    if (version !== 'v1') continue
    if (as === 'Table') return 'table'
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') return 'metadata'
  }
  throw new ApiFailure(
    406,
    'NotAcceptable',
    '406: Not Acceptable\n\nAvailable representations: application/json, application/json;as=Table;g=meta.k8s.io;v=v1, application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    {},
  )
}

/** Turns stored objects of one resource into the text that goes to one client. */
export class Writer {
  readonly #resource: Resource
  readonly #form: Form
  readonly #rowObject: RowObject
  readonly #clock: Clock
  /** `{"kind":"Pod","apiVersion":"v1",`: items of lists go without */
  readonly #head: string
  #columnsSent = false

  constructor(resource: Resource, form: Form, rowObject: RowObject, clock: Clock) {
    this.#resource = resource
    this.#form = form
    this.#rowObject = rowObject
    this.#clock = clock
    this.#head = `{"kind":${JSON.stringify(resource.kind)},"apiVersion":"${apiVersionOf(resource)}",`
  }

  one(entry: Entry): string {
    if (this.#form === 'object')
      return this.#resource.toWire === undefined ? entry.json : JSON.stringify(this.#resource.toWire(entry.object))
    return this.object(entry.object)
  }

  /** Of an object that is not (or not yet) stored. */
  object(stored: ApiObject): string {
    if (this.#form === 'metadata') return JSON.stringify(partial(stored))
    if (this.#form === 'table')
      return JSON.stringify(this.#table([stored], { resourceVersion: stored.metadata.resourceVersion }))
    return JSON.stringify(this.#wire(stored))
  }

  /** One event of a watch, with its line end. Only the first table of a watch names its columns. */
  event(type: string, entry: Entry): string {
    let text: string
    if (this.#form === 'table') {
      const table = this.#table([entry.object], { resourceVersion: entry.object.metadata.resourceVersion })
      if (this.#columnsSent) table['columnDefinitions'] = null
      this.#columnsSent = true
      text = JSON.stringify(table)
    } else text = this.one(entry)
    return `{"type":"${type}","object":${text}}\n`
  }

  bookmark(revision: number, initialEventsEnd: boolean): string {
    const metadata: Json = { resourceVersion: String(revision) }
    if (initialEventsEnd) metadata['annotations'] = { 'k8s.io/initial-events-end': 'true' }
    const object =
      this.#form === 'object'
        ? { kind: this.#resource.kind, apiVersion: apiVersionOf(this.#resource), metadata }
        : this.#form === 'metadata'
          ? { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }
          : {
              kind: 'Table',
              apiVersion: 'meta.k8s.io/v1',
              metadata,
              columnDefinitions: columnsOf(this.#resource),
              rows: [],
            }
    return `${JSON.stringify({ type: 'BOOKMARK', object })}\n`
  }

  list(entries: readonly Entry[], metadata: Json): string {
    const { listKind } = this.#resource
    if (this.#form === 'table')
      return JSON.stringify(
        this.#table(
          entries.map((entry) => entry.object),
          metadata,
        ),
      )
    if (this.#form === 'metadata')
      return JSON.stringify({
        kind: 'PartialObjectMetadataList',
        apiVersion: 'meta.k8s.io/v1',
        metadata,
        items: entries.map((entry) => partial(entry.object)),
      })
    const items = entries.map((entry) => {
      const text = this.one(entry)
      return text.startsWith(this.#head) ? `{${text.slice(this.#head.length)}` : text
    })
    return `{"kind":${JSON.stringify(listKind)},"apiVersion":"${apiVersionOf(this.#resource)}","metadata":${JSON.stringify(metadata)},"items":[${items.join(',')}]}`
  }

  #wire(stored: ApiObject): ApiObject {
    return this.#resource.toWire === undefined ? stored : this.#resource.toWire(stored)
  }

  #table(objects: readonly ApiObject[], metadata: Json): Json {
    const nowMs = this.#clock.nowMs()
    return {
      kind: 'Table',
      apiVersion: 'meta.k8s.io/v1',
      metadata,
      columnDefinitions: columnsOf(this.#resource),
      rows: objects.map((object) => ({
        cells: rowOf(this.#resource, object, nowMs),
        object: this.#rowObject === 'None' ? null : this.#rowObject === 'Object' ? this.#wire(object) : partial(object),
      })),
    }
  }
}

const partial = (object: ApiObject): Json => ({
  kind: 'PartialObjectMetadata',
  apiVersion: 'meta.k8s.io/v1',
  metadata: object.metadata,
})
