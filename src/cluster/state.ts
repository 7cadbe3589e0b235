import { StowageError } from '../errors/catalogue.ts'
import { DefaultSelectors } from './default-selectors.ts'
import type { ClusterEvent } from './events.ts'
import type { NodeGpus } from './gpu-request.ts'
import { GpuState } from './gpus.ts'
import { HOSTNAME_LABEL, type Node, type NodeClass, type NodeIndex } from './node.ts'
import { Nominations } from './nominations.ts'
import type { KubeObject, NodeObject, PodObject } from './objects.ts'
import { type HostPort, isFinished, type Labels, type Pod, podKey } from './pod.ts'
import { NodeReader } from './read-node.ts'
import { LabelTable, PodReader, sameVector } from './read-pod.ts'
import { CPU, MEMORY, ResourceNames, type ResourceVector } from './resources.ts'
import { Topology } from './topology.ts'
import type { ClusterView, UsageSource } from './view.ts'
import { VolumeState } from './volume-state.ts'

/** A pod that counts on a node. `assumed`: decided by us, not yet seen bound. */
interface Placement {
  pod: Pod
  nodeName: string
  assumed: boolean
}

/** How many changes of nodes are remembered; who is further behind looks at all nodes. */
const CHANGES_KEPT = 1024

/** What may be imagined of one node (see `ClusterState.imagine`). */
export interface Imagined {
  /** as if the pod were there */
  add(pod: Pod): void
  /** as if the pod, which is there, were not */
  remove(pod: Pod): void
}

interface Imagining {
  readonly imagined: Imagined
  /** as if nothing had been imagined */
  restore(): void
}

interface ClassEntry extends NodeClass {
  readonly key: string
  members: number
}

const NO_PORTS: readonly HostPort[] = []
const NO_GPUS: NodeGpus = { count: 0, model: '', shareable: false }
const FIRST_CAPACITY = 64
/** Numbers of node classes that no node uses any more before they are given out anew (and remembered verdicts dropped). */
const STALE_CLASSES_AT_MOST = 1024

const classKeyOf = (labels: Labels, node: Node): string =>
  JSON.stringify([Object.entries(labels), node.taints, node.unschedulable])

/**
 * The one copy of what the scheduler knows of a cluster: nodes, and the pods placed on them. Every change comes through
 * one method, changes exactly what it must, and returns what it means for waiting pods. Nothing is ever recounted, except by
 * `discrepancies`, with which tests hold the columns against the pods.
 */
export class ClusterState implements ClusterView {
  readonly resources = new ResourceNames()
  readonly volumes = new VolumeState()
  readonly gpus = new GpuState()
  readonly topology = new Topology(this)
  readonly defaultSelectors = new DefaultSelectors()
  readonly #labelTable = new LabelTable()
  readonly #podReader = new PodReader(this.resources, this.#labelTable)
  readonly #nodeReader = new NodeReader(this.resources, this.#labelTable)

  nodeCapacity = 0
  nodeCount = 0
  order = new Int32Array(0)
  allocatable: Float64Array[] = []
  requested: Float64Array[] = []
  scoringCpuMilli = new Float64Array(0)
  scoringMemoryBytes = new Float64Array(0)
  podCount = new Int32Array(0)
  maxPods = new Int32Array(0)
  generation = new Float64Array(0)
  changes = 0
  readonly changedNodes = new Int32Array(CHANGES_KEPT)
  classOf = new Int32Array(0)
  classes: (ClassEntry | undefined)[] = []
  classEpoch = 1

  readonly #nodes: (Node | undefined)[] = []
  readonly #podsOn: (Map<string, Pod> | undefined)[] = []
  readonly #ports: (readonly HostPort[])[] = []
  readonly #indexes = new Map<string, NodeIndex>()
  readonly #freeIndexes: NodeIndex[] = []
  readonly #classNumbers = new Map<string, number>()
  #staleClasses = 0
  readonly #placements = new Map<string, Placement>()
  #assumed = 0
  /** pods bound to nodes that are not (or no longer) known, by node */
  readonly #homeless = new Map<string, Set<string>>()
  readonly #nominations = new Nominations()
  /** how many pods of each priority count on known nodes */
  readonly #priorities = new Map<number, number>()
  readonly #images = new Map<string, { bytes: number; nodes: number }>()
  #measuredCpuMilli = new Float64Array(0)
  #measuredMemoryBytes = new Float64Array(0)
  #requestedCpuWhenMeasured = new Float64Array(0)
  #requestedMemoryWhenMeasured = new Float64Array(0)
  #measuredNodes = 0
  #lastGeneration = 0

