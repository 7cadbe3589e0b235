// node src/simulation/apiserver/schemas/generate-field-numbers.ts DIR > src/simulation/apiserver/schemas/field-numbers.json
// DIR is the folder that holds the modules k8s.io/api and k8s.io/apimachinery (Apache-2.0) as api/ and apimachinery/. A field
// whose name begins with = is no field in JSON: the fields of the message it names stand in its place.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = process.argv[2] ?? '.'
const schemas = JSON.parse(readFileSync(new URL('kubernetes.json', import.meta.url), 'utf8')) as Record<
  string,
  { properties?: Record<string, unknown> }
>
const packages = [
  'api/core/v1',
  'api/apps/v1',
  'api/coordination/v1',
  'api/events/v1',
  'api/policy/v1',
  'api/resource/v1',
  'api/scheduling/v1',
  'api/storage/v1',
  'apimachinery/pkg/apis/meta/v1',
]
const nameOf = (type: string, own: string): string => {
  const full = type.startsWith('.') ? type.slice(1) : type.includes('.') ? type : `${own}.${type}`
  return full.replace(/^k8s\.io\./, 'io.k8s.')
}
const messages = new Map<string, Map<number, { name: string; type: string }>>()
for (const path of packages) {
  const source = readFileSync(join(folder, path, 'generated.proto'), 'utf8').replace(/\/\/.*$/gm, '')
  const own = /^package ([\w.]+);/m.exec(source)?.[1] ?? ''
  for (const [, message = '', body = ''] of source.matchAll(/^message (\w+) \{([^]*?)^\}/gm)) {
    const fields = new Map<number, { name: string; type: string }>()
    for (const [, type = '', name = '', number = ''] of body.matchAll(
      /^\s*(?:optional|repeated)?\s*(map<[^>]*>|[\w.]+) (\w+) = (\d+)/gm,
    ))
      fields.set(Number(number), { name, type: nameOf(type, own) })
    messages.set(nameOf(message, own), fields)
  }
}
const result: Record<string, Record<string, string>> = {}
const wanted = Object.keys(schemas)
for (let message = wanted.pop(); message !== undefined; message = wanted.pop()) {
  const fields = messages.get(message)
  if (fields === undefined || result[message] !== undefined) continue
  const known = schemas[message]?.properties
  const numbered: Record<string, string> = {}
  for (const [number, { name, type }] of fields) {
    const inlined = known !== undefined && known[name] === undefined && messages.has(type)
    numbered[number] = inlined ? `=${type}` : name
    if (inlined) wanted.push(type)
  }
  result[message] = numbered
}
const lines = Object.entries(result).sort(([a], [b]) => (a < b ? -1 : 1))
process.stdout.write(
  `{\n${lines.map(([name, fields]) => `${JSON.stringify(name)}: ${JSON.stringify(fields)}`).join(',\n')}\n}\n`,
)
