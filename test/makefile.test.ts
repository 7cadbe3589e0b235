import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'

const root = join(import.meta.dirname, '..')
const makefile = readFileSync(join(root, 'Makefile'), 'utf8')

/** The lines of a target's recipe. */
const recipeOf = (target: string): string =>
  new RegExp(`^${target}:.*\\n((?:(?:\\t|ifeq|else|endif).*\\n)*)`, 'm').exec(makefile)?.[1] ?? ''

describe('make', () => {
  test("has every target that KISim's users know", () => {
    for (const target of [
      'baseline',
      'baseline-cpu',
      'dynamic-load',
      'install-rl-deps',
      'rl-test',
      'rl-train',
      'rl-evaluate',
      'rl-full-pipeline',
      'analyze-scheduling',
      'rl-plots',
      'rl-individual',
      'test-integration',
      'benchmark',
    ])
      assert.match(recipeOf(target), /\t/, target)
  })

  test('names no experiment or scenario that is not there', () => {
    const named = [...makefile.matchAll(/^\t\$\(call run-baseline,([\w-]+),([\w-]+)/gm)].flatMap(
      ([, experiment, scenario]) => [`${experiment}.yaml`, `scenarios/${scenario}.yaml`],
    )
    for (const variable of makefile.matchAll(/^(BASELINE|SCENARIO) := ([\w-]+)$/gm))
      named.push(variable[1] === 'BASELINE' ? `${variable[2]}.yaml` : `scenarios/${variable[2]}.yaml`)
    assert.ok(named.length >= 6)
    for (const file of named) assert.ok(existsSync(join(root, 'configs/experiments', file)), file)
  })
})
