import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { node, pod, type PodBuilder } from '../../../test/builders.ts'
import type { ClusterState } from '../../cluster/state.ts'
import { choiceOf, clusterWith, contextOf, everyNode, rank } from '../contract.ts'
import { createPolicy, policyNames } from '../registry.ts'
import { heeding } from './heeding.ts'
import { IntentBook, type IntentStore } from './intent-book.ts'
import { type Intent, intentText, isEmpty, NO_INTENT, readIntent } from './intent.ts'

const ZONE = 'topology.kubernetes.io/zone'
const nothingKept: IntentStore = { get: () => undefined, keep: () => undefined }
const book = (options: Partial<ConstructorParameters<typeof IntentBook>[0]> = {}): IntentBook =>
  new IntentBook({ model: 'm', read: undefined, store: nothingKept, nowMs: () => 0, ...options })

/** Three zones of two nodes; the cache is on b1, which is busy, the batch on c1, which is cheap, and a replica of the pod itself on a1. */
const cluster = (): ClusterState =>
  clusterWith(
    ['a1', 'a2', 'b1', 'b2', 'c1', 'c2'].map((name) => {
      const built = node(name)
        .cpu('16')
        .memory('64Gi')
        .label(ZONE, name[0] ?? '')
      return (name === 'c1' ? built.label('karpenter.sh/capacity-type', 'spot') : built).object()
    }),
    [
      pod('cache').label('app', 'Cache').cpu('12').on('b1').object(),
      pod('batch').label('app.kubernetes.io/name', 'batch').cpu('1').on('c1').object(),
      pod('web-1').ownedBy('ReplicaSet', 'web').cpu('1').on('a1').object(),
      pod('foreign').namespace('other').label('app', 'cache').cpu('1').on('a2').object(),
    ],
  )

const web = (weights: Partial<Intent>): PodBuilder =>
  pod('web-2').ownedBy('ReplicaSet', 'web').cpu('1').annotation('stowage.dev/intent-weights', JSON.stringify(weights))

const chosenFor = (weights: Partial<Intent>, policy = 'resource_balanced'): Promise<string> =>
  choiceOf(heeding(createPolicy(policy), book()), web(weights).object(), cluster())

describe('what owners of pods wish', () => {
  test('is heeded by heuristics, each wish by itself', async () => {
    assert.equal(await chosenFor({ near: ['cache'] }), 'b1')
    assert.equal(await chosenFor({ near: ['batch'] }), 'c1')
    assert.equal(await chosenFor({ spread: -1 }), 'a1')
    assert.equal(await chosenFor({ spot: 1 }), 'c1')
    assert.equal(await chosenFor({ zones: ['c'] }), 'c2')
    assert.equal(await chosenFor({ idle: -1 }), 'b1')
    assert.match(await chosenFor({ away: ['cache', 'batch'] }), /^a/)
    assert.equal(await chosenFor({ spread: 1, spot: -1, away: ['cache'], zones: ['c'] }), 'c2')
  })

  test('changes the choice of any heuristic by terms that add up, and that are named', async () => {
    for (const name of policyNames.filter((policy) => policy !== 'random')) {
      const state = cluster()
      const waiting = state.readPod(web({ near: ['cache'], spread: 0.5 }).object())
      const plain = await rank(createPolicy(name), waiting, everyNode(state), contextOf(state))
      const heeded = await rank(heeding(createPolicy(name), book()), waiting, everyNode(state), contextOf(state))
      const added = heeded.terms.filter((term) => !plain.terms.some((other) => other.name === term.name))
      assert.deepEqual(
        added.map((term) => term.name),
        ['intent.spread', 'intent.near'],
        name,
      )
      for (const [at, score] of heeded.scores.entries()) {
        const sum = heeded.terms.reduce((total, { weight, values }) => total + weight * (values[at] ?? Number.NaN), 0)
        assert.ok(Math.abs(sum - score) < 1e-9 * Math.max(1, Math.abs(score)), name)
      }
    }
  })

  test('goes by where the others are now, whatever was ranked before', async () => {
    const state = cluster()
    const policy = heeding(createPolicy('resource_balanced'), book())
    const wishing = web({ near: ['cache'] }).object()
    assert.equal(await choiceOf(policy, wishing, state), 'b1')
    state.removePod('uid-cache')
    state.applyPod(state.readPod(pod('again').label('app', 'cache').cpu('1').on('c2').object()))
    assert.equal(await choiceOf(policy, wishing, state), 'c2')
    state.removeNode('c2')
    state.applyNode(state.readNode(node('new').cpu('16').memory('64Gi').label(ZONE, 'd').object()))
    assert.notEqual(await choiceOf(policy, wishing, state), 'new', 'it has the number of c2, and no cache')
    for (let at = 0; at < 100; at++) state.applyNode(state.readNode(node(`more-${at}`).cpu('1').memory('1Gi').object()))
    state.applyPod(state.readPod(pod('third').label('app', 'cache').cpu('1').on('more-99').object()))
    assert.equal(await choiceOf(policy, wishing, state), 'more-99')
  })

  test('leaves pods that wish nothing to the policy alone', async () => {
    const state = cluster()
    for (const silent of [
      pod('p'),
      web({}),
      pod('q').annotation('stowage.dev/intent-weights', 'no JSON'),
      pod('r').annotation('stowage.dev/intent', 'keep near the cache'),
    ]) {
      const waiting = state.readPod(silent.object())
      assert.deepEqual(
        await rank(heeding(createPolicy('resource_balanced'), book()), waiting, everyNode(state), contextOf(state)),
        await rank(createPolicy('resource_balanced'), waiting, everyNode(state), contextOf(state)),
      )
    }
  })

  test('can be said in a few words again', () => {
    assert.equal(
      intentText({ spread: 1, spot: 1, idle: 0, near: ['cache'], away: [], zones: [] }),
      'apart from its peers; spot welcome; near cache',
    )
    assert.equal(intentText(NO_INTENT), 'nothing that scores can heed')
  })

  test('is bounded, whatever somebody wrote', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom('spread', 'near', 'zones'), (value, key) => {
        for (const written of [
          value,
          { [key]: value },
          { spread: 1e308, near: Array(1000).fill('x'.repeat(1000)), [key]: value },
        ]) {
          const intent = readIntent(written)
          if (intent === undefined) continue
          for (const weight of [intent.spread, intent.spot, intent.idle]) assert.ok(weight >= -1 && weight <= 1)
          for (const names of [intent.near, intent.away, intent.zones])
            assert.ok(names.length <= 8 && names.every((name) => name.length > 0 && name.length <= 63))
        }
      }),
      { numRuns: 300, seed: 20260101 },
    )
  })
})

