import type { FastifyInstance } from 'fastify'
import type { Log } from '../telemetry/log.ts'
import { managementServer } from './management.ts'
import { metricsServer, type MetricsScrape } from './metrics.ts'
import { listen } from './server.ts'
import type { SystemView } from './view.ts'

export interface ServersOptions {
  readonly view: SystemView
  /** undefined: metrics are switched off, here and there */
  readonly metrics: MetricsScrape | undefined
  /** address to listen on, for both */
  readonly host: string
  /** 0: a free one */
  readonly apiPort: number
  readonly metricsPort: number
  readonly log: Log
}

export interface RunningServers {
  readonly apiUrl: string
  /** undefined if metrics are switched off */
  readonly metricsUrl: string | undefined
  /** Stops listening and ends all connections, also those kept alive. Resolves when nothing is left; may be called twice. */
  close(): Promise<void>
}

/**
 * Starts the management API and the metrics server.
 * @throws StowageError PORT_IN_USE; then nothing is left listening
 */
export const startServers = async (options: ServersOptions): Promise<RunningServers> => {
  const { view, metrics, host, log } = options
  const started: FastifyInstance[] = []
  const close = async (): Promise<void> => {
    await Promise.all(started.map((app) => app.close()))
  }
  try {
    const api = await managementServer({ view, metrics, host, log })
    started.push(api)
    const apiUrl = await listen(api, host, options.apiPort, 'api.port, API_PORT or --api-port')
    let metricsUrl: string | undefined
    if (metrics !== undefined) {
      const scraped = await metricsServer(metrics, () => view.healthy(), log, host)
      started.push(scraped)
      const at = await listen(scraped, host, options.metricsPort, 'metrics.port, METRICS_PORT or --metrics-port')
      metricsUrl = `${at}/metrics`
    }
    return { apiUrl, metricsUrl, close }
  } catch (error) {
    await close()
    throw error
  }
}
