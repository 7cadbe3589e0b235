import { WHOLE_GPU_MILLI } from '../cluster/gpu-request.ts'
import { ALLOWED, checkBy, type Constraint, type Refusal } from './constraint.ts'

export const GpuDevices = 'GpuDevices'
export const REASON_GPUS = "node(s) didn't have single GPUs with enough free"
export const REASON_TOO_FEW_GPUS = "node(s) didn't have enough GPUs"

const REFUSALS: readonly Refusal[] = [
  { reasons: [REASON_GPUS], preemptionCouldHelp: true },
  { reasons: [REASON_TOO_FEW_GPUS], preemptionCouldHelp: false },
]
const TAKEN = 1
const TOO_FEW = 2

/**
 * Each GPU that a pod asks for must have as much free, on its own: two halves of different GPUs are no whole one.
 * NodeResourcesFit holds the sum. Where a node gives out whole GPUs only, its device plugin picks them and the sum is enough.
 */
export const gpuDevices: Constraint = {
  name: GpuDevices,
  prepare: (pod, cluster) => {
    const { gpu } = pod.shape
    if (gpu === undefined) return undefined
    const { gpus } = cluster
    return checkBy(GpuDevices, REFUSALS, (node) => {
      if (gpus.fits(node, gpu)) return ALLOWED
      if (gpu.milli === WHOLE_GPU_MILLI && !cluster.node(node).gpus.shareable) return ALLOWED
      return (gpus.count[node] ?? 0) < gpu.count ? TOO_FEW : TAKEN
    })
  },
  isLocal: true,
  wakesOn: ['PodDelete', 'NodeAdd', 'NodeAllocatable'],
  couldHelp: ({ shape }, event) => {
    if (shape.gpu === undefined) return false
    if (event.kind === 'PodDelete') return event.pod.shape.gpu !== undefined
    return (event.kind === 'NodeAdd' || event.kind === 'NodeAllocatable') && event.node.gpus.count >= shape.gpu.count
  },
}
