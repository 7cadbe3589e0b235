import { z } from 'zod'
import * as kinds from './kinds.ts'
import { settingFacts, type Kind, type SettingFacts } from './kinds.ts'

type Written = Omit<SettingFacts, 'allowed'>

/** A setting that always has a value. @param byDefault written as a user would write it */
const setting = <T extends z.ZodType>(kind: Kind<T>, byDefault: string, facts: Written): z.ZodPrefault<T> => {
  const schema = kind.schema.prefault(byDefault as never)
  settingFacts.add<z.ZodType>(schema, { ...facts, allowed: kind.allowed })
  return schema
}

/** A setting that may be left out. */
const optional = <T extends z.ZodType>(kind: Kind<T>, facts: Written): z.ZodOptional<T> => {
  const schema = kind.schema.optional()
  settingFacts.add<z.ZodType>(schema, { ...facts, allowed: kind.allowed })
  return schema
}

/**
 * Every setting of Stowage, once: its type, its name in the YAML file, in the environment and as a flag, its default and what
 * it is for. Loading, --help, `config check`, /config and docs/configuration.md all read this. Properties carry the unit;
 * the names of YAML keys and of variables are those that users of the original systems know, where they had one.
 */
export const settingsSchema = z.object({
  scheduler: z.object({
    name: optional(kinds.text('a name without blanks', /^[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,251}[a-zA-Z0-9])?$/), {
      key: 'scheduler.name',
      env: 'SCHEDULER_NAME',
      flag: '--scheduler-name',
      argument: '<name>',
      description:
        'Schedule the pods with this schedulerName. Alone, it is the only profile; beside `profiles` it is added to them.',
    }),
    watchIntervalMs: setting(kinds.duration('s', '200ms', '10m'), '5s', {
      key: 'scheduler.watch_interval',
      env: 'STOWAGE_WATCH_INTERVAL',
      flag: '--watch-interval',
      argument: '<duration>',
      description:
        'The longest pause before a list or watch that was interrupted is tried again. Changes are told as they happen; nothing is polled.',
    }),
  }),
  profiles: optional(kinds.profiles(), {
    key: 'profiles',
    env: 'STOWAGE_PROFILES',
    flag: '--profile',
    argument: '<schedulerName=policy...>',
    description:
      'Which policy ranks the nodes for the pods of which schedulerName. Without it: stowage and drl-scheduler with kube-default, ai-llama-scheduler with llm if there is a model to ask, else with the fallback strategy.',
  }),
  fallback: z.object({
    enabled: setting(kinds.boolean(), 'true', {
      key: 'fallback.enabled',
      env: 'STOWAGE_FALLBACK_ENABLED',
      flag: '--fallback-enabled',
      argument: '[boolean]',
      description:
        'Whether the fallback strategy places a pod when the policy of its profile fails. If not, the pod is tried again later.',
    }),
    strategy: setting(kinds.text('the name of a policy', kinds.policyName), 'resource_balanced', {
      key: 'fallback.strategy',
      env: 'STOWAGE_FALLBACK_STRATEGY',
      flag: '--fallback-strategy',
      argument: '<policy>',
      description: 'The policy that steps in: resource_balanced, least_loaded, round_robin, or any other policy.',
    }),
  }),
  scheduling: z.object({
    policyTimeoutMs: setting(kinds.duration('s', '1ms', '10m'), '5s', {
      key: 'scheduling.policy_timeout',
      env: 'STOWAGE_POLICY_TIMEOUT',
      flag: '--policy-timeout',
      argument: '<duration>',
      description: 'How long a policy may take over one pod before the fallback strategy places it.',
    }),
    bindTimeoutMs: setting(kinds.duration('s', '100ms', '10m'), '15s', {
      key: 'scheduling.bind_timeout',
      env: 'STOWAGE_BIND_TIMEOUT',
      flag: '--bind-timeout',
      argument: '<duration>',
      description: 'How long a bind may take, with its retries, before it is given up and the pod is tried again.',
    }),
    bindsInFlight: setting(kinds.integer(1, 10_000), '64', {
      key: 'scheduling.binds_in_flight',
      env: 'STOWAGE_BINDS_IN_FLIGHT',
      flag: '--binds-in-flight',
      argument: '<number>',
      description: 'How many binds may be under way at the API server at once.',
    }),
    drainTimeoutMs: setting(kinds.duration('s', '0s', '10m'), '1500ms', {
      key: 'scheduling.drain_timeout',
      env: 'STOWAGE_DRAIN_TIMEOUT',
      flag: '--drain-timeout',
      argument: '<duration>',
      description: 'How long a stopping scheduler waits for binds and events under way.',
    }),
    seed: setting(kinds.integer(-2_147_483_648, 2_147_483_647), '1', {
      key: 'scheduling.seed',
      env: 'STOWAGE_SEED',
      flag: '--seed',
      argument: '<number>',
      description: 'Seed of all randomness: the same seed and the same events give the same decisions.',
    }),
  }),
  kubernetes: z.object({
    kubeconfig: optional(kinds.text('the path of a file'), {
      key: 'kubernetes.kubeconfig',
      env: 'KUBECONFIG',
      flag: '--kubeconfig',
      argument: '<file>',
      description: 'The kubeconfig of the cluster. Without it: ~/.kube/config, or in a pod its service account.',
    }),
    context: optional(kinds.text('the name of a context in the kubeconfig'), {
      key: 'kubernetes.context',
      env: 'STOWAGE_KUBE_CONTEXT',
      flag: '--context',
      argument: '<name>',
      description: 'The context to use, if not the current one of the kubeconfig.',
    }),
    inCluster: optional(kinds.boolean(), {
      key: 'kubernetes.in_cluster',
      env: 'IN_CLUSTER',
      flag: '--in-cluster',
      argument: '[boolean]',
      description:
        "Whether to connect with the pod's service account. Without it: yes where there is one and no kubeconfig was named.",
    }),
  }),
  llm: z.object({
    model: setting(kinds.text('the name of a model'), 'meta-llama/Llama-3.3-70B-Instruct', {
      key: 'llm.model',
      env: 'LLM_MODEL',
      flag: '--llm-model',
      argument: '<name>',
      description:
        "The language model that the policy llm asks, as its server calls it. Hugging Face's router takes a provider behind it: `:cheapest`, `:fastest` or a name.",
    }),
    endpoint: setting(kinds.url(), 'https://router.huggingface.co', {
      key: 'llm.endpoint',
      env: 'LLM_ENDPOINT',
      flag: '--llm-endpoint',
      argument: '<url>',
      description: 'The OpenAI-compatible server that has the model, with or without /v1 at its end (docs/llm.md).',
    }),
    token: optional(kinds.text('a token of one line without blanks', /^[\x21-\x7e]{1,4096}$/), {
      key: 'llm.token',
      env: 'HUGGINGFACE_TOKEN',
      flag: '--llm-token',
      argument: '<token>',
      secret: true,
      description:
        'What that server knows us by. Never shown or logged; better given in the environment or `.env` than as a flag. Without it the policy llm is off, except at a loopback address.',
    }),
    required: setting(kinds.boolean(), 'false', {
      key: 'llm.required',
      env: 'STOWAGE_LLM_REQUIRED',
      flag: '--llm-required',
      argument: '[boolean]',
      description: 'Whether to end at the start, instead of placing pods without the model, if it cannot be used.',
    }),
    temperature: setting(kinds.decimal(0, 2), '0.3', {
      key: 'llm.temperature',
      env: 'STOWAGE_LLM_TEMPERATURE',
      flag: '--llm-temperature',
      argument: '<number>',
      description: 'How freely the model chooses its words; 0: always the likeliest.',
    }),
    maxTokens: setting(kinds.integer(16, 32_768), '200', {
      key: 'llm.max_tokens',
      env: 'STOWAGE_LLM_MAX_TOKENS',
      flag: '--llm-max-tokens',
      argument: '<number>',
      description: 'The longest answer, in tokens, for each group of pods in a question.',
    }),
    maxRetries: setting(kinds.integer(0, 20), '3', {
      key: 'llm.max_retries',
      env: 'LLM_MAX_RETRIES',
      flag: '--llm-max-retries',
      argument: '<number>',
      description:
        'How often a question is sent again after 408, 429, 5xx or a lost connection, while there is time left. Other answers are never retried.',
    }),
    retryDelayMs: setting(kinds.duration('s', '1ms', '1m'), '250ms', {
      key: 'llm.retry_delay',
      env: 'STOWAGE_LLM_RETRY_DELAY',
      flag: '--llm-retry-delay',
      argument: '<duration>',
      description:
        "The pause before the first retry, doubled for each further one, with jitter. A server's Retry-After wins.",
    }),
    timeoutMs: setting(kinds.duration('s', '10ms', '10m'), '2s', {
      key: 'llm.timeout',
      env: 'LLM_TIMEOUT',
      flag: '--llm-timeout',
      argument: '<duration>',
      description:
        'The longest that a pod waits for the model, everything included. Then the fallback strategy places it.',
    }),
    candidates: setting(kinds.integer(2, 16), '6', {
      key: 'llm.candidates',
      env: 'STOWAGE_LLM_CANDIDATES',
      flag: '--llm-candidates',
      argument: '<number>',
      description: 'How many nodes the model chooses from: the best of the fallback strategy.',
    }),
    margin: setting(kinds.decimal(0, 1), '0.1', {
      key: 'llm.margin',
      env: 'STOWAGE_LLM_MARGIN',
      flag: '--llm-margin',
      argument: '<share>',
      description:
        'The model is not asked where the fallback strategy finds the best node better than the second by this share of its score, and the pod states no intent. 1: always ask.',
    }),
    concurrency: setting(kinds.integer(1, 64), '4', {
      key: 'llm.concurrency',
      env: 'STOWAGE_LLM_CONCURRENCY',
      flag: '--llm-concurrency',
      argument: '<number>',
      description: 'How many questions may be at the server at once.',
    }),
    requestsPerMinute: setting(kinds.integer(1, 1_000_000), '60', {
      key: 'llm.requests_per_minute',
      env: 'STOWAGE_LLM_REQUESTS_PER_MINUTE',
      flag: '--llm-requests-per-minute',
      argument: '<number>',
      description: 'The most requests in a minute, retries and hedges included.',
    }),
    dollarsPerDay: setting(kinds.decimal(0, 1_000_000), '5', {
      key: 'llm.dollars_per_day',
      env: 'STOWAGE_LLM_DOLLARS_PER_DAY',
      flag: '--llm-dollars-per-day',
      argument: '<dollars>',
      description: 'The most that may be spent from midnight to midnight UTC; then the fallback strategy decides.',
    }),
    inputPrice: optional(kinds.decimal(0, 10_000), {
      key: 'llm.input_price',
      env: 'STOWAGE_LLM_INPUT_PRICE',
      flag: '--llm-input-price',
      argument: '<dollars>',
      description:
        "Dollars for a million tokens sent. Without it: what the server's list of models says; else 1, or 0 at a loopback address.",
    }),
    outputPrice: optional(kinds.decimal(0, 10_000), {
      key: 'llm.output_price',
      env: 'STOWAGE_LLM_OUTPUT_PRICE',
      flag: '--llm-output-price',
      argument: '<dollars>',
      description: 'Dollars for a million tokens received. Without it: as for llm.input_price.',
    }),
    hedgeEndpoint: optional(kinds.url(), {
      key: 'llm.hedge_endpoint',
      env: 'STOWAGE_LLM_HEDGE_ENDPOINT',
      flag: '--llm-hedge-endpoint',
      argument: '<url>',
      description: 'A second server, asked as well when the first fails or is slow; the first good answer counts.',
    }),
    hedgeModel: optional(kinds.text('the name of a model'), {
      key: 'llm.hedge_model',
      env: 'STOWAGE_LLM_HEDGE_MODEL',
      flag: '--llm-hedge-model',
      argument: '<name>',
      description: 'The model there. Without it: llm.model.',
    }),
    hedgeToken: optional(kinds.text('a token of one line without blanks', /^[\x21-\x7e]{1,4096}$/), {
      key: 'llm.hedge_token',
      env: 'STOWAGE_LLM_HEDGE_TOKEN',
      flag: '--llm-hedge-token',
      argument: '<token>',
      secret: true,
      description: 'The token for the second server, which is never sent that of the first.',
    }),
    hedgeAfterMs: setting(kinds.duration('s', '1ms', '10m'), '1s', {
      key: 'llm.hedge_after',
      env: 'STOWAGE_LLM_HEDGE_AFTER',
      flag: '--llm-hedge-after',
      argument: '<duration>',
      description: 'How long the first server may stay silent before the second is asked as well.',
    }),
  }),
  cache: z.object({
    enabled: setting(kinds.boolean(), 'true', {
      key: 'cache.enabled',
      env: 'ENABLE_CACHE',
      flag: '--enable-cache',
      argument: '[boolean]',
      description: "Whether the rest of a model's plan for the pods of one template is kept for those that come next.",
    }),
    ttlMs: setting(kinds.duration('s', '1s', '1d'), '300', {
      key: 'cache.ttl',
      env: 'CACHE_TTL',
      flag: '--cache-ttl',
      argument: '<duration>',
      description:
        'How long a plan is kept at most. Plans look at the load of nodes, so none is used after 30 s, nor once anything else has changed on its nodes.',
    }),
    maxSize: setting(kinds.integer(1, 100_000), '100', {
      key: 'cache.max_size',
      env: 'STOWAGE_CACHE_MAX_SIZE',
      flag: '--cache-max-size',
      argument: '<number>',
      description: 'How many plans are kept; the least recently used goes first.',
    }),
  }),
  circuitBreaker: z.object({
    enabled: setting(kinds.boolean(), 'true', {
      key: 'circuit_breaker.enabled',
      env: 'STOWAGE_CIRCUIT_BREAKER_ENABLED',
      flag: '--circuit-breaker',
      argument: '[boolean]',
      description: 'Whether a model that keeps failing is left alone for a while.',
    }),
    failureThreshold: setting(kinds.integer(1, 10_000), '5', {
      key: 'circuit_breaker.failure_threshold',
      env: 'STOWAGE_CIRCUIT_BREAKER_THRESHOLD',
      flag: '--circuit-breaker-threshold',
      argument: '<number>',
      description: 'How many questions in a row must fail; any success starts the count again.',
    }),
    timeoutMs: setting(kinds.duration('s', '10ms', '1d'), '60', {
      key: 'circuit_breaker.timeout',
      env: 'STOWAGE_CIRCUIT_BREAKER_TIMEOUT',
      flag: '--circuit-breaker-timeout',
      argument: '<duration>',
      description: 'How long it is left alone before it is tried again.',
    }),
    halfOpenMaxCalls: setting(kinds.integer(1, 100), '1', {
      key: 'circuit_breaker.half_open_max_calls',
      env: 'STOWAGE_CIRCUIT_BREAKER_PROBES',
      flag: '--circuit-breaker-probes',
      argument: '<number>',
      description: 'How many questions try it then; one success closes the circuit, one failure opens it again.',
    }),
  }),
  leaderElection: z.object({
    enabled: setting(kinds.boolean(), 'true', {
      key: 'leader_election.enabled',
      env: 'STOWAGE_LEADER_ELECT',
      flag: '--leader-elect',
      argument: '[boolean]',
      description: 'Whether replicas agree by a Lease on the one that schedules; the others wait.',
    }),
    leaseName: optional(
      kinds.text('the name of a Lease: lower case letters, digits, - and .', /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/),
      {
        key: 'leader_election.lease_name',
        env: 'STOWAGE_LEASE_NAME',
        flag: '--lease-name',
        argument: '<name>',
        description:
          'Name of the Lease. Without it: stowage and a short hash of the schedulerNames served, so that replicas wait for each other and schedulers with other profiles do not.',
      },
    ),
    leaseNamespace: setting(
      kinds.text('a namespace: lower case letters, digits and -', /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/),
      'kube-system',
      {
        key: 'leader_election.lease_namespace',
        env: 'STOWAGE_LEASE_NAMESPACE',
        flag: '--lease-namespace',
        argument: '<namespace>',
        description: 'Namespace of the Lease.',
      },
    ),
    leaseDurationMs: setting(kinds.duration('s', '1s', '1h'), '15s', {
      key: 'leader_election.lease_duration',
      env: 'STOWAGE_LEASE_DURATION',
      flag: '--lease-duration',
      argument: '<duration>',
      description: 'How long a leader that has gone silent is waited for.',
    }),
    renewDeadlineMs: setting(kinds.duration('s', '500ms', '1h'), '10s', {
      key: 'leader_election.renew_deadline',
      env: 'STOWAGE_RENEW_DEADLINE',
      flag: '--renew-deadline',
      argument: '<duration>',
      description:
        'How long a leader tries to renew the Lease before it gives up leading; shorter than the lease duration.',
    }),
    retryPeriodMs: setting(kinds.duration('s', '100ms', '1h'), '2s', {
      key: 'leader_election.retry_period',
      env: 'STOWAGE_RETRY_PERIOD',
      flag: '--retry-period',
      argument: '<duration>',
      description: 'Time between two tries to take or renew the Lease; shorter than the renew deadline.',
    }),
  }),
  decisions: z.object({
    path: setting(kinds.text('auto, the path of a file, or :memory:'), 'auto', {
      key: 'decisions.path',
      env: 'STOWAGE_DECISIONS_PATH',
      flag: '--decisions',
      argument: '<file>',
      description:
        'The SQLite file that keeps why each pod is where it is. auto: one for each cluster under ~/.local/state/stowage. :memory: keeps it until the scheduler stops.',
    }),
    maxAgeMs: setting(kinds.duration('s', '1m', '3650d'), '7d', {
      key: 'decisions.max_age',
      env: 'STOWAGE_DECISIONS_MAX_AGE',
      flag: '--decisions-max-age',
      argument: '<duration>',
      description: 'Decisions older than this are dropped.',
    }),
    maxBytes: setting(
      kinds.bytes(2 ** 20, 2 ** 40, 'a size from 1Mi to 1024Gi such as 256Mi, or a number of bytes'),
      '256Mi',
      {
        key: 'decisions.max_size',
        env: 'STOWAGE_DECISIONS_MAX_SIZE',
        flag: '--decisions-max-size',
        argument: '<size>',
        description: 'When the store is larger than this, the oldest decisions are dropped.',
      },
    ),
  }),
  api: z.object({
    host: setting(kinds.text('an IP address or a host name', /^[a-zA-Z0-9.:_-]{1,253}$/), '127.0.0.1', {
      key: 'api.host',
      env: 'STOWAGE_HOST',
      flag: '--host',
      argument: '<address>',
      description: 'Address that the management API and the metrics listen on; 0.0.0.0 in a cluster.',
    }),
    port: setting(kinds.port(), '8000', {
      key: 'api.port',
      env: 'API_PORT',
      flag: '--api-port',
      argument: '<port>',
      description: 'Port of the management API.',
    }),
  }),
  metrics: z.object({
    enabled: setting(kinds.boolean(), 'true', {
      key: 'metrics.enabled',
      env: 'ENABLE_METRICS',
      flag: '--enable-metrics',
      argument: '[boolean]',
      description: 'Whether metrics are served.',
    }),
    port: setting(kinds.port(), '9090', {
      key: 'metrics.port',
      env: 'METRICS_PORT',
      flag: '--metrics-port',
      argument: '<port>',
      description: 'Port of /metrics.',
    }),
    intervalMs: setting(kinds.duration('s', '1s', '1h'), '10s', {
      key: 'metrics.interval',
      env: 'METRICS_INTERVAL',
      flag: '--metrics-interval',
      argument: '<duration>',
      description: 'How often the load of nodes is read from metrics.k8s.io.',
    }),
    windowMs: setting(kinds.duration('s', '1s', '1d'), '300s', {
      key: 'metrics.window',
      env: 'METRICS_WINDOW',
      flag: '--metrics-window',
      argument: '<duration>',
      description: "How old a node's measurement may be; after that the requests of its pods count instead.",
    }),
  }),
  logging: z.object({
    level: setting(kinds.choice(['DEBUG', 'INFO', 'WARNING', 'ERROR']), 'INFO', {
      key: 'logging.level',
      env: 'LOG_LEVEL',
      flag: '--log-level',
      argument: '<level>',
      description: 'The least severe messages that are logged.',
    }),
    format: setting(kinds.choice(['text', 'json']), 'text', {
      key: 'logging.format',
      env: 'LOG_FORMAT',
      flag: '--log-format',
      argument: '<format>',
      description: 'Lines for people or lines of JSON, on standard error.',
    }),
  }),
})

