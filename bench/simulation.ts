// npm run bench:simulation [-- --nodes 50,1000 --trace-dir DIR] [--json]: how fast the simulator and the placement environment are.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seededRandom } from '../src/clock/random.ts'
import { amountOf, CPU } from '../src/cluster/resources.ts'
import { ClusterState } from '../src/cluster/state.ts'
import { PlacementEnvironment } from '../src/simulation/environments/placement.ts'
import { DrawnPods } from '../src/simulation/environments/pod-source.ts'
import { runFgd } from '../src/simulation/experiments/fgd.ts'
import { DEFAULT_NODE_SHAPE, nodeShapes } from '../src/simulation/workload/node-shapes.ts'
import { OPENB_NODE_LIST, OPENB_POD_LIST } from '../src/simulation/traces/openb.ts'
import { syntheticWorkload } from '../src/simulation/workload/workload.ts'

/** What others say of themselves, for the order of magnitude: other machines, other tasks. */
const DOCUMENTED = [
  { what: 'the simulator of the FGD paper (Go, the same experiment)', podsPerSecond: 15 },
  { what: 'CloudSim Plus (Java, 20,000 hosts), placements', podsPerSecond: 510 },
  { what: 'KWOK with a scheduler of its own', podsPerSecond: 20 },
] as const
const DOCUMENTED_STEPS = { what: 'Gymnasium CartPole (Python), which simulates one pole', stepsPerSecond: 416_667 }

const SEED = 42
const TEMPLATES = 500
const LIFE_MS = 600_000
/** Of all cpu, what the pods of the environment ask for on average. */
const LOAD = 0.7
const ROUNDS = 5
const ROUND_MS = 400

const stop = (text: string): never => {
  process.stderr.write(`bench:simulation: ${text}\n`)
  process.exit(2)
}

/** Processor time of this process, all of its threads, in milliseconds. */
const cpuMs = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

/**
 * Steps a second of processor time, without a network: the next node in turn that the mask allows is taken. The median of some
 * rounds. Processor time, because what else runs on the machine is not to count; the collector's threads do.
 */
const placementSpeed = (nodes: number): number => {
  const shapes = nodeShapes([DEFAULT_NODE_SHAPE, 'cpu=32,memory=128Gi,nvidia.com/gpu=8'], nodes)
  const templates = syntheticWorkload({
    pods: TEMPLATES,
    spanMs: 1,
    random: seededRandom(SEED),
    nodes: shapes,
    schedulerName: 'stowage',
  }).map(({ pod }) => ({ ...pod, metadata: { ...pod.metadata, annotations: {} } }))
  const state = new ClusterState()
  const cpuMilli =
    templates.reduce((sum, pod, number) => {
      const metadata = { ...pod.metadata, uid: `${number}` }
      return sum + amountOf(state.readPod({ ...pod, metadata }).shape.request, CPU)
    }, 0) / templates.length
  const capacityMilli = shapes.reduce((sum, { allocatable }) => sum + 1000 * Number(allocatable['cpu']), 0)
  const environment = new PlacementEnvironment({
    nodes: shapes,
    source: new DrawnPods({
      templates,
      meanGapMs: (LIFE_MS * cpuMilli) / (LOAD * capacityMilli),
      meanDurationMs: LIFE_MS,
      pods: 100_000,
    }),
  })
  let seed = SEED
  const { mask } = environment.reset(seed)
  const action = [0]
  let choice = 0
  const play = (untilMs: number): number => {
    let steps = 0
    do {
      for (let i = 0; i < 100; i++) {
        do choice = (choice + 7) % nodes
        while (mask[choice] !== 1)
        action[0] = choice
        if (environment.step(action).terminated) environment.reset(++seed)
      }
      steps += 100
    } while (performance.now() < untilMs)
    return steps
  }
  // Until the cluster is as full as it gets.
  play(performance.now() + 2 * ROUND_MS)
  const rounds = Array.from({ length: ROUNDS }, () => {
    const startMs = cpuMs()
    const steps = play(performance.now() + ROUND_MS)
    return (1000 * steps) / (cpuMs() - startMs)
  }).sort((a, b) => a - b)
  return Math.round(rounds[ROUNDS >> 1] ?? 0)
}

/**
 * Lists of the size and the mix of openb's (nodes, kinds of pods), drawn from the seed: for machines without the trace. What the
 * experiment finds on them says nothing about the trace, how long it takes does.
 */
