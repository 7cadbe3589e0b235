import { StowageError } from '../errors/catalogue.ts'
import { createBorg } from './borg.ts'
import { isPolicyFile, readPolicyFile } from './formula/policy-file.ts'
import { createBestFit } from './gpu/bestfit.ts'
import { createDotProduct } from './gpu/dotprod.ts'
import { createDualPrice } from './gpu/dual-price.ts'
import { createFgd } from './gpu/fgd.ts'
import { createGpuClustering } from './gpu/gpu-clustering.ts'
import { createGpuPacking } from './gpu/gpu-packing.ts'
import type { GpuWorkload } from './gpu/workload.ts'
import { createKubeDefault } from './kube-default.ts'
import { createLeastLoaded } from './least-loaded.ts'
import { LlmPolicy, type LlmOptions } from './llm/llm-policy.ts'
import { createMostAllocated } from './most-allocated.ts'
import type { Policy } from './policy.ts'
import { createRandom } from './random.ts'
import { createResourceBalanced } from './resource-balanced.ts'
import { createRoundRobin } from './round-robin.ts'

export interface PolicyOptions {
  /** The pods to be expected, for policies that pack GPUs for them. @default estimated from the pods that they see */
  readonly gpuWorkload?: GpuWorkload | undefined
  /** The language model for the policy that asks one. @default none: its cheap policy decides */
  readonly llm?: LlmOptions | undefined
  /** What answers at once for a policy that cannot, and proposes the nodes it chooses from. @default resource_balanced */
  readonly cheap?: Policy | undefined
}

const creators = new Map<string, () => Policy>([
  ['kube-default', createKubeDefault],
  ['resource_balanced', createResourceBalanced],
  ['least_loaded', createLeastLoaded],
  ['round_robin', createRoundRobin],
  ['most_allocated', createMostAllocated],
  ['borg', createBorg],
  ['random', createRandom],
])

/** Those whose scores depend on single GPUs of a node. */
const gpuCreators = new Map<string, (options: PolicyOptions) => Policy>([
  ['fgd', ({ gpuWorkload }) => createFgd(gpuWorkload)],
  ['dual_price', ({ gpuWorkload }) => createDualPrice(gpuWorkload)],
  ['bestfit', createBestFit],
  ['dotprod', createDotProduct],
  ['gpu_packing', createGpuPacking],
  ['gpu_clustering', createGpuClustering],
])

/** Those that ask somebody else, who may say another thing the next time. */
const askingCreators = new Map<string, (options: PolicyOptions) => Policy>([
  ['llm', ({ cheap, llm }) => new LlmPolicy(cheap ?? createResourceBalanced(), llm)],
])

/** The names of all policies, as they call themselves. */
export const policyNames: readonly string[] = [...creators.keys(), ...gpuCreators.keys(), ...askingCreators.keys()]

/** Whether the policy of that name goes by single GPUs, so that cpu, memory and pods alone do not say how it would decide. */
export const goesByGpus = (name: string): boolean => gpuCreators.has(name)

/** Whether the policy of that name asks a model, so that nobody can work out what it would have said. */
export const asksModel = (name: string): boolean => askingCreators.has(name)

/**
 * A new policy, with nothing remembered; one is needed for each profile. Hyphens and underscores are the same in names.
 * `formula:FILE` is the policy of a policy file (docs/evolve.md).
 * @throws StowageError POLICY_UNKNOWN; CONFIG_* for a policy file that cannot be read
 */
export const createPolicy = (name: string, options: PolicyOptions = {}): Policy => {
  if (isPolicyFile(name)) return readPolicyFile(name, policyNames)
  const spelled = name.replaceAll('_', '-')
  for (const [known, create] of [...creators, ...gpuCreators, ...askingCreators])
    if (known.replaceAll('_', '-') === spelled) return create(options)
  throw new StowageError('POLICY_UNKNOWN', {
    found: JSON.stringify(name),
    expected: `one of ${policyNames.join(', ')}, formula:FILE`,
  })
}
