import { type Pod, podKey } from '../../cluster/pod.ts'
import type { Candidates, Policy, Ranking, RankContext } from '../../policies/policy.ts'

/** The first of the largest, as the cycle takes it. */
const bestOf = ({ scores }: Ranking, count: number): number => {
  let best = 0
  for (let candidate = 1; candidate < count; candidate++)
    if ((scores[candidate] ?? Number.NEGATIVE_INFINITY) > (scores[best] ?? Number.NEGATIVE_INFINITY)) best = candidate
  return best
}

/**
 * Asks a policy about every pod, tells what it chose, and puts the pod where it went when the trace was recorded: so each
 * choice is made in the cluster as it was, however many before it were others.
 * @param nodeOf where a pod (`namespace/name`) went; '' or a node that is not allowed: where the policy wants it
 * @param onChoice `tied`: another node, while the one where it went has the same score
 */
export const asRecorded = (
  policy: Policy,
  nodeOf: (pod: string) => string,
  onChoice: (pod: string, node: string, tied: boolean) => void,
): Policy => {
  const follow = (pod: Pod, { count, nodes }: Candidates, { cluster }: RankContext, ranking: Ranking): Ranking => {
    const nameOf = (candidate: number): string => cluster.node(nodes[candidate] ?? -1).name
    const key = podKey(pod)
    const best = bestOf(ranking, count)
    const wanted = nodeOf(key)
    const scores = Float64Array.from({ length: count }, (_, candidate) => (nameOf(candidate) === wanted ? 1 : 0))
    const went = scores.indexOf(1)
    onChoice(key, nameOf(best), went >= 0 && went !== best && ranking.scores[went] === ranking.scores[best])
    return went >= 0 ? { ...ranking, scores } : ranking
  }
  return {
    ...policy,
    rank: (pod, candidates, context) => {
      const answer = policy.rank(pod, candidates, context)
      return answer instanceof Promise
        ? answer.then((ranking) => follow(pod, candidates, context, ranking))
        : follow(pod, candidates, context, answer)
    },
  }
}
