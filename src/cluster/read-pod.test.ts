import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { pod } from '../../test/builders.ts'
import { StowageError } from '../errors/catalogue.ts'
import type { PodObject, PodSpec } from './objects.ts'
import { LabelTable, PodReader } from './read-pod.ts'
import { amountOf, CPU, MEMORY, ResourceNames } from './resources.ts'

const MIB = 1024 * 1024

const reader = (): PodReader => new PodReader(new ResourceNames(), new LabelTable())
const read = (object: PodObject) => reader().read(object)
const requests = (cpu: string, memory: string) => ({ resources: { requests: { cpu, memory } } })

describe('what a pod asks of a node', () => {
  const cases: [string, PodObject, number, number][] = [
    ['nothing, if it says nothing', pod('a').container({ name: 'c' }).object(), 0, 0],
    [
      'the sum of its containers',
      pod('a')
        .container({ name: 'x', ...requests('100m', '10Mi') })
        .container({ name: 'y', ...requests('1', '1Gi') })
        .object(),
      1100,
      1034 * MIB,
    ],
    [
      'an init container where that is more, per resource',
      pod('a')
        .container({ name: 'x', ...requests('500m', '10Mi') })
        .initContainer({ name: 'i', ...requests('200m', '64Mi') })
        .object(),
      500,
      64 * MIB,
    ],
    [
      'its sidecars, for good',
      pod('a')
        .container({ name: 'x', ...requests('500m', '10Mi') })
        .initContainer({ name: 's', restartPolicy: 'Always', ...requests('100m', '5Mi') })
        .object(),
      600,
      15 * MIB,
    ],
    [
      'an init container on top of the sidecars that started before it, and not of those after',
      pod('a')
        .container({ name: 'x', ...requests('100m', '10Mi') })
        .initContainer({ name: 's', restartPolicy: 'Always', ...requests('200m', '5Mi') })
        .initContainer({ name: 'i', ...requests('1', '1Mi') })
        .initContainer({ name: 't', restartPolicy: 'Always', ...requests('300m', '5Mi') })
        .object(),
      1200,
      20 * MIB,
    ],
    [
      'pod-level cpu and memory in place of the sum',
      pod('a')
        .container({ name: 'x', ...requests('100m', '10Mi') })
        .podLevelRequests({ cpu: '2' })
        .object(),
      2000,
      10 * MIB,
    ],
    [
      'the overhead of its runtime class too',
      pod('a')
        .container({ name: 'x', ...requests('100m', '10Mi') })
        .overhead({ cpu: '50m', memory: '1Mi' })
        .object(),
      150,
      11 * MIB,
    ],
  ]
  for (const [what, object, cpuMilli, memoryBytes] of cases)
    it(`is ${what}`, () => {
      const { request } = read(object).shape
      assert.equal(amountOf(request, CPU), cpuMilli)
      assert.equal(amountOf(request, MEMORY), memoryBytes)
    })

  it('counts 100 millicores and 200 MiB in scores for a container that says nothing, and an explicit zero as zero', () => {
    const silent = read(
      pod('a')
        .spec({ containers: [{ name: 'x' }, { name: 'y', ...requests('1', '1Mi') }] })
        .object(),
    ).shape
    assert.equal(silent.scoringCpuMilli, 1100)
    assert.equal(silent.scoringMemoryBytes, 201 * MIB)
    const zero = read(
      pod('a')
        .spec({ containers: [{ name: 'x', ...requests('0', '0') }] })
        .object(),
    ).shape
    assert.equal(zero.scoringCpuMilli, 0)
    assert.equal(zero.scoringMemoryBytes, 0)
  })

  it('takes the most of spec, allocation and use while a placed pod is resized in place', () => {
    const object = pod('a')
      .container({ name: 'x', ...requests('1', '10Mi') })
      .on('n')
      .object()
    object.status = {
      ...object.status,
      containerStatuses: [
        {
          name: 'x',
          allocatedResources: { cpu: '2', memory: '10Mi' },
          resources: { requests: { cpu: '500m', memory: '64Mi' } },
        },
      ],
    }
    const { placedRequest, shape } = read(object)
    assert.equal(amountOf(placedRequest, CPU), 2000)
    assert.equal(amountOf(placedRequest, MEMORY), 64 * MIB)
    assert.equal(amountOf(shape.request, CPU), 1000)
  })

  it('leaves the spec out of the count once the node has called a resize infeasible', () => {
    const object = pod('a')
      .container({ name: 'x', ...requests('64', '10Mi') })
      .on('n')
      .object()
    object.status = {
      ...object.status,
      conditions: [{ type: 'PodResizePending', status: 'True', reason: 'Infeasible' }],
      containerStatuses: [{ name: 'x', allocatedResources: { cpu: '1', memory: '10Mi' } }],
    }
    assert.equal(amountOf(read(object).placedRequest, CPU), 1000)
    object.status.containerStatuses = []
    assert.equal(amountOf(read(object).placedRequest, CPU), 0, 'nothing is reported, so nothing is there')
  })

  it('goes by what the node reports of the whole pod, where it does, and not of its containers', () => {
    const object = pod('a')
      .container({ name: 'x', ...requests('1', '10Mi') })
      .on('n')
      .object()
    object.spec = { ...object.spec, resources: { requests: { cpu: '2' } } }
    object.status = {
      ...object.status,
      allocatedResources: { cpu: '3' },
      containerStatuses: [{ name: 'x', allocatedResources: { cpu: '9', memory: '90Mi' } }],
    }
    assert.equal(amountOf(read(object).placedRequest, CPU), 2000, 'half a report of the pod counts for nothing')
    assert.equal(amountOf(read(object).placedRequest, MEMORY), 90 * MIB)
    object.status.resources = { requests: { cpu: '4' } }
    assert.equal(amountOf(read(object).placedRequest, CPU), 4000)
    assert.equal(amountOf(read(object).placedRequest, MEMORY), 10 * MIB)
  })
})

