/** What a learner sees. Both arrays belong to the environment and are written anew by the next `reset` or `step`. */
export interface Observation {
  /** `observationSize` numbers, each about 0 to 1 */
  readonly features: Float32Array
  /** 1 where a choice may be taken, 0 where not; the choices of each part of the action one after another */
  readonly mask: Uint8Array
}

/** What came of an action. The object is the environment's, too. */
export interface Step extends Observation {
  readonly reward: number
  /** the episode has come to an end of its own */
  readonly terminated: boolean
  /** time is up: whatever would have come is to be estimated */
  readonly truncated: boolean
  /** what the reward is made of, unweighted, in the order of `rewardTerms` */
  readonly terms?: Float64Array
}

/**
 * Something to learn in: an episode begins with `reset`, goes on with `step`, and follows from its seed and the actions, to
 * the bit. An action is one choice for each of its parts.
 */
export interface Environment {
  readonly observationSize: number
  /** how many choices each part of an action has: `[5, 5, 3]` */
  readonly actionSizes: readonly number[]
  /** names of the terms of the reward, where it is a sum of changes */
  readonly rewardTerms?: readonly string[]
  /** What rewards are changes of, where they are: over any steps they add up to its difference. */
  readonly potential?: number
  reset(seed: number): Observation
  /** @throws StowageError BAD_REQUEST for a choice that there is not or that the mask rules out, or after the end */
  step(action: ArrayLike<number>): Step
}

/** Where an environment is to write what it observes, so that many share one array. */
export interface ObservationBuffers {
  readonly features: Float32Array
  readonly mask: Uint8Array
}
