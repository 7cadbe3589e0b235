import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { type ContractCase, type ContractClient, done, names, refused, revisionOf, said } from '../contract.ts'
import { at, type Json, listAt, numberAt, textAt, textsAt } from '../json.ts'

const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const TABLE = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' }

const schema = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      required: ['size'],
      properties: {
        size: { type: 'integer', minimum: 1 },
        mode: { type: 'string', enum: ['fast', 'slow'], default: 'slow' },
        tags: { type: 'array', items: { type: 'string' } },
        ports: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: {
            type: 'object',
            required: ['name'],
            properties: { name: { type: 'string' }, port: { type: 'integer' } },
          },
        },
        anything: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      },
    },
    status: { type: 'object', properties: { phase: { type: 'string' } } },
  },
}
const version = (name: string, more: Json = {}): Json => ({
  name,
  served: true,
  storage: true,
  schema: { openAPIV3Schema: schema },
  subresources: { status: {} },
  additionalPrinterColumns: [
    { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
    { name: 'Second', type: 'string', jsonPath: '.spec.ports[?(@.name=="b")].port' },
    { name: 'Phase', type: 'string', jsonPath: '.status.phase', priority: 1 },
  ],
  ...more,
})
/** A definition of the group that belongs to a case alone. */
const definition = (group: string, spec: Json = {}): Json => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `widgets.${group}` },
  spec: {
    group,
    scope: 'Namespaced',
    names: { plural: 'widgets', kind: 'Widget', shortNames: ['wd'] },
    versions: [version('v1')],
    ...spec,
  },
})

const conditionOf = (object: Json, type: string): Json | undefined =>
  listAt(object, 'status', 'conditions').find((condition) => condition['type'] === type)

/** Creates it and waits until its objects can be read. @returns the definition as it is then */
const define = async (client: ContractClient, object: Json): Promise<Json> => {
  done(await client.post(DEFINITIONS, object), 201)
  const path = `${DEFINITIONS}/${textAt(object, 'metadata', 'name')}`
  for (let tries = 0; tries < 600; tries++) {
    const now = done(await client.get(path), 200)
    const group = textAt(now, 'spec', 'group')
    const served = listAt(now, 'spec', 'versions').find((one) => one['served'] === true)
    const list = `/apis/${group}/${textAt(served, 'name')}/${textAt(now, 'spec', 'names', 'plural')}`
    // Established is said a moment before every part of the server knows it.
    if (conditionOf(now, 'Established')?.['status'] === 'True' && (await client.get(list)).status === 200) return now
    await pause(50)
  }
  return assert.fail(`${path} was never established`)
}

const widgets = (group: string, namespace: string, name = '', served = 'v1'): string =>
  `/apis/${group}/${served}/namespaces/${namespace}/widgets${name === '' ? '' : `/${name}`}`
const widget = (group: string, name: string, spec: Json = {}, more: Json = {}): Json => ({
  apiVersion: `${group}/v1`,
  kind: 'Widget',
  metadata: { name },
  spec: { size: 1, ...spec },
  ...more,
})

