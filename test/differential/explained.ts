import type { Difference } from './comparison.ts'
import type { World } from './worlds.ts'

/** A difference that is meant to be, and why. */
export interface Explanation {
  readonly reason: string
  /** @param number of the case in its world */
  readonly explains: (difference: Difference, world: World, number: number) => boolean
}

/** Every difference from kube-scheduler that stays. What is not here is a fault. */
export const explanations: readonly Explanation[] = []

/** Parts that can be left out without any pod in a real cluster showing it, and why. */
export const invisibleMutants: ReadonlyMap<string, string> = new Map([
  [
    'filter NodeName',
    'a pod that names its node is bound from the moment it is created: no scheduler that reads an API server ever asks the rule',
  ],
])
