import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../clock/random.ts'
import { type ErrorCode, StowageError } from '../../errors/catalogue.ts'
import { createFormula } from '../../policies/formula/formula-policy.ts'
import { HEURISTIC_FORMULAS } from '../../policies/formula/heuristics.ts'
import { compile, parseExpression, textOf, VARIABLES } from '../../policies/formula/expression.ts'
import { formulaQuestion, type ScoredFormula } from '../../policies/llm/formula-question.ts'
import { crossed, jittered, mutated, randomExpression, weighted } from './breeding.ts'
import { runCandidate } from './candidate-run.ts'
import { evolve, type EvolveOptions, measureBy, metricOf, type Wanted } from './evolve.ts'
import { parseExperiment } from './experiment-file.ts'
import { PODS_METRICS, runPods, runPodsWith } from './pods-run.ts'

const metric = PODS_METRICS.find(({ name }) => name === 'pending_pods')!
const heldOut = Array.from({ length: 12 }, (_, at) => 101 + at)
const probe = Float64Array.from(VARIABLES, (_, at) => at + 1)

/** The nearer a formula is to that value with the probe, the better; seeds shift all alike, and a little each in its way. */
const nearTo =
  (target: number, asked: Wanted[] = []): EvolveOptions['measure'] =>
  (_, wanted) => {
    asked.push(...wanted)
    return Promise.resolve(
      wanted.map(({ by, seed }) => {
        const value = 'formula' in by ? compile(parseExpression(by.formula))(probe) : 1e6
        const noise = seededRandom(seed + ('formula' in by ? by.formula.length : 0)).next() / 1000
        return Math.min(1000, Math.abs(value - target)) + (seed % 7) + noise
      }),
    )
  }

const options = (more: Partial<EvolveOptions> = {}): EvolveOptions => ({
  seed: 1,
  generations: 8,
  population: 30,
  metric,
  training: [1, 2, 3],
  heldOut,
  policies: ['random'],
  measure: nearTo(1234),
  ...more,
})

const refuses = (run: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> =>
  assert.rejects(run, (thrown) => {
    assert.ok(thrown instanceof StowageError)
    assert.equal(thrown.code, code)
    assert.match(thrown.message, message)
    return true
  })

describe('breeding', () => {
  test('whatever is bred can be written down, read again and used', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const random = seededRandom(seed)
        let one = randomExpression(random, 5)
        const other = randomExpression(random, 5)
        for (const change of [mutated, jittered, weighted, mutated]) one = change(crossed(one, other, random), random)
        assert.deepEqual(parseExpression(textOf(one)), one)
        createFormula('bred', textOf(one))
      }),
      { numRuns: 300, seed: 4 },
    )
  })
})

describe('proposals of a model', () => {
  const { messages, read } = formulaQuestion('pods that wait, lower is better', [{ formula: 'pods', value: 3 }], 100)

  test('they are read out of any text, and what is no formula is left out', () => {
    const textsOf = (answer: string): string[] | undefined => read(answer)?.map(textOf)
    assert.deepEqual(textsOf('Sure! ```json\n{"formulas": ["free.cpu+1", "process.exit()", 7, "free.cpu + 1"]}\n```'), [
      'free.cpu + 1',
    ])
    for (const answer of ['', 'no', '{"formulas": []}', '{"formulas": ["x"]}', '[1]', '{"formulas": {"length": 9}}'])
      assert.equal(textsOf(answer), undefined, answer)
    assert.match(messages[1]?.content ?? '', /"formula":"pods","value":3/)
  })
})