const wishing = (text: string): ReturnType<ClusterState['readPod']> =>
  clusterWith([]).readPod(pod('p').annotation('stowage.dev/intent', text).object())
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const near: Intent = { ...NO_INTENT, near: ['cache'] }

describe('plain words', () => {
  test('are read once, off the way of the pods, and kept over a restart', async () => {
    const kept = new Map<string, string>()
    const store: IntentStore = {
      get: (model, text) => kept.get(`${model} ${text}`),
      keep: (model, text, intent) => void kept.set(`${model} ${text}`, intent),
    }
    let asked = 0
    const read = (): Promise<Intent> => {
      asked++
      return Promise.resolve(near)
    }
    const first = book({ read, store })
    assert.equal(first.of(wishing('near the cache')), undefined)
    await settled()
    assert.deepEqual(first.of(wishing('near the cache')), near)
    assert.deepEqual(first.of(wishing('near the cache')), near)
    assert.deepEqual(first.known, [{ text: 'near the cache', intent: near }])
    const second = book({ read, store })
    assert.deepEqual(second.of(wishing('near the cache')), near)
    assert.equal(asked, 1)
    assert.equal(book({ read, store, model: 'another' }).of(wishing('near the cache')), undefined)
  })

  test('that cannot be read are tried again later and not with every pod', async () => {
    let asked = 0
    let nowMs = 0
    const read = (): Promise<Intent> => {
      asked++
      return Promise.reject(new Error('busy'))
    }
    const tried = book({ read, nowMs: () => nowMs })
    for (let i = 0; i < 5; i++) {
      assert.equal(tried.of(wishing('x')), undefined)
      await settled()
    }
    assert.equal(asked, 1)
    nowMs = 60_000
    tried.of(wishing('x'))
    await settled()
    assert.equal(asked, 2)
  })

  test('in any number fill neither the memory nor the queue of the model', async () => {
    let asked = 0
    const patient = book({
      read: () => {
        asked++
        return Promise.resolve(NO_INTENT)
      },
    })
    for (let i = 0; i < 5000; i++) patient.of(wishing(`text ${i}`))
    await settled()
    assert.ok(patient.known.length <= 2000)
    assert.ok(asked <= 50, `${asked}`)
  })

  test('of any length are kept as far as they are read: annotations of 256 KiB do not pile up', async () => {
    const patient = book({ read: () => Promise.resolve(near) })
    const long = `keep near the cache ${'x'.repeat(200_000)}`
    for (let i = 0; i < 100; i++) patient.of(wishing(`${long}${i}`))
    assert.equal(patient.known.length, 1)
    await settled()
    assert.deepEqual(patient.of(wishing(long))?.near, ['cache'])
    const weights = pod('p')
      .annotation('stowage.dev/intent-weights', `{"spot":1}${' '.repeat(200_000)}`)
      .object()
    assert.equal(patient.of(clusterWith([]).readPod(weights)), undefined)
  })

  test('give way to weights that the owner wrote', async () => {
    const both = book({ read: () => Promise.resolve(near) })
    const state = clusterWith([])
    const object = pod('p').annotation('stowage.dev/intent', 'x').annotation('stowage.dev/intent-weights', '{"spot":1}')
    assert.equal(both.of(state.readPod(object.object()))?.spot, 1)
    await settled()
    assert.equal(both.known.length, 0)
    assert.ok(isEmpty(NO_INTENT))
  })
})
