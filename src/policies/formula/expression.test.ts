import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { StowageError } from '../../errors/catalogue.ts'
import {
  ARGUMENTS,
  call,
  compile,
  depthOf,
  DEPTH_AT_MOST,
  type Expression,
  LARGEST,
  number,
  type Operation,
  parseExpression,
  sizeOf,
  SIZE_AT_MOST,
  textOf,
  variable,
  VARIABLES,
} from './expression.ts'

const valueOf = (text: string, values: Partial<Record<(typeof VARIABLES)[number], number>> = {}): number =>
  compile(parseExpression(text))(Float64Array.from(VARIABLES, (name) => values[name] ?? 0))

const operations = Object.keys(ARGUMENTS) as Operation[]

const { expression } = fc.letrec<{ expression: Expression }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 6, depthIdentifier: 'formula' },
    fc.double({ min: 0, max: LARGEST, noNaN: true }).map((value) => number(Object.is(value, -0) ? 0 : value)),
    fc.constantFrom(...VARIABLES).map(variable),
    fc
      .tuple(fc.constantFrom(...operations), tie('expression'), tie('expression'), tie('expression'))
      .map(([operation, ...args]) => call(operation, ...args.slice(0, ARGUMENTS[operation]))),
  ),
}))
const bounded = expression.filter((one) => sizeOf(one) <= SIZE_AT_MOST && depthOf(one) <= DEPTH_AT_MOST)

const fails = (text: string, message: RegExp): void => {
  assert.throws(
    () => parseExpression(text),
    (thrown) => {
      assert.ok(thrown instanceof StowageError)
      assert.equal(thrown.code, 'CONFIG_INVALID_VALUE')
      assert.match(thrown.message, message)
      return true
    },
  )
}

describe('formulas', () => {
  test('the text of any formula gives that formula again', () => {
    fc.assert(
      fc.property(bounded, (one) => {
        // Parentheses count as levels too.
        const text = textOf(one)
        if (text.length <= 10_000) assert.deepEqual(parseExpression(text), one)
      }),
      { numRuns: 500, seed: 1 },
    )
  })

  test('any formula is finite whatever it is given', () => {
    const values = fc.array(fc.double({ noNaN: true, min: -1e18, max: 1e18 }), {
      minLength: VARIABLES.length,
      maxLength: VARIABLES.length,
    })
    fc.assert(
      fc.property(bounded, values, (one, given) => {
        const value = compile(one)(Float64Array.from(given))
        assert.ok(Math.abs(value) <= LARGEST, `${textOf(one)} is ${value}`)
      }),
      { numRuns: 2000, seed: 2 },
    )
  })

  test('operators bind as in arithmetic, and those of one rank from the left', () => {
    assert.equal(valueOf('1 + 2 * 3'), 7)
    assert.equal(valueOf('(1 + 2) * 3'), 9)
    assert.equal(valueOf('10 - 3 - 2'), 5)
    assert.equal(valueOf('12 / 3 / 2'), 2)
    assert.equal(valueOf('-2 * -3'), 6)
    assert.equal(valueOf('1 + 1 < 3'), 1)
    assert.equal(valueOf('2 >= 2'), 1)
  })

  test('functions and variables mean what they say', () => {
    assert.equal(valueOf('if(free.cpu > 2, min(free.cpu, 3), max(1, 2))', { 'free.cpu': 5 }), 3)
    assert.equal(valueOf('if(free.cpu > 2, 3, 4)', { 'free.cpu': 2 }), 4)
    assert.equal(valueOf('pow(2, 10) + sqrt(16) + abs(-1) + log(exp(1))'), 1030)
    assert.equal(valueOf('max_pods - pods', { max_pods: 110, pods: 10 }), 100)
    assert.equal(valueOf('1.5e-3 * request.gpu', { 'request.gpu': 1000 }), 1.5)
  })

  test('what has no value is 0, and what is too large stays finite', () => {
    for (const text of ['1 / 0', 'log(0)', 'log(-1)', 'sqrt(-1)', 'pow(0, -1)', 'pow(-1, 0.5)'])
      assert.equal(valueOf(text), 0, text)
    assert.equal(valueOf('exp(10000)'), LARGEST)
    assert.equal(valueOf('-exp(10000) * 5'), -LARGEST)
  })

  test('errors say where, what was found and what is expected', () => {
    fails('', /position 1: the end; expected a number, a variable/)
    fails('1 + ', /position 5: the end; expected a number/)
    fails('1 + free.disk', /position 5: "free.disk"; expected .*free\.cpu/)
    fails('(1 + 2', /position 7: the end; expected "\)"/)
    fails('min(1)', /position 6: "\)"; expected ","/)
    fails('1 2', /position 3: "2"; expected an operator/)
    fails('free.cpu; process', /position 9: ";"/)
    fails('constructor(1)', /position 1: "constructor"/)
    fails('1e999', /position 1: "1e999"; expected a number up to/)
  })

  test('a formula that is huge or deep is refused and not run', () => {
    fails('('.repeat(5000), /at most 50 levels of nesting/)
    fails('-'.repeat(5000), /at most 50 levels of nesting/)
    fails('1+'.repeat(4000) + '1', /at most 500 numbers/)
    fails('1+'.repeat(100) + '1', /a tree of 101 levels; expected at most 50/)
    fails('1'.repeat(10_001), /10001 characters; expected at most 10000/)
  })
})
