import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nodeShapes } from './node-shapes.ts'

test('without options there are 100 nodes of 16 CPU, 64 GiB and 110 pods, spread over three zones', () => {
  const nodes = nodeShapes([])
  assert.equal(nodes.length, 100)
  assert.deepEqual(nodes[4], {
    name: 'node-0004',
    allocatable: { cpu: '16', memory: '64Gi', pods: '110', 'ephemeral-storage': '100Gi' },
    labels: {
      'topology.kubernetes.io/region': 'region-1',
      'topology.kubernetes.io/zone': 'zone-b',
      'node.kubernetes.io/instance-type': 'c16-m64gi',
    },
    taints: [],
  })
  const perZone = Map.groupBy(nodes, ({ labels }) => labels['topology.kubernetes.io/zone'])
  assert.deepEqual(
    [...perZone].map(([zone, of]) => [zone, of.length]),
    [
      ['zone-a', 34],
      ['zone-b', 33],
      ['zone-c', 33],
    ],
  )
})

test('shapes without a count share what the counted ones leave', () => {
  const cpus = (shapes: string[], nodes?: number): Record<string, number> =>
    Object.fromEntries(
      [...Map.groupBy(nodeShapes(shapes, nodes), ({ allocatable }) => allocatable['cpu'] ?? '')].map(([cpu, of]) => [
        cpu,
        of.length,
      ]),
    )
  assert.deepEqual(cpus(['cpu=8', 'cpu=96,nvidia.com/gpu=8,count=20'], 100), { 8: 80, 96: 20 })
  assert.deepEqual(cpus(['cpu=8', 'cpu=9', 'cpu=10'], 8), { 8: 3, 9: 3, 10: 2 })
  assert.deepEqual(cpus(['cpu=8,count=2', 'cpu=9,count=3']), { 8: 2, 9: 3 })
  assert.deepEqual(cpus([], 0), {})
})

test('a shape may offer any extended resource', () => {
  const [node] = nodeShapes(['cpu=3500m, memory=1.5Gi, pods=10, nvidia.com/gpu=8'], 1)
  assert.deepEqual(node?.allocatable, {
    cpu: '3500m',
    memory: '1.5Gi',
    pods: '10',
    'ephemeral-storage': '100Gi',
    'nvidia.com/gpu': '8',
  })
  assert.equal(node?.labels['node.kubernetes.io/instance-type'], 'c3500m-m1.5gi-gpu8')
})

for (const [name, shapes, nodes, message] of [
  ['a quantity that is none', ['cpu=lots'], 1, /"cpu=lots".*QUANTITY_MALFORMED/],
  ['no value', ['cpu='], 1, /"cpu="; expected resources/],
  ['no resource', ['=4'], 1, /"=4"/],
  ['a resource twice', ['cpu=1,cpu=2'], 1, /"cpu=2" twice/],
  ['a negative quantity', ['memory=-1Gi'], 1, /not negative/],
  ['half a GPU', ['nvidia.com/gpu=500m'], 1, /whole number/],
  ['a count of none', ['count=0'], 1, /count of at least 1/],
  ['counts beyond the number of nodes', ['cpu=1,count=3'], 2, /2 nodes, while the node shapes count 3/],
  ['counts below the number of nodes', ['cpu=1,count=3'], 4, /4 nodes, while the node shapes count 3/],
  ['more shapes than nodes', ['cpu=1', 'cpu=2'], 1, /leaves none/],
  ['too many nodes', [], 16_001, /16001 nodes; expected a whole number from 0 to 16000/],
] as const) {
  test(`a node shape with ${name} is an error that says so`, () => {
    assert.throws(() => nodeShapes(shapes, nodes), { name: 'StowageError', code: 'CONFIG_INVALID_VALUE', message })
  })
}
