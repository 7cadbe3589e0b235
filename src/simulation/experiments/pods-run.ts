import { seededRandom } from '../../clock/random.ts'
import { CPU } from '../../cluster/resources.ts'
import { ClusterState } from '../../cluster/state.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { Fragmentation } from '../../policies/gpu/fragmentation.ts'
import { demandOf, typicalPart, workloadOfPods } from '../../policies/gpu/workload.ts'
import type { Policy } from '../../policies/policy.ts'
import { createPolicy } from '../../policies/registry.ts'
import type { Arrival } from '../workload/arrivals.ts'
import type { SimulationOptions } from '../engine/options.ts'
import { Simulation } from '../engine/simulation.ts'
import { type FiveGScenario, fiveGWorkload } from '../load/five-g.ts'
import { meanPodLatencyMs } from '../load/network-latency.ts'
import { type NodeShape, nodeShapes } from '../workload/node-shapes.ts'
import { openbNode, readOpenb, readOpenbRows } from '../traces/openb.ts'
import { readTrace } from '../traces/recorded.ts'
import { type Replay, replayOf } from '../traces/replay.ts'
import { syntheticWorkload, workloadPriorityClasses } from '../workload/workload.ts'
import type { CellHeatMap, CellResult, CellSeries } from './cell.ts'
import type { Metric } from './record.ts'

/** The nodes of an experiment. */
export type ClusterInput =
  | { readonly kind: 'shapes'; readonly shapes: readonly string[]; readonly nodes: number | undefined }
  | { readonly kind: 'openb'; readonly directory: string; readonly nodeList: string }
  /** those of the recorded trace that the pods come from */
  | { readonly kind: 'recorded'; readonly file: string }

/** The pods of an experiment. */
export type PodsInput =
  | { readonly kind: 'synthetic'; readonly pods: number; readonly spanMs: number }
  | {
      readonly kind: 'openb'
      readonly directory: string
      readonly podList: string
      readonly spanMs: number
      readonly departures: boolean
    }
  /** what a live cluster was asked for, with what happened to its nodes */
  | { readonly kind: 'recorded'; readonly file: string }
  /** networks of 5G functions, on nodes that are near or far */
  | {
      readonly kind: 'five_g'
      readonly scenario: FiveGScenario
      readonly networks: number
      readonly spanMs: number
    }

/** One run: pods come to a cluster that one policy serves. */
export interface PodsRunInput {
  readonly cluster: ClusterInput
  readonly pods: PodsInput
  readonly policy: string
  readonly seed: number
  /** whether it is also kept what was on each node when */
  readonly heatMap: boolean
}

/** What such runs are measured by. */
export const PODS_METRICS: readonly Metric[] = [
  { name: 'cpu_utilisation', label: 'Requested CPU, mean over time', unit: '% of capacity', better: 'higher' },
  { name: 'memory_utilisation', label: 'Requested memory, mean over time', unit: '% of capacity', better: 'higher' },
  { name: 'gpu_utilisation', label: 'Allocated GPUs, mean over time', unit: '% of capacity', better: 'higher' },
  { name: 'cpu_imbalance', label: 'CPU imbalance of nodes (sd)', unit: 'percentage points', better: 'lower' },
  { name: 'memory_imbalance', label: 'Memory imbalance of nodes (sd)', unit: 'percentage points', better: 'lower' },
  { name: 'gpu_imbalance', label: 'GPU imbalance of nodes (sd)', unit: 'percentage points', better: 'lower' },
  { name: 'fragmentation', label: 'Fragmented GPUs, mean over time', unit: '% of capacity', better: 'lower' },
  { name: 'network_latency', label: 'Network latency to pods, mean over time', unit: 'ms', better: 'lower' },
  { name: 'pending_mean', label: 'Time to placement, mean', unit: 's', better: 'lower' },
  { name: 'pending_p95', label: 'Time to placement, 95th percentile', unit: 's', better: 'lower' },
  { name: 'pending_pods', label: 'Pods that wait, mean over time', unit: 'pods', better: 'lower' },
  { name: 'placed_pods', label: 'Placements', unit: 'pods', better: 'higher' },
  { name: 'unplaced_pods', label: 'Pods without a node at the end', unit: 'pods', better: 'lower' },
  { name: 'empty_nodes', label: 'Nodes without pods at the end', unit: 'nodes', better: 'higher' },
  { name: 'disruptions', label: 'Pods disrupted', unit: 'pods', better: 'lower' },
]

/** The nodes. @throws StowageError CONFIG_INVALID_VALUE, FILE_UNREADABLE, TRACE_MALFORMED */
export const nodesOf = async (cluster: ClusterInput): Promise<NodeShape[]> => {
  if (cluster.kind === 'shapes') return nodeShapes(cluster.shapes, cluster.nodes)
  if (cluster.kind === 'recorded') return [...replayOf(await readTrace(cluster.file), 'arrivals').nodes]
  const { nodes } = await readOpenbRows({ directory: cluster.directory, nodeList: cluster.nodeList })
  return nodes.map(openbNode)
}

