import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { jsonValuesIn, readAnswer } from './answer.ts'
import { plainText, TEXT_LENGTH } from './plain-text.ts'

const offered = new Map([
  ['g1', ['c1', 'c2', 'c3']],
  ['g2', ['c1', 'c2']],
])
const one = new Map([['g1', ['c1', 'c2', 'c3']]])
const decision = (group: string, ids: unknown, rest: object = {}): object => ({
  group,
  selected_nodes: ids,
  confidence: 0.8,
  reasoning: 'most room',
  ...rest,
})

describe('what a model answers', () => {
  test('is read as it was asked for', () => {
    const text = JSON.stringify({ decisions: [decision('g1', ['c2', 'c2', 'c1']), decision('g2', ['c1'])] })
    const answers = readAnswer(text, offered)
    assert.deepEqual(answers.get('g1'), { ids: ['c2', 'c2', 'c1'], confidence: 0.8, reason: 'most room' })
    assert.deepEqual(answers.get('g2')?.ids, ['c1'])
  })

  test('is found within chatter, fenced blocks, other wrappings, and the form of the original', () => {
    const plain = JSON.stringify(decision('g1', ['c3']))
    const original = '{"selected_node": "c3", "confidence": 0.8, "reasoning": "most room"}'
    for (const text of [
      `Sure! Here it is:\n\n\`\`\`json\n${plain}\n\`\`\`\nAnything else?`,
      `\`\`\`\n{"decisions":[${plain}]}\n\`\`\``,
      `I think {that} is best: ${plain} because of "room" and }{`,
      `[${plain}]`,
      original,
      `The answer is ${original}.`,
      `{"decisions":[${plain},{"group":"g9","selec`,
    ])
      assert.deepEqual(readAnswer(text, one).get('g1'), { ids: ['c3'], confidence: 0.8, reason: 'most room' }, text)
  })

  test('counts for nothing where it names anything that was not offered', () => {
    for (const ids of [['c4'], ['c1', 'node-7'], [], 'forbidden', 7, null, [['c1']], { c1: 1 }])
      assert.equal(readAnswer(JSON.stringify(decision('g1', ids)), one).size, 0, JSON.stringify(ids))
    assert.equal(readAnswer(JSON.stringify(decision('g2', ['c3'])), offered).size, 0)
    assert.equal(readAnswer('{"selected_node":"c1"}', offered).size, 0, 'of which group?')
  })

  test('has a confidence from 0 to 1 or none', () => {
    const confidenceOf = (confidence: unknown): number | undefined =>
      readAnswer(JSON.stringify(decision('g1', ['c1'], { confidence })), one).get('g1')?.confidence
    assert.deepEqual([0.5, '0.5', 80, '80 %', 0, 1].map(confidenceOf), [0.5, 0.5, 0.8, 0.8, 0, 1])
    assert.deepEqual([-1, 101, 'high', '', null, {}, [1]].map(confidenceOf), Array(7).fill(undefined))
  })

  test('has a reason of one short line', () => {
    const reasoning = `a\nb\u001b[2J\u202ec\u200bd ${'x'.repeat(10_000)}`
    const { reason = '' } = readAnswer(JSON.stringify(decision('g1', ['c1'], { reasoning })), one).get('g1') ?? {}
    assert.match(reason, /^a b \[2J c d x+$/)
    assert.equal(reason.length, 256)
  })

  test('may be anything at all without doing harm', () => {
    const nasty = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 2000 }),
      fc.json(),
      fc
        .array(
          fc.constantFrom('{', '}', '[', ']', '"', '\\', '`', '```', '"decisions":', ':', ',', 'c1', '__proto__'),
          { maxLength: 3000 },
        )
        .map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(nasty, (text) => {
        for (const [group, { ids, confidence }] of readAnswer(text, offered)) {
          assert.ok(ids.length > 0 && ids.every((id) => offered.get(group)?.includes(id)))
          assert.ok(confidence === undefined || (confidence >= 0 && confidence <= 1))
        }
      }),
      { numRuns: 500, seed: 20260101 },
    )
    for (const text of [
      '{'.repeat(1 << 20),
      '['.repeat(1 << 20),
      '{"a":'.repeat(1 << 18),
      '```'.repeat(1 << 18),
      '"'.repeat(1 << 20),
    ])
      assert.equal(readAnswer(text, offered).size, 0)
    assert.ok(jsonValuesIn('{}'.repeat(100_000)).length <= 64)
  })
})

describe('text from outside', () => {
  test('becomes one short line with nothing hidden in it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (text) => {
        const plain = plainText(text)
        assert.ok(plain.length <= TEXT_LENGTH)
        assert.doesNotMatch(plain, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|^\s|\s$|\s\s/u)
      }),
      { numRuns: 500, seed: 20260101 },
    )
    assert.equal(plainText('ｉｇｎｏｒｅ\u200b a\u00adll'), 'ignore a ll')
    assert.equal(plainText('keep near the cache'), 'keep near the cache')
  })
})
