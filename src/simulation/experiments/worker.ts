import { parentPort } from 'node:worker_threads'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import { type RunKind, runKinds } from './run-kinds.ts'
import type { WorkerAnswer } from './run-pool.ts'

/** A worker thread of run-pool.ts: one run at a time, in the order in which they are asked for. */
parentPort?.on('message', ({ kind, input }: { kind: RunKind; input: never }) => {
  const run: (input: never) => Promise<unknown> = runKinds[kind]
  const answer = (message: WorkerAnswer): void => parentPort?.postMessage(message, [])
  run(input).then(
    (result) => answer({ ok: true, result }),
    (thrown: unknown) =>
      answer(
        thrown instanceof StowageError
          ? { ok: false, code: thrown.code, facts: thrown.facts, stack: '' }
          : {
              ok: false,
              code: undefined,
              facts: { found: '' },
              stack: thrown instanceof Error ? (thrown.stack ?? thrown.message) : messageOf(thrown),
            },
      ),
  )
})
