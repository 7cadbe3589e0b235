import { seededRandom } from '../clock/random.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import { ClusterState } from '../cluster/state.ts'
import type { RankRooms } from '../decisions/counterfactual.ts'
import type { CandidateRoom, DecisionRecord } from '../decisions/record.ts'
import type { Policy, Ranking } from '../policies/policy.ts'

/** What every policy sees of a room: a node with just that, and pods on it that take just that. */
const nodeOf = (name: string, room: CandidateRoom): NodeObject => ({
  metadata: { name, uid: name },
  status: {
    allocatable: {
      cpu: `${room.allocatableCpuMilli}m`,
      memory: String(room.allocatableMemoryBytes),
      pods: String(room.maxPods),
    },
  },
})

const podOf = (name: string, node: string, requests: Record<string, string>): PodObject => ({
  metadata: { name, namespace: 'rooms', uid: name },
  spec: { ...(node === '' ? {} : { nodeName: node }), containers: [{ name: 'all', resources: { requests } }] },
})

const requestsOf = (cpuMilli: number, memoryBytes: number): Record<string, string> => ({
  cpu: `${cpuMilli}m`,
  memory: String(memoryBytes),
})

/** What the pod really asked for: a key that it left out must stay out, since scores count something in its place. */
const askedOf = ({ cpu, memory }: Readonly<Record<string, number>>): Record<string, string> => ({
  ...(cpu === undefined ? {} : { cpu: `${cpu}m` }),
  ...(memory === undefined ? {} : { memory: String(memory) }),
})

const isReady = (ranking: Ranking | Promise<Ranking>): ranking is Ranking => !(ranking instanceof Promise)

/** A cluster that consists of rooms, changed only where a room differs from the one that was there. */
class Rooms {
  readonly cluster = new ClusterState()
  readonly #shown: CandidateRoom[] = []
  readonly #measured: boolean

  constructor(measured: boolean) {
    this.#measured = measured
  }

  show(rooms: readonly CandidateRoom[]): void {
    for (const [at, room] of rooms.entries()) if (this.#shown[at] !== room) this.#change(at, room)
  }

  #change(at: number, room: CandidateRoom): void {
    const { cluster } = this
    const name = `room-${at}`
    const before = this.#shown[at]?.pods ?? 0
    this.#shown[at] = room
    cluster.applyNode(cluster.readNode(nodeOf(name, room)))
    // One pod holds everything, the others are there to be counted.
    const all = podOf(`${name}-0`, name, requestsOf(room.requestedCpuMilli, room.requestedMemoryBytes))
    if (room.pods > 0) cluster.applyPod(cluster.readPod(all))
    else cluster.removePod(`${name}-0`)
    for (let i = Math.max(1, before); i < room.pods; i++)
      cluster.applyPod(cluster.readPod(podOf(`${name}-${i}`, name, requestsOf(0, 0))))
    for (let i = Math.max(1, room.pods); i < before; i++) cluster.removePod(`${name}-${i}`)
    if (this.#measured) cluster.applyUsage(name, room.usedCpuMilli, room.usedMemoryBytes)
  }
}

/**
 * A policy applied to rooms out of a decision record, in a cluster that consists of them: for the counterfactual, which asks
 * what the policy would have said to slightly other rooms. Calls with the same rooms in most places are cheap.
 */
export const rankRooms = (policy: Policy, usage: DecisionRecord['usage']): RankRooms => {
  const random = seededRandom(1)
  const { signal } = new AbortController()
  const shown = new Rooms(usage === 'metrics.k8s.io')
  const { cluster } = shown
  return (rooms, ask) => {
    shown.show(rooms)
    const pod = cluster.readPod(podOf('pod', '', askedOf(ask.request)))
    const ranking = policy.rank(pod, { nodes: cluster.order, count: cluster.nodeCount }, { cluster, random, signal })
    // A policy that waits has no opinion on rooms: equal scores change nothing.
    return isReady(ranking) ? ranking.scores.slice(0, rooms.length) : new Float64Array(rooms.length)
  }
}