type DeepReadonly<T> = T extends readonly (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T

/** The settings as read, before what follows from several of them is worked out. */
export type Settings = DeepReadonly<z.output<typeof settingsSchema>>

/** One schedulerName that this process serves. */
export interface ProfileSettings {
  readonly schedulerName: string
  readonly policy: string
  /** who places the pod when the policy fails; undefined: nobody, it is tried again */
  readonly fallback: string | undefined
}

/** What a running system is built from. */
export interface Configuration extends Omit<Settings, 'profiles'> {
  readonly profiles: readonly ProfileSettings[]
}

/** A setting with its place in the schema. */
export interface SettingRow extends SettingFacts {
  /** property names down to the value in `Configuration` */
  readonly path: readonly string[]
  readonly schema: z.ZodType
  /** as a user would write it; undefined where the setting may be left out */
  readonly default: string | undefined
}

const rowsOf = (schema: z.ZodObject, above: readonly string[]): SettingRow[] =>
  Object.entries(schema.shape).flatMap(([property, inner]) => {
    const path = [...above, property]
    if (inner instanceof z.ZodObject) return rowsOf(inner, path)
    // every leaf above is made by `setting` or `optional`, which register it
    const facts = settingFacts.get(inner as z.ZodType)!
    const byDefault = inner instanceof z.ZodPrefault ? String(inner.def.defaultValue) : undefined
    return [{ ...facts, path, schema: inner as z.ZodType, default: byDefault }]
  })

/** All settings, in the order in which they are documented. */
export const settingRows: readonly SettingRow[] = rowsOf(settingsSchema, [])
