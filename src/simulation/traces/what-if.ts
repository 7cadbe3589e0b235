import { podKey } from '../../cluster/pod.ts'
import type { Policy } from '../../policies/policy.ts'
import { spreadOf } from '../engine/measures.ts'
import type { Shares, SimulationResult, Spread } from '../engine/result.ts'
import { Simulation, withoutCounts } from '../engine/simulation.ts'
import type { PodLife } from './pod-lives.ts'
import type { RecordedTrace } from './recorded.ts'
import { asRecorded } from './as-recorded.ts'
import { recordedCourse, type Replay, replayOf } from './replay.ts'

/** How a cluster fared with one way of placing its pods. */
export interface Course {
  /** `recorded`: what really happened */
  readonly policy: string
  /** pods that got a node, of those that had to be placed */
  readonly placed: number
  /** pods without a node at the end, those that were deleted meanwhile left out */
  readonly pending: number
  /** why they wait, in the scheduler's words without counts, the most frequent first */
  readonly waitingBecause: readonly { readonly reason: string; readonly pods: number }[]
  /** milliseconds from when a pod could be placed to its node, of those that got one */
  readonly pendingMs: Spread
  /** requested of allocatable, averaged over the trace, and at its end */
  readonly utilisation: Shares
  readonly finalUtilisation: Shares
  /** standard deviation of the nodes' own shares, averaged over the trace */
  readonly imbalance: Shares
  readonly preemptions: number
}

/** A pod that is elsewhere than it was. */
export interface Moved {
  /** `namespace/name` */
  readonly pod: string
  /** '' : none */
  readonly recorded: string
  readonly now: string
}

/** What a policy would have made of a trace. */
export interface Alternative extends Course {
  /**
   * Of the decisions that were recorded, how many it takes alike when it is asked about each in the cluster as it was then:
   * all of them if it was live and draws nothing, but for what happened within the moment of a decision. `tied`: it chose
   * another, but the node that was taken has the same score, as where the live one draws among equals. undefined: none was
   * recorded.
   */
  readonly decisions: { readonly compared: number; readonly alike: number; readonly tied: number } | undefined
  /** pods that both placed, and how many of them are on the same node in the policy's own course, where each decision changes the next */
  readonly compared: number
  readonly agree: number
  /** all that are on another node, or on one where they had none, or the other way round */
  readonly moved: readonly Moved[]
}

export interface WhatIf {
  /** length of the trace; 0: one moment */
  readonly durationMs: number
  readonly nodes: number
  /** pods that had to be placed */
  readonly pods: number
  /** pods that had their node from the start, and keep it */
  readonly keptPods: number
  readonly leftOut: Replay['leftOut']
  /** undefined: in this trace nobody placed anything */
  readonly recorded: Course | undefined
  readonly policies: readonly Alternative[]
}

/** A policy to try, and what places pods where it gives nothing usable. */
export interface Serving {
  readonly policy: Policy
  readonly fallback?: Policy
}

export interface WhatIfOptions {
  readonly trace: RecordedTrace
  /** each makes its policy anew: policies remember what they decided */
  readonly policies: readonly [() => Serving, ...(() => Serving)[]]
  readonly seed: number
  /** told as each run goes on, and waited for */
  readonly progress?: (policy: string, share: number) => Promise<void>
  readonly signal?: AbortSignal
}

const REASONS_AT_MOST = 10

const simulate = (
  replay: Replay,
  { policy, fallback }: Serving,
  options: WhatIfOptions,
  name: string,
  onPlaced: (pod: string, node: string) => void,
): Promise<SimulationResult> => {
  const { progress, seed, signal } = options
  const simulation = new Simulation({
    nodes: replay.nodes,
    policy,
    ...(fallback === undefined ? {} : { fallback }),
    seed,
    arrivals: replay.arrivals,
    objects: replay.objects,
    remake: false,
    samples: 1,
    // One moment is over when everything that can be decided in it is.
    ...(replay.durationMs === 0 ? {} : { untilMs: replay.durationMs }),
    observer: { placed: (pod, node) => onPlaced(podKey(pod), node) },
    ...(progress === undefined
      ? {}
      : { progress: ({ arrived, arrivals }) => progress(name, arrivals === 0 ? 1 : arrived / arrivals) }),
    ...(signal === undefined ? {} : { signal }),
  })
  for (const { atMs, event } of replay.events) if (atMs <= replay.durationMs) simulation.at(atMs, event)
  return simulation.run()
}

const tally = (reasons: Iterable<string>): Course['waitingBecause'] => {
  const counts = new Map<string, number>()
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, REASONS_AT_MOST)
    .map(([reason, pods]) => ({ reason, pods }))
}

