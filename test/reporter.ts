// What test/run.ts needs to know of each test, as lines of JSON: node --test-reporter test/reporter.ts
import { inspect } from 'node:util'
import type { TestEvent } from 'node:test/reporters'

export type Reported =
  | { kind: 'started'; title: string }
  | { kind: 'passed'; title: string }
  | { kind: 'skipped'; title: string; reason: string }
  | { kind: 'failed'; title: string; line: number | undefined; error: string }

const why = (error: Error): string => {
  const cause = error.cause ?? error
  return typeof cause === 'string' ? cause : inspect(cause)
}

const translate = (event: TestEvent): Reported | undefined => {
  switch (event.type) {
    case 'test:dequeue':
      return { kind: 'started', title: event.data.name }
    case 'test:pass': {
      const { name: title, skip, todo, details } = event.data
      const left = skip !== undefined && skip !== false ? skip : todo
      if (left !== undefined && left !== false) {
        return {
          kind: 'skipped',
          title,
          reason: typeof left === 'string' && left !== '' ? left : `no reason given by '${title}'`,
        }
      }
      return details.type === 'suite' ? undefined : { kind: 'passed', title }
    }
    case 'test:fail': {
      const { name: title, line, details } = event.data
      // What holds a failed test fails with it, and the test itself is told.
      return 'failureType' in details.error && details.error.failureType === 'subtestsFailed'
        ? undefined
        : { kind: 'failed', title, line, error: why(details.error) }
    }
    default:
      return undefined
  }
}

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    const reported = translate(event)
    if (reported !== undefined) yield `${JSON.stringify(reported)}\n`
  }
}