  // Reading

  /** @throws StowageError POD_MALFORMED */
  readPod(object: PodObject): Pod {
    return this.#podReader.read(object)
  }

  /** @throws StowageError NODE_MALFORMED */
  readNode(object: NodeObject): Node {
    return this.#nodeReader.read(object)
  }

  node(index: NodeIndex): Node {
    const node = this.#nodes[index]
    if (node === undefined) throw new RangeError(`there is no node at index ${index}`)
    return node
  }

  indexOf(name: string): NodeIndex {
    return this.#indexes.get(name) ?? -1
  }

  podsOn(index: NodeIndex): Iterable<Pod> {
    return this.#podsOn[index]?.values() ?? []
  }

  portsOn(index: NodeIndex): readonly HostPort[] {
    return this.#ports[index] ?? NO_PORTS
  }

  nodesWithImage(image: string): number {
    return this.#images.get(image)?.nodes ?? 0
  }

  imageBytes(image: string): number {
    return this.#images.get(image)?.bytes ?? 0
  }

  get usageSource(): UsageSource {
    return this.#measuredNodes > 0 ? 'metrics.k8s.io' : 'requests'
  }

  usedCpuMilli(index: NodeIndex): number {
    return this.#used(index, CPU, this.#measuredCpuMilli, this.#requestedCpuWhenMeasured)
  }

  usedMemoryBytes(index: NodeIndex): number {
    return this.#used(index, MEMORY, this.#measuredMemoryBytes, this.#requestedMemoryWhenMeasured)
  }

