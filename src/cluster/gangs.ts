import type { Condition, KubeObject, PodObject } from './objects.ts'
import { textOf } from './wire.ts'

/** Whose idea of a gang a pod speaks of: the API group of its object, or our own labels. */
export type GangSource = 'scheduling.k8s.io' | 'scheduling.x-k8s.io' | 'scheduling.volcano.sh' | 'stowage.dev'

/** What a pod says about the gang it is a member of. */
export interface GangMembership {
  readonly source: GangSource
  readonly name: string
  /** `stowage.dev/gang-size`: how many are placed together at least; undefined: the group's object says it */
  readonly size: number | undefined
  /** `stowage.dev/gang-timeout` */
  readonly timeoutMs: number | undefined
  /** what is wrong with the above; '' if nothing */
  readonly fault: string
}

/** One condition of a group's status. */
export interface PodGroupCondition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  /** all of it, as it is written there */
  readonly written: object
}

/** What a group's object says of how it is. */
export interface PodGroupStatus {
  /** '' where none is written */
  readonly phase: string
  readonly conditions: readonly PodGroupCondition[]
}

/** What a group's object says. */
export interface PodGroup {
  readonly source: GangSource
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly generation: number
  readonly status: PodGroupStatus
  /** so many are placed together or none; 1: each for itself */
  readonly minCount: number
  readonly timeoutMs: number | undefined
  /** its pods are evicted together or not at all */
  readonly disruptedTogether: boolean
}

/** A PodGroup of any of the APIs, limited to what is read. */
export interface PodGroupObject extends KubeObject {
  spec?: {
    /** scheduling.k8s.io */
    schedulingPolicy?: { basic?: unknown; gang?: { minCount?: number } }
    /** scheduling.k8s.io */
    disruptionMode?: { single?: unknown; all?: unknown }
    /** scheduling.x-k8s.io and scheduling.volcano.sh */
    minMember?: number
    /** scheduling.x-k8s.io */
    scheduleTimeoutSeconds?: number
  }
  status?: { phase?: string; conditions?: Condition[] }
}

export const GANG = 'stowage.dev/gang'
export const GANG_SIZE = 'stowage.dev/gang-size'
export const GANG_TIMEOUT = 'stowage.dev/gang-timeout'

const COSCHEDULING_LABELS = ['scheduling.x-k8s.io/pod-group', 'pod-group.scheduling.sigs.k8s.io']
const VOLCANO_ANNOTATIONS = ['scheduling.k8s.io/group-name', 'scheduling.volcano.sh/group-name']

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, '': 1000 }

/** A label or annotation of the object itself, '' without one. */
const own = (record: unknown, key: string): string =>
  typeof record === 'object' && record !== null && Object.hasOwn(record, key)
    ? textOf((record as Readonly<Record<string, unknown>>)[key])
    : ''

const firstOf = (record: unknown, keys: readonly string[]): string => {
  for (const key of keys) {
    const value = own(record, key)
    if (value !== '') return value
  }
  return ''
}

/** `90s`, `5m`, `1h`, `500ms`, or seconds. */
const durationMs = (text: string): number | undefined => {
  const [, amount, unit = ''] = /^(\d{1,9})(ms|s|m|h)?$/.exec(text) ?? []
  return amount === undefined ? undefined : Number(amount) * (UNIT_MS[unit] ?? 1000)
}

/** Which gang a pod belongs to, undefined if to none. Never throws: a pod on a node must count whatever it says here. */
export const gangOf = ({ metadata = {}, spec = {} }: PodObject): GangMembership | undefined => {
  const { labels, annotations } = metadata
  const saidHere = (key: string): string => own(annotations, key) || own(labels, key)
  const names: readonly (readonly [GangSource, string])[] = [
    ['scheduling.k8s.io', textOf(spec.schedulingGroup?.podGroupName)],
    ['scheduling.x-k8s.io', firstOf(labels, COSCHEDULING_LABELS)],
    ['scheduling.volcano.sh', firstOf(annotations, VOLCANO_ANNOTATIONS)],
    ['stowage.dev', saidHere(GANG)],
  ]
  const found = names.find(([, name]) => name !== '')
  if (found === undefined) return undefined
  const [source, name] = found
  const sizeText = saidHere(GANG_SIZE)
  const timeoutText = saidHere(GANG_TIMEOUT)
  const size = /^[1-9]\d{0,6}$/.test(sizeText) ? Number(sizeText) : undefined
  const timeoutMs = durationMs(timeoutText)
  let fault = ''
  if (sizeText !== '' && size === undefined)
    fault = `${GANG_SIZE} is ${JSON.stringify(sizeText.slice(0, 64))}, which is no number from 1`
  else if (timeoutText !== '' && timeoutMs === undefined)
    fault = `${GANG_TIMEOUT} is ${JSON.stringify(timeoutText.slice(0, 64))}, which is no time like 90s or 5m`
  return { source, name, size, timeoutMs, fault }
}

/** Whatever is there, none of it can do harm: it is only compared and, of other conditions, written back as it was. */
export const readPodGroupStatus = (status: PodGroupObject['status']): PodGroupStatus => {
  const list: unknown = status?.conditions
  const conditions: PodGroupCondition[] = []
  for (const written of Array.isArray(list) ? (list as unknown[]) : []) {
    if (typeof written !== 'object' || written === null) continue
    const { message, reason, status: its, type } = written as Readonly<Record<string, unknown>>
    conditions.push({
      type: textOf(type),
      status: textOf(its),
      reason: textOf(reason),
      message: textOf(message),
      written,
    })
  }
  return { phase: textOf(status?.phase), conditions }
}

/** @throws TypeError if it does not say how many */
export const readPodGroup = (source: GangSource, object: PodGroupObject): PodGroup => {
  const { metadata = {}, spec = {}, status } = object
  const { minMember, schedulingPolicy, scheduleTimeoutSeconds } = spec
  // Without a gang policy its pods go one by one.
  const ungrouped = schedulingPolicy !== undefined && schedulingPolicy?.gang === undefined
  const minCount: unknown = ungrouped ? 1 : (schedulingPolicy?.gang?.minCount ?? minMember ?? 1)
  if (!Number.isSafeInteger(minCount) || (minCount as number) < 0)
    throw new TypeError(`the least number of members is ${JSON.stringify(minCount)}`)
  const { generation } = metadata
  return {
    source,
    namespace: textOf(metadata.namespace),
    name: textOf(metadata.name),
    uid: textOf(metadata.uid),
    resourceVersion: textOf(metadata.resourceVersion),
    generation: typeof generation === 'number' ? generation : 0,
    status: readPodGroupStatus(status),
    minCount: minCount as number,
    timeoutMs: typeof scheduleTimeoutSeconds === 'number' ? scheduleTimeoutSeconds * 1000 : undefined,
    disruptedTogether: typeof spec.disruptionMode?.all === 'object' && spec.disruptionMode.all !== null,
  }
}
