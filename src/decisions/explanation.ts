import { type Counterfactual, counterfactual, type RankRooms } from './counterfactual.ts'
import type { CandidateRecord, DecisionRecord, NearestMiss, Outcome, RefusalCount } from './record.ts'
import { amountText, listText, nodesText, numberText, plain } from './wording.ts'

/**
 * Why a pod is where it is, or why it waits: what `stowage explain --json` prints and the API answers. All text is made
 * harmless (see `plain`); numbers keep the units of the record.
 */
export interface Explanation {
  /** namespace/name */
  readonly pod: string
  readonly uid: string
  /** where the pod stands; one that is being bound, or whose bind failed, still waits */
  readonly outcome: 'bound' | 'waiting' | 'gated' | 'deleted'
  /** how far the last attempt came */
  readonly stage: Outcome
  /** null: none was chosen */
  readonly node: string | null
  /** which of its GPUs, null where none were given out one by one */
  readonly devices: readonly number[] | null
  readonly policy: string
  readonly policyVersion: string
  readonly source: DecisionRecord['source']
  /** where the load of nodes was read, null where the policy does not look at it */
  readonly usage: 'metrics.k8s.io' | 'requests' | null
  readonly confidence: number | null
  /** the policy's own words, or why the fallback stepped in */
  readonly reason: string | null
  readonly schedulerName: string
  readonly attempt: number
  readonly priority: number
  readonly request: Readonly<Record<string, number>>
  /** ISO 8601 */
  readonly decidedAt: string
  readonly nodes: number
  readonly feasible: number
  /** most nodes first */
  readonly refused: readonly { readonly reason: string; readonly nodes: number; readonly constraint: string }[]
  /** best first */
  readonly candidates: readonly {
    readonly node: string
    readonly score: number
    readonly terms: Readonly<Record<string, number>>
  }[]
  readonly counterfactual: Counterfactual | null
  readonly nearestMiss: NearestMiss | null
  /** the pods (namespace/name) that it has had evicted from a node to go there itself; null: none */
  readonly preemption: { readonly node: string; readonly victims: readonly string[] } | null
  /** kinds of cluster events that could let it in, empty once it is bound */
  readonly wakesOn: readonly string[]
  readonly message: string
  readonly latencies: { readonly queueMs: number; readonly cycleMs: number | null; readonly bindMs: number | null }
  /** the attempts that were handed in, newest first */
  readonly attempts: readonly {
    readonly attempt: number
    readonly decidedAt: string
    readonly outcome: Outcome
    readonly node: string | null
    readonly message: string
  }[]
}

export interface ExplainOptions {
  /** the policy of the record over rooms, where it goes by room: lets the counterfactual be worked out */
  readonly rank?: RankRooms
}

const OUTCOMES = {
  bound: 'bound',
  reserved: 'waiting',
  failed: 'waiting',
  waiting: 'waiting',
  gated: 'gated',
  deleted: 'deleted',
} as const satisfies Record<Outcome, Explanation['outcome']>

const MAX_MESSAGE = 1024

const cleanAmounts = (amounts: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [plain(name), amount]))

const cleanCandidate = (candidate: CandidateRecord): CandidateRecord => ({
  ...candidate,
  node: plain(candidate.node),
  terms: cleanAmounts(candidate.terms),
})

/** The same record with every text from outside made harmless. */
const cleaned = (record: DecisionRecord): DecisionRecord => ({
  ...record,
  namespace: plain(record.namespace),
  pod: plain(record.pod),
  uid: plain(record.uid),
  schedulerName: plain(record.schedulerName),
  request: cleanAmounts(record.request),
  node: plain(record.node),
  policy: plain(record.policy),
  policyVersion: plain(record.policyVersion),
  ...(record.reason === undefined ? {} : { reason: plain(record.reason, MAX_MESSAGE) }),
  refused: record.refused.map((each) => ({ ...each, constraint: plain(each.constraint), reason: plain(each.reason) })),
  candidates: record.candidates.map(cleanCandidate),
  ...(record.nearestMiss === undefined
    ? {}
    : {
        nearestMiss: {
          node: plain(record.nearestMiss.node),
          lacks: cleanAmounts(record.nearestMiss.lacks),
          reasons: record.nearestMiss.reasons.map((reason) => plain(reason)),
        },
      }),
  ...(record.preemption === undefined
    ? {}
    : {
        preemption: {
          node: plain(record.preemption.node),
          victims: record.preemption.victims.map((victim) => plain(victim)),
        },
      }),
  wakesOn: record.wakesOn.map((kind) => plain(kind)),
  message: plain(record.message, MAX_MESSAGE),
})

