import type { Clock, Timer } from '../../clock/clock.ts'
import type { Random } from '../../clock/random.ts'
import type { NodeIndex } from '../../cluster/node.ts'
import type { Pod } from '../../cluster/pod.ts'
import type { ClusterView, UsageSource } from '../../cluster/view.ts'
import type { Configuration } from '../../configuration/schema.ts'
import type { Intents } from '../intents/heeding.ts'
import { intentText } from '../intents/intent.ts'
import { fitOf, wishesOf } from '../intents/wishes.ts'
import type { Candidates, Policy, RankContext, Ranking } from '../policy.ts'
import { ModelFailure } from './failure.ts'
import type { LanguageModel } from './language-model.ts'
import { offer, type OfferedNode } from './offer.ts'
import { classOf, nextPlace, type Plan, Plans } from './plans.ts'
import type { PlacementStatistics, SkipReason } from './placement-statistics.ts'
import { type AskedGroup, placementQuestion } from './prompt.ts'

/** What the policy needs to ask a model. */
export interface LlmOptions {
  /** shared by all profiles */
  readonly model: LanguageModel
  readonly settings: Configuration['llm']
  readonly cache: Configuration['cache']
  readonly statistics: PlacementStatistics
  readonly intents: Intents
  readonly clock: Clock
  readonly random: Random
}

/**
 * Pods of one profile that may wait for the model at one time. The scheduler lets 16 rankings of a profile wait and holds back
 * its other pods then: that must not happen here, so the others are placed at once.
 */
const WAITING_AT_MOST = 12
/** Pods that come together are asked about together: how long the first of them waits for the others. */
const GATHER_MS = 10
const GROUPS_IN_A_CALL = 8
/** Places named at a time: for the pods that wait, and where a controller makes them, for the next of them. */
const PLACES_AT_MOST = 16
const PLACES_AHEAD = 8

/** A pod whose ranking is awaited. */
interface Waiting {
  readonly pod: Pod
  readonly candidates: Candidates
  /** names of the candidates when it was asked: their numbers may be given to others meanwhile */
  readonly scores: Float64Array
  readonly usage: UsageSource | undefined
  readonly resolve: (ranking: Ranking) => void
  readonly reject: (failure: Error) => void
  readonly deadline: Timer
}

/** Pods of one template that the model decides on together. */
interface Group {
  readonly key: string
  readonly pod: Pod
  readonly offered: readonly OfferedNode[]
  readonly nodes: ReadonlyMap<string, NodeIndex>
  readonly untilMs: number
  readonly waiting: Set<Waiting>
  /** for how many pods places are named; 0 while the question has not been sent */
  places: number
}

/**
 * Lets a language model choose among the nodes that a cheap policy likes best. The model sees computed facts under ids that
 * mean nothing, in an order drawn by lot (models favour what stands first), and its answer counts only if it is one of those ids.
 * Where it is not worth asking, or of no use, the cheap policy's ranking stands, at once.
 */
export class LlmPolicy implements Policy {
  readonly name = 'llm'
  readonly version = '1'
  readonly #cheap: Policy
  readonly #options: LlmOptions | undefined
  readonly #plans: Plans | undefined
  readonly #groups = new Map<string, Group>()
  #waiting = 0
  #calls = 0
  #gathers = false

  /**
   * @param cheap answers at once: it proposes the nodes, and decides where the model is not asked
   * @param options undefined: there is no model
   */
  constructor(cheap: Policy, options: LlmOptions | undefined) {
    this.#cheap = cheap
    this.#options = options
    if (options !== undefined) this.#plans = new Plans(options.cache, options.clock)
  }

  get readsSelectors(): boolean {
    return this.#cheap.readsSelectors === true
  }

  get choosesDevices(): boolean {
    return this.#cheap.choosesDevices === true
  }

  rank(pod: Pod, candidates: Candidates, context: RankContext): Ranking | Promise<Ranking> {
    const ranking = this.#cheap.rank(pod, candidates, context)
    // The fallback's contract; the cycle sees to it that a pending one does no harm.
    if (ranking instanceof Promise) return ranking
    const options = this.#options
    if (options === undefined) return this.#skipped(ranking, 'off')
    options.statistics.asked++
    const intent = options.intents.of(pod)
    const intentWords = intent === undefined ? '' : intentText(intent)
    const key = classOf(pod, options.model.name, intentWords)
    const planned = this.#fromPlan(key, pod, candidates, context.cluster, ranking)
    if (planned !== undefined) return planned
    const best = topOf(ranking.scores, candidates, options.settings.candidates)
    const reason = this.#whyNot(ranking.scores, best, intent !== undefined)
    if (reason !== undefined) return this.#skipped(ranking, reason)
    let group = this.#groups.get(key)
    if (group !== undefined && group.places > 0 && group.waiting.size >= group.places)
      return this.#skipped(ranking, 'queue_full')
    if (group === undefined) {
      const wishes = intent === undefined ? [] : wishesOf(intent, pod, context.cluster)
      const order = shuffled(
        best.map((at) => candidates.nodes[at]!),
        options.random,
      )
      const wishOf = wishes.length === 0 ? undefined : (node: NodeIndex): number => fitOf(wishes, node)
      const offered = offer(pod, order, candidates.nodes.subarray(0, candidates.count), context.cluster, wishOf)
      group = {
        key,
        pod,
        offered,
        nodes: new Map(order.map((node, at) => [`c${at + 1}`, node])),
        untilMs: options.clock.monotonicMs() + options.settings.timeoutMs,
        waiting: new Set(),
        places: 0,
      }
      this.#groups.set(key, group)
      this.#gather()
    }
    return this.#wait(group, pod, candidates, ranking, context.signal)
  }

