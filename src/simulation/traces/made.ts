import type { KubeObject, PodObject } from '../../cluster/objects.ts'
import type { Arrival } from '../workload/arrivals.ts'
import type { NodeShape } from '../workload/node-shapes.ts'
import { nodeObject } from '../virtual/virtual-node-object.ts'
import { WORKLOAD_GATE } from '../workload/workload.ts'
import type { TraceEvent } from './recorded.ts'
import { recordedKinds, recordedParts, type RecordedKind } from './recorded-fields.ts'

/** After this time a gated pod of the synthetic workload loses its gate, as in `stowage up`. */
const GATE_OPENS_MS = 3000

const isRecorded = (kind: string | undefined): kind is RecordedKind => recordedKinds.some((one) => one === kind)

const ungated = (pod: PodObject): PodObject => {
  const { schedulingGates = [], ...spec } = pod.spec ?? {}
  return { ...pod, spec: { ...spec, schedulingGates: schedulingGates.filter(({ name }) => name !== WORKLOAD_GATE) } }
}

/**
 * The events of a trace that nobody recorded: what comes, and not where it goes. Durations are those that the pods say
 * they have (`stowage.dev/duration`).
 * @param times wall-clock time of its start, and how long it lasts
 */
export const madeTrace = (
  {
    arrivals,
    nodes,
    objects,
  }: { arrivals: readonly Arrival[]; nodes: readonly NodeShape[]; objects: readonly KubeObject[] },
  { startedAtMs, untilMs }: { readonly startedAtMs: number; readonly untilMs: number },
): TraceEvent[] => {
  const atStart: TraceEvent[] = [
    ...nodes.map((shape, index): TraceEvent => {
      const object = nodeObject(shape, index, startedAtMs)
      return { atMs: 0, event: 'node', object: recordedParts('Node', object) }
    }),
    ...objects.flatMap((object): TraceEvent[] =>
      isRecorded(object.kind) && object.apiVersion !== undefined
        ? [
            {
              atMs: 0,
              event: 'object',
              object: { apiVersion: object.apiVersion, kind: object.kind, ...recordedParts(object.kind, object) },
            },
          ]
        : [],
    ),
    { atMs: 0, event: 'synced', missing: [] },
  ]
  const coming = arrivals.flatMap(({ atMs, pod }, index): TraceEvent[] => {
    const named: PodObject = { ...pod, metadata: { ...pod.metadata, uid: `pod-${index}` } }
    const event = (at: number, object: PodObject): TraceEvent => ({
      atMs: Math.round(at * 1000) / 1000,
      event: 'pod',
      object: recordedParts('Pod', object),
    })
    const gates = pod.spec?.schedulingGates ?? []
    return [
      event(atMs, named),
      ...(gates.some(({ name }) => name === WORKLOAD_GATE) ? [event(atMs + GATE_OPENS_MS, ungated(named))] : []),
    ]
  })
  coming.sort((a, b) => a.atMs - b.atMs)
  return [...atStart, ...coming, { atMs: Math.max(untilMs, coming.at(-1)?.atMs ?? 0), event: 'stopped' }]
}
