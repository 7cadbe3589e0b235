import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import fc from 'fast-check'
import { VirtualClock } from '../clock/clock.ts'
import { StowageError } from '../errors/catalogue.ts'
import { ApiRefusal, type Connection, type ConnectionOptions, LineSplitter, openConnection } from './connection.ts'
import { serverVersion } from './objects.ts'
import {
  base64,
  type Certificates,
  makeCertificates,
  ScriptedServer,
  type ScriptedServerOptions,
  withFolder,
  writeKubeconfig,
} from './scripted-server.fixture.ts'
import { certificates as sharedCertificates, withServer } from './scripted-connection.fixture.ts'

const limits = { timeout: 10_000 }
let certificates: Certificates
before(async () => {
  certificates = await sharedCertificates()
})

interface Secure {
  readonly server: ScriptedServer
  readonly connection: Connection
  readonly clock: VirtualClock
  readonly folder: string
}

/** A server with TLS and a connection whose kubeconfig trusts it and has this user. */
const secured = (
  run: (given: Secure) => Promise<void>,
  user: (folder: string) => Promise<Record<string, unknown>> = () => Promise.resolve({}),
  serverOptions: Partial<ScriptedServerOptions> = {},
  cluster: Record<string, unknown> = {},
  more: Partial<ConnectionOptions> = {},
): Promise<void> =>
  withFolder(async (folder) => {
    const server = await ScriptedServer.listen({ certificates, ...serverOptions })
    const kubeconfig = await writeKubeconfig(
      folder,
      { server: server.address, 'certificate-authority-data': base64(certificates.ca.cert), ...cluster },
      await user(folder),
    )
    const clock = new VirtualClock()
    const connection = openConnection({ kubeconfig, env: { PATH: process.env['PATH'] }, clock, ...more })
    try {
      await run({ server, connection, clock, folder })
    } finally {
      connection.close()
      await server.kill()
    }
  })

const get = (connection: Connection, path = '/version'): ReturnType<Connection['request']> =>
  connection.request({ method: 'GET', path })

