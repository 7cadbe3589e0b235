import { nodeTermMatches, termNeedsNode } from '../cluster/labels.ts'
import type { Node, NodeIndex } from '../cluster/node.ts'
import type { Pod, PodShape } from '../cluster/pod.ts'
import { amountOf, CPU, MEMORY } from '../cluster/resources.ts'
import { isTolerated } from '../cluster/tolerations.ts'
import type { ClusterView } from '../cluster/view.ts'
import { ClassValues, type ValuesByClass } from './class-values.ts'
import {
  balancedAllocation,
  IMAGE_MIN_BYTES,
  imageLocality,
  imageWorth,
  MAX_NODE_SCORE,
  normalized,
  resourceScore,
} from './kube-scores.ts'
import { type NodeMemo, NodeMemos } from './node-memos.ts'
import { PodAffinityScore } from './pod-affinity-score.ts'
import type { Candidates, Policy, RankContext, Ranking } from './policy.ts'
import { NodeTerm, ReusedRanking, ReusedTerm } from './reused.ts'
import { SpreadScore } from './spread-score.ts'
import { scoreVolumes } from './volume-score.ts'

/** Weights of kube-scheduler's default profile. */
export const WEIGHTS = {
  TaintToleration: 3,
  NodeAffinity: 2,
  NodeResourcesFit: 1,
  VolumeBinding: 1,
  PodTopologySpread: 2,
  InterPodAffinity: 2,
  NodeResourcesBalancedAllocation: 1,
  ImageLocality: 1,
} as const

const noColumn = new Float64Array(0)

// What concerns a pod beyond what concerns every pod.
const BALANCE = 1
const PREFERRED_NODES = 2
const SPREAD = 4
const POD_AFFINITY = 8
const VOLUMES = 16

const addTo = (scores: Float64Array, { values, weight }: ReusedTerm, count: number): void => {
  // i < count = length of both
  for (let i = 0; i < count; i++) scores[i]! += weight * values[i]!
}

/** Images of a pod that a memo has a bit for. */
const IMAGE_BITS = 32

/**
 * kube-scheduler's scores as one policy: the addends under the names of its plugins, in their order and with its weights.
 * Among equals the scheduler takes the first candidate (kube-scheduler one that follows from its heap's order).
 */
