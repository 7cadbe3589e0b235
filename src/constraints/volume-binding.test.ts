import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../../test/builders.ts'
import type { KubeObject, PodObject, PodSpec } from '../cluster/objects.ts'
import { claim, csiDriver, csiNode, room, storageClass, using, volume } from '../cluster/storage.fixture.ts'
import { PodClaims } from '../cluster/volume-plan.ts'
import {
  REASON_LOST_VOLUME,
  REASON_NO_ROOM,
  REASON_NO_VOLUME,
  REASON_VOLUME_AFFINITY,
  volumeBinding,
} from './volume-binding.ts'
import { clusterWith, said, wakes } from './volumes.fixture.ts'

const nodes = [node('a').label('zone', 'z1').object(), node('b').label('zone', 'z2').object()]
const ephemeral: PodSpec = { volumes: [{ name: 'scratch', ephemeral: {} }] }
const waits = storageClass('waits')
const made = storageClass('waits', { provisioner: 'disks' })
const of = (name: string) => ({ namespace: 'default', name })

describe('where the volumes of a pod can be had', () => {
  const everywhere = (reason: string): string => `a: ${reason}; b: ${reason}`
  const table: readonly [title: string, spec: PodSpec, storage: readonly KubeObject[], answer: string][] = [
    ['a claim that is being deleted refuses the pod', using('c'), [claim('c', { deleting: true })], 'persistentvolumeclaim "c" is being deleted. not found'],
    ['a claim whose volume is lost refuses the pod', using('c'), [claim('c', { volumeName: 'v', phase: 'Lost' })], 'persistentvolumeclaim "c" bound to non-existent persistentvolume "v". not found'],
    ['a claim that is bound by itself must be so already', using('c'), [storageClass('waits', { mode: 'Immediate' }), claim('c')], 'pod has unbound immediate PersistentVolumeClaims. not found'],
    ['a claim of a class that does not exist is taken for one', using('c'), [claim('c')], 'pod has unbound immediate PersistentVolumeClaims. not found'],
    ['an ephemeral claim is waited for', ephemeral, [], 'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-scratch". not found'],
    ['an ephemeral claim of another pod is not taken', ephemeral, [claim('p-scratch', { owner: 'uid-q' })], 'PVC default/p-scratch was not created for pod default/p (pod is not owner). not found'],
    ['an ephemeral claim of its own is', ephemeral, [claim('p-scratch', { owner: 'uid-p', volumeName: 'v' }), volume('v')], 'a: yes; b: yes'],
    ['a bound volume must be reached', using('c'), [claim('c', { volumeName: 'v' }), volume('v', { on: ['b'] })], `a: ${REASON_VOLUME_AFFINITY}; b: yes`],
    ['a bound volume that is not there is told', using('c'), [claim('c', { volumeName: 'v' })], everywhere(REASON_LOST_VOLUME)],
    ['a claim that waits gets a volume where there is one', using('c'), [waits, claim('c'), volume('v', { on: ['a'] })], `a: yes; b: ${REASON_NO_VOLUME}`],
    ['not one that is too small', using('c'), [waits, claim('c', { request: '2Gi' }), volume('v')], everywhere(REASON_NO_VOLUME)],
    ['not one of another class', using('c'), [waits, claim('c'), volume('v', { className: 'other' })], everywhere(REASON_NO_VOLUME)],
    ['not one without its access mode', using('c'), [waits, claim('c', { modes: ['ReadWriteMany'] }), volume('v')], everywhere(REASON_NO_VOLUME)],
    ['not one that is not available yet', using('c'), [waits, claim('c'), volume('v', { phase: 'Released' })], everywhere(REASON_NO_VOLUME)],
    ['not one that is reserved for another claim', using('c'), [waits, claim('c'), volume('v', { claimRef: of('d') })], everywhere(REASON_NO_VOLUME)],
    ['one that a person has reserved for it is the only one', using('c'), [waits, claim('c'), volume('v', { claimRef: of('c'), on: ['b'] }), volume('w')], `a: ${REASON_NO_VOLUME}; b: yes`],
    ['two claims need two volumes', using('c', 'd'), [waits, claim('c'), claim('d'), volume('v', { on: ['a', 'b'] }), volume('w', { on: ['b'] })], `a: ${REASON_NO_VOLUME}; b: yes`],
    ['both faults of a node are told, in order', using('c', 'd'), [waits, claim('c', { volumeName: 'v' }), volume('v', { on: ['a'], claimRef: of('c') }), claim('d')], `a: ${REASON_NO_VOLUME}; b: ${REASON_VOLUME_AFFINITY}, ${REASON_NO_VOLUME}`],
    ['what cannot be had is made', using('c'), [made, claim('c')], 'a: yes; b: yes'],
    ['only where its class allows', using('c'), [storageClass('waits', { provisioner: 'disks', zones: ['z2'] }), claim('c')], `a: ${REASON_NO_VOLUME}; b: yes`],
    ['where it is being made already', using('c'), [made, claim('c', { selectedNode: 'b' })], `a: ${REASON_NO_VOLUME}; b: yes`],
    ['only where there is room, if the driver says how much', using('c'), [made, claim('c'), csiDriver('disks', { storageCapacity: true }), room('z1', '1Gi'), room('z2', '900Mi')], `a: yes; b: ${REASON_NO_ROOM}`],
    ['the largest possible volume matters more than the room', using('c'), [made, claim('c'), csiDriver('disks', { storageCapacity: true }), room('z1', '9Gi', '500Mi')], everywhere(REASON_NO_ROOM)],
  ] // biome-ignore format: a table
  for (const [title, spec, storage, answer] of table)
    test(title, () => {
      assert.equal(said(volumeBinding, pod('p').spec(spec).object(), clusterWith({ nodes, storage })), answer)
    })

  test('of several volumes the smallest is taken, for the smallest claim first', () => {
    const storage = [
      waits,
      claim('large', { request: '3Gi' }),
      claim('little', { request: '1Gi' }),
      volume('v9', { capacity: '9Gi' }),
      volume('v5', { capacity: '5Gi', on: ['a'] }),
      volume('v2', { capacity: '2Gi' }),
    ]
    const cluster = clusterWith({ nodes, storage })
    const claims = PodClaims.of(cluster.readPod(pod('p').spec(using('large', 'little')).object()), cluster.volumes)
    assert.ok(typeof claims === 'object')
    const planned = (name: string) =>
      claims.plan(cluster.node(cluster.indexOf(name)))?.bindings.map((one) => `${one.claim.name}=${one.volume.name}`)
    assert.deepEqual(planned('a'), ['little=v2', 'large=v5'])
    assert.deepEqual(planned('b'), ['little=v2', 'large=v9'])
  })

  test('what is assumed for one pod is not there for the next, until it is given back', () => {
    const cluster = clusterWith({ nodes, storage: [waits, claim('c'), claim('d'), volume('v')] })
    const [first, second] = ['c', 'd'].map((name) => pod(`uses-${name}`).spec(using(name)).object())
    assert.ok(first !== undefined && second !== undefined)
    const one = cluster.readPod(first)
    const claims = PodClaims.of(one, cluster.volumes)
    const plan = typeof claims === 'object' ? claims.plan(cluster.node(0)) : undefined
    assert.ok(plan !== undefined)
    cluster.volumes.assume(one, 'a', plan)
    assert.equal(said(volumeBinding, second, cluster), everywhere(REASON_NO_VOLUME))
    assert.equal(said(volumeBinding, first, cluster), 'a: yes; b: yes')
    cluster.volumes.release(one.uid)
    assert.equal(said(volumeBinding, second, cluster), 'a: yes; b: yes')
  })

  test('looking volumes up by hostname finds what trying each would find', () => {
    const size = fc.constantFrom('1Gi', '2Gi', '3Gi')
    const drawn = fc.record({
      volumes: fc.array(fc.record({ capacity: size, on: fc.option(fc.subarray(['a', 'b']), { nil: undefined }) }), {
        maxLength: 6,
      }),
      requests: fc.array(size, { minLength: 1, maxLength: 3 }),
    })
    fc.assert(
      fc.property(drawn, ({ volumes, requests }) => {
        const storage: KubeObject[] = [
          waits,
          ...volumes.map(({ capacity, on }, i) => volume(`v${i}`, { capacity, ...(on === undefined ? {} : { on }) })),
          ...requests.map((request, i) => claim(`c${i}`, { request })),
        ]
        const waiting = pod('p')
          .spec(using(...requests.map((_, i) => `c${i}`)))
          .object()
        const answers = ['a', 'b'].map((name) => {
          const free = volumes
            .filter(({ on }) => on === undefined || on.includes(name))
            .map(({ capacity }) => capacity)
            .sort()
          for (const request of requests.toSorted()) {
            const at = free.findIndex((capacity) => capacity >= request)
            if (at < 0) return `${name}: ${REASON_NO_VOLUME}`
            free.splice(at, 1)
          }
          return `${name}: yes`
        })
        assert.equal(said(volumeBinding, waiting, clusterWith({ nodes, storage })), answers.join('; '))
      }),
      { numRuns: 300, seed: 20260101 },
    )
  })
})

