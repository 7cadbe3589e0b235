import type { KubeObject, NodeObject, PersistentVolumeObject, PodObject, Taint } from '../../cluster/objects.ts'
import type { Arrival } from '../workload/arrivals.ts'
import type { SimulationEvent } from '../engine/events.ts'
import type { NodeShape } from '../workload/node-shapes.ts'
import { DURATION_ANNOTATION } from '../virtual/pod-stages.ts'
import { type PodLife, podLives, traceDurationMs } from './pod-lives.ts'
import type { RecordedTrace } from './recorded.ts'

/** When the pods of a replay come to the scheduler. */
export type ReplayOrder =
  /** when they came: to see what a policy would have made of them */
  | 'arrivals'
  /**
   * in the order in which they were bound, each as soon as it may be: to see whether a policy decides as the one that was
   * live. A pod that had been refused comes when it was bound: what made room has happened then. One that never was bound
   * does not come.
   */
  | 'binds'

/** A trace as a simulation takes it. */
export interface Replay {
  readonly nodes: readonly NodeShape[]
  readonly objects: readonly KubeObject[]
  readonly arrivals: readonly Arrival[]
  /** what else happens: nodes that come, change and go, pods that are deleted */
  readonly events: readonly { readonly atMs: number; readonly event: SimulationEvent }[]
  /** end of the trace */
  readonly durationMs: number
  /** the pods that a scheduler has to place, `namespace/name` as the simulation calls them -> their lives */
  readonly placeable: ReadonlyMap<string, PodLife>
  /** what the replay leaves out */
  readonly leftOut: {
    /** pods whose gates were never opened */
    readonly gatedPods: number
    /** changes of pods after they could be placed: labels, resizes */
    readonly podChanges: number
  }
}

const UNSCHEDULABLE: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' }

/** Events of one time happen before arrivals: a pod that was deleted as it came must have come. */
const SOON_MS = 0.001

const isPlaced = ({ pod }: Arrival): boolean => pod.spec?.nodeName !== undefined

/** When each pod that was bound was decided for, at the earliest. */
const decisionTimes = (lives: readonly PodLife[]): ReadonlyMap<PodLife, number> => {
  const times = new Map<PodLife, number>()
  let latestMs = 0
  const bound = lives.flatMap(({ bind }, index) => (bind === undefined ? [] : [{ atMs: bind.atMs, index }]))
  for (const { atMs, index } of bound.sort((a, b) => a.atMs - b.atMs)) {
    const life = lives[index]
    if (life === undefined) continue
    const { message, openMs = atMs } = life
    latestMs = Math.max(latestMs, message === '' ? Math.min(openMs, atMs) : atMs)
    times.set(life, latestMs)
  }
  return times
}

/** A recorded node as the simulation makes them. A cordon is the taint that the node controller gives it. */
export const nodeShapeOf = ({ metadata = {}, spec = {}, status = {} }: NodeObject): NodeShape => {
  const taints = spec.taints ?? []
  const cordoned = spec.unschedulable === true && !taints.some(({ key }) => key === UNSCHEDULABLE.key)
  const allocatable = Object.fromEntries(
    Object.entries(status.allocatable ?? {}).map(([name, quantity]) => [name, String(quantity)]),
  )
  return {
    name: metadata.name ?? '',
    allocatable,
    labels: metadata.labels ?? {},
    taints: cordoned ? [...taints, UNSCHEDULABLE] : taints,
    ...(status.images === undefined ? {} : { images: status.images }),
    ...(status.declaredFeatures === undefined ? {} : { declaredFeatures: status.declaredFeatures }),
  }
}

/** The pod as it comes in a replay: with the duration it had, else the one it says it has, and with or without its node. */
const comingPod = (
  object: PodObject,
  { durationMs, name, node }: { durationMs: number | undefined; name: string; node: string },
): PodObject => {
  const { nodeName: _before, schedulingGates: _gates, ...spec } = object.spec ?? {}
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...object.metadata,
      name,
      ...(durationMs === undefined
        ? {}
        : { annotations: { ...object.metadata?.annotations, [DURATION_ANNOTATION]: `${durationMs}ms` } }),
    },
    spec: node === '' ? spec : { ...spec, nodeName: node },
  }
}

/** Objects beside nodes and pods, each in its last version; claims and volumes in their first, before anybody bound them. */
const objectsOf = ({ events }: RecordedTrace): KubeObject[] => {
  const syncedAt = events.findIndex(({ event }) => event === 'synced')
  const objects = new Map<string, KubeObject>()
  events.forEach((event, index) => {
    if (event.event !== 'object') return
    const { apiVersion = '', kind = '', metadata } = event.object
    const key = `${apiVersion}/${kind}/${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`
    const isVolume = kind === 'PersistentVolume' || kind === 'PersistentVolumeClaim'
    if (isVolume && objects.has(key)) return
    // A volume that came later with its claim was made for where the pod went then.
    const made = kind === 'PersistentVolume' && (event.object as PersistentVolumeObject).spec?.claimRef !== undefined
    if (made && index > syncedAt) return
    objects.set(key, event.object)
  })
  return [...objects.values()]
}

