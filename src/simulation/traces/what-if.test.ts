import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../../clock/clock.ts'
import type { NodeObject, PodObject } from '../../cluster/objects.ts'
import { createPolicy } from '../../policies/registry.ts'
import { hashingMask, type Mask, noMask } from './mask.ts'
import { parseTrace, type PodEnd, type RecordedTrace, type TraceEvent, traceLine } from './recorded.ts'
import { TraceRecorder } from './recorder.ts'
import { replayOf } from './replay.ts'
import { summariseTrace } from './summary.ts'
import { whatIf } from './what-if.ts'

const node = (name: string, cpu = '4', more: Partial<NodeObject> = {}): NodeObject => ({
  metadata: { name, uid: `uid-${name}`, labels: { 'kubernetes.io/hostname': name } },
  status: { allocatable: { cpu, memory: '64Gi', pods: '110' } },
  ...more,
})
const pod = (name: string, cpu: string, more: Partial<NonNullable<PodObject['spec']>> = {}): PodObject => ({
  metadata: { name, namespace: 'default', uid: `uid-${name}` },
  spec: { priority: 0, containers: [{ name: 'c', image: 'i', resources: { requests: { cpu } } }], ...more },
})
const nodeIs = (atMs: number, object: NodeObject): TraceEvent => ({ atMs, event: 'node', object })
const comes = (atMs: number, object: PodObject): TraceEvent => ({ atMs, event: 'pod', object })
const bound = (atMs: number, name: string, on: string): TraceEvent => ({
  atMs,
  event: 'bind',
  uid: `uid-${name}`,
  node: on,
})
const ends = (atMs: number, name: string, how: PodEnd): TraceEvent => ({ atMs, event: 'end', uid: `uid-${name}`, how })
const synced: TraceEvent = { atMs: 0, event: 'synced', missing: [] }
const stopped = (atMs: number): TraceEvent => ({ atMs, event: 'stopped' })

/** As it would be read from a file. */
const traceOf = (...events: TraceEvent[]): RecordedTrace => {
  const header = {
    stowageTrace: 1,
    source: 'cluster',
    startedAtMs: 0,
    anonymised: false,
    writtenBy: 'stowage test',
  } as const
  return parseTrace('t.ndjson', [header, ...events].map(traceLine).join(''))
}

const ask = async (trace: RecordedTrace, policy = 'kube-default') => {
  const result = await whatIf({ trace, policies: [() => ({ policy: createPolicy(policy) })], seed: 1 })
  const [alternative] = result.policies
  assert.ok(alternative !== undefined)
  return { ...result, alternative }
}

test('the policy that was live decides as it did, and another says which pods would be elsewhere', async () => {
  const trace = traceOf(
    nodeIs(0, node('a')),
    nodeIs(0, node('b')),
    synced,
    comes(100, pod('p', '1')),
    bound(110, 'p', 'a'),
    comes(200, pod('q', '1')),
    bound(210, 'q', 'b'),
    comes(300, pod('r', '1')),
    bound(310, 'r', 'a'),
    stopped(1000),
  )
  const spread = await ask(trace)
  assert.deepEqual(spread.alternative.decisions, { compared: 3, alike: 3, tied: 0 })
  assert.deepEqual([spread.alternative.agree, spread.alternative.moved], [3, []])
  const packed = await ask(trace, 'most_allocated')
  assert.deepEqual(
    packed.alternative.decisions,
    { compared: 3, alike: 2, tied: 0 },
    'q would join p; r has two equal nodes before it, as the live one had',
  )
  assert.deepEqual(packed.alternative.moved, [{ pod: 'default/q', recorded: 'b', now: 'a' }])
  assert.ok(packed.alternative.imbalance.cpu > spread.alternative.imbalance.cpu)
  assert.deepEqual(spread.recorded?.pendingMs.p50, 10)
})

test('what really happened is measured like the rest: utilisation by the time at which pods had their nodes', async () => {
  const { alternative, recorded } = await ask(
    traceOf(
      nodeIs(0, node('a')),
      synced,
      comes(0, pod('p', '4')),
      bound(500, 'p', 'a'),
      ends(750, 'p', 'succeeded'),
      stopped(1000),
    ),
  )
  assert.equal(recorded?.utilisation.cpu, 0.25)
  assert.equal(recorded.pendingMs.max, 500)
  assert.equal(alternative.utilisation.cpu, 0.25, 'placed at once, it runs as long as it ran')
  assert.equal(alternative.pendingMs.max, 0)
  assert.equal(alternative.finalUtilisation.cpu, 0)
})

test('pods that waited to the end, and why, are told of both', async () => {
  const { alternative, recorded } = await ask(
    traceOf(
      nodeIs(0, node('a')),
      synced,
      comes(10, pod('big', '8')),
      {
        atMs: 20,
        event: 'refused',
        uid: 'uid-big',
        message: '0/1 nodes are available: 1 Insufficient cpu. preemption: none',
      },
      comes(30, pod('small', '1')),
      bound(40, 'small', 'a'),
      stopped(100),
    ),
  )
  for (const course of [recorded, alternative]) {
    assert.equal(course?.pending, 1)
    assert.deepEqual(course.waitingBecause, [{ reason: 'Insufficient cpu', pods: 1 }])
    assert.equal(course.placed, 1)
  }
})

