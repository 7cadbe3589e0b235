import type { Random } from '../clock/random.ts'
import type { PodObject } from '../cluster/objects.ts'
import { StowageError } from '../errors/catalogue.ts'
import { nodeShapes } from '../simulation/workload/node-shapes.ts'
import { readOpenb } from '../simulation/traces/openb.ts'
import { readWorkloadFile } from '../simulation/workload/workload-file.ts'
import { syntheticWorkload, workloadPriorityClasses } from '../simulation/workload/workload.ts'
import type { Scenario } from './embedded-run.ts'

/** What the user asked `stowage up` for. */
export interface ScenarioChoice {
  readonly nodes: number | undefined
  readonly nodeShapes: readonly string[]
  readonly pods: number | undefined
  readonly workload: string | undefined
  readonly trace: string | undefined
  readonly tracePods: string | undefined
  readonly departures: boolean
  readonly speed: number | undefined
  /** how long the run is to last; undefined: until it is stopped */
  readonly forMs: number | undefined
  readonly schedulerName: string
  readonly random: Random
}

const NODES = 20
const PODS = 200
/** The arrivals' share of a run whose length is known: the rest is for what they set off. */
const ARRIVING = 0.7
const ARRIVALS_MS = 30_000
export const TRACE_MS = 60_000

/** As kubectl: what names no namespace goes to `default`. */
const inNamespace = (pod: PodObject): PodObject => ({
  ...pod,
  metadata: { ...pod.metadata, namespace: pod.metadata?.namespace ?? 'default' },
})

/** @throws StowageError CONFIG_CONFLICT, CONFIG_INVALID_VALUE, FILE_UNREADABLE, TRACE_MALFORMED, WORKLOAD_MALFORMED */
export const buildScenario = async (choice: ScenarioChoice): Promise<Scenario> => {
  const { forMs, random, schedulerName, trace, workload } = choice
  const given = [
    ...(trace === undefined ? [] : ['--trace']),
    ...(workload === undefined ? [] : ['--workload']),
    ...(choice.pods === undefined ? [] : ['--pods']),
  ]
  if (given.length > 1)
    throw new StowageError('CONFIG_CONFLICT', {
      found: given.join(' with '),
      expected: 'one of them: each says which pods come',
    })
  if (trace !== undefined) {
    if (choice.nodes !== undefined || choice.nodeShapes.length > 0)
      throw new StowageError('CONFIG_CONFLICT', {
        found: '--trace with --nodes or --node-shape',
        expected: "the trace's own nodes",
      })
    if (choice.speed !== undefined)
      throw new StowageError('CONFIG_CONFLICT', {
        found: '--trace with --speed',
        expected: '--for, which says in what time the trace passes',
      })
    const { arrivals, nodes, speed } = await readOpenb({
      directory: trace,
      spanMs: (forMs ?? TRACE_MS) * ARRIVING,
      schedulerName,
      departures: choice.departures,
      ...(choice.tracePods === undefined ? {} : { podList: choice.tracePods }),
    })
    return { nodes, objects: [], arrivals, speed }
  }
  const nodes = nodeShapes(choice.nodeShapes, choice.nodes ?? (choice.nodeShapes.length === 0 ? NODES : undefined))
  const speed = choice.speed ?? 1
  if (workload !== undefined) {
    const { objects, pods } = await readWorkloadFile(workload)
    return { nodes, objects, arrivals: pods.map((pod) => ({ atMs: 0, pod: inNamespace(pod) })), speed }
  }
  const arrivals = syntheticWorkload({
    pods: choice.pods ?? PODS,
    spanMs: (forMs === undefined ? ARRIVALS_MS : forMs * ARRIVING) / (forMs === undefined ? speed : 1),
    random,
    nodes,
    schedulerName,
  })
  return { nodes, objects: workloadPriorityClasses, arrivals, speed }
}