void describe('who we are', () => {
  void test('a client certificate is shown, over HTTP/2', limits, () =>
    secured(
      async ({ server, connection }) => {
        const asked = get(connection)
        const exchange = await server.next()
        assert.equal(exchange.clientName, 'somebody')
        assert.equal(server.sessions.size, 1)
        exchange.answer(200, { gitVersion: 'v1' })
        assert.deepEqual((await asked).body, { gitVersion: 'v1' })
      },
      () =>
        Promise.resolve({
          'client-certificate-data': base64(certificates.client.cert),
          'client-key-data': base64(certificates.client.key),
        }),
    ),
  )

  void test('certificates in files are found beside the kubeconfig', limits, () =>
    secured(
      async ({ server, connection }) => {
        const asked = get(connection)
        const exchange = await server.next()
        assert.equal(exchange.clientName, 'somebody')
        exchange.answer(200, {})
        await asked
      },
      async (folder) => {
        await writeFile(join(folder, 'client.crt'), certificates.client.cert)
        await writeFile(join(folder, 'client.key'), certificates.client.key)
        return { 'client-certificate': 'client.crt', 'client-key': 'client.key' }
      },
    ),
  )

  void test('a token file is read again within a minute', limits, () =>
    secured(
      async ({ server, connection, clock, folder }) => {
        const first = get(connection)
        const before = await server.next()
        assert.equal(before.headers.authorization, 'Bearer one')
        before.answer(200, {})
        await first
        await writeFile(join(folder, 'token'), 'two\n')
        clock.advance(60_000)
        const second = get(connection)
        const after = await server.next()
        assert.equal(after.headers.authorization, 'Bearer two')
        after.answer(200, {})
        await second
        assert.equal(server.connections, 1)
      },
      async (folder) => {
        await writeFile(join(folder, 'token'), 'one\n')
        return { tokenFile: 'token' }
      },
    ),
  )

  void test('a token that the server no longer takes is read anew and the request sent again', limits, () =>
    secured(
      async ({ server, connection, clock, folder }) => {
        const first = get(connection)
        ;(await server.next()).answer(200, {})
        await first
        await writeFile(join(folder, 'token'), 'two')
        clock.advance(6_000)
        const asked = [get(connection, '/a'), get(connection, '/b')]
        for (const exchange of [await server.next(), await server.next()]) {
          assert.equal(exchange.headers.authorization, 'Bearer one')
          exchange.refuse(401, 'Unauthorized', 'Unauthorized')
        }
        for (const exchange of [await server.next(), await server.next()]) {
          assert.equal(exchange.headers.authorization, 'Bearer two')
          exchange.answer(200, {})
        }
        assert.deepEqual(
          (await Promise.all(asked)).map(({ status }) => status),
          [200, 200],
        )
      },
      async (folder) => {
        await writeFile(join(folder, 'token'), 'one')
        return { tokenFile: 'token' }
      },
    ),
  )

  const plugin = async (folder: string, status: string): Promise<Record<string, unknown>> => {
    const script = `#!/bin/sh
echo run >> "$LOG"
echo "$KUBERNETES_EXEC_INFO" > "${folder}/info"
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":${status}}' | sed "s/RUN/$(grep -c run "$LOG")/"
`
    await writeFile(join(folder, 'plugin.sh'), script)
    await chmod(join(folder, 'plugin.sh'), 0o755)
    return {
      exec: {
        apiVersion: 'client.authentication.k8s.io/v1',
        command: './plugin.sh',
        interactiveMode: 'Never',
        provideClusterInfo: true,
        env: [{ name: 'LOG', value: join(folder, 'log') }],
      },
    }
  }

  void test('an exec plugin is asked once while its token is good, and again when that expires', limits, () =>
    secured(
      async ({ server, connection, clock }) => {
        for (const [afterMs, token] of [
          [0, 'token-1'],
          [61_000, 'token-1'],
          [10 * 60_000, 'token-2'],
        ] as const) {
          clock.advance(afterMs)
          const asked = get(connection)
          const exchange = await server.next()
          assert.equal(exchange.headers.authorization, `Bearer ${token}`)
          exchange.answer(200, {})
          await asked
        }
      },
      (folder) => plugin(folder, '{"token":"token-RUN","expirationTimestamp":"2026-01-01T00:10:00Z"}'),
    ),
  )

  void test('an exec plugin is asked again when the server no longer takes its token', limits, () =>
    secured(
      async ({ server, connection, clock }) => {
        const first = get(connection)
        ;(await server.next()).answer(200, {})
        await first
        clock.advance(6_000)
        const asked = get(connection)
        ;(await server.next()).refuse(401, 'Unauthorized', 'Unauthorized')
        const again = await server.next()
        assert.equal(again.headers.authorization, 'Bearer token-2')
        again.answer(200, {})
        assert.equal((await asked).status, 200)
      },
      (folder) => plugin(folder, '{"token":"token-RUN"}'),
    ),
  )

  void test('an exec plugin may answer with a client certificate', limits, () =>
    secured(
      async ({ server, connection }) => {
        const asked = get(connection)
        const exchange = await server.next()
        assert.equal(exchange.clientName, 'somebody')
        exchange.answer(200, {})
        await asked
      },
      (folder) =>
        plugin(
          folder,
          JSON.stringify({
            clientCertificateData: certificates.client.cert,
            clientKeyData: certificates.client.key,
          }).replaceAll('\\n', '\\\\n'),
        ),
    ),
  )

  void test('an exec plugin that fails is named, with what it said', limits, () =>
    secured(
      async ({ connection }) => {
        await assert.rejects(
          get(connection),
          /exec plugin ".*plugin.sh" failed: no such account.*KUBECONFIG_UNREADABLE/s,
        )
      },
      async (folder) => {
        const user = await plugin(folder, '{}')
        await writeFile(join(folder, 'plugin.sh'), '#!/bin/sh\necho no such account >&2\nexit 3\n')
        return user
      },
    ),
  )

  void test('the account of a pod is used where there is no kubeconfig', limits, () =>
    withFolder(async (folder) => {
      const server = await ScriptedServer.listen({ certificates })
      await writeFile(join(folder, 'ca.crt'), certificates.ca.cert)
      await writeFile(join(folder, 'token'), 'pod token')
      await writeFile(join(folder, 'namespace'), 'kube-system\n')
      const env = { HOME: folder, KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(server.port) }
      const connection = openConnection({ env, serviceAccountDirectory: folder })
      try {
        assert.equal(connection.namespace, 'kube-system')
        const asked = get(connection)
        const exchange = await server.next()
        assert.equal(exchange.headers.authorization, 'Bearer pod token')
        exchange.answer(200, {})
        await asked
      } finally {
        connection.close()
        await server.kill()
      }
    }),
  )

  void test('impersonation and passwords go along', limits, () =>
    secured(
      async ({ server, connection }) => {
        const asked = get(connection)
        const { headers, ...exchange } = await server.next().then((e) => Object.assign(e, {}))
        assert.equal(headers.authorization, `Basic ${base64('me:secret')}`)
        assert.equal(headers['impersonate-user'], 'other')
        assert.equal(headers['impersonate-group'], 'a, b')
        void exchange
        connection.close()
        await assert.rejects(asked)
      },
      () => Promise.resolve({ username: 'me', password: 'secret', as: 'other', 'as-groups': ['a', 'b'] }),
    ),
  )
})

