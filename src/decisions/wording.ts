import { stripVTControlCharacters } from 'node:util'

/** Longest text from the cluster that an explanation repeats: a Kubernetes name has at most 253 characters. */
const MAX_TEXT = 300

/**
 * Text from the cluster as one harmless line: no terminal sequences, no control, bidirectional, zero-width or otherwise
 * invisible characters (Unicode's Default_Ignorable and Cc, Cf, Cs, Co, Zl, Zp), white space folded, cut to `maxLength`.
 */
export const plain = (text: string, maxLength = MAX_TEXT): string => {
  const seen = stripVTControlCharacters(text.slice(0, maxLength * 8))
    .replace(/[\p{Cf}\p{Cs}\p{Co}\p{Default_Ignorable_Code_Point}]/gu, '')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
  const letters = Array.from(seen)
  return letters.length <= maxLength ? seen : `${letters.slice(0, maxLength - 1).join('')}…`
}

const MI_B = 2 ** 20
const GI_B = 2 ** 30

/** A number with thousands separators and at most `digits` decimals: `1,213`, `0.25`; what would be rounded to nothing keeps a digit. */
export const numberText = (value: number, digits = 1): string =>
  value.toLocaleString(
    'en-US',
    value !== 0 && Math.abs(value) < 0.5 / 10 ** digits
      ? { maximumSignificantDigits: 1 }
      : { maximumFractionDigits: digits },
  )

const bytesText = (bytes: number, round: (value: number) => number): string => {
  if (bytes >= GI_B) return `${(round((bytes / GI_B) * 10) / 10).toFixed(1)} GiB`
  if (bytes >= MI_B) return `${numberText(round(bytes / MI_B), 0)} MiB`
  return `${numberText(bytes, 0)} bytes`
}

const isBytes = (resource: string): boolean =>
  resource === 'memory' || resource === 'ephemeral-storage' || resource.startsWith('hugepages-')

/**
 * An amount in the units of people: `500m cpu`, `1.5 cores`, `2.0 GiB memory`, `3 pods`, `2 nvidia.com/gpu`. Millicores are
 * never rounded.
 * @param amount in the resource's unit: millicores, bytes, or a count
 * @param more `more` or `fewer`, between number and noun
 * @param round how bytes get one decimal: up, where less would be wrong
 */
export const amountText = (resource: string, amount: number, more = '', round = Math.round): string => {
  const [number, noun] = amountParts(resource, amount, round)
  return [number, more, noun].filter((part) => part !== '').join(' ')
}

const amountParts = (resource: string, amount: number, round: (value: number) => number): readonly [string, string] => {
  if (resource === 'cpu') {
    if (Math.abs(amount) < 1000) return [`${numberText(amount, 3)}m`, 'cpu']
    return [numberText(amount / 1000, 3), amount === 1000 ? 'core' : 'cores']
  }
  if (isBytes(resource)) return [bytesText(amount, round), plain(resource)]
  if (resource === 'pods') return [numberText(amount), amount === 1 ? 'pod' : 'pods']
  return [numberText(amount), plain(resource)]
}

/** `a`, `a and b`, `a, b and c` */
export const listText = (parts: readonly string[], last = 'and'): string =>
  parts.length < 2 ? (parts[0] ?? '') : `${parts.slice(0, -1).join(', ')} ${last} ${parts.at(-1)}`

/** `1 node`, `3 nodes` */
export const nodesText = (count: number): string => (count === 1 ? '1 node' : `${numberText(count)} nodes`)
