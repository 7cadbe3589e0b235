import type { Random } from '../../clock/random.ts'
import type { PodObject } from '../../cluster/objects.ts'
import type { Arrival } from '../workload/arrivals.ts'
import type { NodeShape } from '../workload/node-shapes.ts'
import { DURATION_ANNOTATION } from '../virtual/pod-stages.ts'
import { NETWORK_LATENCY_ANNOTATION } from './network-latency.ts'

export const FIVE_G_SCENARIOS = ['balanced', 'high_latency', 'resource_intensive', 'mixed'] as const
export type FiveGScenario = (typeof FIVE_G_SCENARIOS)[number]

/** User plane, session management, and the two halves of a base station. */
export type NetworkFunction = 'UPF' | 'SMF' | 'CU' | 'DU'

/** Which function a pod is. */
export const NETWORK_FUNCTION_LABEL = 'stowage.dev/network-function'

/** One deployment of a network: 3 UPF, 2 SMF, 2 CU, 3 DU. What they ask for is assumed: nobody has published it. */
const FUNCTIONS: readonly {
  readonly kind: NetworkFunction
  readonly count: number
  readonly cpuMilli: number
  readonly memoryMi: number
}[] = [
  { kind: 'UPF', count: 3, cpuMilli: 2000, memoryMi: 4096 },
  { kind: 'SMF', count: 2, cpuMilli: 500, memoryMi: 1024 },
  { kind: 'CU', count: 2, cpuMilli: 1000, memoryMi: 2048 },
  { kind: 'DU', count: 3, cpuMilli: 2000, memoryMi: 2048 },
]
/** Pods of one network. */
export const FUNCTIONS_OF_A_NETWORK = FUNCTIONS.reduce((sum, { count }) => sum + count, 0)

/** Milliseconds to a node at the edge and to one far away, drawn uniformly. */
const NEAR_MS = [1, 5] as const
const FAR_MS = [20, 50] as const
/** What part of the nodes is far away. */
const FAR_SHARE: Readonly<Record<FiveGScenario, number>> = {
  balanced: 0,
  high_latency: 1 / 2,
  resource_intensive: 0,
  mixed: 1 / 3,
}
/** How many times as much the functions of a network ask for. */
const INTENSITY = 3

export interface FiveGOptions {
  readonly scenario: FiveGScenario
  readonly nodes: readonly NodeShape[]
  /** networks that are deployed, ten pods each */
  readonly networks: number
  /** the time over which they come; every second network goes again after half of it */
  readonly spanMs: number
  /** decides everything: equal streams, equal workloads */
  readonly random: Random
  readonly schedulerName: string
}

export interface FiveGWorkload {
  /** with their latencies in `stowage.dev/network-latency-ms` */
  readonly nodes: readonly NodeShape[]
  /** ascending by time */
  readonly arrivals: readonly Arrival[]
}

/**
 * Networks of 5G functions and the nodes that they come to. `balanced`: all nodes near, usual requests; `high_latency`: half of the
 * nodes far; `resource_intensive`: three times the requests; `mixed`: a third of the nodes far, every second network three times
 * the requests.
 */
export const fiveGWorkload = (options: FiveGOptions): FiveGWorkload => {
  const { networks, random, scenario, schedulerName, spanMs } = options
  const between = ([least, most]: readonly [number, number]): number => least + random.next() * (most - least)
  const nodes = options.nodes.map((node): NodeShape => {
    const latencyMs = between(random.next() < FAR_SHARE[scenario] ? FAR_MS : NEAR_MS)
    return { ...node, annotations: { ...node.annotations, [NETWORK_LATENCY_ANNOTATION]: latencyMs.toFixed(3) } }
  })
  const arrivals: Arrival[] = []
  for (let network = 0; network < networks; network++) {
    const intense = scenario === 'resource_intensive' || (scenario === 'mixed' && network % 2 === 1)
    const times = intense ? INTENSITY : 1
    const stays = network % 2 === 0
    for (const { count, cpuMilli, kind, memoryMi } of FUNCTIONS)
      for (let number = 0; number < count; number++) {
        const name = `${kind.toLowerCase()}-${network}-${number}`
        const pod: PodObject = {
          metadata: {
            name,
            namespace: `network-${network}`,
            labels: { app: kind.toLowerCase(), [NETWORK_FUNCTION_LABEL]: kind },
            ...(stays ? {} : { annotations: { [DURATION_ANNOTATION]: `${spanMs / 2}ms` } }),
          },
          spec: {
            schedulerName,
            containers: [
              {
                name: 'function',
                resources: { requests: { cpu: `${times * cpuMilli}m`, memory: `${times * memoryMi}Mi` } },
              },
            ],
          },
        }
        arrivals.push({ atMs: random.next() * spanMs, pod })
      }
  }
  arrivals.sort((a, b) => a.atMs - b.atMs)
  return { nodes, arrivals }
}
