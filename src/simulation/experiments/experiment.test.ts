import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { comparisons } from './comparison.ts'
import { runExperiment } from './experiment.ts'
import { parseExperiment } from './experiment-file.ts'
import { type TraceEvent, type TraceHeader, traceLine } from '../traces/recorded.ts'
import { type ExperimentRecord, MEASUREMENTS_FILE, readRecord, RECORD_FILE, writeRecord } from './record.ts'

const PODS = `name: pods
cluster: { shapes: ['cpu=16,memory=64Gi,count=4', 'cpu=16,memory=64Gi,nvidia.com/gpu=4,count=2'] }
workload:
  synthetic: { pods: 60, duration: 2m }
policies: [most_allocated, least_loaded]
seeds: 1-4
`
const SCENARIO = `name: web
nodes: [{ shape: 'cpu=4,memory=8Gi,count=2' }]
replicas:
  cpu: { count: 3, requests: { cpu: '1', memory: 1Gi }, core_limit: 1 }
requests: [{ name: get, cpu: { mean: 40ms, cv: 0.5 } }]
`
const SERVICE = `name: service
workload:
  service: { scenario: web.yaml, duration: 20s }
patterns: [ramp, spike]
policies: [most_allocated, least_loaded]
seeds: 1-3
metrics: [latency_p95, throughput]
`

