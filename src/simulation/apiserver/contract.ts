import assert from 'node:assert/strict'
import { Agent, request } from 'undici'
import { type Json, at, isJson, listAt, numberAt, textAt, textsAt } from './json.ts'

/** An API server to be held to the contract: ours, or a real kube-apiserver. */
export interface ContractTarget {
  readonly url: string
  readonly token: string
  /** PEM, empty over plain HTTP */
  readonly ca: string
}

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: Json
  readonly text: string
}

const parsed = (text: string): Json => {
  try {
    const value: unknown = JSON.parse(text)
    return isJson(value) ? value : {}
  } catch {
    return {}
  }
}

/** A client that adds nothing to what a case says. */
export class ContractClient {
  readonly #target: ContractTarget
  readonly #agent: Agent

  constructor(target: ContractTarget) {
    this.#target = target
    this.#agent = new Agent({ allowH2: false, ...(target.ca === '' ? {} : { connect: { ca: target.ca } }) })
  }

  async send(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const answer = await request(`${this.#target.url}${path}`, {
      method,
      dispatcher: this.#agent,
      headers: {
        authorization: `Bearer ${this.#target.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await answer.body.text()
    return { status: answer.statusCode, headers: answer.headers, body: parsed(text), text }
  }

  get = (path: string, headers?: Record<string, string>): Promise<Answer> => this.send('GET', path, undefined, headers)
  post = (path: string, body: unknown): Promise<Answer> => this.send('POST', path, body)
  put = (path: string, body: unknown): Promise<Answer> => this.send('PUT', path, body)
  delete = (path: string, body?: unknown): Promise<Answer> => this.send('DELETE', path, body)
  merge = (path: string, body: unknown): Promise<Answer> =>
    this.send('PATCH', path, body, { 'content-type': 'application/merge-patch+json' })
  strategic = (path: string, body: unknown): Promise<Answer> =>
    this.send('PATCH', path, body, { 'content-type': 'application/strategic-merge-patch+json' })

  /** The events of a watch up to the one that `last` accepts, or to its end. */
  async watch(path: string, last: (event: Json) => boolean): Promise<Json[]> {
    const abort = new AbortController()
    const answer = await request(`${this.#target.url}${path}`, {
      dispatcher: this.#agent,
      signal: abort.signal,
      headers: { authorization: `Bearer ${this.#target.token}` },
    })
    assert.equal(answer.statusCode, 200)
    const events: Json[] = []
    let rest = ''
    try {
      for await (const chunk of answer.body) {
        const lines = (rest + String(chunk)).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          const event = parsed(line)
          events.push(event)
          if (last(event)) return events
        }
      }
      return events
    } finally {
      abort.abort()
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }
}

export interface ContractCase {
  readonly title: string
  /** @param namespace one of the case's own, there already */
  run(client: ContractClient, namespace: string): Promise<void>
}

const pod = (name: string, spec: Json = {}, metadata: Json = {}): Json => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, ...metadata },
  spec: { containers: [{ name: 'main', image: 'example.com/app:1' }], ...spec },
})
const pods = (namespace: string, name = ''): string =>
  `/api/v1/namespaces/${namespace}/pods${name === '' ? '' : `/${name}`}`
const binding = (name: string, node: string, metadata: Json = {}): Json => ({
  metadata: { name, ...metadata },
  target: { kind: 'Node', name: node },
})
export const revisionOf = (object: Json): string => textAt(object, 'metadata', 'resourceVersion')
export const names = (list: Json): string[] => listAt(list, 'items').map((item) => textAt(item, 'metadata', 'name'))
/** `TYPE name`, as watches say it. */
export const said = (events: readonly Json[]): string[] =>
  events.map((event) => `${textAt(event, 'type')} ${textAt(event, 'object', 'metadata', 'name')}`)
export const refused = (answer: Answer, status: number, reason: string, message: string | RegExp): void => {
  assert.deepEqual([answer.status, textAt(answer.body, 'reason')], [status, reason], answer.text)
  if (typeof message === 'string') assert.equal(textAt(answer.body, 'message'), message)
  else assert.match(textAt(answer.body, 'message'), message)
}
export const done = (answer: Answer, status: 200 | 201): Json => {
  assert.equal(answer.status, status, answer.text)
  return answer.body
}

