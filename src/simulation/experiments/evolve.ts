import type { Random } from '../../clock/random.ts'
import { seededRandom } from '../../clock/random.ts'
import { StowageError } from '../../errors/catalogue.ts'
import { type Expression, parseExpression, sizeOf, textOf } from '../../policies/formula/expression.ts'
import { HEURISTIC_FORMULAS } from '../../policies/formula/heuristics.ts'
import type { ScoredFormula } from '../../policies/llm/formula-question.ts'
import { crossed, jittered, mutated, randomExpression, weighted } from './breeding.ts'
import type { CandidateInput } from './candidate-run.ts'
import type { ExperimentFile } from './experiment-file.ts'
import { podsLoadsOf } from './experiment.ts'
import { PODS_METRICS } from './pods-run.ts'
import type { Metric } from './record.ts'
import { runTasks } from './run-pool.ts'
import type { Provenance } from './run-store.ts'
import { adjustHolm, comparePaired, mean } from './statistics.ts'

export interface EvolveOptions {
  /** decides what is bred; which pods come is decided by the other seeds */
  readonly seed: number
  readonly generations: number
  readonly population: number
  readonly metric: Metric
  /** seeds of the runs that formulas are bred for */
  readonly training: readonly number[]
  /** seeds that nobody was bred for, ten or more: they decide */
  readonly heldOut: readonly number[]
  /** the policies to beat, besides the formulas that the search begins with */
  readonly policies: readonly string[]
  /** what the metric is with that policy or formula, with each of the seeds */
  readonly measure: (stage: string, wanted: readonly Wanted[]) => Promise<readonly number[]>
  /** Formulas from elsewhere for the next generation, given the best so far; equal options then need not give equal results. */
  readonly propose?: ((best: readonly ScoredFormula[]) => Promise<readonly Expression[]>) | undefined
}

/** One run that the search asks for. */
export interface Wanted {
  readonly by: CandidateInput['by']
  readonly seed: number
}

/** One generation. */
export interface Generation {
  readonly generation: number
  /** means of the metric over the training seeds: of the best so far and of the median of the population */
  readonly best: number
  readonly median: number
  readonly formula: string
}

/** What came of one policy or formula with the held-out seeds. */
export interface HeldOut {
  readonly name: string
  /** undefined for policies */
  readonly formula: string | undefined
  readonly mean: number
  readonly values: readonly number[]
  /** formulas of the search only: on the same seeds against the best of the others; p adjusted for their number (Holm) */
  readonly againstBest:
    | { readonly difference: number; readonly low: number; readonly high: number; readonly p: number }
    | undefined
}

export interface Evolution {
  readonly metric: string
  readonly better: Metric['better']
  readonly generations: readonly Generation[]
  /** different formulas that were tried */
  readonly tried: number
  readonly heldOut: readonly HeldOut[]
  /** the best of those that were not bred, with the held-out seeds */
  readonly bestHeuristic: string
  readonly formula: string
  /** of that formula, in `heldOut` */
  readonly name: string
  readonly beatsBest: boolean
  readonly verdict: string
}

const FINALISTS = 3
/** How many of the best a proposal is asked for with. */
const SHOWN = 6
const HELD_OUT_AT_LEAST = 10
const TOURNAMENT = 4
const ELITE = 2
/** Chance of a false finding that is put up with. */
const LEVEL = 0.05
/** Of two formulas nearer to each other than this share, the shorter wins. */
const ABOUT_EQUAL = 0.001

/** A formula that has been tried. */
interface Tried {
  readonly expression: Expression
  readonly text: string
  readonly size: number
  /** mean of the metric, negative where higher is better */
  readonly loss: number
}

const byLoss = (a: Tried, b: Tried): number => a.loss - b.loss || a.size - b.size || (a.text < b.text ? -1 : 1)

const shorterOrBetter = (a: Tried, b: Tried): Tried => {
  const near = Math.abs(a.loss - b.loss) <= ABOUT_EQUAL * Math.max(Math.abs(a.loss), Math.abs(b.loss))
  return (near ? a.size - b.size : a.loss - b.loss) <= 0 ? a : b
}

const drawnParent = (population: readonly Tried[], random: Random): Tried => {
  // the population is not empty; below its length
  let best = population[random.below(population.length)]!
  for (let drawn = 1; drawn < TOURNAMENT; drawn++)
    best = shorterOrBetter(best, population[random.below(population.length)]!)
  return best
}

