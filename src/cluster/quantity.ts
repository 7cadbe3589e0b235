import { StowageError } from '../errors/catalogue.ts'
import type { Quantities } from './objects.ts'

/** sign, whole digits, fraction, then a binary or decimal suffix or an exponent */
const GRAMMAR = /^([+-]?)(\d*)(?:\.(\d*))?(?:(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])|[eE]([+-]?\d{1,3}))?$/
const BINARY: Readonly<Record<string, bigint>> = {
  Ki: 1n << 10n,
  Mi: 1n << 20n,
  Gi: 1n << 30n,
  Ti: 1n << 40n,
  Pi: 1n << 50n,
  Ei: 1n << 60n,
}
const DECIMAL: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 }
const LONGEST = 64
/** Kubernetes caps what is larger: https://pkg.go.dev/k8s.io/apimachinery/pkg/api/resource#Quantity */
const MAX_INT64 = (1n << 63n) - 1n

const known = new Map<string, number>()
const KNOWN_AT_MOST = 20_000

const malformed = (text: unknown): StowageError =>
  new StowageError('QUANTITY_MALFORMED', {
    found: JSON.stringify(typeof text === 'string' ? text.slice(0, LONGEST) : text) ?? 'nothing',
    expected: 'a number with an optional suffix, such as 500m, 2, 1.5Gi, 100M or 1e3',
  })

const parseMilli = (text: string): number => {
  const match = text.length <= LONGEST ? GRAMMAR.exec(text) : null
  if (match === null) throw malformed(text)
  const [, sign, whole = '', fraction = '', suffix, exponentText] = match
  if (whole === '' && fraction === '') throw malformed(text)
  const binary = suffix === undefined ? undefined : BINARY[suffix]
  const exponent =
    binary !== undefined
      ? 0
      : exponentText !== undefined
        ? Number(exponentText)
        : suffix === undefined
          ? 0
          : (DECIMAL[suffix] ?? 0)
  const power = exponent - fraction.length + 3
  let value = BigInt(whole + fraction) * (binary ?? 1n)
  if (power >= 0) value *= 10n ** BigInt(power)
  else {
    const divisor = 10n ** BigInt(-power)
    // Away from zero for what is positive, as Kubernetes rounds requests up.
    value = sign === '-' ? value / divisor : (value + divisor - 1n) / divisor
  }
  if (value > MAX_INT64 * 1000n) value = MAX_INT64 * 1000n
  return Number(sign === '-' ? -value : value)
}

/**
 * A quantity in thousandths of its unit, rounded up: `500m` -> 500, `1Ki` -> 1,024,000.
 * @throws StowageError QUANTITY_MALFORMED
 */
export const quantityMilli = (quantity: unknown): number => {
  if (typeof quantity === 'number' && Number.isFinite(quantity)) return parseMilli(String(quantity))
  if (typeof quantity !== 'string') throw malformed(quantity)
  let milli = known.get(quantity)
  if (milli === undefined) {
    milli = parseMilli(quantity)
    if (known.size >= KNOWN_AT_MOST) known.clear()
    known.set(quantity, milli)
  }
  return milli
}

/**
 * A quantity in whole units, rounded up: bytes, counts.
 * @throws StowageError QUANTITY_MALFORMED
 */
export const quantityUnits = (quantity: unknown): number => Math.ceil(quantityMilli(quantity) / 1000)

/**
 * The amount of a resource in the unit of the cluster's columns: millicores for cpu, whole units for all others.
 * @throws StowageError QUANTITY_MALFORMED
 */
export const resourceAmount = (resource: string, milli: number): number =>
  resource === 'cpu' ? milli : Math.ceil(milli / 1000)

/** The entries of a map from outside, own keys only. */
export const quantityEntries = (quantities: Quantities | undefined | null): [string, string | number][] =>
  quantities === undefined || quantities === null || typeof quantities !== 'object' ? [] : Object.entries(quantities)
