import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, createServer as createRawServer, type Socket } from 'node:net'
import { afterEach, describe, it } from 'node:test'
import { generate } from 'selfsigned'
import { VirtualClock } from '../../clock/clock.ts'
import { LiveLoad, type LiveLoadOptions, type LiveReport, type LiveRequest } from './live-load.ts'
import { createPattern, withoutUsers } from './pattern.ts'
import { UserScript } from './users.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

const listen = async (server: Server | ReturnType<typeof createRawServer>, scheme = 'http'): Promise<string> => {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

const serving = (handler: Handler): Promise<string> => listen(createServer(handler))

const ok: Handler = (_request, response) => void response.end('fine')

const get = (url: string, more: Partial<LiveRequest> = {}): LiveRequest => ({
  name: 'get',
  weight: 1,
  url: new URL(url),
  method: 'GET',
  headers: {},
  body: undefined,
  ...more,
})

interface Played extends Partial<Omit<LiveLoadOptions, 'mix' | 'clock'>> {
  readonly mix: readonly LiveRequest[]
  readonly users?: number
  readonly durationMs?: number
  /** requests on their way that nothing but time will end */
  readonly held?: () => number
  /** told before time goes on */
  readonly onStep?: (clock: VirtualClock) => void
}

/** Plays a load on a clock that goes on whenever every request has ended that can. */
const play = async ({ users = 5, durationMs = 10_000, held = () => 0, onStep, ...options }: Played) => {
  const clock = new VirtualClock()
  const load = new LiveLoad({
    pattern: createPattern({ name: 'ramp', durationMs, minUsers: users, maxUsers: users }),
    think: { minMs: 1000, maxMs: 2000 },
    seed: 1,
    timeoutMs: 3_600_000,
    bodyBytes: 1_000_000,
    signal: new AbortController().signal,
    ...options,
    clock,
  })
  let over = false
  const ended: Promise<LiveReport> = load.run().finally(() => {
    over = true
  })
  const isOver = (): boolean => over
  while (!isOver()) {
    await new Promise(setImmediate)
    if (load.inFlight > held()) continue
    onStep?.(clock)
    clock.advance(10)
  }
  return ended
}

describe('a load on a real URL', () => {
  it('is driven by closed-loop users who think between requests, each on one connection that is kept', async () => {
    const sockets = new Set<Socket>()
    const url = await serving((request, response) => {
      sockets.add(request.socket)
      ok(request, response)
    })
    const report = await play({ mix: [get(url)], users: 5, durationMs: 30_000 })
    // 30 s, of which the first second to come in, at 1.5 s a round
    assert.ok(report.succeeded >= 85 && report.succeeded <= 115, `${report.succeeded}`)
    assert.equal(sockets.size, 5)
    assert.deepEqual(
      [report.failed, report.timedOut, report.unfinished, report.stopped, report.durationMs],
      [0, 0, 0, false, 30_000],
    )
    assert.deepEqual(report.statuses, { 200: report.succeeded })
    assert.equal(report.series.length, 30)
    assert.equal(
      report.series.reduce((sum, { requests }) => sum + requests, 0),
      report.requests,
    )
  })

  const listAt = (...times: number[]) => ({
    count: times.length,
    atMs: Float64Array.from(times),
    contextTokens: new Int32Array(times.length),
    generatedTokens: new Int32Array(times.length),
  })

  it('or comes at the times of a list, whatever the server does', async () => {
    const answers: ServerResponse[] = []
    const url = await serving((_request, response) => void answers.push(response))
    const report = await play({
      mix: [get(url)],
      pattern: withoutUsers(4000, 1),
      arrivals: { list: listAt(0, 500, 510, 1250, 2000, 5000), inFlightAtMost: 10 },
      held: () => answers.length,
    })
    assert.deepEqual(report.arrivals, { due: 5, late: 0, unsent: 0 })
    assert.deepEqual([report.unfinished, report.requests, report.pattern, report.maxUsers], [5, 0, 'arrivals', 0])
    assert.ok(report.generatorDelayMs.max <= 10)
  })

  it('has no more of a list on its way than allowed; the rest waits, counts as late, and its latency from its time', async () => {
    let answer = (): void => undefined
    let isHeld = false
    const url = await serving((_request, response) => {
      isHeld = true
      answer = () => {
        isHeld = false
        response.end('fine')
      }
    })
    let nextMs = 1000
    const report = await play({
      mix: [get(url)],
      pattern: withoutUsers(3500, 1),
      arrivals: { list: listAt(0, 10, 20, 30, 40), inFlightAtMost: 1 },
      held: () => (isHeld ? 1 : 0),
      onStep: (clock) => {
        // each is answered at a whole second
        if (clock.monotonicMs() < nextMs || !isHeld) return
        nextMs += 1000
        answer()
      },
    })
    assert.deepEqual(report.arrivals, { due: 5, late: 3, unsent: 1 })
    assert.deepEqual([report.succeeded, report.unfinished], [3, 1])
    // the third came at 20 ms and had its answer after 3 s
    assert.ok(Math.abs(report.latencyMs.max - 2980) <= 50, `${report.latencyMs.max}`)
  })

  it('asks what the same user asks in a simulation with that seed', async () => {
    const asked: string[] = []
    const url = await serving((request, response) => {
      asked.push(request.url ?? '')
      ok(request, response)
    })
    const mix = ['a', 'b', 'c'].map((name, at) => get(new URL(name, url).href, { name, weight: 3 - at }))
    await play({ mix, users: 1, durationMs: 60_000, seed: 9 })
    const script = new UserScript(9, 0, mix, { minMs: 1000, maxMs: 2000 })
    script.arrivalDelayMs()
    const expected = asked.map(() => {
      const at = script.nextRequest()
      script.thinkMs()
      return `/${mix[at]?.name}`
    })
    assert.ok(asked.length > 30)
    assert.deepEqual(asked, expected)
  })

  it('follows the pattern up and down', async () => {
    const url = await serving(ok)
    const pattern = createPattern({ name: 'spike', durationMs: 30_000, minUsers: 2, maxUsers: 20 })
    const { series } = await play({ mix: [get(url)], pattern })
    const perSecond = (from: number, to: number) =>
      series.slice(from, to).reduce((sum, { requests }) => sum + requests, 0) / (to - from)
    assert.ok(perSecond(2, 9) < 3, `${perSecond(2, 9)}`)
    assert.ok(perSecond(11, 21) > 9, `${perSecond(11, 21)}`)
    assert.ok(perSecond(24, 30) < 3, `${perSecond(24, 30)}`)
    assert.deepEqual([series[0]?.users, series[15]?.users, series[29]?.users], [2, 20, 2])
  })

  it('sends method, headers and body, and counts statuses', async () => {
    const seen = new Set<string>()
    let count = 0
    const url = await serving((request, response) => {
      let body = ''
      request.on('data', (chunk: Buffer) => (body += chunk.toString()))
      request.on('end', () => {
        seen.add(`${request.method} ${String(request.headers['x-key'])} ${body}`)
        response.statusCode = count++ % 2 === 0 ? 200 : 503
        response.end()
      })
    })
    const mix = [get(url, { method: 'POST', headers: { 'x-key': 'k' }, body: Buffer.from('{"a":1}') })]
    const { errorRate, failed, statuses, succeeded } = await play({ mix })
    assert.deepEqual([...seen], ['POST k {"a":1}'])
    assert.deepEqual(statuses, { 200: succeeded, 503: failed })
    assert.ok(Math.abs(errorRate - 0.5) < 0.05)
  })

  it('ends at once with what there is so far when it is stopped', async () => {
    const abort = new AbortController()
    let held = 0
    const url = await serving((request, response) => {
      if (request.url === '/never') held++
      else ok(request, response)
    })
    const report = await play({
      mix: [get(url), get(`${url}never`, { weight: 0.2 })],
      durationMs: 600_000,
      held: () => held,
      signal: abort.signal,
      onStep: (clock) => clock.monotonicMs() >= 20_000 && abort.abort(),
    })
    assert.deepEqual([report.stopped, report.durationMs, report.unfinished], [true, 20_000, held])
    assert.ok(held > 0 && report.succeeded > 0)
    assert.equal(report.failed, 0)
  })

  it('has nothing to tell when it was stopped before it began', async () => {
    const report = await play({ mix: [get('http://127.0.0.1:1/')], signal: AbortSignal.abort() })
    assert.deepEqual([report.requests, report.stopped, report.durationMs, report.series], [0, true, 0, []])
  })
})

describe('a server that means harm, or is broken,', () => {
  const errorsOf = async (url: string, options: Partial<Played> = {}) => {
    const report = await play({ mix: [get(url)], ...options })
    assert.equal(report.succeeded, 0)
    assert.ok(report.requests > 5)
    return report
  }

  it('that never answers costs each user the time-out', async () => {
    let held = 0
    const url = await serving((request) => {
      held++
      request.socket.on('close', () => held--)
    })
    const { latencyMs, timedOut } = await errorsOf(url, { held: () => held, timeoutMs: 500 })
    assert.ok(timedOut > 5)
    assert.equal(latencyMs.max, 500)
  })

  it('that sends a byte now and then without end costs no more', async () => {
    const dripping = new Set<ServerResponse>()
    const url = await serving((_request, response) => {
      response.write('x')
      dripping.add(response)
      response.on('close', () => dripping.delete(response))
    })
    const { timedOut } = await errorsOf(url, {
      held: () => dripping.size,
      timeoutMs: 1000,
      onStep: () => {
        for (const response of dripping) response.write('x')
      },
    })
    assert.ok(timedOut > 5)
  })

  it('that sends a body without end is cut off, and its body is not kept', async () => {
    let most = 0
    const url = await serving((_request, response) => {
      const chunk = Buffer.alloc(64 * 1024)
      let sent = 0
      const more = (): void => {
        while (!response.destroyed && sent < 1e9) {
          sent += chunk.length
          most = Math.max(most, sent)
          if (!response.write(chunk)) {
            response.once('drain', more)
            return
          }
        }
      }
      more()
    })
    const { errors, failed } = await errorsOf(url, { users: 2, bodyBytes: 500_000 })
    assert.deepEqual(errors, { BODY_TOO_LARGE: failed })
    // what the sockets between hold, and no more
    assert.ok(most < 50e6, `${most}`)
  })

  it('that resets connections, at once or in the middle of a body, is counted', async () => {
    const atOnce = await serving((request) => request.socket.resetAndDestroy())
    assert.deepEqual(Object.keys((await errorsOf(atOnce)).errors), ['ECONNRESET'])
    const inTheMiddle = await serving((request, response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('half', () => request.socket.destroy())
    })
    assert.deepEqual(Object.keys((await errorsOf(inTheMiddle)).errors), ['ECONNRESET'])
  })

  it('that speaks no HTTP, or headers without end, is counted', async () => {
    const noise = await listen(createRawServer((socket) => void socket.end('\u0000\u0001garbage\r\n\r\n')))
    assert.match(Object.keys((await errorsOf(noise)).errors).join(), /^HPE_/)
    const headers = await listen(
      createRawServer((socket) => {
        socket.once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\n')
          for (let i = 0; i < 2000 && !socket.destroyed; i++) socket.write(`x-${i}: ${'y'.repeat(100)}\r\n`)
        })
      }),
    )
    assert.deepEqual(Object.keys((await errorsOf(headers)).errors), ['HPE_HEADER_OVERFLOW'])
  })

  it('whose certificate nobody knows is not spoken to', async () => {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'elsewhere' }])
    const url = await listen(createSecureServer({ cert, key }, ok), 'https')
    assert.match(Object.keys((await errorsOf(url, { users: 2 })).errors).join(), /CERT/)
  })

  it('that is not there is counted', async () => {
    const url = await serving(ok)
    await closing.pop()?.()
    assert.deepEqual(Object.keys((await errorsOf(url)).errors), ['ECONNREFUSED'])
  })

  it('that closes connections after each answer loses no request of ours', async () => {
    const url = await serving((request, response) => {
      ok(request, response)
      response.on('finish', () => request.socket.end())
    })
    const { failed, succeeded } = await play({ mix: [get(url)] })
    assert.equal(failed, 0)
    assert.ok(succeeded > 20)
  })

  it('that sends a redirect, or switches protocols, is taken at its word and not followed', async () => {
    const redirecting = await serving((_request, response) => {
      response.writeHead(302, { location: 'http://169.254.169.254/' })
      response.end()
    })
    const { statuses, succeeded } = await play({ mix: [get(redirecting)] })
    assert.deepEqual(statuses, { 302: succeeded })
    const switching = await listen(
      createRawServer((socket) => {
        socket.once('data', () =>
          socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
        )
      }),
    )
    assert.deepEqual(Object.keys((await errorsOf(switching)).errors), ['UNEXPECTED_UPGRADE'])
  })
})
