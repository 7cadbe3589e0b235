/** Edits (insert, delete, replace, swap neighbours) between two short words; optimal string alignment distance. */
const distance = (a: string, b: string): number => {
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      // indexes are within the rows by construction
      let best = Math.min(previous[j]! + 1, current[j - 1]! + 1, previous[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2]! + 1)
      current.push(best)
    }
    before = previous
    previous = current
  }
  return previous[b.length]!
}

/** The known word that was most likely meant, if one is near enough: at most a third of its letters wrong. */
export const closest = (written: string, known: Iterable<string>): string | undefined => {
  if (written.length > 100) return undefined
  let best: string | undefined
  let bestDistance = Number.POSITIVE_INFINITY
  for (const word of known) {
    const edits = distance(written.toLowerCase(), word.toLowerCase())
    if (edits < bestDistance && edits <= Math.max(1, Math.floor(word.length / 3))) {
      best = word
      bestDistance = edits
    }
  }
  return best
}
