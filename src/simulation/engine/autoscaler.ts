import type { Timer } from '../../clock/clock.ts'
import type { PodObject } from '../../cluster/objects.ts'
import type { Pod } from '../../cluster/pod.ts'
import { ClusterState } from '../../cluster/state.ts'
import { ALLOWED, type Check, type Constraint, isPodRefusal } from '../../constraints/constraint.ts'
import { createConstraints } from '../../constraints/registry.ts'
import type { NodeShape } from '../workload/node-shapes.ts'
import { simulatedNode } from './simulated-node.ts'
import type { AutoscalerOptions } from './options.ts'

const MOST_ADDED = 100
const REACT_MS = 10_000
const START_MS = 60_000
export const IDLE_MS = 600_000
/** A pod for which so many nodes came, and which is on none of them, gets no more: something else keeps it waiting. */
const NODES_FOR_ONE = 3
/** Pods looked at in one go: the rest is looked at when these are placed. */
const PODS_AT_MOST = 2000

/** What the autoscaler sees of a simulation and does to it. */
export interface AutoscaledCluster {
  nowMs(): number
  /** pods that were refused by every node, and since when they wait (wall-clock of the simulation) */
  waiting(): Iterable<{ readonly pod: PodObject; readonly sinceMs: number }>
  after(delayMs: number, run: () => void): Timer
  /** A node joins. */
  add(shape: NodeShape): void
}

/**
 * Finds out how many nodes would be needed by placing what waits on imaginary nodes, first fit, by the real constraints, as
 * Cluster Autoscaler's estimator does: nodes that are on their way first, then new ones of the first shape that takes the pod.
 * Affinity between pods is seen among the imaginary nodes only.
 */
export class Autoscaler {
  readonly #options: AutoscalerOptions
  readonly #cluster: AutoscaledCluster
  readonly #starting: NodeShape[] = []
  /** how many nodes were ordered because of a pod, by uid */
  readonly #ordered = new Map<string, number>()
  #armed = false
  #made = 0
  #added = 0

  constructor(options: AutoscalerOptions, cluster: AutoscaledCluster) {
    this.#options = options
    this.#cluster = cluster
  }

  /** A pod was refused by every node. */
  refused(): void {
    if (this.#armed) return
    this.#armed = true
    this.#cluster.after(this.#options.reactMs ?? REACT_MS, () => {
      this.#armed = false
      this.#look()
    })
  }

  /** One of the added nodes is gone. */
  removed(): void {
    this.#added--
    for (const _ of this.#cluster.waiting()) {
      this.refused()
      return
    }
  }

  #look(): void {
    const { mostAdded = MOST_ADDED, reactMs = REACT_MS, startMs = START_MS } = this.#options
    const nowMs = this.#cluster.nowMs()
    const imagined = new ImaginedNodes(this.#starting)
    let looked = 0
    let early = false
    for (const { pod, sinceMs } of this.#cluster.waiting()) {
      if (nowMs - sinceMs < reactMs) {
        early = true
        continue
      }
      if (looked++ >= PODS_AT_MOST) break
      if (imagined.place(pod) || this.#added + imagined.made.length >= mostAdded) continue
      const uid = pod.metadata?.uid ?? ''
      const ordered = this.#ordered.get(uid) ?? 0
      if (ordered < NODES_FOR_ONE && imagined.placeOnNew(pod, this.#options.shapes)) this.#ordered.set(uid, ordered + 1)
    }
    for (const shape of imagined.made) {
      const named: NodeShape = { ...shape, name: `${shape.name}-auto-${this.#made++}` }
      this.#added++
      this.#starting.push(named)
      this.#cluster.after(startMs, () => {
        this.#starting.splice(this.#starting.indexOf(named), 1)
        this.#cluster.add(named)
      })
    }
    if (early) this.refused()
  }
}

/** Nodes that are not there yet, and what would go on them. */
class ImaginedNodes {
  readonly made: NodeShape[] = []
  readonly #state = new ClusterState()
  readonly #constraints: readonly Constraint[] = createConstraints()
  #nodes = 0
  #pods = 0

  constructor(starting: readonly NodeShape[]) {
    for (const shape of starting) this.#add(shape)
  }

  /** Puts the pod on the first node that takes it, in the order of their coming. @returns false if none does */
  place(object: PodObject): boolean {
    const pod = this.#read(object)
    const checks: Check[] = []
    for (const constraint of this.#constraints) {
      const prepared = constraint.prepare(pod, this.#state)
      if (prepared === undefined) continue
      if (isPodRefusal(prepared)) return false
      checks.push(prepared)
    }
    for (const node of this.#state.order.subarray(0, this.#state.nodeCount)) {
      if (checks.some((check) => check.verdict(node) !== ALLOWED)) continue
      this.#state.assume({ ...pod, nodeName: this.#state.node(node).name }, node)
      return true
    }
    return false
  }

  /** Adds a node of the first shape that takes the pod. @returns false if none does */
  placeOnNew(object: PodObject, shapes: readonly NodeShape[]): boolean {
    for (const shape of shapes) {
      const name = this.#add(shape)
      if (this.place(object)) {
        this.made.push(shape)
        return true
      }
      this.#state.removeNode(name)
    }
    return false
  }

  #add(shape: NodeShape): string {
    const name = `imagined-${this.#nodes++}`
    this.#state.applyNode(this.#state.readNode(simulatedNode({ ...shape, name }, name)))
    return name
  }

  #read(object: PodObject): Pod {
    const uid = `imagined-${this.#pods++}`
    return this.#state.readPod({ ...object, metadata: { ...object.metadata, uid } })
  }
}
