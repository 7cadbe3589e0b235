import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock } from '../../clock/clock.ts'
import type { NodeObject, PodObject } from '../../cluster/objects.ts'
import { listAt, textAt } from './json.ts'
import { type EmbeddedApiServer, startApiServer } from './server.ts'

const assets = process.env['KUBEBUILDER_ASSETS'] ?? ''
const skip = assets === '' ? 'KUBEBUILDER_ASSETS is not set: it names a folder with kube-scheduler' : false

describe('the stock kube-scheduler against the embedded API server', { skip, timeout: 60_000 }, () => {
  let server: EmbeddedApiServer
  let scheduler: ChildProcess
  const folder = mkdtempSync(join(tmpdir(), 'stowage-stock-scheduler-'))

  /** The pod as soon as it is as wanted. */
  const podOnce = (name: string, wanted: (pod: PodObject) => boolean): Promise<PodObject> =>
    new Promise((resolve) => {
      const look = (pod: PodObject | undefined): void => {
        if (pod?.metadata?.name !== name || !wanted(pod)) return
        stop()
        resolve(pod)
      }
      const stop = server.objects.subscribe('pods', ({ object }) => look(object))
      look(server.objects.get('pods', 'default', name))
    })
  const pod = (name: string, cpu: string): PodObject => ({
    metadata: { name, namespace: 'default' },
    spec: { containers: [{ name: 'main', image: 'i', resources: { requests: { cpu } } }] },
  })

  before(async () => {
    server = await startApiServer({ clock: systemClock })
    const kubeconfig = join(folder, 'kubeconfig')
    writeFileSync(kubeconfig, server.kubeconfig())
    const node: NodeObject = { metadata: { name: 'n1' }, status: { capacity: { cpu: '2', memory: '4Gi', pods: '10' } } }
    server.objects.create('nodes', node)
    scheduler = spawn(
      join(assets, 'kube-scheduler'),
      ['--kubeconfig', kubeconfig, '--leader-elect=true', '--secure-port=0'],
      { stdio: 'ignore' },
    )
  })
  after(async () => {
    scheduler.kill('SIGKILL')
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('it leads by a lease, binds what fits, and says in condition and event why the rest does not', async () => {
    server.objects.create('pods', pod('fits', '1'))
    const bound = await podOnce('fits', ({ spec }) => (spec?.nodeName ?? '') !== '')
    assert.equal(bound.spec?.nodeName, 'n1')
    assert.notEqual(server.objects.get('leases.coordination.k8s.io', 'kube-system', 'kube-scheduler'), undefined)
    server.objects.create('pods', pod('large', '8'))
    const waiting = await podOnce('large', ({ status }) => (status?.conditions ?? []).length > 0)
    const [condition] = listAt(waiting, 'status', 'conditions')
    assert.deepEqual(
      [condition?.['type'], condition?.['status'], condition?.['reason']],
      ['PodScheduled', 'False', 'Unschedulable'],
    )
    assert.match(textAt(condition, 'message'), /^0\/1 nodes are available: 1 Insufficient cpu\./)
  })
})
