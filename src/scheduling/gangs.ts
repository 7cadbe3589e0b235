import type { Clock, Timer } from '../clock/clock.ts'
import type { ObjectFeed } from '../cluster/feed.ts'
import { type GangSource, type PodGroup, type PodGroupObject, readPodGroup } from '../cluster/gangs.ts'
import { isFinished, type Pod } from '../cluster/pod.ts'
import type { GangReport } from './ports.ts'
import type { Together } from './preemption.ts'

/** How long room is kept for a member whose bind failed, where the gang does not say (kube-scheduler's Permit waits as long). */
export const GANG_TIMEOUT_MS = 5 * 60_000
/** Most gangs are whole within a moment: nobody is told before. */
const TELL_AFTER_MS = 1000
/** A gang whose members trickle in is told of no more often. */
const TELL_EVERY_MS = 10_000
/** Longest name in a message; a real one is at most 253. */
const NAME_LENGTH = 253

/** Pods that are placed together or not at all. */
export interface Gang {
  readonly source: GangSource
  readonly namespace: string
  readonly name: string
  /** the latest record of each member that exists and has not finished, by uid */
  readonly members: ReadonlyMap<string, Pod>
  /** so many are placed together or none; undefined: nobody has said yet */
  readonly minCount: number | undefined
  readonly timeoutMs: number
  /** what says how many, if that is no member */
  readonly object: PodGroup | undefined
}

class KnownGang implements Gang {
  readonly source: GangSource
  readonly namespace: string
  readonly name: string
  readonly members = new Map<string, Pod>()
  object: PodGroup | undefined
  /** what the members say, the largest */
  size: number | undefined
  saidTimeoutMs: number | undefined
  /** members that are on a node or can be placed by us */
  there = 0
  held = false
  tellAtMs = 0
  /** what its members were told last */
  told = ''
  /** what was said of its object last, and of which */
  reported = ''

  constructor(source: GangSource, namespace: string, name: string) {
    this.source = source
    this.namespace = namespace
    this.name = name
  }

  get minCount(): number | undefined {
    return this.object?.minCount ?? this.size
  }

  get timeoutMs(): number {
    return this.object?.timeoutMs ?? this.saidTimeoutMs ?? GANG_TIMEOUT_MS
  }

  get shortOfMembers(): boolean {
    return this.minCount === undefined || this.there < this.minCount
  }
}

export interface GangsOptions {
  readonly clock: Clock
  readonly isOurs: (schedulerName: string) => boolean
  /** whether the pod counts on a node */
  readonly isPlaced: (uid: string) => boolean
  /** What held back the members may be over. */
  readonly onFreed: (gang: Gang) => void
  /** Members have waited for others for a while: time to tell. */
  readonly onHeld: (gang: Gang) => void
  /** The object of a gang that has members is new or has changed. */
  readonly onObject: (gang: Gang) => void
  readonly unreadable: (object: PodGroupObject, thrown: unknown) => void
}

/** The gangs of a cluster: who belongs to which, and whether enough are there to try. */
export class Gangs {
  readonly #options: GangsOptions
  readonly #gangs = new Map<string, KnownGang>()
  readonly #byUid = new Map<string, KnownGang>()
  /** gangs short of members of which nobody was told yet how many are there */
  readonly #untold = new Set<KnownGang>()
  /** gangs that are evicted as a whole or not at all */
  readonly #disruptedTogether = new Set<KnownGang>()
  readonly #rooms = new Map<string, Timer>()
  #teller: Timer | undefined
  #stopped = false

  constructor(options: GangsOptions) {
    this.#options = options
  }

  /** undefined: the pod is placed for itself. */
  of(uid: string): Gang | undefined {
    return this.#byUid.get(uid)
  }

  /** The pods on nodes that are evicted with one, as their object says; undefined: no object says so. */
  get disruptedTogether(): Together | undefined {
    return this.#disruptedTogether.size === 0 ? undefined : this.#together
  }

