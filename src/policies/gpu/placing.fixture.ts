import { node, pod } from '../../../test/builders.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { ClusterState } from '../../cluster/state.ts'
import { clusterWith, contextOf, everyNode } from '../contract.ts'
import type { Policy, Ranking } from '../policy.ts'

/** A node with GPUs: `gpus` of that model. */
export const gpuNode = (name: string, gpus: number, { cpu = '64', model = '' } = {}) => {
  const built = node(name).cpu(cpu).memory('512Gi')
  if (gpus > 0) built.allocatable('stowage.dev/gpu-milli', String(gpus * 1000))
  if (model !== '') built.label('nvidia.com/gpu.product', model)
  return built.object()
}

export const gpuPod = (name: string, gpuMilli: number, { cpu = '1', model = '' } = {}) => {
  const built = pod(name).cpu(cpu).memory('1Gi')
  if (gpuMilli > 0) built.request('stowage.dev/gpu-milli', String(gpuMilli))
  if (model !== '') built.nodeSelector('nvidia.com/gpu.product', model)
  return built.object()
}

/** A cluster with pods on given GPUs of given nodes. */
export const packed = (
  nodes: readonly ReturnType<typeof gpuNode>[],
  pods: readonly {
    readonly on: string
    readonly devices?: readonly number[]
    readonly pod: ReturnType<typeof gpuPod>
  }[] = [],
): ClusterState => {
  const cluster = clusterWith(nodes)
  for (const { on, devices, pod: object } of pods) place(cluster, cluster.readPod(object), cluster.indexOf(on), devices)
  return cluster
}

/** The pod counts there from now on. */
export const place = (cluster: ClusterState, one: Pod, at: number, devices: readonly number[] | undefined): void => {
  cluster.assume(devices === undefined ? one : { ...one, gpuDevices: devices }, at)
}

/** Where the policy puts the pod: node and GPUs, as the cycle takes them. Answers that are not kept. */
export const chosen = (
  policy: Policy,
  one: Pod,
  cluster: ClusterState,
): { at: number; devices: readonly number[] | undefined; ranking: Ranking } => {
  const { nodes, count } = everyNode(cluster)
  const fitting = nodes
    .subarray(0, count)
    .filter((at) => one.shape.gpu === undefined || cluster.gpus.fits(at, one.shape.gpu))
  const ranking = policy.rank(one, { nodes: fitting, count: fitting.length }, contextOf(cluster))
  if (ranking instanceof Promise) throw new TypeError('these policies answer at once')
  const best = ranking.scores.indexOf(Math.max(...ranking.scores))
  const at = fitting[best] ?? -1
  const devices =
    one.shape.gpu === undefined ? undefined : (ranking.devicesOf?.(best) ?? cluster.gpus.choose(at, one.shape.gpu))
  return { at, devices, ranking }
}

/** The same by names, for assertions. */
export const choice = (
  policy: Policy,
  object: ReturnType<typeof gpuPod>,
  cluster: ClusterState,
): [node: string, devices: readonly number[] | undefined] => {
  const { at, devices } = chosen(policy, cluster.readPod(object), cluster)
  return [cluster.node(at).name, devices]
}
