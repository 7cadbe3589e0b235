import { type Expression, parseExpression, textOf, VARIABLES } from '../formula/expression.ts'
import { jsonValuesIn } from './answer.ts'
import type { Question } from './language-model.ts'

const FORMULAS_AT_MOST = 8

const SYSTEM = `You improve a formula that scores nodes of a Kubernetes cluster for a pod: the node with the largest value gets the pod.
Variables: ${VARIABLES.join(', ')} (cores, GiB, GPUs). Numbers, + - * / ( ) < <= > >= (1 or 0), min(a,b) max(a,b) pow(a,b) abs(a) sqrt(a) log(a) exp(a) if(a,b,c).
Nothing else exists. Division by 0 is 0. Formulas have at most 60 numbers, variables and operations.
Answer with JSON alone: {"formulas": ["...", "..."]}, up to ${FORMULAS_AT_MOST} new ones.`

/** A formula and what it came to. */
export interface ScoredFormula {
  readonly formula: string
  readonly value: number
}

const formulasIn = (value: unknown): Expression[] | undefined => {
  const formulas = typeof value === 'object' && value !== null ? (value as { formulas?: unknown }).formulas : undefined
  if (!Array.isArray(formulas)) return undefined
  const read = new Map<string, Expression>()
  for (const text of formulas.slice(0, FORMULAS_AT_MOST) as unknown[]) {
    if (typeof text !== 'string') continue
    try {
      const expression = parseExpression(text)
      read.set(textOf(expression), expression)
    } catch {
      // One that cannot be read is no proposal.
    }
  }
  return read.size > 0 ? [...read.values()] : undefined
}

/**
 * The question for formulas that may be better than these.
 * @param goal what the values are, in words
 */
export const formulaQuestion = (
  goal: string,
  best: readonly ScoredFormula[],
  maxTokens: number,
): Question<readonly Expression[]> => ({
  messages: [
    { role: 'system', content: SYSTEM },
    { role: 'user', content: JSON.stringify({ goal, best }) },
  ],
  schema: {
    name: 'formulas',
    schema: {
      type: 'object',
      properties: { formulas: { type: 'array', items: { type: 'string' } } },
      required: ['formulas'],
      additionalProperties: false,
    },
  },
  maxTokens,
  read: (answer) => {
    for (const value of jsonValuesIn(answer)) {
      const formulas = formulasIn(value)
      if (formulas !== undefined) return formulas
    }
    return undefined
  },
})
