import { StowageError } from '../../errors/catalogue.ts'

/** What a formula can ask about a pod and one node, in the order of the values that a compiled formula is given. */
export const VARIABLES = [
  'request.cpu',
  'request.memory',
  'request.gpu',
  'free.cpu',
  'free.memory',
  'free.gpu',
  'capacity.cpu',
  'capacity.memory',
  'capacity.gpu',
  'pods',
  'max_pods',
] as const

export type Variable = (typeof VARIABLES)[number]

/** How many arguments each function takes; operators are functions of the same table, written between their arguments. */
export const ARGUMENTS = {
  neg: 1,
  abs: 1,
  sqrt: 1,
  log: 1,
  exp: 1,
  '+': 2,
  '-': 2,
  '*': 2,
  '/': 2,
  '<': 2,
  '<=': 2,
  '>': 2,
  '>=': 2,
  min: 2,
  max: 2,
  pow: 2,
  if: 3,
} as const

export type Operation = keyof typeof ARGUMENTS

/** A formula as a tree. Numbers are not negative: `-2` is `neg` of 2. */
export type Expression =
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'variable'; readonly name: Variable }
  | { readonly kind: 'call'; readonly operation: Operation; readonly args: readonly Expression[] }

export const CHARACTERS_AT_MOST = 10_000
export const SIZE_AT_MOST = 500
export const DEPTH_AT_MOST = 50
/** Every value lies between this and its negative, so that sums of addends stay finite. */
export const LARGEST = 1e300

export const number = (value: number): Expression =>
  value < 0 || Object.is(value, -0)
    ? call('neg', { kind: 'number', value: -value })
    : { kind: 'number', value: Math.min(value, LARGEST) }
export const variable = (name: Variable): Expression => ({ kind: 'variable', name })
export const call = (operation: Operation, ...args: readonly Expression[]): Expression => ({
  kind: 'call',
  operation,
  args,
})

/** Numbers, variables and operations. */
export const sizeOf = (expression: Expression): number =>
  expression.kind === 'call' ? expression.args.reduce((sum, arg) => sum + sizeOf(arg), 1) : 1

export const depthOf = (expression: Expression): number =>
  expression.kind === 'call' ? 1 + Math.max(...expression.args.map(depthOf)) : 1

const isVariable = (name: string): name is Variable => (VARIABLES as readonly string[]).includes(name)
const FUNCTIONS = (Object.keys(ARGUMENTS) as Operation[]).filter((name) => /^[a-z]/.test(name) && name !== 'neg')
const functionOf = (name: string): Operation | undefined => FUNCTIONS.find((known) => known === name)

interface Token {
  readonly text: string
  /** of its first character, from 1 */
  readonly position: number
}

const TOKEN = /\s*(?:(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[A-Za-z_][\w.]*|<=|>=|[-+*/<>(),])|(\S))/y

const wrong = (name: string, position: number, found: string, expected: string): StowageError =>
  new StowageError('CONFIG_INVALID_VALUE', {
    found: `${name} position ${position}: ${found === '' ? 'the end' : JSON.stringify(found.slice(0, 40))}`,
    expected,
  })

const OPERAND = `a number, a variable (${VARIABLES.join(', ')}), a function (${FUNCTIONS.join(', ')}), - or (`

const tokensOf = (name: string, text: string): Token[] => {
  const tokens: Token[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text)
    // Only blanks are left.
    if (match === null) break
    const [whole, token, stray] = match
    const position = match.index + whole.length - (token ?? stray ?? '').length + 1
    if (token === undefined) throw wrong(name, position, stray ?? '', OPERAND)
    tokens.push({ text: token, position })
  }
  return tokens
}

/** Recursive descent; each rule is one level of precedence. */
class Parser {
  readonly #name: string
  readonly #tokens: readonly Token[]
  readonly #end: number
  #at = 0
  #size = 0
  #depth = 0

  constructor(name: string, text: string) {
    this.#name = name
    this.#tokens = tokensOf(name, text)
    this.#end = text.length + 1
  }

  whole(): Expression {
    const result = this.#comparison()
    if (this.#at < this.#tokens.length) throw this.#wrong('an operator (+ - * / < <= > >=) or the end')
    return result
  }

  get #next(): string {
    return this.#tokens[this.#at]?.text ?? ''
  }

  #wrong(expected: string): StowageError {
    const token = this.#tokens[this.#at]
    return wrong(this.#name, token?.position ?? this.#end, token?.text ?? '', expected)
  }

  #counted(expression: Expression): Expression {
    if (++this.#size > SIZE_AT_MOST)
      throw this.#wrong(`at most ${SIZE_AT_MOST} numbers, variables and operations in one formula`)
    return expression
  }

  #expect(text: string): void {
    if (this.#next !== text) throw this.#wrong(JSON.stringify(text))
    this.#at++
  }

  #binary(operations: readonly string[], operand: () => Expression): Expression {
    let left = operand()
    while (operations.includes(this.#next)) {
      const operation = this.#next as Operation
      this.#at++
      left = this.#counted(call(operation, left, operand()))
    }
    return left
  }

  #comparison(): Expression {
    // Each pair of parentheses is a few calls deep, whatever becomes of it in the tree.
    if (++this.#depth > DEPTH_AT_MOST) throw this.#wrong(`at most ${DEPTH_AT_MOST} levels of nesting`)
    const result = this.#binary(['<', '<=', '>', '>='], () => this.#sum())
    this.#depth--
    return result
  }

