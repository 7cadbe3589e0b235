import { createHash } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf, StowageError } from '../../errors/catalogue.ts'

/** Where a result comes from: enough to make it again. */
export interface Provenance {
  /** the command line that was typed */
  readonly command: string
  /** Stowage's version */
  readonly version: string
  /** SHA-256 of the source that decides results (see `sourceDigest`), the first 16 digits */
  readonly source: string
}

/** A finished run as its file has it. */
export interface StoredRun {
  readonly id: string
  /** of all that decides the result: input files, settings, source. A run is done again when it differs. */
  readonly fingerprint: string
  readonly provenance: Provenance
  readonly input: unknown
  readonly result: unknown
}

/** SHA-256 of a value as JSON, or of text, in hexadecimal. */
export const digestOf = (value: unknown): string =>
  createHash('sha256')
    .update(typeof value === 'string' ? value : JSON.stringify(value))
    .digest('hex')

const SOURCE = join(import.meta.dirname, '../..')
/** Rooms whose code cannot change what a simulation gives. */
const OUTSIDE = /^(cli|servers|system|kubernetes|telemetry|simulation\/(apiserver|figures))\/|\.(test|fixture)\.ts$/

/** SHA-256 over the source files that decide what a simulation gives, so that no result of older code is taken for a new one. */
export const sourceDigest = (): string => {
  const hash = createHash('sha256')
  const paths = globSync('**/*.ts', { cwd: SOURCE }).map((path) => path.replaceAll('\\', '/'))
  for (const path of paths.filter((path) => !OUTSIDE.test(path)).sort())
    hash.update(`${path}\n`).update(readFileSync(join(SOURCE, path)))
  return hash.digest('hex').slice(0, 16)
}

/** Writes a file so that it is there whole or not at all, whenever the process is killed. @throws StowageError FILE_UNWRITABLE */
export const writeWhole = async (path: string, content: string | Uint8Array): Promise<void> => {
  const draft = `${path}.${process.pid}.tmp`
  try {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(draft, content)
    await rename(draft, path)
  } catch (cause) {
    throw new StowageError(
      'FILE_UNWRITABLE',
      { found: `${path} (${messageOf(cause)})`, todo: 'name another folder with --out' },
      { cause },
    )
  }
}

/** Finished runs in a folder, one file each. */
export class RunStore {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  #path(id: string): string {
    return join(this.#directory, `${id}.json`)
  }

  /** The run if it is there and was made from the same; a file that is broken or of another make counts as none. */
  async find(id: string, fingerprint: string): Promise<StoredRun | undefined> {
    try {
      const stored = JSON.parse(await readFile(this.#path(id), 'utf8')) as Partial<StoredRun> | null
      return stored?.fingerprint === fingerprint && stored.id === id && 'result' in stored
        ? (stored as StoredRun)
        : undefined
    } catch {
      return undefined
    }
  }

  /** @throws StowageError FILE_UNWRITABLE */
  keep(run: StoredRun): Promise<void> {
    return writeWhole(this.#path(run.id), `${JSON.stringify(run)}\n`)
  }
}
