// The arm of bench/throughput.ts that decides nothing: sends for each pending pod the bind and the Scheduled event that a
// scheduler would send, as fast as the server takes them, and ends. Nodes are taken in turn.
import { parseArgs } from 'node:util'
import type { NodeObject, PodObject } from '../src/cluster/objects.ts'
import { openConnection } from '../src/kubernetes/connection.ts'
import { collectionPath, EVENTS, listObjects, NODES, objectPath, PODS } from '../src/kubernetes/objects.ts'
import { microTime } from '../src/kubernetes/reporter.ts'
import { MEASURED_SELECTOR } from './workloads.ts'

/** As the reporter of src/kubernetes does. */
const EVENTS_BESIDE_BINDS = 4
const EVENTS_ALONE = 32

const { values } = parseArgs({
  options: { kubeconfig: { type: 'string' }, concurrency: { type: 'string', default: '32' } },
})
const connection = openConnection({ kubeconfig: values.kubeconfig, env: process.env })
const nodes: NodeObject[] = []
for await (const node of listObjects<NodeObject>(connection, NODES)) nodes.push(node)
const pods: PodObject[] = []
for await (const pod of listObjects<PodObject>(connection, PODS, { labelSelector: MEASURED_SELECTOR })) pods.push(pod)

const post = async (path: string, body: unknown): Promise<void> => {
  const { status, body: refusal } = await connection.request({ method: 'POST', path, body, ignoreBody: true })
  if (status >= 300) throw new Error(`POST ${path} was answered ${status}: ${JSON.stringify(refusal)}`)
}

/** Sends one request after the other until there are no more; as many of these run at once as requests are under way. */
const sender = async (jobs: Iterator<() => Promise<void>>): Promise<void> => {
  for (let job = jobs.next(); job.done !== true; job = jobs.next()) await job.value()
}
const concurrency = Number(values.concurrency)
const many = (count: number, jobs: Iterator<() => Promise<void>>): Promise<unknown> =>
  Promise.all(Array.from({ length: count }, () => sender(jobs)))

const bind =
  (number: number, { metadata }: PodObject) =>
  (): Promise<void> => {
    const { namespace = '', name = '', uid = '' } = metadata ?? {}
    return post(`${objectPath(PODS, namespace, name)}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { namespace, name, uid },
      target: { kind: 'Node', name: nodes[number % nodes.length]?.metadata?.name },
    })
  }
const event =
  (number: number, { metadata }: PodObject) =>
  (): Promise<void> => {
    const { namespace = '', name = '', uid = '', resourceVersion = '' } = metadata ?? {}
    return post(collectionPath(EVENTS, namespace), {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace, name: `${name}.${number.toString(16)}` },
      eventTime: microTime(Date.now()),
      reportingController: 'default-scheduler',
      reportingInstance: 'default-scheduler-limit',
      action: 'Binding',
      reason: 'Scheduled',
      type: 'Normal',
      note: `Successfully assigned ${namespace}/${name} to ${nodes[number % nodes.length]?.metadata?.name}`,
      regarding: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid, resourceVersion },
    })
  }

// As Stowage does: events give way to binds, with a few under way beside them and the rest after.
const binds = pods.map((pod, number) => bind(number, pod)).values()
const events = pods.map((pod, number) => event(number, pod)).values()
const bindsDone = many(concurrency, binds)
let binding = true
const beside = async (): Promise<void> => {
  for (let job = events.next(); job.done !== true; job = events.next()) {
    await job.value()
    if (!binding) break
  }
}
const besideDone = Promise.all(Array.from({ length: EVENTS_BESIDE_BINDS }, beside))
await bindsDone
binding = false
await besideDone
await many(EVENTS_ALONE, events)
connection.close()