  #sum(): Expression {
    return this.#binary(['+', '-'], () => this.#product())
  }

  #product(): Expression {
    return this.#binary(['*', '/'], () => this.#signed())
  }

  #signed(): Expression {
    if (this.#next !== '-') return this.#operand()
    if (++this.#depth > DEPTH_AT_MOST) throw this.#wrong(`at most ${DEPTH_AT_MOST} levels of nesting`)
    this.#at++
    const result = this.#counted(call('neg', this.#signed()))
    this.#depth--
    return result
  }

  #operand(): Expression {
    const text = this.#next
    if (text === '(') {
      this.#at++
      const inner = this.#comparison()
      this.#expect(')')
      return inner
    }
    if (/^\d/.test(text)) {
      const value = Number(text)
      if (value > LARGEST) throw this.#wrong(`a number up to ${LARGEST}`)
      this.#at++
      return this.#counted(number(value))
    }
    if (isVariable(text)) {
      this.#at++
      return this.#counted(variable(text))
    }
    const operation = functionOf(text)
    if (operation === undefined) throw this.#wrong(OPERAND)
    this.#at++
    this.#expect('(')
    const args = [this.#comparison()]
    while (args.length < ARGUMENTS[operation]) {
      this.#expect(',')
      args.push(this.#comparison())
    }
    this.#expect(')')
    return this.#counted(call(operation, ...args))
  }
}

/**
 * The tree of a formula's text.
 * @param name how the formula is called in errors
 * @throws StowageError CONFIG_INVALID_VALUE with the position (from 1), what was found and what is expected
 */
export const parseExpression = (text: string, name = 'the formula'): Expression => {
  if (text.length > CHARACTERS_AT_MOST)
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: `${name} has ${text.length} characters`,
      expected: `at most ${CHARACTERS_AT_MOST}`,
    })
  const expression = new Parser(name, text).whole()
  // A long sum is deep without any nesting in the text.
  const depth = depthOf(expression)
  if (depth > DEPTH_AT_MOST)
    throw new StowageError('CONFIG_INVALID_VALUE', {
      found: `${name} is a tree of ${depth} levels`,
      expected: `at most ${DEPTH_AT_MOST}`,
      todo: 'put parentheses around halves of long sums and products',
    })
  return expression
}

const PRECEDENCE: ReadonlyMap<Operation, number> = new Map<Operation, number>([
  ['<', 1],
  ['<=', 1],
  ['>', 1],
  ['>=', 1],
  ['+', 2],
  ['-', 2],
  ['*', 3],
  ['/', 3],
  ['neg', 4],
])
const FUNCTION_PRECEDENCE = 5

const precedenceOf = (expression: Expression): number =>
  expression.kind === 'call' ? (PRECEDENCE.get(expression.operation) ?? FUNCTION_PRECEDENCE) : FUNCTION_PRECEDENCE

/** The text of a tree, with no more parentheses than it needs: `parseExpression` gives the same tree again. */
export const textOf = (expression: Expression): string => {
  if (expression.kind === 'number') return String(expression.value)
  if (expression.kind === 'variable') return expression.name
  const { args, operation } = expression
  const own = precedenceOf(expression)
  const part = (arg: Expression, least: number): string =>
    precedenceOf(arg) < least ? `(${textOf(arg)})` : textOf(arg)
  if (operation === 'neg') return `-${args.map((arg) => part(arg, own)).join('')}`
  if (own === FUNCTION_PRECEDENCE) return `${operation}(${args.map((arg) => textOf(arg)).join(', ')})`
  // Operators of one precedence are read from the left: on the right they need parentheses.
  return args.map((arg, at) => part(arg, at === 0 ? own : own + 1)).join(` ${operation} `)
}

/** The value of a formula for the values of `VARIABLES`, in their order. */
export type Evaluate = (values: Float64Array) => number

/** Within the largest numbers, and 0 for what is no number. */
const held = (value: number): number =>
  value > LARGEST ? LARGEST : value < -LARGEST ? -LARGEST : Number.isNaN(value) ? 0 : value

const binary: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => held(a + b),
  '-': (a, b) => held(a - b),
  '*': (a, b) => held(a * b),
  '/': (a, b) => (b === 0 ? 0 : held(a / b)),
  '<': (a, b) => (a < b ? 1 : 0),
  '<=': (a, b) => (a <= b ? 1 : 0),
  '>': (a, b) => (a > b ? 1 : 0),
  '>=': (a, b) => (a >= b ? 1 : 0),
  min: Math.min,
  max: Math.max,
  pow: (a, b) => (a === 0 && b < 0 ? 0 : held(a ** b)),
}

const unary: Readonly<Record<string, (a: number) => number>> = {
  neg: (a) => -a,
  abs: Math.abs,
  sqrt: (a) => (a > 0 ? Math.sqrt(a) : 0),
  log: (a) => (a > 0 ? Math.log(a) : 0),
  exp: (a) => held(Math.exp(a)),
}

/**
 * The tree as closures. What has no value is 0 - anything divided by 0, the logarithm of 0 or less, the root of less than 0 -
 * and what is too large is `LARGEST`: a formula is finite whatever it is given. Comparisons are 1 or 0; `if` takes what is not
 * 0 for true.
 */
export const compile = (expression: Expression): Evaluate => {
  if (expression.kind === 'number') {
    const { value } = expression
    return () => value
  }
  if (expression.kind === 'variable') {
    const at = VARIABLES.indexOf(expression.name)
    // as many values as variables
    return (values) => values[at]!
  }
  const { operation } = expression
  // as many as ARGUMENTS says
  const [first, second, third] = expression.args.map(compile) as [Evaluate, Evaluate, Evaluate]
  if (operation === 'if') return (values) => (first(values) === 0 ? third(values) : second(values))
  const ofOne = unary[operation]
  if (ofOne !== undefined) return (values) => ofOne(first(values))
  // neither `if` nor unary
  const ofTwo = binary[operation]!
  return (values) => ofTwo(first(values), second(values))
}
