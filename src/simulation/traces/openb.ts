import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { GPU_MILLI_RESOURCE, GPU_MODEL_LABEL, WHOLE_GPU_MILLI } from '../../cluster/gpu-request.ts'
import type { NodeSelectorTerm, PodObject } from '../../cluster/objects.ts'
import { messageOf, StowageError } from '../../errors/catalogue.ts'
import type { Arrival } from '../workload/arrivals.ts'
import { MAX_NODES, type NodeShape, zoneLabels } from '../workload/node-shapes.ts'
import { DURATION_ANNOTATION } from '../virtual/pod-stages.ts'
import { type CsvRow, CsvTable, readBounded } from './csv.ts'

const GPU_COUNT_LABEL = 'nvidia.com/gpu.count'
/** The trace's class of service: LS (latency sensitive), BE (best effort), Burstable, Guaranteed. */
export const QOS_LABEL = 'stowage.dev/qos'
/** creation_time and deletion_time as the trace has them, in seconds */
export const CREATION_ANNOTATION = 'stowage.dev/trace-creation-s'
export const DELETION_ANNOTATION = 'stowage.dev/trace-deletion-s'

export const OPENB_NODE_LIST = 'openb_node_list_gpu_node.csv'
export const OPENB_POD_LIST = 'openb_pod_list_default.csv'
/** As in the published experiments. */
const PODS_PER_NODE = 1001
const BYTES_AT_MOST = 64 * 2 ** 20
const PODS_AT_MOST = 1_000_000
/** Pods before this share of the arrivals come at once: the trace begins with months in which hardly anything comes. */
const HEAD = 0.01

export interface OpenbOptions {
  /** the folder that holds the lists */
  readonly directory: string
  /** @default OPENB_NODE_LIST */
  readonly nodeList?: string
  /** as {@link openbPodListFile} takes it. @default OPENB_POD_LIST */
  readonly podList?: string
  /** real time in which the recorded time shall pass, from the end of the quiet head to the last deletion */
  readonly spanMs: number
  /** spec.schedulerName of the pods */
  readonly schedulerName: string
  /** @default default */
  readonly namespace?: string
  /**
   * Whether pods end after their recorded life. They seldom meet then: at most 56 of the default list run at one time, on
   * 66 GPUs; without departures all come to stay, as in the published experiments, and ask for 6,087 GPUs.
   * @default true
   */
  readonly departures?: boolean
}

export interface OpenbTrace {
  readonly nodes: readonly NodeShape[]
  /** ascending by time */
  readonly arrivals: readonly Arrival[]
  /** recorded seconds per real second: hand it to the virtual nodes, whose durations are in recorded time */
  readonly speed: number
}

/** One line of a node list. */
export interface OpenbNodeRow {
  readonly name: string
  readonly cpuMilli: number
  readonly memoryMiB: number
  /** GPUs */
  readonly gpuCount: number
  /** '' without GPUs */
  readonly model: string
}

/** One line of a pod list. */
export interface OpenbPodRow {
  readonly name: string
  readonly cpuMilli: number
  readonly memoryMiB: number
  /** thousandths of each GPU, 1000: whole ones; 0 without GPUs */
  readonly gpuMilli: number
  /** GPUs; several are always whole */
  readonly gpuCount: number
  /** the GPU models that it may have; empty: any */
  readonly models: readonly string[]
  /** LS, BE, Burstable or Guaranteed */
  readonly qos: string
  /** seconds from a zero that the trace does not name */
  readonly creationS: number
  readonly deletionS: number
}

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/
const NAME_WORDS = 'a name of lower-case letters, digits, hyphens and dots'
const MODEL = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/
const MODELS = /^([A-Za-z0-9][-A-Za-z0-9_.]{0,61}(\|[A-Za-z0-9][-A-Za-z0-9_.]{0,61})*)?$/

const unique = (table: CsvTable, column: string): ((row: CsvRow) => string) => {
  const seen = new Set<string>()
  return (row) => {
    const name = table.text(row, column, NAME, NAME_WORDS)
    if (seen.has(name)) table.fail(row, column, 'a name that no line before has')
    seen.add(name)
    return name
  }
}

