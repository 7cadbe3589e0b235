/** How fast replicas may come or go. */
export interface ScalingPolicy {
  readonly kind: 'pods' | 'percent'
  readonly value: number
  readonly periodMs: number
}

/** What Kubernetes lets one configure of a HorizontalPodAutoscaler (autoscaling/v2), with its defaults. */
export interface AutoscalerOptions {
  readonly minReplicas: number
  readonly maxReplicas: number
  /** the utilisation to hold, as a share of what a pod requests: 0.8 is `averageUtilization: 80` */
  readonly target: number
  /** @default 0.1, as kube-controller-manager's --horizontal-pod-autoscaler-tolerance */
  readonly tolerance?: number | undefined
  /** how often it looks @default 15_000 */
  readonly syncMs?: number | undefined
  /** the largest wish of so long counts before replicas go @default 300_000 */
  readonly downStabilisationMs?: number | undefined
  /** the smallest wish of so long counts before replicas come @default 0 */
  readonly upStabilisationMs?: number | undefined
  /** the one that allows most counts @default 4 pods or 100 %, whichever is more, in 15 s */
  readonly up?: readonly ScalingPolicy[] | undefined
  /** @default 100 % in 15 s */
  readonly down?: readonly ScalingPolicy[] | undefined
}

export const DEFAULT_SYNC_MS = 15_000
const DEFAULT_TOLERANCE = 0.1
const DEFAULT_DOWN_STABILISATION_MS = 300_000
const DEFAULT_UP: readonly ScalingPolicy[] = [
  { kind: 'pods', value: 4, periodMs: 15_000 },
  { kind: 'percent', value: 100, periodMs: 15_000 },
]
const DEFAULT_DOWN: readonly ScalingPolicy[] = [{ kind: 'percent', value: 100, periodMs: 15_000 }]

/** What it sees when it looks. */
export interface AutoscalerView {
  readonly nowMs: number
  /** replicas that are wanted now */
  readonly current: number
  /** use of what each ready pod requests, as a share */
  readonly utilisations: readonly number[]
  /** pods that do not take requests yet */
  readonly unready: number
}

interface Change {
  readonly atMs: number
  readonly replicas: number
}

/**
 * Kubernetes' HorizontalPodAutoscaler: desired = ceil(ready replicas * metric / target) unless that is within the tolerance;
 * pods that are not ready count as idle when more are wanted; then stabilisation, then the policies, then the bounds
 * (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/, pkg/controller/podautoscaler).
 */
export class HorizontalAutoscaler {
  readonly #options: Required<{ [Key in keyof AutoscalerOptions]: NonNullable<AutoscalerOptions[Key]> }>
  #wishes: Change[] = []
  #came: Change[] = []
  #went: Change[] = []

  constructor(options: AutoscalerOptions) {
    const { minReplicas, maxReplicas, target } = options
    this.#options = {
      minReplicas,
      maxReplicas,
      target,
      tolerance: options.tolerance ?? DEFAULT_TOLERANCE,
      syncMs: options.syncMs ?? DEFAULT_SYNC_MS,
      downStabilisationMs: options.downStabilisationMs ?? DEFAULT_DOWN_STABILISATION_MS,
      upStabilisationMs: options.upStabilisationMs ?? 0,
      up: options.up ?? DEFAULT_UP,
      down: options.down ?? DEFAULT_DOWN,
    }
  }

  get syncMs(): number {
    return this.#options.syncMs
  }

  /** How many replicas there should be from now on. Called every `syncMs`, and what it says is done. */
  desired(view: AutoscalerView): number {
    const { current, nowMs } = view
    const { maxReplicas, minReplicas } = this.#options
    const bounded = (replicas: number): number => Math.min(maxReplicas, Math.max(minReplicas, replicas))
    // As Kubernetes: out of bounds is mended at once, and 0 means that it is switched off.
    if (current === 0) return 0
    if (current !== bounded(current)) return this.#changed(nowMs, current, bounded(current))
    const stable = this.#stabilised(nowMs, current, bounded(this.#wish(view)))
    return this.#changed(nowMs, current, bounded(this.#limited(nowMs, current, stable)))
  }

  #wish({ current, unready, utilisations }: AutoscalerView): number {
    const { target, tolerance } = this.#options
    const ready = utilisations.length
    // nobody has measured anything yet
    if (ready === 0) return current
    const sum = utilisations.reduce((total, utilisation) => total + utilisation, 0)
    const ratio = sum / ready / target
    if (unready === 0 || ratio <= 1) return Math.abs(1 - ratio) <= tolerance ? current : Math.ceil(ratio * ready)
    const withIdle = sum / (ready + unready) / target
    if (Math.abs(1 - withIdle) <= tolerance || withIdle < 1) return current
    return Math.max(current, Math.ceil(withIdle * (ready + unready)))
  }

  #stabilised(nowMs: number, current: number, wish: number): number {
    const { downStabilisationMs, upStabilisationMs } = this.#options
    const longest = Math.max(downStabilisationMs, upStabilisationMs)
    this.#wishes = this.#wishes.filter(({ atMs }) => atMs > nowMs - longest)
    this.#wishes.push({ atMs: nowMs, replicas: wish })
    let least = wish
    let most = wish
    for (const { atMs, replicas } of this.#wishes) {
      if (atMs > nowMs - upStabilisationMs) least = Math.min(least, replicas)
      if (atMs > nowMs - downStabilisationMs) most = Math.max(most, replicas)
    }
    return Math.min(Math.max(current, least), most)
  }

  #limited(nowMs: number, current: number, wanted: number): number {
    const { down, up } = this.#options
    const within = (changes: readonly Change[], periodMs: number): number =>
      changes.reduce((sum, { atMs, replicas }) => (atMs > nowMs - periodMs ? sum + replicas : sum), 0)
    if (wanted > current) {
      const limits = up.map(({ kind, periodMs, value }) => {
        const before = current - within(this.#came, periodMs)
        return kind === 'pods' ? before + value : Math.ceil(before * (1 + value / 100))
      })
      return Math.max(current, Math.min(wanted, Math.max(...limits)))
    }
    const limits = down.map(({ kind, periodMs, value }) => {
      const before = current + within(this.#went, periodMs)
      return kind === 'pods' ? before - value : Math.floor(before * (1 - value / 100))
    })
    return Math.min(current, Math.max(wanted, Math.min(...limits)))
  }

  #changed(nowMs: number, current: number, wanted: number): number {
    const { down, up } = this.#options
    const kept = (changes: readonly Change[], policies: readonly ScalingPolicy[]): Change[] => {
      const longest = Math.max(0, ...policies.map(({ periodMs }) => periodMs))
      return changes.filter(({ atMs }) => atMs > nowMs - longest)
    }
    this.#came = kept(this.#came, up)
    this.#went = kept(this.#went, down)
    if (wanted > current) this.#came.push({ atMs: nowMs, replicas: wanted - current })
    if (wanted < current) this.#went.push({ atMs: nowMs, replicas: current - wanted })
    return wanted
  }
}
