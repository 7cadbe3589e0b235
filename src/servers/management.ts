import swagger from '@fastify/swagger'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { render } from '../decisions/explanation.ts'
import type { DecisionFilter } from '../decisions/store.ts'
import { StowageError } from '../errors/catalogue.ts'
import type { Log } from '../telemetry/log.ts'
import * as answers from './answers.ts'
import { metricsRoute, type MetricsScrape } from './metrics.ts'
import { bareServer } from './server.ts'
import type { ModelStatus, NodeFigures } from '../system/scheduling-system.ts'
import type { SystemView } from './view.ts'

export interface ManagementOptions {
  readonly view: SystemView
  /** undefined: metrics are switched off */
  readonly metrics: MetricsScrape | undefined
  /** address that it will listen on */
  readonly host: string
  readonly log: Log
}

const name = Type.String({ minLength: 1, maxLength: 253 })
const podPath = Type.Object({ namespace: name, name })
const limit = (byDefault: number) => Type.Integer({ minimum: 1, maximum: 1000, default: byDefault })
const text = { 'text/plain': { schema: Type.String() } }
const failures = { '4xx': answers.Failure, '5xx': answers.Failure }

const PLAIN = 'text/plain; charset=utf-8'

const unknownPod = (namespace: string, pod: string): StowageError =>
  new StowageError('NOT_FOUND', {
    found: `no decision about the pod ${namespace}/${pod} is kept`,
    todo: 'check the name, and that the schedulerName of the pod is one of the profiles in /status',
  })

const load = (node: Omit<NodeFigures, 'name' | 'ready' | 'unschedulable' | 'pods' | 'maxPods'>) => ({
  cpu_allocatable_millicores: node.allocatableCpuMilli,
  cpu_requested_millicores: node.requestedCpuMilli,
  cpu_used_millicores: node.usedCpuMilli,
  memory_allocatable_bytes: node.allocatableMemoryBytes,
  memory_requested_bytes: node.requestedMemoryBytes,
  memory_used_bytes: node.usedMemoryBytes,
})

const nodeAnswer = (node: NodeFigures) => ({
  name: node.name,
  ready: node.ready,
  unschedulable: node.unschedulable,
  pods: node.pods,
  max_pods: node.maxPods,
  ...load(node),
})

const modelAnswer = (model: ModelStatus) => ({
  model: model.model,
  total_requests: model.totalRequests,
  successful_requests: model.successfulRequests,
  failed_requests: model.failedRequests,
  cached_requests: model.cachedRequests,
  llm_decisions: model.llmDecisions,
  fallback_decisions: model.fallbackDecisions,
  skipped: model.skipped,
  cache_hit_rate: model.cacheHitRate,
  avg_response_time: model.avgResponseMs / 1000,
  circuit_breaker_state: model.circuitBreaker,
  circuit_breaker_trips: model.circuitBreakerTrips,
  http_requests: model.requests,
  retries: model.retries,
  hedges: model.hedges,
  prompt_tokens: model.promptTokens,
  completion_tokens: model.completionTokens,
  dollars: model.dollars,
})

const share = (part: number, whole: number): number => (whole > 0 ? part / whole : 0)

/**
 * The management API. Routes that the deep-RL scheduler had keep its spelling (snake_case); those under /api/v1 speak as
 * Kubernetes does (camelCase).
 */