void describe('whom we talk to', () => {
  const refusesToTalk = (cluster: Record<string, unknown>, expected: RegExp): Promise<void> =>
    secured(async ({ connection }) => assert.rejects(get(connection), expected), undefined, {}, cluster)

  void test('a server whose certificate another authority signed is refused', limits, async () => {
    const other = await makeCertificates()
    await refusesToTalk({ 'certificate-authority-data': base64(other.ca.cert) }, /not trusted.*API_UNREACHABLE/)
  })

  void test('a server whose certificate bears another name is refused', limits, () =>
    refusesToTalk({ 'tls-server-name': 'elsewhere.test' }, /not trusted: check .*tls-server-name/),
  )

  void test('tls-server-name is the name that is checked', limits, () =>
    secured(
      async ({ server, connection }) => {
        const asked = get(connection)
        ;(await server.next()).answer(200, {})
        await asked
      },
      undefined,
      {},
      { 'tls-server-name': 'api.test' },
    ),
  )

  void test('insecure-skip-tls-verify, and nothing else, lets any certificate pass', limits, async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      await refusesToTalk({ 'certificate-authority-data': undefined }, /not trusted/)
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    }
    await secured(
      async ({ server, connection }) => {
        const asked = get(connection)
        ;(await server.next()).answer(200, {})
        await asked
      },
      undefined,
      {},
      { 'certificate-authority-data': undefined, 'insecure-skip-tls-verify': true },
    )
  })

  void test('a server that knows only HTTP/1.1 is served too', limits, () =>
    secured(
      async ({ server, connection }) => {
        const asked = [get(connection, '/a'), get(connection, '/b')]
        for (const exchange of [await server.next(), await server.next()]) exchange.answer(200, { path: exchange.path })
        assert.deepEqual(
          (await Promise.all(asked)).map(({ body }) => body),
          [{ path: '/a' }, { path: '/b' }],
        )
        assert.equal(server.sessions.size, 0)
      },
      undefined,
      { http1Only: true },
    ),
  )

  void test('a path in the server address comes before every path', limits, () =>
    withFolder(async (folder) => {
      const server = await ScriptedServer.listen()
      const kubeconfig = await writeKubeconfig(folder, { server: `${server.address}/clusters/one/` })
      const connection = openConnection({ kubeconfig, env: {} })
      try {
        const asked = get(connection)
        const exchange = await server.next()
        assert.equal(exchange.path, '/clusters/one/version')
        exchange.answer(200, {})
        await asked
      } finally {
        connection.close()
        await server.kill()
      }
    }),
  )

  void test('nobody at the address: the error says which address', limits, () =>
    withServer(async (server, connection) => {
      await server.kill()
      await assert.rejects(serverVersion(connection), (error: unknown) => {
        assert.ok(error instanceof StowageError)
        assert.equal(error.code, 'API_UNREACHABLE')
        assert.ok(error.message.includes(connection.address))
        assert.match(error.message, /ECONNREFUSED/)
        return true
      })
    }),
  )

  void test('something that is no API server: the error says so', limits, () =>
    withServer(async (server, connection) => {
      const asked = get(connection)
      ;(await server.next()).answer(200, '<html>Welcome</html>')
      await assert.rejects(asked, /no JSON.*API_MALFORMED/)
    }),
  )
})

