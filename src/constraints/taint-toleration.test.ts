import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { refusalOn } from './contract.ts'
import { createNodeUnschedulable, REASON_UNSCHEDULABLE } from './node-unschedulable.ts'
import { createTaintToleration, REASON_UNTOLERATED_TAINT } from './taint-toleration.ts'

const gpuNode = node('n').taint('gpu', 'NoSchedule').object()

describe('taints keep pods out', () => {
  const table = [
    ['a pod without tolerations stays off a tainted node', pod('p'), gpuNode, false],
    ['a pod that tolerates the taint may come', pod('p').tolerates('gpu'), gpuNode, true],
    [
      'a pod must tolerate every taint',
      pod('p').tolerates('gpu'),
      node('n').taint('gpu', 'NoSchedule').taint('spot', 'NoExecute').object(),
      false,
    ],
    ['PreferNoSchedule keeps nobody out', pod('p'), node('n').taint('gpu', 'PreferNoSchedule').object(), true],
    [
      'a toleration for another effect is not enough',
      pod('p').tolerates('gpu', { operator: 'Exists', effect: 'NoExecute' }),
      gpuNode,
      false,
    ],
  ] as const
  for (const [title, given, on, allowed] of table)
    test(title, () => {
      assert.deepEqual(
        refusalOn(createTaintToleration(), given.object(), on),
        allowed ? undefined : { reasons: [REASON_UNTOLERATED_TAINT], preemptionCouldHelp: false },
      )
    })
})

describe('cordoned nodes', () => {
  const cordoned = node('n').cordoned().object()

  test('a cordoned node takes no pod', () => {
    assert.deepEqual(refusalOn(createNodeUnschedulable(), pod('p').object(), cordoned)?.reasons, [REASON_UNSCHEDULABLE])
  })

  test('a cordoned node takes a pod that tolerates node.kubernetes.io/unschedulable:NoSchedule', () => {
    const tolerant = pod('p').tolerates('node.kubernetes.io/unschedulable').object()
    assert.equal(refusalOn(createNodeUnschedulable(), tolerant, cordoned), undefined)
  })
})

test('the words are those of kube-scheduler', () => {
  assert.equal(REASON_UNTOLERATED_TAINT, 'node(s) had untolerated taint(s)')
  assert.equal(REASON_UNSCHEDULABLE, 'node(s) were unschedulable')
})
