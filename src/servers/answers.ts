import { Immutable, Type, type Static, type TSchema } from 'typebox'
import type { Explanation as Told } from '../decisions/explanation.ts'
import type { DecisionRecord } from '../decisions/record.ts'

/** Shapes of all answers: what the routes promise in /openapi.json, and what the compiler holds them to. */

const closed = { additionalProperties: false } as const
const listOf = <T extends TSchema>(items: T) => Immutable(Type.Array(items))
const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const wholeNumber = (description?: string) =>
  Type.Integer({ minimum: 0, ...(description === undefined ? {} : { description }) })
const amount = (description: string) => Type.Number({ description })

export const Failure = Type.Object(
  {
    error: Type.Object({ code: Type.String({ description: 'see docs/errors.md' }), message: Type.String() }, closed),
  },
  closed,
)

export const Health = Type.Object({ status: Type.Enum(['healthy', 'unhealthy']) }, closed)

export const Readiness = Type.Object({ ready: Type.Boolean(), reasons: listOf(Type.String()) }, closed)

const QueueCounts = Type.Object(
  { active: wholeNumber(), backoff: wholeNumber(), unschedulable: wholeNumber(), gated: wholeNumber() },
  closed,
)

const LanguageModel = Type.Object(
  {
    model: Type.String(),
    total_requests: wholeNumber('questions, and decisions from earlier answers: the sum of the next three'),
    successful_requests: wholeNumber('questions answered so that it made sense'),
    failed_requests: wholeNumber('questions that were not'),
    cached_requests: wholeNumber('pods placed by an earlier answer, without a question'),
    llm_decisions: wholeNumber('pods placed by the answer to their own question'),
    fallback_decisions: wholeNumber('pods that were not asked about, or in vain'),
    skipped: Type.Record(Type.String(), wholeNumber(), { description: 'pods that were not asked about, by reason' }),
    cache_hit_rate: amount('cached_requests of total_requests, 0 to 1'),
    avg_response_time: amount('seconds until a question was answered or given up'),
    circuit_breaker_state: Type.Enum(['closed', 'open', 'half_open']),
    circuit_breaker_trips: wholeNumber('how often it has opened'),
    http_requests: wholeNumber('with retries and hedges'),
    retries: wholeNumber(),
    hedges: wholeNumber('requests to the second server'),
    prompt_tokens: wholeNumber(),
    completion_tokens: wholeNumber(),
    dollars: amount('spent since the start'),
  },
  closed,
)

export const Status = Type.Object(
  {
    status: Type.Enum(['starting', 'standby', 'running', 'draining', 'stopped']),
    version: Type.String(),
    uptime_seconds: amount('since the start of the process'),
    scheduled_pods: wholeNumber('binds that the API server took'),
    failed_schedules: wholeNumber('attempts that ended without a node or in an error'),
    training_episodes: Type.Null({ description: 'this version does not train' }),
    epsilon: Type.Null({ description: 'this version does not train' }),
    model_version: Type.Null({ description: 'this version has no model' }),
    total_requests: wholeNumber('attempts to place a pod, with whatever end'),
    fallback_decisions: wholeNumber('pods that the fallback placed because the policy failed'),
    failed_bindings: wholeNumber('binds that the API server did not take'),
    decisions_per_second: amount('over the last seconds'),
    profiles: listOf(
      Type.Object({ scheduler_name: Type.String(), policy: Type.String(), fallback: nullable(Type.String()) }, closed),
    ),
    llm: nullable(LanguageModel),
    queue: QueueCounts,
    pods: Type.Object(
      {
        seen: wholeNumber('the sum of the others'),
        bound: wholeNumber(),
        waiting: wholeNumber(),
        gated: wholeNumber(),
        deleted: wholeNumber(),
        in_flight: wholeNumber(),
      },
      closed,
    ),
  },
  closed,
)

export const Settings = Type.Object(
  {
    settings: Type.Record(Type.String(), Type.Unknown(), {
      description: 'by YAML key; secrets masked, durations in milliseconds, null where not set',
    }),
    sources: Type.Record(Type.String(), Type.String(), { description: 'where each value came from' }),
  },
  closed,
)

