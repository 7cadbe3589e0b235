import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** What runs besides etcd and kube-apiserver. Without any of them, pods stay Pending until somebody binds them. */
export interface ControlPlaneOptions {
  /**
   * kube-scheduler with client limits that do not hold it back. `profiles` is YAML for the `profiles:` key of its
   * KubeSchedulerConfiguration, `parallelism` its number of filtering workers (1 makes its node order exact), `configuration`
   * further keys of it in YAML, and `vmodule` how much single source files log (`schedule_one=10`).
   * @default it does not run
   */
  readonly scheduler?: {
    readonly profiles?: string
    readonly parallelism?: number
    readonly configuration?: string
    readonly vmodule?: string
  }
  /** @default false */
  readonly controllerManager?: boolean
  /** kwok plays the kubelet of every node @default false */
  readonly kwok?: boolean
  /** of API server and kube-scheduler, as their flag has them: `Some=true,Other=false` @default the release's own */
  readonly featureGates?: string
  /** APIs that are served besides the release's own: `scheduling.k8s.io/v1beta1=true` @default none */
  readonly runtimeConfig?: string
}

/** A running Kubernetes on loopback. */
export interface ControlPlane {
  /** an administrator's kubeconfig with the authority and a token */
  readonly kubeconfigPath: string
  /** `https://127.0.0.1:PORT` */
  readonly url: string
  readonly token: string
  /** what kube-scheduler logs, in a file that grows */
  readonly schedulerLogPath: string
  /** PEM of the authority that signed the server's certificate */
  readonly ca: string
  /** The process of a server that runs; undefined: it does not. */
  readonly pidOf: (server: ServerName) => number | undefined
  /** Kills kube-apiserver as a crash would; etcd keeps what it has. */
  readonly killApiServer: () => Promise<void>
  /** Starts a killed kube-apiserver again on the same port and waits until it is ready. */
  readonly restartApiServer: () => Promise<void>
  /** Starts kube-scheduler later than the rest, as `options.scheduler` would have. */
  readonly startScheduler: (scheduler?: NonNullable<ControlPlaneOptions['scheduler']>) => Promise<void>
  /** Kills everything and removes its folder. Calling it twice does nothing. */
  readonly stop: () => Promise<void>
}

export type ServerName = 'etcd' | 'kube-apiserver' | 'kube-scheduler' | 'kube-controller-manager' | 'kwok'

/**
 * The first program of the pipeline dies with us however we die: its guard reads a pipe that only we hold open, and
 * `exec` makes the server keep the process id that the guard was told.
 */
const guarded = 'exec 3<&0; (cat <&3 >/dev/null; kill -KILL $$) & exec "$@" 3<&- </dev/null'

const freePorts = async (count: number): Promise<number[]> => {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  const ports: number[] = []
  for (const server of servers) {
    if (!server.listening) await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
    ports.push(address.port)
  }
  for (const server of servers) server.close()
  return ports
}

