import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../test/builders.ts'
import { VirtualClock } from '../clock/clock.ts'
import type { KubeObject } from '../cluster/objects.ts'
import type { Pod } from '../cluster/pod.ts'
import { ClusterState } from '../cluster/state.ts'
import { claim, seeStorage, storageClass, using, volume } from '../cluster/storage.fixture.ts'
import { PodClaims } from '../cluster/volume-plan.ts'
import type { BindFailure } from '../scheduling/ports.ts'
import type { ApiAnswer, ApiRequest, Connection } from './connection.ts'
import { ApiClaimBinder } from './volume-binder.ts'

/** An API server that takes every patch, unless told otherwise. */
class Server {
  readonly requests: ApiRequest[] = []
  /** by a part of the path: what is answered instead */
  readonly refusals = new Map<string, ApiAnswer>()

  get connection(): Connection {
    const request = (asked: ApiRequest): Promise<ApiAnswer> => {
      this.requests.push(asked)
      for (const [part, answer] of this.refusals) if (asked.path.includes(part)) return Promise.resolve(answer)
      return Promise.resolve({ status: 200, body: { metadata: { resourceVersion: '7' } } } as ApiAnswer)
    }
    return { request } as unknown as Connection
  }

  /** What was asked, as `pv v`. */
  get paths(): string[] {
    return this.requests.map(({ path }) => path.replace('/api/v1/', '').replace('namespaces/default/', ''))
  }
}

const provisioned = storageClass('waits', { provisioner: 'disks' })

class Bench {
  readonly server = new Server()
  readonly clock = new VirtualClock()
  readonly cluster = new ClusterState()
  readonly pod: Pod
  readonly #abort = new AbortController()

  constructor(...storage: KubeObject[]) {
    this.cluster.applyNode(this.cluster.readNode(node('n').object()))
    this.see(...storage)
    this.pod = this.cluster.readPod(pod('p').spec(using('c')).object())
  }

  see(...storage: KubeObject[]): void {
    for (const object of storage) seeStorage(this.cluster.volumes, object)
  }

  /** Asks, and says how it stands: `pending`, `bound`, or what went wrong. */
  begin() {
    const claims = PodClaims.of(this.pod, this.cluster.volumes)
    const plan = typeof claims === 'object' ? claims.plan(this.cluster.node(0)) : undefined
    assert.ok(plan !== undefined)
    const binder = new ApiClaimBinder({ connection: this.server.connection, clock: this.clock, cluster: this.cluster })
    let state = 'pending'
    binder.bindClaims(this.pod, 'n', plan, this.#abort.signal).then(
      () => (state = 'bound'),
      (failure: BindFailure) => (state = `${failure.kind}: ${failure.message}`),
    )
    return async () => {
      await new Promise(setImmediate)
      return state
    }
  }

  abort(): void {
    this.#abort.abort(new Error('enough'))
  }
}

