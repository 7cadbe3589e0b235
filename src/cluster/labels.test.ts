import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  labelOf,
  labelSelectorMatches,
  nodeSelectorMatches,
  nodeTermMatches,
  parseFieldSelector,
  parseLabelSelector,
  requirementMatches,
} from './labels.ts'

describe('selectors', () => {
  for (const [operator, values, value, expected] of [
    ['In', ['a', 'b'], 'a', true],
    ['In', ['a'], undefined, false],
    ['NotIn', ['a'], 'b', true],
    ['NotIn', ['a'], undefined, true],
    ['NotIn', ['a'], 'a', false],
    ['Exists', [], '', true],
    ['Exists', [], undefined, false],
    ['DoesNotExist', [], undefined, true],
    ['Gt', ['10'], '11', true],
    ['Gt', ['10'], '10', false],
    ['Gt', ['10'], '9', false],
    ['Lt', ['10'], '9', true],
    ['Lt', ['10'], 'nine', false],
    ['Gt', ['1', '2'], '3', false],
    ['Gt', ['9007199254740993'], '9007199254740994', true],
    ['Matches', ['.*'], 'a', false],
  ] as const)
    it(`${operator} ${values.join()} ${expected ? 'takes' : 'leaves out'} ${value ?? 'a node without the label'}`, () => {
      assert.equal(requirementMatches({ operator, values: [...values] }, value), expected)
    })

  it('matches nothing with an empty node selector term, as Kubernetes says', () => {
    assert.equal(nodeTermMatches({}, {}, 'a'), false)
    assert.equal(
      nodeTermMatches({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['a'] }] }, {}, 'a'),
      true,
    )
    assert.equal(
      nodeTermMatches({ matchFields: [{ key: 'metadata.name', operator: 'NotIn', values: ['a'] }] }, {}, 'a'),
      false,
    )
    assert.equal(
      nodeTermMatches({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['a', 'b'] }] }, {}, 'a'),
      false,
    )
  })

  it('tells an empty label selector (everything) from none (nothing)', () => {
    assert.equal(labelSelectorMatches({}, { a: 'b' }), true)
    assert.equal(labelSelectorMatches(undefined, { a: 'b' }), false)
  })

  it('never takes a property that JavaScript brings for a label', () => {
    assert.equal(labelOf({}, 'constructor'), undefined)
    assert.equal(nodeSelectorMatches({ toString: 'x' }, {}), false)
    assert.equal(requirementMatches({ operator: 'Exists' }, labelOf({}, '__proto__')), false)
  })

  it('reads the text form that kubectl -l sends', () => {
    assert.deepEqual(parseLabelSelector('app=web,tier!=db, zone in (a, b),x notin (c),gpu,!old,n>3,k8s.io/x==y'), [
      { key: 'app', operator: 'In', values: ['web'] },
      { key: 'tier', operator: 'NotIn', values: ['db'] },
      { key: 'zone', operator: 'In', values: ['a', 'b'] },
      { key: 'x', operator: 'NotIn', values: ['c'] },
      { key: 'gpu', operator: 'Exists' },
      { key: 'old', operator: 'DoesNotExist' },
      { key: 'n', operator: 'Gt', values: ['3'] },
      { key: 'k8s.io/x', operator: 'In', values: ['y'] },
    ])
    assert.deepEqual(parseLabelSelector(''), [])
  })

  for (const text of ['=a', 'a in b', 'a b', 'a=b=c', 'a>x', 'in (a', '-a=b', ','])
    it(`refuses the label selector ${text}`, () => {
      assert.throws(() => parseLabelSelector(text), { code: 'SELECTOR_MALFORMED' })
    })

  it('reads field selectors with escapes', () => {
    assert.deepEqual(parseFieldSelector('status.phase!=Failed,metadata.name=a\\,b\\=c,spec.nodeName='), [
      { field: 'status.phase', equals: false, value: 'Failed' },
      { field: 'metadata.name', equals: true, value: 'a,b=c' },
      { field: 'spec.nodeName', equals: true, value: '' },
    ])
    assert.throws(() => parseFieldSelector('status.phase'), { code: 'SELECTOR_MALFORMED' })
  })

  it('answers or refuses any text, and nothing else', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), (text) => {
        for (const parse of [parseLabelSelector, parseFieldSelector])
          try {
            parse(text)
          } catch (error) {
            assert.equal((error as { code?: string }).code, 'SELECTOR_MALFORMED')
          }
      }),
      { seed: 2, numRuns: 500 },
    )
  })
})