const child = (population: readonly Tried[], random: Random): Expression => {
  const { expression } = drawnParent(population, random)
  const drawn = random.next()
  if (drawn < 0.55) return crossed(expression, drawnParent(population, random).expression, random)
  if (drawn < 0.75) return mutated(expression, random)
  return drawn < 0.9 ? jittered(expression, random) : weighted(expression, random)
}

const checkSeeds = (training: readonly number[], heldOut: readonly number[]): void => {
  const both = heldOut.filter((seed) => training.includes(seed))
  if (both.length > 0)
    throw new StowageError('CONFIG_CONFLICT', {
      found: `seeds to train on and held out: ${both.slice(0, 10).join(', ')}`,
      expected: 'held-out seeds that nothing was trained on',
    })
  if (heldOut.length < HELD_OUT_AT_LEAST)
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: `${heldOut.length} held-out seeds`,
      expected: `${HELD_OUT_AT_LEAST} or more: fewer decide nothing`,
    })
}

/**
 * Genetic programming over formulas: tournaments, crossover of parts, mutation, moved constants, the shorter of equals; begun
 * with known heuristics. The best on the training seeds meet the heuristics and policies on the held-out ones, where the
 * paired test says whether they are better. Equal options give equal results.
 * @throws StowageError CONFIG_CONFLICT, CONFIG_INVALID_VALUE for seeds that decide nothing; what `measure` throws
 */
export const evolve = async (options: EvolveOptions): Promise<Evolution> => {
  const { generations, heldOut, measure, metric, policies, training } = options
  checkSeeds(training, heldOut)
  const random = seededRandom(options.seed)
  const sign = metric.better === 'lower' ? 1 : -1
  const archive = new Map<string, Tried>()

  const tried = async (stage: string, expressions: readonly Expression[]): Promise<Tried[]> => {
    const texts = expressions.map(textOf)
    const fresh = [...new Map(texts.map((text, at) => [text, expressions[at]!] as const))].filter(
      ([text]) => !archive.has(text),
    )
    const values = await measure(
      stage,
      fresh.flatMap(([formula]) => training.map((seed) => ({ by: { formula }, seed }))),
    )
    for (const [at, [text, expression]] of fresh.entries()) {
      const own = values.slice(at * training.length, (at + 1) * training.length)
      archive.set(text, { expression, text, size: sizeOf(expression), loss: sign * mean(own) })
    }
    return texts.flatMap((text) => archive.get(text) ?? [])
  }

  const starts = HEURISTIC_FORMULAS.map(({ formula, name }) => ({ name, expression: parseExpression(formula) }))
  const first = starts.map(({ expression }) => expression)
  while (first.length < options.population) {
    // below the length
    const start = starts[random.below(starts.length)]!.expression
    first.push(random.next() < 0.5 ? mutated(start, random) : randomExpression(random, 4))
  }
  let population = await tried('first generation', first)
  const history: Generation[] = []
  for (let generation = 0; ; generation++) {
    const sorted = [...population].sort(byLoss)
    // the population is not empty
    const best = [...archive.values()].sort(byLoss)[0]!
    const median = sorted[sorted.length >> 1]!
    history.push({ generation, best: sign * best.loss, median: sign * median.loss, formula: best.text })
    if (generation === generations) break
    const elite = [...new Map(sorted.map((one) => [one.text, one])).values()].slice(0, ELITE)
    const shown = [...archive.values()].sort(byLoss).slice(0, SHOWN)
    const proposed =
      (await options.propose?.(shown.map(({ loss, text }) => ({ formula: text, value: sign * loss })))) ?? []
    const children = Array.from({ length: options.population - elite.length }, () => child(population, random))
    // In place of as many that would have been bred.
    children.splice(0, proposed.length, ...proposed)
    population = [...elite, ...(await tried(`generation ${generation + 1} of ${generations}`, children))]
  }

  const known = new Set(starts.map(({ expression }) => textOf(expression)))
  const finalists = [...archive.values()]
    .filter(({ text }) => !known.has(text))
    .sort(byLoss)
    // Equal to the last digit with every training seed: the same ranking, written at greater length.
    .filter(({ loss }, at, sorted) => at === 0 || loss !== sorted[at - 1]?.loss)
    .slice(0, FINALISTS)
  const rivals: { name: string; by: CandidateInput['by'] }[] = [
    ...policies.map((policy) => ({ name: policy, by: { policy } })),
    ...starts.map(({ expression, name }) => ({ name: `${name} as a formula`, by: { formula: textOf(expression) } })),
  ]
  const entrants = [
    ...finalists.map(({ text }, at) => ({ name: `evolved ${at + 1}`, by: { formula: text } })),
    ...rivals,
  ]
  const values = await measure(
    'held-out seeds',
    entrants.flatMap(({ by }) => heldOut.map((seed) => ({ by, seed }))),
  )
  const results = entrants.map(({ by, name }, at) => {
    const own = values.slice(at * heldOut.length, (at + 1) * heldOut.length)
    return { name, formula: 'formula' in by ? by.formula : undefined, values: own, mean: mean(own) }
  })
  const byMean = (a: { mean: number }, b: { mean: number }): number => sign * (a.mean - b.mean)
  // There are always starts and finalists: the population is larger than the starts.
  const bestRival = results.slice(finalists.length).sort(byMean)[0]!
  const evolved = results.slice(0, finalists.length)
  const compared = evolved.map((one) => comparePaired(one.values, bestRival.values))
  const adjusted = adjustHolm(compared.map(({ pT }) => pT ?? 1))
  const figures = results.map((one, at): HeldOut => {
    const paired = compared[at]
    return {
      ...one,
      againstBest:
        paired === undefined
          ? undefined
          : { difference: paired.meanDifference, low: paired.low, high: paired.high, p: adjusted[at] ?? 1 },
    }
  })
  const winner = figures.slice(0, finalists.length).sort(byMean)[0]!
  const { difference = 0, p = 1 } = winner.againstBest ?? {}
  const beatsBest = sign * difference < 0 && p < LEVEL
  const against = `the best heuristic, ${bestRival.name}, with ${heldOut.length} held-out seeds (p = ${p < 0.001 ? '<0.001' : p.toFixed(3)})`
  return {
    metric: metric.name,
    better: metric.better,
    generations: history,
    tried: archive.size,
    heldOut: figures,
    bestHeuristic: bestRival.name,
    formula: winner.formula ?? '',
    name: winner.name,
    beatsBest,
    verdict: beatsBest ? `better than ${against}` : `not shown to be better than ${against}`,
  }
}

