import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../clock/random.ts'
import type { KubeObject, PodObject } from '../../cluster/objects.ts'
import { createPolicy, policyNames } from '../../policies/registry.ts'
import type { Policy } from '../../policies/policy.ts'
import { type PodBuilder, pod } from '../../../test/builders.ts'
import { type NodeShape, nodeShapes } from '../workload/node-shapes.ts'
import { syntheticWorkload, workloadPriorityClasses } from '../workload/workload.ts'
import type { Arrival } from '../workload/arrivals.ts'
import type { SimulationEvent } from './events.ts'
import type { SimulationOptions } from './options.ts'
import type { SimulationResult } from './result.ts'
import { Simulation } from './simulation.ts'

const nodes = (count: number, shape = 'cpu=4,memory=16Gi'): NodeShape[] => nodeShapes([shape], count)
const lasting = (builder: PodBuilder, seconds: number): PodObject =>
  builder.annotation('stowage.dev/duration', `${seconds}s`).object()
const at = (seconds: number, object: PodObject): Arrival => ({ atMs: seconds * 1000, pod: object })

interface Placed {
  readonly name: string
  readonly node: string
  readonly atS: number
  readonly devices: readonly number[]
}

interface Played extends SimulationResult {
  readonly placed: readonly Placed[]
  readonly ended: readonly string[]
}

/** Runs it and notes who went where and how it ended. */
const play = async (
  options: Partial<SimulationOptions>,
  events: readonly (readonly [seconds: number, SimulationEvent])[] = [],
): Promise<Played> => {
  const placed: Placed[] = []
  const ended: string[] = []
  const simulation = new Simulation({
    nodes: nodes(2),
    policy: createPolicy('least_loaded'),
    seed: 1,
    observer: {
      placed: ({ name }, node, devices, atMs) => placed.push({ name, node, devices, atS: atMs / 1000 }),
      left: ({ name }, _node, why, atMs) => ended.push(`${name} ${why} ${atMs / 1000}`),
    },
    ...options,
  })
  for (const [seconds, event] of events) simulation.at(seconds * 1000, event)
  const result = await simulation.run()
  assert.deepEqual(result.discrepancies, { miscounted: [], overcommitted: [] })
  return { ...result, placed, ended }
}

