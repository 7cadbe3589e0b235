// node src/simulation/apiserver/schemas/generate.ts DIR > src/simulation/apiserver/schemas/kubernetes.json
// DIR is api/openapi-spec/v3 of a checkout of kubernetes (Apache-2.0). Descriptions are cut to their first sentence.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = process.argv[2] ?? '.'
const groupVersions = [
  'api__v1',
  'apis__apiextensions.k8s.io__v1',
  'apis__apps__v1',
  'apis__authentication.k8s.io__v1',
  'apis__authorization.k8s.io__v1',
  'apis__coordination.k8s.io__v1',
  'apis__events.k8s.io__v1',
  'apis__policy__v1',
  'apis__resource.k8s.io__v1',
  'apis__scheduling.k8s.io__v1',
  'apis__storage.k8s.io__v1',
]
const schemas = new Map<string, unknown>()
for (const groupVersion of groupVersions) {
  const document = JSON.parse(readFileSync(join(folder, `${groupVersion}_openapi.json`), 'utf8')) as {
    components: { schemas: Record<string, unknown> }
  }
  for (const [name, schema] of Object.entries(document.components.schemas)) schemas.set(name, schema)
}
const firstSentence = (key: string, value: unknown): unknown =>
  key === 'description' && typeof value === 'string' ? value.replace(/\.\s[^]*$/, '.') : value
const lines = [...schemas].sort(([a], [b]) => (a < b ? -1 : 1))
process.stdout.write(
  `{\n${lines.map(([name, schema]) => `${JSON.stringify(name)}: ${JSON.stringify(schema, firstSentence)}`).join(',\n')}\n}\n`,
)
