import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import { CPU } from '../../cluster/resources.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { poissonAtLeast } from './normal.ts'
import { allowsModel, type GpuClass, gpusOf, type GpuWorkload, isShared } from './workload.ts'

/** Cpu asked for, over cpu there is, when all GPUs are asked for: from here on cpu is what runs out first. */
const SCARCE_CPU_LOAD = 1.05
/**
 * How much more GPUs count there that are lost to fragments and to large pods, against what the rest may still be worth, which
 * then only decides between equals. Found by search on lists with 30 and 40 % of pods without GPUs (docs/simulator/packing.md).
 */
export const SCARCE_CPU_EMPHASIS = 100
/** Share of the GPUs up to which pods are expected to find a place. */
const PLACED_SHARE = 0.96
/** Reservations below this are none. */
const LEAST_RESERVATION = 1e-4
/** Classes with several GPUs that places are kept for, the most frequent: one bit each. */
const RESERVED_CLASSES = 31

/** Whether every node that serves `inner` is one that may serve `outer`. */
const isWithin = (inner: GpuClass, outer: GpuClass): boolean =>
  outer.models.length === 0 || (inner.models.length > 0 && inner.models.every((model) => outer.models.includes(model)))

/**
 * What is to come, held against what the cluster has: how much places for pods with several GPUs are worth, how much each model
 * of GPU is wanted, and whether cpu runs out before GPUs do.
 */
export class Outlook {
  /** classes with two GPUs or more */
  readonly large: readonly GpuClass[]
  /** of each of `large`: what the last place for it is worth in the score, in GPUs */
  readonly reservations: Float64Array
  /** by model number: share of the model's GPUs that pods will ask for which may have few others, 0 to 1 */
  premiums = new Float64Array(0)
  /** cpu is scarcer than GPUs */
  cpuScarce = false
  readonly #classes: readonly GpuClass[]
  readonly #gpusPerPod: number
  readonly #cpuMilliPerPod: number
  /** of each of `large`: weight of the pods that need as much of a node as it does */
  readonly #rivals: readonly number[]
  readonly #hosts: Int32Array
  #gpusOfModel = new Float64Array(0)

