import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { PodSpec } from '../../src/cluster/objects.ts'
import { label, node, pod, type PodBuilder, term } from '../builders.ts'
import { Stage } from './stage.ts'

const ZONE = 'topology.kubernetes.io/zone'
const HOSTNAME = 'kubernetes.io/hostname'
const web = { matchLabels: { app: 'web' } }
const named = (name: string, app = 'web'): PodBuilder => pod(name).label('app', app)

type Spread = NonNullable<PodSpec['topologySpreadConstraints']>[number]
const spread = (constraint: Partial<Spread> = {}): PodSpec => ({
  topologySpreadConstraints: [
    { maxSkew: 1, topologyKey: ZONE, whenUnsatisfiable: 'DoNotSchedule', labelSelector: web, ...constraint },
  ],
})

describe('topology spread', () => {
  const SKEWED = "didn't match pod topology spread constraints"

  test('a pod goes to the zone that has fewer of its kind', async () => {
    const stage = await Stage.of([node('a').zone('a'), node('b').zone('b')], [named('w1').on('a')])
    assert.equal(await stage.where(named('p').spec(spread())), 'b')
  })
  test('where the other zones are full it waits rather than lean to one side', async () => {
    const stage = await Stage.of([node('a').zone('a'), node('b').zone('b').pods(0)], [named('w1').on('a')])
    assert.equal(await stage.where(named('p').spec(spread())), `1 Too many pods, 1 node(s) ${SKEWED}.`)
  })
  test('a larger skew lets it lean', async () => {
    const stage = await Stage.of([node('a').zone('a'), node('b').zone('b').pods(0)], [named('w1').on('a')])
    assert.equal(await stage.where(named('p').spec(spread({ maxSkew: 2 }))), 'a')
  })
  test('a node without the key can never take it', async () => {
    const stage = await Stage.of([node('nowhere')])
    assert.equal(await stage.where(named('p').spec(spread())), `1 node(s) ${SKEWED} (missing required label).`)
  })
  test('pods of other namespaces and pods that are going do not count', async () => {
    const stage = await Stage.of(
      [node('a').zone('a').cpu('64'), node('b').zone('b')],
      [named('other').namespace('blue').on('a'), named('going').deleting().on('a')],
    )
    assert.equal(await stage.where(named('p').cpu('1').spec(spread())), 'a')
  })
  test('fewer domains than minDomains count as if one were empty', async () => {
    const stage = await Stage.of([node('a').zone('a')], [named('w1').on('a')])
    assert.equal(await stage.where(named('few').spec(spread({ minDomains: 2 }))), `1 node(s) ${SKEWED}.`)
    assert.equal(await stage.where(named('enough').spec(spread({ minDomains: 1 }))), 'a')
  })
  test('nodes that its own affinity leaves out are no domains, unless the policy says Ignore', async () => {
    const nodes = [node('a').zone('a').label('disk', 'ssd'), node('b').zone('b').label('disk', 'hdd')]
    const picky = (name: string, policy: string) =>
      named(name)
        .requiresNode(term(label('disk').in('ssd')))
        .spec(spread({ nodeAffinityPolicy: policy }))
    const stage = await Stage.of(nodes, [named('w1').on('a')])
    const mixed = `1 node(s) didn't match Pod's node affinity/selector, 1 node(s) ${SKEWED}.`
    assert.equal(await stage.where(picky('ignoring', 'Ignore')), mixed)
    assert.equal(await stage.where(picky('honoring', 'Honor')), 'a')
  })
  test('tainted nodes are domains, unless the policy says Honor', async () => {
    const nodes = [node('a').zone('a'), node('b').zone('b').taint('gpu', 'NoSchedule')]
    const stage = await Stage.of(nodes, [named('w1').on('a')])
    const mixed = `1 node(s) ${SKEWED}, 1 node(s) had untolerated taint(s).`
    assert.equal(await stage.where(named('ignoring').spec(spread({ nodeTaintsPolicy: 'Ignore' }))), mixed)
    assert.equal(await stage.where(named('honoring').spec(spread({ nodeTaintsPolicy: 'Honor' }))), 'a')
  })
  test('matchLabelKeys counts only pods of the same revision', async () => {
    const stage = await Stage.of(
      [node('a').zone('a').cpu('64'), node('b').zone('b')],
      [named('old').label('revision', '1').on('a')],
    )
    const next = named('new').label('revision', '2').cpu('1').memory('1Gi')
    assert.equal(await stage.where(next.spec(spread({ matchLabelKeys: ['revision'] }))), 'a')
  })
  test('a pod that its own selector does not match adds nothing to the skew', async () => {
    const stage = await Stage.of([node('a').zone('a'), node('b').zone('b').pods(0)], [named('w1').on('a')])
    assert.equal(await stage.where(named('stranger', 'db').spec(spread())), 'a')
  })
  test('ScheduleAnyway only prefers', async () => {
    const soft = spread({ whenUnsatisfiable: 'ScheduleAnyway' })
    const full = await Stage.of([node('a').zone('a'), node('b').zone('b').pods(0)], [named('w1').on('a')])
    assert.equal(await full.where(named('p').spec(soft)), 'a')
    const free = await Stage.of([node('a').zone('a'), node('b').zone('b')], [named('w1').on('a')])
    assert.equal(await free.where(named('p').spec(soft)), 'b')
  })
  test('pods of one Service are spread over nodes without being told', async () => {
    const services = [{ metadata: { name: 'web', namespace: 'default' }, spec: { selector: { app: 'web' } } }]
    const nodes = [node('a').cpu('8'), node('b').cpu('8')]
    const stage = await Stage.of(nodes, [named('w1').on('a'), pod('ballast').cpu('100m').on('b')], { services })
    assert.equal(await stage.where(named('p')), 'b')
  })
})

