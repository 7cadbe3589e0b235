import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { readPersistentVolume, readPersistentVolumeClaim, readStorageCapacity } from '../cluster/read-volumes.ts'
import type { VolumePlan } from '../cluster/volumes.ts'
import { volumeScore } from './volume-score.ts'

const claim = (storage: string, storageClassName = 'fast') =>
  readPersistentVolumeClaim({
    metadata: { name: 'c' },
    spec: { storageClassName, resources: { requests: { storage } } },
  })
const volume = (storage: string, storageClassName = 'fast') =>
  readPersistentVolume({ metadata: { name: 'v' }, spec: { storageClassName, capacity: { storage } } })
const room = (capacity: string) => readStorageCapacity({ metadata: { name: 'r' }, capacity })
const bound = (...bindings: [request: string, capacity: string, className?: string][]): VolumePlan => ({
  bindings: bindings.map(([request, capacity, className]) => ({
    claim: claim(request, className),
    volume: volume(capacity, className),
  })),
  provisions: [],
})

describe("kube-scheduler's score of volumes", () => {
  const table: readonly [title: string, plan: VolumePlan, score: number][] = [
    ['a volume of exactly the size asked for is the worst', bound(['10Gi', '10Gi']), 0],
    ['a third of the volume used leaves 67', bound(['1Gi', '3Gi']), 67],
    ['volumes of one class are taken together', bound(['1Gi', '2Gi'], ['1Gi', '6Gi']), 75],
    ['classes count alike, rounded half up', bound(['1Gi', '2Gi'], ['1Gi', '4Gi', 'slow']), 63],
    [
      'of two volumes to be made the room counts once',
      {
        bindings: [],
        provisions: [
          { claim: claim('20Gi'), capacity: room('100Gi') },
          { claim: claim('20Gi'), capacity: room('100Gi') },
        ],
      },
      60,
    ],
    [
      'where a volume is bound, those to be made do not count',
      { ...bound(['1Gi', '2Gi']), provisions: [{ claim: claim('1Gi', 'slow'), capacity: room('100Gi') }] },
      50,
    ],
    ['without known room it is 0', { bindings: [], provisions: [{ claim: claim('1Gi'), capacity: undefined }] }, 0],
  ]
  for (const [title, plan, score] of table) test(title, () => assert.equal(volumeScore(plan), score))
})
