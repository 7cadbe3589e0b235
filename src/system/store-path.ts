import { createHash } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { stateFolder } from './instances.ts'

/** The value of `decisions.path` that stands for a file of our choice. */
export const AUTO = 'auto'

type Environment = Readonly<Record<string, string | undefined>>

const FILE = /^decisions-[0-9a-f]{12}\.sqlite$/

/** Where decisions about a cluster are kept unless the user says where: one file for each API server address. */
export const storePathFor = (address: string, env: Environment): string =>
  join(stateFolder(env), `decisions-${createHash('sha256').update(address).digest('hex').slice(0, 12)}.sqlite`)

/** The stores that earlier runs left in their usual place, the last written first. */
export const keptStores = (env: Environment): string[] => {
  try {
    return readdirSync(stateFolder(env))
      .filter((name) => FILE.test(name))
      .map((name) => join(stateFolder(env), name))
      .map((path) => ({ path, writtenMs: statSync(path).mtimeMs }))
      .sort((a, b) => b.writtenMs - a.writtenMs)
      .map(({ path }) => path)
  } catch {
    return []
  }
}
