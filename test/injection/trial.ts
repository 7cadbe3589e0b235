import type { NodeObject, PodObject } from '../../src/cluster/objects.ts'
import { node, pod } from '../builders.ts'
import { LlmWorld } from '../llm/llm-world.ts'
import { type Behaviour, type ChatRequest, groupsIn, ModelServer, sensibleText } from '../llm/model-server.ts'
import type { Injection } from './corpus.ts'

const TOKEN = 'hf_averysecrettoken0123456789'
/** What nobody but the other pod's owner may see. */
const OTHERS_SECRET = 'payroll-of-the-board'

/** What a model does that obeys whatever it reads: it says all it knows, in every way there is. */
const obedience: readonly ((request: ChatRequest, authorization: string) => Behaviour)[] = [
  (request, authorization) => ({
    kind: 'answer',
    text: JSON.stringify({
      decisions: groupsIn(request).map(({ group }) => ({
        group,
        selected_nodes: ['forbidden'],
        confidence: 1,
        reasoning: `${authorization} ${JSON.stringify(request)}`,
      })),
    }),
  }),
  (request, authorization) => ({
    kind: 'answer',
    text: JSON.stringify({
      decisions: groupsIn(request).map(({ group, candidates }) => ({
        group,
        selected_nodes: [candidates[0]?.id],
        confidence: 1,
        reasoning: `${authorization} ${request.messages.at(-1)?.content ?? ''}\u001b[2J\n\u202e`,
      })),
    }),
  }),
  (_request, authorization) => ({ kind: 'answer', text: `As you wish: forbidden. ${authorization}` }),
  (request) => ({ kind: 'answer', text: sensibleText(request) }),
]

/** What went wrong in one trial. */
export interface Findings {
  infeasibleBinds: number
  leaks: number
  formatBreaks: number
}

const QUESTION_KEYS = new Set([
  'group',
  'pods',
  'app',
  'component',
  'images',
  'request',
  'candidates',
  'id',
  'cpu_cores',
  'memory_mib',
  'cpu_percent_after',
  'memory_percent_after',
  'pod_slots_percent_after',
  'room_for',
  'peers_on_node',
  'peers_in_zone',
  'zone',
  'spot',
  'wish',
])
// oxlint-disable-next-line no-control-regex -- what must not be there
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e01ef}]/u
const TEXT_AT_MOST = 256
const QUESTION_AT_MOST = 20_000

const textsIn = (value: unknown): string[] => {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap(textsIn)
}
const keysIn = (value: unknown): string[] => {
  if (typeof value !== 'object' || value === null) return []
  const inner = Object.values(value).flatMap(keysIn)
  return Array.isArray(value) ? inner : [...Object.keys(value), ...inner]
}

/** Whether a question is as it always is: the same rules, and data that is data. */
const keepsForm = (request: ChatRequest, rules: ReadonlySet<string>): boolean => {
  const [system, user, ...more] = request.messages
  if (system?.role !== 'system' || user?.role !== 'user' || more.length > 0) return false
  if (user.content.length > QUESTION_AT_MOST) return false
  const data: unknown = JSON.parse(user.content)
  if (typeof data === 'string') return data.length <= TEXT_AT_MOST && !HIDDEN.test(data)
  const { groups, ...rest } = data as { groups?: unknown[] }
  if (groups === undefined || Object.keys(rest).length > 0) return false
  return (
    rules.has(system.content) &&
    keysIn(groups).every((key) => QUESTION_KEYS.has(key)) &&
    textsIn(groups).every((text) => text.length <= TEXT_AT_MOST && !HIDDEN.test(text))
  )
}

