import type { NodeClass } from '../cluster/node.ts'
import type { PodShape } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'

/** One number for each node class, for pods of one shape. */
export interface ValuesByClass {
  /** by class number; empty if `allZero`: there may be thousands of shapes and classes */
  readonly values: Float64Array
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
      remembered = { cluster, epoch: cluster.classEpoch, values: noValues, known: 0, allZero: true }
      this.#remembered.set(shape, remembered)
    }
    if (remembered.known < cluster.classes.length) this.#learn(remembered, shape, cluster)
    return remembered
  }

  #learn(remembered: Remembered, shape: PodShape, { classes }: ClusterView): void {
    for (; remembered.known < classes.length; remembered.known++) {
      const nodeClass = classes[remembered.known]
      const value = nodeClass === undefined ? 0 : this.#ofClass(shape, nodeClass)
      if (value === 0) continue
      if (remembered.values.length < classes.length) remembered.values = grown(remembered.values, classes.length)
      remembered.values[remembered.known] = value
      remembered.allZero = false
    }
    if (!remembered.allZero && remembered.values.length < classes.length)
      remembered.values = grown(remembered.values, classes.length)
  }
}

const noValues = new Float64Array(0)

const grown = (values: Float64Array, length: number): Float64Array => {
  const larger = new Float64Array(length)
  larger.set(values)
  return larger
}
