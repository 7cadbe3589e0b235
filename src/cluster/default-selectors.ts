import type { SelectingObject } from './objects.ts'
import type { Labels, Pod, PodSelector } from './pod.ts'
import { allOf, matchLabelsIn, podSelectorIn, podSelectorMatches } from './pod-selector.ts'
import { textOf } from './wire.ts'

/** Kinds whose objects select pods of their namespace. */
export type SelectingKind = 'Service' | 'ReplicaSet' | 'StatefulSet' | 'ReplicationController'

const NO_KEYS: ReadonlySet<string | undefined> = new Set()

interface OfNamespace {
  /** another number after each change */
  version: number
  readonly services: Map<string, PodSelector>
  /** by `Kind/name` */
  readonly controllers: Map<string, PodSelector>
}

interface Remembered {
  readonly version: number
  readonly selector: PodSelector
}

/**
 * What Services and controllers select, and so which pods belong together that say nothing of it themselves
 * (kube-scheduler's DefaultSelector): the selectors of all Services that match a pod, and that of its controller.
 */
export class DefaultSelectors {
  readonly #namespaces = new Map<string, OfNamespace>()
  readonly #remembered = new WeakMap<Labels, Map<string, Remembered>>()

  /** @throws TypeError if its selector cannot be read */
  apply(kind: SelectingKind, object: SelectingObject): void {
    const { name, namespace } = object.metadata ?? {}
    const selector: unknown = object.spec?.selector
    // These two have plain labels, the others a label selector.
    const plain = kind === 'Service' || kind === 'ReplicationController'
    const read = plain
      ? selector === undefined || selector === null
        ? undefined
        : allOf(matchLabelsIn(selector, kind))
      : podSelectorIn(selector as Parameters<typeof podSelectorIn>[0], kind)
    this.#set(kind, textOf(namespace), textOf(name), read)
  }

  remove(kind: SelectingKind, namespace: string, name: string): void {
    this.#set(kind, namespace, name, undefined)
  }

  /** What the pod's own are selected by; undefined: nobody selects it. */
  of({ controller, labels, namespace }: Pod): PodSelector {
    const there = this.#namespaces.get(namespace)
    if (there === undefined) return undefined
    let byPlace = this.#remembered.get(labels)
    if (byPlace === undefined) this.#remembered.set(labels, (byPlace = new Map<string, Remembered>()))
    const place = `${namespace}/${controller}`
    const known = byPlace.get(place)
    if (known?.version === there.version) return known.selector
    const requirements = [...(there.controllers.get(controller) ?? [])]
    // The plain labels of a ReplicationController stand in the place of a Service's with the same keys.
    const replaced = controller.startsWith('ReplicationController/')
      ? new Set(requirements.map(({ key }) => key))
      : NO_KEYS
    for (const selector of there.services.values())
      if (podSelectorMatches(selector, labels))
        requirements.push(...(selector ?? []).filter(({ key }) => !replaced.has(key)))
    const selector = requirements.length === 0 ? undefined : allOf(requirements)
    byPlace.set(place, { version: there.version, selector })
    return selector
  }

  #set(kind: SelectingKind, namespace: string, name: string, selector: PodSelector): void {
    let there = this.#namespaces.get(namespace)
    if (there === undefined) {
      if (selector === undefined) return
      there = { version: 0, services: new Map(), controllers: new Map() }
      this.#namespaces.set(namespace, there)
    }
    const [among, key] = kind === 'Service' ? [there.services, name] : [there.controllers, `${kind}/${name}`]
    if (JSON.stringify(among.get(key)) === JSON.stringify(selector)) return
    if (selector === undefined) among.delete(key)
    else among.set(key, selector)
    this.#version++
    there.version = this.#version
    if (there.services.size + there.controllers.size === 0) this.#namespaces.delete(namespace)
  }

  #version = 0
}
