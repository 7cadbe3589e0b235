import type { CandidateRecord, CandidateRoom, DecisionRecord } from './record.ts'
import { amountText, listText, numberText, plain } from './wording.ts'

/** What the pod asked for, as the record has it. */
export type Ask = Pick<DecisionRecord, 'request' | 'scoringCpuMilli' | 'scoringMemoryBytes'>

/**
 * Scores nodes by their rooms alone, as the policy of the record would: `result[i]` belongs to `rooms[i]`. Pure. Asked some
 * 100 to 150 times for one explanation; rooms that did not change from the recorded ones are the same objects.
 */
export type RankRooms = (rooms: readonly CandidateRoom[], ask: Ask) => ArrayLike<number>

/** A change of one node, or of the pod's request, that would have changed the decision. */
export interface Change {
  /** the node that would have to change */
  readonly node: string
  /** cpu, memory or pods where nodes are compared; any resource where a pod waits */
  readonly resource: string
  /** in `unit`, exact: a step less (1 millicore, 1 MiB, 1 pod) would not do */
  readonly amount: number
  readonly unit: 'millicores' | 'bytes' | 'count'
  /** `freed`: so much less requested there; `taken`: so much more */
  readonly direction: 'freed' | 'taken'
}

/** What it would have taken for a node to win. */
export interface Alternative {
  readonly node: string
  /** points behind the node that was chosen */
  readonly behindBy: number
  /** null: no change of room alone would do, or nobody can tell */
  readonly change: Change | null
  readonly sentence: string
}

/** The simplest answer to `why not otherwise`. For a waiting pod: about the node that lacks the least. */
export interface Counterfactual extends Alternative {
  /** waiting: everything that the node lacks; else only `change` */
  readonly changes: readonly Change[]
  /** the same for the further candidates */
  readonly others: readonly Alternative[]
}

const MI_B = 2 ** 20

/** A kind of change: how large it may be in steps, and the room afterwards. */
interface Lever {
  readonly resource: 'cpu' | 'memory' | 'pods'
  readonly unit: Change['unit']
  readonly direction: Change['direction']
  readonly stepAmount: number
  maxSteps(room: CandidateRoom, ask: Ask): number
  /** so much of the node that changes of different resources can be compared */
  share(room: CandidateRoom, amount: number): number
  apply(room: CandidateRoom, amount: number): CandidateRoom
}

const share = (amount: number, of: number): number => (of > 0 ? amount / of : Number.POSITIVE_INFINITY)
const steps = (amount: number, stepAmount: number): number => Math.max(0, Math.floor(amount / stepAmount))

/** Load follows requests: what no pod requests any more is not used any more either. */
const cpu = (sign: 1 | -1): Lever => ({
  resource: 'cpu',
  unit: 'millicores',
  direction: sign < 0 ? 'freed' : 'taken',
  stepAmount: 1,
  maxSteps: (room, ask) =>
    sign < 0
      ? steps(room.requestedCpuMilli, 1)
      : steps(room.allocatableCpuMilli - room.requestedCpuMilli - (ask.request['cpu'] ?? 0), 1),
  share: (room, amount) => share(amount, room.allocatableCpuMilli),
  apply: (room, amount) => ({
    ...room,
    requestedCpuMilli: room.requestedCpuMilli + sign * amount,
    usedCpuMilli: Math.max(0, room.usedCpuMilli + sign * amount),
  }),
})

const memory = (sign: 1 | -1): Lever => ({
  resource: 'memory',
  unit: 'bytes',
  direction: sign < 0 ? 'freed' : 'taken',
  stepAmount: MI_B,
  maxSteps: (room, ask) =>
    sign < 0
      ? steps(room.requestedMemoryBytes, MI_B)
      : steps(room.allocatableMemoryBytes - room.requestedMemoryBytes - (ask.request['memory'] ?? 0), MI_B),
  share: (room, amount) => share(amount, room.allocatableMemoryBytes),
  apply: (room, amount) => ({
    ...room,
    requestedMemoryBytes: room.requestedMemoryBytes + sign * amount,
    usedMemoryBytes: Math.max(0, room.usedMemoryBytes + sign * amount),
  }),
})

const pods = (sign: 1 | -1): Lever => ({
  resource: 'pods',
  unit: 'count',
  direction: sign < 0 ? 'freed' : 'taken',
  stepAmount: 1,
  // what is requested there is requested by at least one
  maxSteps: (room) =>
    sign < 0
      ? steps(room.pods - (room.requestedCpuMilli + room.requestedMemoryBytes > 0 ? 1 : 0), 1)
      : steps(room.maxPods - room.pods - 1, 1),
  share: (room, amount) => share(amount, room.maxPods),
  apply: (room, amount) => ({ ...room, pods: room.pods + sign * amount }),
})

