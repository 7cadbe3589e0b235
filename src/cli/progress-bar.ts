const WIDTH = 30

/** A bar on stderr where that is a terminal; else nothing. */
export class ProgressBar {
  readonly #label: string
  #drawn = false

  constructor(label: string) {
    this.#label = label
  }

  show(done: number, total: number): void {
    if (!process.stderr.isTTY || total === 0) return
    const filled = Math.round((WIDTH * done) / total)
    process.stderr.write(
      `\r${this.#label} [${'#'.repeat(filled)}${' '.repeat(WIDTH - filled)}] ${done}/${total}\u001B[K`,
    )
    this.#drawn = true
  }

  /** Leaves a clean line. */
  end(): void {
    if (this.#drawn) process.stderr.write('\r\u001B[K')
    this.#drawn = false
  }
}