const load = {
  cpu_allocatable_millicores: amount('what pods may request'),
  cpu_requested_millicores: amount('by pods placed there'),
  cpu_used_millicores: amount('see usage_source'),
  memory_allocatable_bytes: amount('what pods may request'),
  memory_requested_bytes: amount('by pods placed there'),
  memory_used_bytes: amount('see usage_source'),
}

export const ClusterState = Type.Object(
  {
    nodes: wholeNumber(),
    ready_nodes: wholeNumber(),
    pods: wholeNumber('placed or assumed on a node'),
    ...load,
    cpu_usage: Type.Number({ minimum: 0, description: 'used share of allocatable' }),
    memory_usage: Type.Number({ minimum: 0, description: 'used share of allocatable' }),
    usage_source: Type.Enum(['metrics.k8s.io', 'requests']),
  },
  closed,
)

const nodeFields = {
  name: Type.String(),
  ready: Type.Boolean(),
  unschedulable: Type.Boolean(),
  pods: wholeNumber(),
  max_pods: wholeNumber(),
  ...load,
}
const Node = Type.Object(nodeFields, closed)

export const Nodes = Type.Object({ nodes: listOf(Node) }, closed)

export const NodeInFull = Type.Object(
  {
    ...nodeFields,
    labels: Type.Record(Type.String(), Type.String()),
    taints: listOf(Type.Object({ key: Type.String(), value: Type.String(), effect: Type.String() }, closed)),
    resources: listOf(
      Type.Object({ name: Type.String(), allocatable: Type.Number(), requested: Type.Number() }, closed),
    ),
    pod_names: listOf(Type.String({ description: 'namespace/name' })),
  },
  closed,
)

export const Queue = Type.Object(
  {
    counts: QueueCounts,
    pods: listOf(
      Type.Object(
        {
          namespace: Type.String(),
          name: Type.String(),
          uid: Type.String(),
          schedulerName: Type.String(),
          queue: Type.Enum(['active', 'backoff', 'unschedulable', 'gated']),
          priority: Type.Integer(),
          attempts: wholeNumber(),
          waitedMs: Type.Number(),
          reason: Type.String({ description: "in kube-scheduler's words; empty before the first attempt" }),
        },
        closed,
      ),
    ),
  },
  closed,
)

const amounts = (description: string) => Type.Record(Type.String(), Type.Number(), { description })

export const outcomes = ['reserved', 'bound', 'waiting', 'gated', 'deleted', 'failed'] as const
const Outcome = Type.Enum(outcomes)

const Room = Type.Object(
  {
    allocatableCpuMilli: Type.Number(),
    requestedCpuMilli: Type.Number(),
    allocatableMemoryBytes: Type.Number(),
    requestedMemoryBytes: Type.Number(),
    usedCpuMilli: Type.Number(),
    usedMemoryBytes: Type.Number(),
    maxPods: Type.Number(),
    pods: Type.Number(),
  },
  closed,
)

const Preemption = Type.Object(
  { node: Type.String(), victims: listOf(Type.String({ description: 'namespace/name' })) },
  { ...closed, description: 'the pods that have to leave a node before this one can go there' },
)

const NearestMiss = Type.Object(
  { node: Type.String(), lacks: amounts('by resource'), reasons: listOf(Type.String()) },
  closed,
)
const rankingSource = Type.Enum(['model', 'cache', 'heuristic', 'fallback', 'none'])