describe('a simulated cluster', () => {
  it('places pods as they come, ends them after their duration, and lets those in that wait', async () => {
    const { placed, ended, pendingMs, pods, durationMs } = await play({
      nodes: nodes(1),
      arrivals: [at(1, lasting(pod('first').cpu(3), 60)), at(2, lasting(pod('second').cpu(2), 10))],
    })
    assert.deepEqual(placed, [
      { name: 'first', node: 'node-0000', atS: 1, devices: [] },
      { name: 'second', node: 'node-0000', atS: 61, devices: [] },
    ])
    assert.deepEqual(ended, ['first completed 61', 'second completed 71'])
    assert.equal(durationMs, 71_000)
    assert.deepEqual([pods.completed, pods.running, pods.pending], [2, 0, 0])
    assert.deepEqual([pendingMs.count, pendingMs.p50, pendingMs.p99, pendingMs.max], [2, 0, 59_000, 59_000])
  })

  it('averages over time: half the cpu for half the time is a quarter', async () => {
    const { utilisation, peakUtilisation, finalUtilisation, imbalance, pendingPods, podsPerNode, series } = await play({
      nodes: nodes(2),
      arrivals: [at(0, lasting(pod('half').cpu(4).memory('8Gi'), 100)), at(0, pod('never').cpu(5).object())],
      untilMs: 200_000,
    })
    assert.equal(utilisation.cpu, 0.25)
    assert.equal(utilisation.memory, 0.125)
    assert.equal(peakUtilisation.cpu, 0.5)
    assert.equal(finalUtilisation.cpu, 0)
    // one node full and one empty deviate by half from their mean
    assert.equal(imbalance.cpu, 0.25)
    assert.deepEqual(pendingPods, { mean: 1, most: 1 })
    assert.deepEqual(podsPerNode, { mean: 0, most: 0, emptyNodes: 2 })
    assert.ok(series.length > 2 && series.length <= 200)
    for (const { atMs, cpu } of series) if (atMs > 0) assert.equal(cpu, atMs < 100_000 ? 0.5 : 0, `at ${atMs}`)
    assert.equal(series.at(-1)?.atMs, 200_000)
  })

  it('gives up what fits nowhere at once where it is told to', async () => {
    const { pods, ended, waitingBecause } = await play({
      arrivals: [at(0, pod('huge').cpu(5).object()), at(1, pod('small').cpu(4).object())],
      unschedulable: 'drop',
    })
    assert.deepEqual(ended, ['huge dropped 0'])
    assert.deepEqual([pods.dropped, pods.running, pods.pending], [1, 1, 0])
    assert.deepEqual(waitingBecause, [])
  })

  it('says at the end why pods wait', async () => {
    const { waitingBecause, pods, stillPendingMs } = await play({
      arrivals: [at(0, pod('a').cpu(5).object()), at(0, pod('b').cpu(6).object()), at(10, pod('c').cpu(1).object())],
      untilMs: 10_000,
    })
    assert.deepEqual(waitingBecause, [{ reason: 'Insufficient cpu', pods: 2 }])
    assert.equal(pods.pending, 2)
    assert.equal(stillPendingMs.max, 10_000)
  })

  it('has pods of a lower priority leave for those that matter more, and their controllers make them again', async () => {
    const small = (name: string): PodBuilder => pod(name).cpu(2).priority(0).ownedBy('ReplicaSet', 'web')
    const { disruptions, placed, pods } = await play({
      nodes: nodes(1),
      arrivals: [
        at(0, small('web-1').object()),
        at(0, small('web-2').object()),
        at(5, lasting(pod('urgent').cpu(4).priority(100), 60)),
      ],
    })
    assert.equal(disruptions.preempted, 2)
    assert.deepEqual(
      placed.map(({ name, atS }) => [name.replace(/-again.*/, ''), atS >= 5]),
      [
        ['web-1', false],
        ['web-2', false],
        ['urgent', true],
        ['web-1', true],
        ['web-2', true],
      ],
    )
    assert.deepEqual([pods.remade, pods.running, pods.completed, pods.lost], [2, 2, 1, 0])
  })

  it('has pods leave for a gang that matters more, for all of it at once', async () => {
    const member = (number: number): PodObject =>
      pod(`gang-${number}`)
        .cpu(4)
        .priority(100)
        .label('stowage.dev/gang', 'training')
        .annotation('stowage.dev/gang-size', '2')
        .object()
    const { disruptions, pods, placed } = await play({
      nodes: nodes(2),
      arrivals: [
        at(0, pod('low-0').cpu(4).object()),
        at(0, pod('low-1').cpu(4).object()),
        at(5, member(0)),
        at(5, member(1)),
      ],
    })
    assert.equal(disruptions.preempted, 2)
    assert.deepEqual([pods.running, pods.lost, pods.pending], [2, 2, 0])
    assert.deepEqual(
      placed.slice(2).map(({ name }) => name),
      ['gang-0', 'gang-1'],
    )
  })

  it('keeps a preemptor that is dropped elsewhere while its victims leave', async () => {
    const { pods } = await play({
      nodes: nodes(1),
      unschedulable: 'drop',
      arrivals: [at(0, pod('low').cpu(4).object()), at(1, pod('high').cpu(4).priority(9).object())],
    })
    assert.deepEqual([pods.running, pods.dropped, pods.lost], [1, 0, 1])
  })

  it('opens the gates of generated pods, and places gangs together or not at all', async () => {
    const member = (gang: string, number: number, size: number): PodObject =>
      pod(`${gang}-${number}`)
        .cpu(2)
        .label('stowage.dev/gang', gang)
        .annotation('stowage.dev/gang-size', `${size}`)
        .object()
    const { placed, pods } = await play({
      arrivals: [
        at(0, pod('gated').cpu(1).gatedBy('stowage.dev/held').object()),
        at(1, member('whole', 0, 2)),
        at(2, member('whole', 1, 2)),
        ...[0, 1, 2, 3].map((number) => at(3, member('large', number, 4))),
        at(4, member('short', 0, 2)),
      ],
    })
    assert.deepEqual(
      placed.map(({ name, atS }) => `${name} ${atS}`),
      ['whole-0 2', 'whole-1 2', 'gated 3'],
    )
    assert.deepEqual([pods.running, pods.pending, pods.gated], [3, 4, 1])
  })

  it('gives out single GPUs, counts them, and measures what of them is of no use', async () => {
    const gpu = (name: string, milli: number): PodObject =>
      pod(name).cpu(1).request('stowage.dev/gpu-milli', milli).object()
    const { placed, finalUtilisation, finalFragmentation, fragmentation, pods } = await play({
      nodes: nodes(1, 'cpu=8,memory=16Gi,stowage.dev/gpu-milli=2000'),
      arrivals: [at(0, gpu('a', 600)), at(0, gpu('b', 600)), at(0, gpu('c', 470)), at(0, gpu('d', 400))],
      fragmentation: ({ gpus }, node) => Math.max(0, gpus.freeSum[node] ?? 0),
      untilMs: 1000,
    })
    assert.deepEqual(
      placed.map(({ name, devices }) => `${name} ${devices.join()}`),
      ['a 0', 'b 1', 'd 0'],
    )
    assert.equal(finalUtilisation.gpu, 0.8)
    assert.equal(finalFragmentation, 0.2)
    assert.equal(fragmentation, 0.2)
    assert.equal(pods.pending, 1)
  })

  it('binds claims as a volume controller would, and keeps a pod waiting for which nobody provides', async () => {
    const claim = (name: string, storageClassName: string): KubeObject =>
      ({
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name, namespace: 'default' },
        spec: { accessModes: ['ReadWriteOnce'], storageClassName, resources: { requests: { storage: '1Gi' } } },
      }) as KubeObject
    const storageClass = (name: string, provisioner: string): KubeObject =>
      ({
        apiVersion: 'storage.k8s.io/v1',
        kind: 'StorageClass',
        metadata: { name },
        provisioner,
        volumeBindingMode: 'WaitForFirstConsumer',
      }) as KubeObject
    const using = (name: string): PodObject =>
      pod(name)
        .cpu(1)
        .spec({ volumes: [{ name: 'v', persistentVolumeClaim: { claimName: name } }] })
        .object()
    const { placed, pods } = await play({
      objects: [
        storageClass('disks', 'simulated-disks.stowage.dev'),
        storageClass('nobody', 'example.com/nobody'),
        claim('data', 'disks'),
        claim('lost', 'nobody'),
      ],
      arrivals: [at(0, using('data')), at(1, using('lost'))],
      untilMs: 60_000,
    })
    assert.deepEqual(
      placed.map(({ name }) => name),
      ['data'],
    )
    assert.deepEqual([pods.running, pods.pending], [1, 1])
  })

  it('has a policy that answers later decide in the order of its questions', async () => {
    const delays = seededRandom(5)
    const later: Policy = {
      name: 'later',
      version: '1',
      rank: async (_pod, { count }) => {
        for (let i = delays.below(20); i > 0; i--) await Promise.resolve()
        return { scores: Float64Array.from({ length: count }, () => 1), source: 'model' }
      },
    }
    const { placed, pods } = await play({
      policy: later,
      arrivals: Array.from({ length: 8 }, (_, number) => at(0, pod(`pod-${number}`).cpu(1).object())),
    })
    assert.equal(pods.running, 8)
    assert.deepEqual(
      placed.map(({ name }) => name),
      Array.from({ length: 8 }, (_, number) => `pod-${number}`),
    )
  })
})

