import { mostAllocatedOf } from './kube-scores.ts'
import { KubeScoring } from './kube-scoring.ts'
import type { Policy } from './policy.ts'

/** kube-default, but full nodes first, so that others stay empty for large pods or can be switched off. Looks at requests. */
export const createMostAllocated = (): Policy => new KubeScoring('most_allocated', mostAllocatedOf)
