import { runCandidate } from './candidate-run.ts'
import { runFgd } from './fgd.ts'
import { runPods } from './pods-run.ts'
import { runService } from './service-run.ts'

/** What a worker thread can do: from plain data to plain data. */
export const runKinds = {
  candidate: runCandidate,
  fgd: runFgd,
  pods: runPods,
  service: runService,
} as const satisfies Readonly<Record<string, (input: never) => Promise<unknown>>>

export type RunKind = keyof typeof runKinds
