import type { CandidateRecord, CandidateRoom, DecisionRecord, NearestMiss, RefusalCount } from './record.ts'

/**
 * What of a record is not in a column of its own, as JSON by position: keys would be four fifths of the text, and text is
 * what keeping a decision costs.
 */
type Body = readonly [
  schedulerName: string,
  attempt: number,
  priority: number,
  request: Readonly<Record<string, number>>,
  scoringCpuMilli: number,
  scoringMemoryBytes: number,
  policyVersion: string,
  source: DecisionRecord['source'],
  usage: DecisionRecord['usage'],
  confidence: number | null,
  reason: string | null,
  nodes: number,
  feasible: number,
  refused: readonly (readonly [string, string, number, boolean])[],
  termNames: readonly string[],
  candidates: readonly (readonly unknown[])[],
  nearestMiss: readonly [string, Readonly<Record<string, number>>, readonly string[]] | null,
  wakesOn: readonly string[],
  queueMs: number,
  cycleMs: number,
  /** node and victims; records of older versions end before it or what follows */
  preemption: readonly [string, readonly string[]] | null,
  devices: readonly number[] | null,
]

/** The columns that the body leaves out. */
export type Columns = Pick<
  DecisionRecord,
  'id' | 'atMs' | 'namespace' | 'pod' | 'uid' | 'outcome' | 'node' | 'policy' | 'message' | 'bindMs'
>

/** Milliseconds to the microsecond: more digits cost room and tell nothing. */
export const toMicroseconds = (ms: number): number => Math.round(ms * 1000) / 1000

/** Texts in a record that may be of any length are cut here: long enough for every message of a scheduler. */
export const MAX_TEXT = 4096

