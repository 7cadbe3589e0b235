// npm run bench:throughput [-- --workload basic --nodes 1000 --pods 3000 --rounds 1] [--json]: pods per second through a real
// API server. `--help` lists the workloads.
// Three arms in the same run, each on a control plane of its own: Stowage as an operator runs it, the real kube-scheduler
// with raised client limits, and the server's own limit: the same binds and Scheduled events sent with no decision.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Connection, openConnection } from '../src/kubernetes/connection.ts'
import {
  collectionPath,
  createObject,
  deleteObject,
  EVENTS,
  listObjects,
  NODES,
  PODS,
  type ResourceKind,
} from '../src/kubernetes/objects.ts'
import type { KubeList, KubeObject, PodObject } from '../src/cluster/objects.ts'
import { type ControlPlane, realControlPlane } from '../test/real-control-plane.ts'
import {
  churned,
  MEASURED_SELECTOR,
  OTHERS_SELECTOR,
  nodeOf,
  placedPods,
  podOf,
  PRIORITIES,
  waitingPods,
  type Workload,
  workloadHelp,
  WORKLOADS,
} from './workloads.ts'

const SERVICES: ResourceKind = { root: '/api/v1', plural: 'services', namespaced: true }
const PRIORITY_CLASSES: ResourceKind = {
  root: '/apis/scheduling.k8s.io/v1',
  plural: 'priorityclasses',
  namespaced: false,
}

const root = join(import.meta.dirname, '..')
/** The limit is what the best of these reaches. */
const limitConcurrencies = [16, 32, 64]
/** A backlog that nobody works on for so long is an error. */
const stalledMs = 60_000

interface Result {
  podsPerSecond: number
  /** the same with the clock running until the last event is stored, too */
  withEvents: number
  /** from the first bind or eviction until all Scheduled events are stored */
  eventsDrainedSeconds: number
  /** pods with a Scheduled event */
  events: number
  /** processor time between the first bind or eviction and the last bind, for each pod */
  cpuUsPerPod: { arm: number; server: number }
}
interface Arm {
  readonly pid: number | undefined
  /** Ends it, and resolves once it has ended. */
  readonly finish: () => Promise<void>
}
/** Starts an arm; `fail` is told if it ends before it should. */
type Start = (plane: ControlPlane, fail: (error: Error) => void) => Promise<Arm>

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const stop = (text: string): never => {
  say(`bench:throughput: ${text}`)
  process.exit(2)
}

/** Runs one of the project's programs as a user would, in a process of its own. `exit` rejects unless it ends with code 0. */
const runProgram = (
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): { child: ChildProcess; exit: Promise<void> } => {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_000)
    })
  }
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const exit = once(child, 'exit').then(([code]) => {
    process.off('exit', kill)
    if (code !== 0) throw new Error(`${args.slice(0, 2).join(' ')} ended with exit code ${code}:\n${output}`)
  })
  return { child, exit }
}

const startStowage: Start = async ({ kubeconfigPath }, fail) => {
  // Its decisions go to a file, as a user's do, but not among the user's own.
  const state = mkdtempSync(join(tmpdir(), 'stowage-bench-'))
  const { child, exit } = runProgram(
    [
      'bin/stowage.mjs',
      'schedule',
      '--kubeconfig',
      kubeconfigPath,
      '--profile',
      'default-scheduler=kube-default',
      '--api-port',
      '0',
      '--metrics-port',
      '0',
    ],
    { ...process.env, XDG_STATE_HOME: state },
  )
  exit.catch(fail).finally(() => rmSync(state, { recursive: true, force: true }))
  const finish = async (): Promise<void> => {
    child.kill('SIGTERM')
    await exit
  }
  return { pid: child.pid, finish }
}

const startKubeScheduler: Start = async (plane) => {
  await plane.startScheduler()
  return { pid: plane.pidOf('kube-scheduler'), finish: async () => {} }
}

const startLimit =
  (concurrency: number, evicts: number): Start =>
  async ({ kubeconfigPath }, fail) => {
    const { child, exit } = runProgram([
      'bench/limit.ts',
      '--kubeconfig',
      kubeconfigPath,
      '--concurrency',
      `${concurrency}`,
      '--evict',
      `${evicts}`,
    ])
    exit.catch(fail)
    return { pid: child.pid, finish: () => exit }
  }

const allocatable = { cpu: '32', memory: '256Gi', pods: '250' }

/** Linux counts processor time in hundredths of a second (USER_HZ). */
const TICK_US = 10_000

