import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PodObject } from '../../cluster/objects.ts'
import { type PodStage, type StageContext, endedStatus, parseDurationMs, podStages, readyStatus } from './pod-stages.ts'

const at = Date.UTC(2026, 0, 1, 12, 0, 30)
const context: StageContext = { nowMs: at, hostIP: '172.16.0.1', podIP: '10.0.0.2', refusal: undefined }
const scheduled = { type: 'PodScheduled', status: 'True', lastTransitionTime: '2026-01-01T12:00:00Z' }
const bound: PodObject = {
  metadata: { name: 'p', namespace: 'default', annotations: { 'stowage.dev/duration': '90s' } },
  spec: {
    nodeName: 'node-0000',
    initContainers: [
      { name: 'fetch', image: 'busybox' },
      { name: 'proxy', image: 'envoy', restartPolicy: 'Always' },
    ],
    containers: [{ name: 'web', image: 'nginx' }],
  },
  status: { phase: 'Pending', conditions: [scheduled] },
}
const stage = (pod: PodObject, refusal = context.refusal): PodStage | undefined =>
  podStages.find((candidate) => candidate.applies(pod, refusal))
const step = (pod: PodObject, changed: Partial<StageContext> = {}) =>
  stage(pod, changed.refusal)?.next(pod, { ...context, ...changed })
const now = '2026-01-01T12:00:30Z'
const condition = (type: string, status: string, reason?: string) => ({
  type,
  status,
  lastProbeTime: null,
  lastTransitionTime: now,
  ...(reason === undefined ? {} : { reason }),
})

test('a bound pod starts within a second, and its status is as kubelet writes it', () => {
  assert.equal(stage(bound)?.name, 'start')
  assert.equal(stage(bound)?.delayMs(bound, 0), 500)
  assert.equal(stage(bound)?.delayMs(bound, 0.999), 999.5)
  assert.deepEqual(step(bound), {
    phase: 'Running',
    conditions: [
      scheduled,
      condition('PodReadyToStartContainers', 'True'),
      condition('Initialized', 'True'),
      condition('Ready', 'True'),
      condition('ContainersReady', 'True'),
    ],
    hostIP: '172.16.0.1',
    hostIPs: [{ ip: '172.16.0.1' }],
    podIP: '10.0.0.2',
    podIPs: [{ ip: '10.0.0.2' }],
    startTime: now,
    containerStatuses: [
      {
        name: 'web',
        image: 'nginx',
        imageID: '',
        ready: true,
        started: true,
        restartCount: 0,
        state: { running: { startedAt: now } },
      },
    ],
    initContainerStatuses: [
      {
        name: 'fetch',
        image: 'busybox',
        imageID: '',
        ready: true,
        started: false,
        restartCount: 0,
        state: { terminated: { exitCode: 0, reason: 'Completed', startedAt: now, finishedAt: now } },
      },
      {
        name: 'proxy',
        image: 'envoy',
        imageID: '',
        ready: true,
        started: true,
        restartCount: 0,
        state: { running: { startedAt: now } },
      },
    ],
  })
})

test('a running pod with a duration succeeds when it is over, without one it runs on', () => {
  const running: PodObject = {
    ...bound,
    status: { phase: 'Running', startTime: '2026-01-01T12:00:00Z', conditions: [scheduled] },
  }
  assert.equal(stage(running)?.name, 'complete')
  assert.equal(stage(running)?.delayMs(running, 0.5), 90_000)
  assert.deepEqual(step(running), {
    phase: 'Succeeded',
    startTime: '2026-01-01T12:00:00Z',
    conditions: [
      scheduled,
      condition('PodReadyToStartContainers', 'False'),
      condition('Initialized', 'True', 'PodCompleted'),
      condition('Ready', 'False', 'PodCompleted'),
      condition('ContainersReady', 'False', 'PodCompleted'),
    ],
    containerStatuses: [
      {
        name: 'web',
        image: 'nginx',
        imageID: '',
        ready: false,
        started: false,
        restartCount: 0,
        state: { terminated: { exitCode: 0, reason: 'Completed', startedAt: '2026-01-01T12:00:00Z', finishedAt: now } },
      },
    ],
  })
  assert.equal(stage({ ...running, metadata: { name: 'p' } }), undefined)
})

test('a refused pod fails at once, with the reason that kubelet gives', () => {
  const refusal = {
    reason: 'OutOfcpu',
    message: "Node didn't have enough resource: cpu, requested: 2, used: 1, capacity: 2",
  }
  assert.equal(stage(bound, refusal)?.delayMs(bound, 0.5), 0)
  assert.deepEqual(step(bound, { refusal }), {
    phase: 'Failed',
    conditions: [scheduled],
    reason: 'OutOfcpu',
    message: `Pod was rejected: ${refusal.message}`,
  })
})

test('a deleted pod is gone after its grace, a second at most, whatever it was doing', () => {
  for (const [phase, grace, delayMs] of [
    ['Running', 30, 1000],
    ['Running', 0, 0],
    ['Pending', 30, 0],
    ['Succeeded', 30, 0],
  ] as const) {
    const metadata = { ...bound.metadata, deletionTimestamp: now, deletionGracePeriodSeconds: grace }
    const deleted: PodObject = { ...bound, metadata, status: { phase } }
    assert.equal(stage(deleted)?.name, 'remove')
    assert.equal(stage(deleted)?.delayMs(deleted, 0.5), delayMs)
    assert.equal(step(deleted), 'gone')
  }
})

test('a finished pod has no stage left', () => {
  for (const phase of ['Succeeded', 'Failed']) assert.equal(stage({ ...bound, status: { phase } }), undefined)
})

test('a pod that fails says why, and keeps what it was', () => {
  const status = endedStatus({ ...bound, status: { phase: 'Running', conditions: [] } }, at, {
    phase: 'Failed',
    reason: 'Error',
    message: 'boom',
  })
  assert.equal(status.phase, 'Failed')
  assert.equal(status.reason, 'Error')
  assert.equal(status.message, 'boom')
  assert.deepEqual(status.conditions?.at(-1), condition('ContainersReady', 'False', 'PodFailed'))
  assert.deepEqual(status.containerStatuses?.[0]?.state, {
    terminated: { exitCode: 1, reason: 'Error', startedAt: now, finishedAt: now },
  })
})

test('a condition that stays as it was keeps the time of its change', () => {
  const old = { ...condition('Ready', 'True'), lastTransitionTime: '2025-12-31T00:00:00Z' }
  assert.deepEqual(readyStatus({ status: { conditions: [old] } }, at, true).conditions, [old])
  assert.deepEqual(readyStatus({ status: { conditions: [old] } }, at, false).conditions, [condition('Ready', 'False')])
})

test('durations are read as people write them', () => {
  for (const [text, ms] of [
    ['90s', 90_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['250ms', 250],
    ['1.5s', 1500],
    ['12', 12_000],
    ['0', 0],
    ['2d', 172_800_000],
  ] as const) {
    assert.equal(parseDurationMs(text), ms, text)
  }
  for (const text of ['', 'soon', '-5s', '5 s', '5x', 's', 'NaN', '9'.repeat(100)]) {
    assert.throws(
      () => parseDurationMs(text),
      { code: 'POD_MALFORMED', message: /stowage.dev\/duration; expected a duration/ },
      text,
    )
  }
})
