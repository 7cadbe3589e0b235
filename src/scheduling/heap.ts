/** What can lie in a heap: it knows its own position, so that it can be taken out of the middle. -1 while it is in none. */
export interface HeapItem {
  heapIndex: number
}

/** A binary heap whose items can be taken out of any place in logarithmic time. An item lies in at most one heap. */
export class Heap<T extends HeapItem> implements Iterable<T> {
  readonly #items: T[] = []
  readonly #before: (a: T, b: T) => boolean

  /** @param before a strict order: whether `a` leaves the heap before `b` */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before
  }

  get size(): number {
    return this.#items.length
  }

  /** The next to leave. */
  get head(): T | undefined {
    return this.#items[0]
  }

  push(item: T): void {
    this.#items.push(item)
    this.#rise(item, this.#items.length - 1)
  }

  pop(): T | undefined {
    const head = this.#items[0]
    if (head !== undefined) this.remove(head)
    return head
  }

  /** Takes out an item that lies in this heap. */
  remove(item: T): void {
    const at = item.heapIndex
    item.heapIndex = -1
    const last = this.#items.pop()
    if (last === undefined || last === item) return
    this.#rise(last, at)
    if (last.heapIndex === at) this.#sink(last, at)
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#items[Symbol.iterator]()
  }

  #rise(item: T, from: number): void {
    let at = from
    while (at > 0) {
      const above = (at - 1) >> 1
      // above < at < length
      const parent = this.#items[above]!
      if (!this.#before(item, parent)) break
      this.#set(parent, at)
      at = above
    }
    this.#set(item, at)
  }

  #sink(item: T, from: number): void {
    let at = from
    for (;;) {
      let below = 2 * at + 1
      const left = this.#items[below]
      if (left === undefined) break
      const right = this.#items[below + 1]
      let child = left
      if (right !== undefined && this.#before(right, left)) {
        child = right
        below++
      }
      if (!this.#before(child, item)) break
      this.#set(child, at)
      at = below
    }
    this.#set(item, at)
  }

  #set(item: T, at: number): void {
    this.#items[at] = item
    item.heapIndex = at
  }
}
