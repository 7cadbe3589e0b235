import type { DecisionRecord } from '../decisions/record.ts'
import { plain } from '../decisions/wording.ts'

const points = (score: number): string => String(Math.round(score * 10) / 10)

/** A decision as one line for the live view: where to and why, in the fewest words. */
export const decisionLine = (record: DecisionRecord): string => {
  const pod = plain(`${record.namespace}/${record.pod}`)
  if (record.node === '') return `${pod} waits: ${plain(record.message)}`
  const [best, second] = record.candidates
  const share = `${record.feasible} of ${record.nodes} nodes fit`
  const node = plain(record.node)
  if (best === undefined) return `${pod} -> ${node}, ${share}`
  const [term] = Object.entries(best.terms).sort(([, a], [, b]) => b - a)
  const lead = term === undefined ? '' : ` (most of it ${plain(term[0])} ${points(term[1])})`
  const runnerUp = second === undefined ? '' : `, next ${plain(second.node)} ${points(second.score)}`
  return `${pod} -> ${node}: ${points(best.score)}${lead}${runnerUp}; ${share}`
}
