import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import type { PodGroupObject } from '../../src/cluster/gangs.ts'
import type { KubeObject } from '../../src/cluster/objects.ts'
import { createObject, type ResourceKind } from '../../src/kubernetes/objects.ts'
import { node, pod, type PodBuilder } from '../builders.ts'
import { type ControlPlane, realControlPlane } from '../real-control-plane.ts'
import { Cluster, startEmbedded, type Watched } from './cluster.ts'
import { type RunningScheduler, type SchedulerOptions, startScheduler, unaccounted } from './scheduler.ts'

/** A way to say that pods belong together. */
interface Form {
  readonly name: string
  /** where its object is; undefined: it has none */
  readonly kind: ResourceKind | undefined
  readonly spec: (minCount: number) => object
  readonly mark: (builder: PodBuilder, group: string, minCount: number) => PodBuilder
}

const groupsOf = (root: string): ResourceKind => ({ root, plural: 'podgroups', namespaced: true })
const labelled: Form = {
  name: 'our annotations',
  kind: undefined,
  spec: () => ({}),
  mark: (builder, group, minCount) =>
    builder.annotation('stowage.dev/gang', group).annotation('stowage.dev/gang-size', `${minCount}`),
}
const kubernetes: Form = {
  name: "Kubernetes' PodGroup",
  kind: groupsOf('/apis/scheduling.k8s.io/v1beta1'),
  spec: (minCount) => ({ schedulingPolicy: { gang: { minCount } } }),
  mark: (builder, group) => builder.spec({ schedulingGroup: { podGroupName: group } }),
}
const coscheduling: Form = {
  name: "coscheduling's PodGroup",
  kind: groupsOf('/apis/scheduling.x-k8s.io/v1alpha1'),
  spec: (minMember) => ({ minMember, scheduleTimeoutSeconds: 3 }),
  mark: (builder, group) => builder.label('scheduling.x-k8s.io/pod-group', group),
}
const volcano: Form = {
  name: "Volcano's PodGroup",
  kind: groupsOf('/apis/scheduling.volcano.sh/v1beta1'),
  spec: (minMember) => ({ minMember }),
  mark: (builder, group) => builder.annotation('scheduling.k8s.io/group-name', group),
}

/** The least that makes an API server serve such a kind. */
const definitionOf = ({ root }: ResourceKind): KubeObject => {
  const [, , group = '', version = ''] = root.split('/')
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } }
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `podgroups.${group}`,
      // What ends in k8s.io is protected.
      annotations: { 'api-approved.kubernetes.io': 'unapproved, a test' },
    },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural: 'podgroups', singular: 'podgroup', kind: 'PodGroup', listKind: 'PodGroupList' },
      versions: [{ name: version, served: true, storage: true, schema, subresources: { status: {} } }],
    },
  } as KubeObject
}
const DEFINITIONS: ResourceKind = {
  root: '/apis/apiextensions.k8s.io/v1',
  plural: 'customresourcedefinitions',
  namespaced: false,
}
const PRIORITY_CLASSES: ResourceKind = {
  root: '/apis/scheduling.k8s.io/v1',
  plural: 'priorityclasses',
  namespaced: false,
}

interface Definition extends KubeObject {
  status?: { conditions?: { type?: string; status?: string }[] }
}

/** Has the server serve the kinds that are not its own. */
const install = async (cluster: Cluster, kinds: readonly ResourceKind[]): Promise<void> => {
  const definitions = cluster.watch<Definition>(DEFINITIONS)
  for (const kind of kinds) await createObject(cluster.connection, DEFINITIONS, definitionOf(kind))
  await definitions.until('the definitions are established', (objects) => {
    const established = [...objects.values()].filter(({ status }) =>
      status?.conditions?.some(({ type, status: its }) => type === 'Established' && its === 'True'),
    )
    return established.length === kinds.length
  })
}

/** The kinds of coscheduling and Volcano. */
const installOthers = async (kubeconfigPath: string): Promise<void> => {
  const cluster = new Cluster(kubeconfigPath)
  await install(
    cluster,
    [coscheduling, volcano].flatMap(({ kind }) => (kind === undefined ? [] : [kind])),
  )
  await cluster.close()
}

const minCountWords = (scheduled: number, minCount = 3): RegExp =>
  new RegExp(`^minCount \\(${minCount}\\) cannot be satisfied: ${scheduled} scheduled, \\d remaining[.,] `)