const writeSyntheticLists = (directory: string): void => {
  const random = seededRandom(SEED)
  const pick = <T>(values: readonly [T, ...T[]]): T => values[random.below(values.length)] ?? values[0]
  const nodes = Array.from({ length: 1213 }, (_, number) => {
    const gpus = pick([2, 2, 4, 4, 8, 8, 8])
    return `node-${number},${pick([64000, 96000, 128000])},${pick([262144, 393216, 786432])},${gpus},${pick(['T4', 'P100', 'V100M16', 'G2', 'G3'])}`
  })
  writeFileSync(join(directory, OPENB_NODE_LIST), `sn,cpu_milli,memory_mib,gpu,model\n${nodes.join('\n')}\n`)
  const kinds: readonly (readonly [count: number, gpus: number])[] = [
    [3911, 1],
    [3078, 0.5],
    [1088, 0],
    [44, 8],
    [16, 2],
    [15, 4],
  ]
  const pods = kinds.flatMap(([count, gpus]) =>
    Array.from({ length: count }, () => {
      const share = gpus === 0.5
      const milli = gpus === 0 ? 0 : share ? pick([100, 200, 250, 300, 400, 460, 500, 600, 800]) : 1000
      return `${pick([1000, 2000, 4000, 6000, 8000, 11908, 16000])},${pick([2048, 8192, 15258, 32768])},${share ? 1 : gpus},${milli},,LS`
    }),
  )
  const rows = pods.map(
    (row, number) => `openb-pod-${String(number).padStart(4, '0')},${row},Running,${number},${number + 60}`,
  )
  const columns = 'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time'
  writeFileSync(join(directory, OPENB_POD_LIST), `${columns}\n${rows.join('\n')}\n`)
}

/** One seed of the experiment in a process of its own, from its start to its end. */
const fgdSeed = (directory: string): { seconds: number; cpuSeconds: number; pods: number } => {
  const startMs = performance.now()
  const { status, stderr, stdout } = spawnSync(
    process.execPath,
    [import.meta.filename, '--one-fgd-seed', '--trace-dir', directory],
    { encoding: 'utf8' },
  )
  const seconds = (performance.now() - startMs) / 1000
  if (status !== 0) stop(`the experiment failed: ${stderr}`)
  const [pods, cpuSeconds] = stdout.split(' ').map(Number)
  return { seconds, cpuSeconds: cpuSeconds ?? Number.NaN, pods: pods ?? Number.NaN }
}

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    nodes: { type: 'string', default: '50,1000' },
    'trace-dir': { type: 'string' },
    /** by this benchmark for itself: prints how many pods came, and the seconds of processor time */
    'one-fgd-seed': { type: 'boolean', default: false },
  },
})
const given = values['trace-dir'] ?? process.env['STOWAGE_OPENB']
if (values['one-fgd-seed']) {
  const { pods } = await runFgd({ directory: given ?? '', trace: 'default', policy: 'fgd', seed: SEED })
  process.stdout.write(`${pods} ${cpuMs() / 1000}`)
} else {
  const sizes = values.nodes.split(',').map(Number)
  if (sizes.some((size) => !Number.isInteger(size) || size < 2 || size > 16_000))
    stop(`--nodes ${values.nodes}: expected whole numbers from 2 to 16000, with commas between`)
  process.stderr.write(`Node ${process.version} on ${cpus()[0]?.model ?? 'an unknown processor'}\n`)
  const placementStepsPerSecond = sizes.map((nodes) => {
    process.stderr.write(`placement environment, ${nodes} nodes: ${ROUNDS} rounds of ${ROUND_MS} ms\n`)
    return { nodes, value: placementSpeed(nodes) }
  })
  const directory = given ?? mkdtempSync(join(tmpdir(), 'stowage-bench-'))
  try {
    if (given === undefined) writeSyntheticLists(directory)
    const lists =
      given === undefined
        ? 'synthetic lists of the size of openb (--trace-dir or STOWAGE_OPENB for the real ones)'
        : 'openb'
    process.stderr.write(`one seed of the FGD experiment on ${lists}, in a process of its own\n`)
    const { cpuSeconds, pods, seconds } = fgdSeed(directory)
    const fgdSeedSeconds = Math.round(100 * seconds) / 100
    const fgdSeedCpuSeconds = Math.round(100 * cpuSeconds) / 100
    const fgdPodsPerSecond = Math.round(pods / seconds)
    if (values.json)
      process.stdout.write(
        `${JSON.stringify({
          placementStepsPerSecond,
          fgdSeedSeconds,
          fgdSeedCpuSeconds,
          fgdPods: pods,
          fgdPodsPerSecond,
          fgdLists: given === undefined ? 'synthetic' : 'openb',
          documented: [...DOCUMENTED, DOCUMENTED_STEPS],
        })}\n`,
      )
    else {
      for (const { nodes, value } of placementStepsPerSecond)
        process.stdout.write(
          `placement environment, ${String(nodes).padStart(5)} nodes: ${String(value).padStart(8)} steps a second of processor time, without a network\n`,
        )
      process.stdout.write(
        `  documented: ${DOCUMENTED_STEPS.what}: ${DOCUMENTED_STEPS.stepsPerSecond} steps a second (2.4 us each)\n` +
          `FGD experiment, one seed (${lists}): ${fgdSeedSeconds} s for ${pods} pods, ${fgdPodsPerSecond} a second, start of the process included (${fgdSeedCpuSeconds} s of processor time)\n`,
      )
      for (const { podsPerSecond, what } of DOCUMENTED)
        process.stdout.write(`  documented: ${what}: ${podsPerSecond} a second\n`)
      process.stdout.write('To be held: 200,000 steps a second at 50 nodes; 2 s for the seed.\n')
    }
  } finally {
    if (given === undefined) rmSync(directory, { recursive: true, force: true })
  }
}
