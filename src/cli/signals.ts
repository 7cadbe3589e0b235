import type { Clock } from '../clock/clock.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** Two signals within this time are one wish: a terminal and npm both pass on the same Ctrl-C. */
const SAME_WISH_MS = 500

/** The user's wish to stop. */
export interface StopRequest {
  /** aborted when the wish is there */
  readonly signal: AbortSignal
  /** resolves when the wish is there */
  readonly requested: Promise<void>
  /** stops listening */
  release(): void
}

/**
 * Listens for Ctrl-C and its kin. A second one, a while after the first, ends the process at once.
 * Keeps the process alive until `release`.
 */
export const untilSignalled = (clock: Clock): StopRequest => {
  const abort = new AbortController()
  let firstAtMs = 0
  const onSignal = (name: NodeJS.Signals): void => {
    if (!abort.signal.aborted) {
      firstAtMs = clock.monotonicMs()
      abort.abort(new Error(`stopped by ${name}`))
    } else if (clock.monotonicMs() - firstAtMs > SAME_WISH_MS) process.exit(130)
  }
  for (const name of SIGNALS) process.on(name, onSignal)
  // Signal listeners and the clock's timers alone do not keep Node running; an open port does.
  const { port1: alive } = new MessageChannel()
  alive.ref()
  const requested = new Promise<void>((resolve) => {
    abort.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  return {
    signal: abort.signal,
    requested,
    release: () => {
      alive.close()
      for (const name of SIGNALS) process.off(name, onSignal)
    },
  }
}