/** What clients of the Kubernetes API rely on. Each case holds of kube-apiserver 1.37.2 too: the same list runs there. */
export const contract: readonly ContractCase[] = [
  {
    title: 'a new pod gets the defaults that schedulers and kubelets count on',
    run: async (client, namespace) => {
      const created = done(
        await client.post(
          pods(namespace),
          pod('a', {
            containers: [
              {
                name: 'main',
                image: 'i',
                ports: [{ containerPort: 80 }],
                resources: { limits: { cpu: 1.5, memory: '1024Mi' } },
              },
            ],
          }),
        ),
        201,
      )
      const spec = at(created, 'spec')
      assert.equal(textAt(spec, 'schedulerName'), 'default-scheduler')
      assert.equal(textAt(spec, 'restartPolicy'), 'Always')
      assert.equal(numberAt(spec, 'priority'), 0)
      assert.equal(textAt(spec, 'preemptionPolicy'), 'PreemptLowerPriority')
      assert.equal(numberAt(spec, 'terminationGracePeriodSeconds'), 30)
      assert.deepEqual(
        listAt(spec, 'tolerations').map((toleration) => [
          toleration['key'],
          toleration['effect'],
          toleration['tolerationSeconds'],
        ]),
        [
          ['node.kubernetes.io/not-ready', 'NoExecute', 300],
          ['node.kubernetes.io/unreachable', 'NoExecute', 300],
        ],
      )
      const container = listAt(spec, 'containers')[0]
      assert.deepEqual(at(container, 'resources'), {
        limits: { cpu: '1500m', memory: '1Gi' },
        requests: { cpu: '1500m', memory: '1Gi' },
      })
      assert.equal(textAt(container, 'imagePullPolicy'), 'Always')
      assert.equal(textAt(listAt(container, 'ports')[0], 'protocol'), 'TCP')
      assert.deepEqual(at(created, 'status'), { phase: 'Pending', qosClass: 'Guaranteed' })
    },
  },
  {
    title: 'a gated pod says so in its condition, cannot be bound, and its gates can only go',
    run: async (client, namespace) => {
      const created = done(
        await client.post(pods(namespace), pod('a', { schedulingGates: [{ name: 'x.io/one' }, { name: 'two' }] })),
        201,
      )
      const [condition] = listAt(created, 'status', 'conditions')
      assert.deepEqual(
        [condition?.['type'], condition?.['status'], condition?.['reason'], condition?.['message']],
        ['PodScheduled', 'False', 'SchedulingGated', 'Scheduling is blocked due to non-empty scheduling gates'],
      )
      refused(
        await client.post(`${pods(namespace, 'a')}/binding`, binding('a', 'n')),
        409,
        'Conflict',
        'Operation cannot be fulfilled on pods/binding "a": pod a has non-empty .spec.schedulingGates',
      )
      refused(
        await client.merge(pods(namespace, 'a'), { spec: { schedulingGates: [{ name: 'three' }] } }),
        422,
        'Invalid',
        `Pod "a" is invalid: spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'three'`,
      )
      const open = done(await client.merge(pods(namespace, 'a'), { spec: { schedulingGates: null } }), 200)
      assert.equal(at(open, 'spec', 'schedulingGates'), undefined)
      assert.equal(numberAt(open, 'metadata', 'generation'), 2)
    },
  },
  {
    title: 'a binding places the pod once, and says where it is to whoever comes second',
    run: async (client, namespace) => {
      const created = done(await client.post(pods(namespace), pod('a')), 201)
      await client.merge(`${pods(namespace, 'a')}/status`, { status: { nominatedNodeName: 'other' } })
      const uid = textAt(created, 'metadata', 'uid')
      const answer = done(
        await client.post(
          `${pods(namespace, 'a')}/binding`,
          binding('a', 'n1', { uid, annotations: { why: 'fits' }, labels: { zone: 'z' } }),
        ),
        201,
      )
      assert.equal(textAt(answer, 'status'), 'Success')
      const bound = done(await client.get(pods(namespace, 'a')), 200)
      assert.equal(textAt(bound, 'spec', 'nodeName'), 'n1')
      assert.equal(at(bound, 'status', 'nominatedNodeName'), undefined)
      assert.equal(textAt(bound, 'metadata', 'annotations', 'why'), 'fits')
      assert.equal(textAt(bound, 'metadata', 'labels', 'zone'), 'z')
      assert.deepEqual(
        listAt(bound, 'status', 'conditions').map((condition) => [condition['type'], condition['status']]),
        [['PodScheduled', 'True']],
      )
      refused(
        await client.post(`${pods(namespace, 'a')}/binding`, binding('a', 'n2')),
        409,
        'Conflict',
        'Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n1"',
      )
    },
  },
  {
    title: 'matchLabelKeys and mismatchLabelKeys become part of the selectors of a new pod, by the labels that it has',
    run: async (client, namespace) => {
      const labelSelector = { matchLabels: { app: 'web' } }
      const term = {
        topologyKey: 'zone',
        labelSelector,
        matchLabelKeys: ['version', 'absent'],
        mismatchLabelKeys: ['tier'],
      }
      const spread = {
        maxSkew: 1,
        topologyKey: 'zone',
        whenUnsatisfiable: 'DoNotSchedule',
        matchLabelKeys: ['version'],
      }
      const created = done(
        await client.post(
          pods(namespace),
          pod(
            'a',
            {
              affinity: {
                podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] },
                podAntiAffinity: {
                  preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, podAffinityTerm: term }],
                },
              },
              topologySpreadConstraints: [{ ...spread, labelSelector }],
            },
            { labels: { app: 'web', version: '7', tier: 'front' } },
          ),
        ),
        201,
      )
      const version = { key: 'version', operator: 'In', values: ['7'] }
      const both = {
        ...labelSelector,
        matchExpressions: [version, { key: 'tier', operator: 'NotIn', values: ['front'] }],
      }
      const affinity = at(created, 'spec', 'affinity')
      const [required] = listAt(affinity, 'podAffinity', 'requiredDuringSchedulingIgnoredDuringExecution')
      const [preferred] = listAt(affinity, 'podAntiAffinity', 'preferredDuringSchedulingIgnoredDuringExecution')
      assert.deepEqual(required?.['labelSelector'], both)
      assert.deepEqual(at(preferred, 'podAffinityTerm', 'labelSelector'), both)
      const [constraint] = listAt(created, 'spec', 'topologySpreadConstraints')
      assert.deepEqual(constraint?.['labelSelector'], { ...labelSelector, matchExpressions: [version] })
    },
  },
  {
    title: 'a binding is refused for another uid, a deleted pod, a pod that is not there, and without a node',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('a')), 201)
      refused(
        await client.post(
          `${pods(namespace, 'a')}/binding`,
          binding('a', 'n', { uid: '11111111-1111-1111-1111-111111111111' }),
        ),
        409,
        'Conflict',
        /^Operation cannot be fulfilled on pods "a": .*Precondition failed: UID in precondition: 1{8}-1{4}-1{4}-1{4}-1{12}, UID in object meta: /,
      )
      assert.equal(
        (await client.post(`${pods(namespace, 'a')}/binding`, { metadata: { name: 'a' }, target: {} })).status,
        500,
      )
      refused(
        await client.post(`${pods(namespace, 'gone')}/binding`, binding('gone', 'n')),
        404,
        'NotFound',
        'pods "gone" not found',
      )
      done(await client.post(`${pods(namespace, 'a')}/binding`, binding('a', 'n')), 201)
      done(await client.delete(pods(namespace, 'a')), 200)
      refused(
        await client.post(`${pods(namespace, 'a')}/binding`, binding('a', 'n')),
        409,
        'Conflict',
        'Operation cannot be fulfilled on pods/binding "a": pod a is being deleted, cannot be assigned to a host',
      )
    },
  },
  {
    title: 'a bound pod is deleted in two steps, an unbound one at once',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('unbound')), 201)
      done(await client.delete(pods(namespace, 'unbound')), 200)
      assert.equal((await client.get(pods(namespace, 'unbound'))).status, 404)
      done(await client.post(pods(namespace), pod('bound')), 201)
      done(await client.post(`${pods(namespace, 'bound')}/binding`, binding('bound', 'n')), 201)
      const deleting = done(await client.delete(pods(namespace, 'bound')), 200)
      assert.equal(numberAt(deleting, 'metadata', 'deletionGracePeriodSeconds'), 30)
      assert.notEqual(textAt(deleting, 'metadata', 'deletionTimestamp'), '')
      assert.equal((await client.get(pods(namespace, 'bound'))).status, 200)
      done(await client.delete(pods(namespace, 'bound'), { gracePeriodSeconds: 0 }), 200)
      assert.equal((await client.get(pods(namespace, 'bound'))).status, 404)
    },
  },
  {
    title: 'a finalizer keeps a deleted object until it is taken away',
    run: async (client, namespace) => {
      const path = `/api/v1/namespaces/${namespace}/configmaps`
      done(await client.post(path, { metadata: { name: 'c', finalizers: ['example.com/hold'] } }), 201)
      done(await client.delete(`${path}/c`), 200)
      assert.notEqual(textAt(done(await client.get(`${path}/c`), 200), 'metadata', 'deletionTimestamp'), '')
      done(await client.merge(`${path}/c`, { metadata: { finalizers: null } }), 200)
      assert.equal((await client.get(`${path}/c`)).status, 404)
    },
  },
  {
    title: 'a write from a stale copy is a conflict, and a write that changes nothing keeps the resourceVersion',
    run: async (client, namespace) => {
      const path = `/api/v1/namespaces/${namespace}/configmaps`
      const first = done(await client.post(path, { metadata: { name: 'c' }, data: { a: '1' } }), 201)
      const second = done(await client.put(`${path}/c`, { ...first, data: { a: '2' } }), 200)
      refused(
        await client.put(`${path}/c`, { ...first, data: { a: '3' } }),
        409,
        'Conflict',
        'Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your changes to the latest version and try again',
      )
      const third = done(await client.merge(`${path}/c`, { data: { a: '2' } }), 200)
      assert.equal(revisionOf(third), revisionOf(second))
      assert.ok(Number(revisionOf(second)) > Number(revisionOf(first)))
      refused(
        await client.post(path, { metadata: { name: 'c' } }),
        409,
        'AlreadyExists',
        'configmaps "c" already exists',
      )
    },
  },
  {
    title: 'a lease is only updated by who knows its resourceVersion',
    run: async (client, namespace) => {
      const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`
      done(await client.post(path, { metadata: { name: 'l' }, spec: { holderIdentity: 'a' } }), 201)
      refused(
        await client.put(`${path}/l`, { metadata: { name: 'l' }, spec: { holderIdentity: 'b' } }),
        422,
        'Invalid',
        'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update',
      )
    },
  },
  {
    title: 'a strategic merge patch merges conditions by type and containers by name',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('a')), 201)
      const status = `${pods(namespace, 'a')}/status`
      done(
        await client.strategic(status, {
          status: { conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'm' }] },
        }),
        200,
      )
      done(await client.strategic(status, { status: { conditions: [{ type: 'Ready', status: 'False' }] } }), 200)
      const patched = done(
        await client.strategic(status, { status: { conditions: [{ type: 'PodScheduled', message: 'n' }] } }),
        200,
      )
      const conditions = listAt(patched, 'status', 'conditions')
      assert.deepEqual(new Set(conditions.map((condition) => condition['type'])), new Set(['PodScheduled', 'Ready']))
      const scheduled = conditions.find((condition) => condition['type'] === 'PodScheduled')
      assert.deepEqual([scheduled?.['reason'], scheduled?.['message']], ['Unschedulable', 'n'])
      const image = done(
        await client.strategic(pods(namespace, 'a'), { spec: { containers: [{ name: 'main', image: 'other' }] } }),
        200,
      )
      assert.deepEqual(
        listAt(image, 'spec', 'containers').map((container) => container['image']),
        ['other'],
      )
    },
  },
  {
    title: 'a JSON patch applies whole or not at all',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('a', {}, { labels: { x: '1' } })), 201)
      const type = { 'content-type': 'application/json-patch+json' }
      const add = { op: 'add', path: '/metadata/labels/y', value: '2' }
      const failed = await client.send(
        'PATCH',
        pods(namespace, 'a'),
        [add, { op: 'test', path: '/metadata/labels/x', value: '9' }],
        type,
      )
      refused(failed, 422, 'Invalid', 'the server rejected our request due to an error in our request')
      const patched = done(await client.send('PATCH', pods(namespace, 'a'), [add], type), 200)
      assert.deepEqual(at(patched, 'metadata', 'labels'), { x: '1', y: '2' })
    },
  },
  {
    title: 'server-side apply creates what is missing and changes what is there',
    run: async (client, namespace) => {
      const type = { 'content-type': 'application/apply-patch+yaml' }
      const apply = (body: string): Promise<Answer> =>
        client.send('PATCH', `${pods(namespace, 'a')}?fieldManager=test`, body, type)
      const yaml = 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: main, image: i}]}'
      done(await apply(yaml), 201)
      const changed = done(await apply(yaml.replace('{name: a}', '{name: a, labels: {x: "1"}}')), 200)
      assert.deepEqual(at(changed, 'metadata', 'labels'), { x: '1' })
      refused(
        await client.send('PATCH', pods(namespace, 'a'), yaml, type),
        422,
        'Invalid',
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
      )
    },
  },
  {
    title: 'a pod that cannot be is refused with every reason, in the words that people search for',
    run: async (client, namespace) => {
      const cases: [Json, string][] = [
        [pod('a', { containers: [] }), 'Pod "a" is invalid: spec.containers: Required value'],
        [
          pod('A'),
          `Pod "A" is invalid: metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
        ],
        [
          pod('a', { tolerations: [{ key: 'k', operator: 'Exists', value: 'v' }, { operator: 'Equal' }] }),
          'Pod "a" is invalid: [spec.tolerations[0].operator: Invalid value: "v": value must be empty when `operator` is \'Exists\', spec.tolerations[1].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"]',
        ],
        [
          pod('a', {
            containers: [{ name: 'm', image: 'i', resources: { requests: { memory: '2' }, limits: { memory: '1' } } }],
          }),
          'Pod "a" is invalid: spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to memory limit of 1',
        ],
        [
          pod('a', { containers: [{ name: 'm', image: 'i', resources: { requests: { 'nvidia.com/gpu': '1' } } }] }),
          'Pod "a" is invalid: spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources',
        ],
        [
          pod('a', { containers: [{ name: 'm', image: 'i', ports: [{ containerPort: 80, hostPort: 70000 }] }] }),
          'Pod "a" is invalid: spec.containers[0].ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
        ],
        [
          pod('a', {
            containers: [
              { name: 'm', image: 'i' },
              { name: 'm', image: 'i' },
            ],
          }),
          'Pod "a" is invalid: spec.containers[1].name: Duplicate value: "m"',
        ],
        [
          pod('a', {
            affinity: {
              nodeAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: {
                  nodeSelectorTerms: [{ matchExpressions: [{ key: 'k', operator: 'In' }] }],
                },
              },
            },
          }),
          "Pod \"a\" is invalid: spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ],
        [
          pod('a', { topologySpreadConstraints: [{ maxSkew: 0, topologyKey: 'z', whenUnsatisfiable: 'Perhaps' }] }),
          'Pod "a" is invalid: [spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero, spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Perhaps": supported values: "DoNotSchedule", "ScheduleAnyway"]',
        ],
      ]
      for (const [body, message] of cases) refused(await client.post(pods(namespace), body), 422, 'Invalid', message)
    },
  },
  {
    title: 'a body that is no pod is refused as unreadable',
    run: async (client, namespace) => {
      const path = pods(namespace)
      refused(
        await client.post(path, '{'),
        400,
        'BadRequest',
        /^the object provided is unrecognized \(must be of type Pod\)/,
      )
      refused(
        await client.post(path, pod('a', { hostNetwork: 'yes' })),
        400,
        'BadRequest',
        'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool',
      )
      refused(
        await client.post(
          path,
          pod('a', { containers: [{ name: 'm', image: 'i', resources: { requests: { cpu: 'much' } } }] }),
        ),
        400,
        'BadRequest',
        'Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression \'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$\'',
      )
      refused(
        await client.post(`${path}?fieldValidation=Strict`, { ...pod('a'), more: 1 }),
        400,
        'BadRequest',
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "more"',
      )
      refused(
        await client.send('POST', path, 'x', { 'content-type': 'text/plain' }),
        415,
        'UnsupportedMediaType',
        /^the body of the request was in an unknown format/,
      )
      refused(
        await client.post(path, pod('a', {}, { namespace: 'other' })),
        400,
        'BadRequest',
        'the namespace of the provided object does not match the namespace sent on the request',
      )
      assert.equal((await client.post(path, `{"metadata":${'{"a":'.repeat(20_000)}`)).status, 400)
    },
  },
  {
    title: 'the spec of a pod stays as it is, but for the few fields that may change',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('a')), 201)
      refused(
        await client.merge(pods(namespace, 'a'), { spec: { nodeSelector: { x: 'y' } } }),
        422,
        'Invalid',
        /^Pod "a" is invalid: spec: Forbidden: pod updates may not change fields other than `spec\.containers\[\*\]\.image`,/,
      )
      refused(
        await client.merge(pods(namespace, 'a'), { metadata: { uid: 'x' } }),
        422,
        'Invalid',
        'Pod "a" is invalid: metadata.uid: Invalid value: "x": field is immutable',
      )
      done(await client.merge(pods(namespace, 'a'), { metadata: { labels: { l: 'm' } } }), 200)
    },
  },
  {
    title: 'a priority class decides the priority of its pods, and nobody else does',
    run: async (client, namespace) => {
      const critical = done(
        await client.post(pods(namespace), pod('a', { priorityClassName: 'system-node-critical' })),
        201,
      )
      assert.equal(numberAt(critical, 'spec', 'priority'), 2_000_001_000)
      refused(
        await client.post(pods(namespace), pod('b', { priorityClassName: 'nobody' })),
        403,
        'Forbidden',
        'pods "b" is forbidden: no PriorityClass with name nobody was found',
      )
      refused(
        await client.post(pods(namespace), pod('b', { priority: 5 })),
        403,
        'Forbidden',
        'pods "b" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name',
      )
    },
  },
  {
    title: 'nothing is created in a namespace that is not there or is going',
    run: async (client, namespace) => {
      refused(await client.post(pods('nowhere'), pod('a')), 404, 'NotFound', 'namespaces "nowhere" not found')
      done(await client.post(pods(namespace), pod('a')), 201)
      done(await client.post(`${pods(namespace, 'a')}/binding`, binding('a', 'n')), 201)
      const going = done(await client.delete(`/api/v1/namespaces/${namespace}`), 200)
      assert.equal(textAt(going, 'status', 'phase'), 'Terminating')
      refused(
        await client.post(pods(namespace), pod('b')),
        403,
        'Forbidden',
        `pods "b" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`,
      )
      refused(
        await client.delete('/api/v1/namespaces/default'),
        403,
        'Forbidden',
        'namespaces "default" is forbidden: this namespace may not be deleted',
      )
    },
  },
  {
    title: 'lists are selected by labels and fields',
    run: async (client, namespace) => {
      for (const [name, labels] of [
        ['a', { tier: 'web' }],
        ['b', { tier: 'db' }],
        ['c', {}],
      ] as const)
        done(await client.post(pods(namespace), pod(name, {}, { labels })), 201)
      done(await client.post(`${pods(namespace, 'c')}/binding`, binding('c', 'n1')), 201)
      const selected = async (query: string): Promise<string[]> =>
        names(done(await client.get(`${pods(namespace)}?${query}`), 200))
      assert.deepEqual(await selected('labelSelector=tier%3Dweb'), ['a'])
      assert.deepEqual(await selected('labelSelector=tier%20in%20(web,db)'), ['a', 'b'])
      assert.deepEqual(await selected('labelSelector=tier%20notin%20(web)'), ['b', 'c'])
      assert.deepEqual(await selected('labelSelector=!tier'), ['c'])
      assert.deepEqual(await selected('fieldSelector=spec.nodeName%3D'), ['a', 'b'])
      assert.deepEqual(await selected('fieldSelector=spec.nodeName%3Dn1,status.phase%21%3DFailed'), ['c'])
      assert.deepEqual(await selected('fieldSelector=metadata.name%3Db'), ['b'])
      assert.equal((await client.get(`${pods(namespace)}?labelSelector=a%3D%3Db%3D%3Dc`)).status, 400)
      refused(
        await client.get(`${pods(namespace)}?fieldSelector=spec.foo%3Db`),
        400,
        'BadRequest',
        'field label not supported: spec.foo',
      )
    },
  },
  {
    title: 'a list in pages is one list: what changes meanwhile is not on its later pages',
    run: async (client, namespace) => {
      for (const name of ['a', 'b', 'c', 'd', 'e']) done(await client.post(pods(namespace), pod(name)), 201)
      const first = done(await client.get(`${pods(namespace)}?limit=2`), 200)
      assert.deepEqual([names(first), numberAt(first, 'metadata', 'remainingItemCount')], [['a', 'b'], 3])
      done(await client.delete(pods(namespace, 'd')), 200)
      done(await client.post(pods(namespace), pod('bb')), 201)
      const token = encodeURIComponent(textAt(first, 'metadata', 'continue'))
      const second = done(await client.get(`${pods(namespace)}?limit=2&continue=${token}`), 200)
      assert.deepEqual(names(second), ['c', 'd'])
      assert.equal(revisionOf(second), revisionOf(first))
      const third = done(
        await client.get(
          `${pods(namespace)}?limit=2&continue=${encodeURIComponent(textAt(second, 'metadata', 'continue'))}`,
        ),
        200,
      )
      assert.deepEqual([names(third), at(third, 'metadata', 'continue')], [['e'], undefined])
      assert.equal((await client.get(`${pods(namespace)}?continue=x`)).status, 400)
    },
  },
  {
    title: 'a watch begins where a list ended and misses nothing',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('before')), 201)
      const list = done(await client.get(pods(namespace)), 200)
      done(await client.post(pods(namespace), pod('a')), 201)
      done(await client.post(`${pods(namespace, 'a')}/binding`, binding('a', 'n')), 201)
      done(await client.delete(pods(namespace, 'before')), 200)
      const events = await client.watch(
        `${pods(namespace)}?watch=true&resourceVersion=${revisionOf(list)}&timeoutSeconds=20`,
        (event) => event['type'] === 'DELETED',
      )
      assert.deepEqual(said(events), ['ADDED a', 'MODIFIED a', 'MODIFIED before', 'DELETED before'])
      const revisions = events.map((event) => Number(textAt(event, 'object', 'metadata', 'resourceVersion')))
      assert.deepEqual(
        revisions,
        revisions.toSorted((a, b) => a - b),
      )
    },
  },
  {
    title: 'a selective watch sees objects come and go as they begin and cease to match',
    run: async (client, namespace) => {
      const from = revisionOf(done(await client.get(pods(namespace)), 200))
      done(await client.post(pods(namespace), pod('a')), 201)
      done(await client.post(`${pods(namespace, 'a')}/binding`, binding('a', 'n')), 201)
      done(await client.merge(`${pods(namespace, 'a')}/status`, { status: { phase: 'Running' } }), 200)
      done(await client.merge(`${pods(namespace, 'a')}/status`, { status: { phase: 'Succeeded' } }), 200)
      const seen = async (selector: string): Promise<string[]> =>
        said(
          await client.watch(
            `${pods(namespace)}?watch=true&resourceVersion=${from}&timeoutSeconds=20&fieldSelector=${encodeURIComponent(selector)}`,
            (event) => event['type'] === 'DELETED',
          ),
        )
      assert.deepEqual(await seen('spec.nodeName='), ['ADDED a', 'DELETED a'])
      assert.deepEqual(await seen('spec.nodeName=n,status.phase!=Succeeded'), ['ADDED a', 'MODIFIED a', 'DELETED a'])
    },
  },
  {
    title: 'a watch can send what there is first and say when that was all',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('a')), 201)
      const events = await client.watch(
        `${pods(namespace)}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=20`,
        (event) => event['type'] === 'BOOKMARK',
      )
      assert.deepEqual(said(events), ['ADDED a', 'BOOKMARK '])
      assert.equal(textAt(events.at(-1), 'object', 'metadata', 'annotations', 'k8s.io/initial-events-end'), 'true')
    },
  },
  {
    title: 'a watch ends when its time is up',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('a')), 201)
      assert.deepEqual(said(await client.watch(`${pods(namespace)}?watch=true&timeoutSeconds=1`, () => false)), [
        'ADDED a',
      ])
    },
  },
  {
    title: 'a state of the future is not there yet',
    run: async (client, namespace) => {
      refused(
        await client.get(`${pods(namespace)}?resourceVersion=99999999`),
        504,
        'Timeout',
        /^Timeout: Too large resource version: 99999999, current: \d+$/,
      )
    },
  },
  {
    title: 'an event is the same object in both event APIs',
    run: async (client, namespace) => {
      const now = '2026-01-01T00:00:00.000001Z'
      const events = `/apis/events.k8s.io/v1/namespaces/${namespace}/events`
      const core = `/api/v1/namespaces/${namespace}/events`
      const event = {
        metadata: { name: 'e' },
        eventTime: now,
        reportingController: 'example.com/scheduler',
        reportingInstance: 's-1',
        action: 'Scheduling',
        reason: 'FailedScheduling',
        regarding: { kind: 'Pod', namespace, name: 'p' },
        note: 'no room',
        type: 'Warning',
      }
      done(await client.post(events, event), 201)
      const seen = done(await client.get(`${core}/e`), 200)
      assert.deepEqual(
        [
          seen['message'],
          at(seen, 'involvedObject', 'name'),
          seen['reportingComponent'],
          seen['firstTimestamp'],
          seen['source'],
        ],
        ['no room', 'p', 'example.com/scheduler', null, {}],
      )
      const folded = done(await client.merge(`${events}/e`, { series: { count: 2, lastObservedTime: now } }), 200)
      assert.deepEqual([folded['note'], at(folded, 'series', 'count')], ['no room', 2])
      assert.deepEqual(
        names(done(await client.get(`${core}?fieldSelector=involvedObject.name%3Dp,reason%3DFailedScheduling`), 200)),
        ['e'],
      )
      refused(
        await client.post(events, { ...event, metadata: { name: 'f' }, reason: '', type: 'Odd' }),
        422,
        'Invalid',
        'Event "f" is invalid: [reason: Required value, type: Invalid value: "": has invalid value: Odd]',
      )
    },
  },
  {
    title: 'taints of a node are checked',
    run: async (client) => {
      refused(
        await client.post('/api/v1/nodes', {
          metadata: { name: 'n' },
          spec: { taints: [{ key: 'k', effect: 'Sometimes' }] },
        }),
        422,
        'Invalid',
        'Node "n" is invalid: metadata.taints[0].effect: Unsupported value: "Sometimes": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
      )
    },
  },
  {
    title: 'a delete can ask for one object and no other',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('a')), 201)
      refused(
        await client.delete(pods(namespace, 'a'), { preconditions: { uid: '11111111-1111-1111-1111-111111111111' } }),
        409,
        'Conflict',
        /^Operation cannot be fulfilled on Pod "a": the UID in the precondition \(1{8}-1{4}-1{4}-1{4}-1{12}\) does not match the UID in record/,
      )
      refused(await client.delete(pods(namespace, 'b')), 404, 'NotFound', 'pods "b" not found')
    },
  },
  {
    title: 'a dry run changes nothing',
    run: async (client, namespace) => {
      done(await client.post(`${pods(namespace)}?dryRun=All`, pod('a')), 201)
      assert.equal((await client.get(pods(namespace, 'a'))).status, 404)
      done(await client.post(pods(namespace), pod('a')), 201)
      done(await client.post(`${pods(namespace, 'a')}/binding?dryRun=All`, binding('a', 'n')), 201)
      done(await client.delete(`${pods(namespace, 'a')}?dryRun=All`), 200)
      const kept = done(await client.get(pods(namespace, 'a')), 200)
      assert.deepEqual(
        [at(kept, 'spec', 'nodeName'), at(kept, 'metadata', 'deletionTimestamp')],
        [undefined, undefined],
      )
    },
  },
  {
    title: 'an eviction deletes, unless a disruption budget has nothing left',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('a', {}, { labels: { app: 'a' } })), 201)
      done(await client.post(`${pods(namespace, 'a')}/binding`, binding('a', 'n')), 201)
      done(
        await client.post(`${pods(namespace, 'a')}/eviction`, {
          apiVersion: 'policy/v1',
          kind: 'Eviction',
          metadata: { name: 'a' },
        }),
        201,
      )
      const evicted = done(await client.get(pods(namespace, 'a')), 200)
      assert.notEqual(textAt(evicted, 'metadata', 'deletionTimestamp'), '')
    },
  },
  {
    title: 'all of a kind are deleted at once where a selector says so',
    run: async (client, namespace) => {
      for (const [name, app] of [
        ['a', 'x'],
        ['b', 'y'],
      ] as const)
        done(await client.post(pods(namespace), pod(name, {}, { labels: { app } })), 201)
      done(await client.delete(`${pods(namespace)}?labelSelector=app%3Dx`), 200)
      assert.deepEqual(names(done(await client.get(pods(namespace)), 200)), ['b'])
    },
  },
  {
    title: 'tables carry the columns that kubectl prints',
    run: async (client, namespace) => {
      done(await client.post(pods(namespace), pod('a')), 201)
      const table = done(
        await client.get(pods(namespace), { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' }),
        200,
      )
      assert.deepEqual(
        listAt(table, 'columnDefinitions').map((column) => [column['name'], column['priority']]),
        [
          ['Name', 0],
          ['Ready', 0],
          ['Status', 0],
          ['Restarts', 0],
          ['Age', 0],
          ['IP', 1],
          ['Node', 1],
          ['Nominated Node', 1],
          ['Readiness Gates', 1],
        ],
      )
      const [row] = listAt(table, 'rows')
      const cells = row?.['cells']
      assert.ok(Array.isArray(cells))
      assert.deepEqual(cells.toSpliced(4, 1), ['a', '0/1', 'Pending', '0', '<none>', '<none>', '<none>', '<none>'])
      assert.equal(textAt(row, 'object', 'kind'), 'PartialObjectMetadata')
    },
  },
  {
    title: 'discovery names what is served, in the old way and the new',
    run: async (client) => {
      const core = done(await client.get('/api/v1'), 200)
      const found = listAt(core, 'resources').find((resource) => resource['name'] === 'pods')
      assert.deepEqual([found?.['kind'], found?.['namespaced'], found?.['shortNames']], ['Pod', true, ['po']])
      assert.ok(listAt(core, 'resources').some((resource) => resource['name'] === 'pods/binding'))
      const aggregated = done(
        await client.get('/apis', {
          accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json',
        }),
        200,
      )
      assert.equal(aggregated['kind'], 'APIGroupDiscoveryList')
      assert.ok(
        listAt(aggregated, 'items').some((group) => textAt(group, 'metadata', 'name') === 'coordination.k8s.io'),
      )
      assert.match(textAt(done(await client.get('/version'), 200), 'gitVersion'), /^v1\.\d+\.\d+$/)
      refused(await client.get('/api/v1/nothings'), 404, 'NotFound', 'the server could not find the requested resource')
      assert.equal((await client.get('/apis/nobody.example.com/v1')).status, 404)
    },
  },
  {
    title: 'whoever asks is told who they are and that they may do it, and no such question is kept',
    run: async (client) => {
      const reviews = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
      const asked = done(
        await client.post(reviews, {
          spec: { resourceAttributes: { verb: 'create', resource: 'pods', namespace: 'x' } },
        }),
        201,
      )
      assert.deepEqual(
        [textAt(asked, 'kind'), at(asked, 'status', 'allowed'), textAt(asked, 'spec', 'resourceAttributes', 'verb')],
        ['SelfSubjectAccessReview', true, 'create'],
      )
      assert.equal((await client.get(reviews)).status, 405)
      const whoami = done(await client.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {}), 201)
      assert.ok(textsAt(whoami, 'status', 'userInfo', 'groups').includes('system:authenticated'))
      const rules = done(
        await client.post('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', { spec: { namespace: 'default' } }),
        201,
      )
      assert.ok(listAt(rules, 'status', 'resourceRules').some((rule) => textsAt(rule, 'verbs').includes('*')))
    },
  },
]
