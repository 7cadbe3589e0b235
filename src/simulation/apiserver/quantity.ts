const shape = /^([+-]?)(\d+\.?\d*|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d{1,3})?$/
/** What kube-apiserver says about a malformed quantity. */
const quantityComplaint = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"

const binary = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei']
/** powers of ten of the decimal suffixes, ascending in steps of three */
const decimal = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E']

/**
 * A quantity in the form in which the API server writes it: whole mantissa, the largest suffix of its family that loses nothing
 * (apimachinery resource.Quantity.CanonicalizeBytes).
 * @throws RangeError in kube-apiserver's words
 */
export const canonicalQuantity = (value: string | number): string => {
  const text = typeof value === 'number' ? numberText(value) : value
  // By far the most quantities are small whole numbers, in a form that stays.
  if (/^[1-9]\d{0,2}(Ki|Mi|Gi|Ti|m|k|M|G)?$/.test(text)) return text
  const match = shape.exec(text)
  if (match === null) throw new RangeError(quantityComplaint)
  const [, sign = '', digits = '', suffix = ''] = match
  const [whole = '', fraction = ''] = digits.split('.')
  const negative = sign === '-'
  const binaryPower = suffix === '' ? -1 : binary.indexOf(suffix)
  if (binaryPower > 0) {
    const scaled = BigInt(whole + fraction) * 1024n ** BigInt(binaryPower)
    const divisor = 10n ** BigInt(fraction.length)
    if (scaled % divisor === 0n) return withSign(negative, largest(scaled / divisor, 1024n, binary))
    // A fraction of a byte: falls back to decimal, in thousandths, rounded up.
    return withSign(negative, largestDecimal(ceilDivide(scaled * 10n ** 9n, divisor)))
  }
  const exponent =
    /^[eE]/.test(suffix) && suffix.length > 1 ? Number(suffix.slice(1)) : (decimal.indexOf(suffix) - 3) * 3
  const nano = exponent + 9 - fraction.length
  const mantissa = BigInt(whole + fraction)
  const nanos = nano >= 0 ? mantissa * 10n ** BigInt(Math.min(nano, 60)) : ceilDivide(mantissa, 10n ** BigInt(-nano))
  return withSign(negative, largestDecimal(nanos))
}

const numberText = (value: number): string => (Number.isInteger(value) ? BigInt(value).toString() : String(value))
const ceilDivide = (a: bigint, b: bigint): bigint => (a + b - 1n) / b
const withSign = (negative: boolean, text: string): string => (negative && text !== '0' ? `-${text}` : text)

const largest = (amount: bigint, step: bigint, suffixes: readonly string[]): string => {
  if (amount === 0n) return '0'
  let power = 0
  let rest = amount
  while (power < suffixes.length - 1 && rest % step === 0n) {
    rest /= step
    power++
  }
  return `${rest}${suffixes[power] ?? ''}`
}
const largestDecimal = (nanos: bigint): string => largest(nanos, 1000n, decimal)
