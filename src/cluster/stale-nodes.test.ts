import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../../test/builders.ts'
import { StaleNodes } from './stale-nodes.ts'
import { ClusterState } from './state.ts'

const NODES = 5

const cluster = (): ClusterState => {
  const state = new ClusterState()
  for (let number = 0; number < NODES; number++) state.applyNode(state.readNode(node(`n${number}`).object()))
  return state
}

/** What may happen to a node, by its number. */
const happenings = [
  'a pod comes',
  'a pod goes',
  'it is measured',
  'it goes and comes back',
  'a pod is imagined',
] as const
const happen = (state: ClusterState, what: (typeof happenings)[number], number: number): void => {
  const name = `n${number}`
  const index = state.indexOf(name)
  const guest = state.readPod(pod(`guest-${number}`).object())
  if (what === 'a pod comes') {
    if (state.placeOf(guest.uid) === '') state.assume(guest, index)
  } else if (what === 'a pod goes') state.removePod(guest.uid)
  else if (what === 'it is measured') state.applyUsage(name, 100, 100)
  else if (what === 'it goes and comes back') {
    state.removeNode(name)
    state.applyNode(state.readNode(node(name).object()))
  } else state.imagine(index, (imagined) => imagined.add(state.readPod(pod('dream').object())))
}

/** Takes note of how every node is now. */
const workOut = (state: ClusterState, stale: StaleNodes): number[] => {
  stale.catchUp(state)
  for (const index of state.order.subarray(0, state.nodeCount)) stale.done(index)
  return [...state.generation]
}

describe('nodes that have changed', () => {
  it('are all stale before anything was worked out', () => {
    const state = cluster()
    const stale = new StaleNodes(state.nodeCapacity)
    stale.catchUp(state)
    for (const index of state.order.subarray(0, state.nodeCount)) assert.equal(stale.flags[index], 1)
  })

  it('are stale if they are others than they were, whatever happened, and are counted', () => {
    const steps = fc.array(fc.record({ what: fc.constantFrom(...happenings), number: fc.nat(NODES - 1) }), {
      maxLength: 30,
    })
    fc.assert(
      fc.property(fc.array(steps, { minLength: 1, maxLength: 4 }), (rounds) => {
        const state = cluster()
        const stale = new StaleNodes(state.nodeCapacity)
        let known = workOut(state, stale)
        for (const round of rounds) {
          for (const { what, number } of round) happen(state, what, number)
          stale.catchUp(state)
          for (const index of state.order.subarray(0, state.nodeCount))
            if (state.generation[index] !== known[index]) assert.equal(stale.flags[index], 1)
          assert.equal(
            stale.count,
            stale.flags.reduce((sum, flag) => sum + flag, 0),
          )
          known = workOut(state, stale)
        }
      }),
      { seed: 4 },
    )
  })

  it('are only those that something happened to', () => {
    const state = cluster()
    const stale = new StaleNodes(state.nodeCapacity)
    workOut(state, stale)
    happen(state, 'a pod comes', 2)
    happen(state, 'a pod is imagined', 3)
    stale.catchUp(state)
    const marked = [...state.order.subarray(0, state.nodeCount)].filter((index) => stale.flags[index] === 1)
    assert.deepEqual(
      marked.map((index) => state.node(index).name),
      ['n2', 'n3'],
    )
  })

  it('are all stale to whoever is further behind than the cluster remembers', () => {
    const state = cluster()
    const stale = new StaleNodes(state.nodeCapacity)
    workOut(state, stale)
    for (let i = 0; i <= state.changedNodes.length; i++) state.applyUsage('n0', i, i)
    stale.catchUp(state)
    assert.equal(stale.count, stale.flags.length)
  })
})
