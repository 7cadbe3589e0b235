import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { label, node, nodeName, pod, term } from '../builders.ts'
import { Stage } from './stage.ts'

const UNTOLERATED = 'node(s) had untolerated taint(s).'
const UNMATCHED = "node(s) didn't match Pod's node affinity/selector."

describe('taints and tolerations', () => {
  test('a NoSchedule taint keeps out a pod that says nothing of it', async () => {
    const stage = await Stage.of([node('n').taint('gpu', 'NoSchedule', 'a100')])
    assert.equal(await stage.where(pod('p')), `1 ${UNTOLERATED}`)
  })
  test('Exists tolerates every value of its key, Equal only its own', async () => {
    const stage = await Stage.of([node('n').taint('gpu', 'NoSchedule', 'a100')])
    assert.equal(await stage.where(pod('other').tolerates('gpu', { value: 'h100' })), `1 ${UNTOLERATED}`)
    assert.equal(await stage.where(pod('same').tolerates('gpu', { value: 'a100' })), 'n')
    assert.equal(await stage.where(pod('any').tolerates('gpu')), 'n')
  })
  test('a toleration of one effect does not help against another', async () => {
    const stage = await Stage.of([node('n').taint('gpu', 'NoExecute')])
    const tolerant = pod('p').tolerates('gpu', { operator: 'Exists', effect: 'NoSchedule' })
    assert.equal(await stage.where(tolerant), `1 ${UNTOLERATED}`)
  })
  test('an empty key with Exists tolerates everything, a cordoned node too', async () => {
    const stage = await Stage.of([node('n').taint('a', 'NoSchedule').taint('b', 'NoExecute').cordoned()])
    assert.equal(await stage.where(pod('p').toleration({ operator: 'Exists' })), 'n')
  })
  test('PreferNoSchedule keeps nobody out, but the node is taken last', async () => {
    const stage = await Stage.of([node('soft').cpu('64').taint('spare', 'PreferNoSchedule'), node('plain').cpu('2')])
    assert.equal(await stage.where(pod('p').cpu('1').memory('1Gi')), 'plain')
    assert.equal(await stage.where(pod('tolerant').cpu('1').memory('1Gi').tolerates('spare')), 'soft')
  })
  test('a cordoned node is told apart from a tainted one', async () => {
    const stage = await Stage.of([node('c').cordoned(), node('t').taint('gpu', 'NoSchedule')])
    assert.equal(await stage.where(pod('p')), `1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.`)
  })
})

describe('node selectors and affinity', () => {
  test('nodeSelector and required affinity must both hold', async () => {
    const stage = await Stage.of([
      node('ssd-a').label('disk', 'ssd').label('zone', 'a'),
      node('ssd-b').label('disk', 'ssd').label('zone', 'b'),
      node('hdd-b').label('disk', 'hdd').label('zone', 'b'),
    ])
    const picky = pod('p')
      .nodeSelector('disk', 'ssd')
      .requiresNode(term(label('zone').in('b')))
    assert.equal(await stage.where(picky), 'ssd-b')
  })
  test('terms are alternatives, the expressions of one term are not', async () => {
    const stage = await Stage.of([node('n').label('disk', 'ssd').label('zone', 'a')])
    const both = term(label('disk').in('ssd'), label('zone').in('b'))
    assert.equal(await stage.where(pod('both').requiresNode(both)), `1 ${UNMATCHED}`)
    assert.equal(await stage.where(pod('either').requiresNode(both, term(label('zone').in('a')))), 'n')
  })
  test('a term without any expression matches no node', async () => {
    const stage = await Stage.of([node('n')])
    assert.equal(await stage.where(pod('p').requiresNode(term())), `1 ${UNMATCHED}`)
  })
  test('NotIn and DoesNotExist also match nodes without the label', async () => {
    const stage = await Stage.of([node('bare')])
    assert.equal(await stage.where(pod('not-in').requiresNode(term(label('disk').notIn('hdd')))), 'bare')
    assert.equal(await stage.where(pod('absent').requiresNode(term(label('disk').isAbsent()))), 'bare')
  })
  test('Gt and Lt compare whole numbers; anything else matches neither', async () => {
    const stage = await Stage.of([node('few').label('cores', '4'), node('odd').label('cores', 'many')])
    assert.equal(await stage.where(pod('more').requiresNode(term(label('cores').greaterThan(3)))), 'few')
    assert.equal(await stage.where(pod('fewer').requiresNode(term(label('cores').lessThan(5)))), 'few')
    assert.equal(await stage.where(pod('equal').requiresNode(term(label('cores').greaterThan(4)))), `2 ${UNMATCHED}`)
  })
  test('a pod pinned by name is told of the other nodes in words of their own', async () => {
    const stage = await Stage.of([node('a').cpu('1'), node('b')])
    assert.equal(
      await stage.where(
        pod('p')
          .cpu('2')
          .requiresNode(term(nodeName().in('a'))),
      ),
      "1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity].",
    )
  })
  test('names that contradict each other refuse the pod before any node is asked', async () => {
    const stage = await Stage.of([node('a'), node('b')])
    const torn = pod('p').requiresNode(term(nodeName().in('a'), nodeName().in('b')))
    assert.match(await stage.told(torn), /^0\/2 nodes are available: pod affinity terms conflict\./)
  })
  test('of the preferred terms the heavier one decides', async () => {
    const stage = await Stage.of([node('a').label('disk', 'ssd'), node('b').label('zone', 'near')])
    const torn = pod('p')
      .prefersNode(10, term(label('disk').in('ssd')))
      .prefersNode(90, term(label('zone').in('near')))
    assert.equal(await stage.where(torn), 'b')
  })
})