const affinity = (kind: 'podAffinity' | 'podAntiAffinity', topologyKey: string, rest: object = {}): PodSpec => ({
  affinity: {
    [kind]: { requiredDuringSchedulingIgnoredDuringExecution: [{ labelSelector: web, topologyKey, ...rest }] },
  },
})

describe('affinity between pods', () => {
  const APART = "1 node(s) didn't match pod anti-affinity rules."
  const TOGETHER = "node(s) didn't match pod affinity rules."

  test('a pod goes only where its company is', async () => {
    const stage = await Stage.of([node('a').zone('a'), node('b').zone('b')], [named('w1').on('b')])
    assert.equal(await stage.where(pod('p').spec(affinity('podAffinity', ZONE))), 'b')
  })
  test('the first of a kind may go anywhere, but not a stranger to its own rule', async () => {
    const stage = await Stage.of([node('a').zone('a')])
    assert.equal(await stage.where(pod('stranger').spec(affinity('podAffinity', ZONE))), `1 ${TOGETHER}`)
    assert.equal(await stage.where(named('first').spec(affinity('podAffinity', ZONE))), 'a')
  })
  test('even the first needs a node that has the key', async () => {
    const stage = await Stage.of([node('nowhere')])
    assert.equal(await stage.where(named('first').spec(affinity('podAffinity', ZONE))), `1 ${TOGETHER}`)
  })
  test('one pod must match all required terms; two that match one each do not do', async () => {
    const stage = await Stage.of(
      [node('a').zone('a')],
      [pod('x').label('app', 'web').on('a'), pod('y').label('tier', 'back').on('a')],
    )
    const both = {
      affinity: {
        podAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { labelSelector: web, topologyKey: ZONE },
            { labelSelector: { matchLabels: { tier: 'back' } }, topologyKey: ZONE },
          ],
        },
      },
    }
    assert.equal(await stage.where(pod('p').spec(both)), `1 ${TOGETHER}`)
  })
  test('anti-affinity keeps pods of a kind on nodes of their own', async () => {
    const stage = await Stage.of([node('a')], [named('w1').on('a')])
    assert.equal(await stage.where(named('p').spec(affinity('podAntiAffinity', HOSTNAME))), APART)
  })
  test('who is there already may refuse company, too', async () => {
    const hermit = pod('hermit').spec(affinity('podAntiAffinity', HOSTNAME)).on('a')
    const stage = await Stage.of([node('a')], [hermit])
    assert.equal(await stage.where(named('p')), "1 node(s) didn't satisfy existing pods anti-affinity rules.")
    assert.equal(await stage.where(named('other', 'db')), 'a')
  })
  test('without namespaces only the own one counts; an empty selector means all', async () => {
    const nodes = [node('a')]
    const placed = [named('w1').namespace('blue').on('a')]
    const namespaces = [{ metadata: { name: 'blue', labels: { team: 'blue' } } }, { metadata: { name: 'default' } }]
    const apart = (name: string, rest: object) => named(name).spec(affinity('podAntiAffinity', HOSTNAME, rest))
    const own = await Stage.of(nodes, placed, { namespaces })
    assert.equal(await own.where(apart('p', {})), 'a')
    for (const rest of [
      { namespaces: ['blue'] },
      { namespaceSelector: {} },
      { namespaceSelector: { matchLabels: { team: 'blue' } } },
    ]) {
      const stage = await Stage.of(nodes, placed, { namespaces })
      assert.equal(await stage.where(apart('p', rest)), APART, JSON.stringify(rest))
    }
  })
  test('a preference draws pods together, or apart', async () => {
    const preferring = (kind: string): PodSpec => ({
      affinity: {
        [kind]: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 100, podAffinityTerm: { labelSelector: web, topologyKey: HOSTNAME } },
          ],
        },
      },
    })
    const stage = await Stage.of([node('a'), node('b')], [named('w1').on('a')])
    assert.equal(await stage.where(pod('near').spec(preferring('podAffinity'))), 'a')
    assert.equal(await stage.where(pod('far').spec(preferring('podAntiAffinity'))), 'b')
  })
})
