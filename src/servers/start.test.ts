import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { StowageError } from '../errors/catalogue.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { sampleView } from './testing.ts'
import { startServers, type ServersOptions } from './start.ts'

const options = (changes: Partial<ServersOptions> = {}): ServersOptions => ({
  view: sampleView(),
  metrics: new Metrics(),
  host: '127.0.0.1',
  apiPort: 0,
  metricsPort: 0,
  log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
  ...changes,
})

const get = async (url: string, agent?: Agent): Promise<{ status: number; body: string }> => {
  const sent = request(url, agent === undefined ? {} : { agent })
  sent.end()
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage]
  response.setEncoding('utf8')
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return { status: response.statusCode ?? 0, body }
}

test('both servers answer over real sockets, and close at once although clients keep their connections', async () => {
  const servers = await startServers(options())
  const agent = new Agent({ keepAlive: true })
  assert.equal((await get(`${servers.apiUrl}/readyz`, agent)).body, 'ok')
  const metrics = await get(servers.metricsUrl ?? '', agent)
  assert.match(metrics.body, /process_resident_memory_bytes \d/)
  assert.equal((await get(new URL('/healthz', servers.metricsUrl).href, agent)).body, 'ok')
  // a client that has sent half a request must not hold the process either
  const half = connect(Number(new URL(servers.apiUrl).port), '127.0.0.1')
  half.on('error', () => {})
  await once(half, 'connect')
  half.write('GET /status HTTP/1.1\r\n')
  const ended = new Promise((resolve) => half.once('close', resolve))
  await servers.close()
  await ended
  await servers.close()
  agent.destroy()
  await assert.rejects(get(`${servers.apiUrl}/readyz`), { code: 'ECONNREFUSED' })
})

test('a port in use is named with the setting that changes it, and nothing stays behind', async (t) => {
  const first = await startServers(options())
  t.after(() => first.close())
  const taken = Number(new URL(first.metricsUrl ?? '').port)
  const api = await startServers(options()).then(async (second) => {
    await second.close()
    return Number(new URL(second.apiUrl).port)
  })
  await assert.rejects(startServers(options({ apiPort: api, metricsPort: taken })), (error) => {
    assert.ok(error instanceof StowageError)
    assert.equal(error.code, 'PORT_IN_USE')
    assert.match(error.message, new RegExp(`port ${taken} .*metrics\\.port, METRICS_PORT or --metrics-port`))
    return true
  })
  // the management API that had started already was closed again: its port is free
  await (await startServers(options({ apiPort: api }))).close()
})

test('an address that is not of this machine is refused by its name', async () => {
  await assert.rejects(startServers(options({ host: '192.0.2.1' })), (error) => {
    assert.ok(error instanceof StowageError)
    assert.equal(error.code, 'CONFIG_INVALID_VALUE')
    assert.match(error.message, /192\.0\.2\.1/)
    return true
  })
})

test('with metrics switched off nothing serves them', async (t) => {
  const servers = await startServers(options({ metrics: undefined }))
  t.after(() => servers.close())
  assert.equal(servers.metricsUrl, undefined)
  assert.equal((await get(`${servers.apiUrl}/metrics`)).status, 404)
})

test('a request with headers without end is cut off, and the server answers others meanwhile', async (t) => {
  const servers = await startServers(options())
  t.after(() => servers.close())
  const socket = connect(Number(new URL(servers.apiUrl).port), '127.0.0.1')
  socket.setEncoding('utf8')
  let answer = ''
  socket.on('data', (chunk: string) => (answer += chunk))
  socket.on('error', () => {})
  const ended = new Promise((resolve) => socket.once('close', resolve))
  socket.write(`GET /status HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}`)
  assert.equal((await get(`${servers.apiUrl}/healthz`)).body, 'ok')
  await ended
  assert.match(answer, /^HTTP\/1\.1 431 /)
})
