import type { NodeGpus } from './gpu-request.ts'
import type { Taint } from './objects.ts'
import type { Labels } from './pod.ts'
import type { ResourceVector } from './resources.ts'

/** Position of a node in the columns of the cluster state. Reused after the node is gone. */
export type NodeIndex = number

/** A node as the scheduler keeps it. Immutable; a change is a new record. */
export interface Node {
  readonly name: string
  readonly uid: string
  readonly labels: Labels
  /** only those under `stowage.dev/` and `agentaflow.gpu/` */
  readonly annotations: Labels
  readonly taints: readonly Taint[]
  readonly unschedulable: boolean
  readonly ready: boolean
  readonly allocatable: ResourceVector
  readonly maxPods: number
  readonly gpus: NodeGpus
  /** image name -> bytes, every name under which the node reports it */
  readonly imageBytes: ReadonlyMap<string, number>
  readonly declaredFeatures: readonly string[]
}

export const HOSTNAME_LABEL = 'kubernetes.io/hostname'

/**
 * What nodes of one kind share: labels without the hostname, taints, and whether pods may come at all. Selector and
 * toleration rules are evaluated once per class and shape.
 */
export interface NodeClass {
  readonly labels: Labels
  readonly taints: readonly Taint[]
  readonly unschedulable: boolean
}