/** Processor time that a process has taken; NaN where that cannot be read (another system than Linux). */
const cpuUs = (pid: number | undefined): number => {
  try {
    // the name may hold anything, so fields are counted from its end: user and system time are the 12th and 13th after it
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * TICK_US
  } catch {
    return Number.NaN
  }
}

/** Creates them all, 32 at once. */
const createAll = async <T extends KubeObject>(
  connection: Connection,
  kind: ResourceKind,
  objects: Iterator<T>,
): Promise<void> => {
  const worker = async (): Promise<void> => {
    for (let next = objects.next(); next.done !== true; next = objects.next())
      await createObject(connection, kind, next.value)
  }
  await Promise.all(Array.from({ length: 32 }, worker))
}

const countEvents = async (connection: Connection): Promise<number> => {
  const { body } = await connection.request({ method: 'GET', path: collectionPath(EVENTS), query: { limit: 1 } })
  const list = body as KubeList<KubeObject>
  return (list.items?.length ?? 0) + (list.metadata?.remainingItemCount ?? 0)
}

/** Measured pods that have a Scheduled event, each counted once. */
const scheduledEvents = async (connection: Connection): Promise<number> => {
  const pods = new Set<string>()
  for await (const event of listObjects<KubeObject & { reason?: string; regarding?: { name?: string } }>(
    connection,
    EVENTS,
  )) {
    const name = event.regarding?.name
    if (event.reason === 'Scheduled' && name?.startsWith('pod-') === true) pods.add(name)
  }
  return pods.size
}

/** Every second something comes and what came the last time goes, until the signal; the first at once. */
const churn = async (connection: Connection, signal: AbortSignal): Promise<void> => {
  for (let number = 0; !signal.aborted; number++) {
    const { node, pod, service } = churned(number)
    await createObject(connection, NODES, node)
    await createObject(connection, PODS, pod)
    await createObject(connection, SERVICES, service)
    await pause(1_000, undefined, { signal }).catch(() => {})
    await deleteObject(connection, NODES, '', `churn-${number}`)
    await deleteObject(connection, PODS, 'default', `churn-${number}`, { gracePeriodSeconds: 0 })
    await deleteObject(connection, SERVICES, 'default', `churn-${number}`)
  }
}

/**
 * One arm, measured the same way for all: every pod is there before the scheduler starts, and one watch of bound pods in
 * this process takes the time from the first bind or eviction it sees to the last bind.
 */
