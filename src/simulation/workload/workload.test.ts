import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../clock/random.ts'
import type { Arrival } from './arrivals.ts'
import { nodeShapes } from './node-shapes.ts'
import { parseDurationMs } from '../virtual/pod-stages.ts'
import { WORKLOAD_GATE, syntheticWorkload, workloadPriorityClasses } from './workload.ts'

const generate = (changed: Partial<Parameters<typeof syntheticWorkload>[0]> = {}): Arrival[] =>
  syntheticWorkload({
    pods: 4000,
    spanMs: 60_000,
    random: seededRandom(5),
    nodes: nodeShapes(['cpu=16,nvidia.com/gpu=4'], 3),
    schedulerName: 'stowage',
    ...changed,
  })
const share = (arrivals: readonly Arrival[], matches: (arrival: Arrival) => boolean): number =>
  arrivals.filter((arrival) => matches(arrival)).length / arrivals.length

test('equal seeds give equal workloads, other seeds others', () => {
  assert.deepEqual(generate({ pods: 300 }), generate({ pods: 300 }))
  assert.notDeepEqual(generate({ pods: 300 }), generate({ pods: 300, random: seededRandom(6) }))
})

test('as many pods as asked for arrive within the span, in order and evenly', () => {
  const arrivals = generate()
  assert.equal(arrivals.length, 4000)
  for (const [index, { atMs }] of arrivals.entries())
    assert.ok(atMs >= (arrivals[index - 1]?.atMs ?? 0) && atMs < 60_000)
  assert.ok(Math.abs(share(arrivals, ({ atMs }) => atMs < 30_000) - 0.5) < 0.03)
  assert.ok(generate({ pods: 10, spanMs: 0 }).every(({ atMs }) => atMs === 0))
  assert.deepEqual(generate({ pods: 0 }), [])
})

test('the mix is the documented one', () => {
  const arrivals = generate()
  const component = (name: string): number =>
    share(arrivals, ({ pod }) => pod.metadata?.labels?.['app.kubernetes.io/component'] === name)
  for (const [name, expected] of [
    ['web', 0.38],
    ['api', 0.26],
    ['cache', 0.1],
    ['batch', 0.2],
    ['gpu', 0.06],
  ] as const) {
    assert.ok(Math.abs(component(name) - expected) < 0.03, `${name} ${component(name)}`)
  }
  const some = (matches: (arrival: Arrival) => boolean): void => assert.ok(share(arrivals, matches) > 0.005)
  some(({ pod }) => pod.spec?.schedulingGates?.[0]?.name === WORKLOAD_GATE)
  some(({ pod }) => pod.spec?.containers?.[0]?.ports?.[0]?.hostPort === 6379)
  some(({ pod }) => pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution !== undefined)
  some(({ pod }) => pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution !== undefined)
  some(({ pod }) => (pod.spec?.tolerations?.length ?? 0) > 0)
})

test('where nodes give out shares of their GPUs, pods ask for shares and for whole ones', () => {
  const arrivals = generate({ nodes: nodeShapes(['cpu=16,stowage.dev/gpu-milli=4000'], 3) })
  const asked = new Map<string, number>()
  for (const { pod } of arrivals) {
    const milli = String(pod.spec?.containers?.[0]?.resources?.requests?.['stowage.dev/gpu-milli'] ?? 'none')
    asked.set(milli, (asked.get(milli) ?? 0) + 1)
  }
  for (const milli of ['100', '200', '250', '500', '1000', '2000', '4000'])
    assert.ok((asked.get(milli) ?? 0) > 0, milli)
  assert.equal(asked.size, 8)
})

test('every pod has its own name, an owner and the scheduler, and names only priority classes that come with it', () => {
  const arrivals = generate()
  const names = new Set(arrivals.map(({ pod }) => pod.metadata?.name))
  assert.equal(names.size, arrivals.length)
  const classes = new Set(workloadPriorityClasses.map(({ metadata }) => metadata?.name))
  for (const { pod } of arrivals) {
    assert.match(pod.metadata?.name ?? '', /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])$/)
    assert.equal(pod.metadata?.ownerReferences?.[0]?.controller, true)
    assert.equal(pod.spec?.schedulerName, 'stowage')
    if (pod.spec?.priorityClassName !== undefined) assert.ok(classes.has(pod.spec.priorityClassName))
  }
})

test('pods of one owner share their spec, so that a scheduler may recognise the shape', () => {
  const owners = Map.groupBy(generate(), ({ pod }) => pod.metadata?.ownerReferences?.[0]?.uid)
  assert.ok(owners.size > 100 && owners.size < 2000, String(owners.size))
  for (const of of owners.values()) assert.equal(new Set(of.map(({ pod }) => JSON.stringify(pod.spec))).size, 1)
})

test('jobs end, with a median near the documented one; services run on', () => {
  const arrivals = generate()
  const durations = arrivals.flatMap(({ pod }) => {
    const text = pod.metadata?.annotations?.['stowage.dev/duration']
    assert.equal(text !== undefined, pod.metadata?.ownerReferences?.[0]?.kind === 'Job')
    return text === undefined || pod.metadata?.labels?.['app.kubernetes.io/component'] !== 'batch'
      ? []
      : [parseDurationMs(text)]
  })
  const median = durations.sort((a, b) => a - b)[durations.length >> 1] ?? 0
  assert.ok(median > 25_000 && median < 36_000, String(median))
})

test('GPU pods come only where nodes have GPUs, and never ask for more than a node has', () => {
  const gpus = (arrivals: readonly Arrival[]): number[] =>
    arrivals.map(({ pod }) => Number(pod.spec?.containers?.[0]?.resources?.requests?.['nvidia.com/gpu'] ?? 0))
  assert.equal(Math.max(...gpus(generate())), 4)
  assert.equal(Math.max(...gpus(generate({ nodes: nodeShapes([]) }))), 0)
})
