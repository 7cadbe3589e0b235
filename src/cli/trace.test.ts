import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { systemClock } from '../clock/clock.ts'
import { seededRandom } from '../clock/random.ts'
import { startApiServer } from '../simulation/apiserver/server.ts'
import { nodeShapes } from '../simulation/workload/node-shapes.ts'
import { readTrace } from '../simulation/traces/recorded.ts'
import type { TraceSummary } from '../simulation/traces/summary.ts'
import type { WhatIf } from '../simulation/traces/what-if.ts'
import { nodeObject } from '../simulation/virtual/virtual-node-object.ts'

const home = mkdtempSync(join(tmpdir(), 'stowage-cli-trace-'))
const started = new Set<ChildProcess>()
after(() => {
  for (const child of started) child.kill('SIGKILL')
  rmSync(home, { recursive: true, force: true })
})

const program = join(import.meta.dirname, 'main.ts')
const TIMEOUT = { timeout: 60_000 }

const begin = (...args: string[]) => {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: home,
    env: { PATH: process.env['PATH'] ?? '', HOME: home, XDG_STATE_HOME: home, NODE_COMPILE_CACHE: join(home, 'cache') },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  started.add(child)
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const finished = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }))
  return { child, finished }
}
const run = (...args: string[]) => begin(...args).finished

describe('stowage trace and stowage what-if', () => {
  it('make a trace that a seed determines, say what is in it, and try policies on it', TIMEOUT, async () => {
    const generate = (out: string) =>
      run('trace', 'generate', '--out', out, '--pods', '60', '--nodes', '4', '--for', '2m', '--seed', '3', '--json')
    const made = await generate('a.trace')
    assert.equal(made.code, 0, made.stderr)
    assert.equal((JSON.parse(made.stdout) as TraceSummary).pods.came, 60)
    await generate('b.trace')
    assert.equal(readFileSync(join(home, 'a.trace'), 'utf8'), readFileSync(join(home, 'b.trace'), 'utf8'))
    const info = await run('trace', 'info', 'a.trace')
    assert.match(info.stdout, /^synthetic trace of 120 s .*\n.*\nnodes +4 at the start/)
    const tried = await run('what-if', '--policy', 'kube-default,borg', 'a.trace', '--json')
    assert.equal(tried.code, 0, tried.stderr)
    const { nodes, pods, policies, recorded } = JSON.parse(tried.stdout) as WhatIf
    assert.deepEqual([nodes, recorded], [4, undefined])
    assert.deepEqual(
      policies.map(({ pending, placed, policy }) => [policy, placed + pending]),
      [
        ['kube-default', pods],
        ['borg', pods],
      ],
    )
  })

  it(
    'refuse what they cannot use, with 2 and a reason: an existing file, a broken line, an unknown policy',
    TIMEOUT,
    async () => {
      writeFileSync(join(home, 'broken.trace'), '{"stowageTrace":1}\n')
      const wrong = [
        [['trace', 'generate', '--out', 'broken.trace'], /FILE_UNWRITABLE/],
        [['trace', 'info', 'broken.trace'], /broken\.trace line 1: .*TRACE_MALFORMED/],
        [['what-if', '--policy', 'kube-default', 'none.trace'], /none\.trace .*FILE_UNREADABLE/],
        [['what-if', '--policy', 'best', 'broken.trace'], /POLICY_UNKNOWN/],
        [['trace', 'fetch', 'google', '--dir', 'x'], /expected openb or azure/],
      ] as const
      await Promise.all(
        wrong.map(async ([args, message]) => {
          const { code, stderr, stdout } = await run(...args)
          assert.match(stderr, message)
          assert.deepEqual([code, stdout], [2, ''], args.join(' '))
        }),
      )
    },
  )

  it('record a cluster until they are killed, and lose nothing but a last line', TIMEOUT, async () => {
    const server = await startApiServer({ clock: systemClock, random: seededRandom(1) })
    try {
      writeFileSync(join(home, 'kubeconfig'), server.kubeconfig(), { mode: 0o600 })
      const shapes = nodeShapes(['cpu=4'], 3)
      for (const [index, shape] of shapes.entries())
        server.objects.create('nodes', nodeObject(shape, index, systemClock.nowMs()))
      const path = join(home, 'killed.trace')
      const { promise: synced, resolve } = Promise.withResolvers<void>()
      const watcher = watch(home, () => {
        try {
          if (readFileSync(path, 'utf8').includes('"event":"synced"')) resolve()
        } catch {
          // not there yet
        }
      })
      const { child, finished } = begin('trace', 'record', '--out', path, '--kubeconfig', 'kubeconfig')
      await Promise.race([synced, finished.then(({ stderr }) => Promise.reject(new Error(stderr)))])
      watcher.close()
      child.kill('SIGKILL')
      await finished
      const { events, truncated } = await readTrace(path)
      assert.equal(truncated, false)
      assert.equal(events.filter(({ event }) => event === 'node').length, 3)

      const until = await run(
        'trace',
        'record',
        '--out',
        'whole.trace',
        '--kubeconfig',
        'kubeconfig',
        '--for',
        '1s',
        '--json',
      )
      assert.equal(until.code, 0, until.stderr)
      assert.equal((JSON.parse(until.stdout) as TraceSummary).complete, true)

      server.objects.create('pods', {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'waits', namespace: 'default' },
        spec: { containers: [{ name: 'c', image: 'i', resources: { requests: { cpu: '1' } } }] },
      } as object)
      const now = await run('what-if', '--kubeconfig', 'kubeconfig', '--policy', 'most_allocated', '--json')
      assert.equal(now.code, 0, now.stderr)
      const { durationMs, policies } = JSON.parse(now.stdout) as WhatIf
      assert.equal(durationMs, 0)
      assert.deepEqual(policies[0]?.moved, [{ pod: 'default/waits', recorded: '', now: 'node-0000' }])
    } finally {
      await server.stop()
    }
  })
})