export const managementServer = async (options: ManagementOptions): Promise<FastifyInstance> => {
  const { view } = options
  const bare = bareServer(options.log, options.host)
  await bare.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Stowage',
        description: 'What the scheduler does, what it sees, and why each pod is where it is. Read-only.',
        version: view.status().version,
      },
      tags: [
        { name: 'process', description: 'Is it alive, and what is it doing?' },
        { name: 'cluster', description: 'The cluster as the scheduler sees it' },
        { name: 'decisions', description: 'Why pods are where they are' },
      ],
    },
  })
  const app = bare.withTypeProvider<TypeBoxTypeProvider>()

  app.get(
    '/healthz',
    {
      schema: {
        tags: ['process'],
        summary: 'Liveness probe',
        response: { 200: { description: 'ok', content: text }, 503: { description: 'restart it', content: text } },
      },
    },
    (_request, reply) => {
      const healthy = view.healthy()
      reply.code(healthy ? 200 : 503).type(PLAIN)
      return healthy ? 'ok' : 'unhealthy'
    },
  )
  app.get(
    '/readyz',
    {
      schema: {
        tags: ['process'],
        summary: 'Readiness probe',
        response: {
          200: { description: 'ok', content: text },
          503: { description: 'why not, one a line', content: text },
        },
      },
    },
    (_request, reply) => {
      const { ready, reasons } = view.readiness()
      reply.code(ready ? 200 : 503).type(PLAIN)
      return ready ? 'ok' : reasons.join('\n') || 'not ready'
    },
  )
  app.get(
    '/health',
    {
      schema: {
        tags: ['process'],
        summary: 'Liveness as JSON',
        response: { 200: answers.Health, 503: answers.Health },
      },
    },
    (_request, reply) => {
      const healthy = view.healthy()
      reply.code(healthy ? 200 : 503)
      return { status: healthy ? ('healthy' as const) : ('unhealthy' as const) }
    },
  )
  app.get(
    '/readiness',
    {
      schema: {
        tags: ['process'],
        summary: 'Readiness as JSON',
        response: { 200: answers.Readiness, 503: answers.Readiness },
      },
    },
    (_request, reply) => {
      const readiness = view.readiness()
      reply.code(readiness.ready ? 200 : 503)
      return { ready: readiness.ready, reasons: readiness.reasons }
    },
  )
  app.get(
    '/status',
    { schema: { tags: ['process'], summary: 'What it does and has done', response: { 200: answers.Status } } },
    () => {
      const status = view.status()
      return {
        status: status.phase,
        version: status.version,
        uptime_seconds: status.uptimeMs / 1000,
        scheduled_pods: status.scheduled,
        failed_schedules: status.failed,
        training_episodes: null,
        epsilon: null,
        model_version: null,
        total_requests: status.attempts,
        fallback_decisions: status.fallbackDecisions,
        failed_bindings: status.failedBindings,
        decisions_per_second: status.decisionsPerSecond,
        profiles: status.profiles.map((profile) => ({
          scheduler_name: profile.schedulerName,
          policy: profile.policy,
          fallback: profile.fallback ?? null,
        })),
        llm: status.model === undefined ? null : modelAnswer(status.model),
        queue: {
          active: status.queue.active,
          backoff: status.queue.backoff,
          unschedulable: status.queue.unschedulable,
          gated: status.queue.gated,
        },
        pods: {
          seen: status.pods.seen,
          bound: status.pods.bound,
          waiting: status.pods.waiting,
          gated: status.pods.gated,
          deleted: status.pods.deleted,
          in_flight: status.pods.inFlight,
        },
      }
    },
  )
  app.get(
    '/config',
    { schema: { tags: ['process'], summary: 'The settings in force', response: { 200: answers.Settings } } },
    () => {
      const rows = [...view.configuration()]
      return {
        settings: Object.fromEntries(rows.map(([key, { value }]) => [key, value])),
        sources: Object.fromEntries(rows.map(([key, { source }]) => [key, source])),
      }
    },
  )

  app.get(
    '/cluster/state',
    { schema: { tags: ['cluster'], summary: 'Sums over all nodes', response: { 200: answers.ClusterState } } },
    () => {
      const cluster = view.clusterSummary()
      return {
        nodes: cluster.nodes,
        ready_nodes: cluster.readyNodes,
        pods: cluster.pods,
        ...load(cluster),
        cpu_usage: share(cluster.usedCpuMilli, cluster.allocatableCpuMilli),
        memory_usage: share(cluster.usedMemoryBytes, cluster.allocatableMemoryBytes),
        usage_source: cluster.usageSource,
      }
    },
  )
  app.get(
    '/cluster/nodes',
    { schema: { tags: ['cluster'], summary: 'All nodes', response: { 200: answers.Nodes } } },
    () => ({ nodes: view.nodes().map(nodeAnswer) }),
  )
  app.get(
    '/cluster/nodes/:name',
    {
      schema: {
        tags: ['cluster'],
        summary: 'One node with its labels, taints and pods',
        params: Type.Object({ name }),
        response: { 200: answers.NodeInFull, ...failures },
      },
    },
    (request) => {
      const node = view.node(request.params.name)
      if (node === undefined) {
        throw new StowageError('NOT_FOUND', {
          found: `there is no node ${JSON.stringify(request.params.name)}`,
          todo: 'see /cluster/nodes for those there are',
        })
      }
      return {
        ...nodeAnswer(node),
        labels: Object.fromEntries(node.labels instanceof Map ? node.labels : Object.entries(node.labels)),
        taints: node.taints.map(({ key, value = '', effect }) => ({ key, value, effect })),
        resources: node.resources,
        pod_names: node.podNames,
      }
    },
  )

  app.get(
    '/api/v1/queue',
    {
      schema: {
        tags: ['decisions'],
        summary: 'Pods that wait, and why',
        querystring: Type.Object({ limit: limit(100) }, { additionalProperties: false }),
        response: { 200: answers.Queue, ...failures },
      },
    },
    (request) => ({ counts: view.status().queue, pods: view.waitingPods(request.query.limit) }),
  )
  app.get(
    '/api/v1/decisions',
    {
      schema: {
        tags: ['decisions'],
        summary: 'Decisions, newest first',
        querystring: Type.Object(
          {
            namespace: Type.Optional(name),
            node: Type.Optional(name),
            policy: Type.Optional(name),
            outcome: Type.Optional(Type.Enum(answers.outcomes)),
            sinceMs: Type.Optional(Type.Number({ description: 'made at that time or later, milliseconds since 1970' })),
            limit: limit(100),
            cursor: Type.Optional(Type.String({ maxLength: 200, description: '`next` of the page before' })),
          },
          { additionalProperties: false },
        ),
        response: { 200: answers.Decisions, ...failures },
      },
    },
    (request) => {
      const filter: DecisionFilter = request.query
      const page = view.decisions.list(filter)
      return { decisions: page.records, ...(page.next === undefined ? {} : { next: page.next }) }
    },
  )
  app.get(
    '/api/v1/decisions/:namespace/:name',
    {
      schema: {
        tags: ['decisions'],
        summary: 'Why this pod is where it is, or why it waits',
        params: podPath,
        querystring: Type.Object(
          { format: Type.Enum(['json', 'text'], { default: 'json' }) },
          { additionalProperties: false },
        ),
        response: {
          200: {
            description: 'the explanation',
            content: { 'application/json': { schema: answers.Explanation }, ...text },
          },
          ...failures,
        },
      },
    },
    (request, reply) => {
      const { namespace, name } = request.params
      const explanation = view.decisions.explain(namespace, name)
      if (explanation === undefined) throw unknownPod(namespace, name)
      if (request.query.format === 'json') return explanation
      reply.type(PLAIN)
      return `${render(explanation).join('\n')}\n`
    },
  )
  app.get(
    '/api/v1/decisions/:namespace/:name/history',
    {
      schema: {
        tags: ['decisions'],
        summary: 'All kept attempts to place this pod, newest first',
        params: podPath,
        querystring: Type.Object({ limit: limit(100) }, { additionalProperties: false }),
        response: { 200: answers.History, ...failures },
      },
    },
    (request) => {
      const { namespace, name } = request.params
      const decisions = view.decisions.history({ namespace, pod: name }, request.query.limit)
      if (decisions.length === 0) throw unknownPod(namespace, name)
      return { decisions }
    },
  )

  if (options.metrics !== undefined) metricsRoute(bare, options.metrics)
  app.get(
    '/openapi.json',
    {
      schema: {
        tags: ['process'],
        summary: 'This description',
        response: { 200: Type.Unknown({ description: 'OpenAPI 3.1' }) },
      },
    },
    () => app.swagger(),
  )
  await app.ready()
  return bare
}
