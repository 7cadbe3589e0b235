import type { Policy, RankContext } from './policy.ts'
import type { GpuRequest } from '../cluster/gpu-request.ts'
import type { NodeIndex } from '../cluster/node.ts'
import { ReusedRanking, ReusedTerm } from './reused.ts'

/** Any node that is allowed and any of its GPUs with room, each as likely as another: what every other policy has to beat. */
export const createRandom = (): Policy => {
  const term = new ReusedTerm('chance', 1)
  const reused = new ReusedRanking([term])
  return {
    name: 'random',
    version: '2',
    choosesDevices: true,
    rank: ({ shape: { gpu } }, { nodes, count }, context) => {
      const values = term.room(count)
      const scores = reused.room(count)
      for (let i = 0; i < count; i++) {
        const chance = context.random.next()
        values[i] = chance
        scores[i] = chance
      }
      if (gpu === undefined) delete reused.ranking.devicesOf
      else reused.ranking.devicesOf = (candidate) => drawGpus(nodes[candidate] ?? -1, gpu, context)
      return reused.ranking
    },
  }
}

/** As many as are asked for of those with room; too few if there are too few. */
const drawGpus = (node: NodeIndex, { count, milli }: GpuRequest, { cluster, random }: RankContext): number[] => {
  const { freeMilli, stride, count: counts } = cluster.gpus
  const withRoom: number[] = []
  for (let gpu = 0; gpu < (counts[node] ?? 0); gpu++)
    if ((freeMilli[node * stride + gpu] ?? 0) >= milli) withRoom.push(gpu)
  const drawn: number[] = []
  while (drawn.length < count && withRoom.length > 0) drawn.push(...withRoom.splice(random.below(withRoom.length), 1))
  return drawn.sort((a, b) => a - b)
}
