import type { Clock } from '../../clock/clock.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

export interface BudgetSettings {
  readonly requestsPerMinute: number
  readonly dollarsPerDay: number
}

/** How many requests may be sent, and how much money spent. */
export class Budget {
  readonly #settings: BudgetSettings
  readonly #clock: Clock
  /** when the requests of the last minute were sent, oldest first */
  readonly #sentMs: number[] = []
  #day = -1
  #spentToday = 0

  constructor(settings: BudgetSettings, clock: Clock) {
    this.#settings = settings
    this.#clock = clock
  }

  /** which budget is used up; undefined: none */
  get exhausted(): 'requests' | 'money' | undefined {
    this.#roll()
    if (this.#spentToday > 0 && this.#spentToday >= this.#settings.dollarsPerDay) return 'money'
    return this.#sentMs.length >= this.#settings.requestsPerMinute ? 'requests' : undefined
  }

  /** since midnight UTC */
  get spentToday(): number {
    this.#roll()
    return this.#spentToday
  }

  /** A request is sent. @returns false if it must not be */
  take(): boolean {
    if (this.exhausted !== undefined) return false
    this.#sentMs.push(this.#clock.monotonicMs())
    return true
  }

  spend(dollars: number): void {
    this.#roll()
    this.#spentToday += dollars
  }

  #roll(): void {
    const sinceMs = this.#clock.monotonicMs() - MINUTE_MS
    while (this.#sentMs.length > 0 && (this.#sentMs[0] ?? 0) <= sinceMs) this.#sentMs.shift()
    const day = Math.floor(this.#clock.nowMs() / DAY_MS)
    if (day === this.#day) return
    this.#day = day
    this.#spentToday = 0
  }
}
