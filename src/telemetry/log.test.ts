import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VirtualClock } from '../clock/clock.ts'
import { StowageError } from '../errors/catalogue.ts'
import { createLog, type Log, type LogLevel } from './log.ts'

const logged = (format: 'text' | 'json', use: (log: Log) => void, level: LogLevel = 'INFO'): string => {
  let written = ''
  use(createLog({ level, format, clock: new VirtualClock(), write: (line) => (written += line) }))
  return written
}

test('a line for people has time, level, message and fields', () => {
  assert.equal(
    logged('text', (log) => log.warn('the watch was cut', { resource: 'pods', afterMs: 12, retry: true })),
    '2026-01-01T00:00:00.000Z WARNING the watch was cut resource="pods" afterMs=12 retry=true\n',
  )
})

test('a line of JSON has the same, under the level names of the original systems', () => {
  assert.deepEqual(JSON.parse(logged('json', (log) => log.error('bind failed', { pod: 'a/b' }))), {
    level: 'ERROR',
    time: '2026-01-01T00:00:00.000Z',
    msg: 'bind failed',
    pod: 'a/b',
  })
})

test('only messages of the chosen level and above are written', () => {
  const all = (log: Log): void => {
    log.debug('1')
    log.info('2')
    log.warn('3')
    log.error('4')
  }
  const written = (level: LogLevel): string =>
    logged('text', all, level)
      .trimEnd()
      .split('\n')
      .map((line) => line.at(-1))
      .join('')
  assert.equal(written('DEBUG'), '1234')
  assert.equal(written('INFO'), '234')
  assert.equal(written('WARNING'), '34')
  assert.equal(written('ERROR'), '4')
})

test('an error is told by its message; one that nobody expected also by its stack', () => {
  const error = new StowageError('NOT_FOUND', { found: 'no node x' })
  const line = JSON.parse(
    logged('json', (log) => log.error('failed', { error, other: new TypeError('oops') })),
  ) as Record<string, string>
  assert.equal(line['error'], error.message)
  assert.match(line['other'] ?? '', /^TypeError: oops\n\s+at /)
})

test('a text without end is cut', () => {
  const line = logged('json', (log) => log.info('read', { annotation: 'x'.repeat(1_000_000) }))
  assert.ok(line.length < 3_000)
  assert.match(line, /1000000 characters/)
})

test('no text from the cluster can forge a line, a field of ours or what a terminal shows', () => {
  // oxlint-disable-next-line no-control-regex -- the characters that must not get through
  const dangerous = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/
  const evil = fc.array(
    fc.oneof(
      fc.constantFrom('\n', '\r', '\u001b[2J', '\u009b', '\u2028', '\u202e', '"', '\\', ' level=INFO '),
      fc.string({ unit: 'binary' }),
    ),
  )
  fc.assert(
    fc.property(
      evil,
      fc.constantFrom('text', 'json'),
      fc.constantFrom('time', 'level', 'msg', 'pod', '__proto__'),
      (parts, format, field) => {
        const text = parts.join('')
        const written = logged(format, (log) => log.info(`about ${text}`, { [field]: text, nested: { text } }))
        assert.equal(written.indexOf('\n'), written.length - 1)
        assert.doesNotMatch(written, dangerous)
        if (format === 'json') {
          const line = JSON.parse(written) as Record<string, unknown>
          assert.equal(line['level'], 'INFO')
          assert.equal(line['time'], '2026-01-01T00:00:00.000Z')
          assert.equal(line['msg'], `about ${text}`)
        } else assert.match(written, /^2026-01-01T00:00:00\.000Z INFO {4}about/)
      },
    ),
    { seed: 7, numRuns: 300 },
  )
})
