/**
 * kube-scheduler's score arithmetic (v1.37, pkg/scheduler/framework/plugins), number for number: 64-bit integers there, doubles
 * here, which give the same as long as a hundredfold capacity stays below 2^53 (90 TB of memory on a node).
 */

/** Highest score of a plugin. */
export const MAX_NODE_SCORE = 100

/** Share of a capacity that stays free, in whole per cent. 0 when more is requested than there is. */
export const leastAllocatedOf = (requested: number, capacity: number): number =>
  requested > capacity ? 0 : Math.floor(((capacity - requested) * MAX_NODE_SCORE) / capacity)

/** Share of a capacity that is taken, in whole per cent. */
export const mostAllocatedOf = (requested: number, capacity: number): number =>
  Math.floor((Math.min(requested, capacity) * MAX_NODE_SCORE) / capacity)

/** NodeResourcesFit's score over cpu and memory, of equal weight; a resource the node does not have is left out. */
export const resourceScore = (
  scoreOf: (requested: number, capacity: number) => number,
  cpuRequested: number,
  cpuCapacity: number,
  memoryRequested: number,
  memoryCapacity: number,
): number => {
  if (cpuCapacity === 0) return memoryCapacity === 0 ? 0 : scoreOf(memoryRequested, memoryCapacity)
  if (memoryCapacity === 0) return scoreOf(cpuRequested, cpuCapacity)
  return Math.floor((scoreOf(cpuRequested, cpuCapacity) + scoreOf(memoryRequested, memoryCapacity)) / 2)
}

/** How close cpu and memory are to being used alike: 100 where equal, or where the node lacks one of them. */
const balance = (
  cpuRequested: number,
  cpuCapacity: number,
  memoryRequested: number,
  memoryCapacity: number,
): number => {
  if (cpuCapacity === 0 || memoryCapacity === 0) return MAX_NODE_SCORE
  const cpu = Math.min(1, cpuRequested / cpuCapacity)
  const memory = Math.min(1, memoryRequested / memoryCapacity)
  return Math.floor((1 - Math.abs((cpu - memory) / 2)) * MAX_NODE_SCORE)
}

/** NodeResourcesBalancedAllocation since 1.36: how much better balanced the node is with the pod than without; 75 means no change. */
export const balancedAllocation = (
  cpuRequested: number,
  cpuOfPod: number,
  cpuCapacity: number,
  memoryRequested: number,
  memoryOfPod: number,
  memoryCapacity: number,
): number => {
  const before = balance(cpuRequested, cpuCapacity, memoryRequested, memoryCapacity)
  const after = balance(cpuRequested + cpuOfPod, cpuCapacity, memoryRequested + memoryOfPod, memoryCapacity)
  return MAX_NODE_SCORE / 2 + Math.floor((MAX_NODE_SCORE / 2 + after - before) / 2)
}

const MIB = 1024 * 1024
/** Less than this of images on a node is worth nothing. */
export const IMAGE_MIN_BYTES = 23 * MIB
/** More than this an image is worth no more. */
const IMAGE_MAX_BYTES = 1000 * MIB

/** What an image counts where it is present: its size times the share of nodes that have it, so that pods do not all chase one node. */
export const imageWorth = (bytes: number, nodesWithIt: number, nodes: number): number =>
  Math.floor(bytes * (nodesWithIt / nodes))

/** ImageLocality's score for images worth `sum` in all, of a pod with that many. */
export const imageLocality = (sum: number, images: number): number => {
  const most = images * IMAGE_MAX_BYTES
  const clamped = sum < IMAGE_MIN_BYTES ? IMAGE_MIN_BYTES : Math.min(sum, most)
  return Math.trunc((MAX_NODE_SCORE * (clamped - IMAGE_MIN_BYTES)) / (most - IMAGE_MIN_BYTES))
}

/** kube-scheduler's DefaultNormalizeScore: the largest becomes 100. `max` > 0. */
export const normalized = (value: number, max: number): number => Math.floor((MAX_NODE_SCORE * value) / max)
