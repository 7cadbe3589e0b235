// npm run bench:cycle [-- --nodes 100,1000,5000 --workload basic --placed 0] [--json]: how long one decision takes, in process,
// with nothing around it. `--scale` is 5,000 and 50,000 nodes with ten pods on each; `--help` lists the workloads.
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { systemClock } from '../src/clock/clock.ts'
import { seededRandom } from '../src/clock/random.ts'
import type { PodObject } from '../src/cluster/objects.ts'
import type { Pod } from '../src/cluster/pod.ts'
import { DisruptionBudgets } from '../src/cluster/disruption-budgets.ts'
import { ClusterState } from '../src/cluster/state.ts'
import { createConstraints } from '../src/constraints/registry.ts'
import { createPolicy } from '../src/policies/registry.ts'
import { Cycle, type Decision } from '../src/scheduling/cycle.ts'
import type { Profile } from '../src/scheduling/profile.ts'
import { nodeOf, placedPods, podOf, type Workload, workloadHelp, WORKLOADS } from './workloads.ts'

interface Row {
  workload: string
  nodes: number
  /** pods that were on the nodes before */
  placedPods: number
  /** microseconds for one decision with its assume: all nodes filtered, all feasible ones ranked */
  p50Us: number
  p99Us: number
  /** heap and array buffers taken for one decision, garbage included */
  bytesPerDecision: number
  /** heap and array buffers in use with all nodes and pods, after a full collection */
  memoryMiB: number
}

const warmUp = 2_000
const measured = 5_000
const batches = 20
const decisionsInABatch = 100
/** Plain pods of a few templates, as a cluster's Deployments make them. */
const templates = 8
const allocatable = { cpu: '64', memory: '256Gi', pods: '250' }
/** Those that a decision alone can show: the others are about what goes on around it. */
const workloads = WORKLOADS.filter(({ churn, waiting, allocatable }) => !churn && !waiting && !allocatable)

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const memoryBytes = (): number => {
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** As the API server would hand it out. */
const stored = (pod: PodObject, number: number): PodObject => ({
  ...pod,
  metadata: {
    ...pod.metadata,
    uid: `${pod.metadata?.name}`,
    resourceVersion: `${number}`,
    creationTimestamp: '2026-01-01T00:00:00Z',
  },
  status: { phase: pod.spec?.nodeName === undefined ? 'Pending' : 'Running' },
})

const measure = (workload: Workload, nodes: number, placedPerNode: number): Row => {
  collectGarbage()
  const memoryBefore = memoryBytes()
  const cluster = new ClusterState()
  for (let i = 0; i < nodes; i++) cluster.applyNode(cluster.readNode(nodeOf(workload, i, allocatable)))
  const perNode = Math.max(placedPerNode, workload.placed?.perNode ?? 0)
  let placed = 0
  for (const pod of placedPods({ ...workload, placed: { ...workload.placed, perNode } }, nodes))
    cluster.applyPod(cluster.readPod(stored(pod, ++placed)))
  collectGarbage()
  const memoryMiB = Math.round((memoryBytes() - memoryBefore) / 2 ** 20)
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
    const pod = stored(podOf(workload, number, nodes), number)
    if (workload.name !== 'basic') return cluster.readPod(pod)
    const template = number % templates
    const requests = { cpu: `${50 + template * 10}m`, memory: `${64 + template * 16}Mi` }
    const containers = [{ name: 'main', image: 'app', resources: { requests } }]
    const labels = { app: `app-${template}` }
    return cluster.readPod({
      ...pod,
      metadata: { ...pod.metadata, labels },
      spec: { ...pod.spec, containers },
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
    const before = memoryBytes()
    for (const next of pods) {
      pod = next
      decide()
    }
    bytes[batch] = (memoryBytes() - before) / decisionsInABatch
  }
  bytes.sort()
  const tenths = (value: number | undefined): number => Math.round((value ?? Number.NaN) * 10) / 10
  return {
    workload: workload.name,
    nodes,
    placedPods: placed,
    p50Us: tenths(durationsUs[measured >> 1]),
    p99Us: tenths(durationsUs[Math.floor(measured * 0.99)]),
    bytesPerDecision: Math.round(bytes[batches >> 1] ?? Number.NaN),
    memoryMiB,
  }
}

const stop = (text: string): never => {
  process.stderr.write(`bench:cycle: ${text}\n`)
  process.exit(2)
}
const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    scale: { type: 'boolean', default: false },
    nodes: { type: 'string' },
    placed: { type: 'string' },
    workload: { type: 'string', default: 'basic' },
  },
})
if (values.help) {
  process.stdout.write(
    'npm run bench:cycle -- [--nodes 100,1000,5000] [--workload NAME,...] [--placed PODS_PER_NODE] [--scale] [--json]\n\n' +
      `Workloads:\n${workloadHelp(workloads)}`,
  )
  process.exit(0)
}
const nodesText = values.nodes ?? (values.scale ? '5000,50000' : '100,1000,5000')
const sizes = nodesText.split(',').map(Number)
if (sizes.some((size) => !Number.isInteger(size) || size < 100 || size > 100_000))
  stop(`--nodes ${nodesText}: expected whole numbers from 100 to 100000, with commas between`)
const placedText = values.placed ?? (values.scale ? '10' : '0')
const placedPerNode = Number(placedText)
if (!Number.isInteger(placedPerNode) || placedPerNode < 0 || placedPerNode > 100)
  stop(`--placed ${placedText}: expected a whole number from 0 to 100`)
const chosen = values.workload
  .split(',')
  .map(
    (name) =>
      workloads.find((workload) => workload.name === name) ??
      stop(`--workload ${values.workload}: expected some of ${workloads.map(({ name }) => name).join(',')}`),
  )
process.stderr.write(`Node ${process.version} on ${cpus()[0]?.model ?? 'an unknown processor'}; policy kube-default\n`)
const rows = chosen.flatMap((workload) =>
  sizes.map((nodes) => {
    process.stderr.write(`${workload.name}, ${nodes} nodes: ${warmUp} decisions to warm up, ${measured} measured\n`)
    return measure(workload, nodes, placedPerNode)
  }),
)
if (values.json) process.stdout.write(`${JSON.stringify({ rows })}\n`)
else {
  const line = (name: string, ...cells: (string | number)[]): string =>
    `${name.padEnd(27)}${cells.map((cell) => `${cell}`.padStart(16)).join('')}\n`
  process.stdout.write(line('workload', 'nodes', 'pods', 'median (us)', 'p99 (us)', 'bytes/decision', 'MiB'))
  for (const row of rows)
    process.stdout.write(
      line(row.workload, row.nodes, row.placedPods, row.p50Us, row.p99Us, row.bytesPerDecision, row.memoryMiB),
    )
  if (values.scale) {
    for (const { name } of chosen) {
      const of = rows.filter(({ workload }) => workload === name)
      const [small, large] = [of[0], of.at(-1)]
      if (small === undefined || large === undefined || small === large) continue
      const grown = (value: (row: Row) => number): string => `${(value(large) / value(small)).toFixed(1)} x`
      process.stdout.write(
        `${name}: ${grown((row) => row.nodes)} the nodes, ${grown((row) => row.p50Us)} the median, ${grown((row) => row.p99Us)} the 99th percentile, ${grown((row) => row.memoryMiB)} the memory\n`,
      )
    }
  }
  process.stdout.write(
    'To be held at 5,000 nodes: 100 us median, 500 us p99; with spread and affinity 1,000 us (docs/architecture.md).\n',
  )
}
