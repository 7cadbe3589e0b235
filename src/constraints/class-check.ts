import type { Node, NodeClass, NodeIndex } from '../cluster/node.ts'
import type { PodShape } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'
import { ALLOWED, type Check, count, type Refusal, siftByVerdict, type Tally, type Verdict } from './constraint.ts'

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
  /** by class number, the first `known` are filled; empty while every class allows: there may be thousands of shapes and classes */
  table: Uint8Array
  known: number
  /** whether any class does not simply allow */
  notAllowing: boolean
  someDepend: boolean
}

const noTable = new Uint8Array(0)

const grown = (table: Uint8Array, length: number): Uint8Array => {
  const larger = new Uint8Array(length)
  larger.set(table)
  return larger
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
  #table: Uint8Array = noTable
  #someDepend = false
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
      remembered = {
        cluster,
        epoch: cluster.classEpoch,
        table: noTable,
        known: 0,
        notAllowing: false,
        someDepend: false,
      }
      this.#remembered.set(shape, remembered)
    }
    if (remembered.known < cluster.classes.length) this.#learn(remembered, shape, cluster)
    if (!remembered.notAllowing) return undefined
    this.#shape = shape
    this.#cluster = cluster
    this.#table = remembered.table
    this.#someDepend = remembered.someDepend
    this.#classOf = cluster.classOf
    return this
  }

  #learn(remembered: Remembered, shape: PodShape, { classes }: ClusterView): void {
    for (; remembered.known < classes.length; remembered.known++) {
      const nodeClass = classes[remembered.known]
      const verdict = nodeClass === undefined ? 'allows' : this.#rule.ofClass(shape, nodeClass)
      if (verdict === 'allows') continue
      if (remembered.table.length < classes.length) remembered.table = grown(remembered.table, classes.length)
      remembered.table[remembered.known] = verdict === 'depends' ? DEPENDS : REFUSED
      remembered.notAllowing = true
      if (verdict === 'depends') remembered.someDepend = true
    }
    if (remembered.notAllowing && remembered.table.length < classes.length)
      remembered.table = grown(remembered.table, classes.length)
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
    if (this.#someDepend) return siftByVerdict(this, nodes, nodeCount, tally)
    const table = this.#table
    const classOf = this.#classOf
    let kept = 0
    // No call in this loop: the engine would have to look up the table anew in each turn.
    for (let i = 0; i < nodeCount; i++) {
      // i < nodeCount <= nodes.length; see `verdict`
      const node = nodes[i]!
      if (table[classOf[node]!] === ALLOWED) nodes[kept++] = node
    }
    if (kept < nodeCount) count(tally, REFUSED, nodeCount - kept)
    return kept
  }
}