describe('an experiment', () => {
  let directory = ''
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'stowage-'))
    await writeFile(join(directory, 'web.yaml'), SCENARIO)
  })
  after(() => rm(directory, { recursive: true }))

  const run = (text: string, folder: string): Promise<ExperimentRecord> =>
    runExperiment({
      experiment: parseExperiment(join(directory, 'x.yaml'), text),
      runsDirectory: join(directory, folder),
      workers: 2,
      provenance: { command: 'stowage experiment x.yaml', version: '1', source: 'abc' },
      signal: new AbortController().signal,
    })

  it('measures every policy on the same pods, seed by seed, and repeats to the bit', async () => {
    const record = await run(PODS, 'pods')
    assert.deepEqual(await run(PODS, 'pods-again'), record)
    const of = (metric: string, policy: string): number[] =>
      record.measurements.flatMap((one) => (one.metric === metric && one.policy === policy ? [one.value] : []))
    for (const { name } of record.metrics)
      for (const policy of record.policies) assert.equal(of(name, policy).length, 4, `${name} of ${policy}`)
    assert.deepEqual(of('placed_pods', 'most_allocated'), of('placed_pods', 'least_loaded'))
    const imbalance = comparisons(record).filter(({ metric }) => metric === 'cpu_imbalance')
    assert.deepEqual(
      imbalance.map(({ policy, verdict }) => [policy, verdict]),
      [
        ['most_allocated', 'worse'],
        ['least_loaded', 'best'],
      ],
    )
    assert.ok(record.curves.some(({ name }) => name === 'gpu-over-time'))
    for (const { cells, columns, rows } of record.heatMaps) {
      assert.equal(rows.length, 2, 'nodes with GPUs')
      for (const row of cells) assert.ok(row.length === columns.length && row.every((cell) => cell >= 0 && cell <= 100))
      assert.ok(cells.flat().some((cell) => cell > 0))
    }
  })

  it('takes policies from files beside its own, calls them by their names, and runs again when a file has changed', async () => {
    const text = PODS.replace('[most_allocated, least_loaded]', '[most_allocated, formula:mine.yaml]')
    const write = (formula: string): Promise<void> =>
      writeFile(join(directory, 'mine.yaml'), `kind: formula\nname: mine\nformula: ${formula}\n`)
    await write('free.cpu')
    const spreads = await run(text, 'formula')
    assert.deepEqual(spreads.policies, ['most_allocated', 'mine'])
    assert.deepEqual(await run(text, 'formula'), spreads)
    await write('0 - free.cpu')
    const packs = await run(text, 'formula')
    const imbalance = ({ measurements }: ExperimentRecord): number =>
      measurements.reduce(
        (sum, { metric, policy, value }) => sum + (metric === 'cpu_imbalance' && policy === 'mine' ? value : 0),
        0,
      )
    assert.ok(imbalance(packs) > imbalance(spreads))
    await assert.rejects(
      run(text.replace('most_allocated', 'formula:./mine.yaml'), 'twice'),
      /two policies of the name mine/,
    )
    await assert.rejects(run(text.replace('mine.yaml', 'none.yaml'), 'none'), /none\.yaml.*CONFIG_UNREADABLE/)
  })

  it('compares policies on what a recorded cluster was asked for, with what happened to its nodes', async () => {
    const header: TraceHeader = {
      stowageTrace: 1,
      source: 'cluster',
      startedAtMs: 0,
      anonymised: false,
      writtenBy: 'stowage test',
    }
    const allocatable = { cpu: '4', memory: '8Gi', pods: '10' }
    const nodeNamed = (name: string) => ({ metadata: { name, uid: name }, status: { allocatable } })
    const events: TraceEvent[] = [
      { atMs: 0, event: 'node', object: nodeNamed('a') },
      { atMs: 0, event: 'node', object: nodeNamed('b') },
      { atMs: 0, event: 'synced', missing: [] },
      ...['p', 'q', 'r'].map(
        (name, at): TraceEvent => ({
          atMs: 1000 * (at + 1),
          event: 'pod',
          object: {
            metadata: { name, namespace: 'default', uid: name },
            spec: { schedulerName: 'x', containers: [{ name: 'c', resources: { requests: { cpu: '3' } } }] },
          },
        }),
      ),
      // The third pod fits nowhere until then.
      { atMs: 9000, event: 'node', object: nodeNamed('c') },
      { atMs: 20_000, event: 'stopped' },
    ]
    await writeFile(join(directory, 'week.trace'), [header, ...events].map(traceLine).join(''))
    const text = PODS.replace(/cluster:.*\n/, '').replace(/synthetic:.*/, 'recorded: { file: week.trace }')
    const record = await run(text, 'recorded')
    const of = (metric: string): number[] =>
      record.measurements.flatMap((one) => (one.metric === metric ? [one.value] : []))
    assert.deepEqual(
      of('placed_pods'),
      Array.from({ length: 8 }, () => 3),
    )
    // 0, 0 and 6 seconds
    assert.deepEqual(
      of('pending_mean'),
      Array.from({ length: 8 }, () => 2),
    )
  })

  it('measures a service under each load pattern, by the metrics that were asked for', async () => {
    const record = await run(SERVICE, 'service')
    assert.deepEqual(record.patterns, ['ramp', 'spike'])
    assert.deepEqual(
      record.metrics.map(({ name }) => name),
      ['latency_p95', 'throughput'],
    )
    assert.equal(record.measurements.length, 2 * 2 * 2 * 3)
    for (const { metric, value } of record.measurements) assert.ok(metric === 'throughput' ? value > 0 : value > 20)
    assert.ok(record.curves.some(({ name }) => name === 'spike-p95-over-time'))
  })

  it('measures a service on the arrivals of a list, and says what is wrong with it before the first run', async () => {
    const list = (rows: readonly string[]): Promise<void> =>
      writeFile(join(directory, 'list.csv'), `TIMESTAMP,ContextTokens,GeneratedTokens\n${rows.join('\n')}\n`)
    const rows = Array.from({ length: 15 }, (_, second) => `2023-11-16 18:17:${10 + second},10,10`)
    await list(rows)
    const text = SERVICE.replace('web.yaml,', 'web.yaml, arrivals: list.csv,').replace('[ramp, spike]', '[arrivals]')
    const record = await run(text, 'arrivals')
    assert.deepEqual(record.patterns, ['arrivals'])
    for (const { metric, value } of record.measurements) if (metric === 'throughput') assert.equal(value, 15 / 20)
    // another list is another experiment
    await list(rows.slice(0, 10))
    for (const { metric, value } of (await run(text, 'arrivals')).measurements)
      if (metric === 'throughput') assert.equal(value, 10 / 20)
    await list([...rows, 'yesterday,1,1'])
    await assert.rejects(run(text, 'arrivals'), /list\.csv line 17: "yesterday"/)
    await assert.rejects(run(text.replace(' arrivals: list.csv,', ''), 'arrivals'), /a load of arrivals without a list/)
  })

  it('holds scenarios against each other on the same users, as it does policies', async () => {
    await writeFile(
      join(directory, 'more.yaml'),
      SCENARIO.replace('name: web', 'name: web-more')
        .replace('count: 3', 'count: 6')
        .replace('memory=8Gi', 'memory=8Gi,nvidia.com/gpu=1'),
    )
    const text = SERVICE.replace('scenario: web.yaml', 'scenarios: [web.yaml, more.yaml]')
    const record = await run(text.replace('[most_allocated, least_loaded]', '[borg]'), 'scenarios')
    assert.deepEqual(record.policies, ['web', 'web-more'])
    const latency = comparisons(record).filter(({ metric, pattern }) => metric === 'latency_p95' && pattern === 'spike')
    assert.deepEqual(
      latency.map(({ verdict }) => verdict),
      ['worse', 'best'],
    )
    const replicas = record.curves.find(({ name }) => name === 'spike-replicas-over-time')
    assert.deepEqual(
      replicas?.lines.map(({ name, points }) => [name, points.at(-1)?.[1]]),
      [
        ['web', 3],
        ['web-more', 6],
      ],
    )
    const gpu = record.curves.find(({ name }) => name === 'spike-gpu-over-time')
    assert.deepEqual(
      gpu?.lines.map(({ name }) => name),
      ['web-more'],
      'the other has no GPUs',
    )
    const both = await run(text, 'both')
    assert.ok(both.policies.includes('least_loaded web-more'))
  })

  it('leaves a row for each measurement, and what it leaves can be read again', async () => {
    const record = await run(PODS, 'pods')
    const folder = join(directory, 'out')
    await writeRecord(folder, { ...record, name: 'a, "b"' })
    assert.deepEqual(await readRecord(folder), { ...record, name: 'a, "b"' })
    const [header, first, ...rest] = (await readFile(join(folder, MEASUREMENTS_FILE), 'utf8')).trimEnd().split('\n')
    assert.equal(header, 'experiment,policy,pattern,seed,metric,value,unit')
    assert.match(first ?? '', /^"a, ""b""",most_allocated,synthetic,1,[a-z_0-9]+,[\d.e-]+,[%\w /]+$/)
    assert.equal(rest.length + 1, record.measurements.length)
  })

  it('refuses a record that is broken, with file and place', async () => {
    const folder = join(directory, 'broken')
    await writeRecord(folder, await run(PODS, 'pods'))
    const path = join(folder, RECORD_FILE)
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.replace('"better":"higher"', '"better":"longer"'))
    await assert.rejects(readRecord(folder), /experiment\.json: metrics\.0\.better.*RESULTS_MALFORMED/)
    await writeFile(path, text.slice(0, 100))
    await assert.rejects(readRecord(folder), /experiment\.json.*RESULTS_MALFORMED/)
    await assert.rejects(readRecord(join(directory, 'nowhere')), /FILE_UNREADABLE/)
  })

  it('finds what is wrong before the first run', async () => {
    await assert.rejects(run(PODS.replace('cpu=16', 'cpu=x'), 'none'), /CONFIG_INVALID_VALUE/)
    await assert.rejects(run(SERVICE.replace('web.yaml', 'none.yaml'), 'none'), /none\.yaml.*CONFIG_UNREADABLE/)
    await assert.rejects(readFile(join(directory, 'none')), /ENOENT/)
  })
})
