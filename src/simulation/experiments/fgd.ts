import { type Random, seededRandom } from '../../clock/random.ts'
import { WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import type { PodObject } from '../../cluster/objects.ts'
import { CPU } from '../../cluster/resources.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { StowageError } from '../../errors/catalogue.ts'
import { Fragmentation } from '../../policies/gpu/fragmentation.ts'
import { typicalPart, workloadOfPods } from '../../policies/gpu/workload.ts'
import { createPolicy } from '../../policies/registry.ts'
import type { SimulationObserver } from '../engine/options.ts'
import { Simulation } from '../engine/simulation.ts'
import { type OpenbPodRow, openbNode, openbPod, readOpenbRows } from '../traces/openb.ts'

/** Demand at the end of the experiment, as a share of all GPUs. */
export const FGD_DEMAND = 1.3
/** The last column of a curve: arrived demand in percent of all GPUs, rounded. */
export const FGD_LAST_COLUMN = 130
/** The column that shows who gains at the end by refusing early. */
export const FGD_EARLY_COLUMN = 95

/** What decides one run, beside the files. */
export interface FgdInput {
  /** the folder with the openb lists */
  readonly directory: string
  /** `default`, `cpu250`, ... or a file's name */
  readonly trace: string
  readonly policy: string
  readonly seed: number
}

/** One run: one list, one policy, one seed. */
export interface FgdRun {
  readonly trace: string
  readonly policy: string
  readonly seed: number
  /** of the cluster */
  readonly gpus: number
  readonly pods: number
  readonly placed: number
  /** By column (arrived GPU demand in percent of all GPUs, rounded, 0 to 130): allocated GPUs in percent of all, mean over the events of the column; null without any. */
  readonly allocationPercent: readonly (number | null)[]
  /** By column: free GPUs that are of no use to the typical workload, in percent of the free ones. */
  readonly fragmentationPercent: readonly (number | null)[]
  /** arrived GPU demand in percent when the first pod found no place; null: all did */
  readonly firstRefusalPercent: number | null
  /** of every decision: equal digests, equal runs */
  readonly digest: string
}

/** Fisher and Yates' shuffle. */
const shuffled = <T>(values: readonly T[], random: Random): T[] => {
  const result = [...values]
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.below(last + 1)
    // both are within the array
    const moved = result[last]!
    result[last] = result[other]!
    result[other] = moved
  }
  return result
}

const milliOf = ({ gpuCount, gpuMilli }: OpenbPodRow): number => gpuCount * gpuMilli

/**
 * The pods of the experiment: sorted by name, shuffled, and brought to the demand, by clones of random pods at the end (until
 * the next would pass it), or without random pods where there are too many.
 */
export const inflated = (pods: readonly OpenbPodRow[], demandMilli: number, random: Random): OpenbPodRow[] => {
  const sorted = pods.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const result = shuffled(sorted, random)
  let arrived = result.reduce((sum, pod) => sum + milliOf(pod), 0)
  while (arrived > demandMilli) {
    const [removed] = result.splice(random.below(result.length), 1)
    arrived -= removed === undefined ? 0 : milliOf(removed)
  }
  if (arrived === 0 || result.length < pods.length) return result
  for (let clone = 0; ; clone++) {
    const pod = sorted[random.below(sorted.length)]
    if (pod === undefined || arrived + milliOf(pod) > demandMilli) return result
    arrived += milliOf(pod)
    result.push({ ...pod, name: `${pod.name}-clone-${clone}` })
  }
}

/** Means of a value by column. */
class Columns {
  readonly #counts = new Int32Array(FGD_LAST_COLUMN + 1)
  readonly #sums = new Float64Array(FGD_LAST_COLUMN + 1)

  add(column: number, value: number): void {
    this.#counts[column] = (this.#counts[column] ?? 0) + 1
    this.#sums[column] = (this.#sums[column] ?? 0) + value
  }

  means(): (number | null)[] {
    return Array.from(this.#sums, (sum, column) => {
      const count = this.#counts[column] ?? 0
      return count === 0 ? null : sum / count
    })
  }
}

/**
 * The experiment of "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (Weng et
 * al., USENIX ATC 2023), which others repeat: the pods of an openb list come in random order, their demand for GPUs brought to 130 % of
 * the cluster's, none leaves, and what fits nowhere is dropped. Which workload is typical is known from the list as it is.
 * @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED, POLICY_UNKNOWN, POLICY_FAILED
 */
