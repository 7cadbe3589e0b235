import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { nodeShapes } from '../workload/node-shapes.ts'
import { eventOptions, parseEvents } from './events-file.ts'

describe('a file of events', () => {
  it('says what happens to nodes and pods, and when', () => {
    const { events } = parseEvents(
      'events.yaml',
      `
events:
  - { at: 5m, node-fail: node-0003 }
  - { at: 90, node-recover: node-0003 }
  - at: 1h30m
    node-drain: node-0001
    notice: 2m
  - { at: 0, node-remove: node-0002 }
  - { at: 1s, node-add: big, shape: 'cpu=64,memory=256Gi' }
  - { at: 1s, evict: web-0 }
  - { at: 1s, pod-gone: batch/job-1 }
`,
    )
    assert.deepEqual(
      events.map(({ atMs }) => atMs),
      [300_000, 90_000, 5_400_000, 0, 1000, 1000, 1000],
    )
    const [fail, recover, drain, remove, add, evict, gone] = events.map(({ event }) => event)
    assert.deepEqual(fail, { kind: 'node-fail', node: 'node-0003' })
    assert.deepEqual(recover, { kind: 'node-recover', node: 'node-0003' })
    assert.deepEqual(drain, { kind: 'node-drain', node: 'node-0001', noticeMs: 120_000 })
    assert.deepEqual(remove, { kind: 'node-remove', node: 'node-0002' })
    assert.ok(add?.kind === 'node-add' && add.node.name === 'big' && add.node.allocatable['cpu'] === '64')
    assert.deepEqual(evict, { kind: 'evict', namespace: 'default', name: 'web-0' })
    assert.deepEqual(gone, { kind: 'pod-gone', namespace: 'batch', name: 'job-1' })
  })

  it('describes the spot market, failures and an autoscaler; the seed chooses the spot nodes', () => {
    const file = parseEvents(
      'events.yaml',
      `
spot: { share: 0.3, reclaims-per-hour: 0.5, notice: 30s, returns-after: 5m }
failures: { mean-time-to-failure: 24h, mean-time-to-recovery: 10m }
autoscaler: { shapes: ['cpu=16'], most-added: 5, react: 5s, start: 30s, idle: 1m }
`,
    )
    const nodes = nodeShapes([], 200)
    const chosen = (seed: number): string[] => {
      const { spot } = eventOptions(file, nodes, seed)
      return nodes.filter((node) => spot?.isSpot(node)).map(({ name }) => name)
    }
    assert.deepEqual(chosen(1), chosen(1))
    assert.notDeepEqual(chosen(1), chosen(2))
    assert.ok(Math.abs(chosen(1).length - 60) < 20)
    const { autoscaler, failures, spot } = eventOptions(file, nodes, 1)
    assert.deepEqual(
      { ...spot, isSpot: 0 },
      { isSpot: 0, noticeMs: 30_000, reclaimsPerHour: 0.5, returnsAfterMs: 300_000 },
    )
    assert.deepEqual(failures, { meanTimeToFailureMs: 86_400_000, meanTimeToRecoveryMs: 600_000 })
    assert.deepEqual(
      { ...autoscaler, shapes: autoscaler?.shapes.map(({ allocatable }) => allocatable['cpu']) },
      { shapes: ['16'], mostAdded: 5, reactMs: 5000, startMs: 30_000, idleMs: 60_000 },
    )
  })

  it('that is empty asks for nothing', () => {
    assert.deepEqual(eventOptions(parseEvents('empty.yaml', ''), [], 1), {})
  })

  const broken: readonly (readonly [why: string, text: string, expected: RegExp])[] = [
    ['an unknown event', 'events:\n  - at: 5s\n    node-fial: x', /f\.yaml line 2: .*node-fial/],
    ['two events in one', 'events:\n  - { at: 5s, node-fail: x, node-recover: x }', /line 2: .*expected one of/],
    ['a time that is none', 'events:\n  - node-fail: x\n    at: soon', /line 3: .*duration/],
    ['an unknown section', 'evnets: []', /line 1: .*evnets/],
    ['a share above one', 'spot:\n  reclaims-per-hour: 1\n  share: 30', /line 3: .*share/],
    ['a shape that is none', 'autoscaler:\n  shapes: [lots]', /line 2: .*lots/],
    ['no YAML', 'events: [', /line 1: /],
    ['aliases', 'a: &a [1]\nevents: *a', /line 1: /],
  ]
  for (const [why, text, expected] of broken)
    it(`with ${why} is refused with file and line`, () => {
      assert.throws(() => parseEvents('f.yaml', text), expected)
    })
})