describe('nodes of a simulated cluster', () => {
  const web = (number: number): PodObject => pod(`web-${number}`).cpu(2).ownedBy('ReplicaSet', 'web').object()

  it('that are silent lose their pods when these do not tolerate it any longer, and take pods again when they are back', async () => {
    const {
      placed,
      ended,
      nodes: counts,
    } = await play({ nodes: nodes(2), arrivals: [at(0, web(0)), at(0, web(1)), at(500, web(2)), at(500, web(3))] }, [
      [10, { kind: 'node-fail', node: 'node-0000' }],
      [900, { kind: 'node-recover', node: 'node-0000' }],
    ])
    // 50 s until it is missed, and 300 s of toleration
    assert.deepEqual(ended, ['web-0 node-failed 361'])
    assert.deepEqual(
      placed.map(({ name, node, atS }) => `${name.slice(0, 5)} ${node} ${atS}`),
      ['web-0 node-0000 0', 'web-1 node-0001 0', 'web-0 node-0001 361', 'web-2 node-0000 900', 'web-3 node-0000 900'],
    )
    assert.equal(counts.failed, 1)
  })

  it('that are back in time keep their pods, which have stood still meanwhile', async () => {
    const { ended } = await play({ nodes: nodes(1), arrivals: [at(0, lasting(pod('job').cpu(1), 100))] }, [
      [60, { kind: 'node-fail', node: 'node-0000' }],
      [200, { kind: 'node-recover', node: 'node-0000' }],
    ])
    assert.deepEqual(ended, ['job completed 240'])
  })

  it('that are drained, removed and added move the pods which somebody makes again', async () => {
    const { placed, ended, pods } = await play(
      { nodes: nodes(1), arrivals: [at(0, web(0)), at(0, pod('alone').cpu(2).object())] },
      [
        [10, { kind: 'node-drain', node: 'node-0000', noticeMs: 30_000 }],
        [20, { kind: 'node-add', node: { ...nodes(1)[0]!, name: 'fresh' } }],
        [60, { kind: 'node-remove', node: 'fresh' }],
        [61, { kind: 'node-remove', node: 'fresh' }],
      ],
    )
    assert.deepEqual(ended, ['web-0 evicted 11', 'alone evicted 11', 'web-0-again-1 node-removed 60'])
    assert.deepEqual(
      placed.map(({ name, node, atS }) => `${name} ${node} ${atS}`),
      ['web-0 node-0000 0', 'alone node-0000 0', 'web-0-again-1 fresh 20'],
    )
    assert.deepEqual([pods.lost, pods.remade, pods.pending], [1, 2, 1])
  })

  it('of the spot market go with notice and come again', async () => {
    const {
      disruptions,
      nodes: counts,
      pods,
    } = await play({
      nodes: nodes(4),
      arrivals: [0, 1, 2, 3].map((number) => at(0, web(number))),
      spot: { isSpot: ({ name }) => name < 'node-0002', reclaimsPerHour: 2, returnsAfterMs: 60_000 },
      untilMs: 6 * 3_600_000,
    })
    assert.ok(counts.spotReclaimed > 6 && counts.spotReclaimed < 50, `${counts.spotReclaimed} reclaims`)
    assert.ok(disruptions['spot-reclaimed'] > 0)
    assert.equal(pods.lost, 0)
    assert.equal(pods.running + pods.pending, 4)
  })

  it('fail and recover at random where they are told to, and less time between failures makes more of them', async () => {
    const failing = async (meanTimeToFailureMs: number): Promise<number> => {
      const { nodes: counts } = await play({
        nodes: nodes(10),
        failures: { meanTimeToFailureMs, meanTimeToRecoveryMs: 60_000 },
        untilMs: 3_600_000,
      })
      return counts.failed
    }
    const [often, seldom] = [await failing(600_000), await failing(6_000_000)]
    assert.ok(often > 30 && often < 90, `${often}`)
    assert.ok(seldom < 20, `${seldom}`)
  })

  it('are added for pods that wait, as many as these need, and removed when nobody uses them', async () => {
    const {
      nodes: counts,
      placed,
      pods,
      durationMs,
    } = await play({
      nodes: nodes(1),
      arrivals: Array.from({ length: 7 }, (_, number) => at(0, lasting(pod(`pod-${number}`).cpu(2), 300))),
      autoscaler: { shapes: nodes(1, 'cpu=4'), reactMs: 10_000, startMs: 60_000, idleMs: 120_000 },
    })
    // two go on the node that is there; five need three more
    assert.deepEqual([counts.addedByAutoscaler, counts.removedByAutoscaler, counts.most, counts.atEnd], [3, 3, 4, 1])
    assert.deepEqual(
      placed.map(({ atS }) => atS),
      [0, 0, 70, 70, 70, 70, 70],
    )
    assert.equal(pods.completed, 7)
    assert.equal(durationMs, (70 + 300 + 120) * 1000)
  })

  it('are not added again and again for a pod that something else keeps waiting', async () => {
    const spread = {
      maxSkew: 1,
      topologyKey: 'rack',
      whenUnsatisfiable: 'DoNotSchedule',
      labelSelector: { matchLabels: { app: 'a' } },
    }
    const member = (name: string, racks: readonly string[]): PodObject =>
      pod(name)
        .cpu(4)
        .label('app', 'a')
        .spec({ topologySpreadConstraints: racks.length > 0 ? [spread] : [] })
        .object()
    const { nodes: counts, pods } = await play({
      nodes: nodes(2).map((shape, rack) => ({ ...shape, labels: { rack: `${rack}` } })),
      arrivals: [
        at(0, member('first', [])),
        at(0, pod('other').cpu(1).object()),
        // the other rack must be first, and has no room; alone among new nodes it would fit
        at(1, member('second', ['rack'])),
      ],
      autoscaler: { shapes: [{ ...nodes(1, 'cpu=4')[0]!, labels: { rack: '0' } }], idleMs: 60_000 },
    })
    assert.equal(pods.pending, 1)
    assert.deepEqual([counts.addedByAutoscaler, counts.removedByAutoscaler], [3, 3])
  })

  it('are not added for what would fit on none of them, nor beyond what is allowed', async () => {
    const { nodes: counts } = await play({
      nodes: nodes(1),
      arrivals: [0, 1, 2, 3, 4].map((number) =>
        at(
          0,
          pod(`pod-${number}`)
            .cpu(number === 0 ? 64 : 4)
            .object(),
        ),
      ),
      autoscaler: { shapes: nodes(1, 'cpu=4'), mostAdded: 2 },
    })
    assert.equal(counts.addedByAutoscaler, 2)
  })
})

