import { join } from 'node:path'
import { writeWhole } from '../experiments/run-store.ts'
import { type Figure, renderPng, renderSvg } from './figure.ts'

/** Writes each figure as SVG and PNG into the folder. @returns the names of the files @throws StowageError FILE_UNWRITABLE */
export const writeFigures = async (directory: string, figures: readonly Figure[]): Promise<string[]> => {
  const files: string[] = []
  for (const figure of figures) {
    const svg = renderSvg(figure)
    await writeWhole(join(directory, `${figure.name}.svg`), svg)
    await writeWhole(join(directory, `${figure.name}.png`), renderPng(svg))
    files.push(`${figure.name}.svg`, `${figure.name}.png`)
  }
  return files
}
