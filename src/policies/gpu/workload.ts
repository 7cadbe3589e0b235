import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { PodShape } from '../../cluster/pod.ts'
import { amountOf, CPU } from '../../cluster/resources.ts'

/** What a pod asks for, as far as packing GPUs goes. */
export interface GpuDemand {
  readonly cpuMilli: number
  /** thousandths of each GPU: 1000 is a whole one, 0 where the pod asks for none */
  readonly gpuMilli: number
  readonly gpuCount: number
  /** models of GPU that it may have, sorted; empty: any */
  readonly models: readonly string[]
}

/** Pods of one kind, and their share of all pods. */
export interface GpuClass extends GpuDemand {
  readonly weight: number
}

/** Which pods are to be expected: kinds, the most frequent first, with weights that add up to 1 (or no kind at all). */
export interface GpuWorkload {
  readonly classes: readonly GpuClass[]
}

const NO_MODELS: readonly string[] = []

/** What pods of a shape ask for. */
export const demandOf = ({ request, gpu }: Pick<PodShape, 'request' | 'gpu'>): GpuDemand => ({
  cpuMilli: amountOf(request, CPU),
  gpuMilli: gpu?.milli ?? 0,
  gpuCount: gpu?.count ?? 0,
  models: gpu?.models ?? NO_MODELS,
})

/** Equal for equal demands, and for no others: a model's name is a label's value, which holds no `|`. */
export const demandKey = ({ cpuMilli, gpuMilli, gpuCount, models }: GpuDemand): string =>
  `${cpuMilli}|${gpuMilli}|${gpuCount}|${models.join('|')}`

/** Size in GPUs. */
export const gpusOf = ({ gpuMilli, gpuCount }: GpuDemand): number => (gpuMilli * gpuCount) / WHOLE_GPU_MILLI

/** Whether it asks for part of one GPU, which others may share. */
export const isShared = ({ gpuMilli, gpuCount }: GpuDemand): boolean => gpuCount === 1 && gpuMilli < WHOLE_GPU_MILLI

export const allowsModel = ({ models }: GpuDemand, model: string): boolean =>
  models.length === 0 || models.includes(model)

const byWeightThenSize = (a: GpuClass, b: GpuClass): number => {
  const [specA, specB] = [a.models.join('|'), b.models.join('|')]
  return (
    b.weight - a.weight ||
    b.cpuMilli - a.cpuMilli ||
    b.gpuMilli - a.gpuMilli ||
    b.gpuCount - a.gpuCount ||
    (specA === specB ? 0 : specA < specB ? 1 : -1)
  )
}

/** The classes with any weight, the heaviest first (among equals the larger cpu, share, number and models), their weights brought to a sum of 1. */
export const workloadOf = (classes: readonly GpuClass[]): GpuWorkload => {
  const weighty = classes.filter(({ weight }) => weight > 0).sort(byWeightThenSize)
  const sum = weighty.reduce((total, { weight }) => total + weight, 0)
  return { classes: weighty.map((one) => ({ ...one, weight: one.weight / sum })) }
}

/** The distribution of pods with these demands, those without GPUs included. */
export const workloadOfPods = (demands: Iterable<GpuDemand>): GpuWorkload => {
  const counts = new Map<string, { -readonly [Key in keyof GpuClass]: GpuClass[Key] }>()
  for (const demand of demands) {
    const key = demandKey(demand)
    const known = counts.get(key)
    if (known === undefined) counts.set(key, { ...demand, weight: 1 })
    else known.weight++
  }
  return workloadOf([...counts.values()])
}

/** Share of the pods that the typical ones make up: Weng et al., "Beware of Fragmentation", USENIX ATC 2023, and its simulator. */
const TYPICAL_SHARE = 0.95
/** Sums of weights are exact to about this. */
const ROUNDING = 1e-12

/** The most frequent classes that make up at least 95 % of the pods, with their weights among themselves: that paper's M. */
export const typicalPart = ({ classes }: GpuWorkload): GpuWorkload => {
  let covered = 0
  let typical = 0
  for (const { weight } of classes) {
    if (covered >= TYPICAL_SHARE - ROUNDING) break
    covered += weight
    typical++
  }
  return workloadOf(classes.slice(0, typical))
}
