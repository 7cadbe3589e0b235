// npm run bench:llm [-- --json]: what the policy llm costs and saves in front of a scripted server, with the default settings but for the
// budget of requests, which a minute's pods would use up.
// The server answers sensibly after a fixed time, so this measures our side: quality of placement is no matter of it.
import { sleep, systemClock } from '../src/clock/clock.ts'
import type { NodeObject, PodObject } from '../src/cluster/objects.ts'
import { settingRows } from '../src/configuration/schema.ts'
import { node, pod } from '../test/builders.ts'
import { LlmWorld } from '../test/llm/llm-world.ts'
import { ModelServer, sensibleText } from '../test/llm/model-server.ts'

const PODS = 1_000
const NODES = 100
const TEMPLATES = 20
const SLOW_SECONDS = 5
const QUICK_MS = 300
const PODS_A_SECOND = 100

const margin = Number(settingRows.find(({ key }) => key === 'llm.margin')?.default)

const nodes: readonly NodeObject[] = Array.from({ length: NODES }, (_, at) =>
  node(`node-${at}`)
    .cpu('32')
    .memory('128Gi')
    .label('topology.kubernetes.io/zone', `zone-${at % 3}`)
    .object(),
)

/** Deployments that are rolled out one after the other. */
const pods = (kind: string): PodObject[] =>
  Array.from({ length: PODS }, (_, at) => {
    const template = Math.floor((at * TEMPLATES) / PODS)
    const name = `${kind}-${template}`
    return pod(`${name}-${at}`)
      .cpu(`${100 + 50 * (template % 8)}m`)
      .memory(`${256 * (1 + (template % 5))}Mi`)
      .label('app', name)
      .ownedBy('ReplicaSet', name)
      .object()
  })

const note = (line: string): void => void process.stderr.write(`${line}\n`)

const answeringAfter = (delayMs: number): Promise<ModelServer> =>
  ModelServer.start((request) => ({ kind: 'answer', text: sensibleText(request), delayMs }))

/** All pods at once, and a model that takes longer than they may wait. */
const burst = async (): Promise<number> => {
  const server = await answeringAfter(SLOW_SECONDS * 1000)
  const world = await LlmWorld.start({ endpoint: server.url, nodes, llm: { margin } })
  const ms = await world.place(pods('burst'))
  world.close()
  await server.close()
  return ms
}

/** Has pods placed in front of a model that is quick enough. */
const measure = async (place: (world: LlmWorld) => Promise<void>) => {
  const server = await answeringAfter(QUICK_MS)
  const world = await LlmWorld.start({ endpoint: server.url, nodes, llm: { margin, requestsPerMinute: 100_000 } })
  await place(world)
  const { asked, byModel, failed, fromCache, skipped, skippedInAll } = world.statistics
  const { promptTokens, completionTokens, successful } = world.model.statistics
  const waitedMs = world.records.map(({ cycleMs }) => cycleMs).sort((a, b) => a - b)
  const calls = server.questions.length
  world.close()
  await server.close()
  return {
    pods: asked,
    byModel,
    fromCache,
    failed,
    skippedInAll,
    skipped: Object.fromEntries(skipped),
    calls,
    decisionP95Ms: Math.round(waitedMs[Math.floor(waitedMs.length * 0.95)] ?? 0),
    tokensInPerCall: Math.round(promptTokens / Math.max(1, successful)),
    tokensOutPerCall: Math.round(completionTokens / Math.max(1, successful)),
  }
}

/** Pods come whether those before them are placed or not. */
const quickly = async (world: LlmWorld): Promise<void> => {
  const arriving = pods('quickly')
  const bunch = PODS_A_SECOND / 10
  let last: Promise<unknown> = Promise.resolve()
  for (let at = 0; at < arriving.length; at += bunch) {
    last = world.place(arriving.slice(at, at + bunch))
    await sleep(systemClock, 100)
  }
  await last
}

/** Each pod comes when the one before it is placed. */
const slowly = async (world: LlmWorld): Promise<void> => {
  for (const one of pods('slowly')) await world.place([one])
}

note(`${PODS} pods at once, a server that takes ${SLOW_SECONDS} s for each answer`)
const burstMs = await burst()
note(`all placed after ${(burstMs / 1000).toFixed(2)} s`)
note(`${PODS} pods of ${TEMPLATES} templates, ${PODS_A_SECOND} a second, a server that takes ${QUICK_MS / 1000} s`)
const fast = await measure(quickly)
note(`${PODS} pods of ${TEMPLATES} templates, each when the one before it is placed`)
const slow = await measure(slowly)
const round = (value: number): number => Math.round(value * 1000) / 1000
const sum = (pick: (part: typeof fast) => number): number => pick(fast) + pick(slow)
const result = {
  burst: { pods: PODS, serverSeconds: SLOW_SECONDS, allPlacedSeconds: round(burstMs / 1000) },
  callsPer1000Pods: round((1000 * sum(({ calls }) => calls)) / sum(({ pods: placed }) => placed)),
  cacheHitRate: round(sum(({ fromCache }) => fromCache) / sum(({ fromCache, calls }) => fromCache + calls)),
  skipRate: round(sum(({ skippedInAll }) => skippedInAll) / sum(({ pods: placed }) => placed)),
  parts: {
    quickly: { podsPerSecond: PODS_A_SECOND, serverSeconds: QUICK_MS / 1000, ...fast },
    oneByOne: { serverSeconds: QUICK_MS / 1000, ...slow },
  },
}
if (process.argv.includes('--json')) process.stdout.write(`${JSON.stringify(result)}\n`)
else process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
