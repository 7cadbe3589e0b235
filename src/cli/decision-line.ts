import type { CandidateRecord, DecisionRecord } from '../decisions/record.ts'
import { plain } from '../decisions/wording.ts'

const points = (score: number): string => String(Math.round(score * 10) / 10)

/** The term through which the first is ahead of the second, as far as one does it: what all have alike explains nothing. */
const lead = (best: CandidateRecord, second: CandidateRecord): string => {
  const [most] = Object.entries(best.terms)
    .map(([name, value]) => ({ name, ahead: value - (second.terms[name] ?? 0) }))
    .filter(({ ahead }) => ahead > 0)
    .sort((a, b) => b.ahead - a.ahead)
  return most === undefined ? 'equal' : `${plain(most.name)} +${points(most.ahead)}`
}

/** A decision as one line for the live view: where to and why, in the fewest words. */
export const decisionLine = (record: DecisionRecord): string => {
  const pod = plain(`${record.namespace}/${record.pod}`)
  if (record.node === '') return `${pod} waits: ${plain(record.message)}`
  const [best, second] = record.candidates
  const where = `${pod} -> ${plain(record.node)} (of ${record.feasible} that fit, ${record.nodes} in all)`
  if (best === undefined || second === undefined) return where
  return `${where}: ${points(best.score)}, next ${plain(second.node)} ${points(second.score)}; ${lead(best, second)}`
}
