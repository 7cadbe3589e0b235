import { Worker } from 'node:worker_threads'
import { type ErrorCode, type ErrorFacts, StowageError } from '../../errors/catalogue.ts'
import type { RunKind } from './run-kinds.ts'
import { digestOf, type Provenance, type RunStore } from './run-store.ts'

/** One run: independent of all others, and decided by its input alone. */
export interface RunTask {
  /** names its file: letters, digits, `.`, `_` and `-` */
  readonly id: string
  readonly kind: RunKind
  /** plain data */
  readonly input: unknown
  /** digests of the files that the run reads */
  readonly files: readonly string[]
}

export interface PoolProgress {
  readonly total: number
  readonly done: number
  /** of the done ones those that an earlier process had finished */
  readonly found: number
}

export interface PoolOptions {
  readonly tasks: readonly RunTask[]
  /** of finished runs */
  readonly store: Pick<RunStore, 'find' | 'keep'>
  readonly provenance: Provenance
  /** threads at most; results do not depend on it */
  readonly workers: number
  readonly signal: AbortSignal
  readonly onProgress?: (progress: PoolProgress) => void
}

/** What a worker answers. */
export type WorkerAnswer =
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly code: ErrorCode | undefined; readonly facts: ErrorFacts; readonly stack: string }

/** Runs one task in the thread; rejects with what it threw there. */
const ask = (worker: Worker, { kind, input }: RunTask, signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const done = (): void => {
      worker.off('message', onAnswer)
      worker.off('error', onError)
      worker.off('exit', onExit)
      signal.removeEventListener('abort', onAbort)
    }
    const onAnswer = (answer: WorkerAnswer): void => {
      done()
      if (answer.ok) resolve(answer.result)
      else if (answer.code === undefined) reject(new StowageError('INTERNAL', { found: answer.stack }))
      else reject(new StowageError(answer.code, answer.facts))
    }
    const onError = (error: Error): void => {
      done()
      reject(error)
    }
    const onExit = (code: number): void => {
      done()
      reject(new StowageError('INTERNAL', { found: `a worker thread ended with ${code} in the middle of a run` }))
    }
    const onAbort = (): void => {
      done()
      reject(signal.reason as Error)
    }
    worker.on('message', onAnswer)
    worker.on('error', onError)
    worker.on('exit', onExit)
    signal.addEventListener('abort', onAbort, { once: true })
    worker.postMessage({ kind, input }, [])
  })

/**
 * Does what is not done yet, on several cores. Each run that ends is kept at once, so a process that is killed loses only
 * those under way.
 * @returns results by id
 * @throws the reason of the signal; what the first failing run threw, the runs before it being kept
 */
export const runTasks = async (options: PoolOptions): Promise<Map<string, unknown>> => {
  const { tasks, store, provenance, onProgress } = options
  const results = new Map<string, unknown>()
  const fingerprintOf = ({ kind, input, files }: RunTask): string =>
    digestOf({ kind, input, files, source: provenance.source })
  const open: RunTask[] = []
  for (const task of tasks) {
    const stored = await store.find(task.id, fingerprintOf(task))
    if (stored === undefined) open.push(task)
    else results.set(task.id, stored.result)
  }
  const found = results.size
  const tell = (): void => onProgress?.({ total: tasks.length, done: results.size, found })
  tell()
  const failure = new AbortController()
  const signal = AbortSignal.any([options.signal, failure.signal])
  let next = 0
  const work = async (): Promise<void> => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url))
    try {
      for (let task = open[next++]; task !== undefined; task = open[next++]) {
        signal.throwIfAborted()
        const result = await ask(worker, task, signal)
        await store.keep({ id: task.id, fingerprint: fingerprintOf(task), provenance, input: task.input, result })
        results.set(task.id, result)
        tell()
      }
    } catch (thrown) {
      failure.abort(thrown)
      throw thrown
    } finally {
      await worker.terminate()
    }
  }
  const threads = Math.min(Math.max(1, options.workers), open.length)
  const ends = await Promise.allSettled(Array.from({ length: threads }, work))
  // The first to fail told the others to stop.
  if (ends.some(({ status }) => status === 'rejected')) throw signal.reason
  options.signal.throwIfAborted()
  return results
}
