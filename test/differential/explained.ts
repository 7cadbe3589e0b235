import type { PodObject } from '../../src/cluster/objects.ts'
import type { Difference } from './comparison.ts'
import type { World } from './worlds.ts'

/** A difference that is meant to be, and why. */
export interface Explanation {
  readonly reason: string
  /** @param number of the case in its world */
  readonly explains: (difference: Difference, world: World, number: number) => boolean
}

/** The host ports of a pod, each as kube-scheduler keys them. */
const hostPorts = ({ spec = {} }: PodObject): string[] =>
  [...(spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always'), ...(spec.containers ?? [])]
    .flatMap(({ ports }) => ports ?? [])
    .filter(({ hostPort }) => hostPort !== undefined)
    .map(({ hostIP, protocol, hostPort }) => `${hostIP ?? '0.0.0.0'} ${protocol} ${hostPort}`)

/** Whether one of two placed pods that clash on a host port of their node was deleted before the case. */
const clashingPortGone = ({ placed, cases }: World, number: number): boolean =>
  cases.slice(0, number + 1).some(({ change }) => {
    const gone = change?.kind === 'delete' ? placed[change.pod] : undefined
    if (gone === undefined) return false
    const ports = new Set(hostPorts(gone))
    return placed.some(
      (other) =>
        other !== gone &&
        other.spec?.nodeName === gone.spec?.nodeName &&
        hostPorts(other).some((port) => ports.has(port)),
    )
  })

/** Every difference from kube-scheduler that stays. What is not here is a fault. */
export const explanations: readonly Explanation[] = [
  {
    reason:
      'kube-scheduler keeps the host ports of a node as a set: when one of two pods that clash on a port goes, it forgets the port although the ' +
      'other still has it. Ours remembers. It takes a pod that was bound past the scheduler.',
    explains: ({ about, text }, world, number) =>
      hostPorts(world.cases[number]?.pod ?? {}).length > 0 &&
      (about === 'feasible nodes' || about === 'choice' || text.includes('free ports')) &&
      clashingPortGone(world, number),
  },
]

/** Parts that can be left out without any pod in a real cluster showing it, and why. */
export const invisibleMutants: ReadonlyMap<string, string> = new Map([
  [
    'filter NodeName',
    'a pod that names its node is bound from the moment it is created: no scheduler that reads an API server ever asks the rule',
  ],
])
