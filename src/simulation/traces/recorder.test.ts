import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VirtualClock } from '../../clock/clock.ts'
import type { NodeObject, PodObject } from '../../cluster/objects.ts'
import { hashingMask, type Mask } from './mask.ts'
import { parseTrace, type TraceEvent, type TraceHeader, traceLine } from './recorded.ts'
import { recordedKinds, recordedParts } from './recorded-fields.ts'
import { TraceRecorder } from './recorder.ts'

const HEADER: TraceHeader = {
  stowageTrace: 1,
  source: 'cluster',
  startedAtMs: 1_800_000_000_000,
  anonymised: false,
  writtenBy: 'stowage test',
}

const recording = (mask?: Mask) => {
  const clock = new VirtualClock()
  const events: TraceEvent[] = []
  const recorder = new TraceRecorder({
    clock,
    write: (event) => events.push(event),
    ...(mask === undefined ? {} : { mask, messages: false }),
  })
  return {
    clock,
    recorder,
    events,
    pods: recorder.feed('Pod', 'v1', () => undefined),
    nodes: recorder.feed('Node', 'v1', () => undefined),
    text: () => [HEADER, ...events].map(traceLine).join(''),
  }
}

const pod = (changes: Partial<NonNullable<PodObject['spec']>> = {}, status: PodObject['status'] = {}): PodObject => ({
  metadata: { name: 'payroll-0', namespace: 'finance', uid: 'u-1', labels: { app: 'payroll' } },
  spec: {
    schedulerName: 'stowage',
    containers: [{ name: 'main', image: 'registry.acme.example/payroll', resources: { requests: { cpu: '1' } } }],
    ...changes,
  },
  status,
})

const node = (changes: NodeObject['status'] = {}): NodeObject => ({
  metadata: { name: 'rack-7', uid: 'n-1', labels: { 'kubernetes.io/hostname': 'rack-7' } },
  status: { allocatable: { cpu: '8', pods: '110' }, conditions: [{ type: 'Ready', status: 'True' }], ...changes },
})

test('a pod is written when it comes, when it is bound and when it ends, each with its time', () => {
  const { clock, events, pods } = recording()
  pods.seen(pod())
  clock.advance(20)
  pods.seen(pod({ nodeName: 'rack-7' }))
  clock.advance(1000)
  pods.seen(pod({ nodeName: 'rack-7' }, { phase: 'Running', startTime: '2026-01-01T00:00:01Z' }))
  clock.advance(5000)
  pods.seen(pod({ nodeName: 'rack-7' }, { phase: 'Succeeded' }))
  pods.gone('finance', 'payroll-0', 'u-1')
  assert.deepEqual(
    events.map(({ atMs, event }) => [atMs, event]),
    [
      [0, 'pod'],
      [20, 'bind'],
      [6020, 'end'],
    ],
  )
  assert.deepEqual(events[2], { atMs: 6020, event: 'end', uid: 'u-1', how: 'succeeded' })
})

test('why a pod waits is written once for each reason, and why it left: deleted, or for another', () => {
  const { events, pods } = recording()
  const waits = (message: string): PodObject =>
    pod({}, { conditions: [{ type: 'PodScheduled', status: 'False', message }] })
  pods.seen(waits('0/1 nodes are available: 1 Insufficient cpu.'))
  pods.seen(waits('0/1 nodes are available: 1 Insufficient cpu.'))
  pods.seen(waits('0/2 nodes are available: 2 Insufficient cpu.'))
  pods.gone('finance', 'payroll-0', 'u-1')
  pods.seen(pod({ nodeName: 'rack-7' }))
  const disruption = { type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }
  pods.seen(pod({ nodeName: 'rack-7' }, { conditions: [disruption] }))
  pods.gone('finance', 'payroll-0', 'u-1')
  assert.deepEqual(
    events.map((event) => [event.event, 'how' in event ? event.how : 'message' in event ? event.message : '']),
    [
      ['pod', ''],
      ['refused', '0/1 nodes are available: 1 Insufficient cpu.'],
      ['refused', '0/2 nodes are available: 2 Insufficient cpu.'],
      ['end', 'deleted'],
      ['pod', ''],
      ['end', 'preempted'],
    ],
  )
})

test('pods that had finished before the recording are left out; heartbeats of nodes are not written', () => {
  const { events, nodes, pods } = recording()
  pods.seen(pod({}, { phase: 'Failed' }))
  nodes.seen(node())
  nodes.seen(node({ conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: '2026-01-01T00:00:10Z' }] }))
  nodes.seen(node({ allocatable: { cpu: '7', pods: '110' } }))
  nodes.gone('', 'rack-7', 'n-1')
  assert.deepEqual(
    events.map(({ event }) => event),
    ['node', 'node', 'node-gone'],
  )
})

