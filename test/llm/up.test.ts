import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ModelServer } from './model-server.ts'

const TOKEN = 'hf_averysecrettoken0123456789'
const main = join(import.meta.dirname, '../../src/cli/main.ts')

test('stowage up --policy llm asks the server of .env, shows how it does, and shows the token nowhere', async () => {
  const server = await ModelServer.start()
  const folder = mkdtempSync(join(tmpdir(), 'stowage-llm-'))
  writeFileSync(
    join(folder, '.env'),
    `HUGGINGFACE_TOKEN=${TOKEN}\nLLM_ENDPOINT=${server.url}/v1\nLLM_MODEL=test-model\n`,
  )
  const args = [
    'up',
    '--policy',
    'llm',
    '--nodes',
    '6',
    '--pods',
    '30',
    '--no-departures',
    '--json',
    '--log-level',
    'DEBUG',
  ]
  const child = spawn(process.execPath, [main, ...args, '--api-port', '0', '--metrics-port', '0'], {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  try {
    let out = ''
    let log = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    const placed = new Promise<void>((resolve, reject) => {
      child.stderr.on('data', (chunk: Buffer) => {
        log += chunk.toString()
        if (/ [1-9]\d* bound/.test(log)) resolve()
      })
      child.on('exit', () => reject(new Error(log)))
    })
    const ended = new Promise<number | null>((resolve) => {
      child.on('exit', resolve)
    })
    await placed
    const [, api = '', metrics = ''] = /management API (\S+), metrics (\S+)/.exec(log) ?? []
    const [status, config, scraped] = await Promise.all(
      [`${api}/status`, `${api}/config`, metrics].map(async (url) => (await fetch(url)).text()),
    )
    child.kill('SIGINT')
    assert.equal(await ended, 0, log)
    assert.ok(server.questions.length > 0)
    assert.equal(server.received.at(-1)?.headers.authorization, `Bearer ${TOKEN}`)
    const { llm } = JSON.parse(status ?? '') as { llm: Record<string, number> }
    assert.ok((llm['llm_decisions'] ?? 0) > 0, status)
    assert.equal(
      llm['total_requests'],
      (llm['successful_requests'] ?? 0) + (llm['failed_requests'] ?? 0) + (llm['cached_requests'] ?? 0),
    )
    assert.match(scraped ?? '', /^stowage_llm_decisions_total [1-9]/m)
    assert.match(scraped ?? '', /^stowage_llm_response_seconds_count\{result="success"\} [1-9]/m)
    assert.match(config ?? '', /"llm.token":"\*\*\*"/)
    assert.equal((JSON.parse(out) as { violations: number }).violations, 0)
    for (const text of [log, out, status, config, scraped, JSON.stringify(server.questions)])
      assert.ok(!text?.includes(TOKEN))
  } finally {
    child.kill('SIGKILL')
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a model that is required and cannot be used ends the start with what is missing', async () => {
  const server = await ModelServer.start()
  server.models = { data: [{ id: 'another' }] }
  const folder = mkdtempSync(join(tmpdir(), 'stowage-llm-'))
  const failing = async (...args: string[]): Promise<string> => {
    const child = spawn(
      process.execPath,
      [main, 'up', '--llm-required', '--api-port', '0', '--metrics-port', '0', ...args],
      {
        cwd: folder,
        env: { PATH: process.env['PATH'], HOME: folder },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    assert.equal(await new Promise((resolve) => child.on('exit', resolve)), 1, said)
    return said
  }
  try {
    assert.match(
      await failing(),
      /no token for https:\/\/router\.huggingface\.co; set HUGGINGFACE_TOKEN.*\[MODEL_UNUSABLE\]/,
    )
    assert.match(
      await failing('--llm-endpoint', server.url),
      /list of 1 models does not have meta-llama.*\[MODEL_UNUSABLE\]/,
    )
  } finally {
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
})
