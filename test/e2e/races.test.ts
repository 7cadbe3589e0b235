import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { PodObject } from '../../src/cluster/objects.ts'
import { quantityMilli } from '../../src/cluster/quantity.ts'
import { CPU } from '../../src/cluster/resources.ts'
import { node, pod } from '../builders.ts'
import { type ControlPlane, realControlPlane } from '../real-control-plane.ts'
import { Cluster } from './cluster.ts'
import { startScheduler, unaccounted } from './scheduler.ts'

const NODES = 12
const PODS_OF_EACH = 80
const NODE_CPU_MILLI = 4_000

const cpuMilliOf = ({ spec }: PodObject): number =>
  (spec?.containers ?? []).reduce((sum, { resources }) => sum + quantityMilli(resources?.requests?.['cpu'] ?? 0), 0)
const versionOf = ({ metadata }: PodObject): bigint => BigInt(metadata?.resourceVersion ?? 0)

describe('beside the real kube-scheduler on the same nodes', { skip: realControlPlane.skip, timeout: 120_000 }, () => {
  let plane: ControlPlane
  before(async () => {
    plane = await realControlPlane.start({ scheduler: {} })
  })
  after(() => plane.stop())

  test('where both want the same room at once, no node ends overcommitted by what Stowage could have known', async (t) => {
    const cluster = new Cluster(plane.kubeconfigPath)
    const names = Array.from({ length: NODES }, (_, number) => `n${number}`)
    await cluster.create(...names.map((name) => node(name).cpu(`${NODE_CPU_MILLI}m`)))
    /** pods that were sent to a node although it was known to have no room for them */
    const blind: string[] = []
    const ours = await startScheduler(plane.kubeconfigPath, {
      onDecision: ({ pod: name, node: chosen, outcome }, { system }) => {
        if (outcome !== 'reserved') return
        // The pod itself counts already.
        const index = system.cluster.indexOf(chosen)
        const requested = system.cluster.requested[CPU]?.[index] ?? 0
        if (requested > (system.cluster.allocatable[CPU]?.[index] ?? 0)) blind.push(`${name} on ${chosen}`)
      },
    })
    /** as bound: the order in which the API server took the binds is that of these versions */
    const boundAt = new Map<string, bigint>()
    const settled = (): boolean => {
      let open = 0
      for (const object of cluster.pods.objects.values()) {
        const key = object.metadata?.name ?? ''
        if (object.spec?.nodeName) {
          if (!boundAt.has(key)) boundAt.set(key, versionOf(object))
        } else if (object.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.status !== 'False') open++
      }
      return open === 0 && cluster.pods.objects.size === 2 * PODS_OF_EACH
    }
    const all = cluster.pods.until('every pod is bound or told that it fits nowhere', () => settled() || undefined)
    const cpuMilli = (number: number): string => `${400 + (number % 5) * 150}m`
    const create = (prefix: string, scheduler: string): Promise<void> =>
      cluster.create(
        ...Array.from({ length: PODS_OF_EACH }, (_, number) =>
          pod(`${prefix}-${number}`).cpu(cpuMilli(number)).scheduler(scheduler),
        ),
      )
    await Promise.all([create('ours', 'stowage'), create('theirs', 'default-scheduler')])
    await all

    const bound = Map.groupBy(
      [...cluster.pods.objects.values()].filter(({ spec }) => spec?.nodeName),
      ({ spec }) => spec?.nodeName ?? '',
    )
    const overcommitted: string[] = []
    for (const [name, pods] of bound) {
      pods.sort((a, b) =>
        Number((boundAt.get(a.metadata?.name ?? '') ?? 0n) - (boundAt.get(b.metadata?.name ?? '') ?? 0n)),
      )
      let sum = 0
      for (const object of pods) {
        sum += cpuMilliOf(object)
        if (sum <= NODE_CPU_MILLI) continue
        overcommitted.push(`${name}: ${object.metadata?.name} (${sum}m of ${NODE_CPU_MILLI}m)`)
      }
    }
    const byOurs = overcommitted.filter((line) => line.includes(': ours-'))
    t.diagnostic(
      `${boundAt.size} pods bound; overcommitted by kube-scheduler ${overcommitted.length - byOurs.length}, ` +
        `by Stowage before it could know ${byOurs.length - blind.length}, although it could know ${blind.length}`,
    )
    assert.deepEqual(blind, [])

    // What has happened is seen: nothing more goes to a node that is full.
    await cluster.create(pod('late').cpu('3').scheduler('stowage'))
    assert.match(await cluster.refused('late'), /^0\/12 nodes are available: 12 Insufficient cpu\./)
    await ours.stop()
    assert.equal(unaccounted(ours.system), 0)
    assert.deepEqual(ours.system.cluster.discrepancies().miscounted, [])
    const known = new Set(ours.system.cluster.discrepancies().overcommitted.map((line) => line.split(':')[0]))
    assert.deepEqual(known, new Set(overcommitted.map((line) => line.split(':')[0] ?? '')))
    await cluster.close()
  })
})
