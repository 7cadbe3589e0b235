import type { PodShape } from '../../cluster/pod.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { demandOf } from './workload.ts'

/** Kinds of pods for which nodes are remembered; the one unused for longest gives way. openb has 91, most of them rare: more save no time. */
const DEMANDS = 64
/** No generation of a node. */
export const NEVER = -1

/** What was worked out for one kind of pod on each node; `generation[node]` says for which state of the node. */
export interface NodeMemo {
  readonly generation: Float64Array
}

/**
 * What depends on what a pod asks for and on one node, kept until the node changes: between two pods of a kind few nodes
 * do. Kinds are told apart by cpu and GPUs alone, so that templates that differ in anything else share their memo.
 */
export class DemandMemos<Memo extends NodeMemo> {
  readonly #create: (nodes: number) => Memo
  readonly #memos = new Map<string, Memo>()
  readonly #keys = new WeakMap<PodShape, string>()
  #cluster: ClusterView | undefined
  #nodes = 0

  /** @param create makes one with room for so many nodes, none of them known */
  constructor(create: (nodes: number) => Memo) {
    this.#create = create
  }

  clear(): void {
    this.#memos.clear()
  }

  for(shape: PodShape, cluster: ClusterView): Memo {
    if (this.#cluster !== cluster || this.#nodes < cluster.nodeCapacity) {
      this.clear()
      this.#cluster = cluster
      this.#nodes = cluster.nodeCapacity
    }
    let key = this.#keys.get(shape)
    if (key === undefined) {
      const { cpuMilli, gpuMilli, gpuCount } = demandOf(shape)
      key = `${cpuMilli}|${gpuMilli}|${gpuCount}`
      this.#keys.set(shape, key)
    }
    let memo = this.#memos.get(key)
    if (memo === undefined) {
      memo = this.#take()
      memo.generation.fill(NEVER)
    } else this.#memos.delete(key)
    this.#memos.set(key, memo)
    return memo
  }

  /** One that is free, or the one that was not asked for longest. */
  #take(): Memo {
    if (this.#memos.size >= DEMANDS)
      for (const [key, memo] of this.#memos) {
        this.#memos.delete(key)
        return memo
      }
    return this.#create(this.#nodes)
  }
}