/** What clients rely on of CustomResourceDefinitions and of what they define. Each case holds of kube-apiserver 1.37.2 too. */
export const definitionsContract: readonly ContractCase[] = [
  {
    title: 'a definition gets its names and is established; its objects are created, read, listed, watched and deleted',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      const defined = await define(client, definition(group))
      assert.deepEqual(at(defined, 'status', 'acceptedNames'), {
        plural: 'widgets',
        singular: 'widget',
        shortNames: ['wd'],
        kind: 'Widget',
        listKind: 'WidgetList',
      })
      assert.deepEqual(textsAt(defined, 'status', 'storedVersions'), ['v1'])
      assert.equal(conditionOf(defined, 'NamesAccepted')?.['reason'], 'NoConflicts')
      const created = done(await client.post(widgets(group, namespace), widget(group, 'a')), 201)
      assert.deepEqual(at(created, 'spec'), { size: 1, mode: 'slow' })
      assert.deepEqual(
        [textAt(created, 'apiVersion'), textAt(created, 'kind'), numberAt(created, 'metadata', 'generation')],
        [`${group}/v1`, 'Widget', 1],
      )
      const list = done(await client.get(widgets(group, namespace)), 200)
      assert.deepEqual([textAt(list, 'kind'), names(list)], ['WidgetList', ['a']])
      assert.deepEqual(names(done(await client.get(`/apis/${group}/v1/widgets`), 200)), ['a'])
      done(await client.post(widgets(group, namespace), widget(group, 'b')), 201)
      done(await client.delete(widgets(group, namespace, 'b')), 200)
      const events = await client.watch(
        `${widgets(group, namespace)}?watch=1&resourceVersion=${revisionOf(created)}`,
        (event) => textAt(event, 'type') === 'DELETED',
      )
      assert.deepEqual(said(events), ['ADDED b', 'DELETED b'])
      refused(await client.get(widgets(group, namespace, 'b')), 404, 'NotFound', `widgets.${group} "b" not found`)
      refused(
        await client.post(widgets(group, namespace), widget(group, 'a')),
        409,
        'AlreadyExists',
        `widgets.${group} "a" already exists`,
      )
    },
  },
  {
    title:
      'what the schema of a version does not know is dropped with a warning, or refused where the client is strict',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      await define(client, definition(group))
      const odd = widget(group, 'a', { extra: 1, anything: { goes: [1, { here: true }] } }, { top: 1 })
      const answer = await client.post(widgets(group, namespace), odd)
      const created = done(answer, 201)
      assert.deepEqual(at(created, 'spec'), { size: 1, mode: 'slow', anything: { goes: [1, { here: true }] } })
      assert.equal(created['top'], undefined)
      const warnings = [answer.headers['warning']].flat().join(', ')
      assert.match(warnings, /299 - "unknown field \\"spec\.extra\\""/)
      assert.match(warnings, /299 - "unknown field \\"top\\""/)
      refused(
        await client.post(`${widgets(group, namespace)}?fieldValidation=Strict`, { ...odd, metadata: { name: 'b' } }),
        400,
        'BadRequest',
        'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.extra", unknown field "top"',
      )
    },
  },
  {
    title: 'what breaks the schema is refused with each field and why, when it is created and when it is changed',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      await define(client, definition(group))
      const wrong = await client.post(
        widgets(group, namespace),
        widget(group, 'a', { size: 0, mode: 'odd', tags: ['x', 2] }),
      )
      assert.equal(wrong.status, 422, wrong.text)
      assert.deepEqual(
        new Set(
          listAt(wrong.body, 'details', 'causes').map(({ field, message }) => `${String(field)}: ${String(message)}`),
        ),
        new Set([
          'spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1',
          'spec.mode: Unsupported value: "odd": supported values: "fast", "slow"',
          'spec.tags[1]: Invalid value: "integer": spec.tags[1] in body must be of type string: "integer"',
        ]),
      )
      refused(
        await client.post(widgets(group, namespace), { ...widget(group, 'a'), spec: {} }),
        422,
        'Invalid',
        `Widget.${group} "a" is invalid: spec.size: Required value`,
      )
      done(await client.post(widgets(group, namespace), widget(group, 'a')), 201)
      refused(
        await client.merge(widgets(group, namespace, 'a'), { spec: { size: 'large' } }),
        422,
        'Invalid',
        `Widget.${group} "a" is invalid: spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"`,
      )
      refused(
        await client.post(widgets(group, namespace), { ...widget(group, 'c'), kind: 'Gadget' }),
        422,
        'Invalid',
        `Gadget.${group} "c" is invalid: kind: Invalid value: "Gadget": must be Widget`,
      )
      refused(
        await client.post(widgets(group, namespace), { metadata: { name: 'c' } }),
        400,
        'BadRequest',
        /Object 'Kind' is missing/,
      )
    },
  },
  {
    title:
      'the status of a custom object is written by its subresource alone, and only other changes make a generation',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      await define(client, definition(group))
      const path = widgets(group, namespace, 'a')
      const created = done(
        await client.post(widgets(group, namespace), widget(group, 'a', {}, { status: { phase: 'Early' } })),
        201,
      )
      assert.equal(created['status'], undefined)
      const told = done(await client.merge(`${path}/status`, { spec: { size: 9 }, status: { phase: 'Ready' } }), 200)
      assert.deepEqual(
        [at(told, 'spec', 'size'), textAt(told, 'status', 'phase'), numberAt(told, 'metadata', 'generation')],
        [1, 'Ready', 1],
      )
      const grown = done(await client.merge(path, { spec: { size: 2 }, status: { phase: 'Gone' } }), 200)
      assert.deepEqual(
        [at(grown, 'spec', 'size'), textAt(grown, 'status', 'phase'), numberAt(grown, 'metadata', 'generation')],
        [2, 'Ready', 2],
      )
      const labelled = done(await client.merge(path, { metadata: { labels: { a: 'b' } } }), 200)
      assert.equal(numberAt(labelled, 'metadata', 'generation'), 2)
      refused(
        await client.put(path, widget(group, 'a')),
        422,
        'Invalid',
        `widgets.${group} "a" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update`,
      )
    },
  },
  {
    title: 'without the status subresource the status is a field like any other',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      await define(client, definition(group, { versions: [version('v1', { subresources: undefined })] }))
      const path = widgets(group, namespace, 'a')
      const created = done(
        await client.post(widgets(group, namespace), widget(group, 'a', {}, { status: { phase: 'Early' } })),
        201,
      )
      assert.equal(textAt(created, 'status', 'phase'), 'Early')
      const changed = done(await client.merge(path, { status: { phase: 'Late' } }), 200)
      assert.deepEqual([textAt(changed, 'status', 'phase'), numberAt(changed, 'metadata', 'generation')], ['Late', 2])
      assert.equal((await client.get(`${path}/status`)).status, 404)
    },
  },
  {
    title: 'custom objects are patched by merge, JSON patch and apply; strategic merge is not to be had',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      await define(client, definition(group))
      const path = widgets(group, namespace, 'a')
      const apply = (body: Json) =>
        client.send('PATCH', `${path}?fieldManager=me`, body, { 'content-type': 'application/apply-patch+yaml' })
      done(await apply(widget(group, 'a', { ports: [{ name: 'a', port: 1 }] })), 201)
      const replaced = done(
        await client.send('PATCH', path, [{ op: 'replace', path: '/spec/size', value: 5 }], {
          'content-type': 'application/json-patch+json',
        }),
        200,
      )
      assert.equal(at(replaced, 'spec', 'size'), 5)
      const merged = done(await client.merge(path, { spec: { mode: null, tags: ['x'] } }), 200)
      // What is taken away gets its default again.
      assert.deepEqual([at(merged, 'spec', 'mode'), at(merged, 'spec', 'tags')], ['slow', ['x']])
      refused(
        await client.strategic(path, { spec: { size: 6 } }),
        415,
        'UnsupportedMediaType',
        'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml',
      )
    },
  },
  {
    title: 'tables of custom objects have the columns of the definition, or name and age',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      await define(client, definition(group))
      const ports = [
        { name: 'a', port: 1 },
        { name: 'b', port: 2 },
      ]
      done(await client.post(widgets(group, namespace), widget(group, 'a', { size: 7, ports })), 201)
      done(await client.post(widgets(group, namespace), widget(group, 'b')), 201)
      const table = done(await client.get(widgets(group, namespace), TABLE), 200)
      assert.deepEqual(
        listAt(table, 'columnDefinitions').map(({ name, type, priority }) => [name, type, priority]),
        [
          ['Name', 'string', 0],
          ['Size', 'integer', 0],
          ['Second', 'string', 0],
          ['Phase', 'string', 1],
        ],
      )
      assert.deepEqual(
        listAt(table, 'rows').map((row) => row['cells']),
        [
          ['a', 7, '2', null],
          ['b', 1, null, null],
        ],
      )
      const plain = `plain.${group}`
      await define(client, definition(plain, { versions: [version('v1', { additionalPrinterColumns: undefined })] }))
      const bare = done(await client.get(widgets(plain, namespace), TABLE), 200)
      assert.deepEqual(
        listAt(bare, 'columnDefinitions').map(({ name, type }) => [name, type]),
        [
          ['Name', 'string'],
          ['Age', 'date'],
        ],
      )
    },
  },
  {
    title: 'one object is read in every version that is served, and discovery names them in order of preference',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      const versions = [
        version('v1beta1', { storage: false }),
        version('v2'),
        version('v1', { storage: false }),
        version('v3alpha1', { storage: false, served: false }),
      ]
      await define(client, definition(group, { versions }))
      const early = { ...widget(group, 'a'), apiVersion: `${group}/v1beta1` }
      const created = done(await client.post(widgets(group, namespace, '', 'v1beta1'), early), 201)
      assert.equal(textAt(created, 'apiVersion'), `${group}/v1beta1`)
      for (const served of ['v1', 'v2'])
        assert.equal(
          textAt(done(await client.get(widgets(group, namespace, 'a', served)), 200), 'apiVersion'),
          `${group}/${served}`,
        )
      assert.equal((await client.get(widgets(group, namespace, 'a', 'v3alpha1'))).status, 404)
      const found = done(await client.get(`/apis/${group}`), 200)
      assert.deepEqual(
        listAt(found, 'versions').map((one) => one['version']),
        ['v2', 'v1', 'v1beta1'],
      )
      assert.equal(textAt(found, 'preferredVersion', 'version'), 'v2')
      const [resource, status] = listAt(done(await client.get(`/apis/${group}/v1`), 200), 'resources')
      assert.deepEqual(
        [resource?.['name'], resource?.['kind'], resource?.['namespaced'], resource?.['shortNames'], status?.['name']],
        ['widgets', 'Widget', true, ['wd'], 'widgets/status'],
      )
    },
  },
  {
    title: 'a definition takes its objects with it, and its names are free again',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      await define(client, definition(group))
      const held = widget(group, 'a', {}, { metadata: { name: 'a', finalizers: ['example.com/hold'] } })
      done(await client.post(widgets(group, namespace), held), 201)
      done(await client.post(widgets(group, namespace), widget(group, 'b')), 201)
      const path = `${DEFINITIONS}/widgets.${group}`
      const gone = client.watch(
        `${DEFINITIONS}?watch=1&fieldSelector=metadata.name%3Dwidgets.${group}`,
        (event) => textAt(event, 'type') === 'DELETED',
      )
      const answer = done(await client.delete(path), 200)
      assert.deepEqual(textsAt(answer, 'metadata', 'finalizers'), ['customresourcecleanup.apiextensions.k8s.io'])
      assert.equal(conditionOf(answer, 'Terminating')?.['status'], 'True')
      // It waits for those that somebody holds, and takes no others.
      const left = async (): Promise<string[]> => names(done(await client.get(widgets(group, namespace)), 200))
      for (let tries = 0; tries < 600 && (await left()).length > 1; tries++) await pause(50)
      assert.deepEqual(await left(), ['a'])
      refused(
        await client.post(widgets(group, namespace), widget(group, 'c')),
        403,
        'Forbidden',
        `widgets.${group} "c" is forbidden: create not allowed while custom resource definition is terminating`,
      )
      done(await client.merge(widgets(group, namespace, 'a'), { metadata: { finalizers: null } }), 200)
      await gone
      refused(
        await client.get(path),
        404,
        'NotFound',
        `customresourcedefinitions.apiextensions.k8s.io "widgets.${group}" not found`,
      )
      await define(client, definition(group))
      assert.deepEqual(names(done(await client.get(widgets(group, namespace)), 200)), [])
    },
  },
  {
    title: 'names that another definition of the group has are not accepted, and nothing is served under them',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      await define(client, definition(group))
      const second = definition(group, { names: { plural: 'gizmos', kind: 'Widget', singular: 'gizmo' } })
      const name = `gizmos.${group}`
      done(await client.post(DEFINITIONS, { ...second, metadata: { name } }), 201)
      let told: Json | undefined
      for (let tries = 0; tries < 600 && told === undefined; tries++) {
        const now = done(await client.get(`${DEFINITIONS}/${name}`), 200)
        if (conditionOf(now, 'NamesAccepted') === undefined) await pause(50)
        else told = now
      }
      const refusal = conditionOf(told ?? {}, 'NamesAccepted')
      assert.deepEqual(
        [refusal?.['status'], refusal?.['reason'], refusal?.['message']],
        ['False', 'ListKindConflict', '"WidgetList" is already in use'],
      )
      assert.equal(conditionOf(told ?? {}, 'Established')?.['status'], 'False')
      assert.equal((await client.get(`/apis/${group}/v1/namespaces/${namespace}/gizmos`)).status, 404)
    },
  },
  {
    title: 'definitions that are none are refused in the words of kube-apiserver',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      const path = 'CustomResourceDefinition.apiextensions.k8s.io'
      const good = definition(group)
      const refusedAs = async (object: Json, message: string): Promise<void> =>
        refused(
          await client.post(DEFINITIONS, object),
          422,
          'Invalid',
          `${path} "${textAt(object, 'metadata', 'name')}" is invalid: ${message}`,
        )
      await refusedAs(
        { ...good, metadata: { name: 'x' } },
        'metadata.name: Invalid value: "x": must be spec.names.plural+"."+spec.group',
      )
      await refusedAs(
        definition(group, { scope: 'Global' }),
        'spec.scope: Unsupported value: "Global": supported values: "Cluster", "Namespaced"',
      )
      await refusedAs(
        definition(group, { versions: [version('v1', { schema: undefined })] }),
        'spec.versions[0].schema.openAPIV3Schema: Required value',
      )
      await refusedAs(
        definition(group, { versions: [version('v1', { schema: { openAPIV3Schema: { properties: {} } } })] }),
        'spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root',
      )
      const untyped = { type: 'object', properties: { spec: { properties: { a: { type: 'string' } } } } }
      await refusedAs(
        definition(group, { versions: [version('v1', { schema: { openAPIV3Schema: untyped } })] }),
        'spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields',
      )
      const plain = version('v1', { schema: { openAPIV3Schema: { type: 'object' } } })
      await refusedAs(
        definition(group, { preserveUnknownFields: true, versions: [plain] }),
        'spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead',
      )
      await refusedAs(
        definition('case.k8s.io'),
        'metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111',
      )
      const none = await client.post(DEFINITIONS, {
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name: 'a.b' },
        spec: {},
      })
      assert.deepEqual(
        listAt(none.body, 'details', 'causes').map((cause) => cause['field']),
        [
          'metadata.name',
          'spec.group',
          'spec.scope',
          'spec.versions',
          'spec.names.plural',
          'spec.names.singular',
          'spec.names.kind',
          'spec.names.listKind',
          'status.storedVersions',
        ],
      )
      await define(client, good)
      refused(
        await client.merge(`${DEFINITIONS}/widgets.${group}`, { spec: { scope: 'Cluster' } }),
        422,
        'Invalid',
        `${path} "widgets.${group}" is invalid: spec.scope: Invalid value: "Cluster": field is immutable`,
      )
    },
  },
  {
    title:
      'custom objects of the whole cluster have no namespace, and lists of them the name that the definition gives',
    run: async (client, namespace) => {
      const group = `${namespace}.example.com`
      const called = { plural: 'widgets', kind: 'Widget', listKind: 'Widgetry' }
      await define(client, definition(group, { scope: 'Cluster', names: called }))
      const path = `/apis/${group}/v1/widgets`
      const created = done(await client.post(path, widget(group, 'a')), 201)
      assert.equal(at(created, 'metadata', 'namespace'), undefined)
      const list = done(await client.get(path), 200)
      assert.deepEqual([textAt(list, 'kind'), names(list)], ['Widgetry', ['a']])
      assert.equal((await client.get(widgets(group, namespace, 'a'))).status, 404)
    },
  },
]