/** What must never get into a file, in every place where a pod can have it. */
const SECRET = 'hunter2'
const telling = {
  metadata: {
    name: 'payroll-0',
    namespace: 'finance',
    uid: 'u-1',
    annotations: { 'kubectl.kubernetes.io/last-applied-configuration': SECRET, note: SECRET },
    managedFields: [{ manager: SECRET }],
  },
  spec: {
    serviceAccountName: SECRET,
    imagePullSecrets: [{ name: SECRET }],
    containers: [
      {
        name: 'main',
        image: 'registry.acme.example/payroll',
        command: [SECRET],
        args: [SECRET],
        env: [{ name: 'PASSWORD', value: SECRET }],
        envFrom: [{ secretRef: { name: SECRET } }],
        livenessProbe: { exec: { command: [SECRET] } },
        volumeMounts: [{ name: SECRET, mountPath: SECRET, bindMountOptions: ['ro'] }],
      },
    ],
    volumes: [{ name: 'v', secret: { secretName: SECRET }, csi: { driver: 'd', volumeAttributes: { key: SECRET } } }],
  },
  status: { podIP: SECRET, message: SECRET },
}

test('of a PodGroup all that decides is kept: how many go together, how long they wait, and whether they leave together', () => {
  const spec = {
    schedulingPolicy: { gang: { minCount: 3 } },
    disruptionMode: { all: {} },
    minMember: 3,
    scheduleTimeoutSeconds: 60,
  }
  const kept = recordedParts('PodGroup', { metadata: { name: 'g', uid: 'g' }, spec, status: { phase: 'Pending' } })
  assert.deepEqual((kept as { spec?: unknown }).spec, spec)
})

test('environment, commands, secrets, probes and addresses are never written, of whatever kind the object is', () => {
  for (const kind of recordedKinds) {
    const { recorder, text } = recording()
    recorder.feed(kind, 'v1', () => undefined).seen(telling)
    assert.ok(!text().includes(SECRET), `${kind}: ${text()}`)
    assert.ok(text().includes('payroll-0'), kind)
  }
})

test('anonymised, nothing that somebody chose is in the file, and what was equal is equal still', () => {
  const { events, nodes, pods, text } = recording(hashingMask(new Uint8Array(32)))
  nodes.seen(node())
  pods.seen(
    pod(
      {
        nodeName: 'rack-7',
        nodeSelector: { 'kubernetes.io/hostname': 'rack-7', team: 'payroll' },
        tolerations: [{ key: 'acme.example/finance', operator: 'Exists' }],
        topologySpreadConstraints: [
          { topologyKey: 'acme.example/room', labelSelector: { matchLabels: { app: 'payroll' } } },
        ],
      },
      { conditions: [{ type: 'PodScheduled', status: 'False', message: 'no finance' }] },
    ),
  )
  for (const word of ['payroll', 'finance', 'acme', 'rack-7', 'team', 'room', 'registry'])
    assert.ok(!text().includes(word), `${word} in ${text()}`)
  const [first, second] = events
  assert.ok(first?.event === 'node' && second?.event === 'pod')
  const name = first.object.metadata?.name
  assert.equal(second.object.spec?.nodeName, name)
  assert.equal(second.object.spec?.nodeSelector?.['kubernetes.io/hostname'], name)
  assert.equal(first.object.metadata?.labels?.['kubernetes.io/hostname'], name)
  assert.deepEqual(
    second.object.spec?.topologySpreadConstraints?.[0]?.labelSelector?.matchLabels,
    second.object.metadata?.labels,
  )
  assert.equal(second.object.spec?.containers?.[0]?.resources?.requests?.['cpu'], '1')
  assert.notEqual(hashingMask(new Uint8Array(32).fill(1)).name('rack-7'), name, 'another recording has other hashes')
})

test('what was written is read again as it was', () => {
  const { clock, events, nodes, pods, recorder, text } = recording()
  nodes.seen(node())
  recorder
    .feed('PersistentVolumeClaim', 'v1', () => undefined)
    .seen({
      metadata: { name: 'data', namespace: 'finance' },
    })
  pods.seen(pod())
  recorder.synced()
  clock.advance(1.5)
  pods.seen(pod({ nodeName: 'rack-7' }))
  recorder.stopped()
  const trace = parseTrace('t.ndjson', text())
  assert.deepEqual(trace.header, HEADER)
  assert.deepEqual(trace.events, events)
  assert.equal(trace.truncated, false)
})