const measure = async (workload: Workload, nodes: number, pods: number, start: Start): Promise<Result> => {
  const plane = await realControlPlane.start()
  const connection = openConnection({ kubeconfig: plane.kubeconfigPath, env: process.env })
  const ended = new AbortController()
  try {
    for (const [name, value] of Object.entries(PRIORITIES))
      await createObject<KubeObject & { value: number }>(connection, PRIORITY_CLASSES, { metadata: { name }, value })
    const numbers = (count: number) => Array.from({ length: count }, (_, number) => number).values()
    await createAll(
      connection,
      NODES,
      numbers(nodes).map((number) => nodeOf(workload, number, allocatable)),
    )
    await createAll(connection, PODS, placedPods(workload, nodes))
    await createAll(connection, PODS, waitingPods(workload, pods))
    await createAll(
      connection,
      PODS,
      numbers(pods).map((number) => podOf(workload, number, nodes)),
    )
    const { body } = await connection.request({ method: 'GET', path: collectionPath(PODS), query: { limit: 1 } })
    let resourceVersion = (body as KubeList<PodObject>).metadata?.resourceVersion ?? ''
    let bound = 0
    let [firstMs, lastMs, seenMs] = [0, 0, performance.now()]
    let pid: number | undefined
    // kube-scheduler binds before it says that it is ready
    const cpu = () => ({
      arm: cpuUs(pid ?? plane.pidOf('kube-scheduler')),
      server: cpuUs(plane.pidOf('kube-apiserver')) + cpuUs(plane.pidOf('etcd')),
    })
    let [cpuFirst, cpuLast] = [cpu(), cpu()]
    const begin = (): void => {
      if (firstMs > 0) return
      firstMs = performance.now()
      cpuFirst = cpu()
    }
    const allBound = Promise.withResolvers<void>()
    // It is awaited only once the arm has started; what fails before is told by what failed.
    allBound.promise.catch(() => {})
    const seen = (line: string): void => {
      // A pod that gets its node enters what is selected, once. Not parsed: the watcher shares two cores with the arm.
      if (!line.startsWith('{"type":"ADDED"')) return
      resourceVersion = /"resourceVersion":"(\d+)"/.exec(line)?.[1] ?? resourceVersion
      begin()
      lastMs = seenMs = performance.now()
      if (++bound < pods) return
      cpuLast = cpu()
      allBound.resolve()
    }
    const onNodes = (labelSelector: string): string =>
      `${collectionPath(PODS)}?watch=true&resourceVersion=${resourceVersion}&fieldSelector=${encodeURIComponent('spec.nodeName!=')}&labelSelector=${encodeURIComponent(labelSelector)}`
    const watch = async (): Promise<void> => {
      // A server that is busy ends watches that do not take events fast enough for it; the next one goes on from there.
      while (!ended.signal.aborted) await connection.stream(onNodes(MEASURED_SELECTOR), ended.signal, seen)
    }
    const watching = watch().catch((error: unknown) => allBound.reject(error))
    // Making room is part of the work, and who evicts for many pods before it binds the first has begun all the same.
    const begun = new AbortController()
    const firstEviction =
      workload.evicts === undefined
        ? Promise.resolve()
        : connection
            .stream(onNodes(OTHERS_SELECTOR), AbortSignal.any([begun.signal, ended.signal]), (line) => {
              if (begun.signal.aborted || line.startsWith('{"type":"BOOKMARK"')) return
              begin()
              begun.abort()
            })
            .catch((error: unknown) => begun.signal.aborted || allBound.reject(error))
    const churning = workload.churn === true ? churn(connection, ended.signal) : Promise.resolve()
    churning.catch(allBound.reject)
    const arm = await start(plane, allBound.reject)
    pid = arm.pid
    const stalled = setInterval(() => {
      if (performance.now() - seenMs > stalledMs)
        allBound.reject(new Error(`${bound} of ${pods} pods are bound, and no more follow`))
    }, 1_000)
    await allBound.promise.finally(() => clearInterval(stalled))

    let events = 0
    let drainedMs = 0
    // Where other events are told too, counting them all says nothing.
    const others = workload.churn ?? (workload.waiting !== undefined || workload.name === 'preemption')
    const counted = others ? scheduledEvents : countEvents
    for (let changedMs = performance.now(); performance.now() - changedMs < 15_000; await pause(others ? 500 : 100)) {
      const count = await counted(connection)
      if (count !== events) drainedMs = changedMs = performance.now()
      events = count
      if (events >= pods) break
    }
    const told = await scheduledEvents(connection)
    await arm.finish()
    ended.abort()
    await watching
    await firstEviction
    await churning
    return {
      podsPerSecond: (pods - 1) / ((lastMs - firstMs) / 1_000),
      withEvents: (pods - 1) / ((Math.max(drainedMs, lastMs) - firstMs) / 1_000),
      eventsDrainedSeconds: (drainedMs - firstMs) / 1_000,
      events: told,
      cpuUsPerPod: { arm: (cpuLast.arm - cpuFirst.arm) / pods, server: (cpuLast.server - cpuFirst.server) / pods },
    }
  } finally {
    ended.abort()
    connection.close()
    await plane.stop()
  }
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
const rounded = (value: number, digits = 1): number => Math.round(value * 10 ** digits) / 10 ** digits

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    workload: { type: 'string', default: 'basic' },
    nodes: { type: 'string', default: '1000' },
    pods: { type: 'string', default: '3000' },
    rounds: { type: 'string', default: '1' },
  },
})
if (values.help) {
  process.stdout.write(
    `npm run bench:throughput -- [--workload NAME] [--nodes 1000] [--pods 3000] [--rounds 1] [--json]\n\nWorkloads:\n${workloadHelp()}`,
  )
  process.exit(0)
}
const workload =
  WORKLOADS.find(({ name }) => name === values.workload) ??
  stop(`--workload ${values.workload}: expected one of ${WORKLOADS.map(({ name }) => name).join(', ')}`)
const whole = (name: 'nodes' | 'pods' | 'rounds', least: number): number => {
  const number = Number(values[name])
  return Number.isInteger(number) && number >= least
    ? number
    : stop(`--${name} ${values[name]}: expected a whole number, ${least} or more`)
}
const [nodes, pods, rounds] = [whole('nodes', 1), whole('pods', 2), whole('rounds', 1)]
const most = workload.name === 'preemption' ? nodes : nodes * 200
if (pods > most) stop(`${pods} pods do not fit on ${nodes} nodes: take fewer pods or more nodes`)
if (realControlPlane.skip !== false) {
  stop(
    `${realControlPlane.skip}, kube-scheduler beside them. For example: go install sigs.k8s.io/controller-runtime/tools/setup-envtest@latest, ` +
      'then export KUBEBUILDER_ASSETS=$(setup-envtest use -p path); CONTRIBUTING.md says more',
  )
}

