import type { Condition, Container, ContainerStatus, PodObject, PodStatus } from '../../cluster/objects.ts'
import { StowageError } from '../../errors/catalogue.ts'
import type { Refusal } from './kubelet-admission.ts'
import { timestamp } from './virtual-node-object.ts'

/** How long a pod runs once it has started: `90s`, `5m`, `1h30m`, or plain seconds. Without it a pod runs until it is deleted. */
export const DURATION_ANNOTATION = 'stowage.dev/duration'

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/**
 * Milliseconds of a duration as the annotation has it.
 * @throws StowageError POD_MALFORMED
 */
export const parseDurationMs = (text: string): number => {
  const trimmed = text.length <= 64 ? text.trim() : ''
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1000
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(trimmed)) {
    throw new StowageError('POD_MALFORMED', {
      found: `${JSON.stringify(text.slice(0, 64))} in annotation ${DURATION_ANNOTATION}`,
      expected: 'a duration such as 90s, 5m, 1h30m, or seconds',
    })
  }
  let totalMs = 0
  for (const [, amount, unit = ''] of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    totalMs += Number(amount) * (UNIT_MS[unit] ?? 0)
  }
  return totalMs
}

/** The status that a kubelet writes: more than the scheduler reads. */
export interface KubeletPodStatus extends PodStatus {
  reason?: string
  message?: string
  hostIP?: string
  hostIPs?: { ip: string }[]
  podIP?: string
  podIPs?: { ip: string }[]
  containerStatuses?: KubeletContainerStatus[]
  initContainerStatuses?: KubeletContainerStatus[]
}

type ContainerState =
  | { running: { startedAt: string } }
  | { terminated: { exitCode: number; reason: string; startedAt: string; finishedAt: string } }

interface KubeletContainerStatus extends ContainerStatus {
  image?: string
  imageID?: string
  ready?: boolean
  started?: boolean
  restartCount?: number
  state?: ContainerState
}

/** What a virtual kubelet knows about a pod when it acts. */
export interface StageContext {
  readonly nowMs: number
  readonly hostIP: string
  readonly podIP: string
  /** set where admission refused the pod */
  readonly refusal: Refusal | undefined
}

/** One step in the life of a pod on a virtual node. */
export interface PodStage {
  readonly name: string
  /** whether this step comes next for a pod in this state; of several, the first in the list does */
  applies(pod: PodObject, refusal: Refusal | undefined): boolean
  /** how long after the pod got into that state, in simulated time; `draw` is uniform in [0, 1) */
  delayMs(pod: PodObject, draw: number): number
  /** the status then, or that the pod is gone */
  next(pod: PodObject, context: StageContext): KubeletPodStatus | 'gone'
}

const conditions = (
  pod: PodObject,
  nowMs: number,
  wanted: Readonly<Record<string, [status: string, reason?: string]>>,
): Condition[] => {
  const before = pod.status?.conditions ?? []
  const now = timestamp(nowMs)
  const posted = Object.entries(wanted).map(([type, [status, reason]]): Condition => {
    const old = before.find((condition) => condition.type === type)
    return {
      type,
      status,
      lastProbeTime: null,
      lastTransitionTime: old?.status === status ? (old.lastTransitionTime ?? now) : now,
      ...(reason === undefined ? {} : { reason }),
    }
  })
  return [...before.filter(({ type = '' }) => !Object.hasOwn(wanted, type)), ...posted]
}

const containerStatus = (container: Container, ready: boolean, state: ContainerState): KubeletContainerStatus => ({
  name: container.name ?? '',
  image: container.image ?? '',
  imageID: '',
  ready,
  started: ready,
  restartCount: 0,
  state,
})

const running = (pod: PodObject, { nowMs, hostIP, podIP }: StageContext): KubeletPodStatus => {
  const now = timestamp(nowMs)
  const terminated = { terminated: { exitCode: 0, reason: 'Completed', startedAt: now, finishedAt: now } }
  const initContainers = pod.spec?.initContainers ?? []
  return {
    ...pod.status,
    phase: 'Running',
    conditions: conditions(pod, nowMs, {
      PodReadyToStartContainers: ['True'],
      Initialized: ['True'],
      Ready: ['True'],
      ContainersReady: ['True'],
    }),
    hostIP,
    hostIPs: [{ ip: hostIP }],
    podIP,
    podIPs: [{ ip: podIP }],
    startTime: pod.status?.startTime ?? now,
    containerStatuses: (pod.spec?.containers ?? []).map((container) =>
      containerStatus(container, true, { running: { startedAt: now } }),
    ),
    ...(initContainers.length === 0
      ? {}
      : {
          initContainerStatuses: initContainers.map((container) =>
            container.restartPolicy === 'Always'
              ? containerStatus(container, true, { running: { startedAt: now } })
              : { ...containerStatus(container, true, terminated), started: false },
          ),
        }),
  }
}

