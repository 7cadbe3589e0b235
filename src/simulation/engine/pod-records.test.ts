import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PodObject } from '../../cluster/objects.ts'
import { ClusterState } from '../../cluster/state.ts'
import { pod } from '../../../test/builders.ts'
import { PodRecords } from './pod-records.ts'

const of = ({ metadata, spec }: PodObject, name: string, more: PodObject['metadata'] = {}): PodObject => ({
  metadata: { ...metadata, name, uid: `uid-${name}`, ...more },
  ...(spec === undefined ? {} : { spec }),
})

test('pods that share their parts are read like each for itself, and those that share only some of them too', () => {
  const state = new ClusterState()
  const records = new PodRecords(state)
  const template = pod('t').cpu('250m').label('app', 'a').annotation('stowage.dev/x', '1').ownedBy('Job', 'j').object()
  const objects = [
    of(template, 'a'),
    of(template, 'b'),
    of(template, 'labelled', { labels: { app: 'b' } }),
    of(template, 'annotated', { annotations: { 'stowage.dev/gang': 'g' } }),
    of(template, 'owned', {
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', uid: 'r', controller: true }],
    }),
    of(template, 'elsewhere', { namespace: 'other' }),
    of(template, 'c'),
  ]
  for (const object of objects) assert.deepEqual(records.read(object), state.readPod(object))
})

test('pods whose claims are named for them are read each for itself', () => {
  const state = new ClusterState()
  const records = new PodRecords(state)
  const template = pod('t')
    .spec({ volumes: [{ name: 'v', ephemeral: { volumeClaimTemplate: {} } }] })
    .object()
  for (const name of ['a', 'b']) {
    const object = of(template, name)
    assert.deepEqual(records.read(object), state.readPod(object))
  }
})
