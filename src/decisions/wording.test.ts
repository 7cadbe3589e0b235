import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { amountText, listText, numberText, plain } from './wording.ts'

describe('amounts for people', () => {
  const cases: readonly (readonly [string, number, string])[] = [
    ['cpu', 500, '500m cpu'],
    ['cpu', 1000, '1 core'],
    ['cpu', 1500, '1.5 cores'],
    ['cpu', 1234, '1.234 cores'],
    ['memory', 2 * 2 ** 30, '2.0 GiB memory'],
    ['memory', 300 * 2 ** 20, '300 MiB memory'],
    ['memory', 12, '12 bytes memory'],
    ['ephemeral-storage', 1.5 * 2 ** 30, '1.5 GiB ephemeral-storage'],
    ['hugepages-2Mi', 4 * 2 ** 20, '4 MiB hugepages-2Mi'],
    ['pods', 1, '1 pod'],
    ['pods', 3, '3 pods'],
    ['nvidia.com/gpu', 2, '2 nvidia.com/gpu'],
  ]
  for (const [resource, amount, text] of cases) {
    test(`${amount} of ${resource} reads ${text}`, () => assert.equal(amountText(resource, amount), text))
  }

  test('a number of bytes that has to be reached is never rounded down', () => {
    assert.equal(amountText('memory', 2 ** 30 + 1, 'more', Math.ceil), '1.1 GiB more memory')
  })

  test('lists read as lists do', () => {
    assert.deepEqual(
      [[], ['a'], ['a', 'b'], ['a', 'b', 'c']].map((parts) => listText(parts, 'or')),
      ['', 'a', 'a or b', 'a, b or c'],
    )
  })
})

describe('text from the cluster', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['colours of a terminal', '\u001B[31mred\u001B[0m', 'red'],
    ['a link of a terminal', '\u001B]8;;http://evil\u0007click\u001B]8;;\u0007', 'click'],
    ['eight-bit terminal sequences', 'a\u009B31mb', 'ab'],
    ['line breaks', 'ok\r\nFAKE: deleted\u2028x', 'ok FAKE: deleted x'],
    ['a bell and a backspace', 'a\u0007\bb', 'a b'],
    ['text that runs backwards', 'abc\u202Etxt.exe\u2066', 'abctxt.exe'],
    ['zero-width characters', 'no\u200Bde\uFEFF-\u00AD1\u2060', 'node-1'],
    ['hidden tags', 'node\u{E0061}\u{E0062}', 'node'],
    ['letters that nobody sees', 'a\u3164b\uFE0F', 'ab'],
    ['half of a pair', 'a\uD800b', 'ab'],
    ['ordinary text of any script', 'größe 節点 🚢', 'größe 節点 🚢'],
  ]
  for (const [what, text, harmless] of cases) {
    test(`${what}: made harmless`, () => assert.equal(plain(text), harmless))
  }

  test('is one short line without control or invisible characters, whatever came in', () => {
    const unit = fc.oneof(
      fc.constantFrom('\u001B', '[', ']', '\u009B', '\n', '\u202E', '31m', '\uDC00'),
      fc.string({ unit: 'binary' }),
    )
    fc.assert(
      fc.property(fc.array(unit), fc.integer({ min: 1, max: 40 }), (parts, most) => {
        const text = plain(parts.join(''), most)
        assert.doesNotMatch(text, /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u)
        assert.ok(Array.from(text).length <= most)
        assert.equal(plain(text, most), text)
      }),
      { seed: 3, numRuns: 500 },
    )
  })

  test('a text of megabytes is cut without reading all of it', () => {
    assert.equal(plain('x'.repeat(10_000_000)).length, 300)
  })
})

test('a small number is told as one, not as nothing', () => {
  assert.deepEqual(
    [numberText(-0.0004, 2), numberText(0.004, 2), numberText(0, 2), numberText(0.25, 2), numberText(1213.04)],
    ['-0.0004', '0.004', '0', '0.25', '1,213'],
  )
})
