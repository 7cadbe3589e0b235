import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { label, node, pod, term } from '../../test/builders.ts'
import { GPU_DEVICES_ANNOTATION, GPU_MILLI_RESOURCE } from '../cluster/gpu-request.ts'
import type { NodeObject, PodObject } from '../cluster/objects.ts'
import { constraintContract, refusalOn } from './contract.ts'
import type { Situation } from './generated.fixture.ts'
import { GpuDevices, gpuDevices, REASON_GPUS, REASON_TOO_FEW_GPUS } from './gpu-devices.ts'

const gpuNode = (name: string, milli: number): NodeObject =>
  node(name).cpu(64).memory('256Gi').allocatable(GPU_MILLI_RESOURCE, milli).object()
/** A pod that has `milli` of each of these GPUs. */
const placedOn = (name: string, nodeName: string, milli: number, devices: readonly number[]): PodObject =>
  pod(name)
    .request(GPU_MILLI_RESOURCE, milli * devices.length)
    .annotation(GPU_DEVICES_ANNOTATION, devices.join())
    .on(nodeName)
    .object()
const asking = (milli: number): PodObject => pod('new').request(GPU_MILLI_RESOURCE, milli).object()

const shares = [0, 200, 460, 500, 600, 1000]
const waitingPod = fc.constantFrom(...shares.slice(1), 2000, 3000).map(asking)
const situation: fc.Arbitrary<Situation> = fc
  .record({
    gpus: fc.array(fc.array(fc.constantFrom(...shares), { maxLength: 3 }), { minLength: 2, maxLength: 4 }),
    pod: waitingPod,
  })
  .map(({ gpus, pod: waiting }) => ({
    nodes: gpus.map((taken, at) => gpuNode(`n${at}`, 1000 * taken.length)),
    placed: gpus.flatMap((taken, at) =>
      taken.flatMap((milli, gpu) => (milli === 0 ? [] : [placedOn(`p${at}-${gpu}`, `n${at}`, milli, [gpu])])),
    ),
    pod: waiting,
  }))

constraintContract({
  title: 'GpuDevices',
  name: GpuDevices,
  create: () => gpuDevices,
  isReason: (reason) => reason === REASON_GPUS || reason === REASON_TOO_FEW_GPUS,
  situations: { situation, waitingPod },
  literally: (waiting, { status }, placed) => {
    const milliOf = (object: PodObject): number =>
      Number(object.spec?.containers?.[0]?.resources?.requests?.[GPU_MILLI_RESOURCE] ?? 0)
    const gpus = Number(status?.allocatable?.[GPU_MILLI_RESOURCE] ?? 0) / 1000
    const wanted = milliOf(waiting)
    // Nodes of no GPUs give out whole ones by their device plugin, of which NodeResourcesFit knows the number.
    if (gpus === 0 && wanted >= 1000) return undefined
    const free = Array.from({ length: gpus }, () => 1000)
    for (const other of placed)
      for (const gpu of (other.metadata?.annotations?.[GPU_DEVICES_ANNOTATION] ?? '').split(',').map(Number))
        free[gpu] = (free[gpu] ?? 0) - milliOf(other)
    const count = Math.ceil(wanted / 1000)
    const fitting = free.filter((milli) => milli >= Math.min(wanted, 1000)).length
    if (fitting >= count) return undefined
    return gpus < count
      ? { reasons: [REASON_TOO_FEW_GPUS], preemptionCouldHelp: false }
      : { reasons: [REASON_GPUS], preemptionCouldHelp: true }
  },
})

describe('GpuDevices', () => {
  test('a share needs one GPU that has as much left, not two that have it together', () => {
    const taken = [placedOn('a', 'n', 600, [0]), placedOn('b', 'n', 600, [1])]
    assert.deepEqual(refusalOn(gpuDevices, asking(460), gpuNode('n', 2000), taken)?.reasons, [REASON_GPUS])
    assert.equal(refusalOn(gpuDevices, asking(400), gpuNode('n', 2000), taken), undefined)
  })

  test('whole GPUs must be idle, each of them', () => {
    const taken = [placedOn('a', 'n', 1, [1])]
    assert.deepEqual(refusalOn(gpuDevices, asking(2000), gpuNode('n', 2000), taken)?.reasons, [REASON_GPUS])
    assert.equal(refusalOn(gpuDevices, asking(2000), gpuNode('n', 3000), taken), undefined)
  })

  test('a GPU that is given out in shares is not given out whole by another name', () => {
    const both = node('n').allocatable(GPU_MILLI_RESOURCE, 1000).allocatable('nvidia.com/gpu', 1).object()
    const whole = pod('new').request('nvidia.com/gpu', 1).object()
    assert.equal(refusalOn(gpuDevices, whole, both), undefined)
    assert.deepEqual(refusalOn(gpuDevices, whole, both, [placedOn('a', 'n', 100, [0])])?.reasons, [REASON_GPUS])
  })

  test('where whole GPUs are all there is, the device plugin picks them and nothing is refused here', () => {
    const plain = node('n').allocatable('nvidia.com/gpu', 1).object()
    const taken = [pod('a').request('nvidia.com/gpu', 1).on('n').object()]
    assert.equal(refusalOn(gpuDevices, pod('new').request('nvidia.com/gpu', 1).object(), plain, taken), undefined)
  })

  test('which model it must be is NodeAffinity’s to say', () => {
    const picky = pod('new')
      .request(GPU_MILLI_RESOURCE, 500)
      .requiresNode(term(label('nvidia.com/gpu.product').in('T4')))
    assert.equal(refusalOn(gpuDevices, picky.object(), gpuNode('n', 1000)), undefined)
  })
})
