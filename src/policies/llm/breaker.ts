import type { Clock } from '../../clock/clock.ts'

export interface BreakerSettings {
  readonly enabled: boolean
  readonly failureThreshold: number
  readonly timeoutMs: number
  readonly halfOpenMaxCalls: number
}

export type BreakerState = 'closed' | 'open' | 'half_open'

/**
 * Leaves a server alone that keeps failing: opens after so many failures in a row, lets a few probes through after a while,
 * closes at the first success. A hold keeps it open whatever is set: the server has said that asking is of no use.
 */
export class CircuitBreaker {
  readonly #settings: BreakerSettings
  readonly #clock: Clock
  #failures = 0
  /** undefined: closed */
  #openUntilMs: number | undefined
  #probes = 0
  #trips = 0

  constructor(settings: BreakerSettings, clock: Clock) {
    this.#settings = settings
    this.#clock = clock
  }

  get state(): BreakerState {
    if (this.#openUntilMs === undefined) return 'closed'
    return this.#clock.monotonicMs() < this.#openUntilMs ? 'open' : 'half_open'
  }

  /** how often it has opened */
  get trips(): number {
    return this.#trips
  }

  /** Whether a question may be asked now. */
  get admits(): boolean {
    const { state } = this
    return state === 'closed' || (state === 'half_open' && this.#probes < this.#settings.halfOpenMaxCalls)
  }

  /** A question is asked; tell its end with what this returns, once. Only when it admits one. */
  begin(): { succeeded(): void; failed(): void; calledOff(): void } {
    const probe = this.state === 'half_open'
    if (probe) this.#probes++
    const over = (): void => {
      if (probe) this.#probes--
    }
    return {
      succeeded: () => {
        over()
        // What was asked before it opened says nothing about now.
        if (!probe && this.#openUntilMs !== undefined) return
        this.#failures = 0
        this.#openUntilMs = undefined
      },
      failed: () => {
        over()
        this.#failures++
        if (!this.#settings.enabled) return
        if (probe || (this.#openUntilMs === undefined && this.#failures >= this.#settings.failureThreshold))
          this.#open(this.#settings.timeoutMs)
      },
      calledOff: over,
    }
  }

  /** Nothing is asked for so long; then it is probed. */
  hold(forMs: number): void {
    this.#open(forMs)
  }

  #open(forMs: number): void {
    if (this.state !== 'open') this.#trips++
    this.#openUntilMs = Math.max(this.#openUntilMs ?? 0, this.#clock.monotonicMs() + forMs)
  }
}