export class KubeScoring implements Policy {
  readonly name: string
  readonly version = '1.37'
  readonly readsSelectors = true
  readonly #scoreOf: (requested: number, capacity: number) => number
  readonly #memos = new NodeMemos()
  readonly #untolerated = new ClassValues(
    ({ tolerations }, { taints }) =>
      taints.filter((taint) => taint.effect === 'PreferNoSchedule' && !isTolerated(tolerations, taint)).length,
  )
  readonly #preference = new ClassValues(({ preferredTerms }, { labels }) => {
    let sum = 0
    for (const { weight, preference } of preferredTerms)
      if (!termNeedsNode(preference) && nodeTermMatches(preference, labels, '')) sum += weight
    return sum
  })
  readonly #taints = new ReusedTerm('TaintToleration', WEIGHTS.TaintToleration)
  readonly #affinity = new ReusedTerm('NodeAffinity', WEIGHTS.NodeAffinity)
  readonly #fit = new NodeTerm('NodeResourcesFit', WEIGHTS.NodeResourcesFit)
  readonly #volumes = new ReusedTerm('VolumeBinding', WEIGHTS.VolumeBinding)
  readonly #spread = new ReusedTerm('PodTopologySpread', WEIGHTS.PodTopologySpread)
  readonly #podAffinity = new ReusedTerm('InterPodAffinity', WEIGHTS.InterPodAffinity)
  readonly #balance = new NodeTerm('NodeResourcesBalancedAllocation', WEIGHTS.NodeResourcesBalancedAllocation)
  readonly #images = new ReusedTerm('ImageLocality', WEIGHTS.ImageLocality)
  /** what each image of the pod counts where it is, at the current ranking */
  #worth = new Float64Array(0)
  readonly #spreadScore = new SpreadScore()
  readonly #podAffinityScore = new PodAffinityScore()
  /** kube-scheduler leaves out the plugins that do not concern a pod: by which do */
  readonly #rankings: (ReusedRanking | undefined)[] = []

  /** @param scoreOf how NodeResourcesFit judges one resource: `leastAllocatedOf` or `mostAllocatedOf` */
  constructor(name: string, scoreOf: (requested: number, capacity: number) => number) {
    this.name = name
    this.#scoreOf = scoreOf
  }

  #rankingOf(concerns: number): ReusedRanking {
    let ranking = this.#rankings[concerns]
    if (ranking === undefined) {
      const terms = [
        this.#taints,
        ...((concerns & PREFERRED_NODES) === 0 ? [] : [this.#affinity]),
        this.#fit,
        ...((concerns & VOLUMES) === 0 ? [] : [this.#volumes]),
        ...((concerns & SPREAD) === 0 ? [] : [this.#spread]),
        ...((concerns & POD_AFFINITY) === 0 ? [] : [this.#podAffinity]),
        ...((concerns & BALANCE) === 0 ? [] : [this.#balance]),
        this.#images,
      ]
      ranking = new ReusedRanking(terms)
      this.#rankings[concerns] = ranking
    }
    return ranking
  }

  rank(pod: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const { shape } = pod
    const asksForRoom = amountOf(shape.request, CPU) > 0 || amountOf(shape.request, MEMORY) > 0
    const hasPreference = shape.preferredTerms.length > 0
    const spreads = this.#spreadScore.score(pod, nodes, count, cluster, this.#spread.room(count))
    const mindsPods = this.#podAffinityScore.score(pod, nodes, count, cluster, this.#podAffinity.room(count))
    const bindsVolumes = scoreVolumes(pod, nodes, count, cluster, this.#volumes.room(count))
    const reused = this.#rankingOf(
      (asksForRoom ? BALANCE : 0) |
        (hasPreference ? PREFERRED_NODES : 0) |
        (spreads ? SPREAD : 0) |
        (mindsPods ? POD_AFFINITY : 0) |
        (bindsVolumes ? VOLUMES : 0),
    )
    const scores = reused.room(count)
    const untolerated = this.#untolerated.for(shape, cluster)
    const base = untolerated.allZero ? WEIGHTS.TaintToleration * MAX_NODE_SCORE : 0
    this.#scoreRoom(shape, nodes, count, cluster, asksForRoom, base, scores)
    if (untolerated.allZero) this.#taints.same(MAX_NODE_SCORE)
    else this.#scoreTaints(untolerated, nodes, count, cluster, scores)
    if (hasPreference) this.#scoreAffinity(shape, nodes, count, cluster, scores)
    if (bindsVolumes) addTo(scores, this.#volumes, count)
    if (spreads) addTo(scores, this.#spread, count)
    if (mindsPods) addTo(scores, this.#podAffinity, count)
    this.#scoreImages(shape, nodes, count, cluster, scores)
    return reused.ranking
  }

  /** What depends on the node alone, out of the memo; sets the scores to `base` and that, to which the others add. */
  #scoreRoom(
    shape: PodShape,
    nodes: Int32Array,
    count: number,
    cluster: ClusterView,
    asksForRoom: boolean,
    base: number,
    scores: Float64Array,
  ): void {
    const memo = this.#memos.for(shape, cluster)
    const { balance, fit, room, stale } = memo
    for (let i = 0; i < count && stale.count > 0; i++) {
      // i < count <= nodes.length; nodes in use lie within each column
      const node = nodes[i]!
      if (stale.flags[node] !== 0) this.#workOut(memo, node, shape, asksForRoom, cluster)
    }
    this.#fit.take(fit, nodes)
    this.#balance.take(balance, nodes)
    // A loop of its own: the call above would make it half as fast.
    // as above
    for (let i = 0; i < count; i++) scores[i] = base + room[nodes[i]!]!
  }

  #workOut(memo: NodeMemo, node: NodeIndex, shape: PodShape, asksForRoom: boolean, cluster: ClusterView): void {
    const cpuCapacity = (cluster.allocatable[CPU] ?? noColumn)[node] ?? 0
    const memoryCapacity = (cluster.allocatable[MEMORY] ?? noColumn)[node] ?? 0
    memo.fit[node] = resourceScore(
      this.#scoreOf,
      (cluster.scoringCpuMilli[node] ?? 0) + shape.scoringCpuMilli,
      cpuCapacity,
      (cluster.scoringMemoryBytes[node] ?? 0) + shape.scoringMemoryBytes,
      memoryCapacity,
    )
    memo.balance[node] = balancedAllocation(
      (cluster.requested[CPU] ?? noColumn)[node] ?? 0,
      amountOf(shape.request, CPU),
      cpuCapacity,
      (cluster.requested[MEMORY] ?? noColumn)[node] ?? 0,
      amountOf(shape.request, MEMORY),
      memoryCapacity,
    )
    memo.images[node] = imagesOn(cluster.node(node), shape.images)
    memo.room[node] =
      WEIGHTS.NodeResourcesFit * (memo.fit[node] ?? 0) +
      (asksForRoom ? WEIGHTS.NodeResourcesBalancedAllocation * (memo.balance[node] ?? 0) : 0)
    memo.stale.done(node)
  }

  /** The fewer PreferNoSchedule taints the pod does not tolerate, the better. */
  #scoreTaints(
    { values: untolerated }: ValuesByClass,
    nodes: Int32Array,
    count: number,
    { classOf }: ClusterView,
    scores: Float64Array,
  ): void {
    const values = this.#taints.room(count)
    let max = 0
    for (let i = 0; i < count; i++) {
      // i < count; every class is known to ClassValues
      const taints = untolerated[classOf[nodes[i]!]!]!
      values[i] = taints
      if (taints > max) max = taints
    }
    for (let i = 0; i < count; i++) {
      const score = max === 0 ? MAX_NODE_SCORE : MAX_NODE_SCORE - normalized(values[i]!, max)
      values[i] = score
      scores[i]! += WEIGHTS.TaintToleration * score
    }
  }

  /** The more weight of preferred terms matches, the better. */
  #scoreAffinity(shape: PodShape, nodes: Int32Array, count: number, cluster: ClusterView, scores: Float64Array): void {
    const { values: byClass, allZero } = this.#preference.for(shape, cluster)
    const ofNodes = shape.preferredTerms.filter(({ preference }) => termNeedsNode(preference))
    const values = this.#affinity.room(count)
    const { classOf } = cluster
    let max = 0
    for (let i = 0; i < count; i++) {
      // i < count; every class is known to ClassValues
      const node = nodes[i]!
      let sum = allZero ? 0 : byClass[classOf[node]!]!
      if (ofNodes.length > 0) {
        const { labels, name } = cluster.node(node)
        for (const { weight, preference } of ofNodes) if (nodeTermMatches(preference, labels, name)) sum += weight
      }
      values[i] = sum
      if (sum > max) max = sum
    }
    for (let i = 0; i < count; i++) {
      const score = max === 0 ? 0 : normalized(values[i]!, max)
      values[i] = score
      scores[i]! += WEIGHTS.NodeAffinity * score
    }
  }

  /** Nodes that have the pod's images already are better; comes after `#scoreRoom`, which keeps the memo. */
  #scoreImages(shape: PodShape, nodes: Int32Array, count: number, cluster: ClusterView, scores: Float64Array): void {
    const { images } = shape
    if (this.#worth.length < images.length) this.#worth = new Float64Array(images.length)
    let atMost = 0
    for (let at = 0; at < images.length; at++) {
      const image = images[at] ?? ''
      const worth = imageWorth(cluster.imageBytes(image), cluster.nodesWithImage(image), cluster.nodeCount)
      this.#worth[at] = worth
      atMost += worth
    }
    if (atMost <= IMAGE_MIN_BYTES) {
      this.#images.same(0)
      return
    }
    const values = this.#images.room(count)
    const memo = this.#memos.for(shape, cluster)
    let lastMask = 0
    let lastScore = 0
    for (let i = 0; i < count; i++) {
      // i < count; nodes in use lie within the memo
      const node = nodes[i]!
      if (images.length > IMAGE_BITS) lastScore = this.#scoreOfImages(images, cluster.node(node))
      else if (memo.images[node] !== lastMask) {
        lastMask = memo.images[node]!
        lastScore = this.#scoreOfImages(images, cluster.node(node))
      }
      values[i] = lastScore
      scores[i]! += WEIGHTS.ImageLocality * lastScore
    }
  }

  #scoreOfImages(images: readonly string[], { imageBytes }: Node): number {
    let sum = 0
    for (let at = 0; at < images.length; at++) if (imageBytes.has(images[at] ?? '')) sum += this.#worth[at] ?? 0
    return imageLocality(sum, images.length)
  }
}

/** Bit i: the node has image number i. */
const imagesOn = ({ imageBytes }: Node, images: readonly string[]): number => {
  let mask = 0
  if (imageBytes.size > 0)
    for (let i = 0; i < images.length && i < IMAGE_BITS; i++) if (imageBytes.has(images[i] ?? '')) mask |= 1 << i
  return mask
}