const arms = new Map<string, Start>([
  ['ours', startStowage],
  ['kubeScheduler', startKubeScheduler],
  ...limitConcurrencies.map(
    (concurrency) => [`limit ${concurrency}`, startLimit(concurrency, workload.evicts ?? 0)] as const,
  ),
])
const results = new Map<string, Result[]>([...arms.keys()].map((name) => [name, []]))
for (let round = 1; round <= rounds; round++) {
  // Another arm begins each round, so that no arm always has the machine in the same state.
  const order = [...arms.keys()]
  order.push(...order.splice(0, (round - 1) % order.length))
  for (const name of order) {
    // the names are the keys of both maps
    const result = await measure(workload, nodes, pods, arms.get(name)!)
    results.get(name)!.push(result)
    const { podsPerSecond, events, eventsDrainedSeconds } = result
    say(
      `round ${round}, ${name}: ${rounded(podsPerSecond)} pods/s, ${events} events after ${rounded(eventsDrainedSeconds)} s`,
    )
  }
}

const summary = (name: string): Result => {
  const all = results.get(name) ?? []
  return {
    podsPerSecond: rounded(median(all.map((result) => result.podsPerSecond))),
    withEvents: rounded(median(all.map((result) => result.withEvents))),
    eventsDrainedSeconds: rounded(median(all.map((result) => result.eventsDrainedSeconds))),
    events: Math.min(...all.map((result) => result.events)),
    cpuUsPerPod: {
      arm: rounded(median(all.map(({ cpuUsPerPod }) => cpuUsPerPod.arm)), 0),
      server: rounded(median(all.map(({ cpuUsPerPod }) => cpuUsPerPod.server)), 0),
    },
  }
}
const limits = limitConcurrencies.map((concurrency) => ({ concurrency, ...summary(`limit ${concurrency}`) }))
const limit = limits.reduce((best, other) => (other.podsPerSecond > best.podsPerSecond ? other : best))
const ours = summary('ours')
const kubeScheduler = summary('kubeScheduler')
const each = <T>(pick: (result: Result) => T) => ({
  ours: pick(ours),
  kubeScheduler: pick(kubeScheduler),
  limit: pick(limit),
})
const report = {
  podsPerSecond: each((result) => result.podsPerSecond),
  ratio: rounded(ours.podsPerSecond / kubeScheduler.podsPerSecond, 2),
  ofLimit: rounded(ours.podsPerSecond / limit.podsPerSecond, 2),
  withEvents: each((result) => result.withEvents),
  ofLimitWithEvents: rounded(ours.withEvents / Math.max(...limits.map((one) => one.withEvents)), 2),
  eventsDrainedSeconds: each((result) => result.eventsDrainedSeconds),
  events: each((result) => result.events),
  cpuUsPerPod: each((result) => result.cpuUsPerPod),
  limitConcurrency: limit.concurrency,
  workload: workload.name,
  nodes,
  pods,
  rounds,
}
if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`)
else {
  process.stdout.write(
    `${workload.name}: ${pods} pods on ${nodes} nodes${rounds > 1 ? `, median of ${rounds} rounds` : ''}\n` +
      `  Stowage         ${ours.podsPerSecond} pods/s: ${report.ratio} x kube-scheduler, ${report.ofLimit} of the limit; events in after ${ours.eventsDrainedSeconds} s (${report.ofLimitWithEvents} of the limit)\n` +
      `  kube-scheduler  ${kubeScheduler.podsPerSecond} pods/s; events in after ${kubeScheduler.eventsDrainedSeconds} s\n` +
      `  API server      ${limit.podsPerSecond} pods/s without a decision (${limit.concurrency} at once); events in after ${limit.eventsDrainedSeconds} s\n` +
      `  Processor time a pod, of the arm and of the server: ${[ours, kubeScheduler, limit].map(({ cpuUsPerPod: { arm, server } }) => `${arm} + ${server} us`).join(', ')}\n`,
  )
}
if (ours.events < pods) {
  say(`bench:throughput: ${pods - ours.events} of our Scheduled events are missing`)
  process.exitCode = 1
}
