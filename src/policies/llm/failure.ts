/**
 * How asking a model can fail. `network`, `timeout`, `status`: it was not answered; `malformed`, `too_large`, `encoded`,
 * `redirect`: it was answered with something that is no answer; `closed`: it was not sent.
 */
export type ModelFailureKind =
  | 'network'
  | 'timeout'
  | 'status'
  | 'malformed'
  | 'too_large'
  | 'encoded'
  | 'redirect'
  | 'closed'

/** What asking a model rejects with. Its message holds nothing of what the server or the cluster wrote. */
export class ModelFailure extends Error {
  override readonly name = 'ModelFailure'
  readonly kind: ModelFailureKind
  /** the HTTP status, 0 without one */
  readonly status: number
  /** how long the server wants to be left alone, undefined where it did not say */
  readonly retryAfterMs: number | undefined

  constructor(kind: ModelFailureKind, message: string, status = 0, retryAfterMs?: number) {
    super(message)
    this.kind = kind
    this.status = status
    this.retryAfterMs = retryAfterMs
  }

  /** Whether the same question may fare better a moment later. */
  get mayPass(): boolean {
    if (this.kind === 'network') return true
    return this.kind === 'status' && (this.status === 408 || this.status === 429 || this.status >= 500)
  }
}