describe('what makes no sense', () => {
  it('is told: two pods of one name, an unknown priority class, an event for a node that never was', async () => {
    await assert.rejects(play({ arrivals: [at(0, pod('a').object()), at(1, pod('a').object())] }), /is there already/)
    await assert.rejects(
      play({ arrivals: [at(0, { metadata: { name: 'a' }, spec: { priorityClassName: 'gold' } })] }),
      /priority class "gold"/,
    )
    await assert.rejects(play({}, [[1, { kind: 'node-fail', node: 'nobody' }]]), /never there/)
    assert.throws(
      () => new Simulation({ nodes: [], policy: createPolicy('random'), seed: 1, objects: [{ kind: 'Lamp' }] }),
      /Lamp/,
    )
  })

  it('and a run that is called off ends with the reason', async () => {
    const controller = new AbortController()
    const simulation = new Simulation({
      nodes: nodes(1),
      policy: createPolicy('random'),
      seed: 1,
      arrivals: [at(0, pod('a').object()), at(1, pod('b').object())],
      signal: controller.signal,
      observer: { placed: () => controller.abort(new Error('enough')) },
    })
    await assert.rejects(simulation.run(), /enough/)
  })
})

/** Everything that can happen, from a few numbers. */
const scenario = fc.record({
  seed: fc.nat(1000),
  pods: fc.integer({ min: 1, max: 120 }),
  nodes: fc.integer({ min: 1, max: 8 }),
  gpus: fc.boolean(),
  policy: fc.constantFrom(...policyNames),
  unschedulable: fc.constantFrom('wait' as const, 'drop' as const),
  autoscaled: fc.boolean(),
  spot: fc.boolean(),
  failures: fc.boolean(),
  until: fc.boolean(),
  events: fc.array(
    fc.record({
      atS: fc.nat(400),
      kind: fc.constantFrom(
        'pod-gone',
        'evict',
        'node-remove',
        'node-drain',
        'node-fail',
        'node-recover',
        'node-add',
        'node-change',
      ),
      which: fc.nat(100),
    }),
    { maxLength: 12 },
  ),
})
type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never