/** What holds however a gang is said, against the server that `at` gives. */
const gangs = (form: Form, at: () => { readonly kubeconfigPath: string }): void => {
  describe(`gangs by ${form.name}`, () => {
    let cluster: Cluster
    let schedulers: RunningScheduler[] = []
    let groups: Watched<PodGroupObject> | undefined

    beforeEach(() => {
      cluster = new Cluster(at().kubeconfigPath)
      groups = form.kind && cluster.watch<PodGroupObject>(form.kind)
    })
    afterEach(async () => {
      await Promise.all(schedulers.map((scheduler) => scheduler.stop()))
      for (const { system } of schedulers) assert.equal(unaccounted(system), 0)
      schedulers = []
      await cluster.empty()
      await cluster.close()
    })
    const schedule = async (options: SchedulerOptions = {}): Promise<RunningScheduler> => {
      const scheduler = await startScheduler(at().kubeconfigPath, options)
      schedulers.push(scheduler)
      return scheduler
    }
    /** Names are used once: Kubernetes' groups stay until its controller lets them go, which does not run. */
    const createGroup = async (name: string, minCount: number, more: object = {}): Promise<void> => {
      if (form.kind === undefined) return
      const spec = { ...form.spec(minCount), ...more }
      const [, , group, version] = form.kind.root.split('/')
      const object = {
        apiVersion: `${group}/${version}`,
        kind: 'PodGroup',
        metadata: { name, namespace: 'default' },
        spec,
      }
      await createObject(cluster.connection, form.kind, object as KubeObject)
    }
    const member = (group: string, number: number, minCount: number): PodBuilder =>
      form.mark(pod(`${group}-${number}`).cpu(1).scheduler('stowage'), group, minCount)
    const members = (group: string, count: number, minCount = count): PodBuilder[] =>
      Array.from({ length: count }, (_, number) => member(group, number, minCount))
    const boundOf = (group: string): number =>
      [...cluster.pods.objects.values()].filter(
        ({ metadata, spec }) => spec?.nodeName && metadata?.name?.startsWith(`${group}-`),
      ).length
    const group = (name: string, found: (object: PodGroupObject) => boolean | undefined): Promise<PodGroupObject> => {
      assert.ok(groups)
      return groups.until(`the status of group ${name}`, (objects) => {
        const object = objects.get(`default/${name}`)
        return object !== undefined && found(object) === true && object
      })
    }
    /** What the API leaves to the scheduler to say of the group. */
    const saysScheduled = async (name: string): Promise<void> => {
      if (form === kubernetes)
        await group(name, ({ status }) =>
          status?.conditions?.some(
            ({ reason, status: its, type }) =>
              type === 'PodGroupInitiallyScheduled' && its === 'True' && reason === 'Scheduled',
          ),
        )
      if (form === volcano)
        await group(
          name,
          ({ status }) => status?.phase === 'Running' && status.conditions?.some(({ type }) => type === 'Scheduled'),
        )
      if (form === coscheduling) assert.equal(groups?.objects.get(`default/${name}`)?.status, undefined)
    }
    const saysUnschedulable = async (name: string, words: RegExp): Promise<void> => {
      if (form === kubernetes)
        await group(name, ({ status }) =>
          status?.conditions?.some(
            ({ message = '', reason, status: its, type }) =>
              type === 'PodGroupInitiallyScheduled' &&
              its === 'False' &&
              reason === 'Unschedulable' &&
              words.test(message),
          ),
        )
      if (form === volcano)
        await group(
          name,
          ({ status }) =>
            status?.phase === 'Pending' &&
            status.conditions?.some(({ message = '', type }) => type === 'Unschedulable' && words.test(message)),
        )
    }

    test('all go or none, when all are there and have room', async () => {
      await schedule()
      await createGroup('all', 3)
      await cluster.create(node('n1').cpu(2), ...members('all', 2, 3))
      const held = await cluster.scheduledCondition('all-0', ({ reason }) => reason === 'SchedulingGated')
      assert.match(
        held.message ?? '',
        /^waiting for minCount pods from a gang to appear in scheduling queue: 2 of 3 are/,
      )
      await cluster.create(member('all', 2, 3))
      for (const name of ['all-0', 'all-1', 'all-2']) assert.match(await cluster.refused(name), minCountWords(2))
      await saysUnschedulable('all', minCountWords(2))
      assert.equal(boundOf('all'), 0)
      await cluster.create(node('n2').cpu(1))
      await Promise.all(['all-0', 'all-1', 'all-2'].map((name) => cluster.bound(name)))
      await saysScheduled('all')
    })

    test('two that need the same room do not lock each other out: one goes whole, then the other', async () => {
      await schedule()
      await createGroup('a', 3)
      await createGroup('b', 3)
      await cluster.create(node('n1').cpu(2), node('n2').cpu(2))
      const b = members('b', 3)
      await cluster.create(...members('a', 3).flatMap((one, number) => [one, ...b.slice(number, number + 1)]))
      const first = await cluster.pods.until('one is whole', () => ['a', 'b'].find((name) => boundOf(name) === 3))
      const second = first === 'a' ? 'b' : 'a'
      assert.match(await cluster.refused(`${second}-0`), minCountWords(1))
      assert.equal(boundOf(second), 0)
      for (const number of [0, 1, 2]) await cluster.deletePod(`${first}-${number}`)
      await cluster.pods.until('the other is whole', () => boundOf(second) === 3)
    })

    test('a scheduler that dies in the middle leaves no half gang: the next one completes it, and says so', async () => {
      let reserved = 0
      const decided = Promise.withResolvers<undefined>()
      await schedule({
        onDecision: ({ outcome }, scheduler) => {
          if (outcome !== 'reserved' || ++reserved < 4) return
          // What is decided at once is bound together: none, some or all of the binds get out.
          setImmediate(() => {
            scheduler.crash()
            decided.resolve(undefined)
          })
        },
      })
      await createGroup('cut', 4)
      await cluster.create(node('n1').cpu(2), node('n2').cpu(2))
      await cluster.create(...members('cut', 4))
      await decided.promise
      await schedule()
      await cluster.pods.until('it is whole', () => boundOf('cut') === 4)
      await saysScheduled('cut')
    })

    test('pods of lower priority make room for all of it, and nobody for half of it', async () => {
      const name = `important-${form.kind?.root.split('/')[2] ?? 'own'}`
      await createObject(cluster.connection, PRIORITY_CLASSES, {
        apiVersion: 'scheduling.k8s.io/v1',
        kind: 'PriorityClass',
        metadata: { name },
        value: 1000,
      } as KubeObject)
      await schedule()
      const priorityClassName = name
      await createGroup('g', 2, form === kubernetes ? { priorityClassName } : {})
      await createGroup('h', 4, form === kubernetes ? { priorityClassName } : {})
      await cluster.create(
        node('n1').cpu(1),
        node('n2').cpu(1),
        ...['x', 'y'].map((lowly) => pod(lowly).cpu(1).scheduler('stowage').spec({ terminationGracePeriodSeconds: 5 })),
      )
      await Promise.all(['x', 'y'].map((lowly) => cluster.bound(lowly)))
      await cluster.create(...members('h', 4).map((one) => one.spec({ priorityClassName })))
      assert.match(
        await cluster.refused('h-0'),
        /pod group preemption: minCount \(4\) cannot be satisfied: 2 scheduled, 1 remaining$/,
      )
      for (const number of [0, 1, 2, 3]) await cluster.deletePod(`h-${number}`)
      await cluster.create(...members('g', 2).map((one) => one.spec({ priorityClassName })))
      for (const lowly of ['x', 'y'])
        assert.equal(await cluster.leaves(lowly), 'stowage: preempting to accommodate a higher priority podgroup')
      assert.match(
        await cluster.refused('g-0'),
        /pod group preemption: (found a placement for podgroup, preempting 2 victims|ongoing preemption on nominated nodes)$/,
      )
      const nominated = await cluster.pods.until('both are nominated', () => {
        const nodes = ['g-0', 'g-1'].map((one) => cluster.pod(one)?.status?.nominatedNodeName ?? '')
        return nodes.every((one) => one !== '') && nodes
      })
      assert.deepEqual(nominated.toSorted(), ['n1', 'n2'])
      const told = await cluster.event('x', 'Preempted')
      assert.match(told.note ?? '', /^Preempted by podgroup \S+ on node n[12]$/)
      // There is no kubelet that would end them.
      await cluster.deletePod('x')
      await cluster.deletePod('y')
      assert.deepEqual([await cluster.bound('g-0'), await cluster.bound('g-1')], nominated)
    })
  })
}

