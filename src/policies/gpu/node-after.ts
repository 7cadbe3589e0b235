import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import { type GpuView } from '../../cluster/gpus.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import { CPU } from '../../cluster/resources.ts'
import type { ClusterView } from '../../cluster/view.ts'

/** What is free on a node, as it would be with the pod there. */
export class NodeAfter {
  /** thousandths free of each GPU */
  free = new Int32Array(8)
  count = 0
  freeCpuMilli = 0

  /** The node as it is, its cpu apart, which the pod has already. */
  take({ stride, freeMilli, count }: GpuView, node: NodeIndex): void {
    // a node in use
    this.count = count[node]!
    if (this.free.length < this.count) this.free = new Int32Array(stride)
    const first = node * stride
    for (let gpu = 0; gpu < this.count; gpu++) this.free[gpu] = freeMilli[first + gpu]!
  }

  /** The first idle GPUs go; false if there are too few. */
  takeWhole(gpus: number): boolean {
    let missing = gpus
    for (let gpu = 0; gpu < this.count && missing > 0; gpu++)
      if (this.free[gpu]! >= WHOLE_GPU_MILLI) {
        this.free[gpu] = 0
        missing--
      }
    return missing === 0
  }
}

export const freeCpuMilliOf = (cluster: ClusterView, node: NodeIndex): number =>
  (cluster.allocatable[CPU]?.[node] ?? 0) - (cluster.requested[CPU]?.[node] ?? 0)

/** Whether a GPU before this one has as much left: then it is as good, and its number lower. */
export const seenBefore = (freeMilli: Int32Array, first: number, gpu: number, left: number): boolean => {
  for (let other = 0; other < gpu; other++) if (freeMilli[first + other] === left) return true
  return false
}

/** The largest node of the traces that the published policies are scaled by. */
export const LARGEST_CPU_MILLI = 128_000
export const LARGEST_GPUS = 8
