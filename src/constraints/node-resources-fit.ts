import type { Node, NodeIndex } from '../cluster/node.ts'
import type { PodShape } from '../cluster/pod.ts'
import { amountOf, CPU, MEMORY, noResources, ResourceNames, type ResourceVector } from '../cluster/resources.ts'
import type { ClusterView } from '../cluster/view.ts'
import { ALLOWED, type Check, type Constraint, count, type Refusal, type Tally, type Verdict } from './constraint.ts'

export const NodeResourcesFit = 'NodeResourcesFit'
export const REASON_TOO_MANY_PODS = 'Too many pods'
export const REASON_INSUFFICIENT = 'Insufficient '

/** `Insufficient cpu` */
export const insufficient = (resource: string): string => `${REASON_INSUFFICIENT}${resource}`

/** What a pod does not ask for is not checked, even on a node that is overcommitted: this fits any room. */
const NOT_ASKED = Number.NEGATIVE_INFINITY

/** With so many steps at most, verdicts are looked up by sets of them: a table of 1,024. */
const STEPS_IN_SETS = 10

/**
 * The combinations of reasons met so far for pods of one shape. A verdict names a combination; one more reason leads from it
 * to the verdict of the larger one. So every reason is kept, and only combinations that occur take room.
 */
class Combinations {
  readonly refusals: Refusal[] = []
  /** what each step adds: first too many pods, then each requested resource, last (nothing to say) that eviction cannot help */
  readonly #reasons: readonly (string | undefined)[]
  /** next[verdict * steps + step], 0 while that combination has not occurred */
  #next: Int32Array
  /** the verdict of a set of steps, one bit each, 0 while it has not occurred; empty where there are too many sets */
  readonly bySteps: Int32Array

  constructor({ indexes }: ResourceVector, resources: ResourceNames) {
    const ofResources = Array.from(indexes, (resource) => insufficient(resources.name(resource)))
    this.#reasons = [REASON_TOO_MANY_PODS, ...ofResources, undefined]
    this.#next = new Int32Array(this.#reasons.length * 4)
    this.bySteps = new Int32Array(this.#reasons.length <= STEPS_IN_SETS ? 1 << this.#reasons.length : 0)
  }

  /** All of the steps of a set, one after another. */
  ofSteps(steps: number): Verdict {
    let verdict = ALLOWED
    for (let bits = steps; bits !== 0; bits &= bits - 1) verdict = this.with(verdict, 31 - Math.clz32(bits & -bits))
    this.bySteps[steps] = verdict
    return verdict
  }

  with(verdict: Verdict, step: number): Verdict {
    const at = verdict * this.#reasons.length + step
    const known = this.#next[at] ?? 0
    return known === 0 ? this.#add(at, verdict, step) : known
  }

  #add(at: number, verdict: Verdict, step: number): Verdict {
    const smaller = verdict === ALLOWED ? [] : (this.refusals[verdict - 1]?.reasons ?? [])
    const reason = this.#reasons[step]
    this.refusals.push(
      reason === undefined
        ? { reasons: smaller, preemptionCouldHelp: false }
        : { reasons: [...smaller, reason], preemptionCouldHelp: true },
    )
    const added = this.refusals.length
    const needed = (added + 1) * this.#reasons.length
    if (needed > this.#next.length) {
      const grown = new Int32Array(needed * 2)
      grown.set(this.#next)
      this.#next = grown
    }
    this.#next[at] = added
    return added
  }
}

class NodeResourcesFitCheck implements Check {
  readonly constraint = NodeResourcesFit
  readonly #combinations = new WeakMap<PodShape, Combinations>()
  #current = new Combinations(noResources, new ResourceNames())
  #request = noResources
  #allocatable: readonly Float64Array[] = []
  #requested: readonly Float64Array[] = []
  /** stands in for columns of resources that no node has */
  #zeros = new Float64Array(0)
  // The columns and amounts of the two resources that nearly every pod asks for, and of all the others.
  #podCount: Int32Array = new Int32Array(0)
  #maxPods: Int32Array = new Int32Array(0)
  #cpuAllocatable: Float64Array = this.#zeros
  #cpuRequested: Float64Array = this.#zeros
  #cpuMilli = NOT_ASKED
  #memoryAllocatable: Float64Array = this.#zeros
  #memoryRequested: Float64Array = this.#zeros
  #memoryBytes = NOT_ASKED
  /** the nodes that the last sifting refused, in some order */
  #refused = new Int32Array(0)
  /** of every resource that is asked for, in the order of the request, while refused nodes are counted */
  readonly #askedAllocatable: Float64Array[] = []
  readonly #askedRequested: Float64Array[] = []
  readonly #otherAllocatable: Float64Array[] = []
  readonly #otherRequested: Float64Array[] = []
  readonly #otherAmounts: number[] = []