describe('with the embedded API server', { timeout: 120_000 }, () => {
  let server: Awaited<ReturnType<typeof startEmbedded>>
  before(async () => {
    server = await startEmbedded()
    await installOthers(server.kubeconfigPath)
  })
  after(() => server.stop())
  for (const form of [labelled, coscheduling, volcano]) gangs(form, () => server)

  test('who cannot read PodGroups is ready all the same, and places what is in no gang', async () => {
    const cluster = new Cluster(server.kubeconfigPath)
    const remedy = server.server.faults.add({ path: /\/podgroups/, effect: { kind: 'status', status: 503 } })
    const scheduler = await startScheduler(server.kubeconfigPath)
    const { system } = scheduler
    try {
      const hasAsked = async (): Promise<boolean> =>
        /stowage_watch_cuts_total\{resource="podgroups"\} [1-9]/.test((await system.metrics.scrape()).body)
      while (!(await hasAsked())) await new Promise((resolve) => setImmediate(resolve))
      assert.deepEqual(system.readiness(), { ready: true, reasons: [] })
      await cluster.create(node('n1'), pod('alone').scheduler('stowage'))
      await cluster.bound('alone')
    } finally {
      remedy()
      await scheduler.stop()
      await cluster.empty()
      await cluster.close()
    }
  })
})

