import type { ModelFigures } from './metrics.ts'

/** What a language model did in some run: each figure another than its neighbours'. */
export const someModelFigures: ModelFigures = {
  totalRequests: 10,
  successfulRequests: 5,
  failedRequests: 1,
  cachedRequests: 4,
  llmDecisions: 8,
  fallbackDecisions: 3,
  skipped: { wide_margin: 2 },
  cacheHitRate: 0.4,
  avgResponseMs: 1_500,
  circuitBreaker: 'open',
  circuitBreakerTrips: 1,
  requests: 7,
  retries: 1,
  hedges: 0,
  promptTokens: 4000,
  completionTokens: 200,
  dollars: 0.01,
}
