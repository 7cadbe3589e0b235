/** Index of a resource in the columns of the cluster state. */
export type ResourceIndex = number

/** Always there, in this order: cpu in millicores, memory and ephemeral-storage in bytes. Every further resource counts in its own units. */
export const CPU: ResourceIndex = 0
export const MEMORY: ResourceIndex = 1
export const EPHEMERAL_STORAGE: ResourceIndex = 2

/**
 * The names of resources, numbered in order of first sight. `pods` is no resource here: the state counts pods by itself.
 */
export class ResourceNames {
  readonly #names: string[] = ['cpu', 'memory', 'ephemeral-storage']
  readonly #indexes = new Map<string, ResourceIndex>(this.#names.map((name, index) => [name, index]))

  get size(): number {
    return this.#names.length
  }

  /** The index of a name, which is added if it is new. */
  index(name: string): ResourceIndex {
    let index = this.#indexes.get(name)
    if (index === undefined) {
      index = this.#names.length
      this.#names.push(name)
      this.#indexes.set(name, index)
    }
    return index
  }

  /** The index of a name that has been seen, else undefined. */
  find(name: string): ResourceIndex | undefined {
    return this.#indexes.get(name)
  }

  /** @throws RangeError for an index that was never given out */
  name(index: ResourceIndex): string {
    const name = this.#names[index]
    if (name === undefined) throw new RangeError(`there is no resource number ${index}`)
    return name
  }
}

/**
 * Amounts of a few resources: `amounts[i]` of the resource `indexes[i]`, ascending and without zeros.
 * Millicores for cpu, bytes for memory and storage, else the resource's own unit; doubles, exact below 2^53.
 */
export interface ResourceVector {
  readonly indexes: Int32Array
  readonly amounts: Float64Array
}

export const noResources: ResourceVector = { indexes: new Int32Array(0), amounts: new Float64Array(0) }

/** A vector out of index -> amount; zeros are left out. */
export const vectorOf = (amounts: ReadonlyMap<ResourceIndex, number>): ResourceVector => {
  const entries = [...amounts].filter(([, amount]) => amount !== 0).sort(([a], [b]) => a - b)
  return entries.length === 0
    ? noResources
    : {
        indexes: Int32Array.from(entries, ([index]) => index),
        amounts: Float64Array.from(entries, ([, amount]) => amount),
      }
}

/** The amount of one resource in a vector, 0 where it is absent. */
export const amountOf = (vector: ResourceVector, resource: ResourceIndex): number => {
  const at = vector.indexes.indexOf(resource)
  return at < 0 ? 0 : (vector.amounts[at] ?? 0)
}
