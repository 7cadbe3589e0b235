// npm run test:differential [-- --cases 300 --seed 7 --mutate NAME|all] [--json]: the same generated clusters and pods for
// the real kube-scheduler and for Stowage, and everything in which they differ. test/differential/README.md says more.
import { parseArgs } from 'node:util'
import type { NodeObject, PodObject } from '../../src/cluster/objects.ts'
import { realControlPlane } from '../real-control-plane.ts'
import { type Difference, differences } from './comparison.ts'
import { explanations, invisibleMutants } from './explained.ts'
import { claimsOf, type Decided, KubeScheduler, type PodNews, RefusedByApi, type Verdict } from './kube-scheduler.ts'
import { known, mutants, Stowage } from './stowage.ts'
import { CASES_PER_WORLD, generateWorld, type World } from './worlds.ts'

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const stop = (text: string): never => {
  say(`test:differential: ${text}`)
  process.exit(2)
}

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '300' },
    seed: { type: 'string', default: '7' },
    world: { type: 'string' },
    mutate: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})
const whole = (name: 'cases' | 'seed' | 'world', least: number): number => {
  const number = Number(values[name])
  return Number.isSafeInteger(number) && number >= least
    ? number
    : stop(`--${name} ${values[name]}: expected a whole number, ${least} or more`)
}
const seed = whole('seed', 0)
const firstWorld = values.world === undefined ? 0 : whole('world', 0)
const wanted = values.world === undefined ? whole('cases', 1) : CASES_PER_WORLD
const mutating =
  values.mutate === undefined
    ? []
    : values.mutate === 'all'
      ? mutants
      : mutants.filter((name) => name === values.mutate)
if (values.mutate !== undefined && mutating.length === 0)
  stop(`--mutate ${values.mutate}: expected all, or one of ${mutants.join(', ')}`)
if (realControlPlane.skip !== false)
  stop(`${realControlPlane.skip}, kube-scheduler beside them; CONTRIBUTING.md says more`)

/** How many nodes, scores and messages were held against each other. */
const checked = { bound: 0, refused: 0, gated: 0, again: 0, feasibleNodes: 0, scores: 0, victims: 0 }
const explained = new Map<string, number>()
const found: { seed: number; world: number; case: number; differences: string[]; pod: unknown; nodes: unknown }[] = []
/** mutant -> number of the first case that shows it */
const caught = new Map<string, number>()
let [cases, differing, unsupported] = [0, 0, 0]
const refusedByApi = new Map<string, number>()
/** the reasons for which pods were refused, by how many cases saw them */
const messages = new Map<string, number>()

/** What matters of a node, on one line. */
const nodeLine = ({ metadata, spec, status }: NodeObject): string => {
  const labels = Object.entries(metadata?.labels ?? {}).filter(([key]) => key !== 'kubernetes.io/hostname')
  const parts = [
    metadata?.name,
    labels.map(([key, value]) => `${key}=${value}`).join(','),
    Object.entries(status?.allocatable ?? {})
      .map(([key, value]) => `${key}:${value}`)
      .join(','),
    (spec?.taints ?? []).map(({ key, value, effect }) => `${key}=${value ?? ''}:${effect}`).join(','),
    spec?.unschedulable === true ? 'unschedulable' : '',
  ]
  return parts.filter((part) => part !== '').join(' ')
}

const tell = (
  world: World,
  number: number,
  pod: PodObject,
  nodes: readonly NodeObject[],
  all: readonly Difference[],
): void => {
  const lines = all.map(({ about, text }) => `${about}: ${text}`)
  const { labels, namespace, name } = pod.metadata ?? {}
  found.push({
    seed,
    world: world.number,
    case: number,
    differences: lines,
    pod: { name, namespace, labels, spec: pod.spec },
    nodes: nodes.map(nodeLine),
  })
  if (found.length > 20) return
  say(`--- seed ${seed}, world ${world.number}, case ${number} (again: --seed ${seed} --world ${world.number})`)
  for (const line of lines) say(`  ${line}`)
  const shown = world.cases[number]?.pod.spec
  say(`  pod ${namespace}/${name} ${JSON.stringify(labels ?? {})} ${JSON.stringify(shown)}`)
  for (const node of nodes) say(`  ${nodeLine(node)}`)
}

/** What the world looks like at a case, for those who tell about it. */
interface Scene {
  readonly world: World
  readonly number: number
  readonly nodes: ReadonlyMap<string, NodeObject>
  readonly ours: Stowage
}

