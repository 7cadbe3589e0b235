import type { Constraint } from './constraint.ts'
import { gpuDevices } from './gpu-devices.ts'
import { interPodAffinity } from './inter-pod-affinity.ts'
import { createNodeAffinity, nodeAffinityByName } from './node-affinity.ts'
import { nodeDeclaredFeatures } from './node-declared-features.ts'
import { createNodeName } from './node-name.ts'
import { nodePorts } from './node-ports.ts'
import { createNodeResourcesFit } from './node-resources-fit.ts'
import { createNodeUnschedulable } from './node-unschedulable.ts'
import { nodeVolumeLimits } from './node-volume-limits.ts'
import { podTopologySpread } from './pod-topology-spread.ts'
import { schedulingGates } from './scheduling-gates.ts'
import { createTaintToleration } from './taint-toleration.ts'
import { unsupported } from './unsupported.ts'
import { volumeBinding } from './volume-binding.ts'
import { volumeRestrictions } from './volume-restrictions.ts'
import { volumeZone } from './volume-zone.ts'

/**
 * Every rule, in the order in which a node is asked: kube-scheduler's order of plugins, so that a node that breaks several
 * rules is counted under the same one. NodeAffinity is there twice, under one name: pods pinned by name are narrowed first.
 * Each call makes rules of their own: a scheduler needs one set, since they remember what they worked out for it.
 */
export const createConstraints = (): readonly Constraint[] => [
  schedulingGates,
  unsupported,
  nodeAffinityByName,
  createNodeName(),
  createNodeUnschedulable(),
  createTaintToleration(),
  createNodeAffinity(),
  nodePorts,
  createNodeResourcesFit(),
  // Not kube-scheduler's: asked only of nodes that have the sum.
  gpuDevices,
  volumeRestrictions,
  nodeVolumeLimits,
  volumeBinding,
  volumeZone,
  podTopologySpread,
  interPodAffinity,
  // DynamicResources comes here once it is written; until then `unsupported` keeps the pods back that need it.
  nodeDeclaredFeatures,
]
