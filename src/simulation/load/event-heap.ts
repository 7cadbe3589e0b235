/**
 * What is to happen, by time: a binary heap in typed arrays. An event is two whole numbers; nothing is allocated for it.
 * Equal pushes in equal order come out in equal order.
 */
export class EventHeap {
  #times = new Float64Array(1024)
  #kinds = new Int32Array(1024)
  #subjects = new Int32Array(1024)
  #size = 0
  /** of the event that `pop` took out last */
  kind = 0
  subject = 0

  get size(): number {
    return this.#size
  }

  /** Infinity: nothing is to happen. */
  get nextMs(): number {
    // length > 0
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#times[0]!
  }

  push(atMs: number, kind: number, subject: number): void {
    if (this.#size === this.#times.length) this.#grow()
    const times = this.#times
    const kinds = this.#kinds
    const subjects = this.#subjects
    let at = this.#size++
    // all indexes are below the size
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (times[parent]! <= atMs) break
      times[at] = times[parent]!
      kinds[at] = kinds[parent]!
      subjects[at] = subjects[parent]!
      at = parent
    }
    times[at] = atMs
    kinds[at] = kind
    subjects[at] = subject
  }

  /** Takes the next event out, into `kind` and `subject`. */
  pop(): void {
    const times = this.#times
    const kinds = this.#kinds
    const subjects = this.#subjects
    // size > 0, and all indexes are below it
    this.kind = kinds[0]!
    this.subject = subjects[0]!
    const size = --this.#size
    if (size === 0) return
    const atMs = times[size]!
    const kind = kinds[size]!
    const subject = subjects[size]!
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      if (child + 1 < size && times[child + 1]! < times[child]!) child++
      if (times[child]! >= atMs) break
      times[at] = times[child]!
      kinds[at] = kinds[child]!
      subjects[at] = subjects[child]!
      at = child
    }
    times[at] = atMs
    kinds[at] = kind
    subjects[at] = subject
  }

  #grow(): void {
    const length = 2 * this.#times.length
    const times = new Float64Array(length)
    times.set(this.#times)
    this.#times = times
    const kinds = new Int32Array(length)
    kinds.set(this.#kinds)
    this.#kinds = kinds
    const subjects = new Int32Array(length)
    subjects.set(this.#subjects)
    this.#subjects = subjects
  }
}
