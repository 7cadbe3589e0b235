import type { FieldError } from '../failure.ts'

const shown = (value: unknown): string => (value === undefined ? 'null' : JSON.stringify(value))

/** Collects what is wrong with an object, in the words of apimachinery's field package. */
export class FieldErrors {
  readonly found: FieldError[] = []

  required(field: string, detail = ''): void {
    this.#add('FieldValueRequired', field, 'Required value', detail)
  }
  invalid(field: string, value: unknown, detail: string): void {
    this.#add('FieldValueInvalid', field, `Invalid value: ${shown(value)}`, detail)
  }
  notSupported(field: string, value: unknown, supported: readonly string[]): void {
    this.#add(
      'FieldValueNotSupported',
      field,
      `Unsupported value: ${shown(value)}`,
      `supported values: ${supported.map((s) => `"${s}"`).join(', ')}`,
    )
  }
  duplicate(field: string, value: unknown, detail = ''): void {
    this.#add('FieldValueDuplicate', field, `Duplicate value: ${shown(value)}`, detail)
  }
  forbidden(field: string, detail: string): void {
    this.#add('FieldValueForbidden', field, 'Forbidden', detail)
  }
  /** Each complaint about one value. */
  invalidAll(field: string, value: unknown, complaints: readonly string[]): void {
    for (const complaint of complaints) this.invalid(field, value, complaint)
  }

  #add(reason: string, field: string, body: string, detail: string): void {
    // An object that is wrong in a thousand places needs no thousand complaints.
    if (this.found.length >= 100) return
    this.found.push({ reason, field, message: detail === '' ? body : `${body}: ${detail}` })
  }
}
