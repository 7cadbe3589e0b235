import { type Provenance, sourceDigest } from '../simulation/experiments/run-store.ts'
import { version } from './version.ts'

/** A word as a shell takes it. */
export const quoted = (word: string): string =>
  /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`

/** What made a result: the command as it was typed, the version, and the source. */
export const provenance = (): Provenance => ({
  command: ['stowage', ...process.argv.slice(2)].map(quoted).join(' '),
  version,
  source: sourceDigest(),
})