describe('reading pods', () => {
  it('gives pods of one template one shape, so that rules are worked out once', () => {
    const one = reader()
    const template = (name: string) => pod(name).cpu('1').nodeSelector('disk', 'ssd').label('pod-index', name).object()
    assert.equal(one.read(template('a')).shape, one.read(template('b')).shape)
    assert.notEqual(one.read(template('a')).shape, one.read(pod('c').cpu('2').object()).shape)
  })

  it('keeps the shape of a pod once it is bound', () => {
    const one = reader()
    assert.equal(one.read(pod('a').cpu('1').object()).shape, one.read(pod('a').cpu('1').on('n').object()).shape)
  })

  it('keeps apart shapes that differ in any one part, whatever was read before', () => {
    const main = { name: 'c', image: 'i', ...requests('1', '1Gi') }
    const required = (term: object) => ({ requiredDuringSchedulingIgnoredDuringExecution: [term] })
    const zone = { topologyKey: 'zone', labelSelector: {} }
    const expression = { matchExpressions: [{ key: 'disk', operator: 'Exists' as const }] }
    const spread = { ...zone, maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' }
    const parts: PodSpec[] = [
      {},
      { containers: [main, main] },
      { containers: [{ ...main, image: 'j' }] },
      { containers: [{ ...main, ...requests('2', '1Gi') }] },
      { containers: [{ ...main, ports: [{ hostPort: 80 }] }] },
      { containers: [{ ...main, restartPolicyRules: [{ action: 'RestartAllContainers' }] }] },
      { containers: [{ ...main, volumeMounts: [{ bindMountOptions: ['noexec'] }] }] },
      { initContainers: [{ ...main, ...requests('3', '1Gi') }] },
      { initContainers: [{ ...main, ...requests('3', '1Gi'), restartPolicy: 'Always' }] },
      requests('4', '1Gi'),
      { overhead: { cpu: '7' } },
      { nodeSelector: { disk: 'ssd' } },
      {
        affinity: {
          nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [expression] } },
        },
      },
      {
        affinity: {
          nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, preference: expression }] },
        },
      },
      { affinity: { podAffinity: required(zone) } },
      { affinity: { podAntiAffinity: required(zone) } },
      { topologySpreadConstraints: [spread] },
      { topologySpreadConstraints: [{ ...spread, maxSkew: 2 }] },
      { tolerations: [{ operator: 'Exists' }] },
      { schedulingGates: [{ name: 'later' }] },
      { hostNetwork: true, hostUsers: false },
      { resourceClaims: [{}] },
    ]
    const one = reader()
    const shapes = parts.map((part) => {
      const object: PodObject = { metadata: { name: 'a', uid: 'a' }, spec: { containers: [main], ...part } }
      const { shape } = one.read(object)
      const { id: _, ...alone } = read(object).shape
      assert.deepEqual({ ...shape, id: undefined }, { ...alone, id: undefined })
      return shape
    })
    assert.equal(new Set(shapes).size, parts.length)
  })

  it('names what a pod asks for that no rule knows yet', () => {
    const spec = (part: object) => read(pod('a').spec(part).object()).shape.unsupported
    assert.deepEqual(spec({ resourceClaims: [{ name: 'gpu' }] }), ['resource claims (DRA)'])
    assert.deepEqual(spec({ volumes: [{ name: 'v', configMap: {} }] }), [])
  })

  it('infers what a node must declare, as kube-scheduler 1.37 does', () => {
    const features = (part: PodSpec) => read(pod('a').spec(part).object()).shape.requiredFeatures
    assert.deepEqual(features({ hostNetwork: true, hostUsers: false }), ['UserNamespacesHostNetworkSupport'])
    assert.deepEqual(features({ hostNetwork: true }), [])
    const restarting = { name: 'i', restartPolicyRules: [{ action: 'RestartAllContainers' }] }
    assert.deepEqual(features({ initContainers: [restarting] }), ['RestartAllContainersOnContainerExits'])
    const mounting = { name: 'm', volumeMounts: [{ bindMountOptions: ['ro'] }] }
    assert.deepEqual(features({ containers: [mounting] }), ['VolumeBindMountOptions'])
    assert.deepEqual(features({ containers: [{ name: 'm', volumeMounts: [{ bindMountOptions: [] }] }] }), [])
  })

  for (const [what, part] of [
    ['tolerations with a null', { tolerations: [null] }],
    ['spread constraints that are an object', { topologySpreadConstraints: {} }],
    [
      'a spread constraint without a key',
      { topologySpreadConstraints: [{ maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' }] },
    ],
    [
      'a spread constraint that is neither required nor preferred',
      { topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'Perhaps' }] },
    ],
    [
      'a skew of nothing',
      { topologySpreadConstraints: [{ maxSkew: 0, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' }] },
    ],
    [
      'pod affinity with an operator that label selectors do not have',
      {
        affinity: {
          podAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [
              {
                topologyKey: 'zone',
                labelSelector: { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] },
              },
            ],
          },
        },
      },
    ],
    [
      'pod anti-affinity without a key',
      { affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{}] } } },
    ],
    [
      'namespaces that are text',
      {
        affinity: {
          podAntiAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'zone', namespaces: 'all' }],
          },
        },
      },
    ],
    [
      'a required term that is text',
      { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: ['x'] } } } },
    ],
    [
      'an expression that is null',
      {
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [null] }] },
          },
        },
      },
    ],
    [
      'values that are no list',
      {
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'In', values: 'b' }] }],
            },
          },
        },
      },
    ],
  ] as const)
    it(`refuses ${what}, on which a rule would break later`, () => {
      assert.throws(
        () =>
          read(
            pod('a')
              .spec(part as never)
              .object(),
          ),
        { code: 'POD_MALFORMED' },
      )
    })

  it('gives images the tag that nodes report them under', () => {
    const images = (image: string) => read(pod('a').image(image).object()).shape.images
    assert.deepEqual(images('nginx'), ['nginx:latest'])
    assert.deepEqual(images('registry:5000/nginx'), ['registry:5000/nginx:latest'])
    assert.deepEqual(images('nginx:1.27'), ['nginx:1.27'])
    assert.deepEqual(images('nginx@sha256:abc'), ['nginx@sha256:abc'])
  })

  it('says which pod is broken and how', () => {
    assert.throws(
      () => read(pod('broken').namespace('team').cpu('two').object()),
      (error) =>
        error instanceof StowageError && error.code === 'POD_MALFORMED' && /team\/broken.*"two"/.test(error.message),
    )
  })

  it('reads or refuses whatever JSON claims to be a pod', () => {
    const one = reader()
    const json = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.string(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(
          fc.constantFrom(
            'containers',
            'resources',
            'requests',
            'cpu',
            'name',
            'affinity',
            'nodeAffinity',
            '__proto__',
            'conditions',
            'labels',
          ),
          tie('value'),
        ),
      ),
    })).value
    fc.assert(
      fc.property(json, json, json, (metadata, spec, status) => {
        try {
          one.read({ metadata, spec, status } as PodObject)
        } catch (error) {
          assert.ok(error instanceof StowageError, String(error))
        }
      }),
      { seed: 3, numRuns: 500 },
    )
  })
})
