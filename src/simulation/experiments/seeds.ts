import { StowageError } from '../../errors/catalogue.ts'

const SEEDS_AT_MOST = 1000
const EXPECTED = `whole numbers and ranges, such as 42-51 or 1,2,7-9; at most ${SEEDS_AT_MOST} in all`

/** The seeds that `42-51` or `1,2,7-9` names, in that order, each once. @throws StowageError CONFIG_INVALID_VALUE */
export const parseSeeds = (text: string): number[] => {
  const invalid = (): StowageError =>
    new StowageError('CONFIG_INVALID_VALUE', {
      found: `the seeds ${JSON.stringify(text.slice(0, 80))}`,
      expected: EXPECTED,
    })
  const seeds = new Set<number>()
  for (const part of text.split(',')) {
    const match = /^\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*$/.exec(part)
    if (match === null) throw invalid()
    const from = Number(match[1])
    const to = Number(match[2] ?? match[1])
    if (to < from || to - from >= SEEDS_AT_MOST) throw invalid()
    for (let seed = from; seed <= to; seed++) seeds.add(seed)
  }
  if (seeds.size > SEEDS_AT_MOST) throw invalid()
  return [...seeds]
}
