import type { ExperimentRecord } from '../experiments/record.ts'
import { comparisons } from '../experiments/comparison.ts'
import { groupedFigure, heatMapFigure, intervalsFigure, linesFigure } from './charts.ts'
import type { Figure } from './figure.ts'

/** A quantity that is the same everywhere needs no picture. */
const isVaried = ({ lines }: ExperimentRecord['curves'][number]): boolean => {
  const values = new Set(lines.flatMap(({ points }) => points.flatMap(([, value]) => value ?? [])))
  return values.size > 1
}

/** Every figure of an experiment: a comparison for each metric, its curves, its heat maps. */
export const figuresOf = (record: ExperimentRecord): Figure[] => {
  const { curves, heatMaps, metrics, patternLabel, patterns, policies, seeds } = record
  const compared = comparisons(record)
  const over = `mean of ${seeds.length} seed${seeds.length === 1 ? '' : 's'}, bars are 95 % confidence intervals`
  const byMetric = metrics.flatMap((metric): Figure[] => {
    const cells = compared.filter((cell) => cell.metric === metric.name)
    if (cells.every(({ estimate }) => estimate.low === cells[0]?.estimate.high)) return []
    const intervalOf = (policy: string, pattern: string) =>
      cells.find((cell) => cell.policy === policy && cell.pattern === pattern)?.estimate
    const caption = `${metric.label}${metric.unit === '' ? '' : ` (${metric.unit})`}: ${over}; ${metric.better} is better.`
    const axis = { label: metric.label, unit: metric.unit }
    const name = `metric-${metric.name.replaceAll('_', '-')}`
    const [only, ...others] = patterns
    if (only !== undefined && others.length === 0)
      return [
        intervalsFigure({
          name,
          caption,
          x: axis,
          rows: policies.flatMap((policy) => {
            const interval = intervalOf(policy, only)
            return interval === undefined ? [] : [{ name: policy, interval }]
          }),
        }),
      ]
    return [
      groupedFigure({
        name,
        caption,
        groupLabel: patternLabel,
        groups: patterns,
        y: axis,
        series: policies.map((policy) => ({
          name: policy,
          values: patterns.map((pattern) => intervalOf(policy, pattern)),
        })),
      }),
    ]
  })
  return [...byMetric, ...curves.filter(isVaried).map(linesFigure), ...heatMaps.map(heatMapFigure)]
}