export const Decision = Type.Object(
  {
    id: Type.Integer(),
    atMs: Type.Number({ description: 'milliseconds since 1970' }),
    namespace: Type.String(),
    pod: Type.String(),
    uid: Type.String(),
    schedulerName: Type.String(),
    attempt: Type.Integer(),
    priority: Type.Integer(),
    request: amounts('by resource: millicores, bytes, or its own unit'),
    scoringCpuMilli: Type.Number(),
    scoringMemoryBytes: Type.Number(),
    outcome: Outcome,
    node: Type.String({ description: 'empty unless reserved, bound or failed at binding' }),
    devices: Type.Optional(listOf(Type.Integer({ description: 'which GPUs of the node' }))),
    policy: Type.String(),
    policyVersion: Type.String(),
    source: rankingSource,
    usage: Type.Enum(['metrics.k8s.io', 'requests', '']),
    confidence: Type.Optional(Type.Number()),
    reason: Type.Optional(Type.String({ description: "the policy's own words, or why the fallback stepped in" })),
    nodes: wholeNumber(),
    feasible: wholeNumber(),
    refused: listOf(
      Type.Object(
        {
          constraint: Type.String(),
          reason: Type.String(),
          nodes: wholeNumber(),
          preemptionCouldHelp: Type.Boolean(),
        },
        closed,
      ),
    ),
    candidates: listOf(
      Type.Object(
        { node: Type.String(), score: Type.Number(), terms: amounts('weighted addends of the score'), room: Room },
        closed,
      ),
    ),
    nearestMiss: Type.Optional(NearestMiss),
    preemption: Type.Optional(Preemption),
    wakesOn: listOf(Type.String()),
    message: Type.String(),
    queueMs: Type.Number(),
    cycleMs: Type.Number(),
    bindMs: Type.Number({ description: '-1: not bound' }),
  },
  closed,
)

export const Decisions = Type.Object(
  { decisions: listOf(Decision), next: Type.Optional(Type.String({ description: 'cursor of the next page' })) },
  closed,
)

export const History = Type.Object({ decisions: listOf(Decision) }, closed)

const Change = Type.Object(
  {
    node: Type.String(),
    resource: Type.String(),
    amount: Type.Number(),
    unit: Type.Enum(['millicores', 'bytes', 'count']),
    direction: Type.Enum(['freed', 'taken']),
  },
  closed,
)
const alternative = {
  node: Type.String(),
  behindBy: Type.Number({ description: 'points behind the node that was chosen' }),
  change: nullable(Change),
  sentence: Type.String(),
}

export const Explanation = Type.Object(
  {
    pod: Type.String({ description: 'namespace/name' }),
    uid: Type.String(),
    outcome: Type.Enum(['bound', 'waiting', 'gated', 'deleted']),
    stage: Type.Enum(outcomes, { description: 'how far the last attempt came' }),
    node: nullable(Type.String()),
    devices: nullable(listOf(Type.Integer({ description: 'which GPUs of the node' }))),
    policy: Type.String(),
    policyVersion: Type.String(),
    source: rankingSource,
    usage: nullable(Type.Enum(['metrics.k8s.io', 'requests'])),
    confidence: nullable(Type.Number()),
    reason: nullable(Type.String({ description: "the policy's own words, or why the fallback stepped in" })),
    schedulerName: Type.String(),
    attempt: Type.Integer(),
    priority: Type.Integer(),
    request: amounts('by resource: millicores, bytes, or its own unit'),
    decidedAt: Type.String({ description: 'ISO 8601' }),
    nodes: wholeNumber(),
    feasible: wholeNumber(),
    refused: listOf(Type.Object({ reason: Type.String(), nodes: wholeNumber(), constraint: Type.String() }, closed)),
    candidates: listOf(
      Type.Object(
        { node: Type.String(), score: Type.Number(), terms: amounts('weighted addends of the score') },
        closed,
      ),
    ),
    counterfactual: nullable(
      Type.Object(
        { ...alternative, changes: listOf(Change), others: listOf(Type.Object(alternative, closed)) },
        { ...closed, description: 'what would have to change for another node to win, or for the pod to fit' },
      ),
    ),
    nearestMiss: nullable(NearestMiss),
    preemption: nullable(Preemption),
    wakesOn: listOf(Type.String({ description: 'kind of cluster event that could let it in' })),
    message: Type.String(),
    latencies: Type.Object(
      { queueMs: Type.Number(), cycleMs: nullable(Type.Number()), bindMs: nullable(Type.Number()) },
      closed,
    ),
    attempts: listOf(
      Type.Object(
        {
          attempt: Type.Integer(),
          decidedAt: Type.String(),
          outcome: Outcome,
          node: nullable(Type.String()),
          message: Type.String(),
        },
        closed,
      ),
    ),
  },
  closed,
)

type Assert<T extends true> = T
/** The schemas say what the types of src/decisions say, or this does not compile. */
export type SchemasAreTrue = [
  Assert<DecisionRecord extends Static<typeof Decision> ? true : false>,
  Assert<Told extends Static<typeof Explanation> ? true : false>,
]
