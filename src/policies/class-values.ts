import type { NodeClass } from '../cluster/node.ts'
import type { PodShape } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'

/** One number for each node class, for pods of one shape. */
export interface ValuesByClass {
  readonly values: Float64Array
  /** whether every class has 0 */
  readonly allZero: boolean
}

interface Remembered {
  readonly cluster: ClusterView
  readonly epoch: number
  values: Float64Array
  known: number
  allZero: boolean
}

/** What a score reads from a pod's shape and a node's class alone: worked out once for each pair, then looked up. */
export class ClassValues {
  readonly #ofClass: (shape: PodShape, nodeClass: NodeClass) => number
  readonly #remembered = new WeakMap<PodShape, Remembered>()

  constructor(ofClass: (shape: PodShape, nodeClass: NodeClass) => number) {
    this.#ofClass = ofClass
  }

  for(shape: PodShape, cluster: ClusterView): ValuesByClass {
    let remembered = this.#remembered.get(shape)
    if (remembered?.cluster !== cluster || remembered.epoch !== cluster.classEpoch) {
      remembered = { cluster, epoch: cluster.classEpoch, values: new Float64Array(8), known: 0, allZero: true }
      this.#remembered.set(shape, remembered)
    }
    if (remembered.known < cluster.classes.length) this.#learn(remembered, shape, cluster)
    return remembered
  }

  #learn(remembered: Remembered, shape: PodShape, { classes }: ClusterView): void {
    if (classes.length > remembered.values.length) {
      const grown = new Float64Array(classes.length * 2)
      grown.set(remembered.values)
      remembered.values = grown
    }
    for (; remembered.known < classes.length; remembered.known++) {
      const nodeClass = classes[remembered.known]
      const value = nodeClass === undefined ? 0 : this.#ofClass(shape, nodeClass)
      remembered.values[remembered.known] = value
      if (value !== 0) remembered.allZero = false
    }
  }
}
