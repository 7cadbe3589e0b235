import { type GangSource, type PodGroupObject, type PodGroupStatus, readPodGroupStatus } from '../cluster/gangs.ts'
import { textOf } from '../cluster/wire.ts'
import type { GangReport } from '../scheduling/ports.ts'
import type { ApiRequest } from './connection.ts'
import { MERGE_PATCH, objectPath, type ResourceKind, STRATEGIC_MERGE_PATCH } from './objects.ts'

// What each API leaves to the scheduler to say of a group. As kube-scheduler 1.37 and Volcano's scheduler do it.
// Of coscheduling's PodGroup nothing is: its own controller works the whole status out of the pods.

/** kube-scheduler's condition; never False again once it is True. */
const INITIALLY_SCHEDULED = 'PodGroupInitiallyScheduled'
/** Volcano's conditions; one of them at a time. */
const VOLCANO_SCHEDULED = 'Scheduled'
const VOLCANO_UNSCHEDULABLE = 'Unschedulable'
/** Volcano's words for them. */
const VOLCANO_READY = 'tasks in gang are ready to be scheduled'
const VOLCANO_NO_ROOM = 'NotEnoughResources'

/** A group as the API server has it at the moment of writing. */
export interface WrittenGroup {
  readonly resourceVersion: string
  readonly status: PodGroupStatus
}

/** Whether the status of such groups is the scheduler's to write. */
export const writesStatusOf = (source: GangSource): boolean =>
  source === 'scheduling.k8s.io' || source === 'scheduling.volcano.sh'

/**
 * @param time of the report, as the API writes times
 * @returns undefined if the group says so already, or something that must not be taken back
 */
export const groupStatusRequest = (
  kind: ResourceKind,
  report: GangReport,
  time: string,
  now: WrittenGroup,
): ApiRequest | undefined => {
  const { source, namespace, name } = report.group
  const body = source === 'scheduling.k8s.io' ? kubernetesPatch(report, time, now) : volcanoPatch(report, time, now)
  if (body === undefined) return undefined
  return {
    method: 'PATCH',
    path: `${objectPath(kind, namespace, name)}/status`,
    // Only what is built in knows how lists are merged.
    contentType: source === 'scheduling.k8s.io' ? STRATEGIC_MERGE_PATCH : MERGE_PATCH,
    body,
  }
}

const kubernetesPatch = ({ group, message, outcome }: GangReport, time: string, { status }: WrittenGroup): unknown => {
  const had = status.conditions.find(({ type }) => type === INITIALLY_SCHEDULED)
  const scheduled = outcome === 'Scheduled' ? 'True' : 'False'
  if (had?.status === 'True') return undefined
  if (had?.status === scheduled && had.reason === outcome && had.message === cutMessage(message)) return undefined
  const condition = {
    type: INITIALLY_SCHEDULED,
    status: scheduled,
    reason: outcome,
    message: cutMessage(message),
    ...(group.generation > 0 ? { observedGeneration: group.generation } : {}),
    ...(had?.status === scheduled ? {} : { lastTransitionTime: time }),
  }
  return { metadata: { uid: group.uid }, status: { conditions: [condition] } }
}

const volcanoPatch = ({ atMs, group, message, outcome }: GangReport, time: string, now: WrittenGroup): unknown => {
  const { conditions, phase } = now.status
  const [type, reason, said] =
    outcome === 'Scheduled'
      ? [VOLCANO_SCHEDULED, VOLCANO_READY, '']
      : [VOLCANO_UNSCHEDULABLE, VOLCANO_NO_ROOM, cutMessage(message)]
  const phaseAfter = outcome === 'Scheduled' ? 'Running' : phase === '' ? 'Pending' : phase
  const had = conditions.find((condition) => condition.type === type)
  const others = conditions.filter(
    (condition) => condition.type !== VOLCANO_SCHEDULED && condition.type !== VOLCANO_UNSCHEDULABLE,
  )
  const alone = conditions.length === others.length + 1
  if (phase === phaseAfter && alone && had?.status === 'True' && had.reason === reason && had.message === said)
    return undefined
  const condition = {
    type,
    status: 'True',
    reason,
    message: said,
    // Volcano has the id of its session here, by which it knows its own conditions.
    transitionID: `${group.uid}-${Math.floor(atMs)}`,
    lastTransitionTime: time,
  }
  return {
    // A merge patch replaces the list: it must still be the one that was read.
    metadata: { uid: group.uid, resourceVersion: now.resourceVersion },
    status: { phase: phaseAfter, conditions: [...others.map(({ written }) => written), condition] },
  }
}

/** The longest message that the API server takes in a condition (validation of metav1.Condition). */
const MAX_MESSAGE = 32_768

const cutMessage = (message: string): string => message.slice(0, MAX_MESSAGE)

/** What a group's object says of itself, however odd. */
export const writtenGroup = ({ metadata = {}, status }: PodGroupObject): WrittenGroup => ({
  resourceVersion: textOf(metadata.resourceVersion),
  status: readPodGroupStatus(status),
})
