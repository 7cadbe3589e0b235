import { type Clock, sleep } from '../clock/clock.ts'
import type { Random } from '../clock/random.ts'
import type { KubeObject } from '../cluster/objects.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import type { Connection } from './connection.ts'
import { createObject, getObject, LEASES, replaceObject } from './objects.ts'
import { microTime } from './reporter.ts'

interface LeaseSpec {
  holderIdentity?: string
  leaseDurationSeconds?: number
  acquireTime?: string
  renewTime?: string
  leaseTransitions?: number
}
interface LeaseObject extends KubeObject {
  spec?: LeaseSpec
}

export interface LeaderElectionOptions {
  readonly connection: Connection
  readonly clock: Clock
  readonly random: Random
  /** unique among all replicas, `<hostname>_<random>` */
  readonly identity: string
  readonly leaseName: string
  readonly namespace: string
  /** Others wait so long after the last renewal they saw. @default 15,000 */
  readonly leaseDurationMs?: number
  /** A leader that cannot renew for so long is none any more. @default 10,000 */
  readonly renewDeadlineMs?: number
  /** between two tries. @default 2,000 */
  readonly retryPeriodMs?: number
  /** Ends the candidacy, and gives the lease back if it is held: abort it after the leader's work has ended. */
  readonly signal: AbortSignal
  /** Called each time the lease is won. `leading` is aborted when it is lost. Must not throw. */
  readonly onElected: (leading: AbortSignal) => void
  /** Called each time the lease is lost, not when it is given back. Must not throw. */
  readonly onLost: (why: string) => void
  /** Told of each try that found the lease held by another. Must not throw. */
  readonly onHeld?: () => void
  /** Told of each try that failed otherwise. Must not throw. */
  readonly onTrouble?: (why: string) => void
}

/** client-go: candidates come back after the retry period and up to 1.2 of it more. */
const JITTER_FACTOR = 1.2

/**
 * Candidates for one Lease; one of them leads. client-go's algorithm (k8s.io/client-go/tools/leaderelection): a lease
 * counts as held for its duration from when this process saw it change, so clocks that differ do no harm.
 * Resolves when the signal has been aborted and the lease, if it was held, has been given back or tried to.
 * @throws StowageError CONFIG_INVALID_VALUE if the durations do not leave room for one another
 */
export const runLeaderElection = async (options: LeaderElectionOptions): Promise<void> => {
  const { clock, random, signal, onElected, onLost, onHeld, onTrouble } = options
  const retryPeriodMs = options.retryPeriodMs ?? 2_000
  const renewDeadlineMs = options.renewDeadlineMs ?? 10_000
  const leaseDurationMs = options.leaseDurationMs ?? 15_000
  if (leaseDurationMs <= renewDeadlineMs || renewDeadlineMs <= retryPeriodMs * JITTER_FACTOR) {
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: `lease duration ${leaseDurationMs} ms, renew deadline ${renewDeadlineMs} ms, retry period ${retryPeriodMs} ms`,
      expected: 'lease duration > renew deadline > 1.2 x retry period',
    })
  }
  const candidate = new Candidate(options, leaseDurationMs)
  while (!signal.aborted) {
    let won = false
    try {
      won = await within(clock, renewDeadlineMs, (late) => candidate.write('acquire', AbortSignal.any([signal, late])))
      if (!won) onHeld?.()
    } catch (error) {
      if (signal.aborted) return
      onTrouble?.(messageOf(error))
    }
    if (!won) {
      await sleep(clock, retryPeriodMs * (1 + random.next() * JITTER_FACTOR), signal).catch(() => undefined)
      continue
    }
    const leading = new AbortController()
    onElected(leading.signal)
    const why = await lead(candidate, options, renewDeadlineMs, retryPeriodMs)
    leading.abort(new Error(why ?? 'the candidacy ended'))
    if (why !== undefined) onLost(why)
    else {
      await within(clock, renewDeadlineMs, (late) => candidate.release(late)).catch((error: unknown) => {
        onTrouble?.(`the lease could not be given back: ${messageOf(error)}`)
      })
    }
  }
}

/** Renews until that fails for too long. @returns why leadership ended, undefined if the candidacy did */
const lead = async (
  candidate: Candidate,
  options: LeaderElectionOptions,
  renewDeadlineMs: number,
  retryPeriodMs: number,
): Promise<string | undefined> => {
  for (;;) {
    const outcome = await within(options.clock, renewDeadlineMs, (late) =>
      renew(candidate, options, late, retryPeriodMs),
    )
    if (outcome !== 'renewed') return outcome === 'ended' ? undefined : outcome.why
  }
}

