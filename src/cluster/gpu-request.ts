import type { NodeSelectorTerm } from './objects.ts'

/** Thousandths of GPUs: a node has 1000 for each of its GPUs; up to 1000 a pod asks for a share of one, else for whole ones. */
export const GPU_MILLI_RESOURCE = 'stowage.dev/gpu-milli'
/** Which GPUs of its node a pod has, `0` or `0,3`; written with the bind. */
export const GPU_DEVICES_ANNOTATION = 'stowage.dev/gpu-devices'
/** As GPU feature discovery names a node's kind of GPU. */
export const GPU_MODEL_LABEL = 'nvidia.com/gpu.product'
/** Thousandths of one GPU. */
export const WHOLE_GPU_MILLI = 1000
/** No machine has as many; what a node says beyond is left out. */
export const GPUS_PER_NODE_AT_MOST = 256

/** Resources that count whole GPUs, as the device plugins of NVIDIA, AMD and Intel advertise them. */
const WHOLE_GPU_RESOURCES: readonly string[] = ['nvidia.com/gpu', 'amd.com/gpu', 'gpu.intel.com/i915']

/** What a pod asks of GPUs. */
export interface GpuRequest {
  /** how many GPUs */
  readonly count: number
  /** thousandths of each; 1000 where `count` is above 1 */
  readonly milli: number
  /** models that its node selector or required affinity names; empty: any */
  readonly models: readonly string[]
}

/** GPUs of a node as it advertises them. */
export interface NodeGpus {
  readonly count: number
  /** '' if no label says */
  readonly model: string
  /** whether it takes shares of one GPU */
  readonly shareable: boolean
}

/** What is asked for by resource name -> amount in its unit; undefined: no GPU. */
export const gpuRequestIn = (
  amounts: ReadonlyMap<string, number>,
  models: readonly string[],
): GpuRequest | undefined => {
  const milli = amounts.get(GPU_MILLI_RESOURCE) ?? 0
  if (milli > 0) {
    const count = Math.ceil(milli / WHOLE_GPU_MILLI)
    return { count, milli: count > 1 ? WHOLE_GPU_MILLI : milli, models }
  }
  const count = WHOLE_GPU_RESOURCES.reduce((sum, name) => sum + (amounts.get(name) ?? 0), 0)
  return count > 0 ? { count, milli: WHOLE_GPU_MILLI, models } : undefined
}

/** Several GPUs can be had as whole ones only. */
export const isUnsharable = (amounts: ReadonlyMap<string, number>): boolean => {
  const milli = amounts.get(GPU_MILLI_RESOURCE) ?? 0
  return milli > WHOLE_GPU_MILLI && milli % WHOLE_GPU_MILLI !== 0
}

/** What a node's allocatable amounts, resource name -> amount, say of its GPUs. */
export const nodeGpusIn = (amounts: ReadonlyMap<string, number>, model: string): NodeGpus => {
  const milli = amounts.get(GPU_MILLI_RESOURCE) ?? 0
  const shareable = milli > 0
  const count = shareable
    ? Math.floor(milli / WHOLE_GPU_MILLI)
    : WHOLE_GPU_RESOURCES.reduce((sum, name) => sum + (amounts.get(name) ?? 0), 0)
  return { count: Math.min(count, GPUS_PER_NODE_AT_MOST), model, shareable }
}

/** The pod's models, where its shape pins them: a node selector, or the values of every required term. */
export const modelsOf = (
  nodeSelector: Readonly<Record<string, string>>,
  requiredTerms: readonly NodeSelectorTerm[] | undefined,
): string[] => {
  const selected = nodeSelector[GPU_MODEL_LABEL]
  if (selected !== undefined) return [selected]
  const models = new Set<string>()
  for (const { matchExpressions } of requiredTerms ?? []) {
    const pinned = (matchExpressions ?? []).find(({ key, operator }) => key === GPU_MODEL_LABEL && operator === 'In')
    // A term that names no model allows all of them.
    if (pinned === undefined) return []
    for (const model of pinned.values ?? []) models.add(model)
  }
  return [...models].sort()
}

/** `0,3` as an annotation has it; undefined: not GPUs of this request. */
export const devicesIn = (text: string | undefined, request: GpuRequest | undefined): readonly number[] | undefined => {
  if (text === undefined || request === undefined || !/^\d{1,3}(,\d{1,3})*$/.test(text)) return undefined
  const devices = text.split(',').map(Number)
  const usable = new Set(devices).size === request.count && devices.every((device) => device < GPUS_PER_NODE_AT_MOST)
  return usable && devices.length === request.count ? devices : undefined
}