test('a trace that a kill has cut off lacks its last line only', () => {
  const { events, nodes, pods, text } = recording()
  nodes.seen(node())
  pods.seen(pod())
  const trace = parseTrace('t.ndjson', text().slice(0, -20))
  assert.deepEqual(trace.events, events.slice(0, 1))
  assert.equal(trace.truncated, true)
})

for (const [name, line, message] of [
  ['no JSON', '{"atMs":', /t\.ndjson line 2: .*expected one JSON object on each line/],
  ['an event that does not exist', '{"atMs":1,"event":"birth"}', /line 2: .*in event; expected an event/],
  ['a time that is none', '{"atMs":"1","event":"synced"}', /line 2: .*in atMs/],
  ['a bind without a node', '{"atMs":1,"event":"bind","uid":"u"}', /line 2: .*in node/],
  [
    'a pod without a uid',
    '{"atMs":1,"event":"pod","object":{"metadata":{"name":"p","namespace":"n"},"spec":{}}}',
    /in object\.metadata\.uid/,
  ],
  [
    'a kind that is not recorded',
    '{"atMs":1,"event":"object","object":{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}}',
    /in object\.kind/,
  ],
  [
    'time that goes back',
    '{"atMs":5,"event":"synced","missing":[]}\n{"atMs":4,"event":"stopped"}',
    /line 3: atMs 4; expected a time not before/,
  ],
] as const) {
  test(`a trace with ${name} is an error that names file and line`, () => {
    assert.throws(() => parseTrace('t.ndjson', `${traceLine(HEADER)}${line}\n`), { code: 'TRACE_MALFORMED', message })
  })
}

test('a file that is no trace, or a newer one, says so', () => {
  for (const [text, message] of [
    ['', /line 1: no header/],
    ['a,b,c\n', /line 1: .*expected one JSON object/],
    ['{"a":1}\n', /expected the header of a recorded trace/],
    [traceLine(HEADER).replace(':1,', ':2,'), /stowageTrace is 2; expected 1: a newer Stowage wrote it/],
  ] as const)
    assert.throws(() => parseTrace('t.ndjson', text), { code: 'TRACE_MALFORMED', message })
})

test('keys that mean something to JavaScript are keys like others', () => {
  const labels = '{"__proto__":{"polluted":true},"constructor":"x"}'
  const line = `{"atMs":0,"event":"pod","object":{"metadata":{"name":"p","namespace":"n","uid":"u","labels":${labels}},"spec":{}}}`
  const { events } = parseTrace('t.ndjson', `${traceLine(HEADER)}${line}\n`)
  const [event] = events
  assert.ok(event?.event === 'pod')
  assert.equal(Object.getPrototypeOf(event.object.metadata?.labels), Object.prototype)
  assert.deepEqual(Object.keys(event.object.metadata?.labels ?? {}), ['constructor'])
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

test('whatever an object is, recording it never fails, and what is written can be read again or is named', () => {
  const anything = fc.anything({ maxDepth: 4, withBigInt: true, withNullPrototype: true })
  const object = fc.record(
    {
      metadata: fc.oneof(
        fc.record(
          { name: fc.string({ minLength: 1 }), namespace: fc.string(), uid: fc.string(), labels: anything },
          { requiredKeys: [] },
        ),
        anything,
      ),
      spec: fc.oneof(fc.record({ nodeName: anything, containers: anything, affinity: anything }), anything),
      status: fc.oneof(fc.record({ conditions: anything, phase: anything }), anything),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(
      fc.constantFrom(...recordedKinds),
      fc.array(object, { maxLength: 3 }),
      fc.boolean(),
      (kind, seen, masked) => {
        const { recorder, text } = recording(masked ? hashingMask(new Uint8Array(8)) : undefined)
        const feed = recorder.feed(kind, 'v1', () => undefined)
        for (const one of seen) feed.seen(one as PodObject)
        feed.gone('n', 'a', 'u')
        try {
          parseTrace('t.ndjson', text())
        } catch (error) {
          assert.match(String(error), /TRACE_MALFORMED/)
        }
      },
    ),
    { seed: 11, numRuns: 300 },
  )
})

test('a mask keeps equal words equal and different ones different', () => {
  const mask = hashingMask(new Uint8Array(16).fill(3))
  fc.assert(
    fc.property(fc.string(), fc.string(), (one, other) => {
      assert.equal(mask.name(one) === mask.name(other), one === other)
      assert.equal(mask.key(one) === mask.key(other), one === other)
      assert.equal(mask.value('app', one), mask.name(one), 'a selector may compare names and values')
    }),
    { seed: 12, numRuns: 500 },
  )
})
