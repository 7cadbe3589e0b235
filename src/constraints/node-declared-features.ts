import { ALLOWED, checkBy, type Constraint, type Refusal } from './constraint.ts'

export const NodeDeclaredFeatures = 'NodeDeclaredFeatures'
export const REASON_FEATURES = "node(s) didn't match Pod's required features"

const REFUSALS: readonly Refusal[] = [{ reasons: [REASON_FEATURES], preemptionCouldHelp: false }]

/** A node must declare every feature that the pod's spec makes use of. */
export const nodeDeclaredFeatures: Constraint = {
  name: NodeDeclaredFeatures,
  prepare: (pod, cluster) => {
    const { requiredFeatures } = pod.shape
    if (requiredFeatures.length === 0) return undefined
    return checkBy(NodeDeclaredFeatures, REFUSALS, (node) => {
      const { declaredFeatures } = cluster.node(node)
      return requiredFeatures.every((feature) => declaredFeatures.includes(feature)) ? ALLOWED : 1
    })
  },
  isLocal: true,
  wakesOn: ['NodeAdd', 'NodeDeclaredFeature', 'SelfFeatures'],
  couldHelp: (_pod, { kind }) => kind === 'NodeAdd' || kind === 'NodeDeclaredFeature' || kind === 'SelfFeatures',
}