const judge = ({ world, number, nodes }: Scene, pod: PodObject, all: readonly Difference[]): void => {
  const left = all.filter((difference) => {
    const explanation = explanations.find(({ explains }) => explains(difference, world, number))
    if (explanation !== undefined) explained.set(explanation.reason, (explained.get(explanation.reason) ?? 0) + 1)
    return explanation === undefined
  })
  if (left.length === 0) return
  differing++
  tell(world, number, pod, [...nodes.values()], left)
}

const compare = (scene: Scene, pod: PodObject, verdict: Verdict): void => {
  const { nodes } = scene
  cases++
  checked[verdict.outcome]++
  if (verdict.outcome === 'bound') checked.feasibleNodes += nodes.size
  checked.victims += verdict.victims.size
  for (const terms of verdict.scores.values()) checked.scores += terms.size
  const reasons = /nodes are available: (.*?)\.?(?: preemption: .*)?$/s.exec(verdict.message)?.[1] ?? ''
  for (const [, reason = ''] of reasons.matchAll(/(?:^|, )\d+ (.+?)(?=, \d+ |$)/g))
    messages.set(reason, (messages.get(reason) ?? 0) + 1)
  compareVerdicts(scene, pod, verdict)
}

const compareVerdicts = (scene: Scene, pod: PodObject, verdict: Verdict): void => {
  const { ours } = scene
  const all = differences(verdict, ours.decide(pod), known.scores)
  judge(scene, pod, all)
  for (const mutant of mutating) {
    if (caught.has(mutant) || invisibleMutants.has(mutant)) continue
    if (differences(verdict, ours.decide(pod, mutant), known.scores).length > all.length) caught.set(mutant, cases)
  }
}

/** kube-scheduler heeds that of a pod that has only been nominated yet where a placed one keeps others away, too (README.md). */
const keepsOthersAway = ({ spec }: PodObject): boolean =>
  spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution !== undefined

/** A pod is tried once more while its victims go; half of those nodes are cordoned before, so that it has to look elsewhere. */
const tryAgain = async (theirs: KubeScheduler, scene: Scene, pod: PodObject, nodeName: string): Promise<PodObject> => {
  const { world, number, ours } = scene
  const node = world.nodes.findIndex(({ metadata }) => metadata?.name === nodeName)
  if (number % 2 === 0 && node >= 0) {
    const news = await theirs.apply({ kind: 'cordon', node, unschedulable: true }, world)
    if (news !== undefined) ours.seeNode(news)
  }
  // It may be bound already, where victims that are only going make room enough.
  const isItself = (one: PodNews): boolean => 'seen' in one && one.seen.metadata?.uid === pod.metadata?.uid
  const news = theirs.takeNews()
  ours.seePods([...news.filter((one) => !isItself(one)), { seen: pod }])
  const again = await theirs.triesAgain(pod)
  if (again !== undefined) {
    checked.again++
    compareVerdicts(scene, pod, again.verdict)
  }
  ours.seePods([...news.filter(isItself), ...theirs.takeNews()])
  return again?.seen ?? pod
}

