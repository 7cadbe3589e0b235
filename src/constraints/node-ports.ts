import type { NodeIndex } from '../cluster/node.ts'
import type { HostPort } from '../cluster/pod.ts'
import type { ClusterView } from '../cluster/view.ts'
import {
  ALLOWED,
  type Check,
  type Constraint,
  type Refusal,
  siftByVerdict,
  type Tally,
  type Verdict,
} from './constraint.ts'

export const NodePorts = 'NodePorts'
export const REASON_PORTS = "node(s) didn't have free ports for the requested pod ports"

const EVERY_ADDRESS = '0.0.0.0'

/** Two pods cannot have the same port of the same protocol, unless they take it on different addresses. */
const clash = (a: HostPort, b: HostPort): boolean =>
  a.port === b.port &&
  a.protocol === b.protocol &&
  (a.hostIp === b.hostIp || a.hostIp === EVERY_ADDRESS || b.hostIp === EVERY_ADDRESS)

const anyClash = (wanted: readonly HostPort[], taken: readonly HostPort[]): boolean =>
  taken.length > 0 && wanted.some((want) => taken.some((have) => clash(want, have)))

class NodePortsCheck implements Check {
  readonly constraint = NodePorts
  readonly refusals: readonly Refusal[] = [{ reasons: [REASON_PORTS], preemptionCouldHelp: true }]
  readonly #wanted: readonly HostPort[]
  readonly #cluster: ClusterView

  constructor(wanted: readonly HostPort[], cluster: ClusterView) {
    this.#wanted = wanted
    this.#cluster = cluster
  }

  verdict(node: NodeIndex): Verdict {
    return anyClash(this.#wanted, this.#cluster.portsOn(node)) ? 1 : ALLOWED
  }

  sift(nodes: Int32Array, nodeCount: number, tally: Tally): number {
    return siftByVerdict(this, nodes, nodeCount, tally)
  }
}

/** The host ports a pod asks for must be free on its node. */
export const nodePorts: Constraint = {
  name: NodePorts,
  isLocal: true,
  prepare: (pod, cluster) =>
    pod.shape.hostPorts.length === 0 ? undefined : new NodePortsCheck(pod.shape.hostPorts, cluster),
  wakesOn: ['PodDelete', 'NodeAdd'],
  couldHelp: (pod, event) =>
    event.kind === 'NodeAdd' ||
    (event.kind === 'PodDelete' && anyClash(pod.shape.hostPorts, event.pod.shape.hostPorts)),
}