type Load = Required<Pick<SimulationOptions, 'nodes' | 'arrivals' | 'objects' | 'departures' | 'speed'>> &
  Pick<SimulationOptions, 'remake' | 'untilMs'> & { readonly events?: Replay['events'] }

/** @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED */
const loadOf = async (pods: PodsInput, nodes: readonly NodeShape[], seed: number): Promise<Load> => {
  if (pods.kind === 'synthetic') {
    const arrivals = syntheticWorkload({
      pods: pods.pods,
      spanMs: pods.spanMs,
      random: seededRandom(seed),
      nodes,
      schedulerName: 'experiment',
    })
    return { nodes, arrivals, objects: [...workloadPriorityClasses], departures: true, speed: 1 }
  }
  if (pods.kind === 'five_g') {
    const { networks, scenario, spanMs } = pods
    const random = seededRandom(seed)
    const made = fiveGWorkload({ scenario, nodes, networks, spanMs, random, schedulerName: 'experiment' })
    return { ...made, objects: [], departures: true, speed: 1 }
  }
  if (pods.kind === 'recorded') {
    const { arrivals, durationMs, events, objects } = replayOf(await readTrace(pods.file), 'arrivals')
    // Whoever was made again is in the record.
    return { nodes, arrivals, objects, events, departures: true, speed: 1, remake: false, untilMs: durationMs }
  }
  const { directory, departures, podList, spanMs } = pods
  const { arrivals, speed } = await readOpenb({ directory, podList, spanMs, departures, schedulerName: 'experiment' })
  return { nodes, arrivals, objects: [], departures, speed }
}

/** F_n(M) over the pods that come, in thousandths of GPUs; undefined where none asks for a GPU. */
const fragmentationOf = (arrivals: readonly Arrival[]): SimulationOptions['fragmentation'] => {
  const reader = new ClusterState()
  const demands = arrivals.map(({ pod }, index) =>
    demandOf(reader.readPod({ ...pod, metadata: { ...pod.metadata, uid: String(index) } }).shape),
  )
  if (!demands.some(({ gpuCount }) => gpuCount > 0)) return undefined
  const measure = new Fragmentation(typicalPart(workloadOfPods(demands)))
  return (cluster, node) => {
    const { count, freeMilli, modelOf, models, stride } = cluster.gpus
    const freeCpuMilli = (cluster.allocatable[CPU]?.[node] ?? 0) - (cluster.requested[CPU]?.[node] ?? 0)
    // a node in use
    return 1000 * measure.of(freeCpuMilli, modelOf[node]!, models, freeMilli, node * stride, count[node]!)
  }
}

/** Whether the node offers any, whole or in thousandths. */
export const hasGpus = ({ allocatable }: NodeShape): boolean =>
  Object.keys(allocatable).some((name) => /\/gpu/.test(name))

const ROWS_AT_MOST = 100
const COLUMNS_AT_MOST = 120

/** Keeps how much of each node was taken when, of its GPUs where any node has some (then only such nodes are shown), else of its cpu: at even times, half of which go whenever there are too many. */
class HeatMapObserver {
  readonly #gpus: boolean
  readonly #names: readonly string[]
  readonly #perRow: number
  #everyMs = 1
  #nextMs = 0
  #columns: { readonly atMs: number; readonly values: readonly number[] }[] = []

  constructor(nodes: readonly NodeShape[]) {
    const withGpus = nodes.filter(hasGpus)
    this.#gpus = withGpus.length > 0
    this.#names = (this.#gpus ? withGpus : nodes).map(({ name }) => name)
    this.#perRow = Math.ceil(this.#names.length / ROWS_AT_MOST)
  }

