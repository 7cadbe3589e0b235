import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { node as nodeNamed, pod as podNamed, type PodBuilder } from '../../test/builders.ts'
import { VirtualClock } from '../clock/clock.ts'
import type { ClusterEvent } from '../cluster/events.ts'
import type { Pod } from '../cluster/pod.ts'
import { ClusterState } from '../cluster/state.ts'
import type { Constraint } from '../constraints/constraint.ts'
import { Heap, type HeapItem } from './heap.ts'
import { PodQueue, type QueuedPod } from './queue.ts'

const FIT = 1
const AFFINITY = 2
const LABELS = 4

class Bench {
  readonly clock: VirtualClock
  readonly cluster = new ClusterState()
  readonly queue: PodQueue
  /** calls of couldHelp, by rule */
  asked = 0
  helpful = true
  readonly entered: string[] = []

  /** The clock stands at some whole second plus `ms`. */
  constructor(ms = 0) {
    this.clock = new VirtualClock(Date.UTC(2026, 0, 1) + ms)
    const rule = (name: string, wakesOn: Constraint['wakesOn'], wakesEachPod = false): Constraint => ({
      name,
      prepare: () => undefined,
      wakesOn,
      wakesEachPod,
      couldHelp: (pod, event) => {
        this.asked++
        return wakesEachPod && event.kind !== 'SelfLabel' ? pod.labels['woken'] === 'yes' : this.helpful
      },
    })
    this.queue = new PodQueue({
      clock: this.clock,
      cluster: this.cluster,
      constraints: [
        rule('Fit', ['PodDelete', 'NodeAdd', 'SelfScaleDown']),
        rule('Affinity', ['NodeLabel']),
        rule('Labels', ['PodAdd', 'SelfLabel'], true),
      ],
      onReady: () => undefined,
      onQueued: (queue, event) => this.entered.push(`${queue} ${event}`),
    })
  }

  pod(name: string, build: (builder: PodBuilder) => PodBuilder = (builder) => builder): Pod {
    return this.cluster.readPod(build(podNamed(name)).object())
  }

  add(name: string, build?: (builder: PodBuilder) => PodBuilder): QueuedPod {
    return this.queue.add(this.pod(name, build))
  }

  pop(): QueuedPod | undefined {
    return this.queue.pop(() => true)
  }

  popped(): string[] {
    const names: string[] = []
    for (let entry = this.pop(); entry !== undefined; entry = this.pop()) names.push(entry.pod.name)
    return names
  }

  deleted(): ClusterEvent {
    return { kind: 'PodDelete', pod: this.pod('other', (builder) => builder.on('n')) }
  }
}

/** A pod that was tried and refused. */
const refused = (
  bench: Bench,
  name: string,
  rejectedBy = FIT,
  build?: (builder: PodBuilder) => PodBuilder,
): QueuedPod => {
  const entry = bench.add(name, build)
  while (bench.pop() !== entry);
  bench.queue.refused(entry, rejectedBy, 'no room')
  return entry
}

