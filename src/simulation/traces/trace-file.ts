import { closeSync, openSync, writeSync } from 'node:fs'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import { type TraceEvent, type TraceHeader, traceLine } from './recorded.ts'

/** A trace that grows. */
export interface TraceFile {
  /** bytes written so far */
  readonly bytes: number
  /** The event is with the operating system when this returns: a kill loses nothing that was written. @throws StowageError FILE_UNWRITABLE */
  write(event: TraceEvent): void
  close(): void
}

const unwritable = (path: string, thrown: unknown): StowageError =>
  new StowageError(
    'FILE_UNWRITABLE',
    {
      found: `${path} (${messageOf(thrown)})`,
      expected: 'a file that does not exist yet, in a folder with room',
      todo: 'choose another name',
    },
    { cause: thrown },
  )

/**
 * Begins a trace in a new file. Each line is written whole and at once, so that a kill at any moment can cut the last one at
 * most, which readers then leave out.
 * @throws StowageError FILE_UNWRITABLE, also if there is a file of that name
 */
export const createTraceFile = (path: string, header: TraceHeader): TraceFile => {
  let descriptor: number
  try {
    descriptor = openSync(path, 'ax', 0o600)
  } catch (thrown) {
    throw unwritable(path, thrown)
  }
  let bytes = 0
  const append = (entry: TraceHeader | TraceEvent): void => {
    const line = Buffer.from(traceLine(entry))
    try {
      for (let from = 0; from < line.length; ) from += writeSync(descriptor, line, from)
    } catch (thrown) {
      throw unwritable(path, thrown)
    }
    bytes += line.length
  }
  try {
    append(header)
  } catch (thrown) {
    closeSync(descriptor)
    throw thrown
  }
  return {
    get bytes() {
      return bytes
    },
    write: append,
    close: () => closeSync(descriptor),
  }
}
