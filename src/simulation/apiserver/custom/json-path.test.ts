import assert from 'node:assert/strict'
import { test } from 'node:test'
import { valueAtPath } from './json-path.ts'

const object = {
  spec: { size: 3, 'a.b': 'dotted', list: ['x', 'y'] },
  status: {
    conditions: [
      { type: 'Ready', status: 'True', of: { kind: 'x.y' } },
      { type: 'Other', status: 'False' },
    ],
  },
}

test('a path leads to a field, an item, or the first item whose field has a value', () => {
  for (const [path, value] of [
    ['.spec.size', 3],
    ['.spec.a\\.b', 'dotted'],
    [".spec['a.b']", 'dotted'],
    ['.spec.list[1]', 'y'],
    ['.spec.list[*]', 'x'],
    ['.status.conditions[?(@.type=="Other")].status', 'False'],
    [".status.conditions[?(@.of.kind == 'x.y')].status", 'True'],
    ['.spec.nothing.here', undefined],
    ['.spec.list[5]', undefined],
    ['spec size', undefined],
  ] as const)
    assert.equal(valueAtPath(object, path), value, path)
})

// With two ways to read each dot this would take longer than anybody waits.
test('a path that was written to take for ever is no path, and is seen to be none at once', { timeout: 5_000 }, () => {
  assert.equal(valueAtPath(object, `.status.conditions[?(@${'.a'.repeat(5_000)}`), undefined)
})