describe('the order of pods', () => {
  it('is priority first, then who came first', () => {
    const bench = new Bench()
    bench.add('low-1')
    bench.add('high-1', (builder) => builder.priority(10))
    bench.add('low-2')
    bench.add('high-2', (builder) => builder.priority(10))
    assert.deepEqual(bench.popped(), ['high-1', 'high-2', 'low-1', 'low-2'])
  })

  it('puts a pod that failed behind its equals', () => {
    const bench = new Bench()
    const first = bench.add('first')
    bench.pop()
    bench.add('second')
    bench.queue.refused(first, FIT, 'no room')
    bench.clock.advance(5000)
    bench.add('third')
    bench.queue.notify(bench.deleted())
    // by the time of its failure it stands before the third
    assert.deepEqual(bench.popped(), ['second', 'first', 'third'])
  })

  it('is not held up by a profile that takes no more pods at the moment', () => {
    const bench = new Bench()
    bench.add('slow', (builder) => builder.scheduler('slow').priority(10))
    bench.add('quick', (builder) => builder.scheduler('quick'))
    assert.equal(bench.queue.pop((name) => name !== 'slow')?.pod.name, 'quick')
    assert.equal(
      bench.queue.pop((name) => name !== 'slow'),
      undefined,
    )
    assert.equal(bench.pop()?.pod.name, 'slow')
  })

  it('is that of a sorted list, whatever is pushed, popped and taken out of the middle', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(20), fc.nat(3)), { maxLength: 60 }), (steps) => {
        const heap = new Heap<HeapItem & { value: number }>((a, b) => a.value < b.value)
        const model: (HeapItem & { value: number })[] = []
        for (const [value, action] of steps) {
          if (action < 2) {
            const item = { value, heapIndex: -1 }
            heap.push(item)
            model.push(item)
          } else if (action === 2 && model.length > 0) {
            const [item] = model.splice(value % model.length, 1)
            if (item !== undefined) heap.remove(item)
          } else {
            const head = heap.pop()
            if (head !== undefined) model.splice(model.indexOf(head), 1)
            assert.ok(model.every((other) => head === undefined || other.value >= head.value))
          }
          assert.equal(heap.size, model.length)
        }
      }),
      { seed: 1 },
    )
  })
})

describe('back-off', () => {
  it('ends on the next whole second after it: a failure at 18.17 s is over at 20.0 s', () => {
    const bench = new Bench(18_170)
    const entry = refused(bench, 'a')
    bench.queue.notify(bench.deleted())
    assert.equal(entry.place, 'backoff')
    bench.clock.advance(1829)
    assert.equal(entry.place, 'backoff')
    bench.clock.advance(1)
    assert.equal(entry.place, 'active')
  })

  it('doubles with each rejection up to 10 s', () => {
    const bench = new Bench()
    const entry = bench.add('a')
    const waits: number[] = []
    for (let attempt = 0; attempt < 6; attempt++) {
      bench.pop()
      bench.queue.refused(entry, FIT, 'no room')
      bench.queue.notify(bench.deleted())
      const fromMs = bench.clock.nowMs()
      while (entry.place === 'backoff') bench.clock.advance(100)
      waits.push(bench.clock.nowMs() - fromMs)
    }
    // a second more each: the failures lie on whole seconds, and back-off ends on the one after
    assert.deepEqual(waits, [2000, 3000, 5000, 9000, 11_000, 11_000])
  })

  it('counts errors apart, and a rejection ends their row', () => {
    const bench = new Bench()
    const entry = bench.add('a')
    const backoffMs = (): number => entry.readyAtMs - bench.clock.nowMs()
    bench.pop()
    bench.queue.failed(entry, 'broken')
    assert.equal(backoffMs(), 2000)
    bench.clock.advance(2000)
    bench.pop()
    bench.queue.failed(entry, 'broken')
    assert.equal(backoffMs(), 3000)
    bench.clock.advance(3000)
    bench.pop()
    bench.queue.refused(entry, FIT, 'no room')
    bench.queue.notify(bench.deleted())
    assert.equal(backoffMs(), 2000)
  })

  it('ends early when nothing else is active', () => {
    const bench = new Bench()
    refused(bench, 'a')
    bench.add('b')
    bench.queue.notify(bench.deleted())
    assert.deepEqual(bench.popped(), ['b', 'a'])
  })

  it('does not end early for a pod that backs off from an error', () => {
    const bench = new Bench()
    const entry = bench.add('a')
    bench.pop()
    bench.queue.failed(entry, 'the API server is down')
    assert.equal(bench.pop(), undefined)
    bench.clock.advance(2000)
    assert.equal(bench.pop(), entry)
  })

  it('ends in the order of priority within the same second', () => {
    const bench = new Bench()
    refused(bench, 'low')
    bench.clock.advance(300)
    refused(bench, 'high', FIT, (builder) => builder.priority(10))
    bench.queue.notify(bench.deleted())
    assert.deepEqual(bench.popped(), ['high', 'low'])
  })

  it('is no longer or shorter because the wall clock jumps', () => {
    const bench = new Bench()
    let jumpMs = 0
    const clock = {
      nowMs: () => bench.clock.nowMs() + jumpMs,
      monotonicMs: () => bench.clock.monotonicMs(),
      after: (delayMs: number, run: () => void) => bench.clock.after(delayMs, run),
    }
    const queue = new PodQueue({
      clock,
      cluster: bench.cluster,
      constraints: [],
      onReady: () => undefined,
      onQueued: () => undefined,
    })
    const entry = queue.add(bench.pod('a'))
    queue.pop(() => true)
    queue.failed(entry, 'broken')
    jumpMs = -3_600_000
    bench.clock.advance(2000)
    assert.equal(entry.place, 'active')
  })
})

