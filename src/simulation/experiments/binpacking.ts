import type { Random } from '../../clock/random.ts'
import { StowageError } from '../../errors/catalogue.ts'

/**
 * Online one-dimensional bin packing as in FunSearch (Romera-Paredes et al., Nature 625, 2024): each item is put, as it
 * comes, into the open bin with the highest score. It is the smallest case of what the scheduler does, with published numbers
 * for the same rule on the same lists, so it holds order and arithmetic of "the first of the best" against the world.
 */
export interface PackingInstance {
  readonly name: string
  readonly capacity: number
  readonly items: readonly number[]
  /** bins of the best packing that is known, if a file says */
  readonly bestKnown: number | undefined
}

/**
 * Scores one bin for an item that fits.
 * @param item its size
 * @param room what is free in the bin before the item
 */
export type BinScore = (item: number, room: number) => number

/** The first bin with room: all are equal, and the first of equals is taken. */
export const firstFit: BinScore = () => 0

/** The bin that is left with the least. */
export const bestFit: BinScore = (item, room) => item - room

/** [what is left at most, score], ascending: FunSearch's rule for the OR-Library lists, a table of what would be left. */
const FUNSEARCH_OR: readonly (readonly [number, number])[] = [
  [2, 4],
  [3, 3],
  [5, 2],
  [7, 1],
  [9, 0.9],
  [12, 0.95],
  [15, 0.97],
  [21, 0.98],
]

/**
 * The rule that FunSearch found for OR1-OR4 (there in Fig. 6): tight fits are worth much, and a bin that would be left with 7
 * to 15 is worth less than one that keeps more than 21, because nothing will fill such a gap.
 */
export const funSearchOr: BinScore = (item, room) => {
  for (const [left, score] of FUNSEARCH_OR) if (room - item <= left) return score
  return 0.99
}

/** What a rule is called, and its excess on OR3 as published (there in Table 1), in percent. */
export const PACKING_RULES: readonly {
  readonly name: string
  readonly score: BinScore
  readonly publishedOr3Percent: number
}[] = [
  { name: 'first_fit', score: firstFit, publishedOr3Percent: 5.74 },
  { name: 'best_fit', score: bestFit, publishedOr3Percent: 5.37 },
  { name: 'funsearch', score: funSearchOr, publishedOr3Percent: 3.11 },
]

/** Bins that a rule needs for the items in their order. Every item gets a new bin where it fits nowhere. */
export const pack = ({ capacity, items }: PackingInstance, score: BinScore): number => {
  const rooms: number[] = []
  for (const item of items) {
    let best = -1
    let bestScore = Number.NEGATIVE_INFINITY
    // A fresh bin stands behind the open ones, as in the published evaluation, where all bins exist from the start.
    for (let bin = 0; bin <= rooms.length; bin++) {
      const room = rooms[bin] ?? capacity
      if (room < item) continue
      const value = score(item, room)
      if (value > bestScore) {
        best = bin
        bestScore = value
      }
    }
    rooms[best] = (rooms[best] ?? capacity) - item
  }
  return rooms.length
}

/** The L1 bound, which FunSearch's figures are relative to: no packing needs fewer bins than the items fill. */
export const lowerBound = ({ capacity, items }: PackingInstance): number =>
  Math.ceil(items.reduce((sum, item) => sum + item, 0) / capacity)

/** Excess over the lower bounds in percent, mean of bins against mean of bounds as published. */
export const excessPercent = (instances: readonly PackingInstance[], score: BinScore): number => {
  const bins = instances.reduce((sum, instance) => sum + pack(instance, score), 0)
  const bounds = instances.reduce((sum, instance) => sum + lowerBound(instance), 0)
  return (100 * (bins - bounds)) / bounds
}

/**
 * Lists drawn as Falkenauer (1996) drew the class "uniform" of the OR-Library: capacity 150, whole sizes uniform from 20 to
 * 100. OR3 is twenty such lists of 500 items; these are others of the same law.
 */
export const falkenauerUniform = (random: Random, instances = 20, items = 500): PackingInstance[] =>
  Array.from({ length: instances }, (_, index) => ({
    name: `u${items}_${String(index).padStart(2, '0')}`,
    capacity: 150,
    items: Array.from({ length: items }, () => 20 + random.below(81)),
    bestKnown: undefined,
  }))

const INSTANCES_AT_MOST = 10_000
const ITEMS_AT_MOST = 1_000_000

/**
 * Reads a file of the OR-Library (binpack1.txt to binpack8.txt): the number of problems; then for each its name, a line with
 * capacity, number of items and bins of the best known packing, and the sizes, one a line.
 * @param file how it is called in errors
 * @throws StowageError TRACE_MALFORMED with file and line
 */
export const readOrLibrary = (file: string, text: string): PackingInstance[] => {
  const lines = text.split(/\r?\n/).map((line) => line.trim())
  while (lines.at(-1) === '') lines.pop()
  let at = 0
  const fail = (expected: string): never => {
    const line = lines[at]
    const found = line === undefined ? 'the end of the file' : JSON.stringify(line.slice(0, 64))
    throw new StowageError('TRACE_MALFORMED', { found: `${file} line ${at + 1}: ${found}`, expected })
  }
  const number = (word: string | undefined, most: number, expected: string, whole = true): number => {
    const pattern = whole ? /^\d{1,12}$/ : /^\d{1,12}(\.\d{1,6})?$/
    const value = pattern.test(word ?? '') ? Number(word) : Number.NaN
    return value <= most ? value : fail(expected)
  }
  const count = number(lines[at], INSTANCES_AT_MOST, `the number of problems, up to ${INSTANCES_AT_MOST}`)
  at++
  const instances: PackingInstance[] = []
  for (let index = 0; index < count; index++) {
    const name = lines[at] ?? ''
    if (!/^\S{1,64}$/.test(name)) fail('the name of a problem')
    at++
    const words = (lines[at] ?? '').split(/\s+/)
    const shape = 'capacity, number of items, and bins of the best known packing'
    if (words.length !== 3) fail(shape)
    const capacity = number(words[0], Number.MAX_SAFE_INTEGER, shape, false)
    const size = number(words[1], ITEMS_AT_MOST, shape)
    const bestKnown = number(words[2], ITEMS_AT_MOST, shape)
    if (capacity === 0) fail('a capacity above 0')
    at++
    const items: number[] = []
    for (let item = 0; item < size; item++, at++)
      items.push(number(lines[at], capacity, `the size of item ${item + 1} of ${name}, up to ${capacity}`, false))
    instances.push({ name, capacity, items, bestKnown })
  }
  if (at < lines.length) fail(`the end of the file after ${count} problems`)
  return instances
}
