import { systemClock } from '../../src/clock/clock.ts'
import { seededRandom } from '../../src/clock/random.ts'
import type { NodeObject, PodObject } from '../../src/cluster/objects.ts'
import { type Configuration, settingsSchema } from '../../src/configuration/schema.ts'
import { createConstraints } from '../../src/constraints/registry.ts'
import type { DecisionRecord } from '../../src/decisions/record.ts'
import { heeding } from '../../src/policies/intents/heeding.ts'
import { IntentBook } from '../../src/policies/intents/intent-book.ts'
import { intentQuestion } from '../../src/policies/llm/intent-question.ts'
import { LanguageModel } from '../../src/policies/llm/language-model.ts'
import { PlacementStatistics } from '../../src/policies/llm/placement-statistics.ts'
import { createPolicy } from '../../src/policies/registry.ts'
import { World } from '../../src/scheduling/world.fixture.ts'
import type { LogFields } from '../../src/telemetry/log.ts'

const defaults = settingsSchema.parse({
  scheduler: {},
  fallback: {},
  scheduling: {},
  kubernetes: {},
  llm: {},
  cache: {},
  circuitBreaker: {},
  leaderElection: {},
  decisions: {},
  api: {},
  metrics: {},
  logging: {},
})

/** The settings of a model as they are by default, with a few others. */
export const llmSettings = (given: Partial<Configuration['llm']>): Configuration['llm'] => ({
  ...defaults.llm,
  ...given,
})

export interface LlmWorldOptions {
  readonly endpoint: string
  readonly nodes: readonly NodeObject[]
  readonly llm?: Partial<Configuration['llm']>
  readonly cache?: Partial<Configuration['cache']>
  readonly breaker?: Partial<Configuration['circuitBreaker']>
  readonly fallback?: string
}

/** What one word of the log was. */
export interface Logged {
  readonly level: string
  readonly message: string
  readonly fields: LogFields
}

/** The scheduler with the policy llm, on the real clock, in front of a real socket; binds go to memory. */
export class LlmWorld {
  readonly world: World
  readonly model: LanguageModel
  readonly statistics = new PlacementStatistics()
  readonly intents: IntentBook
  readonly logged: Logged[] = []
  #expected = 0
  #onPlaced: (() => void) | undefined

  private constructor(options: LlmWorldOptions) {
    const settings = llmSettings({ endpoint: options.endpoint, model: 'test-model', margin: 1, ...options.llm })
    const say =
      (level: string) =>
      (message: string, fields: LogFields = {}): void =>
        void this.logged.push({ level, message, fields })
    this.model = new LanguageModel({
      settings,
      breaker: { ...defaults.circuitBreaker, ...options.breaker },
      clock: systemClock,
      random: seededRandom(1),
      log: { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') },
    })
    const never = new AbortController().signal
    const kept = new Map<string, string>()
    this.intents = new IntentBook({
      model: settings.model,
      read: (text) => this.model.ask(intentQuestion(text, settings.maxTokens), 5_000, never),
      store: { get: (_model, text) => kept.get(text), keep: (_model, text, intent) => void kept.set(text, intent) },
      nowMs: () => systemClock.monotonicMs(),
    })
    const cheap = (): ReturnType<typeof createPolicy> =>
      heeding(createPolicy(options.fallback ?? 'resource_balanced'), this.intents)
    const policy = createPolicy('llm', {
      cheap: cheap(),
      llm: {
        model: this.model,
        settings,
        cache: { ...defaults.cache, ...options.cache },
        statistics: this.statistics,
        intents: this.intents,
        clock: systemClock,
        random: seededRandom(2),
      },
    })
    this.world = new World(
      { policy, fallback: cheap(), deadlineMs: settings.timeoutMs + 250 },
      {
        clock: systemClock,
        constraints: createConstraints(),
        yieldToEvents: (run) => setImmediate(run),
        binder: {
          bind: async (pod, nodeName, signal) => {
            await this.world.binder.bind(pod, nodeName, signal)
            if (this.world.binder.bound.length >= this.#expected) this.#onPlaced?.()
          },
        },
      },
    )
  }

  static async start(options: LlmWorldOptions): Promise<LlmWorld> {
    const made = new LlmWorld(options)
    await made.world.begin(options.nodes)
    return made
  }

  /** Brings pods, and waits until as many are bound. @returns how long that took */
  async place(pods: readonly PodObject[]): Promise<number> {
    const startMs = systemClock.monotonicMs()
    this.#expected = this.world.binder.bound.length + pods.length
    await new Promise<void>((resolve) => {
      this.#onPlaced = resolve
      for (const pod of pods) this.world.scheduler.pods.seen(pod)
    })
    // the bind's end is told in the same turn
    await new Promise(setImmediate)
    return systemClock.monotonicMs() - startMs
  }

  get records(): readonly DecisionRecord[] {
    return this.world.decisions.records
  }

  close(): void {
    this.model.close()
  }
}
