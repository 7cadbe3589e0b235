/**
 * Every error that Stowage raises on purpose. A code is a promise: users look it up (docs/errors.md) and scripts match on it,
 * so codes are added and never renamed. The text says what kind of thing went wrong; the error itself says what was found,
 * what was expected and what to do.
 */
export const catalogue = {
  // Input that could not be read
  QUANTITY_MALFORMED: 'A Kubernetes quantity cannot be parsed',
  SELECTOR_MALFORMED: 'A label or field selector cannot be parsed',
  POD_MALFORMED: 'A pod from outside cannot be read',
  NODE_MALFORMED: 'A node from outside cannot be read',
  VOLUME_MALFORMED: 'An object about volumes from outside cannot be read',
  // Configuration
  CONFIG_UNREADABLE: 'A configuration file cannot be read',
  CONFIG_UNKNOWN_KEY: 'A configuration key does not exist',
  CONFIG_INVALID_VALUE: 'A configuration value is not allowed',
  CONFIG_CONFLICT: 'Two settings cannot be used together',
  POLICY_UNKNOWN: 'There is no policy of that name',
  // The Kubernetes client
  KUBECONFIG_UNREADABLE: 'A kubeconfig cannot be read or does not say how to connect',
  API_UNREACHABLE: 'The API server cannot be reached',
  API_REFUSED: 'The API server refused a request',
  API_MALFORMED: 'The API server answered with something that is no Kubernetes object',
  // Serving
  PORT_IN_USE: 'A port is already in use',
  NOT_FOUND: 'What was asked for does not exist',
  BAD_REQUEST: 'A request cannot be understood',
  // Files, traces, the decision store
  FILE_UNREADABLE: 'A file cannot be read',
  FILE_UNWRITABLE: 'A file cannot be written',
  TRACE_MALFORMED: 'A row of a trace file is broken',
  WORKLOAD_MALFORMED: 'A workload file is broken',
  DOWNLOAD_FAILED: 'A file cannot be downloaded',
  RESULTS_MALFORMED: 'A file of results is broken',
  STORE_UNUSABLE: 'The decision store cannot be opened',
  // Scheduling
  MODEL_UNUSABLE: 'The language model cannot be used',
  POLICY_FAILED: 'A policy gave no usable ranking',
  INTERNAL: 'Stowage broke one of its own rules; please report it',
} as const

export type ErrorCode = keyof typeof catalogue

/** What a person needs in order to mend it: each a short phrase without a full stop. */
export interface ErrorFacts {
  /** what was found, with the place: `pods.csv line 7: "12x" in column cpu_milli` */
  readonly found: string
  /** what would have been right: `a whole number of millicores` */
  readonly expected?: string
  /** the next step: `correct the row or leave it out` */
  readonly todo?: string
}

/**
 * The one error class of the project.
 * @example throw new StowageError('PORT_IN_USE', { found: 'port 8000 is taken', todo: 'choose another with --port, or 0 for a free one' })
 */
export class StowageError extends Error {
  override readonly name = 'StowageError'
  readonly code: ErrorCode
  readonly facts: ErrorFacts

  constructor(code: ErrorCode, facts: ErrorFacts, options?: ErrorOptions) {
    const expected = facts.expected === undefined ? '' : `; expected ${facts.expected}`
    const todo = facts.todo === undefined ? '' : `; ${facts.todo}`
    super(`${catalogue[code]}: ${facts.found}${expected}${todo} [${code}]`, options)
    this.code = code
    this.facts = facts
  }
}

/** The message of anything that was thrown. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown))
