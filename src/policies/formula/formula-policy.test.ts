import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { node, pod } from '../../../test/builders.ts'
import { clusterWith, contextOf, everyNode, policyContract, rank } from '../contract.ts'
import { createPolicy } from '../registry.ts'
import { createFormula } from './formula-policy.ts'
import { HEURISTIC_FORMULAS } from './heuristics.ts'

for (const { formula, name } of HEURISTIC_FORMULAS) policyContract(name, () => createFormula(name, formula))
policyContract('wild', () =>
  createFormula(
    'wild',
    'exp(free.memory) * 7 - pow(capacity.cpu, 99) / (pods - pods) + log(free.gpu) - 3 * sqrt(-pods)',
  ),
)

const borgFormula = HEURISTIC_FORMULAS.find(({ name }) => name === 'borg')?.formula ?? ''

const somePod = fc.record({
  cpu: fc.constantFrom(undefined, '0', '1m', '250m', '1500m', '7'),
  memory: fc.constantFrom(undefined, '0', '1', '100Mi', '3Gi', '17Gi'),
})
const someNode = fc.record({
  cpu: fc.constantFrom('1', '4', '7500m', '64'),
  memory: fc.constantFrom('1Gi', '4Gi', '100Gi', '1Ti'),
})
type Made = ReturnType<typeof pod>
const asking = (built: Made, { cpu, memory }: { cpu: string | undefined; memory: string | undefined }): Made => {
  if (cpu !== undefined) built.cpu(cpu)
  if (memory !== undefined) built.memory(memory)
  return built
}

describe('the policy of a formula', () => {
  test('the Borg formula written as text ranks as the policy borg does', async () => {
    const borg = createPolicy('borg')
    const written = createFormula('written', borgFormula)
    await fc.assert(
      fc.asyncProperty(
        fc.array(someNode, { minLength: 2, maxLength: 8 }),
        fc.array(somePod, { maxLength: 8 }),
        somePod,
        async (nodes, placed, waiting) => {
          const cluster = clusterWith(
            nodes.map(({ cpu, memory }, at) => node(`n${at}`).cpu(cpu).memory(memory).object()),
            placed.map((one, at) =>
              asking(pod(`q${at}`), one)
                .on(`n${at % nodes.length}`)
                .object(),
            ),
          )
          const read = cluster.readPod(asking(pod('p'), waiting).object())
          const { scores: expected } = await rank(borg, read, everyNode(cluster), contextOf(cluster))
          const { scores } = await rank(written, read, everyNode(cluster), contextOf(cluster))
          for (const [a, score] of scores.entries()) {
            const wanted = expected[a] ?? Number.NaN
            // Cores are not millicores: the last digit may differ.
            assert.ok(Math.abs(score - wanted) <= 1e-12 * Math.abs(wanted), `${score} is not ${wanted}`)
          }
        },
      ),
      { numRuns: 300, seed: 3 },
    )
  })

  test('its addends are the terms, with their signs and constant factors as weights', async () => {
    const cluster = clusterWith([node('n').cpu('4').memory('16Gi').object()])
    const policy = createFormula('p', '0.5 * (free.cpu / capacity.cpu) - 3 * pods + free.memory + free.memory')
    const { scores, terms } = await rank(
      policy,
      cluster.readPod(pod('p').cpu('1').object()),
      everyNode(cluster),
      contextOf(cluster),
    )
    assert.deepEqual(
      terms.map(({ name, weight }) => [name, weight]),
      [
        ['free.cpu / capacity.cpu', 0.5],
        ['pods', -3],
        ['free.memory', 2],
      ],
    )
    assert.deepEqual(scores, [32.5])
  })

  test('it sees GPUs and pod slots', async () => {
    const cluster = clusterWith(
      [node('n').allocatable('stowage.dev/gpu-milli', '4000').pods(20).object()],
      [pod('q').request('stowage.dev/gpu-milli', '500').on('n').object()],
    )
    const waiting = cluster.readPod(pod('p').request('stowage.dev/gpu-milli', '250').object())
    const { scores } = await rank(
      createFormula('p', 'request.gpu + 10 * free.gpu + 100 * capacity.gpu + 1000 * pods + 10000 * max_pods'),
      waiting,
      everyNode(cluster),
      contextOf(cluster),
    )
    assert.deepEqual(scores, [0.25 + 35 + 400 + 1000 + 200_000])
  })

  test('the version is that of the formula, however it is spaced', () => {
    assert.equal(createFormula('a', 'pods+1').version, createFormula('b', ' ( pods ) + 1.0').version)
    assert.notEqual(createFormula('a', 'pods + 1').version, createFormula('a', 'pods + 2').version)
  })
})
