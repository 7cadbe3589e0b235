import { StowageError } from '../../errors/catalogue.ts'
import type { Environment, ObservationBuffers } from './environment.ts'

/**
 * Several environments that are stepped together, and write what is observed into common arrays: environment k has row k of
 * each. One that has come to its end begins anew at once, with the next seed of its own; what was seen last stands in
 * `finalFeatures` then, because a learner estimates what would have come after a truncation from it.
 * @example
 * const vector = new VectorEnvironment(8, (buffers) => new PlacementEnvironment({ nodes, source: newSource(), buffers }))
 * vector.reset(1)
 * vector.step(actions) // vector.features, vector.masks, vector.rewards, vector.terminated, vector.truncated
 */
export class VectorEnvironment {
  readonly count: number
  readonly observationSize: number
  readonly actionSizes: readonly number[]
  readonly rewardTerms: readonly string[]
  /** features[k * observationSize ...] */
  readonly features: Float32Array
  /** masks[k * choices ...], where choices is the sum of `actionSizes` */
  readonly masks: Uint8Array
  readonly rewards: Float32Array
  /** terms[k * rewardTerms.length ...], unweighted */
  readonly terms: Float64Array
  readonly terminated: Uint8Array
  readonly truncated: Uint8Array
  /** rows of environments that have just ended; others keep what they had */
  readonly finalFeatures: Float32Array
  readonly #environments: readonly Environment[]
  readonly #rows: readonly ObservationBuffers[]
  readonly #finalRows: readonly Float32Array[]
  readonly #episodes: Int32Array
  readonly #action: Int32Array
  #seed = 0

  /**
   * @param create an environment that writes into these buffers, or into its own, which are copied then; without buffers one that is
   * only asked for its sizes
   * @throws StowageError BAD_REQUEST for a count that is none, or environments of different sizes
   */
  constructor(count: number, create: (buffers: ObservationBuffers | undefined, index: number) => Environment) {
    if (!(Number.isInteger(count) && count > 0))
      throw new StowageError('BAD_REQUEST', { found: `${count} environments`, expected: 'at least one' })
    const { actionSizes, observationSize, rewardTerms = [] } = create(undefined, 0)
    const choices = actionSizes.reduce((sum, size) => sum + size, 0)
    this.count = count
    this.observationSize = observationSize
    this.actionSizes = actionSizes
    this.rewardTerms = rewardTerms
    this.features = new Float32Array(count * observationSize)
    this.masks = new Uint8Array(count * choices)
    this.rewards = new Float32Array(count)
    this.terms = new Float64Array(count * rewardTerms.length)
    this.terminated = new Uint8Array(count)
    this.truncated = new Uint8Array(count)
    this.finalFeatures = new Float32Array(count * observationSize)
    this.#episodes = new Int32Array(count)
    this.#action = new Int32Array(actionSizes.length)
    const row = (all: Float32Array, at: number): Float32Array =>
      all.subarray(at * observationSize, (at + 1) * observationSize)
    this.#rows = Array.from({ length: count }, (_, at) => ({
      features: row(this.features, at),
      mask: this.masks.subarray(at * choices, (at + 1) * choices),
    }))
    this.#finalRows = Array.from({ length: count }, (_, at) => row(this.finalFeatures, at))
    this.#environments = this.#rows.map((buffers, at) => create(buffers, at))
    for (const { actionSizes: sizes, observationSize: size } of this.#environments)
      if (size !== observationSize || sizes.join() !== actionSizes.join())
        throw new StowageError('BAD_REQUEST', {
          found: `environments that observe ${observationSize} and ${size} numbers, with ${actionSizes.join()} and ${sizes.join()} choices`,
          expected: 'environments of one size',
        })
  }

  /** All of them begin anew, each with a seed of its own that follows from this one. */
  reset(seed: number): void {
    this.#seed = seed
    this.#episodes.fill(0)
    this.terminated.fill(0)
    this.truncated.fill(0)
    for (let at = 0; at < this.count; at++) this.#begin(at)
  }

  /**
   * One step of each.
   * @param actions actions[k * parts ...], where parts is the length of `actionSizes`
   * @throws StowageError BAD_REQUEST as the environment whose action it is
   */
  step(actions: ArrayLike<number>): void {
    const action = this.#action
    for (let at = 0; at < this.count; at++) {
      for (let part = 0; part < action.length; part++) action[part] = actions[at * action.length + part] ?? -1
      // at < count
      const step = this.#environments[at]!.step(action)
      this.rewards[at] = step.reward
      this.terminated[at] = step.terminated ? 1 : 0
      this.truncated[at] = step.truncated ? 1 : 0
      if (step.terms !== undefined) this.terms.set(step.terms, at * this.rewardTerms.length)
      if (step.terminated || step.truncated) {
        this.#finalRows[at]!.set(step.features)
        this.#begin(at)
      } else this.#copy(at, step)
    }
  }

  #begin(at: number): void {
    // Seeds of different environments and episodes do not meet.
    const seed = this.#seed + at + this.count * this.#episodes[at]!++
    this.#copy(at, this.#environments[at]!.reset(seed))
  }

  /** Of an environment that writes into arrays of its own. */
  #copy(at: number, { features, mask }: ObservationBuffers): void {
    const row = this.#rows[at]!
    if (features !== row.features) row.features.set(features)
    if (mask !== row.mask) row.mask.set(mask)
  }
}