describe('claims are bound before their pod', () => {
  const waiting = [storageClass('waits'), claim('c', { resourceVersion: '3' })]

  test('a volume names its claim, as the volume controller wants it, and the watch tells when it is done', async () => {
    const bench = new Bench(...waiting, volume('v', { resourceVersion: '5' }))
    const state = bench.begin()
    assert.equal(await state(), 'pending')
    assert.deepEqual(bench.server.paths, ['pods/p/status', 'persistentvolumes/v'])
    const [nomination, reservation] = bench.server.requests
    assert.deepEqual(nomination?.body, { metadata: { uid: 'uid-p' }, status: { nominatedNodeName: 'n' } })
    assert.deepEqual(reservation?.body, {
      metadata: { resourceVersion: '5', annotations: { 'pv.kubernetes.io/bound-by-controller': 'yes' } },
      spec: {
        claimRef: {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          namespace: 'default',
          name: 'c',
          uid: 'uid-c',
          resourceVersion: '3',
        },
      },
    })
    const claimRef = { namespace: 'default', name: 'c', uid: 'uid-c' }
    bench.see(volume('v', { claimRef, resourceVersion: '7' }))
    assert.equal(await state(), 'pending')
    bench.see(claim('c', { volumeName: 'v', resourceVersion: '9' }))
    assert.equal(await state(), 'bound')
  })

  test('a volume that a person has reserved is not marked as the doing of a controller', async () => {
    const bench = new Bench(...waiting, volume('v', { claimRef: { namespace: 'default', name: 'c' } }))
    await bench.begin()()
    const reservation = bench.server.requests[1]?.body as KubeObject | undefined
    assert.ok(reservation !== undefined)
    assert.equal(reservation.metadata?.annotations, undefined)
  })

  test('where a volume is to be made, the claim names the node, and the provisioner does the rest', async () => {
    const bench = new Bench(provisioned, claim('c', { resourceVersion: '3' }))
    const state = bench.begin()
    assert.equal(await state(), 'pending')
    assert.equal(bench.server.paths[1], 'persistentvolumeclaims/c')
    assert.deepEqual(bench.server.requests[1]?.body, {
      metadata: {
        resourceVersion: '3',
        uid: 'uid-c',
        annotations: { 'volume.kubernetes.io/selected-node': 'n' },
      },
    })
    bench.see(claim('c', { selectedNode: 'n', resourceVersion: '7' }))
    bench.see(claim('c', { selectedNode: 'n', volumeName: 'made', resourceVersion: '11' }))
    assert.equal(await state(), 'pending', 'the volume has not been seen yet')
    bench.see(volume('made'))
    assert.equal(await state(), 'bound')
  })

  test('a view of the claim that is older than what was written says nothing', async () => {
    const bench = new Bench(provisioned, claim('c', { resourceVersion: '3' }))
    const state = bench.begin()
    await state()
    bench.see(claim('c', { resourceVersion: '6' }))
    assert.equal(await state(), 'pending')
  })

  const faults: readonly [title: string, objects: KubeObject[], then: (bench: Bench) => void, failure: string][] = [
    [
      'a provisioner that gives up takes the node away again',
      [provisioned, claim('c')],
      (bench) => bench.see(claim('c', { resourceVersion: '12' })),
      'error: binding volumes: provisioning failed for PVC "c"',
    ],
    [
      'a claim that is deleted meanwhile ends the wait',
      [provisioned, claim('c')],
      (bench) => void bench.cluster.volumes.removeClaim('default', 'c'),
      'error: binding volumes: failed to check provisioning pvc: persistentvolumeclaims "default/c" not found',
    ],
    [
      'a volume that is deleted meanwhile ends it, too',
      [...waiting, volume('v')],
      (bench) => void bench.cluster.volumes.removeVolume('v'),
      'error: binding volumes: failed to check binding: persistentvolumes "v" not found',
    ],
    [
      'a volume whose reservation is taken back ends it',
      [...waiting, volume('v')],
      (bench) => bench.see(volume('v', { resourceVersion: '8' })),
      'error: binding volumes: ClaimRef got reset for pv "v"',
    ],
    [
      'a volume that was made where the node does not reach it ends it',
      [provisioned, claim('c')],
      (bench) =>
        bench.see(
          volume('made', { on: ['elsewhere'] }),
          claim('c', { selectedNode: 'n', volumeName: 'made', resourceVersion: '8' }),
        ),
      'error: binding volumes: pv "made" node affinity doesn\'t match node "n": no matching NodeSelectorTerms',
    ],
    [
      'a node that goes ends it within a second',
      [provisioned, claim('c')],
      (bench) => {
        bench.cluster.removeNode('n')
        bench.clock.advance(1_000)
      },
      'error: binding volumes: failed to get node "n": node "n" not found',
    ],
    [
      'after ten minutes it is given up',
      [provisioned, claim('c')],
      (bench) => bench.clock.advance(600_000),
      'error: binding volumes: context deadline exceeded',
    ],
    [
      'whoever ends the scheduler ends the wait',
      [provisioned, claim('c')],
      (bench) => bench.abort(),
      'error: stopped before the claims of default/p were bound',
    ],
  ]
  for (const [title, objects, then, failure] of faults)
    test(title, async () => {
      const bench = new Bench(...objects)
      const state = bench.begin()
      assert.equal(await state(), 'pending')
      then(bench)
      assert.equal(await state(), failure)
    })

  test('an object that has changed is a conflict, in the words of the API server', async () => {
    const bench = new Bench(...waiting, volume('v'))
    const message = 'Operation cannot be fulfilled on persistentvolumes "v": the object has been modified'
    bench.server.refusals.set('persistentvolumes/v', { status: 409, body: { message } } as ApiAnswer)
    assert.equal(await bench.begin()(), `conflict: ${message}`)
  })

  test('autoscalers that cannot be told are no reason to fail', async () => {
    const bench = new Bench(...waiting, volume('v'))
    bench.server.refusals.set('pods/p/status', { status: 500, body: {} } as ApiAnswer)
    assert.equal(await bench.begin()(), 'pending')
    assert.equal(bench.server.paths[1], 'persistentvolumes/v')
  })
})
