import { isJson, type Json } from '../json.ts'

/** A step of a path: a field, an item by its index, all items, or those whose field has a value. */
type Step =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'where'; readonly path: readonly Step[]; readonly value: unknown }

const STEP =
  /^(?:\.?\[\?\(@(\.[^=\s]+)\s*==\s*("[^"]*"|'[^']*'|-?\d+|true|false)\s*\)\]|\.?\[(-?\d+)\]|\.?\[\*\]|\.?\['((?:[^'\\]|\\.)*)'\]|\.?\["((?:[^"\\]|\\.)*)"\]|\.((?:[^.[\\]|\\.)+))/

const literal = (text: string): unknown =>
  /^['"]/.test(text) ? text.slice(1, -1) : text === 'true' ? true : text === 'false' ? false : Number(text)

/** The simple paths that printer columns have: `.spec.n`, `.status.conditions[?(@.type=="Ready")].status`; undefined for others. */
const stepsOf = (path: string): readonly Step[] | undefined => {
  const steps: Step[] = []
  for (let rest = path; rest !== ''; ) {
    const found = STEP.exec(rest)
    if (found === null) return undefined
    const [whole, filtered, value, index, single, double, field] = found
    rest = rest.slice(whole.length)
    const name = (single ?? double ?? field)?.replaceAll(/\\(.)/g, '$1')
    if (filtered !== undefined && value !== undefined) {
      const inner = stepsOf(filtered)
      if (inner === undefined) return undefined
      steps.push({ kind: 'where', path: inner, value: literal(value) })
    } else if (index !== undefined) steps.push({ kind: 'index', index: Number(index) })
    else if (name !== undefined) steps.push(name === '*' ? { kind: 'all' } : { kind: 'field', name })
    else steps.push({ kind: 'all' })
  }
  return steps
}

const follow = (value: unknown, step: Step): readonly unknown[] => {
  if (step.kind === 'field') return isJson(value) && Object.hasOwn(value, step.name) ? [value[step.name]] : []
  if (!Array.isArray(value)) return step.kind === 'all' && isJson(value) ? Object.values(value) : []
  const items = value as unknown[]
  if (step.kind === 'all') return items
  if (step.kind === 'index') return items.slice(step.index).slice(0, 1)
  return items.filter((item) => find(item, step.path)[0] === step.value)
}

const find = (value: unknown, steps: readonly Step[]): readonly unknown[] => {
  let found: readonly unknown[] = [value]
  for (const step of steps) found = found.flatMap((one) => follow(one, step))
  return found
}

const known = new Map<string, readonly Step[] | undefined>()

/** The first value at a JSONPath, undefined where there is none or the path is not one of the simple ones. */
export const valueAtPath = (object: Json, path: string): unknown => {
  if (!known.has(path)) {
    if (known.size >= 1_000) known.clear()
    known.set(path, stepsOf(path))
  }
  const steps = known.get(path)
  return steps === undefined ? undefined : find(object, steps)[0]
}
