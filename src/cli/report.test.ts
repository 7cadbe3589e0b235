import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { writeRecord } from '../simulation/experiments/record.ts'
import { recordOf } from '../simulation/experiments/record.fixture.ts'

const main = join(import.meta.dirname, 'main.ts')
const stowage = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })

describe('stowage report', () => {
  let results = ''
  before(async () => {
    results = await mkdtemp(join(tmpdir(), 'stowage-'))
    await writeRecord(join(results, 'baseline'), recordOf({ borg: [1, 2, 3] }, { name: 'first' }))
    await writeRecord(
      join(results, 'comparison', 'two'),
      recordOf({ borg: [1, 2, 3], fgd: [2, 4, 5] }, { name: 'second' }),
    )
  })
  after(() => rm(results, { recursive: true }))

  it('makes one page of every experiment in a folder, and figures beside each', async () => {
    const { status, stdout } = stowage('report', results, '--json')
    assert.equal(status, 0)
    const said = JSON.parse(stdout) as { page: string; experiments: string[]; figures: string[] }
    assert.deepEqual(said.experiments, ['first', 'second'])
    const page = await readFile(said.page, 'utf8')
    assert.match(page, /<h2>first<\/h2>[^]*<h2>second<\/h2>/)
    assert.deepEqual(await readdir(join(results, 'comparison', 'two', 'figures')), [
      'metric-score.png',
      'metric-score.svg',
    ])
    assert.equal(said.figures.length, 4)
  })

  it('says what is wrong with a folder without results, and with broken ones', async () => {
    const none = stowage('report', tmpdir().replace(/$/, '/stowage-nowhere'))
    assert.deepEqual([none.status, /has no experiment\.json/.test(none.stderr)], [2, true])
    await writeFile(join(results, 'baseline', 'experiment.json'), '{"format":"other"}')
    const broken = stowage('report', results)
    assert.deepEqual([broken.status, /RESULTS_MALFORMED/.test(broken.stderr)], [2, true], broken.stderr)
  })
})