/** A time that no calendar has is said to be 1970: a damaged store must not keep the rest from being told. */
const isoText = (atMs: number): string => new Date(Math.abs(atMs) <= 8.64e15 ? atMs : 0).toISOString()

/** A record keeps the nodes apart on which preemption could help; who asks why is told each reason once. */
const byReason = (refused: readonly RefusalCount[]): { reason: string; nodes: number; constraint: string }[] => {
  const told = new Map<string, { reason: string; nodes: number; constraint: string }>()
  for (const { reason, nodes, constraint } of refused) {
    const key = JSON.stringify([constraint, reason])
    const known = told.get(key)
    if (known === undefined) told.set(key, { reason, nodes, constraint })
    else known.nodes += nodes
  }
  return [...told.values()]
}

/**
 * Tells a decision. Pure.
 * @param history further attempts of the same pod, newest first
 */
export const explain = (
  record: DecisionRecord,
  history: readonly DecisionRecord[] = [],
  options: ExplainOptions = {},
): Explanation => {
  const clean = cleaned(record)
  const outcome = OUTCOMES[record.outcome]
  return {
    pod: `${clean.namespace}/${clean.pod}`,
    uid: clean.uid,
    outcome,
    stage: record.outcome,
    node: clean.node === '' ? null : clean.node,
    devices: record.devices ?? null,
    policy: clean.policy,
    policyVersion: clean.policyVersion,
    source: record.source,
    usage: record.usage === '' ? null : record.usage,
    confidence: record.confidence ?? null,
    reason: clean.reason ?? null,
    schedulerName: clean.schedulerName,
    attempt: record.attempt,
    priority: record.priority,
    request: clean.request,
    decidedAt: isoText(record.atMs),
    nodes: record.nodes,
    feasible: record.feasible,
    refused: byReason(clean.refused).sort((a, b) => b.nodes - a.nodes || (a.reason < b.reason ? -1 : 1)),
    candidates: clean.candidates.map(({ node, score, terms }) => ({ node, score, terms })),
    counterfactual: counterfactual(clean, options.rank),
    nearestMiss: clean.nearestMiss ?? null,
    preemption: clean.preemption ?? null,
    wakesOn: outcome === 'bound' || outcome === 'deleted' ? [] : clean.wakesOn,
    message: clean.message,
    latencies: {
      queueMs: record.queueMs,
      cycleMs: record.cycleMs < 0 ? null : record.cycleMs,
      bindMs: record.bindMs < 0 ? null : record.bindMs,
    },
    attempts: history
      .filter((each) => each.uid === record.uid)
      .map((each) => ({
        attempt: each.attempt,
        decidedAt: isoText(each.atMs),
        outcome: each.outcome,
        node: each.node === '' ? null : plain(each.node),
        message: plain(each.message, MAX_MESSAGE),
      })),
  }
}

/** Cluster events in plain words: what has to happen. */
const EVENTS: ReadonlyMap<string, string> = new Map([
  ['NodeAdd', 'a node is added'],
  ['NodeDelete', 'a node is removed'],
  ['NodeAllocatable', 'a node offers more'],
  ['NodeLabel', 'the labels of a node change'],
  ['NodeTaint', 'a taint is removed'],
  ['NodeDeclaredFeature', 'a node declares a feature that it needs'],
  ['PodAdd', 'a pod that it wants to be near is placed'],
  ['PodDelete', 'a pod on a node ends or is deleted'],
  ['PodLabel', 'the labels of a placed pod change'],
  ['PodScaleDown', 'a placed pod asks for less'],
  ['SelfGates', 'its scheduling gates are removed'],
  ['GangComplete', 'enough members of its gang are there'],
  ['SelfLabel', 'its own labels change'],
  ['SelfToleration', 'it is given a toleration'],
  ['SelfScaleDown', 'it asks for less itself'],
])

