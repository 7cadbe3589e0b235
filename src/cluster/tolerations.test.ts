import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Taint, Toleration } from './objects.ts'
import { isTolerated } from './tolerations.ts'

const gpu: Taint = { key: 'gpu', value: 'a100', effect: 'NoSchedule' }
const bare: Taint = { key: 'gpu', effect: 'NoExecute' }

const table: readonly [title: string, toleration: Toleration, taint: Taint, tolerated: boolean][] = [
  ['Exists tolerates a taint of its key whatever the value', { key: 'gpu', operator: 'Exists' }, gpu, true],
  ['Exists without a key tolerates every taint', { operator: 'Exists' }, gpu, true],
  ['an empty key is no key', { key: '', operator: 'Exists' }, gpu, true],
  ['another key does not count', { key: 'spot', operator: 'Exists' }, gpu, false],
  ['no operator means Equal', { key: 'gpu', value: 'a100' }, gpu, true],
  ['an empty operator means Equal', { key: 'gpu', operator: '', value: 'a100' }, gpu, true],
  ['Equal looks at the value', { key: 'gpu', operator: 'Equal', value: 'h100' }, gpu, false],
  ['no value equals no value', { key: 'gpu', operator: 'Equal' }, bare, true],
  ['an empty value equals no value', { key: 'gpu', operator: 'Equal', value: '' }, bare, true],
  ['no effect means every effect', { key: 'gpu', operator: 'Exists' }, bare, true],
  ['an empty effect means every effect', { key: 'gpu', operator: 'Exists', effect: '' }, bare, true],
  ['another effect does not count', { key: 'gpu', operator: 'Exists', effect: 'NoExecute' }, gpu, false],
  ['Lt tolerates nothing', { key: 'gpu', operator: 'Lt', value: '9' }, { ...gpu, value: '5' }, false],
  ['Gt tolerates nothing', { key: 'gpu', operator: 'Gt', value: '1' }, { ...gpu, value: '5' }, false],
  ['an operator from the future tolerates nothing', { key: 'gpu', operator: 'Near', value: 'a100' }, gpu, false],
]

describe('tolerations', () => {
  for (const [title, toleration, taint, tolerated] of table)
    test(title, () => {
      assert.equal(isTolerated([toleration], taint), tolerated)
      assert.equal(isTolerated([{ key: 'other', operator: 'Exists' }, toleration], taint), tolerated)
    })

  test('a pod without tolerations tolerates nothing', () => {
    assert.equal(isTolerated([], gpu), false)
  })
})
