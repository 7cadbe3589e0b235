import type { DefaultSelectors } from './default-selectors.ts'
import type { GpuView } from './gpus.ts'
import type { HostPort, Pod } from './pod.ts'
import type { Node, NodeClass, NodeIndex } from './node.ts'
import type { ResourceNames } from './resources.ts'
import type { Topology } from './topology.ts'
import type { VolumeView } from './volume-state.ts'

/** Where a node's load comes from: measured by metrics.k8s.io, or the requests of its pods. */
export type UsageSource = 'metrics.k8s.io' | 'requests'

/**
 * The cluster as constraints and policies read it: columns indexed by node. Nobody but the state writes them. Columns are
 * replaced when they grow, so take them anew in each cycle; `nodeCapacity` is their length, of which only the indexes in
 * `order` hold a node.
 */
export interface ClusterView {
  readonly resources: ResourceNames
  /** volumes, claims, and what attaches them */
  readonly volumes: VolumeView
  /** every single GPU, and what of it is free */
  readonly gpus: GpuView
  /** nodes in use, in order of arrival: `order[0] ... order[nodeCount - 1]` */
  readonly order: Int32Array
  readonly nodeCount: number
  readonly nodeCapacity: number
  /** allocatable[resource][node]; a resource that no node has may be missing: then all zero */
  readonly allocatable: readonly Float64Array[]
  /** requested[resource][node]: by all pods placed or assumed there */
  readonly requested: readonly Float64Array[]
  /** as requested, with kube-scheduler's defaults for containers without a request (100 millicores, 200 MiB) */
  readonly scoringCpuMilli: Float64Array
  readonly scoringMemoryBytes: Float64Array
  readonly podCount: Int32Array
  readonly maxPods: Int32Array
  /** changes with every change of the node, of what is placed on it, or of its measured use */
  readonly generation: Float64Array
  /**
   * Which nodes changed last: change number `c`, counted from 0 and below `changes`, was of
   * `changedNodes[c % changedNodes.length]`; older ones are forgotten.
   */
  readonly changes: number
  readonly changedNodes: Int32Array
  /** classOf[node] indexes `classes` */
  readonly classOf: Int32Array
  /** classes by number; undefined where a number is free. A number keeps its meaning while `classEpoch` stays. */
  readonly classes: readonly (NodeClass | undefined)[]
  readonly classEpoch: number
  /** where pods are by zone, rack or any other label of nodes, and what they ask of each other */
  readonly topology: Topology
  /** which pods belong together by their Services and controllers */
  readonly defaultSelectors: Pick<DefaultSelectors, 'of'>
  /** the node at an index in use */
  node(index: NodeIndex): Node
  /** index by name, -1 if there is none */
  indexOf(name: string): NodeIndex
  /** pods placed or assumed there */
  podsOn(index: NodeIndex): Iterable<Pod>
  /** host ports taken there, a pod's each */
  portsOn(index: NodeIndex): readonly HostPort[]
  /** nodes that report this image name */
  nodesWithImage(image: string): number
  /** bytes of an image as its first reporter said, 0 if nobody has it */
  imageBytes(image: string): number
  /**
   * Load of a node in millicores: what metrics.k8s.io measured plus the requests of pods placed since the measurement (a
   * burst must not be invisible), else all requests. `usageSource` says which.
   */
  usedCpuMilli(index: NodeIndex): number
  /** the same in bytes of memory */
  usedMemoryBytes(index: NodeIndex): number
  /** metrics.k8s.io if at least one node has a measurement, else requests */
  readonly usageSource: UsageSource
}