/**
 * Turns a trace into what a simulation is asked for. The record is the demand: pods come as they came, those whose
 * containers ended run as long as they ran, those that were deleted leave at the time at which they left, whoever deleted
 * them, and nodes come, change and go as they did. What is on a node before anything is decided stays there.
 */
export const replayOf = (trace: RecordedTrace, order: ReplayOrder): Replay => {
  const syncedAt = trace.events.findIndex(({ event }) => event === 'synced')
  const nodes: NodeShape[] = []
  const there = new Map<string, boolean>()
  const events: { atMs: number; event: SimulationEvent }[] = []
  trace.events.forEach((event, index) => {
    if (event.event === 'node') {
      const node = nodeShapeOf(event.object)
      const known = there.get(node.name) === true
      there.set(node.name, true)
      if (index > syncedAt) events.push({ atMs: event.atMs, event: { kind: known ? 'node-change' : 'node-add', node } })
      else if (!known) nodes.push(node)
    } else if (event.event === 'node-gone' && there.get(event.name) === true) {
      there.set(event.name, false)
      events.push({ atMs: event.atMs, event: { kind: 'node-remove', node: event.name } })
    }
  })
  const arrivals: Arrival[] = []
  const placeable = new Map<string, PodLife>()
  const lives = new Map<string, number>()
  let gatedPods = 0
  let podChanges = 0
  const all = podLives(trace)
  const decidedMs = order === 'binds' ? decisionTimes(all) : new Map<PodLife, number>()
  // Those of one time come in the order of the map.
  for (const life of new Set([...decidedMs.keys(), ...all])) {
    const { bind, end, nodeAtFirst, openMs, updates } = life
    if (openMs === undefined) {
      gatedPods++
      continue
    }
    if (order === 'binds' && nodeAtFirst === '' && bind === undefined) continue
    const comesMs = decidedMs.get(life) ?? openMs
    const object = updates.findLast(({ atMs }) => atMs <= comesMs)?.object ?? life.object
    podChanges += updates.filter(({ atMs, object }) => atMs > comesMs && object.spec?.nodeName === undefined).length
    const { name = '', namespace = 'default' } = object.metadata ?? {}
    const key = `${namespace}/${name}`
    // In a replay the second pod of a name may come before the first has ended.
    const before = lives.get(key) ?? 0
    lives.set(key, before + 1)
    const ownName = before === 0 ? name : `${name}-life-${before + 1}`
    const onNodeSinceMs = nodeAtFirst === '' ? bind?.atMs : life.arrivedMs
    const ended = end !== undefined && (end.how === 'succeeded' || end.how === 'failed') && onNodeSinceMs !== undefined
    const durationMs = ended ? end.atMs - onNodeSinceMs : undefined
    arrivals.push({ atMs: comesMs, pod: comingPod(object, { durationMs, name: ownName, node: nodeAtFirst }) })
    if (end !== undefined && !ended)
      events.push({
        atMs: Math.max(end.atMs, comesMs + SOON_MS),
        event: { kind: 'pod-gone', namespace, name: ownName },
      })
    if (nodeAtFirst === '') placeable.set(`${namespace}/${ownName}`, life)
  }
  // Whoever has its node is there before anything is decided.
  arrivals.sort((a, b) => a.atMs - b.atMs || Number(isPlaced(b)) - Number(isPlaced(a)))
  events.sort((a, b) => a.atMs - b.atMs)
  return {
    nodes,
    objects: objectsOf(trace),
    arrivals,
    events,
    durationMs: traceDurationMs(trace),
    placeable,
    leftOut: { gatedPods, podChanges },
  }
}

/** The same with every pod where it was, from the time at which it was bound: what really happened, to be measured alike. */
export const recordedCourse = (replay: Replay): Replay => ({
  ...replay,
  arrivals: replay.arrivals
    .flatMap(({ atMs, pod }): Arrival[] => {
      const { name = '', namespace = 'default' } = pod.metadata ?? {}
      const life = replay.placeable.get(`${namespace}/${name}`)
      if (life === undefined) return [{ atMs, pod }]
      const { bind } = life
      if (bind === undefined) return []
      return [{ atMs: bind.atMs, pod: { ...pod, spec: { ...pod.spec, nodeName: bind.node } } }]
    })
    .sort((a, b) => a.atMs - b.atMs),
})
