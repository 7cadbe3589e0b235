import type { Unavailable } from './language-model.ts'

/** Why a pod was placed without asking the model. */
export type SkipReason = Unavailable | 'off' | 'wide_margin' | 'queue_full'

/** How the pods of all profiles with the policy llm were placed. */
export class PlacementStatistics {
  /** pods that the policy was asked about */
  asked = 0
  /** placed as the model said, in answer to their own question */
  byModel = 0
  /** placed by what was left of an earlier plan */
  fromCache = 0
  /** placed by the fallback although the model was asked */
  failed = 0
  readonly #skipped = new Map<SkipReason, number>()

  skip(reason: SkipReason): void {
    this.#skipped.set(reason, (this.#skipped.get(reason) ?? 0) + 1)
  }

  get skipped(): ReadonlyMap<SkipReason, number> {
    return this.#skipped
  }

  get skippedInAll(): number {
    let sum = 0
    for (const count of this.#skipped.values()) sum += count
    return sum
  }
}
