import type { Labels, PodSelector } from './pod.ts'
import { podSelectorMatches } from './pod-selector.ts'

/** Pods of some namespaces with some labels. */
export interface PodSelection {
  readonly selector: PodSelector
  readonly namespaces: readonly string[]
  /** adds the namespaces with these labels */
  readonly namespaceSelector: PodSelector
}

/** Something that speaks of the pods in all of its selections. */
export interface Selecting {
  readonly selections: readonly PodSelection[]
}

/** The labels of a namespace; none for one that is not known. */
export type NamespaceLabels = (namespace: string) => Labels

export const selectionMatches = (
  { namespaces, namespaceSelector, selector }: PodSelection,
  labels: Labels,
  namespace: string,
  labelsOf: NamespaceLabels,
): boolean =>
  (namespaces.includes(namespace) ||
    (namespaceSelector !== undefined && podSelectorMatches(namespaceSelector, labelsOf(namespace)))) &&
  podSelectorMatches(selector, labels)

export const allMatch = (
  selections: readonly PodSelection[],
  labels: Labels,
  namespace: string,
  labelsOf: NamespaceLabels,
): boolean => selections.every((selection) => selectionMatches(selection, labels, namespace, labelsOf))

/** What is known of pods with these labels in one namespace. */
interface Remembered<T> {
  epoch: number
  narrow: number
  wide: number
  readonly matching: T[]
}

/**
 * Things that select pods, and for each pod those that select it: remembered for all pods of a namespace with the same
 * labels (equal labels are one object).
 */
export class Selections<T extends Selecting> {
  readonly #labelsOf: NamespaceLabels
  /** those that name their namespaces, under each; and all others */
  readonly #narrow = new Map<string, T[]>()
  #wide: T[] = []
  readonly #remembered = new WeakMap<Labels, Map<string, Remembered<T>>>()
  #epoch = 0

  constructor(labelsOf: NamespaceLabels) {
    this.#labelsOf = labelsOf
  }

  add(item: T): void {
    const [first] = item.selections
    if (first === undefined || first.namespaceSelector !== undefined) {
      this.#wide.push(item)
      return
    }
    for (const namespace of first.namespaces) {
      const there = this.#narrow.get(namespace)
      if (there === undefined) this.#narrow.set(namespace, [item])
      else there.push(item)
    }
  }

  /** Takes out what `keep` does not hold for. */
  prune(keep: (item: T) => boolean): void {
    for (const [namespace, there] of this.#narrow) {
      const kept = there.filter(keep)
      if (kept.length === 0) this.#narrow.delete(namespace)
      else this.#narrow.set(namespace, kept)
    }
    this.#wide = this.#wide.filter(keep)
    this.#epoch++
  }

  /** The labels of a namespace have changed. */
  forget(): void {
    this.#epoch++
  }

  of(labels: Labels, namespace: string): readonly T[] {
    const narrow = this.#narrow.get(namespace) ?? []
    const wide = this.#wide
    if (narrow.length + wide.length === 0) return narrow
    let byNamespace = this.#remembered.get(labels)
    if (byNamespace === undefined) this.#remembered.set(labels, (byNamespace = new Map<string, Remembered<T>>()))
    let known = byNamespace.get(namespace)
    if (known === undefined || known.epoch !== this.#epoch) {
      known = { epoch: this.#epoch, narrow: 0, wide: 0, matching: [] }
      byNamespace.set(namespace, known)
    }
    for (; known.narrow < narrow.length; known.narrow++) this.#learn(known, narrow[known.narrow], labels, namespace)
    for (; known.wide < wide.length; known.wide++) this.#learn(known, wide[known.wide], labels, namespace)
    return known.matching
  }

  #learn({ matching }: Remembered<T>, item: T | undefined, labels: Labels, namespace: string): void {
    if (item !== undefined && allMatch(item.selections, labels, namespace, this.#labelsOf)) matching.push(item)
  }
}
