import { messageOf, StowageError } from '../errors/catalogue.ts'

/** Wrong input from the user ends with 2, as a wrong command line does; whatever else went wrong with 1. */
const USER_ERRORS = /^(CONFIG_|POLICY_UNKNOWN|KUBECONFIG_|FILE_|TRACE_|WORKLOAD_|RESULTS_|BAD_REQUEST|PORT_IN_USE)/

export const exitCodeOf = (error: unknown): number =>
  error instanceof StowageError && USER_ERRORS.test(error.code) ? 2 : 1

/** The message for people; the stack only of what is a bug of ours. */
export const sayFailure = (error: unknown): void => {
  const text =
    error instanceof StowageError
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : messageOf(error)
  process.stderr.write(`stowage: ${text}\n`)
}
