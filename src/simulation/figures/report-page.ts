import { type ComparedCell, comparisons, SIGNIFICANCE } from '../experiments/comparison.ts'
import type { ExperimentRecord, Metric } from '../experiments/record.ts'
import { type Figure, renderSvg } from './figure.ts'
import { figuresOf } from './record-figures.ts'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
/** Text of results is data: nothing in it becomes markup. */
const escaped = (text: string): string => text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? '')

const MINUS = '\u2212'
/** Four significant digits, and no exponent where a person would not write one. */
const shown = (value: number): string => {
  const size = Math.abs(value)
  const text = size !== 0 && (size < 1e-4 || size >= 1e7) ? value.toExponential(2) : value.toFixed(digitsFor(size))
  return text.replace('-', MINUS)
}
const digitsFor = (size: number): number => (size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3)

const interval = (low: number, high: number): string => `[${shown(low)}, ${shown(high)}]`
const probability = (p: number | undefined): string =>
  p === undefined ? '\u2013' : p < 0.001 ? '&lt; 0.001' : p.toFixed(3)

const VERDICTS: Readonly<Record<ComparedCell['verdict'], string>> = {
  best: 'best heuristic',
  better: 'better',
  worse: 'worse',
  undecided: 'no difference found',
}

const STYLE = `
  body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
  p, ul { max-width: 60rem }
  h1 { font-size: 1.7rem } h2 { font-size: 1.35rem; margin-top: 3rem; border-bottom: 1px solid #d9d9d9 } h3 { font-size: 1.1rem; margin-top: 2rem }
  table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums }
  caption { text-align: left; padding: .3rem 0; color: #444 }
  th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #e5e5e5; white-space: nowrap }
  th { border-bottom: 2px solid #1a1a1a; font-weight: 600; white-space: normal; vertical-align: bottom } .text { text-align: left }
  tr.best td { font-weight: 600 } .table { overflow-x: auto }
  .figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.5rem }
  figure { margin: 0; break-inside: avoid } figure img { width: 100%; max-width: 760px; height: auto; display: block }
  figcaption { font-size: .9rem; color: #444; max-width: 760px }
  pre, code { font: .85rem/1.4 ui-monospace, monospace } pre { background: #f5f5f5; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem } dt { color: #444 } dd { margin: 0; overflow-wrap: anywhere }
`

const cellRow = (cell: ComparedCell, reference: number | undefined, withReferences: boolean): string => {
  const { difference, estimate, pAdjusted, policy, verdict } = cell
  const columns = [
    shown(estimate.mean),
    shown(estimate.sd),
    estimate.n > 1 ? interval(estimate.low, estimate.high) : '\u2013',
    ...(withReferences ? [reference === undefined ? '\u2013' : shown(reference)] : []),
    difference === undefined ? '\u2013' : shown(difference.meanDifference),
    difference === undefined || difference.n < 2 ? '\u2013' : interval(difference.low, difference.high),
    probability(pAdjusted),
    probability(difference?.pWilcoxon),
  ]
  return `<tr${verdict === 'best' ? ' class="best"' : ''}><td class="text">${escaped(policy)}${cell.isLearned ? ' (learned)' : ''}</td>${columns
    .map((column) => `<td>${column}</td>`)
    .join('')}<td class="text">${VERDICTS[verdict]}</td></tr>`
}

const tableOf = (record: ExperimentRecord, metric: Metric, pattern: string, cells: readonly ComparedCell[]): string => {
  const references = new Map(
    record.references.flatMap((one) =>
      one.metric === metric.name && one.pattern === pattern ? [[one.policy, one] as const] : [],
    ),
  )
  const [source] = [...references.values()].map((one) => one.source)
  const head = [
    'mean',
    'sd',
    '95 % interval',
    ...(source === undefined ? [] : [escaped(source)]),
    'against the best heuristic',
    '95 % interval',
    'p (t, Holm)',
    'p (Wilcoxon)',
  ]
  const unit = metric.unit === '' ? '' : ` (${metric.unit})`
  return `<div class="table"><table><caption>${escaped(`${record.patternLabel} ${pattern}: ${metric.label}${unit}, ${metric.better} is better`)}</caption>
<tr><th class="text">policy</th>${head.map((name) => `<th>${name}</th>`).join('')}<th class="text"></th></tr>
${cells.map((cell) => cellRow(cell, references.get(cell.policy)?.value, source !== undefined)).join('\n')}
</table></div>`
}

