import type { Json } from './json.ts'
import { type Resource, apiVersionOf, resources } from './resources.ts'
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
export const groupVersions = (served: (resource: Resource) => boolean): string[] => [
  ...new Set(resources.filter(served).map(apiVersionOf)),
]

const inGroupVersion = (groupVersion: string, served: (resource: Resource) => boolean): Resource[] =>
  resources.filter((resource) => served(resource) && apiVersionOf(resource) === groupVersion)

/** `GET /api/v1`, `GET /apis/apps/v1` */
export const resourceList = (groupVersion: string, served: (resource: Resource) => boolean): Json | undefined => {
  const found = inGroupVersion(groupVersion, served)
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

const apiGroup = (groupVersion: string): Json => {
  const version = { groupVersion, version: versionOf(groupVersion) }
  return { name: groupOf(groupVersion), versions: [version], preferredVersion: version }
}

/** `GET /apis` */
export const groupList = (served: (resource: Resource) => boolean): Json => ({
  kind: 'APIGroupList',
  apiVersion: 'v1',
  groups: groupVersions(served)
    .filter((gv) => gv.includes('/'))
    .map(apiGroup),
})

/** `GET /apis/apps` */
export const group = (name: string, served: (resource: Resource) => boolean): Json | undefined => {
  const found = groupVersions(served).find((gv) => gv.includes('/') && groupOf(gv) === name)
  return found === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(found) }
}

/** `GET /api` and `GET /apis` as clients since 1.26 ask for them: everything in one answer (apidiscovery.k8s.io/v2). */
export const aggregated = (core: boolean, served: (resource: Resource) => boolean): Json => ({
  kind: 'APIGroupDiscoveryList',
  apiVersion: 'apidiscovery.k8s.io/v2',
  metadata: {},
  items: groupVersions(served)
    .filter((gv) => gv.includes('/') !== core)
    .map((groupVersion) => ({
      metadata: core ? {} : { name: groupOf(groupVersion) },
      versions: [
        {
          version: versionOf(groupVersion),
          freshness: 'Current',
          resources: inGroupVersion(groupVersion, served).map((resource) => ({
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
        },
      ],
    })),
})

const pathOf = (groupVersion: string): string =>
  groupVersion.includes('/') ? `apis/${groupVersion}` : `api/${groupVersion}`

/** `GET /openapi/v3`: where the document of each group is. */
export const openApiIndex = (served: (resource: Resource) => boolean): Json => ({
  paths: Object.fromEntries(
    groupVersions(served).map((gv) => [pathOf(gv), { serverRelativeURL: `/openapi/v3/${pathOf(gv)}` }]),
  ),
})

/** `GET /openapi/v3/apis/apps/v1`: as far as kubectl reads it, for validation and `explain`. */
export const openApiDocument = (groupVersion: string, served: (resource: Resource) => boolean): Json | undefined => {
  const found = inGroupVersion(groupVersion, served)
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
    components: { schemas: reachable(found.map((resource) => resource.schemaName)) },
  }
}

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
