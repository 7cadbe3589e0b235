import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { DurationDistribution } from './distribution.ts'
import { createPattern } from './pattern.ts'
import {
  type Balancer,
  type Preference,
  type ReplicaKind,
  RequestSimulation,
  type RequestSimulationOptions,
  type SimulatedRequest,
} from './request-simulation.ts'

const steady = (users: number, durationMs: number) =>
  createPattern({ name: 'ramp', durationMs, minUsers: users, maxUsers: users })

const demand = (service: DurationDistribution, cores = 1, deviceShare = 0) => ({ service, cores, deviceShare })
const exponential = (meanMs: number): DurationDistribution => ({ kind: 'exponential', meanMs })
const constant = (meanMs: number): DurationDistribution => ({ kind: 'constant', meanMs })

const request = (cpu: DurationDistribution, gpu = cpu, cores = 1, deviceShare = 1): SimulatedRequest => ({
  name: 'infer',
  weight: 1,
  demand: { cpu: demand(cpu, cores), gpu: demand(gpu, 0, deviceShare) },
})

const simulationOf = (options: Partial<RequestSimulationOptions> = {}): RequestSimulation =>
  new RequestSimulation({
    pattern: steady(1, 10_000),
    mix: [request(constant(10))],
    think: { minMs: 1000, maxMs: 2000 },
    seed: 1,
    balancer: 'least_outstanding',
    queueLimit: 1e9,
    timeoutMs: 1e9,
    interference: 0,
    ...options,
  })

const roomy = { cores: 64, backgroundCores: 0, gpus: 0, networkMs: 0 }
const replica = (node: number, concurrency = 1, kind: ReplicaKind = 'cpu', device = -1) => ({
  kind,
  node,
  devices: device < 0 ? [] : [device],
  concurrency,
  coreLimit: 64,
  readyAtMs: 0,
})

/**
 * Mean response of the machine-repairman model M/M/c//N by mean value analysis with exact queue-length probabilities: users who
 * think for `thinkMs` and share c servers of exponential service (Lazowska et al., "Quantitative System Performance", 1984).
 */
const meanResponseMs = (users: number, servers: number, serviceMs: number, thinkMs: number): number => {
  // steady state of the birth-death chain of how many are at the servers
  const weights = [1]
  for (let n = 1; n <= users; n++)
    weights.push(((weights[n - 1] ?? 0) * (users - n + 1) * serviceMs) / (thinkMs * Math.min(n, servers)))
  const sum = weights.reduce((total, weight) => total + weight, 0)
  const there = weights.reduce((total, weight, n) => total + (n * weight) / sum, 0)
  const throughput = (users - there) / thinkMs
  return there / throughput
}

