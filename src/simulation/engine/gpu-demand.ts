import type { NodeIndex } from '../../cluster/node.ts'
import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import { CPU } from '../../cluster/resources.ts'
import { ClusterState } from '../../cluster/state.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { Fragmentation } from '../../policies/gpu/fragmentation.ts'
import { demandOf, type GpuWorkload, typicalPart, workloadOfPods } from '../../policies/gpu/workload.ts'
import type { Arrival } from '../workload/arrivals.ts'
import { PodRecords } from './pod-records.ts'

/** What the pods of a run ask for, as the GPU policies count it. @throws StowageError POD_MALFORMED */
export const gpuWorkloadOf = (arrivals: readonly Arrival[]): GpuWorkload => {
  const records = new PodRecords(new ClusterState())
  return workloadOfPods(
    arrivals.map(({ pod }) => demandOf(records.read({ ...pod, metadata: { ...pod.metadata, uid: 'uid' } }).shape)),
  )
}

/** A measure of fragmentation for a simulation: FGD's F of a node for the typical part of a workload, in thousandths of GPUs. */
export const fragmentationFor = (workload: GpuWorkload): ((cluster: ClusterView, node: NodeIndex) => number) => {
  const measure = new Fragmentation(typicalPart(workload))
  return ({ allocatable, gpus, requested }, node) => {
    const freeCpuMilli = (allocatable[CPU]?.[node] ?? 0) - (requested[CPU]?.[node] ?? 0)
    const { count, freeMilli, modelOf, models, stride } = gpus
    // a node in use
    return WHOLE_GPU_MILLI * measure.of(freeCpuMilli, modelOf[node]!, models, freeMilli, node * stride, count[node]!)
  }
}
