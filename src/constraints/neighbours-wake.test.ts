import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { ClusterEvent } from '../cluster/events.ts'
import type { PodObject, PodSpec } from '../cluster/objects.ts'
import type { ClusterState } from '../cluster/state.ts'
import { ALLOWED, type Constraint, isPodRefusal } from './constraint.ts'
import { clusterOf } from './contract.ts'
import { nodeNamed } from './generated.fixture.ts'
import { interPodAffinity } from './inter-pod-affinity.ts'
import { neighbours } from './neighbours.fixture.ts'
import { podTopologySpread } from './pod-topology-spread.ts'

const names = fc.constantFrom('n0', 'n1', 'n2', 'n3')
const development = fc.oneof(
  names.chain(nodeNamed).map((node) => ({ kind: 'node' as const, node })),
  fc.record({ kind: fc.constant('deleted' as const), pod: fc.nat(6) }),
  fc.record({ kind: fc.constant('relabelled' as const), pod: fc.nat(6), app: fc.constantFrom('web', 'db') }),
  fc.record({ kind: fc.constant('placed' as const), on: names, app: fc.constantFrom('web', 'db') }),
)
type Development = typeof development extends fc.Arbitrary<infer T> ? T : never

const follow = (cluster: ClusterState, placed: readonly PodObject[], later: Development): ClusterEvent[] => {
  if (later.kind === 'node') return cluster.applyNode(cluster.readNode(later.node))
  const labels = later.kind === 'deleted' ? {} : { app: later.app, tier: 'middle' }
  if (later.kind === 'placed') {
    const metadata = { name: 'new', uid: 'new', namespace: 'default', labels }
    return cluster.applyPod(cluster.readPod({ metadata, spec: { nodeName: later.on } }))
  }
  const pod = placed[later.pod]
  if (pod === undefined) return []
  return later.kind === 'deleted'
    ? cluster.removePod(pod.metadata?.uid ?? '')
    : cluster.applyPod(cluster.readPod({ ...pod, metadata: { ...pod.metadata, labels } }))
}

const isRefused = (rule: Constraint, cluster: ClusterState, object: PodObject): boolean => {
  const prepared = rule.prepare(cluster.readPod(object), cluster)
  if (prepared === undefined || isPodRefusal(prepared)) return false
  return cluster.order.subarray(0, cluster.nodeCount).every((node) => prepared.verdict(node) !== ALLOWED)
}

/** Parts of a spec whose changes of fortune kube-scheduler does not wake a pod for; see the two uses. */
type Leave = (spec: PodSpec, ofWaiting: boolean) => PodSpec

const wakesWhomItLetsIn = (rule: Constraint, leave: Leave): void => {
  let letIn = 0
  fc.assert(
    fc.property(neighbours.situation, development, (given, later) => {
      const left = (pod: PodObject, ofWaiting: boolean): PodObject => ({
        ...pod,
        spec: leave(pod.spec ?? {}, ofWaiting),
      })
      const waiting = left(given.pod, true)
      const placed = given.placed.map((pod) => left(pod, false))
      const cluster = clusterOf({ ...given, placed })
      if (!isRefused(rule, cluster, waiting)) return
      const events = follow(cluster, placed, later)
      if (isRefused(rule, cluster, waiting)) return
      letIn++
      const pod = cluster.readPod(waiting)
      assert.ok(
        events.some((event) => rule.wakesOn.includes(event.kind) && rule.couldHelp(pod, event, cluster)),
        events.map(({ kind }) => kind).join(),
      )
    }),
    { numRuns: 5000, seed: 20260101 },
  )
  assert.ok(letIn > 20, `only ${letIn} developments let a pod in`)
}

describe('whatever lets a pod in wakes it', () => {
  test('after topology spread had kept it out', () => {
    // Which nodes count by the pod's own selector is not looked at.
    wakesWhomItLetsIn(podTopologySpread, ({ nodeSelector: _selector, ...spec }) => spec)
  })

  test('after its anti-affinity had kept it out', () => {
    // A pod that only others keep out is not woken by nodes.
    wakesWhomItLetsIn(interPodAffinity, ({ affinity, ...spec }, ofWaiting) => ({
      ...spec,
      ...(ofWaiting && affinity?.podAntiAffinity ? { affinity: { podAntiAffinity: affinity.podAntiAffinity } } : {}),
    }))
  })

  test('after its affinity had kept it out', () => {
    // That a pod may come first once the last of its kind has gone wakes nobody, so this one never matches itself.
    wakesWhomItLetsIn(interPodAffinity, ({ affinity, ...spec }, ofWaiting) => ({
      ...spec,
      ...(ofWaiting && affinity?.podAffinity
        ? {
            affinity: {
              podAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: [
                  ...(affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution ?? []),
                  { topologyKey: 'zone', labelSelector: { matchLabels: { tier: 'middle' } } },
                ],
              },
            },
          }
        : {}),
    }))
  })
})