test('what has its node at the start keeps it, whatever its name, and pending pods get only what is left', async () => {
  const trace = traceOf(
    nodeIs(0, node('a')),
    comes(0, pod('early', '3')),
    comes(0, pod('zeal', '3', { nodeName: 'a' })),
    synced,
  )
  const { alternative, durationMs, keptPods, recorded } = await ask(trace)
  assert.deepEqual([durationMs, keptPods, recorded], [0, 1, undefined])
  assert.deepEqual([alternative.placed, alternative.pending], [0, 1])
  assert.equal(alternative.finalUtilisation.cpu, 0.75)
})

test('pods that were deleted leave when they left, those that end run as long as they ran, wherever they are', async () => {
  const { alternative } = await ask(
    traceOf(
      nodeIs(0, node('a')),
      synced,
      comes(10, pod('deleted', '1')),
      comes(10, pod('ended', '1')),
      bound(100, 'deleted', 'a'),
      ends(510, 'deleted', 'deleted'),
      bound(600, 'ended', 'a'),
      ends(900, 'ended', 'failed'),
      stopped(1000),
    ),
  )
  // One of 4 CPU from 10 to 510 ms and one from 10 to 310 ms, of 1000.
  assert.ok(Math.abs(alternative.utilisation.cpu - 0.2) < 1e-9, String(alternative.utilisation.cpu))
})

test('nodes come, are cordoned and go as they did', async () => {
  const cordoned = node('a', '4', { spec: { unschedulable: true } })
  const { alternative } = await ask(
    traceOf(
      nodeIs(0, node('a')),
      synced,
      nodeIs(100, cordoned),
      comes(200, pod('p', '1')),
      nodeIs(300, node('b')),
      bound(310, 'p', 'b'),
      { atMs: 400, event: 'node-gone', name: 'a' },
      comes(500, pod('q', '1')),
      bound(510, 'q', 'b'),
      stopped(1000),
    ),
  )
  assert.deepEqual(alternative.moved, [])
  assert.equal(alternative.pendingMs.max, 100, 'p waits for b, as a takes no more')
})

test('a gated pod comes when its last gate is opened; one that stays gated is left out and counted', async () => {
  const gates = { schedulingGates: [{ name: 'quota' }] }
  const trace = traceOf(
    nodeIs(0, node('a')),
    synced,
    comes(100, pod('opened', '1', gates)),
    comes(100, pod('shut', '1', gates)),
    comes(400, pod('opened', '1')),
    bound(450, 'opened', 'a'),
    stopped(1000),
  )
  const { alternative, leftOut, pods, recorded } = await ask(trace)
  assert.equal(pods, 1)
  assert.deepEqual(leftOut, { gatedPods: 1, podChanges: 0 })
  assert.equal(recorded?.pendingMs.max, 50)
  assert.deepEqual(alternative.moved, [])
  assert.equal(summariseTrace(trace).pods.gated, 1)
})

test('nobody is made again who is in the record anyway: victims of a preemption are counted, not doubled', async () => {
  const owned: PodObject = pod('low', '4')
  owned.metadata = {
    ...owned.metadata,
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'low', uid: 'o', controller: true }],
  }
  const { alternative } = await ask(
    traceOf(
      nodeIs(0, node('a')),
      synced,
      comes(10, owned),
      bound(20, 'low', 'a'),
      comes(100, pod('high', '4', { priority: 10, preemptionPolicy: 'PreemptLowerPriority' })),
      stopped(60_000),
    ),
  )
  assert.equal(alternative.preemptions, 1)
  assert.equal(alternative.pending, 0)
  assert.deepEqual(alternative.moved, [{ pod: 'default/high', recorded: '', now: 'a' }])
})

