import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { seededRandom } from '../../clock/random.ts'
import { createPolicy } from '../../policies/registry.ts'
import { Simulation } from '../engine/simulation.ts'
import { nodeShapes } from '../workload/node-shapes.ts'
import { FIVE_G_SCENARIOS, type FiveGScenario, fiveGWorkload, NETWORK_FUNCTION_LABEL } from './five-g.ts'
import { meanPodLatencyMs, networkLatencyMs } from './network-latency.ts'

const workload = (scenario: FiveGScenario, seed = 1, networks = 4) =>
  fiveGWorkload({
    scenario,
    nodes: nodeShapes(['cpu=16,memory=64Gi'], 12),
    networks,
    spanMs: 600_000,
    random: seededRandom(seed),
    schedulerName: 'stowage',
  })

const latencies = (scenario: FiveGScenario): number[] =>
  workload(scenario).nodes.map(({ annotations = {} }) => networkLatencyMs({ annotations }) ?? Number.NaN)

const cores = (scenario: FiveGScenario): number =>
  workload(scenario).arrivals.reduce(
    (sum, { pod }) => sum + Number.parseInt(String(pod.spec?.containers?.[0]?.resources?.requests?.['cpu']), 10) / 1000,
    0,
  )

describe('a workload of 5G functions', () => {
  it('has three UPF, two SMF, two CU and three DU for each network', () => {
    const counts = new Map<string, number>()
    for (const { pod } of workload('balanced').arrivals) {
      const kind = pod.metadata?.labels?.[NETWORK_FUNCTION_LABEL] ?? ''
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
    }
    assert.deepEqual(Object.fromEntries(counts), { UPF: 12, SMF: 8, CU: 8, DU: 12 })
  })

  it('repeats with its seed and differs with another', () => {
    assert.deepEqual(workload('mixed', 3), workload('mixed', 3))
    assert.notDeepEqual(workload('mixed', 3), workload('mixed', 4))
  })

  it('comes to nodes whose latency the cluster knows: near ones, and far ones where the scenario has them', () => {
    for (const scenario of FIVE_G_SCENARIOS) {
      const all = latencies(scenario)
      const far = all.filter((ms) => ms >= 20 && ms <= 50).length
      assert.equal(far + all.filter((ms) => ms >= 1 && ms <= 5).length, 12)
      assert.equal(far > 0, scenario === 'high_latency' || scenario === 'mixed', `${scenario}: ${all.join()}`)
    }
  })

  it('asks for more where it is resource intensive', () => {
    assert.equal(cores('resource_intensive'), 3 * cores('balanced'))
    assert.equal(cores('high_latency'), cores('balanced'))
    assert.equal(cores('mixed'), 2 * cores('balanced'))
  })

  it('is placed by the real scheduler, and what that means for its latency can be measured', async () => {
    const { arrivals, nodes } = workload('high_latency')
    let latencyMs = 0
    const result = await new Simulation({
      nodes,
      arrivals,
      policy: createPolicy('kube-default'),
      seed: 1,
      untilMs: 600_000,
      observer: {
        after: (_step, cluster) => {
          latencyMs = meanPodLatencyMs(cluster)
        },
      },
    }).run()
    assert.equal(result.pods.placed, 40)
    assert.ok(result.pods.completed > 0 && result.pods.running > 0)
    assert.ok(latencyMs > 5 && latencyMs < 50, `${latencyMs}`)
  })

  it('says nothing of latency where the node does not', () => {
    for (const text of [undefined, '', 'fast', '-1', '1e9', '12345678'])
      assert.equal(
        networkLatencyMs({ annotations: text === undefined ? {} : { 'stowage.dev/network-latency-ms': text } }),
        undefined,
      )
    assert.equal(networkLatencyMs({ annotations: { 'stowage.dev/network-latency-ms': '0.5' } }), 0.5)
  })
})
