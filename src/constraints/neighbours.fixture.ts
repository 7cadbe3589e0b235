import fc from 'fast-check'
import { pod } from '../../test/builders.ts'
import type {
  KubeObject,
  LabelSelector,
  NodeObject,
  PodAffinityTermObject,
  PodObject,
  TopologySpreadConstraintObject,
} from '../cluster/objects.ts'
import { nodeNamed, type Situation } from './generated.fixture.ts'

// Small clusters in which pods mind each other, and what Kubernetes' documentation says of selectors, read literally.

const HOSTNAME = 'kubernetes.io/hostname'
const keys = fc.constantFrom('zone', 'cores', HOSTNAME)
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined })
/** Without the keys that hold undefined, as the wire has it. */
const defined = <T extends object>(parts: T): { [Key in keyof T]: Exclude<T[Key], undefined> } =>
  Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as never

const selector: fc.Arbitrary<LabelSelector> = fc.oneof(
  fc.constantFrom('web', 'db').map((app): LabelSelector => ({ matchLabels: { app } })),
  fc
    .record({ operator: fc.constantFrom('In', 'NotIn'), values: fc.subarray(['web', 'db'], { minLength: 1 }) })
    .map(({ operator, values }): LabelSelector => ({ matchExpressions: [{ key: 'app', operator, values }] })),
  fc
    .constantFrom('Exists', 'DoesNotExist')
    .map((operator): LabelSelector => ({ matchExpressions: [{ key: 'tier', operator }] })),
  fc.constant<LabelSelector>({}),
)

const term: fc.Arbitrary<PodAffinityTermObject> = fc
  .record({
    topologyKey: keys,
    labelSelector: fc.option(selector, { nil: undefined, freq: 8 }),
    namespaces: maybe(fc.subarray(['default', 'blue', 'green'])),
    namespaceSelector: fc.option(
      fc.constantFrom<LabelSelector[]>(
        {},
        { matchLabels: { team: 'a' } },
        { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] },
      ),
      { nil: undefined, freq: 2 },
    ),
  })
  .map((parts): PodAffinityTermObject => defined(parts))

const spread: fc.Arbitrary<TopologySpreadConstraintObject> = fc
  .record({
    topologyKey: keys,
    maxSkew: fc.constantFrom(1, 2),
    minDomains: maybe(fc.constantFrom(1, 2, 3)),
    whenUnsatisfiable: fc.constantFrom('DoNotSchedule', 'DoNotSchedule', 'ScheduleAnyway'),
    labelSelector: fc.option(selector, { nil: undefined, freq: 8 }),
    nodeAffinityPolicy: maybe(fc.constantFrom('Honor', 'Ignore')),
    nodeTaintsPolicy: maybe(fc.constantFrom('Honor', 'Ignore')),
    matchLabelKeys: maybe(fc.constant<string[]>(['tier'])),
  })
  .map((parts): TopologySpreadConstraintObject => defined(parts))

const parts = fc.record({
  namespace: fc.constantFrom('default', 'default', 'blue', 'green'),
  app: maybe(fc.constantFrom('web', 'db')),
  tier: maybe(fc.constantFrom('front', 'back')),
  near: fc.array(term, { maxLength: 2 }),
  away: fc.array(term, { maxLength: 2 }),
  spread: fc.array(spread, { maxLength: 2 }),
  zone: fc.constantFrom(undefined, undefined, 'a'),
  tolerant: fc.boolean(),
})
type Parts = typeof parts extends fc.Arbitrary<infer T> ? T : never

const build = (name: string, { app, away, namespace, near, spread: spreads, tier, tolerant, zone }: Parts) => {
  const built = pod(name).namespace(namespace)
  if (app !== undefined) built.label('app', app)
  if (tier !== undefined) built.label('tier', tier)
  if (zone !== undefined) built.nodeSelector('zone', zone)
  if (tolerant) built.tolerates('k1')
  return built.spec({
    affinity: {
      podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: near },
      podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: away },
    },
    topologySpreadConstraints: spreads,
  })
}

const namespaces: fc.Arbitrary<KubeObject[]> = fc
  .record({ blue: maybe(fc.constantFrom('a', 'b')), green: maybe(fc.constantFrom('a', 'b')) })
  .map(({ blue, green }) =>
    Object.entries({ default: undefined, blue, green }).map(([name, team]) => ({
      metadata: { name, labels: { name, ...(team === undefined ? {} : { team }) } },
    })),
  )

const mindfulPod: fc.Arbitrary<PodObject> = parts.map((drawn) => build('waiting', drawn).object())

const placedPods = fc
  .array(fc.tuple(fc.constantFrom('n0', 'n1', 'n2', 'n3'), fc.boolean(), parts), { maxLength: 7 })
  .map((all) =>
    all.map(([on, deleting, drawn], i) => {
      // Few want others away, or nobody could be anywhere.
      const object = build(`placed${i}`, { ...drawn, away: i === 0 ? drawn.away : [] })
        .on(on)
        .phase('Running')
        .object()
      if (deleting && object.metadata !== undefined) object.metadata.deletionTimestamp = '2026-01-01T00:00:00Z'
      return object
    }),
  )

const someNodes: fc.Arbitrary<NodeObject[]> = fc
  .integer({ min: 1, max: 4 })
  .chain((count) => fc.tuple(...['n0', 'n1', 'n2', 'n3'].slice(0, count).map(nodeNamed)))

/** Pods that mind where others are, and where there are some. */
export const neighbours = {
  waitingPod: mindfulPod,
  situation: fc.record({
    namespaces,
    nodes: someNodes,
    placed: placedPods,
    pod: mindfulPod,
  }) satisfies fc.Arbitrary<Situation>,
}

/** Whether labels meet a selector; none meets an absent one. */
export const meets = (wanted: LabelSelector | undefined | null, labels: Record<string, string> = {}): boolean => {
  if (wanted === undefined || wanted === null) return false
  const equal = Object.entries(wanted.matchLabels ?? {}).every(([key, value]) => labels[key] === value)
  return (
    equal &&
    (wanted.matchExpressions ?? []).every(({ key = '', operator, values = [] }) => {
      const value = labels[key]
      if (operator === 'In') return value !== undefined && values.includes(value)
      if (operator === 'NotIn') return value === undefined || !values.includes(value)
      return (operator === 'Exists') === (value !== undefined)
    })
  )
}

/** Whether a term of `owner` speaks of `other`. */
export const speaksOf = (
  { labelSelector, namespaces: named = [], namespaceSelector }: PodAffinityTermObject,
  owner: PodObject,
  other: PodObject,
  all: readonly KubeObject[],
): boolean => {
  const namespace = other.metadata?.namespace ?? ''
  const labels = all.find(({ metadata }) => metadata?.name === namespace)?.metadata?.labels
  const inNamespace =
    named.length === 0 && namespaceSelector === undefined
      ? namespace === owner.metadata?.namespace
      : named.includes(namespace) || meets(namespaceSelector, labels)
  return inNamespace && meets(labelSelector, other.metadata?.labels)
}

/** The node of a placed pod, if there is such a node. */
export const nodeUnder = ({ spec }: PodObject, nodes: readonly NodeObject[]): NodeObject | undefined =>
  nodes.find(({ metadata }) => metadata?.name === spec?.nodeName)

export const valueOn = (node: NodeObject | undefined, key = ''): string | undefined => node?.metadata?.labels?.[key]
