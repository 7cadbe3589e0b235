import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { node, pod } from '../../../test/builders.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { ClusterState } from '../../cluster/state.ts'
import { clusterWith } from '../contract.ts'
import { WorkloadEstimate } from './workload-estimate.ts'

const emptyCluster = (): ClusterState => clusterWith([node('n').object()])
const asking = (cluster: ClusterState, name: string, gpuMilli: number, cpu = '1'): Pod =>
  cluster.readPod(pod(name).cpu(cpu).request('stowage.dev/gpu-milli', String(gpuMilli)).object())

describe('the workload as it is seen', () => {
  test('a pod counts once, however often it is tried', () => {
    const cluster = emptyCluster()
    const estimate = new WorkloadEstimate()
    for (let i = 0; i < 50; i++) estimate.observe(asking(cluster, 'stuck', 500), cluster)
    for (let i = 0; i < 3; i++) estimate.observe(asking(cluster, `p${i}`, 200), cluster)
    const { classes } = estimate.observe(asking(cluster, 'p3', 200), cluster)
    assert.deepEqual(
      classes.map(({ gpuMilli, weight }) => [gpuMilli, Math.round(weight * 100)]),
      [
        [200, 80],
        [500, 20],
      ],
    )
  })

  test('pods that are there already count when it is asked first', () => {
    const placed = Array.from({ length: 9 }, (_, i) =>
      pod(`q${i}`).cpu('2').request('stowage.dev/gpu-milli', '300').on('n').object(),
    )
    const cluster = clusterWith([node('n').allocatable('stowage.dev/gpu-milli', '8000').object()], placed)
    const { classes } = new WorkloadEstimate().observe(asking(cluster, 'p', 1000), cluster)
    assert.deepEqual(
      classes.map(({ gpuMilli, cpuMilli, weight }) => [gpuMilli, cpuMilli, Math.round(weight * 10)]),
      [
        [300, 2000, 9],
        [1000, 1000, 1],
      ],
    )
  })

  test('it stays the same object while pods stay as they were, and follows when they become others', () => {
    const cluster = emptyCluster()
    const estimate = new WorkloadEstimate()
    for (let i = 0; i < 2000; i++) estimate.observe(asking(cluster, `a${i}`, i % 2 === 0 ? 500 : 1000), cluster)
    const settled = estimate.observe(asking(cluster, 'b', 500), cluster)
    for (let i = 0; i < 1000; i++)
      assert.equal(estimate.observe(asking(cluster, `c${i}`, i % 2 === 0 ? 500 : 1000), cluster), settled)
    for (let i = 0; i < 30_000; i++) estimate.observe(asking(cluster, `d${i}`, 250), cluster)
    const { classes } = estimate.observe(asking(cluster, 'e', 250), cluster)
    assert.equal(classes[0]?.gpuMilli, 250)
    assert.ok((classes[0]?.weight ?? 0) > 0.85, 'old pods fade')
  })

  test('another cluster is another workload', () => {
    const [one, two] = [emptyCluster(), emptyCluster()]
    const estimate = new WorkloadEstimate()
    for (let i = 0; i < 10; i++) estimate.observe(asking(one, `a${i}`, 500), one)
    const { classes } = estimate.observe(asking(two, 'b', 100), two)
    assert.deepEqual(
      classes.map(({ gpuMilli }) => gpuMilli),
      [100],
    )
  })

  test('pods that all ask for something else fill no memory, and do not hide the kind that is frequent', () => {
    const cluster = emptyCluster()
    const estimate = new WorkloadEstimate()
    let most = 0
    for (let i = 0; i < 20_000; i++) {
      estimate.observe(asking(cluster, `odd${i}`, 100, `${i + 1}m`), cluster)
      const { classes } = estimate.observe(asking(cluster, `even${i}`, 1000), cluster)
      most = Math.max(most, classes.length)
    }
    assert.ok(most <= 1024, `${most} classes`)
    const { classes } = estimate.observe(asking(cluster, 'last', 1000), cluster)
    assert.equal(classes[0]?.gpuMilli, 1000)
    assert.ok((classes[0]?.weight ?? 0) > 0.4)
  })
})