/** What a search measures by where the file names no metric: it counts waiting pods also when they never get a node. */
const USUAL_METRIC = 'pending_pods'

/** The metric that a search for that experiment goes by: the first that the file names. */
export const metricOf = ({ metrics }: ExperimentFile): Metric => {
  const name = metrics?.[0] ?? USUAL_METRIC
  // the file's metrics are known ones
  return PODS_METRICS.find((metric) => metric.name === name)!
}

export interface MeasureOptions {
  readonly experiment: ExperimentFile
  readonly workers: number
  readonly provenance: Provenance
  readonly signal: AbortSignal
  readonly onProgress: (stage: string, done: number, total: number) => void
}

/**
 * Measures in simulations of an experiment, on several threads.
 * @throws StowageError CONFIG_INVALID_VALUE for pods that are the same whatever the seed, CONFIG_* for what cannot be run
 */
export const measureBy = async (options: MeasureOptions): Promise<EvolveOptions['measure']> => {
  const { experiment, onProgress, provenance, signal, workers } = options
  if (experiment.workload.synthetic === undefined && experiment.workload.five_g === undefined)
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: `the workload of the experiment ${experiment.name}`,
      expected:
        'synthetic or five_g: with the others every seed brings the same pods, and held-out seeds decide nothing',
    })
  const { name: metric } = metricOf(experiment)
  const { cluster, files, loads } = await podsLoadsOf(experiment)
  return async (stage, wanted) => {
    if (wanted.length === 0) return []
    const tasks = wanted.flatMap(({ by, seed }, at) =>
      loads.map(({ pods }, load) => ({
        id: `${at}_${load}`,
        kind: 'candidate' as const,
        input: { by, metric, run: { cluster, pods, seed } } satisfies CandidateInput,
        files,
      })),
    )
    const results = await runTasks({
      tasks,
      // A search is quick enough to be done again.
      store: { find: () => Promise.resolve(undefined), keep: () => Promise.resolve() },
      provenance,
      workers,
      signal,
      onProgress: ({ done, total }) => onProgress(stage, done, total),
    })
    return wanted.map((_, at) => mean(loads.map((_load, load) => results.get(`${at}_${load}`) as number)))
  }
}