export const cutText = (text: string): string => (text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 4)} ...`)

const sameNames = (terms: Readonly<Record<string, number>>, names: readonly string[]): boolean => {
  let at = 0
  for (const name in terms) if (names[at++] !== name) return false
  return at === names.length
}

/** node, score, the eight numbers of its room, then its terms: values in the order of `names`, or an object if it has others */
const encodeCandidate = (candidate: CandidateRecord, names: readonly string[]): unknown[] => {
  const { room, terms } = candidate
  const row: unknown[] = [
    candidate.node,
    candidate.score,
    room.allocatableCpuMilli,
    room.requestedCpuMilli,
    room.allocatableMemoryBytes,
    room.requestedMemoryBytes,
    room.usedCpuMilli,
    room.usedMemoryBytes,
    room.maxPods,
    room.pods,
  ]
  if (sameNames(terms, names)) for (const name of names) row.push(terms[name])
  else row.push(terms)
  return row
}

/** @throws TypeError for what JSON cannot say (a BigInt, a circle) */
export const encode = (record: DecisionRecord): string => {
  const termNames = Object.keys(record.candidates[0]?.terms ?? {})
  const miss = record.nearestMiss
  const body: Body = [
    record.schedulerName,
    record.attempt,
    record.priority,
    record.request,
    record.scoringCpuMilli,
    record.scoringMemoryBytes,
    record.policyVersion,
    record.source,
    record.usage,
    record.confidence ?? null,
    record.reason === undefined ? null : cutText(record.reason),
    record.nodes,
    record.feasible,
    record.refused.map((each) => [each.constraint, each.reason, each.nodes, each.preemptionCouldHelp] as const),
    termNames,
    record.candidates.map((candidate) => encodeCandidate(candidate, termNames)),
    miss === undefined ? null : [miss.node, miss.lacks, miss.reasons],
    record.wakesOn,
    toMicroseconds(record.queueMs),
    toMicroseconds(record.cycleMs),
    record.preemption === undefined ? null : [record.preemption.node, record.preemption.victims],
    record.devices ?? null,
  ]
  return JSON.stringify(body)
}

/** Thrown inside this file only: a body that this version did not write. */
class Malformed extends Error {}

const string = (value: unknown): string => {
  if (typeof value !== 'string') throw new Malformed()
  return value
}

/** JSON has no NaN; it writes null. */
const number = (value: unknown): number => {
  if (value === null) return Number.NaN
  if (typeof value !== 'number') throw new Malformed()
  return value
}

const array = (value: unknown): readonly unknown[] => {
  if (!Array.isArray(value)) throw new Malformed()
  return value as unknown[]
}

const amounts = (value: unknown): Record<string, number> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Malformed()
  // fromEntries defines own properties, so a key like __proto__ stays data
  return Object.fromEntries(Object.entries(value).map(([key, amount]) => [key, number(amount)]))
}

const among = <T extends string>(value: unknown, allowed: readonly T[]): T => {
  if (!allowed.includes(value as T)) throw new Malformed()
  return value as T
}

const decodeRefusal = (value: unknown): RefusalCount => {
  const [constraint, reason, nodes, preemptionCouldHelp] = array(value)
  return {
    constraint: string(constraint),
    reason: string(reason),
    nodes: number(nodes),
    preemptionCouldHelp: preemptionCouldHelp === true,
  }
}

const ROOM_FROM = 2
const TERMS_FROM = 10

const decodeCandidate = (value: unknown, names: readonly string[]): CandidateRecord => {
  const row = array(value)
  const at = (index: number): number => number(row[ROOM_FROM + index])
  const room: CandidateRoom = {
    allocatableCpuMilli: at(0),
    requestedCpuMilli: at(1),
    allocatableMemoryBytes: at(2),
    requestedMemoryBytes: at(3),
    usedCpuMilli: at(4),
    usedMemoryBytes: at(5),
    maxPods: at(6),
    pods: at(7),
  }
  const own = row[TERMS_FROM]
  const terms =
    typeof own === 'object' && own !== null
      ? amounts(own)
      : Object.fromEntries(names.map((name, index) => [name, number(row[TERMS_FROM + index])]))
  return { node: string(row[0]), score: number(row[1]), terms, room }
}

const decodeMiss = (value: unknown): NearestMiss => {
  const [node, lacks, reasons] = array(value)
  return { node: string(node), lacks: amounts(lacks), reasons: array(reasons).map(string) }
}

const decodePreemption = (value: unknown): DecisionRecord['preemption'] & object => {
  const [node, victims] = array(value)
  return { node: string(node), victims: array(victims).map(string) }
}

/** The record again, or undefined if this version did not write that body: a store file may be damaged or forged. */
export const decode = (columns: Columns, text: string): DecisionRecord | undefined => {
  try {
    const body = array(JSON.parse(text))
    const names = array(body[14]).map(string)
    return {
      id: columns.id,
      atMs: columns.atMs,
      namespace: columns.namespace,
      pod: columns.pod,
      uid: columns.uid,
      schedulerName: string(body[0]),
      attempt: number(body[1]),
      priority: number(body[2]),
      request: amounts(body[3]),
      scoringCpuMilli: number(body[4]),
      scoringMemoryBytes: number(body[5]),
      outcome: among(columns.outcome, ['reserved', 'bound', 'waiting', 'gated', 'deleted', 'failed']),
      node: columns.node,
      policy: columns.policy,
      policyVersion: string(body[6]),
      source: among(body[7], ['model', 'cache', 'heuristic', 'fallback', 'none']),
      usage: among(body[8], ['metrics.k8s.io', 'requests', '']),
      ...(body[9] === null ? {} : { confidence: number(body[9]) }),
      ...(body[10] === null ? {} : { reason: string(body[10]) }),
      nodes: number(body[11]),
      feasible: number(body[12]),
      refused: array(body[13]).map(decodeRefusal),
      candidates: array(body[15]).map((candidate) => decodeCandidate(candidate, names)),
      ...(body[16] === null ? {} : { nearestMiss: decodeMiss(body[16]) }),
      ...((body[20] ?? null) === null ? {} : { preemption: decodePreemption(body[20]) }),
      ...((body[21] ?? null) === null ? {} : { devices: array(body[21]).map(number) }),
      wakesOn: array(body[17]).map(string),
      message: columns.message,
      queueMs: number(body[18]),
      cycleMs: number(body[19]),
      bindMs: columns.bindMs,
    }
  } catch (thrown) {
    if (thrown instanceof Malformed || thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}
