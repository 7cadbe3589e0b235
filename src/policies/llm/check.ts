import { type Random, seededRandom } from '../../clock/random.ts'
import type { Clock } from '../../clock/clock.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import type { PodObject } from '../../cluster/objects.ts'
import type { Pod } from '../../cluster/pod.ts'
import { ClusterState } from '../../cluster/state.ts'
import type { Intent } from '../intents/intent.ts'
import type { Policy } from '../policy.ts'
import { ModelFailure } from './failure.ts'
import { intentQuestion } from './intent-question.ts'
import type { LanguageModel } from './language-model.ts'
import { offer } from './offer.ts'
import { placementQuestion } from './prompt.ts'

export interface CheckOptions {
  readonly model: LanguageModel
  readonly maxTokens: number
  /** for one question; more patience than the scheduler has, so that slowness is seen and not cut off */
  readonly patienceMs: number
  /** what the scheduler would have waited */
  readonly deadlineMs: number
  /** the policy that the model is compared with */
  readonly reference: Policy
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly onProgress?: (done: number, total: number) => void
}

export interface CheckReport {
  /** where a pod should go, each situation asked about in several orders */
  readonly placements: {
    readonly asked: number
    /** answers that named a node that was offered */
    readonly valid: number
    /** valid answers that named the node the reference ranks first */
    readonly agreed: number
    /** answers that differ from the first about the same situation in another order */
    readonly flipped: number
    /** pairs that could differ */
    readonly compared: number
    /** answers that came as quickly as the scheduler waits */
    readonly inTime: number
  }
  /** what owners wish, in plain words */
  readonly intents: { readonly asked: number; readonly valid: number; readonly agreed: number }
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly max: number }
  readonly promptTokens: number
  readonly completionTokens: number
  readonly dollars: number
  /** why questions failed, with how often */
  readonly failures: Readonly<Record<string, number>>
}

const SEED = 1
const SITUATIONS = 12
const ORDERS = 3
const NODES = 6
const CORES = 16
const MEMORY_GIB = 64

/** Texts with what anybody would read in them. */
const INTENTS: readonly (readonly [string, (intent: Intent) => boolean])[] = [
  ['keep near the cache, cheap nodes are fine', ({ near, spot }) => near.some((n) => n.includes('cache')) && spot > 0],
  ['spread the replicas over as many nodes as possible', ({ spread }) => spread > 0],
  ['never on spot instances, this one must not be interrupted', ({ spot }) => spot < 0],
  [
    'latency matters: quiet nodes, away from the batch jobs',
    ({ idle, away }) => idle > 0 && away.some((n) => n.includes('batch')),
  ],
  ['alle Replikate eng beisammen auf wenigen Knoten', ({ spread }) => spread < 0],
  [
    'the team likes coffee',
    ({ spread, spot, idle, near, away }) => spread === 0 && spot === 0 && idle === 0 && near.length + away.length === 0,
  ],
]

interface Situation {
  readonly cluster: ClusterState
  readonly pod: Pod
  readonly nodes: readonly NodeIndex[]
}

const podObject = (name: string, app: string, cpu: number, memoryGib: number, nodeName?: string): PodObject => ({
  metadata: {
    name,
    namespace: 'check',
    uid: name,
    labels: { app },
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: app, uid: app, controller: true }],
  },
  spec: {
    ...(nodeName === undefined ? {} : { nodeName }),
    containers: [{ name: 'main', image: app, resources: { requests: { cpu: String(cpu), memory: `${memoryGib}Gi` } } }],
  },
  status: { phase: nodeName === undefined ? 'Pending' : 'Running' },
})

