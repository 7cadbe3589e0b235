import { isIPv6 } from 'node:net'

const isDate = (text: string): boolean => {
  const time = /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text)
}
const isDateTime = (text: string): boolean => {
  const [date = '', time = ''] = text.toLowerCase().split('t')
  return isDate(date) && /^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(.\d+)?(z|[+-]\d\d:\d\d)$/.test(time)
}
const isSixth = (text: string): boolean => isIPv6(text) && !text.includes('%')
/** Leading zeros are as good as before Go 1.17. */
const isFourth = (text: string): boolean =>
  /^\d+(\.\d+){3}$/.test(text)
    ? text.split('.').every((part) => Number(part) <= 255)
    : text.includes('.') && isSixth(text)
const isCidr = (text: string): boolean => {
  const [, address = '', bits = ''] = /^([^/]+)\/(\d+)$/.exec(text) ?? []
  return isSixth(address) ? Number(bits) <= 128 : isFourth(address) && Number(bits) <= 32
}
const hostname =
  /^([a-z0-9\p{S}\p{L}](-?[a-z0-9\p{S}\p{L}]{0,62})?|([a-z0-9\p{S}\p{L}]([a-z0-9\p{S}\p{L}-]{0,61}[a-z0-9\p{S}\p{L}])?\.)+[a-z\p{L}]{2,63})$/iu
const isHostname = (text: string): boolean =>
  text.length <= 255 && hostname.test(text) && text.split('.').every((label) => Buffer.byteLength(label) <= 63)
/** What time.ParseDuration takes, or anything with a number and a unit as Scala writes them. */
const duration =
  /^[-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)$|\d\s*((ns|us|µs|ms|s|m|h|hr|d|w|wk)(?![A-Za-zµ])|nano|micro|milli|sec|min|hour|day|week)/i
const matching = (pattern: RegExp) => (text: string) => pattern.test(text)
const unchecked = ['bsonobjectid', 'isbn', 'isbn10', 'isbn13', 'creditcard', 'ssn', 'hexcolor', 'rgbcolor', 'password']

/**
 * The formats of strings that a CRD can ask for, under their names without dashes (apiextensions' validation/formats.go,
 * kube-openapi's strfmt). Of URIs and mail addresses only what is cheap is checked.
 */
export const stringFormats: ReadonlyMap<string, (text: string) => boolean> = new Map([
  ...unchecked.map((name): [string, () => boolean] => [name, () => true]),
  ['uri', matching(/^(\*$|\/|[a-z][a-z\d+.-]*:)/i)],
  ['email', matching(/.@./s)],
  ['hostname', isHostname],
  ['ipv4', isFourth],
  ['ipv6', isSixth],
  ['cidr', isCidr],
  [
    'mac',
    matching(
      /^[\da-f]{2}(([:-])[\da-f]{2}(\2[\da-f]{2}){4}((\2[\da-f]{2}){2}|(\2[\da-f]{2}){14})?)$|^[\da-f]{4}((\.[\da-f]{4}){2,3}|(\.[\da-f]{4}){9})$/i,
    ),
  ],
  ['uuid', matching(/^[\da-f]{8}-?([\da-f]{4}-?){3}[\da-f]{12}$/i)],
  ['uuid3', matching(/^[\da-f]{8}-?[\da-f]{4}-?3[\da-f]{3}-?[\da-f]{4}-?[\da-f]{12}$/i)],
  ['uuid4', matching(/^[\da-f]{8}-?[\da-f]{4}-?4[\da-f]{3}-?[89ab][\da-f]{3}-?[\da-f]{12}$/i)],
  ['uuid5', matching(/^[\da-f]{8}-?[\da-f]{4}-?5[\da-f]{3}-?[89ab][\da-f]{3}-?[\da-f]{12}$/i)],
  ['byte', matching(/^([A-Za-z\d+/]{4})*([A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=|[A-Za-z\d+/]{4})$/)],
  ['date', isDate],
  ['duration', matching(duration)],
  ['datetime', isDateTime],
  ['k8sshortname', matching(/^(?!.{64})[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)],
  ['k8slongname', matching(/^(?!.{254})[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/)],
])
