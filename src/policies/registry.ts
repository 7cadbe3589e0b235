import { StowageError } from '../errors/catalogue.ts'
import { createBorg } from './borg.ts'
import { createKubeDefault } from './kube-default.ts'
import { createLeastLoaded } from './least-loaded.ts'
import { createMostAllocated } from './most-allocated.ts'
import type { Policy } from './policy.ts'
import { createRandom } from './random.ts'
import { createResourceBalanced } from './resource-balanced.ts'
import { createRoundRobin } from './round-robin.ts'

const creators = new Map<string, () => Policy>([
  ['kube-default', createKubeDefault],
  ['resource_balanced', createResourceBalanced],
  ['least_loaded', createLeastLoaded],
  ['round_robin', createRoundRobin],
  ['most_allocated', createMostAllocated],
  ['borg', createBorg],
  ['random', createRandom],
])

/** The names of all policies, as they call themselves. */
export const policyNames: readonly string[] = [...creators.keys()]

/**
 * A new policy, with nothing remembered; one is needed for each profile. Hyphens and underscores are the same in names.
 * @throws StowageError POLICY_UNKNOWN
 */
export const createPolicy = (name: string): Policy => {
  const spelled = name.replaceAll('_', '-')
  for (const [known, create] of creators) if (known.replaceAll('_', '-') === spelled) return create()
  throw new StowageError('POLICY_UNKNOWN', {
    found: JSON.stringify(name),
    expected: `one of ${policyNames.join(', ')}`,
  })
}