/** Simplest to say first: among equals the first is told. */
const LEVERS: readonly Lever[] = [cpu(-1), memory(-1), pods(-1), cpu(1), memory(1), pods(1)]

/** A change that is harder to say has to be so much smaller to be told instead. */
const CLEARLY_SMALLER = 0.75

/** The candidate that the pod went to; the best, where it went elsewhere. */
export const chosen = (record: DecisionRecord): CandidateRecord | undefined =>
  record.candidates.find((candidate) => candidate.node === record.node) ?? record.candidates[0]

/** What a change did: the challenger is above all others, it is not, or no score moved at all. */
type Effect = 'wins' | 'loses' | 'none'

/** What it does to a challenger if one candidate's room is another: both by index. */
type Trial = (challenger: number, changed: number, room: CandidateRoom) => Effect

/**
 * Scores after a change: as recorded, plus what the change does to the rank by rooms. So terms that do not depend on room
 * stay as they were.
 */
const trialOf = (record: DecisionRecord, rank: RankRooms): Trial => {
  const rooms = record.candidates.map((candidate) => candidate.room)
  const before = Array.from(rank(rooms, record))
  return (challenger, changed, room) => {
    const after = rank(rooms.with(changed, room), record)
    const moved = rooms.map((_, index) => (after[index] ?? Number.NaN) - (before[index] ?? Number.NaN))
    if (moved.every((by) => by === 0)) return 'none'
    const scores = record.candidates.map((candidate, index) => candidate.score + (moved[index] ?? Number.NaN))
    const own = scores[challenger] ?? Number.NaN
    return scores.every((score, index) => index === challenger || own > score) ? 'wins' : 'loses'
  }
}

/**
 * The least number of steps, from 1 to `most`, that wins: exact where more steps never undo it. Where all of them do not
 * win, some may (balance), so a few in between are tried.
 */
const leastSteps = (most: number, effectOf: (steps: number) => Effect): number | undefined => {
  if (most < 1) return undefined
  let not = 0
  let enough = most
  const atMost = effectOf(most)
  if (atMost === 'none') return undefined
  if (atMost === 'loses') {
    const between = [0.25, 0.5, 0.75]
      .map((part) => Math.round(most * part))
      .filter((count) => count > 0 && count < most)
    const found = between.findIndex((count) => effectOf(count) === 'wins')
    if (found < 0) return undefined
    // found is an index of it
    enough = between[found]!
    not = between[found - 1] ?? 0
  }
  while (enough - not > 1) {
    const middle = Math.floor((not + enough) / 2)
    if (effectOf(middle) === 'wins') enough = middle
    else not = middle
  }
  return enough
}

/** Where a candidate loses most: the term's name and by how much. */
export const worstTerm = (
  candidate: CandidateRecord,
  best: CandidateRecord,
): { name: string; by: number } | undefined =>
  Object.keys({ ...best.terms, ...candidate.terms })
    .map((name) => ({ name, by: (best.terms[name] ?? 0) - (candidate.terms[name] ?? 0) }))
    .filter((term) => term.by > 0)
    .sort((a, b) => b.by - a.by)[0]

const changeText = ({ resource, amount, direction }: Change): string => {
  if (resource === 'pods') return `${amountText(resource, amount, direction === 'freed' ? 'fewer' : 'more')} had been`
  return `${amountText(resource, amount, 'more', Math.ceil)} had been ${direction === 'freed' ? 'free' : 'requested'}`
}