test('claims are bound anew where the policy wants the pod; those that were bound at the start stay where they are', async () => {
  const object = (atMs: number, apiVersion: string, kind: string, name: string, more: object): TraceEvent => ({
    atMs,
    event: 'object',
    object: { apiVersion, kind, metadata: { name, uid: `uid-${name}` }, ...more },
  })
  const inDefault = (name: string, annotations: Record<string, string> = {}) => ({
    metadata: { name, namespace: 'default', uid: `uid-${name}`, annotations },
  })
  const onNode = (name: string) => ({
    required: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [name] }] }],
    },
  })
  const local = { storageClassName: 'local', accessModes: ['ReadWriteOnce'] }
  const volume = (on: string, claim?: string) => ({
    spec: {
      ...local,
      capacity: { storage: '1Gi' },
      nodeAffinity: onNode(on),
      ...(claim === undefined ? {} : { claimRef: { namespace: 'default', name: claim, uid: `uid-${claim}` } }),
    },
    status: { phase: claim === undefined ? 'Available' : 'Bound' },
  })
  const claimSpec = { ...local, resources: { requests: { storage: '1Gi' } } }
  const complete = { 'pv.kubernetes.io/bind-completed': 'yes' }
  const withClaim = (name: string, claimName: string) =>
    pod(name, '1', { volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }] })
  const { alternative } = await ask(
    traceOf(
      nodeIs(0, node('a')),
      nodeIs(0, node('b')),
      object(0, 'storage.k8s.io/v1', 'StorageClass', 'local', {
        provisioner: 'kubernetes.io/no-provisioner',
        volumeBindingMode: 'WaitForFirstConsumer',
      }),
      object(0, 'v1', 'PersistentVolume', 'on-b', volume('b')),
      object(0, 'v1', 'PersistentVolume', 'kept', volume('a', 'old')),
      object(0, 'v1', 'PersistentVolumeClaim', 'old', {
        ...inDefault('old', complete),
        spec: { ...claimSpec, volumeName: 'kept' },
        status: { phase: 'Bound' },
      }),
      synced,
      object(10, 'v1', 'PersistentVolumeClaim', 'new', { ...inDefault('new'), spec: claimSpec }),
      comes(20, withClaim('fresh', 'new')),
      object(30, 'v1', 'PersistentVolumeClaim', 'new', {
        ...inDefault('new', complete),
        spec: { ...claimSpec, volumeName: 'on-b' },
        status: { phase: 'Bound' },
      }),
      bound(40, 'fresh', 'b'),
      comes(50, withClaim('again', 'old')),
      bound(60, 'again', 'a'),
      stopped(10_000),
    ),
  )
  assert.deepEqual([alternative.placed, alternative.moved], [2, []])
})

test('a pod with the name of an earlier one is another pod', () => {
  const again = pod('web-0', '1')
  again.metadata = { ...again.metadata, uid: 'uid-again' }
  const { placeable } = replayOf(
    traceOf(
      nodeIs(0, node('a')),
      synced,
      comes(10, pod('web-0', '1')),
      ends(20, 'web-0', 'deleted'),
      comes(30, again),
      stopped(40),
    ),
    'arrivals',
  )
  assert.deepEqual([...placeable.keys()], ['default/web-0', 'default/web-0-life-2'])
})

test('a policy that fails is told apart by its fallback, not by an error', async () => {
  const broken = {
    name: 'broken',
    version: '1',
    rank: () => {
      throw new RangeError('out of order')
    },
  }
  const result = await whatIf({
    trace: traceOf(nodeIs(0, node('a')), nodeIs(0, node('b')), synced, comes(10, pod('p', '1')), stopped(100)),
    policies: [() => ({ policy: broken, fallback: createPolicy('kube-default') })],
    seed: 1,
  })
  assert.equal(result.policies[0]?.placed, 1)
})

test('anonymised, a recording gets the same answers', async () => {
  const labelled = (name: string, zone: string): NodeObject => ({
    ...node(name, '4', { spec: { taints: [{ key: 'acme.example/team', value: zone, effect: 'PreferNoSchedule' }] } }),
    metadata: { name, uid: name, labels: { 'kubernetes.io/hostname': name, 'acme.example/room': zone } },
  })
  const demanding = (number: number): PodObject => ({
    metadata: { name: `p-${number}`, namespace: 'finance', uid: `u-${number}`, labels: { app: 'web' } },
    spec: {
      ...pod('p', '500m').spec,
      tolerations: [{ key: 'acme.example/team', operator: 'Equal', value: 'blue' }],
      topologySpreadConstraints: [
        {
          topologyKey: 'acme.example/room',
          maxSkew: 1,
          whenUnsatisfiable: 'DoNotSchedule',
          labelSelector: { matchLabels: { app: 'web' } },
        },
      ],
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: 'acme.example/room', operator: 'In', values: ['blue', 'red'] }] },
            ],
          },
        },
      },
    },
  })
  const recorded = (mask: Mask): RecordedTrace => {
    const clock = new VirtualClock()
    const events: TraceEvent[] = []
    const recorder = new TraceRecorder({ clock, write: (event) => events.push(event), mask })
    const nodes = recorder.feed('Node', 'v1', () => undefined)
    const pods = recorder.feed('Pod', 'v1', () => undefined)
    for (const [name, zone] of ['blue', 'red', 'green', 'blue'].entries()) nodes.seen(labelled(`n-${name}`, zone))
    recorder.synced()
    for (let number = 0; number < 6; number++) {
      clock.advance(10)
      pods.seen(demanding(number))
      clock.advance(1)
      const { spec, ...rest } = demanding(number)
      const placed: PodObject = { ...rest, spec: { ...spec, nodeName: `n-${[0, 1, 3][number % 3]}` } }
      pods.seen(placed)
    }
    recorder.stopped()
    return traceOf(...events)
  }
  const open = await ask(recorded(noMask))
  const masked = await ask(recorded(hashingMask(new Uint8Array(16).fill(5))))
  const answers = ({ alternative }: typeof open) => ({ ...alternative, moved: alternative.moved.length })
  assert.equal(open.alternative.placed, 6)
  assert.deepEqual(answers(masked), answers(open))
})