/** The rows of a list `sn,cpu_milli,memory_mib,gpu,model`, in its order. @throws StowageError TRACE_MALFORMED */
export const openbNodeRows = (file: string, text: string): OpenbNodeRow[] => {
  const table = new CsvTable(file, text, ['sn', 'cpu_milli', 'memory_mib', 'gpu', 'model'])
  const name = unique(table, 'sn')
  return table.rows.map((row, index): OpenbNodeRow => {
    if (index >= MAX_NODES) table.fail(row, 'sn', `at most ${MAX_NODES} nodes`)
    return {
      name: name(row),
      cpuMilli: table.whole(row, 'cpu_milli'),
      memoryMiB: table.whole(row, 'memory_mib', 2 ** 32),
      gpuCount: table.whole(row, 'gpu', 1024),
      model: table.text(row, 'model', MODEL, 'a GPU model, or nothing'),
    }
  })
}

/** The node that a row describes. @param index its place in the list, which decides its zone */
export const openbNode = ({ cpuMilli, gpuCount, memoryMiB, model, name }: OpenbNodeRow, index: number): NodeShape => ({
  name,
  allocatable: {
    cpu: `${cpuMilli}m`,
    memory: `${memoryMiB}Mi`,
    pods: String(PODS_PER_NODE),
    'ephemeral-storage': '1Ti',
    ...(gpuCount === 0 ? {} : { [GPU_MILLI_RESOURCE]: String(WHOLE_GPU_MILLI * gpuCount) }),
  },
  labels: {
    ...zoneLabels(index),
    'node.kubernetes.io/instance-type': gpuCount === 0 ? 'openb.cpu' : `openb.${model.toLowerCase()}-${gpuCount}`,
    ...(gpuCount === 0 ? {} : { [GPU_MODEL_LABEL]: model, [GPU_COUNT_LABEL]: String(gpuCount) }),
  },
  taints: [],
})

/** The nodes of a list. @throws StowageError TRACE_MALFORMED */
export const openbNodes = (file: string, text: string): NodeShape[] => openbNodeRows(file, text).map(openbNode)

const POD_COLUMNS = [
  'name',
  'cpu_milli',
  'memory_mib',
  'num_gpu',
  'gpu_milli',
  'gpu_spec',
  'qos',
  'creation_time',
  'deletion_time',
]

/**
 * The rows of a list `name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,...`,
 * in its order. The columns pod_phase and scheduled_time say what another scheduler did and are not read.
 * @throws StowageError TRACE_MALFORMED
 */
export const openbPodRows = (file: string, text: string): OpenbPodRow[] => {
  const table = new CsvTable(file, text, POD_COLUMNS)
  const name = unique(table, 'name')
  return table.rows.map((row, index): OpenbPodRow => {
    if (index >= PODS_AT_MOST) table.fail(row, 'name', `at most ${PODS_AT_MOST} pods`)
    const gpuCount = table.whole(row, 'num_gpu', 1024)
    const gpuMilli = table.whole(row, 'gpu_milli', 1000)
    if (gpuCount > 1 && gpuMilli !== 1000) table.fail(row, 'gpu_milli', '1000 where a pod asks for several GPUs')
    if (gpuCount > 0 && gpuMilli === 0) table.fail(row, 'gpu_milli', 'a share of 1 to 1000 where a pod asks for a GPU')
    if (gpuCount === 0 && gpuMilli > 0) table.fail(row, 'num_gpu', 'at least 1 where a pod asks for a share of a GPU')
    const creationS = table.whole(row, 'creation_time')
    const deletionS = table.whole(row, 'deletion_time')
    if (deletionS < creationS) table.fail(row, 'deletion_time', `a time not before creation_time ${creationS}`)
    const models = table.text(row, 'gpu_spec', MODELS, 'GPU models separated by |, or nothing')
    return {
      name: name(row),
      cpuMilli: table.whole(row, 'cpu_milli'),
      memoryMiB: table.whole(row, 'memory_mib', 2 ** 32),
      gpuMilli,
      gpuCount,
      models: models === '' ? [] : models.split('|'),
      qos: table.text(row, 'qos', MODEL, 'a class of service'),
      creationS,
      deletionS,
    }
  })
}

