import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Log } from '../telemetry/log.ts'
import { bareServer } from './server.ts'

/** What `Metrics` of src/telemetry gives. */
export interface MetricsScrape {
  scrape(): Promise<{ readonly contentType: string; readonly body: string }>
}

/** GET /metrics in Prometheus' text format. */
export const metricsRoute = (app: FastifyInstance, metrics: MetricsScrape): void => {
  app.get(
    '/metrics',
    {
      schema: {
        tags: ['process'],
        summary: "Metrics in Prometheus' text format",
        response: { 200: { description: 'metrics', content: { 'text/plain': { schema: Type.String() } } } },
      },
    },
    async (_request, reply) => {
      const { contentType, body } = await metrics.scrape()
      return reply.header('content-type', contentType).send(body)
    },
  )
}

/** The server of the metrics port: /metrics and a probe. */
export const metricsServer = async (
  metrics: MetricsScrape,
  healthy: () => boolean,
  log: Log,
  host: string,
): Promise<FastifyInstance> => {
  const app = bareServer(log, host)
  metricsRoute(app, metrics)
  app.get('/healthz', async (_request, reply) => {
    const well = healthy()
    return reply
      .code(well ? 200 : 503)
      .type('text/plain; charset=utf-8')
      .send(well ? 'ok' : 'unhealthy')
  })
  await app.ready()
  return app
}
