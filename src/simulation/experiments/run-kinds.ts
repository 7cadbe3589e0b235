import { runFgd } from './fgd.ts'

/** What a worker thread can do: from plain data to plain data. */
export const runKinds = {
  fgd: runFgd,
} as const satisfies Readonly<Record<string, (input: never) => Promise<unknown>>>

export type RunKind = keyof typeof runKinds
