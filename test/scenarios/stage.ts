import type { KubeObject } from '../../src/cluster/objects.ts'
import { createConstraints } from '../../src/constraints/registry.ts'
import { createPolicy } from '../../src/policies/registry.ts'
import { World } from '../../src/scheduling/world.fixture.ts'
import type { NodeBuilder, PodBuilder } from '../builders.ts'

/** An object as it is on the wire, whatever its kind has. */
export type WireObject = KubeObject & Record<string, unknown>

/** What a scenario may have besides nodes and pods, by the plural of its kind. */
export interface Props {
  readonly namespaces?: readonly WireObject[]
  readonly services?: readonly WireObject[]
  readonly claims?: readonly WireObject[]
  readonly volumes?: readonly WireObject[]
  readonly classes?: readonly WireObject[]
  readonly csiNodes?: readonly WireObject[]
  readonly csiDrivers?: readonly WireObject[]
  readonly capacities?: readonly WireObject[]
  readonly budgets?: readonly WireObject[]
}

/** A small cluster in process, with every rule and kube-scheduler's default scores. */
export class Stage {
  readonly world: World

  private constructor() {
    this.world = new World(
      { policy: createPolicy('kube-default'), fallback: undefined },
      { constraints: createConstraints() },
    )
  }

  /** Pods with a node are on it, the others come with `where`. */
  static async of(
    nodes: readonly NodeBuilder[],
    placed: readonly PodBuilder[] = [],
    props: Props = {},
  ): Promise<Stage> {
    const stage = new Stage()
    const { scheduler } = stage.world
    for (const namespace of props.namespaces ?? []) scheduler.namespaces.seen(namespace)
    for (const service of props.services ?? []) scheduler.selectors?.services.seen(service)
    for (const one of props.classes ?? []) scheduler.storage.classes.seen(one)
    for (const volume of props.volumes ?? []) scheduler.storage.volumes.seen(volume)
    for (const claim of props.claims ?? []) scheduler.storage.claims.seen(claim)
    for (const csiNode of props.csiNodes ?? []) scheduler.storage.csiNodes.seen(csiNode)
    for (const driver of props.csiDrivers ?? []) scheduler.storage.csiDrivers.seen(driver)
    for (const capacity of props.capacities ?? []) scheduler.storage.capacities.seen(capacity)
    for (const budget of props.budgets ?? []) scheduler.disruptionBudgets.seen(budget)
    await stage.world.begin(
      nodes.map((node) => node.object()),
      placed.map((pod) => pod.object()),
    )
    return stage
  }

  /** The node that the pod gets, or the whole message that it gets instead. */
  async told(pod: PodBuilder): Promise<string> {
    const object = pod.object()
    const { uid = '', name = '' } = object.metadata ?? {}
    await this.world.see(object)
    const bound = this.world.binder.bound.find((bind) => bind.uid === uid)
    if (bound !== undefined) return bound.nodeName
    const waiting = this.world.claimBinder.waiting.find((bind) => bind.pod.uid === uid)
    if (waiting !== undefined) return waiting.nodeName
    const line = this.world.reporter.lines.findLast((line) => line.startsWith(`${name} Unschedulable: `))
    return line?.slice(`${name} Unschedulable: `.length) ?? 'nothing'
  }

  /** As `told`, of a message only the reasons for which nodes refused the pod. */
  async where(pod: PodBuilder): Promise<string> {
    const told = await this.told(pod)
    return told.replace(/^0\/\d+ nodes are available: /, '').replace(/ preemption: .*$/s, '')
  }
}