/** The status of a pod whose containers have ended, well or not. */
export const endedStatus = (
  pod: PodObject,
  nowMs: number,
  end: { phase: 'Succeeded' } | { phase: 'Failed'; reason: string; message: string },
): KubeletPodStatus => {
  const finishedAt = timestamp(nowMs)
  const startedAt = pod.status?.startTime ?? finishedAt
  const why = end.phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed'
  const sidecars = new Set(
    (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always').map(({ name }) => name),
  )
  const ended = (exitCode: 0 | 1): ContainerState => ({
    terminated: { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error', startedAt, finishedAt },
  })
  const state = ended(end.phase === 'Succeeded' ? 0 : 1)
  return {
    ...pod.status,
    ...end,
    conditions: conditions(pod, nowMs, {
      PodReadyToStartContainers: ['False'],
      Initialized: ['True', ...(end.phase === 'Succeeded' ? ['PodCompleted'] : [])] as [string, string?],
      Ready: ['False', why],
      ContainersReady: ['False', why],
    }),
    containerStatuses: (pod.spec?.containers ?? []).map((container) => containerStatus(container, false, state)),
    ...(pod.status?.initContainerStatuses === undefined
      ? {}
      : {
          initContainerStatuses: pod.status.initContainerStatuses.map((status) =>
            sidecars.has(status.name) ? { ...status, ready: false, started: false, state: ended(0) } : status,
          ),
        }),
  }
}

/** The pod's Ready condition alone, as the node controller sets it when the node is lost and kubelet when it is back. */
export const readyStatus = (pod: PodObject, nowMs: number, ready: boolean): KubeletPodStatus => ({
  ...pod.status,
  conditions: conditions(pod, nowMs, { Ready: [ready ? 'True' : 'False'] }),
})

const phaseOf = (pod: PodObject): string => pod.status?.phase ?? 'Pending'
const durationOf = (pod: PodObject): string | undefined => pod.metadata?.annotations?.[DURATION_ANNOTATION]

/** Virtual containers stop when told to, within this time, whatever grace they have. */
const STOP_WITHIN_MS = 1000
/** A container starts in this time at least, and in as much again at most: the image is there, the sandbox is made. */
const START_MS = 500

/**
 * The life of a pod on a virtual node. Each time a pod changes, the first stage that applies is the one to come; when the
 * same stage still applies after a change, its time stays.
 */
export const podStages: readonly PodStage[] = [
  {
    name: 'remove',
    applies: (pod) => pod.metadata?.deletionTimestamp !== undefined,
    delayMs: (pod) =>
      phaseOf(pod) === 'Running' ? Math.min(STOP_WITHIN_MS, (pod.metadata?.deletionGracePeriodSeconds ?? 0) * 1000) : 0,
    next: () => 'gone',
  },
  {
    name: 'refuse',
    applies: (pod, refusal) => refusal !== undefined && phaseOf(pod) === 'Pending',
    delayMs: () => 0,
    next: (pod, { refusal }) => ({
      ...pod.status,
      phase: 'Failed',
      reason: refusal?.reason ?? '',
      message: `Pod was rejected: ${refusal?.message ?? ''}`,
    }),
  },
  {
    name: 'start',
    applies: (pod) => phaseOf(pod) === 'Pending',
    delayMs: (_pod, draw) => START_MS * (1 + draw),
    next: running,
  },
  {
    name: 'complete',
    applies: (pod) => phaseOf(pod) === 'Running' && durationOf(pod) !== undefined,
    delayMs: (pod) => parseDurationMs(durationOf(pod) ?? '0'),
    next: (pod, { nowMs }) => endedStatus(pod, nowMs, { phase: 'Succeeded' }),
  },
]
