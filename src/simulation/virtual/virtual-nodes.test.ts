import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../../clock/clock.ts'
import { seededRandom } from '../../clock/random.ts'
import type { NodeObject, ObjectMeta, PodObject, PodSpec } from '../../cluster/objects.ts'
import { MemoryObjects } from './memory-objects.ts'
import { nodeShapes } from '../workload/node-shapes.ts'
import type { KubeletPodStatus } from './pod-stages.ts'
import type { NodeLease } from './virtual-node-object.ts'
import { type VirtualNodes, type VirtualNodesOptions, startVirtualNodes } from './virtual-nodes.ts'

interface World {
  readonly clock: VirtualClock
  readonly objects: MemoryObjects
  readonly nodes: VirtualNodes
  readonly log: string[]
  readonly bind: (name: string, nodeName: string, spec?: PodSpec, metadata?: ObjectMeta) => void
  readonly pod: (name: string) => (PodObject & { status?: KubeletPodStatus }) | undefined
  readonly phase: (name: string) => string | undefined
  readonly node: (name: string) => NodeObject
  readonly lease: (name: string) => NodeLease | undefined
}

const world = (options: Partial<VirtualNodesOptions> = {}): World => {
  const clock = new VirtualClock()
  const objects = new MemoryObjects(clock)
  const log: string[] = []
  const nodes = startVirtualNodes({
    objects,
    clock,
    random: seededRandom(1),
    speed: 1,
    log: (line) => log.push(line),
    ...options,
  })
  const pod = (name: string): PodObject | undefined => objects.get('pods', 'default', name)
  return {
    clock,
    objects,
    nodes,
    log,
    bind: (name, nodeName, spec = {}, metadata = {}) => {
      const containers = [{ name: 'c', image: 'i', resources: { requests: { cpu: '1', memory: '1Gi' } } }]
      const created: PodObject = {
        metadata: { name, namespace: 'default', ...metadata },
        spec: { containers, ...spec },
        status: { phase: 'Pending' },
      }
      objects.create('pods', created)
      const unbound: PodObject = pod(name) ?? {}
      objects.update('pods', { ...unbound, spec: { ...unbound.spec, nodeName } } as PodObject)
    },
    pod,
    phase: (name) => pod(name)?.status?.phase,
    node: (name) => objects.get('nodes', '', name) ?? {},
    lease: (name) => objects.get('leases.coordination.k8s.io', 'kube-node-lease', name) as NodeLease | undefined,
  }
}

const ready = (node: NodeObject): (string | undefined)[] => {
  const condition = node.status?.conditions?.find(({ type }) => type === 'Ready')
  return [condition?.status, condition?.reason, condition?.message]
}

test('a virtual node looks like a node: labels, capacity, conditions, addresses and a pod network', async () => {
  const { nodes, node } = world()
  nodes.addNodes(nodeShapes(['cpu=4,memory=8Gi,pods=20,nvidia.com/gpu=2'], 2))
  const second = node('node-0001')
  assert.deepEqual(second.metadata?.labels, {
    'kubernetes.io/hostname': 'node-0001',
    'kubernetes.io/arch': 'amd64',
    'kubernetes.io/os': 'linux',
    'stowage.dev/virtual': 'true',
    'topology.kubernetes.io/region': 'region-1',
    'topology.kubernetes.io/zone': 'zone-b',
    'node.kubernetes.io/instance-type': 'c4-m8gi-gpu2',
  })
  const offered = { cpu: '4', memory: '8Gi', pods: '20', 'ephemeral-storage': '100Gi', 'nvidia.com/gpu': '2' }
  assert.deepEqual(second.status?.allocatable, offered)
  assert.deepEqual(second.status?.capacity, offered)
  assert.equal(second.spec?.podCIDR, '10.0.4.0/22')
  assert.deepEqual(second.status?.addresses?.[0], { type: 'InternalIP', address: '172.16.0.2' })
  assert.deepEqual(
    second.status?.conditions?.map(({ type, status }) => `${type}=${status}`),
    ['MemoryPressure=False', 'DiskPressure=False', 'PIDPressure=False', 'Ready=True'],
  )
  assert.equal(second.status?.nodeInfo?.['operatingSystem'], 'linux')
  await nodes.stop()
})

