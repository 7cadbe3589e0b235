import type { Pod } from './pod.ts'

interface Nomination {
  pod: Pod
  /** the node that is kept for it, '' if we have taken it back */
  nodeName: string
  /** status.nominatedNodeName as the API server showed it last */
  shown: string
}

/**
 * Pods without a node for which one has been made room: those that the API server shows nominated, of every scheduler, and
 * our own from the moment of the decision. An older view of a pod does not undo a newer decision of ours.
 */
export class Nominations {
  readonly #byUid = new Map<string, Nomination>()
  readonly #byNode = new Map<string, Map<string, Pod>>()

  /** Where room is kept for a pod, '' if nowhere. */
  nodeOf(uid: string): string {
    return this.#byUid.get(uid)?.nodeName ?? ''
  }

  /** Names of nodes with the pods that are nominated there, by uid. */
  get byNode(): ReadonlyMap<string, ReadonlyMap<string, Pod>> {
    return this.#byNode
  }

  /** The API server shows an unbound pod. @returns its former self if it gave up its room somewhere */
  seen(pod: Pod): Pod | undefined {
    const { nominatedNodeName } = pod
    const known = this.#byUid.get(pod.uid)
    if (known === undefined) {
      if (nominatedNodeName !== '') this.#set(pod, nominatedNodeName, nominatedNodeName)
      return undefined
    }
    return this.#set(pod, known.shown === nominatedNodeName ? known.nodeName : nominatedNodeName, nominatedNodeName)
  }

  /** We have decided that room is made for the pod there; '': nowhere any more. @returns as `seen` */
  nominate(pod: Pod, nodeName: string): Pod | undefined {
    return this.#set(pod, nodeName, this.#byUid.get(pod.uid)?.shown ?? pod.nominatedNodeName)
  }

  /** The pod is placed, or gone. @returns it, and where room was kept for it */
  remove(uid: string): { readonly pod: Pod; readonly nodeName: string } | undefined {
    const known = this.#byUid.get(uid)
    if (known === undefined) return undefined
    this.#byUid.delete(uid)
    this.#leave(known)
    return known.nodeName === '' ? undefined : known
  }

  #set(pod: Pod, nodeName: string, shown: string): Pod | undefined {
    const known = this.#byUid.get(pod.uid)
    if (known !== undefined) this.#leave(known)
    if (nodeName === '' && shown === '') this.#byUid.delete(pod.uid)
    else this.#byUid.set(pod.uid, { pod, nodeName, shown })
    if (nodeName !== '') {
      let there = this.#byNode.get(nodeName)
      if (there === undefined) this.#byNode.set(nodeName, (there = new Map<string, Pod>()))
      there.set(pod.uid, pod)
    }
    return known !== undefined && known.nodeName !== '' && known.nodeName !== nodeName ? known.pod : undefined
  }

  #leave({ pod, nodeName }: Nomination): void {
    const there = this.#byNode.get(nodeName)
    there?.delete(pod.uid)
    if (there?.size === 0) this.#byNode.delete(nodeName)
  }
}
