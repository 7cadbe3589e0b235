import { type Timer, VirtualClock } from '../clock/clock.ts'

/** A virtual clock that tells when somebody begins to wait on it: the moment to move it on. */
export class WaitingClock extends VirtualClock {
  #onWait: ((delayMs: number) => void) | undefined

  override after(delayMs: number, run: () => void): Timer {
    const timer = super.after(delayMs, run)
    this.#onWait?.(delayMs)
    return timer
  }

  /** Resolves with the next wait that is no longer than this. */
  nextWait(atMostMs = Number.POSITIVE_INFINITY): Promise<number> {
    return new Promise((resolve) => {
      this.#onWait = (delayMs) => {
        if (delayMs <= atMostMs) resolve(delayMs)
      }
    })
  }
}