/** kube-scheduler's reasons in plain words, read after `3 nodes: `. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['node(s) had untolerated taint(s)', 'a taint that the pod does not tolerate'],
  ['node(s) were unschedulable', 'cordoned (unschedulable)'],
  ["node(s) didn't match the requested node name", 'not the node that the pod names'],
  ["node(s) didn't match Pod's node affinity/selector", "labels that do not match the pod's node selector or affinity"],
  ["node(s) didn't have free ports for the requested pod ports", 'a host port that the pod wants is taken'],
  ['Too many pods', 'no room for another pod'],
  ["node(s) didn't have single GPUs with enough free", 'no single GPU with as much free'],
  ["node(s) didn't have enough GPUs", 'not as many GPUs'],
  ['Insufficient cpu', 'not enough free cpu'],
  ['Insufficient memory', 'not enough free memory'],
  ['Insufficient ephemeral-storage', 'not enough free ephemeral storage'],
])

const oneReasonText = (reason: string): string => {
  const known = REASONS.get(reason)
  if (known !== undefined) return known
  const lacking = /^Insufficient (.+)$/.exec(reason)?.[1]
  return lacking === undefined ? reason.replace(/^node\(s\) /, '') : `not enough free ${lacking}`
}

/** A rule that keeps all its reasons joins them: `Insufficient cpu, Insufficient memory`. */
const reasonText = (reason: string): string => listText(reason.split(', ').map(oneReasonText))

const refusedText = ({ refused }: Explanation): string =>
  refused.map(({ reason, nodes }) => `${nodesText(nodes)}: ${reasonText(reason)}`).join('; ')

const msText = (ms: number): string => {
  if (ms >= 60_000) return `${numberText(ms / 60_000)} min`
  return ms >= 1000 ? `${numberText(ms / 1000)} s` : `${numberText(ms, ms < 10 ? 2 : 0)} ms`
}

/** Who chose, and among how many. */
const byText = (explanation: Explanation): string => {
  const { policy, policyVersion, source, confidence, reason, node, devices, nodes, feasible } = explanation
  const among = `${numberText(feasible)} of ${nodesText(nodes)} could take it`
  const why = reason === null || reason === '' ? '' : `: ${reason}`
  const name = policyVersion === '' ? policy : `${policy} ${policyVersion}`
  const where = devices === null ? node : `${node}, GPU ${devices.join(', ')}`
  if (source === 'none') return `${among}; there was nothing to rank${why}.`
  if (source === 'fallback') {
    return `${among}. The profile's own policy gave nothing usable${why}; the fallback ${name} chose ${where}.`
  }
  const how = { model: ' by its model', cache: ' from its cache', heuristic: '' }[source]
  const sure = confidence === null ? '' : ` (${numberText(confidence * 100, 0)} % sure)`
  return `${among}, and the policy ${name} chose ${where}${how}${sure}${why}.`
}

/** Terms that made the most of a score. */
const leadingTerms = (terms: Readonly<Record<string, number>>): string =>
  listText(
    Object.entries(terms)
      .filter(([, value]) => value !== 0)
      .sort(([, a], [, b]) => Math.abs(b) - Math.abs(a))
      .slice(0, 3)
      .map(([name, value]) => `${name} ${numberText(value, 2)}`),
  )

type Scored = Explanation['candidates'][number]

/** `LeastAllocated 72 against 80`, the largest differences first. */
const differences = (best: Scored, second: Scored): string =>
  listText(
    Object.keys({ ...best.terms, ...second.terms })
      .map((name) => ({ name, best: best.terms[name] ?? 0, second: second.terms[name] ?? 0 }))
      .filter((term) => term.best !== term.second)
      .sort((a, b) => Math.abs(b.best - b.second) - Math.abs(a.best - a.second))
      .slice(0, 3)
      .map((term) => `${term.name} ${numberText(term.second, 2)} against ${numberText(term.best, 2)}`),
  )

/** Why this node, and who came second. */
const choice = (explanation: Explanation): string[] => {
  const { node, candidates, usage, source } = explanation
  const lines = [byText(explanation)]
  const best = candidates.find((candidate) => candidate.node === node) ?? candidates[0]
  const second = candidates.find((candidate) => candidate !== best)
  if (best !== undefined && source !== 'none') {
    const terms = leadingTerms(best.terms)
    const load = usage === null ? '' : `; load was read from ${usage === 'requests' ? "the pods' requests" : usage}`
    lines.push(`${best.node} scored ${numberText(best.score, 2)}${terms === '' ? '' : `, most of it ${terms}`}${load}.`)
  }
  if (best !== undefined && second !== undefined) {
    const by = best.score - second.score
    const gap = by === 0 ? 'the same score' : `${numberText(Math.abs(by), 2)} ${by > 0 ? 'behind' : 'ahead'}`
    const how = differences(best, second)
    lines.push(`Next came ${second.node} with ${numberText(second.score, 2)}, ${gap}${how === '' ? '' : `: ${how}`}.`)
  }
  if (explanation.counterfactual !== null) lines.push(capital(explanation.counterfactual.sentence))
  if (explanation.refused.length > 0) lines.push(`Not possible: ${refusedText(explanation)}.`)
  return lines
}

