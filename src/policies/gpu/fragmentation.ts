import { GPUS_PER_NODE_AT_MOST, WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import { allowsModel, type GpuWorkload, isShared } from './workload.ts'

/** Weights of the classes that one model of GPU may serve, summed up. */
interface Sums {
  /** [cpuRank * sizes + sizeRank]: of shares with as little cpu and as small */
  readonly shared: Float64Array
  /** [cpuRank * counts + idle]: of whole GPUs with as little cpu and as few */
  readonly whole: Float64Array
}

/**
 * How much of a node's free GPUs the pods to be expected cannot use: F_n(M) of fragmentation gradient descent (Weng et al.,
 * "Beware of Fragmentation", USENIX ATC 2023). With R_g the free part of GPU g and D_m what class m asks of each GPU, F_n(m) is
 * the sum of all R_g if m cannot run on the node for want of cpu, GPUs or the right model, or asks for no GPU; else
 * the sum of those R_g that are smaller than D_m. F_n(M) is its mean over the workload.
 *
 * The classes' weights are summed up beforehand by cpu and size, so that one node costs one look-up for each of its GPUs.
 */
export class Fragmentation {
  readonly #workload: GpuWorkload
  /** amounts of cpu that classes ask for, ascending */
  readonly #cpus: Float64Array
  /** how many different sizes of shares are at most so many thousandths */
  readonly #sizeRank: Uint16Array
  readonly #sizes: number
  readonly #mostGpus: number
  readonly #byModel: Sums[] = []

  constructor(workload: GpuWorkload) {
    this.#workload = workload
    const withGpus = workload.classes.filter(({ gpuCount }) => gpuCount > 0)
    this.#cpus = Float64Array.from(new Set(withGpus.map(({ cpuMilli }) => cpuMilli))).sort()
    const sizes = [...new Set(withGpus.filter(isShared).map(({ gpuMilli }) => gpuMilli))].sort((a, b) => a - b)
    this.#sizes = sizes.length + 1
    this.#sizeRank = Uint16Array.from({ length: WHOLE_GPU_MILLI + 1 }, (_, milli) => rankIn(sizes, milli))
    const most = withGpus.reduce((so, one) => (isShared(one) ? so : Math.max(so, one.gpuCount)), 0)
    this.#mostGpus = Math.min(most, GPUS_PER_NODE_AT_MOST)
  }

  /**
   * F_n(M) in GPUs.
   * @param model the model of the node's GPUs, by name and by number
   * @param free thousandths free of each GPU, `count` of them from `first` on; what is below 0 counts as 0
   */
  of(
    freeCpuMilli: number,
    model: number,
    models: readonly string[],
    free: Int32Array,
    first: number,
    count: number,
  ): number {
    const sums = (this.#byModel[model] ??= this.#sumsFor(models[model] ?? ''))
    const sizeRank = this.#sizeRank
    let total = 0
    let idle = 0
    let most = 0
    const end = first + count
    for (let gpu = first; gpu < end; gpu++) {
      // the caller's bounds
      const left = free[gpu]!
      if (left <= 0) continue
      total += left
      if (left >= WHOLE_GPU_MILLI) idle++
      if (left > most) most = left
    }
    if (total === 0) return 0
    const cpuRank = rankIn(this.#cpus, freeCpuMilli)
    const row = cpuRank * this.#sizes
    // ranks lie within the tables
    const whole = sums.whole[cpuRank * (this.#mostGpus + 1) + Math.min(idle, this.#mostGpus)]!
    const shared = sums.shared[row + sizeRank[Math.min(most, WHOLE_GPU_MILLI)]!]!
    let fragment = total * (1 - shared - whole)
    for (let gpu = first; gpu < end; gpu++) {
      const left = free[gpu]!
      if (left > 0 && left < WHOLE_GPU_MILLI) fragment += left * (shared - sums.shared[row + sizeRank[left]!]! + whole)
    }
    return fragment / WHOLE_GPU_MILLI
  }

  #sumsFor(model: string): Sums {
    const ranks = this.#cpus.length + 1
    const counts = this.#mostGpus + 1
    const shared = new Float64Array(ranks * this.#sizes)
    const whole = new Float64Array(ranks * counts)
    for (const one of this.#workload.classes) {
      if (one.gpuCount === 0 || !allowsModel(one, model)) continue
      for (let cpuRank = rankIn(this.#cpus, one.cpuMilli); cpuRank < ranks; cpuRank++) {
        // within the tables
        if (isShared(one))
          for (let size = this.#sizeRank[one.gpuMilli]!; size < this.#sizes; size++)
            shared[cpuRank * this.#sizes + size]! += one.weight
        else for (let idle = one.gpuCount; idle < counts; idle++) whole[cpuRank * counts + idle]! += one.weight
      }
    }
    return { shared, whole }
  }
}

/** How many of the ascending values are at most `value`. */
const rankIn = (ascending: ArrayLike<number>, value: number): number => {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >> 1
    // low <= middle < high <= length
    if (ascending[middle]! <= value) low = middle + 1
    else high = middle
  }
  return low
}
