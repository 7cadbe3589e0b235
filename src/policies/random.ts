import type { Policy } from './policy.ts'
import { ReusedRanking, ReusedTerm } from './reused.ts'

/** Any node that is allowed, each as likely as another: what every other policy has to beat. */
export const createRandom = (): Policy => {
  const term = new ReusedTerm('chance', 1)
  const reused = new ReusedRanking([term])
  return {
    name: 'random',
    version: '1',
    rank: (_pod, { count }, { random }) => {
      const values = term.room(count)
      const scores = reused.room(count)
      for (let i = 0; i < count; i++) {
        const chance = random.next()
        values[i] = chance
        scores[i] = chance
      }
      return reused.ranking
    },
  }
}