describe('a refused pod', () => {
  it('rests until an event of a kind that one of its rules listens to', () => {
    const bench = new Bench()
    const entry = refused(bench, 'a', AFFINITY)
    bench.queue.notify(bench.deleted())
    assert.equal(entry.place, 'unschedulable')
    assert.equal(bench.asked, 0)
    const before = bench.cluster.readNode(nodeNamed('n').object())
    bench.queue.notify({ kind: 'NodeLabel', before, node: before, index: 0 })
    assert.equal(entry.place, 'backoff')
  })

  it('rests on if its rule says that the event does not help', () => {
    const bench = new Bench()
    const entry = refused(bench, 'a')
    bench.helpful = false
    bench.queue.notify(bench.deleted())
    assert.equal(entry.place, 'unschedulable')
  })

  it('is tried at once when it wakes after its back-off', () => {
    const bench = new Bench()
    const entry = refused(bench, 'a')
    bench.clock.advance(2000)
    bench.queue.notify(bench.deleted())
    assert.equal(entry.place, 'active')
  })

  it('loses no event that came while it was in flight', () => {
    const bench = new Bench()
    const entry = bench.add('a')
    const other = bench.add('b')
    bench.pop()
    bench.queue.notify(bench.deleted())
    bench.pop()
    bench.queue.refused(entry, FIT, 'no room')
    assert.equal(entry.place, 'backoff')
    // popped after the event: it has been decided with it
    bench.queue.refused(other, FIT, 'no room')
    assert.equal(other.place, 'unschedulable')
  })

  it('is tried again after five minutes, whatever refused it', () => {
    const bench = new Bench()
    const entry = refused(bench, 'a', AFFINITY)
    bench.clock.advance(5 * 60_000)
    assert.equal(entry.place, 'unschedulable')
    bench.clock.advance(30_000)
    assert.equal(entry.place, 'active')
  })

  it('does not hold up pods of lower priority', () => {
    const bench = new Bench()
    refused(bench, 'high', FIT, (builder) => builder.priority(1000))
    bench.add('low')
    assert.deepEqual(bench.popped(), ['low'])
  })

  it('wakes when it changes so that it may fit, and only then', () => {
    const bench = new Bench()
    const entry = refused(bench, 'a', FIT, (builder) => builder.cpu('4'))
    bench.queue.update(
      entry,
      bench.pod('a', (builder) => builder.cpu('4').label('x', 'y')),
    )
    assert.equal(entry.place, 'unschedulable')
    bench.queue.update(
      entry,
      bench.pod('a', (builder) => builder.cpu('2').label('x', 'y')),
    )
    assert.equal(entry.place, 'backoff')
    assert.equal(entry.pod.labels['x'], 'y')
  })

  it('keeps a change of its own that came while it was in flight', () => {
    const bench = new Bench()
    const entry = bench.add('a', (builder) => builder.cpu('4'))
    bench.pop()
    bench.queue.update(
      entry,
      bench.pod('a', (builder) => builder.cpu('2')),
    )
    bench.queue.refused(entry, FIT, 'no room')
    assert.equal(entry.place, 'backoff')
  })

  it('is asked about by itself where a rule looks at its labels', () => {
    const bench = new Bench()
    const woken = refused(bench, 'woken', LABELS, (builder) => builder.label('woken', 'yes'))
    const other = refused(bench, 'other', LABELS)
    assert.equal(woken.pod.shape, other.pod.shape)
    bench.queue.notify({ kind: 'PodAdd', pod: bench.pod('third', (builder) => builder.on('n')) })
    assert.equal(woken.place, 'backoff')
    assert.equal(other.place, 'unschedulable')
  })

  it('costs one question for all of its template', () => {
    const bench = new Bench()
    const entries: QueuedPod[] = []
    for (let i = 0; i < 10_000; i++) entries.push(refused(bench, `pod-${i}`))
    bench.helpful = false
    bench.queue.notify(bench.deleted())
    assert.equal(bench.asked, 1)
    bench.helpful = true
    bench.queue.notify(bench.deleted())
    assert.equal(bench.asked, 2)
    assert.deepEqual(bench.queue.sizes, { active: 0, backoff: 10_000, unschedulable: 0, gated: 0 })
    assert.equal(bench.pop(), entries[0])
  })
})