  get refusals(): readonly Refusal[] {
    return this.#current.refusals
  }

  for(shape: PodShape, cluster: ClusterView): this {
    this.#request = shape.request
    let combinations = this.#combinations.get(shape)
    if (combinations === undefined) {
      combinations = new Combinations(shape.request, cluster.resources)
      this.#combinations.set(shape, combinations)
    }
    this.#current = combinations
    if (this.#zeros.length < cluster.nodeCapacity) this.#zeros = new Float64Array(cluster.nodeCapacity)
    const { allocatable, requested } = cluster
    this.#allocatable = allocatable
    this.#requested = requested
    this.#podCount = cluster.podCount
    this.#maxPods = cluster.maxPods
    this.#cpuMilli = NOT_ASKED
    this.#memoryBytes = NOT_ASKED
    this.#cpuAllocatable = allocatable[CPU] ?? this.#zeros
    this.#cpuRequested = requested[CPU] ?? this.#zeros
    this.#memoryAllocatable = allocatable[MEMORY] ?? this.#zeros
    this.#memoryRequested = requested[MEMORY] ?? this.#zeros
    this.#otherAmounts.length = 0
    this.#otherAllocatable.length = 0
    this.#otherRequested.length = 0
    const { indexes, amounts } = shape.request
    for (let i = 0; i < indexes.length; i++) {
      // i < length of both
      const resource = indexes[i]!
      const amount = amounts[i]!
      if (resource === CPU) this.#cpuMilli = amount
      else if (resource === MEMORY) this.#memoryBytes = amount
      else {
        this.#otherAmounts.push(amount)
        this.#otherAllocatable.push(allocatable[resource] ?? this.#zeros)
        this.#otherRequested.push(requested[resource] ?? this.#zeros)
      }
    }
    return this
  }

  verdict(node: NodeIndex): Verdict {
    const { indexes, amounts } = this.#request
    const combinations = this.#current
    let verdict = ALLOWED
    let beyondHelp = false
    // node is in use, so it lies within each column
    if (this.#podCount[node]! >= this.#maxPods[node]!) verdict = combinations.with(verdict, 0)
    for (let i = 0; i < indexes.length; i++) {
      // i < length of both
      const resource = indexes[i]!
      const amount = amounts[i]!
      const room = this.#allocatable[resource]?.[node] ?? 0
      if (amount <= room - (this.#requested[resource]?.[node] ?? 0)) continue
      verdict = combinations.with(verdict, i + 1)
      if (amount > room) beyondHelp = true
    }
    return beyondHelp ? combinations.with(verdict, indexes.length + 1) : verdict
  }

  sift(nodes: Int32Array, nodeCount: number, tally: Tally): number {
    const podCount = this.#podCount
    const maxPods = this.#maxPods
    const cpuAllocatable = this.#cpuAllocatable
    const cpuRequested = this.#cpuRequested
    const cpuMilli = this.#cpuMilli
    const memoryAllocatable = this.#memoryAllocatable
    const memoryRequested = this.#memoryRequested
    const memoryBytes = this.#memoryBytes
    if (this.#refused.length < nodeCount) this.#refused = new Int32Array(nodeCount)
    const refused = this.#refused
    let kept = 0
    let refusals = 0
    // No call in this loop: the engine would have to look up every column anew in each turn.
    for (let i = 0; i < nodeCount; i++) {
      // i < nodeCount <= nodes.length, and nodes in use lie within each column
      const node = nodes[i]!
      if (
        podCount[node]! < maxPods[node]! &&
        cpuMilli <= cpuAllocatable[node]! - cpuRequested[node]! &&
        memoryBytes <= memoryAllocatable[node]! - memoryRequested[node]!
      ) {
        // Nodes stay where they are until the first is refused.
        if (refusals > 0) nodes[kept] = node
        kept++
      } else refused[refusals++] = node
    }
    for (let r = 0; r < this.#otherAmounts.length; r++) {
      // r < length of all three
      const amount = this.#otherAmounts[r]!
      const allocatable = this.#otherAllocatable[r]!
      const requested = this.#otherRequested[r]!
      const left = kept
      kept = 0
      for (let i = 0; i < left; i++) {
        // as above
        const node = nodes[i]!
        if (amount <= allocatable[node]! - requested[node]!) nodes[kept++] = node
        else refused[refusals++] = node
      }
    }
    if (refusals > 0) this.#countRefused(refusals, tally)
    return kept
  }

  /** As `verdict` of each of the refused: on a full cluster these are nearly all, and few of their reasons differ. */
  #countRefused(refusals: number, tally: Tally): void {
    const refused = this.#refused
    const combinations = this.#current
    const { bySteps } = combinations
    const { amounts, indexes } = this.#request
    const podCount = this.#podCount
    const maxPods = this.#maxPods
    const allocatable = this.#askedAllocatable
    const requested = this.#askedRequested
    for (let r = 0; r < amounts.length; r++) {
      // r < length
      const resource = indexes[r]!
      allocatable[r] = this.#allocatable[resource] ?? this.#zeros
      requested[r] = this.#requested[resource] ?? this.#zeros
    }
    const beyondHelp = 2 << amounts.length
    for (let i = 0; i < refusals; i++) {
      // i < refusals <= length, r < length of all three, and nodes in use lie within each column
      const node = refused[i]!
      if (bySteps.length === 0) {
        count(tally, this.verdict(node))
        continue
      }
      let steps = podCount[node]! < maxPods[node]! ? 0 : 1
      for (let r = 0; r < amounts.length; r++) {
        const amount = amounts[r]!
        const room = allocatable[r]![node]!
        if (amount <= room - requested[r]![node]!) continue
        steps |= 2 << r
        if (amount > room) steps |= beyondHelp
      }
      const known = bySteps[steps]!
      count(tally, known === ALLOWED ? combinations.ofSteps(steps) : known)
    }
  }
}

/** The node has room for the pod if nothing else is there. */
const fitsEmpty = ({ request }: PodShape, { allocatable, maxPods }: Node): boolean =>
  maxPods > 0 && request.indexes.every((resource, i) => (request.amounts[i] ?? 0) <= amountOf(allocatable, resource))

const offersMore = ({ request }: PodShape, before: Node, after: Node): boolean =>
  after.maxPods > before.maxPods ||
  request.indexes.some((resource) => amountOf(after.allocatable, resource) > amountOf(before.allocatable, resource))

const frees = ({ request }: PodShape, before: ResourceVector, after: ResourceVector): boolean =>
  request.indexes.some((resource) => amountOf(after, resource) < amountOf(before, resource))

/** The pod's request must fit into what the node has left, and the node must have a pod slot left. */
export const createNodeResourcesFit = (): Constraint => {
  const check = new NodeResourcesFitCheck()
  return {
    name: NodeResourcesFit,
    isLocal: true,
    prepare: (pod, cluster) => check.for(pod.shape, cluster),
    wakesOn: ['PodDelete', 'PodScaleDown', 'SelfScaleDown', 'NodeAdd', 'NodeAllocatable'],
    couldHelp: (pod, event) => {
      switch (event.kind) {
        case 'PodDelete':
        case 'SelfScaleDown':
          return true
        case 'PodScaleDown':
          return frees(pod.shape, event.before.placedRequest, event.pod.placedRequest)
        case 'NodeAdd':
          return fitsEmpty(pod.shape, event.node)
        case 'NodeAllocatable':
          return fitsEmpty(pod.shape, event.node) && offersMore(pod.shape, event.before, event.node)
        default:
          return false
      }
    },
  }
}
