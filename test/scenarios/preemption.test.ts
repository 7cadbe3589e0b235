import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod, type PodBuilder } from '../builders.ts'
import { Stage, type WireObject } from './stage.ts'

const low = (name: string, on: string, priority = 1): PodBuilder => pod(name).priority(priority).cpu('1').on(on)
const urgent = (name = 'urgent'): PodBuilder => pod(name).priority(100).cpu('2')
const room = (nodeName: string, victims: number): string =>
  `preemption: found a potential placement for pod on node ${nodeName}, preempting ${victims} victims`
/** How the message ends: what came of looking for victims. */
const preempting = async (stage: Stage, preemptor: PodBuilder): Promise<string> => {
  const told = await stage.told(preemptor)
  return told.slice(told.indexOf('preemption:'))
}
const started = (builder: PodBuilder, startTime: string): PodBuilder => {
  const object = builder.object()
  builder.object = () => ({ ...object, status: { ...object.status, phase: 'Running', startTime } })
  return builder
}

describe('preemption', () => {
  test('pods of lower priority leave, no more of them than is needed, the least important first', async () => {
    const stage = await Stage.of([node('n').cpu('4')], [
      low('a', 'n', 5), low('b', 'n', 1), low('c', 'n', 9), low('d', 'n', 3),
    ]) // biome-ignore format: one line tells the story
    assert.equal(await preempting(stage, urgent()), room('n', 2))
    assert.deepEqual(stage.world.evictor.evicted.toSorted(), ['b', 'd'])
  })
  test('pods of the same priority stay', async () => {
    const stage = await Stage.of([node('n').cpu('2')], [low('a', 'n', 100), low('b', 'n', 100)])
    assert.equal(
      await preempting(stage, urgent()),
      'preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.',
    )
  })
  test('nobody is evicted where that would not help', async () => {
    const stage = await Stage.of(
      [node('small').cpu('1'), node('tainted').cpu('4').taint('gpu', 'NoSchedule')],
      [low('a', 'small'), low('b', 'tainted')],
    )
    assert.equal(
      await preempting(stage, urgent()),
      'preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.',
    )
    assert.deepEqual(stage.world.evictor.evicted, [])
  })
  test('a pod that may never preempt says so', async () => {
    const stage = await Stage.of([node('n').cpu('2')], [low('a', 'n')])
    assert.equal(
      await preempting(stage, urgent().neverPreempts()),
      'preemption: not eligible due to preemptionPolicy=Never.',
    )
  })
  test('the node whose victims matter least is taken', async () => {
    const stage = await Stage.of(
      [node('dear').cpu('2'), node('cheap').cpu('2')],
      [low('d1', 'dear', 50), low('d2', 'dear', 1), low('c1', 'cheap', 2), low('c2', 'cheap', 2)],
    )
    assert.equal(await preempting(stage, urgent()), room('cheap', 2))
  })
  test('with equal priorities fewer victims decide', async () => {
    const stage = await Stage.of(
      [node('two').cpu('2'), node('one').cpu('2')],
      [low('a', 'two'), low('b', 'two'), pod('big').priority(1).cpu('2').on('one')],
    )
    assert.equal(await preempting(stage, urgent()), room('one', 1))
  })
  test('then those leave that have run the shortest', async () => {
    const big = (name: string, on: string, startTime: string) =>
      started(pod(name).priority(1).cpu('2').on(on), startTime)
    const stage = await Stage.of(
      [node('old').cpu('2'), node('new').cpu('2')],
      [big('elder', 'old', '2026-01-01T00:00:00Z'), big('younger', 'new', '2026-01-02T00:00:00Z')],
    )
    assert.equal(await preempting(stage, urgent()), room('new', 1))
  })
  test('a disruption budget that is used up protects its pods while others will do', async () => {
    const budgets: WireObject[] = [
      {
        metadata: { name: 'b', namespace: 'default' },
        spec: { selector: { matchLabels: { app: 'db' } } },
        status: { disruptionsAllowed: 0 },
      },
    ]
    const stage = await Stage.of(
      [node('db').cpu('2'), node('web').cpu('2')],
      [
        low('db1', 'db').label('app', 'db'),
        low('db2', 'db').label('app', 'db'),
        low('w1', 'web', 9),
        low('w2', 'web', 9),
      ],
      { budgets },
    )
    assert.equal(await preempting(stage, urgent()), room('web', 2))
    const nothingElse = await Stage.of([node('db').cpu('2')], [low('db1', 'db').label('app', 'db')], { budgets })
    assert.equal(await preempting(nothingElse, urgent()), room('db', 1))
  })
  test('the room is kept for it: a pod of lower priority does not slip in, a more important one does', async () => {
    const stage = await Stage.of([node('n').cpu('2')], [low('a', 'n'), low('b', 'n')])
    assert.equal(await preempting(stage, urgent()), room('n', 2))
    stage.world.scheduler.pods.gone('default', 'a', 'uid-a')
    assert.equal(await stage.where(pod('sneaky').priority(2).cpu('1')), '1 Insufficient cpu.')
    assert.equal(await stage.where(pod('king').priority(1000).cpu('1')), 'n')
  })
  test('once its victims are gone it takes its room', async () => {
    const stage = await Stage.of([node('n').cpu('2')], [low('a', 'n'), low('b', 'n')])
    await preempting(stage, urgent())
    for (const name of ['a', 'b']) stage.world.scheduler.pods.gone('default', name, `uid-${name}`)
    await stage.world.passes(15_000)
    assert.deepEqual(stage.world.binder.bound, [{ uid: 'uid-urgent', nodeName: 'n' }])
  })
  test('evicting those who refuse its company lets it in', async () => {
    const hermit = low('hermit', 'n').spec({
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { labelSelector: { matchLabels: { app: 'web' } }, topologyKey: 'kubernetes.io/hostname' },
          ],
        },
      },
    })
    const stage = await Stage.of([node('n').cpu('8')], [hermit, low('neighbour', 'n')])
    assert.equal(await preempting(stage, urgent().label('app', 'web')), room('n', 1))
    assert.deepEqual(stage.world.evictor.evicted, ['hermit'])
  })
})
