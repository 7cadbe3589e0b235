import { Command } from 'commander'
import { systemClock } from '../clock/clock.ts'
import { type Explanation, render } from '../decisions/explanation.ts'
import { messageOf, StowageError } from '../errors/catalogue.ts'
import { explainFromStore } from '../system/explaining.ts'
import { runningInstances } from '../system/instances.ts'
import { keptStores } from '../system/store-path.ts'

const PATIENCE_MS = 10_000

interface Asked {
  readonly namespace: string
  readonly name: string
}

const parsePod = (text: string): Asked => {
  const [first = '', second, ...rest] = text.split('/')
  const [namespace, name] = second === undefined ? ['default', first] : [first, second]
  if (rest.length > 0 || namespace === '' || name === '')
    throw new StowageError('BAD_REQUEST', {
      found: JSON.stringify(text),
      expected: 'NAMESPACE/POD, or POD in the namespace default',
    })
  return { namespace, name }
}

/** @returns undefined if that scheduler has no decision about the pod */
const askServer = async (server: string, { namespace, name }: Asked): Promise<Explanation | undefined> => {
  const url = `${server.replace(/\/$/, '')}/api/v1/decisions/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`
  let answer: Response
  try {
    answer = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) })
  } catch (cause) {
    throw new StowageError(
      'API_UNREACHABLE',
      { found: `${server}: ${messageOf(cause)}`, todo: 'name the management API of a running scheduler with --server' },
      { cause },
    )
  }
  if (answer.status === 404) return undefined
  if (!answer.ok) throw new StowageError('API_REFUSED', { found: `GET ${url} was answered ${answer.status}` })
  return (await answer.json()) as Explanation
}

/**
 * What earlier runs kept about the pod; a store that cannot be read is passed over as long as another one tells.
 * @throws StowageError why the first of these could not be read, if none tells
 */
const findKept = ({ namespace, name }: Asked): Explanation | undefined => {
  const unreadable: unknown[] = []
  for (const path of keptStores(process.env))
    try {
      const explanation = explainFromStore(path, namespace, name, systemClock)
      if (explanation !== undefined) return explanation
    } catch (error) {
      unreadable.push(error)
    }
  if (unreadable.length > 0) throw unreadable[0]
  return undefined
}

const find = async (asked: Asked, options: { server?: string; decisions?: string }): Promise<Explanation> => {
  if (options.decisions !== undefined) {
    const explanation = explainFromStore(options.decisions, asked.namespace, asked.name, systemClock)
    if (explanation !== undefined) return explanation
  } else {
    const servers =
      options.server === undefined ? runningInstances(process.env).map(({ apiUrl }) => apiUrl) : [options.server]
    const failures: unknown[] = []
    for (const server of servers) {
      const explanation = await askServer(server, asked).catch((error: unknown) => void failures.push(error))
      if (explanation !== undefined) return explanation
    }
    if (options.server !== undefined && failures.length > 0) throw failures[0]
    // Nobody who runs knows it: what earlier runs kept may.
    if (options.server === undefined) {
      const explanation = findKept(asked)
      if (explanation !== undefined) return explanation
    }
  }
  throw new StowageError('NOT_FOUND', {
    found: `no decision about pod ${asked.namespace}/${asked.name} is kept`,
    todo: 'is the name right, does its schedulerName belong to a profile, and is the scheduler running (stowage schedule, or --server URL)',
  })
}

const explainPod = async (
  pod: string,
  options: { json?: boolean; server?: string; decisions?: string },
): Promise<void> => {
  const explanation = await find(parsePod(pod), options)
  process.stdout.write(
    options.json ? `${JSON.stringify(explanation, null, 2)}\n` : `${render(explanation).join('\n')}\n`,
  )
}

/** `stowage explain NAMESPACE/POD` */
export const explainCommand = (): Command =>
  new Command('explain')
    .argument('<pod>', 'NAMESPACE/POD, or POD in the namespace default')
    .option('--json', 'print JSON')
    .option('--server <url>', 'the management API to ask (default: the schedulers that run on this machine)')
    .option('--decisions <file>', 'read the decision store of a scheduler instead of asking one')
    .description(
      'Says why a pod is where it is, who came second, and what would have to change; or why it still waits.',
    )
    .addHelpText(
      'after',
      `
Examples:
  stowage explain default/web-0
  stowage explain default/web-0 --json
  stowage explain batch/job-7 --server http://scheduler.example:8000`,
    )
    .action(explainPod)
