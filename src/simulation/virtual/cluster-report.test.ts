import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ResourceNames } from '../../cluster/resources.ts'
import type { ClusterView } from '../../cluster/view.ts'
import { allocations } from './cluster-report.ts'

test('allocation is what pods request of what nodes offer, resource by resource, over the nodes in use', () => {
  const resources = new ResourceNames()
  resources.index('nvidia.com/gpu')
  // Node 1 is gone; its columns still hold what it had.
  const cluster = {
    resources,
    order: Int32Array.of(2, 0, 1),
    nodeCount: 2,
    allocatable: [
      Float64Array.of(4000, 9, 8000),
      Float64Array.of(100, 9, 200),
      new Float64Array(3),
      Float64Array.of(0, 9, 8),
    ],
    requested: [Float64Array.of(1000, 9, 3000), Float64Array.of(100, 9, 0), new Float64Array(3)],
    podCount: Int32Array.of(3, 9, 1),
    maxPods: Int32Array.of(10, 9, 20),
  } as Partial<ClusterView> as ClusterView
  assert.deepEqual(allocations(cluster), [
    { resource: 'cpu', requested: 4000, allocatable: 12_000, percent: 33.3 },
    { resource: 'memory', requested: 100, allocatable: 300, percent: 33.3 },
    { resource: 'nvidia.com/gpu', requested: 0, allocatable: 8, percent: 0 },
    { resource: 'pods', requested: 4, allocatable: 30, percent: 13.3 },
  ])
})
