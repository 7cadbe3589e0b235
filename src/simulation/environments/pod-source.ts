import type { Random } from '../../clock/random.ts'
import type { PodObject, PodSpec } from '../../cluster/objects.ts'
import { StowageError } from '../../errors/catalogue.ts'
import type { Arrival } from '../workload/arrivals.ts'
import { DURATION_ANNOTATION, parseDurationMs } from '../virtual/pod-stages.ts'

/** A pod that comes; written over by the next. */
export interface ComingPod {
  /** index into the source's templates */
  template: number
  /** since the one before */
  gapMs: number
  /** how long it stays once it is placed; Infinity: for good */
  durationMs: number
}

/** Where the pods of an episode come from. It has a state: each environment needs one of its own. */
export interface PodSource {
  /** the different pods that may come, each of which is read once */
  readonly templates: readonly PodObject[]
  /** how many come in an episode */
  readonly pods: number
  /** A new episode, which follows from the stream. */
  begin(random: Random): void
  /** @returns false: no more come */
  next(into: ComingPod): boolean
}

const durationOf = ({ metadata }: PodObject): number => {
  const text = metadata?.annotations?.[DURATION_ANNOTATION]
  return text === undefined ? Number.POSITIVE_INFINITY : parseDurationMs(text)
}

/** Nobody opens gates in an episode, and priorities without an admission plugin are what the pod says. */
const asTemplate = ({ metadata = {}, spec = {} }: PodObject): PodObject => {
  const { schedulingGates: _gates, nodeName: _node, ...rest }: PodSpec = spec
  return { metadata, spec: rest }
}

export interface DrawnPodsOptions {
  /** drawn evenly: what comes often is there often */
  readonly templates: readonly PodObject[]
  /** mean time between two pods; times are exponential */
  readonly meanGapMs: number
  /** mean life of pods whose template has no duration; lives are exponential. undefined: they stay */
  readonly meanDurationMs?: number
  /** in an episode */
  readonly pods: number
}

/** Pods of given templates in random order: a Poisson process with exponential lives, each with its template's mean. */
export class DrawnPods implements PodSource {
  readonly templates: readonly PodObject[]
  readonly pods: number
  readonly #meanGapMs: number
  readonly #meanDurationsMs: Float64Array
  #random: Random | undefined
  #left = 0

  /** @throws StowageError WORKLOAD_MALFORMED without a template; POD_MALFORMED for a duration that is none */
  constructor({ meanDurationMs, meanGapMs, pods, templates }: DrawnPodsOptions) {
    if (templates.length === 0) throw new StowageError('WORKLOAD_MALFORMED', { found: 'no pods to draw from' })
    this.templates = templates.map(asTemplate)
    this.pods = pods
    this.#meanGapMs = meanGapMs
    this.#meanDurationsMs = Float64Array.from(templates, (template) => {
      const durationMs = durationOf(template)
      return Number.isFinite(durationMs) ? durationMs : (meanDurationMs ?? durationMs)
    })
  }

  begin(random: Random): void {
    this.#random = random
    this.#left = this.pods
  }

  next(into: ComingPod): boolean {
    const random = this.#random
    if (random === undefined || this.#left === 0) return false
    this.#left--
    into.template = random.below(this.templates.length)
    into.gapMs = -this.#meanGapMs * Math.log(1 - random.next())
    // the template is below the length
    const meanMs = this.#meanDurationsMs[into.template]!
    into.durationMs = Number.isFinite(meanMs) ? -meanMs * Math.log(1 - random.next()) : meanMs
    return true
  }
}

/** Pods as a trace has them, in its order and with its gaps, from a place that is drawn on; after the last comes the first. */
export class RecordedPods implements PodSource {
  readonly templates: readonly PodObject[]
  readonly pods: number
  readonly #template: Int32Array
  readonly #gapMs: Float64Array
  readonly #durationMs: Float64Array
  #at = 0
  #left = 0

  /**
   * @param arrivals ascending by time
   * @param pods in an episode
   * @throws StowageError WORKLOAD_MALFORMED without a pod; POD_MALFORMED for a duration that is none
   */
  constructor(arrivals: readonly Arrival[], pods: number) {
    if (arrivals.length === 0) throw new StowageError('WORKLOAD_MALFORMED', { found: 'a trace without pods' })
    this.pods = pods
    const numbers = new Map<string, number>()
    const templates: PodObject[] = []
    this.#template = Int32Array.from(arrivals, ({ pod }) => {
      const template = asTemplate(pod)
      const { labels, namespace, ownerReferences } = template.metadata ?? {}
      const key = JSON.stringify([template.spec, labels, namespace, ownerReferences])
      const known = numbers.get(key)
      if (known !== undefined) return known
      numbers.set(key, templates.length)
      return templates.push(template) - 1
    })
    this.templates = templates
    this.#gapMs = Float64Array.from(arrivals, ({ atMs }, at) => Math.max(0, atMs - (arrivals[at - 1]?.atMs ?? atMs)))
    this.#durationMs = Float64Array.from(arrivals, ({ pod }) => durationOf(pod))
  }

  begin(random: Random): void {
    this.#at = random.below(this.#template.length)
    this.#left = this.pods
  }

  next(into: ComingPod): boolean {
    if (this.#left === 0) return false
    this.#left--
    const at = this.#at
    this.#at = (at + 1) % this.#template.length
    // at < length of all three
    into.template = this.#template[at]!
    into.gapMs = this.#gapMs[at]!
    into.durationMs = this.#durationMs[at]!
    return true
  }
}
