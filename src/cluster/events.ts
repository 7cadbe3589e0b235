import type { Node, NodeIndex } from './node.ts'
import type { Pod } from './pod.ts'

/**
 * What can happen to a cluster that may let a waiting pod in. Names and splits follow kube-scheduler's queueing events:
 * `Pod...` concerns pods that have a node (assumed ones count), `Self...` the waiting pod itself.
 */
export type ClusterEventKind =
  | 'NodeAdd'
  | 'NodeDelete'
  | 'NodeAllocatable'
  | 'NodeLabel'
  | 'NodeTaint'
  | 'NodeDeclaredFeature'
  | 'PodAdd'
  | 'PodDelete'
  | 'PodLabel'
  | 'PodScaleDown'
  | 'SelfGates'
  | 'SelfLabel'
  | 'SelfToleration'
  | 'SelfScaleDown'

export type ClusterEvent =
  | { readonly kind: 'NodeAdd'; readonly node: Node; readonly index: NodeIndex }
  | { readonly kind: 'NodeDelete'; readonly node: Node }
  | {
      readonly kind: 'NodeAllocatable' | 'NodeLabel' | 'NodeTaint' | 'NodeDeclaredFeature'
      readonly before: Node
      readonly node: Node
      readonly index: NodeIndex
    }
  | { readonly kind: 'PodAdd'; readonly pod: Pod }
  | {
      readonly kind: 'PodDelete'
      readonly pod: Pod
      /**
       * The pod was only nominated to a node, and gives up the room that was kept for it: it was kept from pods of at most
       * this priority
       */
      readonly keptFromPriority?: number
    }
  | { readonly kind: 'PodLabel' | 'PodScaleDown'; readonly before: Pod; readonly pod: Pod }
  | {
      readonly kind: 'SelfGates' | 'SelfLabel' | 'SelfToleration' | 'SelfScaleDown'
      readonly before: Pod
      readonly pod: Pod
    }
