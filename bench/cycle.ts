// npm run bench:cycle [-- --nodes 100,1000,5000] [--json]: how long one decision takes, in process, with nothing around it.
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { systemClock } from '../src/clock/clock.ts'
import { seededRandom } from '../src/clock/random.ts'
import type { Pod } from '../src/cluster/pod.ts'
import { DisruptionBudgets } from '../src/cluster/disruption-budgets.ts'
import { ClusterState } from '../src/cluster/state.ts'
import { createConstraints } from '../src/constraints/registry.ts'
import { createPolicy } from '../src/policies/registry.ts'
import { Cycle, type Decision } from '../src/scheduling/cycle.ts'
import type { Profile } from '../src/scheduling/profile.ts'

interface Row {
  nodes: number
  /** microseconds for one decision with its assume: all nodes filtered, all feasible ones ranked */
  p50Us: number
  p99Us: number
  /** heap and array buffers taken for one decision, garbage included */
  bytesPerDecision: number
}

const warmUp = 2_000
const measured = 5_000
const batches = 20
const decisionsInABatch = 100
/** Plain pods of a few templates, as a cluster's Deployments make them. */
const templates = 8

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const measure = (nodes: number): Row => {
  const cluster = new ClusterState()
  for (let i = 0; i < nodes; i++) {
    cluster.applyNode(
      cluster.readNode({
        metadata: {
          name: `node-${i}`,
          uid: `node-${i}`,
          labels: { 'kubernetes.io/hostname': `node-${i}`, 'topology.kubernetes.io/zone': `zone-${i % 3}` },
        },
        spec: {},
        status: {
          allocatable: { cpu: '64', memory: '256Gi', pods: '250' },
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      }),
    )
  }
  let made = 0
  const cycle = new Cycle({
    clock: systemClock,
    random: seededRandom(1),
    cluster,
    budgets: new DisruptionBudgets(),
    constraints: createConstraints(),
    stateVersion: () => made,
    onPhase: () => {},
  })
  const profile: Profile = {
    schedulerName: 'default-scheduler',
    policy: createPolicy('kube-default'),
    fallback: createPolicy('least_loaded'),
    deadlineMs: 1_000,
  }
  const nextPod = (): Pod => {
    const number = made++
    const template = number % templates
    const requests = { cpu: `${50 + template * 10}m`, memory: `${64 + template * 16}Mi` }
    return cluster.readPod({
      metadata: {
        namespace: 'default',
        name: `pod-${number}`,
        uid: `pod-${number}`,
        resourceVersion: '1',
        creationTimestamp: '2026-01-01T00:00:00Z',
        labels: { app: `app-${template}` },
      },
      spec: {
        schedulerName: 'default-scheduler',
        containers: [{ name: 'main', image: 'app', resources: { requests } }],
      },
      status: { phase: 'Pending' },
    })
  }
  const fail = (thrown: unknown): never => {
    throw thrown
  }
  let pod = nextPod()
  const conclude = (decision: Decision): void => {
    if (decision.node < 0) throw new Error(`the benchmark has filled its cluster: ${decision.facts.message}`)
    cluster.assume({ ...pod, nodeName: decision.nodeName }, decision.node)
  }
  const decide = (): void => {
    if (cycle.decide(pod, profile, conclude, fail) !== undefined) throw new Error('the policy did not answer at once')
  }

  for (let i = 0; i < warmUp; i++) {
    pod = nextPod()
    decide()
  }
  const durationsUs = new Float64Array(measured)
  for (let i = 0; i < measured; i++) {
    pod = nextPod()
    const startMs = performance.now()
    decide()
    durationsUs[i] = (performance.now() - startMs) * 1_000
  }
  durationsUs.sort()

  // Few decisions after a full collection, so that none happens in between; the median leaves out where one did.
  const bytes = new Float64Array(batches)
  const pods: Pod[] = []
  for (let batch = 0; batch < batches; batch++) {
    pods.length = 0
    for (let i = 0; i < decisionsInABatch; i++) pods.push(nextPod())
    collectGarbage()
    const before = process.memoryUsage()
    for (const next of pods) {
      pod = next
      decide()
    }
    const after = process.memoryUsage()
    bytes[batch] = (after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers) / decisionsInABatch
  }
  bytes.sort()
  const tenths = (value: number | undefined): number => Math.round((value ?? Number.NaN) * 10) / 10
  return {
    nodes,
    p50Us: tenths(durationsUs[measured >> 1]),
    p99Us: tenths(durationsUs[Math.floor(measured * 0.99)]),
    bytesPerDecision: Math.round(bytes[batches >> 1] ?? Number.NaN),
  }
}

const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, nodes: { type: 'string', default: '100,1000,5000' } },
})
const sizes = values.nodes.split(',').map(Number)
if (sizes.some((size) => !Number.isInteger(size) || size < 100 || size > 100_000)) {
  process.stderr.write(
    `bench:cycle: --nodes ${values.nodes}: expected whole numbers from 100 to 100000, with commas between\n`,
  )
  process.exit(2)
}
process.stderr.write(
  `Node ${process.version} on ${cpus()[0]?.model ?? 'an unknown processor'}; policy kube-default, plain pods\n`,
)
const rows = sizes.map((nodes) => {
  process.stderr.write(`${nodes} nodes: ${warmUp} decisions to warm up, ${measured} measured\n`)
  return measure(nodes)
})
if (values.json) process.stdout.write(`${JSON.stringify({ rows })}\n`)
else {
  const line = (...cells: (string | number)[]): string => `${cells.map((cell) => `${cell}`.padStart(18)).join('')}\n`
  process.stdout.write(line('nodes', 'median (us)', 'p99 (us)', 'bytes/decision'))
  for (const row of rows) process.stdout.write(line(row.nodes, row.p50Us, row.p99Us, row.bytesPerDecision))
  process.stdout.write('To be held at 5,000 nodes: 100 us median, 500 us p99 (docs/architecture.md).\n')
}