describe('with a real kube-apiserver', { skip: realControlPlane.skip, timeout: 300_000 }, () => {
  let plane: ControlPlane
  before(async () => {
    plane = await realControlPlane.start({
      featureGates: 'GenericWorkload=true',
      runtimeConfig: 'scheduling.k8s.io/v1beta1=true',
    })
    await installOthers(plane.kubeconfigPath)
  })
  after(() => plane.stop())
  for (const form of [labelled, kubernetes, coscheduling, volcano]) gangs(form, () => plane)

  test('the place of a member that may not be bound is kept until the timeout of its group, and no longer', async () => {
    const cluster = new Cluster(plane.kubeconfigPath)
    const policies = (plural: string): ResourceKind => ({
      root: '/apis/admissionregistration.k8s.io/v1',
      plural,
      namespaced: false,
    })
    const registered = (kind: string, spec: object): KubeObject =>
      ({ apiVersion: 'admissionregistration.k8s.io/v1', kind, metadata: { name: 'unbindable' }, spec }) as KubeObject
    await createObject(
      cluster.connection,
      policies('validatingadmissionpolicies'),
      registered('ValidatingAdmissionPolicy', {
        matchConstraints: {
          resourceRules: [
            { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods/binding'] },
          ],
        },
        validations: [{ expression: "object.metadata.name != 't-1'", message: 'not this one' }],
      }),
    )
    await createObject(
      cluster.connection,
      policies('validatingadmissionpolicybindings'),
      registered('ValidatingAdmissionPolicyBinding', { policyName: 'unbindable', validationActions: ['Deny'] }),
    )
    const mark = (builder: PodBuilder): PodBuilder => coscheduling.mark(builder.cpu(1).scheduler('stowage'), 't', 2)
    await cluster.create(node('n1').cpu(1), node('n2').cpu(1), mark(pod('t-0')), mark(pod('t-1')))
    // It takes a moment until the server knows its policies.
    for (let status = 201; status < 300; )
      ({ status } = await cluster.connection.request({
        method: 'POST',
        path: '/api/v1/namespaces/default/pods/t-1/binding',
        query: { dryRun: 'All' },
        body: { apiVersion: 'v1', kind: 'Binding', metadata: { name: 't-1' }, target: { kind: 'Node', name: 'n1' } },
      }))
    const scheduler = await startScheduler(plane.kubeconfigPath)
    assert.ok(coscheduling.kind)
    await createObject(cluster.connection, coscheduling.kind, {
      apiVersion: 'scheduling.x-k8s.io/v1alpha1',
      kind: 'PodGroup',
      metadata: { name: 't', namespace: 'default' },
      spec: coscheduling.spec(2),
    } as KubeObject)
    await cluster.bound('t-0')
    const failed = await cluster.scheduledCondition('t-1', ({ reason }) => reason === 'SchedulerError')
    assert.match(failed.message ?? '', /^running Bind plugin "DefaultBinder": .*not this one/)
    await cluster.create(pod('rival').cpu(1).scheduler('stowage'))
    assert.match(await cluster.refused('rival'), /^0\/2 nodes are available: 2 Insufficient cpu\./)
    await cluster.bound('rival')
    assert.equal(cluster.pod('t-1')?.spec?.nodeName, undefined)
    await scheduler.stop()
    assert.equal(unaccounted(scheduler.system), 0)
    await cluster.empty()
    await cluster.close()
  })
})