  // Not asking

  #whyNot(scores: Float64Array, best: readonly number[], hasIntent: boolean): SkipReason | undefined {
    const { model, settings } = this.#options!
    const unavailable = model.unavailable
    const [first = 0, second = 0] = best.map((at) => scores[at] ?? 0)
    if (!hasIntent && best.length > 1 && settings.margin < 1) {
      const size = Math.max(Math.abs(first), Math.abs(second))
      if (size > 0 && (first - second) / size >= settings.margin && first > second) return 'wide_margin'
    }
    if (unavailable !== undefined) return unavailable
    return this.#waiting >= WAITING_AT_MOST ? 'queue_full' : undefined
  }

  #skipped(ranking: Ranking, reason: SkipReason): Ranking {
    this.#options?.statistics.skip(reason)
    const why = `the model was not asked (${SKIPPED.get(reason) ?? reason}), ${this.#cheap.name} ranked`
    return { ...ranking, reason: ranking.reason === undefined ? why : `${why}; ${ranking.reason}` }
  }

  #fromPlan(
    key: string,
    pod: Pod,
    candidates: Candidates,
    cluster: ClusterView,
    ranking: Ranking,
  ): Ranking | undefined {
    const { statistics } = this.#options!
    const plan = this.#plans?.get(key, pod, cluster)
    const place = plan?.places[0]
    if (plan === undefined || place === undefined) return undefined
    const at = positionOf(cluster.indexOf(place.name), candidates)
    // It was allowed there when the plan was made, and is no more: the rest of the plan is no better.
    if (at < 0) return undefined
    nextPlace(plan)
    statistics.fromCache++
    return chosen(ranking.scores.slice(0, candidates.count), at, this.#cheap.name, plan, 'cache', ranking.usage)
  }

  // Asking

  #wait(group: Group, pod: Pod, candidates: Candidates, ranking: Ranking, signal: AbortSignal): Promise<Ranking> {
    const { clock, settings, statistics } = this.#options!
    return new Promise<Ranking>((resolve, reject) => {
      const leave = (): void => {
        waiting.deadline.cancel()
        signal.removeEventListener('abort', onAbort)
        if (group.waiting.delete(waiting)) this.#waiting--
      }
      const onAbort = (): void => {
        leave()
        reject(new ModelFailure('closed', 'the attempt was called off'))
      }
      const waiting: Waiting = {
        pod,
        candidates,
        scores: ranking.scores.slice(0, candidates.count),
        usage: ranking.usage,
        resolve: (answer) => {
          leave()
          resolve(answer)
        },
        reject: (failure) => {
          leave()
          statistics.failed++
          reject(failure)
        },
        deadline: clock.after(settings.timeoutMs, () =>
          waiting.reject(new ModelFailure('timeout', `the model did not answer within ${settings.timeoutMs} ms`)),
        ),
      }
      group.waiting.add(waiting)
      this.#waiting++
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** Asks once those have come that come with the first. */
  #gather(): void {
    if (this.#gathers) return
    this.#gathers = true
    this.#options!.clock.after(GATHER_MS, () => {
      this.#gathers = false
      this.#send()
    })
  }

  /** Asks about the groups that wait, in calls for one namespace each, as many as may be under way. */
  #send(): void {
    const { settings } = this.#options!
    for (const [key, group] of this.#groups)
      if (group.places === 0 && group.waiting.size === 0) this.#groups.delete(key)
    while (this.#calls < settings.concurrency) {
      const unsent = [...this.#groups.values()].filter(({ places }) => places === 0)
      const [first] = unsent
      if (first === undefined) return
      // What one pod's question holds could be repeated in the reason of another's record: only among pods of one namespace.
      const together = unsent.filter(({ pod }) => pod.namespace === first.pod.namespace).slice(0, GROUPS_IN_A_CALL)
      for (const group of together)
        group.places = Math.min(PLACES_AT_MOST, group.waiting.size + (group.pod.ownerUid === '' ? 0 : PLACES_AHEAD))
      this.#calls++
      void this.#ask(together).finally(() => {
        this.#calls--
        this.#send()
      })
    }
  }

  /** Never rejects. */
  async #ask(groups: readonly Group[]): Promise<void> {
    const { clock, model, settings } = this.#options!
    const asked = groups.map(
      (group, at): AskedGroup => ({
        id: `g${at + 1}`,
        pod: group.pod,
        pods: group.places,
        offered: group.offered,
      }),
    )
    const timeoutMs = Math.min(...groups.map(({ untilMs }) => untilMs)) - clock.monotonicMs()
    let failure: Error = new ModelFailure('malformed', 'the model left these pods out of its answer')
    try {
      const answers = await model.ask(
        placementQuestion(asked, settings.maxTokens),
        timeoutMs,
        new AbortController().signal,
      )
      for (const [at, group] of groups.entries()) {
        const answer = answers.get(`g${at + 1}`)
        if (answer === undefined) continue
        const byId = new Map(group.offered.map((node) => [node.id, node]))
        const plan: Plan = {
          places: answer.ids.flatMap((id) => byId.get(id) ?? []),
          offered: group.offered,
          placed: new Map(),
          confidence: answer.confidence,
          reason: answer.reason,
          pod: group.pod,
        }
        this.#answer(group, plan)
      }
    } catch (thrown) {
      failure = thrown instanceof Error ? thrown : failure
    }
    for (const group of groups) {
      this.#groups.delete(group.key)
      for (const waiting of group.waiting) waiting.reject(failure)
    }
  }

  /** Each pod that waits gets the next place of the plan; those for whom there is none are placed by the fallback. */
  #answer(group: Group, plan: Plan): void {
    const { statistics } = this.#options!
    this.#groups.delete(group.key)
    for (const waiting of group.waiting) {
      const place = nextPlace(plan)
      const node = place === undefined ? undefined : group.nodes.get(place.id)
      const at = node === undefined ? -1 : positionOf(node, waiting.candidates)
      if (at < 0) {
        waiting.reject(new ModelFailure('malformed', 'the model named no node for this pod'))
        continue
      }
      statistics.byModel++
      waiting.resolve(chosen(waiting.scores, at, this.#cheap.name, plan, 'model', waiting.usage))
    }
    this.#plans?.keep(group.key, plan)
  }
}

