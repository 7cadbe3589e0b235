import type { Pod, PodShape } from '../../cluster/pod.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { demandKey, demandOf, type GpuClass, type GpuWorkload, workloadOf } from './workload.ts'

/** After so many further pods a pod counts half: old enough for rare kinds to be known, young enough to follow a change of days. */
const HALF_LIFE_PODS = 8192
/** Kinds counted at once; beyond, the rarer half is forgotten. A trace of 8,152 pods has 91. */
const CLASSES_AT_MOST = 1024
/** Pods that are recognised when they are asked about again. */
const PODS_REMEMBERED = 16_384
/** The estimate is looked over at the latest after so many new pods. */
const PODS_BETWEEN_LOOKS = 256
/** Share of the expected pods that must have become others (total variation) for the workload to be a new one. */
const DRIFT = 0.05
/** Weights grow with each pod, so that the older ones need not be touched; beyond this they are all brought down. */
const GREATEST_INCREMENT = 1e9

interface Counted {
  readonly demand: Omit<GpuClass, 'weight'>
  count: number
  /** its weight in the workload given out */
  given: number
}

const GROWTH = 2 ** (1 / HALF_LIFE_PODS)

/**
 * The workload of a cluster, estimated from the pods seen: those placed when it is asked first, and each pod that comes,
 * once, however often it is tried. Old pods fade by number of pods, not by time. The workload stays the same object
 * until the distribution has drifted, so that what was worked out for it can be kept.
 */
export class WorkloadEstimate {
  readonly #keys = new WeakMap<PodShape, string>()
  readonly #counted = new Map<string, Counted>()
  readonly #seen = new Set<string>()
  #cluster: ClusterView | undefined
  #increment = 1
  #pods = 0
  #unlooked = 0
  #workload: GpuWorkload = { classes: [] }

  /** Counts the pod, if it is new, and says what is to be expected. */
  observe(pod: Pod, cluster: ClusterView): GpuWorkload {
    if (this.#cluster !== cluster) this.#begin(cluster)
    if (this.#seen.has(pod.uid)) return this.#workload
    this.#remember(pod.uid)
    this.#count(pod.shape)
    this.#increment *= GROWTH
    if (this.#increment > GREATEST_INCREMENT) this.#bringDown()
    this.#unlooked++
    if (this.#unlooked >= Math.min(PODS_BETWEEN_LOOKS, this.#pods / 8)) this.#look()
    return this.#workload
  }

  #begin(cluster: ClusterView): void {
    this.#cluster = cluster
    this.#counted.clear()
    this.#seen.clear()
    this.#increment = 1
    this.#pods = 0
    this.#workload = { classes: [] }
    for (let i = 0; i < cluster.nodeCount; i++)
      // i < nodeCount <= length
      for (const { shape } of cluster.podsOn(cluster.order[i]!)) this.#count(shape)
    // The next pod makes it look.
    this.#unlooked = this.#pods
  }

  #remember(uid: string): void {
    if (this.#seen.size >= PODS_REMEMBERED)
      for (const oldest of this.#seen) {
        this.#seen.delete(oldest)
        break
      }
    this.#seen.add(uid)
  }

  #count(shape: PodShape): void {
    this.#pods++
    let key = this.#keys.get(shape)
    if (key === undefined) {
      key = demandKey(demandOf(shape))
      this.#keys.set(shape, key)
    }
    const known = this.#counted.get(key)
    if (known !== undefined) {
      known.count += this.#increment
      return
    }
    if (this.#counted.size >= CLASSES_AT_MOST) this.#forgetRare()
    this.#counted.set(key, { demand: demandOf(shape), count: this.#increment, given: 0 })
  }

  #forgetRare(): void {
    const counts = Float64Array.from(this.#counted.values(), ({ count }) => count).sort()
    // in the middle of a list that is full
    const median = counts[counts.length >> 1]!
    let left = this.#counted.size
    for (const [key, { count }] of this.#counted)
      if (count <= median && left > CLASSES_AT_MOST / 2) {
        this.#counted.delete(key)
        left--
      }
  }

  #bringDown(): void {
    for (const counted of this.#counted.values()) counted.count /= this.#increment
    this.#increment = 1
  }

  /** A new workload if this one is no longer true. */
  #look(): void {
    this.#unlooked = 0
    let sum = 0
    let given = 0
    for (const { count, given: before } of this.#counted.values()) {
      sum += count
      given += before
    }
    // Kinds that were forgotten have gone to others.
    let moved = 1 - given
    for (const { count, given: before } of this.#counted.values()) moved += Math.abs(count / sum - before)
    if (moved / 2 <= DRIFT) return
    const classes: GpuClass[] = []
    for (const counted of this.#counted.values()) {
      counted.given = counted.count / sum
      classes.push({ ...counted.demand, weight: counted.given })
    }
    this.#workload = workloadOf(classes)
  }
}

/** Where a policy has its workload from: the one that was given to it, else what it sees. */
export const expectedWorkload = (given: GpuWorkload | undefined): ((pod: Pod, cluster: ClusterView) => GpuWorkload) => {
  if (given !== undefined) {
    const workload = workloadOf(given.classes)
    return () => workload
  }
  const estimate = new WorkloadEstimate()
  return (pod, cluster) => estimate.observe(pod, cluster)
}
