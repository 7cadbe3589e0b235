import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { CandidateRoom } from '../decisions/record.ts'
import { createPolicy } from '../policies/registry.ts'
import { rankRooms } from './rooms.ts'

const GIB = 1024 ** 3
const room = (requestedCpuMilli: number, pods: number): CandidateRoom => ({
  allocatableCpuMilli: 10_000,
  requestedCpuMilli,
  allocatableMemoryBytes: 10 * GIB,
  requestedMemoryBytes: 0,
  usedCpuMilli: requestedCpuMilli / 2,
  usedMemoryBytes: 0,
  maxPods: 100,
  pods,
})
const ask = { request: { cpu: 1000, memory: GIB }, scoringCpuMilli: 1000, scoringMemoryBytes: GIB }

describe('a policy asked about rooms', () => {
  it('says of rooms what it says of nodes with that much room', () => {
    const rank = rankRooms(createPolicy('kube-default'), '')
    // LeastAllocated: cpu (10 - 1 - r) / 10, memory 9 / 10; halves of the balance term and 300 for taints on top.
    const [empty = 0, half = 0] = Array.from(rank([room(0, 0), room(5000, 3)], ask))
    assert.ok(empty > half)
  })

  it('answers as if it were asked for the first time, whatever it was asked before', () => {
    for (const name of ['kube-default', 'resource_balanced', 'least_loaded', 'most_allocated', 'borg'])
      for (const usage of ['requests', 'metrics.k8s.io'] as const) {
        const rank = rankRooms(createPolicy(name), usage)
        rank([room(9000, 90), room(100, 1), room(0, 0)], ask)
        rank([room(0, 0), room(100, 1), room(4000, 7)], ask)
        const rooms = [room(2000, 2), room(3000, 50), room(0, 0)]
        assert.deepEqual(rank(rooms, ask), rankRooms(createPolicy(name), usage)(rooms, ask), name)
      }
  })
})
