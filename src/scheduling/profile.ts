import type { Policy } from '../policies/policy.ts'

/** What serves one scheduler name. */
export interface Profile {
  /** pods with this `spec.schedulerName` are ours */
  readonly schedulerName: string
  readonly policy: Policy
  /**
   * Places the pod when the policy gives nothing usable; must answer at once. undefined: the pod waits with the error and is
   * tried again after its back-off.
   */
  readonly fallback: Policy | undefined
  /** how long a policy that answers later may take */
  readonly deadlineMs: number
}
