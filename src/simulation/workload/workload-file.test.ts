import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseWorkload, readWorkloadFile } from './workload-file.ts'

const POD = `
apiVersion: v1
kind: Pod
metadata: { name: solo, namespace: team }
spec:
  containers: [{ name: c, image: nginx, resources: { requests: { cpu: 500m } } }]
`
const controller = (kind: string, count: string): string => `
kind: ${kind}
metadata: { name: work, namespace: team }
spec:
  ${count}
  template:
    metadata: { labels: { app: work } }
    spec: { containers: [{ name: c, image: nginx }] }
`

test('a file of several documents gives its pods in order, with what must exist before them', () => {
  const { objects, pods } = parseWorkload(
    'w.yaml',
    `kind: Namespace\nmetadata: { name: team }\n---\nkind: PriorityClass\nmetadata: { name: high }\nvalue: 7\n---\n---${POD}---${controller('ReplicaSet', 'replicas: 2')}`,
  )
  assert.deepEqual(
    objects.map(({ kind, metadata }) => `${kind} ${metadata?.name}`),
    ['Namespace team', 'PriorityClass high'],
  )
  assert.equal(pods.length, 3)
  assert.equal(pods[0]?.spec?.containers?.[0]?.resources?.requests?.['cpu'], '500m')
})

for (const [kind, count, names, owner] of [
  ['Deployment', 'replicas: 3', /^work-[a-z0-9]{5}-[a-z0-9]{5}$/, 'ReplicaSet'],
  ['ReplicaSet', 'replicas: 3', /^work-[a-z0-9]{5}$/, 'ReplicaSet'],
  ['StatefulSet', 'replicas: 3', /^work-[012]$/, 'StatefulSet'],
  ['Job', 'parallelism: 3', /^work-[a-z0-9]{5}$/, 'Job'],
] as const) {
  test(`a ${kind} gives as many pods as it asks for, owned as its controller would own them`, () => {
    const { pods } = parseWorkload('w.yaml', controller(kind, count))
    assert.equal(new Set(pods.map(({ metadata }) => metadata?.name)).size, 3)
    for (const { apiVersion, kind: podKind, metadata, spec } of pods) {
      assert.deepEqual([apiVersion, podKind], ['v1', 'Pod'])
      assert.match(metadata?.name ?? '', names)
      assert.equal(metadata?.namespace, 'team')
      assert.equal(metadata?.labels?.['app'], 'work')
      assert.equal(metadata?.ownerReferences?.[0]?.kind, owner)
      assert.match(metadata?.ownerReferences?.[0]?.uid ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      assert.equal(spec?.containers?.[0]?.image, 'nginx')
    }
    assert.deepEqual(parseWorkload('w.yaml', controller(kind, count)).pods, pods)
  })
}

test('without replicas there is one pod, and with none there is none', () => {
  assert.equal(parseWorkload('w.yaml', controller('Deployment', 'paused: false')).pods.length, 1)
  assert.equal(parseWorkload('w.yaml', controller('Deployment', 'replicas: 0')).pods.length, 0)
})

test('Lists are read, in YAML and JSON', () => {
  const pod = { kind: 'Pod', metadata: { name: 'a' }, spec: { containers: [] } }
  assert.equal(
    parseWorkload('w.json', JSON.stringify({ kind: 'List', items: [pod, { ...pod, metadata: { name: 'b' } }] })).pods
      .length,
    2,
  )
  const { kind: _, ...bare } = pod
  assert.equal(parseWorkload('w.json', JSON.stringify({ kind: 'PodList', items: [bare] })).pods[0]?.kind, 'Pod')
  assert.equal(parseWorkload('w.yaml', `kind: List\nitems:\n- ${JSON.stringify(pod)}`).pods.length, 1)
  assert.deepEqual(parseWorkload('w.yaml', ''), { objects: [], pods: [] })
})

for (const [name, text, message] of [
  ['what is no YAML', `${POD}---\na: [1`, /w\.yaml document 2: .*expected YAML or JSON/],
  ['what is no JSON', '{"kind": "Pod",,}', /w\.yaml document 1: .*expected YAML or JSON/],
  [
    'another kind',
    `${POD}---\nkind: CronJob`,
    /w\.yaml document 2: kind is "CronJob"; expected a Pod, Deployment, ReplicaSet/,
  ],
  ['no kind', 'metadata: {}', /document 1: kind is missing/],
  ['a list where a map should be', '- 1', /document 1: the document is \[1\]; expected a map/],
  ['a pod without a name', 'kind: Pod\nmetadata: {}\nspec: {}', /document 1: metadata.name is missing/],
  ['a pod without a spec', 'kind: Pod\nmetadata: { name: a }', /document 1: spec is missing/],
  [
    'a Deployment without a template',
    'kind: Deployment\nmetadata: { name: a }\nspec: {}',
    /document 1: spec.template is missing/,
  ],
  [
    'replicas that are no number',
    controller('Deployment', 'replicas: many'),
    /spec.replicas is "many"; expected a whole number/,
  ],
  [
    'a million replicas',
    controller('Deployment', 'replicas: 1000000'),
    /spec.replicas is 1000000; expected at most 200000 pods/,
  ],
  [
    'a broken item of a List',
    'kind: List\nitems: [{ kind: Pod, metadata: { name: 7 } }]',
    /document 1, item 1: metadata.name is 7; expected text/,
  ],
  [
    'anchors that multiply',
    `a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [${'*a, '.repeat(20)}]\nc: &c [${'*b, '.repeat(20)}]\nd: [${'*c, '.repeat(20)}]`,
    /document 1: .*; expected at most 1000 uses of an anchor/,
  ],
] as const) {
  test(`${name} is an error that names file, document and fault`, () => {
    assert.throws(() => parseWorkload('w.yaml', text), { name: 'StowageError', code: 'WORKLOAD_MALFORMED', message })
  })
}

test('keys that JavaScript holds dear change nothing outside the document', () => {
  const text = 'kind: Pod\nmetadata: { name: a, labels: { __proto__: { polluted: yes } } }\nspec: { containers: [] }'
  parseWorkload('w.yaml', text)
  parseWorkload(
    'w.json',
    '{"kind":"Pod","metadata":{"name":"a","__proto__":{"polluted":1}},"spec":{"__proto__":{"polluted":1}}}',
  )
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

test('a file is read from disk; a missing one and a huge one are errors that name it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'stowage-'))
  try {
    const path = join(directory, 'w.yaml')
    await writeFile(path, POD)
    assert.equal((await readWorkloadFile(path)).pods[0]?.metadata?.name, 'solo')
    await writeFile(path, Buffer.alloc(2 ** 24 + 1, '#'))
    await assert.rejects(readWorkloadFile(path), {
      code: 'WORKLOAD_MALFORMED',
      message: /w\.yaml has 16777217 bytes; expected at most 16777216/,
    })
    await assert.rejects(readWorkloadFile(join(directory, 'none.yaml')), {
      code: 'FILE_UNREADABLE',
      message: /none\.yaml \(ENOENT/,
    })
  } finally {
    await rm(directory, { recursive: true })
  }
})
