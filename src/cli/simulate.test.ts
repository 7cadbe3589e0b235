import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPolicy } from '../policies/registry.ts'
import { Simulation } from '../simulation/engine/simulation.ts'
import { nodeShapes } from '../simulation/workload/node-shapes.ts'
import { pod } from '../../test/builders.ts'
import { renderSimulations } from './simulate.ts'

test('policies stand side by side in the report of a simulation, with bars, the course of time, and why pods wait', async () => {
  const nodes = nodeShapes(['cpu=4'], 2)
  const arrivals = [0, 1, 2].map((number) => ({ atMs: number * 1000, pod: pod(`pod-${number}`).cpu(3).object() }))
  const results = await Promise.all(
    ['borg', 'least_loaded'].map((name) =>
      new Simulation({ nodes, arrivals, policy: createPolicy(name), seed: 1, untilMs: 100_000 }).run(),
    ),
  )
  const text = renderSimulations({ from: 'three pods', nodes, arrivals }, 1, results).join('\n')
  assert.match(text, /^three pods: 3 pods on 2 nodes, seed 1, 1\.7 min|100\.0 s simulated/)
  for (const name of ['borg', 'least_loaded']) {
    assert.match(text, new RegExp(`^${name} +2 +0 +1 +0 +0 +0 ms +0 ms +0 ms +74\\.6 %`, 'm'))
    assert.match(text, new RegExp(`^${name} +█{22}·{8} +74\\.6 % +75\\.0 %$`, 'm'))
  }
  assert.match(text, /borg at the end, waiting because:\n +1 {2}Insufficient cpu/)
})