/** The pod that a row describes. */
export const openbPod = (row: OpenbPodRow, options: { schedulerName: string; namespace: string }): PodObject => {
  const { gpuCount, gpuMilli, models } = row
  const gpu = gpuCount === 0 ? {} : { [GPU_MILLI_RESOURCE]: String(gpuCount * gpuMilli) }
  const term: NodeSelectorTerm = {
    matchExpressions: [{ key: GPU_MODEL_LABEL, operator: 'In', values: [...models] }],
  }
  const requests = { cpu: `${row.cpuMilli}m`, memory: `${row.memoryMiB}Mi`, ...gpu }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: row.name,
      namespace: options.namespace,
      labels: { [QOS_LABEL]: row.qos },
      annotations: { [CREATION_ANNOTATION]: String(row.creationS), [DELETION_ANNOTATION]: String(row.deletionS) },
    },
    spec: {
      schedulerName: options.schedulerName,
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'task', image: 'openb/task:v2023', resources: { requests, limits: gpu } }],
      ...(models.length === 0
        ? {}
        : {
            affinity: {
              nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } },
            },
          }),
    },
  }
}

const POD_LIST = /^openb_pod_list_(.+)\.csv$/

/** The file of a list that is called by its name (`cpu250`) or by its file. */
export const openbPodListFile = (list: string): string => (list.endsWith('.csv') ? list : `openb_pod_list_${list}.csv`)

const HOLDS = `a folder that holds the openb lists, such as ${OPENB_NODE_LIST} and ${OPENB_POD_LIST}`

/** The names of the pod lists in a folder (`cpu250`, `default`, ...), in order. @throws StowageError FILE_UNREADABLE */
export const openbPodLists = async (directory: string): Promise<string[]> => {
  try {
    return (await readdir(directory)).flatMap((file) => POD_LIST.exec(file)?.[1] ?? []).sort()
  } catch (thrown) {
    throw new StowageError(
      'FILE_UNREADABLE',
      { found: `${directory} (${messageOf(thrown)})`, expected: HOLDS },
      { cause: thrown },
    )
  }
}

/**
 * The rows of the lists as they are, for experiments that change the trace before they use it.
 * @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED
 */
export const readOpenbRows = async ({
  directory,
  nodeList = OPENB_NODE_LIST,
  podList = OPENB_POD_LIST,
}: Pick<OpenbOptions, 'directory' | 'nodeList' | 'podList'>): Promise<{
  readonly nodes: readonly OpenbNodeRow[]
  readonly pods: readonly OpenbPodRow[]
}> => {
  const podFile = openbPodListFile(podList)
  return {
    nodes: openbNodeRows(nodeList, await readBounded(join(directory, nodeList), BYTES_AT_MOST, HOLDS)),
    pods: openbPodRows(podFile, await readBounded(join(directory, podFile), BYTES_AT_MOST, HOLDS)),
  }
}

/**
 * Reads Alibaba's GPU trace of 2023 (openb, https://github.com/alibaba/clusterdata/tree/master/cluster-trace-gpu-v2023) as
 * nodes and pods of Kubernetes.
 *
 * Time is compressed to `spanMs`. The first hundredth of the pods comes at the start: they are spread over four months
 * before the rest. A pod's duration is its recorded life, however long it waits; of the early ones, what is left of it.
 *
 * GPUs become the extended resource `stowage.dev/gpu-milli`: 1000 for each GPU of a node; of a pod its share of one GPU, or
 * 1000 for each whole one. Which single GPUs a pod gets is the cluster state's business.
 * @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED
 */
export const readOpenb = async (options: OpenbOptions): Promise<OpenbTrace> => {
  const { schedulerName, namespace = 'default', departures = true } = options
  const { nodes, pods } = await readOpenbRows(options)
  const rows = pods.toSorted((a, b) => a.creationS - b.creationS)
  const startS = rows[Math.floor(rows.length * HEAD)]?.creationS ?? 0
  const endS = rows.reduce((latest, { deletionS }) => Math.max(latest, deletionS), startS)
  // A trace that lasts no time at all is not stretched.
  const speed = endS > startS ? ((endS - startS) * 1000) / options.spanMs : 1
  const arrivals = rows.map((row): Arrival => {
    const { creationS, deletionS } = row
    const pod = openbPod(row, { schedulerName, namespace })
    const annotations = {
      ...pod.metadata?.annotations,
      ...(departures ? { [DURATION_ANNOTATION]: `${Math.max(0, deletionS - Math.max(creationS, startS))}s` } : {}),
    }
    return {
      atMs: (Math.max(0, creationS - startS) * 1000) / speed,
      pod: { ...pod, metadata: { ...pod.metadata, annotations } },
    }
  })
  return { nodes: nodes.map(openbNode), arrivals, speed }
}
