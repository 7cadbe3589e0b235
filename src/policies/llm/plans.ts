import { createHash } from 'node:crypto'
import type { Clock } from '../../clock/clock.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { isAsOffered, type OfferedNode } from './offer.ts'
import { PROMPT_VERSION } from './prompt.ts'

/** What a model said of the next pods of a template, and what has become of it. */
export interface Plan {
  /** where the pods go that come next, in order */
  readonly places: OfferedNode[]
  readonly offered: readonly OfferedNode[]
  /** pods that the plan has put on each of these nodes so far, by id */
  readonly placed: Map<string, number>
  readonly confidence: number | undefined
  readonly reason: string
  /** keeps the number of the shape from being given out again while its plan lives */
  readonly pod: Pod
}

export interface PlansSettings {
  readonly enabled: boolean
  readonly ttlMs: number
  readonly maxSize: number
}

/** Longer, and the load that the model was told of has become another. */
const TTL_AT_MOST_MS = 30_000

/** Labels that differ between pods of one template. */
const OWN_LABELS = new Set([
  'statefulset.kubernetes.io/pod-name',
  'apps.kubernetes.io/pod-index',
  'batch.kubernetes.io/job-completion-index',
])

/** What is the same for pods that the model may decide on together, as one short text. */
export const classOf = (pod: Pod, model: string, intent: string): string =>
  createHash('sha256')
    .update(
      JSON.stringify([
        model,
        PROMPT_VERSION,
        pod.schedulerName,
        pod.namespace,
        pod.shape.id,
        pod.ownerUid,
        pod.priority,
        Object.entries(pod.labels).filter(([key]) => !OWN_LABELS.has(key)),
        intent,
      ]),
    )
    .digest('hex')

/** Plans by class of pods. A plan ends when it is used up, too old, or when anything but itself has changed one of its nodes. */
export class Plans {
  readonly #settings: PlansSettings
  readonly #clock: Clock
  /** least recently used first */
  readonly #plans = new Map<string, { readonly plan: Plan; readonly untilMs: number }>()

  constructor(settings: PlansSettings, clock: Clock) {
    this.#settings = settings
    this.#clock = clock
  }

  keep(key: string, plan: Plan): void {
    const { enabled, ttlMs, maxSize } = this.#settings
    if (!enabled || plan.places.length === 0) return
    this.#plans.delete(key)
    this.#plans.set(key, { plan, untilMs: this.#clock.monotonicMs() + Math.min(ttlMs, TTL_AT_MOST_MS) })
    for (const oldest of this.#plans.keys()) {
      if (this.#plans.size <= maxSize) break
      this.#plans.delete(oldest)
    }
  }

  /** The plan for pods of that class, if it still holds; else it is forgotten. */
  get(key: string, pod: Pod, cluster: ClusterView): Plan | undefined {
    const kept = this.#plans.get(key)
    if (kept === undefined) return undefined
    this.#plans.delete(key)
    const { plan, untilMs } = kept
    const holds =
      plan.places.length > 0 &&
      this.#clock.monotonicMs() < untilMs &&
      plan.offered.every((node) => isAsOffered(node, plan.placed.get(node.id) ?? 0, pod, cluster))
    if (!holds) return undefined
    this.#plans.set(key, kept)
    return plan
  }
}

/** The next place of a plan; it counts as taken. */
export const nextPlace = (plan: Plan): OfferedNode | undefined => {
  const place = plan.places.shift()
  if (place !== undefined) plan.placed.set(place.id, (plan.placed.get(place.id) ?? 0) + 1)
  return place
}
