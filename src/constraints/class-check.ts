import type { Node, NodeClass, NodeIndex } from '../cluster/node.ts'
import type { PodShape } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'
import { ALLOWED, type Check, count, type Refusal, type Tally, type Verdict } from './constraint.ts'

/** What a class says for all of its nodes; `depends`: each node must be asked by itself. */
export type ClassVerdict = 'allows' | 'refuses' | 'depends'

const REFUSED: Verdict = 1
/** In the table of classes only; never given out. */
const DEPENDS = 2

export interface ClassRule {
  readonly constraint: string
  readonly refusal: Refusal
  ofClass(shape: PodShape, nodeClass: NodeClass): ClassVerdict
  /** Asked only about nodes whose class depends. */
  ofNode?(shape: PodShape, node: Node): boolean
}

/** The verdicts of all classes of a cluster on pods of one shape, as far as classes have been seen. */
interface Remembered {
  readonly cluster: ClusterView
  readonly epoch: number
  /** by class number; the first `known` are filled */
  table: Uint8Array
  known: number
  /** classes that do not simply allow */
  notAllowing: number
}

/**
 * The check of a rule that looks at nothing but a pod's shape and a node's class. Each class is asked once per shape and
 * remembered; a node then costs one look into a table. One object serves one constraint for ever.
 */
export class ClassCheck implements Check {
  readonly constraint: string
  readonly refusals: readonly Refusal[]
  readonly #rule: ClassRule
  readonly #remembered = new WeakMap<PodShape, Remembered>()
  #shape: PodShape | undefined
  #cluster: ClusterView | undefined
  #table: Uint8Array = new Uint8Array(0)
  #classOf: Int32Array = new Int32Array(0)

  constructor(rule: ClassRule) {
    this.constraint = rule.constraint
    this.refusals = [rule.refusal]
    this.#rule = rule
  }

  /** This check, made ready for a shape; undefined where every class of the cluster allows it. */
  for(shape: PodShape, cluster: ClusterView): Check | undefined {
    let remembered = this.#remembered.get(shape)
    if (remembered?.cluster !== cluster || remembered.epoch !== cluster.classEpoch) {
      remembered = { cluster, epoch: cluster.classEpoch, table: new Uint8Array(8), known: 0, notAllowing: 0 }
      this.#remembered.set(shape, remembered)
    }
    if (remembered.known < cluster.classes.length) this.#learn(remembered, shape, cluster)
    if (remembered.notAllowing === 0) return undefined
    this.#shape = shape
    this.#cluster = cluster
    this.#table = remembered.table
    this.#classOf = cluster.classOf
    return this
  }

  #learn(remembered: Remembered, shape: PodShape, { classes }: ClusterView): void {
    if (classes.length > remembered.table.length) {
      const grown = new Uint8Array(classes.length * 2)
      grown.set(remembered.table)
      remembered.table = grown
    }
    for (; remembered.known < classes.length; remembered.known++) {
      const nodeClass = classes[remembered.known]
      const verdict = nodeClass === undefined ? 'allows' : this.#rule.ofClass(shape, nodeClass)
      if (verdict === 'allows') continue
      remembered.table[remembered.known] = verdict === 'depends' ? DEPENDS : REFUSED
      remembered.notAllowing++
    }
  }

  verdict(node: NodeIndex): Verdict {
    // every node in use has a class, and `for` has learnt all classes
    const verdict = this.#table[this.#classOf[node]!]!
    return verdict === DEPENDS ? this.#ask(node) : verdict
  }

  #ask(node: NodeIndex): Verdict {
    // `for` has set both before anything can be asked
    return this.#rule.ofNode?.(this.#shape!, this.#cluster!.node(node)) ? ALLOWED : REFUSED
  }

  sift(nodes: Int32Array, nodeCount: number, tally: Tally): number {
    const table = this.#table
    const classOf = this.#classOf
    let kept = 0
    for (let i = 0; i < nodeCount; i++) {
      // i < nodeCount <= nodes.length; see `verdict`
      const node = nodes[i]!
      let verdict = table[classOf[node]!]!
      if (verdict === DEPENDS) verdict = this.#ask(node)
      if (verdict === ALLOWED) nodes[kept++] = node
      else count(tally, verdict)
    }
    return kept
  }
}
