import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodeProtobuf } from './protobuf.ts'
import { typeOf } from './schema.ts'

const podType = typeOf('io.k8s.api.core.v1.Pod')

/** A field of a protobuf message: text and bytes with their length, numbers as they are. */
const field = (number: number, value: string | Buffer | number): Buffer => {
  if (typeof value === 'number') return Buffer.from([number << 3, value])
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes])
}
const message = (...fields: Buffer[]): Buffer => Buffer.concat(fields)
const envelope = (raw: Buffer): Buffer =>
  message(Buffer.from('k8s\0'), field(1, message(field(1, 'v1'), field(2, 'Pod'))), field(2, raw))

describe('protobuf bodies', () => {
  test('are read into the object that they would be in JSON', () => {
    const labels = field(11, message(field(1, 'app'), field(2, 'web')))
    const limits = field(1, message(field(1, 'cpu'), field(2, message(field(1, '500m')))))
    const container = message(field(1, 'main'), field(2, 'i'), field(8, limits))
    const volume = message(field(1, 'v'), field(2, message(field(1, message(field(1, '/tmp'))))))
    const raw = message(
      field(1, message(field(1, 'a'), labels)),
      field(2, message(field(1, volume), field(2, container), field(4, 5), field(11, 1))),
    )
    assert.deepEqual(decodeProtobuf(envelope(raw), podType), {
      kind: 'Pod',
      apiVersion: 'v1',
      metadata: { name: 'a', labels: { app: 'web' } },
      spec: {
        volumes: [{ name: 'v', hostPath: { path: '/tmp' } }],
        containers: [{ name: 'main', image: 'i', resources: { limits: { cpu: '500m' } } }],
        terminationGracePeriodSeconds: 5,
        hostNetwork: true,
      },
    })
  })

  test('that are broken are refused, whatever they hold', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeProtobuf(envelope(Buffer.from(bytes.subarray(0, 100))), podType)
          decodeProtobuf(Buffer.from(bytes), podType)
        } catch (error) {
          assert.ok(error instanceof RangeError)
        }
      }),
      { seed: 14, numRuns: 2000 },
    )
  })
})
