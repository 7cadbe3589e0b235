import { messageOf, StowageError } from '../errors/catalogue.ts'
import { GPU_MODEL_LABEL, nodeGpusIn } from './gpu-request.ts'
import type { Node } from './node.ts'
import type { NodeObject } from './objects.ts'
import { quantityEntries, quantityMilli, quantityUnits, resourceAmount } from './quantity.ts'
import type { LabelTable } from './read-pod.ts'
import { type ResourceIndex, type ResourceNames, vectorOf } from './resources.ts'
import { textOf } from './wire.ts'

const KEPT_ANNOTATIONS = /^(?:stowage\.dev|agentaflow\.gpu)\//

/** Turns nodes from the wire into the slim records of the scheduler. */
export class NodeReader {
  readonly #resources: ResourceNames
  readonly #labels: LabelTable

  constructor(resources: ResourceNames, labels: LabelTable) {
    this.#resources = resources
    this.#labels = labels
  }

  /** @throws StowageError NODE_MALFORMED naming the node and what is wrong with it */
  read(object: NodeObject): Node {
    const metadata = object.metadata ?? {}
    const spec = object.spec ?? {}
    const status = object.status ?? {}
    const name = textOf(metadata.name)
    const uid = textOf(metadata.uid)
    try {
      if (name === '') throw new TypeError('metadata.name is missing')
      const amounts = new Map<ResourceIndex, number>()
      const byName = new Map<string, number>()
      let maxPods = 0
      for (const [resource, quantity] of quantityEntries(status.allocatable ?? status.capacity))
        if (resource === 'pods') maxPods = quantityUnits(quantity)
        else {
          const amount = resourceAmount(resource, quantityMilli(quantity))
          amounts.set(this.#resources.index(resource), amount)
          byName.set(resource, amount)
        }
      const imageBytes = new Map<string, number>()
      for (const image of status.images ?? [])
        for (const imageName of image.names ?? []) imageBytes.set(imageName, image.sizeBytes ?? 0)
      return {
        name,
        uid,
        labels: this.#labels.of(metadata.labels),
        annotations: this.#labels.of(metadata.annotations, KEPT_ANNOTATIONS),
        taints: (spec.taints ?? []).filter((taint) => typeof taint?.key === 'string'),
        unschedulable: spec.unschedulable === true,
        ready: (status.conditions ?? []).some((condition) => condition.type === 'Ready' && condition.status === 'True'),
        allocatable: vectorOf(amounts),
        maxPods,
        gpus: nodeGpusIn(byName, textOf(metadata.labels?.[GPU_MODEL_LABEL])),
        imageBytes,
        declaredFeatures: status.declaredFeatures ?? [],
      }
    } catch (cause) {
      throw new StowageError(
        'NODE_MALFORMED',
        {
          found: `node ${name}: ${messageOf(cause)}`,
          todo: 'look at it with kubectl get node -o yaml; it is left out until it changes',
        },
        { cause },
      )
    }
  }
}
