import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { VirtualClock } from '../../clock/clock.ts'
import { seededRandom } from '../../clock/random.ts'
import type { NodeObject, PodObject } from '../../cluster/objects.ts'
import type { ObjectAccess } from '../apiserver/access.ts'
import { startApiServer } from '../apiserver/server.ts'
import { nodeShapes } from '../workload/node-shapes.ts'
import type { KubeletPodStatus } from './pod-stages.ts'
import { type VirtualNodes, startVirtualNodes } from './virtual-nodes.ts'
import { openbNodes, openbPod, openbPodRows } from '../traces/openb.ts'
import { syntheticWorkload, workloadPriorityClasses } from '../workload/workload.ts'
import { parseWorkload } from '../workload/workload-file.ts'

// The embedded API server and the virtual nodes together: what one writes, the other must take.

interface Cluster {
  readonly clock: VirtualClock
  readonly objects: ObjectAccess
  readonly nodes: VirtualNodes
  readonly log: string[]
  readonly pod: (name: string) => (PodObject & { status?: KubeletPodStatus }) | undefined
}

const cluster = async (context: TestContext): Promise<Cluster> => {
  const clock = new VirtualClock()
  const server = await startApiServer({ clock, tls: false, random: seededRandom(3) })
  const { objects } = server
  const log: string[] = []
  const nodes = startVirtualNodes({ objects, clock, random: seededRandom(1), speed: 1, log: (line) => log.push(line) })
  context.after(async () => {
    await nodes.stop()
    await server.stop()
  })
  return { clock, objects, nodes, log, pod: (name) => objects.get('pods', 'default', name) }
}

const bound = (
  name: string,
  nodeName: string,
  cpu = '1',
  more: Partial<NonNullable<PodObject['spec']>> = {},
): PodObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', annotations: { 'stowage.dev/duration': '20s' } },
  spec: { nodeName, containers: [{ name: 'c', image: 'i', resources: { requests: { cpu } } }], ...more },
})

test('in the embedded cluster pods run, succeed, and are refused where they do not fit', async (context) => {
  const { clock, objects, nodes, log, pod } = await cluster(context)
  nodes.addNodes(nodeShapes(['cpu=2'], 2))
  for (const [name, node] of [
    ['a', 'node-0000'],
    ['b', 'node-0000'],
    ['c', 'node-0000'],
    ['d', 'node-0001'],
  ] as const) {
    objects.create('pods', bound(name, node))
  }
  clock.advance(1000)
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((name) => pod(name)?.status?.phase),
    ['Running', 'Running', 'Failed', 'Running'],
  )
  assert.equal(pod('c')?.status?.reason, 'OutOfcpu')
  assert.equal(pod('d')?.status?.podIP, '10.0.4.2')
  clock.advance(20_000)
  assert.equal(pod('a')?.status?.phase, 'Succeeded')
  assert.deepEqual(nodes.counts(), { nodes: 2, running: 0, succeeded: 3, failed: 1, violations: { OutOfcpu: 1 } })
  assert.equal(log.length, 1)
  assert.match(log[0] ?? '', /refused/)
})

test('in the embedded cluster a deleted pod goes in its grace, and a lost node comes back as it was', async (context) => {
  const { clock, objects, nodes, log, pod } = await cluster(context)
  nodes.addNodes(nodeShapes([], 2))
  objects.create('pods', bound('p', 'node-0000'))
  objects.create('pods', bound('q', 'node-0000'))
  clock.advance(1000)
  objects.remove('pods', 'default', 'p')
  assert.notEqual(pod('p')?.metadata?.deletionTimestamp, undefined)
  clock.advance(1000)
  assert.equal(pod('p'), undefined)
  const node = (): NodeObject => objects.get('nodes', '', 'node-0000') ?? {}
  nodes.failures.nodeUnreachable('node-0000')
  clock.advance(60_000)
  assert.equal(node().status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'Unknown')
  assert.equal(node().spec?.taints?.length, 2)
  nodes.failures.nodeBack('node-0000')
  clock.advance(1000)
  assert.equal(node().status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'True')
  assert.deepEqual(node().spec?.taints ?? [], [])
  assert.equal(pod('q')?.status?.phase, 'Succeeded')
  nodes.failures.nodeVanishes('node-0000')
  clock.advance(10)
  assert.equal(pod('q'), undefined)
  assert.equal(objects.get('leases.coordination.k8s.io', 'kube-node-lease', 'node-0000'), undefined)
  assert.deepEqual(log, [])
})

test('the embedded API server takes every generated pod, node and priority class as valid', async (context) => {
  const { clock, objects, nodes, log } = await cluster(context)
  const shapes = [
    ...nodeShapes(['cpu=16,nvidia.com/gpu=8', 'cpu=3500m,memory=1.5Gi'], 6),
    ...openbNodes(
      'nodes.csv',
      'sn,cpu_milli,memory_mib,gpu,model\nopenb-node-0000,64000,262144,2,P100\nopenb-node-0001,32000,131072,0,\n',
    ),
  ]
  nodes.addNodes(shapes)
  for (const priorityClass of workloadPriorityClasses)
    objects.create('priorityclasses.scheduling.k8s.io', priorityClass)
  const header = 'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time'
  const rows = ['p-0,12000,16384,1,460,P100|T4,LS,0,9', 'p-1,0,0,8,1000,,BE,0,9', 'p-2,1,1,0,0,,Burstable,0,0']
  const pods = [
    ...syntheticWorkload({ pods: 400, spanMs: 1, random: seededRandom(9), nodes: shapes, schedulerName: 's' }).map(
      ({ pod }) => pod,
    ),
    ...openbPodRows('pods.csv', [header, ...rows].join('\n')).map((row) =>
      openbPod(row, { schedulerName: 's', namespace: 'default' }),
    ),
    ...['Deployment', 'StatefulSet', 'Job'].flatMap(
      (kind) =>
        parseWorkload(
          'w.yaml',
          `kind: ${kind}\nmetadata: { name: ${kind.toLowerCase()}, namespace: default }\nspec: { replicas: 3, parallelism: 3, template: { spec: { restartPolicy: ${kind === 'Job' ? 'Never' : 'Always'}, containers: [{ name: c, image: i }] } } }`,
        ).pods,
    ),
  ]
  for (const pod of pods) objects.create('pods', pod)
  assert.equal(objects.list('pods').length, 412)
  clock.advance(320_000)
  assert.deepEqual(log, [])
  assert.equal(objects.list('nodes').length, 8)
})
