import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { StowageError } from '../errors/catalogue.ts'
import { quantityMilli, quantityUnits } from './quantity.ts'

describe('quantities', () => {
  for (const [text, milli] of [
    ['0', 0],
    ['1', 1000],
    ['100m', 100],
    ['0.1', 100],
    ['.5', 500],
    ['2.', 2000],
    ['1500u', 2],
    ['1n', 1],
    ['1k', 1_000_000],
    ['1Ki', 1_024_000],
    ['1.5Gi', 1.5 * 1024 ** 3 * 1000],
    ['128Mi', 128 * 1024 ** 2 * 1000],
    ['1e3', 1_000_000],
    ['1E', 1e21],
    ['+2', 2000],
    ['-1', -1000],
  ] as const)
    it(`reads ${text}`, () => {
      assert.equal(quantityMilli(text), Math.min(milli, Number((1n << 63n) - 1n) * 1000))
    })

  it('rounds a fraction of a unit up, as Kubernetes does for requests', () => {
    assert.equal(quantityUnits('100m'), 1)
    assert.equal(quantityUnits('1001m'), 2)
    assert.equal(quantityMilli('0.0001'), 1)
  })

  it('takes a plain number, which YAML makes of an unquoted one', () => {
    assert.equal(quantityMilli(2), 2000)
    assert.equal(quantityMilli(0.25), 250)
  })

  for (const text of ['', 'abc', '1.2.3', '1Kib', '--1', '1e9999999', '9'.repeat(100), ' 1', '1 Gi', '0x10', 'm'])
    it(`refuses ${JSON.stringify(text.slice(0, 20))} with a code`, () => {
      assert.throws(
        () => quantityMilli(text),
        (error) => error instanceof StowageError && error.code === 'QUANTITY_MALFORMED',
      )
    })

  for (const value of [null, undefined, {}, Number.NaN, Number.POSITIVE_INFINITY])
    it(`refuses ${JSON.stringify(value)}, which is no quantity at all`, () => {
      assert.throws(() => quantityMilli(value), StowageError)
    })

  it('agrees with exact arithmetic for every suffix', () => {
    const suffixes = { '': 1000n, m: 1n, k: 1_000_000n, M: 1_000_000_000n, Ki: 1_024_000n, Mi: 1_048_576_000n }
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4_000_000 }),
        fc.constantFrom(...Object.entries(suffixes)),
        (n, [suffix, scale]) => {
          assert.equal(quantityMilli(`${n}${suffix}`), Number(BigInt(n) * scale))
        },
      ),
      { seed: 1 },
    )
  })
})
