import { VirtualClock } from '../../clock/clock.ts'
import { seededRandom } from '../../clock/random.ts'
import { DisruptionBudgets } from '../../cluster/disruption-budgets.ts'
import type { PodObject } from '../../cluster/objects.ts'
import { ClusterState } from '../../cluster/state.ts'
import { createConstraints } from '../../constraints/registry.ts'
import { createLeastLoaded } from '../../policies/least-loaded.ts'
import type { Policy } from '../../policies/policy.ts'
import { Cycle } from '../../scheduling/cycle.ts'
import type { Profile } from '../../scheduling/profile.ts'
import type { NodeShape } from '../workload/node-shapes.ts'
import { nodeObject } from '../virtual/virtual-node-object.ts'

/** Where a pod was put. */
export interface Place {
  readonly node: string
  /** its GPUs' numbers on the node */
  readonly devices: readonly number[]
}

/** A pod that fits nowhere, in the scheduler's words. */
export interface NoPlace {
  readonly reason: string
}

/**
 * The scheduler's own cycle, constraints, policy and cluster state over the nodes of a load run, asked about one pod at a
 * time and at once: replicas come seldom, and nothing else happens to these nodes. A policy that answers later is passed over for
 * `least_loaded`.
 */
export class ReplicaPlacement {
  readonly #cluster = new ClusterState()
  readonly #cycle: Cycle
  readonly #profile: Profile
  #version = 0
  #pods = 0

  constructor(nodes: readonly NodeShape[], policy: Policy, seed: number) {
    for (const [index, shape] of nodes.entries())
      this.#cluster.applyNode(this.#cluster.readNode(nodeObject(shape, index, 0)))
    this.#profile = { schedulerName: 'stowage', policy, fallback: createLeastLoaded(), deadlineMs: 0 }
    this.#cycle = new Cycle({
      clock: new VirtualClock(0),
      random: seededRandom(seed),
      cluster: this.#cluster,
      budgets: new DisruptionBudgets(),
      constraints: createConstraints(),
      stateVersion: () => this.#version,
      onPhase: () => undefined,
    })
  }

  /** Puts a pod on the node that the policy likes best of those that have room. Its name must be new. */
  place(object: PodObject): Place | NoPlace {
    const pod = this.#cluster.readPod({
      ...object,
      metadata: { ...object.metadata, uid: object.metadata?.name ?? '', resourceVersion: String(++this.#pods) },
    })
    const decision = this.#cycle.decideAtOnce(pod, this.#profile, false)
    this.#version++
    if (decision.node < 0) return { reason: decision.facts.message }
    this.#cluster.assume({ ...pod, nodeName: decision.nodeName, gpuDevices: decision.devices }, decision.node)
    return { node: decision.nodeName, devices: this.#cluster.gpus.devicesOf(pod.uid) }
  }

  /** Gives back what a pod took. */
  remove(name: string): void {
    this.#cluster.removePod(name)
    this.#version++
  }
}
