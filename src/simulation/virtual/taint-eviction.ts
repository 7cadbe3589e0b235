import type { Taint, Toleration } from '../../cluster/objects.ts'
import { tolerates } from './kubelet-admission.ts'

/** The taints that drive pods away. */
export const noExecuteTaints = (taints: readonly Taint[]): Taint[] =>
  taints.filter(({ effect }) => effect === 'NoExecute')

/**
 * How long a pod may stay on a node with these NoExecute taints, as the taint eviction controller of Kubernetes 1.37 has
 * it: not at all where one is not tolerated; for the shortest tolerationSeconds of the tolerations in use; undefined: for ever.
 */
export const evictionDelayMs = (taints: readonly Taint[], tolerations: readonly Toleration[]): number | undefined => {
  let shortestS: number | undefined
  for (const taint of taints) {
    const toleration = tolerations.find((candidate) => tolerates(candidate, taint))
    if (toleration === undefined) return 0
    const { tolerationSeconds } = toleration
    if (tolerationSeconds !== undefined)
      shortestS = Math.min(shortestS ?? Number.POSITIVE_INFINITY, Math.max(0, tolerationSeconds))
  }
  return shortestS === undefined ? undefined : shortestS * 1000
}
