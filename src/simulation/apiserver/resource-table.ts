import { builtIn, collectionOf, type Resource } from './resources.ts'

const pathOf = ({ group, version, plural }: Pick<Resource, 'group' | 'version' | 'plural'>): string =>
  `${group}/${version}/${plural}`

const builtInCollections = new Set(builtIn.map(collectionOf))

/** The resources of one server: those that are built in, and those that its CustomResourceDefinitions define. */
export class ResourceTable {
  readonly #isServed: (resource: Resource) => boolean
  #byPath = new Map<string, Resource>()
  #byCollection = new Map<string, Resource>()
  #custom: readonly Resource[] = []
  #generation = 0

  /** @param isServed whether clients see a resource */
  constructor(isServed: (resource: Resource) => boolean) {
    this.#isServed = isServed
    this.define([])
  }

  /** Grows with each change of what is defined. */
  get generation(): number {
    return this.#generation
  }

  /**
   * From now on these, and no others, are defined. What is built in cannot be defined anew. Of several versions of one kind the
   * first is the one that `named` finds.
   */
  define(custom: readonly Resource[]): void {
    this.#generation++
    this.#custom = custom.filter((row) => !builtInCollections.has(collectionOf(row)))
    const all = this.all()
    this.#byPath = new Map(all.map((row) => [pathOf(row), row]))
    this.#byCollection = new Map(all.toReversed().map((row) => [collectionOf(row), row]))
  }

  all(): readonly Resource[] {
    return [...builtIn, ...this.#custom]
  }

  /** Those that clients see, in the order of discovery. */
  served(): readonly Resource[] {
    return this.all().filter(this.#isServed)
  }

  /** The resource that a path names, if clients see it. */
  find(group: string, version: string, plural: string): Resource | undefined {
    const found = this.#byPath.get(pathOf({ group, version, plural }))
    return found === undefined || !this.#isServed(found) ? undefined : found
  }

  /** @param name `pods`, `leases.coordination.k8s.io` */
  named(name: string): Resource | undefined {
    return this.#byCollection.get(name)
  }
}
