import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { StowageError } from '../../errors/catalogue.ts'
import { readRequestMix, targetUrl } from './request-file.ts'

const base = new URL('http://model.example:8000/api/')

describe('a file of requests', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stowage-requests-'))
  })
  after(() => rm(folder, { recursive: true }))

  const read = async (text: string) => {
    const file = join(folder, 'mix.yaml')
    await writeFile(file, text)
    return readRequestMix(file, base)
  }
  const refused = (text: string, code: string, words: RegExp): Promise<void> =>
    assert.rejects(read(text), (error) => {
      assert.ok(error instanceof StowageError && error.code === code, String(error))
      assert.match(error.message, words)
      return true
    })

  it('says what is asked how often, with bodies in place or from files beside it', async () => {
    await writeFile(join(folder, 'body.json'), '{"x":1}')
    const mix = await read(`requests:
  - { name: infer, weight: 5, method: POST, path: /v2/infer, headers: { content-type: application/json }, body_file: body.json }
  - { method: PUT, path: state, body: here }
  - { path: /health }
`)
    assert.deepEqual(
      mix.map(({ body, method, name, url, weight }) => [name, weight, method, url.href, body?.toString()]),
      [
        ['infer', 5, 'POST', 'http://model.example:8000/v2/infer', '{"x":1}'],
        ['PUT /api/state', 1, 'PUT', 'http://model.example:8000/api/state', 'here'],
        ['GET /health', 1, 'GET', 'http://model.example:8000/health', undefined],
      ],
    )
  })

  it('is refused where it is no mix of requests to that server', async () => {
    await refused(
      'requests: [{ path: "http://elsewhere.example/" }]',
      'CONFIG_INVALID_VALUE',
      /a path on http:\/\/model/,
    )
    await refused('requests: [{ path: "//elsewhere.example/" }]', 'CONFIG_INVALID_VALUE', /a path on http:\/\/model/)
    await refused('requests: [{ weight: 0 }]', 'CONFIG_INVALID_VALUE', /weight above 0/)
    await refused('requests: [{ wieght: 1 }]', 'CONFIG_UNKNOWN_KEY', /did you mean weight/)
    await refused('requests: [{ headers: { "a b": c } }]', 'CONFIG_INVALID_VALUE', /a header as HTTP allows it/)
    await refused('requests: [{ headers: { a: "b\\r\\nc: d" } }]', 'CONFIG_INVALID_VALUE', /a header as HTTP allows it/)
    await refused('requests: [{ method: "GET / HTTP" }]', 'CONFIG_INVALID_VALUE', /a method such as GET/)
    await refused('requests: [{ body: a, body_file: b }]', 'CONFIG_INVALID_VALUE', /not both/)
    await refused('requests: [{ body_file: nowhere }]', 'FILE_UNREADABLE', /nowhere/)
    await refused('requests: []', 'CONFIG_INVALID_VALUE', /requests/)
  })

  it('belongs to an address that HTTP can reach', () => {
    assert.equal(targetUrl('https://a.example').href, 'https://a.example/')
    for (const wrong of ['a.example', 'ftp://a.example', '', 'file:///etc/passwd'])
      assert.throws(() => targetUrl(wrong), /BAD_REQUEST/)
    assert.throws(
      () => targetUrl('https://me:secret@a.example'),
      (error) => error instanceof StowageError && /headers/.test(error.message) && !/secret/.test(error.message),
    )
  })
})
