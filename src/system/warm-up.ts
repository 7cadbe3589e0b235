import type { Clock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { DisruptionBudgets } from '../cluster/disruption-budgets.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import { ClusterState } from '../cluster/state.ts'
import { createConstraints } from '../constraints/registry.ts'
import { Cycle, type Decision } from '../scheduling/cycle.ts'
import type { Profile } from '../scheduling/profile.ts'

/** Enough for V8 to compile what a decision runs through; about a tenth of a second. */
const NODES = 100
const DECISIONS = 600

const node = (number: number): NodeObject => ({
  metadata: { name: `warm-${number}`, uid: `warm-${number}`, labels: { 'kubernetes.io/hostname': `warm-${number}` } },
  status: { allocatable: { cpu: '64', memory: '256Gi', pods: '110' }, conditions: [{ type: 'Ready', status: 'True' }] },
})

const pod = (number: number): PodObject => ({
  metadata: { name: `warm-${number}`, namespace: 'warm-up', uid: `warm-${number}`, labels: { app: 'warm-up' } },
  spec: {
    containers: [
      { name: 'c', image: 'i', resources: { requests: { cpu: `${100 + (number % 7)}m`, memory: '128Mi' } } },
    ],
  },
})

/**
 * Decides for pods that nobody has, on nodes that are not there, so that the first pods of a backlog - after a start, or when
 * a replica takes over - do not wait for the compiler. Touches nothing outside; policies that answer later are left out.
 * @param profiles made for this and used for nothing else: policies remember what they ranked
 */
export const warmUp = (profiles: readonly Profile[], clock: Clock): void => {
  for (const profile of profiles) {
    const cluster = new ClusterState()
    for (let number = 0; number < NODES; number++) cluster.applyNode(cluster.readNode(node(number)))
    let version = 0
    const cycle = new Cycle({
      clock,
      random: seededRandom(1),
      cluster,
      budgets: new DisruptionBudgets(),
      constraints: createConstraints(),
      stateVersion: () => version,
      onPhase: () => {},
    })
    for (let number = 0; number < DECISIONS; number++) {
      const next = cluster.readPod(pod(number))
      const conclude = ({ node: chosen, nodeName }: Decision): void => {
        if (chosen < 0) return
        cluster.assume(next, chosen)
        cluster.applyPod({ ...next, nodeName })
        version++
      }
      const callOff = cycle.decide(next, profile, conclude, () => {})
      if (callOff === undefined) continue
      callOff()
      break
    }
  }
}
