import { existsSync } from 'node:fs'
import type { Clock } from '../clock/clock.ts'
import { explain, type Explanation } from '../decisions/explanation.ts'
import type { DecisionRecord } from '../decisions/record.ts'
import { type DecisionStore, openDecisionStore } from '../decisions/store.ts'
import { StowageError } from '../errors/catalogue.ts'
import { asksModel, createPolicy, goesByGpus, policyNames } from '../policies/registry.ts'
import { rankRooms } from './rooms.ts'

const ATTEMPTS = 10

/** A fresh policy of the record's name: what those in use remember must not change by being asked. */
const rankOf = ({ policy, usage }: DecisionRecord) =>
  // A record's rooms have no GPUs, and no model in them: nobody can tell what those would have said of other rooms.
  policyNames.includes(policy) && !goesByGpus(policy) && !asksModel(policy)
    ? { rank: rankRooms(createPolicy(policy), usage) }
    : {}

/** @returns undefined if nothing is kept about the pod. @throws StowageError STORE_UNUSABLE */
export const explainPod = (store: DecisionStore, namespace: string, name: string): Explanation | undefined => {
  const [latest, ...earlier] = store.history({ namespace, pod: name }, ATTEMPTS)
  return latest === undefined ? undefined : explain(latest, earlier, rankOf(latest))
}

/** The same from a file that no process has open now, or another one has. @throws StowageError FILE_UNREADABLE, STORE_UNUSABLE */
export const explainFromStore = (
  path: string,
  namespace: string,
  name: string,
  clock: Clock,
): Explanation | undefined => {
  // Opening a store makes one where there is none.
  if (!existsSync(path))
    throw new StowageError('FILE_UNREADABLE', {
      found: `${path} does not exist`,
      expected: 'the decision store of a scheduler (its setting --decisions)',
    })
  // As old and as large as it likes: whoever only reads must not prune.
  const store = openDecisionStore({ path, maxAgeMs: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER, clock })
  try {
    return explainPod(store, namespace, name)
  } finally {
    store.close()
  }
}
