import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { llmPods, llmRequests, readLlmArrivals, readLlmRequests } from './llm-requests.ts'

const HEADER = 'TIMESTAMP,ContextTokens,GeneratedTokens'
const LIST = `${HEADER}\r
2023-11-16 18:17:04.0319601,3180,8\r
2023-11-16 18:17:03.9799600,4808,10\r
2023-11-16 18:17:05.9799600,110,27\r
\r
`

test('requests come in order of their time, to 100 ns, whatever the order of the lines and the blank ones at the end', () => {
  const requests = llmRequests('a.csv', LIST)
  assert.deepEqual(
    requests.map(({ contextTokens, generatedTokens }) => [contextTokens, generatedTokens]),
    [
      [4808, 10],
      [3180, 8],
      [110, 27],
    ],
  )
  assert.deepEqual(
    requests.map(({ atMs }) => Number(atMs.toFixed(4))),
    [0, 52.0001, 2000],
  )
})

test('a window keeps the requests within it, counted from its start, and compression brings them closer', () => {
  const window = { fromS: 0.05, lengthS: 1.9, compression: 2 }
  assert.deepEqual(
    llmRequests('a.csv', LIST, window).map(({ atMs }) => Number(atMs.toFixed(5))),
    [1.00005],
  )
  assert.equal(llmRequests('a.csv', LIST, { ...window, lengthS: 2 }).length, 2)
})

test('times with a zone, as in the lists of 2024, are the same instants', () => {
  const text = `${HEADER}\n2024-05-10 02:00:00.5+02:00,1,1\n2024-05-10 00:00:01.009930+00:00,1,1\n2024-05-09T22:00:02-02:00,1,1\n`
  assert.deepEqual(
    llmRequests('a.csv', text).map(({ atMs }) => Number(atMs.toFixed(3))),
    [0, 509.93, 1500],
  )
})

for (const [name, line, message] of [
  ['a time that is none', 'yesterday,1,1', /a\.csv line 2: "yesterday" in column TIMESTAMP; expected a time such as/],
  ['a day that does not exist', '2023-02-30 00:00:00.0,1,1', /line 2: "2023-02-30 00:00:00.0" in column TIMESTAMP/],
  ['a count that is none', '2023-11-16 18:17:03.9799600,many,1', /line 2: "many" in column ContextTokens/],
  ['a negative count', '2023-11-16 18:17:03.9799600,1,-1', /line 2: "-1" in column GeneratedTokens/],
  ['a value too few', '2023-11-16 18:17:03.9799600,1', /line 2: 2 values; expected 3/],
] as const) {
  test(`a list with ${name} is an error that names file, line and column`, () => {
    assert.throws(() => llmRequests('a.csv', `${HEADER}\n${line}\n`), { code: 'TRACE_MALFORMED', message })
  })
}

test('a window or compression that makes no sense is refused', () => {
  for (const window of [{ compression: 0 }, { fromS: -1 }, { lengthS: 0 }, { compression: Number.NaN }])
    assert.throws(() => llmRequests('a.csv', LIST, window), { code: 'CONFIG_INVALID_VALUE' })
})

test('a list is read from its file, and one that is not there is an error', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'stowage-'))
  try {
    await writeFile(join(folder, 'a.csv'), LIST)
    assert.equal((await readLlmRequests(join(folder, 'a.csv'))).length, 3)
    await assert.rejects(readLlmRequests(join(folder, 'b.csv')), { code: 'FILE_UNREADABLE' })
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a list longer than what is read at once is the same list, and a line without an end is refused', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'stowage-'))
  try {
    const rows = Array.from({ length: 20_000 }, (_, at) => `2023-11-16 18:17:${10 + (at % 50)}.5,${at},${at % 97}`)
    const text = `${HEADER}\r\n${rows.join('\r\n')}\r\n`
    await writeFile(join(folder, 'long.csv'), text)
    const { atMs, contextTokens, count } = await readLlmArrivals(join(folder, 'long.csv'))
    assert.equal(count, 20_000)
    assert.deepEqual(
      llmRequests('long.csv', text).map((request) => [request.atMs, request.contextTokens]),
      Array.from(atMs, (ms, at) => [ms, contextTokens[at]]),
    )
    await writeFile(join(folder, 'endless.csv'), `${HEADER}\n${'1'.repeat(200_000)}`)
    await assert.rejects(readLlmArrivals(join(folder, 'endless.csv')), {
      code: 'TRACE_MALFORMED',
      message: /endless\.csv line 2: more than 1000 characters/,
    })
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a pod for each request runs as long as its tokens take', () => {
  const [pod] = llmPods(llmRequests('a.csv', LIST), {
    schedulerName: 's',
    requests: { cpu: '1', 'stowage.dev/gpu-milli': '250' },
    msPerContextToken: 0.5,
    msPerGeneratedToken: 30,
  })
  assert.equal(pod?.atMs, 0)
  assert.equal(pod?.pod.metadata?.annotations?.['stowage.dev/duration'], '2.704s')
  assert.deepEqual(pod?.pod.spec?.containers?.[0]?.resources, {
    requests: { cpu: '1', 'stowage.dev/gpu-milli': '250' },
    limits: { 'stowage.dev/gpu-milli': '250' },
  })
})