void describe('when things break', () => {
  void test('a server that says GOAWAY finishes what it has and gets the rest on a new connection', limits, () =>
    secured(async ({ server, connection }) => {
      const first = get(connection, '/first')
      const begun = await server.next()
      const [session] = server.sessions
      assert.ok(session)
      const gone = once(session, 'close')
      session.goaway(0)
      // A ping that comes back shows that the client has read what was sent before it.
      await new Promise<void>((resolve) => session.ping(() => resolve()))
      const second = get(connection, '/second')
      const other = await server.next()
      assert.equal(server.connections, 2)
      begun.answer(200, { n: 1 })
      other.answer(200, { n: 2 })
      assert.deepEqual([(await first).body, (await second).body], [{ n: 1 }, { n: 2 }])
      await gone
    }),
  )

  void test('a connection that dies under requests fails them, and the next request makes another', limits, () =>
    secured(async ({ server, connection }) => {
      const first = get(connection)
      await server.next()
      for (const session of server.sessions) session.destroy()
      await assert.rejects(first, /API_UNREACHABLE/)
      const second = get(connection)
      ;(await server.next()).answer(200, {})
      assert.equal((await second).status, 200)
    }),
  )

  void test('an answer that breaks off in the middle is an error, not half an answer', limits, async () => {
    const breaksOff = async (server: ScriptedServer, connection: Connection): Promise<void> => {
      const asked = get(connection)
      const exchange = await server.next()
      exchange.open().raw('{"kind":')
      exchange.cut()
      await assert.rejects(asked, /API_UNREACHABLE/)
    }
    await secured(({ server, connection }) => breaksOff(server, connection))
    await withServer(breaksOff)
  })

  void test('a connection on which the server no longer answers pings is given up within half a minute', limits, () =>
    secured(async ({ server, connection, clock }) => {
      const asked = get(connection)
      await server.next()
      // On this clock no time is left for an answer.
      clock.advance(30_000)
      await assert.rejects(asked, /did not answer a ping|not answered within 30 s/)
      const again = get(connection)
      ;(await server.next()).answer(200, {})
      assert.equal((await again).status, 200)
      assert.equal(server.connections, 2)
    }),
  )

  void test('a request that is not answered in time fails and is taken back', limits, () =>
    withServer(async (server) => {
      await withFolder(async (folder) => {
        const clock = new VirtualClock()
        const kubeconfig = await writeKubeconfig(folder, { server: server.address })
        const connection = openConnection({ kubeconfig, env: {}, clock })
        const asked = connection.request({ method: 'GET', path: '/slow', timeoutMs: 4_000 })
        const exchange = await server.next()
        clock.advance(4_000)
        await assert.rejects(asked, /GET \/slow was not answered within 4 s/)
        await exchange.closed
        connection.close()
      })
    }),
  )

  void test('aborting ends a request and a watch at once, with the reason given', limits, () =>
    secured(async ({ server, connection }) => {
      const stop = new AbortController()
      const asked = connection.request({ method: 'GET', path: '/slow', signal: stop.signal })
      const watched = connection.stream('/watch', stop.signal, () => undefined)
      const open = [await server.next(), await server.next()]
      stop.abort(new Error('enough'))
      await assert.rejects(asked, /^Error: enough$/)
      await assert.rejects(watched, /^Error: enough$/)
      await Promise.all(open.map((exchange) => exchange.closed))
    }),
  )

  void test('requests that share a signal share a listener, which goes with the last of them', limits, () =>
    secured(async ({ server, connection }) => {
      const { signal } = new AbortController()
      const listeners = (): number => getEventListeners(signal, 'abort').length
      const asked = [1, 2, 3].map(() => connection.request({ method: 'GET', path: '/version', signal }))
      const open = [await server.next(), await server.next(), await server.next()]
      assert.equal(listeners(), 1)
      for (const [at, exchange] of open.entries()) {
        exchange.answer(200, {})
        await asked[at]
        assert.equal(listeners(), at < 2 ? 1 : 0)
      }
    }),
  )

  void test('closing ends everything and lets nothing new begin', limits, () =>
    secured(async ({ server, connection }) => {
      const asked = get(connection)
      await server.next()
      connection.close()
      await assert.rejects(asked, /API_UNREACHABLE/)
      await assert.rejects(get(connection), /has been closed/)
    }),
  )

  void test('a watch that is refused says status, reason and when to come back', limits, () =>
    withServer(async (server, connection) => {
      const watched = connection.stream('/watch', new AbortController().signal, () => undefined)
      ;(await server.next()).refuse(429, 'TooManyRequests', 'slow down', { 'retry-after': '3' })
      await assert.rejects(watched, (error: unknown) => {
        assert.ok(error instanceof ApiRefusal)
        assert.deepEqual(
          [error.status, error.reason, error.said, error.retryAfterMs],
          [429, 'TooManyRequests', 'slow down', 3_000],
        )
        return true
      })
    }),
  )

  void test('a line without an end does not fill the memory', limits, () =>
    secured(
      async ({ server, connection }) => {
        const watched = connection.stream('/watch', new AbortController().signal, () => undefined)
        const exchange = await server.next()
        exchange.open().raw('x'.repeat(5_000))
        await assert.rejects(watched, /a line of more than 4096 bytes.*API_MALFORMED/)
        await exchange.closed
      },
      undefined,
      {},
      {},
      { maxLineBytes: 4_096 },
    ),
  )

  void test('lines come out as they went in, wherever the chunks are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary', minLength: 1 }).filter((line) => !line.includes('\n'))),
        fc.array(fc.nat(12)),
        (lines, cuts) => {
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
          const got: string[] = []
          const splitter = new LineSplitter(1 << 20, (line) => got.push(line))
          let from = 0
          for (const cut of cuts) {
            splitter.push(bytes.subarray(from, from + cut))
            from += cut
          }
          splitter.push(bytes.subarray(from))
          assert.deepEqual(
            got,
            lines.map((line) => Buffer.from(line).toString()),
          )
        },
      ),
      { seed: 7 },
    )
  })
})