  #used(index: NodeIndex, resource: number, measured: Float64Array, requestedThen: Float64Array): number {
    const requested = this.requested[resource]?.[index] ?? 0
    const value = measured[index] ?? Number.NaN
    return Number.isNaN(value) ? requested : value + Math.max(0, requested - (requestedThen[index] ?? 0))
  }

  /** Pods that count on some node, bound or assumed, and those bound to nodes that are not known. */
  get placedPods(): number {
    return this.#placements.size
  }

  /** Of the placed pods those that the API server has not shown bound yet. */
  get assumedPods(): number {
    return this.#assumed
  }

  /** Where a pod counts: its node's name, '' if nowhere. */
  placeOf(uid: string): string {
    return this.#placements.get(uid)?.nodeName ?? ''
  }

  isAssumed(uid: string): boolean {
    return this.#placements.get(uid)?.assumed ?? false
  }

  // Nodes

  /** A node that is new or has changed. */
  applyNode(node: Node): ClusterEvent[] {
    const known = this.#indexes.get(node.name)
    if (known === undefined) return this.#addNode(node)
    const before = this.node(known)
    const index = known
    const relabelled = before.labels !== node.labels
    const retainted =
      before.unschedulable !== node.unschedulable || JSON.stringify(before.taints) !== JSON.stringify(node.taints)
    if (relabelled || retainted) this.#changeTopology(index, node)
    this.#nodes[index] = node
    if (before.gpus.count !== node.gpus.count || before.gpus.model !== node.gpus.model) this.#changeGpus(index, node)
    const events: ClusterEvent[] = []
    if (!sameVector(before.allocatable, node.allocatable) || before.maxPods !== node.maxPods) {
      this.#setAllocatable(index, before.allocatable, node)
      events.push({ kind: 'NodeAllocatable', before, node, index })
    }
    if (relabelled || retainted) this.#reclassify(index, node)
    if (relabelled) events.push({ kind: 'NodeLabel', before, node, index })
    if (retainted) events.push({ kind: 'NodeTaint', before, node, index })
    if (before.declaredFeatures.join() !== node.declaredFeatures.join())
      events.push({ kind: 'NodeDeclaredFeature', before, node, index })
    const imagesChanged = !sameImages(before.imageBytes, node.imageBytes)
    if (imagesChanged) {
      this.#countImages(before, -1)
      this.#countImages(node, 1)
    }
    if (events.length > 0 || imagesChanged) this.#touch(index)
    return events
  }

  /** A node that is gone; pods bound to it are remembered in case it comes back. */
  removeNode(name: string): ClusterEvent[] {
    const index = this.#indexes.get(name)
    if (index === undefined) return []
    const node = this.node(index)
    for (const [uid, pod] of this.#podsOn[index] ?? []) {
      this.#count(index, pod, -1)
      this.volumes.unplace(pod, name)
      this.#shelter(name).add(uid)
    }
    this.topology.leave(index)
    this.#podsOn[index] = undefined
    this.#ports[index] = NO_PORTS
    this.clearUsage(name)
    this.#setAllocatable(index, node.allocatable, undefined)
    this.gpus.enter(index, NO_GPUS)
    this.#leaveClass(index)
    this.#countImages(node, -1)
    this.#nodes[index] = undefined
    this.#indexes.delete(name)
    this.#freeIndexes.push(index)
    const at = this.order.subarray(0, this.nodeCount).indexOf(index)
    this.order.copyWithin(at, at + 1, this.nodeCount)
    this.nodeCount--
    this.#touch(index)
    return [{ kind: 'NodeDelete', node }]
  }

  /** What metrics.k8s.io measured on a node. */
  applyUsage(name: string, cpuMilli: number, memoryBytes: number): void {
    const index = this.#indexes.get(name)
    if (index === undefined || !(cpuMilli >= 0) || !(memoryBytes >= 0)) return
    if (Number.isNaN(this.#measuredCpuMilli[index])) this.#measuredNodes++
    this.#measuredCpuMilli[index] = cpuMilli
    this.#measuredMemoryBytes[index] = memoryBytes
    this.#requestedCpuWhenMeasured[index] = this.requested[CPU]?.[index] ?? 0
    this.#requestedMemoryWhenMeasured[index] = this.requested[MEMORY]?.[index] ?? 0
    this.#touch(index)
  }

  /** The measurement is too old or gone: back to requests. */
  clearUsage(name: string): void {
    const index = this.#indexes.get(name)
    if (index === undefined || Number.isNaN(this.#measuredCpuMilli[index])) return
    this.#measuredNodes--
    this.#measuredCpuMilli[index] = Number.NaN
    this.#measuredMemoryBytes[index] = Number.NaN
    this.#touch(index)
  }

  // Namespaces

  /** A namespace that is new or has changed; what its labels are is all that is kept. */
  applyNamespace({ metadata = {} }: KubeObject): void {
    this.topology.applyNamespace(metadata.name ?? '', this.#labelTable.of(metadata.labels))
  }

  removeNamespace(name: string): void {
    this.topology.applyNamespace(name, undefined)
  }

  // Pods

  /**
   * A pod that is new or has changed. Only pods with a node that are not finished count; of others only where they are
   * nominated is kept.
   */
  applyPod(pod: Pod): ClusterEvent[] {
    const placement = this.#placements.get(pod.uid)
    const placed = pod.nodeName !== '' && !isFinished(pod.phase)
    if (placement === undefined) {
      if (!placed) return isFinished(pod.phase) ? this.#denominate(pod.uid, '') : freed(this.#nominations.seen(pod))
      const events = this.#denominate(pod.uid, pod.nodeName)
      this.#place(pod, pod.nodeName, false)
      events.push({ kind: 'PodAdd', pod })
      return events
    }
    if (!placed) {
      // An older view of a pod that we have decided already.
      if (placement.assumed && !isFinished(pod.phase)) return []
      return this.removePod(pod.uid)
    }
    if (placement.nodeName !== pod.nodeName) {
      const events = this.removePod(pod.uid)
      this.#place(pod, pod.nodeName, false)
      events.push({ kind: 'PodAdd', pod })
      return events
    }
    const before = placement.pod
    if (placement.assumed) this.#assumed--
    placement.assumed = false
    placement.pod = pod
    const index = this.#indexes.get(pod.nodeName)
    if (index !== undefined) {
      this.#podsOn[index]?.set(pod.uid, pod)
      if (!sameCount(before, pod) || !countsAlike(before, pod)) {
        this.#count(index, before, -1)
        this.#count(index, pod, 1)
        this.#touch(index)
      }
    }
    const events: ClusterEvent[] = []
    if (shrank(before.placedRequest, pod.placedRequest)) events.push({ kind: 'PodScaleDown', before, pod })
    if (before.labels !== pod.labels) events.push({ kind: 'PodLabel', before, pod })
    return events
  }

  /** A pod that is gone, wherever it was. */
  removePod(uid: string): ClusterEvent[] {
    const placement = this.#placements.get(uid)
    if (placement === undefined) return this.#denominate(uid, '')
    this.#placements.delete(uid)
    if (placement.assumed) this.#assumed--
    const index = this.#indexes.get(placement.nodeName)
    if (index === undefined) {
      const sheltered = this.#homeless.get(placement.nodeName)
      sheltered?.delete(uid)
      if (sheltered?.size === 0) this.#homeless.delete(placement.nodeName)
    } else {
      this.#unsettle(index, placement.pod)
      this.#touch(index)
    }
    this.gpus.forget(uid)
    return [{ kind: 'PodDelete', pod: placement.pod }]
  }

  /**
   * The pod counts on the node from now on, before the API server knows.
   * @throws StowageError INTERNAL if it counts somewhere already
   */
  assume(pod: Pod, index: NodeIndex): ClusterEvent[] {
    if (this.#placements.has(pod.uid))
      throw new StowageError('INTERNAL', {
        found: `pod ${podKey(pod)} is placed on ${this.placeOf(pod.uid)} and was assumed again`,
      })
    const { name } = this.node(index)
    const events = this.#denominate(pod.uid, name)
    this.#place(pod, name, true)
    events.push({ kind: 'PodAdd', pod })
    return events
  }

  /** Gives back what an assumed pod took; nothing if it has been seen bound meanwhile. */
  forget(uid: string): ClusterEvent[] {
    return this.isAssumed(uid) ? this.removePod(uid) : []
  }

  // Nominations

  /** Room is made for an unbound pod on that node, and kept for it from now on; '': nowhere any more. */
  nominate(pod: Pod, nodeName: string): ClusterEvent[] {
    return freed(this.#nominations.nominate(pod, nodeName))
  }

  /** Where room is kept for an unbound pod: the node's name, '' if nowhere. */
  nominationOf(uid: string): string {
    return this.#nominations.nodeOf(uid)
  }

  /** Names of nodes, known or not, with the pods of all schedulers that are nominated there, by uid. */
  get nominated(): ReadonlyMap<string, ReadonlyMap<string, Pod>> {
    return this.#nominations.byNode
  }

  /** The lowest priority of a pod on any known node; Infinity without any. */
  get lowestPriority(): number {
    let lowest = Number.POSITIVE_INFINITY
    for (const priority of this.#priorities.keys()) lowest = Math.min(lowest, priority)
    return lowest
  }

  /**
   * Asks what would be if pods came to a node or left it. When `ask` is done, everything is exactly as before. Nothing else
   * may change the state meanwhile, so it must be synchronous.
   */
  imagine<T>(index: NodeIndex, ask: (imagined: Imagined) => T): T {
    const imagining = this.#imagining(index)
    try {
      return ask(imagining.imagined)
    } finally {
      imagining.restore()
    }
  }

  /** As `imagine`, of any number of nodes at the same time: `on` gives what may be imagined of one. */
  imagineMany<T>(ask: (on: (index: NodeIndex) => Imagined) => T): T {
    const begun = new Map<NodeIndex, Imagining>()
    try {
      return ask((index) => {
        let imagining = begun.get(index)
        if (imagining === undefined) begun.set(index, (imagining = this.#imagining(index)))
        return imagining.imagined
      })
    } finally {
      for (const imagining of begun.values()) imagining.restore()
    }
  }

  #imagining(index: NodeIndex): Imagining {
    // an index in use
    const generation = this.generation[index]!
    const ports = this.portsOn(index)
    const added = new Map<string, Pod>()
    /** the pods in their order, once one has been taken away */
    let before: Map<string, Pod> | undefined
    const imagined: Imagined = {
      add: (pod) => {
        if (before?.has(pod.uid) !== true) added.set(pod.uid, pod)
        this.#settle(index, pod)
        this.#touch(index)
      },
      remove: (pod) => {
        if (!added.delete(pod.uid) && before === undefined) {
          before = new Map(this.#podsOn[index])
          for (const uid of added.keys()) before.delete(uid)
        }
        this.#unsettle(index, pod)
        this.#touch(index)
      },
    }
    const restore = (): void => {
      for (const pod of added.values()) {
        this.#unsettle(index, pod)
        if (!this.#placements.has(pod.uid)) this.gpus.forget(pod.uid)
      }
      if (before !== undefined) {
        const left = this.#podsOn[index]
        for (const pod of before.values()) if (left?.has(pod.uid) !== true) this.#settle(index, pod)
        this.#podsOn[index] = before
      }
      this.#ports[index] = ports
      this.generation[index] = generation
      this.#noteChange(index)
    }
    return { imagined, restore }
  }

  // The sum

  /**
   * Every place where the columns differ from a recount of the pods, and every node that holds more than it has. Empty
   * unless there is a bug, or somebody else overcommitted a node.
   */
  discrepancies(): { readonly miscounted: string[]; readonly overcommitted: string[] } {
    const miscounted: string[] = []
    const overcommitted: string[] = []
    for (const index of this.order.subarray(0, this.nodeCount)) {
      const { name } = this.node(index)
      const sums = new Float64Array(this.requested.length)
      let pods = 0
      for (const pod of this.podsOn(index)) {
        pods++
        pod.placedRequest.indexes.forEach((resource, i) => {
          sums[resource] = (sums[resource] ?? 0) + (pod.placedRequest.amounts[i] ?? 0)
        })
      }
      if (pods !== this.podCount[index]) miscounted.push(`${name}: ${this.podCount[index]} pods counted, ${pods} there`)
      if (pods > (this.maxPods[index] ?? 0)) overcommitted.push(`${name}: ${pods} pods of ${this.maxPods[index]}`)
      miscounted.push(...this.gpus.discrepancies(this.node(index), index, this.podsOn(index)))
      const { count, freeMilli, stride } = this.gpus
      for (let gpu = 0; gpu < (count[index] ?? 0); gpu++) {
        const free = freeMilli[index * stride + gpu] ?? 0
        if (free < 0) overcommitted.push(`${name}: GPU ${gpu} by ${-free} thousandths`)
      }
      for (const [resource, sum] of sums.entries()) {
        const counted = this.requested[resource]?.[index] ?? 0
        const resourceName = this.resources.name(resource)
        if (counted !== sum) miscounted.push(`${name}: ${resourceName} ${counted} counted, ${sum} there`)
        const room = this.allocatable[resource]?.[index] ?? 0
        if (sum > room) overcommitted.push(`${name}: ${resourceName} ${sum} of ${room}`)
      }
    }
    miscounted.push(...this.topology.discrepancies())
    return { miscounted, overcommitted }
  }

  // Within

  #addNode(node: Node): ClusterEvent[] {
    const index = this.#freeIndexes.pop() ?? this.#nodes.length
    if (index >= this.nodeCapacity) this.#grow(index + 1)
    this.#nodes[index] = node
    this.#podsOn[index] = new Map()
    this.#ports[index] = NO_PORTS
    this.#indexes.set(node.name, index)
    this.#setAllocatable(index, undefined, node)
    this.gpus.enter(index, node.gpus)
    this.#joinClass(index, node)
    this.#countImages(node, 1)
    this.topology.enter(index)
    this.order[this.nodeCount++] = index
    for (const uid of this.#homeless.get(node.name) ?? []) {
      const placement = this.#placements.get(uid)
      if (placement !== undefined) this.#settle(index, placement.pod)
    }
    this.#homeless.delete(node.name)
    this.#touch(index)
    return [{ kind: 'NodeAdd', node, index }]
  }

  #place(pod: Pod, nodeName: string, assumed: boolean): void {
    this.#placements.set(pod.uid, { pod, nodeName, assumed })
    if (assumed) this.#assumed++
    const index = this.#indexes.get(nodeName)
    if (index === undefined) this.#shelter(nodeName).add(pod.uid)
    else {
      this.#settle(index, pod)
      this.#touch(index)
    }
  }

  #settle(index: NodeIndex, pod: Pod): void {
    this.#podsOn[index]?.set(pod.uid, pod)
    if (pod.shape.hostPorts.length > 0) this.#ports[index] = [...this.portsOn(index), ...pod.shape.hostPorts]
    this.#count(index, pod, 1)
    this.volumes.place(pod, this.node(index).name)
  }

  #unsettle(index: NodeIndex, pod: Pod): void {
    this.#podsOn[index]?.delete(pod.uid)
    if (pod.shape.hostPorts.length > 0) this.#recollectPorts(index)
    this.#count(index, pod, -1)
    this.volumes.unplace(pod, this.node(index).name)
  }

  /** The pod's nomination ends, because it is placed on `nodeName` or gone (''). */
  #denominate(uid: string, nodeName: string): ClusterEvent[] {
    const ended = this.#nominations.remove(uid)
    return ended === undefined || ended.nodeName === nodeName ? [] : freed(ended.pod)
  }

  #recollectPorts(index: NodeIndex): void {
    this.#ports[index] = [...this.podsOn(index)].flatMap((pod) => pod.shape.hostPorts)
  }

  #shelter(nodeName: string): Set<string> {
    let uids = this.#homeless.get(nodeName)
    if (uids === undefined) {
      uids = new Set()
      this.#homeless.set(nodeName, uids)
    }
    return uids
  }

  #count(index: NodeIndex, pod: Pod, sign: 1 | -1): void {
    const { indexes, amounts } = pod.placedRequest
    for (let i = 0; i < indexes.length; i++) {
      // i < length of both
      const column = this.#column(this.requested, indexes[i]!)
      column[index] = column[index]! + sign * amounts[i]!
    }
    this.podCount[index] = this.podCount[index]! + sign
    const ofPriority = (this.#priorities.get(pod.priority) ?? 0) + sign
    if (ofPriority === 0) this.#priorities.delete(pod.priority)
    else this.#priorities.set(pod.priority, ofPriority)
    this.scoringCpuMilli[index] = this.scoringCpuMilli[index]! + sign * pod.placedScoringCpuMilli
    this.scoringMemoryBytes[index] = this.scoringMemoryBytes[index]! + sign * pod.placedScoringMemoryBytes
    this.topology.count(index, pod, sign)
    const { gpu } = pod.shape
    if (gpu === undefined) return
    if (sign > 0) this.gpus.place(index, pod, gpu)
    else this.gpus.unplace(index, pod, gpu)
  }

  /** The node has other GPUs than before; its pods keep those that are still there. */
  #changeGpus(index: NodeIndex, node: Node): void {
    this.gpus.enter(index, node.gpus)
    for (const pod of this.podsOn(index)) if (pod.shape.gpu !== undefined) this.gpus.place(index, pod, pod.shape.gpu)
    this.#touch(index)
  }

  #setAllocatable(index: NodeIndex, before: ResourceVector | undefined, node: Node | undefined): void {
    for (const resource of before?.indexes ?? []) this.#column(this.allocatable, resource)[index] = 0
    node?.allocatable.indexes.forEach((resource, i) => {
      this.#column(this.allocatable, resource)[index] = node.allocatable.amounts[i] ?? 0
    })
    this.maxPods[index] = node?.maxPods ?? 0
  }

  /** The column of a resource, made when the resource is first seen. */
  #column(columns: Float64Array[], resource: number): Float64Array {
    while (columns.length <= resource) columns.push(new Float64Array(this.nodeCapacity))
    // just made where it was missing
    return columns[resource]!
  }

  #grow(atLeast: number): void {
    const capacity = Math.max(FIRST_CAPACITY, atLeast, this.nodeCapacity * 2)
    const doubles = (column: Float64Array, fill = 0): Float64Array<ArrayBuffer> => {
      const grown = new Float64Array(capacity).fill(fill, column.length)
      grown.set(column)
      return grown
    }
    const integers = (column: Int32Array): Int32Array<ArrayBuffer> => {
      const grown = new Int32Array(capacity)
      grown.set(column)
      return grown
    }
    this.nodeCapacity = capacity
    this.order = integers(this.order)
    this.allocatable = this.allocatable.map((column) => doubles(column))
    this.requested = this.requested.map((column) => doubles(column))
    this.scoringCpuMilli = doubles(this.scoringCpuMilli)
    this.scoringMemoryBytes = doubles(this.scoringMemoryBytes)
    this.podCount = integers(this.podCount)
    this.maxPods = integers(this.maxPods)
    this.generation = doubles(this.generation)
    this.gpus.grow(capacity)
    this.classOf = integers(this.classOf)
    this.#measuredCpuMilli = doubles(this.#measuredCpuMilli, Number.NaN)
    this.#measuredMemoryBytes = doubles(this.#measuredMemoryBytes, Number.NaN)
    this.#requestedCpuWhenMeasured = doubles(this.#requestedCpuWhenMeasured)
    this.#requestedMemoryWhenMeasured = doubles(this.#requestedMemoryWhenMeasured)
  }

  #touch(index: NodeIndex): void {
    this.generation[index] = ++this.#lastGeneration
    this.#noteChange(index)
  }

  #noteChange(index: NodeIndex): void {
    this.changedNodes[this.changes++ % CHANGES_KEPT] = index
  }

  #joinClass(index: NodeIndex, node: Node): void {
    const shared: Record<string, string> = { ...node.labels }
    delete shared[HOSTNAME_LABEL]
    const labels = this.#labelTable.of(shared)
    const key = classKeyOf(labels, node)
    let number = this.#classNumbers.get(key)
    if (number === undefined) {
      number = this.classes.length
      this.classes.push({ labels, taints: node.taints, unschedulable: node.unschedulable, key, members: 0 })
      this.#classNumbers.set(key, number)
    }
    const entry = this.classes[number]
    if (entry !== undefined && entry.members++ === 0 && this.#wasStale.delete(number)) this.#staleClasses--
    this.classOf[index] = number
  }

  readonly #wasStale = new Set<number>()

  #leaveClass(index: NodeIndex): void {
    const number = this.classOf[index] ?? 0
    const entry = this.classes[number]
    if (entry === undefined || --entry.members > 0) return
    this.#wasStale.add(number)
    this.#staleClasses++
    if (this.#staleClasses > STALE_CLASSES_AT_MOST + this.nodeCount) this.#forgetStaleClasses()
  }

  /** The node will be another as far as topology goes: its pods leave their domains and enter others. */
  #changeTopology(index: NodeIndex, node: Node): void {
    for (const pod of this.podsOn(index)) this.topology.count(index, pod, -1)
    this.topology.leave(index)
    this.#nodes[index] = node
    this.topology.enter(index)
    for (const pod of this.podsOn(index)) this.topology.count(index, pod, 1)
  }

  #reclassify(index: NodeIndex, node: Node): void {
    this.#leaveClass(index)
    this.#joinClass(index, node)
  }

  /** Numbers classes anew, so that labels which change for ever do not fill the memory. */
  #forgetStaleClasses(): void {
    const kept = this.classes.filter((entry) => entry !== undefined && entry.members > 0)
    const renumbered = new Map(kept.map((entry, number) => [entry, number]))
    for (const index of this.order.subarray(0, this.nodeCount))
      this.classOf[index] = renumbered.get(this.classes[this.classOf[index] ?? 0]) ?? 0
    this.classes = kept
    this.#classNumbers.clear()
    for (const [entry, number] of renumbered) if (entry !== undefined) this.#classNumbers.set(entry.key, number)
    this.#staleClasses = 0
    this.#wasStale.clear()
    this.classEpoch++
  }

  #countImages(node: Node, sign: 1 | -1): void {
    for (const [name, bytes] of node.imageBytes) {
      const entry = this.#images.get(name)
      if (entry === undefined) {
        if (sign > 0) this.#images.set(name, { bytes, nodes: 1 })
      } else {
        entry.nodes += sign
        if (entry.nodes === 0) this.#images.delete(name)
      }
    }
  }
}

