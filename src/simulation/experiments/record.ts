import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import { writeWhole } from './run-store.ts'

/** The file that says what lies in a folder of results. */
export const RECORD_FILE = 'experiment.json'
/** Folders of a result, as KISim's results are laid out. */
export const RUNS_FOLDER = 'dynamic'
export const MEASUREMENTS_FILE = join('metrics', 'measurements.csv')
export const FIGURES_FOLDER = 'figures'

const BYTES_AT_MOST = 256 * 2 ** 20

const text = z.string().max(4096)
const number = z.number().finite()

const axisSchema = z.strictObject({
  label: text,
  unit: text,
  min: number.optional(),
  max: number.optional(),
})

const metricSchema = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_]{0,63}$/),
  label: text,
  /** '' for a pure number */
  unit: text,
  better: z.enum(['higher', 'lower']),
})

const measurementSchema = z.strictObject({
  policy: text,
  pattern: text,
  seed: z.number().int(),
  metric: text,
  value: number,
})

const lineSchema = z.strictObject({
  name: text,
  points: z.array(z.tuple([number, number.nullable()])).max(100_000),
  band: z
    .array(z.tuple([number, number]))
    .max(100_000)
    .optional(),
  isReference: z.boolean().optional(),
})

const curveSchema = z.strictObject({
  name: z.string().regex(/^[\w.-]{1,128}$/),
  caption: text,
  x: axisSchema,
  y: axisSchema,
  lines: z.array(lineSchema).max(100),
})

const heatMapSchema = z.strictObject({
  name: z.string().regex(/^[\w.-]{1,128}$/),
  caption: text,
  x: axisSchema,
  yLabel: text,
  value: axisSchema,
  columns: z.array(number).max(2000),
  rows: z.array(text).max(2000),
  cells: z.array(z.array(number).max(2000)).max(2000),
})

const recordSchema = z.strictObject({
  format: z.literal('stowage-experiment/1'),
  name: text,
  /** a sentence or two: what was compared, and under what */
  description: text,
  /** what the values of `pattern` are: load pattern, pod list */
  patternLabel: text,
  provenance: z.strictObject({ command: text, version: text, source: text }),
  policies: z.array(text).max(1000),
  patterns: z.array(text).max(1000),
  seeds: z.array(z.number().int()).max(10_000),
  metrics: z.array(metricSchema).max(1000),
  measurements: z.array(measurementSchema).max(2_000_000),
  /** values from elsewhere to hold the measured ones against */
  references: z
    .array(z.strictObject({ policy: text, pattern: text, metric: text, value: number, source: text }))
    .max(10_000),
  curves: z.array(curveSchema).max(1000),
  heatMaps: z.array(heatMapSchema).max(100),
})

/** A quantity that runs are measured by. */
export type Metric = z.infer<typeof metricSchema>
/** One value of one run. */
export type Measurement = z.infer<typeof measurementSchema>
/** Lines over a continuous quantity, of several runs together. */
export type Curve = z.infer<typeof curveSchema>
/** A value by node and time, of one run. */
export type HeatMap = z.infer<typeof heatMapSchema>
/** All of an experiment that its tables, figures and report are made of. */
export type ExperimentRecord = z.infer<typeof recordSchema>

/** A value of a CSV file: quoted where it has to be. */
const cell = (value: string | number): string => {
  const written = String(value)
  return /[",\r\n]/.test(written) ? `"${written.replaceAll('"', '""')}"` : written
}

/** The measurements as CSV, one a row: `experiment,policy,pattern,seed,metric,value,unit`. */
export const measurementsCsv = ({ name, metrics, measurements }: ExperimentRecord): string => {
  const units = new Map(metrics.map((metric) => [metric.name, metric.unit]))
  const rows = measurements.map(({ policy, pattern, seed, metric, value }) =>
    [name, policy, pattern, seed, metric, value, units.get(metric) ?? ''].map(cell).join(','),
  )
  return `experiment,policy,pattern,seed,metric,value,unit\n${rows.map((row) => `${row}\n`).join('')}`
}

/** Writes record and measurements into the folder. @throws StowageError FILE_UNWRITABLE */
export const writeRecord = async (directory: string, record: ExperimentRecord): Promise<void> => {
  await writeWhole(join(directory, MEASUREMENTS_FILE), measurementsCsv(record))
  await writeWhole(join(directory, RECORD_FILE), `${JSON.stringify(record)}\n`)
}

/** @throws StowageError FILE_UNREADABLE, RESULTS_MALFORMED */
export const readRecord = async (directory: string): Promise<ExperimentRecord> => {
  const path = join(directory, RECORD_FILE)
  let source: string
  try {
    const { size } = await stat(path)
    if (size > BYTES_AT_MOST)
      throw new StowageError('FILE_UNREADABLE', {
        found: `${path} has ${size} bytes`,
        expected: `at most ${BYTES_AT_MOST}`,
      })
    source = await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof StowageError) throw cause
    throw new StowageError('FILE_UNREADABLE', { found: `${path} (${messageOf(cause)})` }, { cause })
  }
  const malformed = (found: string, cause?: unknown): StowageError =>
    new StowageError(
      'RESULTS_MALFORMED',
      { found: `${path}: ${found}`, todo: 'run the experiment again; its finished runs are kept' },
      cause === undefined ? undefined : { cause },
    )
  let value: unknown
  try {
    value = JSON.parse(source)
  } catch (cause) {
    throw malformed(messageOf(cause), cause)
  }
  const parsed = recordSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw malformed(issue === undefined ? 'unknown' : `${issue.path.join('.') || 'the file'}: ${issue.message}`)
}
