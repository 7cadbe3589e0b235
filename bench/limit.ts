// The arm of bench/throughput.ts that decides nothing: sends for each pending pod the bind and the Scheduled event that a
// scheduler would send, as fast as the server takes them, and ends. Nodes are taken in turn. With --evict N each pod first has
// N pods of its node leave, with all that a scheduler writes about that.
import { parseArgs } from 'node:util'
import type { NodeObject, PodObject } from '../src/cluster/objects.ts'
import { type Method, openConnection } from '../src/kubernetes/connection.ts'
import {
  collectionPath,
  EVENTS,
  listObjects,
  NODES,
  objectPath,
  PODS,
  STRATEGIC_MERGE_PATCH,
} from '../src/kubernetes/objects.ts'
import { microTime, reportsAtOnce } from '../src/kubernetes/reporter.ts'
import { MEASURED_SELECTOR } from './workloads.ts'

const { values } = parseArgs({
  options: {
    kubeconfig: { type: 'string' },
    concurrency: { type: 'string', default: '32' },
    evict: { type: 'string', default: '0' },
  },
})
const connection = openConnection({ kubeconfig: values.kubeconfig, env: process.env })
const nodes: NodeObject[] = []
for await (const node of listObjects<NodeObject>(connection, NODES)) nodes.push(node)
const pods: PodObject[] = []
for await (const pod of listObjects<PodObject>(connection, PODS, { labelSelector: MEASURED_SELECTOR })) pods.push(pod)

const evicted = Number(values.evict)
const victims = new Map<string, PodObject[]>()
if (evicted > 0)
  for await (const placed of listObjects<PodObject>(connection, PODS, { fieldSelector: 'spec.nodeName!=' }))
    victims.set(placed.spec?.nodeName ?? '', [...(victims.get(placed.spec?.nodeName ?? '') ?? []), placed])

const send = async (method: Method, path: string, body: unknown, contentType?: string): Promise<void> => {
  const { status, body: refusal } = await connection.request({
    method,
    path,
    body,
    ignoreBody: true,
    ...(contentType === undefined ? {} : { contentType }),
  })
  if (status >= 300) throw new Error(`${method} ${path} was answered ${status}: ${JSON.stringify(refusal)}`)
}
const post = (path: string, body: unknown): Promise<void> => send('POST', path, body)
const nodeOf = (number: number): string => nodes[number % nodes.length]?.metadata?.name ?? ''

/** Sends one request after the other until there are no more; as many of these run at once as requests are under way. */
const sender = async (jobs: Iterator<() => Promise<void>>): Promise<void> => {
  for (let job = jobs.next(); job.done !== true; job = jobs.next()) await job.value()
}
const concurrency = Number(values.concurrency)
const many = (count: number, jobs: Iterator<() => Promise<void>>): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, () => sender(jobs)))

const status = ({ metadata }: PodObject, body: object): Promise<void> =>
  send(
    'PATCH',
    `${objectPath(PODS, metadata?.namespace ?? '', metadata?.name ?? '')}/status`,
    { metadata: { uid: metadata?.uid }, status: body },
    STRATEGIC_MERGE_PATCH,
  )
const condition = (type: string, value: string, reason: string): object => ({
  conditions: [
    { type, status: value, reason, message: 'as a scheduler would say', lastTransitionTime: new Date().toISOString() },
  ],
})

const bind = (number: number, { metadata }: PodObject): Promise<void> => {
  const { namespace = '', name = '', uid = '' } = metadata ?? {}
  return post(`${objectPath(PODS, namespace, name)}/binding`, {
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { namespace, name, uid },
    target: { kind: 'Node', name: nodeOf(number) },
  })
}
const place = (number: number, preemptor: PodObject) => async (): Promise<void> => {
  if (evicted > 0) {
    await status(preemptor, {
      nominatedNodeName: nodeOf(number),
      ...condition('PodScheduled', 'False', 'Unschedulable'),
    })
    for (const victim of victims.get(nodeOf(number))?.splice(0, evicted) ?? []) {
      const { namespace = '', name = '' } = victim.metadata ?? {}
      await status(victim, condition('DisruptionTarget', 'True', 'PreemptionByScheduler'))
      await send('DELETE', objectPath(PODS, namespace, name), { apiVersion: 'v1', kind: 'DeleteOptions' })
      tell(event(victim, 'Preempted', 'Preempting', `Preempted by pod on node ${nodeOf(number)}`))
    }
    tell(event(preemptor, 'FailedScheduling', 'Scheduling', 'as a scheduler would say'))
  }
  await bind(number, preemptor)
  const { namespace = '', name = '' } = preemptor.metadata ?? {}
  tell(event(preemptor, 'Scheduled', 'Binding', `Successfully assigned ${namespace}/${name} to ${nodeOf(number)}`))
}

/** Events to be sent; those before `told` are on their way. They give way to binds just as Stowage's do. */
const waiting: (() => Promise<void>)[] = []
let told = 0
let binding = true
const senders = new Set<Promise<void>>()
const startSenders = (): void => {
  const most = reportsAtOnce(binding ? 1 : 0, waiting.length - told + senders.size)
  while (senders.size < most && told < waiting.length) {
    // in the set before the first event is sent, so that its end finds it there
    const sending = (waiting[told++]?.() ?? Promise.resolve()).finally(() => {
      senders.delete(sending)
      startSenders()
    })
    senders.add(sending)
  }
}
const tell = (send: () => Promise<void>): void => {
  waiting.push(send)
  startSenders()
}
const event =
  ({ metadata }: PodObject, reason: string, action: string, note: string) =>
  (): Promise<void> => {
    const { namespace = '', name = '', uid = '', resourceVersion = '' } = metadata ?? {}
    return post(collectionPath(EVENTS, namespace), {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace, name: `${name}.${told.toString(16)}` },
      eventTime: microTime(Date.now()),
      reportingController: 'default-scheduler',
      reportingInstance: 'default-scheduler-limit',
      action,
      reason,
      type: reason === 'FailedScheduling' ? 'Warning' : 'Normal',
      note,
      regarding: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid, resourceVersion },
    })
  }

await many(concurrency, pods.map((pod, number) => place(number, pod)).values())
binding = false
startSenders()
while (senders.size > 0) await Promise.all(senders)
connection.close()
