import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ApiFailure } from './failure.ts'
import { type Json, listAt } from './json.ts'
import { applyPatch } from './patch.ts'
import { canonicalQuantity } from './quantity.ts'
import { typeOf } from './schema.ts'

const podType = typeOf('io.k8s.api.core.v1.Pod')
const nodeType = typeOf('io.k8s.api.core.v1.Node')
const strategic = (object: Json, patch: Json, type = podType): Json => applyPatch('strategic', type, object, patch)

describe('strategic merge patches', () => {
  test('replace taints and tolerations whole and join finalizers, new ones first', () => {
    const node = strategic(
      { spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] } },
      { spec: { taints: [{ key: 'b', effect: 'NoExecute' }] } },
      nodeType,
    )
    assert.deepEqual(
      listAt(node, 'spec', 'taints').map((taint) => taint['key']),
      ['b'],
    )
    const pod = strategic(
      { metadata: { finalizers: ['x'] }, spec: { tolerations: [{ key: 'a' }] } },
      { metadata: { finalizers: ['y'] }, spec: { tolerations: [{ key: 'b' }] } },
    )
    assert.deepEqual(pod, { metadata: { finalizers: ['y', 'x'] }, spec: { tolerations: [{ key: 'b' }] } })
  })

  test('delete items and values where they say so', () => {
    const object = { metadata: { finalizers: ['x', 'y'] }, spec: { containers: [{ name: 'a' }, { name: 'b' }] } }
    assert.deepEqual(
      strategic(object, {
        metadata: { '$deleteFromPrimitiveList/finalizers': ['x'] },
        spec: { containers: [{ name: 'a', $patch: 'delete' }] },
      }),
      { metadata: { finalizers: ['y'] }, spec: { containers: [{ name: 'b' }] } },
    )
    assert.deepEqual(strategic(object, { spec: { $patch: 'replace', nodeName: 'n' } })['spec'], { nodeName: 'n' })
  })

  test('put items in the order that the patch sets', () => {
    const object = { spec: { containers: [{ name: 'a' }, { name: 'b' }] } }
    const patched = strategic(object, {
      spec: {
        '$setElementOrder/containers': [{ name: 'b' }, { name: 'c' }, { name: 'a' }],
        containers: [{ name: 'c' }],
      },
    })
    assert.deepEqual(
      listAt(patched, 'spec', 'containers').map((container) => container['name']),
      ['b', 'c', 'a'],
    )
  })

  test('leave the object they are applied to as it was', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (metadata, labels) => {
        const object = {
          metadata: { annotations: { a: 'b' }, labels: metadata },
          spec: { containers: [{ name: 'a', env: [] }] },
        } as Json
        const before = JSON.stringify(object)
        for (const kind of ['strategic', 'merge'] as const)
          applyPatch(kind, podType, object, {
            metadata: { labels, annotations: { c: 'd' } },
            spec: { containers: [{ name: 'a', image: 'i' }] },
          })
        assert.equal(JSON.stringify(object), before)
      }),
      { seed: 11, numRuns: 200 },
    )
  })
})

describe('JSON patches', () => {
  test('cannot fill the memory by copying an object into itself', () => {
    const doubling = Array.from({ length: 60 }, (_, i) => ({ op: 'copy', from: '/data', path: `/data/k${i}` }))
    assert.throws(
      () => applyPatch('json', podType, { data: { a: 'b' } }, doubling),
      (error: unknown) => error instanceof ApiFailure && error.code === 413,
    )
  })

  test('reach no prototype', () => {
    for (const path of ['/__proto__/polluted', '/constructor/prototype/polluted'])
      assert.throws(() => applyPatch('json', podType, { metadata: {} }, [{ op: 'add', path, value: true }]), ApiFailure)
    assert.equal(({} as Json)['polluted'], undefined)
  })
})

describe('merge patches', () => {
  test('applied twice are applied once', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.dictionary(fc.string(), fc.jsonValue()),
        (object, patch) => {
          const once = applyPatch('merge', podType, object, patch)
          assert.deepEqual(applyPatch('merge', podType, once, patch), once)
        },
      ),
      { seed: 12, numRuns: 300 },
    )
  })
})

describe('quantities', () => {
  test('are written in the form in which kube-apiserver writes them', () => {
    const forms: [string | number, string][] = [
      ['1000m', '1'],
      [0.5, '500m'],
      [1.5, '1500m'],
      ['1024Mi', '1Gi'],
      ['1.5Gi', '1536Mi'],
      ['1000', '1k'],
      [4, '4'],
      ['0', '0'],
      ['-1', '-1'],
      ['1e3', '1k'],
      ['1E', '1E'],
      ['1500', '1500'],
      ['0.1m', '100u'],
      ['100Ki', '100Ki'],
      ['1048576', '1048576'],
    ]
    for (const [given, written] of forms) assert.equal(canonicalQuantity(given), written, String(given))
    for (const broken of ['', 'x', '1xx', '1 Gi', '1ki', '--1', '1.2.3'])
      assert.throws(() => canonicalQuantity(broken), RangeError)
  })

  test('keep their form once they have it', () => {
    const quantity = fc
      .tuple(fc.integer({ min: 0, max: 1_000_000 }), fc.constantFrom('', 'm', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi'))
      .map(([n, s]) => `${n}${s}`)
    fc.assert(
      fc.property(quantity, (text) => {
        const once = canonicalQuantity(text)
        assert.equal(canonicalQuantity(once), once)
      }),
      { seed: 13 },
    )
  })
})
