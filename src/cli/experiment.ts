import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { systemClock } from '../clock/clock.ts'
import { StowageError } from '../errors/catalogue.ts'
import {
  excessPercent,
  OR_SETS,
  orLibraryUniform,
  PACKING_RULES,
  readOrLibrary,
} from '../simulation/experiments/binpacking.ts'
import { comparisons } from '../simulation/experiments/comparison.ts'
import { runExperiment } from '../simulation/experiments/experiment.ts'
import { type ExperimentFile, readExperiment } from '../simulation/experiments/experiment-file.ts'
import { fgdRecord, type FgdResult, type FgdRow, runFgdExperiment } from '../simulation/experiments/fgd-experiment.ts'
import { type ExperimentRecord, FIGURES_FOLDER, RUNS_FOLDER, writeRecord } from '../simulation/experiments/record.ts'
import type { PoolProgress } from '../simulation/experiments/run-pool.ts'
import { parseSeeds } from '../simulation/experiments/seeds.ts'
import { readBounded } from '../simulation/traces/csv.ts'
import { openbPodLists } from '../simulation/traces/openb.ts'
import { drawFigures } from './drawing.ts'
import { ProgressBar } from './progress-bar.ts'
import { provenance, quoted } from './provenance.ts'
import { untilSignalled } from './signals.ts'
import { whole } from './values.ts'

const FGD_POLICIES = 'dual_price,fgd,bestfit,gpu_packing,gpu_clustering,dotprod,random'
const FGD_SEEDS = '42-51'
/** As shells count a process that Ctrl-C ended. */
const INTERRUPTED = 130
const PACKING_BYTES_AT_MOST = 64 * 2 ** 20

const resultsFolder = (): string => process.env['RESULTS_DIR'] ?? 'results'

const names = (option: string, text: string): string[] => {
  const list = [...new Set(text.split(',').map((name) => name.trim()))]
  const wrong = list.find((name) => !/^[A-Za-z0-9][\w.-]{0,127}$/.test(name))
  if (wrong !== undefined)
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: `${option} ${JSON.stringify(text.slice(0, 80))}`,
      expected: 'names with commas between them',
    })
  return list
}

/** Runs with a bar and until Ctrl-C; what is finished by then is kept. @returns undefined if it was stopped */
const underWay = async <T>(
  label: string,
  run: (signal: AbortSignal, onProgress: (progress: PoolProgress) => void) => Promise<T>,
): Promise<T | undefined> => {
  const stop = untilSignalled(systemClock)
  const bar = new ProgressBar(label)
  let kept = 'nothing is finished yet'
  try {
    return await run(stop.signal, ({ done, total }) => {
      kept = `${done} of ${total} runs are finished and kept: the same command goes on from there`
      bar.show(done, total)
    })
  } catch (thrown) {
    if (!stop.signal.aborted) throw thrown
    bar.end()
    process.stderr.write(`Stopped; ${kept}\n`)
    process.exitCode = INTERRUPTED
    return undefined
  } finally {
    bar.end()
    stop.release()
  }
}

const keep = async (directory: string, record: ExperimentRecord): Promise<void> => {
  await writeRecord(directory, record)
  await drawFigures(join(directory, FIGURES_FOLDER), record)
  process.stderr.write(
    `Results, figures and every run: ${directory} (stowage report ${quoted(directory)} makes a page of them)\n`,
  )
}

