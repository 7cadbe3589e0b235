import { readFile, stat } from 'node:fs/promises'
import { messageOf, StowageError } from '../../errors/catalogue.ts'

/** One line below the header. */
export interface CsvRow {
  /** counted from 1, the header's */
  readonly line: number
  readonly cells: readonly string[]
}

const shown = (value: string): string => JSON.stringify(value.slice(0, 64))

/**
 * A file of comma-separated values without quotes, whose columns are found by the names in its first line, in whatever
 * order. Blank lines, a byte order mark and `\r\n` are passed over. Every complaint names file, line and column.
 */
export class CsvTable {
  readonly rows: readonly CsvRow[]
  readonly #file: string
  readonly #columns: ReadonlyMap<string, number>
  readonly #width: number

  /**
   * @param file how to call it in errors
   * @param columns those that must be there; others may be
   * @throws StowageError TRACE_MALFORMED
   */
  constructor(file: string, text: string, columns: readonly string[]) {
    this.#file = file
    const lines = text.split(/\r?\n/)
    const header = (lines[0] ?? '').replace(/^\uFEFF/, '').split(',')
    this.#columns = new Map(header.map((name, index) => [name.trim(), index]))
    const missing = columns.filter((name) => !this.#columns.has(name))
    if (missing.length > 0) {
      throw this.#malformed(1, `no column ${missing.join(', ')}`, `a first line with the columns ${columns.join(',')}`)
    }
    this.#width = header.length
    this.rows = lines.flatMap((text, index) => (index === 0 || text.trim() === '' ? [] : [this.rowOf(index + 1, text)]))
  }

  /** A line as a row, for those who read a long file piece by piece. @throws StowageError TRACE_MALFORMED */
  rowOf(line: number, text: string): CsvRow {
    const cells = text.split(',')
    if (cells.length === this.#width) return { line, cells }
    const expected = `${this.#width} values, one for each column, without quotes`
    throw this.#malformed(line, `${cells.length} values`, expected)
  }

  /** A value that matches. @param words what is expected, for people. @throws StowageError TRACE_MALFORMED */
  text(row: CsvRow, column: string, expected: RegExp, words: string): string {
    const value = this.#value(row, column)
    return expected.test(value) ? value : this.fail(row, column, words)
  }

  /** @throws StowageError TRACE_MALFORMED */
  whole(row: CsvRow, column: string, most = Number.MAX_SAFE_INTEGER): number {
    const words = most === Number.MAX_SAFE_INTEGER ? 'a whole number' : `a whole number up to ${most}`
    const value = Number(this.text(row, column, /^\d{1,15}$/, words))
    return value <= most ? value : this.fail(row, column, words)
  }

  /** @throws StowageError TRACE_MALFORMED, always */
  fail(row: CsvRow, column: string, expected: string): never {
    throw this.#malformed(row.line, `${shown(this.#value(row, column))} in column ${column}`, expected)
  }

  #value(row: CsvRow, column: string): string {
    return row.cells[this.#columns.get(column) ?? -1] ?? ''
  }

  #malformed(line: number, found: string, expected: string): StowageError {
    return new StowageError('TRACE_MALFORMED', { found: `${this.#file} line ${line}: ${found}`, expected })
  }
}

/**
 * The text of a file that fits into memory.
 * @param expected what it should have been, for the error
 * @throws StowageError FILE_UNREADABLE
 */
export const readBounded = async (path: string, bytesAtMost: number, expected: string): Promise<string> => {
  try {
    const { size } = await stat(path)
    if (size > bytesAtMost) {
      throw new StowageError('FILE_UNREADABLE', {
        found: `${path} has ${size} bytes`,
        expected: `at most ${bytesAtMost}`,
      })
    }
    return await readFile(path, 'utf8')
  } catch (thrown) {
    if (thrown instanceof StowageError) throw thrown
    throw new StowageError('FILE_UNREADABLE', { found: `${path} (${messageOf(thrown)})`, expected }, { cause: thrown })
  }
}
