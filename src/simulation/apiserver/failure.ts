import type { StatusObject } from '../../cluster/objects.ts'

/** What a resource is called in messages and paths. */
export interface ResourceName {
  readonly group: string
  readonly plural: string
  readonly kind: string
}
type Details = NonNullable<StatusObject['details']> & { group?: string; uid?: string }

/** An answer other than success, in the words of kube-apiserver 1.37: what the HTTP side sends as `kind: Status`. */
export class ApiFailure extends Error {
  override readonly name = 'ApiFailure'
  readonly code: number
  readonly reason: string
  readonly details: Details | undefined

  constructor(code: number, reason: string, message: string, details?: Details) {
    super(message)
    this.code = code
    this.reason = reason
    this.details = details
  }

  get status(): StatusObject & { apiVersion: string; metadata: object } {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      ...(this.reason === '' ? {} : { reason: this.reason }),
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.code,
    }
  }
}

const qualified = ({ group, plural }: ResourceName): string => (group === '' ? plural : `${plural}.${group}`)
const detailsOf = ({ group, plural }: ResourceName, name: string): Details => ({
  ...(name === '' ? {} : { name }),
  ...(group === '' ? {} : { group }),
  kind: plural,
})

export const notFound = (resource: ResourceName, name: string): ApiFailure =>
  new ApiFailure(404, 'NotFound', `${qualified(resource)} "${name}" not found`, detailsOf(resource, name))

export const noSuchResource = (): ApiFailure =>
  new ApiFailure(404, 'NotFound', 'the server could not find the requested resource', {})

export const alreadyExists = (resource: ResourceName, name: string, deleting: boolean): ApiFailure =>
  new ApiFailure(
    409,
    'AlreadyExists',
    `${deleting ? 'object is being deleted: ' : ''}${qualified(resource)} "${name}" already exists`,
    detailsOf(resource, name),
  )

export const conflict = (resource: ResourceName, name: string, why: string): ApiFailure =>
  new ApiFailure(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`,
    detailsOf(resource, name),
  )

/** The object was read, changed elsewhere, and is written back. */
export const staleWrite = (resource: ResourceName, name: string): ApiFailure =>
  conflict(
    resource,
    name,
    'the object has been modified; please apply your changes to the latest version and try again',
  )

export const badRequest = (message: string): ApiFailure => new ApiFailure(400, 'BadRequest', message)

export const forbidden = (resource: ResourceName, name: string, why: string, causes?: Details['causes']): ApiFailure =>
  new ApiFailure(403, 'Forbidden', `${qualified(resource)} "${name}" is forbidden: ${why}`, {
    ...detailsOf(resource, name),
    ...(causes === undefined ? {} : { causes }),
  })

export const methodNotAllowed = (): ApiFailure =>
  new ApiFailure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {})

export const unauthorized = (): ApiFailure => new ApiFailure(401, 'Unauthorized', 'Unauthorized')

export const expired = (message: string): ApiFailure => new ApiFailure(410, 'Expired', message)

/** One thing that is wrong with an object. */
export interface FieldError {
  readonly reason: string
  readonly field: string
  /** without the field: `Invalid value: "x": must be ...` */
  readonly message: string
}

export const invalid = (group: string, kind: string, name: string, errors: readonly FieldError[]): ApiFailure => {
  const texts = [...new Set(errors.map(({ field, message }) => `${field}: ${message}`))]
  const text = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`
  return new ApiFailure(422, 'Invalid', `${group === '' ? kind : `${kind}.${group}`} "${name}" is invalid: ${text}`, {
    ...(name === '' ? {} : { name }),
    ...(group === '' ? {} : { group }),
    kind,
    causes: errors.map(({ reason, message, field }) => ({ reason, message, field })),
  })
}
