import type { Constraint } from './constraint.ts'

export const Unsupported = 'Unsupported'

/** The whole message; what is named are the parts of the spec whose rules are missing. */
export const notSupportedYet = (parts: readonly string[]): string =>
  `this version of Stowage does not know the rules for ${parts.join(', ')} yet and would rather wait than place the pod wrongly.`

/**
 * Refuses pods that ask for a rule which is not written yet: they wait with that reason, and are never placed wrongly.
 * Nothing that happens in the cluster helps; a newer version does, or another pod.
 */
export const unsupported: Constraint = {
  name: Unsupported,
  prepare: (pod) =>
    pod.shape.unsupported.length === 0
      ? undefined
      : { constraint: Unsupported, message: notSupportedYet(pod.shape.unsupported) },
  wakesOn: [],
  couldHelp: () => false,
}
