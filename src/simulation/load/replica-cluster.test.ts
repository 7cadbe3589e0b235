import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createPolicy } from '../../policies/registry.ts'
import { nodeShapes } from '../workload/node-shapes.ts'
import { createPattern } from './pattern.ts'
import { ReplicaCluster, type ReplicaClusterOptions } from './replica-cluster.ts'

const template = {
  requests: { cpu: '2', memory: '1Gi' },
  coreLimit: 2,
  concurrency: 1,
  startMs: 10_000,
  memoryBytes: 2 ** 30,
  nodeSelector: {},
}
const demand = { service: { kind: 'constant', meanMs: 4000 } as const, cores: 1, deviceShare: 0 }

/** One node of four cores: room for two replicas. */
const clusterOf = (options: Partial<ReplicaClusterOptions> = {}): ReplicaCluster =>
  new ReplicaCluster({
    nodes: nodeShapes(['cpu=4,memory=16Gi'], 1).map((shape) => ({ shape, networkMs: 0, backgroundCores: 0 })),
    templates: { cpu: template },
    policy: createPolicy('kube-default'),
    requestBytes: 2 ** 20,
    pattern: createPattern({ name: 'ramp', durationMs: 600_000, minUsers: 0, maxUsers: 0 }),
    mix: [{ name: 'ask', weight: 1, demand: { cpu: demand, gpu: demand } }],
    think: { minMs: 100, maxMs: 100 },
    seed: 1,
    balancer: 'random',
    queueLimit: 100,
    timeoutMs: 60_000,
    interference: 0,
    ...options,
  })

describe('replicas on nodes', () => {
  it('start where the scheduler has put them, and wait where it has no room', () => {
    const cluster = clusterOf()
    cluster.scale('cpu', 3)
    assert.deepEqual(cluster.counts('cpu'), { wanted: 3, ready: 0, starting: 2, pending: 1 })
    cluster.runUntil(10_000)
    assert.deepEqual(cluster.counts('cpu'), { wanted: 3, ready: 2, starting: 0, pending: 1 })
    assert.match(cluster.records[2]?.pendingBecause ?? '', /Insufficient cpu/)
  })

  it('go in the order of a ReplicaSet: without a node first, then not ready, then the youngest', () => {
    const cluster = clusterOf()
    const leftAfter = (count: number): string[] => {
      cluster.scale('cpu', count)
      return cluster.records.filter(({ removedMs }) => removedMs === undefined).map(({ name }) => name)
    }
    cluster.scale('cpu', 1)
    cluster.runUntil(10_000)
    cluster.scale('cpu', 3)
    assert.deepEqual(leftAfter(2), ['cpu-0', 'cpu-1'])
    assert.deepEqual(leftAfter(1), ['cpu-0'])
    assert.equal(cluster.records[1]?.readyMs, undefined)
    assert.deepEqual(leftAfter(0), [])
  })

  it('that go answer what they have before their room is given to those that wait', () => {
    const busy = createPattern({ name: 'ramp', durationMs: 600_000, minUsers: 1, maxUsers: 1 })
    const cluster = clusterOf({ pattern: busy })
    cluster.scale('cpu', 2)
    cluster.runUntil(60_000)
    cluster.begin()
    cluster.runUntil(61_000)
    // both replicas and one that waits; then only the one that waits is still wanted
    cluster.scale('cpu', 0)
    cluster.scale('cpu', 1)
    const placedMs = () => cluster.records.at(-1)?.placedMs
    const before = placedMs()
    cluster.runUntil(70_000)
    const after = placedMs()
    // one of the two was idle: its room was free at once, or after the request of at most 4 s
    assert.ok(before === undefined || before === 61_000)
    assert.ok(after !== undefined && after <= 65_000, `${after}`)
    assert.equal(cluster.summary().timedOut, 0)
  })

  it('take memory once they have a node, and so do requests that they have', () => {
    const cluster = clusterOf({
      pattern: createPattern({ name: 'ramp', durationMs: 60_000, minUsers: 8, maxUsers: 8 }),
    })
    cluster.scale('cpu', 3)
    cluster.runUntil(20_000)
    const { memoryShare, outstanding } = cluster.takeWindow()
    assert.equal(outstanding, 8)
    assert.equal(memoryShare, (2 * 2 ** 30 + 8 * 2 ** 20) / (16 * 2 ** 30))
  })

  it('say how busy they are, as an autoscaler measures it', () => {
    const cluster = clusterOf({
      pattern: createPattern({ name: 'ramp', durationMs: 60_000, minUsers: 4, maxUsers: 4 }),
    })
    cluster.scale('cpu', 2)
    cluster.runUntil(20_000)
    cluster.takeUse('cpu')
    cluster.runUntil(40_000)
    const cpu = cluster.takeUse('cpu')
    // always one request each, of one core; two are requested
    assert.deepEqual(
      [cpu.unready, ...cpu.concurrency.map((use) => use.toFixed(2)), ...cpu.cpu.map((use) => use.toFixed(2))],
      [0, '1.00', '1.00', '0.50', '0.50'],
    )
  })
})
