import { type Json, jsonAt } from './json.ts'
import { type Resource, apiVersionOf } from './resources.ts'
import { type Schema, schemas } from './schema.ts'

/** The version of Kubernetes whose API this is. */
export const kubernetesVersion = {
  major: '1',
  minor: '37',
  emulationMajor: '1',
  emulationMinor: '37',
  minCompatibilityMajor: '1',
  minCompatibilityMinor: '36',
  gitVersion: 'v1.37.2',
  gitCommit: 'stowage',
  gitTreeState: 'clean',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: 'none',
  compiler: 'none',
  platform: 'linux/amd64',
}

interface Subresource {
  readonly name: string
  readonly kind: string
  readonly group: string
  readonly version: string
  readonly verbs: readonly string[]
}

const subresourcesOf = (resource: Resource): Subresource[] => {
  const found: Subresource[] = []
  if (resource.hasStatus)
    found.push({
      name: 'status',
      kind: resource.kind,
      group: resource.group,
      version: resource.version,
      verbs: ['get', 'patch', 'update'],
    })
  if (resource.group === '' && resource.plural === 'pods')
    found.push(
      { name: 'binding', kind: 'Binding', group: '', version: 'v1', verbs: ['create'] },
      { name: 'eviction', kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] },
      { name: 'log', kind: 'Pod', group: '', version: 'v1', verbs: ['get'] },
    )
  return found
}

/** `v1`, `apps/v1`, ... in the order of the table; core first. */
const groupVersions = (resources: readonly Resource[]): string[] => [...new Set(resources.map(apiVersionOf))]

const inGroupVersion = (groupVersion: string, resources: readonly Resource[]): Resource[] =>
  resources.filter((resource) => apiVersionOf(resource) === groupVersion)

/** `GET /api/v1`, `GET /apis/apps/v1` */
export const resourceList = (groupVersion: string, resources: readonly Resource[]): Json | undefined => {
  const found = inGroupVersion(groupVersion, resources)
  if (found.length === 0) return undefined
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion,
    resources: found.flatMap((resource) => [
      {
        name: resource.plural,
        singularName: resource.singular,
        namespaced: resource.namespaced,
        kind: resource.kind,
        verbs: resource.verbs,
        ...(resource.shortNames.length === 0 ? {} : { shortNames: resource.shortNames }),
        ...(resource.categories.length === 0 ? {} : { categories: resource.categories }),
      },
      ...subresourcesOf(resource).map(({ name, kind, verbs, group, version }) => ({
        name: `${resource.plural}/${name}`,
        singularName: '',
        namespaced: resource.namespaced,
        ...(group === resource.group ? {} : { group, version }),
        kind,
        verbs,
      })),
    ]),
  }
}

const groupOf = (groupVersion: string): string => (groupVersion.includes('/') ? (groupVersion.split('/')[0] ?? '') : '')
const versionOf = (groupVersion: string): string => groupVersion.split('/').at(-1) ?? ''

/** Groups with a name, with their versions, the preferred one first. */
const groupsOf = (resources: readonly Resource[]): ReadonlyMap<string, string[]> => {
  const groups = new Map<string, string[]>()
  for (const groupVersion of groupVersions(resources)) {
    const group = groupOf(groupVersion)
    if (group !== '') groups.set(group, [...(groups.get(group) ?? []), groupVersion])
  }
  return groups
}

const apiGroup = (name: string, groupVersions: readonly string[]): Json => {
  const versions = groupVersions.map((groupVersion) => ({ groupVersion, version: versionOf(groupVersion) }))
  return { name, versions, preferredVersion: versions[0] }
}

/** `GET /apis` */
export const groupList = (resources: readonly Resource[]): Json => ({
  kind: 'APIGroupList',
  apiVersion: 'v1',
  groups: Array.from(groupsOf(resources), ([name, versions]) => apiGroup(name, versions)),
})

/** `GET /apis/apps` */
export const group = (name: string, resources: readonly Resource[]): Json | undefined => {
  const versions = groupsOf(resources).get(name)
  return versions === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(name, versions) }
}