const sharesIn = ({ finalUtilisation, imbalance, utilisation }: SimulationResult) => ({
  finalUtilisation,
  imbalance,
  utilisation,
})

const recordedFigures = (lives: readonly PodLife[], result: SimulationResult, preemptions: number): Course => {
  const waiting = lives.filter(({ bind, end }) => bind === undefined && end === undefined)
  return {
    policy: 'recorded',
    placed: lives.filter(({ bind }) => bind !== undefined).length,
    pending: waiting.length,
    waitingBecause: tally(
      waiting.map(({ message }) => (message === '' ? 'nobody has said why' : withoutCounts(message))),
    ),
    pendingMs: spreadOf(
      lives.flatMap(({ bind, openMs }) =>
        bind === undefined || openMs === undefined ? [] : [Math.max(0, bind.atMs - openMs)],
      ),
    ),
    ...sharesIn(result),
    preemptions,
  }
}

const keyOf = ({ object }: PodLife): string => `${object.metadata?.namespace ?? ''}/${object.metadata?.name ?? ''}`

/** Asks about each decision that was recorded, in the cluster as it was. */
const decisionsAlike = async (
  replay: Replay,
  { fallback, policy }: Serving,
  options: WhatIfOptions,
): Promise<NonNullable<Alternative['decisions']>> => {
  const chosen = new Map<string, string>()
  const nodeOf = (pod: string): string => replay.placeable.get(pod)?.bind?.node ?? ''
  const ties = new Set<string>()
  const note = (pod: string, node: string, tied = false): void => {
    if (chosen.has(pod)) return
    chosen.set(pod, node)
    if (tied) ties.add(pod)
  }
  const following = {
    policy: asRecorded(policy, nodeOf, note),
    ...(fallback === undefined ? {} : { fallback: asRecorded(fallback, nodeOf, note) }),
  }
  // A policy is not asked where only one node is left: then that is its choice.
  await simulate(replay, following, options, `${policy.name}, decision by decision`, note)
  const bound = [...replay.placeable].filter(([, { bind }]) => bind !== undefined)
  const compared = bound.filter(([pod]) => chosen.has(pod))
  return {
    compared: compared.length,
    alike: compared.filter(([pod]) => chosen.get(pod) === nodeOf(pod)).length,
    tied: compared.filter(([pod]) => ties.has(pod)).length,
  }
}

/**
 * Replays a trace under other policies, each in the real scheduler in simulated time, and measures what really happened in
 * the same way.
 * @throws the signal's reason
 */
export const whatIf = async (options: WhatIfOptions): Promise<WhatIf> => {
  const { policies, trace } = options
  const replay = replayOf(trace, 'arrivals')
  const asDecided = replayOf(trace, 'binds')
  const lives = [...replay.placeable.values()]
  const preempted = trace.events.filter((event) => event.event === 'end' && event.how === 'preempted').length
  const alternatives: Alternative[] = []
  const isDecided = lives.some(({ bind }) => bind !== undefined)
  // Nothing is left to decide there, so whichever policy it is is not asked.
  const asItWas = isDecided
    ? await simulate(recordedCourse(replay), policies[0](), options, 'recorded', () => undefined)
    : undefined
  for (const make of policies) {
    const one = make()
    const placedOn = new Map<string, string>()
    const result = await simulate(replay, one, options, one.policy.name, (pod, node) => {
      if (replay.placeable.has(pod) && !placedOn.has(pod)) placedOn.set(pod, node)
    })
    const moved: Moved[] = []
    let compared = 0
    let agree = 0
    for (const [key, life] of replay.placeable) {
      const was = life.bind?.node ?? ''
      const now = placedOn.get(key) ?? ''
      if (was !== '' && now !== '') compared++
      if (was === now) agree += was === '' ? 0 : 1
      else moved.push({ pod: keyOf(life), recorded: was, now })
    }
    alternatives.push({
      policy: one.policy.name,
      placed: placedOn.size,
      pending: result.pods.pending,
      waitingBecause: result.waitingBecause,
      pendingMs: result.pendingMs,
      ...sharesIn(result),
      preemptions: result.disruptions.preempted,
      decisions: isDecided ? await decisionsAlike(asDecided, make(), options) : undefined,
      compared,
      agree,
      moved,
    })
  }
  return {
    durationMs: replay.durationMs,
    nodes: replay.nodes.length,
    pods: lives.length,
    keptPods: replay.arrivals.length - lives.length,
    leftOut: replay.leftOut,
    recorded: asItWas === undefined ? undefined : recordedFigures(lives, asItWas, preempted),
    policies: alternatives,
  }
}
