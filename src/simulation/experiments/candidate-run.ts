import { StowageError } from '../../errors/catalogue.ts'
import { createFormula } from '../../policies/formula/formula-policy.ts'
import { createPolicy } from '../../policies/registry.ts'
import { type PodsRunInput, runPodsWith } from './pods-run.ts'

/** One run of a candidate of a search. */
export interface CandidateInput {
  readonly run: Omit<PodsRunInput, 'policy' | 'heatMap'>
  /** a policy by name, or the text of a formula */
  readonly by: { readonly policy: string } | { readonly formula: string }
  /** a name of `PODS_METRICS` */
  readonly metric: string
}

/**
 * What the metric is in that run.
 * @throws StowageError as `runPods`; CONFIG_INVALID_VALUE for a metric that the run does not have
 */
export const runCandidate = async ({ by, metric, run }: CandidateInput): Promise<number> => {
  const policy = 'policy' in by ? createPolicy(by.policy) : createFormula('candidate', by.formula)
  const { values } = await runPodsWith(policy, { ...run, heatMap: false })
  const found = values.find(([name]) => name === metric)
  if (found === undefined)
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: `the metric ${metric}, which these runs do not have`,
      expected: `one of ${values.map(([name]) => name).join(', ')}`,
    })
  return found[1]
}
