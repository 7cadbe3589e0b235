import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, watch, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { StowageError } from '../../errors/catalogue.ts'
import { OPENB_NODE_LIST, OPENB_POD_LIST } from '../traces/openb.ts'
import type { FgdInput, FgdRun } from './fgd.ts'
import { type PoolProgress, type RunTask, runTasks } from './run-pool.ts'
import { RunStore, sourceDigest } from './run-store.ts'

const NODES = `sn,cpu_milli,memory_mib,gpu,model\n${Array.from({ length: 40 }, (_, at) => `n-${at},64000,262144,4,T4\n`).join('')}`
const HEADER = 'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time'
const PODS = `${HEADER}\n${Array.from({ length: 300 }, (_, at) => `p-${at},4000,4096,1,${at % 3 === 0 ? 1000 : 300},,LS,0,1\n`).join('')}`
const provenance = { command: 'test', version: '0', source: sourceDigest() }

describe('runs on several threads', () => {
  let directory = ''
  let runs = ''
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'stowage-'))
    runs = join(directory, 'out', 'dynamic')
    await mkdir(runs, { recursive: true })
    await writeFile(join(directory, OPENB_NODE_LIST), NODES)
    await writeFile(join(directory, OPENB_POD_LIST), PODS)
  })
  afterEach(() => rm(directory, { recursive: true }))

  const taskOf = (seed: number, more: Partial<FgdInput> = {}, files: readonly string[] = []): RunTask => ({
    id: `default_bestfit_${seed}`,
    kind: 'fgd',
    input: { directory, trace: 'default', policy: 'bestfit', seed, ...more },
    files,
  })
  const tasks = [1, 2, 3, 4].map((seed) => taskOf(seed))
  const run = (given: readonly RunTask[], workers: number, more: { signal?: AbortSignal; folder?: string } = {}) => {
    const progress: PoolProgress[] = []
    const results = runTasks({
      tasks: given.map((task) => ({ ...task, input: { ...(task.input as FgdInput), directory } })),
      store: new RunStore(more.folder ?? runs),
      provenance,
      workers,
      signal: more.signal ?? new AbortController().signal,
      onProgress: (now) => progress.push(now),
    })
    return { results, progress }
  }

  it('gives the same whatever the number of threads, and does nothing twice', async () => {
    const alone = await run(tasks, 1, { folder: join(directory, 'alone') }).results
    const together = await run(tasks, 3).results
    assert.deepEqual(together, alone)
    const again = run(tasks, 3)
    assert.deepEqual(await again.results, alone)
    assert.deepEqual(again.progress, [{ total: 4, done: 4, found: 4 }])
  })

  it('does a run again when its files or settings have changed, or its result is broken', async () => {
    await run(tasks, 2).results
    await writeFile(join(runs, 'default_bestfit_1.json'), '{"id":"default_bestfit_1"')
    const changed = [tasks[0]!, taskOf(2, {}, ['another digest']), taskOf(3, { policy: 'dotprod' }), tasks[3]!]
    const { results, progress } = run(changed, 2)
    assert.equal((await results).size, 4)
    assert.equal(progress[0]?.found, 1, 'only the fourth is as it was')
  })

  it('tells what went wrong in a thread with its code, and keeps what was finished', async () => {
    const given = [tasks[0]!, taskOf(9, { policy: 'nobody' }), tasks[1]!]
    await assert.rejects(
      run(given, 1).results,
      (error: unknown) =>
        error instanceof StowageError && error.code === 'POLICY_UNKNOWN' && /"nobody"/.test(error.message),
    )
    assert.deepEqual(await readdir(runs), ['default_bestfit_1.json'])
  })

  it('stops when told to, with the reason', async () => {
    const abort = new AbortController()
    const { results } = run(tasks, 2, { signal: abort.signal })
    abort.abort(new Error('enough'))
    await assert.rejects(results, /enough/)
  })

  it('goes on after kill -9 where it was: finished runs are whole, none is done again, and the end is the same', async () => {
    const args = [
      'experiment',
      'fgd',
      '--trace-dir',
      directory,
      '--policies',
      'bestfit',
      '--seeds',
      '1-400',
      '--workers',
      '1',
    ]
    const out = join(directory, 'out')
    const main = join(import.meta.dirname, '../../cli/main.ts')
    const child = spawn(process.execPath, [main, ...args, '--out', out], { stdio: 'ignore' })
    const exited = once(child, 'exit')
    const jsonFiles = async (): Promise<string[]> => (await readdir(runs)).filter((file) => file.endsWith('.json'))
    // It must not end by itself; then there would be nothing to wait for.
    const early = new AbortController()
    child.once('exit', () => early.abort(new Error('the experiment ended before it was killed')))
    for await (const _ of watch(runs, { signal: early.signal })) if ((await jsonFiles()).length >= 3) break
    child.kill('SIGKILL')
    const [, signal] = (await exited) as [number | null, string | null]
    assert.equal(signal, 'SIGKILL')
    const finished = await jsonFiles()
    assert.ok(finished.length >= 3 && finished.length < 400)
    const before = new Map<string, string>()
    for (const file of finished) before.set(file, await readFile(join(runs, file), 'utf8'))
    for (const text of before.values()) JSON.parse(text)

    const seeds = finished.length + 2
    const again = ['--seeds', `1-${seeds}`, '--workers', '2', '--out', out, '--json']
    const second = spawn(process.execPath, [main, ...args.slice(0, 6), ...again], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    let printed = ''
    second.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()))
    assert.deepEqual(await once(second, 'close'), [0, null])
    for (const [file, text] of before) assert.equal(await readFile(join(runs, file), 'utf8'), text, `${file} was kept`)
    const { rows } = JSON.parse(printed) as { rows: { allocationPercent: { seeds: number[] } }[] }
    const whole = await run(
      Array.from({ length: seeds }, (_, at) => taskOf(at + 1)),
      1,
      { folder: join(directory, 'whole') },
    ).results
    assert.deepEqual(
      rows[0]?.allocationPercent.seeds,
      Array.from(whole.values(), (result) => (result as FgdRun).allocationPercent.findLast((value) => value !== null)),
    )
  })
})
