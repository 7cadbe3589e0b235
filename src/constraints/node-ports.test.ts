import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, type PodBuilder, pod } from '../../test/builders.ts'
import { refusalOn } from './contract.ts'
import { nodePorts, REASON_PORTS } from './node-ports.ts'

describe('host ports', () => {
  const local = { hostIP: '127.0.0.1' }
  const table: readonly [title: string, wants: PodBuilder, has: PodBuilder, allowed: boolean][] = [
    ['a pod without host ports goes anywhere', pod('p'), pod('q').hostPort(80), true],
    ['two pods cannot have the same port', pod('p').hostPort(80), pod('q').hostPort(80), false],
    ['another port is free', pod('p').hostPort(81), pod('q').hostPort(80), true],
    [
      'the same port of another protocol is free',
      pod('p').hostPort(53, { protocol: 'UDP' }),
      pod('q').hostPort(53),
      true,
    ],
    [
      'the same port on another address is free',
      pod('p').hostPort(80, local),
      pod('q').hostPort(80, { hostIP: '10.0.0.1' }),
      true,
    ],
    ['a port on every address clashes with one on any', pod('p').hostPort(80), pod('q').hostPort(80, local), false],
    ['and the other way round', pod('p').hostPort(80, local), pod('q').hostPort(80), false],
    [
      'a pod with two host ports stays off a node that uses one of them',
      pod('p').hostPort(80).hostPort(443),
      pod('q').hostPort(443),
      false,
    ],
    [
      'the ports of sidecars count',
      pod('p').initContainer({ name: 's', restartPolicy: 'Always', ports: [{ hostPort: 80 }] }),
      pod('q').hostPort(80),
      false,
    ],
    [
      'the ports of ordinary init containers do not',
      pod('p').initContainer({ name: 'i', ports: [{ hostPort: 80 }] }),
      pod('q').hostPort(80),
      true,
    ],
  ]
  for (const [title, wants, has, allowed] of table)
    test(title, () => {
      assert.deepEqual(
        refusalOn(nodePorts, wants.object(), node('n').object(), [has.on('n').object()]),
        allowed ? undefined : { reasons: [REASON_PORTS], preemptionCouldHelp: true },
      )
    })

  test('the words are those of kube-scheduler', () => {
    assert.equal(REASON_PORTS, "node(s) didn't have free ports for the requested pod ports")
  })
})
