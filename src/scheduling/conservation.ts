import type { Conservation } from './ports.ts'

/** Where a pod of ours counts in the sum. */
export type Place = Exclude<keyof Conservation, 'seen'>

/**
 * Counts where the pods are, by their moves alone. It knows no queue and no list of pods, so that a recount of those can
 * prove it.
 */
export class Ledger {
  #seen = 0
  readonly #counts: Record<Place, number> = { bound: 0, waiting: 0, gated: 0, deleted: 0, inFlight: 0 }

  /** A pod that was never seen before. */
  enter(place: Place): void {
    this.#seen++
    this.#counts[place]++
  }

  move(from: Place, to: Place): void {
    this.#counts[from]--
    this.#counts[to]++
  }

  get sum(): Conservation {
    return { seen: this.#seen, ...this.#counts }
  }
}
