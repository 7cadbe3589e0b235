import type { ObjectMeta, PodObject, PodSpec } from '../../cluster/objects.ts'
import type { Pod } from '../../cluster/pod.ts'
import { ClusterState } from '../../cluster/state.ts'
import { NO_VOLUMES } from '../../cluster/volumes.ts'

/** A cluster state that takes records which have been read before: a simulation shows the same pod several times. */
export class SimulatedState extends ClusterState {
  #next: Pod | undefined

  /** What `readPod` answers to the next object. */
  willRead(pod: Pod): void {
    this.#next = pod
  }

  override readPod(object: PodObject): Pod {
    const next = this.#next
    this.#next = undefined
    return next ?? super.readPod(object)
  }
}

/** A pod that was read, and the parts of its object on which all of that but its name depends. */
interface Template extends Pick<ObjectMeta, 'labels' | 'annotations' | 'ownerReferences'> {
  readonly pod: Pod
}

/** Reads pods; of those that share their spec, labels, annotations and owners - the very objects - only the first. */
export class PodRecords {
  readonly #state: ClusterState
  readonly #templates = new WeakMap<PodSpec, Template>()

  constructor(state: ClusterState) {
    this.#state = state
  }

  /** @throws StowageError POD_MALFORMED */
  read(object: PodObject): Pod {
    const { metadata = {}, spec = {} } = object
    const { annotations, labels, name = '', namespace = '', ownerReferences, uid = '' } = metadata
    const known = this.#templates.get(spec)
    if (
      known !== undefined &&
      known.labels === labels &&
      known.annotations === annotations &&
      known.ownerReferences === ownerReferences &&
      known.pod.namespace === namespace
    )
      return { ...known.pod, name, uid }
    const pod = this.#state.readPod(object)
    // The claims of some volumes are named for their pod.
    if (pod.volumes === NO_VOLUMES) this.#templates.set(spec, { pod, labels, annotations, ownerReferences } as Template)
    return pod
  }
}
