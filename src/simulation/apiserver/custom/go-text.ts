import { isJson } from '../json.ts'

// Values as Go writes them: messages of kube-apiserver show them so.

/** A text as Go's %q writes it. */
export const quoted = (text: string): string =>
  JSON.stringify(text).replace(/\\\\|\\u00([01][0-9a-f])|\p{C}|(?! )\p{Z}/gu, (char, code: string | undefined) => {
    if (char === '\\\\') return char
    if (code !== undefined) return code === '07' ? '\\a' : code === '0b' ? '\\v' : `\\x${code}`
    const point = char.codePointAt(0) ?? 0
    const hex = point.toString(16)
    return point === 0x7f ? '\\x7f' : point > 0xffff ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`
  })

/** A value as Go's encoding/json writes it: keys sorted, no HTML. */
export const goJson = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(goJson).join(',')}]`
  if (isJson(value))
    return `{${Object.keys(value)
      .sort()
      .map((key) => `${goJson(key)}:${goJson(value[key])}`)
      .join(',')}}`
  const escaped = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  return JSON.stringify(value ?? null).replace(/[<>&\u2028\u2029]/g, escaped)
}

/** JSON without a fraction that Go reads as int64; all other numbers it reads as float64. */
export const isInt64 = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 2 ** 63

/** A number as Go's %v writes it. */
export const goFloat = (value: number): string => {
  const [digits, exponent = '0'] = value.toExponential().split('e')
  if (Number(exponent) >= -4 && Number(exponent) < 6) return String(value)
  return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`
}

/** A value as kube-apiserver's field errors show it. */
export const shown = (value: unknown): string =>
  typeof value === 'string'
    ? quoted(value)
    : typeof value === 'number'
      ? isInt64(value)
        ? String(value)
        : goFloat(value)
      : goJson(value)
