import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { NodeSelectorTerm, PodObject } from '../cluster/objects.ts'
import { StowageError, messageOf } from '../errors/catalogue.ts'
import type { Arrival } from './arrivals.ts'
import { MAX_NODES, type NodeShape, zoneLabels } from './node-shapes.ts'
import { DURATION_ANNOTATION } from './pod-stages.ts'

/** Thousandths of a GPU: a node has 1000 for each of its GPUs, a pod asks for gpu_milli times num_gpu. */
export const GPU_MILLI = 'stowage.dev/gpu-milli'
/** GPUs that a pod cannot share with another pod that asks for them: whole ones, and one for a share of more than half. */
export const GPU_DEVICE = 'stowage.dev/gpu-device'
export const GPU_MODEL_LABEL = 'nvidia.com/gpu.product'
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
  /** @default OPENB_POD_LIST */
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

interface Row {
  readonly line: number
  readonly cells: readonly string[]
}

/** A file of comma-separated values whose columns are found by their names. */
class Table {
  readonly rows: readonly Row[]
  readonly #file: string
  readonly #columns: ReadonlyMap<string, number>

  constructor(file: string, text: string, columns: readonly string[]) {
    this.#file = file
    const lines = text.split(/\r?\n/)
    const header = (lines[0] ?? '').replace(/^\uFEFF/, '').split(',')
    this.#columns = new Map(header.map((name, index) => [name.trim(), index]))
    const missing = columns.filter((name) => !this.#columns.has(name))
    if (missing.length > 0) {
      throw this.#malformed(1, `no column ${missing.join(', ')}`, `a first line with the columns ${columns.join(',')}`)
    }
    this.rows = lines.flatMap((text, index) =>
      index === 0 || text === '' ? [] : [{ line: index + 1, cells: text.split(',') }],
    )
    const ragged = this.rows.find(({ cells }) => cells.length !== header.length)
    if (ragged !== undefined) {
      throw this.#malformed(
        ragged.line,
        `${ragged.cells.length} values`,
        `${header.length} values, one for each column, without quotes`,
      )
    }
  }

  text(row: Row, column: string, expected: RegExp, words: string): string {
    const value = row.cells[this.#columns.get(column) ?? -1] ?? ''
    if (!expected.test(value))
      throw this.#malformed(row.line, `${JSON.stringify(value.slice(0, 64))} in column ${column}`, words)
    return value
  }

  whole(row: Row, column: string, most = Number.MAX_SAFE_INTEGER): number {
    const words = most === Number.MAX_SAFE_INTEGER ? 'a whole number' : `a whole number up to ${most}`
    const value = this.text(row, column, /^\d{1,15}$/, words)
    return Number(value) <= most ? Number(value) : this.fail(row, column, words)
  }

  fail(row: Row, column: string, expected: string): never {
    const value = row.cells[this.#columns.get(column) ?? -1] ?? ''
    throw this.#malformed(row.line, `${JSON.stringify(value.slice(0, 64))} in column ${column}`, expected)
  }

  #malformed(line: number, found: string, expected: string): StowageError {
    return new StowageError('TRACE_MALFORMED', { found: `${this.#file} line ${line}: ${found}`, expected })
  }
}

const read = async (directory: string, file: string): Promise<string> => {
  const path = join(directory, file)
  const holds = `a folder that holds the openb lists, such as ${OPENB_NODE_LIST} and ${OPENB_POD_LIST}`
  try {
    const { size } = await stat(path)
    if (size > BYTES_AT_MOST) {
      throw new StowageError('FILE_UNREADABLE', {
        found: `${path} has ${size} bytes`,
        expected: `at most ${BYTES_AT_MOST}`,
      })
    }
    return await readFile(path, 'utf8')
  } catch (thrown) {
    if (thrown instanceof StowageError) throw thrown
    throw new StowageError(
      'FILE_UNREADABLE',
      { found: `${path} (${messageOf(thrown)})`, expected: holds },
      { cause: thrown },
    )
  }
}

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/
const NAME_WORDS = 'a name of lower-case letters, digits, hyphens and dots'
const MODEL = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/
const MODELS = /^([A-Za-z0-9][-A-Za-z0-9_.]{0,61}(\|[A-Za-z0-9][-A-Za-z0-9_.]{0,61})*)?$/

const unique = (table: Table, column: string): ((row: Row) => string) => {
  const seen = new Set<string>()
  return (row) => {
    const name = table.text(row, column, NAME, NAME_WORDS)
    if (seen.has(name)) table.fail(row, column, 'a name that no line before has')
    seen.add(name)
    return name
  }
}

/** The nodes of a list `sn,cpu_milli,memory_mib,gpu,model`. @throws StowageError TRACE_MALFORMED */
export const openbNodes = (file: string, text: string): NodeShape[] => {
  const table = new Table(file, text, ['sn', 'cpu_milli', 'memory_mib', 'gpu', 'model'])
  const name = unique(table, 'sn')
  return table.rows.map((row, index): NodeShape => {
    if (index >= MAX_NODES) table.fail(row, 'sn', `at most ${MAX_NODES} nodes`)
    const gpus = table.whole(row, 'gpu', 1024)
    const model = table.text(row, 'model', MODEL, 'a GPU model, or nothing')
    return {
      name: name(row),
      allocatable: {
        cpu: `${table.whole(row, 'cpu_milli')}m`,
        memory: `${table.whole(row, 'memory_mib', 2 ** 32)}Mi`,
        pods: String(PODS_PER_NODE),
        'ephemeral-storage': '1Ti',
        ...(gpus === 0 ? {} : { [GPU_MILLI]: String(1000 * gpus), [GPU_DEVICE]: String(gpus) }),
      },
      labels: {
        ...zoneLabels(index),
        'node.kubernetes.io/instance-type': gpus === 0 ? 'openb.cpu' : `openb.${model.toLowerCase()}-${gpus}`,
        ...(gpus === 0 ? {} : { [GPU_MODEL_LABEL]: model, [GPU_COUNT_LABEL]: String(gpus) }),
      },
      taints: [],
    }
  })
}

interface OpenbPod {
  readonly creationS: number
  readonly deletionS: number
  readonly pod: PodObject
}

const openbPod = (
  table: Table,
  row: Row,
  name: string,
  options: { schedulerName: string; namespace: string },
): OpenbPod => {
  const gpus = table.whole(row, 'num_gpu', 1024)
  const milli = table.whole(row, 'gpu_milli', 1000)
  if (gpus > 1 && milli !== 1000) table.fail(row, 'gpu_milli', '1000 where a pod asks for several GPUs')
  if (gpus > 0 && milli === 0) table.fail(row, 'gpu_milli', 'a share of 1 to 1000 where a pod asks for a GPU')
  if (gpus === 0 && milli > 0) table.fail(row, 'num_gpu', 'at least 1 where a pod asks for a share of a GPU')
  const creationS = table.whole(row, 'creation_time')
  const deletionS = table.whole(row, 'deletion_time')
  if (deletionS < creationS) table.fail(row, 'deletion_time', `a time not before creation_time ${creationS}`)
  const models = table.text(row, 'gpu_spec', MODELS, 'GPU models separated by |, or nothing')
  const term: NodeSelectorTerm = {
    matchExpressions: [{ key: GPU_MODEL_LABEL, operator: 'In', values: models.split('|') }],
  }
  const requests = {
    cpu: `${table.whole(row, 'cpu_milli')}m`,
    memory: `${table.whole(row, 'memory_mib', 2 ** 32)}Mi`,
    ...(gpus === 0 ? {} : { [GPU_MILLI]: String(gpus * milli) }),
    ...(gpus > 0 && milli > 500 ? { [GPU_DEVICE]: String(gpus) } : {}),
  }
  const limits = Object.fromEntries(Object.entries(requests).filter(([resource]) => resource.includes('/')))
  return {
    creationS,
    deletionS,
    pod: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: options.namespace,
        labels: { [QOS_LABEL]: table.text(row, 'qos', MODEL, 'a class of service') },
        annotations: { [CREATION_ANNOTATION]: String(creationS), [DELETION_ANNOTATION]: String(deletionS) },
      },
      spec: {
        schedulerName: options.schedulerName,
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 0,
        containers: [{ name: 'task', image: 'openb/task:v2023', resources: { requests, limits } }],
        ...(models === ''
          ? {}
          : {
              affinity: {
                nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } },
              },
            }),
      },
    },
  }
}