const optionsOf = (it: Scenario): SimulationOptions & { readonly arrivals: readonly Arrival[] } => {
  const shapes = nodeShapes(
    [it.gpus ? 'cpu=16,memory=64Gi,pods=20,nvidia.com/gpu=4' : 'cpu=8,memory=32Gi,pods=12'],
    it.nodes,
  )
  return {
    nodes: shapes,
    policy: createPolicy(it.policy),
    fallback: createPolicy('least_loaded'),
    seed: it.seed,
    objects: workloadPriorityClasses,
    arrivals: syntheticWorkload({
      pods: it.pods,
      spanMs: 300_000,
      random: seededRandom(it.seed),
      nodes: shapes,
      schedulerName: 'anything',
    }),
    unschedulable: it.unschedulable,
    ...(it.autoscaled ? { autoscaler: { shapes: shapes.slice(0, 1), mostAdded: 3, idleMs: 60_000 } } : {}),
    ...(it.spot ? { spot: { isSpot: () => true, reclaimsPerHour: 20, returnsAfterMs: 30_000 } } : {}),
    ...(it.failures ? { failures: { meanTimeToFailureMs: 600_000, meanTimeToRecoveryMs: 400_000 } } : {}),
    ...(it.until || it.spot || it.failures ? { untilMs: 900_000 } : {}),
  }
}