  readonly #together = (uid: string): readonly Pod[] | undefined => {
    const gang = this.#byUid.get(uid)
    if (gang === undefined || !this.#disruptedTogether.has(gang)) return undefined
    return [...gang.members.values()].filter((member) => this.#options.isPlaced(member.uid))
  };

  /** Gangs with members and an object of any API. */
  *withObjects(): Generator<Gang> {
    for (const gang of this.#gangs.values()) if (gang.object !== undefined && gang.members.size > 0) yield gang
  }

  /** Whether this is news about the gang's object: nothing is said a second time, and what is for ever is not taken back. */
  isNews({ source, namespace, name, object }: Gang, outcome: GangReport['outcome'], message: string): boolean {
    const gang = this.#gangs.get(keyOf({ source, namespace, name }))
    if (gang === undefined || object === undefined) return false
    const scheduled = `${object.uid} Scheduled`
    // Kubernetes' group has been scheduled once, whatever comes; what the API server shows of it may be older.
    if (gang.reported === scheduled && source === 'scheduling.k8s.io') return false
    const reported = outcome === 'Scheduled' ? scheduled : `${object.uid} ${outcome}: ${message}`
    if (gang.reported === reported) return false
    gang.reported = reported
    return true
  }

  /** Gangs of which some members have a node, but fewer than are needed. */
  *begun(): Generator<Gang> {
    for (const gang of this.#gangs.values()) if (this.isShort(gang) && this.placed(gang) > 0) yield gang
  }

  /** Members that count on a node and stay there. */
  placed({ members }: Gang): number {
    let placed = 0
    for (const [uid, { deleting }] of members) if (!deleting && this.#options.isPlaced(uid)) placed++
    return placed
  }

  /** Whether fewer members are placed than are needed: more must be placed together, or none. */
  isShort(gang: Gang): boolean {
    return (gang.minCount ?? Number.POSITIVE_INFINITY) > this.placed(gang)
  }

  /** Why a pod is not to be tried yet: some of its gang are missing. */
  holdsBack(pod: Pod): string | undefined {
    const gang = this.#byUid.get(pod.uid)
    if (gang === undefined || !gang.shortOfMembers) return undefined
    const { minCount, there } = gang
    if (minCount !== undefined)
      return `waiting for minCount pods from a gang to appear in scheduling queue: ${there} of ${minCount} are there`
    const fault = pod.gang?.fault ?? ''
    if (fault !== '') return `its gang cannot be told: ${fault}`
    if (gang.source === 'stowage.dev') return 'its gang cannot be told: no member has stowage.dev/gang-size'
    return `waiting for pods's pod group ${JSON.stringify(gang.name.slice(0, NAME_LENGTH))} to appear in scheduling queue`
  }

  /** A pod of anyone's is new or has changed. */
  seen(pod: Pod): void {
    const { gang: said, namespace, uid } = pod
    const before = this.#byUid.get(uid)
    if (said === undefined && before === undefined) return
    const gang = said === undefined || isFinished(pod.phase) ? undefined : this.#gang(said.source, namespace, said.name)
    if (before !== undefined && before !== gang) this.gone(uid)
    if (gang === undefined || said === undefined) return
    const known = gang.members.get(uid)
    gang.there += (this.#counts(pod) ? 1 : 0) - (known !== undefined && this.#counts(known) ? 1 : 0)
    gang.members.set(uid, pod)
    this.#byUid.set(uid, gang)
    if (said.size !== undefined) gang.size = Math.max(gang.size ?? 0, said.size)
    gang.saidTimeoutMs = said.timeoutMs ?? gang.saidTimeoutMs
    this.#settle(gang)
  }

  gone(uid: string): void {
    this.releaseRoom(uid)
    const gang = this.#byUid.get(uid)
    if (gang === undefined) return
    const known = gang.members.get(uid)
    if (known !== undefined && this.#counts(known)) gang.there--
    gang.members.delete(uid)
    this.#byUid.delete(uid)
    this.#settle(gang)
  }

  /** Told of the PodGroups of one API. */
  feed(source: GangSource): ObjectFeed<PodGroupObject> {
    return {
      seen: (object) => {
        const { namespace = '', name = '' } = object.metadata ?? {}
        const gang = this.#gang(source, namespace, name)
        try {
          gang.object = readPodGroup(source, object)
        } catch (thrown) {
          // What it was before it broke is true no more.
          gang.object = undefined
          this.#options.unreadable(object, thrown)
        }
        this.#settle(gang)
        if (gang.object !== undefined && gang.members.size > 0) this.#options.onObject(gang)
      },
      gone: (namespace, name) => {
        const gang = this.#gang(source, namespace, name)
        gang.object = undefined
        this.#settle(gang)
      },
      synced: () => undefined,
    }
  }

  /** Who is held back is told so, even if a replica before us has. */
  tellAgain(): void {
    for (const gang of this.#gangs.values()) {
      gang.told = ''
      gang.reported = ''
      if (gang.held) this.#tellLater(gang)
    }
  }

  /** Has `release` called when the gang's time is over, unless the pod comes back or goes before that. */
  keepRoom(uid: string, release: () => void): void {
    const gang = this.#byUid.get(uid)
    if (gang === undefined || this.#stopped) return
    this.releaseRoom(uid)
    const over = (): void => {
      this.#rooms.delete(uid)
      release()
    }
    this.#rooms.set(uid, this.#options.clock.after(gang.timeoutMs, over))
  }

  /** Whether `keepRoom` lasts for the pod. */
  keepsRoom(uid: string): boolean {
    return this.#rooms.has(uid)
  }

  /** No room is kept for the pod any more, or it has it. */
  releaseRoom(uid: string): void {
    this.#rooms.get(uid)?.cancel()
    this.#rooms.delete(uid)
  }

  /** No timer runs any more. */
  stop(): void {
    this.#stopped = true
    this.#teller?.cancel()
    for (const timer of this.#rooms.values()) timer.cancel()
    this.#rooms.clear()
  }

  // Within

  #counts({ deleting, nodeName, schedulerName, shape }: Pod): boolean {
    if (deleting) return false
    return nodeName !== '' || (shape.schedulingGates.length === 0 && this.#options.isOurs(schedulerName))
  }

  #gang(source: GangSource, namespace: string, name: string): KnownGang {
    // Neither a source nor a namespace has a slash.
    const key = keyOf({ source, namespace, name })
    let gang = this.#gangs.get(key)
    if (gang === undefined) this.#gangs.set(key, (gang = new KnownGang(source, namespace, name)))
    return gang
  }

  #settle(gang: KnownGang): void {
    if (gang.object?.disruptedTogether === true && gang.members.size > 0) this.#disruptedTogether.add(gang)
    else this.#disruptedTogether.delete(gang)
    if (gang.members.size === 0) {
      gang.size = undefined
      gang.saidTimeoutMs = undefined
      gang.held = false
      this.#untold.delete(gang)
      if (gang.object === undefined) this.#gangs.delete(keyOf(gang))
      return
    }
    const { held } = gang
    gang.held = gang.shortOfMembers
    if (gang.held) {
      if (!held) gang.tellAtMs = 0
      this.#tellLater(gang)
    } else {
      this.#untold.delete(gang)
      if (held) this.#options.onFreed(gang)
    }
  }

  #tellLater(gang: KnownGang): void {
    if (gang.told === countsOf(gang)) return
    this.#untold.add(gang)
    if (this.#stopped) return
    this.#teller ??= this.#options.clock.after(TELL_AFTER_MS, () => this.#tell())
  }

  #tell(): void {
    this.#teller = undefined
    const nowMs = this.#options.clock.monotonicMs()
    for (const gang of this.#untold) {
      if (gang.tellAtMs > nowMs) continue
      this.#untold.delete(gang)
      gang.tellAtMs = nowMs + TELL_EVERY_MS
      gang.told = countsOf(gang)
      this.#options.onHeld(gang)
    }
    if (this.#untold.size > 0 && !this.#stopped)
      this.#teller = this.#options.clock.after(TELL_AFTER_MS, () => this.#tell())
  }
}

const countsOf = ({ minCount, there }: KnownGang): string => `${there} of ${minCount}`

const keyOf = ({ source, namespace, name }: Pick<Gang, 'source' | 'namespace' | 'name'>): string =>
  `${source}/${namespace}/${name}`