/** The status of a GET, or 0 where nobody answers yet. */
const statusOf = (url: string, token: string, ca: string): Promise<number> =>
  new Promise((resolve) => {
    const asked = request(url, { ca, agent: false, timeout: 2000, headers: { authorization: `Bearer ${token}` } })
    asked.on('response', (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    asked.on('timeout', () => asked.destroy())
    asked.on('error', () => resolve(0))
    asked.end()
  })

const ended = (child: ChildProcess): boolean =>
  child.exitCode !== null || child.signalCode !== null || child.pid === undefined

class PortTaken extends Error {}

const startOnce = async (bin: string, options: ControlPlaneOptions): Promise<ControlPlane> => {
  const folder = mkdtempSync(join(tmpdir(), 'stowage-control-plane-'))
  const at = (name: string): string => join(folder, name)
  const gates = options.featureGates === undefined ? {} : { 'feature-gates': options.featureGates }
  const running = new Map<ServerName, ChildProcess>()
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  process.once('exit', removeFolder)

  const run = (name: ServerName, flags: Readonly<Record<string, string | number | boolean | undefined>>): void => {
    const log = openSync(at(`${name}.log`), 'a')
    const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)
    const child = spawn('sh', ['-c', guarded, 'sh', join(bin, name), ...args], {
      detached: true,
      stdio: ['pipe', log, log],
    })
    closeSync(log)
    child.unref()
    // The pipe to the guard must not keep us alive either; node:child_process types it as a plain Writable.
    ;(child.stdin as unknown as { unref(): void }).unref()
    child.on('exit', () => child.stdin?.destroy())
    child.on('error', () => child.stdin?.destroy())
    child.stdin?.on('error', () => {})
    running.set(name, child)
  }
  const kill = async (name: ServerName): Promise<void> => {
    const child = running.get(name)
    running.delete(name)
    if (child === undefined || ended(child)) return
    child.ref()
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
  }
  let stopped: Promise<void> | undefined
  const stopAll = async (): Promise<void> => {
    process.removeListener('exit', removeFolder)
    await Promise.all([...running.keys()].map(kill))
    removeFolder()
  }
  const stop = (): Promise<void> => (stopped ??= stopAll())

  /** Waits for `ready`; a server that ends before is an error with the end of its log. */
  const waitFor = async (name: ServerName, ready: () => Promise<boolean>): Promise<void> => {
    for (const deadlineMs = performance.now() + 90_000; ; await pause(50)) {
      if (await ready()) return
      const child = running.get(name)
      if (child !== undefined && !ended(child) && performance.now() < deadlineMs) continue
      const log = readFileSync(at(`${name}.log`), 'utf8')
      const text = `${name} ${child === undefined || ended(child) ? 'ended before it was ready' : 'is not ready after 90 s'}; its log ends:\n${log.slice(-3000)}`
      throw log.includes('address already in use') ? new PortTaken(text) : new Error(text)
    }
  }

  try {
    const [client, peer, secure, managerPort, kwokPort] = await freePorts(5)
    const url = `https://127.0.0.1:${secure}`
    const token = randomBytes(16).toString('hex')
    const kubeconfigPath = at('kubeconfig')
    writeFileSync(at('tokens.csv'), `${token},admin,admin,system:masters\n`, { mode: 0o600 })
    const pair = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    })
    writeFileSync(at('sa.key'), pair.privateKey, { mode: 0o600 })
    writeFileSync(at('sa.pub'), pair.publicKey)
    writeFileSync(
      kubeconfigPath,
      `apiVersion: v1
kind: Config
current-context: local
contexts: [{name: local, context: {cluster: local, user: admin}}]
clusters: [{name: local, cluster: {server: "${url}", certificate-authority: "${at('certs/apiserver.crt')}"}}]
users: [{name: admin, user: {token: "${token}"}}]
`,
      { mode: 0o600 },
    )
    const etcd = `http://127.0.0.1:${client}`
    const etcdPeer = `http://127.0.0.1:${peer}`
    run('etcd', {
      'data-dir': at('etcd'),
      'unsafe-no-fsync': true,
      'log-level': 'warn',
      'listen-client-urls': etcd,
      'advertise-client-urls': etcd,
      'listen-peer-urls': etcdPeer,
      'initial-advertise-peer-urls': etcdPeer,
      'initial-cluster': `default=${etcdPeer}`,
    })
    const runApiServer = async (): Promise<void> => {
      run('kube-apiserver', {
        'etcd-servers': etcd,
        'cert-dir': at('certs'),
        'bind-address': '127.0.0.1',
        'secure-port': secure,
        'token-auth-file': at('tokens.csv'),
        'authorization-mode': 'RBAC,Node',
        'service-cluster-ip-range': '10.0.0.0/16',
        'service-account-issuer': 'https://kubernetes.default.svc',
        'service-account-signing-key-file': at('sa.key'),
        'service-account-key-file': at('sa.pub'),
        // Without a controller manager nobody would make service accounts, nor take the not-ready taint off again.
        'disable-admission-plugins': 'ServiceAccount,TaintNodesByCondition',
        'max-requests-inflight': 4000,
        'max-mutating-requests-inflight': 2000,
        ...gates,
        ...(options.runtimeConfig === undefined ? {} : { 'runtime-config': options.runtimeConfig }),
      })
      const certificate = at('certs/apiserver.crt')
      const answers = async (path: string): Promise<boolean> =>
        existsSync(certificate) && (await statusOf(url + path, token, readFileSync(certificate, 'utf8'))) === 200
      // /readyz comes before the namespace in which most tests create their pods.
      await waitFor('kube-apiserver', async () => (await answers('/readyz')) && answers('/api/v1/namespaces/default'))
    }
    await runApiServer()

    const startScheduler: ControlPlane['startScheduler'] = async ({
      profiles,
      parallelism,
      configuration,
      vmodule,
    } = {}) => {
      const [port] = await freePorts(1)
      writeFileSync(
        at('kube-scheduler.yaml'),
        `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: "${kubeconfigPath}", qps: 5000, burst: 5000}
leaderElection: {leaderElect: false}
${parallelism === undefined ? '' : `parallelism: ${parallelism}\n`}${profiles === undefined ? '' : `profiles:\n${profiles}\n`}${configuration === undefined ? '' : `${configuration}\n`}`,
      )
      run('kube-scheduler', {
        config: at('kube-scheduler.yaml'),
        'cert-dir': at('certs-scheduler'),
        'bind-address': '127.0.0.1',
        'secure-port': port,
        ...(vmodule === undefined ? {} : { vmodule }),
        ...gates,
      })
      const certificate = at('certs-scheduler/kube-scheduler.crt')
      await waitFor(
        'kube-scheduler',
        async () =>
          existsSync(certificate) &&
          (await statusOf(`https://127.0.0.1:${port}/readyz`, token, readFileSync(certificate, 'utf8'))) === 200,
      )
    }
    if (options.scheduler) await startScheduler(options.scheduler)
    if (options.controllerManager) {
      run('kube-controller-manager', {
        kubeconfig: kubeconfigPath,
        'cert-dir': at('certs-manager'),
        'bind-address': '127.0.0.1',
        'secure-port': managerPort,
        'leader-elect': false,
        'kube-api-qps': 500,
        'kube-api-burst': 1000,
        'service-account-private-key-file': at('sa.key'),
        'root-ca-file': at('certs/apiserver.crt'),
        'use-service-account-credentials': false,
      })
    }
    if (options.kwok) {
      run('kwok', {
        kubeconfig: kubeconfigPath,
        'manage-all-nodes': true,
        'server-address': `127.0.0.1:${kwokPort}`,
      })
    }
    return {
      kubeconfigPath,
      url,
      token,
      schedulerLogPath: at('kube-scheduler.log'),
      ca: readFileSync(at('certs/apiserver.crt'), 'utf8'),
      pidOf: (server) => running.get(server)?.pid,
      killApiServer: () => kill('kube-apiserver'),
      restartApiServer: runApiServer,
      startScheduler,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/**
 * A real control plane for tests and benchmarks, from the binaries in the folder that KUBEBUILDER_ASSETS names. It is ready
 * in about five seconds: start one per file, not one per case.
 * @example
 * describe('against a real API server', { skip: realControlPlane.skip }, () => {
 *   before(async () => { plane = await realControlPlane.start() })
 *   after(() => plane.stop())
 * })
 */
export const realControlPlane = {
  /** Why tests against it are skipped, false where they are not; for the `skip` option of node:test. */
  skip:
    process.env['KUBEBUILDER_ASSETS'] === undefined || process.env['KUBEBUILDER_ASSETS'] === ''
      ? 'KUBEBUILDER_ASSETS is not set: it names a folder with etcd and kube-apiserver'
      : false,

  /** @throws Error with the end of the server's log when one does not become ready */
  async start(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
    if (realControlPlane.skip !== false) throw new Error(realControlPlane.skip)
    // `skip` is false only where the variable is set
    const bin = process.env['KUBEBUILDER_ASSETS']!
    for (let attempt = 1; ; attempt++) {
      try {
        return await startOnce(bin, options)
      } catch (error) {
        // Between our look for a free port and the server's use of it, somebody else may take it.
        if (!(error instanceof PortTaken) || attempt === 3) throw error
      }
    }
  },
} as { readonly skip: string | false; start(options?: ControlPlaneOptions): Promise<ControlPlane> }