export const runFgd = async ({ directory, trace, policy, seed }: FgdInput): Promise<FgdRun> => {
  const rows = await readOpenbRows({ directory, podList: trace })
  const capacityMilli = rows.nodes.reduce((sum, { gpuCount }) => sum + gpuCount * WHOLE_GPU_MILLI, 0)
  if (capacityMilli === 0)
    throw new StowageError('TRACE_MALFORMED', {
      found: 'the node list has no GPU',
      expected: 'nodes with GPUs, of which the experiment measures the use',
    })
  const gpuWorkload = workloadOfPods(rows.pods)
  const measure = new Fragmentation(typicalPart(gpuWorkload))
  const random = seededRandom(seed)
  const podRandom = random.fork()
  const nodeRandom = random.fork()
  const pods = inflated(rows.pods, FGD_DEMAND * capacityMilli, podRandom)
  const allocation = new Columns()
  const fragmentation = new Columns()
  let fragmentedByNode: Float64Array | undefined
  let fragmented = 0
  let arrivedPods = 0
  let arrived = 0
  let allocated = 0
  let firstRefusalPercent: number | null = null
  const measureNode = (byNode: Float64Array, cluster: ClusterView, node: NodeIndex): void => {
    const { count, freeMilli, modelOf, models, stride } = cluster.gpus
    const freeCpuMilli = (cluster.allocatable[CPU]?.[node] ?? 0) - (cluster.requested[CPU]?.[node] ?? 0)
    // a node in use
    const gpus = measure.of(freeCpuMilli, modelOf[node]!, models, freeMilli, node * stride, count[node]!)
    fragmented += gpus - byNode[node]!
    byNode[node] = gpus
  }
  let placedOn = ''
  const observer: SimulationObserver = {
    placed: (_pod, nodeName) => {
      placedOn = nodeName
    },
    after: (step, cluster) => {
      if (fragmentedByNode === undefined) {
        fragmentedByNode = new Float64Array(cluster.nodeCapacity)
        for (const node of cluster.order.subarray(0, cluster.nodeCount)) measureNode(fragmentedByNode, cluster, node)
      }
      const pod = step === 'pod' ? pods[arrivedPods++] : undefined
      if (pod === undefined) return
      const milli = milliOf(pod)
      arrived += milli
      if (placedOn !== '') {
        allocated += milli
        measureNode(fragmentedByNode, cluster, cluster.indexOf(placedOn))
        placedOn = ''
      } else firstRefusalPercent ??= (100 * arrived) / capacityMilli
      const column = Math.round((100 * arrived) / capacityMilli)
      allocation.add(column, (100 * allocated) / capacityMilli)
      const free = capacityMilli - allocated
      if (free > 0) fragmentation.add(column, (100 * WHOLE_GPU_MILLI * fragmented) / free)
    },
  }
  // Pods that ask for the same share one spec: the simulation reads it once.
  const templates = new Map<string, PodObject>()
  const arrivals = pods.map((row, index) => {
    const { cpuMilli, gpuCount, gpuMilli, memoryMiB, models, name, qos } = row
    const key = [cpuMilli, memoryMiB, gpuCount, gpuMilli, qos, ...models].join()
    const template = templates.get(key) ?? openbPod(row, { schedulerName: 'experiment', namespace: 'default' })
    templates.set(key, template)
    return { atMs: index + 1, pod: { ...template, metadata: { ...template.metadata, name } } }
  })
  const simulation = new Simulation({
    nodes: shuffled(rows.nodes.map(openbNode), nodeRandom),
    policy: createPolicy(policy, { gpuWorkload }),
    seed,
    arrivals,
    departures: false,
    unschedulable: 'drop',
    observer,
  })
  const result = await simulation.run()
  const { placed, dropped } = result.pods
  if (placed + dropped !== pods.length)
    throw new StowageError('POLICY_FAILED', {
      found: `${policy} left ${pods.length - placed - dropped} of ${pods.length} pods without an answer`,
    })
  return {
    trace,
    policy,
    seed,
    gpus: capacityMilli / WHOLE_GPU_MILLI,
    pods: pods.length,
    placed,
    allocationPercent: allocation.means(),
    fragmentationPercent: fragmentation.means(),
    firstRefusalPercent,
    digest: result.digest,
  }
}
