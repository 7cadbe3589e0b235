import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Toleration } from '../../cluster/objects.ts'
import { evictionDelayMs, noExecuteTaints } from './taint-eviction.ts'

const taint = { key: 'k', value: 'v', effect: 'NoExecute' }
const other = { key: 'other', effect: 'NoExecute' }

for (const [name, taints, tolerations, delayMs] of [
  ['stays where there is no such taint', [], [], undefined],
  ['goes at once where it does not tolerate one', [taint, other], [{ key: 'k', operator: 'Exists' }], 0],
  ['stays where it tolerates all without a limit', [taint, other], [{ operator: 'Exists' }], undefined],
  [
    'goes after the shortest of its limits',
    [taint, other],
    [
      { key: 'k', value: 'v', tolerationSeconds: 300 },
      { key: 'other', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 60 },
    ],
    60_000,
  ],
  ['goes at once with a limit below zero', [taint], [{ operator: 'Exists', tolerationSeconds: -5 }], 0],
] as [string, (typeof taint)[], Toleration[], number | undefined][]) {
  test(`a pod ${name}`, () => {
    assert.equal(evictionDelayMs(taints, tolerations), delayMs)
  })
}

test('taints that only keep pods from coming drive none away', () => {
  assert.deepEqual(
    noExecuteTaints([{ key: 'a', effect: 'NoSchedule' }, taint, { key: 'b', effect: 'PreferNoSchedule' }]),
    [taint],
  )
})