/** `GET /api` and `GET /apis` as clients since 1.26 ask for them: everything in one answer (apidiscovery.k8s.io/v2). */
export const aggregated = (core: boolean, resources: readonly Resource[]): Json => ({
  kind: 'APIGroupDiscoveryList',
  apiVersion: 'apidiscovery.k8s.io/v2',
  metadata: {},
  items: (core ? [['', ['v1']] as const] : [...groupsOf(resources)]).map(([name, groupVersions]) => ({
    metadata: core ? {} : { name },
    versions: groupVersions.map((groupVersion) => ({
      version: versionOf(groupVersion),
      freshness: 'Current',
      resources: inGroupVersion(groupVersion, resources).map((resource) => ({
        resource: resource.plural,
        responseKind: { group: resource.group, version: resource.version, kind: resource.kind },
        scope: resource.namespaced ? 'Namespaced' : 'Cluster',
        singularResource: resource.singular,
        verbs: resource.verbs,
        ...(resource.shortNames.length === 0 ? {} : { shortNames: resource.shortNames }),
        ...(resource.categories.length === 0 ? {} : { categories: resource.categories }),
        subresources: subresourcesOf(resource).map(({ name, kind, verbs, group, version }) => ({
          subresource: name,
          responseKind: { group, version, kind },
          verbs,
        })),
      })),
    })),
  })),
})

const pathOf = (groupVersion: string): string =>
  groupVersion.includes('/') ? `apis/${groupVersion}` : `api/${groupVersion}`

/** `GET /openapi/v3`: where the document of each group is. */
export const openApiIndex = (resources: readonly Resource[]): Json => ({
  paths: Object.fromEntries(
    groupVersions(resources).map((gv) => [pathOf(gv), { serverRelativeURL: `/openapi/v3/${pathOf(gv)}` }]),
  ),
})

/** `GET /openapi/v3/apis/apps/v1`: as far as kubectl reads it, for validation and `explain`. */
export const openApiDocument = (groupVersion: string, resources: readonly Resource[]): Json | undefined => {
  const found = inGroupVersion(groupVersion, resources)
  if (found.length === 0) return undefined
  const parameters = ['dryRun', 'fieldManager', 'fieldValidation'].map((name) => ({
    name,
    in: 'query',
    schema: { type: 'string', uniqueItems: true },
  }))
  const paths: Json = {}
  for (const resource of found) {
    const kind = {
      'x-kubernetes-group-version-kind': { group: resource.group, version: resource.version, kind: resource.kind },
    }
    const base = `/${pathOf(groupVersion)}/${resource.namespaced ? 'namespaces/{namespace}/' : ''}${resource.plural}`
    const schema = { $ref: `#/components/schemas/${resource.schemaName}` }
    const responses = { 200: { description: 'OK', content: { 'application/json': { schema } } } }
    paths[base] = {
      get: { 'x-kubernetes-action': 'list', ...kind, responses },
      ...(resource.verbs.includes('create')
        ? { post: { 'x-kubernetes-action': 'post', ...kind, parameters, responses } }
        : {}),
    }
    paths[`${base}/{name}`] = {
      get: { 'x-kubernetes-action': 'get', ...kind, responses },
      ...(resource.verbs.includes('patch')
        ? {
            put: { 'x-kubernetes-action': 'put', ...kind, parameters, responses },
            patch: { 'x-kubernetes-action': 'patch', ...kind, parameters, responses },
          }
        : {}),
    }
  }
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'v1.37.2' },
    paths,
    components: {
      schemas: {
        ...reachable([METADATA, ...found.map((resource) => resource.schemaName)]),
        ...Object.fromEntries(found.flatMap((resource) => customSchema(resource))),
      },
    },
  }
}

const METADATA = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta'

/** A custom resource's schema under its name, with what all objects have. */
const customSchema = ({ custom, group, kind, schemaName, version }: Resource): [string, Json][] =>
  custom === undefined
    ? []
    : [
        [
          schemaName,
          {
            ...custom.schema,
            properties: {
              apiVersion: { type: 'string' },
              kind: { type: 'string' },
              metadata: { allOf: [{ $ref: `#/components/schemas/${METADATA}` }] },
              ...jsonAt(custom.schema, 'properties'),
            },
            'x-kubernetes-group-version-kind': [{ group, version, kind }],
          },
        ],
      ]

/** Schemas with all that they refer to. */
const reachable = (names: readonly string[]): Record<string, Schema> => {
  const known = schemas()
  const result: Record<string, Schema> = {}
  const open = [...names]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const schema = known.get(name)
    if (schema === undefined || Object.hasOwn(result, name)) continue
    result[name] = schema
    for (const [, reference = ''] of JSON.stringify(schema).matchAll(/"#\/components\/schemas\/([^"]+)"/g))
      open.push(reference)
  }
  return result
}