/** A nomination has changed or ended: as if a pod had left, for those from whom its room was kept. */
const freed = (pod: Pod | undefined): ClusterEvent[] =>
  pod === undefined ? [] : [{ kind: 'PodDelete', pod, keptFromPriority: pod.priority }]

const sameImages = (a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean => {
  if (a.size !== b.size) return false
  for (const [name, bytes] of a) if (b.get(name) !== bytes) return false
  return true
}

/** Whether rules about other pods' whereabouts, and its GPUs, see the same in both. */
const countsAlike = (a: Pod, b: Pod): boolean =>
  a.labels === b.labels &&
  a.deleting === b.deleting &&
  a.shape === b.shape &&
  (b.gpuDevices === undefined || a.gpuDevices?.join() === b.gpuDevices.join())

const sameCount = (a: Pod, b: Pod): boolean =>
  sameVector(a.placedRequest, b.placedRequest) &&
  a.placedScoringCpuMilli === b.placedScoringCpuMilli &&
  a.placedScoringMemoryBytes === b.placedScoringMemoryBytes

/** Whether any resource of a placed pod became less. */
const shrank = (before: ResourceVector, after: ResourceVector): boolean =>
  before !== after &&
  before.indexes.some((resource, i) => {
    const at = after.indexes.indexOf(resource)
    return (at < 0 ? 0 : (after.amounts[at] ?? 0)) < (before.amounts[i] ?? 0)
  })