const SKIPPED: ReadonlyMap<SkipReason, string> = new Map([
  ['off', 'there is none: no token is set'],
  ['wide_margin', 'one node is clearly better than the next'],
  ['queue_full', 'more pods wait than it could decide on in time'],
  ['breaker_open', 'it failed too often lately'],
  ['credits_used_up', 'its credits are used up'],
  ['rate_limited', 'its server wants to be left alone'],
  ['request_budget', 'the budget of requests is used up'],
  ['money_budget', 'the budget of money is used up'],
])

/** The cheap policy's scores, with the model's choice above all. */
const chosen = (
  scores: Float64Array,
  at: number,
  cheap: string,
  plan: Plan,
  source: 'model' | 'cache',
  usage: UsageSource | undefined,
): Ranking => {
  let best = Number.NEGATIVE_INFINITY
  for (const score of scores) best = Math.max(best, score)
  const choice = new Float64Array(scores.length)
  // at is a place in scores
  choice[at] = best - scores[at]! + 1
  const raised = scores.slice()
  raised[at] = best + 1
  return {
    scores: raised,
    terms: [
      { name: cheap, weight: 1, valueAt: (candidate) => scores[candidate] ?? 0 },
      { name: 'model', weight: 1, valueAt: (candidate) => choice[candidate] ?? 0 },
    ],
    source,
    ...(usage === undefined ? {} : { usage }),
    ...(plan.confidence === undefined ? {} : { confidence: plan.confidence }),
    reason: plan.reason === '' ? 'the model gave no reason' : `the model says "${plan.reason}"`,
  }
}

const positionOf = (node: NodeIndex, { nodes, count }: Candidates): number => {
  for (let at = 0; at < count; at++) if (nodes[at] === node) return at
  return -1
}

/** Places of the best scores, best first, equals in their order. */
const topOf = (scores: Float64Array, { count }: Candidates, size: number): number[] => {
  const top: number[] = []
  for (let at = 0; at < count; at++) {
    // at < count <= length; what top holds lies below at
    const score = scores[at]!
    if (top.length === size && score <= scores[top[size - 1]!]!) continue
    let place = top.length === size ? size - 1 : top.length
    for (; place > 0 && scores[top[place - 1]!]! < score; place--) top[place] = top[place - 1]!
    top[place] = at
  }
  return top
}

const shuffled = <T>(items: readonly T[], random: Random): T[] => {
  const left = [...items]
  const drawn: T[] = []
  while (left.length > 0) drawn.push(...left.splice(random.below(left.length), 1))
  return drawn
}
