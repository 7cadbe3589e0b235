import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import type { SimulationResult } from '../simulation/engine/result.ts'
import type { Evolution } from '../simulation/experiments/evolve.ts'

const home = mkdtempSync(join(tmpdir(), 'stowage-evolve-'))
after(() => rmSync(home, { recursive: true, force: true }))

const program = join(import.meta.dirname, '../../bin/stowage.mjs')
const run = (...args: string[]): { code: number | null; stdout: string; stderr: string } => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [program, ...args], {
    cwd: home,
    env: { PATH: process.env['PATH'] ?? '', HOME: home, XDG_STATE_HOME: home },
    encoding: 'utf8',
  })
  return { code: status, stdout, stderr }
}

writeFileSync(
  join(home, 'e.yaml'),
  `name: e
cluster: { shapes: ['cpu=4,memory=8Gi,count=3'] }
workload: { synthetic: { pods: 40, duration: 1m } }
policies: [borg, most_allocated]
seeds: 1-2
`,
)

describe('stowage evolve', () => {
  it('writes a policy file that simulate takes beside other policies', () => {
    const args = ['evolve', 'e.yaml', '--generations', '1', '--population', '8', '--held-out', '11-20']
    const { code, stderr, stdout } = run(...args, '--name', 'mine', '--out', 'mine.yaml', '--json')
    assert.equal(code, 0, stderr)
    const { formula, generations, heldOut } = JSON.parse(stdout) as Evolution
    assert.equal(generations.length, 2)
    assert.ok(heldOut.every(({ values }) => values.length === 10))
    const text = readFileSync(join(home, 'mine.yaml'), 'utf8')
    assert.ok(text.includes(formula) && text.includes('held_out'), text)
    const simulated = run('simulate', '--policy', 'formula:mine.yaml,borg', '--nodes', '3', '--pods', '9', '--json')
    assert.equal(simulated.code, 0, simulated.stderr)
    const { results } = JSON.parse(simulated.stdout) as { results: SimulationResult[] }
    assert.deepEqual(
      results.map(({ policy }) => policy),
      ['mine', 'borg'],
    )
  })

  it('refuses before the search what cannot come to anything', () => {
    for (const [args, words] of [
      [['--held-out', '2-20'], /CONFIG_CONFLICT/],
      [['--name', 'borg'], /a name that no other policy has/],
    ] as const) {
      const { code, stderr } = run('evolve', 'e.yaml', ...args)
      assert.equal(code, 2, stderr)
      assert.match(stderr, words)
    }
  })

  it('every front door says what is wrong with a policy file', () => {
    writeFileSync(join(home, 'wrong.yaml'), 'kind: formula\nname: x\nformula: free.cpu +\n')
    for (const args of [
      ['simulate', '--policy', 'formula:wrong.yaml'],
      ['what-if', '--policy', 'formula:wrong.yaml', 'none.trace'],
      ['up', '--policy', 'formula:wrong.yaml', '--for', '1s', '--api-port', '0', '--metrics-port', '0'],
    ]) {
      const { code, stderr } = run(...args)
      assert.equal(code, 2, stderr)
      assert.match(stderr, /wrong\.yaml: the formula position 11: the end; expected a number/)
    }
  })
})