test('every node renews its lease each 10 s, and the renewals are spread over that time', async () => {
  const { nodes, clock, lease, objects } = world()
  nodes.addNodes(nodeShapes([], 200))
  clock.advance(10)
  const names = Array.from({ length: 200 }, (_, index) => `node-${String(index).padStart(4, '0')}`)
  assert.ok(names.every((name) => lease(name)?.spec.leaseDurationSeconds === 40))
  clock.advance(20_000)
  for (let s = 0; s < 30; s++) {
    const before = objects.writes
    clock.advance(1000)
    assert.ok(objects.writes - before <= 25, `${objects.writes - before} writes in a second`)
  }
  for (const name of names) {
    const ageMs = clock.nowMs() - Date.parse(lease(name)?.spec.renewTime ?? '')
    assert.ok(ageMs <= 10_000, `${name} renewed ${ageMs} ms ago`)
  }
  await nodes.stop()
})

test('conditions are posted again within five minutes, without a change of their transition', async () => {
  const { nodes, clock, node } = world()
  nodes.addNodes(nodeShapes([], 3))
  const before = node('node-0000').status?.conditions?.[3]
  clock.advance(311_000)
  const after = node('node-0000').status?.conditions?.[3]
  assert.ok(Date.parse(after?.lastHeartbeatTime ?? '') > Date.parse(before?.lastHeartbeatTime ?? ''))
  assert.equal(after?.lastTransitionTime, before?.lastTransitionTime)
  await nodes.stop()
})

test('a bound pod runs within a second, with an address of its node, and succeeds after its duration', async () => {
  const { nodes, clock, bind, pod, phase } = world()
  nodes.addNodes(nodeShapes([], 2))
  bind('p', 'node-0001', {}, { annotations: { 'stowage.dev/duration': '90s' } })
  bind('q', 'node-0001', { hostNetwork: true })
  assert.equal(phase('p'), 'Pending')
  clock.advance(1000)
  assert.equal(phase('p'), 'Running')
  assert.equal(pod('p')?.status?.podIP, '10.0.4.2')
  assert.equal(pod('p')?.status?.hostIP, '172.16.0.2')
  assert.equal(pod('q')?.status?.podIP, '172.16.0.2')
  assert.equal(nodes.counts().running, 2)
  clock.advance(88_000)
  assert.equal(phase('p'), 'Running')
  clock.advance(2000)
  assert.equal(phase('p'), 'Succeeded')
  clock.advance(10_000_000)
  assert.equal(phase('q'), 'Running')
  assert.deepEqual(nodes.counts(), { nodes: 2, running: 1, succeeded: 1, failed: 0, violations: {} })
  await nodes.stop()
})

test('speed divides how long pods start, run and stop', async () => {
  const { nodes, clock, bind, phase } = world({ speed: 1000 })
  nodes.addNodes(nodeShapes([], 1))
  bind('p', 'node-0000', {}, { annotations: { 'stowage.dev/duration': '1h' } })
  clock.advance(1)
  assert.equal(phase('p'), 'Running')
  clock.advance(3600)
  assert.equal(phase('p'), 'Succeeded')
  await nodes.stop()
})

test('a deleted pod stops within a second and is gone', async () => {
  const { nodes, clock, bind, pod, objects } = world()
  nodes.addNodes(nodeShapes([], 1))
  bind('p', 'node-0000')
  clock.advance(1000)
  objects.remove('pods', 'default', 'p')
  assert.ok(pod('p')?.metadata?.deletionTimestamp !== undefined)
  clock.advance(1000)
  assert.equal(pod('p'), undefined)
  assert.equal(nodes.counts().running, 0)
  await nodes.stop()
})

