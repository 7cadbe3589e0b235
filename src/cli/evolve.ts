import { availableParallelism } from 'node:os'
import { basename } from 'node:path'
import { Command } from 'commander'
import { stringify } from 'yaml'
import { systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { messageOf } from '../errors/catalogue.ts'
import { type PolicyFile, policyOf } from '../policies/formula/policy-file.ts'
import { formulaQuestion } from '../policies/llm/formula-question.ts'
import { type LanguageModel, openLanguageModel } from '../policies/llm/language-model.ts'
import { policyNames } from '../policies/registry.ts'
import { type Evolution, evolve, measureBy, metricOf } from '../simulation/experiments/evolve.ts'
import { readExperiment } from '../simulation/experiments/experiment-file.ts'
import { type Provenance, writeWhole } from '../simulation/experiments/run-store.ts'
import { parseSeeds } from '../simulation/experiments/seeds.ts'
import { ProgressBar } from './progress-bar.ts'
import { createLog } from '../telemetry/log.ts'
import { provenance } from './provenance.ts'
import { readSettings } from './settings.ts'
import { untilSignalled } from './signals.ts'
import { whole } from './values.ts'

interface EvolveCommandOptions {
  readonly generations: number
  readonly population: number
  readonly heldOut: string
  readonly seed: number
  readonly workers: number
  readonly name: string
  readonly out?: string
  readonly askModel?: boolean
  readonly json?: boolean
}

/** As shells count a process that Ctrl-C ended. */
const INTERRUPTED = 130

/** The result as a policy file. */
const policyFileOf = (
  { better, formula, heldOut, metric, name: winner, verdict }: Evolution,
  {
    name,
    seed,
    seeds,
    source,
    trainedOn,
  }: Record<'name' | 'seeds' | 'trainedOn', string> & { seed: number; source: Provenance },
): PolicyFile => ({
  kind: 'formula',
  name,
  formula,
  provenance: {
    ...source,
    seed,
    trained_on: trainedOn,
    held_out: {
      seeds,
      metric,
      better,
      verdict,
      figures: heldOut
        .filter((one) => one.formula === undefined || one.name === winner || !one.name.startsWith('evolved '))
        .map((one) => ({
          policy: one.name === winner ? name : one.name,
          mean: one.mean,
          ...(one.name === winner ? one.againstBest : {}),
        })),
    },
  },
})

const figureText = (value: number): string => value.toPrecision(5)

const render = (result: Evolution): string => {
  const { generations, heldOut, metric, tried, verdict } = result
  const width = Math.max(...heldOut.map(({ name }) => name.length))
  const ranked = [...heldOut].sort((a, b) => (result.better === 'lower' ? a.mean - b.mean : b.mean - a.mean))
  return [
    `${metric} (${result.better} is better), ${tried} formulas tried`,
    '',
    'generation        best      median   with the training seeds',
    ...generations.map(
      ({ best, generation, median }) =>
        `${String(generation).padStart(10)}  ${figureText(best).padStart(10)}  ${figureText(median).padStart(10)}`,
    ),
    '',
    'with the held-out seeds',
    ...ranked.map(({ againstBest, mean, name }) => {
      const against =
        againstBest === undefined
          ? ''
          : `  ${figureText(againstBest.difference)} [${figureText(againstBest.low)}, ${figureText(againstBest.high)}] against ${result.bestHeuristic}, p ${againstBest.p < 0.001 ? '<0.001' : againstBest.p.toFixed(3)}`
      return `${name.padEnd(width)}  ${figureText(mean).padStart(10)}${against}`
    }),
    '',
    `${result.name}: ${verdict}`,
    `  ${result.formula}`,
    '',
  ].join('\n')
}

/** For up to eight formulas. */
const ANSWER_TOKENS = 1500
const PATIENCE_MS = 60_000

/** The model that is configured. @throws StowageError MODEL_UNUSABLE if none is, CONFIG_* */
const configuredModel = (): LanguageModel | undefined => {
  const { circuitBreaker, llm, logging } = readSettings({}).configuration
  return openLanguageModel({
    settings: { ...llm, required: true },
    breaker: circuitBreaker,
    clock: systemClock,
    random: seededRandom(1),
    log: createLog({ ...logging, level: 'WARNING', clock: systemClock }),
  })
}

const run = async (file: string, options: EvolveCommandOptions): Promise<void> => {
  const experiment = await readExperiment(file)
  const { askModel, generations, heldOut, json, name, out, population, seed, workers } = options
  // A name that will not do is told before the search.
  policyOf('--name', stringify({ kind: 'formula', name, formula: '0' } satisfies PolicyFile), policyNames)
  const origin = provenance()
  const model = askModel ? configuredModel() : undefined
  const metric = metricOf(experiment)
  const goal = `${metric.label} (${metric.unit}), ${metric.better} is better`
  const stop = untilSignalled(systemClock)
  let bar: ProgressBar | undefined
  let shown = ''
  const onProgress = (stage: string, done: number, total: number): void => {
    if (stage !== shown) {
      bar?.end()
      bar = new ProgressBar(stage)
      shown = stage
    }
    bar?.show(done, total)
  }
  try {
    const measure = await measureBy({ experiment, workers, provenance: origin, signal: stop.signal, onProgress })
    const result = await evolve({
      seed,
      generations,
      population,
      metric,
      training: experiment.seeds,
      heldOut: parseSeeds(heldOut),
      policies: experiment.policies,
      measure,
      propose:
        model === undefined
          ? undefined
          : async (best) => {
              try {
                return await model.ask(formulaQuestion(goal, best, ANSWER_TOKENS), PATIENCE_MS, stop.signal)
              } catch (thrown) {
                stop.signal.throwIfAborted()
                bar?.end()
                process.stderr.write(`No proposals from the model for this generation: ${messageOf(thrown)}\n`)
                return []
              }
            },
    })
    bar?.end()
    if (out !== undefined) {
      const trainedOn = `${basename(file)}: ${experiment.name}, seeds ${experiment.seeds.join(',')}`
      const text = stringify(policyFileOf(result, { name, seed, seeds: heldOut, source: origin, trainedOn }), {
        lineWidth: 0,
      })
      // What cannot be read again is not written.
      policyOf(out, text, policyNames)
      await writeWhole(out, text)
      process.stderr.write(`Policy file: ${out} (use it with --policy formula:${out})\n`)
    }
    process.stdout.write(json ? `${JSON.stringify({ ...result, provenance: origin }, null, 2)}\n` : render(result))
  } catch (thrown) {
    if (!stop.signal.aborted) throw thrown
    bar?.end()
    process.stderr.write('Stopped; nothing is kept of an unfinished search\n')
    process.exitCode = INTERRUPTED
  } finally {
    model?.close()
    bar?.end()
    stop.release()
  }
}

/** `stowage evolve` */
export const evolveCommand = (): Command =>
  new Command('evolve')
    .argument('<file>', 'an experiment in YAML: its nodes, pods, seeds and first metric are what formulas are bred for')
    .description(
      'Searches placement formulas in the simulator, beginning with known heuristics; seeds that nobody was bred for decide whether the result is better.',
    )
    .option('--generations <number>', 'how often new formulas are bred', whole(0, 10_000), 12)
    .option('--population <number>', 'formulas in each generation', whole(8, 10_000), 24)
    .option('--held-out <seeds>', 'seeds that decide, ten or more that the file does not name', '1001-1020')
    .option('--seed <number>', 'decides what is bred', whole(0, 2 ** 31 - 1), 1)
    .option('--workers <n>', 'threads', whole(1, 1024), availableParallelism())
    .option('--name <name>', 'how the policy calls itself', 'evolved')
    .option('--out <file>', 'where to write the policy file')
    .option('--ask-model', 'have the configured language model propose formulas for each generation, too (docs/llm.md)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Without metrics in the file, pods that wait, averaged over time, are what counts (pending_pods).

Examples:
  stowage evolve examples/experiments/evolve.yaml --out evolved.yaml
  stowage evolve examples/experiments/evolve.yaml --generations 30 --population 60 --seed 7 --json
  stowage simulate --policy formula:evolved.yaml,borg,kube-default --nodes 24 --pods 2000`,
    )
    .action(run)
