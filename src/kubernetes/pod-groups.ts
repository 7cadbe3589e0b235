import { type Clock, sleep } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import type { GangSource } from '../cluster/gangs.ts'
import { messageOf } from '../errors/catalogue.ts'
import { backoffMs } from './backoff.ts'
import { ApiRefusal, type Connection } from './connection.ts'
import type { ResourceKind } from './objects.ts'

/** The APIs that have an object for a gang. */
export type PodGroupSource = Exclude<GangSource, 'stowage.dev'>

/**
 * Where each API is served, the version that is preferred first. Kubernetes' own changes with each release (v1beta1 and
 * v1alpha3 in 1.37, both off by default): what differs is read in `cluster/gangs.ts` and nowhere else.
 */
const ROOTS: readonly (readonly [PodGroupSource, readonly string[]])[] = [
  ['scheduling.k8s.io', ['/apis/scheduling.k8s.io/v1beta1', '/apis/scheduling.k8s.io/v1alpha3']],
  ['scheduling.x-k8s.io', ['/apis/scheduling.x-k8s.io/v1alpha1']],
  ['scheduling.volcano.sh', ['/apis/scheduling.volcano.sh/v1beta1']],
]
const PLURAL = 'podgroups'
const RETRY = { firstMs: 1_000, maxMs: 30_000 }
/** Four small questions: short enough for somebody who installs a definition and looks at the pods that wait for it. */
const AGAIN_MS = 15_000

export interface PodGroupSearch {
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
  readonly signal: AbortSignal
  /** Once for each API that the server has. Must not throw. */
  readonly onServed: (source: PodGroupSource, kind: ResourceKind) => void
  /** The server could not be asked; it is asked again. Must not throw. */
  readonly onTrouble: (why: string) => void
}

/** @returns undefined if none of the versions has PodGroups, or we may not ask. @throws ApiRefusal for any other refusal */
const servedKind = async (
  connection: Connection,
  roots: readonly string[],
  signal: AbortSignal,
): Promise<ResourceKind | undefined> => {
  for (const root of roots) {
    const answer = await connection.request({ method: 'GET', path: root, signal })
    if (answer.status === 404 || answer.status === 403) continue
    if (answer.status !== 200) throw new ApiRefusal(`GET ${root}`, answer)
    const resources = (answer.body as { resources?: unknown } | undefined)?.resources
    const named = (resource: unknown): boolean => (resource as { name?: unknown } | null)?.name === PLURAL
    if (Array.isArray(resources) && resources.some(named)) return { root, plural: PLURAL, namespaced: true }
  }
  return undefined
}

/** Asks for some of the APIs. @returns those that the server lacks */
const ask = async (search: PodGroupSearch, roots: typeof ROOTS): Promise<typeof ROOTS> => {
  const { clock, connection, onServed, onTrouble, random, signal } = search
  const lacking: (typeof ROOTS)[number][] = []
  for (const row of roots) {
    const [source, versions] = row
    for (let failures = 1; ; failures++) {
      if (signal.aborted) return []
      try {
        const kind = await servedKind(connection, versions, signal)
        if (kind === undefined) lacking.push(row)
        else onServed(source, kind)
        break
      } catch (error) {
        if (signal.aborted) return []
        onTrouble(messageOf(error))
        await sleep(clock, backoffMs(RETRY, failures, random), signal).catch(() => undefined)
      }
    }
  }
  return lacking
}

/** Asks once which kinds of PodGroup the server has. Never rejects for what the server does. */
export const findPodGroups = async (search: PodGroupSearch): Promise<void> => {
  await ask(search, ROOTS)
}

/**
 * Asks the same, and again for those that the server lacks, since their definitions may be installed later. Resolves when it
 * has them all or the signal is aborted. Never rejects for what the server does.
 */
export const awaitPodGroups = async (search: PodGroupSearch): Promise<void> => {
  const { clock, signal } = search
  for (let lacking = ROOTS; ; ) {
    lacking = await ask(search, lacking)
    if (lacking.length === 0) return
    await sleep(clock, AGAIN_MS, signal).catch(() => undefined)
  }
}
