import type { ExperimentRecord } from '../simulation/experiments/record.ts'

// What draws is larger than all the rest of the program: it is loaded by who draws, and by no scheduler.

/** The figures of an experiment, as files in the folder. @returns their names @throws StowageError FILE_UNWRITABLE */
export const drawFigures = async (directory: string, record: ExperimentRecord): Promise<string[]> => {
  const { figuresOf } = await import('../simulation/figures/record-figures.ts')
  const { writeFigures } = await import('../simulation/figures/write-figures.ts')
  return writeFigures(directory, figuresOf(record))
}

/** The page of one or several experiments. */
export const drawReport = async (records: readonly ExperimentRecord[]): Promise<string> => {
  const { reportPage } = await import('../simulation/figures/report-page.ts')
  return reportPage(records)
}