const alternative = (record: DecisionRecord, at: number, trial: Trial | undefined, bothSides: boolean): Alternative => {
  // the caller gives indexes of candidates, and there is a best where there is one
  const challenger = record.candidates[at]!
  const best = chosen(record)!
  const bestAt = record.candidates.indexOf(best)
  const behindBy = best.score - challenger.score
  const name = plain(challenger.node)
  const head = behindBy === 0 ? `${name} scored the same as ${plain(best.node)}, which was taken` : ''
  const worst = worstTerm(challenger, best)
  const loses = worst === undefined ? '' : `it loses on ${plain(worst.name)} by ${numberText(worst.by)}`
  const tell = (change: Change | null, sentence: string): Alternative => ({
    node: challenger.node,
    behindBy,
    change,
    sentence: `${[head, sentence].filter((part) => part !== '').join('; ')}.`,
  })
  if (trial === undefined) {
    if (behindBy === 0) return tell(null, '')
    const points = `${name} was ${numberText(Math.abs(behindBy), 2)} points ${behindBy > 0 ? 'behind' : 'ahead'}`
    return tell(null, loses === '' ? points : `${points}: ${loses}`)
  }
  let simplest: { change: Change; share: number } | undefined
  for (const changed of bothSides ? [at, bestAt] : [at]) {
    const { node, room } = changed === at ? challenger : best
    for (const lever of LEVERS) {
      const { resource, unit, direction, stepAmount } = lever
      // more than what is told already is not looked for
      const worthwhile = simplest === undefined ? Number.POSITIVE_INFINITY : simplest.share * CLEARLY_SMALLER
      const most = Math.min(lever.maxSteps(room, record), Math.floor(worthwhile / lever.share(room, stepAmount)))
      const least = leastSteps(most, (count) => trial(at, changed, lever.apply(room, count * stepAmount)))
      if (least === undefined) continue
      const amount = least * stepAmount
      simplest = { change: { node, resource, amount, unit, direction }, share: lever.share(room, amount) }
    }
  }
  if (simplest === undefined) {
    const together = (['freed', 'taken'] as const).find((direction) => {
      const levers = LEVERS.filter((lever) => lever.direction === direction)
      const { room } = challenger
      const full = levers.reduce(
        (changed, lever) => lever.apply(changed, lever.maxSteps(changed, record) * lever.stepAmount),
        room,
      )
      return trial(at, at, full) === 'wins'
    })
    if (together !== undefined) {
      const state = together === 'freed' ? 'empty' : 'full'
      return tell(null, `${name} would have won if it were ${state}, but by no change of its cpu, memory or pods alone`)
    }
    const none = `no amount of free cpu, memory or pods would have made ${name} win`
    return tell(null, loses === '' ? none : `${none}: ${loses}`)
  }
  const { change } = simplest
  return tell(
    change,
    `${name} would have won if ${changeText(change)} on ${change.node === challenger.node ? 'it' : plain(change.node)}`,
  )
}

const unitOf = (resource: string): Change['unit'] => {
  if (resource === 'cpu') return 'millicores'
  return resource === 'memory' || resource === 'ephemeral-storage' || resource.startsWith('hugepages-')
    ? 'bytes'
    : 'count'
}

/** For a pod that no node takes: what the nearest one lacks. */
const nearest = (record: DecisionRecord): Counterfactual | null => {
  const miss = record.nearestMiss
  if (miss === undefined) return null
  const node = plain(miss.node)
  const lacks = Object.entries(miss.lacks).filter(([, amount]) => amount > 0)
  const changes = lacks.map(
    ([resource, amount]): Change => ({ node: miss.node, resource, amount, unit: unitOf(resource), direction: 'freed' }),
  )
  const change = changes[0] ?? null
  const base = { node: miss.node, behindBy: 0, change, changes, others: [] }
  const reasons = miss.reasons.map((reason) => plain(reason))
  if (change === null) {
    const why = reasons.length === 0 ? '' : `: ${listText(reasons)}`
    return { ...base, sentence: `${node} comes closest, and room is not what it lacks${why}.` }
  }
  const amounts = listText(lacks.map(([resource, amount]) => amountText(resource, amount, 'more', Math.ceil)))
  // a pod cannot ask for less than nothing, and it always counts as one pod
  const asksLess = lacks.every(([resource, amount]) => amount < (record.request[resource] ?? 0))
  const less = asksLess ? ', or if it asked for that much less' : ''
  const further = reasons.filter((reason) => !/^(Insufficient |Too many pods)/.test(reason))
  const also = further.length === 0 ? '' : `; but ${node} also refuses it for another reason: ${listText(further)}`
  return { ...base, sentence: `It would fit ${node} if ${amounts} were free there${less}${also}.` }
}

/**
 * What would have to change for another node to win, or for a waiting pod to get in. Deterministic; each change that is
 * named was tried with `rank` and does it.
 * @param rank the policy of the record, applied to rooms; absent where it does not go by room, or is not at hand
 */
export const counterfactual = (record: DecisionRecord, rank?: RankRooms): Counterfactual | null => {
  if (record.outcome === 'waiting') return nearest(record)
  const best = chosen(record)
  if (best === undefined) return null
  const [second, ...others] = record.candidates.map((_, at) => at).filter((at) => record.candidates[at] !== best)
  if (second === undefined) return null
  const trial = rank === undefined ? undefined : trialOf(record, rank)
  const runnerUp = alternative(record, second, trial, true)
  return {
    ...runnerUp,
    changes: runnerUp.change === null ? [] : [runnerUp.change],
    others: others.map((at) => alternative(record, at, trial, false)),
  }
}
