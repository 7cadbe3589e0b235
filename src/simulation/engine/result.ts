import type { Conservation } from '../../scheduling/ports.ts'
import type { Disruption } from './events.ts'

/** Of many values; 0 where there are none. */
export interface Spread {
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

/** Shares 0-1 of what all nodes have together. `gpu`: thousandths of single GPUs; 0 where there are none. */
export interface Shares {
  readonly cpu: number
  readonly memory: number
  readonly gpu: number
}

/** The cluster at one moment of a run. */
export interface Sample extends Shares {
  readonly atMs: number
  readonly nodes: number
  /** pods that want a node and have none, gated ones left out */
  readonly pending: number
  readonly running: number
  /** GPUs, summed over nodes, in thousandths of one GPU; undefined where nobody measures fragmentation */
  readonly fragmentedGpuMilli?: number
}

/** What came of a run. All of it follows from the options and the seed, to the bit. */
export interface SimulationResult {
  readonly policy: string
  readonly seed: number
  /** SHA-256 over every decision in its order: pod, attempt, time, outcome, node and GPUs. Equal digests: equal runs. */
  readonly digest: string
  /** simulated time from the start to the end, in which everything below is an average */
  readonly durationMs: number
  /** attempts of the scheduler that ended in a decision */
  readonly decisions: number
  readonly pods: {
    /** from outside, those that were there at the start included */
    readonly arrived: number
    /** that controllers made in place of disrupted ones */
    readonly remade: number
    /** placements: a pod that was remade counts again */
    readonly placed: number
    readonly completed: number
    /** on a node at the end */
    readonly running: number
    /** without a node at the end, gated ones left out */
    readonly pending: number
    readonly gated: number
    /** refused once and given up (`unschedulable: 'drop'`) */
    readonly dropped: number
    /** deleted from outside */
    readonly gone: number
    /** disrupted, and nobody made them again: no controller owns them */
    readonly lost: number
  }
  readonly nodes: {
    readonly atStart: number
    readonly atEnd: number
    readonly most: number
    /** averaged over time */
    readonly mean: number
    readonly addedByAutoscaler: number
    readonly removedByAutoscaler: number
    readonly failed: number
    readonly spotReclaimed: number
  }
  /** pods that left their nodes before their end, by why */
  readonly disruptions: Readonly<Record<Disruption, number>>
  /** milliseconds from a pod's arrival (or the opening of its gates) to its placement, of all placements; those that wait still are not in it */
  readonly pendingMs: Spread
  /** milliseconds for which the pods have waited that wait at the end */
  readonly stillPendingMs: Spread
  /** requested of allocatable, averaged over time */
  readonly utilisation: Shares
  /** the largest at any moment */
  readonly peakUtilisation: Shares
  readonly finalUtilisation: Shares
  /** standard deviation of the nodes' own shares, averaged over time; `gpu` over nodes with GPUs */
  readonly imbalance: Shares
  /** share of all GPUs that is free and of no use to the workload given (FGD's F over the capacity), averaged over time; undefined without one */
  readonly fragmentation: number | undefined
  readonly finalFragmentation: number | undefined
  /** pods that wait, averaged over time, and the most at any moment */
  readonly pendingPods: { readonly mean: number; readonly most: number }
  /** pods on each node, at the end */
  readonly podsPerNode: { readonly mean: number; readonly most: number; readonly emptyNodes: number }
  /** why pods wait at the end: the scheduler's words without counts, the most frequent first */
  readonly waitingBecause: readonly { readonly reason: string; readonly pods: number }[]
  /** evenly spaced in simulated time, `SimulationOptions.samples` of them at most */
  readonly series: readonly Sample[]
  /** the scheduler's own account of the pods, and what differs from a recount: both lists are empty unless there is a bug */
  readonly conservation: Conservation
  readonly discrepancies: { readonly miscounted: readonly string[]; readonly overcommitted: readonly string[] }
}
