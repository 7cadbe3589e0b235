import { plainText } from '../llm/plain-text.ts'

/** In plain words: `keep near the cache, cheap nodes are fine`. Read by a model. */
export const INTENT_ANNOTATION = 'stowage.dev/intent'
/** The same as JSON, for whom no model reads, or who knows better than it: `{"near": ["cache"], "spot": 1}`. */
export const INTENT_WEIGHTS_ANNOTATION = 'stowage.dev/intent-weights'

/** What the owner of a pod wishes of its node, as far as scores can heed it. 0 and empty lists: nothing. */
export interface Intent {
  /** 1: pods of one owner on different nodes; -1: together on few */
  readonly spread: number
  /** 1: nodes that are cheap because they may be taken back are welcome; -1: none of them */
  readonly spot: number
  /** 1: nodes with little load; -1: fill up those that have some */
  readonly idle: number
  /** apps (label app, app.kubernetes.io/name or component) of the same namespace to be close to */
  readonly near: readonly string[]
  /** and to be away from */
  readonly away: readonly string[]
  /** names of zones */
  readonly zones: readonly string[]
}

/** Names in one list. */
const NAMES_AT_MOST = 8
const NAME_LENGTH = 63

export const NO_INTENT: Intent = { spread: 0, spot: 0, idle: 0, near: [], away: [], zones: [] }

/** Whether it wishes for anything at all. */
export const isEmpty = ({ spread, spot, idle, near, away, zones }: Intent): boolean =>
  spread === 0 && spot === 0 && idle === 0 && near.length + away.length + zones.length === 0

const weightOf = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) ? Math.max(-1, Math.min(1, value)) : 0

const namesOf = (value: unknown): string[] =>
  Array.isArray(value)
    ? [
        ...new Set(
          value
            .slice(0, NAMES_AT_MOST)
            .filter((name): name is string => typeof name === 'string')
            .map((name) => plainText(name, NAME_LENGTH).toLowerCase())
            .filter((name) => name !== ''),
        ),
      ]
    : []

/** Reads an intent from a value that a model or a user wrote; what it does not know it leaves out. undefined: no object. */
export const readIntent = (value: unknown): Intent | undefined => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const own = (name: string): unknown =>
    Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
  return {
    spread: weightOf(own('spread')),
    spot: weightOf(own('spot')),
    idle: weightOf(own('idle')),
    near: namesOf(own('near')),
    away: namesOf(own('away')),
    zones: namesOf(own('zones')),
  }
}

/** An intent in a few words, for people: `apart from its peers, near cache, spot welcome`. */
export const intentText = ({ spread, spot, idle, near, away, zones }: Intent): string => {
  const wishes = [
    ...(spread > 0 ? ['apart from its peers'] : spread < 0 ? ['together with its peers'] : []),
    ...(spot > 0 ? ['spot welcome'] : spot < 0 ? ['no spot'] : []),
    ...(idle > 0 ? ['little load'] : idle < 0 ? ['fill nodes up'] : []),
    ...(near.length > 0 ? [`near ${near.join(', ')}`] : []),
    ...(away.length > 0 ? [`away from ${away.join(', ')}`] : []),
    ...(zones.length > 0 ? [`in ${zones.join(', ')}`] : []),
  ]
  return wishes.length === 0 ? 'nothing that scores can heed' : wishes.join('; ')
}
