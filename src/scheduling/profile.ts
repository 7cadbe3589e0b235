import type { Policy } from '../policies/policy.ts'

/** What serves one scheduler name. */
export interface Profile {
  /** pods with this `spec.schedulerName` are ours */
  readonly schedulerName: string
  readonly policy: Policy
  /** Places the pod when the policy gives nothing usable. Must answer at once. */
  readonly fallback: Policy
  /** how long a policy that answers later may take */
  readonly deadlineMs: number
}
