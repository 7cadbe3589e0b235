import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../../test/builders.ts'
import { StowageError } from '../errors/catalogue.ts'
import {
  readCsiDriver,
  readCsiNode,
  readPersistentVolume,
  readPersistentVolumeClaim,
  readStorageCapacity,
  readStorageClass,
  readVolumeAttachment,
} from './read-volumes.ts'
import { ClusterState } from './state.ts'
import { attachment, claim, csiNode, seeStorage, storageClass, using, volume } from './storage.fixture.ts'

const names = ['x', 'y', 'z']
const nodeNames = ['a', 'b']
const one = <T>(values: readonly T[]) => fc.constantFrom(...values)

/** Something that happens to a cluster. */
type Step = (cluster: ClusterState) => unknown

const step: fc.Arbitrary<Step> = fc.oneof(
  fc
    .record({ uid: one(['p', 'q', 'r']), on: one(nodeNames), claims: fc.subarray(names) })
    .map(({ uid, on, claims }): Step => {
      const object = pod(uid)
        .spec(using(...claims))
        .on(on)
        .object()
      return (cluster) => cluster.placeOf(`uid-${uid}`) === '' && cluster.applyPod(cluster.readPod(object))
    }),
  one(['p', 'q', 'r']).map(
    (uid): Step =>
      (cluster) =>
        cluster.removePod(`uid-${uid}`),
  ),
  fc.record({ name: one(names), bound: fc.boolean() }).map(({ name, bound }): Step => {
    const object = bound ? claim(name, { volumeName: `v-${name}` }) : claim(name)
    return ({ volumes }) => seeStorage(volumes, object)
  }),
  one(names).map(
    (name): Step =>
      ({ volumes }) =>
        volumes.removeClaim('default', name),
  ),
  fc.record({ name: one(names), named: fc.boolean() }).map(({ name, named }): Step => {
    const claimRef = named ? { claimRef: { namespace: 'default', name } } : {}
    return ({ volumes }) => seeStorage(volumes, volume(`v-${name}`, { driver: 'disks', ...claimRef }))
  }),
  one(names).map(
    (name): Step =>
      ({ volumes }) =>
        volumes.removeVolume(`v-${name}`),
  ),
  fc.record({ name: one(names), on: one(nodeNames) }).map(
    ({ name, on }): Step =>
      ({ volumes }) =>
        seeStorage(volumes, attachment(name, on, 'disks', `v-${name}`)),
  ),
  one(names).map(
    (name): Step =>
      ({ volumes }) =>
        volumes.removeAttachment(name),
  ),
  one(nodeNames).map(
    (name): Step =>
      ({ volumes }) =>
        seeStorage(volumes, csiNode(name, { disks: 3 })),
  ),
  fc.constant<Step>(({ volumes }) => seeStorage(volumes, storageClass('waits', { provisioner: 'disks' }))),
  fc.constant<Step>(({ volumes }) => volumes.removeStorageClass('waits')),
  one(nodeNames).map(
    (name): Step =>
      (cluster) =>
        cluster.removeNode(name),
  ),
  one(nodeNames).map(
    (name): Step =>
      (cluster) =>
        cluster.applyNode(cluster.readNode(node(name).object())),
  ),
  // Asked in between, as cycles do.
  one(nodeNames).map(
    (name): Step =>
      ({ volumes }) =>
        volumes.attachedOn(name),
  ),
)

describe('what the cluster state knows of volumes', () => {
  test('is the same whether it was asked in between or not', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const cluster = new ClusterState()
        for (const name of nodeNames) cluster.applyNode(cluster.readNode(node(name).object()))
        for (const happens of steps) {
          happens(cluster)
          for (const name of nodeNames) cluster.volumes.attachedOn(name)
        }
        for (const name of nodeNames) {
          const remembered = cluster.volumes.attachedOn(name)
          // A CSINode that says what it said before has the node counted anew.
          const known = cluster.volumes.csiNode(name)
          if (known === undefined) seeStorage(cluster.volumes, csiNode(name, {}))
          else cluster.volumes.applyCsiNode(known)
          assert.deepEqual(cluster.volumes.attachedOn(name), remembered)
          const placed = cluster.indexOf(name) < 0 ? [] : [...cluster.podsOn(cluster.indexOf(name))]
          for (const unique of remembered.ofPods.keys()) assert.ok(placed.length > 0, unique)
        }
        for (const name of names) {
          const users = nodeNames
            .map((nodeName) => cluster.indexOf(nodeName))
            .filter((index) => index >= 0)
            .flatMap((index) => [...cluster.podsOn(index)])
            .filter(({ volumes }) => volumes.claims.some((used) => used.name === name))
          assert.equal(cluster.volumes.isClaimUsed('default', name), users.length > 0)
        }
      }),
      { numRuns: 300, seed: 20260101 },
    )
  })

  test('is not changed by what is only imagined of a node', () => {
    const cluster = new ClusterState()
    cluster.applyNode(cluster.readNode(node('a').object()))
    const there = cluster.readPod(pod('p').spec(using('x')).on('a').object())
    cluster.applyPod(there)
    cluster.imagine(0, (imagined) => {
      imagined.remove(there)
      assert.equal(cluster.volumes.isClaimUsed('default', 'x'), false)
    })
    assert.equal(cluster.volumes.isClaimUsed('default', 'x'), true)
  })
})

describe('reading objects about volumes', () => {
  const readers = {
    readCsiDriver,
    readCsiNode,
    readPersistentVolume,
    readPersistentVolumeClaim,
    readStorageCapacity,
    readStorageClass,
    readVolumeAttachment,
  }
  const something = fc.record(
    {
      metadata: fc.oneof(fc.record({ name: fc.constant('n'), annotations: fc.jsonValue() }), fc.jsonValue()),
      spec: fc.oneof(
        fc.dictionary(
          one([
            'capacity',
            'accessModes',
            'claimRef',
            'nodeAffinity',
            'csi',
            'drivers',
            'selector',
            'source',
            'rbd',
            'resources',
          ]),
          fc.jsonValue(),
        ),
        fc.jsonValue(),
      ),
      status: fc.jsonValue(),
      allowedTopologies: fc.jsonValue(),
      nodeTopology: fc.jsonValue(),
      capacity: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  for (const [name, read] of Object.entries(readers))
    test(`${name} reads or refuses whatever JSON claims to be one`, () => {
      fc.assert(
        fc.property(something, (object) => {
          try {
            assert.equal(typeof read(object as object).name, 'string')
          } catch (error) {
            assert.ok(error instanceof StowageError, String(error))
            assert.equal(error.code, 'VOLUME_MALFORMED')
          }
        }),
        { numRuns: 500, seed: 20260101 },
      )
    })

  test('a pod whose volumes are no list is refused', () => {
    const cluster = new ClusterState()
    const object = pod('p').object()
    const broken = { ...object, spec: { ...object.spec, volumes: {} as never } }
    assert.throws(() => cluster.readPod(broken), /spec.volumes is no list of objects/)
  })
})
