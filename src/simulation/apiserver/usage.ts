import type { Clock } from '../../clock/clock.ts'
import type { ApiObject } from './json.ts'
import type { Store } from './store.ts'

export interface NodeUsage {
  readonly cpuMilli: number
  readonly memoryBytes: number
}

const windowSeconds = 10

/** What metrics.k8s.io serves: the last measurement of each node and pod, as metrics-server would give it. */
export class UsageMeasurements {
  readonly #store: Store
  readonly #clock: Clock
  #known = false

  constructor(store: Store, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** Whether anything was ever measured; else the API group is not served. */
  get known(): boolean {
    return this.#known
  }

  setNode(name: string, usage: NodeUsage): void {
    this.#put('nodes.metrics.k8s.io', name, { kind: 'NodeMetrics', metadata: { name }, usage: quantities(usage) })
  }

  setPod(namespace: string, name: string, usage: NodeUsage): void {
    this.#put('pods.metrics.k8s.io', `${namespace}/${name}`, {
      kind: 'PodMetrics',
      metadata: { name, namespace },
      containers: [{ name: 'all', usage: quantities(usage) }],
    })
  }

  #put(resource: string, key: string, { kind, metadata, ...rest }: ApiObject): void {
    this.#known = true
    const timestamp = `${new Date(this.#clock.nowMs()).toISOString().slice(0, 19)}Z`
    this.#store.put(this.#store.collection(resource), key, {
      kind: kind ?? '',
      apiVersion: 'metrics.k8s.io/v1beta1',
      metadata: { ...metadata, creationTimestamp: timestamp },
      timestamp,
      window: `${windowSeconds}s`,
      ...rest,
    })
  }
}

const quantities = ({ cpuMilli, memoryBytes }: NodeUsage): Record<string, string> => ({
  cpu: `${Math.round(cpuMilli)}m`,
  memory: `${Math.round(memoryBytes / 1024)}Ki`,
})
