import type { ExperimentRecord, Metric } from './record.ts'

/** A record of one metric, for tests: each policy's values by seed, the seeds being 1, 2, ... */
export const recordOf = (
  values: Readonly<Record<string, readonly number[]>>,
  more: { readonly better?: Metric['better']; readonly name?: string; readonly label?: string } = {},
): ExperimentRecord => ({
  format: 'stowage-experiment/1',
  name: more.name ?? 'tried',
  description: 'An experiment for a test',
  patternLabel: 'Load pattern',
  provenance: { command: 'stowage experiment tried.yaml', version: '1', source: 'abc' },
  policies: Object.keys(values),
  patterns: ['spike'],
  seeds: Array.from({ length: Math.max(...Object.values(values).map((list) => list.length)) }, (_, at) => at + 1),
  metrics: [{ name: 'score', label: more.label ?? 'Score', unit: 'points', better: more.better ?? 'higher' }],
  measurements: Object.entries(values).flatMap(([policy, list]) =>
    list.map((value, at) => ({ policy, pattern: 'spike', seed: at + 1, metric: 'score', value })),
  ),
  references: [],
  curves: [],
  heatMaps: [],
})