const capital = (sentence: string): string =>
  // names of nodes keep their case
  /^(no|it) /.test(sentence) ? sentence.charAt(0).toUpperCase() + sentence.slice(1) : sentence

/** Names of evicted pods that a sentence can bear. */
const VICTIMS_NAMED = 5

const waits = (explanation: Explanation): string[] => {
  const { nodes, feasible, refused, message, nearestMiss, preemption, wakesOn } = explanation
  const lines: string[] = []
  if (preemption !== null) {
    const { node, victims } = preemption
    const named = victims.slice(0, VICTIMS_NAMED)
    const more = victims.length - named.length
    const who = listText(more > 0 ? [...named, `${numberText(more)} more`] : named)
    lines.push(`It waits for ${amountText('pods', victims.length)} to leave ${node}, of lower priority: ${who}.`)
  }
  if (refused.length > 0) {
    lines.push(
      `${feasible === 0 ? 'None' : numberText(feasible)} of ${nodesText(nodes)} can take it. ${refusedText(explanation)}.`,
    )
    // Its gang waits with it: what that lacks is no matter of this pod's nodes.
    if (message.startsWith('minCount ')) lines.push(`Its gang is placed together or not at all: ${message}`)
  } else if (message !== '') lines.push(`The scheduler says: ${message}`)
  const lacks = Object.entries(nearestMiss?.lacks ?? {}).filter(([, amount]) => amount > 0)
  if (nearestMiss !== null && lacks.length > 0) {
    lines.push(
      `Closest is ${nearestMiss.node}: it lacks ${listText(lacks.map(([name, amount]) => amountText(name, amount, '', Math.ceil)))}.`,
    )
  }
  if (explanation.counterfactual !== null) lines.push(capital(explanation.counterfactual.sentence))
  if (wakesOn.length > 0) {
    lines.push(
      `It is tried again when ${listText([...new Set(wakesOn.map((kind) => EVENTS.get(kind) ?? kind))], 'or')}.`,
    )
  }
  return lines
}

const timing = ({ attempt, decidedAt, latencies }: Explanation): string => {
  // no cycle: the pod was turned away at the door
  if (latencies.cycleMs === null) return `So it stood at ${decidedAt}.`
  const bind = latencies.bindMs === null ? '' : `, bound in ${msText(latencies.bindMs)}`
  const waited = `after ${msText(latencies.queueMs)} in the queue`
  return `Attempt ${numberText(attempt)} at ${decidedAt}, ${waited}; decided in ${msText(latencies.cycleMs)}${bind}.`
}

const also = (message: string, [before, after]: readonly [string, string]): string =>
  message === '' ? '' : `${before}${message}${after}`

const held = ({ pod, message, wakesOn }: Explanation): string =>
  wakesOn.includes('GangComplete')
    ? `${pod} is held back because others of its gang are missing${also(message, [' (', ')'])}. It is considered once enough are there.`
    : `${pod} is held back by its scheduling gates${also(message, [' (', ')'])}. It is considered once all are removed.`

const opening = (explanation: Explanation): string => {
  const { pod, stage, node, message } = explanation
  const openings = {
    bound: node === null ? `${pod} is bound${also(message, [': ', ''])}.` : `${pod} was placed on ${node}.`,
    reserved: `${pod} is on its way to ${node}: the API server has not confirmed it yet.`,
    failed: `${pod} was meant for ${node}, but could not be bound${also(message, [': ', ''])}.`,
    waiting: `${pod} waits.`,
    gated: held(explanation),
    deleted: `${pod} was deleted ${node === null ? 'before it was placed' : `after ${node} had been chosen for it`}.`,
  } as const satisfies Record<Outcome, string>
  return openings[stage]
}

/** The explanation as a person would tell it: a few plain sentences, a line each. */
export const render = (explanation: Explanation): string[] => {
  const { stage, node } = explanation
  const lines = [opening(explanation)]
  if (stage === 'waiting') lines.push(...waits(explanation))
  // a pod that somebody else bound, or that was never tried, has no choice to tell of
  else if (node !== null && stage !== 'deleted') lines.push(...choice(explanation))
  return [...lines, timing(explanation)]
}
