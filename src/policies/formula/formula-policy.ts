import { createHash } from 'node:crypto'
import type { Pod } from '../../cluster/pod.ts'
import { amountOf, CPU, MEMORY } from '../../cluster/resources.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policy.ts'
import { ReusedRanking, ReusedTerm } from '../reused.ts'
import { compile, type Evaluate, type Expression, parseExpression, textOf, VARIABLES } from './expression.ts'

const MILLI = 1000
const GIB = 2 ** 30
const noColumn = new Float64Array(0)
/** With more, the formula is one term. */
const TERMS_AT_MOST = 32
/** A larger factor stays in the term's value: weights times values must be finite. */
const WEIGHT_AT_MOST = 1e6
/** Longer addends are called by their number. */
const NAME_CHARACTERS_AT_MOST = 60

/** The addends of a sum, each with its sign and constant factor. */
const addendsOf = (expression: Expression, weight: number): { weight: number; of: Expression }[] => {
  if (expression.kind === 'call') {
    const [first, second] = expression.args
    if (first !== undefined && expression.operation === 'neg') return addendsOf(first, -weight)
    if (first !== undefined && second !== undefined) {
      if (expression.operation === '+') return [...addendsOf(first, weight), ...addendsOf(second, weight)]
      if (expression.operation === '-') return [...addendsOf(first, weight), ...addendsOf(second, -weight)]
      if (expression.operation === '*' && first.kind === 'number' && Math.abs(weight * first.value) <= WEIGHT_AT_MOST)
        return addendsOf(second, weight * first.value)
    }
  }
  return [{ weight, of: expression }]
}

interface Addend {
  readonly term: ReusedTerm
  readonly evaluate: Evaluate
}

const termsOf = (expression: Expression): Addend[] => {
  const found = addendsOf(expression, 1)
  if (found.length > TERMS_AT_MOST) return [{ term: new ReusedTerm('formula', 1), evaluate: compile(expression) }]
  const byText = new Map<string, { weight: number; readonly of: Expression }>()
  for (const { of, weight } of found) {
    const text = textOf(of)
    const same = byText.get(text)
    if (same === undefined) byText.set(text, { weight, of })
    else same.weight += weight
  }
  return Array.from(byText, ([text, { of, weight }], at) => ({
    term: new ReusedTerm(text.length > NAME_CHARACTERS_AT_MOST ? `addend ${at + 1}` : text, weight),
    evaluate: compile(of),
  }))
}

/** The first digits of the SHA-256 of a formula's text, however it was spaced. */
export const formulaDigest = (expression: Expression): string =>
  createHash('sha256').update(textOf(expression)).digest('hex').slice(0, 12)

/**
 * Ranks by a formula: the larger its value for a node, the better. It sees requests, with kube-scheduler's stand-ins where a
 * container has none, as the Borg formula does. Units: cores, GiB, GPUs; what is free is at least one millicore and one byte,
 * so that dividing by it is safe. The addends of the formula are the terms of the explanation.
 */
export class FormulaPolicy implements Policy {
  readonly name: string
  /** of the text */
  readonly version: string
  readonly #values = new Float64Array(VARIABLES.length)
  readonly #addends: readonly Addend[]
  readonly #reused: ReusedRanking

  constructor(name: string, expression: Expression) {
    this.name = name
    this.version = formulaDigest(expression)
    this.#addends = termsOf(expression)
    this.#reused = new ReusedRanking(this.#addends.map(({ term }) => term))
  }

  rank({ shape }: Pod, { nodes, count }: Candidates, { cluster }: RankContext): Ranking {
    const values = this.#values
    const addends = this.#addends
    const cpuCapacity = cluster.allocatable[CPU] ?? noColumn
    const memoryCapacity = cluster.allocatable[MEMORY] ?? noColumn
    const { gpus, maxPods, podCount, scoringCpuMilli, scoringMemoryBytes } = cluster
    const { gpu } = shape
    values[0] = Math.max(shape.scoringCpuMilli, amountOf(shape.request, CPU)) / MILLI
    values[1] = Math.max(shape.scoringMemoryBytes, amountOf(shape.request, MEMORY)) / GIB
    values[2] = gpu === undefined ? 0 : (gpu.count * gpu.milli) / MILLI
    const scores = this.#reused.room(count)
    scores.fill(0)
    const columns = addends.map(({ term }) => term.room(count))
    for (let i = 0; i < count; i++) {
      // i < count <= nodes.length
      const node = nodes[i]!
      const cpuMilli = cpuCapacity[node] ?? 0
      const memoryBytes = memoryCapacity[node] ?? 0
      values[3] = Math.max(1, cpuMilli - (scoringCpuMilli[node] ?? 0)) / MILLI
      values[4] = Math.max(1, memoryBytes - (scoringMemoryBytes[node] ?? 0)) / GIB
      values[5] = (gpus.freeSum[node] ?? 0) / MILLI
      values[6] = cpuMilli / MILLI
      values[7] = memoryBytes / GIB
      values[8] = gpus.count[node] ?? 0
      values[9] = podCount[node] ?? 0
      values[10] = maxPods[node] ?? 0
      let score = 0
      for (let at = 0; at < addends.length; at++) {
        // columns has one for each addend
        const { evaluate, term } = addends[at]!
        const value = evaluate(values)
        columns[at]![i] = value
        score += term.weight * value
      }
      scores[i] = score
    }
    return this.#reused.ranking
  }
}

/** @throws StowageError CONFIG_INVALID_VALUE for a formula that cannot be read */
export const createFormula = (name: string, formula: string): Policy =>
  new FormulaPolicy(name, parseExpression(formula))
