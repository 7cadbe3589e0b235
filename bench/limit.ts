// The arm of bench/throughput.ts that decides nothing: sends for each pending pod the bind and the Scheduled event that a
// scheduler would send, with a fixed number of pods under way at once, and ends. Nodes are taken in turn.
import { parseArgs } from 'node:util'
import type { NodeObject, PodObject } from '../src/cluster/objects.ts'
import { openConnection } from '../src/kubernetes/connection.ts'
import { collectionPath, EVENTS, listObjects, NODES, objectPath, PODS } from '../src/kubernetes/objects.ts'
import { microTime } from '../src/kubernetes/reporter.ts'

const { values } = parseArgs({
  options: { kubeconfig: { type: 'string' }, concurrency: { type: 'string', default: '32' } },
})
const connection = openConnection({ kubeconfig: values.kubeconfig, env: process.env })
const nodes: NodeObject[] = []
for await (const node of listObjects<NodeObject>(connection, NODES)) nodes.push(node)
const pods: PodObject[] = []
for await (const pod of listObjects<PodObject>(connection, PODS)) pods.push(pod)

const post = async (path: string, body: unknown): Promise<void> => {
  const { status, body: refusal } = await connection.request({ method: 'POST', path, body, ignoreBody: true })
  if (status >= 300) throw new Error(`POST ${path} was answered ${status}: ${JSON.stringify(refusal)}`)
}
const pending = pods.entries()
const worker = async (): Promise<void> => {
  for (const [number, { metadata }] of pending) {
    const { namespace = '', name = '', uid = '', resourceVersion = '' } = metadata ?? {}
    const node = nodes[number % nodes.length]?.metadata?.name
    await post(`${objectPath(PODS, namespace, name)}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { namespace, name, uid },
      target: { kind: 'Node', name: node },
    })
    await post(collectionPath(EVENTS, namespace), {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace, name: `${name}.${number.toString(16)}` },
      eventTime: microTime(Date.now()),
      reportingController: 'default-scheduler',
      reportingInstance: 'default-scheduler-limit',
      action: 'Binding',
      reason: 'Scheduled',
      type: 'Normal',
      note: `Successfully assigned ${namespace}/${name} to ${node}`,
      regarding: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid, resourceVersion },
    })
  }
}
await Promise.all(Array.from({ length: Number(values.concurrency) }, worker))
connection.close()
