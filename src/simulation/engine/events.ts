import type { PodObject } from '../../cluster/objects.ts'
import type { NodeShape } from '../workload/node-shapes.ts'

/** Something that happens to a simulated cluster from outside, at its time. */
export type SimulationEvent =
  /** A pod comes. One with `spec.nodeName` is there already, on that node. */
  | { readonly kind: 'pod'; readonly pod: PodObject }
  /** A pod ends, as its owner would delete it: nothing comes in its place. */
  | { readonly kind: 'pod-gone'; readonly namespace: string; readonly name: string }
  /** A pod is evicted, as by a drain: if a controller owns it, another comes in its place. */
  | { readonly kind: 'evict'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'node-add'; readonly node: NodeShape }
  /** A node that is there is another from now on: labels, taints, room. Its pods stay. */
  | { readonly kind: 'node-change'; readonly node: NodeShape }
  /** A node goes for good. Its pods are lost; those that a controller owns come again. */
  | { readonly kind: 'node-remove'; readonly node: string }
  /** A node takes no more pods, its pods are evicted, and after `noticeMs` it goes for good. */
  | { readonly kind: 'node-drain'; readonly node: string; readonly noticeMs: number }
  /** A node is silent: it is tainted after a while, and its pods are evicted as their tolerations say. */
  | { readonly kind: 'node-fail'; readonly node: string }
  /** It is back; pods that are still there go on. */
  | { readonly kind: 'node-recover'; readonly node: string }

/** Why a pod left a node before its end. */
export type Disruption = 'preempted' | 'evicted' | 'node-failed' | 'node-removed' | 'spot-reclaimed'

/** What has just happened, for observers: an event from outside, or one of the simulation itself. */
export type SimulationStep =
  | SimulationEvent['kind']
  /** a pod has reached the end of its duration */
  | 'pod-completed'
  /** a pod that was told to leave is gone */
  | 'pod-left'
  /** back-off ended, the autoscaler looked, a node was found silent, ...: whatever else waited for its time */
  | 'timer'