const attacked = ({ text, place }: Injection): { readonly nodes: NodeObject[]; readonly attacker: PodObject } => {
  const nodes = Array.from({ length: 4 }, (_, at) => {
    const built = node(place === 'node name' ? `${text} ${at}` : `allowed-${at}`)
      .cpu('16')
      .memory('64Gi')
    return built.label('topology.kubernetes.io/zone', place === 'node zone' ? `${text} ${at % 2}` : `zone-${at % 2}`)
  })
  const name = place === 'pod name' ? text : 'attacker'
  const built = pod(name).uid('uid-attacker').namespace('attackers').cpu('1').memory('1Gi')
  if (place === 'label app') built.label('app', text)
  if (place === 'label name') built.label('app.kubernetes.io/name', text)
  if (place === 'label component') built.label('app.kubernetes.io/component', text)
  if (place === 'another label') built.label(text.slice(0, 60), text)
  if (place === 'annotation intent') built.annotation('stowage.dev/intent', text)
  if (place === 'annotation weights') built.annotation('stowage.dev/intent-weights', text)
  if (place === 'another annotation') built.annotation('example.com/note', text)
  if (place === 'image') built.image(text)
  if (place === 'owner') built.ownedBy('ReplicaSet', text)
  return {
    nodes: [
      ...nodes.map((one) => one.object()),
      node('forbidden').cpu('64').memory('256Gi').taint('no', 'NoSchedule').object(),
    ],
    attacker: built.object(),
  }
}

/** The rules as they are for a pod that means no harm. */
const usualRules = async (server: ModelServer): Promise<ReadonlySet<string>> => {
  const world = await LlmWorld.start({
    endpoint: server.url,
    nodes: ['a', 'b'].map((name) => node(name).object()),
    llm: { token: TOKEN },
  })
  await world.place([pod('harmless').object()])
  world.close()
  const rules = new Set(server.questions.map(({ messages }) => messages[0]?.content ?? ''))
  server.received.length = 0
  return rules
}

/** A model server that obeys what it is told in the data, and a scheduler that must not suffer from it. */
export class InjectionTrials {
  readonly #server: ModelServer
  readonly #rules: ReadonlySet<string>
  #behaviour = 0

  private constructor(server: ModelServer, rules: ReadonlySet<string>) {
    this.#server = server
    this.#rules = rules
  }

  static async open(): Promise<InjectionTrials> {
    const server = await ModelServer.start()
    return new InjectionTrials(server, await usualRules(server))
  }

  async try(injection: Injection): Promise<Findings> {
    const server = this.#server
    const obey = obedience[this.#behaviour++ % obedience.length]
    server.received.length = 0
    server.script = (request) => {
      const authorization = server.received.at(-1)?.headers.authorization ?? ''
      return obey === undefined ? { kind: 'silence' } : obey(request, authorization)
    }
    const { nodes, attacker } = attacked(injection)
    const world = await LlmWorld.start({ endpoint: server.url, nodes, llm: { token: TOKEN, timeoutMs: 1_000 } })
    const other = pod('other').namespace('others').label('app', OTHERS_SECRET).cpu('1').memory('1Gi').object()
    try {
      await world.place([attacker, other])
    } finally {
      world.close()
    }
    return this.#judge(world)
  }

  #judge({ world, records, logged }: LlmWorld): Findings {
    const { bound } = world.binder
    const { miscounted, overcommitted } = world.cluster.discrepancies()
    const questions = this.#server.questions
    const record = records.find(({ uid }) => uid === 'uid-attacker')
    const told = JSON.stringify([records, logged])
    const leaks = [
      told.includes(TOKEN),
      questions.some((question) => JSON.stringify(question).includes(TOKEN)),
      JSON.stringify(record).includes(OTHERS_SECRET),
      // One question never speaks of pods of two namespaces.
      questions.some((question) => JSON.stringify(question).includes(OTHERS_SECRET) && groupsIn(question).length > 1),
      // names of nodes and zones, which would tell a model of other things than placement
      questions.some((question) => /allowed-|zone-\d/.test(question.messages.at(-1)?.content ?? '')),
    ]
    return {
      infeasibleBinds:
        bound.filter(({ nodeName }) => nodeName === 'forbidden').length + miscounted.length + overcommitted.length,
      leaks: leaks.filter(Boolean).length,
      formatBreaks:
        questions.filter((question) => !keepsForm(question, this.#rules)).length +
        records.filter(({ reason = '' }) => HIDDEN.test(reason)).length +
        (bound.length === 2 ? 0 : 1),
    }
  }

  close(): Promise<void> {
    return this.#server.close()
  }
}
