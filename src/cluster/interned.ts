/**
 * One object for each key, for as long as anybody holds it: thousands of pods of a template share their shape, and a
 * template that is gone leaves nothing behind.
 */
export class Interned<T extends object> {
  readonly #held = new Map<string, WeakRef<T>>()
  readonly #dropped = new FinalizationRegistry<string>((key) => {
    // The key may have been made anew since.
    if (this.#held.get(key)?.deref() === undefined) this.#held.delete(key)
  })

  get(key: string, make: () => T): T {
    const held = this.#held.get(key)?.deref()
    if (held !== undefined) return held
    const made = make()
    this.#held.set(key, new WeakRef(made))
    this.#dropped.register(made, key)
    return made
  }
}
