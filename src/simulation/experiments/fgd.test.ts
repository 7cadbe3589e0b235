import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../clock/random.ts'
import { OPENB_NODE_LIST, OPENB_POD_LIST, type OpenbPodRow } from '../traces/openb.ts'
import { type FgdRun, inflated, runFgd } from './fgd.ts'
import { parsePublished, readPublished } from './fgd-published.ts'

const row = (name: string, gpuCount: number, gpuMilli: number): OpenbPodRow => ({
  name,
  cpuMilli: 1000,
  memoryMiB: 1024,
  gpuCount,
  gpuMilli,
  models: [],
  qos: 'LS',
  creationS: 0,
  deletionS: 0,
})
const milliOf = (rows: readonly OpenbPodRow[]): number =>
  rows.reduce((sum, { gpuCount, gpuMilli }) => sum + gpuCount * gpuMilli, 0)

describe('bringing a list to a demand', () => {
  const shapes = fc.constantFrom<[number, number]>([0, 0], [1, 250], [1, 1000], [2, 1000], [8, 1000])
  it('ends below the demand by less than the largest pod, with clones at the end, or only takes away', () => {
    fc.assert(
      fc.property(
        fc.array(shapes, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 0, max: 200_000 }),
        (list, demand) => {
          const rows = list.map(([count, milli], at) => row(`p-${at}`, count, milli))
          const result = inflated(rows, demand, seededRandom(1))
          const [given, arrived] = [milliOf(rows), milliOf(result)]
          assert.ok(arrived <= demand)
          if (given > demand) assert.ok(result.length < rows.length && result.every((pod) => rows.includes(pod)))
          else {
            const firsts = result.slice(0, rows.length).map(({ name }) => name)
            assert.deepEqual(firsts.toSorted(), rows.map(({ name }) => name).toSorted())
            const largest = Math.max(...rows.map((pod) => milliOf([pod])))
            if (given > 0) assert.ok(arrived + largest > demand)
          }
          assert.equal(new Set(result.map(({ name }) => name)).size, result.length, 'every pod has a name of its own')
        },
      ),
      { seed: 8, numRuns: 200 },
    )
  })

  it('is decided by the seed, and not by the order of the file', () => {
    const rows = Array.from({ length: 20 }, (_, at) => row(`p-${at}`, 1, 500))
    const names = (list: readonly OpenbPodRow[], seed: number) =>
      inflated(list, 15_000, seededRandom(seed)).map(({ name }) => name)
    assert.deepEqual(names(rows, 3), names(rows.toReversed(), 3))
    assert.notDeepEqual(names(rows, 3), names(rows, 4))
  })
})

const NODES = `sn,cpu_milli,memory_mib,gpu,model
n-0,32000,262144,2,T4
n-1,32000,262144,2,V100
`
const PODS = `name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time
a,1000,1024,1,1000,V100,LS,0,1
b,1000,1024,1,500,,LS,0,1
c,1000,1024,1,500,,LS,0,1
d,1000,1024,0,0,,LS,0,1
`

describe('the FGD experiment on a list of its own', () => {
  let directory = ''
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'stowage-'))
    await writeFile(join(directory, OPENB_NODE_LIST), NODES)
    await writeFile(join(directory, OPENB_POD_LIST), PODS)
  })
  after(() => rm(directory, { recursive: true }))

  it('ends at 130 % of demand, allocates no more than there is and no less than fits, and repeats to the bit', async () => {
    const input = { directory, trace: 'default', policy: 'fgd', seed: 1 }
    const run = await runFgd(input)
    assert.equal(run.gpus, 4)
    const last = run.allocationPercent.findLast((value) => value !== null)
    assert.ok(typeof last === 'number' && last <= 100 && last >= 75, `${last}`)
    assert.ok(run.placed < run.pods, '5.2 GPUs were asked for, 4 are there')
    assert.ok((run.firstRefusalPercent ?? 0) > 50)
    assert.deepEqual(await runFgd(input), run)
    assert.notEqual((await runFgd({ ...input, seed: 2 })).digest, run.digest)
  })

  it('says what is published where no table lies beside the lists', async () => {
    const table = await readPublished(directory)
    assert.equal(table.get('default')?.get('fgd')?.allocationPercent, 95.39)
    assert.equal(table.get('default')?.get('dual_price'), undefined)
  })
})

it('a published table is averaged over its seeds, and a broken cell is refused with its line', () => {
  const columns = Array.from({ length: 131 }, (_, column) => column)
  const line = (end: number) =>
    `openb_pod_list_default,06-FGD,1.3,42,${columns.map((column) => (column === 130 ? end : 1)).join()}`
  const text = (...lines: string[]) => `workload,sc_policy,tune,seed,${columns.join()}\n${lines.join('\n')}\n`
  const fgd = parsePublished('p.csv', text(line(95), line(96)))
    .get('default')
    ?.get('fgd')
  assert.equal(fgd?.allocationPercent, 95.5)
  assert.equal(fgd?.earlyPercent, 1)
  assert.throws(() => parsePublished('p.csv', text(line(95), line(Number.NaN))), /p\.csv line 3.*column 130/)
})

/** The authors' mean over seeds 42 to 51; their deviation from seed to seed is 0.08 to 0.15. */
const PUBLISHED: readonly (readonly [policy: string, allocationPercent: number])[] = [
  ['fgd', 95.39],
  ['bestfit', 93.08],
]

describe('the FGD experiment on openb', () => {
  const directory = process.env['STOWAGE_OPENB']
  const given = directory === undefined ? [] : PUBLISHED
  const end = ({ allocationPercent }: FgdRun): number => allocationPercent[130] ?? Number.NaN
  for (const [policy, published] of given)
    it(`gives what was published for ${policy} on the default list, within 0.3 on one seed`, async () => {
      const run = await runFgd({ directory: directory ?? '', trace: 'default', policy, seed: 42 })
      assert.ok(Math.abs(end(run) - published) < 0.3, `${end(run)} instead of ${published}`)
      // Before anything is placed, 13.9 % of the GPUs are of no use to the typical workload (published_frag_ratio.csv).
      assert.ok(Math.abs((run.fragmentationPercent[0] ?? 0) - 14) < 0.2)
    })
})
