import type { Taint, Toleration } from '../cluster/objects.ts'
import { isTolerated } from '../cluster/tolerations.ts'
import { ClassCheck } from './class-check.ts'
import type { Constraint } from './constraint.ts'

export const TaintToleration = 'TaintToleration'
export const REASON_UNTOLERATED_TAINT = 'node(s) had untolerated taint(s)'

/** PreferNoSchedule only lowers a node's score. */
const keepsOut = ({ effect }: Taint): boolean => effect === 'NoSchedule' || effect === 'NoExecute'

const toleratesAll = (tolerations: readonly Toleration[], taints: readonly Taint[]): boolean =>
  taints.every((taint) => !keepsOut(taint) || isTolerated(tolerations, taint))

/** Every NoSchedule and NoExecute taint of the node must be tolerated. */
export const createTaintToleration = (): Constraint => {
  const check = new ClassCheck({
    constraint: TaintToleration,
    refusal: { reasons: [REASON_UNTOLERATED_TAINT], preemptionCouldHelp: false },
    ofClass: (shape, nodeClass) => (toleratesAll(shape.tolerations, nodeClass.taints) ? 'allows' : 'refuses'),
  })
  return {
    name: TaintToleration,
    isLocal: true,
    prepare: (pod, cluster) => check.for(pod.shape, cluster),
    wakesOn: ['NodeAdd', 'NodeTaint', 'SelfToleration'],
    couldHelp: ({ shape: { tolerations } }, event) => {
      switch (event.kind) {
        case 'NodeAdd':
          return toleratesAll(tolerations, event.node.taints)
        case 'NodeTaint':
          return !toleratesAll(tolerations, event.before.taints) && toleratesAll(tolerations, event.node.taints)
        case 'SelfToleration':
          return true
        default:
          return false
      }
    },
  }
}
