import type { ClusterView } from '../../cluster/view.ts'

/** How much of a resource is taken. Millicores for cpu, bytes for memory and storage, else the resource's own unit. */
export interface Allocation {
  readonly resource: string
  readonly requested: number
  readonly allocatable: number
  /** 0-100, one decimal */
  readonly percent: number
}

/** What the pods on the nodes of a cluster request, by resource; resources that no node offers are left out. */
export const allocations = (cluster: ClusterView): Allocation[] => {
  const result: Allocation[] = []
  const row = (resource: string, of: ArrayLike<number> | undefined, in_: ArrayLike<number> | undefined): void => {
    let requested = 0
    let allocatable = 0
    for (let i = 0; i < cluster.nodeCount; i++) {
      const node = cluster.order[i] ?? 0
      requested += of?.[node] ?? 0
      allocatable += in_?.[node] ?? 0
    }
    if (allocatable > 0)
      result.push({ resource, requested, allocatable, percent: Math.round((1000 * requested) / allocatable) / 10 })
  }
  for (let index = 0; index < cluster.resources.size; index++) {
    row(cluster.resources.name(index), cluster.requested[index], cluster.allocatable[index])
  }
  row('pods', cluster.podCount, cluster.maxPods)
  return result
}
