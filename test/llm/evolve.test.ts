import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Evolution } from '../../src/simulation/experiments/evolve.ts'
import { type Behaviour, ModelServer } from './model-server.ts'

const program = join(import.meta.dirname, '../../bin/stowage.mjs')

test('a model proposes formulas to a search, and whatever it answers the search goes on', async (context) => {
  const answers: Behaviour[] = [
    { kind: 'answer', text: '{"formulas": ["free.cpu * 77", "require(1)"]}' },
    { kind: 'answer', text: 'I would rather not.' },
  ]
  const server = await ModelServer.start((_, number) => answers[number] ?? { kind: 'truncated', text: 'x' })
  const home = mkdtempSync(join(tmpdir(), 'stowage-evolve-'))
  context.after(async () => {
    rmSync(home, { recursive: true, force: true })
    await server.close()
  })
  writeFileSync(
    join(home, 'e.yaml'),
    `name: e
cluster: { shapes: ['cpu=4,memory=8Gi,count=3'] }
workload: { synthetic: { pods: 20, duration: 1m } }
policies: [borg]
seeds: 1
`,
  )
  const args = ['e.yaml', '--generations', '3', '--population', '8', '--held-out', '11-20', '--ask-model', '--json']
  const child = spawn(process.execPath, [program, 'evolve', ...args], {
    cwd: home,
    env: { PATH: process.env['PATH'] ?? '', HOME: home, LLM_ENDPOINT: server.url, LLM_MODEL: 'test-model' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  assert.equal(code, 0, stderr)
  assert.equal((JSON.parse(stdout) as Evolution).generations.length, 4)
  assert.match(stderr, /No proposals from the model/)
  const [first] = server.questions
  const question = JSON.parse(first?.messages[1]?.content ?? '') as { goal: string; best: { formula: string }[] }
  assert.match(question.goal, /Pods that wait/)
  assert.equal(question.best.length, 6)
})