/** @returns whether enough cases have been seen */
const runWorld = async (theirs: KubeScheduler, world: World): Promise<boolean> => {
  const began = await theirs.begin(world)
  const ours = new Stowage(began, mutating)
  const nodes = new Map(began.nodes.map((node) => [node.metadata?.name ?? '', node]))
  /** the pod that waits for those who were evicted for it, if any */
  const held: PodObject[] = []
  for (const [number, { change, pod, stays }] of world.cases.entries()) {
    if (cases === wanted) break
    if (number % 3 === 0 && held.length > 0) {
      for (const one of held.splice(0)) await theirs.remove(one)
      await theirs.settle()
    }
    // While pods wait for room that is being made, nothing may change that would let them in at a time of its own.
    if (change !== undefined && held.length === 0) {
      const news = await theirs.apply(change, world)
      if (news !== undefined) {
        ours.seeNode(news)
        if ('seen' in news) nodes.set(news.seen.metadata?.name ?? '', news.seen)
        else nodes.delete(news.gone)
      }
    }
    ours.seePods(theirs.takeNews())
    let decided: Decided
    try {
      decided = await theirs.decide(pod)
    } catch (error) {
      if (!(error instanceof RefusedByApi)) throw error
      refusedByApi.set(error.message, (refusedByApi.get(error.message) ?? 0) + 1)
      continue
    }
    const scene = { world, number, nodes, ours }
    const { created, verdict, seen } = decided
    if (ours.unsupported(created).length > 0) unsupported++
    else compare(scene, created, verdict)
    let bound = verdict.outcome === 'bound' ? seen : undefined
    // One whose claims are being bound would count on its node for a while after it is gone.
    const stay = world.graceful ? held.length === 0 && !keepsOthersAway(pod) : stays || claimsOf(pod).length > 0
    const makesRoom = verdict.victims.size > 0 && stay
    if (makesRoom && world.graceful) {
      await theirs.settle()
      const later = await tryAgain(theirs, scene, seen, verdict.node)
      if (later.spec?.nodeName) await theirs.started(later, pod.status)
      else held.push(later)
      await theirs.settle()
      continue
    }
    if (makesRoom) {
      // Its victims go, and it is tried once more.
      bound = await theirs.boundLater(seen)
      const news = theirs.takeNews()
      ours.seePods(news.filter((one) => !('seen' in one) || one.seen.metadata?.uid !== bound?.metadata?.uid))
      ours.seePods([{ seen }])
      const node = bound?.spec?.nodeName
      const own = ours.decide(seen).node
      if (bound !== undefined && own !== node)
        judge(scene, seen, [{ about: 'choice', text: `once its victims were gone, theirs took ${node}, ours ${own}` }])
      ours.seePods(news)
    }
    if (bound !== undefined && bound.spec?.nodeName === undefined) bound = await theirs.provisioned(bound, verdict.node)
    if ((created.spec?.volumes ?? []).length > 0)
      for (const other of await theirs.claimsAndVolumes()) ours.seeOther(other)
    if (bound === undefined) await theirs.remove(seen)
    else await theirs.started(bound, pod.status)
    await theirs.settle()
  }
  ours.seePods(theirs.takeNews())
  const miscounted = ours.miscounted()
  if (miscounted.length > 0) throw new Error(`world ${world.number}: ${miscounted.join('; ')}`)
  return cases === wanted
}

const startMs = performance.now()
const theirs = await KubeScheduler.start()
try {
  for (let number = firstWorld; ; number++) {
    const enough = await runWorld(theirs, generateWorld(seed, number, known))
    if (enough || values.world !== undefined) break
    if (number % 20 === 19) say(`${cases} cases, ${differing} with differences`)
  }
} finally {
  await theirs.stop()
}

const missed = mutating.filter((mutant) => !caught.has(mutant) && !invisibleMutants.has(mutant))
const report = {
  cases,
  differences: differing,
  explained: Array.from(explained, ([reason, count]) => ({ reason, count })),
  seed,
  checked,
  refusedByApi: refusedByApi.values().reduce((sum, count) => sum + count, 0),
  unsupported,
  seconds: Math.round((performance.now() - startMs) / 100) / 10,
  ...(mutating.length === 0
    ? {}
    : {
        mutations: mutating.map((mutant) => ({
          mutant,
          foundAtCase: caught.get(mutant) ?? null,
          ...(invisibleMutants.has(mutant) ? { why: invisibleMutants.get(mutant) } : {}),
        })),
      }),
  found: found.slice(0, 20),
}
if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`)
else {
  process.stdout.write(
    `${cases} cases in ${report.seconds} s: ${checked.bound} bound, ${checked.refused} refused, ${checked.gated} gated, ${checked.again} tried again; ` +
      `${checked.feasibleNodes} nodes and ${checked.scores} scores and ${checked.victims} victims compared\n` +
      `${differing} differ${explained.size === 0 ? '' : '; explained:'}\n`,
  )
  for (const [reason, count] of explained) process.stdout.write(`  ${count} ${reason}\n`)
  for (const [reason, count] of [...messages].sort(([, a], [, b]) => b - a))
    process.stdout.write(`  ${`${count}`.padStart(6)} ${reason}\n`)
  for (const [message, count] of refusedByApi)
    process.stdout.write(`  ${count} not taken by the API server: ${message}\n`)
  for (const mutant of mutating) {
    const at = invisibleMutants.has(mutant) ? 'cannot be seen' : (caught.get(mutant) ?? 'NOT FOUND')
    process.stdout.write(`  without ${mutant.padEnd(45)} ${at}\n`)
  }
}
if (differing > 0 || missed.length > 0) process.exitCode = 1
