import type { Pod } from '../../cluster/pod.ts'
import type { Candidates, Policy, RankContext, Ranking, ScoreTerm } from '../policy.ts'
import { type Intent, intentText } from './intent.ts'
import { wishesOf } from './wishes.ts'

/** Who knows what pods' owners wish. */
export interface Intents {
  /** What is known of the pod's intent now; undefined: it states none, or none that has been read yet. Never waits. */
  of(pod: Pod): Intent | undefined
}

/**
 * A wish of full weight against all that lies between the best and the worst node of the policy: enough to decide also where
 * another node has half of what is wished for.
 */
const STRENGTH = 3

const heed = (
  ranking: Ranking,
  intent: Intent,
  pod: Pod,
  { nodes, count }: Candidates,
  { cluster }: RankContext,
): Ranking => {
  const wishes = wishesOf(intent, pod, cluster)
  if (wishes.length === 0 || count === 0) return ranking
  let best = Number.NEGATIVE_INFINITY
  let worst = Number.POSITIVE_INFINITY
  for (let i = 0; i < count; i++) {
    // i < count <= length
    best = Math.max(best, ranking.scores[i]!)
    worst = Math.min(worst, ranking.scores[i]!)
  }
  const span = STRENGTH * (Number.isFinite(best - worst) && best > worst ? best - worst : 1)
  const scores = ranking.scores.slice(0, count)
  const terms = wishes.map(({ name, weight, valueOf }): ScoreTerm => {
    const values = new Float64Array(count)
    for (let i = 0; i < count; i++) {
      const value = valueOf(nodes[i]!)
      values[i] = value
      scores[i] = scores[i]! + weight * span * value
    }
    return { name, weight: weight * span, valueAt: (candidate) => values[candidate] ?? 0 }
  })
  const said = `its intent is heeded: ${intentText(intent)}`
  return {
    ...ranking,
    scores,
    terms: [...(ranking.terms ?? []), ...terms],
    reason: ranking.reason === undefined ? said : `${ranking.reason}; ${said}`,
  }
}

const isPending = (answer: Ranking | Promise<Ranking>): answer is Promise<Ranking> =>
  typeof (answer as { then?: unknown }).then === 'function'

/**
 * A policy that answers at once and heeds what the owners of pods wish; it is the policy itself for pods that wish nothing, and
 * where the policy answers later.
 */
export const heeding = (policy: Policy, intents: Intents): Policy => ({
  name: policy.name,
  version: policy.version,
  ...(policy.readsSelectors === undefined ? {} : { readsSelectors: policy.readsSelectors }),
  ...(policy.choosesDevices === undefined ? {} : { choosesDevices: policy.choosesDevices }),
  rank: (pod, candidates, context) => {
    const intent = intents.of(pod)
    const answer = policy.rank(pod, candidates, context)
    return intent === undefined || isPending(answer) ? answer : heed(answer, intent, pod, candidates, context)
  },
})
