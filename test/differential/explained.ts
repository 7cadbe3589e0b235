import type { Difference } from './comparison.ts'
import type { World } from './worlds.ts'

/** A difference that is meant to be, and why. */
export interface Explanation {
  readonly reason: string
  /** @param number of the case in its world */
  readonly explains: (difference: Difference, world: World, number: number) => boolean
}

/** What kube-scheduler says of the nodes that a pod leaves out by name. */
const LEFT_OUT = /(node\(s\) didn't satisfy plugin\(s\) \[NodeAffinity)(?: \w+)+\]/

/** Every difference from kube-scheduler that stays. What is not here is a fault. */
export const explanations: readonly Explanation[] = [
  {
    reason:
      "a pod that names its nodes and is tried again: kube-scheduler says of the nodes left out that the rule which refused the pod's nominated node refused them, too (one set of names is used for both)",
    explains: ({ about, text }, world, number) => {
      const [theirs = '', ours] = text.replace(/^theirs /, '').split(' | ours ')
      const required =
        world.cases[number]?.pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
      return (
        about === 'message' &&
        required !== undefined &&
        LEFT_OUT.test(theirs) &&
        theirs.replace(LEFT_OUT, '$1]') === ours
      )
    },
  },
]

/** Parts that can be left out without any pod in a real cluster showing it, and why. */
export const invisibleMutants: ReadonlyMap<string, string> = new Map([
  [
    'filter NodeName',
    'a pod that names its node is bound from the moment it is created: no scheduler that reads an API server ever asks the rule',
  ],
])