  constructor({ classes }: GpuWorkload) {
    this.#classes = classes
    this.#gpusPerPod = classes.reduce((sum, one) => sum + one.weight * gpusOf(one), 0)
    this.#cpuMilliPerPod = classes.reduce((sum, one) => sum + one.weight * one.cpuMilli, 0)
    this.large = classes.filter(({ gpuCount }) => gpuCount > 1).slice(0, RESERVED_CLASSES)
    this.reservations = new Float64Array(this.large.length)
    this.#hosts = new Int32Array(this.large.length)
    this.#rivals = this.large.map((large) =>
      classes
        .filter((one) => one.cpuMilli >= large.cpuMilli && one.gpuCount >= large.gpuCount && isWithin(one, large))
        .reduce((sum, { weight }) => sum + weight, 0),
    )
  }

  /** Looks at the whole cluster again. */
  refresh(cluster: ClusterView): void {
    const { gpus, order, nodeCount, allocatable, requested, classes, classOf } = cluster
    const hosts = this.#hosts.fill(0)
    const models = gpus.models.length
    if (this.premiums.length < models) {
      this.premiums = new Float64Array(models)
      this.#gpusOfModel = new Float64Array(models)
    }
    const gpusOfModel = this.#gpusOfModel.fill(0)
    let cpuMilli = 0
    let capacity = 0
    let freeMilli = 0
    for (let i = 0; i < nodeCount; i++) {
      // i < nodeCount <= length; nodes in use lie within each column
      const node = order[i]!
      // A cordoned node takes no more pods.
      if (classes[classOf[node]!]?.unschedulable === true) continue
      const nodeCpuMilli = allocatable[CPU]?.[node] ?? 0
      cpuMilli += nodeCpuMilli
      const count = gpus.count[node]!
      if (count === 0) continue
      capacity += count
      gpusOfModel[gpus.modelOf[node]!]! += count
      freeMilli += Math.max(0, gpus.freeSum[node]!)
      const idle = idleGpus(gpus.freeMilli, node * gpus.stride, count)
      if (idle < 2) continue
      const freeCpuMilli = nodeCpuMilli - (requested[CPU]?.[node] ?? 0)
      for (let at = 0; at < hosts.length; at++)
        if (this.hosts(at, freeCpuMilli, idle, gpus.models[gpus.modelOf[node]!]!)) hosts[at]!++
    }
    const podsInAll = this.#gpusPerPod > 0 ? capacity / this.#gpusPerPod : 0
    this.cpuScarce = podsInAll * this.#cpuMilliPerPod > SCARCE_CPU_LOAD * cpuMilli
    const used = capacity - freeMilli / WHOLE_GPU_MILLI
    const podsToCome = this.#gpusPerPod > 0 ? Math.max(0, PLACED_SHARE * capacity - used) / this.#gpusPerPod : 0
    for (const [at, { gpuCount }] of this.large.entries()) {
      const reservation = gpuCount * poissonAtLeast(hosts[at]!, this.#rivals[at]! * podsToCome)
      this.reservations[at] =
        reservation < LEAST_RESERVATION ? 0 : reservation * (this.cpuScarce ? SCARCE_CPU_EMPHASIS : 1)
    }
    this.#wantModels(gpus.models, podsInAll)
  }

  /** Whether a node with that much free has a place for `large[at]`. */
  hosts(at: number, freeCpuMilli: number, idle: number, model: string): boolean {
    // at < length
    const one = this.large[at]!
    return freeCpuMilli >= one.cpuMilli && idle >= one.gpuCount && allowsModel(one, model)
  }

  #wantModels(models: readonly string[], podsInAll: number): void {
    this.premiums.fill(0)
    for (const one of this.#classes) {
      if (one.models.length === 0) continue
      let capacity = 0
      for (const [number, model] of models.entries())
        if (one.models.includes(model)) capacity += this.#gpusOfModel[number]!
      if (capacity === 0) continue
      const wanted = (one.weight * podsInAll * gpusOf(one)) / capacity
      for (const [number, model] of models.entries())
        if (one.models.includes(model)) this.premiums[number] = Math.min(1, this.premiums[number]! + wanted)
    }
  }
}

/** GPUs of which nothing is taken. */
export const idleGpus = (freeMilli: Int32Array, first: number, count: number): number => {
  let idle = 0
  // the caller's bounds
  for (let at = first; at < first + count; at++) if (freeMilli[at]! >= WHOLE_GPU_MILLI) idle++
  return idle
}

/** Cpu for each GPU's worth, in cores, over the classes with GPUs: mean and spread for the root of the worth. */
export interface CpuPerWorth {
  readonly coresPerGpu: number
  readonly spread: number
}

/** rho_M and sigma of docs/simulator/packing.md. @param worthByMilli what a share is worth */
export const cpuPerWorth = ({ classes }: GpuWorkload, worthByMilli: Float64Array): CpuPerWorth => {
  const withGpus = classes.filter(({ gpuCount }) => gpuCount > 0)
  const worthOf = (one: GpuClass): number => (isShared(one) ? worthByMilli[one.gpuMilli]! : one.gpuCount)
  const worth = withGpus.reduce((sum, one) => sum + one.weight * worthOf(one), 0)
  if (worth === 0) return { coresPerGpu: 0, spread: 0 }
  const coresPerGpu = withGpus.reduce((sum, one) => sum + (one.weight * one.cpuMilli) / 1000, 0) / worth
  const variance =
    withGpus.reduce((sum, one) => sum + one.weight * (one.cpuMilli / 1000 - coresPerGpu * worthOf(one)) ** 2, 0) / worth
  return { coresPerGpu, spread: Math.sqrt(variance) }
}