void describe('a kubeconfig that cannot be used is named with what is wrong in it', () => {
  const refused = (text: string | undefined, expected: RegExp): Promise<void> =>
    withFolder((folder) => {
      const kubeconfig = join(folder, 'config')
      return (text === undefined ? Promise.resolve() : writeFile(kubeconfig, text)).then(() =>
        assert.throws(() => openConnection({ kubeconfig, env: {} }), expected),
      )
    })

  void test('a file that does not exist', () => refused(undefined, /config: ENOENT.*KUBECONFIG_UNREADABLE/))
  void test('no YAML', () => refused('a: [', /config is no YAML/))
  void test('a key of the wrong type', () => refused('clusters: 7', /key clusters/))
  void test('a context that was asked for and is not there, while one that is there is used', () =>
    withFolder(async (folder) => {
      const kubeconfig = join(folder, 'config')
      const context = (name: string): string => `{name: ${name}, context: {cluster: ${name}, user: nobody}}`
      const cluster = (name: string, port: number): string =>
        `{name: ${name}, cluster: {server: "http://127.0.0.1:${port}"}}`
      await writeFile(
        kubeconfig,
        `current-context: a\ncontexts: [${context('a')}, ${context('b')}]\nclusters: [${cluster('a', 1)}, ${cluster('b', 2)}]\nusers: [{name: nobody, user: {}}]\n`,
      )
      assert.throws(() => openConnection({ kubeconfig, context: 'c', env: {} }), /no context "c", which was asked for/)
      const connection = openConnection({ kubeconfig, context: 'b', env: {} })
      assert.equal(connection.address, 'http://127.0.0.1:2')
      connection.close()
    }))
  void test('no current context', () => refused('contexts: []', /no current-context/))
  void test('a context that does not exist', () => refused('current-context: x', /no context "x"/))
  void test('a cluster that does not exist', () =>
    refused('{current-context: x, contexts: [{name: x, context: {cluster: c}}]}', /no cluster "c"/))
  void test('an address that is none', () =>
    refused(
      '{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, cluster: {server: "ftp://x"}}]}',
      /"ftp:\/\/x" is no http or https address/,
    ))

  void test('nothing at all', () =>
    withFolder(async (folder) => {
      assert.throws(() => openConnection({ env: { HOME: folder } }), /neither KUBECONFIG nor .*names a cluster/)
      await mkdir(join(folder, '.kube'))
      await writeKubeconfig(join(folder, '.kube'), { server: 'http://127.0.0.1:1' })
      assert.equal(openConnection({ env: { HOME: folder } }).address, 'http://127.0.0.1:1')
    }))

  void test('the files of $KUBECONFIG count together, the first that says something wins, missing ones are left out', () =>
    withFolder(async (folder) => {
      const one = await writeKubeconfig(folder, { server: 'http://127.0.0.1:1' }, {}, 'one')
      const two = await writeKubeconfig(folder, { server: 'http://127.0.0.1:2' }, {}, 'two')
      const connection = openConnection({ env: { KUBECONFIG: `${join(folder, 'none')}:${one}:${two}` } })
      assert.equal(connection.address, 'http://127.0.0.1:1')
      assert.equal(connection.namespace, 'somewhere')
    }))
})