describe('the simulation of requests', () => {
  it('queues as queueing theory says: one server, and three behind a balancer that knows who is idle', () => {
    for (const [users, servers, serviceMs] of [
      [5, 1, 200],
      [20, 1, 100],
      [20, 3, 250],
    ] as const) {
      const durationMs = 4_000_000
      const simulation = simulationOf({
        pattern: steady(users, durationMs),
        mix: [request(exponential(serviceMs))],
      })
      // one replica with as many servers shares one queue, as M/M/c does
      simulation.addReplica(replica(simulation.addNode(roomy), servers))
      simulation.runUntil(durationMs)
      const { latencyMs, throughput } = simulation.summary()
      const expected = meanResponseMs(users, servers, serviceMs, 1500)
      assert.ok(
        Math.abs(latencyMs.mean - expected) < 0.03 * expected,
        `${users} users, ${servers} servers: ${latencyMs.mean} instead of ${expected}`,
      )
      // Little's law over the whole loop
      assert.ok(Math.abs((throughput / 1000) * (latencyMs.mean + 1500) - users) < 0.02 * users)
    }
  })

  it('repeats every number with its seed, and differs with another', () => {
    const run = (seed: number) => {
      const simulation = simulationOf({
        pattern: createPattern({ name: 'spike', durationMs: 60_000, seed }),
        mix: [request({ kind: 'lognormal', meanMs: 200, cv: 0.5 })],
        balancer: 'random',
        queueLimit: 20,
        timeoutMs: 3000,
        seed,
      })
      const node = simulation.addNode(roomy)
      for (let i = 0; i < 3; i++) simulation.addReplica(replica(node, 2))
      simulation.runUntil(60_000)
      return simulation.summary()
    }
    assert.deepEqual(run(3), run(3))
    assert.notDeepEqual(run(3), run(4))
  })

  it('accounts for every request: answered, refused, given up, or still on its way', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.integer(),
          users: fc.integer({ min: 1, max: 60 }),
          queueLimit: fc.integer({ min: 0, max: 10 }),
          timeoutMs: fc.integer({ min: 50, max: 2000 }),
          networkMs: fc.constantFrom(0, 5, 80),
          balancer: fc.constantFrom<Balancer>('random', 'round_robin', 'least_outstanding'),
          preference: fc.constantFrom<Preference>('gpu', 'balanced', 'cpu'),
          generators: fc.constantFrom(undefined, 1),
          removed: fc.boolean(),
        }),
        ({ seed, users, queueLimit, timeoutMs, networkMs, balancer, preference, generators, removed }) => {
          const mix = [
            { ...request(exponential(100), exponential(60)), generator: { prepareMs: 3, sendMs: 2, receiveMs: 1 } },
          ]
          const simulation = simulationOf({
            pattern: steady(users, 20_000),
            mix,
            think: { minMs: 10, maxMs: 50 },
            seed,
            balancer,
            queueLimit,
            timeoutMs,
            interference: 0.2,
            generators,
          })
          simulation.prefer(preference)
          const node = simulation.addNode({ cores: 2, backgroundCores: 0.5, gpus: 1, networkMs })
          const first = simulation.addReplica(replica(node, 2))
          simulation.addReplica(replica(node, 1, 'gpu', 0))
          simulation.runUntil(10_000)
          if (removed) simulation.removeReplica(first)
          // long after the last user has gone
          simulation.runUntil(60_000)
          const { requests, succeeded, failed, timedOut, outstanding, latencyMs } = simulation.summary()
          assert.equal(outstanding, 0)
          assert.equal(requests, succeeded + failed + timedOut)
          assert.ok(requests > 0)
          if (generators === undefined) assert.ok(latencyMs.max <= timeoutMs, `${latencyMs.max}`)
          const [kind] = simulation.byKind()
          assert.deepEqual([kind?.requests, kind?.latencyMs], [requests, latencyMs])
        },
      ),
      { seed: 1, numRuns: 60 },
    )
  })

  it('has the p95 of the run, not of its last moment', () => {
    const simulation = simulationOf({
      pattern: createPattern({ name: 'spike', durationMs: 100_000, minUsers: 1, maxUsers: 40 }),
      mix: [request(constant(200))],
    })
    simulation.addReplica(replica(simulation.addNode(roomy)))
    simulation.runUntil(90_000)
    simulation.takeWindow()
    simulation.runUntil(100_000)
    const last = simulation.takeWindow()
    assert.ok(last.latencyMs.p95 < 300, `${last.latencyMs.p95}`)
    assert.ok(simulation.summary().latencyMs.p95 > 3000)
  })

  it('refuses when nobody is ready or the queue is full, and gives up after the time-out', () => {
    const nobody = simulationOf({ pattern: steady(5, 10_000) })
    nobody.runUntil(10_000)
    assert.ok(nobody.summary().failed > 20)
    assert.equal(nobody.summary().succeeded, 0)

    const full = simulationOf({ pattern: steady(10, 10_000), mix: [request(constant(3000))], queueLimit: 1 })
    full.addReplica(replica(full.addNode(roomy)))
    full.runUntil(10_000)
    assert.ok(full.summary().failed > 10 && full.summary().succeeded > 0)

    const slow = simulationOf({ pattern: steady(1, 10_000), mix: [request(constant(3000))], timeoutMs: 500 })
    slow.addReplica(replica(slow.addNode(roomy)))
    slow.runUntil(10_000)
    const { latencyMs, succeeded, timedOut } = slow.summary()
    assert.equal(succeeded, 0)
    assert.ok(timedOut >= 3)
    assert.equal(latencyMs.max, 500)
  })

  it('asks a replica only once it is ready', () => {
    const simulation = simulationOf({ pattern: steady(5, 20_000) })
    simulation.addReplica({ ...replica(simulation.addNode(roomy)), readyAtMs: 10_000 })
    simulation.runUntil(10_000)
    assert.equal(simulation.takeWindow().succeeded, 0)
    simulation.runUntil(20_000)
    assert.equal(simulation.takeWindow().failed, 0)
  })

  it('adds the network of the node to every answer, there and back', () => {
    const simulation = simulationOf({ pattern: steady(3, 10_000), mix: [request(constant(10))] })
    simulation.addReplica(replica(simulation.addNode({ ...roomy, networkMs: 25 }), 3))
    simulation.runUntil(10_000)
    assert.equal(simulation.summary().latencyMs.max.toFixed(6), '60.000000')
  })

  it('slows down on a node whose cores are taken, under a limit, and beside busy neighbours', () => {
    const latency = (node: Partial<typeof roomy>, limit = 64, interference = 0) => {
      const simulation = simulationOf({ mix: [request(constant(100), constant(100), 2)], interference })
      simulation.addReplica({ ...replica(simulation.addNode({ ...roomy, ...node })), coreLimit: limit })
      simulation.runUntil(10_000)
      return Math.round(simulation.summary().latencyMs.max)
    }
    assert.equal(latency({}), 100)
    assert.equal(latency({ cores: 4, backgroundCores: 4 }), 150)
    assert.equal(latency({}, 1), 200)
    assert.equal(latency({ cores: 8, backgroundCores: 4 }, 64, 0.2), 110)
  })

  it('shares one GPU between the replicas that have it, and not with those that have another', () => {
    const latency = (devices: readonly number[]) => {
      const simulation = simulationOf({
        pattern: steady(2, 100_000),
        mix: [request(constant(100))],
        think: { minMs: 0, maxMs: 0 },
      })
      const node = simulation.addNode({ ...roomy, gpus: 2 })
      for (const device of devices) simulation.addReplica(replica(node, 1, 'gpu', device))
      simulation.runUntil(100_000)
      const { gpuShare, latencyMs } = simulation.summary()
      return { p50: Math.round(latencyMs.p50 / 10) * 10, gpuShare: Math.round(gpuShare * 10) / 10 }
    }
    assert.deepEqual(latency([0, 1]), { p50: 100, gpuShare: 1 })
    assert.deepEqual(latency([0, 0]), { p50: 200, gpuShare: 0.5 })
  })

  it('counts busy cores and GPUs over time', () => {
    const simulation = simulationOf({
      pattern: steady(1, 100_000),
      mix: [request(constant(100))],
      think: { minMs: 100, maxMs: 100 },
    })
    const node = simulation.addNode({ cores: 4, backgroundCores: 1, gpus: 0, networkMs: 0 })
    simulation.addReplica(replica(node))
    simulation.runUntil(100_000)
    // one of four cores always, another half of the time
    assert.ok(Math.abs(simulation.summary().cpuShare - 0.375) < 0.01)
    assert.ok(Math.abs(simulation.nodeUse(node).cores - 1.5) < 0.02)
  })

  it('leaves out what was before the beginning', () => {
    const simulation = simulationOf({ pattern: steady(10, 20_000), think: { minMs: 10, maxMs: 10 } })
    const node = simulation.addNode({ ...roomy, cores: 1 })
    const id = simulation.addReplica(replica(node))
    simulation.runUntil(10_000)
    simulation.removeReplica(id)
    simulation.runUntil(11_000)
    simulation.begin()
    simulation.runUntil(20_000)
    const { cpuShare, fromMs, requests, succeeded } = simulation.summary()
    assert.deepEqual({ cpuShare, fromMs, succeeded }, { cpuShare: 0, fromMs: 11_000, succeeded: 0 })
    assert.ok(requests > 1000)
    assert.equal(simulation.nodeUse(node).cores, 0)
  })

  it('asks the preferred kind first and the other once that has a queue', () => {
    const answered = (preference: Preference, users: number) => {
      const simulation = simulationOf({
        pattern: steady(users, 100_000),
        mix: [request(constant(100), constant(100), 1, 1)],
      })
      simulation.prefer(preference)
      const node = simulation.addNode({ ...roomy, gpus: 1 })
      simulation.addReplica(replica(node, 1, 'gpu', 0))
      simulation.addReplica(replica(node, 1, 'cpu'))
      simulation.runUntil(100_000)
      const { cores: cpu, gpus: gpu } = simulation.nodeUse(node)
      return { cpu, gpu }
    }
    const [gpu, cpu, balanced, crowded] = [
      answered('gpu', 1),
      answered('cpu', 1),
      answered('balanced', 1),
      answered('gpu', 40),
    ]
    assert.equal(gpu.cpu, 0)
    assert.equal(cpu.gpu, 0)
    assert.ok(balanced.gpu > 0 && balanced.cpu > 0)
    assert.ok(crowded.gpu > 0 && crowded.cpu > 0)
  })

  it('is slow where what makes the load is busy, whatever the server does', () => {
    const run = (generators: number | undefined) => {
      const simulation = simulationOf({
        pattern: steady(40, 60_000),
        mix: [{ ...request(constant(5)), generator: { prepareMs: 30, sendMs: 50, receiveMs: 20 } }],
        generators,
      })
      simulation.addReplica(replica(simulation.addNode(roomy), 4))
      simulation.runUntil(60_000)
      return simulation.summary()
    }
    const [free, one, four] = [run(undefined), run(1), run(4)]
    assert.ok(free.latencyMs.p95 < 6)
    // 100 ms of one process for each request: never more than 10 a second
    assert.ok(one.throughput < 10.1 && one.throughput > 9)
    assert.ok(one.latencyMs.p50 > 500)
    assert.ok(four.throughput > 20)
  })

  it('calls users in and lets them go with the pattern', () => {
    const simulation = simulationOf({
      pattern: createPattern({ name: 'spike', durationMs: 100_000, minUsers: 5, maxUsers: 50 }),
      think: { minMs: 1000, maxMs: 1000 },
    })
    simulation.addReplica(replica(simulation.addNode(roomy), 64))
    const perSecond = [0, 20_000, 60_000, 100_000].map((untilMs) => {
      simulation.runUntil(untilMs)
      return simulation.takeWindow().throughput
    })
    simulation.runUntil(29_000)
    assert.ok(Math.abs((perSecond[1] ?? 0) - 5) < 0.5, perSecond.join())
    assert.ok((perSecond[2] ?? 0) > 25, perSecond.join())
    simulation.runUntil(110_000)
    assert.equal(simulation.takeWindow().users, 0)
  })
})