/** Columns as wide as they need to be, the first `texts` of them left-aligned. */
const table = (header: readonly string[], rows: readonly (readonly string[])[], texts: number): string => {
  const widths = header.map((name, at) => Math.max(name.length, ...rows.map((row) => (row[at] ?? '').length)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) => (at < texts ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd()
  return [header, ...rows].map((row) => `${line(row)}\n`).join('')
}

const two = (value: number | null | undefined): string =>
  value === null || value === undefined ? '-' : value.toFixed(2).replace('-', '\u2212')

const fgdLine = (row: FgdRow): string[] => [
  row.trace,
  row.policy,
  two(row.allocationPercent.mean),
  two(row.allocationPercent.sd),
  two(row.published),
  two(row.allocationAt95Percent.mean),
  two(row.publishedAt95),
  two(row.firstRefusalPercent?.mean),
  row.againstFgd === null
    ? '-'
    : `${two(row.againstFgd.meanDifference)} [${two(row.againstFgd.low)}, ${two(row.againstFgd.high)}]`,
]

const renderFgd = ({ rows, seeds }: FgdResult): string =>
  `Allocated GPUs in percent of all, ${seeds.length} seeds; published: the authors', over seeds 42-51\n\n` +
  table(
    [
      'trace',
      'policy',
      'at 130 %',
      'sd',
      'published',
      'at 95 %',
      'published',
      'first refusal',
      'against fgd [95 % interval]',
    ],
    rows.map(fgdLine),
    2,
  )

interface FgdOptions {
  readonly traceDir: string
  readonly traces?: string
  readonly policies: string
  readonly seeds: string
  readonly workers: number
  readonly out?: string
  readonly json?: boolean
}

const runFgd = async (options: FgdOptions): Promise<void> => {
  const directory = options.out ?? join(resultsFolder(), 'comparison', 'fgd')
  const traces =
    options.traces === undefined ? await openbPodLists(options.traceDir) : names('--traces', options.traces)
  const policies = names('--policies', options.policies)
  const seeds = parseSeeds(options.seeds)
  const result = await underWay('fgd', (signal, onProgress) =>
    runFgdExperiment({
      directory: options.traceDir,
      traces,
      policies,
      seeds,
      runsDirectory: join(directory, RUNS_FOLDER),
      workers: options.workers,
      provenance: provenance(),
      signal,
      onProgress,
    }),
  )
  if (result === undefined) return
  await keep(directory, fgdRecord(result))
  const { provenance: origin, rows } = result
  process.stdout.write(
    options.json ? `${JSON.stringify({ rows, seeds, provenance: origin }, null, 2)}\n` : renderFgd(result),
  )
}

const fgdCommand = (): Command =>
  new Command('fgd')
    .description(
      'The experiment of fragmentation gradient descent (USENIX ATC 2023): which policy fits the most of an openb list into its cluster.',
    )
    .requiredOption('--trace-dir <folder>', 'the folder with the openb lists')
    .option('--traces <names>', 'pod lists: default, cpu250, ... or files in the folder (default: all)')
    .option('--policies <names>', 'policies', FGD_POLICIES)
    .option('--seeds <list>', 'seeds, such as 42-51 or 1,2,7-9', FGD_SEEDS)
    .option('--workers <n>', 'threads', whole(1, 1024), availableParallelism())
    .option('--out <folder>', 'where results go (default: comparison/fgd in RESULTS_DIR, or in results)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Each finished run is kept at once: after a kill, the same command goes on where it was.

Examples:
  stowage experiment fgd --trace-dir traces/openb
  stowage experiment fgd --trace-dir traces/openb --traces default --policies fgd,bestfit --seeds 42-51 --json`,
    )
    .action(runFgd)

interface PackingOptions {
  readonly file?: string
  readonly json?: boolean
}

const runPacking = async ({ file, json }: PackingOptions): Promise<void> => {
  const sets =
    file === undefined
      ? OR_SETS.map(({ items, name }) => ({ name, instances: orLibraryUniform(items) }))
      : [
          {
            name: file,
            instances: readOrLibrary(file, await readBounded(file, PACKING_BYTES_AT_MOST, 'a list of the OR-Library')),
          },
        ]
  const rows = sets.flatMap(({ instances, name: set }) =>
    PACKING_RULES.map(({ name: rule, publishedPercent, score }) => ({
      set,
      rule,
      excessPercent: excessPercent(instances, score),
      published: publishedPercent[set] ?? null,
    })),
  )
  process.stdout.write(
    json
      ? `${JSON.stringify({ rows }, null, 2)}\n`
      : `Bins above the lower bound, in percent of it\n\n${table(
          ['lists', 'rule', 'excess', 'published'],
          rows.map((row) => [row.set, row.rule, two(row.excessPercent), two(row.published)]),
          2,
        )}`,
  )
}

const packingCommand = (): Command =>
  new Command('binpacking')
    .description(
      "FunSearch's online bin packing: bins above the lower bound with first fit, best fit and the rule that it found.",
    )
    .option('--file <path>', 'other lists in a file of the OR-Library (default: OR1 to OR4)')
    .option('--json', 'print JSON')
    .action(runPacking)

interface FileOptions {
  readonly workers: number
  readonly out?: string
  readonly json?: boolean
}

/** Where an experiment's results go, in KISim's layout. */
const folderOf = ({ name, results }: ExperimentFile): string =>
  results === 'comparison' ? join(resultsFolder(), results, name) : join(resultsFolder(), results)

const renderComparison = (record: ExperimentRecord): string => {
  const cells = comparisons(record)
  return record.metrics
    .map(({ better, label, name, unit }) => {
      const rows = cells
        .filter(({ metric }) => metric === name)
        .map(({ difference, estimate, pAdjusted, pattern, policy, verdict }) => [
          pattern,
          policy,
          estimate.mean.toPrecision(5),
          estimate.sd.toPrecision(2),
          difference === undefined
            ? '-'
            : `${difference.meanDifference.toPrecision(3)} [${difference.low.toPrecision(3)}, ${difference.high.toPrecision(3)}]`,
          pAdjusted === undefined ? '-' : pAdjusted < 0.001 ? '<0.001' : pAdjusted.toFixed(3),
          verdict,
        ])
      const title = `${label}${unit === '' ? '' : ` (${unit})`}, ${better} is better`
      return `${title}\n${table(['pattern', 'policy', 'mean', 'sd', 'against the best [95 % interval]', 'p', ''], rows, 2)}`
    })
    .join('\n')
}

const identity = ({ name, policies, provenance: origin, seeds }: ExperimentRecord) => ({
  name,
  policies,
  seeds,
  provenance: origin,
})

const runFile = async (file: string, options: FileOptions): Promise<void> => {
  const experiment = await readExperiment(file)
  const directory = options.out ?? folderOf(experiment)
  const record = await underWay(experiment.name, (signal, onProgress) =>
    runExperiment({
      experiment,
      runsDirectory: join(directory, RUNS_FOLDER),
      workers: options.workers,
      provenance: provenance(),
      signal,
      onProgress,
    }),
  )
  if (record === undefined) return
  await keep(directory, record)
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ ...identity(record), comparisons: comparisons(record) }, null, 2)}\n`
      : renderComparison(record),
  )
}

/** `stowage experiment FILE`, `stowage experiment fgd`, `stowage experiment binpacking` */
export const experimentCommand = (): Command =>
  new Command('experiment')
    // --out and --json of `experiment fgd` are its own, not its parent's.
    .enablePositionalOptions()
    .argument('<file>', 'an experiment in YAML')
    .description('Compares policies on the same arrivals, seed by seed, and keeps what was measured.')
    .option('--workers <n>', 'threads', whole(1, 1024), availableParallelism())
    .option('--out <folder>', 'where results go (default: comparison/NAME in RESULTS_DIR, or in results)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Each finished run is kept at once: after a kill, the same command goes on where it was.

Examples:
  stowage experiment examples/experiments/pods.yaml
  stowage experiment fgd --trace-dir traces/openb --traces default --policies fgd,bestfit --json
  stowage experiment binpacking`,
    )
    .action(runFile)
    .addCommand(fgdCommand())
    .addCommand(packingCommand())