const situation = (number: number, random: Random): Situation => {
  const cluster = new ClusterState()
  for (let at = 0; at < NODES; at++) {
    const name = `node-${at}`
    const labels = { 'kubernetes.io/hostname': name, 'topology.kubernetes.io/zone': `zone-${at % 3}` }
    const allocatable = { cpu: String(CORES), memory: `${MEMORY_GIB}Gi`, pods: '110' }
    cluster.applyNode(cluster.readNode({ metadata: { name, uid: name, labels }, status: { allocatable } }))
    for (let placed = random.below(6); placed > 0; placed--) {
      const peer = random.below(3) === 0
      const object = podObject(
        `${name}-${placed}`,
        peer ? 'web' : 'other',
        1 + random.below(2),
        1 + random.below(8),
        name,
      )
      cluster.applyPod(cluster.readPod(object))
    }
  }
  const pod = cluster.readPod(podObject(`asked-${number}`, 'web', 1 + random.below(3), 1 + random.below(8)))
  return { cluster, pod, nodes: [...cluster.order.subarray(0, cluster.nodeCount)] }
}

const rotated = <T>(items: readonly T[], by: number): T[] => [...items.slice(by), ...items.slice(0, by)]

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

/** Asks a model a fixed set of questions, the same each time, one after the other. Never rejects unless it is called off. */
export const checkModel = async (options: CheckOptions): Promise<CheckReport> => {
  const { clock, deadlineMs, maxTokens, model, onProgress, patienceMs, reference, signal } = options
  const random = seededRandom(SEED)
  const placements = { asked: 0, valid: 0, agreed: 0, flipped: 0, compared: 0, inTime: 0 }
  const intents = { asked: 0, valid: 0, agreed: 0 }
  const latenciesMs: number[] = []
  const failures = new Map<string, number>()
  const total = SITUATIONS * ORDERS + INTENTS.length
  const timed = async <T>(ask: () => Promise<T>): Promise<T | undefined> => {
    signal.throwIfAborted()
    const startMs = clock.monotonicMs()
    try {
      const answer = await ask()
      latenciesMs.push(clock.monotonicMs() - startMs)
      return answer
    } catch (failure) {
      if (!(failure instanceof ModelFailure)) throw failure
      failures.set(failure.message, (failures.get(failure.message) ?? 0) + 1)
      return undefined
    } finally {
      onProgress?.(placements.asked + intents.asked, total)
    }
  }
  for (let number = 0; number < SITUATIONS; number++) {
    const { cluster, nodes, pod } = situation(number, random)
    const candidates = Int32Array.from(nodes)
    const ranking = await reference.rank(pod, { nodes: candidates, count: nodes.length }, { cluster, random, signal })
    const best = ranking.scores.indexOf(Math.max(...ranking.scores.subarray(0, nodes.length)))
    const preferred = cluster.node(candidates[best] ?? 0).name
    let first: string | undefined
    for (let order = 0; order < ORDERS; order++) {
      const offered = offer(pod, rotated(nodes, order * 2), candidates, cluster, undefined)
      placements.asked++
      const answers = await timed(() =>
        model.ask(placementQuestion([{ id: 'g1', pod, pods: 1, offered }], maxTokens), patienceMs, signal),
      )
      const id = answers?.get('g1')?.ids[0]
      const chosen = offered.find((node) => node.id === id)?.name
      if (chosen === undefined) continue
      placements.valid++
      if ((latenciesMs.at(-1) ?? 0) <= deadlineMs) placements.inTime++
      if (chosen === preferred) placements.agreed++
      if (first === undefined) first = chosen
      else {
        placements.compared++
        if (chosen !== first) placements.flipped++
      }
    }
  }
  for (const [text, isRight] of INTENTS) {
    intents.asked++
    const intent = await timed(() => model.ask(intentQuestion(text, maxTokens), patienceMs, signal))
    if (intent === undefined) continue
    intents.valid++
    if (isRight(intent)) intents.agreed++
  }
  const { completionTokens, dollars, promptTokens } = model.statistics
  const sorted = latenciesMs.toSorted((a, b) => a - b)
  return {
    placements,
    intents,
    latencyMs: { p50: quantile(sorted, 0.5), p95: quantile(sorted, 0.95), max: sorted.at(-1) ?? 0 },
    promptTokens,
    completionTokens,
    dollars,
    failures: Object.fromEntries(failures),
  }
}
