import type { PodObject } from '../cluster/objects.ts'
import type { Pod } from '../cluster/pod.ts'

/** A pod as the scheduler keeps it, with only what writing about it needs. */
export const slimPod = (name: string, more: Partial<Pod> = {}): Pod =>
  ({
    uid: `uid-${name}`,
    namespace: 'ns',
    name,
    resourceVersion: '7',
    generation: 1,
    schedulerName: 'stowage',
    scheduledCondition: undefined,
    ...more,
  }) as Pod

/** A pod that any API server takes. */
export const podObject = (namespace: string, name: string, schedulerName = 'stowage'): PodObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace, name },
  spec: {
    schedulerName,
    containers: [{ name: 'main', image: 'none', resources: { requests: { cpu: '100m' } } }],
  },
})