describe('what wakes a pod that waits for its volumes', () => {
  const waiting: PodObject = pod('p').spec(using('c')).object()
  const before = [
    waits,
    claim('c'),
    volume('v', { capacity: '1Mi' }),
    csiNode('a', {}),
    room('z1', '1Gi'),
    csiDriver('disks', { storageCapacity: true }),
  ]
  const table: readonly [title: string, object: KubeObject, woken: boolean][] = [
    ['any new volume', volume('w'), true],
    ['any changed volume', volume('v', { capacity: '1Mi', phase: 'Released' }), true],
    ['its claim', claim('c', { resourceVersion: '2' }), true],
    ['not another claim', claim('d'), false],
    ['a new class', storageClass('other'), true],
    ['other zones of a class', storageClass('waits', { zones: ['z1'] }), true],
    ['not the same class again', waits, false],
    ['a new CSINode', csiNode('b', {}), true],
    ['not what else a CSINode says', csiNode('a', { disks: 9 }), false],
    ['new room', room('z2', '1Gi'), true],
    ['more room', room('z1', '2Gi'), true],
    ['not less room', room('z1', '1Mi'), false],
    ['not a driver that stops to tell the room, for pods with claims', csiDriver('disks', {}), false],
  ]
  for (const [title, object, woken] of table)
    test(title, () => {
      assert.equal(wakes(volumeBinding, waiting, clusterWith({ nodes, storage: before }), object), woken)
    })

  test('a driver that stops to tell the room wakes pods that have it make volumes inline', () => {
    const inline = pod('p')
      .spec({ volumes: [{ csi: { driver: 'disks' } }] })
      .object()
    assert.equal(wakes(volumeBinding, inline, clusterWith({ nodes, storage: before }), csiDriver('disks', {})), true)
  })
})
