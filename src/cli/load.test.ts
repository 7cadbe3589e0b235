import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'stowage-load-'))
let asked = 0
let onAsked = (): void => undefined
const server = createServer((_request, response) => {
  asked++
  response.end('fine')
  onAsked()
})
let url = ''
before(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
})
after(() => {
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true })
})

const begin = (...args: string[]) => {
  const child = spawn(process.execPath, [join(root, 'bin/stowage.mjs'), 'load', ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }))
  return { child, ended }
}

interface Told {
  readonly stopped: boolean
  readonly requests: number
  readonly succeeded: number
  readonly latencyMs: { readonly p95: number }
  readonly series: readonly unknown[]
}

describe('stowage load', { timeout: 60_000 }, () => {
  it('drives a URL until Ctrl-C, and then has a report of what there was, on paper too', async () => {
    const pattern = ['--pattern', 'spike', '--duration', '10m', '--think', '10ms-20ms']
    const { child, ended } = begin('--url', url, ...pattern, '--json', '--out', 'live')
    await new Promise<void>((resolve) => {
      onAsked = () => {
        if (asked === 50) resolve()
      }
    })
    child.kill('SIGINT')
    const { code, stdout } = await ended
    assert.equal(code, 0)
    const told = JSON.parse(stdout) as Told
    assert.equal(told.stopped, true)
    assert.ok(told.succeeded >= 40 && told.latencyMs.p95 > 0)
    const stats = JSON.parse(readFileSync(join(folder, 'live/dynamic/spike_seed1_stats.json'), 'utf8')) as {
      readonly requests: number
      readonly provenance: { readonly command: string }
    }
    assert.equal(stats.requests, told.requests)
    assert.match(stats.provenance.command, /^stowage load --url .* --pattern spike/)
    const rows = readFileSync(join(folder, 'live/dynamic/spike_seed1_series.csv'), 'utf8').trimEnd().split('\n')
    assert.match(rows[0] ?? '', /^time_s,users,requests,/)
    assert.equal(rows.length, 1 + told.series.length)
  })

  it('runs a scenario in simulated time, the same at each seed, and keeps where replicas were', async () => {
    const scenario = join(root, 'configs/experiments/scenarios/service-fixed.yaml')
    const run = async () => {
      const args = [
        '--simulate',
        scenario,
        '--pattern',
        'ramp,random',
        '--duration',
        '60s',
        '--json',
        '--out',
        'simulated',
      ]
      const { code, stdout } = await begin(...args).ended
      assert.equal(code, 0)
      return stdout
    }
    const first = await run()
    assert.equal(await run(), first)
    const { runs } = JSON.parse(first) as { readonly runs: readonly { readonly pattern: string }[] }
    assert.deepEqual(
      runs.map(({ pattern }) => pattern),
      ['ramp', 'random'],
    )
    assert.match(readFileSync(join(folder, 'simulated/metrics/ramp_seed1_placements.csv'), 'utf8'), /gpu-0,gpu,node-/)
  })

  it('has requests come at the times of a list, simulated and live', async () => {
    const rows = Array.from({ length: 20 }, (_, at) => `2023-11-16 18:17:03.${String(at * 20).padStart(3, '0')},100,5`)
    const list = join(folder, 'list.csv')
    writeFileSync(list, `TIMESTAMP,ContextTokens,GeneratedTokens\n${rows.join('\n')}\n`)
    const llm = join(root, 'configs/experiments/scenarios/llm.yaml')
    const flags = ['--arrivals', list, '--duration', '1500ms', '--json']
    const simulated = await begin('--simulate', llm, ...flags, '--compression', '2').ended
    assert.equal(simulated.code, 0, simulated.stderr)
    const { runs } = JSON.parse(simulated.stdout) as { runs: { pattern: string; summary: { succeeded: number } }[] }
    assert.deepEqual([runs[0]?.pattern, runs[0]?.summary.succeeded], ['arrivals', 20])
    const live = await begin('--url', url, ...flags).ended
    assert.equal(live.code, 0, live.stderr)
    const { arrivals, succeeded } = JSON.parse(live.stdout) as Told & { readonly arrivals: object }
    assert.deepEqual([arrivals, succeeded], [{ due: 20, late: 0, unsent: 0 }, 20])
    writeFileSync(list, `TIMESTAMP,ContextTokens,GeneratedTokens\n${rows.join('\n')}\nsoon,1,1\n`)
    const broken = await begin('--url', url, ...flags).ended
    assert.match(broken.stderr, /list\.csv line 22: "soon" in column TIMESTAMP/)
    const users = await begin('--url', url, ...flags, '--max-users', '5').ended
    assert.match(users.stderr, /--max-users with arrivals/)
    const unlisted = await begin('--url', url, '--compression', '2').ended
    assert.match(unlisted.stderr, /--compression without arrivals/)
  })

  it('ends with 1 where nothing but errors came, and with 2 where it was asked wrongly', async () => {
    const failing = await begin('--url', 'http://127.0.0.1:1/', '--min-users', '5', '--duration', '1500ms').ended
    assert.equal(failing.code, 1)
    assert.match(failing.stdout, /ECONNREFUSED/)
    const wrong = [
      [[], /--url ADDRESS to drive a server, or --simulate FILE/],
      [['--url', url, '--simulate', 'x'], /CONFIG_CONFLICT/],
      [['--url', url, '--pattern', 'sudden'], /some of ramp, spike/],
      [['--simulate', 'nowhere.yaml'], /CONFIG_UNREADABLE/],
    ] as const
    const ends = await Promise.all(wrong.map(([args]) => begin(...args).ended))
    for (const [at, { code, stderr, stdout }] of ends.entries()) {
      assert.equal(code, 2, stderr)
      assert.match(stderr, wrong[at]?.[1] ?? /never/)
      assert.equal(stdout, '')
    }
  })
})