test('a pod that does not fit what others left is refused as kubelet refuses it, and counted as a violation', async () => {
  const { nodes, clock, bind, pod, phase, log } = world()
  nodes.addNodes(nodeShapes(['cpu=2,memory=64Gi'], 1))
  for (const name of ['a', 'b', 'c']) bind(name, 'node-0000', {}, { annotations: { 'stowage.dev/duration': '10s' } })
  clock.advance(1000)
  assert.deepEqual([phase('a'), phase('b'), phase('c')], ['Running', 'Running', 'Failed'])
  assert.equal(pod('c')?.status?.reason, 'OutOfcpu')
  assert.equal(
    pod('c')?.status?.message,
    "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000, used: 2000, capacity: 2000",
  )
  assert.deepEqual(nodes.counts().violations, { OutOfcpu: 1 })
  assert.match(log.join(), /node-0000 refused pod default\/c: OutOfcpu/)
  clock.advance(11_000)
  bind('d', 'node-0000')
  clock.advance(1000)
  assert.equal(phase('d'), 'Running', 'pods that ended left their room')
  await nodes.stop()
})

test('a pod that is being deleted holds its room until it is gone', async () => {
  const { nodes, clock, bind, phase, objects } = world()
  nodes.addNodes(nodeShapes(['cpu=1'], 1))
  bind('a', 'node-0000')
  clock.advance(1000)
  objects.remove('pods', 'default', 'a')
  bind('b', 'node-0000')
  clock.advance(2000)
  bind('c', 'node-0000')
  clock.advance(1000)
  assert.deepEqual([phase('a'), phase('b'), phase('c')], [undefined, 'Failed', 'Running'])
  await nodes.stop()
})

test('an unreachable node gets the conditions and taints of the node controller, and is as before when it is back', async () => {
  const { nodes, clock, bind, pod, phase, node, lease } = world()
  nodes.addNodes(nodeShapes([], 2))
  const tolerations = [{ operator: 'Exists' }]
  bind('p', 'node-0000', { tolerations }, { annotations: { 'stowage.dev/duration': '30s' } })
  clock.advance(1000)
  const renewed = lease('node-0000')?.spec.renewTime
  nodes.failures.nodeUnreachable('node-0000')
  bind('late', 'node-0000', { tolerations })
  bind('raced', 'node-0000')
  clock.advance(60_000)
  assert.deepEqual(ready(node('node-0000')), ['Unknown', 'NodeStatusUnknown', 'Kubelet stopped posting node status.'])
  assert.deepEqual(
    node('node-0000').spec?.taints?.map(({ key, effect }) => `${key}:${effect}`),
    ['node.kubernetes.io/unreachable:NoSchedule', 'node.kubernetes.io/unreachable:NoExecute'],
  )
  assert.equal(lease('node-0000')?.spec.renewTime, renewed)
  assert.equal(phase('p'), 'Running', 'nobody tells how the pod fares')
  assert.equal(pod('p')?.status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'False')
  assert.equal(phase('late'), 'Pending')
  assert.equal(ready(node('node-0001'))[0], 'True')
  nodes.failures.nodeBack('node-0000')
  clock.advance(1000)
  assert.deepEqual(ready(node('node-0000')), ['True', 'KubeletReady', 'kubelet is posting ready status'])
  assert.deepEqual(node('node-0000').spec?.taints, [])
  assert.notEqual(lease('node-0000')?.spec.renewTime, renewed)
  assert.equal(phase('p'), 'Succeeded')
  assert.equal(phase('late'), 'Running')
  assert.equal(pod('raced'), undefined, 'evicted')
  assert.deepEqual(nodes.counts().violations, {}, 'a bind that raced with the loss is nobody’s fault')
  await nodes.stop()
})