describe('a search for formulas', () => {
  test('equal seeds give equal results, and other seeds other formulas', async () => {
    const one = await evolve(options())
    assert.deepEqual(await evolve(options()), one)
    const others = await evolve(options({ seed: 2 }))
    assert.notDeepEqual(others.generations, one.generations)
  })

  test('it never gets worse with the training seeds, and finds what the heuristics are far from', async () => {
    const { beatsBest, generations, heldOut: figures, verdict } = await evolve(options())
    for (const [at, { best }] of generations.entries()) assert.ok(best <= (generations[at - 1]?.best ?? Infinity))
    assert.ok((generations.at(-1)?.best ?? Infinity) < (generations[0]?.best ?? 0))
    assert.equal(beatsBest, true)
    assert.match(verdict, /^better than the best heuristic/)
    assert.equal(figures.filter(({ againstBest }) => againstBest !== undefined).length, 3)
  })

  test('held-out seeds are asked for only at the end, with the finalists, the policies and the first formulas', async () => {
    const asked: Wanted[] = []
    await evolve(options({ measure: nearTo(1234, asked) }))
    const first = asked.findIndex(({ seed }) => seed > 100)
    assert.ok(asked.slice(0, first).every(({ seed }) => seed <= 3))
    assert.ok(asked.slice(first).every(({ seed }) => heldOut.includes(seed)))
    assert.equal(asked.length - first, heldOut.length * (3 + 1 + 6))
  })

  test('what only looks better with the training seeds is not said to be better', async () => {
    // With the training seeds short formulas are good; with the others nothing but chance differs.
    const { beatsBest, verdict } = await evolve(
      options({
        measure: (_, wanted) =>
          Promise.resolve(
            wanted.map(({ by, seed }) => {
              const length = 'formula' in by ? by.formula.length : 50
              return seed > 100 ? seededRandom(seed * 1000 + length).next() : length
            }),
          ),
      }),
    )
    assert.equal(beatsBest, false)
    assert.match(verdict, /^not shown to be better than the best heuristic/)
  })

  test('formulas that somebody proposes take part, and are shown what was best', async () => {
    const shown: (readonly ScoredFormula[])[] = []
    const { generations } = await evolve(
      options({
        generations: 1,
        propose: (best) => {
          shown.push(best)
          return Promise.resolve([parseExpression('1234')])
        },
      }),
    )
    assert.equal(generations.at(-1)?.formula, '1234')
    assert.deepEqual(
      shown.map((best) => [best.length, best[0]?.value]),
      [[6, generations[0]?.best]],
    )
  })

  test('where higher is better, it climbs', async () => {
    const higher = PODS_METRICS.find(({ better }) => better === 'higher')!
    const measure = nearTo(1234)
    const { generations } = await evolve(
      options({
        metric: higher,
        measure: async (stage, wanted) => (await measure(stage, wanted)).map((value) => -value),
      }),
    )
    assert.ok((generations.at(-1)?.best ?? 0) > (generations[0]?.best ?? 0))
  })

  test('seeds that were trained on decide nothing, nor do a few', async () => {
    await refuses(evolve(options({ heldOut: [3, ...heldOut] })), 'CONFIG_CONFLICT', /held out: 3; expected/)
    await refuses(evolve(options({ heldOut: [101, 102] })), 'CONFIG_INVALID_VALUE', /2 held-out seeds; expected 10/)
  })
})

const experiment = (workload: string, more = ''): ReturnType<typeof parseExperiment> =>
  parseExperiment(
    'e.yaml',
    `name: e\ncluster: { shapes: ['cpu=4,memory=8Gi,count=2'] }\nworkload: ${workload}\npolicies: [borg]\nseeds: 1-2\n${more}`,
  )
const measuring = (file: ReturnType<typeof parseExperiment>): Promise<EvolveOptions['measure']> =>
  measureBy({
    experiment: file,
    workers: 2,
    provenance: { command: 'test', version: '0', source: '' },
    signal: new AbortController().signal,
    onProgress: () => undefined,
  })

describe('the Borg formula as text', () => {
  test('it places every pod of a workload where the policy borg places it', async () => {
    const written = HEURISTIC_FORMULAS.find(({ name }) => name === 'borg')?.formula ?? ''
    for (const seed of [1, 2, 3]) {
      const run = {
        cluster: {
          kind: 'shapes',
          shapes: ['cpu=8,memory=16Gi,count=4', 'cpu=4,memory=32Gi,count=4'],
          nodes: undefined,
        },
        pods: { kind: 'synthetic', pods: 200, spanMs: 120_000 },
        seed,
        heatMap: false,
      } as const
      const [own, others] = await Promise.all([
        runPodsWith(createFormula('written', written), run),
        runPods({ ...run, policy: 'borg' }),
      ])
      assert.equal(own.digest, others.digest)
    }
  })
})

describe('what a search measures', () => {
  test('it is the first metric of the file, else pods that wait, in runs of the experiment on several threads', async () => {
    const file = experiment('{ synthetic: { pods: 30, duration: 1m } }')
    assert.equal(metricOf(file).name, 'pending_pods')
    assert.equal(
      metricOf(experiment('{ synthetic: { pods: 1, duration: 1m } }', 'metrics: [empty_nodes]\n')).name,
      'empty_nodes',
    )
    const measure = await measuring(file)
    const wanted = [
      { by: { policy: 'borg' }, seed: 1 },
      { by: { formula: 'free.cpu' }, seed: 1 },
      { by: { formula: 'free.cpu' }, seed: 2 },
    ]
    const alone = await Promise.all(
      wanted.map(({ by, seed }) =>
        runCandidate({
          by,
          metric: 'pending_pods',
          run: {
            cluster: { kind: 'shapes', shapes: ['cpu=4,memory=8Gi,count=2'], nodes: undefined },
            pods: { kind: 'synthetic', pods: 30, spanMs: 60_000 },
            seed,
          },
        }),
      ),
    )
    assert.deepEqual(await measure('', wanted), alone)
    assert.ok(alone.every((value) => value > 0))
  })

  test('pods that are the same whatever the seed are refused', async () => {
    await refuses(
      measuring(experiment('{ openb: { directory: x, duration: 1m } }')),
      'CONFIG_INVALID_VALUE',
      /expected synthetic or five_g/,
    )
  })

  test('a metric that the runs do not have is an error', async () => {
    const measure = await measuring(
      experiment('{ synthetic: { pods: 3, duration: 1m } }', 'metrics: [network_latency]\n'),
    )
    await refuses(
      measure('', [{ by: { policy: 'borg' }, seed: 1 }]),
      'CONFIG_INVALID_VALUE',
      /network_latency.*expected one of cpu_utilisation/,
    )
  })
})