describe('host ports', () => {
  const CLASH = "1 node(s) didn't have free ports for the requested pod ports."
  test('two pods with one host port do not share a node', async () => {
    const stage = await Stage.of([node('n')], [pod('first').hostPort(80).on('n')])
    assert.equal(await stage.where(pod('second').hostPort(80)), CLASH)
  })
  test('another protocol or another address is another port', async () => {
    const stage = await Stage.of([node('n')], [pod('first').hostPort(80, { hostIP: '10.0.0.1' }).on('n')])
    assert.equal(await stage.where(pod('udp').hostPort(80, { protocol: 'UDP' })), 'n')
    assert.equal(await stage.where(pod('elsewhere').hostPort(80, { hostIP: '10.0.0.2' })), 'n')
    assert.equal(await stage.where(pod('everywhere').hostPort(80)), CLASH)
  })
  test('the port of a sidecar counts, that of an ordinary init container does not', async () => {
    const ports = [{ containerPort: 80, hostPort: 80 }]
    const stage = await Stage.of([node('n')], [pod('first').hostPort(80).on('n')])
    assert.equal(await stage.where(pod('init').initContainer({ name: 'i', ports })), 'n')
    assert.equal(await stage.where(pod('sidecar').initContainer({ name: 's', restartPolicy: 'Always', ports })), CLASH)
  })
})

describe('resources', () => {
  test('every resource that lacks is named, and the number of pods too', async () => {
    const stage = await Stage.of([node('n').cpu('1').memory('1Gi').pods(0)])
    assert.equal(
      await stage.where(pod('p').cpu('2').memory('2Gi').request('example.com/gpu', 1)),
      '1 Insufficient cpu, 1 Insufficient example.com/gpu, 1 Insufficient memory, 1 Too many pods.',
    )
  })
  test('an init container counts when it needs more than all containers together', async () => {
    const stage = await Stage.of([node('n').cpu('2')])
    const heavyStart = pod('p')
      .cpu('1')
      .initContainer({ name: 'i', resources: { requests: { cpu: '2500m' } } })
    assert.equal(await stage.where(heavyStart), '1 Insufficient cpu.')
  })
  test('a sidecar runs on: it adds to the containers and to the init containers after it', async () => {
    const sidecar = { name: 's', restartPolicy: 'Always', resources: { requests: { cpu: '1' } } }
    const init = { name: 'i', resources: { requests: { cpu: '1500m' } } }
    const stage = await Stage.of([node('n').cpu('2')])
    assert.equal(await stage.where(pod('after').initContainer(sidecar).initContainer(init)), '1 Insufficient cpu.')
    assert.equal(await stage.where(pod('before').initContainer(init).initContainer(sidecar)), 'n')
  })
  test('requests of the pod as a whole replace those of its containers; overhead comes on top', async () => {
    const stage = await Stage.of([node('n').cpu('2')])
    const whole = (name: string) => pod(name).cpu('500m').podLevelRequests({ cpu: '2' })
    assert.equal(await stage.where(whole('overhead').overhead({ cpu: '1m' })), '1 Insufficient cpu.')
    assert.equal(await stage.where(whole('exact')), 'n')
  })
  test('pods are spread to where most is left', async () => {
    const stage = await Stage.of([node('a').cpu('8'), node('b').cpu('8')], [pod('x').cpu('4').memory('4Gi').on('a')])
    assert.equal(await stage.where(pod('p').cpu('1').memory('1Gi')), 'b')
  })
  test('of two nodes with equal room, the one with the image wins', async () => {
    const image = 800 * 1024 * 1024
    const stage = await Stage.of([node('a'), node('b').image(image, 'model:7'), node('c')])
    assert.equal(await stage.where(pod('p').cpu('1').memory('1Gi').image('model:7')), 'b')
  })
})

describe('gates', () => {
  test('a gated pod is not tried and hears nothing, until its last gate goes', async () => {
    const stage = await Stage.of([node('n')])
    assert.equal(await stage.told(pod('p').gatedBy('example.com/a', 'example.com/b')), 'nothing')
    assert.equal(await stage.told(pod('p').resourceVersion('2').gatedBy('example.com/b')), 'nothing')
    assert.equal(await stage.told(pod('p').resourceVersion('3')), 'n')
  })
  test('a cluster without nodes says so', async () => {
    const stage = await Stage.of([])
    assert.equal(await stage.told(pod('p')), 'no nodes available to schedule pods')
  })
})
