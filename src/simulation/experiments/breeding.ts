import type { Random } from '../../clock/random.ts'
import {
  ARGUMENTS,
  call,
  depthOf,
  type Expression,
  number,
  type Operation,
  sizeOf,
  variable,
  VARIABLES,
} from '../../policies/formula/expression.ts'

/** Larger formulas are not bred: nobody could read them. */
const SIZE_AT_MOST = 60
const DEPTH_AT_MOST = 12
const VARIABLE_SHARE = 0.7
const LEAF_SHARE = 0.25

/** How often each operation is drawn, relative to the others. */
const OPERATION_WEIGHTS: readonly (readonly [Operation, number])[] = [
  ['+', 4],
  ['-', 4],
  ['*', 4],
  ['/', 4],
  ['neg', 1],
  ['min', 1],
  ['max', 1],
  ['abs', 1],
  ['sqrt', 1],
  ['log', 1],
  ['pow', 0.5],
  ['exp', 0.5],
  ['<', 0.5],
  ['if', 1],
]
const ALL_WEIGHTS = OPERATION_WEIGHTS.reduce((sum, [, weight]) => sum + weight, 0)

/** Three digits are as many as anybody wants to read. */
const rounded = (value: number): Expression => number(Number(value.toPrecision(3)))

const drawnOperation = (random: Random): Operation => {
  let at = random.next() * ALL_WEIGHTS
  for (const [operation, weight] of OPERATION_WEIGHTS) {
    at -= weight
    if (at < 0) return operation
  }
  return '+'
}

/** A formula drawn at random, of that many levels at most. */
export const randomExpression = (random: Random, depth: number): Expression => {
  if (depth <= 1 || random.next() < LEAF_SHARE)
    return random.next() < VARIABLE_SHARE
      ? // below the length
        variable(VARIABLES[random.below(VARIABLES.length)]!)
      : // 0.01 to 100, each order of magnitude as often
        rounded(10 ** (4 * random.next() - 2))
  const operation = drawnOperation(random)
  return call(operation, ...Array.from({ length: ARGUMENTS[operation] }, () => randomExpression(random, depth - 1)))
}

/** The part at that place, counted from the root (0) downwards and to the right. */
const partAt = (expression: Expression, place: number): Expression => {
  let at = place - 1
  if (place > 0 && expression.kind === 'call')
    for (const arg of expression.args) {
      const size = sizeOf(arg)
      if (at < size) return partAt(arg, at)
      at -= size
    }
  return expression
}

const withPart = (expression: Expression, place: number, part: Expression): Expression => {
  if (place === 0) return part
  if (expression.kind !== 'call') return expression
  let at = place - 1
  return {
    ...expression,
    args: expression.args.map((arg) => {
      const size = sizeOf(arg)
      const changed = at >= 0 && at < size ? withPart(arg, at, part) : arg
      at -= size
      return changed
    }),
  }
}

const small = (child: Expression, parent: Expression): Expression =>
  sizeOf(child) <= SIZE_AT_MOST && depthOf(child) <= DEPTH_AT_MOST ? child : parent

/** One formula with a part of another in place of one of its own; the first itself where that would be too large. */
export const crossed = (one: Expression, other: Expression, random: Random): Expression =>
  small(withPart(one, random.below(sizeOf(one)), partAt(other, random.below(sizeOf(other)))), one)

/** A part replaced by a new one. */
export const mutated = (one: Expression, random: Random): Expression =>
  small(withPart(one, random.below(sizeOf(one)), randomExpression(random, 3)), one)

/** Every number moved a little, by 20 % on average. */
export const jittered = (one: Expression, random: Random): Expression => {
  if (one.kind === 'number') return rounded(one.value * Math.exp(0.8 * (random.next() - 0.5)))
  return one.kind === 'call' ? { ...one, args: one.args.map((arg) => jittered(arg, random)) } : one
}

/** A part with a factor before it. */
export const weighted = (one: Expression, random: Random): Expression => {
  const place = random.below(sizeOf(one))
  return small(withPart(one, place, call('*', rounded(10 ** (2 * random.next() - 1)), partAt(one, place))), one)
}