  after(cluster: ClusterView, atMs: number): void {
    if (atMs < this.#nextMs) return
    const values: number[] = []
    for (let from = 0; from < this.#names.length; from += this.#perRow) {
      const rows = this.#names
        .slice(from, from + this.#perRow)
        .map((name) => this.#share(cluster, cluster.indexOf(name)))
      values.push(Math.round((1000 * rows.reduce((sum, share) => sum + share, 0)) / rows.length) / 10)
    }
    this.#columns.push({ atMs, values })
    if (this.#columns.length > COLUMNS_AT_MOST) {
      this.#columns = this.#columns.filter((_, at) => at % 2 === 0)
      this.#everyMs = Math.max(2 * this.#everyMs, atMs / COLUMNS_AT_MOST)
    }
    this.#nextMs = atMs + this.#everyMs
  }

  #share(cluster: ClusterView, node: NodeIndex): number {
    if (node < 0) return 0
    if (this.#gpus) {
      const milli = 1000 * (cluster.gpus.count[node] ?? 0)
      return milli === 0 ? 0 : 1 - (cluster.gpus.freeSum[node] ?? 0) / milli
    }
    const cpuMilli = cluster.allocatable[CPU]?.[node] ?? 0
    return cpuMilli === 0 ? 0 : (cluster.requested[CPU]?.[node] ?? 0) / cpuMilli
  }

  result(): CellHeatMap {
    return {
      value: { label: this.#gpus ? 'Allocated GPUs' : 'Requested CPU', unit: '% of the node', min: 0, max: 100 },
      rows: this.#names.filter((_, at) => at % this.#perRow === 0),
      columnsS: this.#columns.map(({ atMs }) => atMs / 1000),
      cells: this.#names
        .filter((_, at) => at % this.#perRow === 0)
        .map((_, row) => this.#columns.map(({ values }) => values[row] ?? 0)),
    }
  }
}

/** The network latency to pods, averaged over time. */
class LatencyObserver {
  #nowMs = 0
  #latencyMs = 0
  #sum = 0

  get meanMs(): number {
    return this.#nowMs > 0 ? this.#sum / this.#nowMs : 0
  }

  after(cluster: ClusterView, atMs: number): void {
    this.#sum += this.#latencyMs * (atMs - this.#nowMs)
    this.#nowMs = atMs
    this.#latencyMs = meanPodLatencyMs(cluster)
  }
}

/** @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED, CONFIG_INVALID_VALUE, POLICY_UNKNOWN, WORKLOAD_MALFORMED */
export const runPods = async (input: PodsRunInput): Promise<CellResult> =>
  runPodsWith(createPolicy(input.policy), input)

/**
 * As `runPods`, with a policy that need not have a name.
 * @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED, CONFIG_INVALID_VALUE, WORKLOAD_MALFORMED
 */
export const runPodsWith = async (
  policy: Policy,
  { cluster, heatMap, pods, seed }: Omit<PodsRunInput, 'policy'>,
): Promise<CellResult> => {
  const nodes = await nodesOf(cluster)
  const { events = [], ...load } = await loadOf(pods, nodes, seed)
  const map = heatMap ? new HeatMapObserver(nodes) : undefined
  const fragmentation = fragmentationOf(load.arrivals)
  const latency = pods.kind === 'five_g' ? new LatencyObserver() : undefined
  const simulation = new Simulation({
    policy,
    seed,
    ...load,
    ...(fragmentation === undefined ? {} : { fragmentation }),
    observer: {
      after: (_, view, atMs) => {
        map?.after(view, atMs)
        latency?.after(view, atMs)
      },
    },
  })
  for (const { atMs, event } of events) if (atMs <= (load.untilMs ?? 0)) simulation.at(atMs, event)
  const result = await simulation.run()
  const { disruptions, imbalance, pendingMs, pendingPods, podsPerNode, utilisation } = result
  const withGpus = nodes.some(hasGpus)
  const values = new Map<string, number>([
    ['cpu_utilisation', 100 * utilisation.cpu],
    ['memory_utilisation', 100 * utilisation.memory],
    ['cpu_imbalance', 100 * imbalance.cpu],
    ['memory_imbalance', 100 * imbalance.memory],
    ['pending_mean', pendingMs.mean / 1000],
    ['pending_p95', pendingMs.p95 / 1000],
    ['pending_pods', pendingPods.mean],
    ['placed_pods', result.pods.placed],
    ['unplaced_pods', result.pods.pending + result.pods.dropped],
    ['empty_nodes', podsPerNode.emptyNodes],
    ['disruptions', Object.values(disruptions).reduce((sum, count) => sum + count, 0)],
  ])
  if (withGpus) {
    values.set('gpu_utilisation', 100 * utilisation.gpu)
    values.set('gpu_imbalance', 100 * imbalance.gpu)
  }
  if (latency !== undefined) values.set('network_latency', latency.meanMs)
  if (result.fragmentation !== undefined) values.set('fragmentation', 100 * result.fragmentation)
  const seriesOf = (name: string, label: string, unit: string, of: (at: number) => number): CellSeries => ({
    name,
    label,
    unit,
    timesS: result.series.map(({ atMs }) => atMs / 1000),
    values: result.series.map((_, at) => of(at)),
  })
  const { series } = result
  return {
    values: [...values],
    digest: result.digest,
    series: [
      seriesOf('cpu', 'Requested CPU', '% of capacity', (at) => 100 * (series[at]?.cpu ?? 0)),
      seriesOf('memory', 'Requested memory', '% of capacity', (at) => 100 * (series[at]?.memory ?? 0)),
      ...(withGpus ? [seriesOf('gpu', 'Allocated GPUs', '% of capacity', (at) => 100 * (series[at]?.gpu ?? 0))] : []),
      ...(result.fragmentation === undefined
        ? []
        : [seriesOf('fragmented', 'Fragmented GPUs', 'GPUs', (at) => (series[at]?.fragmentedGpuMilli ?? 0) / 1000)]),
      seriesOf('pending', 'Pods that wait', 'pods', (at) => series[at]?.pending ?? 0),
    ],
    heatMap: map?.result(),
  }
}
