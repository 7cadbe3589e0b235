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

/** What a rule is called, and its excess in percent on OR1 to OR4 as published (there in Table 1). */
export const PACKING_RULES: readonly {
  readonly name: string
  readonly score: BinScore
  readonly publishedPercent: Readonly<Record<string, number>>
}[] = [
  { name: 'first_fit', score: firstFit, publishedPercent: { OR1: 6.42, OR2: 6.45, OR3: 5.74, OR4: 5.23 } },
  { name: 'best_fit', score: bestFit, publishedPercent: { OR1: 5.81, OR2: 6.06, OR3: 5.37, OR4: 4.94 } },
  { name: 'funsearch', score: funSearchOr, publishedPercent: { OR1: 5.3, OR2: 4.19, OR3: 3.11, OR4: 2.47 } },
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

/** FunSearch's sets of lists: the OR-Library's binpack1.txt to binpack4.txt, twenty lists each of so many items. */
export const OR_SETS: readonly { readonly name: string; readonly items: number }[] = [
  { name: 'OR1', items: 120 },
  { name: 'OR2', items: 250 },
  { name: 'OR3', items: 500 },
  { name: 'OR4', items: 1000 },
]
const LISTS = 20

/**
 * The lists of the class "uniform" of the OR-Library (Falkenauer 1996: capacity 150, whole sizes from 20 to 100), exactly as the
 * files have them. They turn out to be `20 + rand() % 81` of Borland's C library - state * 22695477 + 1 modulo 2^32, of which bits
 * 16 to 30 are given out - from its first seed, 1, for each set anew. Found by trying the seeds of common generators on the first
 * thirty sizes; OR1 was then compared with its file in several places to its last size, and what the rules waste on all
 * four sets is what is published, to the last digit.
 * @param items in each list: 120, 250, 500 or 1000
 */
export const orLibraryUniform = (items: number): PackingInstance[] => {
  let state = 1
  const next = (): number => {
    state = (Math.imul(state, 22_695_477) + 1) >>> 0
    return 20 + (((state >>> 16) & 0x7fff) % 81)
  }
  return Array.from({ length: LISTS }, (_, index) => ({
    name: `u${items}_${String(index).padStart(2, '0')}`,
    capacity: 150,
    items: Array.from({ length: items }, next),
    bestKnown: undefined,
  }))
}

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
