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

/** Whether two pods that were placed past the scheduler clash on a port of their node that the pod of the case wants too. */
const clashesAmongPlaced = ({ placed, cases }: World, number: number): boolean => {
  const portOf = (port: string): string => port.slice(port.indexOf(' '))
  const wanted = new Set(hostPorts(cases[number]?.pod ?? {}).map(portOf))
  const taken = new Set<string>()
  return placed.some((pod) =>
    hostPorts(pod).some((port) => {
      const key = `${pod.spec?.nodeName} ${port}`
      if (taken.has(key) && wanted.has(portOf(port))) return true
      taken.add(key)
      return false
    }),
  )
}

/** Every difference from kube-scheduler that stays. What is not here is a fault. */
export const explanations: readonly Explanation[] = [
  {
    reason:
      'kube-scheduler keeps the host ports of a node as a set: when one of two pods that clash on a port goes, it forgets the port although the ' +
      'other still has it. Ours remembers. It takes a pod that was bound past the scheduler.',
    explains: ({ about, text }, world, number) =>
      (about === 'feasible nodes' || about === 'choice' || about === 'victims' || text.includes('free ports')) &&
      clashesAmongPlaced(world, number),
  },
]

/** Parts that can be left out without any pod in a real cluster showing it, and why. */
export const invisibleMutants: ReadonlyMap<string, string> = new Map([
  [
    'filter NodeName',
    'a pod that names its node is bound from the moment it is created: no scheduler that reads an API server ever asks the rule',
  ],
])
