const suffixes = new Map([
  ['n', 1e-9],
  ['u', 1e-6],
  ['m', 1e-3],
  ['', 1],
  ['k', 1e3],
  ['M', 1e6],
  ['G', 1e9],
  ['T', 1e12],
  ['P', 1e15],
  ['E', 1e18],
  ['Ki', 2 ** 10],
  ['Mi', 2 ** 20],
  ['Gi', 2 ** 30],
  ['Ti', 2 ** 40],
  ['Pi', 2 ** 50],
  ['Ei', 2 ** 60],
])

/** The size of a canonical quantity, exact enough to compare; NaN for anything else. */
const sizeOf = (quantity: unknown): number => {
  const match = /^(-?\d+)([A-Za-z]{0,2})$/.exec(String(quantity))
  return match === null ? Number.NaN : Number(match[1]) * (suffixes.get(match[2] ?? '') ?? Number.NaN)
}

export const isNegative = (quantity: unknown): boolean => sizeOf(quantity) < 0
/** Extended resources come in whole units. */
export const isWhole = (quantity: unknown): boolean => Number.isInteger(sizeOf(quantity))
export const compareQuantities = (a: unknown, b: unknown): number => sizeOf(a) - sizeOf(b)
