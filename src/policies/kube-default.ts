import { leastAllocatedOf } from './kube-scores.ts'
import { KubeScoring } from './kube-scoring.ts'
import type { Policy } from './policy.ts'

/** Places as kube-scheduler does by default: onto the node that has most room left. Looks at requests. */
export const createKubeDefault = (): Policy => new KubeScoring('kube-default', leastAllocatedOf)
