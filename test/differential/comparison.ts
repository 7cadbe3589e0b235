import type { Verdict } from './kube-scheduler.ts'

/** One thing in which the two do not agree about a pod. */
export interface Difference {
  readonly about: 'outcome' | 'message' | 'victims' | 'feasible nodes' | 'scores' | 'choice'
  readonly text: string
}

const totals = (scores: Verdict['scores']): Map<string, number> =>
  new Map(Array.from(scores, ([node, terms]) => [node, terms.values().reduce((sum, value) => sum + value, 0)]))
const best = (scores: ReadonlyMap<string, number>): Set<string> => {
  const most = Math.max(...scores.values())
  return new Set([...scores].filter(([, score]) => score === most).map(([node]) => node))
}
const list = (names: Iterable<string>): string => `[${[...names].sort().join(' ')}]`

/** Everything in which the two do not agree. */
/** @param plugins whose scores ours has */
export const differences = (judged: Verdict, ours: Verdict, plugins: ReadonlySet<string>): Difference[] => {
  const scored = ([plugin]: readonly [string, number]): boolean => plugins.has(plugin)
  const theirs: Verdict = {
    ...judged,
    scores: new Map(Array.from(judged.scores, ([node, terms]) => [node, new Map([...terms].filter(scored))])),
  }
  const found: Difference[] = []
  const differ = (about: Difference['about'], text: string): void => void found.push({ about, text })
  const told = ({ outcome, node, message }: Verdict): string =>
    outcome === 'bound' ? `bound to ${node}` : message === '' ? outcome : `${outcome}: ${message}`
  if (theirs.outcome !== ours.outcome) {
    differ('outcome', `theirs ${told(theirs)} | ours ${told(ours)}`)
  } else if (theirs.outcome === 'refused') {
    if (theirs.message !== ours.message) differ('message', `theirs ${theirs.message} | ours ${ours.message}`)
    const evicts = ({ node, victims }: Verdict): string => `${list(victims)} on ${node}`
    if (evicts(theirs) !== evicts(ours)) differ('victims', `theirs ${evicts(theirs)} | ours ${evicts(ours)}`)
  }
  if (theirs.outcome !== 'bound') return found
  const more = [...theirs.feasible].filter((node) => !ours.feasible.has(node))
  const fewer = [...ours.feasible].filter((node) => !theirs.feasible.has(node))
  if (more.length + fewer.length > 0) differ('feasible nodes', `only theirs ${list(more)} | only ours ${list(fewer)}`)
  const scores: string[] = []
  for (const [node, terms] of theirs.scores) {
    const own = ours.scores.get(node)
    if (own === undefined) continue
    for (const plugin of new Set([...terms.keys(), ...own.keys()])) {
      const [a, b] = [terms.get(plugin) ?? 0, own.get(plugin) ?? 0]
      if (a !== b) scores.push(`${node} ${plugin}: theirs ${a}, ours ${b}`)
    }
  }
  if (scores.length > 0) differ('scores', scores.join('; '))
  if (ours.outcome === 'bound' && theirs.scores.size > 0 && ours.scores.size > 0) {
    const theirBest = best(totals(theirs.scores))
    const ourBest = best(totals(ours.scores))
    if (!theirBest.has(ours.node)) differ('choice', `ours took ${ours.node}, theirs rank ${list(theirBest)} first`)
    if (!ourBest.has(theirs.node)) differ('choice', `theirs took ${theirs.node}, ours rank ${list(ourBest)} first`)
  }
  return found
}