/** One renewal, tried until `late`. */
const renew = async (
  candidate: Candidate,
  { clock, signal, onTrouble }: LeaderElectionOptions,
  late: AbortSignal,
  retryPeriodMs: number,
): Promise<'renewed' | 'ended' | { readonly why: string }> => {
  const ending = AbortSignal.any([signal, late])
  let trouble = 'no answer'
  for (;;) {
    await sleep(clock, retryPeriodMs, ending).catch(() => undefined)
    try {
      ending.throwIfAborted()
      return (await candidate.write('renew', ending)) ? 'renewed' : { why: 'the lease is no longer ours' }
    } catch (error) {
      if (signal.aborted) return 'ended'
      if (late.aborted) return { why: `the lease was not renewed in time: ${trouble}` }
      trouble = messageOf(error)
      onTrouble?.(trouble)
    }
  }
}

/** Runs something with a signal that is aborted after so long. */
const within = async <T>(clock: Clock, ms: number, run: (late: AbortSignal) => Promise<T>): Promise<T> => {
  const controller = new AbortController()
  const timer = clock.after(ms, () => controller.abort(new Error(`not done within ${ms / 1000} s`)))
  try {
    return await run(controller.signal)
  } finally {
    timer.cancel()
  }
}

/** What this process knows of the lease. */
class Candidate {
  readonly #options: LeaderElectionOptions
  readonly #durationMs: number
  /** the lease as last seen, and when, by the own clock */
  #observed: LeaseObject | undefined
  #observedAtMs = 0

  constructor(options: LeaderElectionOptions, durationMs: number) {
    this.#options = options
    this.#durationMs = durationMs
  }

  /**
   * Takes the lease, or renews it.
   * @returns false if another holds it, or, when renewing, if it is not ours any more, even if nobody holds it now:
   *   somebody may have led in between
   * @throws what requests throw
   */
  async write(how: 'acquire' | 'renew', signal: AbortSignal): Promise<boolean> {
    const { connection, clock, identity, leaseName, namespace } = this.#options
    const now = microTime(clock.nowMs())
    const found = await getObject<LeaseObject>(connection, LEASES, namespace, leaseName, signal)
    if (found === undefined) {
      const metadata = { name: leaseName, namespace }
      const spec = { ...this.#spec(now), acquireTime: now, leaseTransitions: 0 }
      const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec }
      return this.#send(() => createObject<LeaseObject>(connection, LEASES, lease, signal))
    }
    if (found.metadata?.resourceVersion !== this.#observed?.metadata?.resourceVersion) this.#observe(found)
    const { holderIdentity, leaseDurationSeconds, leaseTransitions = 0, acquireTime = now } = found.spec ?? {}
    const ours = holderIdentity === identity
    if (how === 'renew' && !ours) return false
    // A duration from outside: one that is no number, or not above 0, holds nothing.
    const heldMs = (leaseDurationSeconds ?? 0) * 1_000
    if (!ours && holderIdentity && this.#observedAtMs + heldMs > clock.monotonicMs()) return false
    const spec = {
      ...found.spec,
      ...this.#spec(now),
      acquireTime: ours ? acquireTime : now,
      leaseTransitions: ours ? leaseTransitions : leaseTransitions + 1,
    }
    return this.#send(() => replaceObject<LeaseObject>(connection, LEASES, { ...found, spec }, undefined, signal))
  }

  /** Gives the lease back, so that another need not wait for it to run out. */
  async release(signal: AbortSignal): Promise<void> {
    const { connection, clock, identity, leaseName, namespace } = this.#options
    const found = await getObject<LeaseObject>(connection, LEASES, namespace, leaseName, signal)
    if (found?.spec?.holderIdentity !== identity) return
    const now = microTime(clock.nowMs())
    const spec = { ...found.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: now, acquireTime: now }
    await replaceObject(connection, LEASES, { ...found, spec }, undefined, signal)
  }

  #spec(now: string): LeaseSpec {
    const leaseDurationSeconds = Math.ceil(this.#durationMs / 1_000)
    return { holderIdentity: this.#options.identity, leaseDurationSeconds, renewTime: now }
  }

  #observe(lease: LeaseObject): void {
    this.#observed = lease
    this.#observedAtMs = this.#options.clock.monotonicMs()
  }

  async #send(request: () => Promise<LeaseObject>): Promise<boolean> {
    this.#observe(await request())
    return true
  }
}
