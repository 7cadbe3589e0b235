import type { Clock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { DisruptionBudgets } from '../cluster/disruption-budgets.ts'
import { HOSTNAME_LABEL } from '../cluster/node.ts'
import type { NodeObject, PodObject, PodSpec } from '../cluster/objects.ts'
import { ClusterState } from '../cluster/state.ts'
import { createConstraints } from '../constraints/registry.ts'
import { Cycle, type Decision } from '../scheduling/cycle.ts'
import type { Profile } from '../scheduling/profile.ts'

/** Enough for V8 to compile what decisions run through; well under a tenth of a second. */
const NODES = 100
const DECISIONS = 1000

const ZONE = 'topology.kubernetes.io/zone'

const node = (number: number): NodeObject => ({
  metadata: {
    name: `warm-${number}`,
    uid: `warm-${number}`,
    labels: { [HOSTNAME_LABEL]: `warm-${number}`, [ZONE]: `zone-${number % 3}` },
  },
  status: { allocatable: { cpu: '64', memory: '256Gi', pods: '110' }, conditions: [{ type: 'Ready', status: 'True' }] },
})

/** What pods ask for beside room, in turn: nothing, a place by its labels, an even spread, company, distance. */
const wishes = (app: string): PodSpec[] => {
  const labelSelector = { matchLabels: { app } }
  const inZones = { key: ZONE, operator: 'In', values: ['zone-0', 'zone-1'] }
  return [
    {},
    {
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [inZones] }] },
        },
      },
    },
    {
      topologySpreadConstraints: [{ maxSkew: 5, topologyKey: ZONE, whenUnsatisfiable: 'DoNotSchedule', labelSelector }],
    },
    {
      affinity: {
        podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: ZONE, labelSelector }] },
      },
    },
    {
      affinity: {
        podAntiAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 1, podAffinityTerm: { topologyKey: HOSTNAME_LABEL, labelSelector } },
          ],
        },
      },
    },
  ]
}
const kinds = wishes('warm-up')

const pod = (number: number): PodObject => ({
  metadata: { name: `warm-${number}`, namespace: 'warm-up', uid: `warm-${number}`, labels: { app: 'warm-up' } },
  spec: {
    ...kinds[number % kinds.length],
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
    try {
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
    } catch {
      // A policy that throws will do so again with real pods, and be told of there.
    }
  }
}
