import { globSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { StowageError } from '../errors/catalogue.ts'
import { FIGURES_FOLDER, readRecord, RECORD_FILE } from '../simulation/experiments/record.ts'
import { writeWhole } from '../simulation/experiments/run-store.ts'
import { drawFigures, drawReport } from './drawing.ts'

const PAGE_FILE = 'report.html'
/** `results` itself, `results/comparison`, `results/comparison/NAME` */
const PLACES = [RECORD_FILE, `*/${RECORD_FILE}`, `*/*/${RECORD_FILE}`]

const makeReport = async (
  directory: string,
  { json, out = join(directory, PAGE_FILE) }: { out?: string; json?: boolean },
): Promise<void> => {
  const folders = globSync(PLACES, { cwd: directory })
    .map((path) => join(directory, dirname(path)))
    .sort()
  if (folders.length === 0)
    throw new StowageError('FILE_UNREADABLE', {
      found: `${directory} has no ${RECORD_FILE}, nor have the folders in it`,
      expected: 'a folder of results, as stowage experiment writes it',
    })
  const records = []
  const figures: string[] = []
  for (const folder of folders) {
    const record = await readRecord(folder)
    records.push(record)
    const written = await drawFigures(join(folder, FIGURES_FOLDER), record)
    figures.push(...written.map((file) => join(folder, FIGURES_FOLDER, file)))
  }
  await writeWhole(out, await drawReport(records))
  process.stdout.write(
    json
      ? `${JSON.stringify({ page: out, experiments: records.map(({ name }) => name), figures }, null, 2)}\n`
      : `${out}: ${records.length === 1 ? 'one experiment' : `${records.length} experiments`}, ${figures.length} files of figures beside ${records.length === 1 ? 'it' : 'them'}\n`,
  )
}

/** `stowage report DIR` */
export const reportCommand = (): Command =>
  new Command('report')
    .argument('<folder>', 'a folder of results, or one that holds several')
    .option('--out <file>', `the page (default: ${PAGE_FILE} in the folder)`)
    .option('--json', 'print JSON')
    .description('Makes one self-contained page of the results of experiments, and their figures as SVG and PNG.')
    .addHelpText(
      'after',
      `
Examples:
  stowage report results/comparison/fgd
  stowage report results --out report.html`,
    )
    .action(makeReport)
