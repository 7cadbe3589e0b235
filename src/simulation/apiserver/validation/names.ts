const labelPattern = '[a-z0-9]([-a-z0-9]*[a-z0-9])?'
const subdomainPattern = `${labelPattern}(\\.${labelPattern})*`
const qualifiedPattern = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'
const valuePattern = '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?'
const configKeyPattern = '[-._a-zA-Z0-9]+'
const whole = (pattern: string): RegExp => new RegExp(`^(?:${pattern})$`)
const label = whole(labelPattern)
const subdomain = whole(subdomainPattern)
const qualified = whole(qualifiedPattern)
const value = whole(valuePattern)
const configKey = whole(configKeyPattern)

const subdomainText = `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${subdomainPattern}')`
const qualifiedText = `must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '${qualifiedPattern}')`
const tooLong = (limit: number): string => `must be no more than ${limit} bytes`
const tooManyCharacters = (limit: number): string => `must be no more than ${limit} characters`

// Each function returns kube-apiserver's complaints (apimachinery util/validation), none for a good name.

export const subdomainComplaints = (name: string): string[] => [
  ...(name.length > 253 ? [tooManyCharacters(253)] : []),
  ...(subdomain.test(name) ? [] : [subdomainText]),
]

export const labelNameComplaints = (name: string): string[] => [
  ...(name.length > 63 ? [tooManyCharacters(63)] : []),
  ...(label.test(name)
    ? []
    : subdomain.test(name)
      ? ['must not contain dots']
      : [
          `a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '${labelPattern}')`,
        ]),
]

/** `example.com/name` or `name`, as keys of labels and annotations, names of resources and scheduling gates are. */
export const qualifiedNameComplaints = (name: string): string[] => {
  const parts = name.split('/')
  if (parts.length > 2)
    return [
      `a qualified name ${qualifiedText.replace(/\)$/, '')})`.concat(
        " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
      ),
    ]
  const complaints: string[] = []
  if (parts.length === 2) {
    const prefix = parts[0] ?? ''
    if (prefix === '') complaints.push('prefix part must be non-empty')
    else complaints.push(...subdomainComplaints(prefix).map((text) => `prefix part ${text}`))
  }
  const own = parts.at(-1) ?? ''
  if (own === '') complaints.push('name part must be non-empty')
  else if (own.length > 63) complaints.push(`name part ${tooLong(63)}`)
  if (!qualified.test(own)) complaints.push(`name part ${qualifiedText}`)
  return complaints
}

export const labelValueComplaints = (text: string): string[] => [
  ...(text.length > 63 ? [tooLong(63)] : []),
  ...(value.test(text)
    ? []
    : [
        `a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '${valuePattern}')`,
      ]),
]

export const configKeyComplaints = (key: string): string[] => {
  if (key.length > 253) return [tooManyCharacters(253)]
  if (!configKey.test(key))
    return [
      `a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '${configKeyPattern}')`,
    ]
  if (key === '.' || key === '..') return [`must not be '${key}'`]
  return []
}

/** Names of ports within a pod. */
export const portNameComplaints = (name: string): string[] => [
  ...(name.length > 15 ? [tooManyCharacters(15)] : []),
  ...(/^[-a-z0-9]+$/.test(name) ? [] : ['must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)']),
  ...(/[a-z]/.test(name) ? [] : ['must contain at least one letter (a-z)']),
  ...(name.includes('--') ? ['must not contain consecutive hyphens'] : []),
  ...(name.startsWith('-') || name.endsWith('-') ? ['must not begin or end with a hyphen'] : []),
]
