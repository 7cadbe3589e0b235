import type { NodeIndex } from '../cluster/node.ts'
import {
  ALLOWED,
  type Check,
  type Constraint,
  type Refusal,
  siftByVerdict,
  type Tally,
  type Verdict,
} from './constraint.ts'

export const NodeName = 'NodeName'
export const REASON_NODE_NAME = "node(s) didn't match the requested node name"

class NodeNameCheck implements Check {
  readonly constraint = NodeName
  readonly refusals: readonly Refusal[] = [{ reasons: [REASON_NODE_NAME], preemptionCouldHelp: false }]
  /** -1: there is no node of that name */
  wanted: NodeIndex = -1

  verdict(node: NodeIndex): Verdict {
    return node === this.wanted ? ALLOWED : 1
  }

  sift(nodes: Int32Array, nodeCount: number, tally: Tally): number {
    return siftByVerdict(this, nodes, nodeCount, tally)
  }
}

/** A pod that names its node goes there or nowhere. */
export const createNodeName = (): Constraint => {
  const check = new NodeNameCheck()
  return {
    name: NodeName,
    isLocal: true,
    prepare: (pod, cluster) => {
      if (pod.nodeName === '') return undefined
      check.wanted = cluster.indexOf(pod.nodeName)
      return check
    },
    wakesOn: ['NodeAdd'],
    couldHelp: (_pod, event) => event.kind === 'NodeAdd',
  }
}