test('pods are evicted from an unreachable node when they tolerate that no longer, and are gone when it is back', async () => {
  const { nodes, clock, bind, pod } = world()
  nodes.addNodes(nodeShapes([], 1))
  const tolerates = (tolerationSeconds: number): PodSpec => ({
    tolerations: [
      { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute', tolerationSeconds },
    ],
  })
  bind('strict', 'node-0000')
  bind('patient', 'node-0000', tolerates(300))
  bind('spared', 'node-0000', tolerates(400))
  clock.advance(1000)
  const deleting = (): boolean[] =>
    ['strict', 'patient', 'spared'].map((name) => pod(name)?.metadata?.deletionTimestamp !== undefined)
  nodes.failures.nodeUnreachable('node-0000')
  clock.advance(1000)
  assert.deepEqual(deleting(), [true, false, false])
  clock.advance(300_000)
  assert.deepEqual(deleting(), [true, true, false])
  nodes.failures.nodeBack('node-0000')
  clock.advance(600_000)
  assert.deepEqual([pod('strict'), pod('patient')], [undefined, undefined])
  assert.equal(pod('spared')?.status?.phase, 'Running')
  await nodes.stop()
})

test('a NoExecute taint that somebody sets drives pods away', async () => {
  const { nodes, clock, bind, pod, node, objects } = world()
  nodes.addNodes(nodeShapes([], 1))
  bind('p', 'node-0000')
  clock.advance(1000)
  const tainted = node('node-0000')
  objects.update('nodes', {
    ...tainted,
    spec: { ...tainted.spec, taints: [{ key: 'k', effect: 'NoExecute' }] },
  } as NodeObject)
  clock.advance(2000)
  assert.equal(pod('p'), undefined)
  await nodes.stop()
})

test('a node that vanishes takes its pods and its lease along, and its place can be taken again', async () => {
  const { nodes, clock, bind, pod, lease, objects } = world()
  nodes.addNodes(nodeShapes([], 2))
  bind('p', 'node-0000')
  clock.advance(1000)
  nodes.failures.nodeVanishes('node-0000')
  clock.advance(10)
  assert.equal(pod('p'), undefined)
  assert.equal(lease('node-0000'), undefined)
  assert.deepEqual(nodes.counts(), { nodes: 1, running: 0, succeeded: 0, failed: 0, violations: {} })
  nodes.addNodes(nodeShapes([], 1))
  clock.advance(10)
  assert.notEqual(lease('node-0000'), undefined)
  assert.equal(objects.list('nodes').length, 2)
  await nodes.stop()
})

test('a pod can be made to fail', async () => {
  const { nodes, clock, bind, pod } = world()
  nodes.addNodes(nodeShapes([], 1))
  bind('p', 'node-0000', {}, { annotations: { 'stowage.dev/duration': '10s' } })
  clock.advance(1000)
  nodes.failures.podFails('default', 'p', 'OOMKilled', 'out of memory')
  clock.advance(20_000)
  assert.deepEqual([pod('p')?.status?.phase, pod('p')?.status?.reason], ['Failed', 'OOMKilled'])
  assert.equal(nodes.counts().failed, 1)
  assert.equal(nodes.counts().running, 0)
  await nodes.stop()
})

test('failures of what does not exist say so', async () => {
  const { nodes } = world()
  assert.throws(() => nodes.failures.nodeVanishes('nobody'), { code: 'NOT_FOUND', message: /no virtual node "nobody"/ })
  assert.throws(() => nodes.failures.podFails('default', 'p', 'r', 'm'), { code: 'NOT_FOUND' })
  await nodes.stop()
})

test('a node that somebody else creates with the label comes to life, also with a pod that was bound to it before', async () => {
  const { clock, objects, nodes, bind, node, lease, phase } = world()
  bind('early', 'mine')
  clock.advance(5000)
  objects.create('nodes', {
    metadata: { name: 'mine', labels: { 'stowage.dev/virtual': 'true' } },
    status: { allocatable: { cpu: '2', memory: '4Gi', pods: '5' } },
  } as NodeObject)
  clock.advance(2000)
  assert.deepEqual(ready(node('mine'))[0], 'True')
  assert.notEqual(lease('mine'), undefined)
  assert.equal(phase('early'), 'Running')
  await nodes.stop()
})

test('a node without the label is left alone', async () => {
  const { clock, objects, nodes, bind, lease, phase } = world()
  objects.create('nodes', { metadata: { name: 'real' } })
  bind('p', 'real')
  clock.advance(100_000)
  assert.equal(lease('real'), undefined)
  assert.equal(phase('p'), 'Pending')
  await nodes.stop()
})

test('a pod bound to a node that does not exist is collected after 40 s', async () => {
  const { nodes, clock, bind, pod } = world()
  bind('p', 'nowhere')
  clock.advance(39_000)
  assert.notEqual(pod('p'), undefined)
  clock.advance(2000)
  assert.equal(pod('p'), undefined)
  await nodes.stop()
})

test('what was there at the start is taken up: nodes go on, running pods count and end', async () => {
  const first = world()
  first.nodes.addNodes(nodeShapes(['cpu=2'], 1))
  for (const name of ['a', 'b']) first.bind(name, 'node-0000', {}, { annotations: { 'stowage.dev/duration': '60s' } })
  first.clock.advance(1000)
  await first.nodes.stop()
  const second = startVirtualNodes({ objects: first.objects, clock: first.clock, random: seededRandom(2), speed: 1 })
  first.bind('c', 'node-0000')
  first.clock.advance(1000)
  assert.equal(first.phase('c'), 'Failed')
  first.clock.advance(60_000)
  assert.deepEqual(second.counts(), { nodes: 1, running: 0, succeeded: 2, failed: 1, violations: { OutOfcpu: 1 } })
  await second.stop()
})

test('usage is told at once and every 15 s for each reachable node, between nothing and what its running pods request', async () => {
  const told: [node: string, cpuMilli: number, memoryBytes: number][] = []
  const { nodes, clock, bind } = world({ reportUsage: (...usage) => told.push(usage) })
  nodes.addNodes(nodeShapes([], 3))
  clock.advance(1)
  assert.equal(told.length, 3, 'once at the start, so that metrics are served')
  bind('p', 'node-0000')
  bind('q', 'node-0000')
  clock.advance(1000)
  nodes.failures.nodeUnreachable('node-0002')
  told.length = 0
  clock.advance(30_000)
  assert.deepEqual([...new Set(told.map(([name]) => name))].sort(), ['node-0000', 'node-0001'])
  assert.equal(told.length, 4)
  for (const [name, cpuMilli, memoryBytes] of told) {
    if (name === 'node-0001') assert.deepEqual([cpuMilli, memoryBytes], [0, 0])
    else {
      assert.ok(cpuMilli >= 400 && cpuMilli <= 1600, String(cpuMilli))
      assert.ok(memoryBytes >= 2 ** 30 && memoryBytes <= 1.9 * 2 ** 30, String(memoryBytes))
    }
  }
  await nodes.stop()
})

test('a pod whose duration makes no sense runs until it is deleted, and the log says why', async () => {
  const { nodes, clock, bind, phase, log } = world()
  nodes.addNodes(nodeShapes([], 1))
  bind('p', 'node-0000', {}, { annotations: { 'stowage.dev/duration': 'soon' } })
  clock.advance(10_000)
  assert.equal(phase('p'), 'Running')
  assert.match(log.join(), /default\/p stays as it is: .*"soon" in annotation stowage.dev\/duration/)
  await nodes.stop()
})

test('a pod whose requests cannot be read is refused, and the nodes go on', async () => {
  const { nodes, clock, bind, pod } = world()
  nodes.addNodes(nodeShapes([], 1))
  bind('p', 'node-0000', { containers: [{ name: 'c', resources: { requests: { cpu: 'much' } } }] })
  clock.advance(1000)
  assert.equal(pod('p')?.status?.reason, 'UnexpectedAdmissionError')
  await nodes.stop()
})

test('after stop nothing is written any more', async () => {
  const { nodes, clock, bind, objects } = world()
  nodes.addNodes(nodeShapes([], 2))
  bind('p', 'node-0000')
  await nodes.stop()
  const { writes } = objects
  clock.advance(600_000)
  bind('q', 'node-0000')
  assert.equal(objects.writes, writes + 2, 'only the two of the bind')
})

test('five thousand nodes with thirty thousand pods are kept', { timeout: 60_000 }, async () => {
  const { nodes, clock, bind, objects } = world()
  nodes.addNodes(nodeShapes([], 5000))
  for (let i = 0; i < 30_000; i++) {
    bind(`p${i}`, `node-${String(i % 5000).padStart(4, '0')}`, {}, { annotations: { 'stowage.dev/duration': '8s' } })
  }
  clock.advance(10_000)
  assert.deepEqual(nodes.counts(), { nodes: 5000, running: 0, succeeded: 30_000, failed: 0, violations: {} })
  assert.equal(objects.list('leases.coordination.k8s.io').length, 5000)
  await nodes.stop()
})