/** What of trained policies can be claimed, and what cannot: one sentence for each metric and pattern. */
const learnedFindings = (record: ExperimentRecord, cells: readonly ComparedCell[]): string => {
  const learned = cells.filter((cell) => cell.isLearned && cell.difference !== undefined)
  if (learned.length === 0) return ''
  const labels = new Map(record.metrics.map(({ label, name }) => [name, label]))
  const sentences = learned.map(({ bestHeuristic, difference, metric, pAdjusted, pattern, policy, verdict }) => {
    const numbers = `difference ${shown(difference?.meanDifference ?? 0)}, 95 % interval ${interval(difference?.low ?? 0, difference?.high ?? 0)}, p ${probability(pAdjusted)}, ${difference?.n ?? 0} seeds`
    const claim =
      verdict === 'better'
        ? 'beats the best heuristic'
        : verdict === 'worse'
          ? 'is worse than the best heuristic'
          : 'does not beat the best heuristic'
    return `<li><strong>${escaped(policy)} ${claim}</strong> ${escaped(`${bestHeuristic} by "${labels.get(metric) ?? metric}" under ${pattern}`)} (${numbers}).</li>`
  })
  return `<h3>Learned policies</h3><ul>${sentences.join('\n')}</ul>`
}

const figureOf = (figure: Figure): string => {
  const svg = Buffer.from(renderSvg(figure)).toString('base64')
  const caption = escaped(figure.caption)
  return `<figure><img src="data:image/svg+xml;base64,${svg}" width="${figure.widthPx}" height="${figure.heightPx}" alt="${caption}">
<figcaption>${caption} <code>${escaped(figure.name)}.svg</code>, <code>.png</code></figcaption></figure>`
}

const sectionOf = (record: ExperimentRecord): string => {
  const cells = comparisons(record)
  const { description, metrics, name, patterns, provenance, seeds } = record
  const facts: readonly (readonly [string, string])[] = [
    ['Command', `<code>${escaped(provenance.command)}</code>`],
    ['Stowage', escaped(`${provenance.version}, source ${provenance.source}`)],
    ['Seeds', escaped(seeds.join(', '))],
  ]
  const tables = metrics.flatMap((metric) => {
    const ofMetric = cells.filter((cell) => cell.metric === metric.name)
    if (ofMetric.length === 0) return []
    const blocks = patterns.flatMap((pattern) => {
      const there = ofMetric.filter((cell) => cell.pattern === pattern)
      return there.length === 0 ? [] : [tableOf(record, metric, pattern, there)]
    })
    return [`<h3>${escaped(metric.label)}</h3>\n${blocks.join('\n')}`]
  })
  return `<section>
<h2>${escaped(name)}</h2>
<p>${escaped(description)}</p>
<dl>${facts.map(([term, text]) => `<dt>${term}</dt><dd>${text}</dd>`).join('')}</dl>
${learnedFindings(record, cells)}
<h3>Figures</h3>
<div class="figures">
${figuresOf(record).map(figureOf).join('\n')}
</div>
${tables.join('\n')}
</section>`
}

/**
 * Experiments as one page of HTML that asks for nothing from anywhere: the commands that made them, figures, and tables with
 * confidence intervals and paired tests.
 */
export const reportPage = (records: readonly ExperimentRecord[]): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(`Stowage: ${records.map(({ name }) => name).join(', ')}`)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(records.map(({ name }) => name).join(', '))}</h1>
<p>Intervals are 95 % confidence intervals of means over seeds (Student's t). Each policy is held against the heuristic with the best mean
under the same pattern, seed by seed on the same arrivals: paired t test, two-sided, adjusted after Holm to the number of policies compared,
and Wilcoxon's signed-rank test beside it, not adjusted. "Better" and "worse" mean an adjusted p below ${SIGNIFICANCE}; "no difference found" is no proof that there is none.
The best heuristic was chosen on these very seeds, which flatters it a little.</p>
${records.map(sectionOf).join('\n')}
</body>
</html>
`