/**
 * The pods of a list `name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,...`.
 * The columns pod_phase and scheduled_time say what another scheduler did and are not read.
 * @throws StowageError TRACE_MALFORMED
 */
export const openbPods = (
  file: string,
  text: string,
  options: { schedulerName: string; namespace: string },
): OpenbPod[] => {
  const columns = [
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
  const table = new Table(file, text, columns)
  const name = unique(table, 'name')
  return table.rows.map((row, index) => {
    if (index >= PODS_AT_MOST) table.fail(row, 'name', `at most ${PODS_AT_MOST} pods`)
    return openbPod(table, row, name(row), options)
  })
}

/**
 * Reads Alibaba's GPU trace of 2023 (openb, https://github.com/alibaba/clusterdata/tree/master/cluster-trace-gpu-v2023) as
 * nodes and pods of Kubernetes.
 *
 * Time is compressed to `spanMs`. The first hundredth of the pods comes at the start: they are spread over four months
 * before the rest. A pod's duration is its recorded life, however long it waits; of the early ones, what is left of it.
 *
 * GPUs become two extended resources, which NodeResourcesFit can check. `stowage.dev/gpu-milli` holds the sum of all
 * shares on a node below what its GPUs have. `stowage.dev/gpu-device` holds what can share no GPU - whole GPUs, and shares
 * of more than a half - below their number. Both are necessary: no packing onto single GPUs that is possible is refused.
 * They are not sufficient: shares of 600, 600 and 470 thousandths pass on two GPUs, where no single GPU has 470 left.
 * Which GPU a pod gets is not represented.
 * @throws StowageError FILE_UNREADABLE, TRACE_MALFORMED
 */
export const readOpenb = async (options: OpenbOptions): Promise<OpenbTrace> => {
  const { directory, nodeList = OPENB_NODE_LIST, podList = OPENB_POD_LIST, departures = true } = options
  const nodes = openbNodes(nodeList, await read(directory, nodeList))
  const pods = openbPods(podList, await read(directory, podList), {
    schedulerName: options.schedulerName,
    namespace: options.namespace ?? 'default',
  })
  pods.sort((a, b) => a.creationS - b.creationS)
  const startS = pods[Math.floor(pods.length * HEAD)]?.creationS ?? 0
  const endS = pods.reduce((latest, { deletionS }) => Math.max(latest, deletionS), startS)
  // A trace that lasts no time at all is not stretched.
  const speed = endS > startS ? ((endS - startS) * 1000) / options.spanMs : 1
  const arrivals = pods.map(({ creationS, deletionS, pod }): Arrival => {
    const annotations = {
      ...pod.metadata?.annotations,
      ...(departures ? { [DURATION_ANNOTATION]: `${Math.max(0, deletionS - Math.max(creationS, startS))}s` } : {}),
    }
    return {
      atMs: (Math.max(0, creationS - startS) * 1000) / speed,
      pod: { ...pod, metadata: { ...pod.metadata, annotations } },
    }
  })
  return { nodes, arrivals, speed }
}
