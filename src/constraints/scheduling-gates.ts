import type { Pod } from '../cluster/pod.ts'
import type { Constraint } from './constraint.ts'

export const SchedulingGates = 'SchedulingGates'

/** The gates that keep a pod from being tried at all; empty for a pod that may be tried. */
export const gatesOf = (pod: Pod): readonly string[] => pod.shape.schedulingGates

/** kube-scheduler's words: `waiting for scheduling gates: [a b]` */
export const waitingForGates = (gates: readonly string[]): string =>
  `waiting for scheduling gates: [${gates.join(' ')}]`

/**
 * A gated pod does not even enter the queue's active part: the queue asks `gatesOf` (kube-scheduler's PreEnqueue). As a
 * constraint the rule holds once more, whoever comes past the queue.
 */
export const schedulingGates: Constraint = {
  name: SchedulingGates,
  prepare: (pod) => {
    const gates = gatesOf(pod)
    return gates.length === 0 ? undefined : { constraint: SchedulingGates, message: waitingForGates(gates) }
  },
  wakesOn: ['SelfGates'],
  couldHelp: (_pod, event) => event.kind === 'SelfGates' && gatesOf(event.pod).length === 0,
}
