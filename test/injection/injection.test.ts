import assert from 'node:assert/strict'
import { test } from 'node:test'
import { injections } from './corpus.ts'
import { InjectionTrials } from './trial.ts'

/** `npm run test:injection` tries them all. */
const EVERY = 6

test('what strangers write in names, labels, annotations and images moves no pod to a forbidden node, tells nothing, and breaks no form', async () => {
  assert.ok(injections.length >= 100)
  const trials = await InjectionTrials.open()
  try {
    for (const injection of injections.filter((_, at) => at % EVERY === 0))
      assert.deepEqual(
        await trials.try(injection),
        { infeasibleBinds: 0, leaks: 0, formatBreaks: 0 },
        `${injection.place}, ${injection.name}`,
      )
  } finally {
    await trials.close()
  }
})
