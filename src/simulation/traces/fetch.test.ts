import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type FetchedFile, fetchTrace } from './fetch.ts'

/** A mirror that gives these files, and 404 for all others. */
const withMirror = async (
  files: Readonly<Record<string, string>>,
  run: (from: string, directory: string) => Promise<void>,
): Promise<void> => {
  const server: Server = createServer((request, response) => {
    const text = new Map(Object.entries(files)).get((request.url ?? '').slice(1))
    response.statusCode = text === undefined ? 404 : 200
    response.end(text ?? 'nothing here')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const directory = await mkdtemp(join(tmpdir(), 'stowage-'))
  try {
    await run(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, join(directory, 'traces'))
  } finally {
    server.closeAllConnections()
    server.close()
    await rm(directory, { recursive: true })
  }
}

const fetchFrom = async (from: string, directory: string, more: { lists?: string[] } = {}): Promise<FetchedFile[]> => {
  const got: FetchedFile[] = []
  const signal = new AbortController().signal
  await fetchTrace({ trace: 'openb', from, directory, signal, onFile: (file) => got.push(file), ...more })
  return got
}

test('a file that is not the published one is refused, and nothing of it is written', async () => {
  await withMirror(
    { 'openb_node_list_gpu_node.csv': 'sn,cpu_milli,memory_mib,gpu,model\n' },
    async (from, directory) => {
      await assert.rejects(fetchFrom(from, directory), {
        code: 'TRACE_MALFORMED',
        message: /openb_node_list_gpu_node\.csv has the SHA-256 [0-9a-f]{64}; expected 2beca64b/,
      })
      await assert.rejects(readdir(directory), { code: 'ENOENT' })
    },
  )
})

test('an address that does not have it, or cannot be reached, is said with what to do', async () => {
  await withMirror({}, async (from, directory) => {
    await assert.rejects(fetchFrom(from, directory), {
      code: 'DOWNLOAD_FAILED',
      message: /gpu_node\.csv: was answered 404 Not Found; .*name a mirror with --from URL/,
    })
  })
  await assert.rejects(fetchFrom('http://127.0.0.1:1', '/nowhere'), {
    code: 'DOWNLOAD_FAILED',
    message: /127\.0\.0\.1:1.*put the files into the folder by hand/,
  })
})

test('a list cannot be named so that it lands elsewhere', async () => {
  await assert.rejects(fetchFrom('http://127.0.0.1:1', '/nowhere', { lists: ['../../etc/x.csv'] }), {
    code: 'BAD_REQUEST',
  })
})

const folder = process.env['STOWAGE_OPENB']
test('what is published is taken, checked, and not asked for again; a list without a known hash must be one', {
  skip: folder === undefined && 'STOWAGE_OPENB names no folder with the openb trace',
}, async () => {
  const names = [
    'openb_node_list_gpu_node.csv',
    'openb_node_list_all_node.csv',
    'openb_pod_list_default.csv',
    'openb_pod_list_cpu250.csv',
    'openb_pod_list_gpushare100.csv',
  ]
  const files: Record<string, string> = {}
  for (const name of names) files[name] = await readFile(join(folder ?? '', name), 'utf8')
  const header = files['openb_pod_list_default.csv']?.split('\n')[0] ?? ''
  files['openb_pod_list_own.csv'] = `${header}\n`
  files['openb_pod_list_broken.csv'] = 'not,a,list\n'
  await withMirror(files, async (from, directory) => {
    const first = await fetchFrom(from, directory, { lists: ['own', 'default'] })
    assert.deepEqual(
      first.map(({ kept, verified }) => [verified, kept]),
      [...names.map(() => [true, false]), [false, false]],
    )
    await writeFile(join(directory, names[2] ?? ''), 'damaged')
    const again = await fetchFrom(from, directory)
    assert.deepEqual(
      again.map(({ kept }) => kept),
      [true, true, false, true, true],
    )
    await assert.rejects(fetchFrom(from, directory, { lists: ['broken'] }), {
      code: 'TRACE_MALFORMED',
      message: /openb_pod_list_broken\.csv line 1: no column/,
    })
    assert.deepEqual((await readdir(directory)).sort(), [...names, 'openb_pod_list_own.csv'].sort())
  })
})