const eventOf = (
  { kind, which, atS }: Scenario['events'][number],
  { arrivals, nodes: shapes }: ReturnType<typeof optionsOf>,
): SimulationEvent => {
  const { name = '', namespace = '' } = arrivals[which % arrivals.length]?.pod.metadata ?? {}
  const node = shapes[which % shapes.length]?.name ?? ''
  switch (kind) {
    case 'pod-gone':
    case 'evict':
      return { kind, namespace, name }
    case 'node-add':
      return { kind, node: { ...shapes[0]!, name: `more-${atS}-${which}` } }
    case 'node-change':
      return {
        kind,
        node: {
          ...shapes[which % shapes.length]!,
          labels: { rack: `${which}` },
          taints: [{ key: 'x', effect: 'NoSchedule' }],
        },
      }
    case 'node-drain':
      return { kind, node, noticeMs: 20_000 }
    default:
      return { kind, node }
  }
}

describe('whatever happens,', () => {
  const playScenario = (it: Scenario): Promise<Played> => {
    const options = optionsOf(it)
    const seen = new Set<string>()
    const events = it.events
      .map((event) => [event.atS, eventOf(event, options)] as const)
      // a node joins once
      .filter(([, event]) => event.kind !== 'node-add' || !(seen.has(event.node.name) || !seen.add(event.node.name)))
    return play(options, events)
  }

  it('every pod is accounted for, once, and the columns are those of the pods', async () => {
    await fc.assert(
      fc.asyncProperty(scenario, async (it) => {
        const { conservation, pods, disruptions, placed, pendingMs, utilisation } = await playScenario(it)
        const disrupted = Object.values(disruptions).reduce((sum, count) => sum + count, 0)
        assert.equal(pods.arrived, it.pods)
        assert.equal(disrupted, pods.remade + pods.lost)
        const { arrived, completed, dropped, gated, gone, pending, remade, running } = pods
        assert.equal(completed + dropped + gone + disrupted + running + pending + gated, arrived + remade)
        const { bound, deleted, inFlight, seen, waiting } = conservation
        assert.equal(bound + waiting + conservation.gated + deleted + inFlight, seen)
        assert.equal(seen, arrived + remade)
        assert.equal(inFlight, 0)
        assert.equal(placed.length, pods.placed)
        assert.equal(pendingMs.count, pods.placed)
        for (const share of Object.values(utilisation)) assert.ok(share >= 0 && share <= 1 + 1e-9, `${share}`)
      }),
      { seed: 20_260_101, numRuns: 60 },
    )
  })

  it('the same seed leads to the same run to the bit, and another seed to another', async () => {
    await fc.assert(
      fc.asyncProperty(scenario, async (it) => {
        const [first, second] = [await playScenario(it), await playScenario(it)]
        assert.deepEqual(first, second)
      }),
      { seed: 7, numRuns: 25 },
    )
    const random = { gpus: false, autoscaled: false, spot: false, failures: false, until: false, events: [] }
    const digests = [1, 2].map(async (seed) => {
      const arrivals = optionsOf({
        ...random,
        seed: 3,
        pods: 60,
        nodes: 5,
        policy: 'random',
        unschedulable: 'wait',
      }).arrivals
      return (
        await play({
          nodes: nodes(5, 'cpu=8,memory=32Gi'),
          policy: createPolicy('random'),
          seed,
          arrivals,
          objects: workloadPriorityClasses,
        })
      ).digest
    })
    assert.equal(new Set(await Promise.all(digests)).size, 2)
  })
})
