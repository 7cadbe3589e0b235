import type { Taint, Toleration } from '../cluster/objects.ts'
import { isTolerated } from '../cluster/tolerations.ts'
import { ClassCheck } from './class-check.ts'
import type { Constraint } from './constraint.ts'

export const NodeUnschedulable = 'NodeUnschedulable'
export const REASON_UNSCHEDULABLE = 'node(s) were unschedulable'

/** What a cordoned node counts as. */
const UNSCHEDULABLE: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }

const toleratesCordon = (tolerations: readonly Toleration[]): boolean => isTolerated(tolerations, UNSCHEDULABLE)

/** Cordoned nodes take only pods that tolerate `node.kubernetes.io/unschedulable:NoSchedule`. */
export const createNodeUnschedulable = (): Constraint => {
  const check = new ClassCheck({
    constraint: NodeUnschedulable,
    refusal: { reasons: [REASON_UNSCHEDULABLE], preemptionCouldHelp: false },
    ofClass: (shape, nodeClass) =>
      !nodeClass.unschedulable || toleratesCordon(shape.tolerations) ? 'allows' : 'refuses',
  })
  return {
    name: NodeUnschedulable,
    isLocal: true,
    prepare: (pod, cluster) => check.for(pod.shape, cluster),
    wakesOn: ['NodeAdd', 'NodeTaint', 'SelfToleration'],
    couldHelp: (_pod, event) => {
      switch (event.kind) {
        case 'NodeAdd':
          return !event.node.unschedulable
        case 'NodeTaint':
          return event.before.unschedulable && !event.node.unschedulable
        case 'SelfToleration':
          return toleratesCordon(event.pod.shape.tolerations)
        default:
          return false
      }
    },
  }
}