describe('pods that are placed together', () => {
  it('are popped together wherever they wait, and back off for equally long', () => {
    const bench = new Bench()
    const old = bench.add('old')
    for (let time = 0; time < 3; time++) {
      assert.equal(bench.pop(), old)
      bench.queue.refused(old, FIT, 'no room')
      bench.queue.notify(bench.deleted())
    }
    assert.equal(old.place, 'backoff')
    const fresh = bench.add('fresh')
    assert.equal(bench.pop(), fresh)
    assert.equal(bench.queue.take(old), true)
    assert.equal(bench.queue.take(fresh), false, 'it is popped already')
    bench.queue.refusedTogether([fresh, old], FIT, 'no room for both')
    bench.queue.notify(bench.deleted())
    assert.deepEqual([fresh.rejections, old.rejections], [4, 4])
    assert.equal(fresh.readyAtMs, old.readyAtMs)
  })

  it('go before others of their priority when they are put first, and after those that matter more', () => {
    const bench = new Bench()
    bench.add('early')
    bench.queue.advance(bench.add('late'))
    bench.add('urgent', (builder) => builder.priority(1))
    assert.deepEqual(bench.popped(), ['urgent', 'late', 'early'])
  })
})

describe('a gated pod', () => {
  it('is not tried before its last gate is gone', () => {
    const bench = new Bench()
    const entry = bench.add('a', (builder) => builder.gatedBy('x', 'y'))
    assert.equal(entry.reason, 'waiting for scheduling gates: [x y]')
    bench.queue.update(
      entry,
      bench.pod('a', (builder) => builder.gatedBy('y')),
    )
    assert.equal(bench.pop(), undefined)
    assert.equal(entry.reason, 'waiting for scheduling gates: [y]')
    bench.queue.update(entry, bench.pod('a'))
    assert.equal(bench.pop(), entry)
  })
})

describe('a pod that goes', () => {
  it('leaves nothing behind, wherever it was', () => {
    const bench = new Bench()
    const active = bench.add('active')
    bench.queue.remove(active)
    const resting = refused(bench, 'resting')
    bench.queue.remove(resting)
    const gated = bench.add('gated', (builder) => builder.gatedBy('x'))
    bench.queue.remove(gated)
    const backing = refused(bench, 'backing')
    bench.queue.notify(bench.deleted())
    bench.queue.remove(backing)
    const flying = bench.add('flying')
    bench.pop()
    bench.queue.remove(flying)
    assert.deepEqual(bench.queue.sizes, { active: 0, backoff: 0, unschedulable: 0, gated: 0 })
    assert.equal(bench.queue.inFlight, 0)
    assert.deepEqual([...bench.queue.waiting()], [])
    bench.queue.notify(bench.deleted())
    bench.clock.advance(10 * 60_000)
    assert.equal(bench.pop(), undefined)
  })
})
